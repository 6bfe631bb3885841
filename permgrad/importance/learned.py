"""Has the model learned anything that its rows can tell: its loss beside that of an answer that knows no row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from permgrad.errors import PermGradError
from permgrad.importance.game.finishing import unfinished_sentence
from permgrad.importance.network._target import Target
from permgrad.importance.ordering import ordering
from permgrad.metrics.paired import compare_losses

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking

ALPHA = 0.05
"""How often a model at chance may be taken for one that has learned something."""


def what_is_learned(
    target: Target,
    losses: np.ndarray,
    prior: Any = None,
    class_weights: Sequence[float] | np.ndarray | None = None,
    outputs: Callable[[], np.ndarray] | None = None,
) -> dict[str, Any]:
    """Compare a model's losses with those of the best constant answer.

    Parameters
    ----------
    target : Target
    losses : ndarray of shape (n_rows,)
        The model's.
    prior : array of shape (n_classes,) or (n_outputs,), optional
        The constant answer: each class's share in training, or the mean of the training target. By default that of
        these rows, which is a little better than any that could be known beforehand.
    class_weights : array of shape (n_classes,), optional
        With them, each row counts by its class's weight, in the mean losses and in the shares: what a model that was
        trained on a weighted loss was asked for.
    outputs : callable, optional
        Returns the model's, (n_rows, n_outputs). Asked only of a model whose loss is not better: whether it orders the
        rows tells one that is badly calibrated from one that has learned nothing.

    Returns
    -------
    dict
        Plain values: ``better`` (whether the model's expected loss is below the constant answer's: p < 0.05),
        ``loss``, ``prior_loss``, ``difference`` with its 95 % interval ``low`` and ``high``, ``p`` (one-sided, paired
        by row), ``rows``, ``prior`` ("training" or "these rows") and ``weighted``. ``order``, where it was asked for:
        see `ordering`.

    Raises
    ------
    PermGradError
        If prior or class weights do not fit the target.
    """
    constant = _prior(target, prior)
    weights = np.ones(len(losses))  # of classes; those of rows are the test's
    weighted = class_weights is not None and bool(target.classes)
    if weighted:
        of_class = np.asarray(class_weights, float)
        if of_class.shape != constant.shape:
            raise PermGradError(f"expected a weight for each of {len(constant)} classes, got shape {of_class.shape}")
        constant = constant * of_class / (constant * of_class).sum()
        weights = of_class[target.y] / target.mean(of_class[target.y])
    least = target.task.prior_losses(target.y, constant)
    compared = compare_losses(weights * losses, weights * least, target.weights, target.groups)
    better = compared.p < ALPHA
    return {
        "better": better,
        "loss": compared.first,
        "prior_loss": compared.second,
        "difference": compared.difference,
        "low": compared.low,
        "high": compared.high,
        "p": compared.p,
        "rows": len(losses),
        "prior": "these rows" if prior is None else "training",
        "weighted": weighted,
        **({} if better or outputs is None else {"order": ordering(target, outputs())}),
    }


def doubts(ranking: FeatureRanking) -> list[str]:
    """List what is to be known before any order.

    That nothing was learned; that the time limit ended the ranking; or that a simpler model predicts better, which is
    in ``settings["verdict"]`` and ``["beaten_by"]``, where the model was set beside others.
    """
    said = []
    if not ranking.learned:
        text = sentence(ranking.settings["learned"], ranking.classes is not None, branches=bool(ranking.branch_weights))
        said.append(f"{text[0].upper()}{text[1:]}.")
    unfinished = unfinished_sentence(ranking.settings)
    if unfinished:
        said.append(f"{unfinished[0].upper()}{unfinished[1:]}.")
    return [*said, ranking.settings["verdict"]] if ranking.settings.get("beaten_by") else said


def sentence(learned: Mapping[str, Any], classes: bool, *, branches: bool = True) -> str:
    """Say it in words, of a network that is no better, or of another model, which has no branches."""
    answer, said = ("each class's share", "probabilities") if classes else ("the mean", "predictions")
    weighted = "weighted " if learned.get("weighted") else ""
    model = "network" if branches else "model"
    loss = (
        f"this {model}'s {said} are not shown to beat {answer}: on these {learned['rows']:,} rows its {weighted}loss is"
        f" {learned['loss']:.3g}, always predicting {answer} gives {learned['prior_loss']:.3g}"
        f" (difference {_end(learned['low'])} to {_end(learned['high'])})"
    )
    order = _order_sentence(learned.get("order"), classes)
    equal = "; its branches get equal weights" if branches else ""
    return f"{loss}.{order} The ranking says what it looks at, not what matters{equal}"


def _order_sentence(order: Mapping[str, Any] | None, classes: bool) -> str:
    """Say whether such a model orders the rows all the same."""
    if order is None:
        return ""
    value = f"{order['measure']} {order['value']:.2f} ({_end(order['low'])} to {_end(order['high'])})"
    if order["p"] >= ALPHA:
        return f" Nor is it shown to order them: {value}. These rows show nothing that it has learned."
    off = "values are off; correct their scale"
    if classes:
        off = "probabilities are off; calibrate them (as scikit-learn's CalibratedClassifierCV does)"
    return f" It orders them, though: {value}. So it has learned something, but its {off} and rank again."


def average(learned: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the same of several models on the same rows: means, and of the p-values twice the median."""
    p = float(min(1, 2 * np.median([each["p"] for each in learned]))) if len(learned) > 1 else learned[0]["p"]
    means = {
        name: float(np.mean([np.nan if each[name] is None else each[name] for each in learned]))
        for name in ("loss", "prior_loss", "difference", "low", "high")
    }
    orders = [each["order"] for each in learned if "order" in each]
    order = {"order": _average_order(orders)} if len(orders) == len(learned) else {}
    known = {name: value for name, value in learned[0].items() if name != "order"}
    return {**known, **means, "p": p, "better": p < ALPHA, **order}


def _average_order(orders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    p = float(min(1, 2 * np.median([each["p"] for each in orders]))) if len(orders) > 1 else orders[0]["p"]
    means = {name: float(np.mean([each[name] for each in orders])) for name in ("value", "low", "high")}
    return {"measure": orders[0]["measure"], **means, "p": p}


def _prior(target: Target, prior: Any) -> np.ndarray:
    """Return the constant answer, (n_classes,) or (n_outputs,)."""
    if target.classes:
        n = len(target.classes)
        shares = np.bincount(target.y, target.weights, minlength=n) / len(target.y)
        known = shares if prior is None else np.asarray(prior, float)
    else:
        n = target.y[0].size
        values = np.asarray(target.y, float).reshape(len(target.y), -1)
        known = np.average(values, axis=0, weights=target.weights) if prior is None else prior
        known = np.asarray(known, float).reshape(-1)
    if known.shape != (n,) or not np.isfinite(known).all():
        raise PermGradError(f"prior must be {n} finite numbers, shares of classes or means, got {prior!r}")
    if target.classes and (known.min() < 0 or not np.isclose(known.sum(), 1, atol=1e-3)):
        raise PermGradError(f"prior must be shares of classes, which add up to 1, got {prior!r}")
    return known


def _end(value: float | None) -> str:
    return "?" if value is None else f"{value:.2g}".replace("-", "−")
