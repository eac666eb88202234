"""Training iterations of language models on groups of cards: products shared, layers dealt, batches to replicas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import numpy as np

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.run.network import Network, lower, silent
from zerocast.analysis.validate.comparison import Comparison, at_most, information, reference_rows
from zerocast.simulator import simulate
from zerocast.simulator.cards import Layout, iteration
from zerocast.simulator.result import Result
from zerocast.workloads.ir import Workload

SUITE = "gpu_iterations"
CARD, REGIME = "nvidia-a100-sxm-80g", "megatron"
WORDS = 51_200
"""Vocabulary of GPT-2, rounded up to whole multiples of 128 for each of so many cards, as Megatron-LM has it."""
MOST = 0.15
SOURCE = "github.com/VIA-Research/vTrain @f8dda8473a, MIT wording"
Row = dict[str, str]


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """Mean error of the networks that the host's time was fitted to, of the others, and of each layout in all."""
    if not find_spec("transformers"):
        return []
    errors: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in reference_rows("gpu/iterations.csv"):
        if row["part"] not in errors:
            say(f"{row['part']} networks")
        layout = f"{row['tensor_parallel']} x {row['pipeline']} x {row['data_parallel']}"
        errors[row["part"]].append((layout, predicted_s(row) / (float(row["ms"]) * 1e-3) - 1))
    found = []
    for part, each in errors.items():
        signed = np.array([error for _, error in each])
        note = f"{len(signed)} rows, bias {signed.mean():+.1%}, largest {np.abs(signed).max():.0%}"
        what = f"iterations of GPT on 2 to 8 A100, {part} networks: mean error of the time"
        found.append(at_most(SUITE, what, float(np.abs(signed).mean()), MOST, SOURCE, note))
    layouts: dict[str, list[float]] = defaultdict(list)
    for name, error in sorted(each for part in errors.values() for each in part):
        layouts[name].append(error)
    for name, mine in layouts.items():
        words = f"tensor x pipeline x data parallel {name}: mean error of the time"
        found.append(information(SUITE, words, float(np.mean(np.abs(mine))), "", f"{len(mine)} rows"))
    return found


def predicted_s(row: Row) -> float:
    """Seconds of an iteration of a row."""
    sizes = int(row["hidden"]), int(row["layers"]), int(row["heads"]), int(row["tokens"]), int(row["micro_batch"])
    result = _micro_batch(*sizes, int(row["tensor_parallel"]))
    replicas = int(row["data_parallel"])
    layout = Layout(int(row["pipeline"]), replicas, int(row["batch"]) // (replicas * int(row["micro_batch"])))
    return iteration(result, _cards(int(row["tensor_parallel"])), layout).latency_s


@cache
def _micro_batch(hidden: int, layers: int, heads: int, tokens: int, batch: int, cards: int) -> Result:
    return simulate(_workload(hidden, layers, heads, tokens, batch), _cards(cards), allow_overflow=True)


@cache
def _cards(cards: int) -> Accelerator:
    return load(CARD, {"gpu.regime": REGIME, "gpu.cards": cards})


@cache
def _workload(hidden: int, layers: int, heads: int, tokens: int, batch: int) -> Workload:
    arguments = {"n_embd": hidden, "n_layer": layers, "n_head": heads, "n_positions": tokens, "vocab_size": WORDS,
                 "activation_function": "gelu", "use_cache": False}  # fmt: skip
    network = Network("hf:openai-community/gpt2", training=True, batch=batch, optimizer="adamw", dtype="fp16",
                      tokens=tokens, arguments=tuple(arguments.items()))  # fmt: skip
    return lower(network, silent)
