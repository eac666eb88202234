"""Engines that find zeros at run time: what their lanes do, what they wait for, and where cycles are lost.

Names are loaded on first use: most arrays have no engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerocast.simulator.laws.lanes.cycles import engine_cycles as engine_cycles
    from zerocast.simulator.laws.lanes.cycles import engine_turns as engine_turns
    from zerocast.simulator.laws.lanes.losses import EngineCycles as EngineCycles


def __getattr__(name: str) -> Any:
    home = {"engine_cycles": "cycles", "engine_turns": "cycles", "EngineCycles": "losses"}.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
