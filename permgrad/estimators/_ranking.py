"""Explainers as methods of an estimator: a table's columns in, a ranking of them out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.data.table import as_target
from permgrad.errors import PermGradError
from permgrad.importance.grad_cam import grad_cam_maps
from permgrad.importance.grouping.correlated import correlated_groups
from permgrad.importance.grouping.hierarchy import complete_groups, with_members
from permgrad.importance.permuting.checkpoint import beside
from permgrad.importance.rank import rank_features
from permgrad.importance.ranking import FeatureRanking

PREDICT_ROWS = 1024


class RanksFeatures:
    """What an estimator needs for it: `_encode`, `_encode_target`, and what `fit` leaves."""

    encoder_: Any
    layout_: Any
    network_: Any
    classes_: Any
    random_state: Any
    verbose: bool
    _task: Any

    def _encode(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def _encode_target(self, y: Any) -> np.ndarray:
        raise NotImplementedError

    def rank_features(
        self,
        X: Any,
        y: Any,
        *,
        groups: Mapping[str, Sequence[str]] | Literal["correlated"] | None = None,
        n_repeats: int = 5,
        random_state: int | None = None,
        verbose: bool | None = None,
        **options: Any,
    ) -> FeatureRanking:
        """Rank the table's columns by PermGrad, on rows that the network was not fitted on.

        Parameters
        ----------
        X, y
            As for `fit`.
        groups : mapping of str to column names, or "correlated", optional
            Columns to rank as one, permuted together; columns in no group stay single. "correlated" clusters these
            rows' columns, in two levels, see `permgrad.correlated_groups`.
        n_repeats : int
            Permutations of each column.
        random_state : int, optional
            Of permutations and bootstrap; by default the estimator's.
        verbose : bool, optional
            Show progress bars; by default the estimator's.
        **options
            Further options of `permgrad.rank_features`: ``end_to_end``, ``conditional``, ``attribution``, ``layer``,
            ``readout``, ``weights``, ``baseline``, ``scaling``, ``max_memory``, ``timeout``, ``checkpoint``. With
            groups, time goes to them first, and each level keeps a checkpoint of its own beside the one named.

        Returns
        -------
        FeatureRanking
            One entry for each column that the user gave: a categorical column's 0/1 columns are permuted
            together and Grad-CAM is averaged over their pixels. Columns that never varied rank last.
            With groups, one for each group, whose members' ranking is its ``drill_down(group)``.

        Raises
        ------
        UnfittedError, PermGradError
        """
        begun = time.monotonic()
        encoded, columns = self._encode(X), self.encoder_.groups
        levels = self._levels(groups, encoded)
        target = self._encode_target(as_target(y))
        timeout, checkpoint = options.pop("timeout", None), options.pop("checkpoint", None)
        rankings = [
            rank_features(
                self.network_,
                encoded,
                target,
                layout=self.layout_,
                groups={
                    name: np.concatenate([columns[part] for part in parts]).tolist() for name, parts in level.items()
                },
                classes=self.classes_.tolist() if self._task == "classification" else None,
                n_repeats=n_repeats,
                random_state=self.random_state if random_state is None else random_state,
                timeout=None if timeout is None else max(0.0, timeout - (time.monotonic() - begun)),
                checkpoint=beside(checkpoint, f"groups{i + 1}" if i < len(levels) else ""),
                verbose=self.verbose if verbose is None else verbose,
                **options,
            )
            for i, level in enumerate([*levels, {name: [name] for name in columns}])
        ]
        ranking = with_members(rankings, levels)
        return ranking.with_unused([*ranking.features, *self.encoder_.constant] if levels else self.encoder_.features)

    def _levels(self, groups: Any, encoded: np.ndarray) -> list[dict[str, list[str]]]:
        """Return the levels of groups to measure above single columns, from coarse to fine."""
        columns = self.encoder_.groups
        if groups is None:
            return []
        if not isinstance(groups, str):
            return [complete_groups(groups, list(columns), self.encoder_.constant)]
        if groups != "correlated":
            raise PermGradError(f"groups must map names to columns, or be 'correlated', got {groups!r}")
        found = correlated_groups(encoded, columns={name: at.tolist() for name, at in columns.items()})
        # A fine level may join nothing, or the same as the coarse one.
        single = {name: [name] for name in columns}
        return [level for i, level in enumerate(found) if level not in (single, *found[:i])]

    def grad_cam_maps(self, X: Any, *, method: str = "grad_cam", layer: str = "last") -> np.ndarray:
        """Return the heat maps of rows, see `permgrad.grad_cam_maps`."""
        return grad_cam_maps(self.network_, self._encode(X), method=method, layer=layer)

    def images(self, X: Any) -> np.ndarray:
        """Return the image of each row, as the image branch sees it: (n_rows, height, width, 1), float32."""
        encoded = self._encode(X)
        if self.layout_ is None:
            raise PermGradError("this network has no image branch and draws no images")
        drawing = keras.Model(self.network_.inputs, self.network_.get_layer("image").output)
        return drawing.predict(encoded, batch_size=PREDICT_ROWS, verbose=0).astype(np.float32)
