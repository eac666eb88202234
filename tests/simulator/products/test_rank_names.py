"""What an einsum's ranks are called says nothing: a price follows from the index expressions alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zerocast.accelerators import load, templates
from zerocast.simulator import simulate
from zerocast.simulator.products.gemm import gemms
from zerocast.workloads import Einsum, Tensor, Workload
from zerocast.workloads.ir import Affine
from zerocast.workloads.patterns import NM, Mask, Pattern, PerChannel

CONVOLUTIONS = {"plain": (1, 16, 12, 1, 3), "strided": (1, 8, 16, 2, 3), "grouped": (4, 4, 4, 1, 3),
                "depthwise": (16, 1, 1, 2, 3), "side by side": (1, 8, 8, 2, 2),
                "pointwise": (1, 16, 8, 1, 1)}  # fmt: skip
"""Groups, input and output channels of each, stride, kernel."""

PASSES = {"FF": "xwy", "BP": "ywx", "WU": "yxw"}
"""Operands and result of each pass, of y = x w."""

NAMES = dict(zip("ngkcpqrsmb", "pqrshwknct", strict=True))
"""Every rank takes a name that means something else elsewhere."""

SIDE = 5
"""Rows and columns of a convolution's output."""


def plain(ranks: str) -> tuple[Affine, ...]:
    return tuple(((rank, 1),) for rank in ranks)


def convolution(groups: int, inputs: int, outputs: int, stride: int, kernel: int) -> tuple[dict, dict, dict]:
    """Sizes, index expressions and shapes of x, w and y, padded by half a kernel."""
    sizes = {"n": 2, "g": groups, "k": outputs, "c": inputs, "p": SIDE, "q": SIDE, "r": kernel, "s": kernel}
    window = tuple(((place, stride), (tap, 1)) for place, tap in ("pr", "qs"))
    index = {
        "x": (*plain("n"), (("g", inputs), ("c", 1)), *window),
        "w": ((("g", outputs), ("k", 1)), *plain("crs")),
        "y": (*plain("n"), (("g", outputs), ("k", 1)), *plain("pq")),
    }
    image = (SIDE - 1) * stride + kernel - 2 * (kernel // 2)
    shapes = {"x": (2, groups * inputs, image, image), "w": (groups * outputs, inputs, kernel, kernel),
              "y": (2, groups * outputs, SIDE, SIDE)}  # fmt: skip
    return sizes, index, shapes


def product(batch: bool) -> tuple[dict, dict, dict]:
    """A matrix product, or one for each of 3 heads."""
    lead = "b" if batch else ""
    sizes = {**({"b": 3} if batch else {}), "m": 24, "k": 16, "c": 32}
    ranks = {"x": f"{lead}mc", "w": f"{lead}kc", "y": f"{lead}mk"}
    shapes = {name: tuple(sizes[rank] for rank in letters) for name, letters in ranks.items()}
    return sizes, {name: plain(letters) for name, letters in ranks.items()}, shapes


def workload(dtype: str, kinds: tuple[str, ...], passes: tuple[str, ...], zeros: str = "") -> Workload:
    """Each kind's operation in each of the passes, on operands with zeros known as a law, or as masks."""
    tensors: dict[str, Tensor] = {}
    ops = []
    for kind in kinds:
        made = convolution(*CONVOLUTIONS[kind]) if kind in CONVOLUTIONS else product(kind == "heads")
        sizes, index, shapes = made
        for name, shape in shapes.items():
            tensors[f"{kind}.{name}"] = Tensor(f"{kind}.{name}", shape, dtype, "constant")
        for phase in passes:
            a, b, out = PASSES[phase]
            names = [f"{kind}.{name}" for name in (a, b)]
            tensors[f"{kind}.d{out}"] = replace(tensors[f"{kind}.{out}"], name=f"{kind}.d{out}")
            op = Einsum(f"{kind}.{phase}", kind, phase, tuple(names), (f"{kind}.d{out}",), sizes,
                        (index[a], index[b], index[out]))  # fmt: skip
            found = known(op, shapes) if zeros == "law" else drawn(op, shapes) if zeros == "mask" else {}
            ops.append(replace(op, patterns=found))
    return Workload("ranks", tensors, tuple(ops))


def known(op: Einsum, shapes: dict) -> dict[int, Pattern]:
    """Densities of the input's channels, and N:M weights along the reduction."""
    rank = "g" if op.sizes["c"] == 1 else "c"
    shares = tuple(np.linspace(0.2, 0.8, op.sizes[rank]).tolist())
    return {0: PerChannel(rank, shares), **({1: NM(2, 4, "c")} if op.sizes["c"] % 4 == 0 else {})}


def drawn(op: Einsum, shapes: dict) -> dict[int, Pattern]:
    """Masks of input and weight, the image under the names that the einsum has for its windows."""
    rng = np.random.default_rng(1)
    windows = [window.name for window in op.windows(0)]
    lead = [rank for rank in ("n", "b", "g", "m", "c") if rank in op.ranks_of(0)]
    inner = [rank for rank in ("b", "g", "k", "c", "r", "s") if rank in op.ranks_of(1)]
    image = shapes["x"][2:] if windows else ()
    x = rng.random([*(op.sizes[rank] for rank in lead), *image]) < 0.5
    w = rng.random([op.sizes[rank] for rank in inner]) < 0.5
    return {0: Mask.of(x, [*lead, *windows]), 1: Mask.of(w, inner)}


def renamed(original: Workload) -> Workload:
    """The same workload with every rank of every einsum, and those of its patterns, under another name."""

    def pattern(given: Pattern) -> Pattern:
        if isinstance(given, Mask):
            return Mask.of(given.bits, ["+".join(NAMES[part] for part in rank.split("+")) for rank in given.ranks])
        return replace(given, rank=NAMES[given.rank])  # type: ignore[call-arg, attr-defined]

    def einsum(op: Einsum) -> Einsum:
        return replace(
            op, sizes={NAMES[rank]: size for rank, size in op.sizes.items()},
            index=tuple(tuple(tuple((NAMES[rank], by) for rank, by in dim) for dim in operand) for operand in op.index),
            patterns={position: pattern(given) for position, given in op.patterns.items()},
        )  # fmt: skip

    return replace(original, ops=tuple(einsum(op) for op in original.einsums))


@pytest.mark.parametrize("name", templates())
def test_renaming_the_ranks_changes_nothing(name: str) -> None:
    accelerator = load(name)
    dtype = next(iter(accelerator.compute.rates))
    original = workload(dtype, (*CONVOLUTIONS, "matrix", "heads"), tuple(PASSES), "law")
    for found, again in zip(simulate(original, accelerator).rows, simulate(renamed(original), accelerator).rows,
                            strict=True):  # fmt: skip
        assert found == again and found.latency_s > 0


@pytest.mark.parametrize("name", [name for name in templates() if load(name).skipping is not None])
def test_renaming_the_ranks_of_masks_changes_nothing(name: str) -> None:
    accelerator = load(name)
    original = workload(next(iter(accelerator.compute.rates)), ("strided", "grouped", "heads"), ("FF",), "mask")
    for found, again in zip(simulate(original, accelerator, fidelity="tile").rows,
                            simulate(renamed(original), accelerator, fidelity="tile").rows, strict=True):  # fmt: skip
        assert found == again


def test_windows_are_known_by_what_their_ranks_do() -> None:
    forward, backward, update = workload("fp16", ("strided",), tuple(PASSES)).ops
    assert isinstance(forward, Einsum) and isinstance(backward, Einsum) and isinstance(update, Einsum)
    assert [(w.axis, w.position, w.tap, w.stride, w.dilation) for w in forward.windows(0)] == [
        (2, "p", "r", 2, 1), (3, "q", "s", 2, 1)
    ]  # fmt: skip
    # the weight gradient slides the output gradient over the input: steps of 1, taps 2 apart
    assert [(w.position, w.tap, w.stride, w.dilation) for w in update.windows(1)] == [
        ("r", "p", 1, 2),
        ("s", "q", 1, 2),
    ]
    assert not forward.windows(1) and not backward.windows(0) and not backward.windows(1)
    (matrix,) = workload("fp16", ("matrix",), ("FF",)).einsums
    assert not matrix.windows(0) and not matrix.windows(1)


def test_a_flattened_weight_has_the_gradient_of_any_other() -> None:
    """y[m, k] = x[m, c] w[k * 32 + c] with w in one dimension: one product, as large as that of a matrix."""
    flat = {"x": plain("mc"), "w": ((("k", 32), ("c", 1)),), "y": plain("mk")}
    sizes = {"m": 24, "k": 16, "c": 32}
    shapes = {"x": (24, 32), "w": (16 * 32,), "y": (24, 16)}
    tensors = {name: Tensor(name, shape, "fp16", "constant") for name, shape in shapes.items()}
    op = Einsum("WU", "", "WU", ("y", "x"), ("w",), sizes, (flat["y"], flat["x"], flat["w"]))
    (gemm,) = gemms(Workload("flat", tensors, (op,)), op)
    assert (gemm.batch, gemm.m, gemm.n, gemm.k, gemm.conv) == (1, 16, 32, 24, None)
    assert (gemm.input.unique, gemm.weight.unique, gemm.output.unique, gemm.input.halo) == (24 * 16, 24 * 32, 512, 0)
