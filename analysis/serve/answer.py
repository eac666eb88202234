"""The answer to `zerocast serve`: a row for each batch, and what is the most that fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zerocast.accelerators import Accelerator
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.network import Network
from zerocast.analysis.run.network import Steps as Announce
from zerocast.analysis.serve.arrivals import Load, between, under_load
from zerocast.analysis.serve.steps import Cost, PricedSteps
from zerocast.analysis.units import si


@dataclass(frozen=True, slots=True)
class Served:
    """A batch of prompts that arrive together, and what is generated for them.

    first_token_s: until the first token of every prompt is there. token_s: time from one token of a sequence to the
    next, on average. request_s: until the last. tokens_per_s: generated, of all sequences. token_j: energy of one
    generated token, its share of the prompt's included. peak_bytes: off-chip memory, weights and caches included.
    fits: whether the accelerator has as much. bend: by which share times between two priced steps may be off.
    """

    batch: int
    first_token_s: float
    token_s: float
    request_s: float
    tokens_per_s: float
    token_j: float
    peak_bytes: float
    fits: bool
    bend: float


@dataclass(frozen=True, slots=True)
class Serving:
    """The rows, the largest batch that fits (None where the off-chip memory has no stated size), and what requests meet
    that arrive at a rate."""

    rows: tuple[Served, ...]
    largest_batch: int | None
    load: Load | None = None


def serve(
    network: Network,
    accelerator: Accelerator,
    prompt: int,
    generate: int,
    batches: Sequence[int],
    announce: Announce,
    rate_per_s: float | None = None,
    allow_overflow: bool = False,
) -> Serving:
    """Price prompts of `prompt` tokens that each get `generate` tokens, in batches of each of the sizes.

    network: a causal language model that keeps a cache (hf:NAME, or a factory with `tokens` and `cache`).
    rate_per_s: of requests that arrive one by one and join the steps of others, in batches up to the largest given one
    that fits; times between the given batch sizes are on straight lines. allow_overflow: price batches of which not
    even the smallest fits.
    Raises `AnalysisError` for sizes below 1, and `WorkloadError` for a network without a cache.
    """
    for option, size in (("--prompt", prompt), ("--generate", generate), *(("--batch", size) for size in batches)):
        if size < 1:
            raise AnalysisError(f"{option} {size}: must be 1 or more")
    if not batches:
        raise AnalysisError("--batch: give at least one size")
    if rate_per_s is not None and not (0 < rate_per_s < math.inf):
        raise AnalysisError(f"--rate {rate_per_s:g}: must be a number of requests per second above 0")
    steps = PricedSteps(network, accelerator, announce)
    if not allow_overflow:
        _refuse_overflow(steps, accelerator, prompt, min(batches))
    rows = tuple(_row(steps, accelerator, prompt, generate, batch) for batch in sorted(set(batches)))
    largest = _largest(steps, accelerator, prompt + generate - 1, rows[0].batch)
    load = None if rate_per_s is None else _load(steps, rows, prompt, generate, rate_per_s)
    return Serving(rows, largest, load)


def _load(steps: PricedSteps, rows: Sequence[Served], prompt: int, generate: int, rate_per_s: float) -> Load:
    sizes = [row.batch for row in rows if row.fits]
    if not sizes:
        raise AnalysisError(f"--rate: not even a batch of {rows[0].batch} fits; give a smaller --batch")
    prompts = between(sizes, [steps.prompt(size, prompt).time_s for size in sizes])
    ends = (prompt, prompt + max(generate - 2, 0))
    first, last = (between(sizes, [steps.token(size, cache).time_s for size in sizes]) for cache in ends)

    def token_s(size: int, made: float) -> float:
        share = (made - 1) / max(generate - 2, 1)
        return (1 - share) * first(size) + share * last(size)

    return under_load(rate_per_s, prompts, token_s, generate=generate, most=max(sizes))


def _refuse_overflow(steps: PricedSteps, accelerator: Accelerator, prompt: int, batch: int) -> None:
    needs, capacity = steps.prompt(batch, prompt).peak_bytes, accelerator.dram.capacity_bytes
    if capacity is not None and needs > capacity:
        raise AnalysisError(
            f"a prompt of {prompt} tokens at batch {batch} needs {si(needs, 'B')}, {accelerator.dram.name} of "
            f"{accelerator.name} has {si(capacity, 'B')}; give a smaller batch, model or type, "
            "more cards (--tensor-parallel) or --allow-overflow"
        )


def _row(steps: PricedSteps, accelerator: Accelerator, prompt: int, generate: int, batch: int) -> Served:
    first, rest = steps.prompt(batch, prompt), steps.tokens(batch, prompt, generate - 1)
    time_s, tokens = first.time_s + rest.time_s, batch * generate
    peak = max(first.peak_bytes, rest.peak_bytes)
    capacity = accelerator.dram.capacity_bytes
    return Served(
        batch, first.time_s, rest.time_s / max(generate - 1, 1), time_s, tokens / time_s,
        (first.energy_j + rest.energy_j) / tokens, peak, capacity is None or peak <= capacity,
        steps.bend(batch, prompt, generate - 1) if generate > 3 else 0.0,
    )  # fmt: skip


def _largest(steps: PricedSteps, accelerator: Accelerator, cache: int, batch: int) -> int | None:
    """The most sequences whose caches fit at their longest: what a step needs is a straight line in the batch."""
    capacity = accelerator.dram.capacity_bytes
    if capacity is None:
        return None
    one, two = (steps.token(size, cache) for size in (batch, 2 * batch))
    return _most(one, two, batch, capacity)


def _most(one: Cost, two: Cost, batch: int, capacity: float) -> int:
    each = (two.peak_bytes - one.peak_bytes) / batch
    fixed = one.peak_bytes - each * batch
    return max(int((capacity - fixed) // each), 0) if each > 0 else 0
