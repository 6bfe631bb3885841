"""Grad-CAM and its finer kin on the image branch: which pixels, and so which features, raise each output.

One forward pass to the last convolution serves all classes; each class then takes one backward pass
through what follows the convolution. Rows are streamed in blocks: memory does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.images.layout import FeatureLayout
from permgrad.importance.bootstrap import Bootstrap, interval
from permgrad.importance.formula import Formula, check_choice
from permgrad.importance.grouping._columns import resolve_groups
from permgrad.importance.heat import HeatFunction
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network.branches import Branch
from permgrad.importance.pixels import read_pixels
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.outputs import task_of
from permgrad.metrics.task import Task

ops = keras.ops


def grad_cam(
    model: Any,
    inputs: Any,
    layout: FeatureLayout,
    *,
    attribution: Literal["grad_cam", "layer_cam", "gradient_input"] = "grad_cam",
    layer: str = "last",
    readout: Literal["cell", "bilinear"] = "cell",
    groups: Mapping[str, Any] | None = None,
    classes: Sequence[Any] | None = None,
    task: Literal["classification", "regression"] | None = None,
    output: int | str | None = None,
    random_state: int = 0,
) -> FeatureRanking:
    """Score each feature by the heat at its pixel, averaged over rows.

    Parameters
    ----------
    model : keras.Model
        A functional model with one image branch that has a convolution.
    inputs : array or list of arrays
        One for each of the model's inputs.
    layout : FeatureLayout
        Where each feature sits in the image.
    attribution : {"grad_cam", "layer_cam", "gradient_input"}
        How heat is computed, see `grad_cam_maps`. Grad-CAM's maps are as coarse as the last convolution (2 × 2 cells
        after three poolings of a 20 × 20 image); the others resolve cells, or pixels.
    layer : str
        The convolution to use: "last", "first" (usually as fine as the image) or its name. Gradient × input uses none.
    readout : {"cell", "bilinear"}
        The value of the cell that contains the feature's pixel, or an interpolation between the four nearest centres.
    groups : mapping of str to positions in ``layout.features``, optional
        Features drawn at several pixels; their score is the mean over these pixels. These
        alone are ranked.
    classes : sequence, optional
        Class names, for a model that classifies.
    task, output : optional
        See `permutation_importance`.
    random_state : int
        Seed of the bootstrap for intervals.

    Returns
    -------
    FeatureRanking
        ``class_scores`` of shape (n_features, n_classes): mean over all rows of the heat map of each
        class, between 0 and 1; ``scores``: their mean over classes (without classes, over outputs). Intervals are of a
        bootstrap of rows.

    Examples
    --------
    >>> found = pg.grad_cam(clf.network_, clf.encoder_.transform(test.X), clf.layout_)
    >>> found.method, found.class_scores.shape
    ('grad_cam', (4, 3))
    """
    formula = Formula(attribution=attribution, layer=layer, readout=readout)
    data = Inputs.of(model, inputs, output=output)
    known, _, names = task_of(data.cut.model, classes=classes, task=task)
    columns_of = resolve_groups(len(layout.features), layout.features, groups, alone=True)
    return read_heat(data, layout, formula, columns_of, known, names, Bootstrap.of(len(data), random_state))


def read_heat(
    data: Inputs,
    layout: FeatureLayout,
    formula: Formula,
    columns_of: Mapping[str, np.ndarray],
    task: Task,
    classes: tuple[str, ...] | None,
    bootstrap: Bootstrap,
    weights: np.ndarray | None = None,
) -> FeatureRanking:
    """Do what `grad_cam` does, with inputs and a bootstrap that other explainers share."""
    totals = _summed_by_bundle(data, layout, formula, task, list(columns_of.values()), bootstrap, weights)
    scores = totals.sum(axis=0, dtype=float) / len(data)
    replicates = np.stack([bootstrap.means(totals[:, :, c].T) for c in range(scores.shape[1])], axis=-1)
    return FeatureRanking(
        tuple(columns_of),
        scores.mean(axis=1),
        class_scores=None if classes is None else scores,
        classes=classes,
        method=formula.attribution,
        **interval(scores.mean(axis=1), replicates.mean(axis=2)),
        settings={"n_rows": len(data), "layer": formula.layer, "readout": formula.readout},
        replicates=replicates.mean(axis=2),
        class_replicates=None if classes is None else replicates,
    )


def _summed_by_bundle(
    data: Inputs,
    layout: FeatureLayout,
    formula: Formula,
    task: Task,
    columns: list[np.ndarray],
    bootstrap: Bootstrap,
    weights: np.ndarray | None,
) -> np.ndarray:
    """Add up the rows' heat, as they weigh, by the bootstrap's bundles: (n_bundles, n_features, n_outputs), float32."""
    totals: Any = None
    start = 0
    for maps in blocks_of_maps(data, task, formula.attribution, formula.layer):
        heat = read_pixels(maps, layout, formula.readout)
        heat = np.stack([heat[:, at].mean(axis=1) for at in columns], axis=1)
        if totals is None:
            totals = np.zeros((bootstrap.n_bundles, *heat.shape[1:]), np.float32)
        if weights is not None:
            heat = heat * weights[start : start + len(heat), None, None].astype(np.float32)
        np.add.at(totals, bootstrap.bundle[start : start + len(heat)], heat)
        start += len(heat)
    return totals


def grad_cam_maps(
    model: Any,
    inputs: Any,
    *,
    attribution: str = "grad_cam",
    layer: str = "last",
    task: Literal["classification", "regression"] | None = None,
    output: int | str | None = None,
) -> np.ndarray:
    """Return the heat map of every row and output.

    With A the activations (height, width, channels) of a convolution, and g the gradient of output c with
    respect to them, for each row, divided by its own maximum where that is positive:

    - ``"grad_cam"``: ``relu(sum_k w_k A_k)``, w_k the mean of g_k over space;
    - ``"layer_cam"``: ``relu(sum_k relu(g_k) A_k)``, at each position: where A is large but does not matter, it counts
      for nothing, so maps of earlier, finer convolutions can be read;
    - ``"gradient_input"``: ``|sum_k g_k A_k|`` with A the image itself.

    If the network outputs class probabilities or logits, the gradient is that of the log-odds. This equals the gradient
    of the probability divided by the positive number p (1 - p). So the normalised map is the same, but it does not
    vanish when the probability saturates. A single sigmoid output, or its logit, represents two classes.

    Parameters
    ----------
    model, inputs, attribution, layer, task, output
        As for `grad_cam`.

    Returns
    -------
    ndarray of shape (n_rows, map_height, map_width, n_outputs), float32
        At the resolution of the convolution; rows and columns as in the image.

    Raises
    ------
    PermGradError
        If the model has no image branch, several, or one without a convolution.

    References
    ----------
    Selvaraju et al., Grad-CAM, ICCV (2017), equations 1 and 2; Jiang et al., LayerCAM, IEEE TIP 30 (2021),
    equations 5 to 7; Shrikumar et al., arXiv 1605.01713 (2016), gradient × input.

    Examples
    --------
    >>> pg.grad_cam_maps(clf.network_, clf.encoder_.transform(test.X.head(2))).shape[-1]
    3
    """
    check_choice("attribution", attribution)
    data = Inputs.of(model, inputs, output=output)
    known, *_ = task_of(data.cut.model, task=task)
    return np.concatenate(list(blocks_of_maps(data, known, attribution, layer)))


def blocks_of_maps(data: Inputs, task: Task, attribution: str, layer: str) -> Iterator[np.ndarray]:
    """Walk the rows' heat maps block by block: (n_rows, map_height, map_width, n_outputs), float32."""
    branch = _image_branch(data)
    key = (attribution, layer, task.link, task.logits)
    heat = data.cut.once(key, lambda: HeatFunction(data.cut, branch, task, attribution, layer))
    floats = heat.floats_per_row + data.floats_per_row()
    size = None
    codes: list[Any] = []
    for rows in data.blocks(floats, most=1024):
        n_rows = rows.stop - rows.start
        size = size or n_rows
        others = [data.encode(other, rows) for other in data.cut.branches if other is not branch]
        # The last block is padded to the size of the others: another size would be compiled anew.
        images = _padded(data.of_branch(branch)[rows], size)
        maps, code = heat(images, [_padded(code, size) for code in others])
        if data.caches(branch):
            codes.append(code[:n_rows])
        yield np.asarray(ops.convert_to_numpy(maps))[:n_rows]
    if codes:  # most of the way to the branch's code has been gone: others need not go it again
        data.cache(branch, codes)


def _image_branch(data: Inputs) -> Branch:
    images = data.cut.of_kind("image")
    if len(images) != 1:
        raise PermGradError(f"Grad-CAM needs a model with one image branch, this one has {len(images)}")
    return images[0]


def _padded(rows: Any, size: int) -> Any:
    """Add rows of zeros up to `size`."""
    padding = [[0, size - len(rows)]] + [[0, 0]] * (len(rows.shape) - 1)
    if size == len(rows):
        return rows
    return np.pad(rows, padding) if isinstance(rows, np.ndarray) else ops.pad(rows, padding)
