"""What a recipe decided: for each weight, the pattern under which each pass sees it.

The contract between `workloads.recipes` (which makes it from a PyTorch model) and `workloads.capture`
(which writes it onto the einsums). Nothing of PyTorch in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Einsum, Op, Phase, Workload
from zerocast.workloads.patterns import Pattern

_INSTEAD = {
    ("output_gradient", "FF"): "; the forward pass sees W under `weight`",
}
"""What was meant by a pass that does not read the operand."""


@dataclass(frozen=True)
class LayerPruning:
    """The patterns of one layer, in terms of its forward ranks: `c` reduction channels, `k` output channels,
    `r`, `s` kernel position (see `workloads.lowering`).

    weight: pattern of W in each pass that reads it, FF and BP (a pass that is missing sees W dense), and under WU the
    mask of dW: the entries of the weight gradient that the pass is asked for.
    output_gradient: pattern of dY in each pass that reads it, BP and WU (SDGP: BP only).
    generated_online: passes whose N:M operand must be generated while training, by a top-N selection
    in groups of M (the weights change at every step, and so do the gradients): FF and BP.

    Raises `WorkloadError` for a pass that does not read the operand, which would be ignored otherwise.
    """

    weight: Mapping[Phase, Pattern] = field(default_factory=dict)
    output_gradient: Mapping[Phase, Pattern] = field(default_factory=dict)
    generated_online: frozenset[Phase] = frozenset()

    def __post_init__(self) -> None:
        for what, passes, readers in (
            ("weight", self.weight, ("FF", "BP", "WU")),
            ("output_gradient", self.output_gradient, ("BP", "WU")),
            ("generated_online", self.generated_online, ("FF", "BP")),
        ):
            if unread := sorted(set(passes) - set(readers)):
                raise WorkloadError(
                    f"LayerPruning.{what}: pass {unread[0]} has no such operand; give {' or '.join(readers)}"
                    + _INSTEAD.get((what, unread[0]), "")
                )


@dataclass(frozen=True, slots=True)
class Refresh:
    """How masks move while training: every `every` steps the share `drop` of the weights is dropped, those of least
    magnitude of each layer or of the network, and as many grow again, where gradients are largest or at random.

    Growing by gradients needs the dense gradient of a step, which then changes masks in place of weights.
    """

    scope: Literal["layer", "network"]
    grow: Literal["gradient", "random", "nothing"]
    every: int = 100
    drop: float = 0.0


class Change(NamedTuple):
    """What a recipe made of a layer. what: in words; parameters, and multiply-accumulates for each row of its input (or
    place of its image), before and after."""

    layer: str
    what: str
    parameters: int
    parameters_after: int
    macs: int
    macs_after: int


@dataclass(frozen=True)
class Pruning:
    """A recipe applied to a model. Keys of both maps are weight parameter names (`layer1.0.conv1.weight`).

    kept_dense: weights left dense, with the reason in words. changes_module: the layers or their shapes are others than
    the network's own. refresh: how the masks move; None where they stay. account: of the layers that were changed.
    stored: types in which weights are kept, where these are narrower than what they are multiplied with. smaller:
    weights that are pruned by being smaller, without zeros.
    """

    recipe: str
    layers: Mapping[str, LayerPruning] = field(default_factory=dict)
    kept_dense: Mapping[str, str] = field(default_factory=dict)
    changes_module: bool = False
    refresh: Refresh | None = None
    account: tuple[Change, ...] = ()
    stored: Mapping[str, str] = field(default_factory=dict)
    smaller: frozenset[str] = frozenset()

    @property
    def pruned(self) -> frozenset[str]:
        """Weights with zeros, and those that became smaller."""
        return self.smaller | set(self.layers)

    def then(self, other: Pruning) -> Pruning:
        """What this decided, and then another of what it left, whose patterns hold the zeros of both where both prune a
        weight. Raises `WorkloadError` where both have masks that move."""
        if self.recipe == NOTHING_PRUNED.recipe:
            return other
        if self.refresh is not None and other.refresh is not None:
            raise WorkloadError(f"recipes {self.recipe!r} and {other.recipe!r} both move their masks; keep one of them")
        both = Pruning(
            f"{self.recipe}+{other.recipe}", {**self.layers, **other.layers}, {**self.kept_dense, **other.kept_dense},
            self.changes_module or other.changes_module, self.refresh or other.refresh, self.account + other.account,
            {**self.stored, **other.stored}, self.smaller | other.smaller,
        )  # fmt: skip
        kept = {name: why for name, why in both.kept_dense.items() if name not in both.pruned}
        return replace(both, kept_dense=kept)


NOTHING_PRUNED = Pruning("dense")


def apply_pruning(forward: Workload, pruning: Pruning) -> Workload:
    """A forward workload whose einsums see their weights under the recipe's forward patterns.

    `layers` then tells for each weight why it is dense, "" where it is pruned. Raises `WorkloadError` for a
    weight that the workload does not have.
    """
    weights = {tensor.weight for tensor in forward.tensors.values()}
    for name in pruning.layers:
        if name not in weights:
            raise WorkloadError(
                f"recipe {pruning.recipe!r} names the weight {name!r}, which the model does not have; "
                "apply the recipe to the same model"
            )
    ops: list[Op] = []
    for op in forward.ops:
        recipe = pruning.layers.get(forward.tensors[op.inputs[1]].weight) if isinstance(op, Einsum) else None
        if isinstance(op, Einsum) and recipe is not None and "FF" in recipe.weight:
            op = replace(op, patterns={**op.patterns, 1: recipe.weight["FF"]})
        ops.append(op)
    layers = {
        name: "" if name in pruning.pruned else pruning.kept_dense.get(name, reason)
        for name, reason in forward.layers.items()
    }
    meta = {**forward.meta, "recipe": pruning.recipe, "module_changed": pruning.changes_module}
    if pruning.account:
        meta["account"] = tuple(map(tuple, pruning.account))
    found = {name: words for name, words in forward.found.items() if name not in pruning.pruned}
    return replace(forward, ops=tuple(ops), layers=layers, meta=meta, found=found)
