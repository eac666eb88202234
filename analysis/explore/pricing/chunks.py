"""What a worker does: price a chunk of designs of one workload. It needs no PyTorch and no store."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from zerocast.accelerators import Accelerator, AcceleratorError, Variants
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.metrics import metrics
from zerocast.analysis.explore.pricing.store import Priced
from zerocast.analysis.explore.pricing.version import code_version
from zerocast.simulator.cost import Totals, in_order
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.simulation import simulate
from zerocast.simulator.size.size import over_budget
from zerocast.workloads.files.runs import Run, load_run


@dataclass(frozen=True, slots=True)
class Terms:
    """What all designs of a run have in common. description: of the accelerator, JSON; origin:
    its name in errors. code: who prices. page: given mappings as JSON, "" without any."""

    description: str
    origin: str
    objective: str
    fidelity: str
    code: str
    page: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Designs that one worker prices at once. workload: hash of its content. overrides: of each design. groups: of
    each design what differs between designs of unlike structure, empty where that is not known."""

    workload: str
    keys: tuple[str, ...]
    overrides: tuple[Mapping[str, Any], ...]
    groups: tuple[str, ...] = ()

    def part(self, first: int, last: int) -> Chunk:
        """Some of the designs."""
        return Chunk(self.workload, self.keys[first:last], self.overrides[first:last], self.groups[first:last])


def price(terms: Terms, file: str | bytes, chunk: Chunk) -> tuple[list[Priced], float]:
    """Price the designs of a chunk, in order, and say how many seconds it took.

    A design that cannot be built or mapped comes as an error with its reason. file: the workload's, by path, or its
    content. Raises `AnalysisError` where this is another program than the one that asks.
    """
    if terms.code != code_version():
        raise AnalysisError(
            f"a worker runs zerocast {code_version()}, the exploration {terms.code}; install the same on all workers"
        )
    start = time.perf_counter()
    run = _read(chunk.workload, file)
    return _each_or_all(terms, run, chunk), time.perf_counter() - start


def _each_or_all(terms: Terms, run: Run, chunk: Chunk) -> list[Priced]:
    try:
        return _price(terms, run, chunk)
    except Exception as error:  # a mistake of the simulator: it must cost its own design only
        if len(chunk.keys) == 1:
            return [Priced(chunk.keys[0], "error", f"internal error: {type(error).__name__}: {one_line(error)}")]
        parts = (chunk.part(n, n + 1) for n in range(len(chunk.keys)))
        return [priced for part in parts for priced in _each_or_all(terms, run, part)]


def _price(terms: Terms, run: Run, chunk: Chunk) -> list[Priced]:
    variants = _variants(terms.description, terms.origin)
    built: list[Accelerator | Priced] = []
    for key, overrides in zip(chunk.keys, chunk.overrides, strict=True):
        try:
            built.append(variants.build(overrides))
        except AcceleratorError as error:
            built.append(Priced(key, "error", one_line(error)))
    machines = [machine for machine in built if isinstance(machine, Accelerator)]
    options: dict[str, Any] = {"objective": terms.objective, "fidelity": terms.fidelity}
    if terms.page:
        options["mapping"] = json.loads(terms.page)
    steps = [simulate(workload, machines, **options) for _, workload in run.parts]
    found = iter([over_steps(run, each) for each in zip(*steps, strict=True)])
    return [
        machine if isinstance(machine, Priced) else _priced(key, run, machine, next(found))
        for key, machine in zip(chunk.keys, built, strict=True)
    ]


def over_steps(run: Run, steps: Sequence[Totals | SimulationError]) -> Totals | SimulationError:
    """Totals of a run on one design, from those of its steps: sums, but for the peak of the memory, which is the most
    of any step."""
    found: list[Totals] = []
    for each in steps:
        if isinstance(each, SimulationError):
            return each
        found.append(each)
    if [times for times, _ in run.parts] == [1.0]:
        return found[0]
    figures = {
        name: max(each[name] for each in found) if name == "peak_bytes"
        else in_order(times * each[name] for (times, _), each in zip(run.parts, found, strict=True))
        for name in found[0].figures
    }  # fmt: skip
    uncosted = dict.fromkeys(name for each in found for name in each.uncosted)
    return replace(found[0], figures=figures, uncosted=tuple(uncosted))


def _priced(key: str, run: Run, machine: Accelerator, found: Totals | SimulationError) -> Priced:
    if isinstance(found, SimulationError):
        return Priced(key, "error", one_line(found))
    part = machine.technology.fpga
    over = [f"{used:,.0f} {name} of {has:,.0f}" for name, (used, has) in over_budget(machine).items()]
    reason = f"needs {', '.join(over)} that {part.part} has" if over and part is not None else ""
    return Priced(key, "infeasible" if reason else "ok", reason, metrics(run.samples, machine, found))


def one_line(error: Exception) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())


@lru_cache(maxsize=4)
def _variants(description: str, origin: str) -> Variants:
    return Variants(json.loads(description), origin)


_workloads: dict[str, Run] = {}
_MOST_WORKLOADS = 4
_reading = threading.Lock()
"""A dask worker prices on several threads."""


def _read(content: str, file: str | bytes) -> Run:
    with _reading:
        if content not in _workloads:
            while len(_workloads) >= _MOST_WORKLOADS:
                _workloads.pop(next(iter(_workloads)))
            _workloads[content] = load_run(Path(file)) if isinstance(file, str) else _from_bytes(file)
        return _workloads[content]


def _from_bytes(content: bytes) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workload.npz"
        path.write_bytes(content)
        return load_run(path)
