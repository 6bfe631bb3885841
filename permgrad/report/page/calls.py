"""The Python calls that give a ranking again."""

from __future__ import annotations

from typing import Any

from permgrad.data.datasets import list_datasets
from permgrad.data.table import Table
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.results import Results


def python_calls(results: Results) -> str:
    """Return the source of the calls that read the table, train the network and rank again."""
    table, estimator, settings = results.table, results.estimator, results.ranking.settings
    default = type(estimator)().get_params()
    params = {name: value for name, value in estimator.get_params().items() if value != default[name]}
    params.pop("verbose", None)
    arguments = ", ".join(f"{name}={value!r}" for name, value in params.items())
    return "\n".join(
        [
            "import permgrad as pg",
            "",
            f"table = {_reading(table)}",
            f"assert table.sha256 == {settings['data']['sha256']!r}",
            f"train, val, test = table.split(random_state={settings['split_random_state']})",
            f"model = pg.{type(estimator).__name__}({arguments})",
            "model.fit(train.X, train.y, validation_data=(val.X, val.y))",
            f"ranking = model.rank_features(test.X, test.y{_ranking_arguments(results.ranking, estimator)})",
        ]
    )


def _reading(table: Table) -> str:
    if table.notes.get("title") and table.name in set(list_datasets()["name"]):
        return f"pg.load_dataset({table.name!r})"
    return f"pg.Table(X, y, task={table.task!r})  # your columns, target"


def _ranking_arguments(ranking: FeatureRanking, estimator: Any) -> str:
    """Return the arguments of `rank_features` that differ from the defaults, as source."""
    settings = ranking.settings
    given = {
        "weights": (settings.get("weights", "shapley"), "shapley"),
        "baseline": (settings.get("baseline", "shuffled"), "shuffled"),
        "scaling": (settings.get("scaling", "share"), "share"),
        "attribution": (settings.get("attribution", "gradient_input"), "gradient_input"),
        "layer": (settings.get("layer", "last"), "last"),
        "readout": (settings.get("readout", "cell"), "cell"),
        "conditional": ("conditional" in ranking.components, False),
        "n_repeats": (settings.get("n_repeats", 5), 5),
        "random_state": (settings.get("random_state", estimator.random_state), estimator.random_state),
    }
    return "".join(f", {name}={value!r}" for name, (value, default) in given.items() if value != default)
