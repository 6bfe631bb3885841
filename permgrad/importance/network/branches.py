"""Cut a model where its branches meet: encoders before, head after.

Branches are found in the model's graph, by no name and no type of layer. In a model of several
inputs, each input starts a branch. In a model of one input, branches start where the input's tensor
first goes to more than one operation (the hybrid: to the tabular branch and to the image).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing
from permgrad.metrics.outputs import node_of

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Branch:
    """One way through the model, up to where it meets the others.

    Attributes
    ----------
    name : str
        "tabular" or "image"; followed by the input's name where several are of one kind.
    kind : {"tabular", "image"}
        "image" if some tensor on the way is an image, (batch, height, width, channels).
    input_index : int
        Which of the model's inputs it starts from.
    code : KerasTensor
        Its last tensor before the fusion point.
    encoder : keras.Model
        From that input to `code`.
    """

    name: str
    kind: str
    input_index: int
    code: Any
    encoder: Any


@dataclass(frozen=True, eq=False)
class CutModel:
    """A model as branches and head: ``head([b.encoder(input of b) for b in branches])`` is its output.

    A model with a single branch has the identity as its head.

    Examples
    --------
    >>> cut = pg.cut_model(clf.network_)
    >>> [branch.kind for branch in cut.branches]
    ['tabular', 'image']
    """

    model: Any
    branches: tuple[Branch, ...]
    head: Any
    _compiled: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what `make` returned when it was first asked for under this key: compiled functions, mostly.

        They hold no weights of their own, so they stay correct when the model is trained further; `cut_model` handles
        the cases in which they would not.

        Examples
        --------
        >>> cut = pg.cut_model(clf.network_)
        >>> cut.once("an example", lambda: 3), cut.once("an example", lambda: 4)
        (3, 3)
        """
        if key not in self._compiled:
            self._compiled[key] = make()
        return self._compiled[key]

    def of_kind(self, kind: str) -> list[Branch]:
        """Return the branches of this kind.

        Examples
        --------
        >>> len(pg.cut_model(clf.network_).of_kind("image"))
        1
        """
        return [branch for branch in self.branches if branch.kind == kind]


def cut_model(model: Any) -> CutModel:
    """Find the branches of a Keras functional model with one output.

    The same model gives the same object again, with everything that explainers compiled for it.

    Raises
    ------
    PermGradError
        If the model is not functional, has several outputs, or its branches never meet.

    Examples
    --------
    >>> pg.cut_model(clf.network_) is pg.cut_model(clf.network_)
    True
    """
    cut, parts = getattr(model, "_permgrad_cut", (None, []))
    now = _parts_compiled_in(model)
    if cut is None or len(parts) != len(now) or any(old is not new for old, new in zip(parts, now, strict=True)):
        cut = _cut(model)
        # Past Keras, which would take the parts for layers of the model. Both go when the model goes.
        object.__setattr__(model, "_permgrad_cut", (cut, now))
    return cut


def _parts_compiled_in(model: Any) -> list[Any]:
    """Return what may be replaced in a model but is held by what was compiled for it."""
    if not hasattr(model, "_flatten_layers"):
        return []
    states = ("variance", "quantization_mode", "lora_enabled")  # of Normalization; of Dense
    flat = [getattr(layer, state, None) for layer in model._flatten_layers() for state in states]
    return [*(getattr(model, "outputs", None) or []), *model.variables, *flat]


def _cut(model: Any) -> CutModel:
    graph = Graph(model)
    roots = graph.roots()
    if len(roots) < 2:
        return _single(model, graph)
    reach = graph.reach(roots)
    if reach[id(model.outputs[0])] != frozenset(range(len(roots))):
        raise PermGradError(
            f"the model's {len(roots)} branches never meet: not all of its inputs reach the output"
            " through one merging layer; explain each part as a model of its own"
        )
    codes = [graph.fusion_inputs(reach, i, root) for i, root in enumerate(roots)]
    kinds = ["image" if graph.has_image(reach, i, root) else "tabular" for i, root in enumerate(roots)]
    crossing = [root.tensor.name for root, tensors in zip(roots, codes, strict=True) if len(tensors) != 1]
    if len(model.inputs) == 1 and (crossing or set(kinds) != {"tabular", "image"}):
        return _single(model, graph)  # skip connections inside a plain MLP or CNN
    if crossing:
        raise PermGradError(
            f"the branch from {crossing[0]!r} meets the others with more than one tensor;"
            " let it end in one (concatenate them) before it meets the others"
        )
    branches = []
    for kind, root, (code,) in zip(kinds, roots, codes, strict=True):
        name = kind if kinds.count(kind) == 1 else f"{kind}:{root.tensor.name}"
        index = graph.input_index(root.tensor)
        encoder = keras.Model(model.inputs[index], code, name=f"encode_{kind}_{index}")
        branches.append(Branch(name, kind, index, code, encoder))
    branches.sort(key=lambda branch: branch.kind, reverse=True)  # tabular before image, else as in the model
    head = keras.Model([branch.code for branch in branches], model.outputs[0], name="head")
    return CutModel(model, tuple(branches), head)


@dataclass(frozen=True, eq=False)
class _Root:
    """Where a branch starts: a tensor, and the one node that takes it (None: every node that does)."""

    tensor: Any
    node: Any = None


class Graph:
    """The nodes between a model's inputs and its output, in the order of computation."""

    def __init__(self, model: Any) -> None:
        if not getattr(model, "inputs", None) or not hasattr(model, "outputs"):
            raise PermGradError(
                f"expected a Keras functional model, got {type(model).__name__}; build it with keras.Model"
            )
        if len(model.outputs) != 1:
            raise PermGradError(
                f"expected a model with one output, got {len(model.outputs)} ({listing(model.output_names)}): its"
                " branches never meet in one prediction; name one, output=..., or explain each as a model of its own"
            )
        self.inputs = model.inputs
        self.nodes: list[Any] = []
        self._collect(node_of(model.outputs[0]), {id(tensor) for tensor in model.inputs}, set())

    def _collect(self, node: Any, known: set[int], seen: set[int]) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        for tensor in node.input_tensors:
            if id(tensor) not in known:
                self._collect(node_of(tensor), known, seen)
        self.nodes.append(node)

    def takers(self, tensor: Any) -> list[Any]:
        """Return the nodes that `tensor` goes into."""
        return [node for node in self.nodes if any(t is tensor for t in node.input_tensors)]

    def roots(self) -> list[_Root]:
        """Return where branches start: at each of several inputs, or where the one input's tensor forks."""
        if len(self.inputs) > 1:
            return [_Root(tensor) for tensor in self.inputs]
        tensor = self.inputs[0]
        takers = self.takers(tensor)
        while len(takers) == 1 and len(takers[0].outputs) == 1:
            tensor = takers[0].outputs[0]
            takers = self.takers(tensor)
        return [_Root(tensor, node) for node in takers]

    def reach(self, roots: list[_Root]) -> dict[int, frozenset[int]]:
        """Return for each tensor, by id, the numbers of the roots that it depends on."""
        reached: dict[int, frozenset[int]] = {
            id(r.tensor): frozenset([i]) for i, r in enumerate(roots) if r.node is None
        }
        for node in self.nodes:
            labels = frozenset().union(*(reached.get(id(t), frozenset()) for t in node.input_tensors))
            labels |= {i for i, root in enumerate(roots) if root.node is node}
            reached.update({id(tensor): labels for tensor in node.outputs})
        return reached

    def fusion_inputs(self, reach: dict[int, frozenset[int]], number: int, root: _Root) -> list[Any]:
        """Return the tensors that depend on this root alone and go into a node that depends on others too."""
        entering = {
            id(tensor): tensor
            for node in self.nodes
            if len(reach[id(node.outputs[0])]) > 1
            for tensor in node.input_tensors
            if reach.get(id(tensor)) == {number} or (root.node is node and tensor is root.tensor)
        }
        return list(entering.values())

    def has_image(self, reach: dict[int, frozenset[int]], number: int, root: _Root) -> bool:
        """Tell whether the branch from this root passes an image."""
        own = [t for node in self.nodes for t in node.outputs if reach[id(t)] == {number}]
        return any(len(tensor.shape) == 4 for tensor in [root.tensor, *own])

    def separates(self, tensor: Any) -> bool:
        """Tell whether every way from the inputs to the output passes through `tensor`."""
        beyond: set[int] = {id(tensor)}
        for node in self.nodes:
            if any(id(t) in beyond for t in node.input_tensors):
                if any(id(t) not in beyond for t in node.input_tensors):
                    return False
                beyond |= {id(t) for t in node.outputs}
        return True

    def input_index(self, tensor: Any) -> int:
        """Return which of the model's inputs `tensor` is; a fork's tensor stems from the only one, 0."""
        return next((i for i, t in enumerate(self.inputs) if t is tensor), 0)


def _single(model: Any, graph: Graph) -> CutModel:
    code = model.outputs[0]
    image = any(len(tensor.shape) == 4 for node in graph.nodes for tensor in (*node.input_tensors, *node.outputs))
    kind = "image" if image else "tabular"
    identity = keras.Input(code.shape[1:], dtype=code.dtype, name="code")
    head = keras.Model(identity, keras.layers.Identity(dtype=code.dtype)(identity), name="head")
    return CutModel(model, (Branch(kind, kind, 0, code, model),), head)


def largest_tensor(model: Any) -> int:
    """Count the floats of a model's largest layer output, for one row."""
    operations = model.layers if isinstance(model, keras.Sequential) else model.operations
    tensors = [t for operation in operations for node in operation._inbound_nodes for t in node.outputs]
    return max(math.prod(d or 1 for d in tensor.shape[1:]) for tensor in tensors)
