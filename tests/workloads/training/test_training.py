"""Training expansion: gradients, saved activations, updates, operands generated online."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zerocast.workloads import LayerPruning, Pruning, Vector, Workload, WorkloadError, capture, expand_training
from zerocast.workloads.patterns import DENSE, NM


def block() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(144, 8),
    )  # fmt: skip


IMAGE = torch.zeros(2, 8, 8, 8)


def names(workload: Workload, phase: str) -> list[str]:
    return [op.name for op in workload.ops if op.phase == phase]


def op_named(workload: Workload, name: str) -> Vector:
    return next(op for op in workload.ops if op.name == name)  # type: ignore[return-value]


def test_backward_runs_in_reverse_without_the_inputs_gradient() -> None:
    step = capture(block(), IMAGE, training=True)
    assert names(step, "BP") == ["loss.BP", "6.BP", "4.BP", "3.BP", "2.BP", "1.BP"]
    assert names(step, "WU") == ["6.WU", "6.WU.bias", "0.WU", "0.WU.bias"]


def test_each_backward_op_knows_its_forward_op() -> None:
    step = capture(block(), IMAGE, training=True)
    forward = names(step, "FF")
    for op in step.ops:
        told = op.phase in ("BP", "WU") and op.name != "loss.BP"
        assert op.of == (op.name.split(".")[0] if told else ""), op
        assert not told or op.of in forward


def test_a_first_einsum_after_an_embedding_has_an_input_gradient() -> None:
    step = capture(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3)), torch.zeros(2, 5).long(), training=True)
    assert [(op.name, op.kind) for op in step.ops if op.name.startswith("0")] == [
        ("0", "index"), ("0.WU", "index"), ("0.weight.UPDATE", "vector")
    ]  # fmt: skip
    scatter = op_named(step, "0.WU")
    assert scatter.function == "scatter_add"
    assert scatter.elements == 2 * 5 * 4


def test_each_backward_reads_what_autograd_saves() -> None:
    step = capture(block(), IMAGE, training=True)
    reads = {name: op_named(step, name).inputs[1:] for name in names(step, "BP") if name != "loss.BP"}
    assert reads == {
        "6.BP": ("6.weight",),
        "4.BP": ("4.mask",),
        "3.BP": ("3.indices",),
        "2.BP": ("2.out",),
        "1.BP": ("0.out", "1.statistics", "1.weight"),
    }
    assert step.tensors["3.indices"].shape == step.tensors["3.out"].shape
    assert (step.tensors["4.mask"].role, step.tensors["4.mask"].dtype) == ("index", "bool")


def saved_bytes_by_autograd(model: nn.Module, inputs: torch.Tensor) -> int:
    """Bytes that PyTorch keeps from forward to backward, parameters and inputs left out, each storage
    once."""
    known = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers(), inputs)}
    kept: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        out = model(inputs)
    assert out.requires_grad
    return sum(kept.values())


def saved_bytes(step: Workload) -> int:
    written = {name for op in step.ops if op.phase == "FF" for name in op.outputs}
    read = {name for op in step.ops if op.phase in ("BP", "WU") for name in op.inputs}
    saved = [step.tensors[name] for name in written & read if not name.startswith("loss")]
    # PyTorch keeps a mask of booleans in a byte each
    return sum(tensor.elements if tensor.dtype == "bool" else tensor.bytes for tensor in saved)


CHAINS = [
    "conv norm relu pool",
    "linear gelu ln",
    "linear softmax",
    "linear silu",
    "linear tanh",
    "linear sigmoid",
]


@pytest.mark.parametrize("chain_of", CHAINS)
def test_saved_activations_are_as_large_as_autograds(chain_of: str) -> None:
    parts = chain_of.split()
    make = {
        "conv": lambda: nn.Conv2d(8, 8, 3, padding=1), "norm": lambda: nn.BatchNorm2d(8), "relu": nn.ReLU,
        "pool": lambda: nn.MaxPool2d(2), "linear": lambda: nn.Linear(8, 8), "gelu": nn.GELU, "silu": nn.SiLU,
        "ln": lambda: nn.LayerNorm(8), "softmax": lambda: nn.Softmax(-1), "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
    }  # fmt: skip
    model = nn.Sequential(*(make[part]() for part in parts * 2)).train()
    inputs = torch.randn(2, 8, 8, 8)
    step = capture(model, inputs, training=True, dtype="fp32")
    # the last layer's output is read by the loss, which PyTorch's count here has not
    last = step.tensors[step.outputs[0]]
    ours = saved_bytes(step) - (last.bytes if parts[-1] in ("ln", "silu", "pool") else 0)
    assert ours == saved_bytes_by_autograd(model, inputs)


def test_residual_gradients_add_up() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return x + self.second(x)

    step = capture(Residual(), torch.zeros(3, 4), training=True)
    (add,) = (op for op in step.ops if op.phase == "BP" and isinstance(op, Vector) and op.function == "add")
    assert add.elements == 12
    assert op_named(step, "first.WU").inputs[0] == add.outputs[0]


def test_tied_weights_are_updated_once_by_the_sum() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(x))

    step = capture(Tied(), torch.zeros(2, 3).long(), training=True)
    assert names(step, "UPDATE") == ["embedding.weight.UPDATE"]
    total = op_named(step, "embedding.weight.UPDATE").inputs[0]
    (add,) = (op for op in step.ops if total in op.outputs)
    assert set(add.inputs) == {*op_named(step, "head.WU").outputs, *op_named(step, "embedding.WU").outputs}
    assert step.parameters == 40


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd_momentum", 2), ("adamw", 3)])
def test_update_keeps_its_state_in_fp32(optimizer: str, copies: int) -> None:
    step = capture(nn.Linear(4, 6), torch.zeros(2, 4), training=True, optimizer=optimizer)
    update = op_named(step, "weight.UPDATE")
    state = [step.tensors[name] for name in update.outputs[1:]]
    assert update.function == optimizer
    assert update.elements == 24
    assert [(tensor.role, tensor.dtype, tensor.elements) for tensor in state] == [
        ("optimizer_state", "fp32", 24)
    ] * copies
    assert update.outputs[0] == "weight"


def test_fp32_training_has_no_master_copy() -> None:
    step = capture(nn.Linear(4, 6), torch.zeros(2, 4), training=True, dtype="fp32")
    assert "weight.master" not in step.tensors


def test_frozen_weights_have_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].requires_grad_(False)
    step = capture(model, torch.zeros(2, 4), training=True)
    assert [op.name for op in step.einsums if op.phase != "FF"] == ["2.BP", "2.WU", "1.BP", "0.WU"]
    assert "1.weight.UPDATE" not in names(step, "UPDATE")


def test_unused_weights_are_kept_but_not_updated() -> None:
    class Unused(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.spare = nn.Parameter(torch.zeros(3))

    step = capture(Unused(), torch.zeros(2, 4), training=True)
    assert step.tensors["spare"].role == "weight"
    assert names(step, "UPDATE") == ["weight.UPDATE", "bias.UPDATE"]


def test_loss_follows_the_output() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x).pow(2).mean()

    found = [
        op_named(capture(model, torch.zeros(2, 4), training=True), "loss.BP").function
        for model in (nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3), nn.Tanh()), Own())
    ]
    assert found == ["cross_entropy_backward", "square_sum_backward", "fill"]


W, DY = NM(2, 4, "c"), NM(1, 4, "k")
BOTH = LayerPruning({"FF": W, "BP": NM(2, 4, "k")}, {"BP": DY}, frozenset({"FF", "BP"}))


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 16))


def test_online_operands_are_selected_before_their_first_use() -> None:
    step = capture(chain(), torch.zeros(2, 8), training=True, pruning=Pruning("r", {"1.weight": BOTH}))
    order = [op.name for op in step.ops]
    for phase, selected, reader in (("FF", "1.weight@FF", "1"), ("BP", "1.weight@BP", "1.BP"),
                                    ("BP", "1.out.grad@BP", "1.BP")):  # fmt: skip
        select = op_named(step, f"{selected}.select")
        assert (select.phase, select.function, select.group) == (phase, "nm_select", 4)
        assert select.elements == step.tensors[selected].elements == step.tensors[select.inputs[0]].elements
        assert order.index(select.name) < order.index(reader)
        assert selected in op_named(step, reader).inputs
    assert step.tensors["1.weight@FF"].pattern == W
    assert step.tensors["1.out.grad@BP"].pattern == DY
    assert op_named(step, "1.WU").inputs == ("1.out.grad", "0.out")
    assert step.parameters == 8 * 8 + 8 + 8 * 16 + 16


def test_patterns_of_each_pass() -> None:
    step = capture(chain(), torch.zeros(2, 8), training=True, pruning=Pruning("r", {"1.weight": BOTH}))
    seen = {op.name: (step.pattern_of(op, 0), step.pattern_of(op, 1)) for op in step.einsums}
    assert seen["1"] == (DENSE, W)
    assert seen["1.BP"] == (DY, NM(2, 4, "k"))
    assert seen["1.WU"] == (DENSE, DENSE)
    assert seen["0"] == (DENSE, DENSE)


def test_static_patterns_need_no_selection() -> None:
    pruning = Pruning("r", {"1.weight": LayerPruning({"FF": W, "BP": W})})
    step = capture(chain(), torch.zeros(2, 8), training=True, pruning=pruning)
    assert not [op for op in step.ops if op.kind == "index"]


def test_inference_generates_nothing_online() -> None:
    workload = capture(chain(), torch.zeros(2, 8), pruning=Pruning("r", {"1.weight": BOTH}))
    assert [op.kind for op in workload.ops] == ["einsum", "einsum"]


def test_unknown_optimizer_is_refused_with_the_choice() -> None:
    with pytest.raises(WorkloadError, match="unknown optimizer 'lion'; use sgd, sgd_momentum, adam, adamw"):
        capture(chain(), torch.zeros(2, 8), training=True, optimizer="lion")


def test_a_model_without_weights_cannot_be_trained() -> None:
    forward = capture(nn.ReLU(), torch.zeros(2))
    with pytest.raises(WorkloadError, match="nothing to train"):
        expand_training(forward)


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        (({"FF": W, "UPDATE": W},), "LayerPruning.weight: pass UPDATE .* FF or BP"),
        (({}, {"FF": DY}), "LayerPruning.output_gradient: pass FF .* under `weight`"),
        (({"FF": W}, {}, frozenset({"WU"})), "LayerPruning.generated_online: pass WU"),
    ],
)
def test_a_pass_that_does_not_read_the_operand_is_refused(fields: tuple, remedy: str) -> None:
    with pytest.raises(WorkloadError, match=remedy):
        LayerPruning(*fields)
