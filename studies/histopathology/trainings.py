"""The cached steps of the histopathology study: networks and forests, trained and evaluated; and predictions."""

from __future__ import annotations

import gc
import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

import permgrad as pg
from permgrad.backend import keras
from permgrad.directories import new_directory
from permgrad.errors import reading
from permgrad.estimators.saving import read_network, write_network
from permgrad.files import new_file
from permgrad.patches.predicting import predict_logits
from permgrad.patches.reading import N_SYMMETRIES
from permgrad.patches.training import PREDICTED_BATCHES
from studies.histopathology.forest import colour_texture
from studies.histopathology.recipes import Recipe
from studies.kit import Workspace
from studies.kit.steps import timed

DIGITS = 6
"""Of logits in files."""


@dataclass(frozen=True)
class Part:
    """Patches that are trained on, and those that the network is evaluated on; `name` tells one split from another."""

    name: str
    train: pg.Patches
    evaluated: pg.Patches


class Trainer:
    """Does the steps of one study; shows how many there are done.

    Parameters
    ----------
    workspace : Workspace
        Networks are in its ``networks/``, beside the steps.
    precision : str
    random_state : int
    workers : int or None
        Threads that read patches.
    n_steps : int
        How many steps the progress bar shows.
    """

    def __init__(
        self, workspace: Workspace, precision: str, random_state: int, workers: int | None = None, n_steps: int = 0
    ) -> None:
        self.workspace, self.precision, self.random_state, self.workers = workspace, precision, random_state, workers
        self._progress = tqdm(total=n_steps, desc="histopathology", unit="step", disable=not workspace.verbose)
        self._complete: set[str] = set()

    def train(self, recipe: Recipe, part: Part, *, keep: bool = False) -> dict[str, Any]:
        """Train a network, or return what came of it when it was first trained.

        Parameters
        ----------
        recipe : Recipe
        part : Part
        keep : bool
            Keep the network, and predict with all symmetries.

        Returns
        -------
        dict
            ``history`` (rows of `permgrad.fit_patches`), ``logits`` of the evaluated patches, (n, 1) or (n, 8), their
            ``auc``, ``parameters``, the ``recipe``, and ``network``: its key.
        """
        key = recipe.key(part.name, self.random_state, self.precision, keep, weights_digest(recipe.weights))
        step, network = self.workspace.out / "steps" / f"trainings/{key}.json", self.network_path(key)
        if not step.is_file() or (keep and not network.is_dir()):  # half of what belongs together: a process died
            for lost in (step, *self.workspace.out.glob(f"steps/predictions/{key}_*.json")):
                lost.unlink(missing_ok=True)
            shutil.rmtree(network, ignore_errors=True)
        return self._step(f"trainings/{key}", partial(self._train, recipe, part, keep, key))

    def _train(self, recipe: Recipe, part: Part, keep: bool, key: str) -> dict[str, Any]:
        model = recipe.network(part.train.shape, self.precision, self.random_state)
        training = recipe.training(self.workers, self.random_state)
        history = pg.fit_patches(model, part.train, part.evaluated, training, verbose=self.workspace.verbose)
        logits = predict_logits(
            model,
            part.evaluated,
            symmetries=N_SYMMETRIES if keep else 1,
            batch_size=PREDICTED_BATCHES * recipe.batch_size,
            workers=self.workers,
        )
        if keep:
            self.network_path(key).parent.mkdir(exist_ok=True)
            with new_directory(self.network_path(key)) as staging:
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
            "auc": float(roc_auc_score(part.evaluated.y, logits[:, 0])),
            "parameters": parameters,
        }

    def network_path(self, key: str) -> Path:
        """Return the directory in which a network is kept."""
        return self.workspace.out / "networks" / key

    def load(self, key: str) -> Any:
        """Load a network that was kept."""
        with reading(self.network_path(key), "a network of the study", "remove it, and it is trained again"):
            return read_network(self.network_path(key))

    def predict(self, key: str, check: pg.PatchCheck) -> dict[str, Any]:
        """Predict the test patches with a kept network: ``ids``, ``logits`` (n, 8), ``images``, ``seconds``."""
        return self._step(f"predictions/{key}_{check.test_sha256[:12]}", partial(self._predict, key, check.test))

    def _predict(self, key: str, patches: pg.Patches) -> dict[str, Any]:
        model = self.load(key)
        begun = time.perf_counter()
        logits = predict_logits(model, patches, symmetries=N_SYMMETRIES, workers=self.workers)
        seconds = time.perf_counter() - begun
        keras.utils.clear_session(free_memory=False)
        rounded = np.round(logits.astype(float), DIGITS).tolist()
        return {"ids": patches.ids, "logits": rounded, "images": logits.size, "seconds": seconds}

    def embeddings(self, check: pg.PatchCheck, recipe: Recipe) -> np.ndarray:
        """Return every patch's vector by the recipe's backbone, which is not trained; cached, as statistics are."""
        key = recipe.key(check.sha256, self.random_state, weights_digest(recipe.weights))
        return self._array(f"embeddings_{key}", lambda: self._embed(check.train, recipe))

    def _embed(self, patches: pg.Patches, recipe: Recipe) -> np.ndarray:
        model = pg.frozen_backbone(
            recipe.backbone, weights=recipe.weights, patch_shape=patches.shape, image_size=recipe.image_size
        )
        return pg.embed_patches(model, patches, workers=self.workers)

    def statistics(self, check: pg.PatchCheck) -> np.ndarray:
        """Return every patch's statistics, see `colour_texture`; of many patches they take long: they are cached."""
        return self._array(f"statistics_{check.sha256[:12]}", lambda: colour_texture(check.train, self.workers))

    def _array(self, name: str, work: Callable[[], np.ndarray]) -> np.ndarray:
        path = self.workspace.out / "steps" / f"{name}.npy"
        if not path.is_file():
            values = work()
            with new_file(path) as part, part.open("wb") as stream:
                np.save(stream, values, allow_pickle=False)
        with reading(path, "an array of the study", "remove it, and it is computed again"):
            return np.load(path, allow_pickle=False)

    def classify(self, name: str, y: np.ndarray, classify: Callable[[], np.ndarray]) -> dict[str, Any]:
        """Return what a classifier other than a network says: ``probabilities`` of patches of labels y, their ``auc``.

        Parameters
        ----------
        name : str
            Of the step.
        y : ndarray of shape (n_patches,)
        classify : callable
            Fits the classifier on other patches, and returns its probabilities.
        """

        def work() -> dict[str, Any]:
            probabilities = classify()
            return {"probabilities": probabilities.tolist(), "auc": float(roc_auc_score(y, probabilities))}

        return self._step(name, work)

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        result = self.workspace.step(name, partial(timed, work))
        self._complete.add(name)
        self._progress.update(len(self._complete) - self._progress.n)
        return result


@cache
def weights_digest(weights: str) -> str:
    """Return what tells a weight file from another of the same name; nothing for ImageNet's and random ones."""
    path = Path(weights)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
