"""Which ops of a network share a kernel of a GPU: what a software regime joins to the kernel before.

A joined op takes what that kernel has made or read already; what nobody else reads is never stored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from zerocast.accelerators.schema import Accelerator, Regime
from zerocast.simulator.unit_cost import TWO_PASSES, is_work
from zerocast.workloads.ir import Einsum, Op, Vector, Workload


def launch_s(ops: Sequence[Op], fused: Collection[str], accelerator: Accelerator) -> list[float]:
    """Time that a GPU's host takes to launch each op, in s: operators of the forward pass are called from Python, what
    autograd or another operator asks for is not. Views and ops in the kernel of another (`fused`) cost nothing."""
    assert accelerator.gpu is not None
    regime, pace = accelerator.gpu.software, accelerator.host.pace

    def seconds(op: Op) -> float:
        if op.name in fused or not is_work(op):
            return 0.0
        return regime.host_s if op.phase == "FF" and not op.of else regime.dispatch_s

    return [pace * seconds(op) for op in ops]


@dataclass(slots=True)
class _Kernel:
    """A kernel: the place of its first op in the program, what it is now, and what it has made and read."""

    head: int
    kind: str
    ops: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def take(self, op: Op) -> None:
        """Run one more op."""
        self.ops.add(op.name)
        self.made.update(op.outputs)
        if not isinstance(op, Einsum):  # whose tiles read their operands in another order than their results lie
            self.read.update(op.inputs)


def join_kernels(
    workload: Workload, regime: Regime, alone: Collection[str], on_chip: dict[str, set[str]]
) -> frozenset[str]:
    """The ops that run in the kernel of an op before; `on_chip` learns what they need not fetch or store.

    alone: ops whose kernels take no others. An op joins the kernel that made the last of its inputs, where the regime
    joins the two kinds and everything else that the op needs was there before that kernel began.
    """
    place = {op.name: number for number, op in enumerate(workload.ops)}
    producer = {name: op for op in workload.ops for name in op.outputs}
    readers = Counter(name for op in workload.ops for name in set(op.inputs))
    kernels: dict[str, _Kernel] = {}
    joined: set[str] = set()
    for op in workload.ops:
        if op.name in alone or not isinstance(op, (Einsum, Vector)):
            continue
        kernel = _host(op, workload, regime, kernels, place, producer)
        if kernel is None:
            kernel = _Kernel(place[op.name], _kind(op))
        else:
            joined.add(op.name)
            if not _rereads(op):
                on_chip.setdefault(op.name, set()).update(set(op.inputs) & (kernel.made | kernel.read))
            kernel.kind = "product" if kernel.kind == "product" else _kind(op)
        kernel.take(op)
        kernels[op.name] = kernel
    _keep(workload, kernels, readers, on_chip)
    return frozenset(joined)


def _kind(op: Op) -> str:
    if isinstance(op, Einsum):
        return "product"
    return "pointwise" if isinstance(op, Vector) and op.elementwise else "normalisation"


def _rereads(op: Op) -> bool:
    """Whether an op goes over its input twice, so that it must be stored even where it comes from the same kernel."""
    return isinstance(op, Vector) and op.function in TWO_PASSES


def _host(
    op: Op, workload: Workload, regime: Regime, kernels: dict[str, _Kernel], place: dict[str, int],
    producer: dict[str, Op],
) -> _Kernel | None:  # fmt: skip
    """The kernel that an op joins; None for an op that begins one."""
    if isinstance(op, Einsum) or _over_positions(op, workload):
        return None
    makers = {producer[name].name for name in op.inputs if name in producer}
    for maker in sorted(makers, key=place.__getitem__, reverse=True):
        kernel = kernels.get(maker)
        if kernel is None or not _joins(kernel, op, regime, workload, maker):
            continue
        if all(other in kernel.ops or place[other] < kernel.head for other in makers):
            return kernel
    return None


def _joins(kernel: _Kernel, op: Op, regime: Regime, workload: Workload, maker: str) -> bool:
    """Whether a regime joins an op to a kernel whose op `maker` made one of its inputs."""
    if kernel.kind == "product":
        sizes = {workload.tensors[name].elements for name in kernel.made}
        same = workload.tensors[op.outputs[0]].elements in sizes
        return "epilogue" in regime.joins and _kind(op) == "pointwise" and same
    if _kind(op) == "pointwise":
        return "pointwise" in regime.joins
    return "normalisation" in regime.joins


def _keep(workload: Workload, kernels: dict[str, _Kernel], readers: Counter[str], on_chip: dict[str, set[str]]) -> None:
    """Leave unstored what nothing outside its kernel reads."""
    inside: Counter[str] = Counter()
    for op in workload.ops:
        if op.name in kernels:
            kept = set(op.inputs) & kernels[op.name].made if not _rereads(op) else set()
            inside.update(name for name in kept if name in on_chip.get(op.name, ()))
    for op in workload.ops:
        if op.name not in kernels:
            continue
        for name in op.outputs:
            if readers[name] and inside[name] == readers[name] and name not in workload.results:
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
