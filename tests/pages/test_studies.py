"""The page of each kind of user: from nothing to a decision, whose figures are those of the text."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from running import blocks, commands, run_console

pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Writes the snippets of a page, runs its commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(name: str) -> None:
        page = (files("zerocast.analysis") / "studies" / name).read_text(encoding="utf-8")
        ran = 0
        for kind, file, text in blocks(page):
            if kind == "console":
                ran += run_console(text, capsys)
            else:
                Path(file).write_text(text)
        assert ran == commands(page) > 2

    return run


def _table(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def _times(path: str) -> dict[tuple[str, str, str], float]:
    return {(row["accelerator"], row["recipe"], row["dtype"]): float(row["latency_s"]) for row in _table(path)}


def test_a_pruning_researcher_chooses_a_pattern(study: Any) -> None:
    study("RESEARCHER.md")
    times = _times("recipes/compare.csv")

    def gain(card: str, recipe: str) -> float:
        return times[card, "dense", "fp16"] / times[card, recipe, "fp16"]

    assert gain("sat-vcu1525", "nm:2:8") == pytest.approx(3.5, abs=0.1)
    assert gain("sat-vcu1525", "channel:0.5") == pytest.approx(3.8, abs=0.1)
    assert gain("sat-vcu1525", "nm:2:4") == pytest.approx(1.9, abs=0.05)
    assert gain("sat-vcu1525", "magnitude:0.2") == 1
    assert gain("nvidia-rtx4090", "nm:2:8") == gain("nvidia-rtx4090", "magnitude:0.2") == 1
    assert gain("nvidia-rtx4090", "channel:0.5") > 1.2


def test_an_engineer_chooses_card_and_type(study: Any) -> None:
    pytest.importorskip("transformers", reason="needs the extra `models`")
    study("ENGINEER.md")
    one, sixteen = _table("served.csv")
    assert float(sixteen["tokens_per_s"]) > 12 * float(one["tokens_per_s"])
    times = _times("cards/compare.csv")
    for card, eight_bits, zeros in (("nvidia-h100-sxm", 0.62, 0.90), ("nvidia-l40s", 0.54, 0.81)):
        assert times[card, "dense", "fp8"] / times[card, "dense", "bf16"] == pytest.approx(eight_bits, abs=0.06)
        assert times[card, "nm:2:4", "fp8"] / times[card, "dense", "fp8"] == pytest.approx(zeros, abs=0.05)
    assert all(2 < times["nvidia-l40s", prune, dtype] / times["nvidia-h100-sxm", prune, dtype] < 3
               for prune in ("dense", "nm:2:4") for dtype in ("bf16", "fp8"))  # fmt: skip


def test_an_architect_chooses_sizes(study: Any) -> None:
    study("ARCHITECT.md")
    designs = _table("sizes/size-of-my-chip.csv")

    def latency(rows: int, cols: int, buffer: int, rate: float) -> float:
        return next(float(each["latency_s"]) for each in designs if (
            float(each["compute.rows"]), float(each["compute.cols"]), float(each["memories.buffer.capacity_bytes"]),
            float(each["memories.dram.bandwidth_bytes_per_s"])) == (rows, cols, buffer, rate))  # fmt: skip

    assert latency(16, 16, 65536, 8e9) / latency(32, 32, 65536, 8e9) < 1 / (1 - 1 / 3)
    small = [float(each["latency_s"]) for each in designs if each["status"] == "ok"]
    assert latency(16, 32, 65536, 8e9) < 1.03 * min(small)
