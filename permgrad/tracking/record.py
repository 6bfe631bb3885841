"""What a tracker receives about a run: settings, scores, curves and files, read from stored results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from permgrad.directories import KIND as MANIFEST_KIND
from permgrad.directories import MANIFEST, STUDY_SUMMARY, is_study
from permgrad.errors import FileFormatError
from permgrad.estimators.saving import KIND as ESTIMATOR_KIND
from permgrad.files import read_json
from permgrad.importance.ranking import FeatureRanking

if TYPE_CHECKING:
    from permgrad.tuning.result import TuneResult

OF_DATA = ("name", "target", "task", "rows", "sha256")
OF_RANKING = ("formula", "n_repeats", "trainings", "split_random_state")


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes
    ----------
    name : str
        The name of the table, or ``trial 3``.
    params : dict
        Name of a setting → its value: a number, text, a truth value, a list or None.
    scores : dict of float
        Name → value at the end of the run; finite values only.
    curves : dict of lists
        Name → value after each epoch, from epoch 1. Names are those of Keras's TensorBoard callback, such as
        ``epoch_loss``.
    tags : dict of str
        Other facts as text: the command line, the verdict, versions.
    ranking : FeatureRanking or None
    files : dict of Path
        Name within the results directory → file.
    trials : tuple of Record
        The trials of a tuning study.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ranking: FeatureRanking | None = None
    files: dict[str, Path] = field(default_factory=dict)
    trials: tuple[Record, ...] = ()


def record_of(results: str | Path | FeatureRanking | TuneResult, storage: str | None = None) -> Record:
    """Read what can be tracked from results.

    Parameters
    ----------
    results : path, FeatureRanking or TuneResult
        A directory of `permgrad rank` or `permgrad tune`, a ranking alone, or the result of `permgrad.tune`.
    storage : str, optional
        URL of the study's storage, if the study's directory does not hold it; see `permgrad.tune`.

    Raises
    ------
    FileFormatError
        If the directory has no ranking and belongs to no study, or if a file is damaged.
    PermGradError
        If the study is in another storage.
    """
    if isinstance(results, FeatureRanking):
        return _of_ranking(results)
    if isinstance(results, (str, Path)):
        directory = Path(results)
        if not is_study(directory):
            return _of_directory(directory)
        from permgrad.tuning.storage import load_study

        return _of_study(directory, load_study(directory, storage))
    return _of_study(results.directory, results.study)


def _of_directory(directory: Path) -> Record:
    """Read a directory of `permgrad rank`."""
    if not (directory / "ranking.json").is_file():
        raise FileFormatError(f"{directory} has no ranking.json, which permgrad rank and tune write")
    record = _of_ranking(FeatureRanking.load(directory / "ranking.json"))
    return replace(record, curves=_curves(directory), files=_files(directory))


def _of_ranking(ranking: FeatureRanking) -> Record:
    known = ranking.settings
    data, estimator = known.get("data", {}), known.get("estimator", {})
    params = {f"data_{name}": data[name] for name in OF_DATA if name in data}
    params |= {"columns": len(ranking.features) - len(ranking.probes), "method": ranking.method}
    params |= {name: known[name] for name in OF_RANKING if name in known}
    params |= estimator  # by their own names: these are what runs are compared by
    scores = {f"test_{name}": value for name, value in known.get("test_scores", {}).items()}
    scores["test_calibration_error"] = (known.get("calibration") or {}).get("ece")
    scores["saved_loss"] = known.get("total")
    tags = {name: known[name] for name in ("command", "verdict") if known.get(name)}
    tags |= {f"version_{name}": version for name, version in known.get("versions", {}).items()}
    return Record(data.get("name", "ranking"), params, _finite(scores), tags=tags, ranking=ranking)


def _curves(directory: Path) -> dict[str, list[float]]:
    """Return the log of the first network; a ranking of an external model has none."""
    path = directory / "model" / "estimator.json"
    history = read_json(path, kind=ESTIMATOR_KIND)["history"] if path.is_file() else {}
    return {f"epoch_{name}": values for name, values in history.items()}


def _files(directory: Path) -> dict[str, Path]:
    """Return the results' own files, without the networks of other trials and without the study itself."""
    listed = directory / MANIFEST
    names = read_json(listed, kind=MANIFEST_KIND)["files"] if listed.is_file() else []
    return {name: directory / name for name in [*names, STUDY_SUMMARY] if (directory / name).is_file()}


def _of_study(directory: Path, study: Any) -> Record:
    """Read a study: the ranking of its best network, if it is here, and every trial that has ended."""
    from permgrad.tuning.study import SETTINGS

    ranked = (directory / "ranking.json").is_file()
    record = _of_directory(directory) if ranked else Record(study.study_name, files=_files(directory))
    metric = study.user_attrs[SETTINGS]["metric"][0]
    trials = [_of_trial(trial, metric) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return replace(record, name=study.study_name, trials=tuple(trials))


def _of_trial(trial: Any, metric: str) -> Record:
    """Read a trial, whose attributes hold its scores, the objective's included."""
    tags = {name: value for name, value in trial.user_attrs.items() if isinstance(value, str)}
    tags |= {"state": trial.state.name.lower()}
    curve = [value for _, value in sorted(trial.intermediate_values.items())]
    curves = {f"epoch_val_{metric}": curve} if curve else {}
    return Record(f"trial {trial.number}", trial.params, _finite(trial.user_attrs), curves, tags)


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers among some values."""
    numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
