"""Given mappings: a page of YAML, laid on the products of a workload, and written from the mappings chosen.

A page maps globs of ops (or of rows of a table) to what is fixed of their mapping, or to a list of it, one for each
product of an op; the first glob that matches counts.
"""

from __future__ import annotations

import difflib
import glob
import math
from collections.abc import Mapping as Dictionary
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.library import explain, read_file
from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel, Pass
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import ROLES, Gemm
from zerocast.simulator.products.mapping import Mapping

Products = Dictionary[str, tuple[Gemm, ...]]
"""Products of ops by their names."""
Page = str | Path | Dictionary[str, Any]
"""A YAML file, or what it holds."""


def given_products(products: Products, page: Page, accelerator: Accelerator) -> dict[str, tuple[Gemm, ...]]:
    """The products with what a page fixes of their mappings.

    Raises `SimulationError` for a page that cannot be read, a glob that no op is left for, a dataflow or a depth that
    the accelerator has not, and a tile larger than its rank. Whether tiles fit is seen when they are priced.
    """
    left, found = dict(products), dict(products)
    for pattern, givens in read_page(page, accelerator).items():
        names = [name for name in left if fnmatchcase(name, pattern)]
        if not names:
            raise SimulationError(f"mapping {pattern!r}: {_why_none(pattern, products)}")
        for name in names:
            parts = left.pop(name)
            if len(givens) not in (1, len(parts)):
                raise SimulationError(
                    f"mapping {pattern!r} lists {len(givens)} mappings, the products of {name} are {len(parts)}; "
                    "give one for all of them or one for each"
                )
            each = givens * len(parts) if len(givens) == 1 else givens
            each = tuple(_filled(given, part) for given, part in zip(each, parts, strict=True))
            for part, given in zip(parts, each, strict=True):
                if wrong := _mistake(given, part, accelerator):
                    raise SimulationError(f"mapping {pattern!r} for {name}: {wrong}")
            found[name] = tuple(replace(part, given=given) for part, given in zip(parts, each, strict=True))
    return found


def given_of(mapping: Mapping) -> Given:
    """A single mapping in full."""
    extents = {"m": int(mapping.m), "n": int(mapping.n), "k": int(mapping.k), **_places(mapping)}
    tile = Extents.model_construct(None, **extents)
    held = tuple(side for side in get_args(Operand) if mapping.holds(side))
    kept = held if held or mapping.keeps is not None else None
    # chosen by us: nothing is to be checked
    level = GivenLevel.model_construct(order=str(mapping.order), tile=tile, held=kept)
    return Given.model_construct(dataflow=mapping.dataflow, levels=(level,))


def _places(mapping: Mapping) -> dict[str, int]:
    """A tile's box of a convolution by rank, where it has one."""
    if (block := mapping.block) is None:
        return {}
    places = (block.samples, *block.output, *block.kernel)
    return dict(zip((*ROLES["m"], "kernel_rows", "kernel_cols"), places, strict=True))


def dump_page(products: Products) -> str:
    """What is fixed of products as a page of YAML that `given_products` takes."""
    page: dict[str, Any] = {}
    for name, parts in products.items():
        givens = [words(part.given) for part in parts if part.given is not None]
        if givens:
            page[glob.escape(name)] = givens if len(givens) > 1 else givens[0]
    return yaml.safe_dump(page, sort_keys=False, width=110, default_flow_style=None) if page else "{}\n"


def words(given: Given) -> dict[str, Any]:
    """What is fixed, as YAML has it."""
    return given.model_dump(mode="json", exclude_defaults=True, by_alias=True)


def read_page(page: Page, accelerator: Accelerator) -> dict[str, tuple[Given, ...]]:
    """What each glob of a page fixes. `SimulationError` for a page that cannot be read, and on a GPU."""
    if accelerator.gpu is not None:
        raise SimulationError(f"{accelerator.name} runs a library's kernels, which take no mapping; leave it out")
    origin = "mapping" if isinstance(page, Dictionary) else f"mapping {str(page)!r}"
    if not isinstance(page, Dictionary):
        if not Path(page).is_file():
            raise SimulationError(f"{origin}: there is no such file")
        try:
            page = read_file(Path(page))
        except AcceleratorError as error:
            raise SimulationError(str(error)) from None
    return {str(pattern): tuple(_parsed(one, f"{origin}, {str(pattern)!r}") for one in _listed(entry))
            for pattern, entry in page.items()}  # fmt: skip


def _listed(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) and entry else [entry]


def _parsed(entry: Any, where: str) -> Given:
    try:
        return Given.model_validate(entry)
    except ValidationError as error:
        raise SimulationError(f"{where}: {explain(error, entry, Given)}") from None


def _why_none(pattern: str, products: Products) -> str:
    """Why a glob has no op: none is called so, or those that are have been taken by globs before it."""
    if any(fnmatchcase(name, pattern) for name in products):
        return "globs before it match all of its ops, and the first one counts; move it up"
    near = difflib.get_close_matches(pattern, list(products), n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {next(iter(products), 'none')}, for one"
    return f"matches no op that the array runs; {hint}"


def _filled(given: Given, gemm: Gemm) -> Given:
    """What is fixed, with m and k of the tiles that are given by rank."""
    sizes = dict(gemm.roles)
    levels = []
    for level in given.levels:
        made = {
            side: math.prod(getattr(level.tile, role) or sizes.get(role, 1) for role in ROLES[side])
            for side in "mk" if any(getattr(level.tile, role) for role in ROLES[side])
            and getattr(level.tile, side) is None
        }  # fmt: skip
        levels.append(level.model_copy(update={"tile": level.tile.model_copy(update=made)}))
    return given.model_copy(update={"levels": tuple(levels)})


def _wrong_tile(tile: Extents, gemm: Gemm) -> str:
    """What is wrong with the extents of a tile, "" where nothing is."""
    whole = dict(gemm.roles)
    for side in "mnk":
        extent, size = getattr(tile, side), getattr(gemm, side)
        if extent is not None and extent > size:
            return f"the tile's {side} is {extent}, the product has {size}"
    for side in "mk":
        given = {role: extent for role in ROLES[side] if (extent := getattr(tile, role)) is not None}
        for role, extent in given.items():
            if whole.get(role, 1) % extent:
                return (
                    f"the tile's {role}, {extent}, does not divide the product's {whole.get(role, 1)}; give a divisor"
                )
        made, asked = math.prod(given.get(role, whole.get(role, 1)) for role in ROLES[side]), getattr(tile, side)
        if given and asked not in (None, made):
            return f"the tile's {side} is {asked}, its {', '.join(given)} make {made}; give one of the two"
    if (tile.kernel_rows or tile.kernel_cols) and not (tile.out_rows or tile.out_cols):
        return "the tile cuts the kernel; give its out_rows and out_cols too, which say what its windows span"
    return ""


def _wrong_held(held: tuple[Operand, ...], accelerator: Accelerator) -> str:
    """What is wrong with operands that are to be held, "" where nothing is."""
    if held and accelerator.nested:
        return f"held: on several depths tiles stay by the order of loops alone; leave {', '.join(held)} out"
    for side in held:
        if not (memory := accelerator.buffer_of(side)).keeps_tiles:
            return f"held: {side} only passes through {memory.name}, where no tile stays; leave it out"
    return ""


def _mistake(given: Given, gemm: Gemm, accelerator: Accelerator) -> str:
    """What is wrong with a mapping for a product, "" where nothing is."""
    dataflows = accelerator.compute.dataflows
    if given.dataflow is not None and given.dataflow not in dataflows:
        return f"{accelerator.name} has no dataflow {given.dataflow}; it has {', '.join(dataflows)}"
    if given.levels and accelerator.row_stationary is not None:
        return f"{accelerator.name} is row-stationary, and maps passes, not tiles; give pass instead of levels"
    if given.passes != Pass() and accelerator.row_stationary is None:
        return f"{accelerator.name} maps tiles, not passes; give levels instead of pass"
    depths = accelerator.depths + (accelerator.fanout_at(accelerator.depths) is not None)
    if len(given.levels) > depths:
        several = f"{depths} depths" if depths > 1 else "1 depth"
        return f"{len(given.levels)} levels are given, {accelerator.name} has {several} of on-chip memories"
    for depth, level in enumerate(given.levels):
        if wrong := _wrong_spread(level, gemm, accelerator, depth):
            return wrong
        if wrong := _wrong_tile(level.tile, gemm) or _wrong_held(level.held or (), accelerator):
            return wrong
    return ""


def _wrong_spread(level: GivenLevel, gemm: Gemm, accelerator: Accelerator, depth: int) -> str:
    """What is wrong with the copies of a level's tile, "" where nothing is."""
    spread, fanout = level.spread.model_dump(exclude_none=True), accelerator.fanout_at(depth)
    memory = accelerator.at_depth(depth)[0].name
    for side, count in spread.items():
        size = gemm.batch if side == "groups" else getattr(gemm, side)
        if fanout is None or side not in fanout.over:
            over = ", ".join(fanout.over) if fanout is not None else "nothing"
            return f"spread.{side}: {memory} fans out over {over}; leave it out or list {side} in its fanout"
        if count > size:
            return f"spread.{side}: {count} copies are more than the product's {side}, {size}; give fewer"
    if fanout is not None and math.prod(spread.values()) > fanout.count:
        return f"spread: takes {math.prod(spread.values())} copies, {memory} fans out to {fanout.count}; give fewer"
    return ""
