"""Engines that find zeros at run time: lanes, their work, and what they wait for."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from zerocast.accelerators.schema.part import Part

MOST_LANES = 65_536
"""Lanes of a zero-skipping engine, at most: each has its own time in every round."""


class Deal(Part):
    """How the elements of one rank are dealt to lanes, round after round of lanes * tile elements."""

    lanes: PositiveInt = 1
    """Lanes side by side along the rank."""
    tile: PositiveInt | None = None
    """Elements that a lane takes in one round; None for its whole share, in a single round."""
    block: PositiveInt | None = None
    """Elements that lie together when they are dealt in turn: 1 deals element by element, None a whole tile."""


class Arrangement(Part):
    """How the lanes lie over the ranks of a product. Of several arrangements the quickest is used per product."""

    batch: Deal = Deal(tile=1)
    """Products side by side (groups of a grouped convolution, heads, samples of a batched product)."""
    m: Deal = Deal()
    """Rows of the input: samples, output positions; input positions where convolutions scatter."""
    n: Deal = Deal()
    """Columns of the weight: output channels."""
    k: Deal = Deal()
    """The reduction: input channels, and kernel positions where convolutions gather."""

    @property
    def lanes(self) -> int:
        """Lanes in all."""
        return self.batch.lanes * self.m.lanes * self.n.lanes * self.k.lanes


class Vector(Part):
    """Elements that a lane takes at once; a started vector takes as long as a full one."""

    input: PositiveInt = 1
    """Elements of operand a."""
    weight: PositiveInt = 1
    """Elements of operand b."""


class Banks(Part):
    """Requests that meet at the banks of a memory, each to a bank drawn at random; one is served per bank and cycle."""

    requests: PositiveInt
    """Requests side by side; one that is denied tries again."""
    banks: PositiveInt
    """Banks."""
    queue: int = Field(default=0, ge=0)
    """Requests that can wait in front of a bank while their lanes go on."""


class Window(Part):
    """Multiplexers that fill a lane's empty slots with pairs that are due later, TensorDash's way."""

    reach: tuple[tuple[int, int], ...] = Field(min_length=1)
    """Moves that a slot may make, first choice first: (steps ahead, slots aside). Its own pair needs no entry."""

    @property
    def depth(self) -> int:
        """Steps that are staged."""
        return 1 + max(ahead for ahead, _ in self.reach)

    @field_validator("reach")
    @classmethod
    def _moves_look_ahead(cls, reach: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if any(ahead < 1 for ahead, _ in reach):
            raise ValueError("reach: each move is [steps ahead, slots aside] with 1 step ahead or more")
        return reach


class Skipping(Part):
    """An engine that finds zeros at run time: what its lanes do each, and what they wait for.

    Operands whose `sparsity` mode is `skip` take time for their nonzeros only, the others for all elements.
    """

    law: Literal["cartesian", "dot", "packed", "window"]
    """cartesian: for each index of K a lane multiplies all input vectors by all weight vectors of its tile.
    dot: for each output of its tile a lane walks the pairs that match, `chunk` elements of K at a time.
    packed: the nonzeros of an operand that is skipped on are packed into all multipliers, chunk by chunk of K, and each
    row or column of the other then takes one cycle per filling.
    window: a lane takes `vector.weight` elements of K a step; slots whose input is zero take others of the `window`,
    and the lanes of a sync group move on together, as far as all of them are done."""
    convolution: Literal["gather", "scatter"] = "gather"
    """gather: kernel positions are part of K, windows overlap in the input. scatter: an input element meets the
    weights of all kernel positions, which then belong to N; products outside the output are wasted."""
    arrangements: tuple[Arrangement, ...] = Field(min_length=1)
    """Ways to lay the lanes over the product."""
    vector: Vector = Vector()
    """cartesian: elements per cycle of each operand; dot, window: pairs per cycle, under `weight`."""
    chunk: PositiveInt | None = None
    """dot, packed: elements of K that are matched together."""
    wait: Literal["step", "output", "never"] = "output"
    """What lanes wait for: the slowest in each round (`queue` rounds may be ahead), the slowest at the end of each
    round's sums over K, or nothing but the end."""
    queue: int = Field(default=0, ge=0)
    """wait = step: rounds along K that the front may be ahead of the slowest lane."""
    sync_group: PositiveInt | None = None
    """Lanes that wait for one another; None for all."""
    accumulate_words_per_cycle: PositiveFloat | None = None
    """cartesian: sums that a lane's accumulators take in one cycle, in whole vectors of the weight: each element of the
    input adds `vector.weight` words for every vector of weights that it meets, whether that is full or not, so that a
    run without zeros and one with them wait by the same law."""
    window: Window | None = None
    """window: the pairs that a slot can reach."""
    load_words_per_cycle: PositiveFloat | None = None
    """packed: nonzeros that enter the multipliers in one cycle."""
    reduction_tree: bool = False
    """Whether products are summed in a tree of adders, a cycle for each of its levels (see `tree_cycles`). packed: it
    fills anew with every filling of the multipliers. Other laws: once, as sums follow one another without a bubble."""
    banks: Banks | None = None
    """Memory whose bank conflicts slow the lanes."""
    channel_words_per_cycle: PositiveFloat | None = None
    """Words a cycle of the one channel that brings a dense input and then takes the results away, neither of which
    hides behind products: the input of each row for every filling of the output buffer, each result once. None where
    both pass with all else. Laws but packed."""
    step_cycles: float = Field(default=0, ge=0)
    """Cycles on top of each round."""
    fill_cycles: float = Field(default=0, ge=0)
    """Cycles to fill and drain the lanes, once for every wait at an output (once in all where none waits)."""

    @model_validator(mode="after")
    def _law_has_its_numbers(self) -> Skipping:
        if self.law == "packed" and (self.chunk is None or self.load_words_per_cycle is None):
            raise ValueError("law packed needs chunk and load_words_per_cycle")
        if (self.law == "window") != (self.window is not None):
            raise ValueError("law window and the part `window` belong together")
        if self.law in ("dot", "window") and self.vector.input != 1:
            raise ValueError(f"vector.input belongs to law cartesian; law {self.law} takes vector.weight pairs a cycle")
        if self.law in ("cartesian", "window") and self.chunk is not None:
            raise ValueError(f"chunk belongs to the laws dot and packed; the law is {self.law}")
        if self.law == "packed" and self.channel_words_per_cycle is not None:
            raise ValueError("channel_words_per_cycle belongs to laws with lanes; law packed has load_words_per_cycle")
        if self.law != "packed" and self.load_words_per_cycle is not None:
            raise ValueError(f"load_words_per_cycle belongs to law packed; the law is {self.law}")
        if self.lanes > MOST_LANES:
            raise ValueError(f"{self.lanes:,} lanes are more than the {MOST_LANES:,} that can be simulated")
        if self.law != "cartesian" and self.accumulate_words_per_cycle is not None:
            raise ValueError(f"accumulate_words_per_cycle belongs to law cartesian; the law is {self.law}")
        if self.law in ("dot", "window") and self.convolution == "scatter":
            raise ValueError(f"law {self.law} sums over K and cannot scatter; set convolution: gather")
        sizes = {arrangement.lanes for arrangement in self.arrangements}
        if len(sizes) > 1:
            raise ValueError(f"arrangements: all must have the same number of lanes; found {sorted(sizes)}")
        if self.sync_group is not None and next(iter(sizes)) % self.sync_group:
            raise ValueError(f"sync_group {self.sync_group} does not divide {next(iter(sizes))} lanes")
        return self

    def tree_cycles(self, leaves: int) -> int:
        """Levels of a binary tree of adders over so many leaves, 0 where products are summed otherwise."""
        return math.ceil(math.log2(leaves)) if self.reduction_tree else 0

    @property
    def lanes(self) -> int:
        """Lanes side by side."""
        return self.arrangements[0].lanes

    @property
    def accumulate_pace(self) -> float:
        """Cycles that a lane's accumulators take for an element of the input and a vector of weights; 0 for none."""
        return self.vector.weight / self.accumulate_words_per_cycle if self.accumulate_words_per_cycle else 0.0

    @property
    def tree_leaves(self) -> int:
        """Products of the lanes side by side along K, and of each of them, that go into one sum (laws with lanes)."""
        return self.arrangements[0].k.lanes * (self.vector.weight if self.law in ("dot", "window") else 1)

    @property
    def multipliers(self) -> int:
        """Products that all lanes make in one cycle."""
        per_lane = self.vector.weight * (1 if self.law in ("dot", "window") else self.vector.input)
        return self.lanes * per_lane
