"""``permgrad evaluate``: put a ranking to the test."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from permgrad.cli._options import SECONDS, SEED, workers_option
from permgrad.cli._shown import show_evaluation
from permgrad.cli._signals import stop_by_interrupt
from permgrad.cli._tables import same_table

PARTS = ("curves", "retrain", "sanity", "stability")


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("table", required=False)
@click.option(
    "--parts", multiple=True, type=click.Choice(PARTS), help="A test to run; may be repeated.  [default: all]"
)
@click.option(
    "--n-trainings",
    type=click.IntRange(2, 1000),
    default=3,
    show_default=True,
    help="Networks to train for each kind of stability.",
)
@click.option("--timeout", type=SECONDS, metavar="S", help="Seconds after which no further test is started.")
@click.option("--random-state", type=SEED, default=0, show_default=True, help="Seed for the tests.")
@workers_option
def evaluate(
    results: Path,
    table: str | None,
    parts: tuple[str, ...],
    n_trainings: int,
    timeout: float | None,
    random_state: int,
    workers: int | None,
) -> None:
    """Test the ranking in RESULTS, a directory that `permgrad rank` or `tune` wrote.

    TABLE is the ranked file; leave it out if the file has not moved. The tests are: the network's loss as columns are
    replaced; networks retrained without the best columns; rankings of randomised networks and of networks trained on
    shuffled labels; rankings of reseeded networks. The same tests are run for the rankings of a random forest, SHAP,
    a plain MLP, mutual information and chance.
    """
    import permgrad as pg
    from permgrad.directories import move_into
    from permgrad.evaluation.by_level import FILE as BY_FILE
    from permgrad.evaluation.recipe import rows_to_fit
    from permgrad.evaluation.reference_models import FILE
    from permgrad.report.directory import write_results
    from permgrad.report.results import Results
    from permgrad.report.trained import check_trained

    stop_by_interrupt()
    check_trained(results)
    ranking = pg.FeatureRanking.load(results / "ranking.json")
    split_random_state = ranking.settings["split_random_state"]
    data = same_table(table, ranking.settings["data"], results)
    estimator = pg.load(results / "model")
    train, val, test = data.split(random_state=split_random_state)
    rows, deciding = rows_to_fit(estimator, train, val)
    evaluation = pg.evaluate_ranking(
        estimator,
        ranking,
        rows,
        test,
        validation_data=deciding,
        parts=parts or PARTS,
        n_trainings=n_trainings,
        random_state=random_state,
        timeout=timeout,
        verbose=True,
        n_jobs=workers,
    )
    groups = pg.FeatureRanking.load(results / "groups.json") if (results / "groups.json").exists() else None
    command = ranking.settings.get("command")
    notes = tuple(note for note in ranking.settings.get("notes", ()) if note not in data.said)
    models = pg.ReferenceModels.load(results / FILE)
    by = pg.ByLevel.load(results / BY_FILE) if (results / BY_FILE).exists() else None
    known = (groups, evaluation, command, models, notes)
    evaluated = Results(estimator, ranking, data, test, split_random_state, *known, by=by)
    with tempfile.TemporaryDirectory(prefix=".evaluate-", dir=results) as staging:
        write_results(Path(staging), evaluated)
        move_into(Path(staging), results)
    show_evaluation(evaluation)
    click.echo(f"\nresults in {results}/: report.html, evaluation/ and pictures")
