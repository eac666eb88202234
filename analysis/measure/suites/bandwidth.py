"""Suite `bandwidth`: bytes per second of a copy and of a read, from sizes that stay in the last-level cache to sizes
that cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.protocol import Session, Unit

CUDA_MB = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
CPU_MB = (1, 4, 16)
"""Bytes touched by one call in units of 2^20: a copy reads one half and writes the other."""


def measure_bandwidth(session: Session) -> None:
    """Copy and read at every size."""
    session.planned = 2 * len(CUDA_MB if session.target.cuda else CPU_MB)
    session.work("bandwidth", bandwidth_units(session))


def bandwidth_units(session: Session) -> Iterator[Unit]:
    """Largest and smallest sizes first, so that a cut session has both memories."""
    sizes = list(CUDA_MB if session.target.cuda else CPU_MB)
    while sizes:
        megabytes = sizes.pop(-1 if len(sizes) % 2 else 0)
        for kind in ("copy", "read"):
            yield _unit(session, kind, megabytes << 20)


def _unit(session: Session, kind: str, size: int) -> Unit:
    fields = {"variant": kind, "bytes": size, "memory": memory_of(size, session.target.l2_bytes)}
    return Unit(f"bandwidth/{kind}/{size}", fields, lambda: _measure(session, kind, size))


def memory_of(size: int, l2_bytes: int) -> str:
    """Where a working set of `size` bytes lies: cache up to half of it, memory from four times of it, mixed between;
    "" where the cache is not known."""
    if not l2_bytes:
        return ""
    return "cache" if 2 * size <= l2_bytes else "memory" if size >= 4 * l2_bytes else "mixed"


def _measure(session: Session, kind: str, size: int) -> dict[str, Any]:
    generator = session.target.generator(session.options.seed + size)
    count = size // 4 // (2 if kind == "copy" else 1)
    source = torch.rand(count, generator=generator, device=session.target.device)
    call, accept = _copy(source) if kind == "copy" else _read(source)
    timing = session.timed(kind, call, accept)
    columns = timing.columns()
    return {**columns, "gb_s": size / columns["median_us"] * 1e-3, **session.kernel_columns(call)}


def _copy(source: Tensor) -> tuple[Callable[[int], Tensor], Callable[[Tensor], None]]:
    sink = torch.empty_like(source)

    def accept(result: Tensor) -> None:
        if not torch.equal(result, source):
            raise AnalysisError("wrong result: the copy differs from its source")

    return lambda _at: sink.copy_(source), accept


def _read(source: Tensor) -> tuple[Callable[[int], Tensor], Callable[[Tensor], None]]:
    expected = float(source.double().sum())

    def accept(result: Tensor) -> None:
        if not abs(float(result) - expected) <= 1e-3 * expected:  # float32 sums of values in 0 .. 1
            raise AnalysisError(f"wrong result: sum {float(result):g} instead of {expected:g}")

    return lambda _at: source.sum(), accept
