"""The dataflow IR: ops on tensors, nothing of PyTorch and nothing of any hardware.

Four op kinds, each the field's primitive: `Einsum`, `Vector`, `Index`, `Transfer`.
A `Workload` lists its ops in an order in which they may run; edges follow from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import DENSE, Pattern

if TYPE_CHECKING:
    import networkx

Role = Literal["input", "weight", "activation", "gradient", "optimizer_state", "index", "constant"]
Phase = Literal["FF", "BP", "WU", "UPDATE"]
"""FF forward, BP input gradients (and the backward of vector ops), WU weight gradients, UPDATE optimizer."""

BITS = {
    "fp64": 64, "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "fp4": 4,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int7": 7, "int6": 6, "int5": 5, "int4": 4, "int3": 3, "int2": 2,
    "nf4": 4, "uint8": 8, "bool": 1,
    "complex128": 128, "complex64": 64, "complex32": 32,
}  # fmt: skip

COMPLEX = frozenset(("complex128", "complex64", "complex32"))
"""Types of pairs of floating numbers."""

Affine = tuple[tuple[str, int], ...]
"""Index expression of one tensor dimension: sum of coefficient * rank, e.g. (("p", 2), ("r", 1)) is 2p + r.
Constant offsets (padding) do not change any cost and are left out."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: shape in elements, data type, role, and the sparsity pattern that holds everywhere it is used.

    A pass may see the same tensor under another pattern; that is said by the op (`Einsum.patterns`).
    made_of: the weight whose numbers, reordered, masked or rescaled, a tensor holds that is computed from weights and
    constants alone; "" for all others.
    scale_bits: of scales and zero points that lie beside each element, where it is stored narrower.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role
    pattern: Pattern = DENSE
    made_of: str = ""
    scale_bits: float = 0.0

    @property
    def weight(self) -> str:
        """The weight that the tensor is, or is made of; "" where it is none."""
        return self.name if self.role == "weight" and not self.made_of else self.made_of

    @property
    def bits(self) -> int:
        """Width of one element in bits."""
        return BITS[self.dtype]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Uncompressed size in bytes."""
        return -(-self.elements * self.bits // 8)


@dataclass(frozen=True, slots=True)
class Op:
    """What all ops have in common. `layer` is the module path of the layer the op belongs to.

    `of`: name of the op that this one is there for: the forward op whose gradient it computes, the op that a kernel
    converts an operand or a result of; "" for ops of the network itself.
    share: of all steps, those in which the op runs; a run prices the mean step, so that it costs as much less.
    """

    name: str
    layer: str
    phase: Phase
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    of: str = field(default="", kw_only=True)
    share: float = field(default=1.0, kw_only=True)

    @property
    def kind(self) -> str:
        """Class name in lower case: einsum, vector, index, transfer."""
        return type(self).__name__.lower()


@dataclass(frozen=True, slots=True)
class Window:
    """A dimension of an operand over which a kernel slides: its index is position * stride + tap * dilation.

    axis: the dimension. position: the rank that the output keeps and the other operand lacks. tap: the one that is
    summed with the other operand. name: of the dimension itself, which no rank runs along; no rank has such a name.
    """

    axis: int
    position: str
    tap: str
    stride: int
    dilation: int
    name: str


@dataclass(frozen=True, slots=True)
class Einsum(Op):
    """A contraction of two tensors over named ranks: out[...] = sum a[...] * b[...].

    `sizes` gives each rank's extent, `index` the index expressions of (a, b, out), one `Affine` per dimension.
    The MAC count is the product of all sizes (boundary padding counts, as every FLOP counter does).
    `patterns` overrides, per operand position (0 for a, 1 for b), the tensor's own pattern in this pass; that of
    position 2 is the mask of the outputs that are asked for (a sampled product, SDDMM): all others may be left out.
    Pattern ranks are the einsum's rank names.
    `causal`: a product of attention under a causal mask: query i meets keys 0 to i alone. All sizes are whole, as FLOP
    counters have them; a kernel may leave the masked part out.
    `steps`: the rank along which one place of the output is needed for the next (the steps of a recurrence), so that
    there is a product for each, one after another; "" where all may run at once.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    index: tuple[tuple[Affine, ...], ...] = ()
    patterns: Mapping[int, Pattern] = field(default_factory=dict)
    source: str = ""
    causal: bool = False
    steps: str = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates, zeros included."""
        return math.prod(self.sizes.values())

    def ranks_of(self, operand: int) -> frozenset[str]:
        """Ranks that index operand 0 (a), 1 (b) or 2 (out)."""
        return frozenset(rank for affine in self.index[operand] for rank, _ in affine)

    def windows(self, operand: int) -> tuple[Window, ...]:
        """The dimensions of operand 0 or 1 that a kernel slides over, outermost first.

        What makes a window is what its two ranks do, whatever they are called: one goes on to the output and is not in
        the other operand, the other one is summed with it.
        """
        mine, others, out = self.ranks_of(operand), self.ranks_of(1 - operand), self.ranks_of(2)
        found = []
        for axis, affine in enumerate(self.index[operand]):
            places = [term for term in affine if term[0] in out - others]
            taps = [term for term in affine if term[0] in (mine & others) - out]
            if len(affine) == 2 and places and taps:
                name = "+".join(rank for rank, _ in affine)
                found.append(Window(axis, places[0][0], taps[0][0], places[0][1], taps[0][1], name))
        return tuple(found)


def overlaps(affine: Affine, sizes: Mapping[str, int]) -> bool:
    """Whether several points of the ranks meet at one place of a dimension, as neighbouring windows do; False where
    the index only splits the dimension, such as group * channels + channel."""
    reach = 0
    for rank, by in sorted(affine, key=lambda term: term[1]):
        if sizes[rank] > 1:
            if by <= reach:
                return True
            reach += by * (sizes[rank] - 1)
    return False


@dataclass(frozen=True, slots=True)
class Vector(Op):
    """Elementwise work, reductions, normalisation, softmax, pooling, the optimizer update.

    `elements` is the size of the iteration space, `flops_per_element` the arithmetic on each.
    Bytes follow from the tensors it reads and writes.
    `elementwise` is True where an output element depends on the elements at the same position alone, so that
    a unit can apply it while the data stream past (ReLU, add, scale; not softmax, not batch statistics).
    `known` is False for an operator of the framework that has no rule here: it is priced by its bytes alone.
    `causal`: a softmax over scores (queries, keys) of which query i sees 0 to i.
    `scratch`: intermediate tensors, of `elements` in the type of the last output, that a kernel which does several such
    ops at once (a multi-tensor update) keeps of all of them.
    """

    function: str = ""
    elements: int = 0
    flops_per_element: float = 1.0
    elementwise: bool = False
    known: bool = True
    causal: bool = False
    scratch: int = 0

    @property
    def flops(self) -> float:
        """Arithmetic operations in total."""
        return self.elements * self.flops_per_element


@dataclass(frozen=True, slots=True)
class Index(Op):
    """Selection and movement that depend on data: top-k, N:M mask generation, gather, scatter-add.

    `group` is the number of elements that are selected among together (M of an N:M pattern), 1 where none are.
    `in_place`: `elements` of the first input are overwritten where they lie; the output is that tensor.
    """

    function: str = ""
    elements: int = 0
    group: int = 1
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Transfer(Op):
    """A movement that is not free: a layout change, a host/device copy, an off-chip spill of `elements`.

    With 0 elements it is a view: its outputs are parts of its inputs, nothing moves and no byte is charged.
    `in_place`: the output is the first input, grown by or partly overwritten with the other inputs' `elements`.
    """

    function: str = ""
    elements: int = 0
    in_place: bool = False


@dataclass(frozen=True)
class Workload:
    """A network lowered to ops on tensors, in an order in which the ops may run.

    `layers` tells for each layer with weights why it was left dense, or "" where it was pruned.
    `meta` holds plain facts (batch, training, recipe, optimizer, parameters, outputs, ...).
    `found` tells for each weight that holds zeros of its own what they keep to, `folded` for each weight that the
    network computes from parameters alone the operators that inference does once and for all.
    """

    name: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    ops: tuple[Op, ...] = field(repr=False)
    layers: Mapping[str, str] = field(default_factory=dict, repr=False)
    meta: Mapping[str, Any] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict, repr=False)
    folded: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        produced: set[str] = set()
        written = {name for op in self.ops for name in op.outputs}
        names: set[str] = set()
        for op in self.ops:
            if op.name in names:
                raise WorkloadError(f"workload {self.name!r}: two ops are named {op.name!r}; rename one")
            names.add(op.name)
            for name in (*op.inputs, *op.outputs):
                if name not in self.tensors:
                    raise WorkloadError(f"workload {self.name!r}: op {op.name!r} uses unknown tensor {name!r}")
            for name in op.inputs:
                if name in written and name not in produced and self.tensors[name].role not in _PERSISTENT:
                    raise WorkloadError(
                        f"workload {self.name!r}: op {op.name!r} reads {name!r} before it is written; reorder the ops"
                    )
            produced.update(op.outputs)

    @property
    def einsums(self) -> Iterator[Einsum]:
        """The contractions, in order."""
        return (op for op in self.ops if isinstance(op, Einsum))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all einsums in the mean step, zeros included."""
        return round(sum(op.macs * op.share for op in self.einsums))

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The network's own weights: what is made of one that is there itself, too, is no further one."""
        return tuple(t for t in self.tensors.values() if t.role == "weight" and t.made_of not in self.tensors)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.elements for weight in self.weights)

    @property
    def scale_bytes(self) -> float:
        """Size of the scales and zero points of weights that are stored narrower than they are multiplied."""
        return sum(t.elements * t.scale_bits / 8 for t in self.tensors.values() if t.role == "weight")

    @property
    def inner_weights(self) -> frozenset[str]:
        """Weights of products, but for those that a lookup reads too (tied embeddings) and those of the layer whose
        result the network returns (its head)."""
        looked_up = {name for op in self.ops if isinstance(op, Index) for name in op.inputs}
        returned = {op.inputs[1] for op in self.einsums if set(op.outputs) & set(self.outputs)}
        read = {op.inputs[1] for op in self.einsums if self.tensors[op.inputs[1]].role == "weight"}
        return frozenset(read - looked_up - returned)

    @property
    def unknown(self) -> tuple[Vector, ...]:
        """Ops of the framework that have no cost rule."""
        return tuple(op for op in self.ops if isinstance(op, Vector) and not op.known)

    @property
    def results(self) -> frozenset[str]:
        """Tensors that the network hands back; a training step keeps none of them."""
        if self.meta.get("training"):
            return frozenset()
        return frozenset(self.outputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that the model's forward returns."""
        return tuple(self.meta.get("outputs", ()))

    def pattern_of(self, op: Einsum, operand: int) -> Pattern:
        """The pattern under which `op` sees its operand 0 or 1; for 2, the mask of the outputs that are asked for."""
        own = self.tensors[op.inputs[operand]].pattern if operand < 2 else DENSE
        return op.patterns.get(operand, own)

    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """For each op, the ops it must wait for: writers of what it reads, and readers and the writer of
        a persistent tensor that it overwrites (a weight may be updated only once its readers are done)."""
        writer: dict[str, str] = {}
        readers: dict[str, list[str]] = {}
        waits: dict[str, tuple[str, ...]] = {}
        for op in self.ops:
            before: dict[str, None] = {}
            for name in op.inputs:
                if name in writer:
                    before[writer[name]] = None
                readers.setdefault(name, []).append(op.name)
            for name in op.outputs:
                for reader in readers.get(name, ()):
                    before[reader] = None
                if name in writer:
                    before[writer[name]] = None
            before.pop(op.name, None)
            for name in op.outputs:
                writer[name] = op.name
            waits[op.name] = tuple(before)
        return waits

    def graph(self) -> networkx.DiGraph:
        """The op graph: a node per op name with attribute `op`, an edge per dependency."""
        import networkx

        graph = networkx.DiGraph()
        for op in self.ops:
            graph.add_node(op.name, op=op)
        for name, waits in self.dependencies().items():
            graph.add_edges_from((wait, name) for wait in waits)
        return graph

    def with_ops(self, ops: tuple[Op, ...], **tensors: Tensor) -> Workload:
        """The same workload with other ops and with tensors added or replaced."""
        return replace(self, ops=ops, tensors={**self.tensors, **tensors})


_PERSISTENT = ("weight", "optimizer_state", "constant")
"""Tensors that exist before the first op, so that they may be read before they are written."""
