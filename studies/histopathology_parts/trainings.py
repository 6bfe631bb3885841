"""One unit of the study each: a network that is trained and judged, a forest, what is predicted of the test patches."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from permgrad.backend import keras
from permgrad.errors import FileFormatError
from permgrad.files import new_directory
from permgrad.patches.files import Patches
from permgrad.patches.predicting import predict_logits
from permgrad.patches.reading import N_SYMMETRIES
from permgrad.patches.training import fit_patches
from permgrad.saving import read_network, write_network
from permgrad.units import kept

from .forest import forest_probability
from .recipes import Recipe

KIND = "permgrad.study.histopathology"
DIGITS = 6
"""Of logits that are kept."""


@dataclass(frozen=True)
class Bench:
    """Where trainings are done, and what they share.

    Attributes
    ----------
    out : Path
        ``units/`` and ``networks/`` are in it.
    precision : str
    seed : int
    workers : int or None
    """

    out: Path
    precision: str
    seed: int
    workers: int | None

    def train(
        self, recipe: Recipe, rows: str, train: Patches, judged: Patches, *, keep: bool = False, verbose: bool = False
    ) -> dict[str, Any]:
        """Train a network, or return what came of it when it was first trained.

        Parameters
        ----------
        recipe : Recipe
        rows : str
            Says which patches `train` and `judged` are.
        keep : bool
            Keep the network, and predict with all symmetries.

        Returns
        -------
        dict
            ``history`` (rows of `fit_patches`), ``logits`` of the judged patches, (n, 1) or (n, 8), their ``auc``,
            ``seconds``, ``parameters``, and ``network``: its key.
        """
        key = recipe.key(rows, self.seed, self.precision, keep)
        unit = self.out / "units" / f"train_{key}.json"
        network = self.place(key)
        if keep and not network.is_dir():
            unit.unlink(missing_ok=True)
        symmetries = N_SYMMETRIES if keep else 1
        return kept(
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
        model = recipe.network(train.shape, self.precision, self.seed)
        history = fit_patches(model, train, judged, recipe.training(self.workers, self.seed), verbose=verbose)
        logits = predict_logits(model, judged, symmetries=symmetries, workers=self.workers)
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

    def predict(self, key: str, test: Patches) -> dict[str, Any]:
        """Predict the test patches with a network that was kept: ``logits`` (n, 8), ``seconds``, ``images``."""

        def work() -> dict[str, Any]:
            model = self.load(key)
            begun = time.perf_counter()
            logits = predict_logits(model, test, symmetries=N_SYMMETRIES, workers=self.workers)
            seconds = time.perf_counter() - begun
            keras.utils.clear_session(free_memory=False)
            rounded = np.round(logits.astype(float), DIGITS).tolist()
            return {"logits": rounded, "seconds": seconds, "images": logits.size}

        return kept(self.out / "units" / f"test_{key}.json", KIND, work)

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
            probabilities = forest_probability(train, statistics, n_trees, self.seed)
            auc = float(roc_auc_score(y, probabilities))
            return {"probabilities": probabilities.tolist(), "auc": auc, "seconds": time.perf_counter() - begun}

        return kept(self.out / "units" / f"forest_{n_trees}_{fold}.json", KIND, work)
