"""The Python calls that give a ranking again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from permgrad.data.datasets import list_datasets
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table
from permgrad.importance.formula import PUBLISHED, Formula, formula_of
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.any_model import AnyClassifier, AnyModel
from permgrad.report.results import Results


def python_calls(results: Results) -> str:
    """Return the source of the calls that read the table, train the network and rank again."""
    estimator, settings = results.estimator, results.ranking.settings
    if isinstance(estimator, AnyModel):
        return _calls_of_any(results)
    default = type(estimator)().get_params()
    params = {name: value for name, value in estimator.get_params().items() if value != default[name]}
    params.pop("verbose", None)
    arguments = ", ".join(f"{name}={value!r}" for name, value in params.items())
    several = estimator.settings()["n_networks"] > 1  # each of them sets other rows apart
    ranked = _ranking_arguments(results.ranking, estimator.random_state)
    trainings, split = settings.get("trainings", 1), settings["split_random_state"]
    call = f"model.rank_features(test{ranked})"
    if trainings > 1:
        call = f"pg.rank_recipe(model, table, trainings={trainings}, split_random_state={split}{ranked})"
    return "\n".join(
        [
            "import permgrad as pg",
            "",
            *(_reading(results.table) if results.in_files is None else _reading_files(results.in_files.table)),
            f"train, val, test = table.split(random_state={split})",
            f"model = pg.{type(estimator).__name__}({arguments})",
            f"model.fit({'train.with_rows(val)' if several else 'train, validation_data=val'})",
            f"ranking = {call}",
        ]
    )


def _calls_of_any(results: Results) -> str:
    """Return the calls that read the table and the model, and rank."""
    settings, ranked, y = results.ranking.settings, _ranking_arguments(results.ranking, 0), "table.y"
    if (
        "model" in settings
        and isinstance(results.estimator, AnyClassifier)
        and not np.array_equal(results.estimator.classes_, np.arange(len(results.estimator.classes_)))
    ):
        y = f"table.y, classes={results.estimator.classes_.tolist()!r}"
    known = settings.get("model")
    given = f"keras.models.load_model({results.foreign!r})" if known else f"...  # your fitted {results.foreign}"
    return "\n".join(
        [
            *(["import keras", ""] if known else []),
            "import permgrad as pg",
            "",
            *_reading(results.table),
            f"model = {given}",
            f"ranking = pg.rank_features(model, table, {y}{ranked})",
        ]
    )


def _reading(table: Table) -> list[str]:
    """Return the calls that read a table, add its probes, and make sure that it is the same."""
    return [f"table = {_read(table)}", *_probes(table), f"assert table.sha256 == {table.sha256!r}"]


def _reading_files(table: StreamedTable) -> list[str]:
    """Return the call that looks at a table in files."""
    told = table.notes.get("read") or {}
    given = "".join(f", {name}={value!r}" for name, value in {"task": table.task, **told}.items())
    return [f"table = pg.StreamedTable.from_files(FILES, {str(table.y.name)!r}{given})"]


def _read(table: Table) -> str:
    if table.notes.get("title") and table.name in set(list_datasets()["name"]):
        return f"pg.load_dataset({table.name!r})"
    told = table.notes.get("read") or {}
    if {*told} - {"drop", "kinds", "rare"} or table.rules:
        given = "".join(f", {name}={value!r}" for name, value in {"task": table.task, **told}.items())
        return f"pg.Table.from_file(FILE, {str(table.y.name)!r}{given})"
    given = "".join(f", {name}={told[name]!r}" for name in told)
    given += "".join(f", {name}={name}" for name in table.facts.known())
    return f"pg.Table(X, y, task={table.task!r}{given})  # your columns, target"


def _probes(table: Table) -> list[str]:
    """Return the call that adds the table's probes."""
    known = table.notes.get("probes")
    if not known:
        return []
    return [f"table = table.with_probes({known['n_probes']}, random_state={known['random_state']})"]


def _ranking_arguments(ranking: FeatureRanking, random_state: Any) -> str:
    """Return the arguments of `rank_features` that differ from the defaults, as source.

    By default the random state is the one given: an estimator's own.
    """
    settings = ranking.settings
    given = {
        "conditional": ("conditional" in ranking.components, False),
        "n_repeats": (settings.get("n_repeats", 5), 5),
        "random_state": (settings.get("random_state", random_state), random_state),
    }
    formula = _formula_call(settings)
    arguments = f", formula={formula}" if formula else ""
    return arguments + "".join(f", {name}={value!r}" for name, (value, default) in given.items() if value != default)


def _formula_call(settings: Mapping[str, Any]) -> str:
    """Return the formula of a ranking as source; nothing where the default was what it was."""
    formula = formula_of(settings)
    if not isinstance(formula, Formula):
        return '"last in"' if formula == "last in" else ""
    if formula == PUBLISHED:
        return '"published"'
    default, used = Formula().to_settings(), formula.to_settings()
    choices = ", ".join(f"{name}={value!r}" for name, value in used.items() if value != default[name])
    return f"pg.Formula({choices})" if choices else '"fused"'
