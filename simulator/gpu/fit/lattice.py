"""Measured cards: times of plain products on a lattice of shapes, learned from tables, that correct the kernel model.

Lattices are data (`accelerators/lattices/`, by `python -m zerocast.analysis.calibration.lattices`): what gradient
boosting on the residuals of the kernel model says at each node, made monotone in M, N and K. Between nodes the
logarithm is linear in each logarithm of a side, so that what is read off a lattice is monotone too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators import load
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.problem import Problem, problem
from zerocast.simulator.gpu.times import choose

Array = NDArray[np.float64]

UNIT = 5e-4
"""Step of the stored logarithms: 0.05 % of a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Times of out[M, N] = x[M, K] W[N, K]^T on one card, weights cold.

    axes: M, N, K of the nodes, rising. log_s: logarithms of the seconds at the nodes, shape (M, N, K). quantise: the
    activations came in 16 bits and were quantised first. about: what it was learned from, in words.
    """

    card: str
    dtype: str
    quantise: bool
    axes: tuple[Array, Array, Array]
    log_s: Array
    about: str

    def clipped(self, *sides: ArrayLike) -> list[Array]:
        """M, N, K of the nearest shapes inside the lattice, each of shape (shapes,)."""
        return [np.clip(np.asarray(side, dtype=float).ravel(), axis[0], axis[-1])
                for side, axis in zip(sides, self.axes, strict=True)]  # fmt: skip

    def at(self, *sides: ArrayLike) -> Array:
        """Logarithm of the seconds of shapes, outside of the lattice those of the nearest inside: linear in the
        logarithm of each side between the eight nodes around."""
        below, shares = [], []
        for side, axis in zip(self.clipped(*sides), self.axes, strict=True):
            at = np.clip(np.searchsorted(axis, side, side="right") - 1, 0, len(axis) - 2)
            below.append(at)
            shares.append(np.log(side / axis[at]) / np.log(axis[at + 1] / axis[at]))
        found = np.zeros(len(shares[0]))
        for corner in product((0, 1), repeat=3):
            weights = [share if up else 1 - share for share, up in zip(shares, corner, strict=True)]
            found += np.prod(weights, axis=0) * self.log_s[tuple(at + up for at, up in zip(below, corner, strict=True))]
        return found


@lru_cache(maxsize=16)
def lattice_of(card: str, kind: str) -> Lattice | None:
    """The lattice of a card for a class such as dense_16bit; None where nobody measured the card."""
    source = files("zerocast.accelerators") / "lattices" / f"{card}.{kind}.npz"
    if not source.is_file():
        return None
    with as_file(source) as path, np.load(path, allow_pickle=False) as content:
        axes = tuple(content[side].astype(float) for side in ("m", "n", "k"))
        dtype, about = str(content["dtype"]), str(content["about"])
        return Lattice(card, dtype, bool(content["quantise"]), axes, content["log_s"] * UNIT, about)


def corrections(lattice: Lattice, products: Problem, seconds: Array, constants: Constants) -> Array:
    """What to add to the logarithm of modelled seconds, shape (shapes,): measured over modelled of the plain product on
    the lattice's card. 0 where operands repeat or are quantised otherwise than on it: those are other measurements.

    So a plain product on that card takes what the lattice says, whatever the constants; one in a batch, of windows that
    overlap or on a card that was changed differs from it as the model says.
    """
    m, n, k = lattice.clipped(products.m, products.n, products.k)
    size = products.element_bytes[0, 0]
    card = card_of(load(lattice.card), lattice.dtype)
    plain = problem(card, m, n, k, element_bytes=int(size), quantise=lattice.quantise)
    other = np.any([getattr(plain, each.name) != getattr(products, each.name) for each in fields(Problem)], axis=0)[
        :, 0
    ]
    modelled = seconds.copy()
    if other.any():
        modelled[other] = choose(plain[other], constants).seconds
    alike = (products.repeats[:, 0] == 0) & (products.quantise[:, 0] == lattice.quantise)
    return np.where(alike, lattice.at(m, n, k) - np.log(modelled), 0.0)
