"""Recipes: how a PyTorch model is pruned, spelled as a short text such as `nm:2:4` or `magnitude:0.1:erk`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.pruning import NOTHING_PRUNED, Pruning
from zerocast.workloads.recipes.grammar import Recipe, chain, parse, recipes

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Recipe", "chain", "parse", "prune", "recipes"]


def prune(
    model: nn.Module,
    recipe: str,
    example_inputs: Any = None,
    *,
    dense: Sequence[str] = (),
    first_and_last_dense: bool | None = None,
    before: Pruning = NOTHING_PRUNED,
) -> tuple[nn.Module, Pruning]:
    """Prune `model` by `recipe` (see `recipes()`), or by several joined with `+`.

    Returns the pruned model, and what each pass sees.

    The model given is never changed. `nm`, `magnitude`, `block`, `channel` and `static` return a copy, pruned for good;
    the training recipes `bdwp`, `srste` and `sdgp` return the model itself, whose master weights stay dense, and so do
    those whose masks move (`rigl`, `set`, `granet`, `gmp`). Transforms return a changed copy, which shares what stays.
    A model on the meta device is returned as it is, with statistical patterns in place of masks.

    example_inputs: a tensor, or arguments of forward by position or by name; only `channel` needs them.
    dense: names, parents or globs of layers or weights to leave alone (`"layer1"`, `"*.downsample.*"`).
    first_and_last_dense: leave the layer that reads the network's input, and the classifier, dense; None for what the
    recipe's authors do: sparse training prunes both by ERK, and spares the first layer where densities are uniform
    and depthwise convolutions always (Evci et al., ICML 2020, section 4).
    before: what an earlier call decided of this model, which holds beside the new recipe.

    Raises `WorkloadError` for a recipe that cannot be read, a `dense` that matches nothing, weights that are
    not finite, and a model of which nothing would be pruned.
    """
    if not isinstance(recipe, str):
        raise WorkloadError(f"recipe {recipe!r} is no text; write it like 'nm:2:4', or 'dense' for none")
    from torch import nn

    from zerocast.workloads.recipes.apply import apply

    if not isinstance(model, nn.Module):
        raise WorkloadError(f"prune takes a torch.nn.Module, not {model!r}; `build` makes one from a zoo name")
    return apply(model, chain(recipe), example_inputs, tuple(dense), first_and_last_dense, before)
