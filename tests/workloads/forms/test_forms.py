"""Whatever form a pruned network comes in, its zeros are found and it costs the same, or it is refused by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pruned_forms import BESIDE, LIKE_PLAIN, REFUSED, STORED
from pruned_network import DENSE, FOUND, MASKS, PRUNED, Net, X
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
}


@pytest.mark.parametrize("form", KEPT)
def test_forms_of_checkpoints(tmp_path: Path, form: str) -> None:
    state = {
        f"{layer}.weight{end}": tensor
        for end, tensors in KEPT[form].items() for layer, tensor in zip(("up", "down"), tensors, strict=True)
    }  # fmt: skip
    torch.save(state, tmp_path / "w.pt")
    workload = read_from(tmp_path / "w.pt")
    assert densities(workload) == {0.5, 0.25} and set(workload.found.values()) == FOUND
    assert latency_s(workload) == pytest.approx(plain_s(), rel=1e-9)


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
