"""Results → one page of HTML that needs no other file, no script and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from permgrad.evaluation.result import RankingEvaluation
from permgrad.files import plain
from permgrad.importance.learned import doubts
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.redundancy import redundancy
from permgrad.plotting import method_title
from permgrad.report.page import _content as content
from permgrad.report.page._calls import python_calls
from permgrad.report.page._checkup import checkup_values
from permgrad.report.page._images import figure_source, samples
from permgrad.report.page._tables import Cells, models_cells, number, ranking_cells, stability_cells, titled_cells
from permgrad.report.pictures import PAGE_FEATURES
from permgrad.report.results import Results

MAX_ROWS = 200
"""Columns that the page holds; ranking.csv has them all."""
REFEREE = ("end_to_end", "permutation")
"""Components that the score is held against: the plain experiment, most convincing first."""
EVALUATION_TABLES = {
    "areas": "Areas under the curves",
    "chance": "Differences of the areas of 20 random orders",
    "retrain": "Networks trained anew without the best columns",
    "sanity": "Likeness to the ranking of the trained network, as it forgets",
}


def render_page(results: Results, figures: Mapping[str, Figure]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    results : Results
        With settings, see `Results.with_settings`.
    figures : mapping of str to Figure
        By the names of the results directory's pictures; absent ones are left out.
    """
    environment = Environment(
        loader=PackageLoader("permgrad", "report/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "title": method_title}
    values = {**_data(results), **_ranking(results), **_pictures(results, figures), **_origin(results)}
    return environment.get_template("template.html").render(
        values,
        evaluation=_evaluation(results.evaluation),
        checkup=checkup_values(results.checkup, results.ranking.settings.get("notes", [])),
        limits=content.limits(results.ranking, results.evaluation),
    )


def _data(results: Results) -> dict[str, Any]:
    """Return the template's values that are of the table and of the network's test scores."""
    table, settings = results.table, results.ranking.settings
    return {
        "title": table.notes.get("title") or table.name,
        "task": table.task,
        "target": table.y.name,
        "question": content.question(table, results.ranking.scope),
        "homepage": _link(table.notes.get("homepage")),
        "facts": content.data_facts(results.ranking, table),
        "scores": settings["test_scores"],
        "score_names": content.SCORE_NAMES,
        "score_meanings": content.SCORE_MEANINGS,
        "verdict": content.verdict(results.ranking, results.test),
        "doubts": doubts(results.ranking),
        "models": None if results.models is None else models_cells(results.models),
        "beside": None if results.models is None else results.models,
        "calibration": content.calibration(results.ranking),
    }


def _ranking(results: Results) -> dict[str, Any]:
    """Return the template's values that are of the ranking."""
    ranking, groups = results.ranking, results.groups
    agreement = content.agreement(ranking)
    return {
        "ranking": ranking,
        "best": ranking.select(3),
        "top": ranking_cells(ranking, PAGE_FEATURES),
        "full": ranking_cells(ranking, MAX_ROWS),
        "groups": None if groups is None else ranking_cells(groups, PAGE_FEATURES),
        "columns_of_groups": _columns_of_groups(groups or ranking),
        "meaning": content.meaning(ranking),
        "redundancy": redundancy(ranking),
        "trainings": ranking.settings.get("trainings", 1),
        "agreement": agreement,
        "referee": next((name for name in REFEREE if name in agreement), None),
        "agreement_verdict": content.agreement_verdict,
    }


def _pictures(results: Results, figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Return the template's values that are pictures."""
    layout = results.estimator.layout_
    return {
        "pictures": {name: figure_source(figure) for name, figure in figures.items() if name != "sample"},
        "samples": [] if layout is None else samples(results.estimator, results.test, results.predicted),
        "layout": layout,
    }


def _origin(results: Results) -> dict[str, Any]:
    """Return the template's values that say how to get the numbers again."""
    settings = results.ranking.settings
    return {
        "command": results.command,
        "calls": python_calls(results),
        "network": results.estimator.description(),
        "settings": json.dumps(plain(_short_settings(settings)), indent=2, ensure_ascii=False),
        "versions": settings["versions"],
    }


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
