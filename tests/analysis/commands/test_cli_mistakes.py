"""One clear line and exit status 2 for every mistake of a user; a traceback for every other fault."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zerocast.analysis.cli import main

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "import sys; from zerocast.analysis.cli import main; sys.exit(main())"]


def mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a wrong command line answers with."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


SAT = ["--accelerator", "sat-vcu1525"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "resnet19", *SAT], "resnet18"),
        (["run", "nosuch.py:net", *SAT], "nosuch.py"),
        (["run", "resnet18", "--prune", "nm:8:4", *SAT], "8"),
        (["run", "resnet18", "--prune", "bwdp:2:8", *SAT], "bdwp"),
        (["run", "resnet18", "--prune", "magnitude:1.5", *SAT], "1.5"),
        (["run", "resnet18", "--accelerator", "sat-vcu1526"], "sat-vcu1525"),
        (["run", "resnet18", "--accelerator", "absent.yaml"], "absent.yaml"),
        (["run", "resnet18", *SAT, "--set", "compute.row=3"], "rows"),
        (["run", "resnet18", *SAT, "--set", "compute.rows"], "key=value"),
        (["run", "resnet18", *SAT, "--set", "compute.rows=[1"], "YAML"),
        (["run", "resnet18", *SAT, "--set", "memories.dram.bandwidth_bytes_per_s=-1"], "greater than 0"),
        (["run", "resnet18", *SAT, "--batch", "0"], "--batch"),
        (["run", "resnet18", *SAT, "--batch", "many"], "--batch"),
        (["run", "resnet18", *SAT, "--fidelity", "exact"], "tile"),
        (["run", "resnet18", *SAT, "--objective", "fun"], "edp"),
        (["run", "resnet18", *SAT, "--optimizer", "lion"], "adamw"),
        (["run", "absent.npz", *SAT], "absent.npz"),
        (["run", "resnet18", *SAT, "--mapping", "absent.yaml"], "no such file"),
        (["run", "resnet18", "--accelerator", "nvidia-h100-sxm", "--mapping", "absent.yaml"], "take no mapping"),
    ],
)
def test_wrong_arguments_of_run(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in mistake([*arguments, "--out", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "frobnicate"),
        (["run"], "model"),
        (["run", "resnet18", "--nonsense"], "--nonsense"),
        (["list", "cats"], "recipes"),
        (["show", "tpu"], "tpu"),
        (["validate", "nosuch"], "dense"),
        (["lower", "resnet9", "--out", "file.bin"], ".npz"),
        (["lower", "resnet9", "--out", "no/such/folder/file.npz"], "no/such/folder"),
        (["gemm", "shapes.csv", *SAT, "--out", "no/such/folder/out.csv"], "no/such/folder"),
        (["gemm", "shapes.csv", *SAT, "--out", ""], "name a file"),
        (["validate", "--out", "no/such/x.csv"], "no/such"),
        (["validate", "--out", ""], "name a file"),
        (["gemm", "shapes.csv", *SAT, "--out", "out.parquet"], "a table must end in .csv"),
        (["conv", "layers.csv", *SAT, "--out", "out.json"], "a table must end in .csv"),
        (["validate", "--out", "rows.md"], "a table must end in .csv"),
        (["validate", "--write", "page.csv"], "a page must end in .md"),
        (["validate", "gpu", "--accelerator", "nvidia-h200-sxm"], "--measured FILE"),
        (["validate", "--set", "gpu.tdp_w=1"], "--measured FILE"),
        (["validate", "sat", "--measured", "mine.jsonl"], "belongs to the suite gpu"),
    ],
)
def test_wrong_arguments(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in mistake(arguments, capsys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("M,N,K\n", "no shapes"),
        ("M,K\n1,2\n", "no column N"),
        ("M,N,K\n1,2,3\n4,x,6\n", "line 3, column N: 'x'"),
        ("M,N,K\n1,2.5,3\n", "column N: '2.5'"),
        ("M,N,K\n1,2,0\n", "column K: 0"),
        ("M,N,K\n1,2,-3\n", "column K: -3"),
        ("M,N,K\n1,2,\n", "column K: ''"),
        ("M,N,K\n1,2\n", "line 2: 2 cells"),
        ("M,N,K,m\n1,2,3,4\n", "twice"),
        ("M,N,K,density_a\n1,2,3,1.2\n", "column density_a: 1.2"),
        ("M,N,K,density_b\n1,2,3,nan\n", "column density_b: nan"),
        ("M,N,K,pattern\n1,2,3,5:4\n", "column pattern: 5:4"),
        ("M,N,K,pattern\n1,2,3,2to4\n", "column pattern: '2to4'"),
        ("M,N,K,pattern,density_b\n1,2,3,2:4,0.3\n", "contradicts"),
        ("M,N,K,dtype\n1,2,3,fp4\n", "column dtype"),
        ("M,N,K,batch\n1,2,3,0\n", "column batch: 0"),
    ],
)
def test_wrong_tables(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text(text)
    line = mistake(["gemm", str(shapes), *SAT, "--out", str(tmp_path / "out.csv")], capsys)
    assert words in line
    assert str(shapes) in line
    assert not (tmp_path / "out.csv").exists()


def test_table_written_over_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("M,N,K\n1,2,3\n")
    other = tmp_path / "." / "folder" / ".." / "shapes.csv"
    (tmp_path / "folder").mkdir()
    assert "the file to read" in mistake(["gemm", str(shapes), *SAT, "--out", str(other)], capsys)
    assert shapes.read_text() == "M,N,K\n1,2,3\n"


def test_absent_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "absent.csv" in mistake(["gemm", str(tmp_path / "absent.csv"), *SAT, "--out", "out.csv"], capsys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [1, 2", "malformed YAML at line"),
        ("- 1\n- 2\n", "expected a mapping"),
        ("name: mine\nfmaily: x\n", "fmaily"),
    ],
)
def test_wrong_accelerator_files(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    line = mistake(["show", str(path)], capsys)
    assert words in line
    assert "mine.yaml" in line


def test_buffer_too_small_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("M,N,K\n64,64,64\n")
    small = ["--set", "memories.input_buffer.capacity_bytes=16"]
    line = mistake(["gemm", str(shapes), *SAT, *small, "--out", str(tmp_path / "out.csv")], capsys)
    assert "line 2" in line
    assert "input_buffer" in line


def test_buffer_too_small_for_a_network(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "memories.input_buffer.capacity_bytes=16"]
    assert "input_buffer" in mistake(["run", str(saved), *SAT, *small, "--out", str(tmp_path)], capsys)


def test_damaged_workload_file(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes(saved.read_bytes()[:-100])
    assert "cut.npz" in mistake(["run", str(cut), *SAT, "--out", str(tmp_path)], capsys)
    np.savez(tmp_path / "foreign.npz", x=np.zeros(3))
    assert "foreign.npz" in mistake(["run", str(tmp_path / "foreign.npz"), *SAT, "--out", str(tmp_path)], capsys)


def test_options_that_a_saved_workload_cannot_take(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = mistake(["run", str(saved), *SAT, "--batch", "8", "--out", str(tmp_path)], capsys)
    assert "--batch cannot change" in line
    assert "give it to `zerocast lower`" in line
    both = mistake(["run", str(saved), *SAT, "--batch", "8", "--training", "--out", str(tmp_path)], capsys)
    assert "give them to" in both


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("net", ["--batch", "2", "--training"], "batch 2 against 4 of the run"),
        ("net", ["--batch", "4"], "training False against True of the run"),
        ("other", ["--batch", "8", "--training"], "batch 8 against 4 of the run"),
    ],
)
def test_baseline_of_other_work(
    name: str, arguments: list[str], words: str, saved: Path, model_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "other.npz"
    assert main(["lower", f"{model_file}:{name}", *arguments, "--out", str(file)]) == 0
    capsys.readouterr()
    line = mistake(["run", str(saved), *SAT, "--baseline", str(file), "--out", str(tmp_path)], capsys)
    assert words in line and "other.npz" in line


def test_baseline_of_another_name_is_shown(
    saved: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.npz"
    assert main(["lower", f"{model_file}:other", "--batch", "4", "--training", "--out", str(file)]) == 0
    assert main(["run", str(saved), *SAT, "--baseline", str(file), "--out", str(tmp_path)]) == 0
    assert "over mine.other, recipe dense" in capsys.readouterr().out


def test_without_pytorch(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['torch'] = None; from zerocast.analysis.cli import main; sys.exit(main())"
    arguments = ["run", "resnet9", *SAT, "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", hidden, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: PyTorch is needed to lower a model: install torch")


@pytest.mark.parametrize("start", ["from zerocast.analysis.cli import main; sys.exit(main(['measure']))",
    "from zerocast.analysis.measure.__main__ import main; sys.exit(main([]))"])  # fmt: skip
def test_measuring_without_pytorch(start: str) -> None:
    hidden = f"import sys; sys.modules['torch'] = None; {start}"
    done = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: measuring needs torch: install torch, numpy, pandas\n")


def test_what_is_read_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, card = tmp_path / "mine.csv", tmp_path / "card.yaml"
    table.write_text("M,N,K,us\n64,64,64,5\n")
    card.write_text((ROOT / "accelerators" / "templates" / "gpu" / "nvidia-h100-sxm.yaml").read_text())
    before = table.read_text(), card.read_text()
    validate = ["validate", "gpu", "--measured", str(table), "--accelerator", str(card), "--out", str(table)]
    calibrate = ["calibrate", str(table), "--accelerator", str(card), "--out", str(card)]
    for command in (validate, calibrate):
        assert "is the file to read" in mistake(command, capsys)
    assert (table.read_text(), card.read_text()) == before


def test_a_factory_that_leaves(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(["run", f"{model_file}:leaves", *SAT, "--out", str(tmp_path)], capsys)
    assert "leaves() failed with SystemExit: 7" in line and "mine.py:" in line
    line = mistake(["run", f"{model_file}:leaves", *SAT, "--batch", "2", "--out", str(tmp_path)], capsys)
    assert "remove --batch" in line


def test_model_with_nan_weights(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(["run", f"{model_file}:nan_net", *SAT, "--out", str(tmp_path)], capsys)
    assert "2.weight" in line


def test_operator_without_a_rule(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", f"{model_file}:odd_net", *SAT, "--out", str(tmp_path)]
    line = mistake(arguments, capsys)
    assert "inv" in line
    assert "--allow-unknown" in line
    assert main([*arguments, "--allow-unknown"]) == 0
    assert "unknown operators" in capsys.readouterr().out


def test_a_mistake_in_a_fresh_process(tmp_path: Path) -> None:
    arguments = ["run", "resnet18", "--accelerator", "nosuch", "--out", str(tmp_path)]
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown accelerator 'nosuch'")
    assert done.stderr.count("\n") == 1


def test_other_exceptions_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:

    def broken() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("zerocast.analysis.commands.printing.listing.models", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["list", "models"])


def test_a_model_that_does_not_fit_the_card_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ResNet-9 at batch 4 on a card of 1 MB: one line with what would fit, exit status 2; allowed on request."""
    arguments = ["run", "resnet9", "--batch", "4", "--accelerator", "nvidia-l40s", "--out", str(tmp_path / "out"),
                 "--set", "memories.hbm.capacity_bytes=1e6"]  # fmt: skip
    assert main(arguments) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and "stay at any batch size" in line and "--allow-overflow" in line
    assert main([*arguments, "--allow-overflow"]) == 0
    assert "at its peak" in capsys.readouterr().out


def test_a_run_that_does_not_fit_is_told_of_options_that_its_command_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--accelerator", "nvidia-l40s", "--set", "memories.hbm.capacity_bytes=1e6", "--out", str(tmp_path)]
    for words in (["train", "resnet9", "--schedule", "constant:nm:2:4", "--steps", "10"], ["compare", "resnet9"]):
        line = mistake([*words, *small], capsys)
        assert "at its peak" in line and "allow" not in line and "--pipeline" not in line
    assert "--pipeline and --tensor-parallel take several cards" in mistake(
        ["run", "resnet9", *small, "--set", "gpu.link={name: PCIe 4, bytes_per_s: 32e9}"], capsys
    )


def test_an_optimizer_is_for_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "resnet9", *SAT, "--optimizer", "adamw", "--out", str(tmp_path)]
    assert "--optimizer: is how a network is trained; add --training" in mistake(arguments, capsys)
