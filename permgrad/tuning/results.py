"""A study that has its trials → tables, pictures, the best network and its ranking; and what the dashboard shows."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
from filelock import FileLock
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact import get_artifact_path

from permgrad.data.table import Table
from permgrad.errors import PermGradError
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.estimators.saving import versions
from permgrad.files import move_into, read_json, write_json
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.directory import DPI, write_results
from permgrad.tuning import checkpoints
from permgrad.tuning.pictures import study_pictures
from permgrad.tuning.storage import hide_password
from permgrad.tuning.study import FAILURE, finished
from permgrad.tuning.worker import Job

KIND = "permgrad.Tuning"
SUMMARY = "tuning.json"
STAGING = ".results-"
NOTED_FEATURES = 20
RANKED = "ranking of trial"
"""Study attribute: whose ranking its note shows."""


@dataclass(frozen=True, eq=False)
class TuneResult:
    """What tuning found.

    Attributes
    ----------
    study : optuna.Study
    directory : Path
        Where its files are.
    metrics : tuple of str
        What the trials' values are.
    test : Table
        Rows that no trial saw.
    ranking : FeatureRanking or None
        Of the best network, on `test`, its settings and test scores with it; None where the network is
        on another machine.
    """

    study: optuna.Study
    directory: Path
    metrics: tuple[str, ...]
    val: Table
    test: Table
    ranking: FeatureRanking | None

    @property
    def best_trial(self) -> FrozenTrial:
        """The best complete trial; with two objectives, the one of `best_trials` that is best in the first."""
        return best_trial(self.study)

    @property
    def best_trials(self) -> list[FrozenTrial]:
        """With two objectives, the trials that no other beats in both, by the first objective; else the best one."""
        return checkpoints.best_trials(self.study, 1)

    @property
    def best_params(self) -> dict[str, Any]:
        """What was suggested to the best trial."""
        return self.best_trial.params

    @property
    def best_value(self) -> float:
        """Value of the best trial (of the first objective)."""
        return self.best_trial.values[0]

    @cached_property
    def best_model(self) -> HybridClassifier | HybridRegressor:
        """The best trial's estimator, loaded, and checked to give its stored validation loss again."""
        return checkpoints.read(self.directory / "trials", self.best_trial, self.val)

    @property
    def trials(self) -> pd.DataFrame:
        """One row for each trial, see `trials_table`."""
        return trials_table(self.study, self.metrics)

    @property
    def epochs_saved(self) -> int:
        """Epochs that pruning saved, see `epochs_saved`."""
        return epochs_saved(self.study)


def best_trial(study: optuna.Study) -> FrozenTrial:
    """Return the best complete trial.

    Raises
    ------
    PermGradError
        If no trial is complete.
    """
    found = checkpoints.best_trials(study, 1)
    if not found:
        states = Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
        reasons = [t.user_attrs[FAILURE] for t in study.get_trials(deepcopy=False) if FAILURE in t.user_attrs]
        counts = ", ".join(f"{n} {state}" for state, n in states.items()) or "none was begun"
        raise PermGradError(
            f"no trial is complete ({counts})" + "".join(f"; the last failure: {r}" for r in reasons[-1:])
        )
    return found[0]


def epochs_saved(study: optuna.Study) -> int:
    """Estimate the epochs that pruning saved: a pruned trial is taken to have run as long as the mean complete one."""
    epochs = {
        state: [trial.user_attrs["epochs"] for trial in study.get_trials(deepcopy=False, states=(state,))]
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    }
    complete, pruned = epochs[TrialState.COMPLETE], [n for n in epochs[TrialState.PRUNED] if n]
    usual = sum(complete) / len(complete) if complete else 0.0
    return round(sum(max(0.0, usual - n) for n in pruned))


def trials_table(study: optuna.Study, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Return one row for each trial: number, state, objectives, what was suggested, scores, size, time, failure."""
    rows = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            **dict(zip(metrics, trial.values or (), strict=False)),
            **trial.params,
            **trial.user_attrs,
        }
        for trial in study.get_trials(deepcopy=False)
    ]
    return pd.DataFrame(rows)


def write_study(job: Job, study: optuna.Study, table: Table, test: Table) -> TuneResult:
    """Bring the results directory up to date with the study; nothing is done where it is.

    Beside the files of `permgrad.report.write_results` for the best trial: ``tuning.json``, ``trials.csv`` and
    Optuna's plots. Each file is whole; ``tuning.json`` comes last. Where several processes end at once,
    one writes, and the others find that there is nothing left to do.

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
        return _write_study(job, study, table, test)


def _write_study(job: Job, study: optuna.Study, table: Table, test: Table) -> TuneResult:
    best = best_trial(study)
    metrics, val = job.objective.metrics, job.objective.val
    summary = _summary(job, study, best)
    if _is_up_to_date(job.directory, summary):
        ranking = FeatureRanking.load(job.directory / "ranking.json")
        return TuneResult(study, job.directory, metrics, val, test, ranking)
    for leftover in job.directory.glob(f"{STAGING}*"):  # of a process that was killed here
        shutil.rmtree(leftover)
    found: FeatureRanking | None = None
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=job.directory) as staging:
        here = Path(staging)
        try:
            estimator = checkpoints.read(job.networks, best, val)
        except checkpoints.ElsewhereError as error:
            warnings.warn(str(error), UserWarning, stacklevel=4)
        else:
            found = _rank(job, best, estimator, table, test, here)
        for name, figure in study_pictures(study, metrics):
            figure.savefig(here / f"{name}.png", dpi=DPI, bbox_inches="tight")
        trials_table(study, metrics).to_csv(here / "trials.csv", index=False)
        if found is not None and study.user_attrs.get(RANKED) != best.number:
            _show_in_dashboard(job, study, best, here)
        move_into(here, job.directory)
    write_json(job.directory / SUMMARY, {**summary, "ranked": found is not None})
    return TuneResult(study, job.directory, metrics, val, test, found)


def _rank(job: Job, best: FrozenTrial, estimator: Any, table: Table, test: Table, directory: Path) -> FeatureRanking:
    ranking = estimator.rank_features(test.X, test.y, verbose=False)
    tuning = {"study": job.name, "trial": best.number, "values": best.values, "params": best.params}
    ranking = replace(ranking, settings={**ranking.settings, "tuning": tuning})
    return write_results(
        directory, estimator, ranking, table, test, split_random_state=job.identity["split_random_state"]
    )


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
        "sampler": job.sampler,
        "pruner": job.pruner,
        **job.identity,
        "versions": versions(),
    }


def _is_up_to_date(directory: Path, summary: dict[str, Any]) -> bool:
    if not (directory / SUMMARY).is_file() or not (directory / "ranking.json").is_file():
        return False
    written = read_json(directory / SUMMARY, kind=KIND)
    same = all(written.get(key) == summary[key] for key in ("study", "finished", "best"))
    return same and bool(written.get("ranked"))


def _show_in_dashboard(job: Job, study: optuna.Study, best: FrozenTrial, directory: Path) -> None:
    """Keep the ranking's picture and table as artifacts of the study; show them in its note and the best trial's."""
    store = FileSystemArtifactStore(job.artifacts)
    ids = []
    for name in ("ranking.png", "ranking.csv"):
        # Optuna lets nothing be added to a finished trial: the study has the files, both notes show the picture.
        named = directory / name.replace("ranking", f"ranking_of_trial_{best.number}")
        shutil.copy(directory / name, named)
        ids.append(upload_artifact(artifact_store=store, file_path=str(named), study_or_trial=study))
        named.unlink()
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(job.objective.metrics, best.values, strict=True))
    columns = ["feature", "score"]
    table = pd.read_csv(directory / "ranking.csv")[columns].head(NOTED_FEATURES)
    rows = "\n".join(f"| {i} | {row.feature} | {row.score:.4g} |" for i, row in enumerate(table.itertuples(), 1))
    note = (
        f"## PermGrad ranking of trial {best.number} ({values})\n\n"
        f"![ranking]({get_artifact_path(study, ids[0])})\n\n"
        f"| rank | feature | score |\n| --- | --- | --- |\n{rows}\n"
    )
    save_note(study, note)
    # save_note takes running trials; a finished one is shown to it by the three attributes that it reads.
    shown = SimpleNamespace(storage=study._storage, study=study, _trial_id=best._trial_id)
    save_note(shown, f"{get_note(shown)}\n{note}")
    study.set_user_attr(RANKED, best.number)
