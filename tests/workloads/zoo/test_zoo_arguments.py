"""Sizes and arguments of the zoo's networks and of a user's factory: they arrive, or are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zerocast.workloads import build
from zerocast.workloads.errors import WorkloadError


def test_images_and_arguments_arrive() -> None:
    model, (image,) = build("vit_cifar", image=16, depth=1, width=32.0, hidden=64)
    assert image.shape == (1, 3, 16, 16)
    assert model.pos_embedding.shape == (1, 17, 32) and len(model.encoder) == 1
    model, (image,) = build("resnet18_tiny", image=32, depths=[1, 1, 1, 1], block="Bottleneck")
    assert image.shape[-1] == 32 and len(model.layer1) == 1 and model.fc.in_features == 2048


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        ("vit_cifar", {"deph": 2}, "it has no 'deph'; it takes classes, depth, heads"),
        ("vit_cifar", {"depth": "two"}, "argument depth='two' must be a whole number, such as 7"),
        ("vit_cifar", {"depth": True}, "must be a whole number"),
        ("resnet18_tiny", {"depths": 3}, "must be a list"),
        ("resnet18_tiny", {"depths": [1, 0.5]}, "must be a whole number"),
        ("resnet18_tiny", {"small": 1}, "must be true or false"),
        ("resnet18_tiny", {"block": "Block"}, "known: BasicBlock, Bottleneck"),
        ("resnet18_tiny", {"classes": -3}, "classes must be 1 or more"),
        ("resnet9", {"image": 0}, "image 0 must be a whole number of 1 or more"),
        ("lstm", {"image": 32}, "takes tokens, not images"),
        ("bert_base", {"num_layers": 2}, "did you mean 'num_hidden_layers'"),
        ("bert_base", {"tokens": 1024}, "more than the 512 positions"),
        ("gpt2", {"tokens": 2048}, "the argument n_positions=2048"),
    ],
)
def test_what_a_network_does_not_take_is_named(model: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        build(model, **arguments)
    assert words in str(caught.value)


FACTORY = """
import torch
def make(batch, width=4, *, tokens=2, bias=True):
    return torch.nn.Linear(width, 3, bias=bias), torch.zeros(batch, tokens, width)
def needs(width, batch=1): return torch.nn.Linear(width, 1), torch.zeros(batch, width)
"""


def test_a_factory_gets_its_arguments_by_name(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(FACTORY)
    model, (x,) = build(f"{file}:make", 5, tokens=7, width=6, bias=False)
    assert x.shape == (5, 7, 6) and model.bias is None
    assert build(f"{file}:needs", 3, width=2)[1][0].shape == (3, 2)
    assert torch.equal(build(f"{file}:make", 5)[1][0], torch.zeros(5, 2, 4))
    for arguments, words in (
        ({"widht": 6}, "it has no 'widht'; it takes bias, tokens, width"),
        ({"width": "six"}, "must be a whole number"),
        ({"image": 8}, "it has no 'image'"),
    ):
        with pytest.raises(WorkloadError, match=words):
            build(f"{file}:make", **arguments)
