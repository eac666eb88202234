"""Off-chip memory that a workload needs: what persists, and the most that is alive at once."""

from __future__ import annotations

from dataclasses import replace

from zerocast.simulator.result import Footprint
from zerocast.workloads.formats import storage_bits
from zerocast.workloads.ir import Einsum, Tensor, Transfer, Workload
from zerocast.workloads.patterns import DENSE, Pattern

_PERSISTENT = ("weight", "optimizer_state", "constant", "input")


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor off chip; a tensor kept as N:M values and offsets takes only those."""
    groups = tensor.pattern.groups
    if groups is not None:
        stored = storage_bits("nm_offsets", groups, {groups.rank: tensor.elements}, tensor.bits)
        return int(-(-(stored.value_bits + stored.metadata_bits) // 8))
    return tensor.bytes


def footprint(workload: Workload, offsets: bool = False) -> Footprint:
    """Bytes of weights, gradients, optimizer state and activations saved for the backward passes, and the peak.

    offsets: the off-chip memory keeps N:M weights as values and offsets, so a weight that every reader sees under one
    N:M pattern takes no more.

    A tensor lives from the op that writes it to the last op that reads it; weights, optimizer state, constants
    and inputs live throughout. Ops run in the order of the list.
    """
    last: dict[str, int] = {}
    for number, op in enumerate(workload.ops):
        for name in (*op.inputs, *op.outputs):
            last[name] = number
    compressed = _compressed(workload) if offsets else {}
    sizes = {name: stored_bytes(workload.tensors[name]) for name in last} | _views(workload) | compressed
    lasting = sum(size for name, size in sizes.items() if workload.tensors[name].role in _PERSISTENT)
    alive, peak = lasting, lasting
    born: set[str] = set()
    dies: dict[int, list[str]] = {}
    for name, number in last.items():
        dies.setdefault(number, []).append(name)
    for number, op in enumerate(workload.ops):
        for name in op.outputs:
            if name not in born and workload.tensors[name].role not in _PERSISTENT:
                born.add(name)
                alive += sizes[name]
        peak = max(peak, alive)
        alive -= sum(sizes[name] for name in dies.get(number, ()) if name in born)
    return Footprint(
        weight_bytes=sum(compressed.get(t.name, t.bytes) for t in workload.tensors.values() if t.role == "weight"),
        gradient_bytes=sum(t.bytes for t in _weight_gradients(workload)),
        optimizer_bytes=_sum(workload, "optimizer_state"),
        saved_activation_bytes=sum(sizes[name] for name in _saved(workload)),
        peak_bytes=peak,
    )


def _compressed(workload: Workload) -> dict[str, int]:
    """Bytes of each weight that all its readers see under one and the same N:M pattern."""
    seen: dict[str, set[Pattern]] = {}
    for op in workload.ops:
        for position, name in enumerate(op.inputs):
            pattern = workload.pattern_of(op, position) if isinstance(op, Einsum) and position < 2 else DENSE
            seen.setdefault(name, set()).add(pattern)
    return {
        name: stored_bytes(replace(workload.tensors[name], pattern=pattern))
        for name, patterns in seen.items()
        for pattern in patterns
        if workload.tensors[name].role == "weight" and len(patterns) == 1 and pattern.groups is not None
    }


def _views(workload: Workload) -> dict[str, int]:
    """Tensors that are parts of others and take no memory of their own."""
    return {name: 0 for op in workload.ops if isinstance(op, Transfer) and op.elements == 0 for name in op.outputs}


def _sum(workload: Workload, role: str) -> int:
    return sum(tensor.bytes for tensor in workload.tensors.values() if tensor.role == role)


def _weight_gradients(workload: Workload) -> list[Tensor]:
    names = {name for op in workload.ops if op.phase == "UPDATE" for name in op.inputs}
    return [workload.tensors[name] for name in names if workload.tensors[name].role == "gradient"]


def _saved(workload: Workload) -> set[str]:
    """Activations written in the forward pass and read in a later one."""
    written = {name for op in workload.ops if op.phase == "FF" for name in op.outputs}
    read = {name for op in workload.ops if op.phase != "FF" for name in op.inputs}
    return {name for name in written & read if workload.tensors[name].role == "activation"}
