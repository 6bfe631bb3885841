"""Rank the columns of any fitted model: permutation importance by its loss, with what is known of it set beside."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from permgrad.data.probes import probes_among
from permgrad.importance.budget import Budget, check_repeats
from permgrad.importance.game.play import DONORS, LEAST_ROUNDS, MOST_ROWS
from permgrad.importance.game.ranking import play_opaque
from permgrad.importance.grouping._hierarchy import Groups, levels_of, ranked_by_level
from permgrad.importance.grouping.correlated import correlated_groups
from permgrad.importance.learned import sentence, what_is_learned
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.permuting.conditional import AlikeRows
from permgrad.importance.permuting.opaque import columns_by_feature, permute_opaque
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.redundancy import alike_columns

QUICK_CELLS = 2e8
"""Cells of all the tables that the game asks a model about, up to which it is played without being asked for."""


def rank_opaque(
    opaque: Opaque,
    *,
    groups: Groups | None = None,
    prior: Any = None,
    class_weights: Sequence[float] | np.ndarray | None = None,
    formula: Literal["game", "last in"] | None = None,
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
    budget: Budget = Budget(),
    verbose: bool = False,
) -> FeatureRanking:
    """Rank the columns of a model that cannot be cut; arguments as of `permgrad.rank_features`.

    Returns
    -------
    FeatureRanking
        ``method``: "shapley", with "first_in" and "permutation" among its ``components``; or, where the game would ask
        the model too often and was not asked for, "permutation". "conditional" where asked for.
        ``settings["learned"]``: see `what_is_learned`.

    Warns
    -----
    UserWarning
        If the model's loss on these rows cannot be told from that of the prior.
    """
    check_repeats(n_repeats)
    budget = budget.begin()
    if conditional:
        AlikeRows(opaque.numeric.values, random_state)  # raises before any work where rows do not allow it
    columns = columns_by_feature(opaque)
    levels = levels_of(groups, list(columns), lambda: _correlated(opaque, columns))
    opaque.target.check_tellable()
    learned = what_is_learned(opaque.target, opaque.baseline, prior, class_weights, lambda: opaque.outputs)
    if not learned["better"]:
        warnings.warn(sentence(learned, bool(opaque.target.classes), branches=False), stacklevel=3)
    given: Any = {"n_repeats": n_repeats, "random_state": random_state, "verbose": verbose}
    rank_level = functools.partial(
        _rank_level, opaque, formula=formula, conditional=conditional, learned=learned, **given
    )
    return ranked_by_level(levels, columns, rank_level, budget)


def _rank_level(
    opaque: Opaque,
    columns_of: Mapping[str, np.ndarray],
    budget: Budget,
    *,
    formula: str | None,
    conditional: bool,
    learned: Mapping[str, Any],
    n_repeats: int,
    random_state: int,
    verbose: bool,
) -> FeatureRanking:
    """Rank features, each of some columns; arguments as of `permgrad.rank_features`."""
    given: Any = {"columns_of": columns_of, "n_repeats": n_repeats, "random_state": random_state, "verbose": verbose}
    cells = 2 * LEAST_ROUNDS * DONORS * min(len(opaque), MOST_ROWS) * len(columns_of) * opaque.n_columns
    played = formula == "game" or (formula is None and cells <= QUICK_CELLS)
    if played:
        budget.check_parts("the game of all features")
        ranking = play_opaque(opaque, columns_of, random_state=random_state, budget=budget, verbose=verbose)
        last_in = permute_opaque(opaque, budget=budget.step("permutation"), **given)
        components = {**ranking.components, last_in.method: last_in}
        ranking = replace(ranking, settings={**ranking.settings, "alike": _alike(opaque, columns_of)})
    else:
        ranking = permute_opaque(opaque, budget=budget, **given)
        components = {ranking.method: ranking}
    if conditional:
        components["conditional"] = permute_opaque(opaque, conditional=True, budget=budget.step("conditional"), **given)
    agreement = {name: part.agreement(ranking) for name, part in components.items()}
    settings = {
        **ranking.settings,
        "formula": "game" if played else "last in",
        "n_repeats": n_repeats,
        "random_state": random_state,
        "learned": learned,
        "scope": "this model",
        "probes": probes_among(ranking.features),
        "agreement": agreement,
    }
    return replace(ranking, components=components, settings=settings)


def _correlated(opaque: Opaque, columns_of: Mapping[str, np.ndarray]) -> list[dict[str, list[str]]]:
    """Cluster columns by what is known of them as numbers; a column of which nothing is stands alone."""
    at = {name: opaque.numeric.of_columns(columns) for name, columns in columns_of.items()}
    levels = correlated_groups(
        opaque.numeric.values, columns={name: own.tolist() for name, own in at.items() if len(own)}
    )
    alone = {name: [name] for name, own in at.items() if not len(own)}
    return [{**level, **alone} for level in levels]


def _alike(opaque: Opaque, columns_of: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Group features of numbers, none missing, whose columns go together."""
    frame = pd.DataFrame(opaque.rows).infer_objects()
    usable = np.array([pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]) & ~frame.isna().any().to_numpy()
    at = {name: columns for name, columns in columns_of.items() if usable[columns].all()}
    numbers = np.zeros(frame.shape, np.float32)
    numbers[:, usable] = frame.loc[:, usable].to_numpy(np.float32)
    return alike_columns(numbers, at)
