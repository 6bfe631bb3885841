"""What the published code gets wrong, done on purpose, so that what each correction changed can be measured.

Nothing here is used by the library. Mistakes of reading act on a trained network, the others train one anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.pixels import read_pixels
from permgrad.layers.image import FeatureImage
from studies.hybrid_tables.networks import Parts, train_and_measure

ops = keras.ops
LEAK = "the target, scaled"
"""The column that the published regression notebook leaves among the features."""


def transposed(layout: pg.FeatureLayout) -> pg.FeatureLayout:
    """Say that each feature sits at the mirror image of its pixel: where the published code reads the heat."""
    return replace(layout, rows=layout.cols, cols=layout.rows, shape=layout.shape[::-1])


def one_map_for_all(model: Any, X: Any) -> pg.FeatureRanking:
    """Read each feature's heat off the predicted class's map, whatever class it is asked for.

    The published loop over classes overwrites its own index.
    """
    maps = model.grad_cam_maps(X)  # (n, height, width, n_classes)
    predicted = model.predict_proba(X).argmax(axis=1)
    chosen = maps[np.arange(len(maps)), :, :, predicted][..., None]
    heat = read_pixels(chosen, model.layout_).mean(axis=0)  # (n_features, 1)
    classes = tuple(map(str, model.classes_))
    return pg.FeatureRanking(
        model.layout_.features, heat[:, 0], class_scores=np.repeat(heat, len(classes), axis=1), classes=classes
    )


def misread(model: Any, parts: Parts, repeats: int) -> dict[str, Any]:
    """Score features by the published formula: as it should be, at the transposed pixel, with one map for all classes.

    Returns
    -------
    dict
        For each of the three, ``scores`` and, for classification, ``class_scores`` (n_features, n_classes) of the
        fused ranking, and ``heat``, the features' Grad-CAM; ``end_to_end``: what the network really relies on.
    """
    rows = parts["test"]
    right = model.rank_features(rows.X, rows.y, n_repeats=repeats, end_to_end=True, verbose=False, formula=pg.PUBLISHED)
    permutation, cam = right.components["permutation"], right.components["grad_cam"]
    encoded = model.encoder_.transform(rows.X)
    labels = None if cam.classes is None else model.classes_.tolist()
    wrong = {"transposed": pg.grad_cam(model.network_, encoded, transposed(model.layout_), classes=labels)}
    if labels is not None:
        wrong["one map"] = one_map_for_all(model, rows.X)
    weights = right.branch_weights or {}
    readings: dict[str, Any] = {"corrected": {**_scores(right, cam), "weight": weights["image"]}}
    for name, heat in wrong.items():
        heat = heat.with_unused(cam.features)
        fused = pg.fuse(permutation, heat, weights, fusion_scale="min-max")
        readings[name] = _scores(fused, heat)
    return {**readings, "end_to_end": right.components["end_to_end"].scores, "features": right.features}


def _scores(ranking: pg.FeatureRanking, heat: pg.FeatureRanking) -> dict[str, Any]:
    return {"scores": ranking.scores, "class_scores": ranking.class_scores, "heat": heat.scores}


class PngImage(FeatureImage):
    """Draws each row as it comes back from a PNG file: 256 steps between the image's own extremes, high values dark."""

    def call(self, x: Any) -> Any:
        """Draw a batch of scaled rows."""
        image = super().call(x)
        low, high = (end(image, axis=(1, 2, 3), keepdims=True) for end in (ops.min, ops.max))
        return 1 - ops.round(255 * (image - low) / ops.where(high > low, high - low, 1)) / 255


def through_png_files(kind: type) -> type:
    """Return the estimator whose network sees its images as the published files show them."""

    class ThroughPngFiles(kind):  # type: ignore[misc]
        def _build(self, config: Any, train: Any, validation: Any) -> Any:
            network = super()._build(config, train, validation)

            def copied(layer: Any) -> Any:
                if layer.name == "image":
                    return PngImage.from_layout(self.layout_, name="image")
                return layer.__class__.from_config(layer.get_config())

            spoilt = keras.models.clone_model(network, clone_function=copied)
            spoilt.set_weights(network.get_weights())  # drawing has none: the same start, and the scaling's range
            return spoilt

    return ThroughPngFiles


def fitted_on_all_rows(kind: type, every_row: Any) -> type:
    """Return the estimator whose scaling and layout see all rows of the table, test rows too."""

    class FittedOnAllRows(kind):  # type: ignore[misc]
        def _fit_shared(self, encoded: np.ndarray) -> None:
            super()._fit_shared(self.encoder_.transform(every_row))

        def _build(self, config: Any, train: Any, validation: Any) -> Any:
            return super()._build(config, (self.encoder_.transform(every_row), *train[1:]), validation)

    return FittedOnAllRows


def with_leak(parts: Parts) -> Parts:
    """Put the target among the features, scaled to [0, 1] as they are; unscaled, `Table` would refuse it."""
    low, high = parts["train"].y.min(), parts["train"].y.max()
    return {
        part: pg.Table(rows.X.assign(**{LEAK: (rows.y - low) / (high - low)}), rows.y, name=rows.name)
        for part, rows in parts.items()
    }


TRAININGS = {
    "classification": ("shared pixels", "PNG files", "fitted on all rows"),
    "regression": ("shared pixels", "PNG files", "fitted on all rows", "target among features"),
}
"""The mistakes that take a training."""


def retrain(name: str, template: Any, parts: Parts, repeats: int, *, every_row: Any) -> dict[str, Any]:
    """Train a network with the template's settings and seed, and one of the mistakes in `TRAININGS`; measure it."""
    kind = type(template)
    if name == "PNG files":
        kind = through_png_files(kind)
    elif name == "fitted on all rows":
        kind = fitted_on_all_rows(kind, every_row)
    elif name == "target among features":
        parts = with_leak(parts)
    changes = {"unique": False} if name == "shared pixels" else {}
    return train_and_measure(kind(**template.get_params()), parts, repeats, **changes)
