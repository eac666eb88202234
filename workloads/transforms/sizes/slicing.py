"""Networks whose shortcuts run along fewer, rotated dimensions (SliceGPT)."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.lowering.exporting.export import on_meta, without_data
from zerocast.workloads.lowering.exporting.positional import positional
from zerocast.workloads.pruning import Change
from zerocast.workloads.recipes.targets import targets
from zerocast.workloads.transforms.sizes.narrower import Resizing, hidden
from zerocast.workloads.transforms.surgery import Changed, put, twin

GRAIN = 8
"""The authors' code rounds what is left of the hidden size down to a multiple of it."""


def slices(model: nn.Module, share: float, **how: Unpack[Resizing]) -> Changed:
    """A copy without a share of the dimensions that shortcuts run along, and in every shortcut of a block the product
    with a square matrix that turns them (Ashkboos et al., SliceGPT, ICLR 2024); at first it turns nothing.

    The matrix stands beside the layer that the shortcut is added to, as x (Q - 1): blocks keep their code, at the price
    of one sum more than in the authors'.
    Raises `WorkloadError` for a network without blocks of a norm and a layer whose result a shortcut is added to.
    """
    found = _shortcuts(model, how["inputs"])
    if not found:
        raise WorkloadError(f"{type(model).__name__} has no shortcuts around a norm and the layers behind it")
    width = next(iter(found.values()))[1]
    left = int((1 - share) * width) // GRAIN * GRAIN
    if left < GRAIN:
        raise WorkloadError(f"of {width} hidden dimensions {share:.0%} less leave fewer than {GRAIN}")
    narrow = left < width
    cut = hidden(model, left, **how) if narrow else Changed(twin(model), (), {})
    account = list(cut.account)
    for norm, (maker, _) in found.items():
        before, layer = (cut.module.get_submodule(path) for path in (norm, maker))
        seen: list[Tensor] = []
        turned = Turned(layer, left, seen)
        put(cut.module, norm, Seen(before, seen))
        put(cut.module, maker, turned)
        account.append(Change(maker, f"shortcut turned, {left} x {left}", 0, left * left, 0, left * left))
    return Changed(cut.module, tuple(account), cut.left)


def _shortcuts(model: nn.Module, inputs: Any) -> dict[str, tuple[str, int]]:
    """Path of each norm whose input goes around it, too -> the layer to whose result that is added, and its width: the
    last one that gives as many places before the next norm of as many runs."""
    here = on_meta(model, training=False)
    linear = {target.layer: target.extent("k") for target in targets(here) if "c" in target.ranks}
    called: list[tuple[str, int, bool, Tensor]] = []
    hooks = []
    for path, module in here.named_modules():
        weight = getattr(module, "weight", None)
        is_norm = "norm" in type(module).__name__.lower() and isinstance(weight, Tensor) and weight.dim() == 1
        if is_norm or path in linear:
            size = len(weight) if is_norm else linear[path]  # type: ignore[arg-type]
            hooks.append(module.register_forward_hook(partial(_note, called, path, size, is_norm)))
    try:
        with torch.no_grad(), _Added() as added:
            here(*without_data(positional(model, inputs)))
    finally:
        for hook in hooks:
            hook.remove()
    around = {id(each) for each in added.operands}
    norms = [size for _, size, is_norm, x in called if is_norm and id(x) in around]
    trunk = max(set(norms), key=norms.count, default=0)
    found: dict[str, tuple[str, int]] = {}
    last = ""
    done = False  # a result that is added as it is ends what a norm is for
    for path, size, is_norm, x in called:
        if is_norm and size == trunk:
            last, done = path if id(x) in around else "", False
        elif not is_norm and last and size == trunk and not done:
            found[last], done = (path, size), id(x) in around
    return found


def _note(
    called: list[tuple[str, int, bool, Tensor]], path: str, size: int, is_norm: bool, module: nn.Module,
    given: tuple[Any, ...], result: Any,
) -> None:  # fmt: skip
    """Take down that a layer ran, with the input of a norm and the result of others."""
    called.append((path, size, is_norm, given[0] if is_norm else result))


class _Added(TorchFunctionMode):
    """Keeps the tensors that are added to others."""

    def __init__(self) -> None:
        super().__init__()
        self.operands: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("add", "add_", "__add__", "__radd__", "__iadd__"):
            self.operands += [each for each in args if isinstance(each, Tensor)]
        return func(*args, **(kwargs or {}))


class Seen(nn.Module):
    """A norm that leaves its input for the shortcut around what follows it."""

    def __init__(self, norm: nn.Module, seen: list[Tensor]) -> None:
        super().__init__()
        self.norm, self.seen = norm, seen

    def forward(self, x: Tensor) -> Tensor:
        self.seen[:] = [x]
        out: Tensor = self.norm(x)
        return out


class Turned(nn.Module):
    """A layer, and what the turn of the shortcut adds to its result: x (Q - 1)."""

    def __init__(self, layer: nn.Module, width: int, seen: list[Tensor]) -> None:
        super().__init__()
        self.layer, self.seen = layer, seen
        weight: Any = layer.weight
        self.turn = nn.Parameter(torch.zeros(width, width, device=weight.device, dtype=weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) + functional.linear(self.seen.pop(), self.turn)
        return out
