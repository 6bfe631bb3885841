"""Permutation importance: how much the loss grows when one feature is shuffled among the rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, Protocol

import numpy as np

from permgrad.data.rows import weights_and_groups
from permgrad.errors import PermGradError, listing
from permgrad.images.layout import FeatureLayout
from permgrad.importance.bootstrap import Bootstrap, interval
from permgrad.importance.budget import Budget, check_random_state, check_repeats
from permgrad.importance.grouping._columns import column_names, resolve_groups
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch
from permgrad.importance.permuting._checkpoint import Checkpoint, fingerprint
from permgrad.importance.permuting._increases import Increases
from permgrad.importance.permuting._independence import UNTOLD
from permgrad.importance.permuting._measurement import Measurement
from permgrad.importance.permuting.conditional import ROWS_PER_PREDICTOR, AlikeRows
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.outputs import head_and_unit

Via = Literal["tabular", "image", "both"]
KINDS: dict[str, list[str]] = {"tabular": ["tabular"], "image": ["image"], "both": ["tabular", "image"]}
"""Which branches are permuted."""
METHODS = {"tabular": "permutation", "image": "image_permutation", "both": "end_to_end"}
"""What a ranking is called, by the branches that are permuted."""


def permutation_importance(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    via: Via = "tabular",
    layout: FeatureLayout | None = None,
    features: Sequence[str] | None = None,
    groups: Mapping[str, Any] | None = None,
    classes: Sequence[Any] | None = None,
    task: Literal["classification", "regression"] | None = None,
    output: int | str | None = None,
    sample_weight: Any = None,
    row_groups: Any = None,
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
    budget: Budget = Budget(),
    verbose: bool = False,
    n_jobs: int | None = None,
) -> FeatureRanking:
    """Permute each feature and measure how much the loss increases.

    The method is exact: the numbers equal those of a loop that permutes, predicts and measures, up to the rounding of
    the network's precision (under mixed precision, the sums of the first layer are float32 here). Nothing that a
    permutation cannot change is computed again: branches that are not permuted; rows in which the permuted column holds
    the same value; and, in a branch that begins with a Dense layer (behind scaling, a selector, BatchNorm or an
    embedding of each column), the product of all other columns. For an image, only the part of each convolution's
    output that the feature's pixels can change is computed (`WindowedBranch`).

    Parameters
    ----------
    model : keras.Model
        A functional model with the branch to permute: the only one, or one of several (see `cut_model`).
    inputs : array or list of arrays
        One for each input of the model; the tabular one has shape (n_rows, n_columns). They may be in memory,
        memory-mapped, or sparse (`scipy.sparse`); the latter are read in blocks.
    y : array of shape (n_rows,) or (n_rows, n_outputs)
        Class numbers (or one-hot rows), target values, or shares between 0 and 1.
    via : {"tabular", "image", "both"}
        Which branch sees the permuted feature; the other branch sees the unchanged rows. In an image, only the
        feature's own pixel changes. "both" permutes both branches by the same row order, and so measures all of the
        network's reliance.
    layout : FeatureLayout, optional
        Where the features sit in the image, for a model with a separate image input. Features that share a pixel are
        permuted together.
    features : sequence of str, optional
        Names of the columns; by default a DataFrame's own, or the layout's.
    groups : mapping of str to columns, optional
        Features with several columns (such as a one-hot encoded category): permuted together, by one row order.
        These alone are measured, each by itself: they may have columns in common.
    classes : sequence, optional
        Class names; if given, `y` holds class numbers.
    task : {"classification", "regression"}, optional
        What the output means. By default it is inferred from the last layer and the compiled loss, see
        `permgrad.metrics.task.understand`; if that is ambiguous, an error is raised.
    output : int or str, optional
        Which output to use, by position or name, if the model has several; of a single output of several values, the
        position of one.
    sample_weight : array of shape (n_rows,), optional
        How many rows each row stands for: in all means, and in how often its value is given to other rows. Only ratios
        matter.
    row_groups : array of shape (n_rows,), optional
        Labels of rows that were drawn together, such as those of a patient: intervals resample groups, and p-values
        test the sums of groups.
    conditional : bool
        Permute each feature only among rows for which the other columns predict the same value of it, see `AlikeRows`.
        The score then measures what the feature adds to the other columns, and features that merely correlate with
        relevant ones are not flagged. It needs the columns as one dense array.
    n_repeats : int
        Independent permutations of each feature.
    random_state : int
        Feature number g in repeat r is permuted by ``numpy.random.default_rng([random_state, g, r])``. It also seeds
        the bootstrap.
    budget : Budget
        Memory, time and checkpoint.
    verbose : bool
        Show a progress bar with the time left.
    n_jobs : int, optional
        Processes, each of which permutes blocks of the features; -1 for one per core. By default what
        ``joblib.parallel_config`` says, if the work takes minutes, because a process takes about ten seconds to start.
        Scores are the same up to rounding, see `permgrad.parallel.run`. All layers must belong to Keras or to this
        package.

    Returns
    -------
    FeatureRanking
        ``scores``: mean loss over all rows, permuted minus unpermuted, averaged over repeats; ``std`` over repeats.
        ``class_scores``: the same over the rows of each class (0 for a class without rows). The loss is cross-entropy,
        of logits or of probabilities (clipped to 1e-7), or squared error in the target's unit squared. Of several
        values it is the mean of their squared errors, each in units of the value's variance in `y` (1 is as good as
        always predicting the mean); of several shares, the mean of their cross-entropies. ``low``, ``high`` and the
        intervals of ranks: a bootstrap of the rows' mean differences over repeats, so over rows and repeats; each row
        counts both as one that takes a value and as one that gives. ``p_values``: see below. ``method``:
        "permutation", "image_permutation" or "end_to_end", depending on `via`; or "conditional".

    Raises
    ------
    PermGradError
        If the model has no such branch, inputs do not fit, the meaning of the output is ambiguous, the checkpoint
        belongs to other work, or `conditional` is true with fewer than 20 rows.

    Notes ----- Without ``conditional``, the null hypothesis of a p-value is that the mean difference of the rows'
    losses, permuted minus unpermuted, is not above 0. The p-value asks whether *this network* gains by the feature. A
    network that relies on a feature that merely correlates with a relevant one does gain by it, so the p-value is
    small. Rows are the independent units: each row's differences are averaged over repeats, and the rows' means enter
    one paired, one-sided t-test. (With groups of rows, the groups' sums do. Bins of similar rows are formed regardless
    of groups.)

    With ``conditional=True``, the null hypothesis is that the target is independent of the feature, given the other
    columns; the alternative is that the network's use of the feature is related to the target. See
    `independence_p_value`: a t-test of products over rows, without random draws. It is valid for any network as far as
    ridge, kernel regression and trees can learn the dependence among columns from these rows, and as far as what is
    left to learn shows in rows that are alike, or falls with the number of rows as usual. With few rows per column it
    may flag too many features; `docs/evidence.md` has the figures. If a feature would be found (0.05), but more than
    0.3 of what was found is taken off for what is left to learn, a warning names it, and ``settings["untold"]`` has
    the share.

    References
    ----------
    Breiman, Random Forests (2001); Fisher, Rudin & Dominici, JMLR 20 (2019). p-values: Watson & Wright, Machine
    Learning 110 (2021), conditional predictive impact; Shah & Peters, Annals of Statistics 48 (2020).

    Examples
    --------
    >>> encoded, numbers = clf.encoder_.transform(test.X), np.searchsorted(clf.classes_, test.y)
    >>> found = pg.permutation_importance(clf.network_, encoded, numbers, n_repeats=2)
    >>> found.scores.shape, found.method
    ((4,), 'permutation')
    """
    sample_weight, row_groups = weights_and_groups(inputs, sample_weight, row_groups)
    budget = budget.begin()
    head, unit = head_and_unit(model, output)
    data = Inputs.of(model, inputs, budget.max_memory, output=head)
    target = Target.of(y, data, classes, task, sample_weight, row_groups, unit)
    target.check_tellable()
    if features is None:
        source = inputs[permuted_branches(data, via)[0].input_index] if isinstance(inputs, (list, tuple)) else inputs
        features = column_names(source) or (None if layout is None else layout.features)
    return permute_features(
        data,
        target,
        via=via,
        layout=layout,
        columns_of=resolve_groups(
            count_columns(data, permuted_branches(data, via), layout), features, groups, alone=True
        ),
        conditional=conditional,
        n_repeats=n_repeats,
        random_state=random_state,
        budget=budget,
        verbose=verbose,
        n_jobs=n_jobs,
    )


def permute_features(
    data: Inputs,
    target: Target,
    *,
    via: str,
    layout: FeatureLayout | None,
    columns_of: Mapping[str, np.ndarray],
    conditional: bool = False,
    n_repeats: int,
    random_state: int,
    budget: Budget,
    verbose: bool,
    n_jobs: int | None = None,
) -> FeatureRanking:
    """Do what `permutation_importance` does of features, each of some columns, with what other explainers share."""
    check_repeats(n_repeats)
    check_random_state(random_state)
    branches = permuted_branches(data, via)
    n_columns = count_columns(data, branches, layout)
    positions = {
        branch: [positions_in(data, branch, columns, layout) for columns in columns_of.values()] for branch in branches
    }
    settings = {"via": via, "conditional": conditional, "n_repeats": n_repeats, "random_state": random_state}
    work = {"features": list(columns_of), **settings}
    if budget.checkpoint is not None:
        work["columns"] = [[columns.tolist() for columns in of_branch] for of_branch in positions.values()]
        work |= {"task": asdict(target.task), **fingerprint(data, target.y), **target.marks()}
    checkpoint = Checkpoint(budget.checkpoint, work)
    alike = None
    if conditional:
        rows = data.of_branch(branches[0])
        alike = alike_rows(rows.columns(np.arange(rows.width)), n_columns, random_state)
    measurement = Measurement(data, target, positions, n_repeats, random_state, alike, n_jobs)
    measurement.run(checkpoint, budget, verbose)
    if alike is not None:
        settings["untold"] = badly_told(measurement, tuple(columns_of))
    method = "conditional" if conditional else METHODS[via]
    return ranking_of(measurement, tuple(columns_of), method, settings)


class Measured(Protocol):
    """What a ranking is made of: increases of the loss, by features and repeats, and what they are sums of."""

    increases: Increases
    bootstrap: Bootstrap
    target: Target
    baseline: np.ndarray


def ranking_of(
    measurement: Measured, features: tuple[str, ...], method: str, settings: dict[str, Any]
) -> FeatureRanking:
    """Make scores, intervals and p-values of the increases that were measured."""
    increases, bootstrap = measurement.increases, measurement.bootstrap
    classes = measurement.target.classes
    mean = increases.by_repeat.mean(axis=1)  # (n_features, 1 + n_classes)
    several = increases.by_repeat.shape[1] > 1
    replicates = bootstrap.paired_means(increases.taking, increases.giving.sum(axis=1))
    by_class = [
        bootstrap.paired_means(increases.taking * (bootstrap.classes == c), increases.giving[:, c], c)
        for c in range(len(classes or ()))
    ]
    return FeatureRanking(
        features,
        mean[:, 0],
        std=increases.by_repeat[:, :, 0].std(axis=1, ddof=1) if several else np.zeros(len(features)),
        class_scores=mean[:, 1:] if classes else None,
        classes=classes,
        method=method,
        pending=tuple(np.array(features, object)[~increases.measured].tolist()),
        **interval(mean[:, 0], replicates, increases.measured),
        p_values=increases.p_values,
        settings={
            **settings,
            "loss": measurement.target.task.loss,
            "n_rows": len(measurement.baseline),
            "baseline_loss": measurement.target.mean(measurement.baseline),
        },
        replicates=replicates,
        class_replicates=np.stack(by_class, axis=-1) if by_class else None,
    )


def permuted_branches(data: Inputs, via: str) -> list[Branch]:
    """Return the branches that are permuted, one of each kind.

    Raises
    ------
    PermGradError
        If there is no such way, or not one branch of a kind.
    """
    if via not in KINDS:
        raise PermGradError(f"via must be 'tabular', 'image' or 'both', got {via!r}")
    by_kind = {kind: data.cut.of_kind(kind) for kind in KINDS[via]}
    for kind, branches in by_kind.items():
        if len(branches) != 1:
            raise PermGradError(
                f"permutation via={via!r} needs a model with one {kind} branch, this one has {len(branches)}"
            )
    return [branch for branches in by_kind.values() for branch in branches]


def alike_rows(X: np.ndarray, n_columns: int, random_state: int) -> AlikeRows:
    """Find rows alike in all other columns of X, and warn where they are too few for that."""
    if len(X) < ROWS_PER_PREDICTOR * n_columns:
        warnings.warn(
            f"{len(X)} rows for {n_columns} columns: with fewer than {ROWS_PER_PREDICTOR} rows per column,"
            " conditional permutation may miss ties among columns, and flag some that tell nothing",
            stacklevel=3,
        )
    return AlikeRows(X, random_state)


def badly_told(measurement: Any, features: tuple[str, ...]) -> dict[str, float]:
    """Return the features whose ties to the others were learned badly, and warn of them; see `independence_p_value`."""
    untold = measurement.increases.untold
    badly = {features[i]: float(untold[i]) for i in np.flatnonzero(untold > UNTOLD)}
    if badly:
        warnings.warn(
            "the other columns tell more of these features, or of the target, than was learned from"
            f" {len(measurement.target.y)} rows; their conditional p-values allow for that, and are the larger for it:"
            f" {listing(badly)}; rank them on more rows",
            stacklevel=4,
        )
    return badly


def count_columns(data: Inputs, branches: list[Branch], layout: FeatureLayout | None) -> int:
    """Return how many columns there are to permute: the table's, or the layout's where only an image is given."""
    counts = []
    for branch in branches:
        shape = data.of_branch(branch).shape[1:]
        if len(shape) == 1:
            counts.append(shape[0])
        elif layout is None or layout.shape != shape[:2]:
            raise PermGradError(
                f"the image of shape {shape} is an input of its own: pass the layout= that drew it,"
                f" {'none was given' if layout is None else f'not one of shape {layout.shape}'}"
            )
        else:
            counts.append(len(layout.features))
    if len(set(counts)) > 1:
        raise PermGradError(
            f"the table has {counts[0]} columns, the layout {counts[1]} features: they must be the same"
        )
    return counts[0]


def positions_in(data: Inputs, branch: Branch, columns: np.ndarray, layout: FeatureLayout | None) -> np.ndarray:
    """Return where a feature's columns are in the flat rows that the branch starts from."""
    shape = data.of_branch(branch).shape[1:]
    if len(shape) == 1 or layout is None:
        return columns
    pixels = np.unique(layout.rows[columns] * shape[1] + layout.cols[columns])
    channels = shape[2] if len(shape) == 3 else 1
    return (pixels[:, None] * channels + np.arange(channels)).reshape(-1)
