"""Memory of training and serving as published: what rules of update keep, steps on one card, LoRA, layers over cards.

Networks are those of the publications by their widths, without weights; the software is eager PyTorch. Two batches are
not published: those that give the row of one rule (`gives the batch`) are taken for the other rules of that size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import torch

from zerocast.accelerators import Accelerator, load
from zerocast.accelerators.library import with_regime
from zerocast.analysis.run.values import overrides
from zerocast.analysis.validate.comparison import Comparison, against, information, reference_rows
from zerocast.simulator.cards.dealing import Dealing
from zerocast.simulator.program.fit import fullest_of
from zerocast.simulator.program.footprint import footprint
from zerocast.simulator.program.program import Program, program
from zerocast.simulator.result import Footprint
from zerocast.workloads import build, capture, expand_training, prune
from zerocast.workloads.dtypes import types_of, with_weights
from zerocast.workloads.ir import Workload
from zerocast.workloads.training import Autograd
from zerocast.workloads.training.checkpoints import with_checkpoints

SUITE = "memory"
TOLERANCE = {"state": 0.002, "step": 0.15, "lora": 0.15, "serve": 0.05, "dealt": 0.05}
CAPACITY_GB = 40.0
"""Of the cards that the rows `fits` are about."""

Row = dict[str, str]


def parts() -> tuple[str, ...]:
    """Groups of rows."""
    return tuple(TOLERANCE)


def compare(say: Callable[[str], None], part: str | None = None) -> list[Comparison]:
    """All rows of the table, or those of a group."""
    if not find_spec("transformers"):
        return []
    found: list[Comparison] = []
    for row in reference_rows("gpu/memory.csv"):
        if part in (None, row["group"]):
            say(f"memory: {row['label']}")
            found += _compared(row)
    return [replace(each, needs="models") for each in found]


def _compared(row: Row) -> Iterator[Comparison]:
    cards = f", {row['cards']} cards" if row["cards"] else ""
    name, gigabytes = f"{row['group']}: {row['label']}{cards}", _predicted(row) / 1e9
    if row["gigabytes"]:
        measured = float(row["gigabytes"])
        if "gives the batch" in row["label"]:
            yield information(SUITE, name, gigabytes, "GB", f"published {measured:g}, from which the batch is taken")
        else:
            yield against(SUITE, name, gigabytes, measured, "GB", TOLERANCE[row["group"]], row["source"])
    if row["fits"]:
        fits = {True: "yes", False: "no"}[gigabytes <= CAPACITY_GB]
        note = (
            f"needs {gigabytes:.1f} GB of {CAPACITY_GB:g}, published: {'fits' if row['fits'] == 'yes' else 'does not'}"
        )
        yield against(SUITE, f"{name}: fits or not", float(fits == row["fits"]), 1.0, "", 0.0, row["source"], note)


def _predicted(row: Row) -> float:
    """Bytes of a row: of weights, their indices and states; of the fullest card; or of the peak."""
    if row["adapter"].startswith("sparse"):
        return _of_sparse(row)
    planned = _program(row)
    if row["group"] == "state":
        return _lasting(planned.footprint)
    if not row["cards"]:
        return planned.footprint.peak_bytes
    return fullest_of(Dealing(planned.plan.workload), planned.storage, int(row["cards"]))


def _lasting(memory: Footprint) -> float:
    return sum(memory.peak.get(name, 0) for name in ("weights", "optimizer state"))


def _of_sparse(row: Row) -> float:
    """Weights, states and indices of a network whose weights are made at every step; all blocks are as large as the
    second of two."""
    values = overrides(row["arguments"].split())
    sizes = []
    for blocks in (1, 2):
        with torch.device("meta"):
            module, inputs = build(row["network"], batch=1, tokens=int(row["tokens"]),
                                   **values | {"num_hidden_layers": blocks})  # fmt: skip
            module, _ = prune(module, row["adapter"])
        step = capture(module, inputs, dtype="bf16", training=True, optimizer=row["rule"])
        places = sum(each.numel() * 8 for name, each in module.named_buffers() if name.endswith("places"))
        sizes.append(_lasting(footprint(step)) + places)
    return sizes[0] + (int(values["num_hidden_layers"]) - 1) * (sizes[1] - sizes[0])


def _program(row: Row) -> Program:
    forward, trained = _forward(row["network"], row["arguments"], int(row["batch"]), int(row["tokens"] or 0),
                                int(row["cache"] or 0), row["adapter"], row["dtype"] or "bf16")  # fmt: skip
    return program(_step(forward, trained, row) if row["rule"] else forward, _card(row["settings"]))


def _step(forward: Workload, trained: frozenset[str], row: Row) -> Workload:
    weights = {name for name, tensor in forward.tensors.items() if tensor.role == "weight"}
    autograd = Autograd(frozenset(weights - trained))
    if row["checkpoint"]:
        autograd = with_checkpoints(forward, autograd, (row["checkpoint"],))
    return expand_training(forward, row["rule"], autograd=autograd, per_layer=bool(row["update"]))


@cache
def _forward(
    network: str, arguments: str, batch: int, tokens: int, cached: int, adapter: str, dtype: str
) -> tuple[Workload, frozenset[str]]:
    """The forward pass of a network, of which what an adapter leaves frozen is stored in the narrower type of a pair,
    and the names of the weights that are trained."""
    with torch.device("meta"):
        module, inputs = build(network, batch=batch, tokens=tokens or None, cache=cached or None,
                               **overrides(arguments.split()))  # fmt: skip
        module, _ = prune(module, adapter or "dense")
    types = types_of(dtype)
    forward = capture(module, inputs, dtype=types.activations, equal_layers_once=True)
    trained = frozenset(name for name, weight in module.named_parameters() if weight.requires_grad)
    if types.weights:
        forward = with_weights(forward, types.weights, forward.inner_weights - trained if adapter else None)
    return forward, trained


@cache
def _card(settings: str) -> Accelerator:
    """The card in eager PyTorch; whose attention is one kernel but where a publication's code switches that off."""
    return with_regime(load("nvidia-a100-sxm-80g", overrides(settings.split())), "eager")
