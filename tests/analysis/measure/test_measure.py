"""The measuring harness on a CPU, and its CUDA path on a card made of Python."""

import ctypes
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zerocast.analysis import cli
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure import command
from zerocast.analysis.measure.__main__ import main
from zerocast.analysis.measure.command import Watcher, measure
from zerocast.analysis.measure.machine import nvml, timing
from zerocast.analysis.measure.machine.drift import anchor_drift
from zerocast.analysis.measure.machine.provenance import provenance
from zerocast.analysis.measure.machine.target import Target, find_target
from zerocast.analysis.measure.options import parse
from zerocast.analysis.measure.protocol import Session
from zerocast.analysis.measure.results import FORMAT, ResultFile, load_measurements
from zerocast.analysis.measure.suites import networks, products
from zerocast.analysis.measure.suites.bandwidth import memory_of
from zerocast.analysis.measure.suites.energy import measure_energy
from zerocast.analysis.measure.suites.gemm import measure_gemm, measure_product
from zerocast.analysis.measure.suites.products import copies, draw, make_product
from zerocast.analysis.measure.suites.shapes import VARIANTS, Shape, Variant, measuring_order, read_shapes, refusal
from zerocast.analysis.measure.suites.sparsity import prune_2to4

ROOT = Path(__file__).parents[3]
SHAPES = """role,network,op,M,N,K
anchor,a,,8,64,64
calibration,c,,16,64,128
held_out,h,,32,128,64
held_out,h,odd,4,33,50
calibration,c,,24,96,32
"""


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.csv"
    path.write_text(SHAPES)
    return path


def gemm(out: Path, shapes: Path, *more: str) -> int:
    return measure(["--device", "cpu", "--suite", "gemm", "--out", str(out), "--shapes", str(shapes), *more])


def session_on(out: Path, target: Target, *arguments: str) -> Session:
    options = parse(["--device", "cpu", "--out", str(out), *arguments])
    return Session(options, target, ResultFile(out), 0)


# --- suites on a CPU ----------------------------------------------------------------------------------------


def test_gemm_on_a_cpu(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    assert gemm(out, shapes, "--variants", "bf16_dense,bf16_2to4,int8_dense") == 0
    frame, about = load_measurements(out)
    assert "2:4 products need a CUDA build" in about["left_out"]["bf16_2to4"]
    assert set(about["left_out"]) == {"bf16_2to4"}
    rows = frame[frame.suite == "gemm"]
    assert not rows.error.any()
    bf16 = rows[rows.variant == "bf16_dense"]
    # each shape once, the anchor three times: in order of time at the start, in the middle and at the end
    assert Counter(zip(bf16.M, bf16.N, bf16.K, strict=True)) == {
        (8, 64, 64): 3, (16, 64, 128): 1, (32, 128, 64): 1, (4, 33, 50): 1, (24, 96, 32): 1,
    }  # fmt: skip
    assert list(bf16[bf16.role == "anchor"].phase) == ["start", "middle", "end"]
    assert (bf16.iloc[0].phase, bf16.iloc[-1].phase) == ("start", "end")
    # int8 asks for M above 16
    assert sorted(rows[rows.variant == "int8_dense"].M) == [24, 32]
    assert (rows.n >= 10).all() and (rows.min_us > 0).all()
    assert (rows.min_us <= rows.p10_us).all() and (rows.p10_us <= rows.median_us).all()
    assert (rows.median_us <= rows.p90_us).all()
    assert (rows[rows.variant == "int8_dense"].checked_error == 0).all()
    assert about["sessions"][0]["torch"] == torch.__version__ == rows.iloc[0].torch
    assert about["drift"]["shapes"] == 1 and about["notes"] == []


@pytest.mark.parametrize("suite", ["bandwidth", "network", "training"])
def test_other_suites_on_a_cpu(suite: str, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    assert measure(["--device", "cpu", "--suite", suite, "--models", "resnet9@1", "--out", str(out)]) == 0
    rows, _ = load_measurements(out)
    dense = rows[rows.variant != "bf16_2to4"]
    assert not dense.error.any() and (dense.median_us > 0).all()
    if suite == "bandwidth":
        assert np.allclose(rows.gb_s, rows.bytes / rows.median_us / 1000)
        assert set(rows.variant) == {"copy", "read"}
    if suite == "network":
        assert list(rows[rows.variant == "bf16_2to4"].error) == [
            "AnalysisError: the network has no linear layer that 2:4 kernels take"
        ]


def test_energy_without_a_counter_is_a_row(tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    assert measure(["--device", "cpu", "--suite", "energy", "--out", str(out)]) == 0
    assert "no energy counter" in load_measurements(out)[1]["left_out"]["energy"]


class Steady:
    """A meter of a machine that draws 100 W whatever it does."""

    source = "constant"

    def joules(self) -> float:
        return 100 * time.perf_counter()


class Still:
    source = "broken"

    def joules(self) -> float:
        return 5.0


def test_energy_of_a_machine_of_constant_power(shapes: Path, tmp_path: Path) -> None:
    session = session_on(tmp_path / "m.jsonl", Target(torch.device("cpu")), "--shapes", str(shapes), "--suite",
                         "energy", "--energy-s", "0.02")  # fmt: skip
    session.enter("energy")
    measure_energy(session, Steady())
    rows, _ = load_measurements(tmp_path / "m.jsonl")
    assert not rows[rows.suite == "energy"].error.any()
    loads = rows[(rows.suite == "energy") & (rows.variant == "bf16_dense")]
    assert len(loads) == 3  # the anchor and two calibration shapes
    assert np.allclose(loads.power_w_median, 100, rtol=0.02)
    assert np.allclose(loads.joules_per_call, 100 * loads.median_us * 1e-6, rtol=0.1)
    assert rows[rows.key == "energy/idle"].power_w_median.iloc[0] == pytest.approx(100, rel=0.02)


def test_a_counter_that_stands_still_is_refused(shapes: Path, tmp_path: Path) -> None:
    session = session_on(tmp_path / "m.jsonl", Target(torch.device("cpu")), "--shapes", str(shapes))
    measure_energy(session, Still())
    assert "stands still" in load_measurements(tmp_path / "m.jsonl")[1]["left_out"]["energy"]


# --- failures, interruptions, files -------------------------------------------------------------------------


def test_a_failing_shape_is_a_row(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mm = torch.mm

    def faulty(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.shape[0] == 32:
            raise RuntimeError("no kernel\nfor this")
        return mm(left, right) * (1.1 if left.shape[0] == 24 else 1)

    monkeypatch.setattr(torch, "mm", faulty)
    assert gemm(tmp_path / "m.jsonl", shapes, "--variants", "bf16_dense") == 0
    rows, _ = load_measurements(tmp_path / "m.jsonl")
    errors = {row.M: row.error for row in rows[rows.suite == "gemm"].itertuples()}
    assert errors[32] == "RuntimeError: no kernel for this"
    assert errors[24].startswith("AnalysisError: wrong result: relative error 0.0999, expected at most 0.01")
    assert errors[8] == errors[16] == errors[4] == ""


def test_resume_repeats_nothing_and_drops_a_torn_line(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    assert gemm(out, shapes, "--variants", "bf16_dense") == 0
    lines = out.read_text().splitlines(keepends=True)
    last = max(at for at, line in enumerate(lines) if '"row"' in line)
    out.write_text("".join(lines[:last]) + lines[last][:40])
    _, about = load_measurements(out)
    assert "torn" in about["notes"][0] and "never ended" in about["notes"][1]
    kept = lines[:last]
    assert gemm(out, shapes, "--variants", "bf16_dense", "--resume") == 0
    assert out.read_text().startswith("".join(kept))
    rows, about = load_measurements(out)
    assert Counter(rows.key).most_common(1)[0][1] == 1
    assert set(rows.key) == {json.loads(line)["key"] for line in lines if '"row"' in line}
    assert len(about["sessions"]) == 2 and about["notes"] == []


def test_a_file_is_readable_wherever_it_is_cut(shapes: Path, tmp_path: Path) -> None:
    out, cut = tmp_path / "m.jsonl", tmp_path / "cut.jsonl"
    assert gemm(out, shapes, "--variants", "bf16_dense") == 0
    whole = out.read_bytes()
    header = whole.index(b"\n") + 1
    for size in range(header, len(whole), 97):
        cut.write_bytes(whole[:size])
        rows, about = load_measurements(cut)
        assert len(rows) == whole[:size].rpartition(b"\n")[0].count(b'"record":"row"')
        assert any("torn" in note for note in about["notes"]) == (not whole[:size].endswith(b"\n"))


def test_another_version_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"format": FORMAT, "version": 2}) + "\n")
    with pytest.raises(AnalysisError, match="schema version 2, this zerocast reads 1"):
        load_measurements(path)
    for text in ("M,N,K\n1,2,3\n", "", '{"format":"other","version":1}\n', "[1]\n"):
        path.write_text(text)
        with pytest.raises(AnalysisError, match="no file of measurements"):
            load_measurements(path)
    path.write_text(json.dumps({"format": FORMAT, "version": 1}) + "\n{broken}\n{}\n")
    with pytest.raises(AnalysisError, match="line 2"):
        load_measurements(path)
    with pytest.raises(AnalysisError, match="cannot be read"):
        load_measurements(tmp_path / "none.jsonl")


def test_files_are_not_overwritten_nor_mixed(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    assert gemm(out, shapes, "--variants", "bf16_dense") == 0
    with pytest.raises(AnalysisError, match="--resume"):
        gemm(out, shapes)
    with pytest.raises(AnalysisError, match="seed"):
        gemm(out, shapes, "--resume", "--seed", "3")
    shapes.write_text(SHAPES + "held_out,x,,5,5,5\n")
    with pytest.raises(AnalysisError, match="shapes_hash"):
        gemm(out, shapes, "--resume")


@pytest.mark.slow
def test_interrupting_leaves_a_readable_file(tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    arguments = [sys.executable, "-m", "zerocast.analysis.measure", "--device", "cpu", "--out", str(out), "--variants",
                 "bf16_dense"]  # fmt: skip
    process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out.exists() and out.read_bytes().count(b'"row"') > 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"stopping after the measurement at hand" in told and b"interrupted, the rest is for --resume" in told
    rows, about = load_measurements(out)
    assert len(rows) > 3 and about["notes"] == []


def test_the_budget_ends_the_work_and_keeps_time_for_the_last_anchors(tmp_path: Path) -> None:
    rows = "".join(f"calibration,c,,{m},256,512\n" for m in range(200, 500))
    shapes = tmp_path / "many.csv"
    shapes.write_text("role,network,op,M,N,K\nanchor,a,,64,64,64\n" + rows)
    started = time.perf_counter()
    assert gemm(tmp_path / "m.jsonl", shapes, "--variants", "bf16_dense", "--budget-s", "2") == 0
    assert time.perf_counter() - started < 12  # a busy machine takes longer over the last measurement
    found, _ = load_measurements(tmp_path / "m.jsonl")
    assert 4 < len(found) < 300
    assert {"start", "end"} <= set(found.phase)


# --- the command --------------------------------------------------------------------------------------------


def test_help_needs_neither_typer_nor_rich_nor_pydantic() -> None:
    script = (
        "import sys\nsys.argv[1:] = ['--help']\nimport runpy\n"
        "try:\n    runpy.run_module('zerocast.analysis.measure', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--budget-s" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert "torch" in loaded
    assert not loaded & {"typer", "rich", "pydantic", "matplotlib", "jinja2", "yaml", "transformers", "scipy"}


@pytest.mark.slow
def test_all_suites_run_where_nothing_but_torch_numpy_and_pandas_can_be_imported(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('typer', 'rich', 'pydantic', 'matplotlib', 'jinja2', 'yaml', 'transformers', 'scipy',"
        " 'torch_pruning'):\n    sys.modules[name] = None\n"
        "from zerocast.analysis.measure.__main__ import main\n"
        f"assert main(['--device', 'cpu', '--suite', 'all', '--models', 'vit_cifar@1', '--budget-s', '6',"
        f" '--variants', 'bf16_dense', '--out', {str(tmp_path / 'm.jsonl')!r}]) == 0\n"
        "from zerocast.analysis.measure.results import load_measurements\n"
        f"frame, _ = load_measurements({str(tmp_path / 'm.jsonl')!r})\n"
        "print(*sorted(set(frame.suite)))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-5:] == ["bandwidth", "gemm", "network", "probe", "training"]


def test_no_gpu_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for run in (main, lambda argv: cli.main(["measure", *argv])):
        assert run(["--out", str(tmp_path / "m.jsonl")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: no CUDA GPU") and "--device cpu" in error and error.count("\n") == 1
    assert not (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--suite", "speed"], "choose among"),
        (["--variants", "fp4_dense"], "choose among"),
        (["--budget-s", "0"], "above 0"),
        (["--budget-s", "nan"], "above 0"),
        (["--resume"], "--out"),
        (["--device", "tpu"], "invalid choice"),
        (["--models", "resnet1000@2"], "no such network"),
        (["--models", "resnet9@x"], "NAME@BATCH"),
        (["--device", "cpu", "--shapes", "none.csv"], "none.csv"),
        (["--device", "cpu", "--out", "none/m.jsonl"], "no folder"),
        (["--device", "cpu", "--out", ""], "is a folder"),
        (["--device", "cpu", "--models", "none.py:net"], "no file 'none.py'"),
        (["--seed", "-1"], "--seed -1"),
        (["--seed", "99999999999999999999"], "must lie between"),
        (["--energy-s", "inf"], "finite"),
    ],
)
def test_mistakes(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["measure", *arguments]) == 2
    assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_through_zerocast(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["measure", "--help"]) == 0
    assert "--resume" in capsys.readouterr().out


# --- shapes and order ---------------------------------------------------------------------------------------


def test_the_shape_list() -> None:
    shapes = read_shapes()
    assert Counter(shape.role for shape in shapes) == {"anchor": 12, "calibration": 91, "held_out": 106}
    assert len({shape.key for shape in shapes}) == len(shapes) == 209

    def taken(name: str) -> int:
        return sum(not refusal(VARIANTS[name], shape.m, shape.n, shape.k) for shape in shapes)

    # eligibility as counted when the list was drawn up; int8 leaves out 28 shapes of M <= 16 and one of odd K
    assert [taken(name) for name in VARIANTS] == [209, 207, 207, 207, 180, 207, 209, 207]


@pytest.mark.parametrize(
    ("variant", "shape", "refused"),
    [
        ("bf16_dense", (1, 3, 5), False),
        ("bf16_2to4", (1, 16, 48), False),
        ("bf16_2to4", (16, 24, 48), True),
        ("fp8_2to4", (16, 48, 64), True),
        ("int8_2to4", (1, 32, 64), False),
        ("int8_dense", (16, 64, 64), True),
        ("int8_dense", (17, 64, 64), False),
        ("fp8_dense", (1, 16, 24), True),
    ],
)
def test_refusals(variant: str, shape: tuple[int, int, int], refused: bool) -> None:
    assert bool(refusal(VARIANTS[variant], *shape)) == refused


def test_the_order_interleaves_roles_and_spreads_early() -> None:
    shapes = read_shapes()
    order = measuring_order(shapes, 0)
    assert sorted(shape.key for shape in order) == sorted(shape.key for shape in shapes if shape.role != "anchor")
    assert order == measuring_order(shapes, 0) != measuring_order(shapes, 1)
    for count in (32, 64, 128):
        held_out = sum(shape.role == "held_out" for shape in order[:count])
        assert abs(held_out / count - 106 / 197) < 0.1

    def worst_gap(chosen: list[Any]) -> float:
        points = np.log([[shape.m, shape.n, shape.k] for shape in order])
        centres = np.log([[shape.m, shape.n, shape.k] for shape in chosen])
        return float(np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1).max())

    draw_of = np.random.default_rng(0)
    random = [worst_gap([order[at] for at in draw_of.permutation(197)[:32]]) for _ in range(50)]
    assert worst_gap(order[:32]) < min(random)


def test_copies_span_the_cache_within_memory() -> None:
    megabyte = 1 << 20
    assert copies(32 * megabyte, 50 * megabyte, 1 << 32) == 7  # 7 x 32 = 224 > 4 x 50
    assert copies(300 * megabyte, 50 * megabyte, 1 << 32) == 1
    assert copies(32 * megabyte, 50 * megabyte, 100 * megabyte) == 3
    assert copies(32 * megabyte, 50 * megabyte, megabyte) == 1
    assert copies(1024, 50 * megabyte, 1 << 32) == 512
    assert copies(1024, 0, 1 << 32) == 1


def test_where_a_working_set_lies() -> None:
    assert [memory_of(size, 50) for size in (25, 26, 199, 200)] == ["cache", "mixed", "mixed", "memory"]
    assert memory_of(1, 0) == ""


# --- 2:4 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "int8", "fp8"])
def test_pruning_keeps_exactly_two_of_four_and_the_largest(dtype: str) -> None:
    weights = draw(48, 64, dtype, torch.Generator().manual_seed(1))
    pruned = prune_2to4(weights)
    groups, kept = weights.reshape(-1, 4).double(), pruned.reshape(-1, 4).double()
    assert ((kept != 0).sum(1) == 2).all()
    assert pruned.dtype == weights.dtype and pruned.shape == weights.shape
    assert not torch.signbit(kept[kept == 0]).any()  # no -0.0
    for group, left in zip(groups.tolist(), kept.tolist(), strict=True):
        best = max(sum(map(abs, pair)) for pair in itertools.combinations(group, 2))
        assert sum(map(abs, left)) == best
        assert all(value in (0, original) for value, original in zip(left, group, strict=True))


def test_pruning_of_ties_and_of_the_least_int8() -> None:
    assert prune_2to4(torch.tensor([[1.0, -1.0, 1.0, 1.0]])).tolist() == [[1, -1, 0, 0]]
    assert prune_2to4(torch.tensor([[-128, 5, 100, 1]], dtype=torch.int8)).tolist() == [[-128, 0, 100, 0]]


def test_data_is_never_zero() -> None:
    values = draw(200, 200, "int8", torch.Generator().manual_seed(0))
    assert values.min() == -127 and values.max() == 127 and (values != 0).all()


@pytest.fixture
def fake_library(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """cuSPARSELt on a CPU: "compressed" weights are the pruned ones, the product is dense. Keeps its calls."""
    calls: list[tuple[Any, ...]] = []

    def product(packed: Any, dense: Any, bias: Any = None, out_dtype: Any = None, transpose_result: bool = False,
                alg_id: int = 0, split_k: int = 1, split_k_mode: int = -1) -> torch.Tensor:  # fmt: skip
        calls.append((packed.dtype, transpose_result, out_dtype, alg_id, tuple(dense.shape)))
        if packed.dtype == torch.int8 and out_dtype == torch.int32:
            raise RuntimeError("no such kernel")
        out = packed.double() @ dense.double()
        out = out if bias is None else out + bias.double()[:, None]
        return (out.t() if transpose_result else out).to(out_dtype or dense.dtype).contiguous()

    monkeypatch.setattr(torch, "_cslt_sparse_mm", product)
    monkeypatch.setattr(products, "compress", lambda w: w)
    monkeypatch.setattr(networks, "compress", lambda w: w)
    return calls


def test_sparse_products_are_padded_checked_and_fall_back(fake_library: list[tuple[Any, ...]]) -> None:
    target = Target(torch.device("cpu"))
    for dtype, rows in (("bf16", 8), ("fp16", 8), ("fp8", 16), ("int8", 16)):
        product = make_product(Variant(dtype, True), 3, 64, 128, target, 7)
        assert product.rows == rows
        product.accept(product.call(0))
        assert product.call(0).shape == (rows, 64)
    assert product.out == torch.bfloat16  # int8 fell back from int32
    assert [call[2] for call in fake_library if call[0] == torch.int8][:3] == [torch.int32, torch.int32, torch.bfloat16]
    with pytest.raises(AnalysisError, match="wrong result"):
        product.accept(product.call(0) * 1.05)
    with pytest.raises(AnalysisError, match="wrong result"):
        product.accept(torch.full_like(product.call(0), float("nan")))


def test_dense_and_sparse_alternate(
    fake_library: list[tuple[Any, ...]], shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.jsonl"
    session = session_on(out, Target(torch.device("cpu")), "--shapes", str(shapes), "--variants",
                         "bf16_dense,bf16_2to4")  # fmt: skip
    session.enter("gemm")
    measure_gemm(session)
    rows, about = load_measurements(out)
    assert about["left_out"] == {} and not rows.error.any()
    plain = rows[(rows.suite == "gemm") & (rows.phase == "")]
    pairs = [key for key, _ in itertools.groupby(zip(plain.M, plain.N, strict=True))]
    assert len(pairs) == len(set(pairs)) == 4  # dense and 2:4 of a shape follow each other
    both = plain[plain.N != 33]  # which 2:4 refuses
    firsts = list(both.groupby(["M", "N"], sort=False).sparsity.first())
    assert len(firsts) == 3 and set(firsts) == {"dense", "2:4"}


def test_a_searched_algorithm_is_used_and_named(
    fake_library: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def mm_search(*arguments: Any) -> tuple[int, int, int, int]:
        asked.append(arguments)
        return 5, 2, 1, 40

    monkeypatch.setattr(torch._C, "_cusparselt", SimpleNamespace(mm_search=mm_search), raising=False)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    session = session_on(tmp_path / "m.jsonl", Target(torch.device("cpu")))
    shape = Shape("anchor", "", "", 8, 32, 64)
    row = measure_product(session, shape, VARIANTS["fp8_2to4"], searched=True)
    assert (row["alg_id"], row["split_k"], row["split_k_mode"]) == (5, 2, 1)
    assert fake_library[-1][3] == 5
    packed, dense, bias, alpha, out, transposed = asked[0]
    assert (packed.shape, dense.shape) == ((32, 64), (64, 16))  # M padded to 16
    assert (bias, alpha, out, transposed) == (None, None, torch.bfloat16, True)
    default = measure_product(session, shape, VARIANTS["fp8_2to4"])
    assert (default["alg_id"], default["split_k"], default["split_k_mode"]) == (0, 1, -1)
    assert fake_library[-1][3] == 0


def test_a_network_with_sparse_layers(fake_library: list[tuple[Any, ...]], tmp_path: Path) -> None:
    session = session_on(tmp_path / "m.jsonl", Target(torch.device("cpu")), "--suite", "network", "--models",
                         "vit_cifar@1")  # fmt: skip
    session.enter("network")
    networks.measure_networks(session)
    rows, _ = load_measurements(tmp_path / "m.jsonl")
    assert list(rows.error) == ["", ""]
    # qkv, proj and two MLP layers of 7 blocks; the head's 100 classes are no multiple of 16
    assert rows[rows.variant == "bf16_2to4"].sparse_layers.iloc[0] == 28
    assert {call[4] for call in fake_library} == {(384, 72), (768, 72)}  # 65 tokens padded to 72


def test_a_sparse_layer_is_its_linear_layer(fake_library: list[tuple[Any, ...]]) -> None:
    layer = nn.Linear(32, 16)
    x = torch.randn(2, 5, 32)
    sparse = networks.SparseLinear(layer.weight.detach(), layer.bias, 16)
    assert torch.allclose(sparse(x), layer(x), atol=1e-5)


# --- a card made of Python ----------------------------------------------------------------------------------


class Card:
    """A device whose clock moves by `call_s` for each call that runs, and whose graphs replay what they captured."""

    def __init__(self, call_s: float) -> None:
        self.call_s, self.now, self.out = call_s, 0.0, torch.zeros(4)
        self.captured: list[int] | None = None
        self.replays: list[int] = []
        self.windows: list[int] = []
        self.forgets = False

    def call(self, at: int) -> torch.Tensor:
        if self.captured is not None:
            self.captured.append(at)
        else:
            self.now += self.call_s
            self.out.fill_(7.0)
        return self.out

    def accept(self, result: torch.Tensor) -> None:
        if not (result == 7.0).all():
            raise AnalysisError("wrong result")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    made = Card(20e-6)

    class Graph:
        def capture_begin(self, capture_error_mode: str) -> None:
            made.captured = []

        def capture_end(self) -> None:
            self.program, made.captured = [] if made.forgets else made.captured, None

        def replay(self) -> None:
            made.replays.append(len(self.program or ()))
            for at in self.program or ():
                made.call(at)

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.at = 0.0

        def record(self) -> None:
            self.at = made.now

        def elapsed_time(self, other: "Event") -> float:
            return (other.at - self.at) * 1e3

    class Stream:
        def wait_stream(self, other: "Stream") -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    fake = SimpleNamespace(CUDAGraph=Graph, Event=Event, Stream=Stream, stream=lambda one: one,
                           current_stream=Stream, synchronize=lambda: None)  # fmt: skip
    monkeypatch.setattr(timing.torch, "cuda", fake)
    monkeypatch.setattr(Target, "pause", lambda _self: made.windows.append(len(made.replays)))
    timing._side_stream.cache_clear()
    yield made
    timing._side_stream.cache_clear()


def cuda() -> Target:
    return Target(torch.device("cuda"))


def test_graphs_last_a_millisecond_and_a_half(card: Card) -> None:
    found = timing.time_calls(card.call, cuda(), timing.REGIMES["burst"], card.accept)
    assert found.calls == 75  # 1.5 ms of 20 us
    assert found.samples == pytest.approx([20.0] * 12)
    assert found.columns()["median_us"] == pytest.approx(20)
    assert len(set(card.windows)) == 1  # one window, begun after one rest


def test_long_calls_are_timed_in_short_windows(card: Card) -> None:
    card.call_s = 10e-3
    found = timing.time_calls(card.call, cuda(), timing.REGIMES["burst"], card.accept)
    assert (found.calls, len(found.samples)) == (1, 12)
    starts = [*sorted(set(card.windows)), len(card.replays)]
    windows = [after - before for before, after in itertools.pairwise(starts)]
    assert len(windows) > 2 and max(windows) <= 5  # 50 ms of 10 ms each


def test_the_duty_cycle_is_held_by_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timing.REGIMES["burst"].rest_s(0.03) == pytest.approx(0.07)  # 30 of 100 ms under load
    assert timing.REGIMES["sustained"].rest_s(0.03) == 0
    target, slept = Target(torch.device("cpu")), []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "perf_counter", lambda: 100.0)
    target.not_before = 100.05
    target.pause()
    target.not_before = 99.0
    target.pause()
    assert slept == pytest.approx([0.05, 0.0])


def test_a_graph_without_the_work_is_caught(card: Card) -> None:
    card.forgets = True
    with pytest.raises(AnalysisError, match="wrong result"):
        timing.time_calls(card.call, cuda(), timing.REGIMES["burst"], card.accept)


def test_a_call_that_cannot_be_captured(card: Card) -> None:
    def call(at: int) -> torch.Tensor:
        if card.captured is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        return card.call(at)

    with pytest.raises(timing.CaptureError, match="not permitted"):
        timing.time_calls(call, cuda(), timing.REGIMES["burst"], card.accept)
    assert card.captured is None  # the capture was ended


def test_a_variant_whose_graphs_fail_goes_to_the_profiler(card: Card, tmp_path: Path, monkeypatch: Any) -> None:
    def call(at: int) -> torch.Tensor:
        if card.captured is not None:
            raise RuntimeError("not while capturing")
        return card.call(at)

    session = session_on(tmp_path / "m.jsonl", cuda())
    monkeypatch.setattr(Target, "alive", lambda _self: True)
    kernels = [("gemm", 4.0), ("reduce", 1.0)] * 24
    monkeypatch.setattr(timing, "_profiled", lambda _call, calls: kernels[: 2 * calls])
    found = session.timed("bf16_2to4", call, card.accept)
    assert (found.method, found.samples) == ("profiler", [5.0] * 24)
    assert session.target.no_graphs == {"bf16_2to4"}


def test_kernels_of_a_call_are_summed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_profiled", lambda _call, calls: [("a", 1.0), ("b", 5.0), ("a", 2.0)])
    assert timing.kernels_of(lambda at: torch.zeros(1), cuda()) == [["b", 1, 5.0], ["a", 2, 3.0]]


# --- sensors, drift, the watcher ----------------------------------------------------------------------------


class FakeNvml:
    """NVML's C interface: each function writes its number through the last pointer and returns a status."""

    def __init__(self) -> None:
        self.numbers = {"nvmlDeviceGetTemperature": 41, "nvmlDeviceGetPowerUsage": 123456,
                        "nvmlDeviceGetTotalEnergyConsumption": 5_000_000_000_123}  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> int:
            if name == "nvmlDeviceGetCurrentClocksThrottleReasons":
                return 3  # not supported
            if name == "nvmlSystemGetDriverVersion":
                arguments[0].value = b"580.1"
            elif name == "nvmlDeviceGetClockInfo":
                arguments[-1]._obj.value = {1: 1980, 2: 3201}[arguments[1].value]
            elif name in self.numbers:
                arguments[-1]._obj.value = self.numbers[name]
            return 0

        return function


def test_a_card_as_torch_describes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="NVIDIA H200", uuid="1-2", L2_cache_size=60 << 20, major=9, minor=0,
                           multi_processor_count=132, total_memory=141 << 30)  # fmt: skip
    monkeypatch.setattr(nvml, "_open", FakeNvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: card)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (16 << 30, 141 << 30))
    target = find_target("cuda")
    assert (target.uuid, target.l2_bytes, target.memory_bytes) == ("GPU-1-2", 60 << 20, 2 << 30)
    about = provenance(target)
    assert (about["device"], about["capability"], about["sms"], about["driver"]) == ("NVIDIA H200", "9.0", 132, "580.1")
    assert target.state()["sm_mhz"] == 1980


def test_sensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_open", FakeNvml)
    sensors = nvml.Nvml("GPU-1")
    assert sensors.state() == {"sm_mhz": 1980, "mem_mhz": 3201, "temperature_c": 41, "power_w": pytest.approx(123.456)}
    assert sensors.joules() == pytest.approx(5_000_000_000.123)  # above 32 bits
    assert sensors.driver() == "580.1"


def test_a_machine_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(OSError, match="not installed"):
        nvml.Nvml()


def test_nvidia_smi_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(stdout="1980, 3201, 41, [N/A], 580.159.04\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_more: answer)
    assert nvml.smi_state() == {"sm_mhz": 1980.0, "mem_mhz": 3201.0, "temperature_c": 41.0, "driver": "580.159.04"}


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        ((100, 100, 100), "steady"),
        ((102, 98, 100), "steady"),
        ((104, 100, 100), "flagged"),
        ((130, 100, 100), "flagged"),
        ((109, 91, 109), "discard"),
    ],
)
def test_drift(later: tuple[int, ...], verdict: str) -> None:
    def anchor(phase: str, m: int, time_us: float) -> dict[str, Any]:
        return {"phase": phase, "variant": "v", "algorithm": "default", "M": m, "N": 1, "K": 1, "error": "",
                "median_us": time_us}  # fmt: skip

    rows = [anchor("start", m, 100.0) for m in range(3)] + [anchor("end", m, t) for m, t in enumerate(later)]
    assert anchor_drift(rows)["verdict"] == verdict
    assert anchor_drift(rows[:3])["verdict"] == "unknown"


def test_drift_without_fields_or_times() -> None:
    whole = {"phase": "start", "variant": "v", "algorithm": "default", "M": 1, "N": 1, "K": 1, "error": "",
             "median_us": 100.0}  # fmt: skip
    end = {**whole, "phase": "end"}
    for spoilt in ({"algorithm": None}, {"median_us": None}, {"median_us": "3"}, {"median_us": float("nan")},
                   {"median_us": 0.0}, {"M": None}, {"error": "lost"}):  # fmt: skip
        assert anchor_drift([whole, {**end, **spoilt}])["verdict"] == "unknown"
        assert anchor_drift([{**whole, **spoilt}, end])["verdict"] == "unknown"
        rest = {name: value for name, value in end.items() if name not in spoilt}
        assert anchor_drift([whole, rest])["verdict"] == ("steady" if "error" in spoilt else "unknown")
    assert anchor_drift([whole, end])["verdict"] == "steady"


@pytest.mark.parametrize(
    "record",
    [
        '{"record":"row","key":"a","suite":"gemm"}',
        '{"record":"row","key":"a","suite":["gemm"],"error":""}',
        '{"record":"row","key":["a"],"suite":"gemm","error":""}',
        '{"record":"session","session":[0]}',
        '{"record":"begin"}',
        '{"record":"note"}',
        '{"record":["row"]}',
        '{"record":null}',
        "{}",
        "[]",
    ],
)
def test_a_record_that_is_none_is_named_by_its_line(record: str, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"format": FORMAT, "version": 1}) + '\n{"record":"note","text":"x"}\n' + record + "\n")
    with pytest.raises(AnalysisError, match="line 3: no record"):
        load_measurements(path)


def test_the_command_ends_with_what_it_measured(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.jsonl"
    assert gemm(out, shapes, "--variants", "bf16_dense,bf16_2to4,fp8_2to4", "--suite", "gemm,network", "--models",
                "resnet9@1") == 0  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["gemm: 7 measured", "network: 1 measured, 1 failed"]
    assert lines[2] == "failed: 1 x AnalysisError: the network has no linear layer that 2:4 kernels take"
    assert lines[3].startswith("left out: bf16_2to4, fp8_2to4: AnalysisError: 2:4 products need a CUDA build")
    assert "anchors: 1 shape moved by" in lines[4] and lines[5] == f"written: {out}"


def test_a_budget_that_ends_early_says_how_to_go_on(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.jsonl"
    assert gemm(out, shapes, "--variants", "bf16_dense", "--budget-s", "1e-6") == 0
    assert "gemm: 0/7 measurements" in (told := capsys.readouterr().err) and "the rest is for --resume" in told
    assert gemm(out, shapes, "--variants", "bf16_dense", "--resume") == 0
    assert "gemm: 7/7 measurements" in (told := capsys.readouterr().err) and "--resume" not in told


def test_interrupting_while_torch_loads_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "zerocast.analysis.measure.command":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "zerocast.analysis.measure.command")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert main(["--help"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


class Dying(Watcher):
    """Measuring processes replaced by scripts, one after the other."""

    scripts: list[str]

    def _start(self, options: Any, left: float) -> "subprocess.Popen[bytes]":
        assert 0 < left <= self.options.budget_s
        return subprocess.Popen([sys.executable, "-c", self.scripts.pop(0), str(options.out)])


WRITE = "import sys, os, json\nout = open(sys.argv[1], 'a')\n"
BEGIN = ("out.write(json.dumps({'record': 'begin', 'key': 'gemm/%s', 'suite': 'gemm', 'session': 0,"
         " 'fields': {'M': 1, 'variant': 'fp16_2to4'}}) + '\\n')\nout.flush()\n")  # fmt: skip


@pytest.fixture
def watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    argv = ["--out", str(tmp_path / "m.jsonl"), "--variants", "bf16_dense", "--budget-s", "60"]
    return Dying(parse(argv), argv)


def test_a_process_that_dies_is_a_row_and_the_next_goes_on(watcher: Any) -> None:
    watcher.scripts = [
        WRITE + BEGIN % "a" + "os.kill(os.getpid(), 11)",
        WRITE + BEGIN % "b" + 'out.write(\'{"record": "ro\')\nout.flush()\nos._exit(1)',
        "",
    ]
    assert watcher.run() == 0
    rows, about = load_measurements(watcher.options.out)
    assert list(rows.error) == ["lost: its process was ended by signal 11", "lost: its process ended with 1"]
    assert list(rows.key) == ["gemm/a", "gemm/b"] and list(rows.M) == [1, 1]
    assert about["notes"] == [] and watcher.scripts == []


def test_a_process_that_hangs_is_ended(watcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "STALL_S", 1.5)
    watcher.scripts = [WRITE + BEGIN % "a" + "import time\ntime.sleep(60)", ""]
    assert watcher.run() == 0
    assert list(load_measurements(watcher.options.out)[0].error) == ["lost: its process was ended by signal 9"]


def test_a_process_that_never_measures_is_an_error(watcher: Any) -> None:
    watcher.scripts = ["raise SystemExit(1)"]
    with pytest.raises(AnalysisError, match="before it measured anything"):
        watcher.run()


@pytest.mark.slow
def test_the_watcher_and_a_real_process(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # here; the process measures on the CPU
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    argv = ["--out", str(tmp_path / "m.jsonl"), "--shapes", str(shapes), "--device", "cpu", "--budget-s", "60",
            "--variants", "bf16_dense,fp16_2to4"]  # fmt: skip
    assert Watcher(parse(argv), argv).run() == 0
    rows, about = load_measurements(tmp_path / "m.jsonl")
    assert [session["session"] for session in about["sessions"]] == [0, 1]
    assert list(about["left_out"]) == ["fp16_2to4"]
    assert set(rows[rows.session == 0].variant) == {"bf16_dense"}
    assert len(rows[rows.suite == "gemm"]) == 7 and not rows[rows.suite == "gemm"].error.any()


@pytest.mark.slow
def test_the_watcher_passes_an_interruption_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    argv = ["--out", str(tmp_path / "m.jsonl"), "--device", "cpu", "--variants", "bf16_dense"]
    watcher = Watcher(parse(argv), argv)
    original = watcher._watch

    def interrupted(child: "subprocess.Popen[bytes]") -> int:
        watcher.child = child
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and watcher.options.out.read_bytes().count(b'"row"') < 3:
            time.sleep(0.05)
        handlers[signal.SIGINT](signal.SIGINT, None)
        return original(child)

    watcher._watch = interrupted  # type: ignore[method-assign]
    assert watcher.run() == 130
    rows, about = load_measurements(watcher.options.out)
    assert len(rows) >= 3 and about["notes"] == []


def test_risky_variants_come_last_and_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    started: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    class Seen(Watcher):
        def _start(self, options: Any, left: float) -> "subprocess.Popen[bytes]":
            started.append((options.suites, options.variants))
            return subprocess.Popen([sys.executable, "-c", ""])

    argv = ["--out", str(tmp_path / "m.jsonl"), "--suite", "gemm,energy"]
    assert Seen(parse(argv), argv).run() == 0
    safe = tuple(name for name in VARIANTS if name != "fp16_2to4")
    assert started == [(("gemm", "energy"), safe), (("gemm",), ("fp16_2to4",))]
