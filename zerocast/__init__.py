"""Forecast what the zeros in a neural network are worth on hardware, before anyone builds it.

The four rooms `workloads`, `accelerators`, `simulator` and `analysis` lie beside this folder in a checkout, reached
through links; an installed package holds them itself. Names below are loaded on first use: this import is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerocast.accelerators.library import load as load
    from zerocast.analysis.explore.command import explore as explore
    from zerocast.analysis.reports.page import report as report
    from zerocast.analysis.run.speedup import gain as gain
    from zerocast.analysis.train import train as train
    from zerocast.simulator.simulation import simulate as simulate
    from zerocast.workloads.checkpoint import open_checkpoint as open_checkpoint
    from zerocast.workloads.files.store import load_workload as load_workload
    from zerocast.workloads.files.store import save as save
    from zerocast.workloads.from_torch import capture as capture
    from zerocast.workloads.recipes import prune as prune
    from zerocast.workloads.schedules import parse_schedule as parse_schedule
    from zerocast.workloads.tracing.apply import apply_trace as apply_trace
    from zerocast.workloads.tracing.record import trace as trace
    from zerocast.workloads.zoo import build as build

_HOME = {
    "build": "workloads.zoo",
    "prune": "workloads.recipes",
    "open_checkpoint": "workloads.checkpoint",
    "capture": "workloads.from_torch",
    "trace": "workloads.tracing.record",
    "apply_trace": "workloads.tracing.apply",
    "save": "workloads.files.store",
    "load_workload": "workloads.files.store",
    "load": "accelerators.library",
    "simulate": "simulator.simulation",
    "explore": "analysis.explore.command",
    "gain": "analysis.run.speedup",
    "report": "analysis.reports.page",
    "parse_schedule": "workloads.schedules",
    "train": "analysis.train",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"zerocast.{_HOME[name]}"), name)
    raise AttributeError(f"module 'zerocast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
