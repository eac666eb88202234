"""Pairs of products in blocks of rows within a network: hand counts, which pairs there are, never slower."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_workloads import attention
from test_residency import chain, dram

import zerocast
from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.library import load
from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.program.fusing import pairs
from zerocast.simulator.program.program import program
from zerocast.simulator.result import Result
from zerocast.workloads import Einsum, Vector, Workload

SMALL = {"memories.global_buffer.capacity_bytes": 262_144, "memories.dram.bandwidth_bytes_per_s": 16e9}


def chip(**more: Any) -> Accelerator:
    return load("tpu-like-128", SMALL | {f"schedule.{name}": value for name, value in more.items()})


def both(network: Workload, **more: Any) -> tuple[Result, Result]:
    return zerocast.simulate(network, chip()), zerocast.simulate(network, chip(fuse="pairs", **more))


def test_what_lies_between_never_leaves_the_chip() -> None:
    """16,384 x 128 bytes do not fit in 256 KiB: alone they go out and come back; in blocks only weights come again."""
    rows = 16_384
    plain, fused = both(chain([64, 128, 64], rows))
    assert dram(plain) == rows * (64 + 64) + 2 * rows * 128 + 2 * 64 * 128
    (stay,) = fused.residents
    block = stay.bytes // 128
    assert rows % block == 0 and stay.bytes <= 262_144 / 2
    assert dram(fused) == rows * (64 + 64) + rows // block * 2 * 64 * 128
    assert fused.latency_s <= plain.latency_s and fused.energy_j < plain.energy_j
    assert any(note.startswith("1 pairs of products run in blocks") for note in fused.notes)


def test_attention_keeps_its_scores_on_chip() -> None:
    """Queries, keys, values and the result cross the link, no score does; K and V come again for each block."""
    network = attention()
    planned = program(network, chip())
    (pair,) = pairs(planned)
    names = [planned.ops[place].name for place in pair.places]
    first, second = (op for op in network.ops if isinstance(op, Einsum))
    assert (names[0], names[-1]) == (first.name, second.name) and len(names) == 3
    plain, fused = both(network)
    assert {stay.tensor for stay in fused.residents} == set(pair.between)
    scores = sum(network.tensors[name].bytes for name in pair.between)
    blocks = network.tensors[pair.between[0]].bytes // (4 * fused.residents[0].bytes)  # of each of 4 heads
    weights = sum(network.tensors[op.inputs[1]].bytes for op in (first, second))
    assert dram(plain) - dram(fused) == 2 * scores - (blocks - 1) * weights


def test_pairs_are_those_whose_rows_stay_rows() -> None:
    def found(network: Workload) -> int:
        return len(list(pairs(program(network, chip()))))

    network = chain([64, 64, 64])
    first, second = network.ops
    assert isinstance(first, Einsum) and isinstance(second, Einsum)
    assert found(network) == 1
    handed_back = replace(network, meta={"outputs": ("t1", "t2")})
    assert found(handed_back) == 0
    transposed = replace(second, index=((((("k", 1),), (("m", 1),))), second.index[1], second.index[2]))
    assert found(network.with_ops((first, transposed))) == 0
    as_weight = replace(second, inputs=("w2", "t1"))
    assert found(network.with_ops((first, as_weight))) == 0
    tensors = {"r": replace(network.tensors["t1"], name="r"), "s": replace(network.tensors["t1"], name="s")}
    late = Vector("late", "", "FF", ("r",), ("s",), "relu", 64 * 64, 1.0, elementwise=True)
    add = Vector("add", "", "FF", ("t1", "s"), ("u",), "add", 64 * 64, 1.0, elementwise=True)
    tensors["u"] = replace(network.tensors["t1"], name="u")
    reads = replace(second, inputs=("u", "w2"))
    assert found(network.with_ops((late, first, add, reads), **tensors)) == 1
    assert found(network.with_ops((first, late, add, reads), **tensors)) == 0  # what is added is made in between


@pytest.mark.parametrize("residency", ["none", "activations"])
@pytest.mark.parametrize("rows", [512, 4096, 10_000])
@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_fusing_is_never_slower(residency: str, rows: int, objective: Any) -> None:
    network = chain([64, 256, 32, 256, 64], rows)
    plain = zerocast.simulate(network, chip(), objective=objective)
    fused = zerocast.simulate(network, chip(fuse="pairs", residency=residency), objective=objective)
    assert fused.latency_s <= plain.latency_s * (1 + 1e-12)
    if fused.latency_s == plain.latency_s:
        assert fused.energy_j <= plain.energy_j * (1 + 1e-12)
    assert fused.total("resident_saved_bytes") == pytest.approx(dram(plain) - dram(fused))
    assert fused.total("macs") == plain.total("macs")


def test_mappings_of_a_fused_run_give_its_figures_again() -> None:
    import yaml

    network = chain([64, 128, 64], 16_384)
    first = zerocast.simulate(network, chip(fuse="pairs"))
    again = zerocast.simulate(network, chip(fuse="pairs"), mapping=yaml.safe_load(first.mapping))
    assert (again.latency_s, again.energy_j, dram(again)) == (first.latency_s, first.energy_j, dram(first))


@pytest.mark.parametrize("name, words", [("edge-tpu-like", "systolic arrays"), ("systolic-16x16", "takes no results")])
def test_why_no_pair_is_fused_is_said(name: str, words: str) -> None:
    result = zerocast.simulate(chain([64, 128, 64]), load(name, {"schedule.fuse": "pairs"}))
    assert any("no pair of products is fused" in note and words in note for note in result.notes)
    with pytest.raises(AcceleratorError, match=r"schedule\.fuse"):
        load("nvidia-h100-sxm", {"schedule.fuse": "pairs"})
