"""The accelerator schema: what a piece of hardware offers, as data.

Every field's docstring says its unit. An accelerator is one YAML file against `Accelerator`; `sources` gives,
for each dotted path (or a prefix of it), where the value comes from: read, derived, or assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

Dataflow = Literal[
    "output_stationary", "weight_stationary", "input_stationary", "row_stationary", "zero_skipping", "tensor_core"
]
"""How the array walks a product. The first three are systolic folds (`Fold`), row_stationary needs `row_stationary`,
zero_skipping `skipping` and tensor_core `gpu`."""
Operand = Literal["input", "weight", "output"]
"""Operands of an einsum out = a * b: `input` is a (activations; output gradients in the backward passes),
`weight` is b (weights; the saved activations in the weight-gradient pass), `output` the result."""

FORMATS = ("uncompressed", "bitmask", "run_length", "coordinate", "csr", "nm_offsets")
"""Compression formats of a memory; `run_length` may give the width of its run field, 1 to 32 bits."""
_FORMAT = re.compile(rf"{'|'.join(FORMATS)}|run_length:([1-9]|[12]\d|3[0-2])")


MOST_LANES = 65_536
"""Lanes of a zero-skipping engine, at most: each has its own time in every round."""


class Part(BaseModel):
    """A part of the description: unknown keys are refused, values are frozen, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1, so that `rows: yes` would be an array of one row."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        inside = value.values() if get_origin(annotation) is dict and isinstance(value, dict) else (value,)
        if annotation is not bool and any(isinstance(item, bool) for item in inside):
            raise ValueError("a boolean stands where another value belongs")
        return value


class FpgaPart(Part):
    """What an FPGA offers to the design, after the board's shell took its share."""

    part: str
    """Vendor's part name."""
    lut: PositiveInt
    """Look-up tables."""
    ff: PositiveInt
    """Flip-flops."""
    dsp: PositiveInt
    """DSP slices."""
    bram36: PositiveInt
    """36-kbit block RAMs."""
    uram: int = Field(ge=0)
    """288-kbit UltraRAMs."""


class Technology(Part):
    """What the chip is made in."""

    node_nm: PositiveFloat
    """Feature size in nm."""
    clock_hz: PositiveFloat
    """Clock of the array and the units, in Hz."""
    energy_table: str
    """Name of a file in `accelerators/tables/`."""
    energy_scale: PositiveFloat = 1.0
    """Factor on every on-chip entry of the energy table (node or FPGA overhead); DRAM is not scaled."""
    static_power_w: float = Field(default=0.0, ge=0)
    """Power drawn whether or not anything happens, in W."""
    fpga: FpgaPart | None = None
    """Set for FPGA designs: the budget that the resources must fit."""


class Memory(Part):
    """A memory level. The first is the off-chip one; the others are on-chip buffers beside each other."""

    name: str
    """Unique name."""
    holds: tuple[Operand, ...] = ("input", "weight", "output")
    """Operands kept here; what a level does not hold bypasses it."""
    capacity_bytes: PositiveFloat | None = None
    """Usable size in bytes, both halves of a double buffer counted; None for a level that is never full."""
    bandwidth_bytes_per_s: PositiveFloat | None = None
    """Off-chip level: peak bandwidth, reads and writes together, in bytes/s."""
    efficiency: float = Field(default=1.0, gt=0, le=1)
    """Share of the peak bandwidth that long bursts reach."""
    instances: PositiveInt = 1
    """Equal memories that share the capacity, one per PE or bank: an access costs the energy of one of them."""
    port_bytes_per_cycle: PositiveFloat | None = None
    """On-chip level: bytes that it feeds to (and, apart, takes from) the array in one cycle."""
    double_buffered: bool = True
    """Whether the next tile loads while this one computes (each tile then takes its size twice)."""
    formats: dict[Operand, tuple[str, ...]] = Field(default_factory=dict)
    """Compression formats that an operand may be kept in; uncompressed where none is named."""
    energy: str
    """Entry of the energy table that prices an access: `dram.NAME` (per bit) or `sram` (by capacity)."""

    @field_validator("formats")
    @classmethod
    def _formats_are_known(cls, formats: dict[Operand, tuple[str, ...]]) -> dict[Operand, tuple[str, ...]]:
        for operand, names in formats.items():
            for name in names:
                if not _FORMAT.fullmatch(name):
                    known = ", ".join(FORMATS).replace("run_length", "run_length[:BITS, 1 to 32]")
                    raise ValueError(f"{operand}: unknown format {name!r}; allowed: {known}")
        return formats


class Fold(Part):
    """Cycles of one fold, the work of the array between two changes of what it holds stationary.

    cycles = steps * initiation interval + skew_rows + skew_cols + constant (+ rows, where the load or drain
    of the stationary operand is not hidden behind the neighbouring fold).
    """

    skew_rows: Literal["array", "used"] = "array"
    """Whether data skew over all rows or over those in use."""
    skew_cols: Literal["array", "used"] = "array"
    """Whether data skew over all columns or over those in use."""
    hidden_load: tuple[Dataflow, ...] = ()
    """Dataflows in which the load (or drain) of what is stationary hides behind the neighbouring fold."""
    constant_cycles: int = 0
    """Cycles added to each fold, e.g. -2 for the two skews that share their first step with the stream."""
    pipelined: bool = False
    """True where the next fold's stream follows the last without a bubble: a tile pays its skew once."""
    streams_through_tiles: bool = False
    """True where buffer tiles do not cut a fold's stream, as models assume that count array cycles alone."""


class Compute(Part):
    """The array of processing elements (PEs)."""

    rows: PositiveInt
    """PE rows."""
    cols: PositiveInt
    """PE columns."""
    macs_per_pe: PositiveInt = 1
    """Multiply-accumulates of one PE in one cycle."""
    rates: dict[str, PositiveFloat]
    """Data types that the PE multiplies, with the rate relative to `macs_per_pe`."""
    accumulate_bits: PositiveInt = 32
    """Width of a partial sum."""
    dataflows: tuple[Dataflow, ...] = Field(min_length=1)
    """Dataflows that the array can run."""
    accumulate_latency_cycles: PositiveInt = 1
    """Cycles from a partial sum into the adder to the next use of the sum."""
    accumulators_per_pe: PositiveInt = 1
    """Partial sums that a PE can keep in flight in output-stationary mode."""
    interleave: bool = False
    """Whether independent accumulations are interleaved to hide the accumulate latency."""
    fold: Fold = Fold()
    """Timing of a fold."""

    @property
    def multipliers(self) -> int:
        """Multiply-accumulates of the whole array in one cycle at rate 1."""
        return self.rows * self.cols * self.macs_per_pe


class Deal(Part):
    """How the elements of one rank are dealt to lanes, round after round of lanes * tile elements."""

    lanes: PositiveInt = 1
    """Lanes side by side along the rank."""
    tile: PositiveInt | None = None
    """Elements that a lane takes in one round; None for its whole share, in a single round."""
    block: PositiveInt | None = None
    """Elements that lie together when they are dealt in turn: 1 deals element by element, None a whole tile."""


class Arrangement(Part):
    """How the lanes lie over the ranks of a product. Of several arrangements the quickest is used per product."""

    batch: Deal = Deal(tile=1)
    """Products side by side (groups of a grouped convolution, heads, samples of a batched product)."""
    m: Deal = Deal()
    """Rows of the input: samples, output positions; input positions where convolutions scatter."""
    n: Deal = Deal()
    """Columns of the weight: output channels."""
    k: Deal = Deal()
    """The reduction: input channels, and kernel positions where convolutions gather."""

    @property
    def lanes(self) -> int:
        """Lanes in all."""
        return self.batch.lanes * self.m.lanes * self.n.lanes * self.k.lanes


class Vector(Part):
    """Elements that a lane takes at once; a started vector takes as long as a full one."""

    input: PositiveInt = 1
    """Elements of operand a."""
    weight: PositiveInt = 1
    """Elements of operand b."""


class Banks(Part):
    """Requests that meet at the banks of a memory, each to a bank drawn at random; one is served per bank and cycle."""

    requests: PositiveInt
    """Requests side by side; one that is denied tries again."""
    banks: PositiveInt
    """Banks."""
    queue: int = Field(default=0, ge=0)
    """Requests that can wait in front of a bank while their lanes go on."""


class Window(Part):
    """Multiplexers that fill a lane's empty slots with pairs that are due later, TensorDash's way."""

    reach: tuple[tuple[int, int], ...] = Field(min_length=1)
    """Moves that a slot may make, first choice first: (steps ahead, slots aside). Its own pair needs no entry."""

    @property
    def depth(self) -> int:
        """Steps that are staged."""
        return 1 + max(ahead for ahead, _ in self.reach)

    @field_validator("reach")
    @classmethod
    def _moves_look_ahead(cls, reach: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if any(ahead < 1 for ahead, _ in reach):
            raise ValueError("reach: each move is [steps ahead, slots aside] with 1 step ahead or more")
        return reach


class Skipping(Part):
    """An engine that finds zeros at run time: what its lanes do each, and what they wait for.

    Operands whose `sparsity` mode is `skip` take time for their nonzeros only, the others for all elements.
    """

    law: Literal["cartesian", "dot", "packed", "window"]
    """cartesian: for each index of K a lane multiplies all input vectors by all weight vectors of its tile.
    dot: for each output of its tile a lane walks the pairs that match, `chunk` elements of K at a time.
    packed: the nonzeros of an operand that is skipped on are packed into all multipliers, chunk by chunk of K, and each
    row or column of the other then takes one cycle per filling.
    window: a lane takes `vector.weight` elements of K a step; slots whose input is zero take others of the `window`,
    and the lanes of a sync group move on together, as far as all of them are done."""
    convolution: Literal["gather", "scatter"] = "gather"
    """gather: kernel positions are part of K, windows overlap in the input. scatter: an input element meets the
    weights of all kernel positions, which then belong to N; products outside the output are wasted."""
    arrangements: tuple[Arrangement, ...] = Field(min_length=1)
    """Ways to lay the lanes over the product."""
    vector: Vector = Vector()
    """cartesian: elements per cycle of each operand; dot, window: pairs per cycle, under `weight`."""
    chunk: PositiveInt | None = None
    """dot, packed: elements of K that are matched together."""
    wait: Literal["step", "output", "never"] = "output"
    """What lanes wait for: the slowest in each round (`queue` rounds may be ahead), the slowest at the end of each
    round's sums over K, or nothing but the end."""
    queue: int = Field(default=0, ge=0)
    """wait = step: rounds along K that the front may be ahead of the slowest lane."""
    sync_group: PositiveInt | None = None
    """Lanes that wait for one another; None for all."""
    accumulate_words_per_cycle: PositiveFloat | None = None
    """cartesian: sums that a lane's accumulators take in one cycle."""
    window: Window | None = None
    """window: the pairs that a slot can reach."""
    load_words_per_cycle: PositiveFloat | None = None
    """packed: nonzeros that enter the multipliers in one cycle."""
    banks: Banks | None = None
    """Memory whose bank conflicts slow the lanes."""
    step_cycles: float = Field(default=0, ge=0)
    """Cycles on top of each round."""
    fill_cycles: float = Field(default=0, ge=0)
    """Cycles to fill and drain the lanes, once for every wait at an output (once in all where none waits)."""

    @model_validator(mode="after")
    def _law_has_its_numbers(self) -> Skipping:
        if self.law == "packed" and (self.chunk is None or self.load_words_per_cycle is None):
            raise ValueError("law packed needs chunk and load_words_per_cycle")
        if (self.law == "window") != (self.window is not None):
            raise ValueError("law window and the part `window` belong together")
        if self.law in ("dot", "window") and self.vector.input != 1:
            raise ValueError(f"vector.input belongs to law cartesian; law {self.law} takes vector.weight pairs a cycle")
        if self.law in ("cartesian", "window") and self.chunk is not None:
            raise ValueError(f"chunk belongs to the laws dot and packed; the law is {self.law}")
        if self.law != "packed" and self.load_words_per_cycle is not None:
            raise ValueError(f"load_words_per_cycle belongs to law packed; the law is {self.law}")
        if self.lanes > MOST_LANES:
            raise ValueError(f"{self.lanes:,} lanes are more than the {MOST_LANES:,} that can be simulated")
        if self.law != "cartesian" and self.accumulate_words_per_cycle is not None:
            raise ValueError(f"accumulate_words_per_cycle belongs to law cartesian; the law is {self.law}")
        if self.law in ("dot", "window") and self.convolution == "scatter":
            raise ValueError(f"law {self.law} sums over K and cannot scatter; set convolution: gather")
        sizes = {arrangement.lanes for arrangement in self.arrangements}
        if len(sizes) > 1:
            raise ValueError(f"arrangements: all must have the same number of lanes; found {sorted(sizes)}")
        if self.sync_group is not None and next(iter(sizes)) % self.sync_group:
            raise ValueError(f"sync_group {self.sync_group} does not divide {next(iter(sizes))} lanes")
        return self

    @property
    def lanes(self) -> int:
        """Lanes side by side."""
        return self.arrangements[0].lanes

    @property
    def multipliers(self) -> int:
        """Products that all lanes make in one cycle."""
        per_lane = self.vector.weight * (1 if self.law in ("dot", "window") else self.vector.input)
        return self.lanes * per_lane


class RowStationary(Part):
    """An array of PEs with scratch pads (spads), each of which convolves one row of a filter with one of the input.

    What is not said here: the buffer that holds `input` and `output` is the global buffer (GLB), its port serves
    partial sums, reads and writes apart; the buffer that holds `weight` takes the filters of the next pass.
    """

    ifmap_spad_bytes: PositiveFloat
    """Spad of a PE for the sliding window of the input, in bytes."""
    filter_spad_bytes: PositiveFloat
    """Spad of a PE for filter rows, in bytes."""
    psum_spad_bytes: PositiveFloat
    """Spad of a PE for partial sums, in bytes."""
    ifmap_bus_bytes_per_cycle: PositiveFloat
    """Bytes of the input that the network on chip delivers in one cycle, to any number of PEs."""
    filter_bus_bytes_per_cycle: PositiveFloat
    """Bytes of filters that the network on chip delivers in one cycle, to any number of PEs."""
    psum_link_bytes_per_cycle: PositiveFloat
    """Bytes of partial sums that a PE passes to its neighbour in one cycle."""
    bank_bytes: PositiveFloat
    """Bank of the global buffer, in bytes; a bank holds either input or partial sums."""
    link_word_bytes: PositiveFloat
    """Word of the off-chip link; compressed values are packed into it whole."""
    pipeline_cycles: int = Field(default=0, ge=0)
    """Stages of a PE."""
    hop_pj_per_bit: float = Field(ge=0)
    """Energy of one bit delivered to a PE by the network on chip or by its neighbour, in pJ."""
    pe_clock_w: float = Field(default=0.0, ge=0)
    """Power of the clock network per PE in use, in W; the clock of a PE that is not used is gated."""
    gated_share: float = Field(default=0.0, ge=0, le=1)
    """Share of a PE's power, its clock included, that a zero in a gated operand saves."""


class Gpu(Part):
    """A GPU whose library picks a tensor-core kernel for each product.

    What is not said here: `compute.rows` are the streaming multiprocessors, the buffer is the L2, and
    `technology.clock_hz` is the clock of the datasheet's rates.
    """

    calibration: str
    """Constants of the kernel times: a name in `accelerators/calibrations/`, or a YAML file by `zerocast calibrate`."""
    tdp_w: PositiveFloat
    """Power limit of the card, in W."""
    launch_floor_s: float = Field(ge=0)
    """Gap between kernels of a CUDA graph, contained in the calibrated times; `host.launch_overhead_s` adds it back
    and may be larger, for launches one by one."""
    sparse_types: tuple[str, ...] = ()
    """Data types with 2:4 sparse tensor cores for the weights."""


class OperandSparsity(Part):
    """What the array does about zeros in one operand."""

    mode: Literal["none", "gate", "skip", "structured_skip"] = "none"
    """gate saves energy; skip saves cycles for any zero; structured_skip saves cycles for N:M only."""
    max_group: PositiveInt = 16
    """structured_skip: largest M that the operand multiplexer spans."""
    sync_group: PositiveInt = 1
    """skip, in a systolic dataflow: lanes that wait for the slowest among them (engines: `skipping.sync_group`)."""
    match: Literal["none", "nm_mux", "leading_nonzero", "intersection", "cartesian", "prefix_sum"] = "none"
    """Mechanism that finds the effectual pairs."""


class Sparsity(Part):
    """Zero handling of the array per operand."""

    input: OperandSparsity = OperandSparsity()
    """Operand a."""
    weight: OperandSparsity = OperandSparsity()
    """Operand b."""


class Unit(Part):
    """A unit beside the array. It works through elements at lanes / (cycles per element) a cycle."""

    name: str
    """Unique name; the resource that the schedule books."""
    functions: tuple[str, ...]
    """Vector and index functions it runs; `*` stands for all that no other unit names."""
    lanes: PositiveInt
    """Elements in flight side by side."""
    flops_per_lane: PositiveFloat = 1.0
    """Pipelined operations a lane performs in one cycle (vector functions)."""
    streams: bool = False
    """Whether elementwise work is applied to data on their way from the array to memory."""


class Schedule(Part):
    """Switches of the controller."""

    pregenerate: bool = False
    """Make the compressed N:M operands when the weights are updated, not when they are used."""
    offline: bool = True
    """Choose the best dataflow per layer and pass; otherwise the first one listed is used for all."""
    prefetch_weights: bool = True
    """Load the first weight tile of an op while the one before it computes."""


class Host(Part):
    """What the machine around the accelerator adds."""

    launch_overhead_s: float = Field(default=0.0, ge=0)
    """Time before each op can start, in s."""


class Cost(Part):
    """FPGA resources of one instance of a component."""

    lut: float = Field(default=0.0, ge=0)
    """Look-up tables."""
    ff: float = Field(default=0.0, ge=0)
    """Flip-flops."""
    dsp: float = Field(default=0.0, ge=0)
    """DSP slices."""


class Resources(Part):
    """FPGA resources per component; buffers are counted from their capacity and port width."""

    pe: Cost = Cost()
    """One processing element, its N:M multiplexer included."""
    lane: dict[str, Cost] = Field(default_factory=dict)
    """One lane of a unit, by unit name."""
    fixed: Cost = Cost()
    """Controller, DMA, interconnect."""
    uram_from_bytes: PositiveFloat = 65536
    """Buffers of this size and above are built from UltraRAM, smaller ones from block RAM."""


class Source(Part):
    """Where a value comes from."""

    kind: Literal["read", "derived", "assumption"]
    """read in the named source, derived from read values, or assumed because nothing is published."""
    text: str = Field(min_length=8)
    """The source, or the reason for the assumption."""


class Accelerator(Part):
    """A whole accelerator."""

    name: str
    """Template name."""
    family: str
    """Kind of engine, for listings."""
    description: str
    """One line."""
    technology: Technology
    """Process, clock, energy."""
    memories: tuple[Memory, ...] = Field(min_length=2)
    """Off-chip level first, then the on-chip buffers."""
    compute: Compute
    """The array."""
    sparsity: Sparsity = Sparsity()
    """What is done about zeros."""
    skipping: Skipping | None = None
    """The engine that skips zeros, for dataflow zero_skipping."""
    row_stationary: RowStationary | None = None
    """Spads, network on chip and clock of the array, for dataflow row_stationary."""
    gpu: Gpu | None = None
    """Library, power limit and 2:4 types, for dataflow tensor_core."""
    units: tuple[Unit, ...] = ()
    """Units beside the array."""
    schedule: Schedule = Schedule()
    """Controller switches."""
    host: Host = Host()
    """Launch overhead."""
    resources: Resources | None = None
    """FPGA resource coefficients."""
    sources: dict[str, Source]
    """Source of each value, by dotted path or a prefix of it."""

    @model_validator(mode="after")
    def _is_complete(self) -> Accelerator:
        offchip, *buffers = self.memories
        if offchip.bandwidth_bytes_per_s is None:
            raise ValueError(f"memories.{offchip.name}: the off-chip level needs bandwidth_bytes_per_s")
        for operand in ("input", "weight", "output"):
            homes = [memory.name for memory in buffers if operand in memory.holds]
            if len(homes) != 1:
                raise ValueError(f"memories: exactly one on-chip buffer must hold {operand!r}; found {homes or 'none'}")
        for memory in buffers:
            if memory.capacity_bytes is None:
                raise ValueError(f"memories ({memory.name}): an on-chip buffer needs capacity_bytes")
        for what, names in (("memories", [m.name for m in self.memories]), ("units", [u.name for u in self.units])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what}: names must differ; found {names}")
        if ("zero_skipping" in self.compute.dataflows) != (self.skipping is not None):
            raise ValueError("skipping: dataflow zero_skipping and the part `skipping` belong together")
        if ("row_stationary" in self.compute.dataflows) != (self.row_stationary is not None):
            raise ValueError("row_stationary: dataflow row_stationary and the part `row_stationary` belong together")
        if ("tensor_core" in self.compute.dataflows) != (self.gpu is not None):
            raise ValueError("gpu: dataflow tensor_core and the part `gpu` belong together")
        multipliers = self.compute.multipliers
        if self.skipping is not None and self.skipping.law != "packed" and self.skipping.multipliers != multipliers:
            raise ValueError(
                f"skipping: its lanes have {self.skipping.multipliers} multipliers, the array {multipliers} "
                "(rows * cols * macs_per_pe)"
            )
        if self.technology.fpga is not None and self.resources is None:
            raise ValueError("resources: an FPGA design needs its resource coefficients")
        return self

    @property
    def dram(self) -> Memory:
        """The off-chip level."""
        return self.memories[0]

    @property
    def buffers(self) -> tuple[Memory, ...]:
        """The on-chip levels."""
        return self.memories[1:]

    def buffer_of(self, operand: Operand) -> Memory:
        """The on-chip buffer that holds an operand."""
        return next(memory for memory in self.buffers if operand in memory.holds)

    @property
    def dram_bytes_per_s(self) -> float:
        """Off-chip bandwidth that long bursts reach."""
        assert self.dram.bandwidth_bytes_per_s is not None  # checked when the description was read
        return self.dram.bandwidth_bytes_per_s * self.dram.efficiency

    @property
    def peak_macs_per_s(self) -> float:
        """Dense multiply-accumulates per second at rate 1."""
        return self.compute.multipliers * self.technology.clock_hz

    def unit_for(self, function: str) -> Unit | None:
        """The unit that runs a vector or index function: one that names it, else one that takes all."""
        named = [unit for unit in self.units if function in unit.functions]
        rest = [unit for unit in self.units if "*" in unit.functions]
        return next(iter(named + rest), None)

    def source_of(self, path: str) -> Source | None:
        """Source of the value at a dotted path: the entry for it, or for its longest prefix."""
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            if source := self.sources.get(".".join(parts[:length])):
                return source
        return None

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Dotted path and value of every parameter that the description sets (names and sources apart)."""
        skip = {"name", "family", "description", "sources"}
        yield from _leaves("", self.model_dump(exclude=skip, exclude_unset=True))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        children = (
            (item.get("name", i), {k: v for k, v in item.items() if k != "name"}) for i, item in enumerate(value)
        )  # type: ignore[assignment]
    else:
        yield path, value
        return
    for key, child in children:
        yield from _leaves(f"{path}.{key}" if path else str(key), child)
