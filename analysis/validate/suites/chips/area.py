"""Predicted area and FPGA resources against published ones. No constant of the tables is fitted to these rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from zerocast.accelerators import Accelerator, load
from zerocast.accelerators.tables import area_table
from zerocast.analysis.validate.comparison import Comparison, against, published, reference_rows
from zerocast.simulator.size.area import Area, area, buffer_um2, idle_power_w
from zerocast.simulator.size.area_engine import queue_bits
from zerocast.simulator.size.resources import fpga_resources

SUITE = "area"
TOLERANCE = 0.3
"""Error allowed of an area: what published designs leave open (ports, clock tree, floor plan) is of that size."""

TRAPEZOID_TPU = {
    "compute.rates": {"fp32": 1.0}, "technology.node_nm": 16, "memories.global_buffer.capacity_bytes": 16 * 2**20,
}  # fmt: skip
TPU_V1 = {
    "compute.rows": 256, "compute.cols": 256, "compute.rates": {"int8": 1.0},
    "memories.global_buffer.capacity_bytes": 24 * 2**20,
}  # fmt: skip
WITHOUT_OFFSETS = {"technology.storage.neuron_memory.share": 0.351}
"""The dense twin of Cnvlutin keeps no offsets beside its neurons."""
ARRIA10_MULTIPLIERS = 2
"""Multipliers of 18 bits in a DSP block of an Arria 10 (vendor's handbook, recalled)."""


RATIO_TOLERANCE = 0.15
"""Error allowed of how area and power grow with the size of one design, as synthesised."""
PARTS = ("published", "feather")


def parts() -> tuple[str, ...]:
    """References that can be compared alone."""
    return PARTS


def compare(say: Callable[[str], None], part: str | None = None) -> list[Comparison]:
    """All comparisons of the suite, or those of one of `parts()`."""
    say("area and FPGA resources against published designs")
    rows = [_row(row) for row in reference_rows("area/area.csv")] if part in (None, "published") else []
    return rows + (feather_rows() if part in (None, "feather") else [])


def feather_rows() -> list[Comparison]:
    """Area and power of FEATHER at seven sizes over those at 16 x 16, as synthesis gave them."""
    table = {row["array"]: row for row in reference_rows("feather.csv")}
    base = table["16x16"]
    columns = (("area", "area_um2", lambda design: size(design).total_mm2), ("power", "power_mw", idle_power_w))
    return [
        against(SUITE, f"feather {array}, {what} over 16x16", measure(feather(array)) / measure(feather("16x16")),
                float(row[column]) / float(base[column]), "x", RATIO_TOLERANCE, row["source"])
        for what, column, measure in columns for array, row in table.items() if row is not base
    ]  # fmt: skip


def feather(array: str) -> Accelerator:
    """FEATHER with an array of R x C PEs: weights of a row in each PE, banks of 4 words for each column."""
    rows, cols = map(int, array.split("x"))
    capacity = {"input_banks": 8 * cols, "pe_weights": 2 * rows * rows * cols, "output_banks": 16 * cols}
    return load("feather-16x16", {
        "compute.rows": rows, "compute.cols": cols, "units.scaling.lanes": cols,
        "compute.unroll": {"out_channels": rows, "in_channels": cols},
        "technology.storage.pe_weights.share": 1 + 4 / rows**2,
        **{f"memories.{name}.capacity_bytes": size_bytes for name, size_bytes in capacity.items()},
    })  # fmt: skip


def _row(row: dict[str, str]) -> Comparison:
    """One published figure beside what is predicted; one that the template's own costs stem from informs only."""
    compared = published(SUITE, row, PREDICTED[row["system"], row["what"]](), TOLERANCE)
    if row["system"] == "hisparse-u280" and row["what"] in ("lut", "dsp"):
        note = "costs of a PE were split from this figure; the vector unit beside them is assumed"
        return replace(compared, tolerance=None, ok=None, note=note)
    return compared


def size(accelerator: Accelerator | str, **overrides: object) -> Area:
    """Area of a design that has an area table."""
    found = area(load(accelerator, overrides) if isinstance(accelerator, str) else accelerator)
    assert found is not None  # every design asked for here has a table
    return found


def total_mm2(accelerator: Accelerator | str, **overrides: object) -> float:
    """Area of the whole design."""
    return size(accelerator, **overrides).total_mm2


def kgates(name: str) -> float:
    """Logic in thousands of NAND gates with two inputs: cells alone, without the space between them."""
    accelerator = load(name)
    table = area_table(str(accelerator.technology.area_table))
    gate = table.gate_um2 * table.scaling.logic_factor(table.node_nm, accelerator.technology.node_nm)
    return size(accelerator).logic_mm2 * 1e6 * table.logic_utilisation / gate / 1e3


def compute_mm2(accelerator: Accelerator | str, **overrides: object) -> float:
    """Area without the buffers."""
    return size(accelerator, **overrides).compute_mm2


def more_than_twin(name: str, measure: Callable[..., float], **twin: object) -> float:
    """Percent by which a design exceeds the same one that does nothing about zeros of the input."""
    return 100 * (measure(name) / measure(name, **{"sparsity.input.mode": "none"}, **twin) - 1)


def _eie_memories() -> float:
    eie = load("eie")
    table = area_table("area-45nm")
    weights = next(memory for memory in eie.buffers if memory.name == "weight_buffer")
    return buffer_um2(eie, table, weights) / table.memory_utilisation / 64


def _share_of_eyeriss_v1() -> float:
    found = size("eyeriss-v1")
    return 100 * found.multipliers_mm2 / found.total_mm2


def _shares_of_eyeriss_v2_pe() -> tuple[float, float]:
    """Pads and multiply-adds in a PE, in percent: its pads are one of the buffers there, control is shared out."""
    eyeriss = load("eyeriss-v2")
    table, found = area_table("area-45nm"), size(eyeriss)
    placed = table.scaling.memory_factor(table.node_nm, eyeriss.technology.node_nm) / table.memory_utilisation * 1e-6
    weights = next(memory for memory in eyeriss.buffers if memory.name == "weight_spads")
    pads = found.pads_mm2 + buffer_um2(eyeriss, table, weights) * placed
    logic = (found.multipliers_mm2 + found.registers_mm2 + found.match_mm2) * (1 + table.control_share)
    return 100 * pads / (pads + logic), 100 * found.multipliers_mm2 / (pads + logic)


def _eight_bit_mac() -> float:
    table, compute = area_table("area-45nm"), load("eyeriss-v2").compute
    return table.multiplier_um2("int8") + table.adder_um2("int8", compute.accumulate_bits)


def _sparten_cluster() -> float:
    sparten = size("sparten")
    return (sparten.compute_mm2 - sparten.units_mm2) / 32


def _resource(name: str) -> Callable[[], float]:
    return lambda: fpga_resources(load("hisparse-u280"))[name]


PREDICTED: dict[tuple[str, str], Callable[[], float]] = {
    ("eie", "chip"): lambda: total_mm2("eie"),
    ("eie", "memories of a PE"): _eie_memories,
    ("eie", "activation queue of a PE"): lambda: queue_bits(load("eie")) * area_table("area-45nm").register_um2_per_bit,
    ("scnn", "chip"): lambda: total_mm2("scnn"),
    ("scnn", "crossbar of a PE"): lambda: size("scnn").network_mm2 / 64,
    ("dcnn", "chip"): lambda: total_mm2("dcnn"),
    ("sigma", "without buffers"): lambda: compute_mm2("sigma"),
    ("tpu-like-128", "without buffers"): lambda: compute_mm2("tpu-like-128"),
    ("cambricon-x", "chip"): lambda: total_mm2("cambricon-x"),
    ("nullhop", "chip"): lambda: total_mm2("nullhop"),
    ("eyeriss-v1", "chip"): lambda: total_mm2("eyeriss-v1"),
    ("eyeriss-v1", "logic gates"): lambda: kgates("eyeriss-v1"),
    ("eyeriss-v1", "multiply-adds in the area"): _share_of_eyeriss_v1,
    ("eyeriss-v2", "pads in a PE"): lambda: _shares_of_eyeriss_v2_pe()[0],
    ("eyeriss-v2", "multiply-adds in a PE"): lambda: _shares_of_eyeriss_v2_pe()[1],
    ("eyeriss-v2", "logic gates"): lambda: kgates("eyeriss-v2"),
    ("eyeriss-v2", "multiply-add"): _eight_bit_mac,
    ("cnvlutin", "more than its dense twin"): lambda: more_than_twin("cnvlutin", total_mm2, **WITHOUT_OFFSETS),
    ("sparten", "cluster"): _sparten_cluster,
    ("tensordash", "more than its dense twin"): lambda: more_than_twin("tensordash", total_mm2),
    ("tensordash", "compute, more than its dense twin"): lambda: more_than_twin("tensordash", compute_mm2),
    ("trapezoid tpu", "chip"): lambda: total_mm2("tpu-like-128", **TRAPEZOID_TPU),
    ("tpu-v1", "matrix unit"): lambda: compute_mm2("tpu-like-128", **TPU_V1),
    ("tpu-v1", "unified buffer"): lambda: size("tpu-like-128", **TPU_V1).buffers_mm2,
    ("hisparse-u280", "uram"): _resource("uram"),
    ("hisparse-u280", "bram36"): _resource("bram36"),
    ("hisparse-u280", "lut"): _resource("lut"),
    ("hisparse-u280", "dsp"): _resource("dsp"),
    ("mcbbs-arria10", "dsp blocks"): lambda: load("mcbbs-arria10").compute.multipliers / ARRIA10_MULTIPLIERS,
}
"""What each row of `references/area.csv` is held against, by its system and what it is."""
