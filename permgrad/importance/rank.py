"""Rank a network's features: by the game of (feature, branch), or by a formula that fuses explainers."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.data.checks import check_columns
from permgrad.data.probes import probes_among
from permgrad.data.rows import weights_and_groups
from permgrad.errors import PermGradError, listing
from permgrad.images.layout import FeatureLayout
from permgrad.importance.ablation import BranchWeights, weigh_branches
from permgrad.importance.budget import Budget, check_random_state, check_repeats
from permgrad.importance.formula import Choice, Formula, named_formula
from permgrad.importance.fusion import fuse
from permgrad.importance.game.ranking import QUICK as QUICK_GAME
from permgrad.importance.game.ranking import model_outputs, numbers_walked, play
from permgrad.importance.grad_cam import read_heat
from permgrad.importance.grouping._columns import column_names, resolve_groups
from permgrad.importance.grouping._hierarchy import Groups, levels_of, ranked_by_level
from permgrad.importance.grouping.correlated import correlated_groups
from permgrad.importance.learned import sentence, what_is_learned
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch, CutModel
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.permuting._network import work_of_permuting
from permgrad.importance.permuting.permutation import KINDS, METHODS, count_columns, permute_features, positions_in
from permgrad.importance.rank_opaque import rank_opaque
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.redundancy import MOST_COLUMNS, alike_columns
from permgrad.metrics.outputs import head_and_unit

QUICK = 1e12
"""Multiplications of the image branch (`work_of_permuting`), over all permutations of all rows, up to which features
are permuted end to end without being asked for: about a minute on two cores."""


def rank_features(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    layout: FeatureLayout | None = None,
    groups: Groups | None = None,
    classes: Sequence[Any] | None = None,
    task: Literal["classification", "regression"] | None = None,
    output: int | str | None = None,
    prior: Any = None,
    class_weights: Sequence[float] | np.ndarray | None = None,
    sample_weight: Any = None,
    row_groups: Any = None,
    formula: Formula | Choice | None = None,
    end_to_end: bool | None = None,
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
    budget: Budget = Budget(),
    verbose: bool = False,
) -> FeatureRanking:
    """Rank the features of a Keras model, or of any fitted estimator, by the loss that each saves.

    Scores come from a game: its players are pairs (feature, branch), the worth of a coalition is the loss on these rows
    that the model saves when it sees the coalition's players, and the score of a feature is the sum of its players'
    Shapley values. The scores add up to the loss that the model saves over its mean prediction. A feature that the
    model ignores scores 0; a feature without information about the target has an expected score of 0 or below.

    Parameters
    ----------
    model : keras.Model or fitted estimator
        Any functional model with a tabular branch, an image branch, or both; the branches are found in the graph. With
        one branch, the ranking is that of this branch alone. Or anything with ``predict_proba`` (log loss) or
        ``predict`` (squared error), such as scikit-learn's pipelines or gradient boosting. That counts as a model with
        one branch that cannot be cut; see Notes.
    inputs : array or list of arrays
        One for each input of the model, the tabular one also as a DataFrame or `Table` of numbers. The tabular columns
        are the layout's features, in the layout's order. For an estimator, a DataFrame, `Table` or array, as its
        ``predict`` takes it.
    y : array of shape (n_rows,)
        Class numbers (or one-hot rows), target values or shares, for rows that the model was not trained on; labels for
        an estimator.
    layout : FeatureLayout
        Where each feature sits in the image; needed unless the model has no image branch.
    groups : mapping of str to columns, or "correlated", optional
        Columns, by name or position, to permute together and rank as one; each that is in no group is ranked by itself.
        "correlated" clusters the columns by these rows, in two levels, see `correlated_groups`. Then columns are also
        ranked one by one, within the time that is left.
    classes : sequence, optional
        Class names.
    task : {"classification", "regression"}, optional
        See `permutation_importance`.
    output : int or str, optional
        Which output to use: of a Keras model with several, by position or name; of one whose output, or of an estimator
        whose ``predict``, tells several values of a row, the position of one (or its name in `y`, a DataFrame). By
        default all of several values count, each in units of its variance in `y`.
    prior : array of shape (n_classes,) or (n_outputs,), optional
        What a model that has learned nothing would predict: each class's share of the training rows, or the mean of
        their target. By default those of these rows.
    class_weights : array of shape (n_classes,), optional
        Class weights in the loss that the model was trained with. That loss shows whether the model has learned
        anything; scores and branch weights use the unweighted loss.
    sample_weight, row_groups : array of shape (n_rows,), optional
        How many rows each row stands for, and labels of rows that were drawn together; see `permutation_importance`. By
        default those of a `Table`.
    formula : {"game", "last in", "fused", "published"} or Formula, optional
        "game": Shapley values, see above. "last in": permutation through all branches, which takes less time.
        "published", or a `Formula`: permutation and Grad-CAM scores on one scale, weighted by ablation of the branches,
        and added ("fused" is ``Formula()``); their scores have no meaningful zero. By default the game if it takes a
        few minutes at most, otherwise "last in". ``settings["formula"]`` says which.
    end_to_end : bool, optional
        Also permute each raw column through both branches at once (last in); by default if that takes about a minute at
        most.
    conditional : bool
        Also permute among rows that are alike in the other columns. This component has p-values for the information
        that a feature adds, see `permutation_importance`.
    n_repeats : int
        Permutations of each feature.
    random_state : int
        Seed of permutations and bootstrap.
    budget : Budget
        Memory, time, checkpoint, and the game's tolerance. Permutations through both branches come second; they get the
        remaining time, and their own checkpoint file beside the named one.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    FeatureRanking
        With the game, see `permgrad.importance.game.ranking.play`: ``method`` is "shapley", and ``components`` has
        "first_in", each branch's part and, if measured, "end_to_end" ("permutation" for a model of one table) and
        "conditional". With a formula, ``components`` has "permutation", the attribution's name and, if requested,
        "end_to_end" and "conditional"; see `fuse` for scores and intervals. With groups, ``drill_down(group)`` gives
        the ranking of a group's members.
        ``settings["agreement"]``: Spearman's correlation of each component with the score.
        ``settings["learned"]``: the model's loss and that of the prior, see `what_is_learned`. If the model is no
        better, branch weights would be noise: branches get equal weights, and the measured ones are in
        ``settings["distrusted_branch_weights"]``.

    Raises
    ------
    PermGradError
        If the model cannot be cut into one tabular and one image branch, or inputs, target and layout do not fit it.

    Warns
    -----
    UserWarning
        If the model's loss on these rows is not significantly below that of the prior.

    Notes
    -----
    For an estimator, the game has one branch with the columns as they are, numbers or text. Among the components,
    "permutation" is last in, with p-values. If the game would need too many predictions, and was not requested,
    permutation importance is the score. Layout, other formulas and end_to_end are for Keras models only. This package's
    own estimators have a method ``rank_features`` that uses their structure.

    References
    ----------
    Covert, Lundberg & Lee, Understanding Global Feature Contributions with Additive Importance Measures (NeurIPS
    2020). Escalera-González, Castillo-Cara, Rincón-Zamorano & Orozco-Barbosa, PermGrad.

    Examples
    --------
    >>> found = pg.rank_features(logistic, test.X, test.y, n_repeats=2)
    >>> found.method, found.features[0]
    ('shapley', 'sepal length (cm)')
    """
    check_repeats(n_repeats)
    check_random_state(random_state)
    sample_weight, row_groups = weights_and_groups(inputs, sample_weight, row_groups)
    if not isinstance(model, (keras.Model, CutModel)):
        _check_outside(layout, formula, end_to_end)
        return rank_opaque(
            Opaque.of(
                model,
                inputs,
                y,
                classes=classes,
                task=task,
                output=output,
                sample_weight=sample_weight,
                row_groups=row_groups,
            ),
            groups=groups,
            prior=prior,
            class_weights=class_weights,
            formula=formula,  # type: ignore[arg-type]
            conditional=conditional,
            n_repeats=n_repeats,
            random_state=random_state,
            budget=budget,
            verbose=verbose,
        )
    return rank_network(
        model,
        inputs,
        y,
        layout=layout,
        groups=groups,
        classes=classes,
        task=task,
        output=output,
        prior=prior,
        class_weights=class_weights,
        sample_weight=sample_weight,
        row_groups=row_groups,
        formula=formula,
        end_to_end=end_to_end,
        conditional=conditional,
        n_repeats=n_repeats,
        random_state=random_state,
        budget=budget,
        verbose=verbose,
    )


def rank_network(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    layout: FeatureLayout | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    features: Sequence[str] | None = None,
    groups: Groups | None = None,
    classes: Sequence[Any] | None = None,
    task: str | None = None,
    output: int | str | None = None,
    prior: Any = None,
    class_weights: Sequence[float] | np.ndarray | None = None,
    sample_weight: Any = None,
    row_groups: Any = None,
    budget: Budget = Budget(),
    **settings: Any,
) -> FeatureRanking:
    """Rank the features of a Keras model: groups, from coarse to fine, then single features.

    Parameters
    ----------
    columns : mapping of str to positions, optional
        Feature → its columns; by default each column is a feature.
    features : sequence of str, optional
        All of the table's columns, if some of them are not among `columns`, because they never vary.
    others
        As of `rank_features`.
    """
    budget = budget.begin()
    head, unit = head_and_unit(model, output)
    data = Inputs.of(model, inputs, budget.max_memory, output=head, shared=True)
    tabular, image = _branches(data, layout)
    names = _feature_names(inputs, tabular, layout)
    if columns is None:
        columns = resolve_groups(count_columns(data, list(data.cut.branches), layout), names, None)
    levels = levels_of(groups, list(columns), functools.partial(_correlated, data, layout, columns), features)
    target = Target.of(y, data, classes, task, sample_weight, row_groups, unit)
    target.check_tellable()
    rank_level = functools.partial(
        _rank_level, data, target, tabular, image, layout=layout, prior=prior, class_weights=class_weights, **settings
    )
    return ranked_by_level(levels, columns, lambda members, step: rank_level(columns_of=members, budget=step), budget)


def _rank_level(
    data: Inputs,
    target: Target,
    tabular: Branch | None,
    image: Branch | None,
    *,
    layout: FeatureLayout | None,
    columns_of: Mapping[str, np.ndarray],
    prior: Any,
    class_weights: Any,
    formula: Formula | Choice | None = None,
    end_to_end: bool | None = None,
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
    budget: Budget = Budget(),
    verbose: bool = False,
) -> FeatureRanking:
    """Rank features, each of some columns; arguments as of `rank_features`."""
    shared: dict[str, Any] = {"layout": layout, "columns_of": columns_of, "random_state": random_state}
    chosen = _chosen(formula, data, columns_of, layout)
    heat, alike = None, None
    if isinstance(chosen, Formula) and image and layout is not None:
        # First: on its way it computes the image branch's codes, which the others use.
        bootstrap = target.bootstrap(random_state)
        heat = read_heat(data, layout, chosen, columns_of, target.task, target.classes, bootstrap, target.weights)
    weights = weigh_branches(data, target, chosen if isinstance(chosen, Formula) else Formula(), random_state)
    losses: Any = weights.row_losses
    outputs = functools.partial(_outputs_of_rows, data)
    learned = what_is_learned(target, losses, prior, class_weights, outputs)
    if not learned["better"]:
        warnings.warn(sentence(learned, bool(target.classes)), stacklevel=6)
    permute = functools.partial(permute_features, data, target, **shared, n_repeats=n_repeats, verbose=verbose)
    via = "both" if tabular and image else "tabular" if tabular else "image"
    if isinstance(chosen, Formula):
        permutation = permute(via="tabular", budget=budget) if tabular else None
        trusted = weights if learned["better"] else weights.alike()
        ranking = replace(_fused(permutation, heat, trusted, chosen), branch_weights=weights.weights)
    elif chosen == "game":
        budget.check_parts("the game of all features")
        ranking = play(data, target, **shared, budget=budget, verbose=verbose)
        alike = _alike(data, layout, columns_of)
    else:
        ranking = replace(permute(via=via, budget=budget), branch_weights=weights.weights)
        ranking = replace(ranking, components={ranking.method: ranking})
    if end_to_end is None:
        end_to_end = image is None or _work(data, image, layout, columns_of) * n_repeats <= QUICK
    beside = via == "both" or not isinstance(chosen, Formula)
    lasts = end_to_end and beside and METHODS[via] not in ranking.components
    components = {**ranking.components, **_further(permute, budget, via, lasts, conditional)}
    ranking, distrusted = (ranking, {}) if learned["better"] else _doubted(ranking)
    settings = {
        **(chosen.to_settings() if isinstance(chosen, Formula) else {}),
        "formula": "fused" if isinstance(chosen, Formula) else chosen,
        **ranking.settings,
        "loss": target.task.loss,
        "n_repeats": n_repeats,
        "random_state": random_state,
        "losses": weights.losses,
        "learned": learned,
        **distrusted,
        **({} if alike is None else {"alike": alike}),
        "scope": "this network",
        "probes": probes_among(ranking.features),
        "agreement": {name: part.agreement(ranking) for name, part in components.items() if name not in KINDS},
    }
    return replace(ranking, components=components, settings=settings)


def _outputs_of_rows(data: Inputs) -> np.ndarray:
    """Return the model's outputs, (n_rows, n_outputs)."""
    return model_outputs(data).reshape(len(data), -1)


def _doubted(ranking: FeatureRanking) -> tuple[FeatureRanking, dict[str, Any]]:
    """Let branches count alike, and return as settings what would have been their weights."""
    weights = ranking.branch_weights
    if not weights:
        return ranking, {}
    alike = dict.fromkeys(weights, 1 / len(weights))
    return replace(ranking, branch_weights=alike), {"distrusted_branch_weights": weights}


def _chosen(
    formula: Formula | Choice | None, data: Inputs, columns_of: Mapping[str, np.ndarray], layout: FeatureLayout | None
) -> Formula | Literal["game", "last in"]:
    """Return the formula that is asked for; without one, the game or what takes less."""
    if isinstance(formula, Formula):
        return formula
    if formula is None:
        branches = list(data.cut.branches)
        positions = {b: [positions_in(data, b, columns, layout) for columns in columns_of.values()] for b in branches}
        quick = numbers_walked(data, positions) <= QUICK_GAME
        return "game" if quick else "last in"
    return named_formula(formula)


def _check_outside(layout: Any, formula: Any, end_to_end: bool | None) -> None:
    """Raise for what asks to look inside a model that shows nothing of its inside."""
    if formula not in (None, "game", "last in"):
        raise PermGradError(
            f"formula must be 'game' or 'last in' for an estimator, got {listing([formula])}: other formulas weigh the"
            " branches of a Keras model"
        )
    asked = {
        "layout": layout is not None,
        "end_to_end": bool(end_to_end),
    }
    if any(asked.values()):
        raise PermGradError(
            f"an estimator's branches are unknown; leave out {listing(name for name, given in asked.items() if given)},"
            " for Keras models only"
        )


def _branches(data: Inputs, layout: FeatureLayout | None) -> tuple[Branch | None, Branch | None]:
    """Return the tabular and the image branch, None where there is none."""
    tabular, image = data.cut.of_kind("tabular"), data.cut.of_kind("image")
    if len(tabular) > 1 or len(image) > 1:
        raise PermGradError(
            f"PermGrad fuses one tabular and one image branch, this model has {len(tabular)} and {len(image)};"
            " use permutation_importance, grad_cam and branch_weights on its parts"
        )
    if image and layout is None:
        raise PermGradError("the model has an image branch: pass layout=, which says where each feature sits in it")
    return (tabular[0] if tabular else None), (image[0] if image else None)


def _feature_names(inputs: Any, tabular: Branch | None, layout: FeatureLayout | None) -> Sequence[str] | None:
    """Return the columns' names: the layout's, or those of a DataFrame; both are the same if both are given."""
    several = isinstance(inputs, (list, tuple))
    names = column_names(inputs[tabular.input_index] if several and tabular else inputs)
    if layout is None:
        return names
    if tabular and names is not None:
        check_columns(names, layout.features, "the tabular input")
    return layout.features


def _fused(
    permutation: FeatureRanking | None, heat: FeatureRanking | None, weights: BranchWeights, formula: Formula
) -> FeatureRanking:
    """Fuse the two, or return the scores of a model with one branch as they are."""
    if permutation is not None and heat is not None:
        return fuse(permutation, heat, weights, fusion_scale=formula.fusion_scale)  # type: ignore[arg-type]
    alone = permutation or heat
    if alone is None:
        raise PermGradError("the model has neither a tabular nor an image branch")
    return replace(alone, components={alone.method: alone})


def _further(
    permute: Callable[..., FeatureRanking], budget: Budget, via: str, last_in: bool, conditional: bool
) -> dict[str, FeatureRanking]:
    """Permute through all branches at once, and among alike rows, where asked for."""
    components = {}
    if last_in:
        components[METHODS[via]] = permute(via=via, budget=budget.step(METHODS[via]))
    if conditional:
        components["conditional"] = permute(via=via, conditional=True, budget=budget.step("conditional"))
    return components


def _alike(data: Inputs, layout: FeatureLayout | None, columns_of: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Group features whose columns go together, as a branch sees them."""
    return [] if len(columns_of) > MOST_COLUMNS else alike_columns(*_numbers(data, layout, columns_of))


def _correlated(
    data: Inputs, layout: FeatureLayout | None, columns_of: Mapping[str, np.ndarray]
) -> list[dict[str, list[str]]]:
    """Cluster features by their columns, as a branch sees them."""
    if not isinstance(data.of_branch(data.cut.branches[0]).array, np.ndarray):
        raise PermGradError("groups='correlated' needs rows as one dense array; make them dense, or name the groups")
    rows, at = _numbers(data, layout, columns_of)
    return correlated_groups(rows, columns={name: own.tolist() for name, own in at.items()})


def _numbers(
    data: Inputs, layout: FeatureLayout | None, columns_of: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the features' numbers in all rows, as a branch sees them, and the positions of each feature's there."""
    branch = data.cut.branches[0]
    positions = [positions_in(data, branch, columns, layout) for columns in columns_of.values()]
    rows = data.of_branch(branch).columns(np.concatenate(positions))
    at = np.split(np.arange(rows.shape[1]), np.cumsum([len(each) for each in positions])[:-1])
    return rows, dict(zip(columns_of, at, strict=True))


def _work(data: Inputs, image: Branch, layout: FeatureLayout | None, columns_of: Mapping[str, np.ndarray]) -> int:
    """Count the multiplications of permuting each feature once, in all rows."""
    positions = [positions_in(data, image, columns, layout) for columns in columns_of.values()]
    return len(data) * work_of_permuting(data.cut, image, positions)
