"""Whatever form a pruned network comes in, its zeros are found and it costs the same, or it is refused by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pruned_forms import BESIDE, LIKE_PLAIN, REFUSED, STORED
from pruned_network import DENSE, FOUND, MASKS, PRUNED, Net, X, quantised
from torch import nn

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.workloads import Workload, WorkloadError, capture
from zerocast.workloads.checkpoint import open_checkpoint
from zerocast.workloads.patterns import NM

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, of forms that it calls new or old


def captured(model: Any) -> Workload:
    held = next(iter(model.parameters()), X) if isinstance(model, nn.Module) else X
    return capture(model, X.to(held.dtype if held.is_floating_point() else X.dtype))


def latency_s(workload: Workload) -> float:
    """On a chip that skips zeros of weights wherever they are, so that a lost one shows."""
    return simulate(workload, load("cambricon-x")).latency_s


@cache
def plain_s() -> float:
    return latency_s(captured(Net()))


def densities(workload: Workload) -> set[float]:
    """Of all second operands that hold zeros."""
    return {workload.pattern_of(op, 1).density for op in workload.einsums} - {1.0}


@pytest.mark.parametrize("form", LIKE_PLAIN)
def test_a_form_costs_what_the_plain_network_does(form: str) -> None:
    workload = captured(LIKE_PLAIN[form]())
    assert densities(workload) == {0.5, 0.25}
    assert set(workload.found.values()) == FOUND
    assert [op.kind for op in workload.ops] == ["einsum", "vector", "einsum"]
    assert NM(2, 4, "c") in [workload.pattern_of(op, 1).groups for op in workload.einsums]
    assert latency_s(workload) == pytest.approx(plain_s(), rel=1e-9)


def test_lost_zeros_would_show() -> None:
    assert plain_s() < 0.8 * latency_s(captured(Net(DENSE)))


@pytest.mark.parametrize("form", STORED)
def test_a_form_with_narrower_weights_costs_less(form: str) -> None:
    dtype, make = STORED[form]
    workload = captured(make())
    assert densities(workload) == {0.5, 0.25} and set(workload.found.values()) == FOUND
    assert {workload.tensors[op.inputs[1]].dtype for op in workload.einsums} == {dtype}
    assert latency_s(workload) < plain_s()


@pytest.mark.parametrize("form", BESIDE)
def test_a_form_with_more_work_beside_keeps_the_zeros(form: str) -> None:
    workload = captured(BESIDE[form]())
    assert densities(workload) == {0.5, 0.25} and set(workload.found.values()) == FOUND
    assert latency_s(workload) > plain_s()


@pytest.mark.parametrize("form", REFUSED)
def test_a_form_that_cannot_be_read_is_refused_with_its_remedy(form: str) -> None:
    make, words = REFUSED[form]
    with pytest.raises(WorkloadError, match=words):
        captured(make())


def test_layers_that_are_all_zero_are_said_to_be_priced_dense() -> None:
    workload = captured(Net((PRUNED[0], torch.zeros(32, 64))))
    assert workload.found["down.weight"].startswith("all zeros: priced dense")
    assert latency_s(workload) > plain_s()


def test_channels_that_were_cut_out_are_gone() -> None:
    """Half of the channels between the layers, as torch-pruning and others leave them: half of each product."""
    net = Net()
    net.up, net.down = nn.Linear(64, 32, bias=False), nn.Linear(32, 32, bias=False)
    with torch.no_grad():
        net.up.weight.copy_(PRUNED[0][:32])
        net.down.weight.copy_(DENSE[1][:, :32])
    workload = captured(net)
    assert workload.macs == 8 * (64 * 32 + 32 * 32)
    assert workload.found == {"up.weight": "2:4 along c; 50.0% nonzero"}


class Shared(nn.Module):
    """An embedding, a layer twice, and a head that is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.twice = nn.Embedding(64, 64), nn.Linear(64, 64, bias=False)
        self.head = nn.Linear(64, 64, bias=False)
        self.head.weight = self.embed.weight
        with torch.no_grad():
            self.embed.weight.copy_(PRUNED[0])
            self.twice.weight.copy_(PRUNED[0])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.twice(self.twice(self.embed(ids))))


def test_tied_and_shared_weights_have_their_zeros_once() -> None:
    workload = capture(Shared(), torch.zeros(8, dtype=torch.long))
    assert densities(workload) == {0.5}
    assert set(workload.found) == {"embed.weight", "twice.weight"}
    assert workload.parameters == 2 * 64 * 64


def test_attention_and_recurrent_layers_of_torch() -> None:
    attention, memory = nn.MultiheadAttention(64, 4, bias=False, batch_first=True), nn.LSTM(64, 16, bias=False)
    with torch.no_grad():
        attention.in_proj_weight.copy_(PRUNED[0].repeat(3, 1))
        memory.weight_ih_l0.copy_(PRUNED[0])
    found = dict(capture(attention.eval(), [torch.zeros(1, 8, 64)] * 3).found)
    found.update(capture(memory, torch.zeros(8, 1, 64)).found)
    assert found == dict.fromkeys(("in_proj_weight", "weight_ih_l0"), "2:4 along c; 50.0% nonzero")


KEPT = {
    "weight": {"": PRUNED},
    "live masks": {"_orig": DENSE, "_mask": MASKS},
    "masks beside": {"": DENSE, "_mask": [mask.bool() for mask in MASKS]},
    "COO": {"": [weight.to_sparse() for weight in PRUNED]},
    "parametrization": {"s.weight.original": DENSE, "s.weight.0.mask": MASKS},
    "weight norm": {"_v": PRUNED, "_g": [weight.norm(dim=1, keepdim=True) for weight in PRUNED]},
}


NORMAL = torch.tensor([-1, -0.7, -0.5, -0.4, -0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.35, 0.4, 0.6, 0.7, 1.0])


def of_bitsandbytes(dense: torch.Tensor, mask: torch.Tensor, pruned: torch.Tensor) -> dict[str, torch.Tensor]:
    """Places in a table of 16, two in a byte, whose eighth is zero; a scale for every 64."""
    nearest = (pruned.flatten()[:, None] - NORMAL).abs().argmin(1)
    places = torch.where(mask.flatten() > 0, torch.where(nearest == 7, 8, nearest), 7).to(torch.uint8)
    said = f'{{"quant_type": "nf4", "blocksize": 64, "shape": {list(pruned.shape)}}}'
    return {
        "weight": ((places[0::2] << 4) | places[1::2])[:, None], "weight.quant_map": NORMAL,
        "weight.absmax": torch.ones(pruned.numel() // 64),
        "weight.quant_state.bitsandbytes__nf4": torch.tensor(list(said.encode()), dtype=torch.uint8),
    }  # fmt: skip


NARROW: dict[str, tuple[str, float, Any]] = {
    "fp8 and a scale": ("fp8", 32, lambda d, m, p: {
        "weight": p.to(torch.float8_e4m3fn), "weight_scale": torch.ones(1)}),
    "int8 and scales of rows": ("int8", 32 * 64, lambda d, m, p: {
        "weight": quantised(100)(d, m, p), "weight_scale": torch.ones(p.shape[0], 1)}),
    "int8 of bitsandbytes": ("int8", 32 * 64, lambda d, m, p: {
        "weight": quantised(100)(d, m, p), "SCB": torch.ones(p.shape[0])}),
    "nf4 of bitsandbytes": ("nf4", 32 * 64, of_bitsandbytes),
}  # fmt: skip
"""Type, bits of all scales of the first layer, and what the file holds of a layer."""


@pytest.mark.parametrize("form", NARROW)
def test_a_checkpoint_gives_its_weights_their_types(tmp_path: Path, form: str) -> None:
    dtype, scales, make = NARROW[form]
    state = {f"{layer}.{name}": tensor for layer, *each in zip(("up", "down"), DENSE, MASKS, PRUNED, strict=True)
             for name, tensor in make(*each).items()}  # fmt: skip
    torch.save(state, tmp_path / "w.pt")
    checkpoint = open_checkpoint(tmp_path / "w.pt")
    with torch.device("meta"):
        net = Net()
    workload = capture(net, X.to("meta"), weights=checkpoint, as_stored=checkpoint)
    assert densities(workload) == {0.5, 0.25} and set(workload.found.values()) == FOUND
    assert {workload.tensors[op.inputs[1]].dtype for op in workload.einsums} == {dtype}
    assert workload.tensors["up.weight"].scale_bits == scales / 64**2
    assert latency_s(workload) < plain_s()
    with pytest.raises(WorkloadError, match=f"is stored as {dtype}, which is for inference; a training step takes"):
        capture(net, X.to("meta"), weights=checkpoint, as_stored=checkpoint, training=True)


@pytest.mark.parametrize("form", KEPT)
def test_forms_of_checkpoints(tmp_path: Path, form: str) -> None:
    state = {
        f"{layer}.{'parametrization' if end.startswith('s.') else 'weight'}{end}": tensor
        for end, tensors in KEPT[form].items() for layer, tensor in zip(("up", "down"), tensors, strict=True)
    }  # fmt: skip
    torch.save(state, tmp_path / "w.pt")
    workload = read_from(tmp_path / "w.pt")
    assert densities(workload) == {0.5, 0.25} and set(workload.found.values()) == FOUND
    assert latency_s(workload) == pytest.approx(plain_s(), rel=1e-9)


@pytest.mark.parametrize(
    "front", ["_orig_mod.", "_fsdp_wrapped_module.", "module._orig_mod.", "net.", "base_model.model."]
)
def test_names_that_wrappers_leave(tmp_path: Path, front: str) -> None:
    inner = "base_layer." if front.startswith("base") else ""
    pairs = zip(("up", "down"), PRUNED, strict=True)
    torch.save({f"{front}{layer}.{inner}weight": tensor for layer, tensor in pairs}, tmp_path / "w.pt")
    assert densities(read_from(tmp_path / "w.pt")) == {0.5, 0.25}


def test_masks_that_a_script_saved_beside_its_weights(tmp_path: Path) -> None:
    weights, masks = (
        {f"{layer}.weight": each for layer, each in zip(("up", "down"), tensors, strict=True)}
        for tensors in (DENSE, MASKS)
    )
    torch.save({"state_dict": weights, "masks": masks}, tmp_path / "w.pt")
    assert densities(read_from(tmp_path / "w.pt")) == {0.5, 0.25}


def test_an_adapter_without_its_layers_is_refused(tmp_path: Path) -> None:
    state = {f"{layer}.weight": each for layer, each in zip(("up", "down"), PRUNED, strict=True)}
    torch.save({**state, "up.lora_A.default.weight": torch.zeros(2, 64)}, tmp_path / "w.pt")
    with pytest.raises(WorkloadError, match=r"'up.lora_A.default.weight' is of an adapter.*; merge it into"):
        read_from(tmp_path / "w.pt")


def test_a_checkpoint_of_nonzeros_and_the_bits_that_place_them(tmp_path: Path) -> None:
    state: dict[str, torch.Tensor] = {}
    for layer, mask, weight in zip(("up", "down"), MASKS, PRUNED, strict=True):
        packed = (mask.view(len(mask), -1, 8).long() << torch.arange(8)).sum(-1).to(torch.uint8)
        state |= {f"{layer}.bitmask": packed, f"{layer}.compressed": weight[mask > 0].view(-1, 1)}
    torch.save(state, tmp_path / "w.pt")
    workload = read_from(tmp_path / "w.pt")
    assert densities(workload) == {0.5, 0.25} and set(workload.found.values()) == FOUND
    assert latency_s(workload) == pytest.approx(plain_s(), rel=1e-9)


def read_from(path: Path) -> Workload:
    with torch.device("meta"):
        net = Net()
    return capture(net, X.to("meta"), weights=open_checkpoint(path))


def test_a_checkpoint_whose_zeros_do_not_show_is_refused(tmp_path: Path) -> None:
    torch.save({"up.qweight": torch.zeros(8, 64, dtype=torch.int32)}, tmp_path / "w.pt")
    with pytest.raises(WorkloadError, match=r"'up.qweight' is packed by GPTQ or AWQ, and its zeros do not show; save"):
        capture(Net(), X, weights=open_checkpoint(tmp_path / "w.pt"))
