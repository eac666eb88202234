"""Weights in files: their zeros are those of the model that has them, and what does not fit is told."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zerocast.workloads import WorkloadError, capture
from zerocast.workloads.checkpoint import load_into, matched, open_checkpoint
from zerocast.workloads.patterns import NM


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))


def _pruned() -> nn.Module:
    """2:4 along the inputs of the first layer, a quarter of the second left by chance."""
    torch.manual_seed(0)
    model = _network()
    with torch.no_grad():
        groups = model[0].weight.view(64, 8, 4)  # type: ignore[union-attr,operator]
        groups.scatter_(2, groups.abs().topk(2, largest=False).indices, 0.0)
        model[2].weight[torch.rand(16, 64) > 0.25] = 0  # type: ignore[union-attr,index,operator]
    return model


def _on_meta() -> nn.Module:
    with torch.device("meta"):
        return _network()


def _saved(model: nn.Module, path: Path, form: str) -> Path:
    state = {name: each.detach().contiguous() for name, each in model.state_dict().items()}
    if form == "file":
        save_file(state, path / "w.safetensors")
        return path / "w.safetensors"
    if form == "shards":
        parts = [dict(list(state.items())[:2]), dict(list(state.items())[2:])]
        names = {}
        for at, part in enumerate(parts):
            save_file(part, path / f"model-{at}.safetensors")
            names.update(dict.fromkeys(part, f"model-{at}.safetensors"))
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
        return path
    if form == "bin":
        torch.save(state, path / "pytorch_model.bin")
        return path
    if form == "parallel":
        state = {f"module.{name}": each for name, each in state.items()}
    whole = {"state_dict": state, "epoch": 3} if form in ("training", "parallel") else state
    torch.save(whole, path / "w.pt", _use_new_zipfile_serialization=form != "old")
    return path / "w.pt"


@pytest.mark.parametrize("form", ["file", "shards", "pt", "training", "parallel", "old", "bin"])
def test_zeros_in_a_file_are_those_of_the_model(tmp_path: Path, form: str) -> None:
    model, inputs = _pruned(), torch.zeros(2, 32)
    checkpoint = open_checkpoint(_saved(model, tmp_path, form))
    own, read = capture(model, inputs), capture(_on_meta(), inputs.to("meta"), weights=checkpoint)
    assert read.found == own.found and set(own.found) == {"0.weight", "2.weight"}
    assert [own.pattern_of(op, 1) for op in own.einsums] == [read.pattern_of(op, 1) for op in read.einsums]
    assert read.pattern_of(next(read.einsums), 1).groups == NM(2, 4, "c")


def test_a_model_with_data_takes_them(tmp_path: Path) -> None:
    model, other = _pruned(), _network()
    load_into(open_checkpoint(_saved(model, tmp_path, "file")), other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


class _Tied(nn.Module):
    base_model_prefix = "inner"

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"embed": nn.Embedding(8, 4)})
        self.head = nn.Linear(4, 8, bias=False)
        self.head.weight = self.inner["embed"].weight  # type: ignore[assignment]


def test_a_tied_weight_is_there_under_either_name(tmp_path: Path) -> None:
    model = _Tied()
    for name in ("inner.embed.weight", "head.weight"):
        save_file({name: torch.zeros(8, 4)}, tmp_path / "w.safetensors")
        assert set(matched(open_checkpoint(tmp_path / "w.safetensors"), model).values()) == {name}


def test_the_base_models_prefix_may_be_left_out(tmp_path: Path) -> None:
    save_file({"embed.weight": torch.zeros(8, 4)}, tmp_path / "w.safetensors")
    assert matched(open_checkpoint(tmp_path), _Tied()) == {"inner.embed.weight": "embed.weight"}


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def _refusal(path: Path) -> str:
    """What is said, in one line, of a checkpoint that the small network does not take."""
    with pytest.raises(WorkloadError) as caught:
        capture(_on_meta(), torch.zeros(2, 32, device="meta"), weights=open_checkpoint(path))
    (line,) = str(caught.value).splitlines()
    return line


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": torch.zeros(1), "more": _Evil()}, tmp_path / "w.pt")
    assert "more than tensors, and code in a file is not run" in _refusal(tmp_path / "w.pt")
    with (tmp_path / "plain.pt").open("wb") as file:
        pickle.dump(_Evil(), file)
    assert re.search("code in a file is not run|cannot be read", _refusal(tmp_path / "plain.pt"))
    assert not Path("ran").exists()


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name, message in (
        ("nowhere", "no such file or folder"), ("empty", "no .safetensors file"), ("notes.txt", "give a .safetensors"),
        ("broken.safetensors", "cannot be read"), ("list.pt", "no tensors by name"),
        ("empty.pt", "is no file that torch.save wrote"),
    ):  # fmt: skip
        assert message in _refusal(tmp_path / name)


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    save_file({"first.weight": torch.zeros(64, 32)}, tmp_path / "a.safetensors")
    words = "another model: 4 of its parameters are not there, such as '0.weight' (64, 32)"
    assert words in _refusal(tmp_path / "a.safetensors")
    state = {name: each.detach() for name, each in _network().state_dict().items()}
    save_file({**state, "2.weight": torch.zeros(16, 60)}, tmp_path / "b.safetensors")
    assert "'2.weight' has shape (16, 60), the model's (16, 64)" in _refusal(tmp_path / "b.safetensors")
    save_file({**state, "2.weight": torch.full((16, 64), float("nan"))}, tmp_path / "c.safetensors")
    assert "'2.weight' holds NaN" in _refusal(tmp_path / "c.safetensors")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    _saved(_pruned(), tmp_path, "shards")
    (tmp_path / "model-1.safetensors").unlink()
    assert "1 of 2 shards are missing, such as model-1.safetensors" in _refusal(tmp_path)
