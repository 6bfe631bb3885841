"""An image branch that computes what one changed pixel, or a few, can change, and nothing else.

The maps of all rows are kept. A changed pixel reaches a window of the first convolution's output, a larger one of the
second's, and so on; of each map only that window is computed anew, from the kept cells and the change. What comes out
is what the whole branch would return, to rounding.

References
----------
Nakandala, Nagrecha, Kumar & Papakonstantinou, Incremental and approximate computations for accelerating deep CNN
inference (Krypton), ACM TODS 45 (2020): the same for images of which a patch is covered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from permgrad.backend import compiled, keras
from permgrad.importance.network.branches import Branch, CutModel, Graph
from permgrad.importance.network.fusion_point import FusionPoint
from permgrad.importance.network.windows.deltas import Delta, Kept, Where
from permgrad.importance.network.windows.drawing import Drawing, find_drawing
from permgrad.importance.network.windows.ends import End, Sums, read_end, work_of
from permgrad.importance.network.windows.live import live_steps, whole_map
from permgrad.importance.network.windows.reading import Reading, read_stages
from permgrad.importance.network.windows.spans import Area, Span
from permgrad.importance.network.windows.stages import Bend, Step

ops = keras.ops


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps for changes of one size.

    Attributes
    ----------
    steps : list of Step
    area : Area
        The changed pixels.
    products, work, widest : int
        Of all steps, for a pair: multiplications; those and the floats that are written down; floats of the largest
        tensor.
    """

    steps: list[Step]
    area: Area
    products: int
    work: int
    widest: int


class WindowedBranch:
    """A branch as windows see it, from its image on.

    Parameters
    ----------
    model : keras.Model
        What it is a branch of.
    branch : Branch
    drawing : Drawing
        Where its image comes from.
    reading : Reading
    end : End

    Attributes
    ----------
    floats_per_row : int
        How many floats are kept of a row.
    whole_work : int
        What `Plan.work` is where the whole branch is computed.
    """

    def __init__(self, model: Any, branch: Branch, drawing: Drawing, reading: Reading, end: End) -> None:
        self.model, self.drawing, self.stages, self.end = model, drawing, reading.stages, end
        self._plans: dict[int, Plan] = {}
        self._compiled_weights: dict[int, Any] = {}
        kept = {i for stage in self.stages if isinstance(stage, Bend) for i in (*stage.inputs, stage.number)}
        self.kept = sorted(kept | ({len(self.stages)} if end.needs_map else set()))
        shapes = self.shapes = [drawing.shape, *((*step.area.shape, step.channels) for step in self.plan(1).steps)]
        pixels = drawing.written
        self.live_steps = {} if pixels is None else live_steps(self.stages, pixels)
        self.live = {0: pixels} if self.live_steps and pixels is not None else {}
        self.live |= {number: step.at for number, step in self.live_steps.items()}
        sizes = [len(self.live[i]) * shape[2] if i in self.live else math.prod(shape) for i, shape in enumerate(shapes)]
        self.floats_per_row = sum(sizes[i] for i in self.kept) + end.floats_per_row
        self.widest_of_start = max(sizes)
        self.whole_work = work_of(branch.encoder)
        self._start = compiled(self._started, model)
        self._empty = compiled(self.of_empty, model)

    def start(self, blocks: Iterable[Any]) -> list[Any]:
        """Compute what is kept of rows, given block after block: the cells of maps, see `Kept`, and the end's."""
        empty = self._empty() if self.live else []
        parts = [self._start(rows, empty) for rows in blocks]
        of_empty = dict(zip(self.live, empty, strict=False))
        joined = []
        for i, tensors in zip([*self.kept, -1], zip(*parts, strict=True), strict=True):
            if i in self.live:
                cells = ops.concatenate(tensors, axis=1)  # (n_live, n_rows, channels)
                tensors = (of_empty[i], ops.reshape(cells, (-1, cells.shape[-1])))
            joined.append(ops.concatenate(tensors) if len(tensors) > 1 else tensors[0])
        return joined

    @property
    def products_of_start(self) -> int:
        """Count the multiplications of live cells for a row."""
        last = len(self.live.get(len(self.stages), ())) * self.shapes[-1][2] * getattr(self.end, "units", 0)
        return sum(getattr(step, "products", 0) for step in self.live_steps.values()) + last

    def plan(self, size: int) -> Plan:
        """Plan for changes within a square of `size` pixels."""
        if size not in self._plans:
            self._plans[size] = self._planned(size)
        return self._plans[size]

    def weights(self, size: int) -> list[list[Any]]:
        """Compute what the steps for this size need of the weights: once for many calls."""
        if size not in self._compiled_weights:
            steps = self.plan(size).steps
            self._compiled_weights[size] = compiled(
                lambda: [*(step.weights() for step in steps), self.end.weights()], self.model
            )
        return self._compiled_weights[size]()

    def finish(self, size: int, change: Any, where: Where, kept: list[Any], weights: list[Any]) -> Any:
        """Return each pair's code, or contribution.

        Parameters
        ----------
        size : int
        change : tensor of shape (n_pairs, size * size, channels)
            Of the pixels of the square, row after row.
        where : Where
        kept : list
            From `start`.
        weights : list
            From `weights`.
        """
        plan = self.plan(size)
        maps = {i: Kept(cells, self.live.get(i)) for i, cells in zip(self.kept, kept, strict=False)}
        deltas = [Delta(change, plan.area)]
        for stage, step, of_step in zip(self.stages, plan.steps, weights, strict=False):
            deltas.append(step.run([deltas[i] for i in stage.inputs], where, maps, of_step))
        return self.end.run(deltas[-1], where, kept[-1], maps.get(len(self.stages)), weights[-1])

    def _planned(self, size: int) -> Plan:
        height, width, channels = self.drawing.shape
        pixels = Area(Span.of_box(height, size), Span.of_box(width, size), (height, width))
        areas, n_channels, steps = [pixels], [channels], []
        for stage in self.stages:
            step = stage.step([areas[i] for i in stage.inputs], [n_channels[i] for i in stage.inputs])
            steps.append(step)
            areas.append(step.area)
            n_channels.append(step.channels)
        of_end = self.end.work(areas[-1])
        products = sum(step.products for step in steps) + of_end
        work = sum(step.work for step in steps) + of_end
        widest = max(size * size * channels, self.end.widest, *(step.widest for step in steps))
        return Plan(steps, pixels, products, work, widest)

    def _started(self, rows: Any, empty: list[Any]) -> list[Any]:
        """Return what is kept of a block of rows; live cells as (n_live, n_rows, channels)."""
        of_empty = dict(zip(self.live, empty, strict=False))
        values = [self.drawing.draw_written(rows) if self.live else self.drawing.draw(rows)]
        for number, stage in enumerate(self.stages, 1):
            if number in self.live_steps:
                maps = of_empty[stage.inputs[0]], of_empty[number]
                values.append(self.live_steps[number].run(values[stage.inputs[0]], *maps))
            else:
                values.append(stage.whole(*(self._whole(i, values[i], of_empty) for i in stage.inputs)))
        kept = [values[i] if i in self.live else ops.reshape(values[i], (-1, values[i].shape[-1])) for i in self.kept]
        last = len(self.stages)
        if last in self.live and isinstance(self.end, Sums):
            return [*kept, self.end.start_live(values[last], of_empty[last], empty[-1], self.live[last])]
        return [*kept, self.end.start(self._whole(last, values[last], of_empty))]

    def _whole(self, number: int, value: Any, of_empty: dict[int, Any]) -> Any:
        """Return the whole map of a value."""
        if number not in self.live:
            return value
        return whole_map(value, of_empty[number], self.live[number], self.shapes[number][:2])

    def of_empty(self) -> list[Any]:
        """Return the maps of an image on which nothing is drawn, (height * width, channels), and the end's of it."""
        values = [ops.zeros((1, *self.drawing.shape))]
        for stage in self.stages:
            values.append(stage.whole(*(values[i] for i in stage.inputs)))
        maps = [ops.reshape(values[i], (-1, values[i].shape[-1])) for i in self.live]
        return [*maps, self.end.start(values[-1])]


def windowed_branch(cut: CutModel, branch: Branch, point: FusionPoint, *, fuse: bool) -> WindowedBranch | None:
    """Read a branch; None if it has no image that is drawn pixel by pixel, or no layer that windows go through."""
    graph = Graph(branch.encoder)
    drawing = find_drawing(graph, branch.encoder)
    reading = None if drawing is None else read_stages(graph, drawing.image)
    if drawing is None or reading is None:
        return None
    for stage in reading.stages:
        if isinstance(stage, Bend):
            stage.fuse = fuse
    position = cut.branches.index(branch)
    end = read_end(graph, reading.tensor, branch.encoder.outputs[0], point, position)
    return WindowedBranch(cut.model, branch, drawing, reading, end)
