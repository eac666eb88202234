"""Which weights of a model a recipe may prune, under which ranks, and which stay dense for which reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.lowering.exporting.masks import held_in, is_finite

HEADS = ("fc", "classifier", "head", "heads", "lm_head", "score", "logits", "qa_outputs")
"""Names that classifiers go by, as whole parts of a module path."""

IMAGE_CHANNELS = 4
"""A convolution behind an embedding is a first layer only where it reads at most this many channels."""


STAYS = "zerocast_stays"
"""Attribute of a layer that no recipe prunes: the reason."""


@dataclass(frozen=True, slots=True)
class Target:
    """A prunable weight. `ranks` and `shape` see it as the forward einsum does: k output and c reduction
    channels, r, s, t kernel position, and g groups split off the dimension that holds them."""

    name: str
    layer: str
    module: nn.Module
    parameter: nn.Parameter
    ranks: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def values(self) -> Tensor:
        """The weight, viewed in `shape`, outside autograd."""
        return self.parameter.detach().reshape(self.shape)

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.parameter.numel()

    def extent(self, rank: str) -> int:
        """Size of a rank (per group in a grouped convolution)."""
        return self.shape[self.ranks.index(rank)]


def targets(model: nn.Module) -> list[Target]:
    """Prunable weights in the order in which the model registers its layers.

    A shared weight comes once, under its first name. Raises `WorkloadError` where a weight is computed from
    others (torch's pruning masks and parametrisations).
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[int, Target] = {}
    for layer, module in model.named_modules():
        for attribute, ranks, shape in _weights(module):
            parameter = module._parameters.get(attribute)
            if parameter is None:
                raise WorkloadError(
                    f"weight {attribute!r} of layer {layer!r} is masked or reparametrised; make it plain "
                    "(torch.nn.utils.prune.remove, torch.nn.utils.parametrize.remove_parametrizations)"
                )
            name = names[id(parameter)]
            found.setdefault(id(parameter), Target(name, layer, module, parameter, ranks, shape))
    return list(found.values())


def _weights(module: nn.Module) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """(attribute, ranks, viewed shape) of the weight matrices and kernels of one module."""
    if isinstance(module, _ConvNd):
        transposed = isinstance(module, _ConvTransposeNd)
        outer, inner = ("c", "k") if transposed else ("k", "c")
        dims = tuple(module.weight.shape)
        ranks = (outer, inner, *"rst"[: len(dims) - 2])
        if module.groups > 1:
            ranks, dims = ("g", *ranks), (module.groups, dims[0] // module.groups, *dims[1:])
        yield "weight", ranks, dims
    elif isinstance(module, nn.Linear):
        yield "weight", ("k", "c"), tuple(module.weight.shape)
    elif type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # transformers' linear with W[c, k]
        yield "weight", ("c", "k"), tuple(cast(Tensor, module.weight).shape)
    elif isinstance(getattr(module, "is_transposed", None), bool) and hasattr(module, "num_experts"):
        for attribute, parameter in module._parameters.items():  # transformers' experts, W[g, k, c] or W[g, c, k]
            if parameter is not None and parameter.dim() == 3:
                yield attribute, ("g", "c", "k") if module.is_transposed else ("g", "k", "c"), tuple(parameter.shape)
    elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
        yield "in_proj_weight", ("k", "c"), tuple(module.in_proj_weight.shape)
    elif isinstance(module, nn.RNNBase):
        for attribute, parameter in module._parameters.items():
            if parameter is not None and attribute.startswith(("weight_ih", "weight_hh")):
                yield attribute.removesuffix("_orig"), ("k", "c"), tuple(parameter.shape)


def kept_dense(
    model: nn.Module, found: Sequence[Target], dense: Sequence[str], first: bool, last: bool
) -> dict[str, str]:
    """Weights that no recipe prunes -> the reason.

    dense: names, parents or globs of layers or weights that the caller keeps dense. first, last: whether the layer that
    reads the input, and the classifier, are among them.
    Raises `WorkloadError` where one of them matches nothing.
    """
    reasons: dict[str, str] = {}
    for pattern in dense:
        matched = [target.name for target in found if _matches(target, pattern)]
        if not matched:
            raise WorkloadError(
                f"dense={pattern!r} matches no prunable layer; {closest(pattern, [t.layer for t in found])}"
            )
        reasons.update(dict.fromkeys(matched, f"asked for by dense={pattern!r}"))
    embeddings = {id(m.weight): path for path, m in model.named_modules() if isinstance(m, nn.Embedding)}
    head = classifier(found) if last else None
    for target in found:
        if reason := getattr(target.module, STAYS, ""):
            reasons.setdefault(target.name, reason)
        if target is head:
            reasons.setdefault(target.name, "classifier")
        if id(target.parameter) in embeddings:
            reasons.setdefault(target.name, f"shared with the embedding {embeddings[id(target.parameter)]!r}")
    if first:
        reasons = {**{target.name: "first layer" for target in _first(model, found)}, **reasons}
    return reasons


def _matches(target: Target, pattern: str) -> bool:
    names = (target.name, target.layer)
    return any(fnmatchcase(name, pattern) or name.startswith(f"{pattern}.") for name in names)


def _first(model: nn.Module, found: Sequence[Target]) -> list[Target]:
    """The layer that reads the network's input. Behind an embedding only an image's convolution does."""
    layers = {target.layer for target in found}
    for path, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            convolutions = [t for t in found if isinstance(t.module, _ConvNd) and t.module.groups == 1]
            return [t for t in convolutions if t.extent("c") <= IMAGE_CHANNELS][:1]
        if path in layers:
            inputs = [target for target in found if target.layer == path]
            return [t for t in inputs if "_hh_" not in t.name and not re.search(r"_ih_l[1-9]", t.name)]
    return []


def classifier(found: Sequence[Target]) -> Target | None:
    """The last linear layer, where it has a classifier's name or is the model's last layer at all.

    One of a repeated block's is none: the last projection of a headless transformer is like its sisters.
    """
    linear = [target for target in found if isinstance(target.module, nn.Linear)]
    if not linear:
        return None
    last = linear[-1]
    named = any(part in HEADS for part in last.layer.split("."))
    inner = re.compile(r"\.\d+\.(?=\D)")
    sisters = Counter(inner.sub(".#.", f".{target.layer}") for target in linear)
    repeated = inner.search(f".{last.layer}") and sisters[inner.sub(".#.", f".{last.layer}")] > 1
    return last if (named or last is found[-1]) and not repeated else None


def is_depthwise(target: Target) -> bool:
    """Whether a weight is that of a convolution of one input channel for each group."""
    return isinstance(target.module, _ConvNd) and "g" in target.ranks and target.extent("c") == 1


def check_finite(found: Sequence[Target]) -> None:
    """Raise `WorkloadError` naming the first weight that is not finite: magnitudes could not be ranked."""
    for target in found:
        if held_in(target.parameter)[0] is not target.parameter or not target.parameter.dtype.is_floating_point:
            raise WorkloadError(f"weight {target.name!r} is kept quantised; prune the model before it is quantised")
        if not is_finite(target.parameter):
            raise WorkloadError(f"weight {target.name!r} has NaN or infinite values; reload the checkpoint")


def is_meta(model: nn.Module) -> bool:
    """True where some weight has a shape but no data."""
    return any(parameter.is_meta for parameter in model.parameters())
