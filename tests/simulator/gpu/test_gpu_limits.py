"""What GPU kernel times may not do, whatever the constants: orders that hold on every card, in every class."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.accelerators import AcceleratorError, load, templates
from zerocast.simulator import SimulationError, plain_gemm
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.card import Card, card_of, type_class
from zerocast.simulator.gpu.fit.calibration import Calibrated, calibration_of
from zerocast.simulator.gpu.fit.constants import HALVED, LESS_IS_QUICKER, MORE_IS_QUICKER, Constants
from zerocast.simulator.gpu.fit.fitting import Measured, fit
from zerocast.simulator.gpu.problem import problem
from zerocast.simulator.gpu.times import DENSE_KERNELS, Chosen, choose
from zerocast.workloads.ir import BITS
from zerocast.workloads.patterns import DENSE, NM

NVIDIA = [name for name in templates() if name.startswith("nvidia-")]
SIXTEEN = [name for name in NVIDIA if "fp16" in load(name).compute.rates]
CARD = Card("card", 100, 1.5e9, 200e12, 200e12, 2e12, 40e6, 180e12, gap_s=1e-6)
ROUNDED = 1e-3
"""Calibration files keep four digits."""
some = settings(max_examples=60, deadline=None, derandomize=True)


@cache
def classes() -> list[tuple[str, str, bool]]:
    """Card, data type and whether it is 2:4, for each class of each template."""
    found = []
    for card in map(load, NVIDIA):
        assert card.gpu is not None
        found += [(card.name, dtype, False) for dtype in card.compute.rates]
        found += [(card.name, dtype, True) for dtype in card.gpu.sparse_types]
    return found


def aligned(bits: int) -> st.SearchStrategy[int]:
    """Multiples of 32 up to 2**bits, evenly over the scale."""
    return st.floats(5, bits).map(lambda exponent: int(2**exponent) // 32 * 32)


def class_of(kind: tuple[str, str, bool]) -> Calibrated:
    """The class of products of a kind."""
    name, dtype, sparse = kind
    accelerator = load(name)
    calibration = calibration_of(accelerator.gpu.calibration if accelerator.gpu else "")
    return calibration.of(f"{'sparse' if sparse else 'dense'}_{type_class(accelerator, dtype)}")


def constants_of(kind: tuple[str, str, bool]) -> Constants:
    """Constants of a class."""
    return class_of(kind).constants


def times(kind: tuple[str, str, bool], m: int, n: int, k: int, batch: int = 1, l2: float = 1.0) -> Chosen:
    """Kernel of a product in a class; l2: size of the L2 over the template's."""
    name, dtype, sparse = kind
    card, calibrated = card_of(load(name), dtype), class_of(kind)
    asked = problem(
        replace(card, l2_bytes=card.l2_bytes * l2), m, n, k, batch=batch,
        element_bytes=BITS[dtype] // 8, group=4 if sparse else 0,
    )  # fmt: skip
    return choose(asked, calibrated.constants, calibrated.kernels)


kinds = st.sampled_from(classes())


@some
@given(kinds, aligned(15), aligned(16), aligned(17), st.sampled_from("mnk"), st.integers(1, 400))
def test_larger_products_are_not_quicker(kind: tuple, m: int, n: int, k: int, side: str, steps: int) -> None:
    larger = {"m": m, "n": n, "k": k}
    larger[side] += 16 * steps
    assert times(kind, m, n, k).seconds[0] <= times(kind, **larger).seconds[0] * (1 + 1e-12)


def test_no_step_of_k_or_m_is_downwards() -> None:
    """Every multiple of 16, across the sizes where splits of K come into reach."""
    steps = np.arange(16, 9000, 16)
    for name in ("ampere", "hopper", "generic"):
        for kind, calibrated in calibration_of(name).classes.items():
            for m, n, k in ((16, 4096, steps), (512, 128, steps), (steps, 256, 8192), (64, steps, 16384)):
                seconds = choose(problem(CARD, m, n, k), calibrated.constants, calibrated.kernels).seconds
                assert (np.diff(seconds) >= -1e-15).all(), (name, kind)


@some
@given(kinds, aligned(15), aligned(15), aligned(15), st.floats(1, 8))
def test_a_larger_l2_is_not_slower(kind: tuple, m: int, n: int, k: int, factor: float) -> None:
    assert times(kind, m, n, k, l2=factor).seconds[0] <= times(kind, m, n, k).seconds[0] * (1 + 1e-12)


def test_the_l2_is_never_slower_than_the_memory() -> None:
    """Constants that say otherwise are read as the memory's own bandwidth."""
    slow = replace(Constants(), hits=1e-6, warm=4.0)
    fair = replace(slow, hits=slow.dram * CARD.dram_bytes_per_s / CARD.macs16_per_s)
    asked = problem(CARD, 4096, 64, 4096, repeats=True)
    assert choose(asked, slow).seconds[0] == pytest.approx(choose(asked, fair).seconds[0], rel=1e-12)


@some
@given(kinds, aligned(14), aligned(14), aligned(14), st.integers(2, 300))
def test_a_batch_is_no_dearer_than_its_products(kind: tuple, m: int, n: int, k: int, batch: int) -> None:
    """Launched one by one with all of their activations from off chip; nor cheaper than fewer of them; also without the
    gap between launches, as rows of results are."""
    accelerator = load(kind[0])
    card, gap = card_of(accelerator, kind[1]), card_of(accelerator, kind[1]).gap_s
    one, fewer, all_of_them = (times(kind, m, n, k, count).seconds[0] for count in (1, batch - 1, batch))
    c = constants_of(kind)
    element = BITS[kind[1]] // 8
    roofline = max(m * n * k / card.macs_per_s, (element * (m * k + n * k) + 2 * m * n) / card.dram_bytes_per_s)
    cold = (element * m * k + 2 * m * n * c.write / 2) / (card.dram_bytes_per_s * c.dram)
    cold *= 1 + c.sustained * np.log1p(roofline / 1e-3)
    assert all_of_them <= batch * (one + cold) * (1 + 1e-12)
    assert all_of_them - gap <= batch * (one + cold - gap) * (1 + 1e-9)
    assert fewer <= all_of_them * (1 + 1e-12)


@some
@given(kinds, aligned(14), st.integers(1, 512), aligned(14), st.integers(1, 300))
def test_no_batch_outruns_the_link(kind: tuple, m: int, n: int, k: int, batch: int) -> None:
    """What the L2 cannot hold comes or goes over the off-chip link at the datasheet's bandwidth at best; of weights
    that nobody has read before, all of it."""
    card = card_of(load(kind[0]), kind[1])
    element = BITS[kind[1]] // 8
    weight = batch * element * n * k * (9 / 16 if element == 2 and kind[2] else 10 / 16 if kind[2] else 1)
    moved = batch * (element * m * k + 2 * m * n) + weight
    seconds = times(kind, m, n, k, batch).seconds[0]
    # an output byte may cost less than one that is read, and half of the output may stay
    writes = batch * 2 * m * n * max(1 - constants_of(kind).write / 2, 0)
    assert seconds >= max(moved - card.l2_bytes - writes, weight) / card.dram_bytes_per_s


def test_a_batch_beyond_the_l2_finds_nothing_warm() -> None:
    """12 products of 33.8 MB each, 406 MB in all, against 50 MB of L2: 203 us at 2,000 GB/s, counted by hand."""
    kind = ("nvidia-h100-pcie", "bf16", False)
    one, twelve = (times(kind, 4096, 16, 4096, batch).seconds[0] for batch in (1, 12))
    by_hand = 12 * 2 * (4096 * 4096 + 16 * 4096 + 4096 * 16) / 2e12
    assert by_hand == pytest.approx(203e-6, rel=5e-3)
    assert 203e-6 < twelve < 203e-6 / constants_of(kind).dram * 1.05 and 12 * one < 0.7 * twelve
    small = times(kind, 64, 64, 64, 8).seconds[0]
    assert small < 2 * times(kind, 64, 64, 64).seconds[0]


@some
@given(st.sampled_from(SIXTEEN), st.booleans(), aligned(15), aligned(15), aligned(16))
def test_narrow_operands_are_not_slower(name: str, sparse: bool, m: int, n: int, k: int) -> None:
    """8 bits against 16 on the same card, outputs of the same width."""
    wide = times((name, "fp16", sparse), m, n, k).seconds[0]
    for dtype in {"fp8", "int8"} & set(load(name).compute.rates):
        assert times((name, dtype, sparse), m, n, k).seconds[0] <= wide * (1 + ROUNDED)


def test_narrow_classes_keep_what_only_16_bits_could_tell() -> None:
    """Launch, memory, L2 hits, splits, bands: the int8 table has warm products of networks alone."""
    tied = ("floor_s", "dram", "hits", "split_s", "split_traffic", "band", "warm", "warm_sharpness", "write", "cache")
    for name in ("ampere", "hopper", "generic"):
        found = calibration_of(name).classes
        for kind in {"dense_int8", "dense_fp8"} & set(found):
            for constant in tied:
                assert getattr(found[kind].constants, constant) == getattr(found["dense_16bit"].constants, constant)
    gemv = {dtype: times(("nvidia-h100-sxm", dtype, False), 1, 32, 16384).seconds[0] for dtype in ("bf16", "int8")}
    assert gemv["int8"] <= gemv["bf16"]


def test_which_way_each_constant_works() -> None:
    """The lists that keep 8 bits from being slower say the right direction, and no constant is forgotten."""
    side = 2.0 ** np.arange(0, 15, 2)
    m, n, k = (axis.ravel() for axis in np.meshgrid(side, side, side))
    start = Constants()
    gemm_constants = {name for name in Constants.names() if not name.startswith("quantise")} - {"warm_sharpness"}
    assert set(LESS_IS_QUICKER) | set(MORE_IS_QUICKER) == gemm_constants
    for repeats in (False, True):
        asked = problem(CARD, m, n, k, repeats=repeats)
        before = choose(asked, start).seconds
        for name in sorted(gemm_constants):
            more = choose(asked, replace(start, **{name: getattr(start, name) * 1.5})).seconds / before
            sign = 1 if name in LESS_IS_QUICKER else -1
            assert (sign * (more - 1) >= -1e-12).all(), name
    assert set(HALVED) <= set(MORE_IS_QUICKER)


def test_fits_stay_in_their_bounds() -> None:
    m, n, k = (2.0 ** np.random.default_rng(seed).uniform(5, 12, 80) // 1 for seed in range(3))
    asked = problem(CARD, m, n, k)
    measured = Measured(asked, choose(asked, replace(Constants(), floor_s=6e-6, dram=0.5)).seconds)
    free = fit([measured], Constants(), DENSE_KERNELS, names=("floor_s", "dram"))
    bound = fit([measured], Constants(), DENSE_KERNELS, names=("floor_s", "dram"), bounds={"floor_s": (0.0, 4e-6)})
    assert free.floor_s == pytest.approx(6e-6, rel=0.03) and bound.floor_s <= 4e-6
    with pytest.raises(SimulationError, match="no room for warm_sharpness"):
        fit([measured], Constants(), DENSE_KERNELS, names=("warm_sharpness",), bounds=Constants().no_slower())


@pytest.mark.parametrize(("m", "k"), [(64, 512), (1024, 4096), (32768, 16384)])
def test_quantising_adds_its_own_kernel(m: int, k: int) -> None:
    """Launch, pace of the SMs, and off-chip traffic once what it moves is beyond the L2."""
    constants = Constants()
    with_it, without = (
        choose(problem(CARD, m, 64, k, element_bytes=1, quantise=asked), constants).seconds[0]
        for asked in (True, False)
    )  # fmt: skip
    moved = m * k * 2 + m * k
    expected = constants.quantise_s + moved / (constants.quantise_hits * CARD.macs16_per_s)
    if moved > 4 * CARD.l2_bytes:
        expected += moved / (CARD.dram_bytes_per_s * constants.quantise)
    assert with_it - without == pytest.approx(expected, rel=1e-2)


def test_rows_keep_the_orders() -> None:
    """Latencies of rows, which choose between dense and 2:4 and leave the launch gap out."""
    half = NM(2, 4, "k")
    for name in ("nvidia-a100-sxm-80g", "nvidia-h100-pcie", "nvidia-l40s"):
        pricer = Pricer(load(name))
        for law in (DENSE, half):
            rows = [pricer.gemm(plain_gemm(m, 4096, 4096, "bf16", 16, DENSE, law)) for m in range(64, 6000, 192)]
            assert (np.diff([row.latency_s for row in rows]) >= 0).all()
        one = plain_gemm(64, 4096, 2048, "bf16", 16)
        assert pricer.gemm(replace(one, batch=64)).latency_s <= 64 * pricer.gemm(one).latency_s * 1.02


@pytest.mark.parametrize("gap", [2.1e-6, 8e-6, 0.5])
def test_gaps_that_no_graph_has_are_refused(gap: float) -> None:
    with pytest.raises(AcceleratorError, match=r"gpu\.launch_floor_s.*no gap between kernels.*launch_overhead_s"):
        load("nvidia-h100-sxm", {"gpu.launch_floor_s": gap})
    assert load("nvidia-h100-sxm", {"gpu.launch_floor_s": 2e-6}).gpu is not None
    shortest = min(calibration_of(name).of("dense_16bit").constants.floor_s for name in ("ampere", "hopper", "generic"))
    assert shortest > 2e-6
