"""The referee: whether a ranking beats others, depends on what the network learned, and lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from permgrad.data.checks import check_columns
from permgrad.data.table import Table
from permgrad.errors import PermGradError, UnfittedError, listing, require
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.estimators.saving import versions
from permgrad.evaluation._tables import SCHEMAS, evaluation_table
from permgrad.evaluation.agreement import agreement
from permgrad.evaluation.baselines import BASELINES, baseline_rankings
from permgrad.evaluation.curves import CURVE_ROWS, N_DRAWS, deletion_curves
from permgrad.evaluation.explained import ExplainedModel, halves, named_parts
from permgrad.evaluation.result import RankingEvaluation
from permgrad.evaluation.retraining import remove_and_retrain
from permgrad.evaluation.sanity import sanity_checks
from permgrad.evaluation.stability import RankStability, reseeded
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.files import plain
from permgrad.importance.ranking import FeatureRanking

PARTS = ("curves", "retrain", "sanity", "stability")


def evaluate_ranking(
    estimator: HybridClassifier | HybridRegressor,
    ranking: FeatureRanking | Mapping[str, FeatureRanking],
    train: Table,
    test: Table,
    *,
    validation_data: Table | tuple[Any, Any] | None = None,
    parts: Sequence[str] = PARTS,
    n_trainings: int = 3,
    retrain_with: Any = None,
    random_state: int = 0,
    timeout: float | None = None,
    verbose: bool = False,
    n_jobs: int | None = None,
) -> RankingEvaluation:
    """Test a ranking, compare it with five simple rankings, and say where it loses.

    Parameters
    ----------
    estimator : HybridClassifier or HybridRegressor
        Fitted.
    ranking : FeatureRanking or mapping of str to FeatureRanking
        Of the table's columns. A ranking is tested with its components. In a mapping, the first ranking is the one
        under test, and only the rankings in the mapping are tested.
    train : Table
        The rows that the network was fitted on; further networks are fitted on them too.
    test : Table
        Rows that the network never saw. A half of them, drawn by `random_state`, judges by deletion; the ranking under
        test, its components and those to compare with are made anew on the other half for it, as what a ranking knows
        of a row's target must not count when that row judges. (Of a mapping, rankings that the estimator does not make
        are taken as they are.)
    validation_data : Table or (X, y), optional
        For early stopping wherever a network is trained; without it each training sets a share of its rows apart.
    parts : sequence of {"curves", "retrain", "sanity", "stability"}
        What to do, in this order; rankings to compare with (see `baseline_rankings`) and the agreement of
        all rankings are always there. See `deletion_curves`, `remove_and_retrain`, `sanity_checks` and `reseeded`.
    n_trainings : int
        Number of trainings of each kind, to measure the stability of the estimator's ranking.
    retrain_with : estimator, optional
        Unfitted, for removing and retraining; see `remove_and_retrain`.
    random_state : int
    timeout : float, optional
        Seconds after which no further step is started. Steps left out are named in ``left_out``.
    verbose : bool
        Show progress bars.
    n_jobs : int, optional
        Processes that train again, for "retrain" and "stability"; see `permgrad.parallel.run`.

    Returns
    -------
    RankingEvaluation

    Raises
    ------
    UnfittedError
        If the estimator is not fitted.
    PermGradError
        If the ranking is of other columns, or settings are out of range.

    Examples
    --------
    >>> found = pg.evaluate_ranking(clf, ranking, train, test, parts=["curves"])
    >>> found.table.shape[0] == len(found.rankings)
    True
    """
    rankings = _check(estimator, ranking, parts, n_trainings)
    name, first = next(iter(rankings.items()))
    for table in (train, test):
        check_columns(table.features, estimator.encoder_.features_, "the table")
    validation = None if validation_data is None else train.more_rows(validation_data)
    explained = ExplainedModel(estimator, first, train, test, validation, random_state, name)
    ranked, judged = halves(explained)
    time_limit = TimeLimit(timeout, verbose)
    with time_limit.part("baselines"):
        rankings = {**rankings, **baseline_rankings(ranked, time_limit)}
    tables = {name: evaluation_table(name, []) for name in SCHEMAS}
    stability: dict[str, dict[str, RankStability]] = {}
    for part in parts:
        with time_limit.part(part):
            if part == "curves":
                remade = {} if time_limit.over else ranked.named(ranked.explain(estimator))
                on_half = {name: remade.get(name, one) for name, one in rankings.items()}
                results = deletion_curves(judged, on_half, time_limit)
                tables |= dict(zip(("curves", "areas", "chance"), results, strict=True))
            elif part == "retrain":
                tables[part] = remove_and_retrain(
                    explained, rankings, time_limit, retrain_with=retrain_with, n_jobs=n_jobs
                )
            elif part == "sanity":
                tables[part] = sanity_checks(explained, time_limit)
            else:
                stability = reseeded(explained, n_trainings, time_limit, n_jobs)
    return RankingEvaluation(
        rankings=rankings,
        **tables,
        agreement=agreement(rankings),
        stability=stability,
        settings=_settings(explained, parts, n_trainings, retrain_with, timeout, time_limit),
        left_out=tuple(time_limit.left_out),
    )


def _check(
    estimator: Any, ranking: FeatureRanking | Mapping[str, FeatureRanking], parts: Sequence[str], n_trainings: int
) -> dict[str, FeatureRanking]:
    """Return the rankings by name, the one under test first."""
    require("shap", "the referee, which compares with SHAP,", "shap")
    if not isinstance(estimator, (HybridClassifier, HybridRegressor)):
        raise PermGradError(f"expected a HybridClassifier or HybridRegressor, got {type(estimator).__name__}")
    if not hasattr(estimator, "network_"):
        raise UnfittedError("this estimator is not fitted yet; call fit first")
    if isinstance(parts, str) or not set(parts) <= set(PARTS) or len(set(parts)) < len(parts):
        raise PermGradError(f"parts must be some of {listing(PARTS)}, each once, got {parts!r}")
    if "stability" in parts and n_trainings < 2:
        raise PermGradError(f"stability needs at least two trainings to compare, got n_trainings={n_trainings}")
    rankings = named_parts(ranking) if isinstance(ranking, FeatureRanking) else dict(ranking)
    if not rankings:
        raise PermGradError("expected at least one ranking, got none")
    taken = set(rankings) & set(BASELINES)
    if taken:
        raise PermGradError(f"{listing(sorted(taken))} is the name of a ranking to compare with; choose another")
    for name, one in rankings.items():
        check_columns(one.features, estimator.encoder_.features_, f"the ranking {name!r}")
    if len(estimator.encoder_.groups_) < 2:
        raise PermGradError("the network sees one column only; there is nothing to rank")
    return rankings


def _settings(
    explained: ExplainedModel,
    parts: Sequence[str],
    n_trainings: int,
    retrain_with: Any,
    timeout: float | None,
    time_limit: TimeLimit,
) -> dict[str, Any]:
    rows = {
        "train_rows": len(explained.train),
        "test_rows": len(explained.test),
        "curve_rows": min(len(halves(explained)[1].test), CURVE_ROWS),
    }
    settings = {
        "parts": parts,
        "random_state": explained.random_state,
        "n_trainings": n_trainings,
        "n_draws": N_DRAWS,
        "retrain_with": None if retrain_with is None else repr(retrain_with),
        "timeout": timeout,
        **rows,
        "validation_rows": len(explained.validation_data or ()),
        "estimator": {"class": type(explained.estimator).__name__, **explained.estimator.all_settings()},
        "versions": {**versions(), "shap": version("shap")},
        "seconds": time_limit.seconds,
    }
    return plain(settings)
