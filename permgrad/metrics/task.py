"""What a network's output means, decided once from its last step, its loss and the true values; and its losses.

Three kinds of output are told apart by the link from the network's logits to what it says of a row: "softmax" (of
several classes one is true), "sigmoid" (yes or no: of two classes, or each output for itself) and "identity" (values).
What is ambiguous is an error that says how to say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit, log_expit, log_softmax, logsumexp, softmax

from permgrad.errors import PermGradError, listing
from permgrad.metrics.losses import (
    binary_cross_entropy,
    check_probabilities,
    check_sums,
    clipped,
    cross_entropy,
    squared_error,
)

Kind = Literal["classification", "regression"]
Link = Literal["softmax", "sigmoid", "identity"]
SAY_IT = "compile the model with its loss, or pass task='classification' (cross-entropy) or task='regression' (squared"
SAY_IT += " error)"


@dataclass(frozen=True)
class Output:
    """What a network shows of its output; see `permgrad.metrics.outputs.output_of`.

    Attributes
    ----------
    width : int
        Numbers of one row.
    activation : {"softmax", "sigmoid", "linear", ""}
        The last step; "" for one that is none of these.
    loss : {"categorical", "binary", "values", "margins", ""}
        The kind of loss that it is compiled with; "" for none, or one that Keras does not know.
    from_logits : bool
        Whether that loss takes logits.
    """

    width: int
    activation: str = ""
    loss: str = ""
    from_logits: bool = False

    @property
    def link(self) -> Link | None:
        """The link that activation or loss says, None where neither does."""
        if self.activation in ("softmax", "sigmoid"):
            return self.activation  # type: ignore[return-value]
        return {"categorical": "softmax", "binary": "sigmoid"}.get(self.loss)  # type: ignore[return-value]


@dataclass(frozen=True)
class Task:
    """What a network's output means.

    Attributes
    ----------
    width : int
        Numbers of one row's output.
    link : {"softmax", "sigmoid", "identity"}
    logits : bool
        The output comes before the link, not behind it.
    n_classes : int
        Classes of which each row has one; 0 where rows have none: values, shares between 0 and 1, several labels.
    output_weights : tuple of float or None
        Of values, what each output's squared error counts; by default they are averaged. See `weighing`.
    """

    width: int
    link: Link = "identity"
    logits: bool = False
    n_classes: int = 0
    output_weights: tuple[float, ...] | None = None

    @property
    def loss(self) -> str:
        """The loss by its name: losses of two names have two units."""
        if self.link == "identity":
            several = self.output_weights is not None and self.counted(self.width).sum() > 1
            return "squared error over variance" if several else "squared error"
        return "log loss" if self.n_classes else "cross-entropy"

    def losses(self, y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return each row's loss, float64.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, width)
            As `understand` returned it.
        outputs : ndarray of shape (..., n, width)

        Returns
        -------
        ndarray of shape (..., n)
            Of class numbers ``-log p`` of the true class. Of shares the cross-entropy: of a softmax over its outputs,
            of sigmoids averaged over them. Of values the squared error, averaged over outputs as they weigh.
        """
        if self.link == "identity":
            return squared_error(y, outputs, self.output_weights)
        if self.n_classes and not self.logits:
            return cross_entropy(y, self.probabilities(outputs))
        if self.link == "sigmoid" and not self.n_classes:
            return binary_cross_entropy(y, outputs, logits=self.logits)
        logs = self._log_probabilities(outputs)
        shares = np.eye(self.n_classes)[y] if self.n_classes else y
        return -np.sum(shares * logs, axis=-1)

    def weighing(self, y: np.ndarray, row_weights: np.ndarray | None = None, output: int | None = None) -> Task:
        """Return the task with each of several outputs' squared error in units of the output's variance in `y`.

        Raw units would let the output of the largest numbers decide alone. With `output`, that one counts, and no
        other, in its own unit squared.

        Raises
        ------
        PermGradError
            If there is no such output, or outputs are no values.
        """
        if self.link != "identity" or self.width < 2:
            if output not in (None, 0):
                kind = "has a single output" if self.link == "identity" else "tells classes or shares"
                raise PermGradError(f"there is no output {output} to rank alone: the model {kind}; leave output= out")
            return self
        if output is not None:
            if not 0 <= output < self.width:
                raise PermGradError(
                    f"output must be from 0 to {self.width - 1}, as many as the model has; got {output}"
                )
            return replace(self, output_weights=tuple(float(i == output) for i in range(self.width)))
        values = np.asarray(y, float).reshape(len(y), self.width)
        means = np.average(values, axis=0, weights=row_weights)
        variance = np.average((values - means) ** 2, axis=0, weights=row_weights)
        return replace(self, output_weights=tuple(1 / (self.width * np.where(variance > 0, variance, 1))))

    def counted(self, width: int) -> np.ndarray:
        """Tell which of so many outputs count in the loss, (width,), bool."""
        return np.ones(width, bool) if self.output_weights is None else np.array(self.output_weights) > 0

    def prior_losses(self, y: np.ndarray, constant: np.ndarray) -> np.ndarray:
        """Return each row's loss under an answer that knows no row: shares of classes, or the outputs' means."""
        known = np.broadcast_to(constant, (len(y), len(constant)))
        return cross_entropy(y, known) if self.n_classes else replace(self, logits=False).losses(y, known)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return what the outputs say: each class's probability, (..., n, n_classes); shares or values, (..., width).

        Raises
        ------
        PermGradError
            If outputs that should be probabilities are none.
        """
        outputs = np.asarray(outputs, float)
        if self.link == "identity":
            return outputs
        if self.logits and self.link == "softmax":
            return softmax(outputs, axis=-1)
        p = expit(outputs) if self.logits else outputs
        check_probabilities(p)
        if self.link == "softmax":
            check_sums(p)
        if self.link == "softmax" or not self.n_classes:
            return p
        if self.width == 1:
            return np.concatenate([1 - p, p], axis=-1)
        return p / np.maximum(p.sum(axis=-1, keepdims=True), 1e-30)

    def _log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return the logarithm of each class's probability, from logits without a detour, (..., n, n_classes)."""
        if not self.logits:
            return np.log(clipped(self.probabilities(outputs)))
        z = np.asarray(outputs, float)
        if self.link == "softmax":
            return log_softmax(z, axis=-1)
        if self.width == 1:
            return log_expit(np.concatenate([-z, z], axis=-1))
        logs = log_expit(z)
        return logs - logsumexp(logs, axis=-1, keepdims=True)


def understand(
    output: Output, y: Any = None, classes: Sequence[Any] | None = None, task: str | None = None
) -> tuple[Task, np.ndarray | None, tuple[str, ...] | None]:
    """Decide what a network's output means, and bring the true values into the form that its loss asks for.

    Parameters
    ----------
    output : Output
    y : array of shape (n_rows,) or (n_rows, width), optional
        Class numbers, one-hot rows, shares from 0 to 1, or values; with `classes` also labels. Without it, only the
        output speaks.
    classes : sequence, optional
        Class names, in the order of the outputs; given classes mean that `y` holds class numbers, or these labels.
    task : {"classification", "regression"}, optional
        What to do, where model and `y` do not tell.

    Returns
    -------
    task : Task
    y : ndarray or None
        Class numbers (n_rows,), int; or shares or values.
    classes : tuple of str or None
        The classes' names, by default their numbers.

    Raises
    ------
    PermGradError
        If `y` does not fit the output, or what to do is ambiguous.

    Notes
    -----
    A softmax or sigmoid at the end counts first, then a loss of classes, which says whether the output is of logits.
    Of several sigmoids, class numbers mean that one class is true: their probabilities are divided by their sum, as
    Keras's categorical losses do. A loss of values beside a sigmoid is ambiguous where `y` holds only 0 and 1.
    """
    values = None if y is None else _numbers(y, output, classes)
    wanted = _wanted(classes, task)
    _check_contradiction(output, wanted)
    link, logits = _link(output, values, wanted)
    if link == "identity":
        return Task(output.width), None if values is None else _values(values, output.width), None
    known = Task(output.width, link, logits)
    if values is None:
        n_classes = _number_of_classes(known, together=wanted is not None or output.loss == "categorical")
    else:
        values, n_classes = _labels(known, values, output, wanted)
    return replace(known, n_classes=n_classes), values, _names(n_classes, classes)


def _wanted(classes: Sequence[Any] | None, task: str | None) -> str | None:
    if task not in (None, "classification", "regression"):
        raise PermGradError(f"task must be 'classification' or 'regression', got {task!r}")
    if classes is not None and task == "regression":
        raise PermGradError("classes are names for task='classification'; leave one of the two out")
    return task if classes is None else "classification"


def _numbers(y: Any, output: Output, classes: Sequence[Any] | None) -> np.ndarray:
    """Return numbers of one or several columns; of labels that are texts, their positions among the classes."""
    values = np.asarray(y)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.dtype.kind in "OUS" and values.ndim == 1:
        texts = [label for label in values.tolist() if isinstance(label, (str, bytes))]
        if texts:
            return _positions(values.tolist(), output, classes, texts)
        values = np.asarray(pd.to_numeric(pd.Series(values), errors="coerce"), float)
    if values.dtype.kind not in "iubf" or not np.isfinite(values).all():
        raise PermGradError("y must hold finite numbers: class numbers or target values, without missing values")
    return values


def _positions(
    labels: Sequence[Any], output: Output, classes: Sequence[Any] | None, texts: Sequence[Any]
) -> np.ndarray:
    if classes is None and output.loss == "values":
        raise PermGradError(
            f"y must hold finite numbers, as the model predicts values; it holds {listing(dict.fromkeys(texts), 3)}."
            " Pass numbers, or a model that predicts probabilities of classes"
        )
    if classes is None:
        raise PermGradError(
            f"y holds labels ({listing(dict.fromkeys(texts), 3)}), and the model does not say which of its outputs is"
            " which; pass classes=, all labels in the order of its outputs, or class numbers from 0 as y"
        )
    number = {label: i for i, label in enumerate(classes)}
    unknown = [label for label in dict.fromkeys(labels) if label not in number]
    if unknown:
        raise PermGradError(f"y holds labels that are not among classes= ({listing(classes)}): {listing(unknown)}")
    return np.array([number[label] for label in labels], int)


def _check_contradiction(output: Output, wanted: str | None) -> None:
    if output.from_logits and output.activation in ("softmax", "sigmoid") and wanted != "regression":
        raise PermGradError(
            f"the model ends in a {output.activation}, but its loss has from_logits=True and expects logits;"
            " compile it with from_logits=False, or remove the activation"
        )
    if output.width == 1 and output.link == "softmax" and wanted != "regression":
        raise PermGradError(
            "a single output with a softmax, or a categorical loss, is always 1; let the model end in a sigmoid, or"
            " give it an output for each class"
        )


def _link(output: Output, y: np.ndarray | None, wanted: str | None) -> tuple[Link, bool]:
    """Return the link, and whether the output comes before it."""
    if wanted == "regression":
        return "identity", False
    of_classes = wanted == "classification" or (y is not None and y.ndim == 1 and output.width > 1)
    if output.link is not None:
        if output.loss == "values" and y is not None and not of_classes:
            _check_ambiguous(output, y)
            return "identity", False
        return output.link, output.from_logits
    if of_classes and (wanted or output.loss != "values"):
        return ("sigmoid" if output.width == 1 else "softmax"), output.activation == "linear"
    if output.loss != "values" and y is not None:
        _check_ambiguous(output, y)
    return "identity", False


def _check_ambiguous(output: Output, y: np.ndarray) -> None:
    """Raise where `y` looks like classes, but neither the network's end nor its loss says so."""
    end = f"ends in a {output.activation}" if output.activation else "ends in a step of its own"
    end = "ends without a softmax or sigmoid" if output.activation == "linear" else end
    loss = {
        "values": "is compiled with a loss of values",
        "margins": "is compiled with a hinge loss, which gives no probabilities",
        "": "is compiled with no loss of Keras's that would tell what it says",
    }[output.loss]
    one_hot = y.ndim == 2 and _is_one_hot(y, output.width)
    if one_hot or (y.size == len(y) and np.isin(y, (0, 1)).all()):
        held = "one-hot rows" if one_hot else "only 0 and 1"
        raise PermGradError(f"y holds {held}: classes, or values? The model {end}, and {loss}; {SAY_IT}")


def _labels(task: Task, y: np.ndarray, output: Output, wanted: str | None) -> tuple[np.ndarray, int]:
    """Return the true values as class numbers with the number of classes, or as shares with 0."""
    together = wanted == "classification" or output.loss == "categorical" or y.ndim == 1
    n_classes = _number_of_classes(task, together=together)
    if n_classes and y.ndim == 2 and _is_one_hot(y, task.width):
        y = y.argmax(axis=1)
    if n_classes and y.ndim == 1 and np.isin(y, np.arange(n_classes)).all():
        return y.astype(int), n_classes
    if wanted is None and y.size == len(y) * task.width and y.min() >= 0 and y.max() <= 1:
        if task.link == "sigmoid" and (output.loss == "binary" or task.width > 1):
            return y.astype(float), 0
        if task.link == "sigmoid":
            raise PermGradError(
                "y holds shares between 0 and 1, the model ends in a sigmoid, and no compiled loss says how to measure"
                " errors; compile the model with 'binary_crossentropy', or pass task='regression' (squared error)"
            )
        if y.ndim == 2 and np.allclose(y.sum(axis=1), 1, atol=1e-3):
            return y.astype(float), 0
    raise PermGradError(_what_fits(task, n_classes))


def _what_fits(task: Task, n_classes: int) -> str:
    if not n_classes:
        return f"y must hold {task.width} numbers from 0 to 1 for each row: the model answers so many yes-no questions"
    return f"y must hold class numbers from 0 to {n_classes - 1} or one-hot rows of {task.width}"


def _number_of_classes(task: Task, *, together: bool) -> int:
    """Count the classes of which one is true; of several sigmoids only where they are meant `together`."""
    if task.link == "sigmoid" and task.width > 1:
        return task.width if together else 0
    return max(task.width, 2)


def _is_one_hot(y: np.ndarray, width: int) -> bool:
    return y.shape[1] == width and bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())


def _values(y: np.ndarray, width: int) -> np.ndarray:
    if y.size != len(y) * width:
        raise PermGradError(
            f"y of shape {y.shape} does not fit a model with {width} outputs; give the values of all of them (and"
            " output=0 to rank by one alone)"
        )
    return y


def _names(n_classes: int, classes: Sequence[Any] | None) -> tuple[str, ...] | None:
    if not n_classes:
        return None
    names = tuple(map(str, range(n_classes) if classes is None else classes))
    if len(names) != n_classes:
        raise PermGradError(f"the model tells {n_classes} classes apart, got {len(names)} names: {listing(names)}")
    return names
