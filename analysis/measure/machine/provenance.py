"""What a session was measured on and with: goes into the file once, and from there with every row."""

from __future__ import annotations

import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import torch

from zerocast.analysis.measure.machine.nvml import smi_state
from zerocast.analysis.measure.machine.target import Target

ROOT = Path(__file__).parents[3]


def provenance(target: Target) -> dict[str, Any]:
    """Device, driver, library versions, code version and time of the session."""
    found: dict[str, Any] = {
        "device": _processor(),
        "host_cpu": _processor(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cusparselt": None,
        "threads": torch.get_num_threads(),
        "zerocast": _installed("zerocast"),
        "commit": _commit(),
    }
    return {**found, **_card(target)} if target.cuda else found


def _card(target: Target) -> dict[str, Any]:
    card: Any = torch.cuda.get_device_properties(target.device)
    library = torch.backends.cusparselt
    return {
        "device": card.name,
        "capability": f"{card.major}.{card.minor}",
        "sms": card.multi_processor_count,
        "memory_bytes": card.total_memory,
        "l2_bytes": target.l2_bytes,
        "driver": target.sensors.driver() if target.sensors is not None else smi_state(target.uuid).get("driver"),
        "sensors": "nvml" if target.sensors is not None else "nvidia-smi",
        "cublas": _package("nvidia-cublas"),
        "cudnn": torch.backends.cudnn.version(),
        "cusparselt": library.version() if library.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _package(start: str) -> str | None:
    """Name and version of the first installed package whose name begins so (the CUDA major version ends it)."""
    for one in distributions():
        name = (one.metadata["Name"] or "").lower()
        if name.startswith(start):
            return f"{name} {one.version}"
    return None


def _commit() -> str | None:
    """Commit of the checkout, with a + where tracked files differ from it; None outside a checkout."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True,
                              timeout=20).stdout.strip()  # fmt: skip
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=ROOT, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed.returncode else "")
