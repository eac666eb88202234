"""Whole networks on GPUs as others timed them, each row in its software regime."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.run.values import overrides
from zerocast.analysis.validate.comparison import Comparison, against, at_least, at_most, information, reference_rows
from zerocast.simulator import simulate
from zerocast.workloads.ir import Workload

SUITE = "gpu_networks"
TOLERANCE = 0.20
"""Error of a single row."""
MEDIAN, WITHIN = 0.10, 0.80
"""Largest median error of the networks as published, and the least share of them within `TOLERANCE`."""
MEANS = {"timm inference": 0.12, "timm training": 0.15, "neusight": 0.15}
"""Largest mean error of networks of one benchmark."""
BENCHMARKS = ("timm", "neusight")
"""Groups of many rows of one benchmark, which count as a whole."""
LAYERS = 1, 2
"""Blocks of a language model that are captured; all others are as long as the second."""

Row = dict[str, str]


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the suite: every row that the installed extras can build, and each group as a whole."""
    rows = [row for row in reference_rows("gpu/gpu_networks.csv") if find_spec("transformers") or not _has_blocks(row)]
    found: list[Comparison] = []
    errors: dict[str, list[float]] = defaultdict(list)
    group = ""
    for row in sorted(rows, key=lambda row: row["group"]):
        if row["group"] != group:
            say(group := row["group"])
        predicted, measured = predicted_ms(row), float(row["ms"])
        errors[group].append(predicted / measured - 1)
        if not group.startswith(BENCHMARKS):
            found.append(
                against(SUITE, _words(row), predicted, measured, "ms", TOLERANCE, row["source"], row["software"])
            )
    return found + _groups(errors)


def _words(row: Row) -> str:
    return (
        f"{row['card']}, {row['label']}, {row['batch']} x {row['size']}, {row['dtype']}, {row['phase']}, "
        f"{row['software']}: time, regime {row['regime']}"
    )


def _groups(errors: dict[str, list[float]]) -> list[Comparison]:
    """Errors of whole groups, and of all networks that were published one by one."""
    found = []
    for group, signed in errors.items():
        sizes = np.abs(signed)
        note = (
            f"{len(signed)} rows, median {np.median(sizes):.1%}, bias {np.mean(signed):+.1%}, largest {sizes.max():.0%}"
        )
        limit = next((most for name, most in MEANS.items() if group.startswith(name)), None)
        what = f"{group}: mean error of the time"
        if limit is None:
            found.append(information(SUITE, what, float(sizes.mean()), "", note))
        else:
            found.append(at_most(SUITE, what, float(sizes.mean()), limit, "see gpu_networks.csv", note))
    single = (signed for group, signed in errors.items() if not group.startswith(BENCHMARKS))
    published = np.abs([error for signed in single for error in signed])
    if len(published):
        note = f"{len(published)} rows"
        found.append(at_most(SUITE, "published networks: median error", float(np.median(published)), MEDIAN, "", note))
        share = float((published <= TOLERANCE).mean())
        found.append(at_least(SUITE, f"published networks: share within {TOLERANCE:.0%}", share, WITHIN, "", note))
    return found


def predicted_ms(row: Row) -> float:
    """Predicted time of a row in ms: of a step, or of all steps of a generation (prefill, then each new token against
    half of what is generated)."""
    settings = overrides(row["settings"].split())
    card = load(row["card"], {"gpu.regime": row["regime"], **settings})
    if row["phase"] != "generate":
        return _step_s(row, card, row["phase"], int(row["size"])) * 1e3
    given, new = map(int, row["size"].split("+"))
    steps = (new - 1) * _step_s(row, card, "decode", given + new // 2)
    return (_step_s(row, card, "prefill", given) + steps) * 1e3


def _step_s(row: Row, card: Accelerator, phase: str, size: int) -> float:
    """Seconds of one step. Language models are captured with few blocks and taken on in a straight line."""
    network = row["network"] + ("_decode" if phase.startswith("decode") else "")
    arguments = overrides(row["arguments"].split())
    training = phase.startswith("training")

    def seconds(**changed: int) -> float:
        workload = _workload(
            network, _frozen({**arguments, **changed}), int(row["batch"]), size, row["dtype"], training, row["prune"]
        )
        result = simulate(workload, card, allow_overflow=True)
        left_out = sum(r.latency_s for r in result.rows if r.phase == "UPDATE") if "no update" in phase else 0.0
        return result.latency_s - left_out

    if _has_blocks(row):
        blocks = int(arguments.get("num_hidden_layers", 32 if network.startswith("llama") else 12))
        first, second = (seconds(num_hidden_layers=count) for count in LAYERS)
        return first + (blocks - LAYERS[0]) * (second - first)
    return seconds()


def _has_blocks(row: Row) -> bool:
    """Whether a network is a language model of the transformers library: blocks of one size."""
    return row["network"].startswith(("llama", "bert", "hf:"))


def _frozen(arguments: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    def plain(value: Any) -> Any:
        return tuple(map(int, value.split(","))) if isinstance(value, str) and "," in value else value

    return tuple(
        (name, int(value) if isinstance(value, float) else plain(value)) for name, value in sorted(arguments.items())
    )


@cache
def _workload(
    network: str, arguments: tuple[tuple[str, Any], ...], batch: int, size: int, dtype: str, training: bool, prune: str
) -> Workload:
    """A network without weights, lowered."""
    import torch

    from zerocast.workloads import capture
    from zerocast.workloads import prune as pruned
    from zerocast.workloads.zoo import build

    sizes = {"tokens": size} if network.startswith(("llama", "bert", "hf:")) else {"image": size}
    with torch.device("meta"):
        model, inputs = build(network, batch, **sizes, **dict(arguments))
    pruning = None
    if prune:
        model, pruning = pruned(model, prune, inputs)
    return capture(model, inputs, name=network, training=training, dtype=dtype, pruning=pruning)
