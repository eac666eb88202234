"""What `zerocast measure` can be asked for, read by argparse so that nothing but the standard library is needed."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.timing import REGIMES

SUITES = ("bandwidth", "gemm", "network", "training", "energy")
"""In the order in which they run."""
SHARE = {"bandwidth": 0.05, "gemm": 0.55, "network": 0.15, "training": 0.10, "energy": 0.15}
"""How a budget is split where several suites are asked for; what one leaves goes to the next ones. A choice."""
SEEDS = 2**32


@dataclass(frozen=True)
class Options:
    """A request; the fields are the command's options.

    worker: where this process measures and another one watches it, the time (`time.time`) at which to be done.
    """

    suites: tuple[str, ...]
    out: Path
    device: str
    budget_s: float
    seed: int
    resume: bool
    variants: tuple[str, ...]
    shapes: Path | None
    models: tuple[str, ...]
    regime: str
    search: bool
    kernels: bool
    energy_s: float
    worker: float | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AnalysisError(f"{message}; see zerocast measure --help")


def parse(argv: list[str]) -> Options:
    """The request in a command line. Raises `AnalysisError`; SystemExit(0) after --help."""
    from zerocast.analysis.measure.suites.shapes import VARIANTS

    given = _parser().parse_args(argv)
    suites = SUITES if given.suite == "all" else _names("--suite", given.suite, SUITES)
    variants = _names("--variants", given.variants, tuple(VARIANTS)) if given.variants else tuple(VARIANTS)
    if not given.budget_s > 0:
        raise AnalysisError(f"--budget-s {given.budget_s:g}: must be above 0")
    if not 0 < given.energy_s < float("inf"):
        raise AnalysisError(f"--energy-s {given.energy_s:g}: must be above 0 and finite")
    if not 0 <= given.seed < SEEDS:
        raise AnalysisError(f"--seed {given.seed}: must lie between 0 and {SEEDS - 1}")
    if given.resume and given.out is None:
        raise AnalysisError("--resume: name the file to continue with --out")
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    out = given.out or Path(f"measured-{'-'.join(suites)}-{given.device}-{stamp}.jsonl")
    return Options(
        suites, out, given.device, given.budget_s, given.seed, given.resume, variants, given.shapes,
        tuple(given.models.split(",")) if given.models else (), given.regime, given.search, given.kernels,
        given.energy_s, given.worker,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="zerocast measure",
        description="Measure GEMMs and networks on this machine, into a file that `calibrate` and `validate gpu` read.",
    )
    add = parser.add_argument
    add("--suite", default="gemm", help=f"{', '.join(SUITES)}, several with commas, or all; gemm by default")
    add("--device", default="cuda", choices=("cuda", "cpu"), help="cuda by default")
    add("--out", type=Path, help="file to write, .jsonl; a new one in this folder without it")
    add("--budget-s", type=float, default=float("inf"), help="stop cleanly after so many seconds")
    add("--resume", action="store_true", help="continue the file of --out; nothing in it is measured again")
    add("--variants", help="GEMM variants with commas, such as bf16_dense,bf16_2to4; all without it")
    add("--shapes", type=Path, help="CSV of GEMM shapes: role, network, op, M, N, K")
    add("--models", help="networks of the zoo with commas, as NAME or NAME@BATCH")
    add("--regime", choices=tuple(REGIMES), default="burst", help="burst (default): short loads with rests")
    add("--seed", type=int, default=0, help="draws the data and the order")
    add("--no-search", dest="search", action="store_false", help="2:4 with the library's default algorithm only")
    add("--no-kernels", dest="kernels", action="store_false", help="no kernel names from the profiler")
    add("--energy-s", type=float, default=3.0, help="seconds of load behind one energy value")
    add("--worker", type=float, help=argparse.SUPPRESS)
    return parser


def _names(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise AnalysisError(f"{option} {text!r}: choose among {', '.join(known)}")
    return tuple(name for name in known if name in names)
