"""An energy table of the user's own: found beside the accelerator, checked, counted, and part of what a result is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from zerocast.accelerators import Accelerator, AcceleratorError, dump, load, variants
from zerocast.simulator import plain_gemm
from zerocast.simulator.einsum_cost import Pricer

TABLE: dict[str, Any] = {
    "name": "mine", "mac_pj": {"int8": 0.2}, "flop_pj": {"fp32": 1.0}, "register_pj_per_bit": 0.06 / 8,
    "dram_pj_per_bit": {"lpddr4": {"value": 4.0, "source": "a datasheet of ours"}},
    "memory_pj_per_byte": {"input_buffer": 1.0, "weight_buffer": 2.0, "output_buffer": 1.5},
}  # fmt: skip


def written(folder: Path, content: Any = TABLE, **changes: Any) -> Path:
    """A table's file with some sections changed, None for one that is left out."""
    whole = {key: value for key, value in {**content, **changes}.items() if value is not None}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


def machine(table: Path, **more: Any) -> Accelerator:
    settings = {"technology.energy_table": str(table), "compute.rates": {"int8": 1.0}, **more}
    return load("systolic-8x8", settings)


def test_counts_times_the_users_energies(tmp_path: Path) -> None:
    accelerator = machine(written(tmp_path))
    row = Pricer(accelerator).gemm(plain_gemm(64, 48, 32, "int8", 8))
    assert row.mac_j == pytest.approx(64 * 48 * 32 * 0.2e-12)
    assert row.dram_j == pytest.approx((row.dram_read_bytes + row.dram_write_bytes) * 8 * 4.0e-12)
    assert row.register_j == pytest.approx(row.register_bytes * 0.06e-12)
    dearer = Pricer(machine(written(tmp_path, memory_pj_per_byte={**TABLE["memory_pj_per_byte"], "input_buffer": 2.0})))
    cheap = Pricer(accelerator)
    gemm = plain_gemm(8, 8, 8, "int8", 8)  # one tile: M K bytes of the input into the array
    assert dearer.gemm(gemm).buffer_j - cheap.gemm(gemm).buffer_j == pytest.approx(64 * 1e-12)


def test_a_table_is_found_beside_the_accelerators_file(tmp_path: Path) -> None:
    written(tmp_path)
    description = yaml.safe_load(dump(load("systolic-8x8", {"compute.rates": {"int8": 1.0}})))
    description["technology"]["energy_table"] = "mine.yaml"
    file = tmp_path / "chip.yaml"
    file.write_text(yaml.safe_dump(description), encoding="utf-8")
    found = load(file)
    assert (
        found == machine(tmp_path / "mine.yaml", name=found.name)
        or found.technology == machine(tmp_path / "mine.yaml").technology
    )
    again = tmp_path / "dumped.yaml"
    again.write_text(dump(found), encoding="utf-8")
    assert load(again) == found, "what a table holds travels with the design"
    description["technology"]["energy_table"] = "cmos-45nm.yaml"
    file.write_text(yaml.safe_dump(description), encoding="utf-8")
    assert load(file).technology.energy_table == "cmos-45nm"


def test_two_tables_of_one_name_are_two_designs(tmp_path: Path) -> None:
    base = variants("systolic-8x8", {"compute.rates": {"int8": 1.0}})
    path = {"technology.energy_table": str(written(tmp_path))}
    one = base.describe(path)
    written(tmp_path, mac_pj={"int8": 0.4})
    two = base.describe(path)
    assert one["technology"] != two["technology"], "the description, and so the key of a result, has the entries"
    both = [base.build({"technology.energy_table": each["technology"]["energy_table"]}) for each in (one, two)]
    gemm = plain_gemm(64, 48, 32, "int8", 8)
    first, second = (Pricer(each).gemm(gemm).mac_j for each in both)
    assert second == pytest.approx(2 * first)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mac_pj": {"int16": 1.0}}, "mac_pj has no 'int8'; it has int16; add it"),
        ({"mac_pj": {"int8": -1.0}}, "mac_pj: int8: an energy is 0 or more"),
        ({"mac_pj": {"in8": 1.0}}, "mac_pj: unknown data type 'in8'; did you mean 'int8'"),
        ({"mac_pj": {"int8": "much"}}, "mac_pj.int8: "),
        ({"mac_pj": {"int8": {"val": 1.0}}}, "mac_pj.int8: write a number, or value and source; found val"),
        ({"dram_pj_per_bit": {"hbm": 4.0}}, "dram_pj_per_bit has no 'lpddr4'; it has hbm; add it"),
        ({"register_pj_per_bit": None}, "has no register_pj_per_bit; add it"),
        ({"memory_pj_per_byte": None}, "has no sram_pj_per_bit; give two points"),
        ({"sram_pj_per_bit": [[1024, 1.0]]}, "sram_pj_per_bit: give two points"),
        ({"macs_pj": {"int8": 1.0}}, "macs_pj: unknown key; did you mean 'mac_pj'"),
        ({"flop_pj": None}, "flop_pj has no 'fp32'; the section is empty; add it"),
        ({"name": None}, "name: is missing"),
        ({"kind": "area"}, "kind: "),
    ],
)
def test_mistakes_are_one_line_with_entry_and_remedy(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(AcceleratorError) as error:
        machine(written(tmp_path, **changes))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(AcceleratorError, match=r"technology.energy_table: no file '/nowhere/mine.yaml'"):
        machine(Path("/nowhere/mine.yaml"))
