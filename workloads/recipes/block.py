"""Block pruning: rectangles of output by input channels that are zero or nonzero together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad

from zerocast.workloads.patterns import Block
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.plan import Plan, fixed, keep_largest, mask_pattern
from zerocast.workloads.recipes.targets import Target


def block(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """round(density * blocks) blocks of each layer stay; each kernel position (and group) has its own."""
    plan = Plan()
    height, width = recipe.block
    for target in found:
        if target.extent("k") < height or target.extent("c") < width:
            channels = f"{target.extent('k')} x {target.extent('c')} channels"
            plan.kept_dense[target.name] = f"{channels} are smaller than a {height} x {width} block"
        elif real:
            keep = block_mask(target, recipe.block, recipe.density)
            plan.masks[target.name] = keep
            plan.layers[target.name] = fixed(mask_pattern(target, keep))
        else:
            plan.layers[target.name] = fixed(Block((("k", height), ("c", width)), recipe.density))
    return plan


def block_mask(target: Target, shape: tuple[int, int], density: float) -> Tensor:
    """Booleans in the target's viewed shape. Blocks are ranked by their root mean square, so that one cut at
    the edge competes on equal terms."""
    height, width = shape
    axes = (target.ranks.index("k"), target.ranks.index("c"))
    squares = target.values.float().square().movedim(axes, (-2, -1))
    rows, columns = squares.shape[-2:]
    ones = squares.new_ones(rows, columns)
    extra = (0, -columns % width, 0, -rows % height)
    sums, areas = (_fold(pad(tensor, extra), height, width) for tensor in (squares, ones))
    keep = keep_largest(sums / areas, round(density * sums.numel()))
    keep = keep.repeat_interleave(height, -2).repeat_interleave(width, -1)[..., :rows, :columns]
    return keep.movedim((-2, -1), axes)


def _fold(values: Tensor, height: int, width: int) -> Tensor:
    """Sums of the blocks of the last two dimensions."""
    return values.unflatten(-1, (-1, width)).unflatten(-3, (-1, height)).sum(dim=(-3, -1))
