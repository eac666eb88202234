"""A data type per operand: what is moved, multiplied and kept has the bits and the rate of its own type."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zerocast.accelerators import Accelerator, AcceleratorError, load
from zerocast.analysis.cli import main
from zerocast.simulator import OpRow, SimulationError, plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.laws.array import array_cycles
from zerocast.workloads.ir import BITS, Einsum, Tensor, Workload

ROOM = {f"memories.{side}_buffer.capacity_bytes": 2**26 for side in ("input", "weight", "output")}


def machine(**more: Any) -> Accelerator:
    settings = {"compute.rates": {"fp16": 1.0}, "compute.dataflows": ["output_stationary"], **ROOM}
    return load("systolic-64x64", {**settings, **{key.replace("__", "."): value for key, value in more.items()}})


def network(m: int, n: int, k: int, types: tuple[str, str, str]) -> Workload:
    """One product whose operands have these types."""
    names, shapes, roles = ("x", "w", "y"), ((m, k), (n, k), (m, n)), ("input", "weight", "activation")
    tensors = {name: Tensor(name, shape, dtype, role)  # type: ignore[arg-type]
               for name, shape, dtype, role in zip(names, shapes, types, roles, strict=True)}  # fmt: skip
    index = tuple(tuple(((rank, 1),) for rank in ranks) for ranks in ("mk", "nk", "mn"))
    op = Einsum("fc", "fc", "FF", ("x", "w"), ("y",), {"m": m, "n": n, "k": k}, index, {}, "linear")
    return Workload("typed", tensors, (op,))


def row(accelerator: Accelerator, m: int, n: int, k: int, *types: str) -> OpRow:
    return simulate(network(m, n, k, types), accelerator).rows[0]  # type: ignore[arg-type]


def test_w4a16_moves_half_a_byte_a_weight() -> None:
    """512 x 4096 x 4096: 8.4 MB of weights, 4.2 MB each of inputs and outputs, by hand."""
    found = row(machine(), 512, 4096, 4096, "fp16", "int4", "fp16")
    assert found.dram_weight_bytes == 4096 * 4096 / 2 == 8_388_608
    assert found.dram_input_bytes == found.dram_output_bytes == 512 * 4096 * 2
    assert found.register_bytes == pytest.approx(found.macs * (16 + 4 + 2 * 32) / 8)


def test_int8_in_int32_out() -> None:
    found = row(machine(compute__rates={"int8": 1.0}), 256, 128, 64, "int8", "int8", "int32")
    assert (found.dram_input_bytes, found.dram_weight_bytes) == (256 * 64, 128 * 64)
    assert found.dram_output_bytes == 256 * 128 * 4


def test_a_pair_has_a_rate_and_an_energy_of_its_own() -> None:
    """Output-stationary: the stream of K takes half the cycles at twice the rate; the multiply costs its own entry, or
    that of the wider type."""
    plain, quick = machine(), machine(compute__rates={"fp16": 1.0, "fp16*int4": 2.0})
    shape = (64, 64, 4096)
    same, twice = (row(each, *shape, "fp16", "int4", "fp16") for each in (plain, quick))
    fill = float(array_cycles(plain, "fp16", "output_stationary", 64, 64, 1)) - 1  # type: ignore[arg-type]
    assert (same.cycles, twice.cycles) == (4096 + fill, 2048 + fill)
    assert (same.ideal_cycles, twice.ideal_cycles) == (4096, 2048)
    assert same.mac_j == twice.mac_j == pytest.approx(same.macs * 2.0e-12), "fp16 in cmos-45nm: 2.0 pJ"
    assert row(quick, *shape, "int4", "fp16", "fp16").cycles == same.cycles, "pairs are input*weight, in this order"
    dense = row(quick, *shape, "fp16", "fp16", "fp16")
    assert dense.cycles == row(plain, *shape, "fp16", "fp16", "fp16").cycles


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_the_wider_of_two_types_is_multiplied(objective: Any) -> None:
    """int8 x fp16 runs as fp16, whichever side is which."""
    accelerator = machine(compute__rates={"fp16": 1.0, "int8": 4.0})
    pricer = Pricer(accelerator, objective)
    one = replace(plain_gemm(128, 128, 512, "int8", 8), weight_dtype="fp16")
    other = replace(plain_gemm(128, 128, 512, "fp16", 8), weight_dtype="int8")
    wide = plain_gemm(128, 128, 512, "fp16", 8)
    assert len({(pricer.gemm(gemm).cycles, pricer.gemm(gemm).mac_j) for gemm in (one, other, wide)}) == 1
    assert pricer.gemm(wide).cycles > pricer.gemm(plain_gemm(128, 128, 512, "int8", 8)).cycles


def test_what_an_array_lacks_is_named() -> None:
    strict = machine(compute__widens=False)
    with pytest.raises(SimulationError, match=r"no fp16\*int4 arithmetic; compute.rates lists fp16; add 'fp16\*int4'"):
        row(strict, 64, 64, 64, "fp16", "int4", "fp16")
    with pytest.raises(SimulationError, match=r"no int8\*fp32 arithmetic; compute.rates lists fp16"):
        row(machine(), 64, 64, 64, "int8", "fp32", "fp16")
    for rates, told in (({"fp16*int4": 1.0}, "first"), ({"fp16": 1.0, "fp16*in4": 1.0}, "did you mean 'int4'"),
                        ({"fp16": 1.0, "fp16*fp16": 1.0}, "unequal")):  # fmt: skip
        with pytest.raises(AcceleratorError, match=told):
            machine(compute__rates=rates)


def test_a_table_of_products_takes_three_types(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "shapes.csv", tmp_path / "out.csv"
    chip = ["--accelerator", "systolic-64x64", "--out", str(out)]

    def run(text: str) -> int:
        file.write_text(text, encoding="utf-8")
        return main(["gemm", str(file), *chip])

    header = "M,N,K,dtype,weight_dtype,output_dtype\n"
    assert run(f"{header}64,32,128,fp16,int4,fp32\n") == 0
    names, values = (line.split(",") for line in out.read_text(encoding="utf-8").splitlines())
    found = dict(zip(names, values, strict=True))
    assert float(found["dram_read_bytes"]) == 64 * 128 * 2 + 32 * 128 / 2
    assert float(found["dram_write_bytes"]) == 64 * 32 * BITS["fp32"] / 8
    capsys.readouterr()
    for cells, told in (
        ("fp16,in4,fp16", "'in4' is no data type"),
        ("bf16,fp64,bf16", "does not multiply 'bf16*fp64'"),
    ):
        assert run(f"{header}64,32,128,{cells}\n") != 0
        error = " ".join(capsys.readouterr().err.split())
        assert "weight_dtype" in error and told in error
