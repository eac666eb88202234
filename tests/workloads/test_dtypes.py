"""Types of weights that are narrower than what they are multiplied with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zerocast.simulator.program.footprint import footprint
from zerocast.workloads import Workload, WorkloadError, capture
from zerocast.workloads.dtypes import Types, types_of


class Language(nn.Module):
    """An embedding, two layers, a head that may share the embedding's weight."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embed, self.up, self.down = nn.Embedding(40, 256), nn.Linear(256, 512), nn.Linear(512, 256)
        self.norm, self.mid, self.head = nn.LayerNorm(256), nn.Linear(256, 40, bias=False), nn.Linear(40, 8, bias=False)
        if tied:
            self.mid.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.mid(self.norm(self.down(torch.relu(self.up(self.embed(ids)))))))


def captured(dtype: str, **options: bool) -> Workload:
    with torch.device("meta"):
        return capture(Language(**options), torch.zeros(3, 5, dtype=torch.long), dtype=dtype)


@pytest.mark.parametrize("dtype", ["bf16*int4", "fp16*int4", "w4a16"])
def test_weights_of_products_are_narrow_but_the_head_and_what_is_looked_up(dtype: str) -> None:
    workload, tied = captured(dtype), captured(dtype, tied=True)
    wide = "bf16" if dtype.startswith("bf16") else "fp16"
    types = {name: each.dtype for name, each in workload.tensors.items() if each.role == "weight"}
    assert {name for name, each in types.items() if each == "int4"} == {"up.weight", "down.weight", "mid.weight"}
    assert set(types.values()) == {"int4", wide}
    assert tied.tensors["embed.weight"].dtype == wide
    assert workload.meta["stored_weights"] == 3
    # a scale of two bytes for each 128
    assert workload.scale_bytes == 2 * (2 * 256 * 512 + 256 * 40) / 128
    assert all(each.dtype == wide for name, each in workload.tensors.items() if each.role == "activation")


def test_what_a_type_says() -> None:
    assert types_of("fp8") == Types("fp8")
    assert types_of("w8a16") == Types("fp16", "int8")
    assert types_of("w8a8") == types_of("int8*int8") == Types("int8")


@pytest.mark.parametrize(
    ("dtype", "training", "words"),
    [
        (
            "int3",
            False,
            "dtype 'int3': use fp32, .* or a pair of activations and weights such as fp16.int4; short: w4a16",
        ),
        ("fp16*int3", False, "dtype 'fp16.int3': use"),
        ("int4*fp16", False, "dtype 'int4.fp16': weights are wider than what they are multiplied with; turn the pair"),
        ("w4a16", True, "dtype 'w4a16' is for inference"),
    ],
)
def test_types_that_there_are_not(dtype: str, training: bool, words: str) -> None:
    with pytest.raises(WorkloadError, match=words):
        types_of(dtype, training)


def test_a_network_without_weights_to_narrow() -> None:
    with pytest.raises(WorkloadError, match="dtype of weights 'int4': no product of 'linear' has weights"):
        capture(nn.Linear(8, 4), torch.zeros(2, 8), dtype="w4a16")


def test_a_frozen_base_of_four_bits_takes_half_a_byte_and_a_sixteenth() -> None:
    """Frozen weights of products alone: 0.5 bytes each and an fp32 scale for every 64; what is trained stays wide."""
    model = nn.Sequential(nn.Linear(512, 1024, bias=False), nn.Linear(1024, 512, bias=False), nn.Linear(512, 4))
    model[0].requires_grad_(False)
    wide, narrow = (capture(model, torch.zeros(8, 512), training=True, dtype=dtype) for dtype in ("bf16", "bf16*nf4"))
    types = {name: each.dtype for name, each in narrow.tensors.items() if each.role == "weight"}
    assert types == {"0.weight": "nf4", "1.weight": "bf16", "2.weight": "bf16", "2.bias": "bf16"}
    saved = 512 * 1024 * (2 - 0.5 - 1 / 16)
    assert footprint(wide).weight_bytes - footprint(narrow).weight_bytes == saved
    assert footprint(wide).peak_bytes - footprint(narrow).peak_bytes == saved
    double = capture(model, torch.zeros(8, 512), training=True, dtype="bf16*nf4-dq")
    blocks = 512 * 1024 / 64
    assert footprint(narrow).weight_bytes - footprint(double).weight_bytes == 4 * blocks - (blocks + 4 * blocks / 256)
    assert double.tensors["0.weight"].dtype == "nf4"


def test_what_is_trained_is_never_narrowed() -> None:
    with pytest.raises(WorkloadError, match="has frozen weights to be narrowed"):
        capture(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), torch.zeros(1, 8), training=True, dtype="bf16*nf4")
