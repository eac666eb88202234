"""Engines that skip or gate zeros, against published figures. One file per engine, shared helpers in `rows`, `layers`.

Zeros count as uniformly random wherever only their number is published.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec

from zerocast.analysis.validate.comparison import Comparison
from zerocast.simulator.errors import SimulationError

ENGINES = {
    "eyeriss_v1": "Eyeriss v1 against measured AlexNet layers",
    "eyeriss_pe": "a PE of Eyeriss v2 against counts over real masks",
    "eyeriss_chip": "sparse MobileNet on Eyeriss v2",
    "cnvlutin": "Cnvlutin against its dense twin, also on a photograph",
    "scnn": "SCNN against DCNN",
    "sigma": "SIGMA against its published cycles",
    "eie": "EIE against its published times",
    "dstc": "DSTC against its published latencies",
    "hisparse": "HiSparse against its measured throughput",
    "mcbbs": "MCBBS against its measured latencies",
}
"""Engines and what each file computes: gated zeros, skipped activations, both operands, FPGA designs."""
MODULES = {"eyeriss_v1": "eyeriss.v1", "eyeriss_pe": "eyeriss.pe", "eyeriss_chip": "eyeriss.chip"}
"""Where an engine is, in this folder, if not in the file of its name."""


def parts() -> tuple[str, ...]:
    """Engines that can be compared alone."""
    return tuple(ENGINES)


def compare(say: Callable[[str], None], part: str | None = None) -> list[Comparison]:
    """All comparisons of the suite, or those of one engine.

    Raises `SimulationError` where PyTorch is missing, before the first of them.
    """
    if find_spec("torch") is None:
        raise SimulationError(
            "the suite zeroskip lowers the networks of MCBBS and Cnvlutin with PyTorch: install torch"
        )
    rows: list[Comparison] = []
    for engine in [part] if part else list(ENGINES):
        say(ENGINES[engine])
        rows += importlib.import_module(f"{__name__}.{MODULES.get(engine, engine)}").compare()
    return rows
