"""Time, energy and power of whole networks on cards that others locked at clocks, in eager PyTorch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import numpy as np

from zerocast.accelerators import load
from zerocast.analysis.run.network import Network, lower, silent
from zerocast.analysis.run.values import overrides
from zerocast.analysis.validate.comparison import Comparison, at_most, information, reference_rows
from zerocast.simulator import simulate
from zerocast.workloads.ir import Workload

SUITE = "gpu_power"
MOST = {"power": 0.10, "energy": 0.15, "time": 0.15}
"""Largest mean error of the rows of a group."""
LAYERS = 1, 2
"""Blocks of a transformer that are captured; all others are as long as the second."""
BLOCKS = 24
"""Blocks of the transformers of the table."""

Row = dict[str, str]


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """Mean errors of each group (a card, or one card's clock sweep), and of each network in it."""
    if not find_spec("transformers"):
        return []
    errors: dict[str, list[tuple[str, dict[str, float]]]] = defaultdict(list)
    for row in reference_rows("gpu/gpu_power.csv"):
        if row["group"] not in errors:
            say(row["group"])
        seconds, joules = predicted(row)
        measured_s, measured_j = float(row["ms"]) * 1e-3, float(row["joules"])
        found = {
            "power": joules / seconds / (measured_j / measured_s) - 1,
            "energy": joules / measured_j - 1,
            "time": seconds / measured_s - 1,
        }
        errors[row["group"]].append((row["network"], found))
    return [each for group, found in errors.items() for each in _of_group(group, found)]


def _of_group(group: str, errors: list[tuple[str, dict[str, float]]]) -> list[Comparison]:
    found = []
    for what, most in MOST.items():
        signed = np.array([each[what] for _, each in errors])
        name = f"{group}: mean error of the {what}"
        note = f"{len(signed)} rows, bias {signed.mean():+.1%}, largest {np.abs(signed).max():.0%}"
        found.append(at_most(SUITE, name, float(np.abs(signed).mean()), most, "see gpu_power.csv", note))
        for network in dict.fromkeys(network for network, _ in errors):
            mine = [abs(each[what]) for named, each in errors if named == network]
            words = f"{group}, {network.removeprefix('hf:')}: mean error of the {what}"
            found.append(information(SUITE, words, float(np.mean(mine)), "", f"{len(mine)} rows"))
    return found


def predicted(row: Row) -> tuple[float, float]:
    """Seconds and joules of a forward pass under the row's clock, regime and settings."""
    settings = {"gpu.regime": row["regime"], "technology.clock_hz": float(row["clock_mhz"]) * 1e6}
    card = load(row["card"], {**settings, **overrides(row["settings"].split())})

    def cost(blocks: int) -> np.ndarray:
        result = simulate(_workload(*key, blocks), card, allow_overflow=True)
        return np.array([result.latency_s, result.energy_j])

    key = row["network"], row["attention"], int(row["batch"]), int(row["tokens"] or 0), row["dtype"]
    if row["attention"] == "own":
        return tuple(cost(0))
    first, second = map(cost, LAYERS)
    return tuple(first + (BLOCKS - LAYERS[0]) * (second - first))


@cache
def _workload(network: str, attention: str, batch: int, tokens: int, dtype: str, blocks: int) -> Workload:
    """A network of transformers without weights; blocks: of it, 0 for all."""
    arguments = {"attn_implementation": attention, "num_hidden_layers": blocks} if blocks else {}
    return lower(Network(network, batch=batch, tokens=tokens or None, dtype=dtype, arguments=tuple(arguments.items())),
                 silent)  # fmt: skip
