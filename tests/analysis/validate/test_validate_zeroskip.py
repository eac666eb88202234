"""The suite zeroskip where its rows are products: what it claims, and the arithmetic it rests on."""

from __future__ import annotations

import math
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binom

from zerocast.accelerators import load
from zerocast.analysis import validate
from zerocast.analysis.validate.comparison import Comparison, information, reference_rows
from zerocast.analysis.validate.suites import zeroskip
from zerocast.analysis.validate.suites.zeroskip import dstc, eie, hisparse, mcbbs, rows, sigma
from zerocast.analysis.validate.suites.zeroskip.eyeriss import pe as eyeriss_pe
from zerocast.simulator import SimulationError, plain_gemm, simulate
from zerocast.simulator.laws.lanes import engine_cycles
from zerocast.workloads.ir import Einsum, Workload
from zerocast.workloads.patterns import DENSE, Mask, Uniform

ROOM = "zerocast.analysis.validate.suites.zeroskip"
ROW = {"system": "some engine", "workload": "M4-N2-K3", "conditions": "A density=0.5; B density=1; build=x"}


@pytest.fixture(scope="module")
def suite() -> list[Comparison]:
    return [row for engine in (sigma, eie, dstc, hisparse, eyeriss_pe, mcbbs) for row in engine.compare()]


def test_every_reference_row_is_compared_and_finite(suite: list[Comparison]) -> None:
    kinds = {(row["system"], row["metric"]) for row in reference_rows("zeroskip.csv")}
    count = sum(len(rows.rows_of(*kind)) for kind in kinds - {("EIE", "theoretical_time")})
    per_engine = {"sigma": 1, "eie": 3, "dstc": 1, "hisparse": 1, "eyeriss-v2": 2, "mcbbs": 1}
    found = {name: sum(row.what.startswith(name) for row in suite) for name in per_engine}
    extra = {"eie": 1, "eyeriss-v2": 1}  # medians
    assert sum((found[name] - extra.get(name, 0)) // each for name, each in per_engine.items()) == count
    assert all(math.isfinite(row.predicted) and row.predicted > 0 and row.suite == "zeroskip" for row in suite)
    held = [row for row in suite if row.kind != "limit"]
    assert all(row.error is not None and math.isfinite(row.error) for row in held)


def test_the_one_row_outside_its_tolerance_is_the_claimed_one(suite: list[Comparison]) -> None:
    missed = [row.what for row in suite if row.ok is False]
    assert missed == ["dstc M4096-N4096-K4096, densities 0.3 and 1.0"]


def test_rows_shown_without_a_verdict_say_why(suite: list[Comparison]) -> None:
    shown = [row for row in suite if row.ok is None]
    kinds = {row.what.split()[0] for row in shown}
    assert kinds == {"eie", "mcbbs"}
    assert all(row.note and row.reference and row.tolerance is None for row in shown)


def test_sigma_cycles_by_hand(suite: list[Comparison]) -> None:
    """Both published products to the cycle, a fifth of A nonzero, 16,384 multipliers under a tree of 14 levels.

    2048 x 1 x 128: 52,428.8 nonzeros fill the array 4 times: 4 x 1 columns, 410 cycles of loading 128 a cycle, 4 x 14
    levels. 1632 x 36548 x 1024: a chunk of 128 has 41,779.2, which is 3 passes of 36,548 columns for each of 8 chunks;
    all 334,233.6 take 2,612 cycles to load and fill the array 21 times (fillings know no chunks), 14 levels each.
    """
    found = {row.what: row for row in suite if row.what.startswith("sigma")}
    assert found["sigma M2048-N1-K128"].predicted == 4 + 410 + 4 * 14 == 470
    large = found["sigma M1632-N36548-K1024"].predicted
    assert large == 8 * 3 * 36548 + 2612 + 21 * 14 == 880_058
    assert all(row.error == 0 and row.ok for row in found.values())


def test_pairs_are_those_of_a_loop_over_all_products() -> None:
    rng = np.random.default_rng(3)
    inputs, weights = rng.random((5, 7)) < 0.6, rng.random((4, 7)) < 0.4
    looped = sum(bool(inputs[m, c] and weights[n, c]) for m in range(5) for n in range(4) for c in range(7))
    assert eyeriss_pe.met_pairs(inputs, weights) == looped


def test_the_exact_rows_compare_two_computations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that is off by one product must be noticed, and masks of another seed must give other cycles."""
    exact = [row for row in eyeriss_pe.compare() if "random masks" in row.what]
    other = [row for row in eyeriss_pe.compare(seed=100) if "random masks" in row.what]
    assert all(row.ok for row in exact + other)
    assert all(a.predicted != b.predicted for a, b in zip(exact, other, strict=True))
    counted = eyeriss_pe.met_pairs
    monkeypatch.setattr(eyeriss_pe, "met_pairs", lambda inputs, weights: counted(inputs, weights) + 1)
    off = [row for row in eyeriss_pe.compare() if "random masks" in row.what]
    assert [row.ok for row in off] == [False] * len(off)
    assert [row.predicted for row in off] == [row.predicted for row in exact]


@pytest.mark.parametrize(("outputs", "density"), [(4096, 0.09), (1000, 0.25), (8791, 0.02)])
def test_stored_words_are_those_of_drawn_columns(outputs: int, density: float) -> None:
    """Each PE stores its nonzeros and one word for each 16 zeros that a nonzero still follows."""
    words, columns = 0, 60
    bits = np.random.default_rng(0).random((columns, outputs)) < density
    for column in bits:
        for lane in range(64):
            places = np.flatnonzero(column[lane::64])
            gaps = np.diff(np.concatenate([[-1], places])) - 1
            words += len(places) + int((gaps // 16).sum())
    assert eie.stored_words(load("eie"), outputs, density) == pytest.approx(words / columns, rel=0.02)


@pytest.mark.parametrize(("layer", "us"), [("Alex-7", 11.7), ("NT-Wd", 13.0)])
def test_weights_are_as_dense_as_the_theoretical_time_says(layer: str, us: float) -> None:
    inputs, outputs, activations = eie.LAYERS[layer]
    gemm = eie.product_for(layer, us)
    assert (gemm.m, gemm.n, gemm.k) == (1, outputs, inputs)
    words = eie.stored_words(load("eie"), outputs, gemm.weight.pattern.density) * inputs * activations
    assert words / 64 / 800 == pytest.approx(us, rel=1e-6)


def test_a_queue_of_one_is_lock_step() -> None:
    """Depth 1: a round lasts as long as its slowest PE; the template's 8 are no slower than the PE with most work."""
    rng = np.random.default_rng(1)
    x, w = rng.random(40) < 0.5, rng.random((640, 40)) < 0.3
    gemm = plain_gemm(1, 640, 40, "int16", 16, Mask.of(x[None], ("m", "k")), Mask.of(w, ("n", "k")))
    work = w.reshape(10, 64, 40).sum(axis=0)[:, x]  # [PEs, broadcasts]; 10 rows a PE need no padding
    shallow = engine_cycles(gemm, load("eie", eie.LOCK_STEP), masks=True).cycles
    deep = engine_cycles(gemm, load("eie"), masks=True).cycles
    assert shallow == work.max(axis=0).sum() + 3
    assert work.sum(axis=1).max() <= deep < shallow


def test_the_drain_of_hisparse_by_hand(suite: list[Comparison]) -> None:
    """2,449 k vertices, sums of 1,048,576 rows at a time: the vector comes 3 times, 8 words a cycle at 237 MHz, and the
    result leaves once. Products alone take 6.6 ms, so that a dropped term would break the published 12.0 ms."""
    machine, size = load("hisparse-u280"), 2_449_000
    gemm = plain_gemm(1, size, size, "fp32", 32, DENSE, Uniform(2.06e-5))
    quick = load("hisparse-u280", {"skipping.channel_words_per_cycle": 1e12})
    exposed = engine_cycles(gemm, machine).cycles - engine_cycles(gemm, quick).cycles
    assert exposed == pytest.approx((3 + 1) * size / 8, abs=8)
    rows = {row.what.split()[1]: row for row in suite if row.what.startswith("hisparse")}
    assert len(rows) == 7 and all(row.ok for row in rows.values())
    assert rows["ogbn-products"].predicted > 11_000


@pytest.mark.parametrize("density", [0.4, 0.2])
def test_dstc_waits_alike_for_dense_and_sparse_columns(density: float) -> None:
    """A dense A: the ratio is that of the steps of 16 columns, 116 words a cycle or not."""
    count = np.arange(33)
    steps = binom.pmf(count, 32, density) @ np.ceil(count / 16) / 2
    for words in (116, 1e6):
        accelerator = load("dstc", {"skipping.accumulate_words_per_cycle": words})
        sparse, dense = (engine_cycles(plain_gemm(256, 512, 512, "fp16", 16, DENSE, law), accelerator).cycles
                         for law in (Uniform(density), DENSE))  # fmt: skip
        assert sparse / dense == pytest.approx(steps, rel=1e-3)


@pytest.mark.parametrize("density", [0.9, 0.3])
def test_dstc_ratio_is_that_of_one_step_and_not_of_the_size(suite: list[Comparison], density: float) -> None:
    """With a dense B a step takes 2 max(ceil(x / 8), 16 x / 116) cycles for x of 32 nonzeros."""
    count = np.arange(33)
    cycles = np.maximum(2 * np.ceil(count / 8), 32 * count / 116)
    expected = binom.pmf(count, 32, density) @ cycles / cycles[-1]
    (row,) = (row for row in suite if row.what.endswith(f"densities {density} and 1.0"))
    assert row.predicted == pytest.approx(expected, rel=0.005)
    smaller = [row for row in dstc.compare(most=256) if row.what.endswith(f"densities {density} and 1.0")]
    assert smaller[0].predicted == pytest.approx(expected, rel=0.01)


def _kept(workload: Workload) -> tuple[float, float]:
    """Multiply-accumulates of a network, and the share left by its weights."""
    ops = [op for op in workload.ops if isinstance(op, Einsum)]
    macs = [math.prod(op.sizes.values()) for op in ops]
    left = [size * workload.pattern_of(op, 1).density for size, op in zip(macs, ops, strict=True)]
    return float(sum(macs)), sum(left) / sum(macs)


@pytest.mark.parametrize(("network", "dense", "kept"), [("VGG-16", 15.47e9, 0.30), ("ResNet-50", 4.09e9, 0.40)])
def test_mcbbs_networks_keep_the_published_share(network: str, dense: float, kept: float) -> None:
    macs, share = _kept(mcbbs.network_of(network, 4))
    assert macs == pytest.approx(dense, rel=0.005)
    assert share == pytest.approx(kept, abs=0.005)


def test_mcbbs_starts_every_layer_and_sends_its_weights_for_every_tile(suite: list[Comparison]) -> None:
    """16 layers and 5 poolings are started, ReLUs are not; both published times are met to a percent."""
    workload = mcbbs.network_of("VGG-16", 4)
    paid, free = (simulate(workload, load("mcbbs-arria10", {"host.launch_overhead_s": s})) for s in (84e-6, 0.0))
    assert paid.latency_s - free.latency_s == pytest.approx(21 * 84e-6, rel=5e-3)  # weights come early meanwhile
    errors = [row.error for row in suite if row.what.startswith("mcbbs") and row.ok]
    assert len(errors) == 2 and all(abs(error or 1) < 0.01 for error in errors)
    for row in paid.rows:
        if row.kind == "einsum":
            weights = row.n * row.k * row.weight_density * (1.0 if row.weight_density == 1 else 1.25)  # 2 bits of 8
            assert row.dram_weight_bytes == pytest.approx(weights * -(-row.m // row.tile_m), rel=1e-6)


def test_a_build_label_sets_the_array() -> None:
    row = {**ROW, "conditions": "build=24x7M1_C2R4P8G8; MHz=226"}
    accelerator, ranges = mcbbs.build_of(row)
    compute = accelerator.compute
    assert (compute.cols, compute.rows, compute.macs_per_pe, ranges) == (24, 7, 16, 4)
    assert accelerator.technology.clock_hz == 226e6


@pytest.mark.parametrize("text", ["M4N2K3", "M4-N2", "M4-N2-K3-", "M4-N0-K3", "4x2x3", "M-N-K", ""])
def test_a_wrong_shape_is_refused(text: str) -> None:
    with pytest.raises(SimulationError, match="is not a shape of the form M1-N1-K1"):
        rows.product_of({**ROW, "workload": text}, "fp16", 16)


def test_a_right_shape_is_read() -> None:
    gemm = rows.product_of(ROW, "fp16", 16)
    assert (gemm.m, gemm.n, gemm.k) == (4, 2, 3)
    assert gemm.input.pattern.density == 0.5
    assert gemm.weight.pattern.is_dense


def test_rows_that_say_too_little_are_refused() -> None:
    with pytest.raises(SimulationError, match="lack 'A density'"):
        rows.product_of({**ROW, "conditions": "B density=1"}, "fp16", 16)
    with pytest.raises(SimulationError, match="'x' is not a shape of the form 1x1M1_C1R1P1G1"):
        mcbbs.build_of(ROW)
    with pytest.raises(SimulationError, match="no layer 'Alex-9'"):
        eie.product_for("Alex-9", 10.0)
    with pytest.raises(SimulationError, match="more than its 4096 x 4096 weights"):
        eie.product_for("Alex-7", 1e6)
    with pytest.raises(SimulationError, match="no network 'VGG-13'"):
        mcbbs.network_of("VGG-13", 4)


def test_every_engine_of_the_folder_is_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {module.name for module in pkgutil.iter_modules(zeroskip.__path__)}
    assert files == {zeroskip.MODULES.get(name, name).partition(".")[0] for name in zeroskip.ENGINES} | {
        "rows",
        "layers",
    }
    for name in zeroskip.ENGINES:
        row = information("zeroskip", name, 1.0, "x")
        monkeypatch.setattr(f"{ROOM}.{zeroskip.MODULES.get(name, name)}.compare", lambda row=row: [row])
    said: list[str] = []
    assert [row.what for row in validate.run("zeroskip", said.append)] == list(zeroskip.ENGINES)
    assert said == list(zeroskip.ENGINES.values())


def test_without_torch_the_suite_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeroskip, "find_spec", lambda name: None)
    said: list[str] = []
    with pytest.raises(SimulationError, match="install torch"):
        zeroskip.compare(said.append)
    assert not said


def test_the_engines_load_no_torch_before_they_run() -> None:
    modules = ", ".join(f"{ROOM}.{zeroskip.MODULES.get(name, name)}" for name in zeroskip.ENGINES)
    code = f"import sys, {modules}\nassert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
