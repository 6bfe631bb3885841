"""One unit of the study each: a network that is trained and judged, a forest, what is predicted of the test patches."""

from __future__ import annotations

import gc
import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import permgrad as pg
from permgrad.backend import keras
from permgrad.directories import new_directory
from permgrad.errors import FileFormatError
from permgrad.estimators.saving import read_network, write_network
from permgrad.files import new_file
from permgrad.patches.files import Patches
from permgrad.patches.predicting import predict_logits
from permgrad.patches.reading import N_SYMMETRIES
from permgrad.patches.training import PREDICTED_BATCHES, fit_patches
from studies.kit.steps import cached_step

from .forest import colour_texture, forest_probability
from .recipes import Recipe

KIND = "permgrad.study.histopathology"
DIGITS = 6
"""Of logits that are kept."""


@cache
def weights_digest(weights: str) -> str:
    """Return what tells a weight file from another of the same name; nothing for ImageNet's and random ones."""
    path = Path(weights)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@dataclass(frozen=True)
class Bench:
    """Where trainings are done, and what they share.

    Attributes
    ----------
    out : Path
        ``units/`` and ``networks/`` are in it.
    precision : str
    random_state : int
    workers : int or None
    """

    out: Path
    precision: str
    random_state: int
    workers: int | None

    def train(
        self, recipe: Recipe, rows: str, train: Patches, judged: Patches, *, keep: bool = False, verbose: bool = False
    ) -> dict[str, Any]:
        """Train a network, or return what came of it when it was first trained.

        Parameters
        ----------
        recipe : Recipe
        rows : str
            Says which patches `train` and `evaluate_network` are.
        keep : bool
            Keep the network, and predict with all symmetries.

        Returns
        -------
        dict
            ``history`` (rows of `fit_patches`), ``logits`` of the judged patches, (n, 1) or (n, 8), their ``auc``,
            ``seconds``, ``parameters``, and ``network``: its key.
        """
        key = recipe.key(rows, self.random_state, self.precision, keep, weights_digest(recipe.weights))
        unit, network = self.out / "units" / f"train_{key}.json", self.place(key)
        if not unit.is_file() or (keep and not network.is_dir()):  # half of what belongs together: a process died
            for lost in (unit, *unit.parent.glob(f"test_{key}_*.json")):
                lost.unlink(missing_ok=True)
            shutil.rmtree(network, ignore_errors=True)
        symmetries = N_SYMMETRIES if keep else 1
        return cached_step(
            unit, KIND, lambda: self._train(recipe, train, judged, symmetries, network if keep else None, key, verbose)
        )

    def _train(
        self,
        recipe: Recipe,
        train: Patches,
        judged: Patches,
        symmetries: int,
        network: Path | None,
        key: str,
        verbose: bool,
    ) -> dict[str, Any]:
        begun = time.perf_counter()
        model = recipe.network(train.shape, self.precision, self.random_state)
        history = fit_patches(model, train, judged, recipe.training(self.workers, self.random_state), verbose=verbose)
        size = PREDICTED_BATCHES * recipe.batch_size
        logits = predict_logits(model, judged, symmetries=symmetries, batch_size=size, workers=self.workers)
        if network:
            with new_directory(network) as staging:
                write_network(model, staging)
        parameters = model.count_params()
        del model
        keras.utils.clear_session(free_memory=False)
        gc.collect()
        return {
            "recipe": recipe.model_dump(mode="json"),
            "network": key,
            "history": history.to_dict("records"),
            "logits": np.round(logits.astype(float), DIGITS).tolist(),
            "auc": float(roc_auc_score(judged.y, logits[:, 0])),
            "parameters": parameters,
            "seconds": time.perf_counter() - begun,
        }

    def place(self, key: str) -> Path:
        """Return the directory in which a network is kept."""
        return self.out / "networks" / key

    def load(self, key: str) -> Any:
        """Load a network that was kept."""
        try:
            return read_network(self.place(key))
        except (OSError, ValueError) as error:
            raise FileFormatError(
                f"the network in {self.place(key)} cannot be loaded ({error}); remove that directory, and it is trained"
                " again"
            ) from error

    def predict(self, key: str, check: pg.PatchCheck) -> dict[str, Any]:
        """Predict the test patches with a kept network: ``ids``, ``logits`` (n, 8), ``seconds``, ``images``."""
        test = check.test

        def work() -> dict[str, Any]:
            model = self.load(key)
            begun = time.perf_counter()
            logits = predict_logits(model, test, symmetries=N_SYMMETRIES, workers=self.workers)
            seconds = time.perf_counter() - begun
            keras.utils.clear_session(free_memory=False)
            rounded = np.round(logits.astype(float), DIGITS).tolist()
            return {"ids": test.ids, "logits": rounded, "seconds": seconds, "images": logits.size}

        return cached_step(self.out / "units" / f"test_{key}_{check.test_sha256[:12]}.json", KIND, work)

    def statistics(self, check: pg.PatchCheck) -> np.ndarray:
        """Return every patch's statistics, see `colour_texture`; of many patches they take long, so they are kept."""
        path = self.out / "units" / f"statistics_{check.sha256[:12]}.npy"
        if not path.is_file():
            found = colour_texture(check.train, self.workers)
            with new_file(path) as part, part.open("wb") as stream:
                np.save(stream, found, allow_pickle=False)
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{path} is damaged ({error}); remove it, and it is computed again") from error

    def forest(
        self, fold: int, parts: Callable[[], list[tuple[np.ndarray, np.ndarray]]], n_trees: int
    ) -> dict[str, Any]:
        """Fit a forest on the first of two parts, (statistics, labels) each, and judge it on the second.

        Returns
        -------
        dict
            ``probabilities`` of the judged patches, their ``auc``, and ``seconds``.
        """

        def work() -> dict[str, Any]:
            begun = time.perf_counter()
            train, (statistics, y) = parts()
            probabilities = forest_probability(train, statistics, n_trees, self.random_state)
            auc = float(roc_auc_score(y, probabilities))
            return {"probabilities": probabilities.tolist(), "auc": auc, "seconds": time.perf_counter() - begun}

        return cached_step(self.out / "units" / f"forest_{n_trees}_{fold}.json", KIND, work)
