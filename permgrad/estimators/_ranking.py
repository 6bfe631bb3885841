"""Explainers as methods of an estimator: a table's columns in, a ranking of them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from permgrad.backend import keras
from permgrad.data.rows import weights_and_groups
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import as_frame
from permgrad.errors import PermGradError, UnfittedError, listing
from permgrad.estimators._rows_enough import rank_enough_rows
from permgrad.images.layout import FeatureLayout
from permgrad.importance.averaging import average_rankings
from permgrad.importance.budget import Budget
from permgrad.importance.effects import Effects
from permgrad.importance.explain import explain_rows
from permgrad.importance.formula import Choice, Formula
from permgrad.importance.game.local import LEAST_ROUNDS
from permgrad.importance.grad_cam import grad_cam_maps
from permgrad.importance.grouping._hierarchy import complete_groups, with_members
from permgrad.importance.grouping.correlated import correlated_groups
from permgrad.importance.rank import rank_features
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.responding.answers import Scale
from permgrad.importance.responding.curves import MAX_ROWS, Names, effects
from permgrad.importance.responding.interactions import ROWS, Interactions, interactions
from permgrad.importance.row_explanations import RowExplanations, average_explanations
from permgrad.models.sending import network_from_bytes, network_to_bytes
from permgrad.parallel import count_workers, run

PREDICT_ROWS = 1024
Groups = Mapping[str, Sequence[str]] | Literal["correlated"]


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


class TellsEffects:
    """`effects` and `interactions` for an estimator with ``predict_proba`` or ``predict``."""

    def effects(
        self,
        X: Any,
        features: Names | str | None = None,
        kind: Literal["ale", "pdp"] = "ale",
        *,
        pairs: Sequence[tuple[str, str]] = (),
        n_points: int = 20,
        ice: int = 0,
        scale: Scale = "log-odds",
        max_rows: int = MAX_ROWS,
        random_state: int = 0,
    ) -> Effects:
        """Measure which way each column of the table pushes the prediction; arguments as for `permgrad.effects`.

        A column moves as a whole, with all parts of a date or all 0/1 columns of a category. The network does not read
        columns that never varied in training, or that were left out; they are measured only if you name them.

        Examples
        --------
        >>> found = clf.effects(test, ["petal width (cm)"], n_points=4)
        >>> found.columns[0].name, found.unit
        ('petal width (cm)', 'log-odds')
        """
        return effects(
            self,
            X,
            features,
            kind,
            pairs=pairs,
            n_points=n_points,
            ice=ice,
            scale=scale,
            max_rows=max_rows,
            random_state=random_state,
        )

    def interactions(
        self,
        X: Any,
        features: Sequence[str] | None = None,
        *,
        n_columns: int = 8,
        max_rows: int = ROWS,
        scale: Scale = "log-odds",
        random_state: int = 0,
    ) -> Interactions:
        """Measure how much pairs of columns interact; arguments as for `permgrad.interactions`.

        Examples
        --------
        >>> found = clf.interactions(test, ["petal width (cm)", "petal length (cm)"], max_rows=10)
        >>> found.table[["first", "second"]].shape
        (1, 2)
        """
        return interactions(
            self, X, features, n_columns=n_columns, max_rows=max_rows, scale=scale, random_state=random_state
        )


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
        if isinstance(X, StreamedTable):
            given: dict[str, Any] = {
                "groups": groups,
                "formula": formula,
                "end_to_end": end_to_end,
                "conditional": conditional,
            }
            given |= {"n_repeats": n_repeats, "random_state": random_state, "verbose": verbose}
            return rank_enough_rows(self, X, budget, given)
        explained = self._explained_rows(X, y)
        random_state = self.random_state_ if random_state is None else random_state
        weights, of_rows = weights_and_groups(X, sample_weight, row_groups)
        settings: dict[str, Any] = {
            "sample_weight": weights,
            "row_groups": of_rows,
            "formula": formula,
            "end_to_end": end_to_end,
            "conditional": conditional,
            "n_repeats": n_repeats,
            "random_state": random_state,
            "verbose": self.verbose if verbose is None else verbose,
        }
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
        levels = _levels(groups, explained)
        rankings = [
            rank_features(
                network,
                explained.rows,
                explained.target,
                layout=self.layout_,
                groups=_positions(level, explained.columns),
                classes=explained.classes,
                task="regression" if explained.classes is None else "classification",
                prior=self.prior_,
                class_weights=self.class_weights_,
                budget=budget.step(f"groups{number}" if number <= len(levels) else ""),
                **settings,
            )
            for number, level in enumerate([*levels, {name: [name] for name in explained.columns}], 1)
        ]
        ranking = with_members(rankings, levels)
        return ranking.with_unused([*ranking.features, *explained.constant] if levels else explained.features)


class RanksByAveraging(TellsEffects):
    """`rank_features` for the mean of several fitted ``estimators_``."""

    estimators_: Sequence[Any]

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
        """Rank the table's columns by each network, on the same rows and permutations, and average the rankings.

        Parameters
        ----------
        X, y, groups, sample_weight, row_groups, formula, end_to_end, conditional, n_repeats, verbose
            As for `HybridClassifier.rank_features`.
        random_state : int, optional
            Seed of permutations and bootstrap, the same for all networks; by default 0.
        budget : Budget
            Each network gets its share of the time, and its own checkpoint beside the named one.

        Returns
        -------
        FeatureRanking
            See `permgrad.average_rankings`: intervals are over rows and networks.

        Raises
        ------
        PermGradError
            If one of the estimators cannot rank features, or their rankings are not of one kind.

        Examples
        --------
        >>> ranked = pg.AveragedClassifier.of([clf, clf]).rank_features(test, formula="last in", n_repeats=1)
        >>> ranked.features == clf.features_
        True
        """
        if not hasattr(self, "estimators_"):
            raise UnfittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        unable = [type(each).__name__ for each in self.estimators_ if not hasattr(each, "rank_features")]
        if unable:
            raise PermGradError(f"an average ranks features if all of its estimators do, not so {listing(unable)}")
        random_state = 0 if random_state is None else random_state
        budget, n = budget.begin(), len(self.estimators_)
        rankings = [
            estimator.rank_features(
                X,
                y,
                groups=groups,
                sample_weight=sample_weight,
                row_groups=row_groups,
                formula=formula,
                end_to_end=end_to_end,
                conditional=conditional,
                n_repeats=n_repeats,
                random_state=random_state,
                budget=budget.step(f"network{i + 1}", share=1 / (n - i)),
                verbose=verbose,
            )
            for i, estimator in enumerate(self.estimators_)
        ]
        return average_rankings(rankings, random_state)


class ExplainsImages(RanksFeatures):
    """The same for an estimator that encodes a table, and whose network may have an image branch."""

    encoder_: Any
    network_: Any
    if TYPE_CHECKING:

        def _encode(self, X: Any) -> np.ndarray: ...
        def predict(self, X: Any) -> np.ndarray: ...
        def _predicted(self, encoded: np.ndarray) -> np.ndarray: ...
        def _target(self, X: Any, y: Any) -> Any: ...
        def _encode_target(self, y: Any) -> np.ndarray: ...

    def _explained_rows(self, X: Any, y: Any) -> ExplainedRows:
        rows, encoder = self._encode(X), self.encoder_
        target = self._encode_target(self._target(X, y))
        classes = self.classes_.tolist() if hasattr(self, "classes_") else None
        return ExplainedRows(rows, target, encoder.groups_, encoder.features_, encoder.constant_, classes)

    def explain_rows(
        self, X: Any, background: Any, *, of: Any = None, n_orders: int = LEAST_ROUNDS, random_state: int | None = None
    ) -> RowExplanations:
        """Explain rows: what each column adds to the network's prediction, as Shapley values of its output.

        Parameters
        ----------
        X
            Rows to explain, as for `predict`.
        background
            Rows whose values replace hidden columns, such as 64 of the training rows; see `permgrad.explain_rows`.
        of : label, optional
            The class whose log-odds are explained. By default the second of two classes; with more classes, the most
            probable class of each row.
        n_orders : int
            Minimum number of orders in which columns are revealed.
        random_state : int, optional
            By default the estimator's.

        Returns
        -------
        RowExplanations
            One value for each column of the table; columns that never varied add 0. With several networks, the mean of
            their outputs is explained (of log-odds, not of probabilities).

        Raises
        ------
        UnfittedError, PermGradError

        Examples
        --------
        >>> explained = clf.explain_rows(test.X.head(2), background=train.X.head(8), n_orders=1)
        >>> explained.values.shape
        (2, 4)
        """
        rows, others, encoder = self._encode(X), self._encode(background), self.encoder_
        classes = getattr(self, "classes_", None)
        labels = None if classes is None else classes.tolist()
        if of is not None and (labels is None or of not in labels):
            raise PermGradError(f"of must be one of the classes {listing(labels or ())}, got {of!r}")
        number = None if of is None else labels.index(of)  # type: ignore[union-attr]
        if number is None and classes is not None and len(classes) > 2:
            number = np.searchsorted(classes, self.predict(X))
        found = [
            explain_rows(
                network,
                rows,
                others,
                of=number,
                layout=self.layout_,
                groups={name: at.tolist() for name, at in encoder.groups_.items()},
                classes=labels,
                task="regression" if labels is None else "classification",
                n_orders=n_orders,
                random_state=self.random_state_ if random_state is None else random_state,
            )
            for network in self.networks_
        ]
        given = as_frame(X).set_axis(list(encoder.features_), axis=1).reset_index(drop=True)
        return replace(average_explanations(found).with_features(encoder.features_), rows=given)

    def answers(self, X: Any) -> tuple[pd.DataFrame, Any, list[Any] | None, tuple[str, ...]]:
        """Return what `permgrad.effects` needs: readable columns, a function that predicts, classes, unused columns.

        Examples
        --------
        >>> columns, respond, classes, unread = clf.answers(test.X)
        >>> columns.shape, classes, unread
        ((30, 4), ['setosa', 'versicolor', 'virginica'], ())
        """
        encoded, encoder = self._encode(X), self.encoder_
        positions = [encoder.groups_.get(name, np.zeros(0, int)) for name in encoder.features_]

        def respond(rows: np.ndarray, taken: Mapping[int, np.ndarray]) -> np.ndarray:
            values = encoded[rows]
            for column, source in taken.items():
                moved, at = np.flatnonzero(source != rows), positions[column]
                values[moved[:, None], at] = encoded[source[moved][:, None], at]
            return self._predicted(values)

        frame = as_frame(X).set_axis(list(encoder.features_), axis=1).reset_index(drop=True)
        classes = self.classes_.tolist() if hasattr(self, "classes_") else None
        return encoder.readable(frame), respond, classes, encoder.constant_

    def grad_cam_maps(self, X: Any, *, attribution: str = "grad_cam", layer: str = "last") -> np.ndarray:
        """Return the heat maps of rows, see `permgrad.grad_cam_maps`.

        Examples
        --------
        >>> clf.grad_cam_maps(test.X.head(2)).shape[0]
        2
        """
        return grad_cam_maps(self.network_, self._encode(X), attribution=attribution, layer=layer)

    def images(self, X: Any) -> np.ndarray:
        """Return the image of each row, as the image branch sees it: (n_rows, height, width, 1), float32.

        Examples
        --------
        >>> clf.images(test.X.head(2)).shape
        (2, 6, 6, 1)
        """
        encoded = self._encode(X)
        if self.layout_ is None:
            raise PermGradError("this network has no image branch and draws no images")
        drawing = keras.Model(self.network_.inputs, self.network_.get_layer("image").output)
        return drawing.predict(encoded, batch_size=PREDICT_ROWS, verbose=0).astype(np.float32)


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


def _levels(groups: Groups | None, explained: ExplainedRows) -> list[dict[str, list[str]]]:
    """Return the levels of groups to measure above single columns, from coarse to fine."""
    if groups is None:
        return []
    if not isinstance(groups, str):
        return [complete_groups(groups, list(explained.columns), explained.constant)]
    if groups != "correlated":
        raise PermGradError(f"groups must map names to columns, or be 'correlated', got {groups!r}")
    if not isinstance(explained.rows, np.ndarray):
        raise PermGradError("groups='correlated' needs rows as one dense array; make them dense, or name the groups")
    columns = {name: at.tolist() for name, at in explained.columns.items()}
    levels = correlated_groups(explained.rows, columns=columns)
    # A fine level may join nothing, or the same as the coarse one.
    single = {name: [name] for name in columns}
    return [level for i, level in enumerate(levels) if level not in (single, *levels[:i])]


def _positions(level: Mapping[str, Sequence[str]], columns: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Return the positions of the columns of each group of features."""
    return {name: np.concatenate([columns[part] for part in parts]).tolist() for name, parts in level.items()}
