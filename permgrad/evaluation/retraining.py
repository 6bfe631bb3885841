"""Remove and retrain: drop the columns that a ranking calls the best, train again, and see what is left."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier

from permgrad.errors import PermGradError
from permgrad.estimators.presets import batch_size_for
from permgrad.evaluation._tables import evaluation_table
from permgrad.evaluation.explained import ExplainedModel, columns_of
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.scores import scores
from permgrad.parallel import run

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
N_SEEDS = 3
RETRAIN_EPOCHS = 30
BATCHES_PER_EPOCH = 50


def remove_and_retrain(
    explained: ExplainedModel,
    rankings: Mapping[str, FeatureRanking],
    time_limit: TimeLimit,
    *,
    retrain_with: Any = None,
    shares: Sequence[float] = SHARES,
    n_seeds: int = N_SEEDS,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Train again without each ranking's best columns, and score on the test rows.

    Parameters
    ----------
    explained : ExplainedModel
    rankings : mapping of str to FeatureRanking
    time_limit : TimeLimit
    retrain_with : estimator, optional
        Unfitted; a scikit-learn estimator or pipeline does too. By default the estimator's MLP branch alone, for at
        most 30 epochs of at most 50 batches: there are as many trainings as different sets of columns, up to
        shares times rankings times seeds, and an image branch would make each several times as long.
    shares : sequence of float
        Of the columns that the network sees, between 0 and 1: how many to remove, at least one, and at least one
        is kept.
    n_seeds : int
        Trainings of each set of columns, which differ in the estimator's ``random_state``; 1 for one that has none.
    n_jobs : int, optional
        Processes that train, see `permgrad.parallel.run`.

    Returns
    -------
    DataFrame
        ``ranking``, ``share`` and number of columns ``removed``, number ``kept``, ``seed``, and on the test rows
        ``loss`` (cross-entropy, or squared error over the variance of the training target) and ``score`` (accuracy or
        R²).
        A better ranking removes what matters and leaves a *lower* score. The rows with nothing removed are there
        once for each ranking. Each set of columns is trained on once with each seed.

    References
    ----------
    Hooker, Erhan, Kindermans & Kim, A benchmark for interpretability methods in deep neural networks (2019).
    """
    if not shares or min(shares) <= 0 or max(shares) >= 1:
        raise PermGradError(f"shares to remove must lie between 0 and 1, got {tuple(shares)}")
    model = plain_mlp(explained) if retrain_with is None else retrain_with
    if bool(is_classifier(model)) != explained.classification:
        raise PermGradError(
            f"retrain_with must be a classifier or a regressor like the ranked estimator, got {type(model).__name__}"
        )
    d = len(explained.groups)
    counts = [0, *sorted({min(max(1, round(share * d)), d - 1) for share in shares})]
    seeds = _seeds(model, explained.random_state, n_seeds)
    lefts = {(k, name): _without(explained, rankings[name], k) for k in counts for name in rankings}
    begun: list[tuple[int, str]] = []
    asked: dict[tuple[frozenset[str], int], None] = {}

    def jobs() -> Iterator[tuple[Any, ...]]:
        unfitted, variance = explained.unfitted(), float(np.var(explained.train_target, dtype=float))
        # Number by number: where time runs out, every ranking has the same numbers, but for the last.
        for step in time_limit.steps("retrain", lefts, _step):
            begun.append(step)
            for number, settings in enumerate(seeds):
                if (lefts[step], number) not in asked:
                    asked[lefts[step], number] = None
                    names = [name for name in explained.groups if name in lefts[step]]
                    yield unfitted, model, names, settings, variance

    done = list(run(_retrained, jobs(), n_jobs))
    known = dict(zip(asked, done, strict=True))
    rows = [
        {
            **{"ranking": name, "share": k / d, "removed": k, "kept": d - k, "seed": number},
            **known[lefts[k, name], number],
        }
        for k, name in begun
        for number in range(len(seeds))
    ]
    return evaluation_table("retrain", rows)


def _without(explained: ExplainedModel, ranking: FeatureRanking, k: int) -> frozenset[str]:
    """Return the columns that the network sees but for the ranking's best `k`."""
    order = [ranking.features[i] for i in ranking.order if ranking.features[i] in explained.groups]
    return frozenset(order[k:])


def plain_mlp(explained: ExplainedModel) -> Any:
    """Return an unfitted estimator of one tabular branch alone, at most 30 epochs and 50 batches in each."""
    estimator = explained.estimator
    own = estimator.settings()
    batch_size = batch_size_for(len(explained.train)) if own["batch_size"] == "auto" else own["batch_size"]
    return clone(estimator).set_params(
        branches=("tabular",),
        n_networks=1,
        epochs=min(own["epochs"], RETRAIN_EPOCHS),
        batch_size=max(batch_size, math.ceil(len(explained.train) / BATCHES_PER_EPOCH)),
    )


def _seeds(model: Any, random_state: int, n_seeds: int) -> list[dict[str, int]]:
    """Return the settings of each training: the estimator's own first."""
    if "random_state" not in model.get_params():
        return [{}]
    rng = np.random.default_rng([random_state, 11])
    return [{}, *({"random_state": int(rng.integers(2**31))} for _ in range(n_seeds - 1))]


def _step(step: tuple[int, str]) -> str:
    return f"{step[1]} without its {step[0]} best"


def _retrained(
    explained: ExplainedModel, model: Any, names: list[str], settings: dict[str, int], variance: float
) -> dict[str, float]:
    """Train on some columns, and score on the test rows; `variance` is the training target's."""
    validation_data = explained.validation_data and columns_of(explained.validation_data, names)
    fitted = explained.refit(model, columns_of(explained.train, names), validation_data, **settings)
    test = scores(fitted, columns_of(explained.test, names))
    if explained.classification:
        return {"loss": test["log_loss"], "score": test["accuracy"]}
    return {"loss": test["rmse"] ** 2 / variance, "score": test["r2"]}
