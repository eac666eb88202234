"""Iterations over groups of cards: layers dealt in order, batches to replicas."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.cli import main
from zerocast.simulator import SimulationError, simulate
from zerocast.simulator.cards import Layout, iteration
from zerocast.simulator.gpu.streaming import streamed_s
from zerocast.simulator.result import Result
from zerocast.workloads import capture

CARD = "nvidia-a100-sxm-80g"
WIDTH, ROWS, LAYERS = 1024, 512, 6


@cache
def run(training: bool = True) -> Result:
    """A step of six layers of 1,024 x 1,024 for 512 rows, in 16 bits."""
    layers = [torch.nn.Linear(WIDTH, WIDTH, bias=False, device="meta") for _ in range(LAYERS)]
    model = torch.nn.Sequential(*layers)
    work = capture(model, torch.zeros(ROWS, WIDTH, device="meta"), training=training, dtype="fp16")
    return simulate(work, load(CARD), regime="eager")


def test_one_group_and_one_micro_batch_is_the_run() -> None:
    found = iteration(run(), load(CARD), Layout())
    assert found.latency_s == pytest.approx(run().latency_s, rel=1e-12)
    assert found.energy_j == pytest.approx(run().energy_j, rel=1e-12)
    assert found.cards == 1 and found.idle_share == pytest.approx(0.0, abs=1e-12)


@given(st.sampled_from([1, 2, 3, 6]), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_stages_share_the_run_and_more_micro_batches_wait_less(stages: int, batches: int) -> None:
    found = iteration(run(), load(CARD), Layout(stages, 1, batches))
    send_s = 2 * (1e-5 + ROWS * WIDTH * 2 / (300e9 * 0.78)) if stages > 1 else 0.0
    own = sum(stage.micro_batch_s + stage.update_s for stage in found.stages) - (stages - 1) * send_s
    assert own == pytest.approx(run().latency_s, rel=1e-9)
    slowest, update = (max(getattr(stage, name) for stage in found.stages) for name in ("micro_batch_s", "update_s"))
    once = sum(stage.micro_batch_s for stage in found.stages)
    assert found.latency_s == pytest.approx(once + (batches - 1) * slowest + update, rel=1e-9)
    assert iteration(run(), load(CARD), Layout(stages, 1, batches + 1)).idle_share <= found.idle_share + 1e-12


def test_micro_batches_of_a_card_without_a_link_need_none() -> None:
    """Eight micro-batches on one card: eight times all but the update, which comes once."""
    update_s = sum(row.end_s - row.start_s for row in run().rows if row.phase == "UPDATE")
    found = iteration(run(), alone(), Layout(1, 1, 8))
    assert found.latency_s == iteration(run(), load(CARD), Layout(1, 1, 8)).latency_s
    assert 8 * run().latency_s - 7 * update_s == pytest.approx(found.latency_s, rel=0.05)


def test_layers_are_dealt_in_order_and_as_many_to_each_stage() -> None:
    found = iteration(run(), load(CARD), Layout(3))
    layers = [str(number) for number in range(LAYERS)]
    assert [(stage.first_layer, stage.last_layer) for stage in found.stages][:2] == [("0", "1"), ("2", "3")]
    assert found.stages[2].first_layer == layers[4]


PLANS = ({}, {"optimizer": "adamw"}, {"optimizer": "adamw:bf16", "per_layer": True}, {"checkpoints": ("*",)})


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_one_stage_with_one_micro_batch_needs_what_the_run_needs_to_the_byte(
    plan: dict[str, Any], training: bool
) -> None:
    model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()) for _ in range(4)))
    work = capture(model, torch.zeros(32, 64), training=training, dtype="bf16", **(plan if training else {}))
    result = simulate(work, load(CARD), regime="eager")
    assert iteration(result, load(CARD), Layout()).stages[0].memory_bytes == result.footprint.peak_bytes


def test_memory_of_stages_by_hand() -> None:
    """Two layers a stage of 2 MiB, whose inputs, outputs and gradients are of 8 MiB each. The middle stage is fullest
    when it has made the gradients of its second layer: those of weight and input, beside the output's, and both layers'
    inputs. Micro-batches that follow leave their gradients of both weights there; each that is on its way, two layers'
    inputs."""
    layers = [torch.nn.Linear(WIDTH, WIDTH, bias=False, device="meta") for _ in range(LAYERS)]
    work = capture(torch.nn.Sequential(*layers), torch.zeros(8 * ROWS, WIDTH, device="meta"), training=True,
                   dtype="bf16", optimizer="sgd:bf16")  # fmt: skip
    result = simulate(work, load(CARD), regime="eager")
    weight, rows = WIDTH * WIDTH * 2, 8 * ROWS * WIDTH * 2

    def needs(batches: int) -> list[int]:
        return [stage.memory_bytes for stage in iteration(result, load(CARD), Layout(3, 1, batches)).stages]

    assert needs(1)[:2] == [3 * weight + 4 * rows] * 2
    assert needs(2)[:2] == [4 * weight + 6 * rows] * 2
    assert needs(8)[:2] == needs(3)[:2] == [4 * weight + 8 * rows, 4 * weight + 6 * rows]  # 3 - number on their way


def test_whole_blocks_are_dealt_where_they_are_small() -> None:
    """Seven blocks of three layers over two and three stages, and over ten, which take blocks apart."""
    blocks = [torch.nn.Sequential(*(torch.nn.Linear(64, 64, device="meta") for _ in range(3))) for _ in range(7)]
    work = capture(torch.nn.Sequential(*blocks), torch.zeros(32, 64, device="meta"), dtype="bf16")
    result = simulate(work, load(CARD), regime="eager")

    def firsts(stages: int) -> list[str]:
        return [stage.first_layer for stage in iteration(result, load(CARD), Layout(stages)).stages]

    assert firsts(2) == ["0.0", "3.0"]
    assert firsts(3) == ["0.0", "2.0", "5.0"]
    assert firsts(10)[:4] == ["0.0", "0.2", "1.1", "2.0"]


def test_what_a_checkpoint_computes_again_stays_with_its_layers() -> None:
    model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()) for _ in range(4)))
    work = capture(model, torch.zeros(32, 64), training=True, dtype="bf16", checkpoints=("*",))
    result = simulate(work, load(CARD), regime="eager")
    found = iteration(result, load(CARD), Layout(2))
    assert [(stage.first_layer, stage.last_layer) for stage in found.stages] == [("0.0", "1.1"), ("2.0", "")]


def test_blocks_are_cut_where_the_least_is_sent() -> None:
    """A block of normalisation, product and residual: one tensor lies between blocks, two within."""

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.product = torch.nn.LayerNorm(WIDTH), torch.nn.Linear(WIDTH, WIDTH)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.product(self.norm(x))

    model = torch.nn.Sequential(*(Block() for _ in range(4))).to("meta")
    work = capture(model, torch.zeros(ROWS, WIDTH, device="meta"), dtype="fp16")
    found = iteration(simulate(work, load(CARD), regime="eager"), load(CARD), Layout(2))
    assert [stage.first_layer for stage in found.stages] == ["0.norm", "2.norm"]


def test_replicas_add_up_their_gradients() -> None:
    """Six weights of 2 MiB over 4 replicas: 2 * 3/4 of 12.6 MB at 0.78 of 300 GB/s and 10 us, copied twice."""
    found = iteration(run(), load(CARD), Layout(1, 4))
    gradients = LAYERS * WIDTH * WIDTH * 2
    copies = float(streamed_s(load(CARD), 4 * gradients))
    assert found.stages[0].reduce_s == pytest.approx(copies + 1e-5 + 1.5 * gradients / (300e9 * 0.78))
    assert found.latency_s == pytest.approx(run().latency_s + found.stages[0].reduce_s)
    assert found.cards == 4
    assert iteration(run(False), load(CARD), Layout(1, 4)).stages[0].reduce_s == 0.0


@pytest.mark.parametrize(("mib", "bytes_per_s", "hidden"), [(2, 300e9, True), (2, 3e9, False), (25, 300e9, False)])
def test_buckets_of_gradients_pass_beside_the_backward_pass(mib: int, bytes_per_s: float, hidden: bool) -> None:
    """Six buckets of a weight each, made one after another: over a quick link the last alone is seen, over a slow one
    all but what five sixths of the pass hide. One bucket that holds all waits for the end."""
    card = load(CARD, {"gpu.regime": "eager", "gpu.regimes.eager.bucket_bytes": mib * 2**20,
                       "gpu.link.bytes_per_s": bytes_per_s})  # fmt: skip
    gradients = LAYERS * WIDTH * WIDTH * 2
    buckets = LAYERS if mib == 2 else 1
    one_s = 1e-5 + 1.5 * gradients / buckets / (0.78 * bytes_per_s)
    ends = sorted((row.end_s, row.phase) for row in run().rows)
    backward_s = sum(end - start for (start, _), (end, phase) in itertools.pairwise(ends) if phase in ("BP", "WU"))
    shown_s = one_s if hidden else buckets * one_s - (1 - 1 / buckets) * backward_s
    copies = float(streamed_s(card, 4 * gradients))
    assert iteration(run(), card, Layout(1, 4)).stages[0].reduce_s == pytest.approx(copies + shown_s)


def test_what_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(SimulationError, match="6 layers with weights"):
        iteration(run(), load(CARD), Layout(7))
    for numbers in itertools.permutations((0, 1, 1)):
        with pytest.raises(SimulationError, match="must be 1 or more"):
            Layout(*numbers)
    with pytest.raises(SimulationError, match="no GPU"):
        iteration(run(), load("systolic-32x32"), Layout(2))
    with pytest.raises(SimulationError, match=r"describe one in gpu\.link"):
        iteration(run(), alone(), Layout(2))
    small = load(CARD, {"memories.hbm.capacity_bytes": 1e6})
    with pytest.raises(SimulationError, match=r"stage 1 of 2 needs 0\.1 GB.*--allow-overflow"):
        iteration(run(), small, Layout(2))
    assert iteration(run(), small, Layout(2), allow_overflow=True) == iteration(run(), load(CARD), Layout(2))


def alone() -> Accelerator:
    """The card without a link."""
    card = load(CARD)
    assert card.gpu is not None
    return card.model_copy(update={"gpu": card.gpu.model_copy(update={"link": None})})


def test_run_tells_of_the_iteration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["run", "resnet18", "--image", "64", "--training", "--accelerator", CARD, "--pipeline", "2",
             "--data-parallel", "2", "--micro-batches", "4", "--out", str(tmp_path)]  # fmt: skip
    assert main(asked) == 0
    told = json.loads((tmp_path / "iteration.json").read_text(encoding="utf-8"))
    assert "4 micro-batches on each of 2 replicas of 2 stages, 4 cards" in " ".join(capsys.readouterr().out.split())
    paces = [stage["micro_batch_s"] for stage in told["stages"]]
    last = max(stage["update_s"] + stage["reduce_s"] for stage in told["stages"])
    assert told["latency_s"] == pytest.approx(sum(paces) + 3 * max(paces) + last)
    assert main([*asked[:-2], "--pipeline", "0", "--out", str(tmp_path)]) != 0
    assert "pipeline 0 (--pipeline): must be 1 or more" in capsys.readouterr().err


def test_more_stages_than_layers_are_refused_before_anything_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["run", "resnet18", "--image", "64", "--accelerator", CARD, "--pipeline", "200", "--out", str(tmp_path)]
    assert main(asked) == 2
    said = capsys.readouterr()
    assert "a pipeline of 200 stages: the network has 21 layers" in said.err and not said.out
    assert not (tmp_path / "report.html").exists()
