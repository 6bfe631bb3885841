"""A recipe's ranking: networks trained by the same settings on several splits, each ranked on test rows of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from permgrad.data.table import Table
from permgrad.errors import PermGradError
from permgrad.importance.budget import Budget
from permgrad.importance.rank import rank_features
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.recipe import average_trainings
from permgrad.parallel import count_workers, run

SIZES = (0.6, 0.2, 0.2)
MOST_TRAININGS = 1000


@dataclass(frozen=True, eq=False)
class Training:
    """One training of a recipe.

    Attributes
    ----------
    estimator : estimator
        Fitted.
    rows : Table
        That it was fitted on.
    test : Table
        Rows that it never saw.
    """

    estimator: Any
    rows: Table
    test: Table


def rank_recipe(
    estimator: Any,
    table: Table,
    *,
    trainings: int = 5,
    sizes: tuple[float, float, float] = SIZES,
    split_random_state: int = 42,
    budget: Budget = Budget(),
    directory: str | Path | None = None,
    n_jobs: int | None = None,
    **settings: Any,
) -> FeatureRanking:
    """Rank a table's columns for a recipe: for networks trained in the same way on different splits.

    `rank_features` describes one network, with intervals over test rows. Here the same settings train several networks,
    each on its own split. Scores are means over the networks, and intervals describe the recipe's average, so they also
    cover the variation between trainings.

    Parameters
    ----------
    estimator : HybridClassifier, HybridRegressor or any estimator
        Clones of it are fitted. An estimator without ``rank_features`` is ranked by `permgrad.rank_features`.
    table : Table
    trainings : int
        At least two. With two, Student's t gives very wide intervals; five are a good start.
    sizes : three floats that sum to 1
        Training, validation and test rows, see `Table.split`. An estimator that takes no ``validation_data`` is fitted
        on the first two.
    split_random_state : int
        Seed of the first split; further splits use the following numbers, and so do the estimators.
    budget : Budget
        Each training's ranking gets its share of the time, and its own checkpoint beside the named one.
    directory : path, optional
        Stores each training's ranking when it is done; the same call resumes from the stored ones.
    n_jobs : int, optional
        Processes that train, -1 for one a core; by default what ``joblib.parallel_config`` says, a cluster too; see
        `permgrad.parallel.run`, which says when the results are equal. Each process ranks within its share of the time.
    **settings
        Of ``rank_features``.

    Returns
    -------
    FeatureRanking
        See `average_trainings`; ``settings["trainings"]`` says how many.

    Raises
    ------
    PermGradError
        For fewer than two trainings, a directory of another recipe's rankings, or for what the table's split, the
        estimator or its ranking refuse.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> pg.rank_recipe(GaussianNB(), table, trainings=2, n_repeats=1).settings["trainings"]
    2
    """
    if not isinstance(table, Table):
        raise PermGradError(
            f"expected a pg.Table, which each training splits, got {type(table).__name__}; pass pg.Table(X, y)"
        )
    check_trainings(trainings)
    recipe = f"{estimator!r}, table {table.sha256}, split {split_random_state} {sizes}, {sorted(settings.items())}"
    files = {number: Path(directory or "") / f"training{number + 1}.json" for number in range(trainings)}
    known = {n: _read(file, recipe) for n, file in files.items() if directory is not None and file.exists()}
    left = [number for number in files if number not in known]
    splits = {"split_random_state": split_random_state, "sizes": sizes}
    jobs = _jobs(estimator, table, left, splits, budget.begin(), settings, count_workers(n_jobs))
    for number, ranking in zip(left, run(trained_and_ranked, jobs, n_jobs), strict=True):
        known[number] = replace(ranking, settings={**ranking.settings, "recipe": recipe})
        if directory is not None:
            files[number].parent.mkdir(parents=True, exist_ok=True)
            known[number].save(files[number])
    rankings = [known[number] for number in range(trainings)]
    rows = {name: rankings[0].settings[name] for name in ("n_train", "n_test")}
    return average_trainings(rankings, **rows, random_state=settings.get("random_state") or 0)


def _jobs(
    estimator: Any,
    table: Table,
    numbers: Sequence[int],
    splits: dict[str, Any],
    budget: Budget,
    settings: dict[str, Any],
    at_a_time: int,
) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments of `trained_and_ranked`, each training with the time that is left as it is begun."""
    estimator = clone(estimator)
    for i, number in enumerate(numbers):
        share = min(1.0, at_a_time / (len(numbers) - i))
        yield estimator, table, number, splits, budget.unbegun(), share, settings, at_a_time > 1


def trained_and_ranked(
    estimator: Any,
    table: Table,
    number: int,
    splits: dict[str, Any],
    budget: Budget,
    share: float,
    settings: dict[str, Any],
    quietly: bool = False,
) -> FeatureRanking:
    """Fit a clone of an estimator on the split number `number`, from 0, and rank columns on its test rows.

    Parameters
    ----------
    estimator, table, number
        As of `train_once`.
    splits : dict
        Further arguments of `train_once`.
    budget : Budget
        Of training and ranking together; its clock starts now.
    share : float
        Of the time that is left after the training, for the ranking.
    settings : dict
        Of ``rank_features``.
    quietly : bool
        Show no progress bars: other trainings run beside this one.

    Returns
    -------
    FeatureRanking
        ``settings["n_train"]`` and ``["n_test"]`` are the rows of both kinds.
    """
    budget = budget.begin()
    if quietly:
        estimator, settings = silenced(estimator), {**settings, "verbose": False}
    training = train_once(estimator, table, number, **splits)
    ranking = _ranked(training, budget=budget.step(f"training{number + 1}", share), **settings)
    rows = {"n_train": len(training.rows), "n_test": len(training.test)}
    return replace(ranking, settings={**ranking.settings, **rows})


def silenced(estimator: Any) -> Any:
    """Return a clone that shows no progress bars."""
    fresh = clone(estimator)
    return fresh.set_params(verbose=False) if "verbose" in fresh.get_params() else fresh


def _read(path: Path, recipe: str) -> FeatureRanking:
    """Read the ranking of a training that was done before."""
    ranking = FeatureRanking.load(path)
    found = ranking.settings.get("recipe")
    if found != recipe:
        raise PermGradError(f"{path} belongs to another recipe, {found}; expected {recipe}; choose another directory")
    return ranking


def check_trainings(trainings: int) -> None:
    """Raise unless so many trainings show how trainings differ."""
    if not isinstance(trainings, Integral) or not 2 <= trainings <= MOST_TRAININGS:
        raise PermGradError(
            f"trainings must be a whole number from 2 to {MOST_TRAININGS:,}, got {trainings!r}; for one network, fit it"
            " and use rank_features"
        )


def train_once(
    estimator: Any,
    table: Table,
    number: int,
    *,
    split_random_state: int = 42,
    sizes: tuple[float, float, float] = SIZES,
) -> Training:
    """Fit a clone of an estimator on the split number `number` of a table, from 0."""
    train, val, test = table.split(sizes, random_state=split_random_state + number)
    fresh = clone(estimator).set_params(**_random_states(estimator, number))
    rows, deciding = rows_to_fit(fresh, train, val)
    if deciding is not None:
        return Training(fresh.fit(rows, validation_data=deciding), rows, test)
    own = hasattr(fresh, "rank_features")  # reads dates and texts by the table's rules
    return Training(fresh.fit(rows) if own else fresh.fit(rows.X, rows.y), rows, test)


def rows_to_fit(estimator: Any, train: Table, val: Table) -> tuple[Table, Table | None]:
    """Return the rows to fit on, and those that decide when to stop, None where there is no such choice.

    Of several networks each sets other rows apart by itself, so that together they see all of both parts.
    """
    several = hasattr(estimator, "settings") and estimator.settings().get("n_networks", 1) > 1
    if several or not has_fit_parameter(estimator, "validation_data"):
        return train.with_rows(val), None
    return train, val


def _random_states(estimator: Any, number: int) -> dict[str, int]:
    """Return the estimator's random states, and those of its steps, counted up; the first training has its own."""
    if not number:
        return {}
    known = {name: value for name, value in estimator.get_params().items() if name.split("__")[-1] == "random_state"}
    return {name: (int(value) if isinstance(value, Integral) else 0) + number for name, value in known.items()}


def _ranked(training: Training, **settings: Any) -> FeatureRanking:
    estimator, test = training.estimator, training.test
    if hasattr(estimator, "rank_features"):
        return estimator.rank_features(test, **settings)
    return rank_features(estimator, test.X, test.y, **settings)
