"""Workloads: what a network asks for. Names are loaded on first use, so that importing this stays light."""

from __future__ import annotations

import importlib
from typing import Any

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Transfer, Vector, Workload
from zerocast.workloads.pruning import LayerPruning, Pruning

_LATER = {
    "capture": "zerocast.workloads.from_torch",
    "explain": "zerocast.workloads.explanation",
    "expand_training": "zerocast.workloads.training",
    "prune": "zerocast.workloads.recipes",
    "build": "zerocast.workloads.zoo",
    "open_checkpoint": "zerocast.workloads.checkpoint",
    "models": "zerocast.workloads.zoo",
    "save": "zerocast.workloads.files.store",
    "load_workload": "zerocast.workloads.files.store",
    "trace": "zerocast.workloads.tracing.record",
    "apply_trace": "zerocast.workloads.tracing.apply",
    "save_trace": "zerocast.workloads.tracing.file",
    "load_trace": "zerocast.workloads.tracing.file",
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
