"""Networks of the hub and weights in files on the command line, and in a space with its commands."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from zerocast.analysis.cli import main
from zerocast.analysis.explore.show.table import read_table
from zerocast.workloads.files.store import load_workload

SMALL = [
    "hidden_size=64",
    "intermediate_size=96",
    "num_hidden_layers=1",
    "num_attention_heads=4",
    "num_key_value_heads=2",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small causal network of the hub's kind, its linear weights 2:4 along their inputs."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {name: int(value) for name, value in (each.split("=") for each in SMALL)}
    config = LlamaConfig(**sizes, vocab_size=32, max_position_embeddings=64, architectures=["LlamaForCausalLM"])
    torch.manual_seed(0)
    state = LlamaForCausalLM(config).state_dict()
    for name, weight in state.items():
        if name.endswith("proj.weight"):
            groups = weight.view(weight.shape[0], -1, 4)
            groups.scatter_(2, groups.abs().topk(2, largest=False).indices, 0.0)
    place = tmp_path / "small"
    config.save_pretrained(place)
    save_file(state, place / "model.safetensors")
    return place


def _lowered(tmp_path: Path, *words: str) -> dict[str, str]:
    assert main(["lower", *words, "--out", str(tmp_path / "w.npz")]) == 0
    return dict(load_workload(tmp_path / "w.npz").found)


def test_zeros_beside_a_configuration_are_found(folder: Path, tmp_path: Path) -> None:
    found = _lowered(tmp_path, f"hf:{folder}", "--tokens", "8")
    assert len(found) == 7 and all(words.startswith("2:4 along c") for words in found.values())


def test_weights_by_option(folder: Path, tmp_path: Path) -> None:
    save = folder.rename(tmp_path / "other")
    words = [word for each in (*SMALL, "vocab_size=32") for word in ("--model-arg", each)]
    named = ["hf:meta-llama/Llama-2-7b-hf", "--tokens", "8", *words]
    assert len(_lowered(tmp_path, *named, "--weights", str(save / "model.safetensors"))) == 7
    assert _lowered(tmp_path, *named) == {}


def test_a_step_against_a_cache(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["run", f"hf:{folder}", "--accelerator", "nvidia-h100-sxm", "--out", str(out)]
    assert main([*command, "--cache", "40", "--batch", "3"]) == 0
    assert "small" in capsys.readouterr().out
    assert main([*command, "--cache", "64"]) == 2
    assert "65 tokens are more than the 64 positions" in capsys.readouterr().err


def test_a_space_takes_them_and_its_commands_give_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "name: hub\nworkloads: [{model: 'hf:small', cache: 8}]\naccelerator: nvidia-h100-sxm\n"
        "parameters: {workload.batch: [1, 2]}\nobjectives: [latency_s]\n"
    )
    assert main(["explore", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "d"), "--workers", "1"]) == 0
    table = read_table(tmp_path / "d").frame
    assert len(table) == 2
    words = shlex.split(table["command"][1])
    assert words[2] == f"hf:{folder}" and words[words.index("--cache") + 1] == "8"


def test_the_hub_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "hub"]) == 0
    assert "hf:meta-llama/Llama-3.1-8B" in capsys.readouterr().out
