"""Results → a directory: tables, settings, model, pictures and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from permgrad.estimators.saving import write_estimator
from permgrad.evaluation.reference_models import FILE as REFERENCE_MODELS
from permgrad.evaluation.result import write_evaluation
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.background import write_background, write_rows
from permgrad.report.explained_rows import FILE as ROWS
from permgrad.report.page._render import write_page
from permgrad.report.page._values import page_values
from permgrad.report.pictures import pictures, write_picture
from permgrad.report.results import Results


def write_results(directory: Path, results: Results) -> FeatureRanking:
    """Write everything about one ranking into an existing, empty directory.

    ``ranking.csv``, ``ranking.json`` (with settings, versions, the table's hash and the test scores), ``model/``,
    ``background.parquet`` (64 test rows that stand for what is not seen when a row is explained), ``rows.parquet``
    (test rows that the page explains), the pictures as PNG, ``report.html``, which shows all of it on one page, and
    ``page.json``, from which, and from the pictures, the page is drawn again; where there are any,
    ``reference_models.json``, ``groups.csv``, ``groups.json``, `by_level`'s files and ``evaluation/``.

    Returns
    -------
    FeatureRanking
        The ranking with these settings, as written.
    """
    results = results.with_settings()
    _write_tables(directory, results)
    write_background(results.test.X, directory)
    if results.carried is not None:
        write_rows(results.test.X.iloc[results.carried.at], directory / ROWS)
    _write_page(directory, results)
    return results.ranking


def write_results_of(directory: Path, results: Results) -> FeatureRanking:
    """Write the ranking of a `AnyModel` into an existing, empty directory: all but the network and rows of it.

    Returns
    -------
    FeatureRanking
        See `write_results`.
    """
    results = results.with_settings()
    _write_ranking(directory, "ranking", results.ranking)
    _write_page(directory, results)
    return results.ranking


def _write_page(directory: Path, results: Results) -> None:
    names = []
    for name, figure in pictures(results):
        write_picture(figure, directory / f"{name}.png")
        names.append(name)
    write_page(directory, page_values(results, names))


def _write_ranking(directory: Path, name: str, ranking: FeatureRanking) -> None:
    ranking.table.to_csv(directory / f"{name}.csv", index=False)
    ranking.save(directory / f"{name}.json")


def _write_tables(directory: Path, results: Results) -> None:
    (directory / "model").mkdir()
    write_estimator(results.estimator, directory / "model", results.ranking.settings)
    for name, ranking in (("ranking", results.ranking), ("groups", results.groups)):
        if ranking is not None:
            _write_ranking(directory, name, ranking)
    if results.models is not None:
        results.models.save(directory / REFERENCE_MODELS)
    if results.by is not None:
        results.by.write_tables(directory)
    if results.evaluation is not None:
        (directory / "evaluation").mkdir()
        write_evaluation(results.evaluation, directory / "evaluation")
