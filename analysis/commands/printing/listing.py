"""What there is to choose from: one line per model, recipe, accelerator; and an accelerator's parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zerocast.analysis.units import si

if TYPE_CHECKING:
    from zerocast.accelerators import Accelerator


def models() -> Iterator[tuple[str, str]]:
    """Name of each zoo model, and what goes in."""
    from zerocast.workloads.zoo.registry import ENTRIES

    for name, entry in sorted(ENTRIES.items()):
        if entry.image:
            classes = f"{entry.arguments['classes']} classes" if "classes" in entry.arguments else "feature maps"
            yield name, f"{entry.image}x{entry.image} images, {classes}{', trained' * entry.trained}"
        else:
            yield name, f"sequences of {entry.tokens} tokens"


def hub() -> Iterator[tuple[str, str]]:
    """Name of each network of the hub whose configuration comes with zerocast, and its number of parameters."""
    from zerocast.workloads.zoo.hub import known

    for name, parameters in known().items():
        yield f"hf:{name}", f"{si(parameters, 'parameters')}"


def recipes() -> Iterator[tuple[str, str]]:
    """How each recipe is spelled, and what it does."""
    from zerocast.workloads.recipes import recipes as known

    for text in known().values():
        spelling, _, meaning = text.partition("  ")
        yield spelling, meaning


def schedules() -> Iterator[tuple[str, str]]:
    """How each schedule is spelled, and what it does."""
    from zerocast.workloads.schedules import schedules as known

    for text in known().values():
        spelling, _, meaning = text.partition("  ")
        yield spelling, meaning


def systems() -> Iterator[tuple[str, str]]:
    """Number and name of each published system; its recorded status, what it is, and what it lacks."""
    from zerocast.analysis.validate.record import recorded
    from zerocast.analysis.validate.suites.systems.scoreboard import SUITE
    from zerocast.analysis.validate.suites.systems.scoreboard import systems as known

    record = recorded()
    for system in known():
        row = record.get((SUITE, system.label))
        why = f" ({row.source})" if row and row.source else ""
        yield system.label, f"{row.unit if row else 'not tried':<6}  {system.gist}{why}"


def accelerators() -> Iterator[tuple[str, str]]:
    """Name of each template: family, array, clock."""
    from zerocast.accelerators import load, templates

    for name in templates():
        accelerator = load(name)
        compute = accelerator.compute
        array = f"{compute.rows}x{compute.cols}"
        if compute.macs_per_pe > 1:
            array += f" of {compute.macs_per_pe} MACs"
        yield name, f"{accelerator.family}, {array}, {si(accelerator.technology.clock_hz, 'Hz')}"
    yield "systolic-RxC", "systolic-32x32 with R rows and C columns"


def parameters(accelerator: Accelerator) -> Iterator[tuple[str, str, str, str]]:
    """Dotted path, value, kind of source (read, derived, assumption) and its text, of each parameter set."""
    for path, value in accelerator.leaves():
        source = accelerator.source_of(path)
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        yield path, text, source.kind if source else "", source.text if source else ""


def columns(lines: Iterator[tuple[str, str]]) -> str:
    """Two aligned columns."""
    rows = list(lines)
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)
