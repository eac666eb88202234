"""A training run in a file: the workloads of its distinct steps, and how often each comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zerocast.workloads.files.store import FILE, Patterns, header_of, workload_of
from zerocast.workloads.ir import Workload


@dataclass(frozen=True)
class Run:
    """Workloads, each with how often it comes (a share of a step where costs are interpolated). samples: that all of
    them together train on; None where a workload does not know its batch."""

    parts: tuple[tuple[float, Workload], ...]
    samples: float | None

    @classmethod
    def of(cls, workload: Workload) -> Run:
        """One step."""
        batch = workload.meta.get("batch")
        return cls(((1.0, workload),), float(batch) if isinstance(batch, (int, float)) else None)


def save_run(run: Run, path: str | Path) -> Path:
    """Write a run to `path`; the path written."""
    patterns = Patterns()
    parts = [[times, header_of(workload, patterns)] for times, workload in run.parts]
    header = {"parts": parts, "samples": run.samples, "patterns": patterns.rows}
    return FILE.write(path, header, patterns.arrays)


def load_run(path: str | Path) -> Run:
    """Read a run, or a workload as a run of one step. Raises `WorkloadError` as `load_workload` does."""
    return FILE.read(path, _run_in)


def _run_in(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Run:
    if "parts" not in header:
        return Run.of(workload_of(header, arrays))
    shared = {"patterns": header["patterns"]}
    parts = tuple((times, workload_of({**part, **shared}, arrays)) for times, part in header["parts"])
    return Run(parts, header["samples"])
