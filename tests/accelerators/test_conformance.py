"""The contract that every shipped accelerator keeps, whatever it is."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from zerocast.accelerators import Accelerator, dump, energy_table, load, parse, templates
from zerocast.simulator import OpRow, plain_gemm
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.objective import SLACK
from zerocast.simulator.products.traffic import element_bits
from zerocast.simulator.size.area import area
from zerocast.simulator.size.resources import fpga_resources
from zerocast.simulator.size.size import over_budget
from zerocast.workloads.ir import BITS
from zerocast.workloads.patterns import DENSE, NM, Pattern

NAMES = [*templates(), "systolic-8x16"]
SHAPES = [(49, 512, 1152), (784, 128, 576), (512, 1000, 64), (1, 1000, 512)]

UNITS = (
    "_pj",
    "_pj_per_byte",
    "_words_per_cycle",
    "_pj_per_bit",
    "_hz",
    "_bytes",
    "_bytes_per_s",
    "bytes_per_cycle",
    "j_per_byte",
    "_cycles",
    "_s",
    "_w",
    "_nm",
    "_mm2",
    "_bits",
    "_j",
)
COUNTS_AND_RATIOS = {
    "cards",
    "lut", "ff", "dsp", "bram36", "uram", "rows", "cols", "macs_per_pe", "accumulators_per_pe", "max_group",
    "sync_group", "lanes", "flops_per_lane", "rates", "energy_scale", "efficiency", "instances", "tile", "block",
    "chunk", "queue", "requests", "banks", "input", "weight", "gated_share", "reach",
    "area_scale", "share", "macros", "pace", "strided_per_cycle", "few_rows", "least_voltage", "knee",
    "unroll", "depthwise", "depth", "count", "block_rows", "overlap",
}  # fmt: skip
"""Numbers without a dimension."""


@pytest.fixture(params=NAMES)
def accelerator(request: pytest.FixtureRequest) -> Accelerator:
    return load(request.param)


def dtype_of(accelerator: Accelerator) -> tuple[str, int]:
    """A type that the array multiplies, and its width."""
    name = next(iter(accelerator.compute.rates))
    return name, BITS[name]


def test_dump_and_parse_give_the_same_accelerator(accelerator: Accelerator, tmp_path: Any) -> None:
    assert parse(yaml.safe_load(dump(accelerator)), accelerator.name) == accelerator
    path = tmp_path / "copy.yaml"
    path.write_text(dump(accelerator), encoding="utf-8")
    assert load(path) == accelerator


def test_name_is_the_files(accelerator: Accelerator) -> None:
    assert accelerator.name in NAMES
    assert accelerator.family and accelerator.description and "\n" not in accelerator.description


def test_every_value_has_a_source(accelerator: Accelerator) -> None:
    leaves = dict(accelerator.leaves())
    missing = [path for path in leaves if accelerator.source_of(path) is None]
    assert not missing
    for path in accelerator.sources:
        assert any(leaf == path or leaf.startswith(f"{path}.") for leaf in leaves), f"source of nothing: {path}"


def test_energy_entries_exist(accelerator: Accelerator) -> None:
    table = energy_table(accelerator.technology.energy_table)
    for dtype in accelerator.compute.rates:
        assert table.mac_j(dtype) > 0
    assert table.dram_j_per_bit(accelerator.dram.energy.removeprefix("dram.")) > 0
    assert all(memory.energy == "sram" for memory in accelerator.buffers)


def test_fpga_designs_fit_their_part(accelerator: Accelerator) -> None:
    assert over_budget(accelerator) == {}


def test_area_is_known_or_the_part_is(accelerator: Accelerator) -> None:
    """A chip has its area and an FPGA design its resources; the Arria 10's blocks are not modelled."""
    size = area(accelerator)
    technology = accelerator.technology
    assert (size is None) == (technology.fpga is not None or accelerator.name == "mcbbs-arria10")
    assert (fpga_resources(accelerator) != {}) == (technology.fpga is not None)
    if size is not None:
        assert all(part >= 0 for part in size.parts().values())
        assert 0.1 < size.total_mm2 < 2000


def test_more_of_anything_is_no_smaller(accelerator: Accelerator) -> None:
    """Buffers twice as large, or an array with twice the rows where nothing else counts them."""
    bigger = {f"memories.{m.name}.capacity_bytes": 2 * (m.capacity_bytes or 0) for m in accelerator.buffers}
    changes = [bigger]
    if accelerator.skipping is None and accelerator.gpu is None and not accelerator.compute.unroll:
        changes.append({"compute.rows": 2 * accelerator.compute.rows})
    for change in changes:
        other = load(accelerator.name, change)
        before, after = area(accelerator), area(other)
        if before is not None and after is not None:
            assert after.total_mm2 > before.total_mm2 or accelerator.technology.die_mm2 is not None
        less, more = fpga_resources(accelerator), fpga_resources(other)
        assert all(more[name] >= less[name] for name in less)


def test_vector_work_has_a_unit(accelerator: Accelerator) -> None:
    for function in ("relu", "softmax", "sgd_momentum", "nm_select", "anything"):
        assert accelerator.unit_for(function) is not None


def row_of(accelerator: Accelerator, m: int, n: int, k: int, weights: Pattern = DENSE) -> OpRow:
    dtype, bits = dtype_of(accelerator)
    return Pricer(accelerator).gemm(plain_gemm(m, n, k, dtype, bits, DENSE, weights))


def test_products_keep_the_bounds(accelerator: Accelerator) -> None:
    """Unique bytes cross the link, in the densest format the memory has; no cycle does more than the array can."""
    dtype, bits = dtype_of(accelerator)
    for m, n, k in SHAPES:
        for pattern in (DENSE, NM(2, 4, "k")):
            weight = plain_gemm(m, n, k, dtype, bits, DENSE, pattern).weight
            row = row_of(accelerator, m, n, k, pattern)
            weights = n * k * element_bits(accelerator.dram, "weight", weight) / 8
            if row.dataflow == "sparse_kernel":  # whose format is its own: no fewer bytes than its nonzeros
                weights = n * k * bits / 8 * pattern.density
            assert row.dram_read_bytes >= (m * k * bits / 8 + weights) * (1 - 1e-12)
            assert row.dram_write_bytes >= m * n * bits / 8 * (1 - 1e-12)
            assert row.ideal_cycles > 0 and row.energy_j > 0
            assert row.latency_s * accelerator.technology.clock_hz >= row.ideal_cycles * (1 - 1e-12)


def test_bandwidth_and_zeros_never_hurt(accelerator: Accelerator) -> None:
    """Up to what a mapping may give away for energy."""
    peak = accelerator.dram.bandwidth_bytes_per_s
    assert peak is not None
    for m, n, k in SHAPES[3:] if accelerator.copies(2) > 8 else SHAPES:  # a search among many copies takes its time
        times = []
        for factor in (0.25, 1.0, 4.0):
            faster = load(accelerator.name, {f"memories.{accelerator.dram.name}.bandwidth_bytes_per_s": peak * factor})
            times.append(row_of(faster, m, n, k).latency_s)
        assert all(b <= a * (1 + SLACK["latency"]) for a, b in itertools.pairwise(times)), times
        laws = (NM(1, 8, "k"), NM(2, 8, "k"), NM(4, 8, "k"), DENSE)
        times = [row_of(accelerator, m, n, k, law).latency_s for law in laws]
        assert all(a <= b * (1 + SLACK["latency"]) for a, b in itertools.pairwise(times)), times


def numeric_fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[str]:
    """Names of the fields of a model and its parts that hold a number (or numbers by name)."""
    found: set[str] = set()
    seen.add(model)
    for name, field in model.model_fields.items():
        parts = [field.annotation]
        while parts:
            part = parts.pop()
            parts += getattr(part, "__args__", ())
            if isinstance(part, type) and issubclass(part, BaseModel):
                if part not in seen:
                    found |= numeric_fields(part, seen)
            elif part in (int, float):
                found.add(name)
    return found


def test_physical_fields_name_their_unit() -> None:
    fields = numeric_fields(Accelerator, set())
    assert {"clock_hz", "capacity_bytes", "rows"} <= fields
    assert not {name for name in fields if not name.endswith(UNITS)} - COUNTS_AND_RATIOS
    assert not {name for name in COUNTS_AND_RATIOS if name not in fields}


def documented(model: type[BaseModel]) -> set[str]:
    """Fields of a model's source that a text follows, those of its bases too."""
    found: set[str] = set()
    for kind in model.__mro__[: model.__mro__.index(BaseModel)]:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in itertools.pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found.add(ast.unparse(field.target))
    return found


def test_every_field_is_documented() -> None:
    seen: set[type[BaseModel]] = set()
    numeric_fields(Accelerator, seen)
    undocumented = [f"{model.__name__}.{name}" for model in seen
                    for name in model.model_fields.keys() - documented(model)]  # fmt: skip
    assert len(seen) > 8 and not undocumented
