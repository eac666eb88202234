"""Workloads: what a network asks for. Names are loaded on first use, so that importing this stays light."""

from __future__ import annotations

import importlib
from typing import Any

from workloads.errors import WorkloadError
from workloads.ir import Einsum, Index, Op, Tensor, Transfer, Vector, Workload
from workloads.pruning import LayerPruning, Pruning

_LATER = {
    "capture": "workloads.from_torch",
    "expand_training": "workloads.training",
    "prune": "workloads.recipes",
    "build": "workloads.zoo",
    "models": "workloads.zoo",
    "save": "workloads.store",
    "load_workload": "workloads.store",
    "trace": "workloads.tracing.record",
    "apply_trace": "workloads.tracing.apply",
    "save_trace": "workloads.tracing.file",
    "load_trace": "workloads.tracing.file",
}

__all__ = [
    "Einsum", "Index", "LayerPruning", "Op", "Pruning", "Tensor", "Transfer", "Vector", "Workload",
    "WorkloadError",
    *_LATER,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'workloads' has no attribute {name!r}")
