"""Graphics processors with tensor cores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from zerocast.accelerators.schema.array.compute import check_dtypes
from zerocast.accelerators.schema.gpu.power import Power
from zerocast.accelerators.schema.gpu.regime import Regime
from zerocast.accelerators.schema.part import Part

LONGEST_GAP_S = 2e-6
"""Gaps between kernels of a CUDA graph are about 1e-6 s; the shortest kernel of the shipped calibrations lasts
2.4e-6 s, its gap contained, so that a longer gap would leave it less than no time."""


class Link(Part):
    """What cards of one kind send one another over."""

    name: str = Field(min_length=2)
    """What it is called, with its generation."""
    bytes_per_s: PositiveFloat
    """Of one card in one direction, as in its specification."""
    share: float = Field(default=0.78, gt=0, le=1)
    """Of that bandwidth that collectives of many bytes reach."""
    latency_s: float = Field(default=1e-5, ge=0)
    """Time of the smallest collective."""


class Gpu(Part):
    """A GPU whose library picks a tensor-core kernel for each product.

    What is not said here: `compute.rows` are the streaming multiprocessors, the buffer is the L2, and
    `technology.clock_hz` is the clock of the datasheet's rates, or what the clock is locked at.
    """

    calibration: str
    """Constants of the kernel times: a name in `accelerators/calibrations/`, or a YAML file by `zerocast calibrate`."""
    tdp_w: PositiveFloat
    """Power limit of the card, in W."""
    power: Power
    """Clock, voltage, and a lower limit if it is kept to one."""
    launch_floor_s: float = Field(ge=0)
    """Gap between kernels of a CUDA graph, contained in the calibrated times; `host.launch_overhead_s` adds it back
    and may be larger, for launches one by one."""
    ahead_bytes: PositiveFloat | None = None
    """Bytes of its weights that a kernel holds which is on the SMs before the one that it waits for has ended
    (programmatic dependent launch): the SMs' shared memories. None for cards whose kernels wait to be launched."""
    sparse_types: tuple[str, ...] = ()
    """Data types with 2:4 sparse tensor cores for the weights."""
    sparse_kernels: str = ""
    """Generation whose constants sparse kernels take, see `accelerators/tables/sparse-kernels.yaml`; "" for none."""
    link: Link | None = None
    """Between cards of this kind; None where they have none of their own."""
    cards: PositiveInt = 1
    """Cards that share each product (tensor parallelism). Times, bytes, operations and memory are those of one of
    them, energies and throughput per watt of all."""
    operands: Literal["cold", "warm"] = "cold"
    """Where products find their operands: cold, the weights come from off chip, as in a network; warm, all that fits
    the L2 is there from the run before, as where a benchmark repeats one product."""
    quantises: bool = False
    """Whether products of 8 bits have their activations in 16 bits, and quantise them in a kernel before."""
    regime: str = "graph"
    """The software regime in which networks run: one of `regimes`."""
    regimes: dict[str, Regime]
    """Regimes by name; in a file also the name of a table of `accelerators/regimes/`, `cuda` where nothing is said."""

    @property
    def software(self) -> Regime:
        """The regime in which networks run."""
        return self.regimes[self.regime]

    @model_validator(mode="after")
    def _regime_is_known(self) -> Gpu:
        if self.regime not in self.regimes:
            raise ValueError(f"regime: unknown regime {self.regime!r}; choose {', '.join(self.regimes)}")
        return self

    @model_validator(mode="after")
    def _cards_are_linked(self) -> Gpu:
        if self.cards > 1 and self.link is None:
            raise ValueError(
                f"cards: {self.cards} cards without a link between them; describe one in gpu.link, such as "
                "{name: PCIe 4, bytes_per_s: 32e9}"
            )
        return self

    @property
    def limit_w(self) -> float:
        """Power that the card is kept to, in W."""
        return self.tdp_w if self.power.limit_w is None else self.power.limit_w

    @model_validator(mode="after")
    def _limit_is_the_cards(self) -> Gpu:
        if self.limit_w > self.tdp_w:
            raise ValueError(f"power.limit_w: {self.limit_w:g} W is beyond the card's {self.tdp_w:g} W (tdp_w)")
        return self

    @field_validator("sparse_types")
    @classmethod
    def _types_are_known(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        check_dtypes(types)
        return types

    @field_validator("launch_floor_s")
    @classmethod
    def _is_a_gap(cls, gap_s: float) -> float:
        if gap_s > LONGEST_GAP_S:
            raise ValueError(
                f"{gap_s:g} s is no gap between kernels of a CUDA graph, which is about 1e-06 s and at most "
                f"{LONGEST_GAP_S:g} s here; slower launches one by one belong in host.launch_overhead_s"
            )
        return gap_s
