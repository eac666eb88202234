"""Calibration files: constants per class, their error on data that were not fitted, and the shapes that were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.library import read_yaml
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.streaming import Streaming
from zerocast.simulator.gpu.times import Kernels, kernels_of

FORMAT = "zerocast-gpu-calibration"
VERSION = 2
LEVELS = ("specification only", "generation constants", "own measurements")
SUFFIXES = {".yaml", ".yml"}

Shapes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One class of a calibration, such as dense_16bit.

    low, high: bounds of log(measured / predicted) that held 9 of 10 products that were not fitted. shapes: M, N, K of
    products that stand for those fitted, shape (n, 3). residuals: log(measured / predicted) of each of the shapes
    where a user's own measurements correct the prediction; none in files of a generation. kind: name of the class.
    """

    level: str
    constants: Constants
    low: float
    high: float
    shapes: Shapes
    residuals: NDArray[np.float64] | None = None
    fitted_on: str = ""
    command: str = ""
    kind: str = "dense_16bit"

    @property
    def kernels(self) -> Kernels:
        """Those that the class's library picks from."""
        return kernels_of(self.kind)


ALIKE = {"dense_tf32": "dense_16bit"}
"""Classes that take another's constants: tf32 runs on the tensor cores, at half the rate and with operands twice as
wide."""

STREAMING = Streaming()
"""Constants of streaming kernels where a file has none."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """All classes of a file."""

    name: str
    classes: Mapping[str, Calibrated]
    streaming: Streaming = STREAMING

    def of(self, kind: str) -> Calibrated:
        """A class by its name; `SimulationError` names those there are."""
        kind = kind if kind in self.classes else ALIKE.get(kind, kind)
        if kind not in self.classes:
            raise SimulationError(
                f"calibration {self.name} has no constants for {kind}; it has {', '.join(self.classes)}. "
                "Measure some products and run `zerocast calibrate`"
            )
        return self.classes[kind]


def calibration_of(name: str) -> Calibration:
    """A shipped calibration by name (ampere, hopper, generic), or a YAML file written by `zerocast calibrate`.

    Raises `SimulationError` for an unknown name and for a file of another kind or schema version.
    """
    path = Path(name)
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise SimulationError(f"no calibration file {name!r}; write one with `zerocast calibrate`")
        return _parsed(path.read_text(encoding="utf-8"), name)
    return _shipped(name)


@lru_cache(maxsize=16)
def _shipped(name: str) -> Calibration:
    folder = files("zerocast.accelerators") / "calibrations"
    known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if name not in known:
        raise SimulationError(f"unknown calibration {name!r}; choose {', '.join(known)}, or a YAML file")
    return _parsed((folder / f"{name}.yaml").read_text(encoding="utf-8"), name)


def _parsed(text: str, origin: str) -> Calibration:
    try:
        content = read_yaml(text, origin)
    except AcceleratorError as error:
        raise SimulationError(str(error)) from None
    if content.get("format") != FORMAT:
        raise SimulationError(f"{origin}: no calibration; `zerocast calibrate` writes them")
    if content.get("version") != VERSION:
        version = content.get("version")
        raise SimulationError(f"{origin}: schema version {version}, this zerocast reads {VERSION}; calibrate again")
    try:
        own = {kind: _class(raw, kind, f"{origin}, {kind}") for kind, raw in content["classes"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SimulationError):
            raise
        raise SimulationError(f"{origin}: not a whole calibration ({error}); calibrate again") from None
    base = content.get("base", "")
    if not isinstance(base, str) or base == origin:
        raise SimulationError(f"{origin}: its base is {base!r}; name another calibration there, or calibrate again")
    known = calibration_of(base) if base else None
    streaming = known.streaming if known else STREAMING
    if "streaming" in content:
        streaming = Streaming.parse(content["streaming"], f"{origin}, streaming")
    return Calibration(str(content.get("name", origin)), {**(known.classes if known else {}), **own}, streaming)


def _class(raw: Mapping[str, Any], kind: str, origin: str) -> Calibrated:
    if raw["level"] not in LEVELS:
        raise SimulationError(f"{origin}: unknown level {raw['level']!r}; choose {', '.join(LEVELS)}")
    residuals = np.array(raw["residuals"], dtype=float) if "residuals" in raw else None
    shapes = np.array(raw["shapes"], dtype=float).reshape(-1, 3)
    if residuals is not None and len(residuals) != len(shapes):
        raise SimulationError(f"{origin}: {len(shapes)} shapes and {len(residuals)} residuals; calibrate again")
    low, high = float(raw["error"]["low"]), float(raw["error"]["high"])
    finite = np.isfinite([low, high]).all() and (residuals is None or np.isfinite(residuals).all())
    if not len(shapes) or not (shapes >= 1).all() or not finite or low > high:
        raise SimulationError(
            f"{origin}: shapes must be 1 or more, residuals and error bar finite and in order; calibrate again"
        )
    return Calibrated(
        raw["level"], Constants.parse(raw["constants"], origin), low, high, shapes, residuals, str(raw["fitted_on"]),
        str(raw["command"]), kind,
    )  # fmt: skip
