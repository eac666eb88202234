"""Packed integers with scales, as GPTQ, AWQ and compressed-tensors write them: the same zeros, read as 4 bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zerocast.analysis.run.network import Network, lower, silent
from zerocast.workloads.checkpoint import open_checkpoint
from zerocast.workloads.patterns import Mask

INPUTS, OUTPUTS, GROUP = 64, 32, 32
AWQ = (0, 2, 4, 6, 1, 3, 5, 7)
"""Output, of eight in a row, in each half-byte of a word, the lowest first."""


def _quantised() -> tuple[Tensor, Tensor, Tensor]:
    """Values [inputs, outputs] of 4 bits, of which two of each four inputs are at zero, scales and zeros by group."""
    torch.manual_seed(0)
    zeros = torch.randint(5, 10, (INPUTS // GROUP, OUTPUTS))
    scales = torch.rand(INPUTS // GROUP, OUTPUTS) + 0.5
    values = torch.zeros(INPUTS, OUTPUTS, dtype=torch.long)
    for i in range(INPUTS):
        for o in range(OUTPUTS):
            zero = int(zeros[i // GROUP, o])
            values[i, o] = zero if (i + o) % 4 < 2 else zero + (1, 2, -3, 4)[(i * 7 + o) % 4]
    return values, scales, zeros


def _words(values: list[int]) -> int:
    word = sum(value << (4 * place) for place, value in enumerate(values))
    return word - (1 << 32) if word >= 1 << 31 else word


def _in_rows(table: Tensor, order: tuple[int, ...] = tuple(range(8))) -> Tensor:
    """Eight neighbours of each row in a word."""
    rows = [[_words([int(row[at + place]) for place in order]) for at in range(0, len(row), 8)] for row in table]
    return torch.tensor(rows, dtype=torch.int32)


def _saved(path: Path, form: str, front: str = "0") -> tuple[Path, Tensor]:
    """A file of one packed layer, and the weight [outputs, inputs] that it stands for."""
    values, scales, zeros = _quantised()
    if form == "gptq":
        held = {"qweight": _in_rows(values.T).T, "qzeros": _in_rows(zeros - 1), "scales": scales,
                "g_idx": torch.arange(INPUTS, dtype=torch.int32) // GROUP}  # fmt: skip
    elif form == "awq":
        held = {"qweight": _in_rows(values, AWQ), "qzeros": _in_rows(zeros, AWQ), "scales": scales}
    else:
        zeros = torch.full_like(zeros, 8)
        values = (values - _quantised()[2].repeat_interleave(GROUP, 0) + 8).clamp(0, 15)
        held = {"weight_packed": _in_rows(values.T), "weight_scale": scales.T,
                "weight_shape": torch.tensor([OUTPUTS, INPUTS])}  # fmt: skip
    file = path / f"{form}.safetensors"
    state = {f"{front}.{name}": each.contiguous() for name, each in held.items()}
    save_file({**state, f"{front}.bias": torch.ones(OUTPUTS)}, file)
    wide = (values - zeros.repeat_interleave(GROUP, 0)) * scales.repeat_interleave(GROUP, 0)
    return file, wide.T


@pytest.mark.parametrize("form", ["gptq", "awq", "compressed"])
def test_packed_weights_are_read_as_they_were(form: str, tmp_path: Path) -> None:
    file, wide = _saved(tmp_path, form)
    checkpoint = open_checkpoint(file)
    assert checkpoint.shapes["0.weight"] == (OUTPUTS, INPUTS) and checkpoint.narrow["0.weight"].dtype == "int4"
    assert torch.allclose(checkpoint.read("0.weight").float(), wide.float())
    assert ((wide == 0).float().mean() == 0.5) and bool((wide[:, :4] == 0).any())


@pytest.mark.parametrize("form", ["gptq", "awq", "compressed"])
def test_a_packed_network_is_priced_with_its_zeros_and_in_its_types(form: str, tmp_path: Path) -> None:
    file, _ = _saved(tmp_path, form)
    factory = tmp_path / "packed_model.py"
    factory.write_text(
        "import torch\nfrom torch import nn\n\n\ndef make(batch=1):\n"
        f"    return nn.Sequential(nn.Linear({INPUTS}, {OUTPUTS}), nn.ReLU(), nn.Linear({OUTPUTS}, 8)), "
        f"(torch.zeros(batch, {INPUTS}),)\n"
    )
    last = nn.Linear(OUTPUTS, 8)
    from safetensors.torch import load_file

    save_file({**load_file(file), "2.weight": last.weight.detach(), "2.bias": last.bias.detach()}, file)
    workload = lower(Network(f"{factory}:make", weights=str(file)), silent)
    first, second = workload.einsums
    weight = workload.tensors[first.inputs[1]]
    pattern = workload.pattern_of(first, 1)
    assert isinstance(pattern, Mask) and (2, 4, "c") in pattern.laws and pattern.density == 0.5
    assert (weight.dtype, workload.tensors[second.inputs[1]].dtype) == ("int4", "fp16")  # the head keeps its type
    groups = INPUTS * OUTPUTS // GROUP  # a scale of fp32 each, and a zero point of 4 bits
    assert workload.scale_bytes == groups * (4 if form == "compressed" else 4.5)
    wide = lower(Network(f"{factory}:make", weights=str(file), dtype="bf16"), silent)
    assert wide.tensors[first.inputs[1]].dtype == "bf16"
