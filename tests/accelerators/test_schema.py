"""Mistakes in a description: the message names the key, the value, and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from zerocast.accelerators import AcceleratorError, dump, load, parse, templates
from zerocast.accelerators.library import read_yaml
from zerocast.accelerators.schema import FORMATS
from zerocast.accelerators.schema.array.compute import DTYPES
from zerocast.accelerators.tables.area import area_table
from zerocast.accelerators.tables.energy import energy_table
from zerocast.accelerators.tables.reading import table_names
from zerocast.workloads.dtypes import FLOATING, QUANTISED
from zerocast.workloads.formats import formats
from zerocast.workloads.ir import BITS


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
    assert "one buffer of a depth may hold 'weight'; found ['input_buffer', 'weight_buffer']" in message
    memories[1]["holds"] = ["input"]
    del memories[2]
    assert "an on-chip buffer must hold 'weight'; add it to `holds`" in refused(memories=memories)


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


@pytest.mark.parametrize("name", ["scnn", "eyeriss-v1", "nvidia-h100-sxm"])
def test_laws_with_a_hierarchy_of_their_own_take_no_other(name: str) -> None:
    dram, *rest = [memory.name for memory in load(name).memories]
    with pytest.raises(AcceleratorError, match=rf"memories\.{dram}\.holds: dataflow \w+ moves input, output on"):
        load(name, {f"memories.{dram}.holds": ["weight"]})
    assert load(name, {f"memories.{dram}.holds": ["weight", "output", "input"]}).dram.name == dram
    with pytest.raises(AcceleratorError, match="takes one depth and no fanout; leave `depth` and `fanout` out"):
        load(name, {f"memories.{rest[0]}.fanout": {"count": 2, "over": ["m"]}})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"input_buffer.depth": 2}, "memories.input_buffer.depth: is 2 after 0; list memories from the off-chip one"),
        ({"weight_buffer.depth": 2}, "memories.output_buffer.depth: is 1 after 2"),
        ({"output_buffer.depth": 3}, "memories.output_buffer.depth: is 3 after 1; .* depths 1, 2, ... and none left"),
        ({"dram.depth": 1}, "memories.dram.depth: the off-chip level comes first and has none; leave it out"),
        ({"dram.holds": []}, "dram.holds: no operand reaches this level; list input, weight or output, or leave"),
        ({"dram.fanout": {"count": 2, "over": ["m", "m"]}}, "fanout.over: name each side once"),
        ({"dram.fanout": {"count": 2, "over": ["rows"]}}, "fanout.over.0: .*'groups', 'm', 'n' or 'k'"),
        ({"dram.fanout": {"count": 2, "over": []}}, "fanout.over"),
        ({"output_buffer.j_per_byte": 1e-12}, "output_buffer: energy: give .* or j_per_byte, one of them"),
        ({"output_buffer.holds": ["output", "input"]}, "one buffer of a depth may hold 'input'; .*another `depth`"),
        (
            {"input_buffer.fanout": {"count": 2, "over": ["m"]}, "weight_buffer.fanout": {"count": 2, "over": ["m"]}},
            "memories.weight_buffer.fanout: input_buffer of the same depth has one; a depth fans out once",
        ),
    ],
)  # fmt: skip
def test_a_hierarchy_is_checked(values: dict[str, Any], words: str) -> None:
    with pytest.raises(AcceleratorError, match=words) as caught:
        load("systolic-8x8", {f"memories.{path}": value for path, value in values.items()})
    assert "\n" not in str(caught.value)


def test_depths_and_fanouts_are_counted() -> None:
    """Two cores on one channel, each with a shared buffer over four lanes of registers."""
    description = yaml.safe_load(dump(load("systolic-8x8")))
    dram, *buffers = description["memories"]
    dram["fanout"] = {"count": 2, "over": ["groups"]}
    buffers[2] |= {"depth": 2, "fanout": {"count": 4, "over": ["n"]}}
    accelerator = parse(description | {"memories": [dram, *buffers]}, "mine")
    assert accelerator.nested and accelerator.depths == 2
    assert [accelerator.copies(depth) for depth in range(4)] == [1, 2, 2, 8]
    assert [memory.name for memory in accelerator.at_depth(2)] == ["output_buffer"]
    assert not load("systolic-8x8").nested


def test_an_operand_is_held_once() -> None:
    with pytest.raises(AcceleratorError, match=r"output_buffer\.holds: name each operand once"):
        load("sat-vcu1525", {"memories.output_buffer.holds": ["output", "output"]})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("compute.rates", {"bf61": 1.0}, "compute.rates: unknown data type 'bf61'; did you mean 'bf16'?"),
        ("compute.rates", {"INT8": 1.0}, "unknown data type 'INT8'; did you mean 'int8'?"),
        ("compute.rates", {"banana": 1.0}, "unknown data type 'banana'; allowed: fp64, fp32, tf32"),
        ("compute.rates", {}, "list at least one data type"),
        ("resources.multiply_add", {"half": {"lut": 1}}, "resources.multiply_add: unknown data type 'half'"),
    ],
)
def test_types_are_checked(path: str, value: dict, message: str) -> None:
    with pytest.raises(AcceleratorError) as caught:
        load("sat-vcu1525", {path: value})
    assert message in str(caught.value)


def test_sparse_types_are_checked() -> None:
    with pytest.raises(AcceleratorError, match=r"gpu\.sparse_types: unknown data type 'bf15'; did you mean 'bf16'"):
        load("nvidia-h100-sxm", {"gpu.sparse_types": ["bf15"]})


def test_every_type_of_a_network_can_be_built_and_is_priced_in_every_table() -> None:
    """What a network's tensors can be, hardware can multiply; each has its energies, and its multiplier an area."""
    types = {*FLOATING, *QUANTISED, "fp64"}
    assert types <= set(DTYPES) <= set(BITS)
    for name in table_names("energy"):
        table = energy_table(name)
        for section, values in (("mac_pj", table.mac_pj), ("flop_pj", table.flop_pj)):
            assert types <= set(values)
            assert all(table.sources[f"{section}.{dtype}"] for dtype in types)
    for name in table_names("area"):
        assert types <= set(area_table(name).multiply_um2)


def test_derived_energies_lie_on_the_lines_through_published_ones() -> None:
    """Horowitz, ISSCC 2014, at 45 nm: multiply 0.2 and 3.1 pJ at 8 and 32 bits; 1.1 and 3.7 pJ at 11 and 24
    significand bits; add 0.4 and 0.9 pJ there, 0.1 at 32 bits."""

    def on_line(bits: float, low: tuple[float, float], high: tuple[float, float]) -> float:
        logs = np.log([low, high])
        return float(np.exp(np.polyval(np.polyfit(*logs.T, 1), np.log(bits))))

    table = energy_table("cmos-45nm")
    multiply, add = ((11, 1.1), (24, 3.7)), ((11, 0.4), (24, 0.9))
    assert table.mac_pj["int4"] == pytest.approx(on_line(4, (8, 0.2), (32, 3.1)) + 0.1, rel=0.01)
    assert table.mac_pj["fp4"] == pytest.approx(on_line(2, *multiply) + 0.9, rel=0.01)
    assert table.mac_pj["fp64"] == pytest.approx(on_line(53, *multiply) + on_line(53, *add), rel=0.01)
    assert table.flop_pj["fp64"] == pytest.approx((on_line(53, *multiply) + on_line(53, *add)) / 2, rel=0.01)
    assert table.flop_pj["int16"] == pytest.approx((on_line(16, (8, 0.2), (32, 3.1)) + 0.05) / 2, rel=0.01)
    for name in table_names("energy"):  # narrower is never dearer
        mac = energy_table(name).mac_pj
        assert mac["fp4"] <= mac["fp8"] <= mac["fp16"] <= mac["tf32"] <= mac["fp32"] <= mac["fp64"]
        assert mac["int4"] <= mac["int8"] <= mac["int16"]
