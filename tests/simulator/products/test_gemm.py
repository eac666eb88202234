"""Lowering of einsums to products: no multiply-accumulate is lost, in any pass of any convolution."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.accelerators import load
from zerocast.simulator import best_mapping
from zerocast.simulator.products.gemm import gemms, plain_gemm
from zerocast.simulator.products.mapping import mapping_of
from zerocast.simulator.products.pairs import effectual_macs
from zerocast.simulator.products.traffic import tile_bytes
from zerocast.workloads import Einsum, Tensor, Workload
from zerocast.workloads.ir import Affine
from zerocast.workloads.patterns import DENSE, NM

quick = settings(max_examples=40, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Conv:
    """A square convolution; `size` is that of the output."""

    batch: int
    groups: int
    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int
    dilation: int

    @property
    def width(self) -> int:
        """Rows (and columns) of the input that windows touch."""
        return (self.size - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    @property
    def lies_apart(self) -> bool:
        """True where no two windows share a line of the input."""
        places = [p * self.stride + r * self.dilation for p in range(self.size) for r in range(self.kernel)]
        return len(set(places)) == len(places)


convs = st.builds(
    Conv, st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5),
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 3),
)  # fmt: skip


def workload_of(conv: Conv, phase: str) -> tuple[Workload, Einsum]:
    """One pass of a convolution: W[g K + k, c, r, s], X[n, g C + c, p stride + r dilation, ...]."""
    sizes = {"n": conv.batch, "g": conv.groups, "k": conv.outputs, "c": conv.inputs, "p": conv.size, "q": conv.size,
             "r": conv.kernel, "s": conv.kernel}  # fmt: skip

    def channel(rank: str, count: int) -> Affine:
        return (("g", count), (rank, 1))

    def plain(*ranks: str) -> tuple[Affine, ...]:
        return tuple(((rank, 1),) for rank in ranks)

    window = tuple(((p, conv.stride), (r, conv.dilation)) for p, r in (("p", "r"), ("q", "s")))
    index = {
        "x": (*plain("n"), channel("c", conv.inputs), *window),
        "w": (channel("k", conv.outputs), *plain("c", "r", "s")),
        "y": (*plain("n"), channel("k", conv.outputs), *plain("p", "q")),
    }
    shape = {
        "x": (conv.batch, conv.groups * conv.inputs, conv.width, conv.width),
        "w": (conv.groups * conv.outputs, conv.inputs, conv.kernel, conv.kernel),
        "y": (conv.batch, conv.groups * conv.outputs, conv.size, conv.size),
    }
    tensors = {name: Tensor(name, shape[name], "fp16", "constant") for name in "xwy"}
    a, b, out = {"FF": "xwy", "BP": "ywx", "WU": "yxw"}[phase]
    op = Einsum("op", "layer", phase, (a, b), (out,), sizes, (index[a], index[b], index[out]))  # type: ignore[arg-type]
    return Workload("conv", tensors, (op,)), op


@quick
@given(convs, st.sampled_from(["FF", "BP", "WU"]))
def test_products_hold_exactly_the_macs(conv: Conv, phase: str) -> None:
    workload, op = workload_of(conv, phase)
    products = gemms(workload, op)
    assert sum(gemm.macs for gemm in products) == op.macs
    for gemm in products:
        assert 0 < gemm.input.unique <= gemm.m * gemm.k
        assert 0 < gemm.weight.unique <= gemm.n * gemm.k
        assert gemm.output.unique == gemm.m * gemm.n


@quick
@given(convs)
def test_input_gradient_splits_into_the_residue_classes(conv: Conv) -> None:
    """Taps that reach each residue of the input row modulo the stride, counted one by one; windows side by side are
    one product, as each element of the gradient has a single tap."""
    reach: Counter[tuple[int, int]] = Counter()
    for r, s in product(range(conv.kernel), repeat=2):
        reach[r * conv.dilation % conv.stride, s * conv.dilation % conv.stride] += 1
    workload, op = workload_of(conv, "BP")
    if conv.lies_apart:
        (gemm,) = gemms(workload, op)
        shape = (conv.groups, conv.batch * conv.size**2, conv.inputs * conv.kernel**2, conv.outputs)
        assert (gemm.batch, gemm.m, gemm.n, gemm.k) == shape
        return
    per_class: Counter[int] = Counter(reach.values())
    got: Counter[int] = Counter()
    for gemm in gemms(workload, op):
        assert gemm.m == conv.batch * conv.size**2
        assert gemm.n == conv.inputs
        got[gemm.k // conv.outputs] += gemm.batch // conv.groups
    assert got == per_class


@quick
@given(convs)
def test_forward_product_has_the_im2col_shape(conv: Conv) -> None:
    workload, op = workload_of(conv, "FF")
    (gemm,) = gemms(workload, op)
    shape = (conv.groups, conv.batch * conv.size**2, conv.outputs, conv.inputs * conv.kernel**2)
    assert (gemm.batch, gemm.m, gemm.n, gemm.k) == shape
    (update,) = gemms(*workload_of(conv, "WU"))
    transposed = (conv.groups, conv.outputs, conv.inputs * conv.kernel**2, conv.batch * conv.size**2)
    assert (update.batch, update.m, update.n, update.k) == transposed


def touched(conv: Conv, rows: int) -> int:
    """Elements of the input that tiles of `rows` output rows load in all, each tile its distinct lines."""
    lines = 0
    for first in range(0, conv.size, rows):
        here = range(first, min(first + rows, conv.size))
        lines += len({p * conv.stride + r * conv.dilation for p in here for r in range(conv.kernel)})
    return lines * conv.width * conv.inputs


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1), (3, 1)])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_lines_that_straddle_a_cut_are_loaded_twice(kernel: int, stride: int, dilation: int) -> None:
    conv = Conv(1, 1, 8, 8, 32, kernel, stride, dilation)
    (gemm,) = gemms(*workload_of(conv, "FF"))
    for rows in (8, 16, 32):
        mapping = mapping_of(gemm, "output_stationary", "mnk", rows * conv.size, gemm.n, gemm.k)
        loaded = float(tile_bytes(gemm, load("systolic-32x32"), mapping).input) * (conv.size // rows) / 2
        assert loaded == pytest.approx(touched(conv, rows), rel=0.02), rows


def test_gathered_gradient_shares_all_but_one_tap() -> None:
    """3 x 3 at stride 1: a tile of 8 of 32 rows needs 10 lines of the output gradient."""
    (gemm,) = gemms(*workload_of(Conv(1, 1, 8, 8, 32, 3, 1, 1), "BP"))
    mapping = mapping_of(gemm, "output_stationary", "mnk", 8 * 32, gemm.n, gemm.k)
    loaded = float(tile_bytes(gemm, load("systolic-32x32"), mapping).input) / 2
    assert loaded == pytest.approx((8 + 2 * 3 / 4) * 32 * 8)  # the outermost two cuts have one side only


def test_pattern_is_structured_only_along_the_reduction() -> None:
    along, across = plain_gemm(8, 8, 8, "fp16", 16, b=NM(2, 4, "k")), plain_gemm(8, 8, 8, "fp16", 16, b=NM(2, 4, "n"))
    assert along.weight.structured == NM(2, 4, "k")
    assert across.weight.structured is None and along.input.structured is None
    assert effectual_macs(along) == 256 and across.input.pattern is DENSE


@settings(max_examples=15, deadline=None, derandomize=True)
@given(convs, st.sampled_from(["FF", "BP", "WU"]))
def test_every_operand_crosses_the_link_at_least_once(conv: Conv, phase: str) -> None:
    workload, op = workload_of(conv, phase)
    accelerator = load("systolic-8x16")
    for gemm in gemms(workload, op):
        cost = best_mapping(gemm, accelerator)
        unique = gemm.batch * 2 * (gemm.input.unique + gemm.weight.unique)
        assert float(cost.read_bytes) >= unique * (1 - 1e-12)
        assert float(cost.write_bytes) >= gemm.batch * 2 * gemm.m * gemm.n * (1 - 1e-12)
