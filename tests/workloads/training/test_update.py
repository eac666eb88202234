"""Rules of update by hand-counted bytes; the order of updates; checkpoints that a user asks for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zerocast.workloads import Workload, WorkloadError, capture
from zerocast.workloads.training.weights.rules import optimizer_named

WIDTH, HIDDEN = 300, 400
WEIGHTS = WIDTH * HIDDEN
"""Elements of the first matrix of `net`."""


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, HIDDEN, bias=False), nn.ReLU(), nn.Linear(HIDDEN, WIDTH, bias=False),
                         nn.ReLU(), nn.Linear(WIDTH, 10, bias=False))  # fmt: skip


def step(**options: object) -> Workload:
    return capture(net(), torch.zeros(8, WIDTH), training=True, dtype="bf16", **options)  # type: ignore[arg-type]


def state_bytes(workload: Workload, weight: str) -> int:
    own = (tensor for tensor in workload.tensors.values() if tensor.role == "optimizer_state")
    return sum(tensor.bytes for tensor in own if tensor.name.startswith(f"{weight}."))


@pytest.mark.parametrize(("optimizer", "size"), [
    ("sgd", 4 * WEIGHTS),  # the master copy
    ("sgd_momentum", 8 * WEIGHTS),
    ("adamw", 12 * WEIGHTS),
    ("adamw:bf16", 4 * WEIGHTS),
    ("adamw:fp32", 8 * WEIGHTS),  # no master copy
    ("adam8bit", 2 * (WEIGHTS + 4 * 469)),  # 120,000 / 256 = 468.75 blocks
    ("galore:16", 2 * 16 * WIDTH + 2 * 2 * 16 * HIDDEN),  # the projector on the shorter side, two bf16 states
    ("galore8bit:16", 2 * 16 * WIDTH + 2 * (16 * HIDDEN + 4 * 25)),
    ("galore8bit:300", 2 * (WEIGHTS + 4 * 469)),  # no smaller than the matrix: none
])  # fmt: skip
def test_states_take_the_bytes_of_their_rule(optimizer: str, size: int) -> None:
    assert state_bytes(step(optimizer=optimizer), "0.weight") == size


def test_few_elements_are_not_quantised_and_a_head_has_no_subspace() -> None:
    workload = step(optimizer="galore8bit:4")
    assert state_bytes(workload, "4.weight") == 8 * 10 * WIDTH  # 3,000 elements: fp32
    assert not [name for name in workload.tensors if name.startswith("4.weight.projector")]


def test_a_projected_update_multiplies_by_the_projector_twice() -> None:
    products = [op for op in step(optimizer="galore8bit:16").einsums if op.phase == "UPDATE"]
    assert [op.macs for op in products] == [16 * WEIGHTS] * 4


def test_an_update_per_layer_comes_as_soon_as_the_gradient_is_whole() -> None:
    names = [op.name for op in step(per_layer=True).ops]
    for name in ("0.weight", "2.weight", "4.weight"):
        layer = name.partition(".")[0]
        assert names[names.index(f"{name}.UPDATE") - 1] == f"{layer}.WU"
    assert sorted(names) == sorted(op.name for op in step().ops)


def test_a_tied_weight_is_updated_after_its_last_gradient() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(x))

    ops = capture(Tied(), torch.zeros(2, 3).long(), training=True, per_layer=True).ops
    assert [op.name for op in ops][-1] == "embedding.weight.UPDATE"


def test_checkpointed_modules_run_again_before_their_backward() -> None:
    net = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(2)))
    ops = capture(net, torch.zeros(2, 8), training=True, checkpoints=("*",)).ops
    names = [op.name for op in ops]
    assert [name for name in names if name.endswith(".again")] == ["1.0.again", "1.1.again", "0.0.again", "0.1.again"]
    assert names.index("1.1.again") < names.index("1.2.BP") < names.index("0.0.again")


@pytest.mark.parametrize(("name", "words"), [
    ("lion", "unknown optimizer 'lion'; use sgd, sgd_momentum, adam, adamw, adam8bit, galore:RANK"),
    ("galore8bit", "give the rank"),
    ("galore8bit:0", "give the rank"),
    ("adamw:int8", "states may be"),
    ("adam8bit:bf16", "int8 already"),
])  # fmt: skip
def test_a_rule_that_does_not_exist_is_refused_with_those_that_do(name: str, words: str) -> None:
    with pytest.raises(WorkloadError, match=words):
        optimizer_named(name)


def test_a_checkpoint_that_names_nothing_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"checkpoint 'blocks\.\*' names no module .*its layers: 0, 1"):
        step(checkpoints=("blocks.*",))
