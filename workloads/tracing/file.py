"""Traces in a file: one .npz with a JSON header, the counts and the packed masks. No pickle."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.tracing.contents import TensorTrace, Trace

FORMAT = "zerocast trace"
VERSION = 1

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
_ARRAYS: dict[str, type[np.generic]] = {"channel_nonzeros": np.int64, "token_nonzeros": np.int64, "masks": np.uint8}
_FIELDS = ("name", "shape", "runs", "nonzeros", "channel_axis", "token_axis")


def save_trace(trace: Trace, path: str | Path) -> Path:
    """Write a trace to `path` (.npz is added where it has no suffix); the path written."""
    file = Path(path)
    file = file if file.suffix else file.with_suffix(".npz")
    rows: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for number, tensor in enumerate(trace.tensors.values()):
        rows.append({key: getattr(tensor, key) for key in _FIELDS})
        held = {key: getattr(tensor, key) for key in _ARRAYS}
        arrays |= {f"{number}.{key}": array for key, array in held.items() if array is not None}
    header = {
        "format": FORMAT, "version": VERSION, "model": trace.model, "batch": trace.batch, "runs": trace.runs,
        "seed": trace.seed, "sampled": trace.sampled, "tensors": rows,
    }  # fmt: skip
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with file.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, header=text, **arrays)
    return file


def load_trace(path: str | Path) -> Trace:
    """Read a trace written by `save_trace`. Raises `WorkloadError` for a file that is missing, damaged, foreign
    or of another version, and for densities outside [0, 1] and masks that do not fit their tensor."""
    file = Path(path)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes().decode())
            arrays = {name: archive[name] for name in archive.files if name != "header"}
    except FileNotFoundError:
        raise WorkloadError(f"trace file {file}: no such file; write one with `zerocast trace`") from None
    except _UNREADABLE as error:
        raise WorkloadError(f"trace file {file} is damaged or not a trace ({error}); trace the model again") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise WorkloadError(f"trace file {file} is not a trace; give one that `zerocast trace` wrote")
    if header.get("version") != VERSION:
        raise WorkloadError(
            f"trace file {file} has format version {header.get('version')}, this program reads {VERSION}; "
            "trace the model again"
        )
    try:
        return _trace_in(header, arrays)
    except WorkloadError as error:
        raise WorkloadError(f"trace file {file}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise WorkloadError(f"trace file {file} is damaged ({error}); trace the model again") from error


def _trace_in(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Trace:
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
