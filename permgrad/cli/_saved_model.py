"""``permgrad rank --model``: rank the columns of a table by a Keras model that is there already."""

from __future__ import annotations

import hashlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from permgrad.cli._options import OfTable

if TYPE_CHECKING:
    import numpy as np

    from permgrad.cli._steps import Steps
    from permgrad.data.table import Table
    from permgrad.importance.network.opaque import Opaque
    from permgrad.importance.ranking import FeatureRanking


class Ranked(NamedTuple):
    """A ranking, and the model and rows that it is of."""

    ranking: FeatureRanking
    opaque: Opaque


WITH_A_MODEL = (
    *("table", "target", "task", "out", "overwrite", "model", "n_repeats", "timeout", "conditional", "random_state"),
    *("formula", "shard", "workers"),
)
"""Options that do not concern training."""
DPI = 150


def check_options(context: click.Context) -> None:
    """Raise for options that were given but train, split or test, where a model is given too."""
    from permgrad.errors import PermGradError, listing

    training = [option for option in context.command.params if not isinstance(option, OfTable)]
    names = [option.name or "" for option in training if option.name not in WITH_A_MODEL]
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    useless = [f"--{name.replace('_', '-')}" for name in given]
    if useless:
        raise PermGradError(f"with --model nothing is trained, split or tested; leave out {listing(useless)}")


def check_rows(data: Table) -> None:
    """Raise for what says how rows are split, where all of them are test rows."""
    from permgrad.errors import PermGradError

    given = [f"--{name}" for name, rows in {"time": data.times, "split": data.parts}.items() if rows is not None]
    if given:
        raise PermGradError(
            f"with --model all rows are test rows: {' and '.join(given)} would split them; leave it out (and --test)"
        )


def check_formula(formula: str | None) -> None:
    """Raise for a formula that weighs branches."""
    from permgrad.errors import PermGradError

    if formula not in (None, "game", "last in"):
        raise PermGradError(
            f"with --model, --formula must be game or last-in; {formula!r} needs a network that permgrad trains"
        )


def rank_model(path: Path, data: Table, task: str | None, steps: Steps, command: str | None = None) -> Ranked:
    """Rank the table's columns by what a saved model says of all its rows.

    A model of one table is taken apart; one that draws an image of its columns, or has an input for each, is not: its
    columns are permuted as they come, through all of it.

    Parameters
    ----------
    path : Path
    data : Table
    task : str, optional
    steps : Steps
    command : str, optional
        That repeats the run; by default this process's.
    """
    from permgrad.importance.network.branches import cut_model
    from permgrad.importance.network.opaque import Opaque
    from permgrad.importance.rank import rank_features
    from permgrad.importance.rank_opaque import rank_opaque

    model = read_model(path)
    y, classes = true_values(model, data, task)
    known: Any = {"classes": classes, "task": task, "sample_weight": data.weights, "row_groups": data.groups}
    opaque = Opaque.of(model, data.X, y, **known)
    given: Any = {name: getattr(steps, name) for name in ("n_repeats", "random_state", "conditional", "formula")}
    given |= {"budget": steps.budget(), "verbose": True}
    alone = len(model.inputs) == 1 and [branch.kind for branch in cut_model(model).branches] == ["tabular"]
    if alone and len(model.inputs[0].shape) == 2:
        ranking = rank_features(model, data.X.astype("float32"), y, **known, **given)
    else:
        ranking = rank_opaque(opaque, **given)
    return Ranked(_with_origin(ranking, opaque, data, path, command), opaque)


def read_model(path: Path) -> Any:
    """Read a ``.keras`` file, with its loss where Keras knows it.

    Raises
    ------
    PermGradError
        If the file is damaged, holds code or layers that cannot be read, or no functional model.
    """
    from permgrad.backend import keras, quiet_start
    from permgrad.errors import PermGradError, reading
    from permgrad.estimators import loading  # noqa: F401 - registers this package's layers

    if not path.is_file():
        raise PermGradError(f"cannot read {path}: there is no such file")
    try:
        with quiet_start(), reading(path, "a Keras model (a .keras file)"):
            model = keras.models.load_model(path, compile=False)
    except PermGradError as error:
        cause = str(error.__cause__)
        if "Could not locate" in cause or "Lambda" in cause:
            raise PermGradError(
                f"{path} holds a Lambda or a custom layer, whose code is not in the file; rank the model in Python:"
                " permgrad.rank_features(model, X, y)"
            ) from error
        raise
    if not getattr(model, "outputs", None):
        raise PermGradError(
            f"{path} holds a {type(model).__name__} that is not a functional model; build it with keras.Model"
        )
    try:
        return keras.models.load_model(path)
    except (TypeError, ValueError):  # a loss or an optimizer of its own
        click.echo("the loss that the model was trained with cannot be read: --task says what it is for", err=True)
        return model


def true_values(model: Any, data: Table, task: str | None) -> tuple[np.ndarray, list[str] | None]:
    """Return class numbers with the classes' names, or target values with None.

    Labels that are no class numbers are numbered in their order, as scikit-learn's and this package's estimators do.
    """
    import numpy as np
    import pandas as pd

    from permgrad.errors import PermGradError, listing
    from permgrad.metrics.outputs import task_of

    labels, n_classes = np.sort(data.y.unique()), task_of(model, task=task)[0].n_classes
    numeric = pd.api.types.is_numeric_dtype(data.y)
    if numeric and (not n_classes or np.isin(labels, np.arange(n_classes)).all()):
        return data.y.to_numpy(), None
    if not n_classes:
        raise PermGradError(
            f"{data.y.name!r} holds {listing(labels.tolist())}, but nothing says that the model tells classes apart;"
            " pass --task classification if it does"
        )
    if task is None and numeric and len(labels) > n_classes:  # shares of a sigmoid, or what does not fit it
        return data.y.to_numpy(), None
    if len(labels) != n_classes:
        raise PermGradError(
            f"the model tells {n_classes} classes apart, {data.y.name!r} holds {len(labels)}:"
            f" {listing(labels.tolist())}"
        )
    click.echo(f"classes, in the order of the model's outputs: {', '.join(map(str, labels))}")
    return np.searchsorted(labels, data.y), [str(label) for label in labels]


def write_ranked(directory: Path, ranked: Ranked, data: Table) -> FeatureRanking:
    """Write the ranking and its page; of a model that says several values of a row, the ranking alone."""
    from dataclasses import replace

    from permgrad import plotting
    from permgrad.cli._notes import notes_printed
    from permgrad.report.any_model import any_model
    from permgrad.report.directory import write_results_of
    from permgrad.report.results import Results

    ranking, opaque = ranked
    model = any_model(opaque, ranking.settings["model"]["name"], data.y, who="network")
    if model is None:
        ranking.table.to_csv(directory / "ranking.csv", index=False)
        ranking.save(directory / "ranking.json")
        plotting.plot_ranking(ranking).savefig(directory / "ranking.png", dpi=DPI)
        return ranking
    asked: Any = "classification" if opaque.target.classes else "regression"
    rows = data if data.task == asked else replace(data, task=asked)  # the model knows better than the table
    known: Any = {"command": ranking.settings["command"], "notes": notes_printed()}
    return write_results_of(directory, Results(model, ranking, rows, rows, 0, **known))


def facts_of_model(path: Path) -> dict[str, str]:
    """Return what tells a model's file from others, and where it is."""
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "path": str(path.resolve())}


def same_model(known: dict[str, str]) -> Path:
    """Return the file that `facts_of_model` told of.

    Raises
    ------
    PermGradError
        If it is no longer there, or another.
    """
    from permgrad.errors import PermGradError

    path = Path(known["path"])
    if not path.is_file() or facts_of_model(path)["sha256"] != known["sha256"]:
        raise PermGradError(f"the shards ranked the model in {path}, which is missing or has changed; restore it")
    return path


def _with_origin(
    ranking: FeatureRanking, opaque: Opaque, data: Table, path: Path, command: str | None
) -> FeatureRanking:
    """Return the ranking with where it comes from: data, model, versions, command; and the model's scores."""
    from dataclasses import replace

    from permgrad.report.results import origin_of

    told = {"model": facts_of_model(path), "command": command or shlex.join(["permgrad", *sys.argv[1:]])}
    return replace(ranking, settings={**ranking.settings, **origin_of(opaque, data), **told})
