"""The forms that a pruned network comes in, by name: functions that make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.utils.prune as torch_prune
from pruned_network import (
    DENSE,
    MASKS,
    PRUNED,
    Net,
    X,
    layers,
    mask_of,
    parameter,
    pruned_parameter,
    quantised,
    two_of_four,
    with_weights,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize


def live() -> nn.Module:
    net = Net(DENSE)
    for layer, mask in zip((net.up, net.down), MASKS, strict=True):
        torch_prune.custom_from_mask(layer, "weight", mask)
    return net


def removed() -> nn.Module:
    net = live()
    for layer in (net.up, net.down):
        torch_prune.remove(layer, "weight")
    return net


class Masked(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def parametrised() -> nn.Module:
    net = Net(DENSE)
    for layer, mask in zip((net.up, net.down), MASKS, strict=True):
        parametrize.register_parametrization(layer, "weight", Masked(mask))
    return net


class StraightThrough(torch.autograd.Function):
    """Weights under a mask that they choose themselves."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        return weight * (two_of_four(weight) if mask is None else mask)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def largest(layer: Any, x: Tensor) -> Tensor:
    kept = layer.w.abs().flatten().topk(layer.count).indices
    mask = torch.zeros_like(layer.w).flatten().scatter(0, kept, 1.0).view_as(layer.w)
    return F.linear(x, layer.w * mask)


def placed(layer: Any, x: Tensor) -> Tensor:
    return F.linear(x, torch.zeros(layer.shape).index_put((layer.rows, layer.columns), layer.values))


def from_bits(layer: Any, x: Tensor) -> Tensor:
    bits = ((layer.bits[:, :, None] >> torch.arange(8)) & 1).bool().flatten(1)
    return F.linear(x, torch.zeros(layer.shape).masked_scatter(bits, layer.values))


def of_rows(layer: Any, x: Tensor) -> Tensor:
    whole = torch.sparse_csr_tensor(layer.crow, layer.column, layer.values, layer.shape)
    return F.linear(x, whole.to_dense())


def bits_of(dense: Tensor, mask: Tensor, pruned: Tensor) -> Tensor:
    return (mask.view(mask.shape[0], -1, 8).long() << torch.arange(8)).sum(-1).to(torch.uint8)


def semi_structured() -> nn.Module:
    from torch.sparse import SparseSemiStructuredTensorCUTLASS
    from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

    net = Net().half()
    weight = net.up.weight.detach()
    held = sparse_semi_structured_from_dense_cutlass(weight)
    packed = SparseSemiStructuredTensorCUTLASS(weight.shape, *held, None, None, None)
    net.up.weight = nn.Parameter(packed, requires_grad=False)
    return net


def transposed() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    first, second = Conv1D(64, 64), Conv1D(32, 64)
    with torch.no_grad():
        first.weight.copy_(PRUNED[0].t())
        second.weight.copy_(PRUNED[1].t())
    return nn.Sequential(first, nn.ReLU(), second)


def through(change: Callable[[nn.Module], Any]) -> nn.Module:
    """The network with each of its layers changed in place."""
    net = Net()
    for layer in (net.up, net.down):
        change(layer)
    return net


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net(DENSE)
        self.register_buffer("first", MASKS[0])
        self.register_buffer("second", MASKS[1])

    def forward(self, x: Tensor) -> Tensor:
        masked = {"up.weight": self.net.up.weight * self.first, "down.weight": self.net.down.weight * self.second}
        return torch.func.functional_call(self.net, masked, (x,))


class WrittenInForward(Functional):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.net.up.weight.mul_(self.first)
            self.net.down.weight.mul_(self.second)
        return self.net(x)


class Unregistered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = PRUNED[0].clone(), PRUNED[1].clone()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.relu(F.linear(x, self.first)), self.second)


def hooked() -> nn.Module:
    net = Net(DENSE)

    def write(layer: nn.Module, inputs: Any) -> None:
        layer.weight.data.mul_(MASKS[0])  # type: ignore[union-attr]

    net.up.register_forward_pre_hook(write)
    return net


def scripted_part() -> nn.Module:
    net = Net()
    net.up = torch.jit.script(net.up)
    return net


def compiled_part() -> nn.Module:
    net = Net()
    net.up = torch.compile(net.up)  # type: ignore[assignment]
    return net


def halves(layer: Any, x: Tensor) -> Tensor:
    both = torch.stack([(layer.q & 0xF).to(x.dtype) - 8, (layer.q >> 4).to(x.dtype) - 8], -1)
    return F.linear(x, both.flatten(1) * layer.scale)


def packed_halves(dense: Tensor, mask: Tensor, pruned: Tensor) -> Tensor:
    whole = (quantised(7)(dense, mask, pruned) + 8).to(torch.uint8)
    return whole[:, 0::2] | (whole[:, 1::2] << 4)


def scale_of(dense: Tensor, mask: Tensor, pruned: Tensor) -> Tensor:
    return torch.full((pruned.shape[0], 1), 0.05)


def beside(layer: Any, x: Tensor) -> Tensor:
    return F.linear(x, layer.w) + F.linear(F.linear(x, layer.a), layer.b)


def whole_product(layer: Any, x: Tensor) -> Tensor:
    step = x.abs().amax() / 127
    return torch._int_mm((x / step).round().to(torch.int8), layer.q.t()).to(x.dtype) * step


def low_rank(rows: Callable[[Tensor], int], columns: Callable[[Tensor], int]) -> Callable[..., nn.Parameter]:
    return lambda dense, mask, pruned: nn.Parameter(torch.ones(rows(pruned), columns(pruned)))


LIKE_PLAIN: dict[str, Callable[[], Any]] = {
    "live masks of torch": live,
    "masks of torch, removed": removed,
    "parametrization": parametrised,
    "mask as a buffer": lambda: layers(lambda s, x: F.linear(x, s.w * s.m), w=parameter, m=mask_of),
    "mask of truth values": lambda: layers(
        lambda s, x: F.linear(x, s.w * s.m), w=parameter, m=lambda *each: mask_of(*each).bool()
    ),
    "threshold as a parameter": lambda: layers(
        lambda s, x: F.linear(x, s.w * (s.w.abs() > s.t)),
        w=lambda d, m, p: nn.Parameter(p + 1e-4 * (1 - m)), t=lambda *_: nn.Parameter(torch.tensor(1e-3)),
    ),
    "straight-through N:M": lambda: layers(
        lambda s, x: F.linear(x, StraightThrough.apply(s.w, s.m)), w=parameter,
        m=lambda d, m, p: None if d.shape[0] == 64 else m,
    ),
    "straight-through by detach": lambda: layers(
        lambda s, x: F.linear(x, s.w + (s.w * s.m - s.w).detach()), w=parameter, m=mask_of
    ),
    "the largest, scattered": lambda: layers(
        largest, w=lambda d, m, p: nn.Parameter(p + 9 * p.sign() + 0.01 * d * (1 - m)),
        count=lambda d, m, p: int(m.sum()),
    ),
    "where": lambda: layers(lambda s, x: F.linear(x, torch.where(s.m > 0, s.w, 0.0)), w=parameter, m=mask_of),
    "masked_fill": lambda: layers(lambda s, x: F.linear(x, s.w.masked_fill(s.m == 0, 0.0)), w=parameter, m=mask_of),
    "hard concrete gates": lambda: layers(
        lambda s, x: F.linear(x, s.w * (s.g.sigmoid() * 1.2 - 0.1).clamp(0, 1)), w=parameter,
        g=lambda d, m, p: nn.Parameter(torch.where(m > 0, 3.0, -5.0)),
    ),
    "soft threshold": lambda: layers(
        lambda s, x: F.linear(x, s.w.sign() * torch.relu(s.w.abs() - s.t)),
        w=lambda d, m, p: nn.Parameter(p + p.sign() * 0.5 + 0.1 * (1 - m)),
        t=lambda *_: nn.Parameter(torch.tensor(0.5)),
    ),
    "places and values": lambda: layers(
        placed, values=lambda d, m, p: nn.Parameter(p[m > 0]), rows=lambda d, m, p: m.nonzero()[:, 0].clone(),
        columns=lambda d, m, p: m.nonzero()[:, 1].clone(), shape=lambda d, m, p: p.shape,
    ),
    "bitmask and values": lambda: layers(
        from_bits, values=lambda d, m, p: p[m > 0], bits=bits_of, shape=lambda d, m, p: p.shape
    ),
    "compressed rows in buffers": lambda: layers(
        of_rows, crow=lambda d, m, p: p.to_sparse_csr().crow_indices(), shape=lambda d, m, p: p.shape,
        column=lambda d, m, p: p.to_sparse_csr().col_indices(), values=lambda d, m, p: p.to_sparse_csr().values(),
    ),
    "CSR weights": lambda: with_weights(lambda w: w.to_sparse_csr()),
    "CSC weights": lambda: with_weights(lambda w: w.to_sparse_csc()),
    "COO weights": lambda: with_weights(lambda w: w.to_sparse()),
    "BSR weights": lambda: with_weights(lambda w: w.to_sparse_bsr((4, 4))),
    "BSC weights": lambda: with_weights(lambda w: w.to_sparse_bsc((4, 4))),
    "torch.sparse.mm": lambda: layers(
        lambda s, x: torch.sparse.mm(s.w, x.t()).t(), w=lambda d, m, p: p.to_sparse_csr()
    ),
    "CSR @ x": lambda: layers(lambda s, x: (s.w @ x.t()).t(), w=lambda d, m, p: p.to_sparse_csr()),
    "blocks in one parameter": lambda: layers(
        lambda s, x: F.linear(x, s.v.view(-1, 16, 4, 4).permute(0, 2, 1, 3).reshape(-1, 64)),
        v=lambda d, m, p: nn.Parameter(p.view(-1, 4, 16, 4).permute(0, 2, 1, 3).reshape(-1, 4, 4)),
    ),
    "semi-structured": semi_structured,
    "masked tensor": lambda: with_weights(
        lambda w: torch.masked.masked_tensor(w + 1.0 * (w == 0), w != 0)
    ),
    "fp16": lambda: Net().half(), "bf16": lambda: Net().bfloat16(), "fp64": lambda: Net().double(),
    "transposed (Conv1D)": transposed,
    "einsum": lambda: layers(lambda s, x: torch.einsum("bc,kc->bk", x, s.w), w=pruned_parameter),
    "bmm": lambda: layers(lambda s, x: torch.bmm(x[None], s.w.t()[None])[0], w=pruned_parameter),
    "addmm": lambda: layers(
        lambda s, x: torch.addmm(s.b, x, s.w.t()), w=pruned_parameter, b=lambda d, m, p: torch.zeros(p.shape[0])
    ),
    "compiled": lambda: torch.compile(Net()), "compiled in part": compiled_part,
    "scripted": lambda: torch.jit.script(Net()), "traced": lambda: torch.jit.trace(Net(), X),
    "scripted and frozen": lambda: torch.jit.freeze(torch.jit.script(Net())),
    "FX graph": lambda: torch.fx.symbolic_trace(Net()),
    "exported program": lambda: torch.export.export(Net(), (X,)),
    "unlifted program": lambda: torch.export.export(Net(), (X,)).module(),
    "DataParallel": lambda: nn.DataParallel(Net()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(Net()),
    "weight norm": lambda: through(parametrizations.weight_norm),
    "weight norm of old": lambda: through(torch.nn.utils.weight_norm),
    "spectral norm": lambda: through(parametrizations.spectral_norm),
    "spectral norm of old": lambda: through(torch.nn.utils.spectral_norm),
    "functional_call": Functional,
    "written in forward": WrittenInForward,
    "plain attributes": Unregistered,
    "fake-quantised": lambda: layers(
        lambda s, x: F.linear(x, torch.fake_quantize_per_tensor_affine(s.w, 1e-3, 0, -10000, 10000)), w=pruned_parameter
    ),
}  # fmt: skip
"""Forms that cost what the plain network does."""

STORED: dict[str, tuple[str, Callable[[], Any]]] = {
    "int8 and scales": ("int8", lambda: layers(lambda s, x: F.linear(x, s.q.to(x.dtype) * s.scale), q=quantised(100),
                                               scale=scale_of)),
    "int4, two in a byte": ("int4", lambda: layers(halves, q=packed_halves, scale=scale_of)),
    "fp8 and scales": ("fp8", lambda: layers(lambda s, x: F.linear(x, s.q.to(x.dtype) * s.scale), scale=scale_of,
                                             q=lambda d, m, p: p.to(torch.float8_e4m3fn))),
}  # fmt: skip
"""Forms whose weights are narrower, with the type."""

BESIDE: dict[str, Callable[[], Any]] = {
    "LoRA beside": lambda: layers(
        beside, w=pruned_parameter, a=low_rank(lambda p: 2, lambda p: 64), b=low_rank(lambda p: p.shape[0], lambda p: 2)
    ),
    "LoRA under the mask": lambda: layers(
        lambda s, x: F.linear(x, (s.w + s.b @ s.a) * s.m), w=parameter, m=mask_of,
        a=low_rank(lambda p: 2, lambda p: 64), b=low_rank(lambda p: p.shape[0], lambda p: 2),
    ),
    "_int_mm": lambda: layers(whole_product, q=quantised(100)),
}  # fmt: skip
"""Forms that compute more beside the pruned layers."""

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "dynamically quantised": (lambda: torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear}),
                              r"layer 'up' is a .*quantized.dynamic.*Linear.*capture the network before"),
    "quantised tensors": (lambda: layers(lambda s, x: F.linear(x, s.w.dequantize()),
                                         w=lambda d, m, p: torch.quantize_per_tensor(p, 0.001, 0, torch.qint32)),
                          r"tensor '0.w' is quantised for a CPU kernel; keep it as plain tensors"),
    "a scripted layer": (scripted_part, r"layer 'up' is a TorchScript module \(Linear\).*put the module"),
    "a hook that writes .data": (hooked, r"sets the `.data` of a tensor.*multiply the weight with its mask in forward"),
    "vmap over a weight": (lambda: layers(lambda s, x: torch.vmap(lambda row: s.w @ row)(x), w=pruned_parameter),
                           r"maps over weights with vmap.*multiply the weight with its mask in forward"),
}  # fmt: skip
"""Forms that cannot be read, with what is said."""
