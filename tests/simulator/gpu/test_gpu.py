"""GPU kernel times: the formula against a plain loop, the limits it must have, and what a row says."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_workloads import attention

from zerocast.accelerators import Accelerator, AcceleratorError, load, templates
from zerocast.simulator import SimulationError, plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.card import TYPE_CLASSES, Card, card_of
from zerocast.simulator.gpu.fit.calibration import VERSION, calibration_of
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.fit.fitting import Measured, fit
from zerocast.simulator.gpu.fit.lattice import lattice_of
from zerocast.simulator.gpu.fit.neighbours import correction, distances, log_shapes, nearest, spread
from zerocast.simulator.gpu.predict import datasheet_roofline, predict
from zerocast.simulator.gpu.problem import problem
from zerocast.simulator.gpu.rules import cores_refusal, group_of, refusal
from zerocast.simulator.gpu.times import DENSE_KERNELS, SPARSE_KERNELS, choose
from zerocast.workloads.patterns import DENSE, NM, Uniform

NVIDIA = [name for name in templates() if name.startswith("nvidia-")]
CARD = Card("card", 100, 1.5e9, 200e12, 200e12, 2e12, 40e6, 180e12)
CONSTANTS = Constants()
HALF = NM(2, 4, "k")


def plain_time(m: int, n: int, k: int, tile_m: float, tile_n: float, split: float, c: Constants, sparse: bool) -> float:
    """The model's time of one kernel, one number at a time, in another arrangement than the vectorised one."""
    d = CARD
    rate, share = d.macs_per_s * (2 if sparse else 1), 9 / 16 if sparse else 1.0
    x, w, out = 2.0 * m * k, 2.0 * n * k * share, 2.0 * m * n
    steps = max(32 * math.ceil(k / split / 32), 128 if split > 1 else 0)
    down, across = math.ceil(m / tile_m), math.ceil(n / tile_n)
    exact = down * across * split / d.sms
    waves = max(1.0, exact + math.tanh(c.wave) * (math.ceil(exact) - exact))
    slow = 1 + c.tile_loss / tile_m + c.tile_loss / tile_n
    block = steps * c.step_s + steps * tile_m * tile_n * slow / (rate / d.sms * c.mma) + c.prologue_s
    block += tile_m * tile_n * 2 / (c.epilogue * d.macs16_per_s / d.sms)
    warm = 1 / (1 + ((x + w + out) / (c.warm * d.l2_bytes)) ** (2 * c.warm_sharpness))
    moved = w + x * (1 - warm) + out * c.write * (1 - warm / 2)
    bands = max(down / math.hypot(c.band, d.sms / across) - 1, 0)
    moved += w * bands * (1 - 1 / (1 + (w / (c.warm * d.l2_bytes)) ** 3))
    memory = d.dram_bytes_per_s * c.dram
    found = max(c.hits * d.macs16_per_s, memory)
    speed = d.macs16_per_s
    parts = (
        waves * block,
        moved / memory + x * warm / found,
        (x * across + w * down + out) / (c.l2 * speed),
        waves * 2 * steps * (tile_m + tile_n * share) / (c.feed * d.macs16_per_s / d.sms),
        m * n * k / (d.power_macs_per_s * c.power),
    )
    total = sum(part ** (1 + c.overlap) for part in parts) ** (1 / (1 + c.overlap))
    if split > 1:
        total += c.split_s + c.split_traffic * split * m * n * 8 / found
    roofline = max(m * n * k / rate, (x + w + out) / d.dram_bytes_per_s)
    return total * (1 + c.sustained * math.log(1 + roofline / 1e-3)) + c.floor_s


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "shape", [(1, 4096, 4096), (7, 96, 65536), (4096, 4096, 4096), (300, 20000, 64), (5000, 64, 512)]
)
def test_the_choice_is_the_least_over_all_kernels(shape: tuple[int, int, int], sparse: bool) -> None:
    kernels = SPARSE_KERNELS if sparse else DENSE_KERNELS
    each = {
        (tm, tn, s): plain_time(*shape, tm, tn, s, CONSTANTS, sparse)
        for tm, tn, s in zip(kernels.tile_m, kernels.tile_n, kernels.split, strict=True)
    }
    found = choose(problem(CARD, *shape, group=4 if sparse else 0), CONSTANTS, kernels)
    assert found.seconds[0] == pytest.approx(min(each.values()), rel=1e-12)
    assert each[found.tile_m[0], found.tile_n[0], found.split[0]] == pytest.approx(min(each.values()), rel=1e-12)


def test_limits() -> None:
    """Large products reach the rate, long vectors the bandwidth, and nothing is quicker than the floor."""
    sides = np.array([1, 16384])
    times = choose(problem(CARD, sides, sides, sides), replace(CONSTANTS, sustained=1e-9, power=1e3, l2=1e3)).seconds
    assert times[0] == pytest.approx(CONSTANTS.floor_s, rel=0.25) and times[0] > CONSTANTS.floor_s
    assert times[1] == pytest.approx(16384**3 / CARD.macs_per_s, rel=0.15)
    vector = choose(problem(CARD, 1, 32768, 32768), replace(CONSTANTS, sustained=1e-9)).seconds[0]
    assert vector == pytest.approx(2 * 32768**2 / (CARD.dram_bytes_per_s * CONSTANTS.dram), rel=0.05)
    cap = replace(CONSTANTS, sustained=1e-9, power=0.1)
    assert choose(problem(CARD, 16384, 16384, 16384), cap).seconds[0] >= 16384**3 / (0.1 * CARD.power_macs_per_s)


def test_splitting_k_is_chosen_where_tiles_are_few() -> None:
    few = choose(problem(CARD, 64, 256, 65536), CONSTANTS)
    many = choose(problem(CARD, 4096, 4096, 4096), CONSTANTS)
    assert few.split[0] > 1 and many.split[0] == 1 and many.tile_m[0] * many.tile_n[0] >= 128 * 128


def test_shapes_are_independent_and_batches_add_up() -> None:
    m, n, k = (np.random.default_rng(0).integers(1, 5000, 3000) for _ in range(3))
    together = choose(problem(CARD, m, n, k), CONSTANTS).seconds
    alone = [choose(problem(CARD, m[i], n[i], k[i]), CONSTANTS).seconds[0] for i in (0, 1500, 2999)]
    assert together[[0, 1500, 2999]] == pytest.approx(alone)
    one, many = (choose(problem(CARD, 512, 512, 512, batch=b), CONSTANTS).seconds[0] for b in (1, 64))
    assert one < many < 64 * one


def test_ten_thousand_shapes_in_two_seconds() -> None:
    """The better of two times, of other shapes each, since the machine may be busy."""
    assert min(_seconds_of_ten_thousand(seed) for seed in (0, 3)) < 2


def _seconds_of_ten_thousand(first: int) -> float:
    m, n, k = (np.random.default_rng(first + at).integers(1, 16384, 10_000) for at in range(3))
    gemms = [plain_gemm(int(a), int(b), int(c), "bf16", 16) for a, b, c in zip(m, n, k, strict=True)]
    pricer = Pricer(load("nvidia-h100-sxm"))
    began = time.process_time()
    pricer.prepare(gemms)
    assert len([pricer.gemm(gemm) for gemm in gemms]) == 10_000
    return time.process_time() - began


@pytest.mark.parametrize("name", NVIDIA)
def test_templates_price_their_types(name: str) -> None:
    accelerator = load(name)
    for dtype in accelerator.compute.rates:
        bits = 16 if dtype in ("bf16", "fp16") else 8
        row = Pricer(accelerator).gemm(plain_gemm(4096, 4096, 4096, dtype, bits))
        ideal = 4096**3 / (accelerator.peak_macs_per_s * accelerator.compute.rates[dtype])
        assert ideal * 0.9999 < row.latency_s < 3 * ideal and row.dataflow == "tensor_core"
        assert row.energy_j <= (accelerator.gpu.tdp_w - accelerator.technology.static_power_w) * row.latency_s * 1.001
        kind = TYPE_CLASSES[dtype]
        level = calibration_of(accelerator.gpu.calibration).of(f"dense_{kind}").level
        assert level in row.note and "90 % within" in row.note


def test_datasheet_rates() -> None:
    """TFLOP/s of the datasheets (NVIDIA), dense."""
    published = {
        "nvidia-a100-sxm-80g": ("bf16", 312), "nvidia-h100-pcie": ("bf16", 756.5), "nvidia-h100-sxm": ("fp8", 1979),
        "nvidia-h200-sxm": ("bf16", 989), "nvidia-l40s": ("bf16", 362), "nvidia-rtx4090": ("int8", 661),
        "nvidia-b200": ("fp8", 4500), "nvidia-a10": ("bf16", 125), "nvidia-a40": ("bf16", 149.7),
        "nvidia-a6000": ("bf16", 154.8), "nvidia-rtx3090": ("fp16", 71), "nvidia-rtx5090": ("bf16", 209.5),
        "nvidia-rtx-pro6000": ("bf16", 503.8), "nvidia-rtx-pro6000-maxq": ("bf16", 438.9), "nvidia-t4": ("int8", 130),
        "nvidia-v100-sxm": ("fp16", 125),
    }  # fmt: skip
    for name, (dtype, tera) in published.items():
        assert card_of(load(name), dtype).macs_per_s * 2e-12 == pytest.approx(tera, rel=0.005)


def test_a_row_runs_the_faster_of_dense_and_sparse() -> None:
    accelerator = load("nvidia-h100-pcie")
    for m in (64, 4096):
        dense = Pricer(accelerator).gemm(plain_gemm(m, 4608, 3584, "bf16", 16))
        sparse = Pricer(accelerator).gemm(plain_gemm(m, 4608, 3584, "bf16", 16, DENSE, HALF))
        assert sparse.latency_s <= dense.latency_s and "2:4" in sparse.note
        if sparse.skipped:
            assert sparse.dram_weight_bytes == pytest.approx(dense.dram_weight_bytes * 9 / 16)
            assert sparse.ideal_cycles == pytest.approx(dense.ideal_cycles / 2)
        else:
            assert "sparse loses" in sparse.note and sparse.latency_s == dense.latency_s
    assert sparse.skipped == "weight" and 1.2 < dense.latency_s / sparse.latency_s < 2


def test_launches_one_by_one_cost_their_gap() -> None:
    graph, eager = (load("nvidia-h100-sxm", {"host.launch_overhead_s": gap}) for gap in (1e-6, 8e-6))
    gemm = plain_gemm(512, 512, 512, "bf16", 16)
    assert Pricer(graph).gemm(gemm).latency_s == Pricer(eager).gemm(gemm).latency_s
    kinds = calibration_of("hopper").of("dense_16bit")
    known = lattice_of("nvidia-h100-sxm", "dense_16bit")
    whole = predict(problem(card_of(graph, "bf16"), 512, 512, 512), kinds, lattice=known).seconds[0]
    assert Pricer(graph).gemm(gemm).latency_s + graph.host.launch_overhead_s == pytest.approx(whole)


@pytest.mark.parametrize(("n", "m"), list(itertools.product(range(1, 6), (1, 2, 3, 4, 6, 8, 12))))
@pytest.mark.parametrize("size", [4, 8])
def test_which_patterns_keep_two_of_a_group(n: int, m: int, size: int) -> None:
    """Against every placement of the nonzeros, block by block, since blocks are filled independently."""
    if n >= m:
        return
    span = math.lcm(m, size)
    groups = [set(range(start, start + size)) for start in range(0, span, size)]
    blocks = [itertools.combinations(range(start, start + m), n) for start in range(0, span, m)]
    most = np.array([[max(len(group & set(kept)) for kept in placements) for group in groups]
                     for placements in map(list, blocks)])  # fmt: skip
    assert (group_of(NM(n, m, "k"), size) == size) == (most.sum(axis=0).max() <= 2)


def test_what_the_sparse_cores_refuse() -> None:
    h100, a100 = load("nvidia-h100-sxm"), load("nvidia-a100-sxm-80g")

    def why(n: int, k: int, dtype: str = "bf16", law: NM = HALF, card: Accelerator = h100) -> str:
        return refusal(plain_gemm(64, n, k, dtype, 16 if dtype == "bf16" else 8, DENSE, law), card)

    assert why(48, 64) == "" and why(64, 64, "fp8") == "" and why(64, 64, law=NM(2, 8, "k")) == ""
    assert "multiples of 16" in why(40, 64) and "multiples of 32" in why(48, 64, "int8")
    assert "more than two" in why(64, 64, law=NM(3, 4, "k")) and "more than two" in why(64, 64, law=NM(4, 8, "k"))
    assert why(64, 64, card=a100) == ""
    assert cores_refusal(plain_gemm(64, 40, 40, "bf16", 16, DENSE, Uniform(0.5)), h100) == ""
    row = Pricer(h100).gemm(plain_gemm(64, 40, 64, "bf16", 16, DENSE, HALF))
    assert row.skipped == "" and row.note.startswith("dense: 2:4 weights of 40 x 64")


def test_types_that_a_card_lacks() -> None:
    with pytest.raises(SimulationError, match=r"nvidia-a100-sxm-80g has no kernels for products in fp8.*bf16, fp16"):
        Pricer(load("nvidia-a100-sxm-80g")).gemm(plain_gemm(64, 64, 64, "fp8", 8))
    with pytest.raises(SimulationError, match="sat-vcu1525 is no GPU"):
        refusal(plain_gemm(64, 64, 64, "fp16", 16, DENSE, HALF), load("sat-vcu1525"))
    with pytest.raises(AcceleratorError, match="dataflow tensor_core and the part `gpu` belong together"):
        load("nvidia-a100-sxm-80g", {"compute.dataflows": ["output_stationary"]})


def test_fitting_finds_the_constants_that_made_the_data() -> None:
    generator = np.random.default_rng(3)
    m, n, k = (2.0 ** generator.uniform(4, 13, 300) // 1 for _ in range(3))
    shapes = problem(CARD, m, n, k)
    truth = replace(CONSTANTS, floor_s=5e-6, mma=0.7, dram=0.6)
    measured = Measured(shapes, choose(shapes, truth).seconds)
    found = fit([measured], CONSTANTS, DENSE_KERNELS, names=("floor_s", "mma", "dram"), shrinkage=1e-3)
    assert (found.floor_s, found.mma, found.dram) == pytest.approx((5e-6, 0.7, 0.6), rel=0.02)


def test_constants_are_few_and_positive() -> None:
    assert len(Constants.names()) <= 25
    for name in ("ampere", "hopper", "generic"):
        for kind, one in calibration_of(name).classes.items():
            assert one.low < 0 < one.high and len(one.shapes) > 4 and one.command.startswith("python -m"), kind
    with pytest.raises(SimulationError, match="missing or unknown: floor_s"):
        Constants.parse(dict.fromkeys(Constants.names()[1:], 1.0), "mine")
    with pytest.raises(SimulationError, match="mma must be a positive number; found -1"):
        Constants.parse(dict.fromkeys(Constants.names(), 1.0) | {"mma": -1}, "mine")


def test_neighbours() -> None:
    known = log_shapes([16, 1024], [16, 1024], [16, 1024])
    asked = log_shapes([16, 32, 4096], [16, 16, 1024], [16, 16, 1024])
    assert nearest(asked, known) == pytest.approx([0, 1, 2])
    assert distances(asked, known)[0, 1] == pytest.approx(math.sqrt(3) * 6)
    corrected = correction(asked, known, np.array([0.2, 0.2]))
    assert corrected[0] == pytest.approx(0.2, rel=0.02) and 0 < corrected[2] < corrected[1] < 0.2
    points = np.array([[0.0, 0, 0], [0.1, 0, 0], [5, 0, 0], [9, 0, 0]])
    assert spread(points, 3).tolist() == [0, 3, 2]


def test_error_bars_widen_with_distance() -> None:
    calibrated = calibration_of("hopper").of("dense_16bit")
    near, far = (predict(problem(card_of(load("nvidia-h100-sxm"), "bf16"), m, 4096, 4096), calibrated)
                 for m in (4096, 10**7))  # fmt: skip
    assert near.distance[0] < far.distance[0]
    widths = [float(np.log(one.high_s / one.low_s)[0]) for one in (near, far)]
    assert widths[0] < widths[1] and near.low_s[0] < near.seconds[0] < near.high_s[0]
    assert datasheet_roofline(problem(CARD, 4096, 4096, 4096))[0] == pytest.approx(4096**3 / CARD.macs_per_s)


def test_calibration_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="unknown calibration 'maxwell'; choose ada, ampere"):
        calibration_of("maxwell")
    with pytest.raises(SimulationError, match="no calibration file"):
        calibration_of(str(tmp_path / "absent.yaml"))
    path = tmp_path / "mine.yaml"
    for text, words in (
        ("a: 1\n", "no calibration"),
        (f"format: zerocast-gpu-calibration\nversion: {VERSION + 1}\n", f"schema version {VERSION + 1}, this"),
        (f"format: zerocast-gpu-calibration\nversion: {VERSION}\n", "not a whole calibration"),
        (
            f"format: zerocast-gpu-calibration\nversion: {VERSION}\nclasses: {{dense_16bit: {{level: x}}}}\n",
            "unknown level",
        ),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SimulationError, match=words):
            calibration_of(str(path))


def test_kernels_run_one_after_another() -> None:
    """One stream: the latency of a network is the sum of its rows, also where ops do not wait for each other."""
    for saved in (False, True):
        result = simulate(attention(saved), "nvidia-h100-sxm")
        assert result.latency_s == pytest.approx(sum(row.latency_s for row in result.rows))


def test_power_limit_leaves_something_above_idle() -> None:
    with pytest.raises(AcceleratorError, match=r"gpu\.tdp_w: 50 W leave nothing"):
        load("nvidia-h100-sxm", {"gpu.tdp_w": 50.0})


@pytest.mark.parametrize(
    ("place", "value"), [("base", 3), ("base", "own.yaml"), ("residuals", [float("nan")]), ("shapes", [])]
)
def test_calibrations_that_say_nothing_are_refused(
    place: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (files("zerocast.accelerators") / "calibrations" / "hopper.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if place == "base":
        content["base"] = value
    else:
        entry = next(iter(content["classes"].values()))
        entry |= {"shapes": [[64, 64, 64]], "residuals": [0.0], place: value}
    Path("own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(SimulationError, match=r"own\.yaml"):
        Pricer(load("nvidia-h100-sxm", {"gpu.calibration": "own.yaml"})).gemm(plain_gemm(64, 64, 64, "bf16", 16))


def test_a_hypothetical_core_finds_two_of_eight() -> None:
    """A 2:8 operand on a core that spans eight: a quarter of the products and (2 x 16 + 2 x 3) / (8 x 16) of the bytes;
    2:4 weights cost on it what they cost on a real one."""
    real, wide = (load("nvidia-h100-sxm", {"sparsity.weight.max_group": size}) for size in (4, 8))
    eighth, half = (plain_gemm(4096, 4096, 4096, "bf16", 16, DENSE, NM(2, m, "k")) for m in (8, 4))
    rows = {name: Pricer(card).gemm(gemm) for name, card, gemm in
            (("real", real, eighth), ("wide", wide, eighth), ("half", wide, half))}  # fmt: skip
    assert rows["wide"].flops == pytest.approx(rows["real"].flops / 2)
    assert rows["wide"].ideal_cycles == pytest.approx(rows["real"].ideal_cycles / 2)
    dense = 4096 * 4096 * 2
    assert rows["real"].dram_weight_bytes == pytest.approx(dense * 9 / 16)
    assert rows["wide"].dram_weight_bytes == pytest.approx(dense * 38 / 128)
    assert rows["wide"].latency_s < rows["real"].latency_s and rows["wide"].note.startswith("2:8 ")
    assert replace(rows["half"], note="") == replace(Pricer(real).gemm(half), note="")
    assert "multiples of 32" in refusal(plain_gemm(64, 48, 64, "bf16", 16, DENSE, NM(2, 8, "k")), wide)
