"""A mapping onto PE sets, the trips of its loops over passes, and the words that it keeps on chip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.simulator.row_stationary.layer import RowLayer

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowMapping:
    """Parameters of the mapping (JSSC 2017, table I); arrays broadcast over mappings.

    m filters and n samples whose partial sums the GLB keeps, e output rows of a PE set, p filters and q channels of
    a PE, r sets for different channels and t for different filters.
    """

    m: Array
    n: Array
    e: Array
    p: Array
    q: Array
    r: Array
    t: Array

    def at(self, index: int | NDArray[np.bool_]) -> RowMapping:
        """One of the mappings by its place, or those that an array of truth values picks."""
        sides = np.broadcast_arrays(*(getattr(self, name) for name in self.__slots__))
        return RowMapping(*(np.asarray(side[index]) for side in sides))

    def __str__(self) -> str:
        """A single mapping as its parameters: m96 n1 e7 p16 q1 r1 t2."""
        return " ".join(f"{name}{float(getattr(self, name)):g}" for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Trips:
    """Trips of the loops over passes, for one group; broadcasts.

    filters: passes for all filters of the layer; blocks: of m filters. rows: input rows that all strips of e output
    rows read, shared ones each time.
    """

    samples: Array
    strips: Array
    blocks: Array
    channels: Array
    filters: Array
    rows: Array

    @property
    def passes(self) -> Array:
        """Passes of one group."""
        return self.samples * self.strips * self.channels * self.filters


def trips(layer: RowLayer, mapping: RowMapping) -> Trips:
    """Trips of the loops under a mapping."""
    strips = np.ceil(layer.output[0] / mapping.e)
    together = mapping.p * mapping.t
    rest = layer.filters - np.floor(layer.filters / mapping.m) * mapping.m
    return Trips(
        samples=np.ceil(layer.samples / mapping.n),
        strips=strips,
        blocks=np.ceil(layer.filters / mapping.m),
        channels=np.ceil(layer.channels / (mapping.q * mapping.r)),
        filters=np.floor(layer.filters / mapping.m) * np.ceil(mapping.m / together) + np.ceil(rest / together),
        rows=(layer.output[0] - strips) * layer.advance + strips * layer.span[0],
    )


def glb_words(layer: RowLayer, mapping: RowMapping) -> tuple[Array, Array]:
    """Words of input and of partial sums that the GLB keeps during a pass."""
    rows = (mapping.e - 1) * layer.advance + layer.span[0]
    return (
        mapping.n * mapping.q * mapping.r * rows * layer.padded[1],
        mapping.m * mapping.n * mapping.e * layer.output[1],
    )


def filter_words(layer: RowLayer, mapping: RowMapping) -> Array:
    """Filter words of a pass."""
    return mapping.p * mapping.t * mapping.q * mapping.r * math.prod(layer.kernel)
