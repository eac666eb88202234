"""`accelerators/DESCRIBE.md` in one go: every snippet is written, every command runs and prints what the page says."""

from __future__ import annotations

import csv
import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from zerocast.analysis.cli import main

_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
    commands = 0
    for kind, name, text in _BLOCK.findall(page):
        if kind == "console":
            commands += sum(_run(step, capsys) for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:])
        elif kind == "csv":
            Path("layers.csv").write_text(text)
        elif name:
            Path(name).write_text(text)
        else:
            chip |= yaml.safe_load(text)
            Path("my_chip.yaml").write_text(yaml.safe_dump(chip, sort_keys=False))
    assert commands == len(re.findall(r"^\$ ", page, re.MULTILINE)) > 10
    seconds = {path.stem: _seconds(path) for path in Path().glob("*.csv") if path.stem != "layers"}
    assert max(seconds["four_cores"]) < max(seconds["three_levels"]), "four cores are quicker than one"
    assert seconds["given"][1] >= seconds["channels"][1], "no mapping of ours beats the search"


def _run(step: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run one command and look for the lines that the page shows of it."""
    command, *shown = step.strip().splitlines()
    program, *arguments = shlex.split(command)
    if program == "touch":
        Path(arguments[0]).touch()
        return 1
    code = main(arguments)
    caught = capsys.readouterr()
    said = _plain(caught.out + caught.err)
    for line in shown:
        assert _plain(line) in said, (command, line, said)
    refused = any(line.startswith(("error", "memories.")) for line in shown)
    assert (code != 0) == refused, (command, said)
    return 1


def _plain(text: str) -> str:
    """Words alone: tables are padded and lines are wrapped."""
    return " ".join(text.split())


def _seconds(path: Path) -> list[float]:
    return [float(row["latency_s"]) for row in csv.DictReader(path.read_text().splitlines())]
