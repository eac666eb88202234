"""Pages whose snippets are written and whose commands are run as a reader would, in the order of the page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zerocast.analysis.cli import main

_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Kind, file name ("" where none is given) and text of each snippet."""
    yield from _BLOCK.findall(page)


def commands(page: str) -> int:
    """How many commands a page has."""
    return len(re.findall(r"^\$ ", page, re.MULTILINE))


def run_console(text: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run the commands of a snippet and look for the lines that the page shows of each; how many there were."""
    steps = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    for step in steps:
        _run(step, capsys)
    return len(steps)


def _run(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *shown = step.strip().splitlines()
    program, *arguments = shlex.split(command)
    if program == "touch":
        Path(arguments[0]).touch()
        return
    if program == "python":
        subprocess.run([sys.executable, *arguments], check=True)
        return
    code = main(arguments)
    caught = capsys.readouterr()
    said = _plain(caught.out + caught.err)
    for line in shown:
        assert _plain(line) in said, (command, line, said)
    refused = any(line.startswith(("error", "memories.")) for line in shown)
    assert (code != 0) == refused, (command, said)


def _plain(text: str) -> str:
    """Words alone: tables are padded and lines are wrapped."""
    return " ".join(text.split())
