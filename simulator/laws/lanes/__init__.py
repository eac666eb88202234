"""Engines that find zeros at run time: what their lanes do, what they wait for, and where cycles are lost."""

from zerocast.simulator.laws.lanes.cycles import engine_cycles, engine_turns
from zerocast.simulator.laws.lanes.losses import EngineCycles

__all__ = ["EngineCycles", "engine_cycles", "engine_turns"]
