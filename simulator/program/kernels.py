"""Which ops of a network share a kernel of a GPU: what a software regime joins to the kernel before.

A joined op takes what that kernel has made or read already; what nobody else reads is never stored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from zerocast.accelerators.schema import Accelerator, Regime
from zerocast.simulator.cards import COLLECTIVES
from zerocast.simulator.unit_cost import TWO_PASSES, is_work
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Transfer, Vector, Workload


def launch_s(ops: Sequence[Op], fused: Collection[str], accelerator: Accelerator) -> list[float]:
    """Time that a GPU's host takes to launch each op, in s: operators of the forward pass are called from Python, what
    autograd or another operator asks for is not. Views and ops in the kernel of another (`fused`) cost nothing. What
    the host does before a run is with the first op."""
    assert accelerator.gpu is not None
    regime, pace = accelerator.gpu.software, accelerator.host.pace

    def seconds(op: Op) -> float:
        if op.name in fused or not is_work(op):
            return 0.0
        return regime.host_s if op.phase == "FF" and not op.of else regime.dispatch_s

    before = (regime.step_s, *(0.0 for _ in ops[1:]))
    return [pace * (step_s + seconds(op)) for op, step_s in zip(ops, before, strict=True)] if ops else []


def hidden_s(
    ops: Sequence[Op], fused: Collection[str], tensors: Mapping[str, Tensor], idle_s: Sequence[float],
    accelerator: Accelerator,
) -> list[float]:  # fmt: skip
    """Part of the time of each op, in s, that passes beside the kernels before it: products that are launched ahead
    fetch weights while kernels between two products leave the memory idle, for `idle_s` each."""
    hidden, spare_s = [0.0] * len(ops), 0.0
    most = accelerator.ahead_bytes
    if most is None:
        return hidden
    for place, op in enumerate(ops):
        if not isinstance(op, Einsum):
            spare_s += idle_s[place]
        elif op.name not in fused:
            weights = sum(tensors[name].bytes for name in op.inputs if tensors[name].weight)
            hidden[place] = min(spare_s, min(weights, most) / accelerator.dram_bytes_per_s)
            spare_s = 0.0
    return hidden


@dataclass(slots=True)
class _Kernel:
    """A kernel: the place of its first op in the program, what it is now, what it has made and read, and of a product's
    those that take its result."""

    head: int
    kind: str
    ops: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    takers: list[_Kernel] = field(default_factory=list)

    def take(self, op: Op) -> None:
        """Run one more op."""
        self.ops.add(op.name)
        self.made.update(op.outputs)
        if not isinstance(op, Einsum):  # whose tiles read their operands in another order than their results lie
            self.read.update(op.inputs)


def join_kernels(
    workload: Workload, regime: Regime, attention: Collection[str], on_chip: dict[str, set[str]],
    leaders: Mapping[str, str],
) -> frozenset[str]:  # fmt: skip
    """The ops that run in the kernel of an op before; `on_chip` learns what they need not fetch or store.

    attention: ops of kernels of attention, which take no others but casts of their results. leaders: for products that
    run as one, the first of them. An op joins the kernel that made the last of its inputs, or another that takes the
    same product's result, where the regime joins the two and everything else that the op needs was there before that
    kernel began. Views cost nothing and stand between no two ops.
    """
    joining = _Joining(workload, regime, attention, leaders)
    joined: set[str] = set()
    for op in workload.ops:
        if op.name not in attention and _kind(op) == "none":
            continue
        kernel = None if op.name in attention else joining.host(op)
        if kernel is None:
            kernel = joining.begin(op)
        else:
            joined.add(op.name)
            if not _rereads(op):
                known = kernel.made | kernel.read
                here = {name for name in op.inputs if name in known or joining.whole(name) in known}
                on_chip.setdefault(op.name, set()).update(here)
            if kernel.kind not in _FIXED:
                kernel.kind = _kind(op)
        kernel.take(op)
        joining.kernels[op.name] = kernel
    _keep(joining, on_chip)
    return frozenset(joined)


class _Joining:
    """What is known of a network's kernels while its ops are dealt to them, in order."""

    def __init__(
        self, workload: Workload, regime: Regime, attention: Collection[str], leaders: Mapping[str, str]
    ) -> None:
        self.workload, self.regime, self.attention, self.leaders = workload, regime, attention, leaders
        self.place = {op.name: number for number, op in enumerate(workload.ops)}
        self.producer = {name: op.name for op in workload.ops for name in op.outputs}
        self.kernels: dict[str, _Kernel] = {}
        self._whole: dict[str, str] = {}
        for op in workload.ops:
            if is_view(op):
                self._whole |= dict.fromkeys(op.outputs, self.whole(op.inputs[0]))
        self.in_parts = set(self._whole.values())

    def whole(self, name: str) -> str:
        """The tensor that a view shows a part of; others are their own."""
        return self._whole.get(name, name)

    def begin(self, op: Op) -> _Kernel:
        """A kernel for an op that joins none: a new one, or that of the products beside it."""
        if op.name in self.leaders:
            return self.kernels[self.leaders[op.name]]
        if op.name in self.attention:
            return _Kernel(self.place[op.name], "attention")
        kernel = _Kernel(self.place[op.name], _kind(op))
        products = [] if isinstance(op, Einsum) else [name for name in self._makers(op) if self._is_product(name)]
        if products:
            self.kernels[products[0]].takers.append(kernel)
        return kernel

    def host(self, op: Op) -> _Kernel | None:
        """The kernel that an op joins; None for an op that begins one."""
        if isinstance(op, Einsum) or _over_positions(op, self.workload):
            return None
        makers = self._makers(op)
        kernels = [self.kernels[maker] for maker in makers if maker in self.kernels]
        if makers and "siblings" in self.regime.joins and self._is_product(makers[0]) and _kind(op) in _ANY_ORDER:
            kernels += self.kernels[makers[0]].takers
        for kernel in kernels:
            ready = all(name in kernel.ops or self._start(name) < kernel.head for name in makers)
            if ready and self._joins(kernel, op):
                return kernel
        return None

    def _makers(self, op: Op) -> list[str]:
        """Ops that made what an op reads, the last one first."""
        wholes = {self.whole(name) for name in op.inputs}
        made = {self.producer[name] for name in wholes if name in self.producer}
        return sorted(made, key=self.place.__getitem__, reverse=True)

    def _is_product(self, name: str) -> bool:
        return name in self.kernels and self.kernels[name].kind == "product" and name in self.kernels[name].ops

    def _start(self, name: str) -> int:
        """From which place on in the program what an op makes is on its way."""
        return self.kernels[name].head if name in self.kernels else self.place[name]

    def _joins(self, kernel: _Kernel, op: Op) -> bool:
        """Whether the regime joins an op to a kernel."""
        kind, joins = _kind(op), self.regime.joins
        if kernel.kind == "attention":
            return "epilogue" in joins and isinstance(op, Vector) and op.function == "cast"
        if kernel.kind == "product":
            sizes = {self.workload.tensors[name].elements for name in kernel.made}
            same = self.workload.tensors[op.outputs[0]].elements in sizes
            # a tile is finished where it lies: what is read in parts, too, has to be stored first
            apart = {self.whole(name) for name in op.inputs} & kernel.made & self.in_parts
            return "epilogue" in joins and kind == "pointwise" and same and not apart
        return kind in joins


_FIXED = ("product", "attention")
_ANY_ORDER = ("pointwise", "movement")
"""Kinds of work on each element by itself, which a thread does for any elements."""


def is_view(op: Op) -> bool:
    """Whether an op only shows a part of a tensor."""
    return isinstance(op, Transfer) and op.elements == 0 and len(op.inputs) == 1


def _kind(op: Op) -> str:
    if isinstance(op, Einsum):
        return "product"
    if isinstance(op, Vector):
        return "pointwise" if op.elementwise else "normalisation"
    moves = isinstance(op, Transfer) and op.elements > 0 and op.function not in COLLECTIVES
    return "movement" if moves or (isinstance(op, Index) and op.in_place) else "none"


def _rereads(op: Op) -> bool:
    """Whether an op goes over its input twice, so that it must be stored even where it comes from the same kernel."""
    return isinstance(op, Vector) and op.function in TWO_PASSES


def _keep(joining: _Joining, on_chip: dict[str, set[str]]) -> None:
    """Leave unstored what nothing outside its kernel reads, neither whole nor in part."""
    workload, kernels = joining.workload, joining.kernels
    inside: Counter[str] = Counter()
    readers: Counter[str] = Counter()
    for op in workload.ops:
        if is_view(op):
            continue
        read = {joining.whole(name) for name in op.inputs}
        readers.update(read)
        if op.name in kernels and not _rereads(op):
            here = {joining.whole(name) for name in on_chip.get(op.name, set()) & set(op.inputs)}
            inside.update(read & kernels[op.name].made & here)
    wanted = {joining.whole(name) for name in workload.results}
    for op in workload.ops:
        if op.name not in kernels:
            continue
        for name in op.outputs:
            if readers[name] and inside[name] == readers[name] and name not in wanted:
                on_chip.setdefault(op.name, set()).add(name)
    _written_by_products(workload, kernels, on_chip)


def _written_by_products(workload: Workload, kernels: dict[str, _Kernel], on_chip: dict[str, set[str]]) -> None:
    """Let a product with an epilogue write what its kernel stores, in place of its own output: tiles are written while
    others are multiplied, which its price as a product knows."""
    pending: dict[int, tuple[str, str]] = {}
    for op in workload.ops:
        kernel = kernels.get(op.name)
        if kernel is None or kernel.kind != "product" or len(kernel.ops) == 1:
            continue
        kept = on_chip.setdefault(op.name, set())
        if isinstance(op, Einsum) and op.outputs[0] in kept:
            pending[kernel.head] = op.name, op.outputs[0]
        elif not isinstance(op, Einsum) and kernel.head in pending and not set(op.outputs) <= kept:
            product, output = pending.pop(kernel.head)
            on_chip[product].discard(output)
            kept.update(op.outputs)


def _over_positions(op: Op, workload: Workload) -> bool:
    """Whether an op gathers from the positions of an image (a pool, a mean): a kernel of its own, since its threads go
    over positions where elementwise work goes over channels."""
    shapes = [workload.tensors[name].shape for name in (op.inputs[0], op.outputs[0])]
    image = max(shapes, key=math.prod)
    return len(image) == 4 and math.prod(shapes[0]) != math.prod(shapes[1]) and _kind(op) == "normalisation"
