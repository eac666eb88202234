"""Designs that differ in a few values are what `load` gives, errors included."""

from typing import Any

import pytest

from zerocast.accelerators import AcceleratorError, dump, load, templates, variants

CHANGES: list[dict[str, Any]] = [
    {},
    {"technology.clock_hz": 3e8},
    {"compute.rows": 64, "memories.dram.bandwidth_bytes_per_s": 1e9, "memories.dram.capacity_bytes": 2**30},
    {"technology": {"node_nm": 7}},
    {"compute.rowz": 1},
    {"compute.rows": -1, "memories.dram.energy": 3},
    {"memories.nowhere.capacity_bytes": 1},
    {"memories.dram": 1},
    {"compute.rows.inner": 1},
    {"gpu.tdp_w": 1},
    {"compute.dataflows": ["zero_skipping"]},
]


def outcome(make: Any, change: dict[str, Any]) -> str:
    try:
        return dump(make(change))
    except AcceleratorError as error:
        return f"error: {error}"


@pytest.mark.parametrize("name", templates())
def test_variants_are_what_load_gives(name: str) -> None:
    family = variants(name)
    for change in CHANGES * 2:  # twice: none of them may have changed the others
        assert outcome(family.build, change) == outcome(lambda c: load(name, c), change)


def test_a_description_may_be_completed_by_each_design() -> None:
    family = variants("nvidia-h100-sxm", {"technology.static_power_w": 1000})
    assert family.base is None
    assert family.build({"gpu.tdp_w": 1200}) == load(
        "nvidia-h100-sxm", {"technology.static_power_w": 1000, "gpu.tdp_w": 1200}
    )
