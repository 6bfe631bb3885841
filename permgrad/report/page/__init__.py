"""One ranking → one page of HTML that needs no other file, no script and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from permgrad.data.table import Table
from permgrad.files import plain
from permgrad.importance.ranking import FeatureRanking
from permgrad.plotting import method_title
from permgrad.report.page import content
from permgrad.report.page.images import figure_source, samples
from permgrad.report.page.tables import Cells, cells, number, ranking_cells

TOP = 20
"""Columns that the page shows at once."""
MAX_ROWS = 200
"""Columns that the page holds; ranking.csv has them all."""
REFEREE = ("end_to_end", "permutation")
"""Components that the score is held against: the plain experiment, most convincing first."""
FRAMES = {
    "areas": "Areas under the curves",
    "retrain": "Networks trained anew without the best columns",
    "sanity": "Likeness to the ranking of the trained network, as it forgets",
}


def render_page(
    ranking: FeatureRanking,
    estimator: Any,
    table: Table,
    test: Table,
    figures: Mapping[str, Figure],
    *,
    predicted: np.ndarray,
    groups: FeatureRanking | None = None,
    evaluation: Any = None,
    command: str | None = None,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    ranking : FeatureRanking
        With the settings that `permgrad.report.write_results` adds.
    estimator : HybridClassifier or HybridRegressor
        Fitted.
    table, test : Table
        All rows, and those that the ranking is of.
    figures : mapping of str to Figure
        By the names of the results directory's pictures; absent ones are left out.
    predicted : ndarray of shape (n_test_rows,)
        The estimator's predictions of `test`.
    groups : FeatureRanking, optional
        Of groups of columns, whose members are its ``children``.
    evaluation : RankingEvaluation, optional
        What referees found about the ranking.
    command : str, optional
        Command line that repeats the run; by default the page shows Python calls.
    """
    environment = Environment(
        loader=PackageLoader("permgrad", "report/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "title": method_title}
    return environment.get_template("report.html").render(
        title=table.notes.get("title") or table.name,
        task=table.task,
        target=table.y.name,
        question=content.question(table),
        homepage=_link(table.notes.get("homepage")),
        facts=content.data_facts(ranking, table),
        scores=ranking.settings["test_scores"],
        score_names=content.SCORE_NAMES,
        score_meanings=content.SCORES,
        verdict=content.verdict(ranking, test),
        ranking=ranking,
        best=ranking.select(3),
        top=ranking_cells(ranking, TOP),
        full=ranking_cells(ranking, MAX_ROWS),
        groups=None if groups is None else ranking_cells(groups, TOP),
        members=_members(groups or ranking),
        meaning=content.meaning(ranking),
        agreement=content.agreement(ranking),
        referee=next((name for name in REFEREE if name in content.agreement(ranking)), None),
        agreement_verdict=content.agreement_verdict,
        pictures={name: figure_source(figure) for name, figure in figures.items() if name != "sample"},
        samples=samples(estimator, test, predicted) if estimator.layout_ is not None else [],
        layout=estimator.layout_,
        evaluation=_evaluation(evaluation),
        limits=content.limits(ranking, evaluation),
        command=command,
        calls=content.python_calls(ranking, table, estimator),
        settings=json.dumps(plain(_short_settings(ranking.settings)), indent=2, ensure_ascii=False),
        versions=ranking.settings["versions"],
    )


def _members(ranking: FeatureRanking, depth: int = 0) -> list[tuple[str, int, Cells]]:
    """Walk a ranking's groups, best first, each followed by the groups in it: (name, depth, members)."""
    found = []
    for name in (ranking.features[i] for i in ranking.order):
        if name in ranking.children:
            found.append((name, depth, ranking_cells(ranking.children[name], MAX_ROWS)))
            found += _members(ranking.children[name], depth + 1)
    return found


def _evaluation(evaluation: Any) -> dict[str, Any] | None:
    """Return the referees' findings as tables and lines; what is absent is empty."""
    if evaluation is None:
        return None
    return {
        "summary": _with_titles(evaluation.summary),
        "losses": evaluation.losses,
        "frames": {
            title: found for name, title in FRAMES.items() if (found := _with_titles(getattr(evaluation, name)))
        },
        "stability": _stability(evaluation.stability),
        "left_out": evaluation.left_out,
        "tested": bool(evaluation.stability) or any(len(getattr(evaluation, name)) for name in FRAMES),
    }


def _with_titles(frame: pd.DataFrame) -> Cells | None:
    """Return a table of rankings with their methods' names."""
    return cells(frame.assign(ranking=frame["ranking"].astype(str).map(method_title)))


def _stability(stability: Mapping[str, Mapping[str, Any]]) -> Cells | None:
    rows = [
        {
            "what differs": kind,
            "ranking": method_title(name),
            "Nogueira": found.nogueira,
            "95 % interval": " to ".join(f"{end:.2f}" for end in found.nogueira_interval),
            "overlap of the best": found.overlap,
            "Spearman": found.spearman,
        }
        for kind, parts in stability.items()
        for name, found in parts.items()
    ]
    return cells(pd.DataFrame(rows))


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
