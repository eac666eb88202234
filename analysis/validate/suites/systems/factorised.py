"""What the claims of factorised, adapted and sliced weights come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zerocast.analysis.run.network import Network
from zerocast.analysis.validate.suites.systems.scoreboard import Predict
from zerocast.analysis.validate.suites.systems.trial import Trial, lowered
from zerocast.simulator import simulate
from zerocast.workloads.ir import Workload
from zerocast.workloads.recipes import chain

_LLAMA = "hf:meta-llama/Llama-2-7b-hf"
_SIZES: dict[str, tuple[int, int, int, int, str]] = {
    # hidden size, intermediate size, heads, layers, recipe: configs/ and scripts/ of github.com/andyjm3/SLTrain
    "60m": (512, 1376, 8, 8, "128:0.03"), "130m": (768, 2048, 12, 12, "256:0.03"),
    "350m": (1024, 2736, 16, 24, "256:0.03"), "1b": (2048, 5461, 32, 24, "512:0.03"),
    "7b": (4096, 11008, 32, 32, "1024:0.05"),
}  # fmt: skip


def _of_size(name: str, recipe: str | None) -> Workload:
    hidden, inner, heads, layers, _ = _SIZES[name]
    arguments = (("hidden_size", hidden), ("intermediate_size", inner), ("num_attention_heads", heads),
                 ("num_hidden_layers", layers), ("num_key_value_heads", heads))  # fmt: skip
    return lowered(Network(_LLAMA, recipe, tokens=256, arguments=arguments))


def sparse_and_low_rank(trial: Trial) -> Mapping[str, float]:
    """Parameters of the five LLaMAs, in millions, before and after."""
    del trial
    found: dict[str, float] = {}
    for name in _SIZES:
        found[name] = _of_size(name, None).parameters / 1e6
        found[f"{name}-after"] = _of_size(name, f"sparse+lowrank:{_SIZES[name][-1]}").parameters / 1e6
    return found


def monarch(trial: Trial) -> Mapping[str, float]:
    """Parameters in millions; multiply-accumulates of 1,024 tokens without the head; steps of training on the card."""
    found: dict[str, float] = {}
    small: tuple[tuple[str, Any], ...] = (
        ("hidden_size", 768), ("intermediate_size", 2304), ("num_attention_heads", 8), ("num_hidden_layers", 8)
    )  # fmt: skip
    networks = {
        "gpt2": Network("hf:openai-community/gpt2", tokens=1024),
        "bert": Network("hf:google-bert/bert-base-uncased", tokens=128),
        "vit-s": Network("hf:google/vit-base-patch16-224", arguments=small),
        "vit-b": Network("hf:google/vit-base-patch16-224"),
    }
    for name, network in networks.items():
        found[name] = _with(network, "monarch:4").parameters / 1e6
    for key, recipe in (("gpt2-dense-macs", None), ("gpt2-macs", "monarch:4")):
        step = _with(networks["gpt2"], recipe)
        found[key] = sum(op.macs for op in step.einsums if op.layer != "lm_head") / 1e9
    dense, factors = trial.trained.dense, trial.trained.parts[0]
    found["gpt2-speedup"] = (dense.time_s / dense.steps) / (factors.time_s / factors.steps)
    return found


def _with(network: Network, recipe: str | None) -> Workload:
    return lowered(replace(network, prune=recipe))


def gated_adapters(trial: Trial) -> Mapping[str, float]:
    """Parameters of the adapters that are left, of all, where 7 of 10 ranks are."""
    return {"retained": _trained(trial.workload) / _trained(lowered(Network(
        trial.network.model, "lora:10", training=True, tokens=trial.network.tokens
    )))}  # fmt: skip


def _trained(step: Workload) -> int:
    """Parameters that a step updates."""
    return sum(step.tensors[op.outputs[0]].elements for op in step.ops if op.phase == "UPDATE")


def sparse_updates(trial: Trial) -> Mapping[str, float]:
    """Parameters that are trained, in percent of all; operations of linear layers that three of twelve heads have."""
    whole = lowered(Network(trial.network.model, tokens=trial.network.tokens))
    fewer = lowered(Network(trial.network.model, "heads:9", tokens=trial.network.tokens))
    linear = [sum(op.macs for op in each.einsums if op.source == "linear") for each in (whole, fewer)]
    adapters = lowered(Network(trial.network.model, "lora:16", training=True, tokens=trial.network.tokens))
    return {"trained": 100 * _trained(adapters) / whole.parameters, "heads": 100 * (1 - linear[1] / linear[0])}


def gradients_of_adapters(trial: Trial) -> Mapping[str, float]:
    """Memory of weights, activations and gradients that importances are found from, of adapters against those of all
    weights; nothing is updated meanwhile."""
    held = []
    for recipe in (None, "lora:8"):
        network = replace(trial.network, prune=recipe, training=True, optimizer="sgd", dtype="bf16",
                          arguments=(("num_hidden_layers", 4),))  # fmt: skip
        memory = simulate(lowered(network), trial.machine).footprint.peak
        held.append(sum(memory.get(name, 0.0) for name in ("weights", "gradients", "activations kept")))
    return {"memory": 100 * (1 - held[1] / held[0])}


def iso_operations(trial: Trial) -> Mapping[str, float]:
    """Widths and branches, and the operations of the layers that the recipe changes, of those of before."""
    found: dict[str, float] = {}
    for sparsity in (50, 75, 90):
        (wide, _), (parallel, _) = (chain(f"ift-{kind}:{sparsity}%") for kind in ("wide", "parallel"))
        found[f"width-{sparsity}"] = dict(wide.arguments)["factor"]
        found[f"branches-{sparsity}"] = dict(parallel.arguments)["count"]
    dense = lowered(Network(trial.network.model))
    for kind in ("wide", "parallel", "factorised", "doped"):
        sparse = lowered(Network(trial.network.model, f"ift-{kind}:75%"))
        found[kind] = _inner(sparse) / _inner(dense)
    return found


def _inner(workload: Workload) -> float:
    """Multiply-accumulates with nonzero weights of all but what reads the input and makes the results."""
    einsums = list(workload.einsums)
    return sum(op.macs * workload.pattern_of(op, 1).density for op in einsums[1:-1])


def sliced(trial: Trial) -> Mapping[str, float]:
    """Products of a layer at 2,048 tokens, in ms, without the turns of the shortcuts, as the table has them."""
    found: dict[str, float] = {}
    for size in ("7b", "13b"):
        times = {}
        for key, recipe in (("dense", None), ("25", "slice:0.25"), ("50", "slice:0.5")):
            model, arguments = f"hf:meta-llama/Llama-2-{size}-hf", (("num_hidden_layers", 2),)
            network = Network(model, recipe, tokens=2048, arguments=arguments)
            rows = simulate(lowered(network), trial.machine).rows
            inner = [row for row in rows if "layers.1." in row.op and "_proj" in row.op and not row.op.endswith("turn")]
            times[key] = sum(row.latency_s for row in inner if row.kind == "einsum") * 1e3
        found |= {f"{size}-{key}": time for key, time in times.items()}
        found |= {f"{size}-{key}-speedup": times["dense"] / times[key] for key in ("25", "50")}
    return found


FACTORISED: dict[int, Predict] = {
    5: sparse_updates, 26: sliced, 35: sparse_and_low_rank, 38: gradients_of_adapters, 39: monarch, 43: gated_adapters,
    50: iso_operations,
}  # fmt: skip
