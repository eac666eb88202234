"""Prices of the points of a run: each recipe once, through the store and the workers of `explore`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from zerocast.accelerators import Variants
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.chunks import Chunk, Terms
from zerocast.analysis.explore.pricing.crews import Crew, Here
from zerocast.analysis.explore.pricing.keys import result_key
from zerocast.analysis.explore.pricing.metrics import STORED
from zerocast.analysis.explore.pricing.networks import Networks, file_of
from zerocast.analysis.explore.pricing.store import Priced, Store
from zerocast.analysis.explore.pricing.sweep import Sweep
from zerocast.analysis.explore.pricing.version import code_version
from zerocast.analysis.run.network import Network, Steps
from zerocast.analysis.train.captured import Lowering
from zerocast.analysis.train.jobs import Job
from zerocast.workloads.files.store import load_workload
from zerocast.workloads.ir import Workload
from zerocast.workloads.schedules.upkeep import kept_weights, swapped_weights

_OBJECTIVE, _FIDELITY = "latency", "analytic"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step, or of a chore. flops: two of each multiply-accumulate of nonzeros, dense_flops: of all, elementwise
    work in neither. weights: nonzero ones; swapped: those that moving masks drop for others. peak_bytes: off-chip
    memory."""

    latency_s: float
    energy_j: float
    flops: float
    dense_flops: float
    dram_bytes: float
    peak_bytes: float
    weights: float
    swapped: float

    @classmethod
    def of(cls, priced: Priced, workload: Workload) -> Cost:
        """From the columns that the store keeps, and the masks of the workload."""
        metrics = dict(zip(STORED, priced.metrics, strict=True))
        return cls(
            metrics["latency_s"], metrics["energy_j"], 2 * metrics["effectual_macs"], 2 * metrics["macs"],
            metrics["dram_bytes"], metrics["peak_bytes"], kept_weights(workload), swapped_weights(workload),
        )  # fmt: skip


@dataclass
class Prices:
    """Prices of one network on one accelerator, kept in a folder, so that a stopped run goes on where it was."""

    network: Network
    variants: Variants
    folder: Path
    announce: Steps
    store: Store
    networks: Networks
    sweep: Sweep
    _known: dict[Job, Cost] = field(default_factory=dict)

    def price(self, jobs: Iterable[Job]) -> None:
        """Price what is not known yet. Raises `AnalysisError` for what cannot be priced, with its reason."""
        contents = {job: self._content(job) for job in dict.fromkeys(jobs) if job not in self._known}
        keys = {job: self._key(content) for job, content in contents.items()}
        found = self.store.results(list(dict.fromkeys(keys.values())))
        missing = {key: contents[job] for job, key in keys.items() if key not in found}
        chunks = [Chunk(content, (key,), ({},)) for key, content in missing.items()]
        with self.announce("price") as step:
            for priced in self.sweep.price(chunks) if chunks else ():
                self.store.write("", (), priced)
                found |= {each.key: each for each in priced}
                step(len(found), len(keys))
        for job, key in keys.items():
            if found[key].status != "ok" and not found[key].metrics:
                raise AnalysisError(f"{job.words}: {found[key].reason}")
            self._known[job] = Cost.of(found[key], load_workload(self.networks.path(contents[job])))

    def __getitem__(self, job: Job) -> Cost:
        return self._known[job]

    @property
    def distinct(self) -> int:
        """How many points were priced."""
        return len(self._known)

    def _content(self, job: Job) -> str:
        lowered = self.networks.lowered(job.network(self.network))
        if lowered.reason:
            raise AnalysisError(lowered.reason)
        if job.chore is None:
            return lowered.content
        return self.networks.keep(job.workload(load_workload(self.networks.path(lowered.content))))

    def _key(self, content: str) -> str:
        return result_key(content, self.variants.description, _OBJECTIVE, _FIDELITY)


@contextmanager
def prices(network: Network, variants: Variants, folder: Path, announce: Steps) -> Iterator[Prices]:
    """Prices that are kept in a folder, made by this process."""
    terms = Terms(json.dumps(variants.description, default=str), variants.origin, _OBJECTIVE, _FIDELITY, code_version())
    with closing(Store(folder, writing=True)) as store:
        crew: Crew = Here(terms, partial(file_of, folder))
        networks = Networks(folder, store, announce, Lowering())
        yield Prices(network, variants, folder, announce, store, networks, Sweep(crew))
