"""What the claims of the systems come to: for each number, a function from the priced command to figures by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from zerocast.accelerators import load
from zerocast.analysis.run.counted import counted, published_step
from zerocast.analysis.run.network import Network
from zerocast.analysis.validate.suites.systems.factorised import FACTORISED
from zerocast.analysis.validate.suites.systems.scoreboard import Predict
from zerocast.analysis.validate.suites.systems.trial import NETWORKS, Trial, lowered, placed
from zerocast.simulator import plain_gemm, simulate
from zerocast.simulator.gpu import gpu_rows
from zerocast.workloads import build, prune
from zerocast.workloads.from_torch import capture_once
from zerocast.workloads.ir import Workload
from zerocast.workloads.patterns import DENSE, NM, VNM, Pattern
from zerocast.workloads.recipes.targets import Target, targets
from zerocast.workloads.schedules import parse_schedule
from zerocast.workloads.schedules.schedule import density_of
from zerocast.workloads.schedules.upkeep import kept_shares

_Case = tuple[str, tuple[tuple[str, Any], ...]]
"""A factory and its arguments."""


def progressive_gradient_flow(trial: Trial) -> Mapping[str, float]:
    """Stages and operations of the decay to 1:16, of the layers that it prunes."""
    trained = trial.trained
    pruned = trained.parameters - trained.curve.values["weights"][-1]  # 15 of 16 weights of the pruned layers are gone
    assert pruned > 0
    parts = [part for part in trained.parts if part.weights]
    saved = sum(part.dense_flops - part.flops for part in parts) / sum(part.dense_flops for part in parts)
    first = parts[0]
    return {
        "stages": len(parts),
        "densities": trained.density,
        # a stage at density d saves (1 - d) of FF and BP: what the first one saves tells the share of the pruned layers
        "flops": 1 - saved * (2 / 3) * (1 / 16) / (1 - first.flops / first.dense_flops),
    }


def bidirectional(trial: Trial) -> Mapping[str, float]:
    """Mean over five networks, as the suite `sat` has it."""
    del trial
    from zerocast.analysis.validate.suites.arrays.sat import NETWORKS, speedup

    array = load("sat-vcu1525")
    return {"speedup": mean(speedup(network, "bdwp:2:8", array) for network in NETWORKS)}


def _kernel_us(card: str, rows: int, k: int, columns: int, weight: Pattern) -> float:
    """A product of `rows` x `k` weights and `k` x `columns` activations, in us."""
    accelerator = load(card)
    gemm = plain_gemm(columns, rows, k, "fp16", 16, DENSE, weight)
    return gpu_rows([gemm], accelerator)[0].latency_s * 1e6


def essential(trial: Trial) -> Mapping[str, float]:
    """One product of BERT-large's width."""
    dense, sparse = (_kernel_us(trial.machine.name, 1024, 4096, 4096, p) for p in (DENSE, NM(2, 4, "k")))
    return {"dense_s": dense, "gain": dense / sparse}


def hierarchical(trial: Trial) -> Mapping[str, float]:
    """The same product under panels of two heights."""
    return {str(v): _kernel_us(trial.machine.name, 1024, 4096, 4096, VNM(v, 2, 8, "k", "n")) for v in (64, 128)}


def soups(trial: Trial) -> Mapping[str, float]:
    """Length of the run, and how often models are averaged."""
    trained = trial.trained
    averages = sum(part.steps for part in trained.parts if part.what.startswith("average"))
    return {"steps": trained.steps / trial.asked["steps"], "averages": averages}


def lottery(trial: Trial) -> Mapping[str, float]:
    """Rounds, what is left, and the length of the search."""
    trained = trial.trained
    last = parse_schedule(trial.asked["schedule"]).segments[-1]
    return {
        "rounds": len(trained.schedule.segments) - 1,
        "kept": float(last.recipe.partition(":")[2]),
        "steps": trained.steps / trial.asked["steps"],
    }


def soft_masks(trial: Trial) -> Mapping[str, float]:
    """Weights kept of a layer that the recipe prunes."""
    densities = {trial.workload.pattern_of(op, 1).density for op in trial.workload.einsums}
    return {"density": min(densities)}


def predefined(trial: Trial) -> Mapping[str, float]:
    """Share of the multiply-accumulates that the narrower architectures lack."""
    del trial
    pairs: dict[str, tuple[_Case, _Case]] = {
        "vgg16": (("vgg16", ()), ("vgg16", (("pruned", True),))),
        "resnet34": (("resnet34", ()), ("resnet34", (("pruned", True),))),
    }
    for name in ("resnet56-a", "resnet56-b", "resnet110-a"):
        whole = name.partition("-")[0]
        pairs[name] = (("resnet_cifar", (("variant", whole),)), ("resnet_cifar", (("variant", name),)))
    found: dict[str, float] = {}
    for name, cases in pairs.items():
        dense, narrow = (_macs(factory, arguments) for factory, arguments in cases)
        found[name] = round(100 * (1 - narrow / dense), 1)
    return found


def narrow_language_models(trial: Trial) -> Mapping[str, float]:
    """Parameters, operations and storage of language models with fewer dimensions, heads and features."""
    del trial
    hidden = lowered(Network("hf:meta-llama/Llama-2-7b-hf", "hidden:0.8", tokens=64))
    layers = "@*layers.[4-9].*|*layers.[12][0-9].*"
    grouped = lowered(Network("hf:meta-llama/Llama-3.1-8B", f"heads:0.75{layers}+ffn:0.75{layers}", tokens=64))
    return {
        "parameters": round(hidden.parameters / 1e9, 2), "macs": hidden.macs / 1e9,
        "mib": 2 * hidden.parameters / 2**20, "grouped": grouped.parameters,
    }  # fmt: skip


def narrow_trunk(trial: Trial) -> Mapping[str, float]:
    """Against the whole network on the same card."""
    whole = simulate(lowered(replace(trial.network, prune=None)), trial.machine)
    return {"speedup": whole.latency_s / trial.result.latency_s}


def _macs(factory: str, arguments: tuple[tuple[str, Any], ...]) -> int:
    return lowered(Network(placed(f"{NETWORKS}:{factory}"), arguments=arguments)).macs


def gradual(trial: Trial) -> Mapping[str, float]:
    """Nonzeros at 90 %; operations and storage of MobileNet-v1, whose depthwise layers stay dense, under the even law
    the first layer too."""
    found = {"nonzeros": 1 / density_of(trial.trained.schedule.segments[-1].recipe)}
    module, inputs = build("mobilenet_v1")
    module = module.to("meta")
    layers = targets(module)
    depthwise = [target.layer for target in layers if "g" in target.ranks]
    captured = capture_once(module, inputs)
    for law, dense in (("erk", depthwise), ("uniform", [*depthwise, layers[0].layer])):
        for sparsity in (75, 90, 95):
            recipe = f"magnitude:{1 - sparsity / 100:.4g}:{law}"
            _, pruning = prune(module, recipe, dense=dense, first_and_last_dense=False)
            forward = captured.under(pruning)
            found[f"{law}-{sparsity}"] = 2 * effectual_macs(forward) / 1e6
            found[f"{law}-{sparsity}-mb"] = _stored_mb(layers, kept_shares(forward))
    return found


def _stored_mb(layers: Sequence[Target], kept: Mapping[str, float]) -> float:
    """As RigL counts: 4 bytes of each nonzero, a bit of each weight, 4 bytes of a bias for each output of a layer that
    is not depthwise."""
    biases = sum(target.extent("k") for target in layers if "g" not in target.ranks)
    return (sum((4 * kept[target.name] + 1 / 8) * target.size for target in layers) + 4 * biases) / 1e6


def effectual_macs(forward: Workload) -> float:
    """Multiply-accumulates of a forward pass whose operands are not zero."""
    return counted(forward)["FF"].effectual_macs


def _forward(recipe: str | None) -> Workload:
    """ResNet-50 for ImageNet, on which RigL's table is."""
    return lowered(Network("resnet50", recipe))


def _share(recipe: str) -> float:
    """Operations of a forward pass under a recipe, of the dense one."""
    return effectual_macs(_forward(recipe)) / effectual_macs(_forward(None))


def random_pruning(trial: Trial) -> Mapping[str, float]:
    """Inference and storage of static masks."""
    del trial
    module, _ = build("resnet50")
    layers = targets(module)
    found: dict[str, float] = {}
    for sparsity in (80, 90):
        forward = _forward(f"static:{1 - sparsity / 100:.4g}:erk")
        found[f"erk-{sparsity}"] = effectual_macs(forward) / effectual_macs(_forward(None))
        found[f"erk-{sparsity}-mb"] = _stored_mb(layers, kept_shares(forward))
    return found


def dynamic(trial: Trial) -> Mapping[str, float]:
    """Training operations of masks that move, with a dense weight gradient every 100 steps, of one dense run."""
    del trial
    dense = published_step(lowered(Network("resnet50", training=True))).macs
    found: dict[str, float] = {}
    for law, sparsities in (("erk", (80, 90, 96.5)), ("uniform", (80, 90))):
        for sparsity in sparsities:
            step = lowered(Network("resnet50", f"rigl:{1 - sparsity / 100:.4g}:{law}:DT=100", training=True))
            share = published_step(step).effectual_macs / dense
            found |= {f"{law}-{sparsity:g}": share, f"{law}-{sparsity:g}-5x": 5 * share}
    del found["erk-96.5"]  # of which the table has the long run alone
    return found


def granet(trial: Trial) -> Mapping[str, float]:
    """Forward operations over the ramp and after it, priced at nine sparsities."""
    schedule, steps = parse_schedule(trial.asked["schedule"], trial.asked["recipe"]), trial.asked["steps"]
    mean = 0.0
    for segment in schedule.segments:
        knots = [0.5 + 0.3 * place / 8 for place in range(9)] if segment.ramp else []
        mean += sum(point.steps * _share(point.recipe) for point in schedule.points(segment, steps, knots)) / steps
    return {"mean": mean, "last": _share(schedule.segments[-1].recipe)}


def sparse_pretraining(trial: Trial) -> Mapping[str, float]:
    """Operations of a sequence of 2,048 tokens, a backward pass counted as two forward ones."""
    del trial
    sizes: dict[str, tuple[tuple[str, int], ...]] = {"s": (), "xl": (("n_embd", 2048), ("n_head", 16), ("n_layer", 24))}
    found: dict[str, float] = {}
    for size, arguments in sizes.items():
        for sparsity in (0, 50) if size == "s" else (0, 75):
            recipe = f"static:{1 - sparsity / 100:.4g}" if sparsity else None
            network = Network("hf:openai-community/gpt2", recipe, tokens=2048,
                              arguments=(*arguments, ("n_positions", 2048)))  # fmt: skip
            found[f"{size}-{sparsity}"] = 6 * effectual_macs(lowered(network))
    return found | {"speedup": found["xl-0"] / found["xl-75"]}


def journey(trial: Trial) -> Mapping[str, float]:
    """Average parameters of eight schedules."""
    del trial
    return {
        f"{ramp}-{final}": round(parse_schedule(f"{ramp}:0-{final}@25%-75%").density(1), 12)
        for ramp in ("linear", "cubic") for final in (0.2, 0.4, 0.6, 0.8)
    }  # fmt: skip


PREDICTIONS: dict[int, Predict] = {
    1: progressive_gradient_flow, 2: hierarchical, 4: bidirectional, 7: narrow_language_models, 10: essential,
    12: random_pruning, 18: narrow_trunk, 19: gradual, 20: sparse_pretraining, 25: journey, 32: granet, 46: soups,
    49: predefined, 52: dynamic, 53: lottery, 57: soft_masks, **FACTORISED,
}  # fmt: skip
