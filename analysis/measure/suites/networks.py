"""Suites `network` (inference, dense and with 2:4 linear layers) and `training` (one step), on networks of the zoo."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.protocol import Session, Unit
from zerocast.analysis.measure.suites.products import SPARSE_ROWS, compress
from zerocast.analysis.measure.suites.shapes import Variant, refusal
from zerocast.analysis.measure.suites.sparsity import prune_2to4

INFERENCE = (
    "vit_b16@32", "resnet50@32", "vit_b16@1", "resnet18@32", "vit_b16@128", "mobilenet_v2@32", "vgg19@128",
    "resnet50@1", "vit_cifar@128", "resnet9@128", "resnet18_tiny@64", "lstm@32",
)  # fmt: skip
TRAINING = ("vit_b16@32", "resnet50@32", "resnet18@64", "vit_cifar@128", "resnet9@128")
ON_CPU = ("resnet9@1", "vit_cifar@1")
DTYPE = torch.bfloat16
SPARSE = Variant("bf16", True)
TOLERANCE = 0.05
"""Relative error of a bfloat16 network against itself in float32. Assumed: rounding adds up to 0.2 to 1.2 % over the
networks of the zoo, while a wrong layer is off by about 1."""
TOP_KERNELS = 40
"""Kernels listed in a row, those that take longest."""


class SparseLinear(nn.Module):
    """A linear layer whose weights are 2:4, computed by cuSPARSELt. packed: the compressed weights of N features."""

    def __init__(self, packed: Tensor, bias: Tensor | None, features: int) -> None:
        super().__init__()
        self.packed, self.bias, self.features = packed, bias, features

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        missing = -flat.shape[0] % SPARSE_ROWS["bf16"]
        padded = functional.pad(flat, (0, 0, 0, missing)) if missing else flat  # padding by nothing would copy
        out = torch._cslt_sparse_mm(self.packed, padded.t(), bias=self.bias, transpose_result=True)
        return out[: flat.shape[0]].reshape(*x.shape[:-1], self.features)


def measure_networks(session: Session) -> None:
    """Inference of each network, dense and 2:4, alternating which comes first."""
    names = session.options.models or (INFERENCE if session.target.cuda else ON_CPU)
    session.planned = 2 * len(names)
    session.work("network", _units(session, "network", names))


def measure_training(session: Session) -> None:
    """A training step of each network, dense."""
    names = session.options.models or (TRAINING if session.target.cuda else ON_CPU)
    session.planned = len(names)
    session.work("training", _units(session, "training", names))


def _units(session: Session, suite: str, names: tuple[str, ...]) -> Iterator[Unit]:
    for place, name in enumerate(names):
        model, _, batch = name.partition("@")
        if batch and not batch.isdecimal():
            raise AnalysisError(f"--models {name!r}: write NAME or NAME@BATCH, such as vit_b16@32")
        orders = (False, True) if place % 2 == 0 else (True, False)
        for sparse in (False,) if suite == "training" else orders:
            yield _unit(session, suite, model, int(batch or 1), sparse)


def _unit(session: Session, suite: str, model: str, batch: int, sparse: bool) -> Unit:
    variant = f"bf16_{'2to4' if sparse else 'dense'}"
    fields = {"network": model, "batch": batch, "variant": variant, "dtype": "bf16",
              "sparsity": "2:4" if sparse else "dense"}  # fmt: skip
    run = _training if suite == "training" else _inference
    return Unit(f"{suite}/{model}/{batch}/{variant}", fields, lambda: run(session, model, batch, sparse))


def _built(session: Session, model: str, batch: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network in float32 on the device, and random inputs in the form of its example's."""
    from zerocast.workloads.zoo import build

    module, example = build(model, batch)
    generator = torch.Generator().manual_seed(session.options.seed)
    device = session.target.device
    inputs = [
        torch.randn(one.shape, generator=generator)
        if one.is_floating_point()
        else torch.randint(0, 1000, one.shape, generator=generator)
        for one in example
    ]
    return module.to(device), tuple(_laid_out(one.to(device)) for one in inputs)


def _laid_out(x: Tensor) -> Tensor:
    """Images channels last, as tensor cores read them; without it a convolution transposes first."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def _lowered(module: nn.Module) -> nn.Module:
    """The module in bfloat16, convolution weights channels last."""
    module = module.to(DTYPE)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = _laid_out(parameter.data)
    for one in module.modules():
        if isinstance(one, nn.RNNBase):
            one.flatten_parameters()  # cuDNN wants one block of weights; the cast has scattered them
    return module


def _inference(session: Session, model: str, batch: int, sparse: bool) -> dict[str, Any]:
    torch.backends.cudnn.benchmark = True
    module, inputs = _built(session, model, batch)
    module.eval()
    layers = sparse_layers(module) if sparse else []
    with torch.no_grad():
        for name in layers:
            layer: Any = module.get_submodule(name)
            layer.weight.copy_(prune_2to4(layer.weight))
        expected = module(*inputs).double()
        module = _lowered(module)
        for name in layers:
            _replace(module, name)
        cast = tuple(x.to(DTYPE) if x.is_floating_point() else x for x in inputs)
        accept = _close_to(expected)
        return _columns(session, f"network {model}", lambda _at: module(*cast), accept, len(layers) if sparse else None)


def sparse_layers(module: nn.Module) -> list[str]:
    """Names of the linear layers whose size 2:4 kernels take. Raises `AnalysisError` where there is none."""
    names = [
        name
        for name, layer in module.named_modules()
        if type(layer) is nn.Linear and not refusal(SPARSE, 1, layer.out_features, layer.in_features)
    ]
    if not names:
        raise AnalysisError("the network has no linear layer that 2:4 kernels take")
    return names


def _replace(module: nn.Module, name: str) -> None:
    parent, _, own = name.rpartition(".")
    layer: Any = module.get_submodule(name)
    sparse = SparseLinear(compress(layer.weight.data), layer.bias, layer.out_features)
    setattr(module.get_submodule(parent), own, sparse)


def _training(session: Session, model: str, batch: int, sparse: bool) -> dict[str, Any]:
    """Forward, cross-entropy against random classes, backward and SGD with momentum; the step is too small to change
    the loss from one replay to the next."""
    torch.backends.cudnn.benchmark = True
    module, inputs = _built(session, model, batch)
    module.train()
    with torch.no_grad():
        shadow = copy.deepcopy(module)
        logits = shadow(*inputs)
        labels = torch.randint(0, logits.shape[-1], logits.shape[:-1], device=logits.device,
                               generator=session.target.generator(session.options.seed))  # fmt: skip
        expected = _loss(logits, labels).double()
        del shadow, logits
    module = _lowered(module)
    cast = tuple(x.to(DTYPE) if x.is_floating_point() else x for x in inputs)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-6, momentum=0.9)

    def step(_at: int) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(module(*cast), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return _columns(session, f"training {model}", step, _close_to(expected), None)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float().flatten(0, -2), labels.flatten())


def _close_to(expected: Tensor) -> Callable[[Tensor], None]:
    def accept(result: Tensor) -> None:
        error = float((result.double() - expected).norm() / expected.norm())
        if not error <= TOLERANCE:
            raise AnalysisError(f"wrong result: relative error {error:.3g} against float32, at most {TOLERANCE:g}")

    return accept


def _columns(
    session: Session, name: str, call: Callable[[int], Tensor], accept: Callable[[Tensor], None], layers: int | None
) -> dict[str, Any]:
    timing = session.timed(name, call, accept, most_calls=16)
    kernels = session.kernel_columns(call, always=True)
    if kernels:
        kernels["kernels"] = kernels["kernels"][:TOP_KERNELS]
    found = {**timing.columns(), "layout": "channels_last", **kernels}
    return found if layers is None else {**found, "sparse_layers": layers}
