"""`accelerators/DESCRIBE.md` in one go: every snippet is written, every command runs and prints what the page says."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from running import blocks, commands, run_console


@pytest.mark.parametrize("until", ["## 10.", pytest.param("", marks=pytest.mark.slow)])
def test_the_page_runs_from_top_to_bottom(
    until: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default up to where whole networks begin, whose report takes its time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    page = (files("zerocast.accelerators") / "DESCRIBE.md").read_text(encoding="utf-8")
    page = page[: page.index(until)] if until else page
    chip: dict[str, object] = {}
    ran = 0
    for kind, name, text in blocks(page):
        if kind == "console":
            ran += run_console(text, capsys)
        elif kind == "csv":
            Path("layers.csv").write_text(text)
        elif name:
            Path(name).write_text(text)
        else:
            chip |= yaml.safe_load(text)
            Path("my_chip.yaml").write_text(yaml.safe_dump(chip, sort_keys=False))
    assert ran == commands(page) > 10
    seconds = {path.stem: _seconds(path) for path in Path().glob("*.csv") if path.stem != "layers"}
    assert max(seconds["four_cores"]) < max(seconds["three_levels"]), "four cores are quicker than one"
    assert seconds["given"][1] >= seconds["channels"][1], "no mapping of ours beats the search"


def _seconds(path: Path) -> list[float]:
    return [float(row["latency_s"]) for row in csv.DictReader(path.read_text().splitlines())]
