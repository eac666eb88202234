"""Lower an einsum to matrix products: what the array sees of it.

out[M, N] = input[M, K] weight[K, N], `batch` times over. M collects the ranks of operand a and the output,
N those of b and the output, K those of a and b, batch those of all three.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Compute, Role
from zerocast.accelerators.schema.given import Given
from zerocast.simulator.errors import SimulationError
from zerocast.workloads.ir import Affine, Einsum, Window, Workload, overlaps
from zerocast.workloads.patterns import DENSE, NM, Pattern


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a matrix product.

    unique: elements that must come from memory for the whole (one batch item); fewer than the rows times
    columns of the product where a convolution reads overlapping windows.
    halo: rows of the product whose input a tile shares with its neighbour (windows that straddle the cut).
    pattern: its zeros; `fiber` names the ranks that lie along K (of the output: along N), so that a fiber's zeros can
    be asked for, `across` those along M or N, outermost first.
    on_chip: nothing of it crosses the off-chip link: it lies whole in its buffer before the product; an output stays
    on chip, or a unit takes it on the fly.
    scale_bits: of scales that come with each element.
    """

    unique: int
    bits: int
    pattern: Pattern = DENSE
    fiber: tuple[tuple[str, int], ...] = ()
    halo: int = 0
    across: tuple[tuple[str, int], ...] = ()
    on_chip: bool = False
    scale_bits: float = 0.0

    @property
    def crossing(self) -> int:
        """Elements of one batch item that come from, or go to, the off-chip memory."""
        return 0 if self.on_chip else self.unique

    @property
    def structured(self) -> NM | None:
        """The N:M pattern where its groups lie along K (only then can an array skip them)."""
        groups = self.pattern.groups
        return groups if groups is not None and groups.rank in dict(self.fiber) else None


@dataclass(frozen=True, slots=True)
class Conv:
    """The convolution that a product stands for, one group of it: engines that do not gather windows need it.

    samples; input channels, height and width (without padding); kernel, output and stride, each (vertical,
    horizontal); windows: the einsum's, of one dimension the vertical one alone; without them no mask can be laid out.
    """

    samples: int
    channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    output: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    windows: tuple[Window, ...]

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return self.kernel[0] * self.kernel[1]

    @property
    def positions(self) -> int:
        """Input positions of all samples."""
        return self.samples * self.height * self.width

    @property
    def useful(self) -> float:
        """Share of all meetings of an input position and a kernel position that lie in an output."""
        meetings = self.height * self.kernel[0] * self.width * self.kernel[1]
        return math.prod(int(inside.sum()) for inside in self._inside) / meetings

    @property
    def inside(self) -> float:
        """Share of the places of all windows that lie in the image and not in its padding."""
        return math.prod(float(inside.mean()) for inside in self._inside)

    @property
    def _inside(self) -> list[NDArray[np.bool_]]:
        """For height and width: whether each output position meets the image at each kernel position."""
        found = []
        for axis, size in enumerate((self.height, self.width)):
            place = np.add.outer(
                np.arange(self.output[axis]) * self.stride[axis], np.arange(self.kernel[axis]) * self.dilation[axis]
            )
            found.append((place >= self.padding[axis]) & (place < self.padding[axis] + size))
        return found

    @property
    def padding(self) -> tuple[int, int]:
        """Rows above and columns left of the input: half of what the windows reach beyond it, rounded up."""
        spans = zip(self.output, self.stride, self.kernel, self.dilation, (self.height, self.width), strict=True)
        beyond = [(out - 1) * step + (taps - 1) * dilated + 1 - size for out, step, taps, dilated, size in spans]
        return -(-max(beyond[0], 0) // 2), -(-max(beyond[1], 0) // 2)


@dataclass(frozen=True, slots=True)
class Gemm:
    """`batch` products of one size; hashable, so that equal layers are priced once. `outer`: ranks of the batch.
    roles: the sizes that make up m, n, k and batch, by what their ranks do (`ROLES`).

    dtype: type of the input; weight_dtype: of the weights, "" for the same.
    direct: the pass of a direct convolution, which moves each tensor once and is no matrix product (`direct_product`);
    "" for products.
    streams: part of a kernel of attention that reads a cache as it lies, for queries fewer than a tile's. beside:
    columns of other products of the same input that run in the same kernel.
    computed: the smaller product that a kernel runs in its place, where it leaves out what a mask hides.
    mask: of the outputs, those that are asked for; its ranks are those of output.across (along M) and output.fiber.
    given: what is fixed of its mapping. taken: bytes of on-chip memories, by name, that other tensors lie in meanwhile.
    steps: such products that run one after another, each of what the one before made; all sizes are those of one.
    again: one of these, whose weights a cache may hold since the step before.
    """

    batch: int
    m: int
    n: int
    k: int
    input: Operand
    weight: Operand
    output: Operand
    dtype: str
    conv: Conv | None = None
    outer: tuple[tuple[str, int], ...] = ()
    roles: tuple[tuple[Role, int], ...] = ()
    direct: Literal["", "forward", "backward"] = ""
    streams: bool = False
    beside: int = 0
    computed: Gemm | None = None
    given: Given | None = None
    weight_dtype: str = ""
    mask: Pattern = DENSE
    taken: tuple[tuple[str, float], ...] = ()
    steps: int = 1
    again: bool = False

    @property
    def types(self) -> str:
        """The type that is multiplied, or those of input and weight, such as fp16*int4."""
        return self.dtype if self.weight_dtype in ("", self.dtype) else f"{self.dtype}*{self.weight_dtype}"

    @property
    def free(self) -> Gemm:
        """The product with nothing fixed of its mapping."""
        return self if self.given is None else replace(self, given=None)

    @property
    def unmasked(self) -> Gemm:
        """The product with all of its outputs."""
        return replace(self, mask=DENSE)

    @property
    def bare(self) -> Gemm:
        """The product by itself, wherever its operands lie."""
        sides = {side: replace(getattr(self, side), on_chip=False) for side in ("input", "weight", "output")}
        return replace(self, given=None, taken=(), **sides)

    def taken_of(self, memory: str) -> float:
        """Bytes of an on-chip memory that other tensors lie in."""
        return dict(self.taken).get(memory, 0.0)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, zeros included."""
        return self.steps * self.batch * self.m * self.n * self.k

    def units(self, array: Compute) -> dict[str, int]:
        """Steps along batch, m, n and k of an array that takes as many places of each rank at once as it unrolls."""
        known = dict(self.roles) or {"groups": self.batch, "out_cols": self.m, "out_channels": self.n,
                                     "in_channels": self.k}  # fmt: skip
        channels = known.get("in_channels", 1)
        spread = array.depthwise if known.get("groups", 1) > channels == 1 and array.depthwise else array.unroll
        if array.packs_kernel_cols and (beside := spread.get("in_channels", 1) // channels) > 1:
            spread = {"kernel_cols": beside, **spread}
        return {
            side: math.prod(-(-known.get(role, 1) // spread.get(role, 1)) for role in roles)
            for side, roles in ROLES.items()
        }


ROLES: dict[str, tuple[Role, ...]] = {
    "batch": ("groups",),
    "m": ("samples", "out_rows", "out_cols"),
    "n": ("out_channels",),
    "k": ("in_channels", "kernel_rows", "kernel_cols"),
}
"""The roles of the ranks that make up each side of a product."""


def plain_gemm(m: int, n: int, k: int, dtype: str, bits: int, a: Pattern = DENSE, b: Pattern = DENSE) -> Gemm:
    """A matrix product by itself; patterns name the reduction rank `k`, rows `m`, columns `n`."""
    fiber = (("k", k),)
    return Gemm(
        batch=1, m=m, n=n, k=k, dtype=dtype,
        input=Operand(m * k, bits, a, fiber, across=(("m", m),)),
        weight=Operand(n * k, bits, b, fiber, across=(("n", n),)),
        output=Operand(m * n, bits),
    )  # fmt: skip


def gemms(workload: Workload, op: Einsum) -> tuple[Gemm, ...]:
    """The matrix products that an array runs for one einsum.

    An output whose index makes ranks meet (the input gradient of a convolution: h = p * stride + r) is computed by
    gathering: the kernel ranks move into K and each residue class of h modulo the stride is one product over
    the taps that reach it. All classes together hold exactly the einsum's multiply-accumulates. Where no two points
    meet (windows side by side, a weight that was flattened) every output element is one sum, so that nothing is
    gathered and the ranks stay what they are.
    """
    if op.steps:
        one = replace(op, sizes={**op.sizes, op.steps: 1}, steps="")
        return tuple(replace(gemm, steps=op.sizes[op.steps]) for gemm in gemms(workload, one))
    mixed = [affine for affine in op.index[2] if _is_gathered(op, affine)]
    return tuple(_product(workload, op, taps, classes) for taps, classes in _tap_classes(op, mixed))


def direct_product(workload: Workload, op: Einsum) -> Gemm:
    """The whole of a convolution's einsum as one kernel that gathers nothing: neither overlapping windows nor the
    overlapping taps of an input gradient are stored apart, so that every tensor moves once."""
    whole = _product(workload, op, {}, 1)
    elements = -(-workload.tensors[op.outputs[0]].elements // whole.batch)
    return replace(
        whole, direct="forward" if op.phase == "FF" else "backward", output=replace(whole.output, unique=elements)
    )


def widened(gemm: Gemm) -> Gemm:
    """The product with the columns of those beside it."""
    factor = 1 + gemm.beside / gemm.n

    def wider(operand: Operand) -> Operand:
        return replace(operand, unique=round(operand.unique * factor))

    return replace(
        gemm, n=gemm.n + gemm.beside, beside=0, weight=wider(gemm.weight), output=wider(gemm.output)
    )  # fmt: skip


def packed(gemm: Gemm, width: int) -> Gemm:
    """Groups of a convolution with few channels each, several side by side in one product of block-diagonal weights, so
    that its two narrower sides are up to `width` wide; itself where they are. No zero is skipped in it."""
    sides = sorted(("m", "n", "k"), key=lambda side: getattr(gemm, side))[:2]
    beside = 1
    while gemm.batch % (2 * beside) == 0 and 2 * beside * getattr(gemm, sides[0]) <= width:
        beside *= 2
    if beside == 1:
        return gemm

    def wider(operand: Operand) -> Operand:
        return replace(operand, unique=operand.unique * beside, pattern=DENSE)

    return replace(
        gemm, batch=gemm.batch // beside, input=wider(gemm.input), weight=wider(gemm.weight),
        output=wider(gemm.output), **{side: getattr(gemm, side) * beside for side in sides},
    )  # fmt: skip


def _is_gathered(op: Einsum, affine: Affine) -> bool:
    """True for p * stride + r, where p comes with a and r with b and neighbouring windows meet."""
    in_a, in_b = op.ranks_of(0), op.ranks_of(1)
    ranks = {rank for rank, _ in affine}
    return bool(ranks & (in_b - in_a)) and bool(ranks & (in_a - in_b)) and overlaps(affine, op.sizes)


def _tap_classes(op: Einsum, mixed: list[Affine]) -> Iterator[tuple[dict[str, int], int]]:
    """For each kind of residue class: the taps of each kernel rank that reach it, and how many are of the kind."""
    b_only = op.ranks_of(1) - op.ranks_of(0)
    kernels, choices = [], []
    for affine in mixed:
        kernel, dilation = next((rank, coef) for rank, coef in affine if rank in b_only)
        stride = max((coef for rank, coef in affine if rank not in b_only), default=1)
        landed = Counter(r * dilation % stride for r in range(op.sizes[kernel]))
        kernels.append(kernel)
        choices.append(list(landed.values()))
    for taps, classes in Counter(product(*choices)).items():
        yield dict(zip(kernels, taps, strict=True)), classes


def _product(workload: Workload, op: Einsum, taps: dict[str, int], classes: int) -> Gemm:
    """One product: ranks sorted into batch, M, N, K; `taps` are kernel ranks gathered into K."""
    in_a, in_b = op.ranks_of(0), op.ranks_of(1)
    in_out = op.ranks_of(2) - taps.keys()
    sizes = {rank: taps.get(rank, size) for rank, size in op.sizes.items()}
    in_a = in_a | taps.keys()

    def extent(*ranks: str) -> int:
        return math.prod(sizes[rank] for rank in ranks)

    groups: dict[str, list[str]] = {"batch": [], "m": [], "n": [], "k": []}
    for rank in sizes:
        where = (rank in in_a, rank in in_b, rank in in_out)
        kind = {(True, True, True): "batch", (True, False, True): "m", (False, True, True): "n",
                (True, True, False): "k"}.get(where)  # fmt: skip
        if kind is None:
            # a rank of one operand only (summed or repeated) is part of its side's K or of the batch
            kind = "k" if not where[2] else "batch"
        groups[kind].append(rank)
    batch, m, n, k = (extent(*groups[kind]) for kind in ("batch", "m", "n", "k"))
    fiber, across_m, across_n, outer = (
        tuple((rank, sizes[rank]) for rank in groups[kind]) for kind in ("k", "m", "n", "batch")
    )
    tensors = [workload.tensors[name] for name in (*op.inputs[:2], op.outputs[0])]
    mask = workload.pattern_of(op, 2)
    if min(batch, m, n, k) < 1:
        raise SimulationError(f"op {op.name!r} has an empty rank; sizes are {dict(op.sizes)}")
    weight_share = extent(*taps) / math.prod(op.sizes[rank] for rank in taps) if taps else 1.0
    a_unique = min(-(-tensors[0].elements // batch), m * k)
    b_unique = min(max(round(tensors[1].elements * weight_share / batch), 1), k * n)
    return Gemm(
        batch=batch * classes, m=m, n=n, k=k, dtype=tensors[0].dtype,
        input=Operand(
            a_unique, tensors[0].bits, workload.pattern_of(op, 0), fiber, _halo(op, taps, groups["m"]), across_m
        ),
        weight=Operand(b_unique, tensors[1].bits, workload.pattern_of(op, 1), fiber, across=across_n,
                       scale_bits=tensors[1].scale_bits),
        output=Operand(
            m * n, tensors[2].bits, tensors[2].pattern if mask.is_dense else DENSE, across_n,
            across=() if mask.is_dense else across_m,
        ),
        conv=None if taps else _conv(op, tensors[0].shape, groups),
        outer=outer,
        roles=_roles(op, sizes, groups, tuple(taps), classes),
        weight_dtype=_LIKE.get(tensors[1].dtype, tensors[1].dtype) if tensors[1].dtype != tensors[0].dtype else "",
        mask=mask,
    )  # fmt: skip


_LIKE = {"nf4": "int4", **dict.fromkeys(("int2", "int3"), "int4"), **dict.fromkeys(("int5", "int6", "int7"), "int8")}
"""Stored types that kernels widen as they do the next one that arrays have."""


def _roles(
    op: Einsum, sizes: Mapping[str, int], groups: Mapping[str, list[str]], taps: tuple[str, ...], classes: int
) -> tuple[tuple[Role, int], ...]:
    """What each rank of a product does: of M the two innermost are rows and columns of the output, or what windows
    slide along; of K the taps of windows are the kernel's."""
    windows = [each for each in op.windows(0) if each.position in groups["m"] and each.tap in groups["k"]]
    places, kernel = [each.position for each in windows] or groups["m"][-2:], [each.tap for each in windows] or taps
    found: dict[Role, int] = {"out_channels": math.prod(sizes[rank] for rank in groups["n"])}
    found["groups"] = classes * math.prod(sizes[rank] for rank in groups["batch"])
    for kind, line, column, rest, named in (
        ("m", "out_rows", "out_cols", "samples", places), ("k", "kernel_rows", "kernel_cols", "in_channels", kernel)
    ):  # fmt: skip
        inner = [sizes[rank] for rank in named]
        found |= {column: inner[-1] if inner else 1, line: math.prod(inner[:-1])}  # type: ignore[dict-item]
        found[rest] = math.prod(sizes[rank] for rank in groups[kind] if rank not in named)  # type: ignore[index]
    return tuple(found.items())


def _conv(op: Einsum, shape: tuple[int, ...], groups: dict[str, list[str]]) -> Conv | None:
    """The convolution of one or two dimensions that the einsum is, or None."""
    windows = op.windows(0)
    inside = all(each.position in groups["m"] and each.tap in groups["k"] for each in windows)
    if not 1 <= len(windows) <= 2 or not inside or len(op.index[0]) != len(shape):
        return None
    size, kernel, output, stride, dilation = ([1, 1] for _ in range(5))
    for axis, each in enumerate(windows):
        size[axis], kernel[axis], output[axis] = shape[each.axis], op.sizes[each.tap], op.sizes[each.position]
        stride[axis], dilation[axis] = each.stride, each.dilation
    samples = math.prod(op.sizes[rank] for rank in groups["m"]) // (output[0] * output[1])
    channels = math.prod(op.sizes[rank] for rank in groups["k"]) // (kernel[0] * kernel[1])
    taps, out, by, apart = ((pair[0], pair[1]) for pair in (kernel, output, stride, dilation))
    return Conv(samples, channels, size[0], size[1], taps, out, by, apart, windows)


def _halo(op: Einsum, taps: dict[str, int], m_ranks: list[str]) -> int:
    """Rows of the product whose inputs a tile shares with the next along M: windows straddle the cut.

    A window spans (taps - 1) dilation + 1 lines of input and moves on by its stride; a line counts for as many rows
    of the product as there are of them per line. Where the output is gathered (`taps`), neighbouring rows of one
    residue class share all but one of their taps.
    """
    for affine in op.index[2]:
        outer = next((rank for rank, _ in affine if rank in m_ranks), None)
        inner = next((rank for rank, _ in affine if rank in taps), None)
        if outer is not None and inner is not None:
            return (taps[inner] - 1) * _inside(op, outer, m_ranks)
    for window in op.windows(0):
        if window.position in m_ranks:
            span = (op.sizes[window.tap] - 1) * window.dilation + 1
            rows = op.sizes[window.position]
            lines = (rows - 1) * window.stride + span
            return -(-max(span - window.stride, 0) * rows * _inside(op, window.position, m_ranks) // lines)
    return 0


def _inside(op: Einsum, rank: str, m_ranks: list[str]) -> int:
    """Rows of the product for each place of a rank."""
    return math.prod(op.sizes[inner] for inner in m_ranks[m_ranks.index(rank) + 1 :])
