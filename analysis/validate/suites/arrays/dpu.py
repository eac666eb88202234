"""Whole networks on FPGA boards with AMD's Vitis DPU: single-thread images per second as the vendor measured them, and
what its pruned networks gain.

One set of constants for all networks. Two of them, the share of the link and the cost of running a layer, come from the
dense networks of `CALIBRATED` on one board; all other rows are predictions. A pruned network is the zoo's with as many
channels removed as make its operations the published ones, where shortcuts run in the vendor's with all their channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import mean
from typing import Any

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against, at_most, reference_rows
from zerocast.simulator import simulate
from zerocast.workloads import build, capture, prune
from zerocast.workloads.ir import Einsum, Workload

SUITE = "dpu"
TOLERANCE, GAIN_TOLERANCE = 0.15, 0.08
"""Error allowed of images per second, and of a pruned network's gain."""
MEAN, MEAN_GAIN = 0.10, 0.05
"""Error allowed on the mean of a board's dense networks, and of all gains."""
BOARDS: dict[str, dict[str, Any]] = {
    "zcu102": {"technology.clock_hz": 281e6, "memories.dram.bandwidth_bytes_per_s": 32 * 281e6},
    "zcu104": {},
    "kv260": {},
    "zcu102-287": {"technology.clock_hz": 287e6, "memories.dram.bandwidth_bytes_per_s": 32 * 287e6},
    "ultra96": {
        "technology.clock_hz": 287e6, "memories.dram.bandwidth_bytes_per_s": 4.26e9,
        "compute.cols": 10, "compute.macs_per_pe": 10,
        "compute.unroll": {"out_cols": 8, "out_channels": 10, "in_channels": 10},
        "compute.depthwise": {"out_cols": 4, "groups": 10}, "units.alu.lanes": 40,
        "memories.feature_banks.capacity_bytes": 262144, "memories.weight_banks.capacity_bytes": 262144,
    },
}  # fmt: skip
"""What a board changes of the template: the clock, and with it the core's ports. The ZCU102 at 287 MHz ran an older
version; the Ultra96 did too, and has the smaller core B1600: 8 pixels x 10 x 10 channels, half of the block RAM."""
RECALLED = {"ultra96": "its LPDDR4, 32 bits at 1,066 MT/s, is recalled"}
"""Boards whose rows inform only, and why."""
CALIBRATED = ("resnet50", "mobilenet_v1", "inception_v1")
"""Networks whose dense rows on the ZCU104 gave the two constants."""

Row = dict[str, str]


def parts() -> tuple[str, ...]:
    """Boards that can be compared alone."""
    return tuple(BOARDS)


def compare(say: Callable[[str], None], part: str | None = None) -> list[Comparison]:
    """All comparisons of the suite, or those of one board."""
    say(f"images per second on {part or 'five boards'}")
    return [row for board in ([part] if part else BOARDS) for row in board_rows(board)]


def board_rows(board: str) -> list[Comparison]:
    """All networks of a board, and the means of the dense ones' errors and of the gains'."""
    table = [row for row in reference_rows("dpu.csv") if row["board"] == board]
    twins = {(row["model"], row["arguments"]): row for row in table if not row["recipe"]}
    dense = [frames(row) for row in twins.values()]
    pruned = [row for row in table if row["recipe"]]
    gains = [gain(row, twins[row["model"], row["arguments"]]) for row in pruned]
    means = [("dense networks", dense, MEAN)] * (board not in RECALLED) + [("gains", gains, MEAN_GAIN)] * bool(gains)
    return [*dense, *map(frames, pruned), *gains, *(
        at_most(SUITE, f"{board}: mean error of {what}", mean(abs(row.error or 0.0) for row in rows), most,
                table[0]["source"])
        for what, rows, most in means
    )]  # fmt: skip


def frames(row: Row) -> Comparison:
    """Images per second of a measured network."""
    seen = row["board"] == "zcu104" and row["model"] in CALIBRATED and not row["recipe"]
    found = against(SUITE, f"{row['board']}: {row['network']}", 1 / latency_s(row), float(row["fps"]), "1/s", TOLERANCE,
                    row["source"], "calibrated on" if seen else RECALLED.get(row["board"], ""))  # fmt: skip
    return replace(found, tolerance=None, ok=None) if row["board"] in RECALLED else found


def gain(row: Row, dense: Row) -> Comparison:
    """How much quicker a pruned network is than its dense twin."""
    return against(SUITE, f"{row['board']}: {row['network']} over dense", latency_s(dense) / latency_s(row),
                   float(row["fps"]) / float(dense["fps"]), "x", GAIN_TOLERANCE, row["source"])  # fmt: skip


def latency_s(row: Row) -> float:
    """Predicted time of one image."""
    return _latency_s(row["board"], row["model"], row["arguments"], row["recipe"])


@cache
def _latency_s(board: str, *network: str) -> float:
    return simulate(workload(*network), load("dpu-b4096", BOARDS[board])).latency_s


def giga_ops(row: Row) -> float:
    """Operations of our network, two a multiply-accumulate, in billions."""
    ops = workload(row["model"], row["arguments"], row["recipe"]).ops
    return 2e-9 * sum(op.macs for op in ops if isinstance(op, Einsum))


@cache
def workload(model: str, arguments: str, recipe: str) -> Workload:
    """A network of the zoo in int8; arguments as `name=value name=value`."""
    given: dict[str, Any] = {name: float(value) if "." in value else int(value)
                             for name, value in (pair.split("=") for pair in arguments.split())}  # fmt: skip
    module, inputs = build(model, **given)
    if recipe:
        module, _ = prune(module, recipe, example_inputs=inputs)
    return capture(module, inputs, name=model, dtype="int8")
