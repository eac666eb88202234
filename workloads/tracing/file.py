"""Traces in a file: the counts and the packed masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.files.archive import Archive, Arrays
from zerocast.workloads.tracing.contents import TensorTrace, Trace

_FILE = Archive("trace", version=1, remedy="write one with `zerocast trace`")
_ARRAYS: dict[str, type[np.generic]] = {"channel_nonzeros": np.int64, "token_nonzeros": np.int64, "masks": np.uint8}
_FIELDS = ("name", "shape", "runs", "nonzeros", "channel_axis", "token_axis")


def save_trace(trace: Trace, path: str | Path) -> Path:
    """Write a trace to `path` (.npz is added where it has no suffix); the path written."""
    rows: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for number, tensor in enumerate(trace.tensors.values()):
        rows.append({key: getattr(tensor, key) for key in _FIELDS})
        held = {key: getattr(tensor, key) for key in _ARRAYS}
        arrays |= {f"{number}.{key}": array for key, array in held.items() if array is not None}
    header = {
        "model": trace.model, "batch": trace.batch, "runs": trace.runs, "seed": trace.seed, "sampled": trace.sampled,
        "tensors": rows,
    }  # fmt: skip
    return _FILE.write(path, header, arrays)


def load_trace(path: str | Path) -> Trace:
    """Read a trace written by `save_trace`. Raises `WorkloadError` for a file that is missing, damaged, foreign
    or of another version, and for densities outside [0, 1] and masks that do not fit their tensor."""
    return _FILE.read(path, _trace_in)


def _trace_in(header: Mapping[str, Any], arrays: Arrays) -> Trace:
    tensors = {}
    for number, row in enumerate(header["tensors"]):
        held = {key: _typed(arrays.get(f"{number}.{key}"), row["name"], kind) for key, kind in _ARRAYS.items()}
        fields: dict[str, Any] = {key: row[key] for key in _FIELDS} | held
        tensors[row["name"]] = TensorTrace(**{**fields, "shape": tuple(row["shape"])})
    return Trace(
        header["model"], header["batch"], header["runs"], header["seed"], tuple(header["sampled"]), tensors
    )  # fmt: skip


def _typed(array: NDArray[Any] | None, name: str, kind: type[np.generic]) -> NDArray[Any] | None:
    if array is not None and array.dtype != kind:
        raise WorkloadError(f"{name!r} holds {array.dtype} where {np.dtype(kind)} belongs; trace the model again")
    return array
