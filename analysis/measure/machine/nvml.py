"""The card's own sensors, read from NVIDIA's management library through ctypes: no Python package is needed.

Names and constants are those of `nvml.h` (NVML API reference, "Device Queries").
"""

from __future__ import annotations

import ctypes
import subprocess
from typing import Any

LIBRARIES = (
    "libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib/libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
)
CLOCK_SM, CLOCK_MEMORY, SENSOR_GPU = 1, 2, 0
SMI_FIELDS = {
    "sm_mhz": "clocks.sm",
    "mem_mhz": "clocks.mem",
    "temperature_c": "temperature.gpu",
    "power_w": "power.draw",
    "driver": "driver_version",
}


class Nvml:
    """One card seen through NVML.

    uuid: "GPU-..." as CUDA reports it, since CUDA's numbering and NVML's may differ; "" takes the first card.
    Raises OSError where the library is missing or answers with an error.
    """

    def __init__(self, uuid: str = "") -> None:
        self._library = _open()
        self._call("nvmlInit_v2")
        self._card = ctypes.c_void_p()
        if uuid:
            self._call("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self._card))
        else:
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(0), ctypes.byref(self._card))

    def state(self) -> dict[str, Any]:
        """Clocks in MHz, temperature in Celsius, power in watts, the bits of `clocks_event_reasons`; what the card
        does not tell is left out."""
        queries = {
            "sm_mhz": ("nvmlDeviceGetClockInfo", (ctypes.c_uint(CLOCK_SM),), ctypes.c_uint, 1.0),
            "mem_mhz": ("nvmlDeviceGetClockInfo", (ctypes.c_uint(CLOCK_MEMORY),), ctypes.c_uint, 1.0),
            "temperature_c": ("nvmlDeviceGetTemperature", (ctypes.c_uint(SENSOR_GPU),), ctypes.c_uint, 1.0),
            "power_w": ("nvmlDeviceGetPowerUsage", (), ctypes.c_uint, 1e-3),
            "throttle": ("nvmlDeviceGetCurrentClocksThrottleReasons", (), ctypes.c_ulonglong, 1),
        }
        found: dict[str, Any] = {}
        for name, (function, arguments, kind, scale) in queries.items():
            try:
                found[name] = self._number(function, arguments, kind) * scale
            except OSError:
                continue
        return found

    def joules(self) -> float:
        """Energy since the driver was loaded (`nvmlDeviceGetTotalEnergyConsumption`, Volta and later)."""
        return self._number("nvmlDeviceGetTotalEnergyConsumption", (), ctypes.c_ulonglong) * 1e-3

    def driver(self) -> str:
        text = ctypes.create_string_buffer(80)
        self._call("nvmlSystemGetDriverVersion", text, ctypes.c_uint(len(text)))
        return text.value.decode()

    def _number(self, function: str, arguments: tuple[Any, ...], kind: Any) -> int:
        value = kind()
        self._call(function, self._card, *arguments, ctypes.byref(value))
        return int(value.value)

    def _call(self, function: str, *arguments: Any) -> None:
        entry = getattr(self._library, function, None)
        status = entry(*arguments) if entry is not None else -1
        if status != 0:
            raise OSError(f"{function} answered {status}")


def _open() -> ctypes.CDLL:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError("NVIDIA's management library (libnvidia-ml.so.1) is not installed")


def smi_state(uuid: str = "") -> dict[str, Any]:
    """Clocks, temperature, power and driver as `nvidia-smi` prints them; {} where it is missing or fails."""
    card = [f"--id={uuid}"] if uuid else []
    query = ["nvidia-smi", *card, f"--query-gpu={','.join(SMI_FIELDS.values())}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in answer.splitlines()[0].split(",")] if answer.strip() else []
    return {name: _value(text) for name, text in zip(SMI_FIELDS, values, strict=False) if text and text[0] != "["}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
