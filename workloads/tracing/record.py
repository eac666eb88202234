"""Run a model on real inputs and count the zeros of every activation that feeds an einsum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.from_torch import lower_graph
from zerocast.workloads.ir import Einsum
from zerocast.workloads.lowering.builder import Builder
from zerocast.workloads.tracing.apply import is_traced
from zerocast.workloads.tracing.axes import channel_axis, token_axis
from zerocast.workloads.tracing.contents import TensorTrace, Trace
from zerocast.workloads.tracing.replay import Replay

Run = torch.Tensor | NDArray[Any] | tuple[Any, ...]
"""Inputs of one forward pass: a tensor or array, or the positional arguments."""


def trace(
    model: nn.Module,
    inputs: torch.Tensor | Iterable[Run],
    *,
    name: str | None = None,
    mask_bytes_limit: float = 64e6,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Trace:
    """Run `model` in evaluation mode on each of `inputs` and record where its activations are zero.

    model: with real weights; never changed. The zeros of a pruned one stay in its weights, and act.
    inputs: a tensor for a single run, else one entry per run (a tensor or numpy array, or a tuple of positional
    arguments), all of equal shapes.
    name: of the model, as in `capture`; a trace fits only workloads of that name.
    mask_bytes_limit: size of the packed masks in bytes; as many whole runs as fit are sampled with `seed`.
    progress: told the runs done and their number.

    Tensors have the names that `capture` gives them, because the same graph is lowered and then run node by
    node. Zeros are exact ones (-0.0 too). Raises `WorkloadError` for no or unequal inputs, a model without data,
    and a NaN, naming the tensor.
    """
    runs = _runs(inputs)
    title = name or type(model).__name__.lower()
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise WorkloadError(f"model {title!r} has no weights (meta device); trace one that has, or use densities")
    build, program, _ = lower_graph(model, runs[0], title, "fp32", training=False, allow_unknown=True, runnable=True)
    tallies = _tallies(build)
    needed = sum(-(-tally.run_elements // 8) for tally in tallies.values())
    fit = min(int(mask_bytes_limit // max(needed, 1)), len(runs))
    sampled = tuple(sorted(np.random.default_rng(seed).choice(len(runs), fit, replace=False).tolist()))
    replay = Replay(program, build, tallies)
    for number, run in enumerate(runs):
        for tally in tallies.values():
            tally.keep = number in sampled
        replay.run(run, lambda tensor, data: tallies[tensor].add(data))
        if progress is not None:
            progress(number + 1, len(runs))
    batch = next((int(value.shape[0]) for value in runs[0] if isinstance(value, torch.Tensor) and value.dim()), 1)
    tensors = {tensor: tally.finish(len(runs)) for tensor, tally in tallies.items()}
    return Trace(title, batch, len(runs), seed, sampled, tensors)


def _runs(inputs: torch.Tensor | Iterable[Run]) -> list[tuple[Any, ...]]:
    given: list[Run] = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
    runs = [tuple(map(_tensor, run if isinstance(run, (tuple, list)) else (run,))) for run in given]
    if not runs:
        raise WorkloadError("no inputs to trace; give at least one run")
    shapes = [[getattr(value, "shape", value) for value in run] for run in runs]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise WorkloadError(
                f"inputs of run {number} have shapes {_shapes(shape)}, those of run 0 {_shapes(shapes[0])}; "
                "bring all to one shape"
            )
    return runs


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _shapes(values: Sequence[Any]) -> str:
    return ", ".join(str(tuple(value)) if isinstance(value, torch.Size) else repr(value) for value in values)


@dataclass
class _Tally:
    """Counts of one tensor while the runs go by."""

    name: str
    shape: tuple[int, ...]
    channel_axis: int | None
    token_axis: int | None
    nonzeros: int = 0
    channels: NDArray[np.int64] | None = None
    tokens: NDArray[np.int64] | None = None
    masks: list[NDArray[np.uint8]] = field(default_factory=list)
    keep: bool = False
    seen: int = 0

    @property
    def run_elements(self) -> int:
        return math.prod(self.shape)

    def add(self, data: torch.Tensor) -> None:
        if data.is_floating_point() and bool(torch.isnan(data).any()):
            raise WorkloadError(
                f"activation {self.name!r} holds NaN in run {self.seen}; check the inputs and the model's weights"
            )
        bits = (data != 0).cpu().contiguous().numpy()
        if bits.shape != self.shape:
            raise WorkloadError(f"activation {self.name!r} has shape {bits.shape} in run {self.seen}, not {self.shape}")
        self.seen += 1
        self.nonzeros += int(np.count_nonzero(bits))
        self.channels = _added(self.channels, bits, self.channel_axis)
        self.tokens = _added(self.tokens, bits, self.token_axis)
        if self.keep:
            self.masks.append(np.packbits(bits))

    def finish(self, runs: int) -> TensorTrace:
        if self.seen != runs:
            raise WorkloadError(f"activation {self.name!r} was met {self.seen} times in {runs} runs; report the model")
        return TensorTrace(
            self.name, self.shape, runs, self.nonzeros, self.channel_axis, self.channels, self.token_axis, self.tokens,
            np.array(self.masks) if self.masks else None,
        )  # fmt: skip


def _added(counts: NDArray[np.int64] | None, bits: NDArray[np.bool_], axis: int | None) -> NDArray[np.int64] | None:
    if axis is None:
        return None
    others = tuple(dim for dim in range(bits.ndim) if dim != axis)
    found = np.count_nonzero(bits, axis=others)
    return np.asarray(found if counts is None else counts + found, dtype=np.int64)


def _tallies(build: Builder) -> dict[str, _Tally]:
    """One for each activation that an einsum reads, seen from its first reader."""
    tallies: dict[str, _Tally] = {}
    for op in build.ops:
        for operand, name in enumerate(op.inputs[:2] if isinstance(op, Einsum) else ()):
            tensor = build.tensors[name]
            if isinstance(op, Einsum) and is_traced(tensor) and name not in tallies:
                shape = tensor.shape
                tallies[name] = _Tally(name, shape, channel_axis(op, operand, shape), token_axis(op, operand, shape))
    return tallies
