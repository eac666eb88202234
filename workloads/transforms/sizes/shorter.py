"""Networks with fewer layers, and nested ones: the first of the channels, or the first of the layers."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.pruning import Change
from zerocast.workloads.transforms.surgery import Changed, macs_of, twin


def erase(model: nn.Module, layers: Sequence[str]) -> Changed:
    """Layers of a list, by path or glob, are taken out: what goes in goes on to the next one.

    Raises `WorkloadError` for a name that matches none, and for a layer that is no member of a list.
    """
    module = twin(model)
    paths = {path: each for path, each in module.named_modules() if path}
    gone: list[str] = []
    for glob in layers:
        matched = [path for path in paths if fnmatchcase(path, glob)]
        if not matched:
            raise WorkloadError(f"no layer {glob!r} to erase; {closest(glob, _members(module))}")
        gone += [path for path in matched if not any(path.startswith(f"{other}.") for other in gone)]
    account = []
    for path in dict.fromkeys(gone):
        own = paths[path]
        account.append(Change(path, "erased", sum(p.numel() for p in own.parameters()), 0, macs_of(own), 0))
        above, _, name = path.rpartition(".")
        owner = module.get_submodule(above)
        if isinstance(owner, nn.Sequential):
            owner._modules[name] = nn.Identity()
        elif isinstance(owner, nn.ModuleList):
            del owner._modules[name]
        else:
            raise WorkloadError(f"{path!r} is no member of a list of layers; erase one of {_some(_members(module))}")
    for each in module.modules():
        if isinstance(each, nn.ModuleList):
            _renumber(each)
    return Changed(module, tuple(account), {})


def last_layers(model: nn.Module, share: float) -> list[str]:
    """Paths of the layers behind the first `share` of every list whose last ones are equal in kind and widths."""
    gone = []
    for path, owner in model.named_modules():
        if isinstance(owner, (nn.ModuleList, nn.Sequential)):
            members = list(owner.named_children())
            alike = len(members)
            while alike > 1 and _form(members[alike - 2][1]) == _form(members[-1][1]) != ():
                alike -= 1
            most = len(members) - max(int(share * len(members) + 0.5), 1)
            gone += [f"{path}.{name}" for name, _ in members[max(alike, len(members) - most) :]]
    return gone


def _form(module: nn.Module) -> tuple[object, ...]:
    shapes = [(name, tuple(parameter.shape)) for name, parameter in module.named_parameters()]
    return (type(module), *shapes) if shapes else ()


def _members(module: nn.Module) -> list[str]:
    return [f"{path}.{name}" for path, owner in module.named_modules() if path
            and isinstance(owner, (nn.ModuleList, nn.Sequential)) for name, _ in owner.named_children()]  # fmt: skip


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "") if names else "a network that has one"


def _renumber(layers: nn.ModuleList) -> None:
    """Names without gaps, and the numbers by which layers find what a cache keeps for them."""
    members = list(layers._modules.values())
    layers._modules.clear()
    for at, member in enumerate(members):
        layers._modules[str(at)] = member
        for part in member.modules() if member is not None else ():
            if type(getattr(part, "layer_idx", None)) is int:
                part.layer_idx = at  # type: ignore[assignment]
