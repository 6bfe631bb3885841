"""Everything that the page shows, as plain values: ready for the template, and for JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from permgrad.evaluation.result import RankingEvaluation
from permgrad.files import plain
from permgrad.importance.learned import doubts
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.redundancy import redundancy
from permgrad.report.any_model import AnyModel
from permgrad.report.page import _content as content
from permgrad.report.page._by_level import by_charts, by_values
from permgrad.report.page._calls import python_calls
from permgrad.report.page._charts import CONFIG
from permgrad.report.page._checkup import checkup_values
from permgrad.report.page._columns import asked_columns
from permgrad.report.page._effects import strongest_pairs
from permgrad.report.page._images import samples
from permgrad.report.page._performance import models_chart, performance_charts
from permgrad.report.page._ranking import divided, ranked_table, ranking_charts
from permgrad.report.page._rows import asked_rows, drawn_rows
from permgrad.report.page._tables import (
    Cells,
    cells,
    models_cells,
    number,
    ranking_cells,
    stability_cells,
    titled_cells,
)
from permgrad.report.pictures import PAGE_FEATURES
from permgrad.report.results import Results

MAX_ROWS = 200
"""Columns that the page holds; ranking.csv has them all."""
REFEREE = ("end_to_end", "permutation")
"""Components that the score is held against: the plain experiment, most convincing first."""
SENTENCES = ("question", "meaning", "limits", "verdict", "calibration", "doubts", "redundancy", "agreement_verdict")
"""Values that are sentences of a network."""
NETWORK = re.compile(r"\bnetwork\b")
EVALUATION_TABLES = {
    "areas": "Areas under the curves",
    "chance": "Differences of the areas of 20 random orders",
    "retrain": "Networks trained anew without the best columns",
    "sanity": "Likeness to the ranking of the trained network, as it forgets",
}


def page_values(results: Results, pictures: Sequence[str]) -> dict[str, Any]:
    """Return the template's values.

    Parameters
    ----------
    results : Results
        With settings, see `Results.with_settings`.
    pictures : sequence of str
        Names of the results directory's pictures: the page shows those, and no others.
    """
    values = {**_data(results), **_ranking(results), **_pictures(results, pictures), **_origin(results)}
    values |= _asked(results)
    values["by"] = None if results.by is None else by_values(results.by)
    values["evaluation"] = _evaluation(results.evaluation)
    values["checkup"] = checkup_values(results.checkup, results.ranking.settings.get("notes", []))
    values["limits"] = content.limits(results.ranking, results.evaluation)
    values["who"] = getattr(results.estimator, "who", "network")
    return plain(_without_classes(_in_words(values, results)))


def _in_words(values: dict[str, Any], results: Results) -> dict[str, Any]:
    """Return the values, sentences of a network being of a model where it is none."""
    if values["who"] == "network":
        return values
    named = [name for name in results.ranking.features if "network" in name]

    def said(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [said(each) for each in value]
        of_column = isinstance(value, str) and any(name in value for name in named)
        return value if of_column or not isinstance(value, str) else NETWORK.sub("model", value)

    asked = values["asked"]
    columns = [
        {
            **column,
            "said": said(column["said"]),
            "charts": [{**chart, "title": said(chart["title"])} for chart in column["charts"]],
        }
        for column in asked["columns"]
    ]
    return {**values, **{name: said(values[name]) for name in SENTENCES}, "asked": {**asked, "columns": columns}}


def _without_classes(value: Any) -> Any:
    """Return records as dicts, however deep they are."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _without_classes(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {name: _without_classes(each) for name, each in value.items()}
    return [_without_classes(each) for each in value] if isinstance(value, (list, tuple)) else value


def _asked(results: Results) -> dict[str, Any]:
    """Return the values of what can be asked: charts, columns and rows; and the rows that are drawn without asking."""
    carried = results.carried
    models = None if results.models is None else models_chart(results.models)
    whole, by_class = ranking_charts(results.ranking)
    charts = {
        "ranking": whole,
        **performance_charts(results),
        **({} if models is None else {"models": models}),
        **({} if results.by is None else by_charts(results.by)),
    }
    return {
        "charted": list(charts),
        "class_names": list(results.ranking.classes or ())[: len(by_class)],
        "carried": None if carried is None else drawn_rows(results, carried),
        "asked": {
            "config": CONFIG,
            "first": PAGE_FEATURES,
            "charts": charts,
            "byClass": by_class,
            "columns": asked_columns(results),
            "rows": None if carried is None else asked_rows(results, carried),
        },
    }


def _data(results: Results) -> dict[str, Any]:
    """Return the template's values that are of the table and of the network's test scores."""
    table, settings = results.table, results.ranking.settings
    return {
        "title": table.notes.get("title") or table.name,
        "task": table.task,
        "target": table.y.name,
        "question": content.question(table, results.ranking.scope),
        "homepage": _link(table.notes.get("homepage")),
        "facts": content.data_facts(results),
        "scores": settings["test_scores"],
        "score_names": content.SCORE_NAMES,
        "score_meanings": content.SCORE_MEANINGS,
        "verdict": content.verdict(results.ranking, results.test),
        "doubts": doubts(results.ranking),
        "models": None if results.models is None else models_cells(results.models),
        "beside": _beside(results),
        "test_rows": settings["test_rows"],
        "calibration": content.calibration(results.ranking, table.classes or ()),
    }


def _beside(results: Results) -> dict[str, Any] | None:
    """Return what the reference models say of the network."""
    models = results.models
    if models is None:
        return None
    rows, test_rows = number(models.rows), number(models.test_rows)
    caption = f"Fitted on the same {rows} rows, scored on the same {test_rows} test rows"
    if results.in_files is not None:
        caption = (
            f"The others fitted on {rows} of the network’s rows, all scored on {test_rows} test rows, drawn at random"
        )
    return {"verdict": models.verdict, "beaten_by": models.beaten_by, "caption": caption}


def _caption(n_columns: int, n_probes: int) -> str:
    """Say what the table of all columns holds."""
    if n_columns + n_probes > MAX_ROWS:
        return f"The best {MAX_ROWS} columns"
    probes = f" and {n_probes} probe{'s' if n_probes > 1 else ''}" if n_probes else ""
    return f"The {n_columns} columns{probes}, best first"


def _ranking(results: Results) -> dict[str, Any]:
    """Return the template's values that are of the ranking."""
    ranking, groups = results.ranking, results.groups
    agreement = content.agreement(ranking)
    referee = next((name for name in REFEREE if name in agreement), None)
    parts = list(ranking.components)
    n = len(ranking.features)
    return {
        "method": ranking.method,
        "by_class": ranking.classes is not None,
        "divided": divided(ranking, ranking.order[:PAGE_FEATURES]),
        "components": parts if len(parts) > 1 or ranking.method not in parts else [],
        "tuning": ranking.settings.get("tuning"),
        "best": ranking.select(3),
        "n_best": min(n, PAGE_FEATURES),
        "full": ranked_table(ranking, MAX_ROWS),
        "full_caption": _caption(n - len(ranking.probes), len(ranking.probes)),
        "groups": None if groups is None else ranking_cells(groups, PAGE_FEATURES),
        "columns_of_groups": _columns_of_groups(groups or ranking),
        "meaning": content.meaning(ranking),
        "redundancy": redundancy(ranking),
        "pairs": cells(strongest_pairs(results.interactions)),
        "trainings": ranking.settings.get("trainings", 1),
        "agreement": agreement,
        "referee": referee,
        "agreement_verdict": "" if referee is None else content.agreement_verdict(agreement[referee], ranking.method),
    }


def _pictures(results: Results, pictures: Sequence[str]) -> dict[str, Any]:
    """Return the template's values that are pictures: names of the directory's, and rows' images."""
    layout, images = results.estimator.layout_, results.images
    return {
        "pictures": [name for name in pictures if name != "sample"],
        "samples": [] if images is None else samples(results, images),
        "layout": None if layout is None else {"shape": layout.shape, "method": layout.method},
    }


def _origin(results: Results) -> dict[str, Any]:
    """Return the template's values that say how to get the numbers again."""
    settings = results.ranking.settings
    return {
        "command": results.command,
        "foreign": results.foreign,
        "calls": python_calls(results),
        "network": _network(results),
        "settings": json.dumps(plain(_short_settings(settings)), indent=2, ensure_ascii=False),
        "versions": settings["versions"],
        "random_states": {
            "split": settings.get("split_random_state"),
            "network": settings.get("estimator", {}).get("random_state"),
            "permutations": settings.get("random_state"),
        },
    }


def _network(results: Results) -> str:
    """Say what the network is."""
    if isinstance(results.estimator, AnyModel):
        known = results.ranking.settings.get("model")
        return results.estimator.name + (f", SHA-256 {known['sha256']}" if known else "")
    return results.estimator.description()


def _columns_of_groups(ranking: FeatureRanking, depth: int = 0) -> list[tuple[str, int, Cells]]:
    """Walk a ranking's groups, best first, each followed by the groups in it: (name, depth, its columns)."""
    walked = []
    for name in ranking.select(len(ranking.features)):
        if name in ranking.children:
            walked.append((name, depth, ranking_cells(ranking.children[name], MAX_ROWS)))
            walked += _columns_of_groups(ranking.children[name], depth + 1)
    return walked


def _evaluation(evaluation: RankingEvaluation | None) -> dict[str, Any] | None:
    """Return what the tests gave, as tables and lines; what is absent is empty."""
    if evaluation is None:
        return None
    tables = {title: titled_cells(getattr(evaluation, name)) for name, title in EVALUATION_TABLES.items()}
    tables = {title: cells for title, cells in tables.items() if cells}
    return {
        "summary": titled_cells(evaluation.summary),
        "losses": evaluation.losses,
        "tables": tables,
        "stability": stability_cells(evaluation.stability),
        "left_out": evaluation.left_out,
        "tested": bool(evaluation.stability) or bool(tables),
    }


def _short_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the page shows elsewhere, and lists too long to read."""
    return {
        name: value
        for name, value in settings.items()
        if name not in ("data", "test_scores", "versions", "agreement") and len(json.dumps(plain(value))) < 5000
    }


def _link(address: Any) -> str | None:
    """Return an address that a browser may follow: notes come with the data, from anybody."""
    return address if isinstance(address, str) and address.startswith(("https://", "http://")) else None
