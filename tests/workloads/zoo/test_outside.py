"""Exported programs and timm's networks: the same work as the module they come from, or one clear line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from zerocast.workloads import WorkloadError, capture
from zerocast.workloads.zoo import build


def _network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 12)).eval()
    with torch.no_grad():
        groups = model[3].weight.view(12, -1, 4)  # type: ignore[union-attr,operator]
        groups.scatter_(2, groups.abs().topk(2, largest=False).indices, 0.0)
    return model


def test_an_exported_program_is_its_module(tmp_path: Path) -> None:
    model, inputs = _network(), (torch.zeros(2, 4, 8, 8),)
    torch.export.save(torch.export.export(model, inputs), tmp_path / "m.pt2")
    own, read = capture(model, inputs), capture(*build(str(tmp_path / "m.pt2")))
    assert (read.macs, read.parameters, dict(read.found)) == (own.macs, own.parameters, dict(own.found))
    assert set(own.found) == {"3.weight"} and "2:4 along c" in own.found["3.weight"]
    assert capture(*build(str(tmp_path / "m.pt2")), training=True).macs == capture(model, inputs, training=True).macs


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("m.pt2", {"batch": 4}, "has the shapes that it was exported with; leave batch out"),
        ("none.pt2", {}, "no such file"),
        ("text.pt2", {}, "is no program that torch.export saved"),
    ],
)
def test_what_does_not_fit(name: str, sizes: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(4, 4), (torch.zeros(1, 4),)), tmp_path / "m.pt2")
    (tmp_path / "text.pt2").write_text("nothing")
    with pytest.raises(WorkloadError, match=message) as caught:
        build(str(tmp_path / name), **sizes)
    assert "\n" not in str(caught.value)


class _Net(nn.Module):
    """As timm's convolutional networks are: a size that it is meant for, images of any."""

    default_cfg: ClassVar[dict[str, Any]] = {"input_size": (3, 16, 16)}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def _create(name: str, pretrained: bool, width: int = 8) -> nn.Module:
    assert name == "tiny" and not pretrained
    return _Net(width)


def _timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the library, which is not in the test environment."""
    library: Any = ModuleType("timm")
    library.__spec__ = torch.__spec__
    library.is_model, library.list_models, library.create_model = ("tiny".__eq__, lambda: ["tiny"], _create)
    monkeypatch.setitem(sys.modules, "timm", library)


def test_timms_networks_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _timm(monkeypatch)
    assert capture(*build("timm:tiny", 2)).macs == 2 * 16 * 16 * 3 * 8 * 9
    assert capture(*build("timm:tiny", image=10, width=4)).macs == 100 * 3 * 4 * 9
    with pytest.raises(WorkloadError, match="timm has no 'tinny'; did you mean tiny"):
        build("timm:tinny")
    with pytest.raises(WorkloadError, match="takes images, not tokens"):
        build("timm:tiny", tokens=4)


def test_without_timm_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(WorkloadError, match="needs timm, which is not installed: pip install timm"):
        build("timm:resnet50")
