"""The machine that is measured: its device, its sensors, its memory sizes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.nvml import Nvml, smi_state

SMI_EVERY_S = 5.0
"""nvidia-smi takes up to a second to answer: without NVML the state is no fresher than this."""


@dataclass
class Target:
    """A device to measure on.

    l2_bytes: last-level cache that weights must be rotated out of; 0 where it is not known (CPU).
    memory_bytes: what rotated copies may take in all.
    not_before: time (`time.perf_counter`) until which the device must rest.
    no_graphs: variants whose capture in a CUDA graph failed; they are timed by the profiler instead.
    """

    device: torch.device
    l2_bytes: int = 0
    memory_bytes: int = 1 << 30
    uuid: str = ""
    sensors: Nvml | None = None
    no_graphs: set[str] = field(default_factory=set)
    not_before: float = 0.0
    _asked: float = -SMI_EVERY_S - 1
    _answer: dict[str, Any] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def state(self) -> dict[str, Any]:
        """What the sensors say now; {} on a CPU."""
        if not self.cuda:
            return {}
        if self.sensors is not None:
            return self.sensors.state()
        if time.monotonic() - self._asked > SMI_EVERY_S:
            self._asked, self._answer = time.monotonic(), smi_state(self.uuid)
        return self._answer

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def pause(self) -> None:
        """Wait until the device has rested from the last window of load."""
        time.sleep(max(0.0, self.not_before - time.perf_counter()))

    def alive(self) -> bool:
        """Whether the device still computes: after a fault CUDA answers every later call with the same error."""
        try:
            total = torch.ones(8, device=self.device).sum().item()
            self.synchronize()
        except RuntimeError:
            return False
        return total == 8.0

    def generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)


def find_target(name: str) -> Target:
    """The device of `--device`. Raises `AnalysisError` where CUDA is asked for and absent."""
    if name == "cpu":
        return Target(torch.device("cpu"))
    if not torch.cuda.is_available():
        build = "PyTorch sees none" if torch.version.cuda else "this PyTorch is built without CUDA"
        raise AnalysisError(f"no CUDA GPU to measure: {build}; run on a machine with one, or give --device cpu")
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    card: Any = torch.cuda.get_device_properties(device)
    uuid = f"GPU-{card.uuid}".replace("GPU-GPU-", "GPU-") if getattr(card, "uuid", None) else ""
    free, _ = torch.cuda.mem_get_info(device)
    return Target(device, int(getattr(card, "L2_cache_size", 0)), min(free // 8, 4 << 30), uuid, _sensors(uuid))


def _sensors(uuid: str) -> Nvml | None:
    for name in (uuid, ""):  # inside some containers CUDA's identifier is unknown to NVML
        try:
            return Nvml(name)
        except OSError:
            continue
    return None
