"""No jump as density approaches 1: a format that is always on pays for its metadata, whatever it stores."""

from __future__ import annotations

from itertools import pairwise

import pytest
from small_workloads import tensor

from zerocast.accelerators import load, templates
from zerocast.simulator import plain_gemm
from zerocast.simulator.cost import OpRow
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.objective import Objective
from zerocast.simulator.products.traffic import element_bits
from zerocast.simulator.unit_cost import moved_bytes
from zerocast.workloads import Vector
from zerocast.workloads.patterns import DENSE, NM, Pattern, Uniform

DENSITIES = (0.5, 0.8, 0.9, 0.99, 0.999, 1.0)
ENGINES = [name for name in templates() if load(name).skipping is not None]
COLUMNS = ("energy_j", "dram_read_bytes", "buffer_read_bytes", "mac_j", "effectual_macs")


def law(density: float) -> Pattern:
    return DENSE if density == 1.0 else Uniform(density)


def rows(name: str, side: str, objective: Objective) -> list[OpRow]:
    pricer = Pricer(load(name), objective)
    pairs = [(law(density), DENSE) if side == "input" else (DENSE, law(density)) for density in DENSITIES]
    return [pricer.gemm(plain_gemm(64, 256, 512, "fp16", 16, *pair)) for pair in pairs]


@pytest.mark.parametrize("side", ["input", "weight"])
@pytest.mark.parametrize("name", ENGINES)
def test_nothing_jumps_at_density_one(name: str, side: str) -> None:
    *_, nearly, dense = rows(name, side, "latency")
    for column in (*COLUMNS, "cycles"):
        assert getattr(nearly, column) == pytest.approx(getattr(dense, column), rel=0.01), column


@pytest.mark.parametrize("side", ["input", "weight"])
@pytest.mark.parametrize("name", [name for name in ENGINES if len(load(name).skipping.arrangements) == 1])  # type: ignore[union-attr]
def test_energy_grows_with_density_up_to_one(name: str, side: str) -> None:
    """Under the mapping of least energy, on engines that have no other arrangement to change to."""
    found = [row.energy_j for row in rows(name, side, "energy")]
    assert all(after >= before * (1 - 1e-9) for before, after in pairwise(found))


@pytest.mark.parametrize(
    ("form", "bits"), [("bitmask", 17), ("run_length:4", 20), ("coordinate", 16 + 9), ("uncompressed", 16)]
)
def test_bits_of_a_dense_weight_by_hand(form: str, bits: float) -> None:
    """512 places along K: 9 bits tell them apart."""
    chip = load("hisparse-u280", {"memories.hbm.formats": {"weight": [form]}})
    row = Pricer(chip).gemm(plain_gemm(64, 256, 512, "fp16", 16))
    assert row.dram_weight_bytes == pytest.approx(256 * 512 * bits / 8)


def test_dense_operands_lie_plain_where_that_is_allowed() -> None:
    """Also N:M offsets are for what has groups: 4:4 is no group, and a dense operand has none."""
    for forms in (["uncompressed", "bitmask"], ["nm_offsets"]):
        chip = load("systolic-16x16", {"memories.dram.formats": {"weight": forms}})
        for weights in (DENSE, NM(4, 4, "k")):
            operand = plain_gemm(64, 256, 512, "fp16", 16, DENSE, weights).weight
            assert element_bits(chip.dram, "weight", operand) == 16


def test_units_beside_the_array_read_what_is_stored() -> None:
    """ReLU of 2,048 dense words of 16 bits: each has a run field of 4 bits where no plain form is listed."""
    tensors = {t.name: t for t in (tensor("y", "activation", "y"), tensor("z", "activation", "y"))}
    relu = Vector("relu", "act", "FF", ("y",), ("z",), "relu", 64 * 32, 1.0, elementwise=True)
    for forms, bits in ((["run_length:4"], 20), (["uncompressed", "run_length:4"], 16)):
        link = load("scnn", {"memories.dram.formats": {"input": forms}}).dram
        assert moved_bytes(relu, tensors, link=link) == (2048 * bits // 8, 2048 * 2)
