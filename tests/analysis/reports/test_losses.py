"""Where an engine's cycles are lost, and which formats cost more than they save, in figures, words and files."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from zerocast.accelerators import load
from zerocast.analysis import report
from zerocast.analysis.reports.plots.formats import break_even, fiber_bits, formats_figure, losing_operands
from zerocast.analysis.reports.plots.losses import losses_figure, losses_line, losses_of
from zerocast.analysis.reports.plots.waterfalls import waterfall_figure
from zerocast.analysis.reports.summary_text import totals_of
from zerocast.simulator import simulate
from zerocast.simulator.cost import OpRow
from zerocast.simulator.result import Footprint, Result
from zerocast.workloads import Einsum, Tensor, Workload
from zerocast.workloads.patterns import Uniform

CLOCK_HZ = 1e6


def row(name: str, **values: object) -> OpRow:
    """40 ideal cycles of 100 in the array, 25 of them waiting for ports, then 30 for memory, 50 for the host."""
    standard = {"layer": name, "phase": "FF", "kind": "einsum", "function": "linear", "resource": "array",
                "dataflow": "zero_skipping", "cycles": 100.0, "ideal_cycles": 40.0, "lost_imbalance_cycles": 20.0,
                "lost_edge_cycles": 10.0, "lost_ramp_cycles": 5.0, "lost_memory_cycles": 30.0, "latency_s": 180e-6,
                "m": 8, "n": 8, "k": 64, "macs": 4096, "effectual_macs": 4096.0, "dram_read_bytes": 2048.0}  # fmt: skip
    return OpRow(op=name, **{**standard, **values})  # type: ignore[arg-type]


def result(*rows: OpRow, **meta: object) -> Result:
    return Result(workload="net", accelerator="machine", fidelity="analytic", clock_hz=CLOCK_HZ, peak_macs_per_s=1e9,
                  dram_bytes_per_s=1e9, rows=rows, latency_s=1e-3, static_j=0.0, footprint=Footprint(1, 2, 3, 4, 5),
                  meta={"dtype": "fp16", **meta})  # fmt: skip


def network(a: float, b: float, k: int = 64, dtype: str = "fp16") -> Workload:
    """One matrix product with uniform zeros."""
    index = ((("m", 1),), (("k", 1),)), ((("k", 1),), (("n", 1),)), ((("m", 1),), (("n", 1),))
    op = Einsum("fc", "fc", "FF", ("x", "w"), ("y",), index=index, sizes={"m": 32, "n": 48, "k": k})
    tensors = {
        "x": Tensor("x", (32, k), dtype, "input", Uniform(a)),
        "w": Tensor("w", (k, 48), dtype, "weight", Uniform(b)),
        "y": Tensor("y", (32, 48), dtype, "activation"),
    }
    return Workload("one", tensors, (op,), {}, {"dtype": dtype})


# --- losses ---------------------------------------------------------------------------------------------------


def test_parts_of_a_row_are_known() -> None:
    lost = losses_of(row("a"), CLOCK_HZ)
    assert lost == pytest.approx({"imbalance": 20, "fragmentation": 0, "padding": 0, "edge": 10, "conflict": 0,
                                  "ramp": 5, "wasted": 0, "port": 25, "memory": 30, "launch": 50})  # fmt: skip


@pytest.mark.parametrize("name", ["eyeriss-v1", "eyeriss-v2", "hisparse-u280", "dstc", "sparten"])
def test_what_no_engine_explains_is_the_hosts_overhead(name: str) -> None:
    machine = load(name)
    found = simulate(network(0.5, 0.3, dtype="int16" if name == "eyeriss-v1" else "fp16"), machine)
    assert losses_figure(found) is not None
    lost = losses_of(found.rows[0], found.clock_hz)
    overhead = machine.host.launch_overhead_s * found.clock_hz
    # the walk and the engine count their cycles apart
    assert lost["launch"] == pytest.approx(overhead, abs=1e-5 * found.rows[0].cycles)
    assert lost["port"] >= -1e-5 * found.rows[0].cycles
    assert lost["memory"] >= 0


def test_bars_add_up_to_the_latency_of_each_layer() -> None:
    rows = [row("a"), row("a", phase="BP", latency_s=220e-6), row("b", latency_s=400e-6, lost_memory_cycles=250.0)]
    beside = row("c", kind="vector", dataflow="", resource="vector_unit")
    axes = losses_figure(result(*rows, beside)).axes[0]  # type: ignore[union-attr]
    names = [text.get_text() for text in axes.get_yticklabels()]
    lengths = dict.fromkeys(names, 0.0)
    for container in axes.containers:
        for name, bar in zip(names, container, strict=True):
            lengths[name] += bar.get_width()
    assert axes.get_xlabel().endswith("[µs]")
    assert lengths == pytest.approx({"a": 400.0, "b": 400.0})
    ends = sorted(bar.get_x() + bar.get_width() for container in axes.containers for bar in container)
    assert ends[-1] == pytest.approx(400.0)


def test_legend_has_the_shares_of_the_whole() -> None:
    axes = losses_figure(result(row("a"), row("b"))).axes[0]  # type: ignore[union-attr]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]  # type: ignore[union-attr]
    assert texts == ["ideal 22 %", "imbalance 11 %", "edge 6 %", "ramp 3 %", "port 14 %", "memory 17 %", "launch 28 %"]


def test_many_layers_are_taken_together_without_loss() -> None:
    rows = [row(f"l{i}", latency_s=(180 + i) * 1e-6) for i in range(90)]
    axes = losses_figure(result(*rows)).axes[0]  # type: ignore[union-attr]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[-1] == "50 others"
    drawn = sum(bar.get_width() for container in axes.containers for bar in container)
    assert drawn * 1e-3 == pytest.approx(sum(each.latency_s for each in rows))  # in ms, as the last bar is long


def test_printed_line_is_largest_first_and_leaves_crumbs_out() -> None:
    ours = result(row("a", latency_s=1000e-6, cycles=965.0, ideal_cycles=840.0, lost_imbalance_cycles=70.0,
                      lost_edge_cycles=51.0, lost_ramp_cycles=4.0, lost_memory_cycles=35.0))  # fmt: skip
    line = "imbalance 7 %, edge 5 %, memory 4 % of the array's time"
    assert losses_line(ours) == line
    assert ("cycles lost", line) in list(totals_of(ours, None, None))


def test_a_perfect_engine_loses_nothing_worth_a_word() -> None:
    ours = result(row("a", latency_s=100e-6, ideal_cycles=100.0, lost_imbalance_cycles=0.0, lost_edge_cycles=0.0,
                      lost_ramp_cycles=0.0, lost_memory_cycles=0.0))  # fmt: skip
    assert losses_line(ours) == "no cause takes 0.5 % of the array's time"


def test_systolic_arrays_have_neither_figure_nor_line(tmp_path: Path) -> None:
    machine = load("sat-vcu1525")
    ours = simulate(network(0.5, 0.3), machine)
    assert losses_figure(ours) is None
    assert losses_line(ours) == ""
    assert "cycles lost" not in dict(totals_of(ours, None, machine))
    page = report(ours, out=tmp_path, accelerator=machine)
    assert not (tmp_path / "losses.png").exists()
    assert 'id="losses"' not in page.read_text()


def test_files_and_page_have_the_losses(tmp_path: Path) -> None:
    machine = load("eyeriss-v2")
    ours = simulate(network(0.5, 0.3), machine)
    text = report(ours, out=tmp_path, accelerator=machine).read_text()
    assert 'id="losses"' in text
    assert losses_line(ours).replace("'", "&#39;") in text
    facts = json.loads((tmp_path / "summary.json").read_text())
    lost = facts["lost_cycles"]
    assert lost["imbalance"] == ours.rows[0].lost_imbalance_cycles > 0
    assert facts["cycles"] + lost["memory"] == pytest.approx(ours.rows[0].latency_s * ours.clock_hz, rel=1e-5)
    explained = sum(lost.values()) + ours.rows[0].ideal_cycles
    assert explained == pytest.approx(ours.rows[0].latency_s * ours.clock_hz)


# --- formats --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [4, 8, 16, 32])
def test_break_even_densities_have_closed_forms(word: int) -> None:
    assert break_even("bitmask", 100, word) == pytest.approx(1 - 1 / word)
    # 7 bits tell 100 elements apart, and count to 100
    assert break_even("coordinate", 100, word) == pytest.approx(word / (word + 7))
    assert break_even("csr", 100, word) == pytest.approx((word - 2 * 7 / 100) / (word + 7))


@pytest.mark.parametrize(("word", "run"), [(8, 4), (16, 5), (16, 2)])
def test_break_even_of_run_lengths_in_long_fibers(word: int, run: int) -> None:
    found = break_even(f"run_length:{run}", 10**6, word)
    assert found is not None
    # gaps are geometric; one of g zeros takes floor(g / 2^run) words more, which sum to p / (1 - (1 - p)^(2^run))
    assert found / (1 - (1 - found) ** 2**run) * (word + run) == pytest.approx(word, rel=1e-5)


def test_formats_that_never_lose_or_never_save() -> None:
    assert break_even("coordinate", 1, 16) == 1.0
    assert break_even("csr", 2, 1) is None  # two pointers of two bits for two bits of data


def test_bits_of_random_fibers_as_drawn() -> None:
    """Bit by bit over drawn fibers: what the curve of a run length says."""
    rng = np.random.default_rng(0)
    fibers, length, run, word = 4000, 96, 2, 8
    words = 0
    for fiber in rng.random((fibers, length)) < 0.2:
        places = np.flatnonzero(fiber)
        gaps = np.diff(places, prepend=-1) - 1
        words += len(places) + int((gaps // 2**run).sum())
    drawn = words * (word + run) / (fibers * length)
    assert fiber_bits(f"run_length:{run}", 0.2, length, word)[0] == pytest.approx(drawn, rel=0.02)


def test_losing_operands_are_those_that_traffic_is_charged_more_for() -> None:
    machine = load("eyeriss-v2")
    ours = simulate(network(0.5, 0.95), machine)
    (found,) = losing_operands(ours, machine)
    assert (found.layer, found.phase, found.operand, found.format) == ("fc", "FF", "weight", "run_length:4")
    assert found.bits == pytest.approx(0.95 * 20)  # a gap of 16 zeros comes once in 1e20
    plain = {name: memory.model_copy(update={"formats": {}}) for name, memory in enumerate(machine.memories)}
    unpacked = simulate(network(0.5, 0.95), machine.model_copy(update={"memories": tuple(plain.values())}))
    ratio = ours.rows[0].dram_weight_bytes / unpacked.rows[0].dram_weight_bytes
    assert found.bits / found.plain_bits == pytest.approx(ratio)


def test_no_operand_loses_where_plain_words_are_allowed() -> None:
    machine = load("s2ta")
    assert losing_operands(result(row("a", weight_density=0.99, input_density=0.99)), machine) == []
    assert losing_operands(result(row("a", weight_density=0.99), dtype=""), load("eyeriss-v2")) == []


def test_page_lists_the_losing_formats_or_says_that_there_are_none(tmp_path: Path) -> None:
    machine = load("eyeriss-v2")
    losing = report(result(row("a.b", weight_density=0.95)), out=tmp_path / "a", accelerator=machine).read_text()
    cells = ("a.b", "FF", "weight", "0.950", "run_length:4", "19.00", "16")
    assert "".join(f"<td>{cell}</td>" for cell in cells) in losing
    saving = report(
        result(row("a", weight_density=0.25, input_density=0.25)), out=tmp_path / "b", accelerator=machine
    ).read_text()
    assert "None: no operand takes more bits" in saving
    dense = report(result(row("a")), out=tmp_path / "c", accelerator=machine).read_text()
    assert "Formats that cost" not in dense
    assert not (tmp_path / "c" / "formats.png").exists()


def test_formats_figure_marks_break_evens_and_densities() -> None:
    rows = [row("a", k=40, input_density=0.5), row("b", k=100, input_density=0.25, weight_density=0.9),
            row("c", k=900)]  # fmt: skip
    figure = formats_figure(result(*rows), load("eyeriss-v2"))
    assert figure is not None
    curves, rug = figure.axes
    assert curves.get_ylabel() == "bits per element, fiber of 100"
    lines = {line.get_label(): line for line in curves.lines if not str(line.get_label()).startswith("_")}
    assert list(lines) == ["bitmask", "run_length:4", "coordinate", "csr"]
    density, bits = np.asarray(lines["bitmask"].get_data())
    assert bits == pytest.approx(1 + 16 * density)
    points = sorted(np.asarray(line.get_xdata())[0] for line in curves.lines if line.get_marker() == "o")
    assert points == pytest.approx([(16 - 0.14) / 23, 16 / 23, 0.8, 15 / 16], abs=1e-4)
    assert any(text.get_text() == "bitmask saves below 0.938" for text in curves.texts)
    ticks = [[float(segment[0][0]) for segment in ticks.get_segments()] for ticks in rug.collections]  # type: ignore[attr-defined]
    assert ticks == [[0.5, 0.25], [0.9]]


def test_without_named_run_lengths_two_are_drawn_and_without_a_type_nothing() -> None:
    ours = result(row("a", weight_density=0.5))
    figure = formats_figure(ours, None)
    assert figure is not None
    names = [line.get_label() for line in figure.axes[0].lines]
    assert {"run_length:4", "run_length:5"} <= set(names)
    assert formats_figure(result(row("a", weight_density=0.5), dtype=""), None) is None


def check_texts(figure: Figure, texts: list[Text]) -> None:
    """No two texts overlap, and none leaves the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts if text.get_text()]
    for number, (name, box) in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, name
        for other, second in boxes[number + 1 :]:
            assert not box.shrunk(0.98, 0.9).overlaps(second.shrunk(0.98, 0.9)), (name, other)


@pytest.mark.parametrize(("dtype", "length"), [("fp16", 80), ("int8", 2048), ("int4", 9), ("fp32", 10**5)])
def test_no_two_names_of_formats_overlap(dtype: str, length: int) -> None:
    figure = formats_figure(result(row("a", weight_density=0.5, k=length), dtype=dtype), None)
    assert figure is not None
    check_texts(figure, [text for axes in figure.axes for text in (*axes.texts, *axes.get_yticklabels())])


def test_no_two_names_of_causes_overlap() -> None:
    others = {f"lost_{cause}_cycles": 3.0 for cause in ("fragmentation", "padding", "conflict")}
    figure = losses_figure(result(row("model.encoder.layers.11.attention.output.dense", **others), row("b", **others)))
    assert figure is not None
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 10
    check_texts(figure, [*legend.get_texts(), *figure.axes[0].get_yticklabels()])


def test_bars_of_a_waterfall_begin_where_the_one_before_ends_and_reach_the_latency() -> None:
    """40 us ideal, 20, 10 and 5 lost in the engine, 25 to ports, 30 to memory, 50 to the host: 180, of two layers."""
    figure = waterfall_figure(result(row("one"), row("two", latency_s=190e-6)), None)
    assert figure is not None
    whole, slowest, other, unused = figure.axes
    assert (slowest.get_title(), other.get_title(), unused.get_visible()) == ("two: 190 µs", "one: 180 µs", False)
    names = [text.get_text() for text in other.get_yticklabels()]
    assert names == ["ideal", "imbalance", "edge", "ramp", "port", "memory", "launch", "latency"]
    bars = [bar for container in other.containers for bar in container]
    widths = [bar.get_width() for bar in bars]
    assert widths == pytest.approx([40, 20, 10, 5, 25, 30, 50, 180])
    starts = [bar.get_x() for bar in bars]
    assert starts == pytest.approx([0, 40, 60, 70, 75, 100, 130, 0])
    assert [bar.get_width() for container in whole.containers for bar in container][-1] == pytest.approx(370)
    assert waterfall_figure(result(), None) is None
