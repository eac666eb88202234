"""Transforms: what changes the layers of a network before it is lowered, such as `lowrank:64` or `lora:8`.

A transform takes a module, real or on the meta device, and returns a changed copy, whose parameters share storage with
the module's where they stay as they are, and an account of what it changed. Each is a function of this package and a
family of recipes (`grammar.py`), which chains spell: `lowrank:64+nm:2:4`. Names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

from zerocast.workloads.transforms.grammar import TRANSFORMS

_HOME = {each.function: each.home for each in TRANSFORMS.values()}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module 'transforms' has no attribute {name!r}")
