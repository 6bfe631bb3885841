"""Results → a directory: tables, settings, model, pictures and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from permgrad.estimators.saving import write_estimator
from permgrad.evaluation.reference_models import FILE as REFERENCE_MODELS
from permgrad.evaluation.result import write_evaluation
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.background import write_background
from permgrad.report.page._render import write_page
from permgrad.report.page._values import page_values
from permgrad.report.pictures import narrow_pictures, pictures
from permgrad.report.results import Results

DPI = 150


def write_results(directory: Path, results: Results) -> FeatureRanking:
    """Write everything about one ranking into an existing, empty directory.

    ``ranking.csv``, ``ranking.json`` (with settings, versions, the table's hash and the test scores),
    ``model/``, ``background.parquet`` (64 test rows that stand for what is not seen when a row is explained), the
    pictures as PNG, ``report.html``, which shows all of it on one page, and ``page.json``, from which the page is
    drawn again; where there are any, ``reference_models.json``, ``groups.csv``, ``groups.json``, `by_level`'s files
    and ``evaluation/``.

    Returns
    -------
    FeatureRanking
        The ranking with these settings, as written.
    """
    results = results.with_settings()
    _write_tables(directory, results)
    write_background(results.test.X, directory)
    figures = dict(pictures(results))
    for name, figure in figures.items():
        figure.savefig(directory / f"{name}.png", dpi=DPI)
    write_page(directory, page_values(results, {**figures, **dict(narrow_pictures(results))}))
    return results.ranking


def _write_tables(directory: Path, results: Results) -> None:
    (directory / "model").mkdir()
    write_estimator(results.estimator, directory / "model", results.ranking.settings)
    for name, ranking in (("ranking", results.ranking), ("groups", results.groups)):
        if ranking is not None:
            ranking.table.to_csv(directory / f"{name}.csv", index=False)
            ranking.save(directory / f"{name}.json")
    if results.models is not None:
        results.models.save(directory / REFERENCE_MODELS)
    if results.by is not None:
        results.by.write(directory)
    if results.evaluation is not None:
        (directory / "evaluation").mkdir()
        write_evaluation(results.evaluation, directory / "evaluation")
