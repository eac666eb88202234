"""How a density is shared among the layers: evenly, by their sizes, or as a file says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.files.rows import read_rows
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.plan import Plan
from zerocast.workloads.recipes.targets import Target


def densities_of(found: Sequence[Target], recipe: Recipe, plan: Plan) -> dict[str, float]:
    """Density of each weight, by its name. Those that a file does not name are left out, and why is put into `plan`.

    Raises `WorkloadError` for a file that cannot be read, or names a layer that is not among `found`.
    """
    if recipe.file:
        given = _from_file(found, recipe)
        plan.kept_dense.update({t.name: f"not in {recipe.file}" for t in found if t.name not in given})
        return given
    shapes = {target.name: tuple(target.parameter.shape) for target in found}
    even = dict.fromkeys(shapes, recipe.density)
    return erk_densities(shapes, recipe.density) if recipe.distribution == "erk" else even


def _from_file(found: Sequence[Target], recipe: Recipe) -> dict[str, float]:
    """Densities of a CSV with the columns layer (a module's path, or the weight's own name) and density."""
    path, given = Path(recipe.file), {}
    names = {name: target.name for target in found for name in (target.layer, target.name)}
    try:
        rows = read_rows(path, ("layer", "density"))
    except WorkloadError as error:
        raise WorkloadError(f"recipe {recipe.text!r}: {error}") from None
    for row in rows:
        layer, text = row["layer"], row["density"]
        if layer not in names:
            raise WorkloadError(
                f"recipe {recipe.text!r}: {path} names the layer {layer!r}, which is none of the prunable ones of this "
                f"model; {closest(layer, [target.layer for target in found])}"
            )
        if names[layer] in given:
            raise WorkloadError(f"recipe {recipe.text!r}: {path} names the layer {layer!r} twice")
        try:
            given[names[layer]] = float(text)
        except ValueError:
            given[names[layer]] = math.nan
        if not 0.0 <= given[names[layer]] <= 1.0:
            raise WorkloadError(f"recipe {recipe.text!r}: {path}: density {text} of {layer!r} is no number in [0, 1]")
    return given


def erk_densities(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """Erdos-Renyi-kernel densities (Evci et al., RigL, ICML 2020, section 3): each layer's density is
    proportional to sum(shape) / prod(shape), scaled so that all weights together have `density`; layers that
    this would fill beyond 1 are dense, and the others share what is left.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        rest = [name for name in shapes if name not in full]
        budget = density * sum(sizes.values()) - sum(sizes[name] for name in full)
        scale = budget / sum(raw[name] * sizes[name] for name in rest) if rest else 0.0
        over = {name for name in rest if scale * raw[name] > 1.0}
        if not over:
            return {name: 1.0 if name in full else scale * raw[name] for name in shapes}
        full |= over
