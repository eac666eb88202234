"""What capture does with weights that hold zeros, unknown operators, bad values, and the caller's model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from zerocast.workloads import LayerPruning, Pruning, WorkloadError, capture
from zerocast.workloads.patterns import NM, Mask


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))


IMAGE = torch.zeros(2, 3, 8, 8)


def test_names_follow_the_modules() -> None:
    workload = capture(small_net(), IMAGE, name="small")
    assert [(op.name, op.layer) for op in workload.ops] == [(str(at), str(at)) for at in (0, 1, 2, 4)]
    assert workload.meta["batch"] == 2
    assert workload.ops[0].inputs == ("input", "0.weight", "0.bias")
    assert {t.dtype for t in workload.tensors.values()} == {"fp16"}


def test_live_prune_masks_become_patterns() -> None:
    net = small_net()
    torch_prune.random_unstructured(net[0], "weight", 0.5)
    conv = next(capture(net, IMAGE).einsums)
    pattern = conv.patterns[1]
    assert isinstance(pattern, Mask)
    assert pattern.ranks == ("k", "c", "r", "s")
    np.testing.assert_array_equal(pattern.bits, net[0].weight_mask.numpy().astype(bool))
    assert conv.inputs[1] == "0.weight"


@pytest.mark.parametrize("groups", [1, 2])
def test_zeros_of_removed_prune_masks_are_found(groups: int) -> None:
    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=groups), nn.Conv2d(6, 4, 1))
    torch_prune.random_unstructured(net[0], "weight", 0.5)
    torch_prune.remove(net[0], "weight")
    workload = capture(net, torch.zeros(1, 4, 6, 6))
    first, second = workload.einsums
    bits = first.patterns[1].bits
    np.testing.assert_array_equal(bits.reshape(net[0].weight.shape), (net[0].weight != 0).numpy())
    assert first.patterns[1].ranks == (("g",) if groups > 1 else ()) + ("k", "c", "r", "s")
    assert not second.patterns
    assert workload.layers == {"0.weight": "", "1.weight": "not pruned"}


def test_masks_follow_the_operand_through_backward() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    torch_prune.l1_unstructured(net[1], "weight", 0.75)
    workload = capture(net, torch.zeros(2, 8), training=True)
    patterns = {op.name: op.patterns for op in workload.einsums}
    assert patterns["1.BP"] == patterns["1"]
    assert patterns["1"][1].density == 0.25
    assert patterns["1.WU"] == {}


def test_recipe_patterns_and_reasons() -> None:
    pattern = NM(2, 8, "c")
    pruning = Pruning("2:8", {"0.weight": LayerPruning({"FF": pattern})}, {"4.weight": "first or last layer"})
    workload = capture(small_net(), IMAGE, pruning=pruning)
    conv, linear = workload.einsums
    assert conv.patterns == {1: pattern}
    assert linear.patterns == {}
    assert workload.layers == {"0.weight": "", "4.weight": "first or last layer"}
    assert workload.meta["recipe"] == "2:8"


def test_recipe_of_another_model_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"names the weight 'fc\.weight'"):
        capture(small_net(), IMAGE, pruning=Pruning("x", {"fc.weight": LayerPruning()}))


class Odd(nn.Module):
    """An operator that has no cost rule, between two that have."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(self.fc(x)).relu()


def test_unknown_operator_is_named_with_the_remedy() -> None:
    with pytest.raises(WorkloadError, match=r"special_bessel_j0.*layer ''.*--allow-unknown"):
        capture(Odd(), torch.zeros(2, 4))


@pytest.mark.parametrize("training", [False, True])
def test_unknown_operator_is_priced_by_its_bytes_on_request(training: bool) -> None:
    workload = capture(Odd(), torch.zeros(2, 4), allow_unknown=True, training=training)
    unknown = workload.unknown
    assert [op.function for op in unknown if op.phase == "FF"] == ["special_bessel_j0"]
    assert all(op.flops == 0 for op in unknown)
    assert len(unknown) == (2 if training else 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(bad: float) -> None:
    net = small_net()
    with torch.no_grad():
        net[4].weight[3, 5] = bad
    with pytest.raises(WorkloadError, match=r"'4\.weight' holds NaN or infinity"):
        capture(net, IMAGE)


def test_the_model_is_left_as_it_was() -> None:
    net = small_net().eval()
    before = copy.deepcopy(net.state_dict())
    capture(net, IMAGE, training=True)
    assert not net.training
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_batch_norm_depends_on_the_mode() -> None:
    functions = [
        [op.function for op in capture(small_net().train(), IMAGE, training=mode).ops if op.name == "1"]
        for mode in (False, True)
    ]
    assert functions == [["batch_norm_eval"], ["batch_norm"]]


def test_causal_attention_is_told() -> None:
    class Causal(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)

    scores, softmax, mix = capture(Causal(), torch.zeros(1, 2, 4, 8)).ops
    assert softmax.function == "softmax"  # type: ignore[attr-defined]
    assert scores.causal and softmax.causal and mix.causal  # type: ignore[attr-defined]
    assert scores.source == mix.source == "scaled_dot_product_attention"  # type: ignore[attr-defined]


def test_constants_made_of_constants_cost_nothing() -> None:
    class Positions(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(x.shape[1], device=x.device).mul(2).cos()

    workload = capture(Positions(), torch.zeros(2, 6))
    assert [op.function for op in workload.ops] == ["add"]  # type: ignore[attr-defined]
    assert sorted(t.role for t in workload.tensors.values()) == ["activation", "constant", "input"]


def test_export_errors_name_the_model() -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(WorkloadError, match="model 'branches' cannot be exported"):
        capture(Branches(), torch.zeros(2))


def test_a_quantised_network_moves_bytes_and_does_not_train() -> None:
    half, quarter = (capture(small_net(), IMAGE, dtype=dtype) for dtype in ("fp16", "int8"))
    assert half.macs == quarter.macs
    for name, tensor in quarter.tensors.items():
        assert 2 * tensor.bits == half.tensors[name].bits or tensor.dtype == half.tensors[name].dtype != "fp16"
    with pytest.raises(WorkloadError, match="dtype 'int8' is for inference"):
        capture(small_net(), IMAGE, dtype="int8", training=True)
    with pytest.raises(WorkloadError, match=r"dtype 'int64': use fp32, .* or in inference int16, int8, int4"):
        capture(small_net(), IMAGE, dtype="int64")
