"""Rankings to stand beside the one under test: chance, trees, a plain MLP, and no model at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from permgrad.evaluation.explained import ExplainedModel
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.importance.ranking import FeatureRanking

BASELINES = ("random", "random_forest", "tree_shap", "mlp_permutation", "mutual_information")
TREES = 100
LEAVES = 256
"""Of each tree: bounds what SHAP costs, which grows with leaves times squared depth."""
SHAP_ROWS = 200
INFORMATION_ROWS = 5000


def baseline_rankings(
    explained: ExplainedModel, time_limit: TimeLimit, names: Sequence[str] = BASELINES
) -> dict[str, FeatureRanking]:
    """Rank the table's columns in five other ways.

    Parameters
    ----------
    explained : ExplainedModel
    time_limit : TimeLimit
        Those that its time limit leaves out are noted there.
    names : sequence of str
        Which of the five.

    Returns
    -------
    dict of FeatureRanking
        Over the table's columns; those that the network does not see are unused, and rank last.

        - ``random``: a seeded random order.
        - ``random_forest``: mean decrease of impurity in 100 trees of at most 256 leaves, fitted on the
          training rows. The decreases of a column's encoded columns are *summed*.
        - ``tree_shap``: |SHAP value| of the same forest, averaged over at most 200 test rows, summed over
          classes. The SHAP values of a column's encoded columns are *summed* before the absolute value.
        - ``mlp_permutation``: permutation importance, on the test rows, of the estimator's MLP branch
          trained alone on the training rows.
        - ``mutual_information``: with the target, on at most 5,000 training rows; a category counts as *one*
          discrete column, a number with its gaps filled.
          All rows count alike, whatever they weigh: the estimators of it know no weights.

    References
    ----------
    Breiman (2001); Lundberg et al., From local explanations to global understanding with explainable AI
    for trees (2020); Kraskov, Stögbauer & Grassberger (2004) and Ross (2014) for mutual information.
    """
    forest = _Forest(explained)
    ways: dict[str, Callable[[], np.ndarray | FeatureRanking]] = {
        "random": lambda: (
            np.random.default_rng([explained.random_state, 0]).permutation(len(explained.groups)).astype(float)
        ),
        "random_forest": forest.impurity,
        "tree_shap": forest.shap,
        "mlp_permutation": lambda: _mlp_permutation(explained),
        "mutual_information": lambda: _mutual_information(explained),
    }
    return {name: _as_ranking(explained, name, ways[name]()) for name in time_limit.steps("baselines", names)}


def _as_ranking(explained: ExplainedModel, name: str, scores: np.ndarray | FeatureRanking) -> FeatureRanking:
    if isinstance(scores, FeatureRanking):
        settings = {key: value for part in scores.components.values() for key, value in part.settings.items()}
        settings |= scores.settings
        return replace(scores, method=name, components={}, branch_weights=None, settings=settings)
    settings = {"random_state": explained.random_state}
    ranking = FeatureRanking(tuple(explained.groups), scores, method=name, settings=settings)
    return ranking.with_unused(explained.estimator.encoder_.features_)


class _Forest:
    """A random forest on the encoded training rows, fitted when first asked for."""

    def __init__(self, explained: ExplainedModel) -> None:
        self.explained = explained
        self._fitted: Any = None

    def model(self) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        if self._fitted is None:
            kind = RandomForestClassifier if self.explained.classification else RandomForestRegressor
            forest = kind(TREES, max_leaf_nodes=LEAVES, random_state=self.explained.random_state)
            weights = self.explained.train.weights
            self._fitted = forest.fit(self.explained.train_rows, self.explained.train_target, sample_weight=weights)
        return self._fitted

    def impurity(self) -> np.ndarray:
        decrease = self.model().feature_importances_
        return np.array([decrease[columns].sum() for columns in self.explained.groups.values()])

    def shap(self) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SHAP's own use of matplotlib and NumPy
            import shap

            rows = sample(len(self.explained.test_rows), SHAP_ROWS, [self.explained.random_state, 1])
            values = shap.TreeExplainer(self.model()).shap_values(
                self.explained.test_rows[rows], check_additivity=False
            )
        values = np.asarray(values).reshape(
            len(rows), self.explained.test_rows.shape[1], -1
        )  # (rows, columns, outputs)
        return np.array([np.abs(values[:, at].sum(axis=1)).mean(axis=0).sum() for at in self.explained.groups.values()])


def _mlp_permutation(explained: ExplainedModel) -> FeatureRanking:
    mlp = explained.refit(explained.estimator, explained.train, explained.validation_data, branches=("tabular",))
    return explained.explain(mlp)


def _mutual_information(explained: ExplainedModel) -> np.ndarray:
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    rows = sample(len(explained.train_rows), INFORMATION_ROWS, [explained.random_state, 2])
    encoded = explained.train_rows[rows].astype(float)
    discrete = np.array([at[0] >= explained.n_numbers for at in explained.groups.values()])
    columns = np.column_stack(
        [
            _category(encoded[:, at]) if category else encoded[:, at[0]]
            for at, category in zip(explained.groups.values(), discrete, strict=True)
        ]
    )
    measure = mutual_info_classif if explained.classification else mutual_info_regression
    return measure(
        columns, explained.train_target[rows], discrete_features=discrete, random_state=explained.random_state
    )


def _category(columns: np.ndarray) -> np.ndarray:
    """Return the number of the category that a column's 0/1 columns say (0: none)."""
    return np.where(columns.any(axis=1), columns.argmax(axis=1) + 1, 0)


def sample(n: int, most: int, random_state: list[int]) -> np.ndarray:
    """Return the numbers of all `n` rows, or of `most` drawn from them, in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(random_state).choice(n, most, replace=False))
