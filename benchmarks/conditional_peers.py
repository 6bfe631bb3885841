"""hidimstat's conditional importance, leave-one-covariate-out and knockoffs, asked of the tables of `conditional`.

Of conditional importance (CFI) and leave-one-covariate-out (LOCO) in hidimstat 0.4, the p-values of a single fitted
model do not test rows: CFI's is over the permutations, LOCO's asks whether residuals have a mean above 0. So the
library imputes, permutes and refits, and the test is the paired t-test of the rows' losses that both were proposed
with (Watson & Wright 2021; Lei et al. 2018). CFI's own p-value is printed beside it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from permgrad.metrics.paired import mean_p_value


@dataclass
class _Recorder:
    """A loss that keeps what each call found of the rows."""

    of_rows: list[np.ndarray] = field(default_factory=list)

    def __call__(self, y: np.ndarray, predicted: np.ndarray) -> float:
        if predicted.ndim == 2:
            losses = -np.log(np.maximum(predicted[np.arange(len(y)), y], 1e-7))
        else:
            losses = (y - predicted) ** 2
        self.of_rows.append(losses)
        return float(losses.mean())

    def p_value(self) -> float:
        """Test that the rows' losses, in the mean over all calls but the first, are not above those of the first."""
        return mean_p_value(np.mean(self.of_rows[1:], axis=0) - self.of_rows[0])


class Peers:
    """What hidimstat says of a fitted network; imputers and smaller networks learn from its training rows, once."""

    def __init__(self, fitted: Any, X: np.ndarray, y: np.ndarray) -> None:
        self.fitted, self.X, self.y = fitted, X, y
        self.method = "predict_proba" if hasattr(fitted, "predict_proba") else "predict"
        self._learned: dict[tuple[int, ...], list[Any]] = {}

    def p_values(self, X: np.ndarray, y: np.ndarray, columns: Any, random_state: int) -> list[float]:
        """Return p-values of CFI's own, of CFI with ridge and with boosted trees, and of LOCO."""
        found = []
        for each in self._of(tuple(np.atleast_1d(columns).tolist())):
            each.loss, each.random_state = _Recorder(), random_state
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                each.importance(X, y)
            found += [each.loss.p_value()] if found else [float(each.pvalues_[0]), each.loss.p_value()]
        return found

    def _of(self, columns: tuple[int, ...]) -> list[Any]:
        from hidimstat import CFI, LOCO
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import RidgeCV

        if columns not in self._learned:
            shared = {"method": self.method, "features_groups": {"feature": list(columns)}}
            trees = HistGradientBoostingRegressor(max_iter=100, max_leaf_nodes=8, random_state=0)
            imputers = RidgeCV(), trees
            made = [
                CFI(self.fitted, imputation_model_continuous=imputer, feature_types="continuous", **shared)
                for imputer in imputers
            ]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._learned[columns] = [each.fit(self.X, self.y) for each in (*made, LOCO(self.fitted, **shared))]
        return self._learned[columns]


def kept_by_knockoffs(X: np.ndarray, y: np.ndarray, features: list[np.ndarray], fdr: float, seed: int) -> np.ndarray:
    """Return which features hidimstat's model-X knockoffs keep, (n_features,), bool: Gaussian ones, and a lasso."""
    from hidimstat import ModelXKnockoff

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        knockoffs = ModelXKnockoff(random_state=seed)
        knockoffs.fit_importance(X, y.astype(float))
        kept = knockoffs.fdr_selection(fdr)
    return np.array([kept[columns].any() for columns in features])
