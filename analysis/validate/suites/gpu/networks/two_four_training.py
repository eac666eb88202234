"""Training with 2:4 weights that are selected at run time, as published: forward and backward pass of an MLP.

Weights are selected at every step for both passes, whose products take them; weight gradients stay dense. What is timed
is the MLP with the input gradient of its first layer, in eager PyTorch, without loss and update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against, reference_rows
from zerocast.simulator import simulate

SUITE = "two_four_training"
RATIO, TIME = 0.05, 0.25
"""Error of the speedup, and of a time."""


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """Times dense and 2:4, and the speedup, of each row of the table."""
    found: list[Comparison] = []
    for row in reference_rows("gpu/two_four_training.csv"):
        say(row["label"])
        found += _compared(row)
    return found


def _compared(row: dict[str, str]) -> Iterator[Comparison]:
    dense_us, sparse_us = _step_us(row, None), _step_us(row, row["prune"])
    measured = {"dense": float(row["dense_us"]), "2:4": float(row["sparse_us"])}
    name = f"{row['card']}, {row['label']}, {row['dtype']}"
    for what, predicted in (("dense", dense_us), ("2:4", sparse_us)):
        yield against(SUITE, f"{name}, {what}", predicted, measured[what], "us", TIME, row["source"])
    yield against(SUITE, f"{name}: speedup", dense_us / sparse_us, measured["dense"] / measured["2:4"], "x", RATIO,
                  row["source"])  # fmt: skip


def _step_us(row: dict[str, str], recipe: str | None) -> float:
    """Forward and backward pass of the MLP, behind a normalisation that wants its input gradient and is not timed."""
    import torch
    from torch import nn

    from zerocast.workloads import capture, prune

    width, inner = int(row["width"]), int(row["inner"])
    with torch.device("meta"):
        model: nn.Module = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)
        )
        inputs = torch.empty(int(row["rows"]), width)
    pruning = None
    if recipe is not None:
        model, pruning = prune(model, recipe, first_and_last_dense=False)
    workload = capture(model, inputs, training=True, pruning=pruning, dtype=row["dtype"])
    result = simulate(workload, load(row["card"]), regime="eager")
    timed = (each for each in result.rows if each.phase != "UPDATE" and each.layer not in ("0", ""))
    return sum(each.latency_s for each in timed) * 1e6
