"""Put what a trace measured onto the activations of a workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Einsum, Op, Tensor, Workload
from zerocast.workloads.patterns import DENSE, Mask, Pattern, PerChannel, Uniform
from zerocast.workloads.tracing.axes import mask_ranks
from zerocast.workloads.tracing.contents import TensorTrace, Trace


def apply_trace(workload: Workload, trace: Trace, masks: bool = True) -> Workload:
    """The workload with measured zeros on its activations; weights keep the patterns they have.

    masks: put real masks where the trace has them, else densities: per channel where the reduction is over one
    rank, uniform elsewhere. Mask ranks are named as `workloads.tracing.axes.mask_ranks` says. A tensor gets the
    pattern in the ranks of its first reader; a reader with other ranks gets its own by `Einsum.patterns`.
    The workload's batch may differ from the trace's: the sampled runs fill it in order, over and over.
    A training workload sees the activations of the forward pass, which is traced in evaluation mode, in all its
    passes; tensors that only training has (after dropout) keep the pattern they have.
    Raises `WorkloadError` for a trace of another model.
    """
    readers = _readers(workload)
    _check_model(workload, trace, readers)
    patterns: dict[str, Pattern] = {}
    overrides: dict[str, dict[int, Pattern]] = {}
    for name in _shared(readers, trace):
        measured, shape = trace.tensors[name], workload.tensors[name].shape
        bits = _bits(measured, shape) if masks and trace.sampled else None
        made: dict[Any, Pattern] = {}
        for op, operand in readers[name]:
            found = mask_ranks(op, operand, shape)
            if found not in made:
                made[found] = _pattern(measured, bits, found, op, operand)
            first = patterns.setdefault(name, made[found])
            if made[found] is not first:
                overrides.setdefault(op.name, {})[operand] = made[found]
    tensors = {name: replace(workload.tensors[name], pattern=pattern) for name, pattern in patterns.items()}
    ops = tuple(_overridden(op, overrides.get(op.name)) for op in workload.ops)
    meta = {**workload.meta, "trace": "masks" if masks and trace.sampled else "densities"}
    return replace(workload.with_ops(ops, **tensors), meta=meta)


def _overridden(op: Op, patterns: dict[int, Pattern] | None) -> Op:
    return replace(op, patterns={**op.patterns, **patterns}) if patterns and isinstance(op, Einsum) else op


def is_traced(tensor: Tensor) -> bool:
    """Whether a trace records the tensor where an einsum reads it: data of the network, no weight, no constant."""
    return tensor.role in ("activation", "input") and not tensor.made_of


def _readers(workload: Workload) -> dict[str, list[tuple[Einsum, int]]]:
    """Each traced tensor of the forward pass with the einsums of every pass that read it, and as which operand."""
    uses: dict[str, list[tuple[Einsum, int]]] = {}
    for op in workload.einsums:
        for operand, name in enumerate(op.inputs[:2]):
            if is_traced(workload.tensors[name]) and (op.phase == "FF" or name in uses):
                uses.setdefault(name, []).append((op, operand))
    return uses


def _check_model(workload: Workload, trace: Trace, readers: Mapping[str, Any]) -> None:
    """The fingerprint: the model's name, and the names and shapes of all traced tensors, whatever the batch."""
    remedy = f"make a trace of it with `zerocast trace {workload.name}`"
    if trace.model != workload.name:
        raise WorkloadError(f"the trace is of model {trace.model!r}, the workload is {workload.name!r}; {remedy}")
    other = f"trace of another model {trace.model!r}"
    alone = sorted(readers.keys() ^ trace.tensors.keys())
    if alone and not (workload.meta.get("training") and _shared(readers, trace)):
        place = "the workload" if alone[0] in trace.tensors else "the trace"
        raise WorkloadError(f"{other}: {place} has no activation {alone[0]!r}; {remedy}")
    batch = int(workload.meta.get("batch", trace.batch))
    for name in _shared(readers, trace):
        measured, wanted = trace.tensors[name].shape, workload.tensors[name].shape
        if not _same_but_batch(measured, wanted, trace.batch, batch):
            raise WorkloadError(
                f"{other}: {name!r} has shape {measured} (batch {trace.batch}), in the workload {wanted} (batch "
                f"{batch}); {remedy}"
            )


def _shared(readers: Mapping[str, Any], trace: Trace) -> list[str]:
    return [name for name in readers if name in trace.tensors]


def _same_but_batch(measured: tuple[int, ...], wanted: tuple[int, ...], old: int, new: int) -> bool:
    if measured[1:] != wanted[1:] or len(measured) != len(wanted):
        return False
    return not measured or measured[0] == wanted[0] or measured[0] * new == wanted[0] * old


def _bits(measured: TensorTrace, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks of the sampled runs one after the other along the batch, as often as it takes to fill `shape`."""
    if not shape or measured.masks is None:
        return measured.bits(0)
    needed = min(-(-shape[0] // measured.shape[0]), len(measured.masks))
    stack = np.concatenate([measured.bits(sample) for sample in range(needed)])
    return stack[np.arange(shape[0]) % len(stack)]


def _pattern(
    measured: TensorTrace,
    bits: NDArray[np.bool_] | None,
    ranks: tuple[tuple[str, ...], tuple[int, ...]] | None,
    op: Einsum,
    operand: int,
) -> Pattern:
    if measured.nonzeros == measured.elements:
        return DENSE
    if ranks is not None and bits is not None:
        names, sizes = ranks
        return Mask.of(bits.reshape(sizes), names)
    channels = measured.channels
    if channels is None or measured.channel_axis is None or ranks is None:
        return Uniform(measured.density)
    along = [rank for rank, _ in op.index[operand][measured.channel_axis] if op.sizes[rank] > 1]
    if len(along) != 1 or op.sizes[along[0]] != len(channels):
        return Uniform(measured.density)
    return PerChannel(along[0], tuple(channels.tolist()))
