"""`effects` and `interactions` as methods of an estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from permgrad.importance.effects import Effects
from permgrad.importance.responding.answers import Scale
from permgrad.importance.responding.curves import MAX_ROWS, Names, effects
from permgrad.importance.responding.interactions import ROWS, Interactions, interactions


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
