"""Software regimes of a GPU: what shares a kernel, what a host launches, what conversions cost. Counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import cat, float32, nn, tensor, zeros

from zerocast.accelerators import Accelerator, AcceleratorError, load
from zerocast.simulator import Result, plain_gemm, simulate
from zerocast.simulator.cost import OpRow
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.program.conversions import with_casts, with_layouts
from zerocast.simulator.program.kernels import hidden_s, launch_s
from zerocast.simulator.program.schedule import paced
from zerocast.workloads import Einsum, Tensor, Transfer, Vector, Workload, capture

CARD = "nvidia-a100-sxm-80g"
IMAGE = 8 * 64 * 56 * 56
"""Elements of the image between the layers of `block`."""


class Block(nn.Module):
    """Convolution, normalisation and activation with a shortcut: what ResNets are made of."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(64, 64, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(64)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return nn.functional.relu(self.bn(self.conv(x)) + x)


def block(kernel: int = 3, side: int = 56) -> Workload:
    return capture(Block(kernel).eval(), zeros(8, 64, side, side), dtype="fp16")


def balanced(macs_per_byte: float) -> Accelerator:
    """The card with a memory so slow, or so quick, that it makes that many multiply-adds in the time of a byte."""
    slow = load(CARD).peak_macs_per_s / macs_per_byte
    return load(CARD, {"memories.hbm.bandwidth_bytes_per_s": slow})


def moved(result: Result, kind: str) -> dict[str, float]:
    """Off-chip bytes by function of ops of a kind."""
    rows = [row for row in result.rows if row.kind == kind]
    return {row.function: row.dram_read_bytes + row.dram_write_bytes for row in rows}


def test_an_engine_writes_a_convolution_with_its_normalisation_shortcut_and_activation_once() -> None:
    """The product moves its image, kernel and result; of the rest the shortcut alone is read, beside 4 x 64 numbers."""
    engine, compiled, eager = (simulate(block(), CARD, regime=each) for each in ("engine", "compiled", "eager"))
    assert moved(engine, "einsum")["conv2d"] == 2 * (2 * IMAGE + 64 * 64 * 9)
    assert moved(engine, "vector") == {"batch_norm_eval": 2 * 4 * 64, "add": 2 * IMAGE, "relu": 0}
    # compiled: one kernel reads the convolution's result and the shortcut, and writes
    assert moved(compiled, "vector") == {"batch_norm_eval": 2 * (IMAGE + 4 * 64), "add": 2 * IMAGE, "relu": 2 * IMAGE}
    assert moved(eager, "vector") == {"batch_norm_eval": 2 * (2 * IMAGE + 256), "add": 6 * IMAGE, "relu": 4 * IMAGE}
    assert engine.latency_s < compiled.latency_s < eager.latency_s


def test_nothing_joins_what_is_not_ready() -> None:
    """An addition of two branches joins the later one: the other branch is made after the first one's kernel began."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x, y):  # type: ignore[no-untyped-def]
            return nn.functional.relu(self.one(x)) + nn.functional.relu(self.two(y))

    workload = capture(Branches().eval(), (zeros(256, 64), zeros(256, 64)), dtype="fp16")
    rows = {row.op: row for row in simulate(workload, CARD, regime="engine").rows}
    size = 2 * 256 * 64
    assert rows["add"].dram_read_bytes == size and rows["add"].dram_write_bytes == 0  # the product writes in its place
    one = next(row for row in rows.values() if row.function == "relu")
    assert one.dram_read_bytes == one.dram_write_bytes == 0


def test_a_rotary_embedding_and_a_write_into_a_cache_are_one_kernel() -> None:
    """Queries are read once, with their cosines and sines, and what is stored are the keys in the cache; of two
    products of one input the second's result goes through the same kernel in an engine, and its own one elsewhere."""

    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.keys, self.values = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)

        def forward(self, x, cos, sin, key_cache, value_cache):  # type: ignore[no-untyped-def]
            k, v = self.keys(x), self.values(x)
            turned = k * cos + cat((-k[..., 32:], k[..., :32]), -1) * sin
            return cat((key_cache, turned), 1), cat((value_cache, v), 1)

    size, cache = 2 * 8 * 64, (8, 100, 64)
    shapes = [(8, 1, 64)] * 3 + [cache] * 2
    workload = capture(Rotary().eval(), tuple(zeros(*shape) for shape in shapes), dtype="fp16")
    for regime, kernels in (("engine", 1), ("compiled", 2), ("eager", 7)):
        rows = [row for row in simulate(workload, CARD, regime=regime).rows if row.kind != "einsum"]
        assert sum(row.latency_s > 1e-6 for row in rows) == kernels
        read, written = (sum(getattr(row, f"dram_{side}_bytes") for row in rows) for side in ("read", "write"))
        if regime != "eager":
            assert (read, written) == (4 * size, 2 * size)  # keys, cosines, sines and values; keys and values


def test_products_of_one_input_run_as_one_where_their_masks_keep_to_the_same_groups() -> None:
    """Two real 2:4 masks are not equal; in an engine they are one product of all columns, with one launch."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Linear(512, 512, bias=False) for _ in range(2))
            for layer, kept in ((self.one, [1.0, 0, 0, 1.0]), (self.two, [0, 1.0, 1.0, 0])):
                layer.weight.data = tensor(kept).repeat(512, 128)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return self.one(x) + self.two(x)

    work = capture(Pair().eval(), zeros(1, 512), dtype="fp16")
    apart, together = ([row.latency_s for row in simulate(work, CARD, regime=regime).rows if row.kind == "einsum"]
                       for regime in ("graph", "engine"))  # fmt: skip
    assert together[0] == pytest.approx(together[1] + 1e-6, rel=0.01)  # halves of one, the launch with the first
    assert sum(together) < apart[0] + 0.3 * apart[1]


def test_a_serving_stack_takes_its_time_before_each_run() -> None:
    work, quick = block(), load(CARD, {"gpu.regimes.serving.step_s": 0.0})
    times = [simulate(work, card, regime="serving").latency_s for card in (load(CARD), quick)]
    assert times[0] - times[1] == pytest.approx(1.8 * 1.3e-3)  # the host of that card is 1.8 times as slow


def test_products_launched_ahead_fetch_weights_while_the_memory_idles() -> None:
    """After a kernel of 1.1 us that moves next to nothing: as many weights as come in that time, at 3,350 GB/s; a small
    product has all of its weights then. Other kernels and other cards wait."""
    tensors = {name: Tensor(name, (64, size), "fp16", "input" if name == "x" else "weight")
               for name, size in (("x", 8), ("big", 1 << 20), ("small", 8))}  # fmt: skip
    norm = Vector("norm", "", "FF", ("x",), ("x",), "layer_norm", 8, 1.0)
    ops = [norm, *(replace(_product(), name=name, inputs=("x", name)) for name in ("big", "small")), norm]
    idle = [1.1e-6, 5.0, 5.0, 1.1e-6]
    ahead = load("nvidia-h100-sxm", {"gpu.regime": "engine"})
    assert hidden_s(ops, (), tensors, idle, ahead) == [0.0, 1.1e-6, 0.0, 0.0]
    assert hidden_s([norm, ops[2]], (), tensors, idle, ahead) == [0.0, 2 * 64 * 8 / 3350e9]
    assert hidden_s(ops, (), tensors, idle, load("nvidia-h100-sxm")) == [0.0] * 4
    assert ahead.launch_s == 0.0 and load(CARD, {"gpu.regime": "engine"}).launch_s == 1e-6


def _product() -> Einsum:
    work = capture(nn.Linear(8, 8, bias=False).eval(), zeros(8, 8), dtype="fp16")
    return next(op for op in work.ops if isinstance(op, Einsum))


def test_the_host_paces_short_kernels() -> None:
    """Three kernels of 1, 10 and 1 us, a launch of 5 us each: 5 to 6, 10 to 20, 20 to 21; a joined op needs none."""
    starts, ends = paced([0.0, 1.0, 11.0, 12.0], [1.0, 11.0, 12.0, 12.5], [5.0, 5.0, 5.0, 0.0], [0.0] * 4)
    assert starts == [5.0, 10.0, 20.0, 21.0] and ends == [6.0, 20.0, 21.0, 21.5]
    assert paced([0.0, 2.0], [2.0, 3.0], [0.0, 0.0], [0.0, 0.5]) == ([0.0, 1.5], [2.0, 2.5])  # launched ahead


def test_a_hosts_pace_and_what_no_python_calls() -> None:
    """Four operators at 16.5 us, of a host that takes 1.8 times as long, and two changes of layout at 6 us."""
    card = load(CARD, {"gpu.regime": "eager"})
    ops = with_layouts(block(side=4), balanced(150.0)).ops
    assert sum(launch_s(ops, {"bn"}, card)) == pytest.approx(1.8 * (3 * 16.5e-6 + 2 * 6e-6))
    backward = [replace(op, phase="BP") for op in ops]
    assert sum(launch_s(backward, (), card)) == pytest.approx(1.8 * 6 * 6e-6)
    result = simulate(block(side=4), card)
    assert result.latency_s >= 1.8 * (4 * 16.5e-6 + 2 * 6e-6)
    assert any("29.7 us of the host for each operator" in note for note in result.notes)


def test_attention_written_out_is_scaled_cast_and_copied() -> None:
    """Heads of a tensor that lies tokens first are no batch of one stride: eager PyTorch copies queries, keys and
    values of 2 x 16 tokens and 64 channels, but none of one sample; a softmax in fp32 writes 4 bytes a score, which a
    cast reads."""

    class Attention(nn.Module):
        def forward(self, q, k, v):  # type: ignore[no-untyped-def]
            q, k, v = (each.view(*each.shape[:2], 4, 16).transpose(1, 2) for each in (q, k, v))
            scores = nn.functional.softmax(q @ k.transpose(2, 3), dim=-1, dtype=float32).to(q.dtype)
            return (scores @ v).transpose(1, 2).contiguous()

    def rows(samples: int, regime: str) -> dict[str, list[OpRow]]:
        work = capture(Attention(), tuple(zeros(samples, 16, 64) for _ in range(3)), dtype="bf16")
        card = load(CARD, {"gpu.regime": regime, f"gpu.regimes.{regime}.fused_attention": False})
        found: dict[str, list[OpRow]] = {}
        for row in simulate(work, card).rows:
            found.setdefault(row.function, []).append(row)
        return found

    scores = 2 * 4 * 16 * 16
    eager = rows(2, "eager")
    assert [row.dram_write_bytes for row in eager["copy"]] == [2 * 2 * 16 * 64] * 4
    assert eager["softmax"][0].dram_write_bytes == eager["convert"][0].dram_read_bytes == 4 * scores
    assert eager["convert"][0].dram_write_bytes == 2 * scores
    assert len(rows(1, "eager")["copy"]) == 1 and len(rows(2, "compiled")["copy"]) == 1


def test_eager_kernels_for_any_shape_take_their_instructions_time() -> None:
    """2^27 elements on 108 SMs at 1,410 MHz: 1.1 a cycle where one operand is repeated, 55 cycles of 6,912 lanes for
    GELU, beside the generation's share of 2,039 GB/s for what the L2 does not hold; plain additions and compiled code
    wait for bytes."""
    elements, shape = 1 << 27, (1 << 10, 1 << 17)

    def seconds(function: str, inputs: dict[str, tuple[int, ...]], regime: str) -> float:
        tensors = {name: Tensor(name, each, "bf16", "activation") for name, each in {**inputs, "y": shape}.items()}
        op = Vector("op", "", "FF", tuple(inputs), ("y",), function, elements, 1.0, elementwise=True)
        card = load(CARD, {"gpu.tdp_w": 2000.0})  # at its own limit it would run GELU alone at a lower clock
        (row,) = simulate(Workload("op", tensors, (op,)), card, regime=regime).rows
        return row.latency_s - 1e-6 - 1.1e-6

    def bytes_s(moved: float) -> float:
        found = 0.36 * 40e6
        return (moved - found) / off_chip + found / max(11 * 108 * 1.41e9, off_chip)

    off_chip = calibration_of("ampere").streaming.share * 2039e9
    repeated, whole = {"x": shape, "b": (1, 1 << 17)}, {"x": shape, "b": shape}
    issue, special = elements / (1.1 * 108 * 1.41e9), elements * 55 / (6912 * 1.41e9)
    moved = bytes_s(4 * elements + 2 * (1 << 17))
    assert seconds("add", repeated, "eager") == pytest.approx((moved**3 + issue**3) ** (1 / 3), rel=1e-6)
    assert seconds("gelu", {"x": shape}, "eager") == pytest.approx(
        (bytes_s(4 * elements) ** 3 + special**3) ** (1 / 3), rel=1e-6
    )
    assert seconds("add", repeated, "compiled") == pytest.approx(moved, rel=1e-6)
    assert seconds("gelu", {"x": shape}, "compiled") == pytest.approx(bytes_s(4 * elements), rel=1e-6)
    assert seconds("add", whole, "eager") == pytest.approx(bytes_s(6 * elements), rel=1e-6)


def test_channels_first_images_are_turned_for_convolutions() -> None:
    """A 3x3 convolution turns its image and its result; a 1x1 one over whole multiples of 8 positions does not."""
    for kernel, side, turned in ((3, 56, 2), (1, 56, 0), (1, 14, 0)):
        ops = with_layouts(block(kernel, side), balanced(150.0)).ops
        assert [op.kind for op in ops].count("transfer") == turned
    assert [op.kind for op in with_layouts(block(1, 14), balanced(1.0)).ops].count("transfer") == 2  # 196 = 24.5 x 8


def test_automatic_mixed_precision_casts_around_normalisations() -> None:
    """The product's result is cast to 4 bytes, the normalisation writes 4 bytes, the next product gets 2."""
    model = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 64), nn.ReLU())
    workload = with_casts(capture(model.eval(), zeros(256, 64), dtype="fp16"), frozenset())
    assert [getattr(op, "function", "") for op in workload.ops] == ["", "cast", "layer_norm", "cast", "", "relu"]
    types = [workload.tensors[op.outputs[0]].dtype for op in workload.ops]
    assert types == ["fp16", "fp32", "fp32", "fp16", "fp16", "fp16"]


def test_products_of_one_input_run_as_one() -> None:
    """Three layers of 512 columns cost what one of 1,536 does."""

    class Three(nn.Module):
        def __init__(self, widths: tuple[int, ...]) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(1024, width, bias=False) for width in widths)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return tuple(part(x) for part in self.parts)

    three, one = (capture(Three(widths).eval(), zeros(64, 1024), dtype="bf16") for widths in ((512,) * 3, (1536,)))
    together, whole = (simulate(each, CARD, regime="engine").latency_s for each in (three, one))
    assert together == pytest.approx(whole, rel=1e-9)
    assert simulate(three, CARD, regime="graph").latency_s > 1.5 * whole


def test_a_cache_is_copied_where_nothing_grows_in_place() -> None:
    """A step of decoding: the cache of 64 tokens by 8 numbers grows by one; copied, both are read and written."""
    tensors = {name: Tensor(name, (tokens, 8), "fp16", role) for name, tokens, role in
               (("old", 64, "input"), ("new", 1, "input"), ("all", 65, "activation"))}  # type: ignore[arg-type] # fmt: skip
    cache = Transfer("cat", "", "FF", ("old", "new"), ("all",), "cat", 8, in_place=True)
    workload = Workload("cache", tensors, (cache,))
    grown, copied = (simulate(workload, CARD, regime=each).rows[0] for each in ("engine", "eager"))
    assert grown.dram_read_bytes + grown.dram_write_bytes == 2 * 2 * 8
    assert copied.dram_read_bytes + copied.dram_write_bytes == 2 * 2 * 65 * 8


def test_unknown_regimes_and_machines_without_any() -> None:
    with pytest.raises(
        AcceleratorError,
        match="no software regime 'tensorrt'; choose eager, megatron, compiled, graph, engine, serving",
    ):
        simulate(block(side=4), CARD, regime="tensorrt")
    with pytest.raises(AcceleratorError, match="sat-vcu1525 is no GPU and has no software regimes"):
        simulate(block(side=4), "sat-vcu1525", regime="eager")
    with pytest.raises(AcceleratorError, match=r"unknown regime 'x'; choose eager"):
        load(CARD, {"gpu.regime": "x"})
    with pytest.raises(AcceleratorError, match=r"gpu\.regimes: no table 'rocm'; there are cuda"):
        load(CARD, {"gpu.regimes": "rocm"})
    assert any("software regime engine" in note for note in simulate(block(side=4), CARD, regime="engine").notes)


def test_grouped_convolutions_are_packed_into_a_tile() -> None:
    """32 groups of 4 channels run as 2 products of 16 groups each, which are quicker than 32 narrow ones; the row has
    the convolution's own multiplications."""
    model = nn.Conv2d(128, 128, 3, padding=1, groups=32, bias=False)
    (row,) = simulate(capture(model, zeros(64, 128, 56, 56), dtype="bf16"), CARD, regime="engine").rows
    assert row.macs == 64 * 56 * 56 * 128 * 4 * 9 and row.effectual_macs == row.macs
    narrow = plain_gemm(64 * 56 * 56, 4, 36, "bf16", 16)
    assert row.latency_s < Pricer(load(CARD)).gemm(replace(narrow, batch=32)).latency_s


def test_the_command_line_takes_a_regime() -> None:
    from zerocast.analysis.commands.command_line import load_accelerator
    from zerocast.analysis.commands.compare import _under_regimes

    assert load_accelerator(CARD, None, "eager").gpu.regime == "eager"  # type: ignore[union-attr]
    machines = _under_regimes([load(CARD), load("sat-vcu1525")], ["eager", "engine"])
    assert [each.name for each in machines] == [f"{CARD} (eager)", f"{CARD} (engine)", "sat-vcu1525"]
