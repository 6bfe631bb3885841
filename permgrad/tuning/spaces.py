"""Search spaces: an Optuna trial in, the estimator's settings out."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from permgrad.errors import PermGradError, listing

Space = Callable[[Any], dict[str, Any]]
"""``config = space(trial)``: keywords of `HybridClassifier` or `HybridRegressor` that this trial is to have."""

PRESET = "published"
"""What the built-in spaces leave open is as published."""
BATCH_SIZE = 32
PATIENCE = 16


def hybrid(trial: Any) -> dict[str, Any]:
    """Suggest a hybrid network; names and ranges are those of the published PermGrad notebooks."""
    depth = trial.suggest_int("n_dense_layers", 1, 4)
    return {
        "preset": PRESET,
        "branches": ("tabular", "image"),
        "dense_units": _units(trial, "dense_units", depth),
        **_convolutions(trial),
        "head_units": _units(trial, "combined_dense_units", depth),
        **_training(trial),
    }


def mlp(trial: Any) -> dict[str, Any]:
    """Suggest the published control without an image: Dense layers on the row, then the output."""
    depth = trial.suggest_int("n_dense_layers", 1, 4)
    units = _units(trial, "dense_units", depth)
    return {"preset": PRESET, "branches": ("tabular",), "dense_units": units, "head_units": (), **_training(trial)}


def cnn(trial: Any) -> dict[str, Any]:
    """Suggest the published control without the row: convolutions on its image, then Dense layers."""
    depth = trial.suggest_int("n_dense_layers", 1, 4)
    units = _units(trial, "dense_units", depth)
    return {"preset": PRESET, "branches": ("image",), **_convolutions(trial), "head_units": units, **_training(trial)}


def batch_ensemble(trial: Any) -> dict[str, Any]:
    """Suggest a hybrid network beyond the published ones: scaling, embedding of columns, networks of a batch ensemble.

    Dense layers are of one width, as in the space of TabM (Gorishniy, Kotelnikov & Babenko, ICLR 2025), and the rate
    stays constant; training ends when the validation loss no longer falls.
    """
    depth = trial.suggest_int("n_dense_layers", 1, 3)
    units = trial.suggest_int("dense_units", 64, 384, step=32)
    chosen = {
        "preset": PRESET,
        "branches": ("tabular", "image"),
        "scaling": trial.suggest_categorical("scaling", ["min-max", "quantile"]),
        "embedding": trial.suggest_categorical("embedding", ["none", "piecewise", "periodic"]),
        "ensemble_size": trial.suggest_categorical("ensemble_size", [1, 8, 16, 32]),
        "dense_units": (units,) * depth,
        "n_conv_layers": trial.suggest_int("n_conv_layers", 1, 2),
        "base_filters": trial.suggest_int("base_filters", 4, 32, log=True),
        "head_units": (units,),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "batch_norm": False,
        "learning_rate": trial.suggest_float("lr", 3e-4, 1e-2, log=True),
        "schedule": "constant",
        "optimizer": "adamw",
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1.0, log=True),
        "batch_size": 256,
        "patience": PATIENCE,
    }
    if chosen["embedding"] != "none":
        chosen["embedding_size"] = trial.suggest_int("embedding_size", 4, 64, log=True)
    return chosen


SPACES: dict[str, Space] = {"hybrid": hybrid, "mlp": mlp, "cnn": cnn, "batch_ensemble": batch_ensemble}

_DENSE = {"n_dense_layers": 2, "dense_units_0": 128, "dense_units_1": 64}
_CONVOLUTIONS = {"n_conv_layers": 2, "base_filters": 16}
_TRAINING = {"dropout": 0.2, "lr": 1e-3, "optimizer": "adam"}
_ENSEMBLE = {
    "n_dense_layers": 2,
    "dense_units": 128,
    "scaling": "quantile",
    "embedding_size": 16,
    "ensemble_size": 16,
    "n_conv_layers": 2,
    "base_filters": 8,
    "dropout": 0.1,
    "lr": 2e-3,
    "weight_decay": 1e-2,
}
FIRST: dict[Space, tuple[dict[str, Any], ...]] = {
    hybrid: ({**_DENSE, **_CONVOLUTIONS, "combined_dense_units_0": 64, "combined_dense_units_1": 64, **_TRAINING},),
    mlp: ({**_DENSE, **_TRAINING},),
    cnn: ({**_DENSE, **_CONVOLUTIONS, **_TRAINING},),
    batch_ensemble: ({**_ENSEMBLE, "embedding": "piecewise"}, {**_ENSEMBLE, "embedding": "periodic"}),
}
"""The first trials of a study: small, and near the estimators' defaults; what is hopeless beside them is soon pruned.

Which embedding suits a table is not known beforehand, and decides more than most of the rest."""


def _units(trial: Any, name: str, depth: int) -> tuple[int, ...]:
    return tuple(trial.suggest_int(f"{name}_{i}", 8, 256) for i in range(depth))


def _convolutions(trial: Any) -> dict[str, int]:
    return {
        "n_conv_layers": trial.suggest_int("n_conv_layers", 1, 4),
        "base_filters": trial.suggest_int("base_filters", 8, 256),
    }


def _training(trial: Any) -> dict[str, Any]:
    chosen = {
        "dropout": trial.suggest_float("dropout", 0.1, 0.4),
        "learning_rate": trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "adamw"]),
        "batch_size": BATCH_SIZE,
    }
    if chosen["optimizer"] == "adamw":
        chosen["weight_decay"] = trial.suggest_float("weight_decay", 1e-6, 1e-3, log=True)
    return chosen


def as_space(space: str | Space) -> Space:
    """Return the space of that name, or the function that ``module:function`` or ``file.py:function`` names.

    Raises
    ------
    PermGradError
        If there is none.
    """
    if callable(space):
        return space
    if space in SPACES:
        return SPACES[space]
    place, _, name = space.rpartition(":")
    if not place:
        raise PermGradError(
            f"space must be one of {listing(SPACES)}, or module:function or file.py:function, got {space!r}"
        )
    function = getattr(_module(place), name, None)
    if not callable(function):
        raise PermGradError(f"there is no function {name!r} in {place}; a space is a function config = space(trial)")
    return function


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        sys.path.insert(0, "")
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise PermGradError(f"cannot import the space's module {place!r}: {error}") from error
        finally:
            sys.path.remove("")
    path = Path(place)
    if not path.is_file():
        raise PermGradError(f"there is no file {place} to take the space from")
    specification = importlib.util.spec_from_file_location(f"space_{path.stem}", path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def describe(space: Space) -> dict[str, str]:
    """Return what tells one space from another when a study is resumed: its name and its own source's hash.

    What the space calls, or takes from outside itself, is not looked at.
    """
    name = next((name for name, known in SPACES.items() if known is space), None)
    if name:
        return {"name": name, "source": "permgrad"}
    name = getattr(space, "__qualname__", type(space).__qualname__)
    if "<lambda>" in name:  # its source is the whole line, with whatever else is on it
        return {"name": "a lambda", "source": _digest(repr(_instructions(space.__code__)))}
    try:
        return {"name": name, "source": _digest(inspect.getsource(space))}
    except (OSError, TypeError):  # typed into an interpreter, or a callable object
        return {"name": name, "source": "unknown"}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _instructions(code: Any) -> list[Any]:
    inner = [_instructions(part) if hasattr(part, "co_code") else part for part in code.co_consts]
    return [code.co_code, code.co_names, inner]
