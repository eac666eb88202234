"""The user's own file: its neighbours can be imported, whatever they are called, and paths that lead nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zerocast.workloads import WorkloadError, build, capture

MODEL = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from simulator import width
from analysis.layers import Layer

@dataclass
class Settings:
    classes: int = 3

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = Layer(width(), Settings().classes)
    def forward(self, x):
        from workloads import scale  # only when it runs
        return self.layer(x) * scale

def make(): return Model(), torch.zeros(2, width())
def fails():
    from simulator import broken
    broken()
"""


def study(folder: Path, width: int) -> Path:
    """A model whose neighbours go by names of ours."""
    (folder / "analysis").mkdir(parents=True)
    (folder / "model.py").write_text(MODEL)
    (folder / "simulator.py").write_text(f"def width(): return {width}\ndef broken():\n    raise KeyError('gone')\n")
    (folder / "workloads.py").write_text("scale = 2\n")
    (folder / "analysis" / "__init__.py").write_text("")
    (folder / "analysis" / "layers.py").write_text("from torch.nn import Linear as Layer\n")
    return folder / "model.py"


def test_neighbours_are_found_and_not_taken_for_ours(tmp_path: Path) -> None:
    path, before = study(tmp_path, 4), list(sys.path)
    workload = capture(*build(f"{path}:make"))
    assert workload.macs == 2 * 4 * 3
    assert sys.path == before
    with pytest.raises(WorkloadError, match=f"KeyError: 'gone' at {tmp_path}/simulator.py:3"):
        build(f"{path}:fails")


def test_each_study_has_its_own_neighbours(tmp_path: Path) -> None:
    """Two folders with files of the same names, in turn: neither sees the other's."""
    paths = [study(tmp_path / str(width), width) for width in (4, 5)]
    models = [build(f"{path}:make") for path in paths]
    assert [capture(*model).macs for model in models] == [2 * 4 * 3, 2 * 5 * 3]
    assert capture(*build(f"{paths[0]}:make")).macs == 2 * 4 * 3


def test_a_callers_own_module_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "simulator.py").write_text("name = 'mine'\n")
    monkeypatch.syspath_prepend(mine)
    monkeypatch.delitem(sys.modules, "simulator", raising=False)
    import simulator  # type: ignore[import-not-found]

    build(f"{study(tmp_path / 'other', 4)}:make")
    assert sys.modules["simulator"] is simulator
    assert simulator.name == "mine"
    monkeypatch.delitem(sys.modules, "simulator")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt2.pt", "the file 'gpt2.pt' does not exist"),
        ("models/gpt2", "the file 'models/gpt2' does not exist"),
        ("./gpt2", "the file 'gpt2' does not exist"),
        ("gpt2.py", "the file 'gpt2.py' does not exist"),
        ("models/gpt2.py:make", "the file 'models/gpt2.py' does not exist"),
        ("here.pt", "the file 'here.pt' is no Python file"),
        ("there", "the file 'there' is a folder"),
        ("gpt3", "unknown model 'gpt3': did you mean gpt2"),
    ],
)
def test_a_path_that_leads_nowhere_is_no_misspelt_name(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.pt").write_text("")
    (tmp_path / "there").mkdir()
    with pytest.raises(WorkloadError, match=message) as caught:
        build(name)
    assert ("did you mean" in str(caught.value)) == (name == "gpt3")
