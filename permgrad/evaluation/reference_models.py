"""Models to stand beside a network: is what it learned worth explaining, or does a simpler model predict better."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from permgrad.data._splitting import folds, holdout
from permgrad.data.encoding import ColumnEncoder
from permgrad.data.rows import RowFacts
from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing, reading
from permgrad.evaluation.baselines import sample
from permgrad.files import SAVE_AGAIN, read_json, write_json
from permgrad.metrics.asking import ask
from permgrad.metrics.curves import Curve, curves_of
from permgrad.metrics.losses import cross_entropy, squared_error
from permgrad.metrics.paired import compare_losses
from permgrad.metrics.scores import classification_scores, regression_scores

KIND = "permgrad.ReferenceModels"
FILE = "reference_models.json"
"""In a results directory."""
ALPHA = 0.01
"""Of the one-sided test by which a model predicts better than the network."""
LEAST_DIFFERENCE = 0.002
"""Of log loss or R²: two models that are both right for certain still differ in the sixth decimal."""
SCORES = {"classification": ("accuracy", "auc", "log_loss"), "regression": ("r2", "rmse")}
COMPARED = {"classification": ("log_loss", "log loss"), "regression": ("r2", "R²")}
"""The score in which models are compared, and its name in a sentence."""
BOOSTING = "HistGradientBoosting"

MOST_COLUMNS = 1000
LEAST_COLUMNS = 50
"""Columns that boosting gets at least, before rows are left out."""
MOST_CELLS = 20_000_000
"""Rows × columns that the linear model is fitted on."""
COLUMN_WORK, ROW_WORK = 2_000_000, 8_000_000
"""Rows × columns × trees of a step up to which boosting gets all columns, and all rows: seconds on two cores."""
MOST_TREES = 50
"""Of a step, one for each of three and more classes: with more, boosting is left out."""
CHOOSING_ROWS, FOLDS = 2000, 3
"""By which the linear model's penalty is chosen."""
PENALTIES = {"classification": 10.0 ** np.arange(-1, 5), "regression": 10.0 ** np.arange(-1, 6)}
STEPS, LEARNING_RATE = 100, 0.15
"""Of boosting, at most; it stops early."""


@dataclass(frozen=True, eq=False)
class ReferenceModels:
    """A network compared with a linear model and boosted trees on the same rows; `reference_models` returns it.

    Attributes
    ----------
    table : DataFrame
        One row for each model, the network first: ``model``; ``accuracy``, ``auc`` (where each class has test rows)
        and ``log_loss``, or ``r2`` and ``rmse``; ``better_by``: by how much the model's log loss is below that of the
        network, or its R² above, with the 95 % interval ``low`` and ``high``, and the one-sided ``p``; ``note``: what
        the model was spared. NaN where a model was left out, and of the network itself. With class weights also
        ``weighted_log_loss``.
    task : {"classification", "regression"}
    rows, test_rows : int
        How many the models were fitted and scored on.
    weighted : bool
        Whether the network was trained with class weights: then so are the others, and ``better_by`` is of the weighted
        log loss.
    curves : dict of str to dict
        For classification, each model's curves on the test rows: ``roc``, ``precision_recall`` and ``reliability``,
        each with the ``x`` and ``y`` of at most 150 points. With two classes, they are those of the second. With more,
        they pool all pairs of a row and a class (the micro-average), and reliability is that of the most probable
        class.

    Examples
    --------
    >>> models = pg.reference_models(logistic, train, test)
    >>> models.table["model"].tolist()
    ['LogisticRegression as given', 'LogisticRegression', 'HistGradientBoosting']
    """

    table: pd.DataFrame
    task: str
    rows: int
    test_rows: int
    weighted: bool = False
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)

    @property
    def beaten_by(self) -> str | None:
        """The best of the models that predict the test rows better than the network, by more than noise; or None."""
        better = self.table[(self.table["p"] < ALPHA) & (self.table["better_by"] >= LEAST_DIFFERENCE)]
        return None if better.empty else str(better["model"].iloc[int(better["better_by"].to_numpy().argmax())])

    @property
    def verdict(self) -> str:
        """One sentence: whether the ranking explains a weaker model than need be."""
        score, called = COMPARED[self.task]
        table = self.table.set_index("model")
        called = f"weighted {called}" if self.weighted else called
        value = table["weighted_log_loss"] if self.weighted else table[score]
        name = self.beaten_by
        if name is not None:
            row = self.table[self.table["model"] == name].iloc[0]
            return (
                f"{name} predicts these test rows better ({called} {value[name]:.3g} against {value.iloc[0]:.3g},"
                f" difference {row['low']:.2g} to {row['high']:.2g}): the ranking explains a weaker model."
            )
        known = value.dropna()
        others = " and ".join(f"{known[other]:.3g} of {other}" for other in known.index[1:])
        return (
            f"No reference model predicts these test rows better by more than noise: {called} {value.iloc[0]:.3g},"
            f" beside {others}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> pg.reference_models(logistic, train, test).to_dict()["task"]
        'classification'
        """
        return {
            "kind": KIND,
            "verdict": self.verdict,
            "beaten_by": self.beaten_by,
            "task": self.task,
            "rows": self.rows,
            "test_rows": self.test_rows,
            "weighted": self.weighted,
            "table": self.table.to_dict("list"),
            "curves": self.curves,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ReferenceModels:
        """Build what `to_dict` described.

        Examples
        --------
        >>> models = pg.reference_models(logistic, train, test)
        >>> pg.ReferenceModels.from_dict(models.to_dict()).test_rows
        30
        """
        table = pd.DataFrame(content["table"])
        numbers = table.columns.difference(["model", "note"])
        table = table.astype(dict.fromkeys(numbers, float))
        known = (content[name] for name in ("task", "rows", "test_rows", "weighted", "curves"))
        return cls(table, *known)

    def save(self, path: str | Path) -> None:
        """Write to a JSON file; `load` gives back the same.

        Examples
        --------
        >>> pg.reference_models(logistic, train, test).save("models.json")
        >>> pg.ReferenceModels.load("models.json").rows
        90
        """
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> ReferenceModels:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If the file is absent, damaged, or no such record.

        Examples
        --------
        >>> pg.reference_models(logistic, train, test).save("models.json")
        >>> pg.ReferenceModels.load("models.json").task
        'classification'
        """
        content = read_json(path, kind=KIND)
        with reading(path, "reference models saved by permgrad", SAVE_AGAIN):
            return cls.from_dict(content)

    def __repr__(self) -> str:
        return f"ReferenceModels({self.verdict!r})"


def reference_models(
    estimator: Any, train: Table, test: Table, *, validation_data: Any = None, random_state: int = 0
) -> ReferenceModels:
    """Fit a linear model and gradient boosting on a network's training rows, and score all on the test rows.

    Parameters
    ----------
    estimator : classifier or regressor
        Fitted: one of permgrad's, or any with scikit-learn's methods. Columns are encoded by its ``encoder_`` where it
        has one.
    train, test : Table
        Rows that it was fitted on, and rows that it was not.
    validation_data : (X, y) or Table, optional
        Rows that decided when its training stopped: the others are fitted on them too.
    random_state : int

    Returns
    -------
    ReferenceModels
        ``LogisticRegression`` or ``Ridge``: on standardised columns, the penalty chosen by cross-validation over
        at most 2,000 of the training rows. ``HistGradientBoosting``: scikit-learn's, which stops when a tenth of the
        training rows no longer gains; missing numbers stay missing. Of a table so large that they would take minutes,
        they get the columns that tell most of the target one by one (by the F test on training rows), or a part of the
        rows; ``note`` says so.

    Raises
    ------
    PermGradError
        If the test rows have a label that the estimator does not know.

    Notes
    -----
    A model predicts better if the mean of the test rows' losses, paired by row, is lower in a one-sided t-test at 1 %.
    Losses are log losses (weighed by class as in the network's training), or squared errors.

    Examples
    --------
    >>> pg.reference_models(logistic, train, test).table[["model", "auc"]].shape
    (3, 2)
    """
    rows = _Rows.of(estimator, train, test, validation_data, random_state)
    classification = rows.classes is not None
    network = ask(estimator, "predict_proba" if classification else "predict", test.X)
    name = "LogisticRegression" if classification else "Ridge"
    given = type(estimator).__name__
    given = f"{given} as given" if given == name else given
    predicted: dict[str, tuple[np.ndarray | None, str]] = {
        given: (np.asarray(network, float), ""),
        name: _linear(rows),
        BOOSTING: _boosting(rows),
    }
    losses = {model: rows.losses(values) for model, (values, _) in predicted.items() if values is not None}
    own = losses[given]
    table = []
    for model, (values, note) in predicted.items():
        row: dict[str, Any] = {"model": model, **dict.fromkeys(SCORES[str(train.task)], np.nan)}
        row |= dict.fromkeys(("better_by", "low", "high", "p"), np.nan) | {"note": note}
        if values is not None:
            row |= {key: value for key, value in rows.scores(values).items() if key in row}
            if rows.class_weights is not None:
                row["weighted_log_loss"] = float(np.average(losses[model], weights=rows.test_weights))
            if losses[model] is not own:
                compared = compare_losses(losses[model], own, rows.test_weights, rows.test_facts.codes())
                row |= {"better_by": -compared.difference, "low": -compared.high, "high": -compared.low}
                row["p"] = compared.p
        table.append(row)
    frame = pd.DataFrame(table)
    frame = frame.drop(columns=[each for each in ("auc",) if each in frame and frame[each].isna().all()])
    weighted = rows.class_weights is not None
    told = {model: values for model, (values, _) in predicted.items() if values is not None and classification}
    curves = {model: rows.curves(values) for model, values in told.items()}
    return ReferenceModels(frame, str(train.task), len(rows.train), len(rows.test), weighted, curves)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Encoded rows and targets: numbers of classes, or values."""

    train: np.ndarray
    y: np.ndarray
    test: np.ndarray
    test_y: np.ndarray
    gaps: tuple[np.ndarray, np.ndarray]
    """Where numbers are missing in the encoded training and test rows, bool."""
    classes: np.ndarray | None
    class_weights: np.ndarray | None
    random_state: int
    facts: RowFacts
    test_facts: RowFacts

    @classmethod
    def of(cls, estimator: Any, train: Table, test: Table, validation_data: Any, random_state: int) -> _Rows:
        X, y, facts = train.X, train.y, train.facts
        if validation_data is not None:
            more = train.more_rows(validation_data)
            facts = facts.joined(more.facts, (len(train), len(more)))
            X, y = pd.concat([X, more.X], ignore_index=True), pd.concat([y, more.y], ignore_index=True)
        known = (random_state, facts, test.facts)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of constant columns and unseen categories the network's fit told
            encoder = getattr(estimator, "encoder_", None) or ColumnEncoder().fit(train.X)
            fitted, unseen = encoder.transform(X), encoder.transform(test.X)
        gaps = (_gaps(encoder, X, fitted.shape), _gaps(encoder, test.X, unseen.shape))
        if not is_classifier(estimator):
            values = (np.asarray(part, float) for part in (y, test.y))
            return cls(fitted, next(values), unseen, next(values), gaps, None, None, *known)
        classes = np.asarray(estimator.classes_)
        numbers = (_class_numbers(part, classes) for part in (y, test.y))
        weights = getattr(estimator, "class_weights_", None)
        return cls(fitted, next(numbers), unseen, next(numbers), gaps, classes, weights, *known)

    @property
    def n_trees(self) -> int:
        """How many trees a step of boosting takes."""
        return len(self.classes) if self.classes is not None and len(self.classes) > 2 else 1

    @property
    def weights(self) -> np.ndarray | None:
        """Weight of each training row, its class's included."""
        of_rows = None if self.facts.weights is None else self.facts.weights.to_numpy(float)
        if self.class_weights is None:
            return of_rows
        of_class = np.asarray(self.class_weights, float)[self.y]
        return of_class if of_rows is None else of_class * of_rows

    @property
    def test_weights(self) -> np.ndarray | None:
        """Weight of each test row."""
        return None if self.test_facts.weights is None else self.test_facts.weights.to_numpy(float)

    def losses(self, predicted: np.ndarray) -> np.ndarray:
        """Return the loss of each test row, (n_test_rows,): squared errors as shares of the test rows' variance."""
        if self.classes is None:
            mean = np.average(self.test_y, weights=self.test_weights)
            spread = float(np.average((self.test_y - mean) ** 2, weights=self.test_weights))
            return squared_error(self.test_y, predicted[:, None]) / (spread or 1.0)
        losses = cross_entropy(self.test_y, predicted)
        if self.class_weights is None:
            return losses
        weights = np.asarray(self.class_weights, float)[self.test_y]
        return losses * weights / np.average(weights, weights=self.test_weights)

    def scores(self, predicted: np.ndarray) -> dict[str, float]:
        """Score the test rows."""
        if self.classes is None:
            return regression_scores(self.test_y, predicted, self.test_weights)
        return classification_scores(self.classes[self.test_y], _shares(predicted), self.classes, self.test_weights)

    def curves(self, predicted: np.ndarray) -> dict[str, Curve]:
        """Return the curves of probabilities of the test rows."""
        return curves_of(self.test_y, _shares(predicted), self.test_weights)

    def best_columns(self, most: int) -> np.ndarray:
        """Return the positions of the encoded columns that tell most of the target, one by one, in order."""
        n = self.train.shape[1]
        if n <= most:
            return np.arange(n)
        return np.sort(np.argsort(-self._alone, kind="stable")[:most])

    @cached_property
    def _alone(self) -> np.ndarray:
        """What each encoded column tells of the target by itself: its F statistic."""
        from sklearn.feature_selection import f_classif, f_regression

        test = f_regression if self.classes is None else f_classif
        blocks = [slice(i, i + MOST_COLUMNS) for i in range(0, self.train.shape[1], MOST_COLUMNS)]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns that do not vary here
            scores = np.concatenate([test(self.train[:, block].astype(float), self.y)[0] for block in blocks])
        return np.nan_to_num(scores, posinf=np.finfo(float).max)

    def some(self, most: int, seed: int) -> np.ndarray:
        """Return the numbers of at most so many training rows; each class keeps one."""
        rows = sample(len(self.y), most, [self.random_state, seed])
        if self.classes is None or len(rows) == len(self.y):
            return rows
        return np.union1d(rows, np.unique(self.y, return_index=True)[1])

    def all_classes(self, model: Any, rows: np.ndarray) -> np.ndarray:
        """Return the probability of every class, also of those that a model was not shown; or the values."""
        if self.classes is None:
            return np.asarray(model.predict(rows), float)
        probabilities = np.zeros((len(rows), len(self.classes)))
        probabilities[:, model.classes_] = model.predict_proba(rows)
        return probabilities


def _shares(predicted: np.ndarray) -> np.ndarray:
    """Return probabilities that add up to 1."""
    return predicted / predicted.sum(axis=1, keepdims=True)


def _linear(rows: _Rows) -> tuple[np.ndarray, str]:
    """Return the linear model's predictions of the test rows, and what it was spared."""
    columns = rows.best_columns(MOST_COLUMNS)
    some = rows.some(MOST_CELLS // len(columns), 3)
    X, y = rows.train[some][:, columns].astype(float), rows.y[some]
    mean, scale = X.mean(axis=0), X.std(axis=0)
    scale[scale == 0] = 1
    X, weights = (X - mean) / scale, None if rows.weights is None else rows.weights[some]
    penalty = _chosen_penalty(rows, X, y, weights, some)
    model = _fitted_linear(rows, X, y, weights, penalty)
    return rows.all_classes(model, (rows.test[:, columns] - mean) / scale), _note(rows, columns, some)


def _fitted_linear(rows: _Rows, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, penalty: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    if rows.classes is None:
        return Ridge(alpha=penalty).fit(X, y, sample_weight=weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=1 / penalty, max_iter=200).fit(X, y, sample_weight=weights)


def _chosen_penalty(rows: _Rows, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, some: np.ndarray) -> float:
    """Return the penalty by which the linear model predicts left-out training rows best."""
    part = sample(len(y), CHOOSING_ROWS, [rows.random_state, 4])
    fold = _folds(rows, y[part], rows.facts.take(some[part]))
    X, y, weights = X[part], y[part], None if weights is None else weights[part]
    penalties = PENALTIES["regression" if rows.classes is None else "classification"]
    total = np.zeros(len(penalties))
    for number in range(FOLDS):
        inside, out = fold[number]
        if len(np.unique(y[inside])) < 2 or not len(out):
            continue
        for i, penalty in enumerate(penalties):
            given = None if weights is None else weights[inside]
            predicted = rows.all_classes(_fitted_linear(rows, X[inside], y[inside], given, penalty), X[out])
            loss = (
                squared_error(y[out], predicted[:, None]) if rows.classes is None else cross_entropy(y[out], predicted)
            )
            total[i] += (loss if weights is None else loss * weights[out]).sum()
    return float(penalties[total.argmin()])


def _folds(rows: _Rows, y: np.ndarray, facts: RowFacts) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the positions of rows to fit on and of those left out, three times: dealt out class by class.

    Groups stay whole, and times roll forward, where there are enough of them.
    """
    of_rows = facts.groups if facts.times is None else facts.times
    if of_rows is not None and of_rows.nunique() > 2 * FOLDS:
        known = {"random_state": rows.random_state, "classes": rows.classes is not None}
        return folds(pd.Series(y), RowFacts(facts.groups, facts.times), FOLDS, **known)  # type: ignore[arg-type, return-value]
    fold = np.empty(len(y), int)
    shuffled = np.random.default_rng([rows.random_state, 5]).permutation(len(y))
    by_class = shuffled if rows.classes is None else shuffled[np.argsort(y[shuffled], kind="stable")]
    fold[by_class] = np.arange(len(y)) % FOLDS
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(FOLDS)]


def _boosting(rows: _Rows) -> tuple[np.ndarray | None, str]:
    """Return boosting's predictions of the test rows, and what it was spared; None where it would take too long."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if rows.n_trees > MOST_TREES:
        return None, f"left out: {rows.n_trees} classes take as many trees in each step"
    work = len(rows.y) * rows.n_trees
    columns = rows.best_columns(int(np.clip(COLUMN_WORK // work, LEAST_COLUMNS, MOST_COLUMNS)))
    some = rows.some(ROW_WORK // (len(columns) * rows.n_trees), 6)
    X, unseen = (
        np.where(gaps[:, columns], np.nan, part[:, columns])
        for part, gaps in zip((rows.train, rows.test), rows.gaps, strict=True)
    )
    y = rows.y[some]
    kind = HistGradientBoostingRegressor if rows.classes is None else HistGradientBoostingClassifier
    rarest, n_classes = (len(y), 1) if rows.classes is None else (np.bincount(y)[np.unique(y)].min(), len(rows.classes))
    stops = rarest >= 2 and len(y) >= 10 * max(n_classes, 5)  # a tenth is set apart, of each class
    model = kind(
        early_stopping=stops,
        max_iter=STEPS if stops else STEPS // 2,
        learning_rate=LEARNING_RATE,
        random_state=rows.random_state,
    )
    weights = None if rows.weights is None else rows.weights[some]
    facts = RowFacts(rows.facts.groups, rows.facts.times).take(some)
    of_rows = facts.groups if facts.times is None else facts.times
    if stops and of_rows is not None and of_rows.nunique() > 2 * FOLDS:
        known = {"random_state": rows.random_state, "classes": rows.classes is not None}
        inner, held = holdout(pd.Series(y), facts, 0.1, **known)  # type: ignore[arg-type]
        deciding = {"X_val": X[some][held], "y_val": y[held]}
        deciding |= {} if weights is None else {"sample_weight_val": weights[held]}
        model.fit(X[some][inner], y[inner], sample_weight=None if weights is None else weights[inner], **deciding)
    else:
        model.fit(X[some], y, sample_weight=weights)
    return rows.all_classes(model, unseen), _note(rows, columns, some)


def _note(rows: _Rows, columns: np.ndarray, some: np.ndarray) -> str:
    """Say which part of the training rows a model was fitted on, if it is not all."""
    said = []
    if len(columns) < rows.train.shape[1]:
        said.append(f"the {len(columns):,} of {rows.train.shape[1]:,} columns that tell most one by one")
    if len(some) < len(rows.y):
        said.append(f"{len(some):,} of {len(rows.y):,} training rows")
    return "; ".join(said)


def _gaps(encoder: ColumnEncoder, X: pd.DataFrame, shape: tuple[int, ...]) -> np.ndarray:
    """Return where the encoded columns hold a number that is missing in the table."""
    gaps = np.zeros(shape, bool)
    gaps[:, : encoder.n_numbers_] = encoder.number_gaps(X.set_axis(list(encoder.features_), axis=1))
    return gaps


def _class_numbers(y: Any, classes: np.ndarray) -> np.ndarray:
    labels = np.asarray(y)
    unknown = set(pd.unique(labels)) - set(classes)
    if unknown:
        raise PermGradError(f"labels not seen in training: {listing(sorted(map(str, unknown)))}")
    return np.searchsorted(classes, labels)
