"""Row-stationary model against a walk of all passes, and against the measured Eyeriss chip (JSSC 2017)."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, settings
from hypothesis import given as given_values
from hypothesis import strategies as st
from problems import windows

from zerocast.accelerators import Accelerator, load
from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.schema.given import Given
from zerocast.simulator import SimulationError, best_mapping, plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.laws.rows import (
    SLACK,
    Passes,
    RowLayer,
    RowProduct,
    Space,
    best_rows,
    row_cost,
    row_layer,
    trips,
)
from zerocast.simulator.objective import Objective
from zerocast.simulator.products.gemm import Conv, Gemm, Operand
from zerocast.workloads import Einsum, Op, Tensor, Vector, Workload
from zerocast.workloads.patterns import DENSE, Pattern, Uniform


def convolution(
    samples: int, channels: int, size: int, filters: int, kernel: int, output: int, *, stride: int = 1,
    groups: int = 1, zeros: float = 0.0, output_zeros: float = 0.0,
) -> Gemm:  # fmt: skip
    """A square convolution as a product; `size` without padding."""
    conv = Conv(
        samples, channels, size, size, (kernel, kernel), (output, output), (stride, stride), (1, 1), windows(stride)
    )
    m, k = samples * output**2, channels * kernel**2

    def pattern(share: float) -> Pattern:
        return Uniform(1 - share) if share else DENSE

    return Gemm(
        batch=groups, m=m, n=filters, k=k, dtype="int16", conv=conv,
        input=Operand(samples * channels * size**2, 16, pattern(zeros), (("c", k),)),
        weight=Operand(filters * k, 16),
        output=Operand(m * filters, 16, pattern(output_zeros), (("c", filters),)),
    )  # fmt: skip


@pytest.fixture
def eyeriss() -> Accelerator:
    return load("eyeriss-v1")


FILTER_BUS, IFMAP_BUS, PSUM_LINK, PORT, STAGES = 8, 2, 8, 8, 3
"""Bytes a cycle of the chip's buses, links between PEs and buffer port, and stages of a PE (JSSC 2017)."""


@dataclass
class Walk:
    """What a walk of the passes counts, in words and cycles."""

    passes: int = 0
    glb_input: int = 0
    glb_psum: int = 0
    dram_input: int = 0
    dram_weight: int = 0
    compute_cycles: int = 0
    ramp_cycles: float = 0
    working_cycles: float = 0
    hops: int = 0


def chunks(extent: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and length of the pieces of a range."""
    return ((at, min(size, extent - at)) for at in range(0, extent, size))


def walked(layer: RowLayer, m: int, n: int, e: int, p: int, q: int, r: int, t: int) -> Walk:
    """Every pass of one group, one after the other, with the true extents of its pieces."""
    walk, held = Walk(), None
    (rows, taps), (_, columns) = layer.kernel, layer.output
    blocks = itertools.product(chunks(layer.samples, n), chunks(layer.output[0], e), chunks(layer.filters, m))
    for (_, samples), (row, strip), (first, block) in blocks:
        for channel, channels in chunks(layer.channels, q * r):
            lines = {y * layer.stride + x for y in range(row, row + strip) for x in range(layer.span[0])}
            words = samples * channels * len(lines) * layer.padded[1]
            walk.dram_input += words
            for offset, filters in chunks(block, p * t):
                if held != (first + offset, channel):
                    walk.dram_weight += filters * channels * rows * taps
                    held = (first + offset, channel)
                psums = samples * filters * strip * columns
                walk.passes += 1
                walk.glb_input += words
                walk.glb_psum += psums
                walk.compute_cycles += samples * p * q * taps * columns
                lines_in = ((strip - 1) * min(layer.stride, layer.span[0]) + layer.span[0]) * q * r
                first_window = lines_in * layer.span[1]
                climb = rows * r * math.ceil(p * 2 / PSUM_LINK) + math.ceil(p * t * strip * 2 / PORT)
                walk.ramp_cycles += rows * r * t * p * q * taps * 2 / FILTER_BUS + first_window * 2 / IFMAP_BUS
                walk.ramp_cycles += climb + STAGES
                port, bus = (
                    p * t * strip * columns * 2 / PORT,
                    lines_in * (layer.padded[1] - layer.span[1]) * 2 / IFMAP_BUS,
                )
                walk.working_cycles += samples * max(p * q * taps * columns, port, bus)
                sets = filters // p
                walk.hops += filters * channels * rows * taps * strip  # filters to the PEs of a set row
                walk.hops += samples * strip * rows * channels * sets * layer.padded[1]  # input rows
                walk.hops += psums * rows * r  # sums from PE to PE, and out
    return walk


@pytest.mark.parametrize("seed", range(12))
def test_traffic_and_cycles_equal_a_walk_of_the_passes(eyeriss: Accelerator, seed: int) -> None:
    rng = random.Random(seed)
    kernel, stride, output = rng.randint(1, 3), rng.randint(1, 2), rng.randint(3, 9)
    p, t, q, r = (rng.randint(1, 3) for _ in range(4))
    m = p * t * rng.randint(1, 3)
    mapping = (m, rng.randint(1, 3), rng.randint(1, output), p, q, r, t)
    # filters are whole sets of p, since the model counts deliveries to full PEs
    size = (output - 1) * stride + kernel
    gemm = convolution(rng.randint(1, 4), rng.randint(1, 9), size, p * rng.randint(1, 9), kernel, output, stride=stride)
    layer = row_layer(gemm)
    assert layer.padded == (size, size)
    walk = walked(layer, *mapping)
    arrays = Passes(*(np.asarray(float(value)) for value in mapping))
    traffic = cycles = row_cost(gemm, eyeriss, layer, arrays)
    loops = trips(layer, arrays)
    assert float(loops.samples * loops.strips * loops.channels * loops.filters) == walk.passes
    assert float(traffic.glb_input) == 2 * walk.glb_input
    assert float(traffic.glb_psum) == 2 * walk.glb_psum
    assert float(traffic.dram_input) == pytest.approx(2 * walk.dram_input)
    assert float(traffic.dram_weight) == 2 * walk.dram_weight
    assert float(traffic.dram_output) == 2 * gemm.m * gemm.n
    assert float(traffic.hop_bits) == pytest.approx(16 * walk.hops)
    assert float(cycles.compute_cycles) == walk.compute_cycles
    assert float(cycles.ramp_cycles) == pytest.approx(walk.ramp_cycles)
    assert float(cycles.compute_cycles + cycles.port_cycles) == pytest.approx(walk.working_cycles)


@pytest.mark.parametrize("seed", range(4))
def test_choice_is_the_least_traffic_off_chip_of_all_mappings(seed: int) -> None:
    """Against every combination of the seven parameters that a small array and its buffers hold."""
    rng = random.Random(100 + seed)
    small = {"compute.rows": 4, "compute.cols": 3, "row_stationary.filter_spad_bytes": 36,
             "row_stationary.psum_spad_bytes": 6, "row_stationary.ifmap_spad_bytes": 12,
             "memories.global_buffer.capacity_bytes": 768, "row_stationary.bank_bytes": 64}  # fmt: skip
    accelerator = load("eyeriss-v1", small)
    output = rng.randint(4, 7)
    gemm = convolution(rng.randint(1, 3), rng.randint(2, 4), output, rng.randint(3, 8), 2, output - 1)
    layer = row_layer(gemm)
    least = math.inf
    for e, p, q, r, t in itertools.product(range(1, output), range(1, 4), range(1, 4), range(1, 5), range(1, 13)):
        folds, beside = -(-e // 3), max(3 // e, 1)
        if 2 * q > 6 or p * q * 2 > 18 or r * t > (4 // 2) * beside // folds:
            continue
        for m, n in itertools.product(range(1, gemm.n + 1), range(1, layer.samples + 1)):
            words = n * q * r * (e + 1) * layer.padded[1], m * n * e * layer.output[1]
            if sum(-(-2 * count // 64) for count in words) <= 12 and p <= m and p * (t - 1) < m:
                walk = walked(layer, m, n, e, p, q, r, t)
                least = min(least, walk.dram_input + walk.dram_weight)
    cost = best_rows(gemm, accelerator)
    chosen = (cost.dram_input + cost.dram_weight + cost.dram_output) / 2
    outputs = layer.psums
    assert least + outputs <= chosen * (1 + 1e-12) <= (least + outputs) * (1 + SLACK)


@pytest.mark.parametrize(
    "gemm",
    [
        convolution(3, 20, 14, 40, 3, 14),
        convolution(2, 48, 12, 30, 1, 12),
        convolution(5, 3, 30, 64, 5, 13, stride=2),
        plain_gemm(1, 300, 200, "int16", 16),
        plain_gemm(50, 8, 6, "int16", 16),
        plain_gemm(12, 30, 40, "int16", 16),
    ],
)
def test_dropping_blocks_early_changes_no_choice(
    eyeriss: Accelerator, monkeypatch: pytest.MonkeyPatch, gemm: Gemm
) -> None:
    chosen = best_rows(gemm, eyeriss)
    monkeypatch.setattr(Space, "lean", lambda self, blocks, figure: blocks)
    assert str(best_rows(gemm, eyeriss).passes) == str(chosen.passes)


def test_products_of_many_rows_leave_few_candidates(eyeriss: Accelerator) -> None:
    gemm = plain_gemm(4096, 4096, 9216, "int16", 16)
    space = Space(gemm, eyeriss, row_layer(gemm))
    lean = space.lean(space.blocks(space.grid()), "dram_bytes")
    assert space.full(lean).m.size < 100_000  # 2.8 million without `lean`


ALEXNET = {
    "CONV1": (convolution(4, 3, 227, 96, 11, 55, stride=4, zeros=0.0001, output_zeros=0.622), (96, 1, 7, 16, 1, 1, 2)),
    "CONV2": (convolution(4, 48, 27, 128, 5, 27, groups=2, zeros=0.387, output_zeros=0.831), (64, 1, 27, 16, 2, 1, 1)),
    "CONV3": (convolution(4, 256, 13, 384, 3, 13, zeros=0.725, output_zeros=0.697), (64, 4, 13, 16, 3, 2, 2)),
    "CONV4": (convolution(4, 192, 13, 192, 3, 13, groups=2, zeros=0.793, output_zeros=0.696), (64, 4, 13, 16, 3, 2, 2)),
    "CONV5": (convolution(4, 192, 13, 128, 3, 13, groups=2, zeros=0.776, output_zeros=0.9), (64, 4, 13, 16, 3, 2, 2)),
}
"""Layers with the zeros of their input (table V) and of their output before pooling (Sparseloop's workload files),
and m n e p q r t (table III; for CONV3 those that its published global-buffer traffic implies, which are CONV4's)."""

MEASURED = {
    "CONV1": (16.5, 20.9, 18.5, 5.0, 332, 154),
    "CONV2": (39.2, 41.9, 77.6, 4.0, 288, 135),
    "CONV3": (21.8, 23.6, 50.2, 3.0, 266, 156),
    "CONV4": (16.0, 18.4, 37.4, 2.1, 235, 156),
    "CONV5": (10.0, 10.5, 24.9, 1.3, 236, 156),
}
"""Table V at batch 4: processing ms, total ms, global buffer MB, DRAM MB, chip mW, PEs in use."""


@pytest.mark.parametrize("name", ALEXNET)
def test_measured_chip(eyeriss: Accelerator, name: str) -> None:
    gemm, mapping = ALEXNET[name]
    processing, total, glb, dram, power, pes = MEASURED[name]
    cost = best_rows(gemm, eyeriss)
    assert tuple(int(getattr(cost.passes, key)) for key in "mnepqrt") == mapping
    assert cost.pes == pes
    assert cost.glb_bytes / 1e6 == pytest.approx(glb, rel=0.005)
    assert cost.dram_bytes / 1e6 == pytest.approx(dram, rel=0.1)
    assert cost.cycles / 200e3 == pytest.approx(processing, rel=0.08)
    assert cost.latency_s * 1e3 == pytest.approx(total, rel=0.12)
    assert cost.chip_j / cost.latency_s * 1e3 == pytest.approx(power, rel=0.2)


def given(gemm: Gemm, **fixed: int) -> Gemm:
    return replace(gemm, given=Given.model_validate({"pass": fixed}))


@pytest.mark.parametrize("name", ALEXNET)
def test_published_mappings_given_are_the_searchs_to_the_bit(eyeriss: Accelerator, name: str) -> None:
    gemm, mapping = ALEXNET[name]
    chosen = RowProduct(gemm, [eyeriss]).row()
    assert RowProduct(given(gemm, **dict(zip("mnepqrt", mapping, strict=True))), [eyeriss]).row() == chosen
    assert RowProduct(given(gemm, m=mapping[0], e=mapping[2]), [eyeriss]).row() == chosen  # the search finds the rest
    other = RowProduct(given(gemm, p=3), [eyeriss]).row()
    assert " p3 " in other.note and other.latency_s > chosen.latency_s


@pytest.mark.parametrize(
    ("fixed", "named"),
    [
        ({"p": 20, "q": 4}, "480 B of weight in the filter spad of 448"),
        ({"q": 5}, "30 B of input in the input spad of 24"),
        ({"p": 25}, "50 B of output in the psum spad of 48"),
        ({"m": 256, "n": 4, "e": 13}, "B of input and output in banks of global_buffer of 102,400"),
        ({"e": 13, "r": 4, "t": 3}, "12 r x t PE sets of"),
        ({"n": 5}, "5 n samples of 4"),
    ],
)
def test_a_pass_that_does_not_fit_names_level_operand_and_bytes(
    eyeriss: Accelerator, fixed: dict[str, int], named: str
) -> None:
    with pytest.raises(SimulationError, match=named):
        best_rows(given(ALEXNET["CONV3"][0], **fixed), eyeriss)


@pytest.mark.parametrize("seed", range(4))
def test_no_pass_of_a_block_is_below_its_bound(eyeriss: Accelerator, seed: int) -> None:
    """Bounds leave blocks out of a search, so that one above the true least would lose the best pass."""
    rng = random.Random(seed)
    kernel, output = rng.choice([1, 3]), rng.randint(4, 20)
    gemm = convolution(rng.randint(1, 3), rng.randint(2, 24), output + kernel - 1, rng.randint(2, 24), kernel, output)
    space = Space(gemm, eyeriss, row_layer(gemm))
    blocks = space.blocks(space.grid())
    for at in rng.sample(range(blocks.m.size), min(blocks.m.size, 20)):
        block = blocks.at(np.array([at]))
        cost = space.cost(space.full(block))
        for figure in ("dram_bytes", "cycles", "latency_s", "movement_j", "energy_j", "edp"):
            assert float(space.least(block, figure)[0]) <= float(getattr(cost, figure).min()) * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("objective", ["energy", "edp", "cycles"])
def test_objectives_take_the_least_of_the_whole_space(eyeriss: Accelerator, seed: int, objective: Objective) -> None:
    """Against all passes of all buffer sizes, none left out by a bound."""
    rng = random.Random(seed)
    output = rng.randint(4, 12)
    gemm = convolution(rng.randint(1, 3), rng.randint(2, 16), output + 2, rng.randint(4, 40), 3, output, zeros=0.4)
    space, figure = Space(gemm, eyeriss, row_layer(gemm), zeros=True), {"energy": "energy_j"}.get(objective, objective)
    every = [few.full(few.blocks(space.grid())) for few in space.narrowed()]
    least = min(float(getattr(space.cost(passes), figure).min()) for passes in every if passes.m.size)
    assert float(getattr(best_rows(gemm, eyeriss, objective), figure)) == least


@settings(max_examples=25, deadline=None)
@given_values(
    channels=st.integers(1, 96), filters=st.integers(1, 96), output=st.integers(1, 28), kernel=st.integers(1, 5),
    stride=st.integers(1, 2), banks=st.integers(6, 30), more=st.integers(1, 12), half=st.integers(1, 3),
    zeros=st.sampled_from([0.0, 0.6]),
)  # fmt: skip
@example(  # an access of more banks costs more, which breaks a tie of the criteria the other way
    channels=89, filters=1, output=24, kernel=1, stride=1, banks=18, more=12, half=3, zeros=0.0
)
def test_more_buffer_or_twice_the_batch_is_never_slower(
    channels: int, filters: int, output: int, kernel: int, stride: int, banks: int, more: int, half: int, zeros: float
) -> None:
    size = (output - 1) * stride + kernel

    def latency_s(samples: int, banks: int) -> float:
        chip = load("eyeriss-v1", {"memories.global_buffer.capacity_bytes": 4096 * banks})
        gemm = convolution(samples, channels, size, filters, kernel, output, stride=stride, zeros=zeros)
        return float(best_rows(gemm, chip).latency_s)

    small = latency_s(half, banks)
    assert latency_s(half, banks + more) <= small * (1 + 1e-12)
    assert latency_s(2 * half, banks) <= 2 * small * (1 + 1e-12)


def test_criteria_of_the_description_decide(eyeriss: Accelerator) -> None:
    gemm, _ = ALEXNET["CONV2"]
    quickest = load("eyeriss-v1", {"row_stationary.criteria": ["latency_s"]})
    least = load("eyeriss-v1", {"row_stationary.criteria": ["dram_bytes"]})
    shipped = best_rows(gemm, eyeriss)
    assert float(best_rows(gemm, quickest).latency_s) < float(shipped.latency_s)
    assert float(best_rows(gemm, least).dram_bytes) <= float(shipped.dram_bytes)


def test_designs_of_one_structure_are_priced_together(eyeriss: Accelerator) -> None:
    sizes = (1024, 40960, 102400)
    designs = [load("eyeriss-v1", {"memories.global_buffer.capacity_bytes": size}) for size in sizes]
    pricer, gemm = Pricer(designs), ALEXNET["CONV5"][0]
    figures = pricer.figures([gemm])
    assert list(pricer.failed) == [0]
    for place in (1, 2):
        assert figures.latency_s[place] == RowProduct(gemm, [designs[place]]).row().latency_s


def test_cycles_are_accounted_for(eyeriss: Accelerator) -> None:
    cost = best_rows(ALEXNET["CONV3"][0], eyeriss)
    useful = ALEXNET["CONV3"][0].macs / 168
    row = RowProduct(ALEXNET["CONV3"][0], [eyeriss]).row()
    lost = row.lost_edge_cycles + cost.ramp_cycles + cost.port_cycles
    assert useful + lost == pytest.approx(cost.cycles)
    assert cost.cycles / 200e6 + cost.exposed_s == pytest.approx(cost.latency_s)
    idle, partly_full = cost.compute_cycles * 12 / 168, cost.compute_cycles * 156 / 168 * (1 - 256 / 258)
    assert row.lost_edge_cycles == pytest.approx(idle + partly_full)


def test_zeros_save_energy_and_traffic_but_no_processing(eyeriss: Accelerator) -> None:
    costs = [
        best_rows(convolution(4, 32, 14, 64, 3, 14, zeros=zeros, output_zeros=zeros), eyeriss)
        for zeros in (0.0, 0.4, 0.6, 0.9)
    ]
    assert len({float(cost.cycles) for cost in costs}) == 1
    for dense, sparse in itertools.pairwise(costs):
        assert sparse.dram_input < dense.dram_input
        assert sparse.dram_output < dense.dram_output
        assert sparse.dram_weight == dense.dram_weight
        assert sparse.mac_j < dense.mac_j and sparse.spad_j < dense.spad_j
        assert sparse.latency_s < dense.latency_s
    # a nonzero takes a third of a 64-bit word, as runs of 32 zeros are rare
    assert costs[2].dram_input / costs[0].dram_input == pytest.approx(0.4 * 64 / 3 / 16, rel=0.01)


def test_gating_saves_its_share_of_a_pe(eyeriss: Accelerator) -> None:
    dense, half = (best_rows(convolution(1, 8, 14, 16, 3, 14, zeros=zeros), eyeriss) for zeros in (0.0, 0.5))
    saved = dense.mac_j + dense.spad_j - half.mac_j - half.spad_j
    clock_j = 0.000775 / 200e6
    assert saved == pytest.approx(0.5 * 14 * 14 * 16 * 8 * 9 * 0.45 * (2e-12 + 4e-12 + clock_j))


def test_fully_connected_layer_waits_for_its_filters(eyeriss: Accelerator) -> None:
    cost = best_rows(plain_gemm(1, 4096, 9216, "int16", 16), eyeriss)
    assert cost.dram_weight == 2 * 4096 * 9216
    assert cost.latency_s >= 2 * 4096 * 9216 / 480e6
    assert cost.latency_s == pytest.approx(2 * 4096 * 9216 / 480e6, rel=0.05)


def test_larger_batch_takes_longer_but_not_in_proportion(eyeriss: Accelerator) -> None:
    one, four = (best_rows(convolution(n, 64, 14, 64, 3, 14), eyeriss) for n in (1, 4))
    assert one.latency_s < four.latency_s <= 4 * one.latency_s


@pytest.mark.parametrize(
    ("gemm", "named"),
    [
        (convolution(1, 3, 32, 8, 13, 20), "compute.rows"),
        (convolution(1, 3, 20000, 8, 3, 19998), "memories"),
    ],
)
def test_layers_that_do_not_fit_are_named(eyeriss: Accelerator, gemm: Gemm, named: str) -> None:
    assert gemm.conv is not None
    with pytest.raises(SimulationError, match=f"{gemm.conv.kernel[0]} x {gemm.conv.kernel[1]}.*{named}"):
        best_rows(gemm, eyeriss)


def test_kernel_wider_than_the_spads_is_named() -> None:
    accelerator = load("eyeriss-v1", {"row_stationary.ifmap_spad_bytes": 8})
    with pytest.raises(SimulationError, match=r"5 x 5.*row_stationary"):
        best_rows(convolution(1, 3, 9, 8, 5, 5), accelerator)


def test_candidates_fit_the_published_sizes(eyeriss: Accelerator) -> None:
    gemm, _ = ALEXNET["CONV2"]
    space = Space(gemm, eyeriss, row_layer(gemm))
    found = space.full(space.blocks(space.grid()))
    psum_banks = np.ceil(found.m * found.n * found.e * 27 * 2 / 4096)
    input_banks = np.ceil(found.n * found.q * found.r * (found.e + 4) * 31 * 2 / 4096)
    assert found.m.size > 10 and (psum_banks + input_banks).max() <= 25
    assert (found.p * found.q * 5).max() <= 224 and (found.q * 5).max() <= 12 and found.p.max() <= 24
    assert (found.p * found.q * found.r * found.t * 25).max() <= 4096


def test_dataflow_needs_its_part() -> None:
    with pytest.raises(AcceleratorError, match="row_stationary"):
        load("tpu-like-128", {"compute.dataflows": ["row_stationary"]})


def test_unknown_arithmetic_is_named(eyeriss: Accelerator) -> None:
    with pytest.raises(SimulationError, match=r"fp8.*int16"):
        best_rows(plain_gemm(4, 8, 8, "fp8", 8), eyeriss)


def conv_op(name: str, data: str, weight: str, output: str, sizes: dict[str, int], stride: int) -> Einsum:
    """Forward pass of a convolution y[n, k, p, q] of x[n, c, p stride + r, q stride + s] and w[k, c, r, s]."""

    def plain(ranks: str) -> tuple[tuple[tuple[str, int], ...], ...]:
        return tuple(((rank, 1),) for rank in ranks)

    window = tuple(((out, stride), (tap, 1)) for out, tap in ("pr", "qs"))
    index = ((*plain("nc"), *window), plain("kcrs"), plain("nkpq"))
    return Einsum(name, name, "FF", (data, weight), (output,), sizes, index, {}, "conv2d")


def two_convolutions() -> Workload:
    """3 x 3 and ReLU, whose output feeds a 2 x 2 of stride 2."""
    first = {"n": 2, "k": 8, "c": 3, "p": 12, "q": 12, "r": 3, "s": 3}
    second = {"n": 2, "k": 20, "c": 8, "p": 6, "q": 6, "r": 2, "s": 2}
    tensors = [
        Tensor("x", (2, 3, 14, 14), "int16", "input"), Tensor("v", (8, 3, 3, 3), "int16", "weight"),
        Tensor("y", (2, 8, 12, 12), "int16", "activation"), Tensor("w", (20, 8, 2, 2), "int16", "weight"),
        Tensor("relu_y", (2, 8, 12, 12), "int16", "activation", Uniform(0.3)),
        Tensor("z", (2, 20, 6, 6), "int16", "activation", Uniform(0.2)),
    ]  # fmt: skip
    ops: tuple[Op, ...] = (
        conv_op("first", "x", "v", "y", first, 1),
        Vector("relu", "relu", "FF", ("y",), ("relu_y",), "relu", 2 * 8 * 12 * 12, 1.0, elementwise=True),
        conv_op("second", "relu_y", "w", "z", second, 2),
    )
    return Workload("two", {tensor.name: tensor for tensor in tensors}, ops)


def test_simulated_rows_are_the_layers_costs(eyeriss: Accelerator) -> None:
    """The first layer's output goes through the ReLU on its way out, so that it stores nothing itself."""
    result = simulate(two_convolutions(), eyeriss)
    first = convolution(2, 3, 14, 8, 3, 12)
    first = replace(first, output=replace(first.output, on_chip=True))
    second = convolution(2, 8, 12, 20, 2, 6, stride=2, zeros=0.7, output_zeros=0.8)
    rows = {row.op: row for row in result.rows}
    for name, gemm in (("first", first), ("second", second)):
        row, cost = rows[name], best_rows(gemm, eyeriss)
        assert (row.dataflow, row.kind, row.function, row.resource) == ("row_stationary", "einsum", "conv2d", "array")
        assert (row.macs, row.m, row.n, row.k, row.batch) == (gemm.macs, gemm.m, gemm.n, gemm.k, 1)
        assert row.note == " ".join(f"{key}{int(getattr(cost.passes, key))}" for key in "mnepqrt")
        assert row.cycles == cost.cycles and row.latency_s == pytest.approx(cost.latency_s)
        assert row.dram_input_bytes + row.dram_weight_bytes == row.dram_read_bytes
        assert row.dram_output_bytes == row.dram_write_bytes == pytest.approx(cost.dram_output)
        assert row.dram_read_bytes + row.dram_write_bytes == pytest.approx(cost.dram_bytes)
        assert row.buffer_read_bytes + row.buffer_write_bytes == cost.glb_bytes
        assert row.ideal_cycles == gemm.macs / 168
        lost = (row.lost_edge_cycles, row.lost_ramp_cycles, row.lost_conflict_cycles, row.lost_memory_cycles)
        assert row.ideal_cycles + sum(lost) == pytest.approx(row.latency_s * 200e6)
        assert row.utilisation == pytest.approx(row.ideal_cycles / (row.latency_s * 200e6))
        assert row.mac_j + row.register_j + row.buffer_j + row.dram_j == pytest.approx(row.energy_j)
        assert row.energy_j + cost.static_j == pytest.approx(cost.chip_j + cost.dram_j)
    assert rows["first"].dram_write_bytes == 0.0
    assert 0 < rows["second"].dram_write_bytes < 2 * 2 * 20 * 36
    assert result.static_j == pytest.approx(0.030 * result.latency_s)
    assert result.energy_j == pytest.approx(sum(row.energy_j for row in result.rows) + result.static_j)


@pytest.mark.parametrize(
    ("bound", "changed"),
    [
        ("compute", {}),
        ("dram", {"memories.dram.bandwidth_bytes_per_s": 40e6}),
        ("port", {"memories.global_buffer.port_bytes_per_cycle": 0.5}),
        ("fill", {"row_stationary.pipeline_cycles": 1_000_000}),
    ],
)
def test_bound_names_what_was_made_scarce(bound: str, changed: dict[str, float]) -> None:
    assert Pricer(load("eyeriss-v1", changed)).gemm(ALEXNET["CONV2"][0]).bound == bound


def test_tiled_mappings_are_refused(eyeriss: Accelerator) -> None:
    with pytest.raises(SimulationError, match=r"row_stationary has no tiled mappings.*RowProduct"):
        best_mapping(plain_gemm(8, 8, 8, "int16", 16), eyeriss)


def test_what_the_dataflow_does_not_know_is_refused() -> None:
    changed = {"compute.dataflows": ["row_stationary", "output_stationary"]}
    with pytest.raises(SimulationError, match="output_stationary"):
        best_rows(plain_gemm(8, 8, 8, "int16", 16), load("eyeriss-v1", changed))
