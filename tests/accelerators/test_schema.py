"""Mistakes in a description: the message names the key, the value, and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from zerocast.accelerators import AcceleratorError, dump, load, parse, templates
from zerocast.accelerators.library import read_yaml
from zerocast.accelerators.schema import FORMATS
from zerocast.workloads.formats import formats


def description() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(dump(load("sat-vcu1525")))
    return content


def refused(**parts: Any) -> str:
    """The message for SAT with parts of its description replaced."""
    with pytest.raises(AcceleratorError) as caught:
        parse(description() | parts, "mine")
    message = str(caught.value)
    assert message.startswith("accelerator mine: ") and "\n" not in message
    return message


def test_unknown_key_suggests_the_right_one() -> None:
    compute = description()["compute"]
    message = refused(compute=compute | {"row": 3})
    assert "compute.row: unknown key; did you mean 'rows'?" in message
    assert "clock_hz" in refused(technology=description()["technology"] | {"clock_mhz": 200})
    memories = description()["memories"]
    memories[1]["capacity_byte"] = 1
    assert "memories.input_buffer.capacity_byte: unknown key; did you mean 'capacity_bytes'?" in refused(
        memories=memories
    )
    assert "allowed: name, family" in refused(zzzz=1)


@pytest.mark.parametrize("value", [-1.0, 0.0, "fast"])
def test_bad_bandwidth(value: Any) -> None:
    memories = description()["memories"]
    memories[0]["bandwidth_bytes_per_s"] = value
    message = refused(memories=memories)
    assert "memories.dram.bandwidth_bytes_per_s" in message and repr(value) in message
    assert ("greater than 0" if value != "fast" else "valid number") in message


def test_missing_part() -> None:
    content = description()
    del content["compute"]
    with pytest.raises(AcceleratorError, match="compute: is missing"):
        parse(content, "mine")
    del content["technology"]["clock_hz"]
    with pytest.raises(AcceleratorError, match=r"technology\.clock_hz: is missing; .*compute: is missing"):
        parse(content, "mine")


def test_bad_dataflow_lists_the_allowed_ones() -> None:
    message = refused(compute=description()["compute"] | {"dataflows": ["column_stationary"]})
    assert "compute.dataflows.0" in message and "'column_stationary'" in message
    for known in ("output_stationary", "weight_stationary", "input_stationary"):
        assert known in message


def test_other_bad_values() -> None:
    sparsity = {"weight": {"mode": "structured_skip", "max_group": 0}}
    assert "sparsity.weight.max_group" in refused(sparsity=sparsity)
    assert "'jump'" in refused(sparsity={"weight": {"mode": "jump"}})
    assert "compute.rows" in refused(compute=description()["compute"] | {"rows": 2.5})
    memories = description()["memories"]
    memories[0]["efficiency"] = 1.5
    assert "memories.dram.efficiency" in refused(memories=memories)


def test_every_operand_needs_one_buffer() -> None:
    memories = description()["memories"]
    memories[1]["holds"] = ["input", "weight"]
    message = refused(memories=memories)
    assert "exactly one on-chip buffer must hold 'weight'; found ['input_buffer', 'weight_buffer']" in message
    memories[1]["holds"] = ["input"]
    del memories[2]
    assert "must hold 'weight'; found none" in refused(memories=memories)


def test_levels_need_their_figures() -> None:
    memories = description()["memories"]
    del memories[0]["bandwidth_bytes_per_s"]
    assert "the off-chip level needs bandwidth_bytes_per_s" in refused(memories=memories)
    memories = description()["memories"]
    del memories[3]["capacity_bytes"]
    assert "memories (output_buffer): an on-chip buffer needs capacity_bytes" in refused(memories=memories)
    memories = description()["memories"]
    memories[2]["name"] = "input_buffer"
    assert "memories: names must differ" in refused(memories=memories)
    content = description()
    del content["resources"]
    with pytest.raises(AcceleratorError, match="an FPGA design needs its resource coefficients"):
        parse(content, "mine")


def test_malformed_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: x\nfamily: y\ncompute: {rows: 3\nunits: []\n", encoding="utf-8")
    with pytest.raises(AcceleratorError, match=r"broken\.yaml: malformed YAML at line [34]"):
        load(path)
    path.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(AcceleratorError, match="expected a mapping of keys to values, found list"):
        load(path)
    with pytest.raises(AcceleratorError, match=r"no accelerator file .*absent\.yaml"):
        load(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("compute.row", r"compute\.row: unknown key; did you mean 'rows'"),
        ("comput.rows", "comput: unknown key; did you mean 'compute'"),
        ("memories.drum.bandwidth_bytes_per_s", "no parameter .*memories has dram, input_buffer"),
        ("memories.dram", "names a whole part; set one of name, bandwidth_bytes_per_s"),
        ("compute.rows.more", "compute.rows is the value 32"),
        ("units.vector_unit.lane", "units.vector_unit.lane: unknown key; did you mean 'lanes'"),
    ],
)
def test_override_that_names_nothing(path: str, message: str) -> None:
    with pytest.raises(AcceleratorError, match=message):
        load("sat-vcu1525", {path: 1})


def test_overrides_reach_their_field() -> None:
    changed = load("sat-vcu1525", {
        "compute.rows": 16, "memories.dram.bandwidth_bytes_per_s": 1e9, "sparsity.weight.mode": "gate",
        "units.vector_unit.lanes": 8, "compute.fold.pipelined": True, "host.launch_overhead_s": 1e-6,
    })  # fmt: skip
    assert changed.compute.rows == 16 and changed.compute.cols == 32 and changed.compute.fold.pipelined
    assert changed.dram_bytes_per_s == 1e9 and changed.sparsity.weight.mode == "gate"
    assert changed.sparsity.weight.max_group == 16  # its neighbours stay
    assert changed.units[2].lanes == 8 and changed.host.launch_overhead_s == 1e-6
    assert load("sat-vcu1525") != changed


def test_unknown_template_suggests_near_names() -> None:
    with pytest.raises(AcceleratorError, match=r"unknown accelerator 'sat-vcu1526'; did you mean sat-vcu1525"):
        load("sat-vcu1526")
    with pytest.raises(AcceleratorError, match=r"known: .*systolic-32x32"):
        load("zzz")


@pytest.mark.parametrize("name", ["systolic-8x16", "systolic-1x1", "systolic-256x256"])
def test_systolic_scales_by_its_name(name: str) -> None:
    rows, cols = map(int, name.removeprefix("systolic-").split("x"))
    accelerator = load(name)
    assert (accelerator.name, accelerator.compute.rows, accelerator.compute.cols) == (name, rows, cols)
    assert name not in templates()


def test_an_array_of_no_rows_is_refused() -> None:
    with pytest.raises(AcceleratorError, match=r"compute\.rows: .*greater than 0; found 0"):
        load("systolic-0x4")


def test_peak_and_effective_figures() -> None:
    accelerator = load("sat-vcu1525", {"memories.dram.efficiency": 0.5})
    assert accelerator.peak_macs_per_s == 32 * 32 * 200e6
    assert accelerator.dram_bytes_per_s == 38e9


def test_items_of_lists_go_by_their_names() -> None:
    memories = description()["memories"]
    memories[1]["capacity_bytes"] = -1
    assert "memories.input_buffer.capacity_bytes: " in refused(memories=memories)
    del memories[2]["name"]
    assert "memories.2.name: is missing" in refused(memories=memories)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("compute", {"rows": True}, "compute.rows: a boolean"),
        ("compute", {"rates": {"fp16": True}}, "compute.rates: a boolean"),
        ("compute", {"rates": {"fp16": float("inf")}}, "compute.rates.fp16: "),
        ("compute", {"dataflows": "output_stationary"}, "compute.dataflows: must be a list such as [a, b]"),
        ("compute", {"rates": 3}, "compute.rates: must be a mapping"),
        ("compute", {"fold": 3}, "compute.fold: must be a mapping"),
        ("technology", {"energy_table": 3}, "technology.energy_table: must be text"),
        ("technology", {"clock_hz": float("nan")}, "technology.clock_hz: "),
        ("technology", {"static_power_w": float("inf")}, "technology.static_power_w: "),
        ("technology", {"static_power_w": False}, "technology.static_power_w: a boolean"),
    ],
)
def test_values_of_the_wrong_kind(part: str, value: dict[str, Any], words: str) -> None:
    assert words in refused(**{part: description()[part] | value})


@pytest.mark.parametrize("name", ["cscr", "run_length:0", "run_length:33", "csr:4", "run_length:"])
def test_unknown_formats_are_refused(name: str) -> None:
    memories = description()["memories"]
    memories[0]["formats"] = {"weight": ["uncompressed", name]}
    message = refused(memories=memories)
    assert f"memories.dram.formats: weight: unknown format {name!r}; allowed: uncompressed, bitmask" in message


def test_formats_are_those_that_workloads_prices() -> None:
    assert set(FORMATS) == set(formats())
    memories = description()["memories"]
    memories[0]["formats"] = {"weight": [*FORMATS, "run_length:1", "run_length:32"]}
    assert len(parse(description() | {"memories": memories}, "mine").dram.formats["weight"]) == len(FORMATS) + 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: caf\xe9\n", "not UTF-8 text (byte 9)"),
        (b"name: x\ncompute:\n  rows: 3\n  rows: 4\n", "the key 'rows' at line 4 is there twice"),
        (b"units:\n- {name: a, name: b}\n", "the key 'name' at line 2 is there twice"),
        (b"", "expected a mapping"),
    ],
)
def test_unreadable_files(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(AcceleratorError) as caught:
        load(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_merge_key_may_be_overridden() -> None:
    """Keys merged by `<<` are defaults; they and the mapping's own are no duplicates."""
    assert read_yaml("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n", "f")["b"] == {"k": 3, "l": 2}
