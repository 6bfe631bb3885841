"""Does a column tell anything about the target beyond the others: a test of what a network makes of the column.

If it does not, then the target less what the other columns tell of it, and the network's output less what they tell of
that, do not move together. Both are learned on the test rows, from the other columns; the errors of one are
forgiven as far as the other is free of the same. Where both miss the same, they do move together. So a column that is
found so is tested again, by better learners that have no reason to err alike; rows whose predictions are in doubt count
less; and what errors add still is told twice: by what is left in rows alike, which know nothing of a row's own noise,
and by how much more errors add where half of the rows are all there is to learn from. All this is asked a second time
of the rows where the column's tie to the others is flat: at a step or an edge, both regressions err, and alike. Where a
regression has clearly missed something, nothing is found.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from permgrad.importance.permuting._halving import by_most_and_half
from permgrad.importance.permuting._kernel import KernelRidge
from permgrad.importance.permuting._ties import Features, folds_of, learned, standardised
from permgrad.importance.permuting._unlearned import share_missed
from permgrad.importance.permuting.conditional import told_by_most_and_half
from permgrad.metrics.paired import mean_and_error, mean_p_value

if TYPE_CHECKING:
    from permgrad.importance.network._target import Target
    from permgrad.importance.permuting.conditional import AlikeRows

CUT = 6.0
"""Median absolute deviations (times 1.48) at which outputs and targets are cut off: few rows must not decide alone."""
ANCHORS = (0.1, 0.5, 0.9)
"""Quantiles of the column at which the network is asked what it makes of the other columns alone."""
WEIGHTS = np.array([0.3, 0.4, 0.3])
"""Of the anchors, in the mean over them."""
TREES = 20
DOUBTFUL = 0.2
"""p-values up to this are tested again, which takes some five times as long."""
FOUND = 0.05
"""Of p-values up to this, what was taken off is told."""
UNTOLD = 0.3
"""Share of what a p-value tests that ties still to be learned may take off before they are said to be learned badly,
and as much again is taken off."""
LEAST_UNITS = 50
"""Rows, or groups of rows, that can be halved."""
BEYOND = 2.5
"""What errors are taken to add still, with most of the rows, relative to what they add more with half of them: it is
1 / (1.8^(4/7) - 1) where their product falls with n^(-4/7), as the best rate is for functions of three columns with two
derivatives."""
N_ALIKE = 5
"""Rows whose targets' errors stand for a row's own: fewer are nearer, and noisier."""
BESIDE = 1.5
"""What errors are taken to add to a row's product, relative to what they add to that with rows alike, which are not at
the same place."""
MISSED = 0.05
"""Share of what a regression leaves that rows beside each other may have in common before nothing is found."""
TOGETHER = (4, 5)
"""Of the columns that decide most, so many are looked at together: a tie of all may show in no three of them."""
STEEP = 0.5
"""Slope of the tie at which a row counts half: standard deviations of the feature's noise, one of the other columns."""
FLATTEST = 0.1
"""Share of the rows that count half at least, where the tie is steeper everywhere."""
SHARPNESS = 6
"""Power of the slope, in units of that, by which rows count less: it says nearly whether a row counts or not."""
DOUBT = 0.05
"""Squared difference between predictions from most of the rows and from half, in units of the mean square that the
former leave, at which a row counts half."""


def anchor_rows(own: np.ndarray) -> np.ndarray:
    """Return the numbers of the rows that hold a low, a middle and a high value of a feature, (3,).

    Parameters
    ----------
    own : ndarray of shape (n_rows, n_columns)
        The feature's columns.
    """
    order = np.lexsort(own.T)
    return order[[round(share * (len(own) - 1)) for share in ANCHORS]]


def independence_p_value(
    others: np.ndarray,
    own: np.ndarray,
    expected: np.ndarray,
    output: np.ndarray,
    anchored: np.ndarray,
    truth: np.ndarray,
    classes: bool,
    random_state: int,
    *,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """Test that the target is independent of a feature, given the other columns, against the network's gaining by it.

    Parameters
    ----------
    others : ndarray of shape (n_rows, n_others)
        The other columns; those that the feature is tied to most come first.
    own : ndarray of shape (n_rows, n_columns)
        The feature's.
    expected : ndarray of shape (n_rows, n_expected)
        What the others predict of the feature: a column more to learn from, since both regressions depend on the others
        through it as far as the tie is all that deceives.
    output : ndarray of shape (n_rows, n_outputs)
        Of the network for the rows as they are.
    anchored : ndarray of shape (3, n_rows, n_outputs)
        The same where the feature has a low, a middle or a high value in all rows.
    truth : ndarray of shape (n_rows, n_outputs)
        Target values, or 0/1 for each class.
    classes : bool
        Outputs are probabilities; others may be cut off.
    random_state : int
        Of the learners and of the rows' folds.
    weights, groups : ndarray of shape (n_rows,), optional
        Of the test of the rows' products, see `mean_p_value`. The regressions count rows alike, and predict a group by
        the others.

    Returns
    -------
    p : float
        One-sided.
    untold : float
        Share of the mean product that was taken off, both ways, for what the regressions have not learned of the
        others; 1 where p is 1 since they missed too much. It is 0 where p would be above 0.05 without, or where rows or
        groups are fewer than 50.

    Notes
    -----
    Let f be the output, less its mean over the anchors, which is a function of the other columns Z alone, and Y the
    target. Where Y is independent of the feature given Z, the mean of ``(f - E[f | Z]) (Y - E[Y | Z])`` is 0, whatever
    the network; for the squared error and the exact conditional expectations it is half of what the loss gains when the
    feature is drawn anew given Z. A one-sided t-test of the rows' products. Errors of the two regressions enter as a
    product: the test holds where each is learned to n^(-1/4). (Were the anchors' mean taken from Y, too, both would
    hold the same of what the network makes of Z, and their errors would agree.)

    Where the first p is 0.2 or less, there is a second test, and p is the largest of five. `by_most_and_half` learns
    what the others tell of the feature, and with that, of f; and of Y, without that. For the feature's own values teach
    what it is expected to be: noise in them is an error of the expectation and of f's regression, and would be one of
    Y's if that learned from the expectation, too. Y's regression has a tenth of the penalty: what penalties smooth
    away of f and of Y is alike, and noise of two regressions is not. A row counts the less, the more predictions of
    its f from most of the rows and from half of them differ: where the others' tie to the feature has a step or an
    edge, that is where both regressions miss the same.

    What is left of a row's target is its noise and the regression's error. What is left of the five rows nearest to it
    is the error alone, in the mean, if they are near in the columns on which the feature depends: their noise has
    nothing to do with the row's. So the product of ``f - E[f | Z]`` with their mean estimates what errors of both
    regressions add, though too low, since they are not at the row's place: 1.5 times that is taken off. The second p
    is of the weighted mean of what remains. The third p is of the same less what errors add still: the mean product
    falls from half to most of the rows as far as errors of both regressions agree, and is taken to fall 2.5 times as
    much again with any number of rows. If all this is more than 0.3 of the mean product, ties are learned badly, and
    the estimate is itself too low: as much again is taken off.

    The fourth p and the fifth are the second and the third where rows count the less, the steeper the feature's tie is
    at their place, by the gradient of the kernel regression that learned it (`KernelRidge.steepness`; a row's own
    values decide nothing of it). At an edge that columns show only roughly, both regressions go from one side's value
    to the other's over a band of rows, and nearly all of what their errors have in common is there; there they are
    steep. A feature that is tied to nothing has no such rows, and loses none. Where the tie is steep everywhere, the
    flattest tenth of the rows say what steep is.

    None of this sees a tie of which the regressions learn nothing. But where rows beside each other, by two or three of
    the other columns, by the four or five that decide most, or by what is predicted of the feature, still have more
    than 5 % in common of what the output's regression leaves, or the kernel regression of the feature (and chance does
    not explain it), p is 1: the tie was missed, and the target's regression, which has no better learner, misses it as
    well. See `share_missed`.

    References
    ----------
    Shah & Peters, Annals of Statistics 48 (2020), generalised covariance measure; Lundborg, Kim, Shah & Samworth,
    Annals of Statistics 52 (2024), whose direction is learned: here it is the network. Weights that depend on the other
    columns: Scheidegger, Hörrmann & Bühlmann, JMLR 23 (2022), and Crump, Hotz, Imbens & Mitnik, Biometrika 96 (2009),
    who leave out rows where nothing can be learned. Regressions that share no noise and are undersmoothed:
    McClean, Balakrishnan, Kennedy & Wasserman, arXiv:2403.15175 (2024). Errors from what is left in other rows, an
    influence function of second order: Liu, Mukherjee & Robins, Statistical Science 35 (2020). Errors from two sizes of
    sample: Cattaneo, Crump & Jansson, JASA 108 (2013), generalised jackknife.
    """
    low, middle, high = anchored
    if not np.ptp(output - middle, axis=0).any():
        return 1.0, 0.0
    values = np.hstack([output - np.tensordot(WEIGHTS, anchored, 1), truth])
    values = values if classes else _cut(values)
    said = standardised(np.hstack([middle, high - low]))
    others = np.hstack([said[:, said.any(axis=0)], others])
    products = _products(values - _regressed(np.hstack([standardised(expected), others]), values, random_state, groups))
    p = mean_p_value(products, weights, groups)
    if p > DOUBTFUL or len(others if groups is None else np.unique(groups)) < LEAST_UNITS:
        return p, 0.0
    products, beside, by_half, trusted, missed = _products_by_most_and_half(others, own, values, random_state, groups)
    corrected = products - BESIDE * beside
    further = corrected - BEYOND * (by_half - products)
    counted = [each if weights is None else each * weights for each in trusted]
    found = max(p, mean_p_value(products, counted[0], groups)) <= FOUND
    if missed > MISSED:
        return 1.0, float(found)
    shares = [_taken_off(products, further, each, groups) for each in counted]
    for each, share in zip(counted, shares, strict=True):
        asked = [corrected, further, *([2 * further - products] if share > UNTOLD else [])]
        p = max(p, *(mean_p_value(remaining, each, groups) for remaining in asked))
    return p, shares[0] if found else 0.0


def _taken_off(before: np.ndarray, after: np.ndarray, weights: np.ndarray, groups: np.ndarray | None) -> float:
    """Return the share of the mean product that is taken off, between 0 and 1."""
    before_it, after_it = (mean_and_error(each, weights, groups)[0] for each in (before, after))
    return float(np.clip(1 - after_it / before_it, 0, 1)) if before_it > 0 else 0.0


def _products_by_most_and_half(
    others: np.ndarray,
    own: np.ndarray,
    values: np.ndarray,
    random_state: int,
    groups: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray], float]:
    """Return products of what is left of outputs and of targets, weights of rows, and what regressions missed.

    The products, each of shape (n_rows,): of each row; of its output with the targets of rows alike; of each row, where
    regressions learn from half of the rows. The weights: of trust, and of trust and flatness.

    What the others tell of the feature is learned from its values, and so is what they tell of the output: were the
    first a column to learn the target from, too, noise in the feature would be an error of both.
    """
    n_outputs = values.shape[1] // 2
    output, target = values[:, :n_outputs], values[:, n_outputs:]
    kernel = KernelRidge(others, own.astype(float), random_state, groups)
    told = [standardised(each) for each in told_by_most_and_half(others, own, random_state, groups, kernel)]
    informed, informed_by_half = (np.hstack([each, others]) for each in told)
    of_output = by_most_and_half(informed, output, random_state + 1, groups, informed_by_half)
    of_target = by_most_and_half(others, target, random_state + 1, groups, undersmoothed=True)
    tenths = folds_of(len(own), random_state + 1, groups, 10)
    alike = kernel.nearest(others, tenths, N_ALIKE)
    steepness, of_feature = kernel.steepness(others, own.astype(float), tenths)
    by_most, by_half = (values - np.hstack(predicted) for predicted in zip(of_output, of_target, strict=True))
    beside = np.hstack([by_most[:, :n_outputs], by_most[alike, n_outputs:].mean(axis=1)])
    places = [*told[0].T[:, :, None], *(others[:, kernel.decisive(together)] for together in TOGETHER)]
    missed = share_missed(others, np.hstack([by_most[:, :n_outputs], of_feature]), groups, places)
    trust = _trust(output, *of_output)
    return _products(by_most), _products(beside), _products(by_half), [trust, trust * _flatness(steepness)], missed


def _flatness(steepness: np.ndarray) -> np.ndarray:
    """Return weights of rows, (n_rows,): the lower, the more steeply the feature's expected value depends on others."""
    half = max(STEEP, np.quantile(steepness, FLATTEST))
    return 1 / (1 + (steepness / half) ** SHARPNESS)


def _trust(output: np.ndarray, by_most: np.ndarray, by_half: np.ndarray) -> np.ndarray:
    """Return weights of rows, (n_rows,): the lower, the more what half of the rows predict of the output differs.

    A row's own values decide nothing of its weight, so that the mean product stays 0 where it should be.
    """
    left = ((output - by_most) ** 2).sum(axis=1).mean()
    return 1 / (1 + ((by_half - by_most) ** 2).sum(axis=1) / max(DOUBT * left, 1e-30))


def _products(rest: np.ndarray) -> np.ndarray:
    """Return the rows' products, (n_rows,), of what is left of outputs and, after these, of targets."""
    n_outputs = rest.shape[1] // 2
    return (rest[:, :n_outputs] * rest[:, n_outputs:]).sum(axis=1)


def _regressed(informed: np.ndarray, values: np.ndarray, random_state: int, groups: np.ndarray | None) -> np.ndarray:
    """Predict values by a ridge regression, and what it leaves by trees as far as they find anything."""
    by_ridge = learned(Features.of(informed), values, groups=groups)[0][-1]
    rest = values - by_ridge
    if groups is None:
        by_trees = _out_of_bag(informed, rest, random_state)
    else:  # a row of the same group would betray the row
        by_trees = _by_other_groups(informed, rest, random_state, groups)
    share = (by_trees * rest).sum(axis=0) / np.maximum((by_trees**2).sum(axis=0), 1e-30)
    return by_ridge + by_trees * np.clip(share, 0, 1)


def independence_of(
    alike: AlikeRows,
    columns: np.ndarray,
    outputs: np.ndarray,
    taking: Callable[[np.ndarray], np.ndarray],
    target: Target,
    seed: list[int],
) -> tuple[float, float] | None:
    """Ask the model for what `independence_p_value` needs of a feature, and test.

    Parameters
    ----------
    alike : AlikeRows
    columns : ndarray of shape (n_columns,)
        The feature's.
    outputs : ndarray of shape (n_rows, n_outputs)
        Of the model, for the rows as they are.
    taking : callable
        Returns the outputs where each row holds the feature's values of another: takes those rows' numbers, (n_rows,).
    target : Target
    seed : list of int

    Returns
    -------
    tuple of float, or None where there are no other columns
    """
    others, own = alike.others(columns), alike.own(columns)
    if not len(others.T):  # nothing to be tied to: rows alike are all rows
        return None
    anchored = np.stack([taking(np.full(len(own), row)) for row in anchor_rows(own)])
    said, anchored, truth = target.task.probabilities(outputs), target.task.probabilities(anchored), target.indicators()
    classes = bool(target.classes)
    if classes and truth.shape[1] == 2:  # the one is 1 less the other
        said, anchored, truth = said[:, -1:], anchored[:, :, -1:], truth[:, -1:]
    if target.task.output_weights is not None:  # products count as losses do
        counted = target.task.counted(truth.shape[1])
        scales = np.sqrt(target.task.output_weights)[counted]
        said, anchored, truth = (values[..., counted] * scales for values in (said, anchored, truth))
    random_state = int(np.random.default_rng(seed).integers(2**31))
    counting = {"weights": target.weights, "groups": target.groups}
    return independence_p_value(
        others, own, alike.expected(columns), said, anchored, truth, classes, random_state, **counting
    )


def _cut(values: np.ndarray) -> np.ndarray:
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    reach = CUT * np.where(spread > 0, spread, values.std(axis=0))
    return np.clip(values, middle - reach, middle + reach)


def _out_of_bag(others: np.ndarray, values: np.ndarray, random_state: int) -> np.ndarray:
    """Predict values by trees that did not see the row."""
    from sklearn.ensemble import ExtraTreesRegressor

    scale = np.maximum(values.std(axis=0), 1e-30)
    trees = ExtraTreesRegressor(
        TREES, min_samples_leaf=3, max_features=1.0, bootstrap=True, oob_score=True, random_state=random_state, n_jobs=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a row that all trees saw gets 0, the mean of what is left
        trees.fit(others, values / scale)
    return trees.oob_prediction_.reshape(values.shape) * scale


def _by_other_groups(others: np.ndarray, values: np.ndarray, random_state: int, groups: np.ndarray) -> np.ndarray:
    """Predict values by trees that did not see the row's group: each fifth of the groups by the others."""
    from sklearn.ensemble import ExtraTreesRegressor

    predicted, fold = np.zeros_like(values), folds_of(len(values), random_state, groups)
    for number in np.unique(fold):
        trees = ExtraTreesRegressor(
            TREES, min_samples_leaf=3, max_features=1.0, bootstrap=True, random_state=random_state, n_jobs=1
        )
        inside = fold != number
        if inside.any():
            trees.fit(others[inside], values[inside])
            predicted[~inside] = trees.predict(others[~inside]).reshape(-1, values.shape[1])
    return predicted
