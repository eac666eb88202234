"""Cnvlutin (ISCA 2016) over its dense twin on VGG-16: independent zeros, those of a photograph, gating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, information
from zerocast.analysis.validate.suites.zeroskip.layers import layers, without_zeros, workload_of
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE
from zerocast.simulator import Result, simulate
from zerocast.simulator.simulation import Fidelity
from zerocast.workloads import Einsum, Workload, WorkloadError

PAPER = "Cnvlutin (Albericio et al., ISCA 2016), abstract"

RANGE = (1.24, 1.37, 1.55)
"""Least, mean and greatest speedup over the dense node: abstract of Cnvlutin."""

MODES = ("none", "gate", "skip")
"""What the array does with a zero activation: multiply by it, switch nothing for it, spend no cycle on it."""

ZEROS = 0.44
"""Share of zero activation operands in Cnvlutin's networks, as quoted by Jouppi et al., ISCA 2017."""

WHAT = "cnvlutin over its dense twin, VGG-16"


def compare() -> list[Comparison]:
    """VGG-16 with independent zeros as frequent as in the paper's networks, and with those of a photograph."""
    thinned = independent()
    held = _in_range(f"{WHAT}, {ZEROS:.0%} independent zeros", _gain(thinned, "analytic"),
                     "as in the paper's networks, where they crowd in some channels; first layer dense")  # fmt: skip
    return [held, *gating(thinned), *_photograph()]


def independent() -> Workload:
    """VGG-16's convolutions with `ZEROS` of the activations zero, independently; the image and weights dense."""
    first, *rest = map(without_zeros, layers("vgg16"))
    return workload_of([first, *(replace(layer, input_density=1 - ZEROS) for layer in rest)], "int16")


def gating(workload: Workload) -> list[Comparison]:
    """Energy with zeros gated and with zeros skipped, over that of the node that sees no zeros."""
    blind, *seen = (simulate(workload, load("cnvlutin", {"sparsity.input.mode": mode})) for mode in MODES)
    return [
        information(SUITE, f"cnvlutin, VGG-16, {ZEROS:.0%} independent zeros: energy, {mode} against none",
                    result.energy_j / blind.energy_j, "x",
                    f"multipliers and registers {_array_j(result) / _array_j(blind):.2f}x, time "
                    f"{result.latency_s / blind.latency_s:.2f}x; buffers are read as often with either, and the "
                    "template has no static power")
        for mode, result in zip(MODES[1:], seen, strict=True)
    ]  # fmt: skip


def _array_j(result: Result) -> float:
    """Energy of multipliers and registers, in J."""
    return result.total("mac_j") + result.total("register_j")


def _photograph() -> list[Comparison]:
    """The speedup with a photograph's zeros, and without what the lanes lose by waiting."""
    try:
        traced = photographed()
    except WorkloadError:  # the record says which rows need the extra
        return []
    zeros = 1 - _operand_density(traced)
    turns = {"skipping.arrangements": [{"m": {"tile": 1}, "n": {"tile": 256}, "k": {"lanes": 16, "block": 16}}]}
    rows = [
        _in_range(f"{WHAT}, photograph", _gain(traced, "tile"),
                  f"{zeros:.0%} of this trunk's operands are zero against {ZEROS:.0%} in the paper's networks, so that "
                  "it may leave their range; first layer dense"),
        information(SUITE, f"{WHAT}, photograph, lanes wait for nothing",
                    _gain(traced, "tile", {"skipping.wait": "never"}), "x"),
        information(SUITE, f"{WHAT}, photograph, bricks of 16 channels dealt in turn",
                    _gain(channels_last(traced), "tile", turns), "x",
                    "instead of a slice of the window's channels for each lane"),
    ]  # fmt: skip
    return [replace(row, needs="real") for row in rows]


def _in_range(what: str, gain: float, note: str) -> Comparison:
    """A speedup that must lie in the range of the paper's networks; the reference is their mean."""
    least, mean, most = RANGE
    return Comparison(SUITE, what, gain, mean, "x", gain / mean - 1, most / mean - 1, least <= gain <= most,
                      PAPER, f"published {least} to {most}; {note}")  # fmt: skip


def photographed() -> Workload:
    """The trunk of VGG-16 with the masks of scikit-image's first picture on its activations.

    Raises `WorkloadError`, which names the extra to install, where weights or pictures are missing.
    """
    from zerocast.workloads import apply_trace, build, capture, trace
    from zerocast.workloads.tracing.photos import SCALES, photo_files, read_photo

    name = "vgg16_hed"
    module, example = build(name)
    picture = read_photo(photo_files("builtin")[0], example[0].shape[-1], SCALES[name])
    measured = trace(module, [picture[None]], name=name)
    return apply_trace(capture(module, example, name=name, training=False), measured)


def channels_last(workload: Workload) -> Workload:
    """The workload with the channels innermost along the reduction, so that a brick is one position's channels."""

    def moved(op: Einsum) -> Einsum:
        return replace(op, sizes={**{rank: size for rank, size in op.sizes.items() if rank != "c"}, "c": op.sizes["c"]})

    return workload.with_ops(tuple(moved(op) if isinstance(op, Einsum) else op for op in workload.ops))


def _gain(workload: Workload, fidelity: Fidelity, overrides: Mapping[str, Any] | None = None) -> float:
    """Time of the convolutions on the node that skips nothing, over that on Cnvlutin."""
    dense = simulate(workload, load("cnvlutin", {"sparsity.input.mode": "none"}))
    skipped = simulate(workload, load("cnvlutin", overrides), fidelity=fidelity)
    times = [sum(row.latency_s for row in result.rows if row.kind == "einsum") for result in (dense, skipped)]
    return times[0] / times[1]


def _operand_density(workload: Workload) -> float:
    """Share of the multiplications whose activation is not zero."""
    ops = list(workload.einsums)
    return sum(op.macs * workload.pattern_of(op, 0).density for op in ops) / sum(op.macs for op in ops)
