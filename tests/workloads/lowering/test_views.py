"""Every view and shape operator of PyTorch, against PyTorch itself: a result that shares its input's memory moves
nothing, any other moves each of its elements once, and the products of a training step are autograd's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from zerocast.workloads import Index, Transfer, WorkloadError, capture

Y = torch.Tensor
SHAPE = (4, 6, 8)

VIEWS: dict[str, Callable[[Y], Any]] = {
    "swapaxes": lambda y: y.swapaxes(0, 1),
    "swapdims": lambda y: y.swapdims(0, 2),
    "in place": lambda y: y.swapaxes_(0, 1),
    "transpose in place": lambda y: y.transpose_(0, 1).unsqueeze_(0).squeeze_(0),
    "moveaxis": lambda y: torch.moveaxis(y, (0, 1), (1, 2)),
    "movedim": lambda y: y.movedim(0, -1),
    "permute": lambda y: y.permute(2, 0, 1),
    "mT": lambda y: y.mT,
    "mH": lambda y: y.mH,
    "adjoint": lambda y: y.adjoint(),
    "H": lambda y: y[0].H,
    "T": lambda y: y[0].T,
    "t": lambda y: y[0].t(),
    "hsplit": lambda y: y.hsplit(2),
    "hsplit at": lambda y: y.hsplit([1, 3]),
    "vsplit": lambda y: y.vsplit(2),
    "dsplit": lambda y: torch.dsplit(y, 2),
    "split": lambda y: y.split(4, 1),
    "split with sizes": lambda y: y.split([2, 4], 1),
    "tensor_split": lambda y: y.tensor_split(3),
    "tensor_split at": lambda y: y.tensor_split([1, 2], dim=1),
    "chunk": lambda y: y.chunk(3, 2),
    "unsafe_chunk": lambda y: y.unsafe_chunk(2),
    "unbind": lambda y: y.unbind(1),
    "unflatten": lambda y: y.unflatten(2, (2, 4)),
    "flatten": lambda y: y.flatten(1, 2),
    "ravel": lambda y: y.ravel(),
    "ravel another order": lambda y: y.mT.ravel(),
    "flatten another order": lambda y: y.permute(1, 0, 2).flatten(1),
    "view_as": lambda y: y.view_as(torch.zeros(24, 8, device=y.device)),
    "reshape_as": lambda y: y.reshape_as(torch.zeros(24, 8, device=y.device)),
    "narrow": lambda y: y.narrow(1, 2, 3),
    "select": lambda y: y.select(1, 2),
    "slice": lambda y: y[:, ::2, -3:],
    "new axis": lambda y: y[..., None],
    "diagonal": lambda y: y.diagonal(0, 1, 2),
    "linalg.diagonal": lambda y: torch.linalg.diagonal(y),
    "unfold": lambda y: y.unfold(1, 2, 2),
    "unfold with gaps": lambda y: y.unfold(1, 2, 3),
    "unfold that overlaps": lambda y: y.unfold(1, 3, 1),
    "unfold twice": lambda y: y.unfold(1, 2, 2).unfold(2, 4, 4),
    "expand": lambda y: y[:, :1].expand(-1, 5, -1),
    "expand_as": lambda y: y[:1].expand_as(y),
    "broadcast_to": lambda y: torch.broadcast_to(y, (3, *SHAPE)),
    "broadcast_tensors": lambda y: torch.broadcast_tensors(y[:1], y),
    "as_strided": lambda y: y.as_strided((4, 6, 4), (48, 8, 2)),
    "as_strided in another order": lambda y: y.as_strided((8, 6, 4), (1, 8, 48)),
    "squeeze": lambda y: y[:1].squeeze(0),
    "squeeze several": lambda y: y[:1, :1].squeeze((0, 1)),
    "squeeze all": lambda y: y[:1].squeeze(),
    "atleast_1d": lambda y: torch.atleast_1d(y),
    "atleast_2d": lambda y: torch.atleast_2d(y[0, 0]),
    "atleast_3d": lambda y: torch.atleast_3d(y[0]),
    "positive": lambda y: +y,
    "real": lambda y: y.real,
    "resolve_conj": lambda y: y.conj().resolve_conj(),
    "meshgrid": lambda y: torch.meshgrid(y[0, 0], y[0, 1], indexing="ij"),
    "tile": lambda y: y.tile(2, 1),
    "repeat": lambda y: y.repeat(2, 1, 1),
    "repeat_interleave": lambda y: y.repeat_interleave(2, 1),
    "repeat_interleave by": lambda y: y.repeat_interleave(torch.tensor([1, 2, 1, 1]).to(y.device), 0, output_size=5),
    "roll": lambda y: y.roll(1, 1),
    "flip": lambda y: y.flip(1),
    "fliplr": lambda y: torch.fliplr(y),
    "flipud": lambda y: torch.flipud(y),
    "rot90": lambda y: y.rot90(1, (0, 1)),
    "hstack": lambda y: torch.hstack([y, y]),
    "vstack": lambda y: torch.vstack([y, y]),
    "dstack": lambda y: torch.dstack([y, y]),
    "column_stack": lambda y: torch.column_stack([y, y]),
    "concatenate": lambda y: torch.concatenate([y, y]),
    "clone": lambda y: y.clone(),
    "channels_last": lambda y: y[None].contiguous(memory_format=torch.channels_last),
    "to channels_last": lambda y: y[None].to(memory_format=torch.channels_last),
    "contiguous": lambda y: y.mT.contiguous(),
    "contiguous already": lambda y: y.contiguous(),
    "permute_copy": lambda y: torch.permute_copy(y, (1, 0, 2)),
    "view_copy": lambda y: torch.view_copy(y, (24, 8)),
    "narrow_copy": lambda y: torch.narrow_copy(y, 1, 2, 3),
    "expand_copy": lambda y: torch.expand_copy(y[:1], SHAPE),
    "unfold_copy": lambda y: torch.unfold_copy(y, 1, 3, 1),
    "as_strided_scatter": lambda y: torch.as_strided_scatter(y, torch.zeros(2, 2, device=y.device), (2, 2), (1, 2)),
    "im2col": lambda y: F.unfold(y[None], 2),
    "pixel_shuffle": lambda y: torch.pixel_shuffle(y, 2),
    "pixel_unshuffle": lambda y: torch.pixel_unshuffle(y, 2),
    "channel_shuffle": lambda y: torch.channel_shuffle(y, 2),
    "vmap over views": lambda y: torch.vmap(lambda row: row.mT)(y),
    "heads": lambda y: y.unflatten(-1, (2, 4)).permute(0, 2, 1, 3).flatten(0, 1),
}


class Call(nn.Module):
    """A linear layer, and a function of its result."""

    def __init__(self, function: Callable[[Y], Any]) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8, bias=False)
        self.function = function

    def forward(self, x: Y) -> Any:
        return self.function(self.fc(x))


def moved(function: Callable[[Y], Any]) -> int:
    """Elements of the results that do not lie in the input's memory, as PyTorch runs it."""
    y = torch.randn(SHAPE)
    home = y.untyped_storage().data_ptr()
    results = tree_leaves(function(y))
    return sum(result.numel() for result in results if result.untyped_storage().data_ptr() != home)


@pytest.mark.parametrize("name", VIEWS)
def test_what_shares_memory_moves_nothing(name: str) -> None:
    workload = capture(Call(VIEWS[name]), torch.randn(SHAPE))
    (product, *rest) = workload.ops
    assert product.macs == workload.macs == 4 * 6 * 8 * 8  # type: ignore[union-attr]
    assert all(isinstance(op, (Transfer, Index)) for op in rest)
    assert sum(op.elements for op in rest) == moved(VIEWS[name])  # type: ignore[union-attr]


@pytest.mark.parametrize("name", VIEWS)
def test_a_training_step_goes_through_it(name: str) -> None:
    model, x = Call(VIEWS[name]), torch.randn(SHAPE)
    step = capture(model, x, training=True)
    with FlopCounterMode(display=False) as counter:
        sum(result.sum() for result in tree_leaves(model(x))).backward()
    assert step.macs == counter.get_total_flops() // 2
    assert [op.outputs[0] for op in step.ops if op.phase == "UPDATE"] == ["fc.weight"]


def product_of(function: Callable[[Y], Any]) -> nn.Module:
    """The result of `function` times another weight of 4 to 5."""
    second = nn.Linear(4, 5, bias=False)
    model = Call(lambda y: second(function(y)))
    model.second = second
    return model


PRODUCTS: dict[str, tuple[Callable[[Y], Any], int]] = {
    "heads": (lambda y: y.unflatten(-1, (2, 4)).swapaxes(1, 2), 192),
    "patches": (lambda y: y.unfold(2, 4, 4), 192),
    "windows, which the product has written out": (lambda y: y.unfold(2, 4, 2), 192 + 2 * 4 * 6 * 3 * 4),
    "parts": (lambda y: y.dsplit(2)[1], 96),
    "matrix": (lambda y: y.mT.narrow(1, 0, 4).mT, 96),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_reads_the_view(name: str) -> None:
    """Elements of activations that the second product and what comes before it read and write."""
    function, elements = PRODUCTS[name]
    model, x = product_of(function), torch.randn(SHAPE)
    with FlopCounterMode(display=False) as counter:
        model(x)
    workload = capture(model, x)
    assert workload.macs == counter.get_total_flops() // 2
    _, *between, second = [op for op in workload.ops if not (isinstance(op, Transfer) and not op.elements)]
    read = sum(workload.tensors[op.inputs[0]].elements for op in (*between, second))
    assert read + sum(workload.tensors[op.outputs[0]].elements for op in between) == elements


def test_functions_mapped_over_a_dimension() -> None:
    """torch.vmap of a product is a batched product; its reductions are there too."""
    model, x = Call(lambda y: torch.vmap(torch.mm)(y, y.mT).sum(-1)), torch.randn(SHAPE)
    workload = capture(model, x)
    assert workload.macs == 4 * 6 * 8 * 8 + 4 * 6 * 6 * 8
    assert workload.ops[-1].function == "sum"  # type: ignore[union-attr]
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    assert capture(model, x, training=True).macs == counter.get_total_flops() // 2


def test_bits_read_as_another_type_carry_no_gradient() -> None:
    model = Call(lambda y: y.view(torch.int32))
    with pytest.raises(WorkloadError, match="no output depends on a trainable parameter"):
        capture(model, torch.randn(SHAPE), training=True)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y: y.as_strided((4, 4), (1, 1)), "as_strided.*reads elements more than once.*unfold or expand"),
        (lambda y: y.mT.as_strided((4, 4), (4, 1)), r"as_strided.*behind a view.*contiguous\(\)"),
        (lambda y: _rotated(y) @ _rotated(y).mT, "multiplies complex numbers.*real parts"),
        (lambda y: y.masked_select(y > 0), r"masked_select.*test_views\.py:\d+.*has no cost rule"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_what_cannot_be_followed_is_named(function: Callable, message: str, training: bool) -> None:
    with pytest.raises(WorkloadError, match=message) as caught:
        capture(Call(function), torch.randn(SHAPE), training=training)
    assert "\n" not in str(caught.value)
    priced = capture(Call(function), torch.randn(SHAPE), training=False, allow_unknown=True)
    assert priced.unknown or priced.meta["skipped"]


def _rotated(y: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(y.unflatten(-1, (4, 2)))


def test_a_call_that_a_rule_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside a rule is no traceback, and can be priced by its bytes."""
    from zerocast.workloads.lowering import walk

    monkeypatch.setitem(walk.RULES, "cumsum", lambda call: call.arguments["nothing of that name"])
    with pytest.raises(WorkloadError, match=r"aten\.cumsum.*does not know it \(KeyError: 'nothing of that name'\)"):
        capture(Call(lambda y: y.cumsum(1)), torch.randn(SHAPE))
    (unknown,) = capture(Call(lambda y: y.cumsum(1)), torch.randn(SHAPE), allow_unknown=True).unknown
    assert unknown.elements == 192
