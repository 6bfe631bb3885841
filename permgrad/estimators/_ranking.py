"""`rank_features` as a method of an estimator: a table's columns in, a ranking of them out."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.data.rows import weights_and_groups
from permgrad.data.streamed import StreamedTable
from permgrad.estimators._effects import TellsEffects
from permgrad.estimators._rows_enough import rank_enough_rows
from permgrad.images.layout import FeatureLayout
from permgrad.importance.averaging import average_rankings
from permgrad.importance.budget import Budget
from permgrad.importance.formula import Choice, Formula
from permgrad.importance.grouping._hierarchy import Groups
from permgrad.importance.rank import rank_network
from permgrad.importance.ranking import FeatureRanking
from permgrad.models.sending import network_from_bytes, network_to_bytes
from permgrad.parallel import count_workers, run


@dataclass(frozen=True, eq=False)
class ExplainedRows:
    """Rows and target as an estimator's network takes them.

    Attributes
    ----------
    rows : array, sparse matrix or RowsOnDisk of shape (n_rows, n_columns)
    target : ndarray of shape (n_rows,)
        Class numbers, or target values.
    columns : dict of str to ndarray
        Feature → positions of its columns in `rows`.
    features : tuple of str
        All of the table's columns, in its order; those that never varied are in `constant`, too.
    constant : tuple of str
    classes : list, optional
        Labels, in the order of their numbers.
    """

    rows: Any
    target: np.ndarray
    columns: dict[str, np.ndarray]
    features: tuple[str, ...]
    constant: tuple[str, ...]
    classes: list[Any] | None = None


class RanksFeatures(TellsEffects):
    """`rank_features` for an estimator with fitted ``networks_``, of the rows that `_explained_rows` returns."""

    networks_: list[Any]
    random_state_: int
    verbose: bool
    n_jobs: int | None = None
    layout_: FeatureLayout | None = None
    prior_: np.ndarray
    class_weights_: np.ndarray | None = None

    def _explained_rows(self, X: Any, y: Any) -> ExplainedRows:
        """Return rows and target as the network takes them."""
        raise NotImplementedError

    def rank_features(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Groups | None = None,
        sample_weight: Any = None,
        row_groups: Any = None,
        formula: Formula | Choice | None = None,
        end_to_end: bool | None = None,
        conditional: bool = False,
        n_repeats: int = 5,
        random_state: int | None = None,
        budget: Budget = Budget(),
        verbose: bool | None = None,
    ) -> FeatureRanking:
        """Rank the table's columns by the loss that each saves, on rows that the network was not fitted on.

        Parameters
        ----------
        X, y
            As for `fit`. From a `StreamedTable`, a random sample is drawn, as large as the budget's tolerance requires.
        groups : mapping of str to column names, or "correlated", optional
            Columns to permute together and rank as one; other columns stay single. "correlated" clusters the columns by
            these rows, in two levels, see `permgrad.correlated_groups`.
        sample_weight, row_groups : array of shape (n_rows,), optional
            How many rows each row stands for, and labels of rows that were drawn together (`fit` calls them groups); by
            default those of a table. See `permgrad.permutation_importance`.
        formula : {"game", "last in", "fused", "published"} or Formula, optional
            By default Shapley values of the game of (column, branch), if they take a few minutes at most; see
            `permgrad.rank_features`.
        end_to_end : bool, optional
            Also permute each column through both branches at once (last in); by default if that takes about a minute at
            most.
        conditional : bool
            Also permute among rows that are alike in the other columns, for p-values; see
            `permgrad.permutation_importance`.
        n_repeats : int
            Permutations of each column.
        random_state : int, optional
            Seed of permutations and bootstrap; by default the estimator's.
        budget : Budget
            Memory, time, checkpoint and tolerance. With groups, time goes to them first, and each level has its own
            checkpoint beside the named one.
        verbose : bool, optional
            Show progress bars; by default the estimator's.

        Returns
        -------
        FeatureRanking
            One entry for each column of the table: the 0/1 columns of a category count as one, and Grad-CAM is averaged
            over their pixels. Columns that never varied rank last.
            With groups, one entry for each group; ``drill_down(group)`` gives the ranking of its members.
            If the network's loss is not significantly below that of the training rows' prior, ``settings["learned"]``
            says so, and the branches get equal weights; see `permgrad.rank_features`.

        Raises
        ------
        UnfittedError, PermGradError

        Warns
        -----
        UserWarning
            If the network's loss on these rows shows nothing learned.

        Examples
        --------
        >>> ranking = clf.rank_features(test, n_repeats=2)
        >>> ranking.features == clf.features_, ranking.method
        (True, 'shapley')
        """
        budget = budget.begin()
        settings: dict[str, Any] = {
            "formula": formula,
            "end_to_end": end_to_end,
            "conditional": conditional,
            "n_repeats": n_repeats,
        }
        if isinstance(X, StreamedTable):
            settings |= {"groups": groups, "random_state": random_state, "verbose": verbose}
            return rank_enough_rows(self, X, budget, settings)
        explained = self._explained_rows(X, y)
        random_state = self.random_state_ if random_state is None else random_state
        settings["sample_weight"], settings["row_groups"] = weights_and_groups(X, sample_weight, row_groups)
        settings |= {"random_state": random_state, "verbose": self.verbose if verbose is None else verbose}
        if len(self.networks_) == 1:
            return self._rank_network(self.networks_[0], explained, groups, budget, **settings)
        rankings = list(self._rank_networks(explained, groups, budget, settings))
        return average_rankings(rankings, random_state)

    def _rank_networks(
        self, explained: ExplainedRows, groups: Groups | None, budget: Budget, settings: dict[str, Any]
    ) -> Iterator[FeatureRanking]:
        """Yield the ranking of each of several networks: side by side where there are workers."""
        n, at_a_time = len(self.networks_), count_workers(self.n_jobs)
        if at_a_time == 1:
            for i, network in enumerate(self.networks_):
                step = budget.step(f"network{i + 1}", share=1 / (n - i))
                yield self._rank_network(network, explained, groups, step, **settings)
            return
        shell = copy(self)
        shell.networks_ = []  # a live network cannot be sent

        def jobs() -> Iterator[tuple[Any, ...]]:
            for i, network in enumerate(self.networks_):
                step = (budget.unbegun(), f"network{i + 1}", min(1.0, at_a_time / (n - i)))
                yield shell, network_to_bytes(network), explained, groups, step, {**settings, "verbose": False}

        yield from run(_ranked_there, jobs(), self.n_jobs)

    def _rank_network(
        self, network: Any, explained: ExplainedRows, groups: Groups | None, budget: Budget, **settings: Any
    ) -> FeatureRanking:
        """Rank by one of the networks: groups, from coarse to fine, then single columns."""
        ranking = rank_network(
            network,
            explained.rows,
            explained.target,
            layout=self.layout_,
            columns=explained.columns,
            features=explained.features,
            groups=groups,
            classes=explained.classes,
            task="regression" if explained.classes is None else "classification",
            prior=self.prior_,
            class_weights=self.class_weights_,
            budget=budget,
            **settings,
        )
        if set(ranking.features) == set(explained.columns) and not ranking.children:
            return ranking.with_unused(explained.features)
        return ranking.with_unused([*ranking.features, *explained.constant])


def _ranked_there(
    shell: RanksFeatures,
    network: bytes,
    explained: ExplainedRows,
    groups: Groups | None,
    step: tuple[Budget, str, float],
    settings: dict[str, Any],
) -> FeatureRanking:
    """Rank by one of an estimator's networks in a process, within its share of the time."""
    budget, name, share = step
    return shell._rank_network(network_from_bytes(network), explained, groups, budget.step(name, share), **settings)
