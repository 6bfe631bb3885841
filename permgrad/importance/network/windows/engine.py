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
from dataclasses import dataclass
from typing import Any

from permgrad.backend import compiled, keras
from permgrad.importance.network.branches import Branch, CutModel, Graph
from permgrad.importance.network.fusion_point import FusionPoint
from permgrad.importance.network.windows.deltas import Delta, Where
from permgrad.importance.network.windows.drawing import Drawing, find_drawing
from permgrad.importance.network.windows.ends import End, read_end, work_of
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
        shapes = [drawing.shape, *((*step.area.shape, step.channels) for step in self.plan(1).steps)]
        self.floats_per_row = sum(math.prod(shapes[i]) for i in self.kept) + end.floats_per_row
        self.whole_work = work_of(branch.encoder)
        self._start = compiled(self._started, model)

    def start(self, rows: Any) -> list[Any]:
        """Compute what is kept of a block of rows: maps as (n_rows * height * width, channels), and the end's."""
        return self._start(rows)

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
        plan, maps = self.plan(size), dict(zip(self.kept, kept, strict=False))
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

    def _started(self, rows: Any) -> list[Any]:
        values = [self.drawing.draw(rows)]
        for stage in self.stages:
            values.append(stage.whole(*(values[i] for i in stage.inputs)))
        maps = [ops.reshape(values[i], (-1, values[i].shape[-1])) for i in self.kept]
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
