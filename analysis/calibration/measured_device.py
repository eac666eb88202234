"""Whether measurements were taken on the card that an accelerator describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zerocast.accelerators import Accelerator

DEVICES = {
    "NVIDIA A100 80GB PCIe": "nvidia-a100-pcie-80g",
    "NVIDIA A100-SXM4-80GB": "nvidia-a100-sxm-80g",
    "NVIDIA H100 PCIe": "nvidia-h100-pcie",
    "NVIDIA H100 80GB HBM3": "nvidia-h100-sxm",
    "NVIDIA H200": "nvidia-h200-sxm",
    "NVIDIA L40S": "nvidia-l40s",
    "NVIDIA GeForce RTX 4090": "nvidia-rtx4090",
    "NVIDIA B200": "nvidia-b200",
}
"""Templates by the name that the driver gives."""
MEMORY_APART = 0.15
"""Share by which the driver's memory size may differ from the specification's: it counts in units of 2^30 and keeps
some for itself, which makes 80 "GB" 85 GB. Cards with the same number of SMs differ by more, such as H100 and H200."""


def mismatches(machines: Iterable[Mapping[str, Any]], accelerator: Accelerator) -> list[str]:
    """What `mismatch` finds of each machine, once."""
    return list(dict.fromkeys(filter(None, (mismatch(about, accelerator) for about in machines))))


def mismatch(about: Mapping[str, Any], accelerator: Accelerator) -> str:
    """Why measurements cannot be this accelerator's, "" where nothing speaks against it.

    about: what a session of `zerocast measure` says of its machine (device, host_cpu, sms, memory_bytes), as far as
    it is known. Where both names are known they decide with the specification, else the specification alone: a card of
    the user's own may have any name.
    """
    device = str(about.get("device") or "")
    found = f"measured on {device}" if device else "measured on an unknown device"
    if device and device == about.get("host_cpu") and not about.get("sms"):
        return f"{found}, which is no GPU"
    template = DEVICES.get(device, "")
    known = accelerator.name in DEVICES.values()
    if template and known and template != accelerator.name:
        return f"{found}, which is {template} and not {accelerator.name}"
    differences = _differences(about, accelerator)
    return f"{found} with {' and '.join(differences)}" if differences else ""


def _differences(about: Mapping[str, Any], accelerator: Accelerator) -> list[str]:
    """What the driver said of the card that the accelerator's figures contradict."""
    found = []
    sms, memory = about.get("sms"), about.get("memory_bytes")
    if isinstance(sms, int) and sms and sms != accelerator.compute.rows:
        found.append(f"{sms} SMs, where {accelerator.name} has {accelerator.compute.rows}")
    capacity = accelerator.dram.capacity_bytes
    if isinstance(memory, int) and memory and capacity and abs(memory / capacity - 1) > MEMORY_APART:
        found.append(f"{memory / 1e9:.0f} GB of memory, where {accelerator.name} has {capacity / 1e9:.0f}")
    return found
