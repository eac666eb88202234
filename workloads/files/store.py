"""Workloads in a file: ops and tensors in the header, the packed masks beside it. No PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.files.archive import Archive
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Transfer, Vector, Workload
from zerocast.workloads.patterns import DENSE, NM, VNM, Block, Dense, Mask, Pattern, PerChannel, Uniform

FILE = Archive("workload", version=4, remedy="capture it again with `zerocast lower`")

OPS: dict[str, type[Op]] = {kind.__name__: kind for kind in (Einsum, Vector, Index, Transfer)}
PATTERNS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Dense, NM, VNM, Uniform, PerChannel, Block, Mask)}
"""Pattern classes that can be stored. All are dataclasses of numbers, names and nested tuples; a field
that is an array goes to an entry of its own in the file."""


def save(workload: Workload, path: str | Path) -> Path:
    """Write a workload to `path` (.npz is added where it has no suffix); the path written."""
    patterns = Patterns()
    header = header_of(workload, patterns) | {"patterns": patterns.rows}
    return FILE.write(path, header, patterns.arrays)


def header_of(workload: Workload, patterns: Patterns) -> dict[str, Any]:
    """All of a workload but the table of its patterns, as JSON has it."""
    return {
        "name": workload.name, "layers": dict(workload.layers), "meta": dict(workload.meta),
        "found": dict(workload.found), "folded": dict(workload.folded),
        "tensors": [_tensor_out(tensor, patterns) for tensor in workload.tensors.values()],
        "ops": [_op_out(op, patterns) for op in workload.ops],
    }  # fmt: skip


def load_workload(path: str | Path) -> Workload:
    """Read a workload written by `save`. Raises `WorkloadError` for a file that is missing, damaged,
    foreign, or of another version."""
    return FILE.read(path, workload_of)


class Patterns:
    """The patterns of a file by number, so that one that many ops share is written once."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._number: dict[Pattern, int] = {}

    def number(self, pattern: Pattern) -> int:
        if pattern not in self._number:
            self._number[pattern] = len(self.rows)
            self.rows.append(self._row(pattern))
        return self._number[pattern]

    def _row(self, pattern: Pattern) -> dict[str, Any]:
        kind = type(pattern).__name__
        if PATTERNS.get(kind) is not type(pattern):
            raise WorkloadError(f"pattern {kind} cannot be stored; add it to workloads.store.PATTERNS")
        row: dict[str, Any] = {"kind": kind}
        for field in fields(pattern):  # type: ignore[arg-type]
            value = getattr(pattern, field.name)
            if isinstance(value, np.ndarray):
                key = f"pattern{len(self.rows)}.{field.name}"
                self.arrays[key] = value
                value = {"array": key}
            row[field.name] = value
        return row


def _pattern_in(row: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Pattern:
    values = {name: value for name, value in row.items() if name != "kind"}
    for name, value in values.items():
        values[name] = arrays[value["array"]] if isinstance(value, dict) else _frozen(value)
    if row["kind"] == "Dense":
        return DENSE
    return PATTERNS[row["kind"]](**values)


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _tensor_out(tensor: Tensor, patterns: Patterns) -> list[Any]:
    return [tensor.name, tensor.shape, tensor.dtype, tensor.role, patterns.number(tensor.pattern), tensor.made_of,
            tensor.scale_bits]  # fmt: skip


def _op_out(op: Op, patterns: Patterns) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": type(op).__name__}
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name == "patterns":
            value = [[position, patterns.number(pattern)] for position, pattern in value.items()]
        elif field.name == "sizes":
            value = list(value.items())
        row[field.name] = value
    return row


def _op_in(row: Mapping[str, Any], patterns: list[Pattern]) -> Op:
    values = {name: _frozen(value) for name, value in row.items() if name != "kind"}
    if "patterns" in values:
        values["patterns"] = {position: patterns[number] for position, number in values["patterns"]}
    if "sizes" in values:
        values["sizes"] = dict(values["sizes"])
    return OPS[row["kind"]](**values)


def workload_of(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Workload:
    """A workload from its header with the table of patterns, and the arrays of the file."""
    patterns = [_pattern_in(row, arrays) for row in header["patterns"]]
    tensors = {
        name: Tensor(name, tuple(shape), dtype, role, patterns[number], *made_of)
        for name, shape, dtype, role, number, *made_of in header["tensors"]
    }
    ops = tuple(_op_in(row, patterns) for row in header["ops"])
    folded = {name: tuple(operators) for name, operators in header.get("folded", {}).items()}
    notes = header.get("found", {}), folded
    return Workload(header["name"], tensors, ops, header["layers"], _meta_in(header["meta"]), *notes)


def _meta_in(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Facts with their lists as tuples. Files of earlier programs have the outputs as one text, joined by commas."""
    outputs = meta.get("outputs", ())
    names = [name for name in outputs.split(",") if name] if isinstance(outputs, str) else outputs
    return {**meta, "outputs": tuple(names)} if "outputs" in meta else dict(meta)
