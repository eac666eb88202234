"""Everything that can be known to be wrong is said before anything runs: key, bad value, remedy."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zerocast.accelerators import AcceleratorError
from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.space.reading import read_space
from zerocast.workloads.errors import WorkloadError

ROWS = "compute.rows: [16, 32]"
OBJECTIVES = "objectives: [latency_s, energy_j]"


def lacking(path: Path, *words: str) -> list[str]:
    """Words that the refusal of a space does not have; it must be refused."""
    with pytest.raises((AnalysisError, AcceleratorError, WorkloadError)) as caught:
        read_space(path)
    return [word for word in words if word not in str(caught.value)]


MISTAKES = [
    # (old, new), words of the message
    ((ROWS, "compute.rowz: [16, 32]"), ["compute.rowz", "did you mean 'rows'"]),
    ((ROWS, "memories.sram.capacity_bytes: [1, 2]"), ["memories.sram.capacity_bytes", "input_buffer"]),
    ((ROWS, "skipping.queue: [1, 2]"), ["skipping", "missing"]),
    ((ROWS, "compute.rows: []"), ["compute.rows", "has no values"]),
    ((ROWS, "compute.rows: {from: 64, to: 16, step: 16}"), ["compute.rows", "empty range", "64", "16"]),
    ((ROWS, "compute.rows: {from: 16, to: 64, step: 0}"), ["compute.rows", "step"]),
    ((ROWS, "compute.rows: {from: 16, to: 64, steps: 0}"), ["compute.rows", "empty range"]),
    ((ROWS, "compute.rows: {from: 0, to: 64, steps: 3, log: true}"), ["compute.rows", "log"]),
    ((ROWS, "compute.rows: {from: 16, to: 64, step: 16, steps: 3}"), ["compute.rows", "step and steps"]),
    ((ROWS, "compute.rows: {from: 16}"), ["compute.rows", "from and to"]),
    ((ROWS, "compute.rows: 16"), ["compute.rows", "16", "set"]),
    ((ROWS, "compute.rows: [16, 32, 16]"), ["compute.rows", "16 twice"]),
    ((ROWS, "compute.rows: [16, -1]"), ["compute.rows", "-1", "every design", "greater than 0"]),
    ((ROWS, "compute.rows: [16, many]"), ["compute.rows", "'many'", "every design"]),
    ((ROWS, "compute.rows: [16, 32]\n  compute.rows: [8]"), ["compute.rows", "twice"]),
    ((ROWS, "tied: {paths: [compute.rows, compute.cols], values: [8, 16]}"), ["compute.cols", "tied", "keep one"]),
    ((ROWS, "compute.rows: {values: [16], wen: x > 1}"), ["wen", "did you mean 'when'"]),
    ((ROWS, "compute.rows: {values: [16], when: compute.depth > 1}"), ["compute.depth", "unknown"]),
    ((ROWS, "compute.rows: {values: [16], when: compute.cols > 1}"), ["compute.cols", "comes later"]),
    ((ROWS, "compute.rows: {values: [16], when: latency_s > 1}"), ["latency_s", "constraint"]),
    ((ROWS, "workload.recipe: [a, b]"), ["recipe", "model"]),
    ((ROWS, "latency_s: [1, 2]"), ["latency_s", "result"]),
    ((OBJECTIVES, "objectives: [latency]"), ["latency", "did you mean 'latency_s'"]),
    ((OBJECTIVES, "objectives: [latency_s, latency_s]"), ["latency_s", "twice"]),
    ((OBJECTIVES, "objectives: []"), ["objectives", "empty"]),
    ((OBJECTIVES, "objectives: [{name: latency_s, direction: down}]"), ["direction", "down"]),
    ((OBJECTIVES, "objectives: [latency_s, accuracy]"), ["accuracy", "'dense'", "add"]),
    ((OBJECTIVES, OBJECTIVES + "\naccuracy: {'nm:2:5': 0.5}"), ["nm:2:5", "dense"]),
    ((OBJECTIVES, OBJECTIVES + "\nobjetives: [x]"), ["objetives", "did you mean 'objectives'"]),
    ((OBJECTIVES, OBJECTIVES + "\nset: {compute.rows: 8}"), ["compute.rows", "`set`", "keep one"]),
    ((OBJECTIVES, OBJECTIVES + "\nset: {compute.rowz: 8}"), ["rowz", "did you mean"]),
    ((OBJECTIVES, OBJECTIVES + "\nfidelity: exact"), ["fidelity", "exact"]),
    (("{model: net.npz}", "{model: net.npz, prune: 'nm:2:4'}"), ["prune", "net.npz", "lower"]),
    (("{model: net.npz}", "{model: resnet51}"), ["resnet51", "resnet50"]),
    (("{model: net.npz}", "{model: gone.npz}"), ["gone.npz", "folder"]),
    (("{model: net.npz}", "{model: resnet18, prune: 'nm:5:4'}"), ["nm:5:4"]),
    (("{model: net.npz}", "{model: resnet18, batch: 0}"), ["batch", "0"]),
    (("{model: net.npz}", "{model: net.npz}, {model: net.npz}"), ["both", "label"]),
    (("sat-vcu1525", "sat-vcu1526"), ["sat-vcu1526", "sat-vcu1525"]),
    (("{model: net.npz}", "{model: resnet18, dtype: fp8}"), ["resnet18", "fp8", "every design", "fp16", "dtype"]),
    (("{model: net.npz}", "{model: resnet18, dtype: int64}"), ["int64", "in inference"]),
    ((ROWS, "prune: ['nm:2:4']"), ["parameters.prune", "did you mean 'workload.prune'"]),
    ((ROWS, "batch: [1, 2]"), ["parameters.batch", "did you mean 'workload.batch'"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), MISTAKES, ids=lambda value: str(value)[:60])
def test_mistakes_are_named_with_a_remedy(
    change: tuple[str, str], words: list[str], write_space: Callable[..., Path]
) -> None:
    assert not lacking(write_space(change), *words)


CONSTRAINTS = [
    (["latency_s < 1", "latency_s > 2"], ["latency_s", "latency_s < 1", "latency_s > 2"]),
    (["dsp < 100 and dsp > 100"], ["dsp"]),
    (["10 < edp_js < 5"], ["edp_js"]),
    (["latency_s < 0"], ["latency_s", "never below 0"]),
    (["compute.rows > 32"], ["compute.rows", "16 to 32"]),
    (["compute.rows > compute.cols", "compute.cols >= compute.rows"], ["none of", "compute.rows > compute.cols"]),
    (["area_mm2 < 40"], ["area_mm2", "no area table"]),
    (["latency < 1"], ["latency", "did you mean 'latency_s'"]),
    (["compute < 1"], ["compute", "unknown"]),
    (["compute.rows"], ["no comparison"]),
    (["compute.rows <"], ["cannot be read"]),
    (["open('x') < 1"], ["not allowed"]),
    (["latency_s < 'long'"], ["different kinds"]),
    (["1 < 2"], ["names nothing"]),
]


@pytest.mark.parametrize(("constraints", "words"), CONSTRAINTS, ids=lambda value: str(value)[:40])
def test_constraints_that_cannot_be_kept_are_refused(
    constraints: list[str], words: list[str], write_space: Callable[..., Path]
) -> None:
    assert not lacking(write_space((OBJECTIVES, f"{OBJECTIVES}\nconstraints: {constraints!r}")), *words)


def test_objectives_that_the_accelerator_cannot_give(write_space: Callable[..., Path]) -> None:
    systolic = ("sat-vcu1525", "systolic-32x32")
    assert not lacking(write_space(systolic, (OBJECTIVES, "objectives: [dsp]")), "dsp", "no FPGA design")
    assert not lacking(write_space((OBJECTIVES, "objectives: [area_mm2]")), "area_mm2", "no area table")


def test_a_value_that_fails_with_others_only_becomes_rows(write_space: Callable[..., Path]) -> None:
    """A GPU must draw more than its static power: 300 W are refused beside 400 W, and fine beside 50 W."""
    cards = ("sat-vcu1525", "nvidia-h100-sxm")
    watts = (ROWS, "gpu.tdp_w: [300, 700]"), ("compute.cols: [16, 32]", "technology.static_power_w: [50, 400]")
    assert len(read_space(write_space(cards, *watts)).parameters) == 3
    hopeless = ("compute.cols: [16, 32]", "technology.static_power_w: [50, 900]")
    assert not lacking(write_space(cards, watts[0], hopeless), "900", "refused for every design", "tdp_w")


ZOO = ("{model: net.npz}", "{model: resnet18}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # the network's own type, which nobody wrote
        ([(OBJECTIVES, f"{OBJECTIVES}\nset: {{compute.rates: {{bf16: 1.0}}}}")], ["fp16", "without `dtype`", "bf16"]),
        # one value of two
        ([(ROWS, "workload.dtype: [fp16, fp8]")], ["workload.dtype", "fp8", "every design"]),
        # one workload of two
        ([("{model: resnet18}", "{model: resnet18}, {model: resnet18, dtype: bf16}")], ["bf16", "every design"]),
    ],
)
def test_types_that_no_design_multiplies(
    changes: list[tuple[str, str]], words: list[str], write_space: Callable[..., Path]
) -> None:
    assert not lacking(write_space(ZOO, *changes), *words)


@pytest.mark.parametrize(
    "changes",
    [
        [ZOO],
        # a saved workload has its own types
        [(OBJECTIVES, f"{OBJECTIVES}\nset: {{compute.rates: {{bf16: 1.0}}}}")],
        # some designs multiply it: the others become rows
        [ZOO, (ROWS, "compute.rates: [{bf16: 1.0}, {fp16: 1.0}]")],
        # a workload that brings its own rate
        [("{model: net.npz}", "{model: resnet18, dtype: fp8, set: {compute.rates.fp8: 1.0}}")],
        # never together with a design, by its condition
        [ZOO, (ROWS, "workload.dtype: {values: [fp8], when: compute.rows > 9999}")],
    ],
)
def test_types_that_some_design_multiplies(changes: list[tuple[str, str]], write_space: Callable[..., Path]) -> None:
    assert read_space(write_space(*changes)).entries


def test_nothing_is_written_for_a_space_that_is_refused(write_space: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["explore", str(write_space((ROWS, "compute.rowz: [1]"))), "--out", str(out)]) == 2
    assert not out.exists()


def test_a_large_space_is_checked_quickly(write_space: Callable[..., Path]) -> None:
    many = "compute.rows: {from: 1, to: 4096, step: 1}"
    start = time.perf_counter()
    space = read_space(write_space((ROWS, many), ("[16, 32]", "{from: 1, to: 512, step: 1}")))
    assert len(space.parameters) == 3
    assert time.perf_counter() - start < 20
