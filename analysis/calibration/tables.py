"""Measured tables of matrix products on GPUs, carried over from public sources, and how they are split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zerocast.accelerators import load
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.fit.fitting import Measured
from zerocast.simulator.gpu.problem import Problem, join, problem

SEED = 0
HELD, BARS = 0.3, 0.15
"""Shares of the (N, K) pairs that no fit sees: to judge the model, and to set its error bars."""
FOLDS = 3
"""Every third network, by hash, is held out of the shipped 2:4 constants."""

CARDS = {
    "A100-SXM-80GB": "nvidia-a100-sxm-80g",
    "H100-SXM": "nvidia-h100-sxm",
    "H200-SXM": "nvidia-h200-sxm",
    "A100 80GB PCIe": "nvidia-a100-pcie-80g",
    "H100 80GB PCIe": "nvidia-h100-pcie",
    "A6000": "nvidia-a6000",
    "RTX3090": "nvidia-rtx3090",
    "RTX4090": "nvidia-rtx4090",
    "RTXPRO6000": "nvidia-rtx-pro6000",
}
"""Templates by the names in the tables."""
WIDTH = {"bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
DENSE_OUT = {"bf16": 2, "fp16": 2, "fp8": 2, "int8": 4}
"""Bytes of an output element of the dense products: cuBLASLt writes INT32 for INT8 (note of the table's source)."""
SPARSE_OUT = 2


def draw(key: str, seed: int = SEED) -> float:
    """A number in [0, 1) that depends on the key and the seed alone."""
    return int(hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()[:8], 16) / 2**32


def part_of_pair(n: int, k: int) -> str:
    """Whether all products with this W are held out (`held`), set the error bars (`bars`) or are fitted (`fit`)."""
    number = draw(f"{n}x{k}")
    return "held" if number < HELD else "bars" if number < HELD + BARS else "fit"


def part_of_network(name: str) -> str:
    """The same for the networks of the 2:4 table, without a part for the error bars."""
    return "held" if draw(name) < 1 / FOLDS else "fit"


@cache
def dense_table(dtype: str) -> pd.DataFrame:
    """Measured dense products on SXM cards in bf16 or fp8: gpu, M, N, K, us, source, dtype and part."""
    table = pd.read_csv(files("zerocast.analysis") / "references" / "gpu" / f"gpu_dense_{dtype}.csv.gz")  # type: ignore[call-overload]
    pairs = {pair: part_of_pair(*pair) for pair in set(zip(table.N, table.K, strict=True))}
    part = [pairs[pair] for pair in zip(table.N, table.K, strict=True)]
    return table.assign(dtype=dtype, part=part)


@cache
def sparse_table() -> pd.DataFrame:
    """Measured products on PCIe cards, dense and 2:4, with dtype in lower case and the part of their network."""
    table = pd.read_csv(files("zerocast.analysis") / "references" / "gpu" / "gpu_2to4.csv")  # type: ignore[call-overload]
    part = {name: part_of_network(name) for name in table.shape_set.unique()}
    return table.assign(dtype=table.dtype.str.lower(), part=table.shape_set.map(part))


def sparse_rows(card: str, dtype: str) -> pd.DataFrame:
    """Rows of the 2:4 table of one card and type."""
    table = sparse_table()
    return table[(table.gpu == card) & (table.dtype == dtype)]


def by_card(rows: pd.DataFrame, build: Callable[[str, pd.DataFrame], Problem]) -> Problem:
    """The products of a table in its order, built card by card."""
    groups = [(name, np.flatnonzero(rows.gpu == name)) for name in rows.gpu.unique()]
    joined = join([build(name, rows.iloc[places]) for name, places in groups])
    order: NDArray[np.intp] = np.argsort(np.concatenate([places for _, places in groups]))
    return joined[order]


def dense_problem(rows: pd.DataFrame, dtype: str) -> Problem:
    """Products of the dense tables: weights cold; those in fp8 were timed with the quantisation of their inputs."""

    def build(name: str, some: pd.DataFrame) -> Problem:
        card = card_of(load(CARDS[name]), dtype)
        sides = (some[side].to_numpy() for side in ("M", "N", "K"))
        return problem(card, *sides, element_bytes=WIDTH[dtype], quantise=dtype == "fp8")

    return by_card(rows, build)


def paired_problem(rows: pd.DataFrame, dtype: str, sparse: bool) -> Problem:
    """Products of the 2:4 table, dense or 2:4: the same operands again and again."""

    def build(name: str, some: pd.DataFrame) -> Problem:
        card = card_of(load(CARDS[name]), dtype)
        out = SPARSE_OUT if sparse else DENSE_OUT[dtype]
        sides = (some[side].to_numpy() for side in ("M", "N", "K"))
        return problem(
            card, *sides, element_bytes=WIDTH[dtype], out_element_bytes=out, group=4 if sparse else 0, repeats=True
        )  # fmt: skip

    return by_card(rows, build)


def dense_measured(rows: pd.DataFrame, dtype: str) -> Measured:
    """Rows of a dense table, ready to be fitted."""
    return Measured(dense_problem(rows, dtype), rows.us.to_numpy() * 1e-6)


def paired_measured(rows: pd.DataFrame, dtype: str, sparse: bool, weight: float = 1.0) -> Measured:
    """Rows of the 2:4 table, dense or 2:4, ready to be fitted."""
    column = rows.sparse24_cusparselt_us if sparse else rows.dense_cublaslt_us
    return Measured(paired_problem(rows, dtype, sparse), column.to_numpy() * 1e-6, weight)


def layers_measured(card: str, part: str) -> Measured:
    """Layers of language models in bf16 on a workstation card, one kernel at a time; `part` is fit or held. Operands of
    some were warm: read faster than the card's memory can."""
    table = pd.read_csv(files("zerocast.analysis") / "references" / "gpu" / "gpu_workstation_layers.csv")  # type: ignore[call-overload]
    rows = table[(table.gpu == card) & (table.part == part)]
    warm = rows.operands == "warm"
    products = problem(card_of(load(CARDS[card]), "bf16"), rows.M, rows.N, rows.K, repeats=warm)
    return Measured(products, rows.us.to_numpy() * 1e-6)
