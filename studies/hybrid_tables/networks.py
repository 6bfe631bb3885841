"""Networks of the study: tuned, trained again with other seeds or settings, evaluated and ranked."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import recall_score

import permgrad as pg
from permgrad import plotting
from permgrad.metrics.scores import classification_scores, regression_scores, scores

SAMPLED = 200
"""Rows among which one is sought whose Grad-CAM map is not empty."""
FORMULAS = {"default": pg.Formula(), "published": pg.PUBLISHED}
Parts = Mapping[str, pg.Table]
"""train, validation and test rows of one table."""
Evaluation = dict[str, Any]
"""Of a trained model: see `evaluate`, `measure`."""
BySeed = dict[int, Evaluation]


def numbered(parts: Parts) -> Parts:
    """Return the parts with class numbers 0, 1, ... in place of labels; numbers to predict stay as they are."""
    if parts["train"].task == "regression":
        return parts
    classes = np.unique(parts["train"].y)
    return {
        part: pg.Table(rows.X, rows.y.map({label: i for i, label in enumerate(classes)}).astype(int), task=rows.task)
        for part, rows in parts.items()
    }


def evaluate(model: Any, parts: Parts) -> Evaluation:
    """Score a fitted model on validation and test rows; see `evaluate_predictions`."""
    test, truth = parts["test"], parts["test"].y.to_numpy()
    if test.task == "regression":
        evaluation = evaluate_predictions("regression", truth, np.ravel(model.predict(test.X)))
        evaluation["predicted"] = [float(f"{value:.6g}") for value in evaluation["predicted"]]
    else:
        numbers = np.searchsorted(np.unique(parts["train"].y), truth)
        evaluation = evaluate_predictions("classification", numbers, np.asarray(model.predict_proba(test.X), float))
        evaluation["probabilities"] = np.round(evaluation["probabilities"], 5)
    return {"validation": scores(model, parts["validation"]), **evaluation}


def evaluate_predictions(task: str, truth: np.ndarray, predicted: np.ndarray) -> Evaluation:
    """Score what a model predicts of the test rows.

    Parameters
    ----------
    task : {"classification", "regression"}
    truth : ndarray of shape (n_rows,)
        Class numbers 0, 1, ..., or numbers.
    predicted : ndarray of shape (n_rows, n_classes) or (n_rows,)
        Probabilities, or numbers.

    Returns
    -------
    dict
        ``test``: scores; ``predicted``: class numbers, or numbers; only for classification, ``recall`` of each class,
        and ``probabilities``.
    """
    if task == "regression":
        return {"test": regression_scores(truth, predicted), "predicted": predicted}
    classes, likeliest = np.arange(predicted.shape[1]), predicted.argmax(axis=1)
    return {
        "test": classification_scores(truth, predicted / predicted.sum(axis=1, keepdims=True), classes),
        "recall": recall_score(truth, likeliest, labels=classes, average=None, zero_division=0),
        "predicted": likeliest,
        "probabilities": predicted,
    }


def train(template: Any, parts: Parts, **changes: Any) -> Any:
    """Train an estimator with the template's settings but for some; validation rows decide when it stops."""
    model = clone(template).set_params(**changes)
    validation = (parts["validation"].X, parts["validation"].y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*features share")  # as the published layout has it
        return model.fit(parts["train"].X, parts["train"].y, validation_data=validation)


def train_preset(preset: str, parts: Parts, random_state: int) -> Evaluation:
    """Train the hybrid network of a preset, not tuned, and evaluate it; ``seconds`` are the training's."""
    kind = pg.HybridRegressor if parts["train"].task == "regression" else pg.HybridClassifier
    begun = time.monotonic()
    model = train(kind(preset=preset, random_state=random_state), parts)
    seconds = time.monotonic() - begun
    return {**evaluate(model, parts), "seconds": seconds}


def measure(model: Any, parts: Parts, repeats: int) -> Evaluation:
    """Evaluate a trained network; where it has both branches, rank its features by both formulas, on the test rows."""
    evaluation = evaluate(model, parts)
    evaluation |= {"parameters": model.network_.count_params(), "epochs": len(model.history_["loss"])}
    if model.layout_ is not None:
        evaluation["layout"] = model.layout_.to_dict()
    if len(model.branches) == 2:
        rankings = {name: _rank(model, parts["test"], repeats, formula) for name, formula in FORMULAS.items()}
        evaluation["branch_weights"] = {name: ranking.branch_weights for name, ranking in rankings.items()}
        evaluation["rankings"] = {
            name: dict(zip(ranking.features, ranking.scores.tolist(), strict=True))
            for name, ranking in rankings.items()
        }
    return evaluation


def _rank(
    model: Any, rows: pg.Table, repeats: int, formula: pg.Formula, *, end_to_end: bool = False
) -> pg.FeatureRanking:
    return model.rank_features(rows.X, rows.y, n_repeats=repeats, verbose=False, end_to_end=end_to_end, formula=formula)


def train_and_measure(template: Any, parts: Parts, repeats: int, **changes: Any) -> Evaluation:
    """Train as `train` does, and measure; ``seconds`` are the training's."""
    begun = time.monotonic()
    model = train(template, parts, **changes)
    seconds = time.monotonic() - begun
    return {**measure(model, parts, repeats), "seconds": seconds}


def describe_tuning(result: pg.TuneResult) -> dict[str, Any]:
    """Return how many trials ended how, and the best one."""
    trials, best = result.trials, result.best_trial
    states = trials["state"].value_counts().to_dict()
    return {
        "trials": int(states.get("complete", 0) + states.get("pruned", 0)),
        "states": states,
        "seconds": float(trials["seconds"].sum()),
        "best": best.number,
        "best_is_a_start": "fixed_params" in best.system_attrs,
        "validation_loss": result.best_value,
        "params": best.params,
        "parameters": best.user_attrs["parameters"],
        "settings": result.best_model.get_params(),
    }


def too_small(model: Any, size: int, *, unique: bool) -> str:
    """Say why an image of `size` pixels a side cannot take the place of a trained network's; empty if it can."""
    n_features = len(model.layout_.features)
    if unique and size**2 < n_features:
        return f"{n_features} features with a pixel each do not fit into {size} × {size}"
    if size < 2**model.n_conv_layers:
        return f"{size} × {size} pixels cannot be halved {model.n_conv_layers} times, as the network does"
    return ""


def explain(model: Any, parts: Parts, repeats: int) -> dict[str, Any]:
    """Rank a network by both formulas on the test rows, and keep what the pictures need."""
    test = parts["test"]
    rankings = {}
    for name, formula in FORMULAS.items():  # what is permuted end to end does not depend on the formula
        ranking = _rank(model, test, repeats, formula, end_to_end=not rankings)
        known = next(iter(rankings.values()), ranking).components["end_to_end"]
        rankings[name] = replace(ranking, components={**ranking.components, "end_to_end": known})
    image, heat, title = sample_with_heat(model, test)
    return {
        "rankings": {name: ranking.to_dict() for name, ranking in rankings.items()},
        "layout": model.layout_.to_dict(),
        "boxes": plotting.network_boxes(pg.cut_model(model.network_)),
        "sample": {
            "image": np.round(image[:, :, 0].astype(float), 4),
            "heat": np.round(heat.astype(float), 4),
            "title": title,
        },
    }


def sample_with_heat(
    estimator: pg.HybridClassifier | pg.HybridRegressor, test: pg.Table
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the first test row's image and Grad-CAM of what is predicted; of one whose map is not zero everywhere.

    Grad-CAM keeps what speaks for the prediction, in the mean over the map; where nothing does, the map is empty.

    Returns
    -------
    image : ndarray of shape (height, width, 1)
    heat : ndarray of shape (map_height, map_width)
    title : str
        Which row it is, and the share of empty maps among the first `SAMPLED` rows, if there is any.
    """
    rows = test.take(np.arange(min(SAMPLED, len(test))))
    predicted, outputs = estimator.predict(rows.X), np.zeros(len(rows), int)
    if isinstance(estimator, pg.HybridClassifier):
        outputs = np.searchsorted(estimator.classes_, predicted)
    heats = estimator.grad_cam_maps(rows.X)[np.arange(len(rows)), :, :, outputs]
    empty = ~(heats > 0).any(axis=(1, 2))
    row = int(np.argmin(empty))
    answer = predicted[row] if isinstance(estimator, pg.HybridClassifier) else f"{predicted[row]:.4g}"
    title = f"test row {row}: predicted {answer}, true {rows.y.iloc[row]}"
    if empty.any():
        title += f" (Grad-CAM is empty for {empty.mean():.0%} of the first {len(rows)} rows)"
    return estimator.images(rows.take(np.array([row])).X)[0], heats[row], title
