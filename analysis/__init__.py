"""What to do about it: the command line, comparisons, reports, plots. Names are loaded on first use."""

from __future__ import annotations

import importlib
from typing import Any

from zerocast.analysis.errors import AnalysisError

_LATER = {
    "report": "zerocast.analysis.reports.page",
    "gain": "zerocast.analysis.run.speedup",
    "without_zeros": "zerocast.analysis.run.baseline",
    "price_shapes": "zerocast.analysis.products.table",
    "read_shapes": "zerocast.analysis.products.gemm_columns",
}

__all__ = ["AnalysisError", *_LATER]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
