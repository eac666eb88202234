"""Zero-skipping engines: the walk against an independent cycle-by-cycle simulator, the expectation against the walk,
and the layout of operands against plain loops."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from engine_cycles import random_configuration, simulate_cycles
from problems import windows
from small_workloads import forward

from zerocast.accelerators import AcceleratorError, load, templates
from zerocast.accelerators.schema import Arrangement, Deal, Skipping, Vector
from zerocast.simulator import plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.lanes import engine_cycles
from zerocast.simulator.laws.lanes.banks import conflict_factor
from zerocast.simulator.laws.lanes.operands import operand_bits
from zerocast.simulator.laws.lanes.times.expected import expected_cycles
from zerocast.simulator.laws.lanes.times.slowest import expected_slowest
from zerocast.simulator.laws.lanes.times.walked import walked_cycles
from zerocast.simulator.products.gemm import Conv, Gemm, Operand
from zerocast.workloads.patterns import DENSE, NM, Block, Mask, Pattern, PerChannel, Uniform

ENGINES = [name for name in templates() if load(name).skipping is not None]


@pytest.mark.parametrize("seed", range(60))
def test_walk_equals_the_cycle_by_cycle_simulator(seed: int) -> None:
    given = random_configuration(np.random.default_rng(seed))
    fields = given._asdict()
    found = walked_cycles(
        fields["a"], np.swapaxes(fields["w"], 1, 2), fields["skipping"], fields["arrangement"],
        (fields["skip_input"], fields["skip_weight"]), (fields["input_run_bits"], fields["weight_run_bits"]),
    )  # fmt: skip
    assert found.cycles == pytest.approx(float(simulate_cycles(*given)), rel=1e-6)
    assert found.ideal + sum(found.losses.values()) == pytest.approx(found.cycles)
    assert found.fragmentation >= -1e-6 and found.padding >= -1e-6 and found.edge >= -1e-6


def conv_gemm(stride: int = 1, a: Pattern = DENSE, w: Pattern = DENSE) -> Gemm:
    """2 groups of 3 -> 4 channels, 5 x 6 images, 3 x 2 kernels, padding 1 above and below, 0 beside; 2 samples."""
    rows, cols = (5 + 2 - 3) // stride + 1, (6 - 2) // stride + 1
    conv = Conv(2, 3, 5, 6, (3, 2), (rows, cols), (stride, stride), (1, 1), windows(stride))
    fiber = (("c", 3), ("r", 3), ("s", 2))
    m = 2 * rows * cols
    return Gemm(
        2, m, 4, 18,
        Operand(2 * 3 * 5 * 6, 16, a, fiber, across=(("n", 2), ("p", rows), ("q", cols))),
        Operand(72, 16, w, fiber, across=(("k", 4),)), Operand(m * 4, 16), "fp16", conv, (("g", 2),),
    )  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_are_gathered_as_a_plain_loop_does(stride: int) -> None:
    rng = np.random.default_rng(3)
    image = rng.random((2, 2, 3, 5, 6)) < 0.5
    kernel = rng.random((2, 4, 3, 3, 2)) < 0.5
    gemm = conv_gemm(stride, Mask.of(image, ("n", "g", "c", "p+r", "q+s")), Mask.of(kernel, ("g", "k", "c", "r", "s")))
    assert gemm.conv is not None and gemm.conv.padding == (1, 0)
    rows, cols = gemm.conv.output
    found, weights = operand_bits(gemm, "input"), operand_bits(gemm, "weight")
    for g, n, p, q, c, r, s in product(range(2), range(2), range(rows), range(cols), range(3), range(3), range(2)):
        y, x = p * stride + r - 1, q * stride + s
        truth = 0 <= y < 5 and x < 6 and image[n, g, c, y, x]
        assert found[g, (n * rows + p) * cols + q, (c * 3 + r) * 2 + s] == truth
    for g, k, c, r, s in product(range(2), range(4), range(3), range(3), range(2)):
        assert weights[g, k, (c * 3 + r) * 2 + s] == kernel[g, k, c, r, s]
    scattered, columns = operand_bits(gemm, "input", True), operand_bits(gemm, "weight", True)
    assert (scattered == image.transpose(1, 0, 3, 4, 2).reshape(2, 60, 3)).all()
    assert (columns == kernel.transpose(0, 1, 3, 4, 2).reshape(2, 24, 3)).all()


def test_a_mask_of_another_shape_is_refused() -> None:
    for ranks, shape in ((("n", "g", "c", "x"), (2, 2, 3, 9)), (("g", "c", "r"), (1, 3, 3))):
        gemm = conv_gemm(a=Mask.of(np.ones(shape, dtype=bool), ranks))
        with pytest.raises(SimulationError, match="does not fit the product's ranks"):
            operand_bits(replace(gemm, input=replace(gemm.input)), "input")


@pytest.mark.parametrize(
    "law", [Uniform(0.3), NM(2, 8, "k"), Block((("k", 4), ("n", 2)), 0.4), PerChannel("k", (0.1, 0.9) * 32)], ids=repr
)
def test_drawn_zeros_follow_their_law(law: Pattern) -> None:
    bits = operand_bits(plain_gemm(8, 400, 64, "fp16", 16, DENSE, law), "weight")[0]
    assert bits.shape == (400, 64)
    assert bits.mean() == pytest.approx(law.density, abs=0.01)
    if isinstance(law, NM):
        assert (bits.reshape(400, 8, 8).sum(axis=2) == 2).all()
    if isinstance(law, Block):
        blocks = bits.reshape(200, 2, 16, 4).sum(axis=(1, 3))
        assert set(np.unique(blocks)) <= {0, 8}
    if isinstance(law, PerChannel):
        assert bits[:, ::2].mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", ENGINES)
def test_the_expectation_is_that_of_the_walk(name: str) -> None:
    """Within 6 % on products that fill the lanes, within 12 % elsewhere, for random and N:M weights."""
    accelerator = load(name)
    for m, n, k, limit in ((256, 256, 576, 0.06), (49, 130, 300, 0.12)):
        for weights in (Uniform(0.3), NM(2, 4, "k"), DENSE):
            gemm = plain_gemm(m, n, k, "fp16", 16, Uniform(0.45), weights)
            walked, expected = (engine_cycles(gemm, accelerator, masks) for masks in (True, False))
            assert expected.cycles == pytest.approx(walked.cycles, rel=limit), (m, n, k, weights)
            assert walked.ideal <= walked.cycles * (1 + 1e-9)


@pytest.mark.parametrize("name", ENGINES)
def test_both_fidelities_report_the_same_engine(name: str) -> None:
    """Dense products have nothing random: the rows agree, and cycles are those of the losses."""
    rows = [Pricer(load(name), fidelity=f).gemm(plain_gemm(64, 64, 128, "fp16", 16)) for f in ("analytic", "tile")]
    assert rows[0].cycles == pytest.approx(rows[1].cycles, rel=1e-3)
    lost = sum(getattr(rows[1], f"lost_{cause}_cycles") for cause in
               ("imbalance", "fragmentation", "padding", "edge", "conflict", "ramp"))  # fmt: skip
    assert rows[1].ideal_cycles + lost <= rows[1].cycles * (1 + 1e-6)
    assert rows[1].dataflow == "zero_skipping"


@pytest.mark.parametrize("bits", [None, 1, 2])
def test_padding_words_enter_the_accumulators(bits: int | None) -> None:
    """Thin operands in short run fields, on accumulators that are the bottleneck: every stored word makes a sum, those
    that stand for long runs of zeros too. The expectation must be that of the walk."""
    arrangement = Arrangement(m=Deal(tile=16), n=Deal(tile=16), k=Deal(lanes=4))
    skipping = Skipping(law="cartesian", vector=Vector(input=4, weight=4), accumulate_words_per_cycle=2,
                        arrangements=(arrangement,))  # fmt: skip
    rng, density = np.random.default_rng(5), 0.12
    masks = [rng.random(shape) < density for shape in ((1, 64, 128), (1, 64, 128))]
    gemm = plain_gemm(64, 64, 128, "fp16", 16, Uniform(density), Uniform(density))
    runs = (bits, bits)
    walked = walked_cycles(*masks, skipping, arrangement, (True, True), runs)
    share = np.array([density])
    expected = expected_cycles(gemm, skipping, arrangement, (share, share), runs)
    assert expected.cycles == pytest.approx(walked.cycles, rel=0.1)


def test_zeros_save_time_where_they_are_skipped_and_energy_where_they_are_gated() -> None:
    sparse, dense = (plain_gemm(256, 256, 512, "fp16", 16, law, DENSE) for law in (Uniform(0.4), DENSE))
    for name, faster in (("cnvlutin", True), ("cambricon-x", False), ("eyeriss-v2", True), ("sigma", True)):
        quick, slow = (engine_cycles(gemm, load(name), True).cycles for gemm in (sparse, dense))
        assert (quick < 0.9 * slow) == faster and quick <= slow
    gating = load("cnvlutin", {"sparsity.input.mode": "gate"})
    rows = [Pricer(gating).gemm(gemm) for gemm in (sparse, dense)]
    assert rows[0].cycles == rows[1].cycles and rows[0].mac_j == pytest.approx(0.4 * rows[1].mac_j)


def test_skipping_saves_the_reads_that_gating_makes() -> None:
    """A zero activation asks for no weights: their buffer is read for the nonzero ones alone."""
    gemm = plain_gemm(64, 256, 512, "fp16", 16, Uniform(0.4))
    skip, gate = (Pricer(load("cnvlutin", {"sparsity.input.mode": mode})).gemm(gemm) for mode in ("skip", "gate"))
    weights = 64 * 256 * 512 * 2
    assert gate.buffer_read_bytes - skip.buffer_read_bytes == pytest.approx(0.6 * weights)
    assert skip.buffer_j < 0.6 * gate.buffer_j and skip.mac_j == gate.mac_j


def test_lanes_that_do_not_wait_are_never_slower() -> None:
    gemm = plain_gemm(64, 256, 512, "fp16", 16, Uniform(0.4), Uniform(0.3))
    for name in ("eie", "sparten", "cnvlutin", "scnn"):
        waits = {wait: engine_cycles(gemm, load(name, {"skipping.wait": wait}), True).cycles
                 for wait in ("step", "output", "never")}  # fmt: skip
        assert waits["never"] <= waits["output"] <= waits["step"]


def test_longer_queues_are_never_slower() -> None:
    gemm = plain_gemm(2, 512, 2048, "fp16", 16, Uniform(0.35), Uniform(0.09))
    for masks in (True, False):
        times = [engine_cycles(gemm, load("eie", {"skipping.queue": q}), masks).cycles for q in (0, 1, 2, 4, 8, 64)]
        assert times == sorted(times, reverse=True) and times[0] > 1.3 * times[-1]


def test_thin_zeros_are_not_rounded_away() -> None:
    gemm = plain_gemm(1, 4096, 100_000, "fp32", 32, DENSE, Uniform(1.3e-4))
    found = engine_cycles(gemm, load("hisparse-u280"))
    assert found.ideal == pytest.approx(gemm.macs * 1.3e-4 / 128, rel=1e-6)


def test_slowest_of_equal_lanes_is_the_binomial_order_statistic() -> None:
    from zerocast.workloads.patterns.binomial import expected_maximum

    for trials, share, lanes in ((40, 0.1, 64), (100, 0.5, 16), (2000, 0.3, 8)):
        mean = np.full((1, lanes), trials * share)
        found = expected_slowest(mean, mean * (1 - share))
        assert float(found[0]) == pytest.approx(float(expected_maximum(trials, share, lanes)), rel=0.01)


def test_slowest_of_unequal_lanes_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    means = np.array([20.0, 25.0, 30.0, 5.0])
    truth = rng.poisson(means, (200_000, 4)).max(axis=1).mean()
    assert float(expected_slowest(means[None], means[None])[0]) == pytest.approx(truth, rel=0.005)


def test_crossbar_without_queues_saturates_as_published() -> None:
    """Karol, Hluchyj, Morgan 1987, table I: 0.75 of the ports for 2 x 2, 0.6184 for 8 x 8."""
    assert 1 / conflict_factor(2, 2, 0) == pytest.approx(0.75, abs=0.01)
    assert 1 / conflict_factor(8, 8, 0) == pytest.approx(0.6184, abs=0.01)
    assert conflict_factor(16, 32, 4) < 1.05 < conflict_factor(16, 32, 0)


def test_scatter_engines_waste_what_lies_outside_the_output() -> None:
    """Every input meets every tap, whatever the stride; gathering engines make the products of the windows alone."""
    scatter = Skipping.model_validate({"law": "cartesian", "convolution": "scatter", "arrangements": [{}]})
    gather = scatter.model_copy(update={"convolution": "gather"})
    for stride in (1, 2):
        gemm = conv_gemm(stride)
        found = []
        for how in (scatter, gather):
            accelerator = load("nullhop").model_copy(update={"skipping": how})
            found.append(engine_cycles(gemm, accelerator, True).cycles)
        assert found == [2 * 60 * 3 * 24, operand_bits(gemm, "input").sum() * 4]
        assert found[1] < gemm.macs  # zeros of the padding are skipped too


def test_a_network_runs_on_every_engine() -> None:
    for name in ENGINES:
        result = simulate(forward(), name)
        assert result.latency_s > 0 and not result.uncosted
        assert all(row.cycles > 0 for row in result.rows if row.kind == "einsum")


def test_a_filling_of_the_multipliers_fills_the_tree_of_adders() -> None:
    """64 dense rows of 96 in chunks of 32 on 1,024 multipliers: 2 fillings a chunk, 6 in all, 10 levels each."""
    gemm = plain_gemm(64, 1000, 96, "fp16", 16)
    small = {"compute.rows": 32, "compute.cols": 32, "skipping.chunk": 32, "skipping.load_words_per_cycle": 32}
    for masks in (False, True):
        found = engine_cycles(gemm, load("sigma", small), masks)
        assert found.cycles == 6 * 1000 + 64 * 96 / 32 + 6 * 10
        assert found.ramp == 192 + 60
        flat = engine_cycles(gemm, load("sigma", small | {"skipping.reduction_tree": False}), masks)
        assert flat.cycles == found.cycles - 60


def test_the_tree_of_a_lane_fills_once() -> None:
    """16 products a lane: 4 levels, once a product; 16 lanes along K as well."""
    gemm = plain_gemm(64, 64, 512, "fp16", 16, Uniform(0.5), Uniform(0.5))
    for name in ("cambricon-x", "tensordash", "cnvlutin"):
        tree, none = (load(name, {"skipping.reduction_tree": tree}) for tree in (True, False))
        for masks in (False, True):
            assert engine_cycles(gemm, tree, masks).cycles == engine_cycles(gemm, none, masks).cycles + 4


def test_one_channel_brings_the_vector_and_takes_the_sums() -> None:
    """3 rows of 100, 60 sums each, 20 to a pass: 3 passes load 100 words each, 8 a cycle, and 60 sums leave."""
    gemm = plain_gemm(3, 60, 100, "fp32", 32, DENSE, Uniform(0.5))
    small = {"memories.output_buffer.capacity_bytes": 80}
    for masks in (False, True):
        found, wide = (engine_cycles(gemm, load("hisparse-u280", small | {"skipping.channel_words_per_cycle": words}),
                                     masks) for words in (8, 1e9))  # fmt: skip
        assert found.ramp - wide.ramp == found.cycles - wide.cycles == 3 * (3 * 13 + 8) - 3 * (3 + 1)
    with pytest.raises(AcceleratorError, match="channel_words_per_cycle belongs to laws with lanes"):
        load("sigma", {"skipping.channel_words_per_cycle": 8})


@pytest.mark.parametrize("skips", [("skip", "skip"), ("skip", "none"), ("none", "skip")])
def test_lanes_that_never_wait_meet_their_own_rows_and_columns_again_and_again(skips: tuple[str, str]) -> None:
    """What a lane's rows lack they lack in every column, so that a few rows to a lane tell lanes apart by much."""
    lanes = [{"m": {"lanes": 128, "block": 1}}]
    machine = load("extensor", {"skipping.arrangements": lanes, "sparsity.input.mode": skips[0],
                                "sparsity.weight.mode": skips[1]})  # fmt: skip
    gemm = plain_gemm(256, 256, 576, "fp16", 16, Uniform(0.45), Uniform(0.3))
    walked, expected = (engine_cycles(gemm, machine, masks) for masks in (True, False))
    assert expected.cycles == pytest.approx(walked.cycles, rel=0.02)
