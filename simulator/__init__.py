"""What it costs: mapping, compute, traffic, time, energy. No torch in here. Names are loaded on first use: one product
needs no schedule, no cards and no memory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerocast.simulator.cost import OpRow as OpRow
    from zerocast.simulator.cost import Totals as Totals
    from zerocast.simulator.errors import DoesNotFit as DoesNotFit
    from zerocast.simulator.errors import SimulationError as SimulationError
    from zerocast.simulator.products.gemm import Gemm as Gemm
    from zerocast.simulator.products.gemm import plain_gemm as plain_gemm
    from zerocast.simulator.products.gemm_cost import gemm_cost as gemm_cost
    from zerocast.simulator.products.search import best_mapping as best_mapping
    from zerocast.simulator.result import Result as Result
    from zerocast.simulator.simulation import simulate as simulate

_LATER = {
    "DoesNotFit": "errors",
    "Gemm": "products.gemm",
    "OpRow": "cost",
    "Result": "result",
    "SimulationError": "errors",
    "Totals": "cost",
    "best_mapping": "products.search",
    "gemm_cost": "products.gemm_cost",
    "plain_gemm": "products.gemm",
    "simulate": "simulation",
}

__all__ = [*_LATER]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module 'simulator' has no attribute {name!r}")
