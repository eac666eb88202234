"""The report of a run: tables, plots and one page that opens anywhere."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path

from zerocast.accelerators.schema import Accelerator
from zerocast.analysis.commands.printing.listing import parameters
from zerocast.analysis.reports.nests import nests
from zerocast.analysis.reports.plots import costs as plots_costs
from zerocast.analysis.reports.plots import formats as plots_formats
from zerocast.analysis.reports.plots import losses as plots_losses
from zerocast.analysis.reports.plots import memory as plots_memory
from zerocast.analysis.reports.plots import times as plots
from zerocast.analysis.reports.plots import waterfalls as plots_waterfalls
from zerocast.analysis.reports.summary_text import account_lines, figures, objective_of, totals_of, warnings_of
from zerocast.analysis.reports.tables import dense_reasons, layer_rows, summary, write_ops
from zerocast.analysis.run.speedup import gain
from zerocast.analysis.units import si, times
from zerocast.simulator.result import Result

CAPTIONS = {
    "layers": "Latency by layer and pass. Each op as if it ran alone; overlap is in the timeline.",
    "waterfall": "From the ideal time to the real one, cause by cause: of all ops, and of the layers that take most. "
    "zerocast why DIR LAYER does the same for any layer, and tries what would shorten it.",
    "losses": "Latency of the array's ops: ideal cycles, with every multiplier busy on what must be multiplied, and "
    "those lost to each cause. The legend has their shares of the whole.",
    "roofline": "Roofline. An op on the slope waits for DRAM, one under the flat roof for the array.",
    "energy": "Energy by component.",
    "traffic": "Off-chip traffic by operand of the array, and of the units beside it.",
    "formats": "Bits per element of a fiber of random zeros in each format, thick where the accelerator has it. Below: "
    "the densities of the operands that have zeros.",
    "timeline": "When each resource is busy.",
    "memory": "Memory over time: what lies off chip, by class. Kept are activations that a backward pass reads; "
    "transient is what lives between a few ops.",
}


def report(result: Result, baseline: Result | None = None, out: str | Path = "out",
           accelerator: Accelerator | None = None) -> Path:  # fmt: skip
    """Write everything there is to say about a result into the folder `out`; the path of report.html.

    Files: ops.csv (one row per op), summary.json (totals and comparison), timeline.json (opens in Perfetto),
    mapping.yaml (every op's mapping, as `simulate` takes it), report.html (one self-contained page) and its pictures
    as PNG.
    `accelerator` adds the FPGA budget and the assumptions behind the numbers to the page.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_ops(folder / "ops.csv", result, baseline)
    facts = summary(result, baseline, accelerator) | {"lost_cycles": _lost_cycles(result)}
    (folder / "summary.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    result.save_timeline(folder / "timeline.json")
    (folder / "mapping.yaml").write_text(result.mapping, encoding="utf-8")
    pictures = draw(result, baseline, accelerator)
    for name, image in pictures.items():
        (folder / f"{name}.png").write_bytes(image)
    page = folder / "report.html"
    page.write_text(render(result, baseline, accelerator, pictures), encoding="utf-8")
    return page


def draw(result: Result, baseline: Result | None, accelerator: Accelerator | None = None) -> dict[str, bytes]:
    """The pictures as PNG, by name, in the order of the page; without those that have nothing to show."""
    figures = {
        "layers": plots.layers_figure(result, baseline),
        "waterfall": plots_waterfalls.waterfall_figure(result, accelerator),
        "losses": plots_losses.losses_figure(result),
        "roofline": plots_costs.roofline_figure(result, baseline),
        "energy": plots_costs.energy_figure(result, baseline),
        "traffic": plots_costs.traffic_figure(result, baseline),
        "formats": plots_formats.formats_figure(result, accelerator),
        "timeline": plots.timeline_figure(result),
        "memory": plots_memory.memory_figure(result, accelerator),
    }
    return {name: plots.png(figure) for name, figure in figures.items() if figure is not None}


def render(result: Result, baseline: Result | None, accelerator: Accelerator | None, pictures: dict[str, bytes]) -> str:
    """The page, with the pictures inside as data."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    source = (files("zerocast.analysis.reports") / "templates" / "report.html").read_text(encoding="utf-8")
    parts = list(parameters(accelerator)) if accelerator is not None else []
    return environment.from_string(source).render(
        title=f"{result.workload} on {result.accelerator}",
        totals=list(totals_of(result, baseline, accelerator)),
        cards=_cards(result, baseline),
        warnings=warnings_of(accelerator),
        notes=result.notes,
        pictures=[(name, CAPTIONS[name], base64.b64encode(png).decode()) for name, png in pictures.items()],
        formats=_losing_formats(result, accelerator) if "formats" in pictures else None,
        rows=_cells(result, baseline),
        residents=[
            (each.tensor, each.memory, each.first_op, each.last_op, si(each.bytes, "B"), si(each.saved_bytes, "B"))
            for each in result.residents
        ],
        compared=baseline is not None,
        reasons=dense_reasons(result),
        found=list(result.found.items()),
        account=account_lines(result),
        dense=[(layer, why) for layer, why in result.layers.items() if why],
        nests=list(nests(result.products, accelerator, objective_of(result))) if accelerator else [],
        assumptions=[part for part in parts if part[2] not in ("read", "derived")],
        parameters=len(parts),
    )


def _cards(result: Result, baseline: Result | None) -> list[tuple[str, str]]:
    """The figures that stand at the top."""
    cards = [("latency", si(result.latency_s, "s")), ("energy", si(result.energy_j, "J"))]
    if baseline is not None:
        better = gain(result, baseline)
        cards = [("speedup", times(better.speedup)), ("MAC ceiling", times(better.mac_ceiling)), *cards,
                 ("energy gain", times(better.energy_ratio))]  # fmt: skip
    return [*cards, ("peak memory", si(result.footprint.peak_bytes, "B"))]


def _cells(result: Result, baseline: Result | None) -> list[tuple[str, ...]]:
    return [(row.layer, row.phase, *figures(row, baseline is not None)) for row in layer_rows(result, baseline)]


def _lost_cycles(result: Result) -> dict[str, float]:
    """Cycles of the array's ops lost by cause; of a systolic array, memory and launch alone are known."""
    return plots_losses.lost_cycles([row for row in result.rows if row.kind == "einsum"], result.clock_hz)


def _losing_formats(result: Result, accelerator: Accelerator | None) -> list[tuple[str, ...]] | None:
    """Cells of the operands that compression makes larger; None where the allowed formats are not known."""
    if accelerator is None:
        return None
    return [
        (each.layer, each.phase, each.operand, f"{each.density:.3f}", each.format, f"{each.bits:.2f}",
         str(each.plain_bits))
        for each in plots_formats.losing_operands(result, accelerator)
    ]  # fmt: skip
