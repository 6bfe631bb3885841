"""A study that has its trials → tables, pictures, the best network and its ranking."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial

from permgrad.data.table import Table
from permgrad.directories import STUDY_SUMMARY, move_into
from permgrad.estimators.saving import versions
from permgrad.evaluation.reference_models import reference_models
from permgrad.files import read_json, write_json
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.directory import write_results
from permgrad.report.pictures import DPI
from permgrad.report.results import Results
from permgrad.tuning import checkpoints
from permgrad.tuning._job import Job
from permgrad.tuning._notes import note_ranking
from permgrad.tuning._pictures import study_pictures
from permgrad.tuning.result import TuneResult, best_trial, epochs_saved, trials_table
from permgrad.tuning.storage import hide_password
from permgrad.tuning.study import finished
from permgrad.tuning.terminator import reason_to_end

KIND = "permgrad.Tuning"
STAGING = ".results-"


def write_study(job: Job, study: optuna.Study, table: Table, test: Table) -> TuneResult:
    """Bring the results directory up to date with the study; where it is, nothing is written.

    Beside the files of `permgrad.report.directory.write_results` for the best trial: ``tuning.json``, ``trials.csv``
    and Optuna's plots. Each file is whole; ``tuning.json`` comes last. Where several processes end at once, one
    writes, and for the others nothing is left to do.

    Raises
    ------
    PermGradError
        If no trial is complete, or the best trial's network does not give its stored loss again.

    Warns
    -----
    UserWarning
        If the best trial's network is on another machine, so that there is no ranking.
    """
    with FileLock(job.networks / ".lock"):
        best = best_trial(study)
        summary = _summary(job, study, best)
        if _is_up_to_date(job, summary):
            ranking = FeatureRanking.load(job.directory / "ranking.json") if job.rank else None
        else:
            ranking = _write_files(job, study, best, table, test)
            write_json(job.directory / STUDY_SUMMARY, {**summary, "ranked": ranking is not None})
    return TuneResult(study, job.directory, job.objective.metrics, job.objective.val, test, ranking)


def _write_files(job: Job, study: optuna.Study, best: FrozenTrial, table: Table, test: Table) -> FeatureRanking | None:
    """Write all but the summary, and show the ranking on the dashboard; return it, where the network is here."""
    for leftover in job.directory.glob(f"{STAGING}*"):  # of a process that was killed here
        shutil.rmtree(leftover)
    metrics = job.objective.metrics
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=job.directory) as staging:
        here = Path(staging)
        ranking = _rank(job, best, table, test, here) if job.rank else None
        for name, figure in study_pictures(study, metrics):
            figure.savefig(here / f"{name}.png", dpi=DPI, bbox_inches="tight")
        trials_table(study, metrics).to_csv(here / "trials.csv", index=False)
        if ranking is not None:
            note_ranking(job, study, best, here)
        move_into(here, job.directory)
    return ranking


def _rank(job: Job, best: FrozenTrial, table: Table, test: Table, directory: Path) -> FeatureRanking | None:
    """Rank the columns by the best trial's network and write the results; None where the network is elsewhere."""
    try:
        estimator = checkpoints.read(job.networks, best, job.objective.val)
    except checkpoints.ElsewhereError as error:
        warnings.warn(str(error), UserWarning, stacklevel=5)
        return None
    ranking = estimator.rank_features(test, verbose=False)
    tuning = {"study": job.name, "trial": best.number, "values": best.values, "params": best.params}
    ranking = replace(ranking, settings={**ranking.settings, "tuning": tuning})
    split = job.identity["split_random_state"]
    train, val, _ = table.split(random_state=split)
    models = reference_models(estimator, train, test, validation_data=val, random_state=estimator.random_state_)
    return write_results(directory, Results(estimator, ranking, table, test, split, models=models))


def _summary(job: Job, study: optuna.Study, best: FrozenTrial) -> dict[str, Any]:
    trials = study.get_trials(deepcopy=False)
    return {
        "kind": KIND,
        "study": job.name,
        "storage": hide_password(job.url),
        "finished": len(finished(study)),
        "states": dict(Counter(trial.state.name.lower() for trial in trials)),
        "epochs": sum(trial.user_attrs.get("epochs", 0) for trial in trials),
        "epochs_saved_by_pruning": epochs_saved(study),
        "best": {
            "number": best.number,
            **dict(zip(job.objective.metrics, best.values, strict=True)),
            "params": best.params,
        },
        "terminated": None if job.terminate is None else reason_to_end(study, job.terminate),
        "sampler": job.sampler,
        "pruner": job.pruner,
        **job.identity,
        "versions": versions(),
    }


def _is_up_to_date(job: Job, summary: dict[str, Any]) -> bool:
    if not (job.directory / STUDY_SUMMARY).is_file():
        return False
    written = read_json(job.directory / STUDY_SUMMARY, kind=KIND)
    same = all(written.get(key) == summary[key] for key in ("study", "finished", "best"))
    ranked = bool(written.get("ranked")) and (job.directory / "ranking.json").is_file()
    return same and (ranked or not job.rank)
