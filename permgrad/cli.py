"""The command line: ``permgrad rank``, ``evaluate``, ``tune``, ``dashboard`` and ``datasets``.

Only click is imported before a command runs, so that ``permgrad --help`` answers at once.
"""

from __future__ import annotations

import functools
import os
import shlex
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from permgrad import __version__

if TYPE_CHECKING:
    from permgrad.estimators import HybridClassifier, HybridRegressor
    from permgrad.evaluation.result import RankingEvaluation
    from permgrad.importance.ranking import FeatureRanking
    from permgrad.table import Table
    from permgrad.tuning.results import TuneResult

PARTS = ("curves", "retrain", "sanity", "stability")
METHODS = ["tinto", "igtd", "deepinsight", "fotomics", "refined"]
PRECISIONS = ["auto", "float32", "mixed_float16", "mixed_bfloat16"]
SHOWN = 10


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Hybrid neural networks on tables, and a feature ranking that you can defend."""


@cli.command()
def datasets() -> None:
    """List the data sets that `permgrad rank` knows by name."""
    from permgrad.datasets import list_datasets

    for card in list_datasets().itertuples():
        click.echo(f"{card.name:<14} {card.task:<15} {card.rows:>6} × {card.features:<4} {card.title}")


SHARED = [
    click.argument("table"),
    click.option("--target", help="Column to predict; needed for a file, known for a data set."),
    click.option("--out", type=click.Path(path_type=Path), help="Results directory.  [default: results/<name>]"),
    click.option("--task", type=click.Choice(["regression", "classification"]), help="By default inferred."),
    click.option("--layout", type=click.Choice(METHODS), default="tinto", show_default=True),
    click.option("--size", type=click.IntRange(1), help="Height and width of the image.  [default: by features]"),
    click.option("--shared-pixels", is_flag=True, help="Let features share pixels, as the published layout does."),
    click.option("--epochs", type=click.IntRange(1), help="At most.  [default: 70; regression 200]"),
    click.option("--class-weight", type=click.Choice(["balanced"]), help="Weigh rare classes up in training."),
    click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all but the split."),
    click.option("--split-seed", type=click.IntRange(0), default=42, show_default=True, help="Of the 60/20/20 split."),
]
"""What `rank` and `tune` have in common: the table, and what of the network is not tuned."""


def _shared_options(command: Any) -> Any:
    return functools.reduce(lambda decorated, option: option(decorated), reversed(SHARED), command)


@cli.command()
@_shared_options
@click.option("--overwrite", is_flag=True, help="Replace an existing results directory.")
@click.option("--branches", type=click.Choice(["both", "tabular", "image"]), default="both", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Peak of the one-cycle schedule.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Permutations of each feature.")
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    metavar="S",
    help="Seconds after which no feature's permutations are begun; those left out are marked.",
)
@click.option("--formula", type=click.Choice(["permgrad", "published"]), default="permgrad", show_default=True)
@click.option("--conditional", is_flag=True, help="Also permute among rows alike in the other columns: p-values.")
@click.option("--groups", is_flag=True, help="Also rank groups of correlated columns, down to their members.")
@click.option("--evaluate", is_flag=True, help="All of the above, and put the ranking to the test, as `evaluate` does.")
@click.option("--evaluate-timeout", type=click.FloatRange(0), metavar="S", help="Seconds for the tests.")
def rank(table: str, target: str | None, out: Path | None, overwrite: bool, **options: Any) -> None:
    """Train a hybrid network on TABLE and rank its columns.

    TABLE is a data set's name (see `permgrad datasets`), a CSV file or a Parquet file.
    """
    from permgrad.files import new_directory

    data = _load(table, target, options["task"])
    out = out or Path("results") / data.name
    with new_directory(out, overwrite=overwrite) as staging:
        click.echo(f"{data.name}: {len(data)} rows × {len(data.features)} features, {data.task}")
        if "note" in data.notes:
            click.echo(f"  {data.notes['note']}")
        ranking = _rank(data, staging, options)
    _show(ranking)
    click.echo(f"\nresults in {out}/: report.html, ranking.csv, ranking.json, model/ and pictures")


@cli.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("table", required=False)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Some of the tests.  [default: all]")
@click.option("--trainings", type=click.IntRange(2), default=3, show_default=True, help="Of each kind, for stability.")
@click.option("--timeout", type=click.FloatRange(0), metavar="S", help="Seconds after which no test is begun.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def evaluate(
    results: Path, table: str | None, parts: tuple[str, ...], trainings: int, timeout: float | None, seed: int
) -> None:
    """Put the ranking in RESULTS, a directory of `permgrad rank` or `tune`, to the test.

    TABLE is the file that it ranks; a data set's name need not be repeated. The tests: the network's loss as columns
    are replaced, networks trained without the best columns, rankings of networks that forgot or never
    learned, and of networks trained again; beside a random forest, SHAP, a plain MLP, mutual information and chance.
    """
    import permgrad as pg
    from permgrad.files import move_into
    from permgrad.report import write_results

    ranking = pg.FeatureRanking.load(results / "ranking.json")
    settings = ranking.settings
    data = _same_table(table, settings["data"])
    estimator = pg.load(results / "model")
    train, val, test = data.split(seed=settings["split_seed"])
    found = pg.evaluate_ranking(
        estimator,
        ranking,
        train,
        test,
        validation=val,
        parts=parts or PARTS,
        n_trainings=trainings,
        seed=seed,
        timeout=timeout,
        verbose=True,
    )
    groups = results / "groups.json"
    with tempfile.TemporaryDirectory(prefix=".evaluate-", dir=results) as staging:
        write_results(
            Path(staging),
            estimator,
            ranking,
            data,
            test,
            split_seed=settings["split_seed"],
            groups=pg.FeatureRanking.load(groups) if groups.exists() else None,
            evaluation=found,
            command=settings.get("command"),
        )
        move_into(Path(staging), results)
    _show_evaluation(found)
    click.echo(f"\nresults in {results}/: report.html, evaluation/ and pictures")


@cli.command()
@_shared_options
@click.option("--trials", type=click.IntRange(1), default=75, show_default=True, help="Finished trials, in all.")
@click.option(
    "--space", default="hybrid", show_default=True, help="hybrid, mlp, cnn, batch_ensemble, or FILE.py:FUNCTION."
)
@click.option("--range", "ranges", multiple=True, metavar="NAME=LOW,HIGH", help="Narrower than the space's own.")
@click.option("--metric", multiple=True, default=["loss"], show_default=True, help="Twice for two objectives.")
@click.option("--storage", metavar="URL", help="sqlite:, postgresql:, journal: or grpc:.  [default: OUT/study.db]")
@click.option("--name", help="Of the study.  [default: the table's]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes on this machine.")
@click.option("--timeout", type=click.FloatRange(0), metavar="S", help="Seconds after which no trial is begun.")
@click.option("--sampler", default="tpe", show_default=True, help="tpe, random, nsgaii, gp or cmaes.")
@click.option("--pruner", default="halving", show_default=True, help="halving, hyperband, median or none.")
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Best networks to keep on disk.")
def tune(
    table: str,
    target: str | None,
    task: Any,
    trials: int,
    ranges: tuple[str, ...],
    metric: tuple[str, ...],
    **options: Any,
) -> None:
    """Tune a network on TABLE, then rank its columns by the best one.

    TABLE is a data set's name (see `permgrad datasets`), a CSV file or a Parquet file. Run again, the study goes
    on until it has its trials; run on other machines with the same --storage, they share the work.
    """
    from permgrad.tuning.api import tune as run

    data = _load(table, target, task)
    click.echo(f"{data.name}: {len(data)} rows × {len(data.features)} features, {data.task}")
    # Clusters end a job by SIGTERM; what a script begins in the background ignores SIGINT.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.default_int_handler)
    settings = {
        "layout": options.pop("layout"),
        "image_size": options.pop("size"),
        "unique": not options.pop("shared_pixels"),
        "max_epochs": options.pop("epochs"),
        "precision": options.pop("precision"),
    }
    balance = options.pop("class_weight")
    if balance and data.task == "regression":
        raise _no_classes()
    if balance:
        settings["class_weight"] = balance
    chosen: Any = metric[0] if len(metric) == 1 else metric
    narrower = dict(map(_range, ranges))
    result = run(data, n_trials=trials, ranges=narrower, metric=chosen, verbose=True, **options, **settings)
    _show_study(result, trials)


@cli.command()
@click.argument("results", type=click.Path(path_type=Path), required=False)
@click.option("--storage", metavar="URL", help="Show this storage's studies, with the artifacts in RESULTS.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free one.")
@click.option("--open", "open_browser", is_flag=True, help="Open it in a browser.")
def dashboard(results: Path | None, storage: str | None, port: int, open_browser: bool) -> None:
    """Show the study in RESULTS (a directory of `permgrad tune`) in Optuna's dashboard, on this machine alone."""
    from permgrad.tuning.dashboard import make_server

    server, url = make_server(results, storage, port)
    click.echo(f"{url}\nCtrl-C ends it")
    if open_browser:
        click.launch(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def _range(text: str) -> tuple[str, list[Any]]:
    """Read ``base_filters=8,32`` or ``optimizer=adam``."""
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        raise click.BadParameter(f"must be NAME=LOW,HIGH or NAME=CHOICE,CHOICE, got {text!r}", param_hint="--range")
    return name, [_number(value) for value in values.split(",")]


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _load(table: str, target: str | None, task: Any) -> Table:
    from permgrad.datasets import load_dataset
    from permgrad.errors import PermGradError
    from permgrad.table import Table

    if not Path(table).suffix and not Path(table).is_file():
        data = load_dataset(table)
        if target not in (None, data.y.name):
            raise PermGradError(f"the target of data set {table!r} is {data.y.name!r}; leave --target out")
        if task not in (None, data.task):
            raise PermGradError(f"the task of data set {table!r} is {data.task}; leave --task out")
        return data
    if target is None:
        raise PermGradError(f"which column of {table} is to be predicted? pass --target COLUMN")
    return Table.from_file(table, target, task=task)


def _rank(data: Table, directory: Path, options: dict[str, Any]) -> FeatureRanking:
    from permgrad.evaluation.referee import evaluate_ranking
    from permgrad.report import write_results

    train, val, test = data.split(seed=options["split_seed"])
    _check_feasible(data, test, options)
    estimator = _estimator(data, options).fit(train.X, train.y, validation_data=(val.X, val.y))
    missing = estimator.encoder_.missing
    if missing:
        counts = ", ".join(f"{name} {count}" for name, count in missing.items())
        click.echo(f"missing training values, filled with the median or a category of their own: {counts}")
    ranking, groups = _rankings(estimator, test, options)
    evaluation = None
    if options["evaluate"]:
        evaluation = evaluate_ranking(
            estimator,
            ranking,
            train,
            test,
            validation=val,
            seed=options["seed"],
            timeout=options["evaluate_timeout"],
            verbose=True,
        )
        _show_evaluation(evaluation)
    return write_results(
        directory,
        estimator,
        ranking,
        data,
        test,
        split_seed=options["split_seed"],
        groups=groups,
        evaluation=evaluation,
        command=shlex.join(["permgrad", *sys.argv[1:]]),
    )


def _check_feasible(data: Table, test: Table, options: dict[str, Any]) -> None:
    """Raise before training for what could not be done after it."""
    from permgrad.errors import PermGradError
    from permgrad.importance.conditional import LEAST_ROWS
    from permgrad.importance.correlated import MOST_FEATURES

    if options["conditional"] and len(test) < LEAST_ROWS:
        raise PermGradError(
            f"--conditional needs at least {LEAST_ROWS} test rows, this table's test part has {len(test)}"
        )
    if options["groups"] and len(data.features) > MOST_FEATURES:
        raise PermGradError(f"--groups clusters at most {MOST_FEATURES:,} columns, got {len(data.features):,}")


def _rankings(
    estimator: HybridClassifier | HybridRegressor, test: Table, options: dict[str, Any]
) -> tuple[FeatureRanking, FeatureRanking | None]:
    """Rank single columns and, where asked for, groups; all within one time limit."""
    from permgrad.importance.conditional import LEAST_ROWS
    from permgrad.importance.correlated import MOST_FEATURES, THRESHOLDS
    from permgrad.importance.permgrad import PUBLISHED

    evaluate, timeout = options["evaluate"], options["timeout"]
    conditional = options["conditional"] or (evaluate and len(test) >= LEAST_ROWS)
    settings: dict[str, Any] = {"n_repeats": options["repeats"]}
    if options["formula"] == "published":
        settings |= PUBLISHED
    begun = time.monotonic()
    ranking = estimator.rank_features(test.X, test.y, conditional=conditional, timeout=timeout, **settings)
    if not options["groups"] and (not evaluate or len(test.features) > MOST_FEATURES):
        return ranking, None
    left = None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))
    groups = estimator.rank_features(test.X, test.y, groups="correlated", timeout=left, **settings)
    if not groups.children:
        click.echo(f"no columns correlate by {THRESHOLDS[0]} or more: there are no groups")
    return ranking, groups if groups.children else None


def _same_table(table: str | None, known: dict[str, Any]) -> Table:
    """Load the table that a ranking is of."""
    from permgrad.datasets import list_datasets
    from permgrad.errors import PermGradError

    named = known["name"] in set(list_datasets()["name"])
    if table is None and not named:
        raise PermGradError(
            f"the ranking is of a file called {known['name']!r}; name it: permgrad evaluate RESULTS FILE"
        )
    is_file = table is not None and (bool(Path(table).suffix) or Path(table).is_file())
    data = _load(table or known["name"], known["target"] if is_file else None, None)
    if data.sha256 != known["sha256"]:
        raise PermGradError(
            f"the ranking is of a table with SHA-256 {known['sha256']}, {table or data.name} has {data.sha256}; pass"
            " the table that was ranked"
        )
    return data


def _show_evaluation(evaluation: RankingEvaluation) -> None:
    click.echo("\nrankings, best place first:\n")
    click.echo(evaluation.summary.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    if evaluation.losses:
        click.echo(f"\nwhere {evaluation.tested} is beaten:")
        click.echo("\n".join(f"  {line}" for line in evaluation.losses))
    if evaluation.left_out:
        click.echo(
            f"\nthe time limit left out {len(evaluation.left_out)} steps: {', '.join(evaluation.left_out[:3])}, ..."
        )


def _no_classes() -> Exception:
    from permgrad.errors import PermGradError

    return PermGradError("--class-weight is for classification; the task here is regression")


def _estimator(data: Table, options: dict[str, Any]) -> HybridClassifier | HybridRegressor:
    from permgrad.estimators import HybridClassifier, HybridRegressor

    branches = ("tabular", "image") if options["branches"] == "both" else (options["branches"],)
    settings: dict[str, Any] = {
        "branches": branches,
        "layout": options["layout"],
        "image_size": options["size"],
        "unique": not options["shared_pixels"],
        "max_epochs": options["epochs"],
        "batch_size": options["batch_size"],
        "learning_rate": options["learning_rate"],
        "precision": options["precision"],
        "seed": options["seed"],
        "verbose": True,
    }
    if data.task == "classification":
        return HybridClassifier(**settings, class_weight=options["class_weight"])
    if options["class_weight"]:
        raise _no_classes()
    return HybridRegressor(**settings)


def _show(ranking: FeatureRanking) -> None:
    test = ", ".join(f"{name} {value:.4g}" for name, value in ranking.settings["test_scores"].items())
    click.echo(f"\ntest rows ({ranking.settings['test_rows']}): {test}")
    weights = ", ".join(f"{branch} {weight:.2f}" for branch, weight in (ranking.branch_weights or {}).items())
    click.echo(f"branch weights: {weights}\n")
    if ranking.pending:
        click.echo(
            f"the time limit left {len(ranking.pending)} of {len(ranking.features)} features out; they rank last, with"
            " measured = False in ranking.csv\n"
        )
    agreement = ranking.settings.get("agreement", {})
    if "end_to_end" in agreement:
        click.echo(f"agreement with permutation end to end: Spearman {agreement['end_to_end']:.2f}\n")
    shown = ["feature", "score", "low", "high", *ranking.components, "conditional_p", "conditional_q"]
    columns = [name for name in shown if name in ranking.table]
    click.echo(ranking.table[columns].head(SHOWN).to_string(index=False, float_format=lambda value: f"{value:.4g}"))


def _show_study(result: TuneResult, n_trials: int) -> None:
    states = result.trials["state"].value_counts()
    done = int(states.get("complete", 0) + states.get("pruned", 0))
    counts = ", ".join(f"{n} {state}" for state, n in states.items())
    click.echo(f"\n{done} of {n_trials} trials finished ({counts}); pruning saved about {result.epochs_saved} epochs")
    for trial in result.best_trials:
        values = ", ".join(f"{name} {value:.5g}" for name, value in zip(result.metrics, trial.values, strict=True))
        click.echo(f"trial {trial.number}: validation {values}")
    params = ", ".join(f"{name} {_short(value)}" for name, value in result.best_params.items())
    click.echo(f"best: {params}")
    if result.ranking is not None:
        _show(result.ranking)
    place = os.path.relpath(result.directory)
    ranked = "" if result.ranking is None else "ranking.csv, model/, "
    click.echo(f"\nresults in {place}/: tuning.json, trials.csv, {ranked}pictures")
    click.echo(f"to look at the study: permgrad dashboard {place}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run the command line: 0 on success, 2 with one line for bad input, 130 when interrupted."""
    warnings.showwarning = _show_warning
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        study = sys.argv[1:2] == ["tune"]
        click.echo(f"\ninterrupted; {'the same command goes on' if study else 'nothing was written'}", err=True)
        sys.exit(130)
    except Exception as error:
        from permgrad.errors import PermGradError

        if not isinstance(error, PermGradError):
            raise
        click.echo(f"permgrad: {error}", err=True)
        sys.exit(2)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print permgrad's warnings as one line; those of libraries about themselves are not the user's concern."""
    if category is UserWarning:
        click.echo(f"note: {message}", err=True)
