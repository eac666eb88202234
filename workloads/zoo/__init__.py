"""Which networks can be asked for by name: `models()` lists them, `build()` makes one."""

from zerocast.workloads.zoo.registry import build, models

__all__ = ["build", "models"]
