"""`--tokens`, `--image`, `--model-arg` and `--dense` on the command line, and in a space with its commands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from zerocast.analysis.cli import main
from zerocast.analysis.explore.show.table import read_table
from zerocast.workloads.files.store import load_workload

LSTM = ["--tokens", "3", "--model-arg", "words=20", "--model-arg", "width=8"]


def test_sizes_and_arguments_reach_the_workload(tmp_path: Path) -> None:
    """Two LSTM layers of width 8, three tokens: 2 * 2 products of 3 * 8 * 32 MACs, and 3 * 8 * 20 of the decoder."""
    assert main(["lower", "lstm", *LSTM, "--out", str(tmp_path / "l.npz")]) == 0
    assert load_workload(tmp_path / "l.npz").macs == 2 * 2 * 3 * 8 * 32 + 3 * 8 * 20


def test_layers_stay_dense(model_file: Path, tmp_path: Path) -> None:
    command = ["lower", f"{model_file}:net", "--prune", "nm:2:4", "--out", str(tmp_path / "n.npz")]
    assert main(command) == 0
    before = load_workload(tmp_path / "n.npz")
    assert main([*command, "--dense", "4"]) == 0
    after = load_workload(tmp_path / "n.npz")
    sparse = [sum(not w.pattern_of(op, 1).is_dense for op in w.einsums) for w in (before, after)]
    assert sparse[0] == sparse[1] + 1 > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lstm", "--tokens", "0"], "--tokens 0: must be 1 or more"),
        (["resnet9", "--tokens", "4"], "takes images, not tokens"),
        (["lstm", "--model-arg", "width"], "--model-arg 'width': write key=value"),
        (["lstm", "--model-arg", "width=8", "--model-arg", "width=9"], "there twice"),
        (["lstm", "--model-arg", "tokens=8"], "has an option of its own: --tokens"),
        (["lstm", "--model-arg", "wdith=8"], "it has no 'wdith'"),
        (["resnet9", "--dense", "fc"], "give the recipe with --prune"),
        (["resnet9", "--prune", "nm:2:4", "--dense", "gc"], "dense='gc' matches no prunable layer"),
    ],
)
def test_mistakes(arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lower", *arguments, "--out", str(tmp_path / "x.npz")]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("error: ") == 1


def test_a_saved_workload_cannot_change(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", str(saved), "--accelerator", "sat-vcu1525", "--out", str(tmp_path), "--model-arg", "a=1"]
    assert main([*command, "--image", "32"]) == 2
    assert "--image, --model-arg cannot change the saved workload" in capsys.readouterr().err


def test_a_space_takes_them_and_its_commands_give_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "name: s\nworkloads: [{model: lstm, tokens: 3, arguments: {words: 20, width: 8}, prune: 'nm:2:4', "
        "dense: [lstm.weight_ih_l1]}]\naccelerator: sat-vcu1525\nparameters: {workload.tokens: [3, 5]}\n"
        "objectives: [latency_s]\n"
    )
    assert main(["explore", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "o"), "--workers", "1"]) == 0
    frame = read_table(tmp_path / "o").frame
    assert frame.latency_s[0] < frame.latency_s[1]
    words = shlex.split(frame.command[1])
    assert words[words.index("--dense") + 1] == "lstm.weight_ih_l1" and "width=8" in words and "5" in words
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main([*words[1:], "--baseline", "none"]) == 0
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert summary["latency_s"] == frame.latency_s[1]
