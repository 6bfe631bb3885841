"""What the dashboard shows beside numbers: each trial's learning curve, and the best one's ranking."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import optuna
import pandas as pd
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import FrozenTrial, Trial
from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact import get_artifact_path

from permgrad import plotting
from permgrad.tuning._job import Job
from permgrad.tuning.objective import EpochLog

PICTURE_DPI = 80
NOTED_FEATURES = 20
RANKED = "ranking of trial"
"""Study attribute: whose ranking its note shows."""


def note_trial(trial: Trial, log: EpochLog, store: FileSystemArtifactStore) -> None:
    """Give `trial` its learning curve, as picture and table, and a note with its scores, for the dashboard."""
    if not log.epochs:  # pruned by its space
        return
    attributes = trial.user_attrs
    curve = pd.DataFrame(log.epochs)
    kept = attributes.get("kept_epoch", int(curve["val_loss"].argmin()) + 1)
    figure = plotting.plot_history({str(name): values.tolist() for name, values in curve.items()}, kept)
    curve.insert(0, "epoch", range(1, len(curve) + 1))
    with tempfile.TemporaryDirectory() as scratch:
        picture, table = Path(scratch) / "learning_curve.png", Path(scratch) / "learning_curve.csv"
        figure.savefig(picture, dpi=PICTURE_DPI)
        curve.to_csv(table, index=False)
        for path in (picture, table):
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial)
    numbers = {name: value for name, value in attributes.items() if isinstance(value, (int, float))}
    rows = "\n".join(f"| {name} | {value:.6g} |" for name, value in numbers.items())
    save_note(trial, f"| | |\n| --- | --- |\n{rows}\n")


def note_ranking(job: Job, study: optuna.Study, best: FrozenTrial, directory: Path) -> None:
    """Keep the ranking's picture and table as artifacts of the study; show them in its note and the best trial's."""
    store = FileSystemArtifactStore(job.artifacts)
    if study.user_attrs.get(RANKED) == best.number:
        return
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
