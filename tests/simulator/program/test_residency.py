"""What stays on chip between ops: hand counts, capacities, brute force, and never slower than without."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zerocast
from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.library import load
from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import plain_gemm
from zerocast.simulator.program.program import program, resident_program
from zerocast.simulator.program.residency import Stay, candidates, stays
from zerocast.simulator.result import Result
from zerocast.workloads import Einsum, Op, Tensor, Transfer, Vector, Workload

RES = "schedule.residency"


def chain(widths: list[int], rows: int = 64, skips: tuple[tuple[int, int], ...] = (), dtype: str = "int8") -> Workload:
    """Matrix products one after another, t0 the input; skips: pairs (a, b), a sum of ta and tb (both of one width) that
    takes the place of tb."""
    tensors = {"t0": Tensor("t0", (rows, widths[0]), dtype, "input")}
    ops: list[Op] = []
    names = ["t0"]
    for number, (k, n) in enumerate(pairwise(widths), 1):
        w, t = f"w{number}", f"t{number}"
        tensors |= {w: Tensor(w, (n, k), dtype, "weight"), t: Tensor(t, (rows, n), dtype, "activation")}
        index = tuple(((((a, 1),), ((b, 1),))) for a, b in ("mk", "nk", "mn"))
        sizes = {"m": rows, "n": n, "k": k}
        ops.append(Einsum(f"fc{number}", f"fc{number}", "FF", (names[-1], w), (t,), sizes, index, {}, "linear"))
        names.append(t)
        for source, at in skips:
            if at == number:
                tensors[f"s{number}"] = replace(tensors[t], name=f"s{number}")
                elements = tensors[t].elements
                ops.append(
                    Vector(f"add{number}", "", "FF", (f"t{source}", t), (f"s{number}",), "softmax", elements, 1.0)
                )
                names[-1] = f"s{number}"
    return Workload("chain", tensors, tuple(ops), meta={"outputs": (names[-1],)})


def priced(workload: Workload, accelerator: str, **overrides: Any) -> tuple[Result, Result]:
    """Without and with activations that stay."""
    values = {name.replace("__", "."): value for name, value in overrides.items()}
    return tuple(
        zerocast.simulate(workload, load(accelerator, values | {RES: what})) for what in ("none", "activations")
    )  # type: ignore[return-value]


def dram(result: Result) -> float:
    return result.total("dram_read_bytes") + result.total("dram_write_bytes")


def test_what_a_chain_moves_off_chip_is_weights_input_and_result() -> None:
    plain, kept = priced(chain([256, 512, 384, 128]), "tpu-like-128")
    weights, inside = 256 * 512 + 512 * 384 + 384 * 128, 64 * (512 + 384)
    assert dram(plain) == weights + 64 * (256 + 128) + 2 * inside
    assert dram(kept) == weights + 64 * (256 + 128)
    assert kept.total("resident_saved_bytes") == 2 * inside
    saved_j = kept.total("resident_saved_j")
    assert saved_j == pytest.approx(plain.energy_j - kept.energy_j, rel=1e-9)
    # what stays is written once into the buffer, from which the array reads it anyway; off chip it went out and in
    # through a buffer, twice
    j = {memory.name: 8 * 1e-12 * pj for memory, pj in zip(load("tpu-like-128").memories, (3.9, 7.8125), strict=True)}
    assert saved_j == pytest.approx(inside * (2 * j["dram"] + j["global_buffer"]), rel=1e-9)
    assert [(each.tensor, each.first_op, each.last_op, each.bytes) for each in kept.residents] == [
        ("t1", "fc1", "fc2", 64 * 512), ("t2", "fc2", "fc3", 64 * 384)]  # fmt: skip
    assert kept.without_residents["latency_s"] == plain.latency_s
    assert any("stays on chip" in note for note in kept.notes)


def test_mlp0_on_the_first_tpu_moves_its_weights_once() -> None:
    """Five layers of 2,000 x 2,000 at batch 200 (Jouppi et al., ISCA 2017, table 1: 20 M weights), int8."""
    assert load("tpu-v1").schedule.residency == "activations"
    plain, kept = priced(chain([2000] * 6, rows=200), "tpu-v1")
    assert dram(kept) == 5 * 2000 * 2000 + 2 * 200 * 2000
    assert dram(plain) == 5 * 2000 * 2000 + 10 * 200 * 2000
    assert {stay.memory for stay in kept.residents} == {"unified_buffer"}
    assert kept.latency_s < plain.latency_s


def test_weights_that_lie_on_chip_before_the_run_are_not_read() -> None:
    """Three weights of 128, 192 and 48 KiB: all fit the weights' memory of 1 MiB, so that the network's input and
    result are all that moves; in a smaller one some do."""
    network, sizes = chain([256, 512, 384, 128]), {"w1": 256 * 512, "w2": 512 * 384, "w3": 384 * 128}
    runs = {what: zerocast.simulate(network, load("edge-tpu-like", {RES: what})) for what in ("all", "preloaded")}
    assert dram(runs["all"]) == sum(sizes.values()) + 64 * (256 + 128)
    assert dram(runs["preloaded"]) == 64 * (256 + 128)
    assert runs["preloaded"].latency_s < runs["all"].latency_s and runs["preloaded"].energy_j < runs["all"].energy_j
    assert any(note.startswith("3 weights, 0.377 MB, lie on chip before") for note in runs["preloaded"].notes)
    for room in (192 * 1024, 100 * 1024):
        small = {"memories.weight_store.capacity_bytes": room}
        plain, kept = (
            zerocast.simulate(network, load("edge-tpu-like", small | {RES: what})) for what in ("all", "preloaded")
        )
        there = {each.tensor: each.bytes for each in kept.residents if each.tensor in sizes}
        assert there and sum(there.values()) <= room and all(sizes[name] == size for name, size in there.items())
        assert dram(kept) >= 64 * (256 + 128) + sum(size for name, size in sizes.items() if name not in there)
        assert dram(kept) < dram(plain) and kept.latency_s <= plain.latency_s


@pytest.mark.slow
@pytest.mark.parametrize("accelerator", ["tpu-like-128", "edge-tpu-like"])
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "bert_base"])
def test_real_networks_save_what_residents_say(name: str, accelerator: str) -> None:
    """The bytes that are saved are those that a count by hand of readers and writers gives."""
    plain, kept = priced(_captured(name), accelerator)
    ran = kept.ran
    assert ran is not None
    place = {op.name: number for number, op in enumerate(ran.ops)}
    views = {op.outputs[0]: op.inputs[0] for op in ran.ops if isinstance(op, Transfer) and op.elements == 0}

    def root(tensor: str) -> str:
        return root(views[tensor]) if tensor in views else tensor

    saved = 0
    for stay in kept.residents:
        life = ran.ops[place[stay.first_op] : place[stay.last_op] + 1]
        moving = [op for op in life if not (isinstance(op, Transfer) and op.elements == 0)]
        reads = [ran.tensors[t].bytes for op in moving[1:] for t in dict.fromkeys(op.inputs) if root(t) == stay.tensor]
        later = [op for op in ran.ops[place[stay.last_op] + 1 :] if stay.tensor in map(root, op.inputs)]
        made = stay.tensor in moving[0].outputs and not any(root(t) == stay.tensor for t in ran.outputs)
        stored = made and all(isinstance(op, Transfer) and op.elements == 0 for op in later)
        assert stay.saved_bytes == sum(reads) + stored * ran.tensors[stay.tensor].bytes
        saved += stay.saved_bytes
    share = 1 - dram(kept) / dram(plain)
    assert 0.2 < share < 0.8
    assert dram(plain) - dram(kept) == pytest.approx(saved, rel=0.1)  # halos and less room for tiles are not in a count
    assert kept.latency_s <= plain.latency_s and kept.energy_j < plain.energy_j


@lru_cache
def _captured(name: str) -> Workload:
    model, inputs = zerocast.build(name)
    return zerocast.capture(model, inputs, dtype="int8")


networks = st.builds(
    lambda widths, rows, skip: chain(widths, rows, ((skip, skip + 2),) if widths[skip] == widths[skip + 2] else ()),
    st.lists(st.sampled_from([32, 64, 96]), min_size=4, max_size=6), st.sampled_from([16, 40, 64]), st.integers(1, 1),
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(networks, st.sampled_from([6_000, 12_000, 24_000, 60_000]), st.sampled_from(["latency", "energy", "edp"]),
       st.sampled_from(["systolic-16x16", "edge-tpu-like", "tpu-v4-like"]))  # fmt: skip
def test_nothing_is_slower_for_what_stays(network: Workload, size: int, objective: Any, name: str) -> None:
    buffers = {"systolic-16x16": "output_buffer", "edge-tpu-like": "feature_store", "tpu-v4-like": "common_memory"}
    memory = buffers[name]
    values = {f"memories.{memory}.capacity_bytes": size * (20 if name == "tpu-v4-like" else 1)}
    if name == "systolic-16x16":
        values = {"memories.input_buffer.takes_results": True, "memories.input_buffer.capacity_bytes": size}
    if name == "tpu-v4-like":
        network = replace(network, tensors={k: replace(t, dtype="bf16") for k, t in network.tensors.items()})
    try:
        plain = zerocast.simulate(network, load(name, values), objective=objective)
    except SimulationError:
        return
    kept = zerocast.simulate(network, load(name, values | {RES: "all"}), objective=objective)
    assert kept.latency_s <= plain.latency_s * (1 + 1e-12)
    if kept.latency_s == plain.latency_s:
        assert kept.energy_j <= plain.energy_j * (1 + 1e-12)
    assert kept.total("resident_saved_bytes") == pytest.approx(dram(plain) - dram(kept))


def alive(found: list[Stay], ops: int) -> dict[str, np.ndarray]:
    """Bytes in each memory while each op runs."""
    used: dict[str, np.ndarray] = {}
    for stay in found:
        used.setdefault(stay.memory, np.zeros(ops))[stay.start : stay.end + 1] += stay.bytes
    return used


def possible(found: tuple[Stay, ...], ops: int, capacity: float) -> bool:
    reads = [(stay.tensor, touch.place) for stay in found for touch in stay.touches[0 if stay.before else 1 :]]
    return len(set(reads)) == len(reads) and all(used.max() <= capacity for used in alive(list(found), ops).values())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([32, 64, 96]), min_size=4, max_size=4), st.sampled_from([2000, 4000, 6000, 9000]),
       st.sampled_from(["activations", "preloaded"]))  # fmt: skip
def test_what_stays_is_the_best_of_all_choices(widths: list[int], capacity: int, what: str) -> None:
    """Against brute force over all sets of candidates."""
    chip = load("tpu-like-128", {RES: what, "memories.global_buffer.capacity_bytes": capacity})
    skips = ((1, 3),) if widths[1] == widths[3] else ()
    planned = program(chain(widths, 32, skips), chip)
    every, ops = list(candidates(planned.plan, chip)), len(planned.ops)
    sets = (some for count in range(len(every) + 1) for some in combinations(every, count))
    best = max(sum(stay.saved_bytes for stay in some) for some in sets if possible(some, ops, capacity))
    found = stays(planned.plan, chip, 1.0)
    assert possible(tuple(found), ops, capacity)
    assert best * (1 - 1e-3) <= sum(stay.saved_bytes for stay in found) <= best


def test_a_result_that_is_handed_back_or_read_elsewhere_is_stored() -> None:
    network = chain([64, 64, 64])
    network = replace(network, meta={"outputs": ("t1", "t2")})
    plain, kept = priced(network, "tpu-like-128")
    assert dram(plain) - dram(kept) == 64 * 64  # the read alone
    assert [stay.saved_bytes for stay in kept.residents] == [64 * 64]


def test_a_view_lives_where_its_tensor_does() -> None:
    network = chain([64, 64, 64])
    first, second = network.ops
    view = Transfer("view", "", "FF", ("t1",), ("v1",), "reshape", 0)
    ops = (first, view, replace(second, inputs=("v1", "w2")))
    network = network.with_ops(ops, v1=replace(network.tensors["t1"], name="v1"))
    plain, kept = priced(network, "tpu-like-128")
    assert dram(plain) - dram(kept) == 2 * 64 * 64
    assert [(stay.tensor, stay.last_op) for stay in kept.residents] == [("t1", "fc2")]


def test_an_operand_stays_only_where_the_array_takes_it_from() -> None:
    """A result that is read as the weight of a product cannot stay in a buffer of inputs."""
    network = chain([64, 64, 64])
    first, second = network.ops
    assert isinstance(second, Einsum)
    swapped = replace(second, inputs=("w2", "t1"), outputs=("t2",))
    network = network.with_ops((first, swapped))
    plain, kept = priced(network, "tpu-v1")
    assert not kept.residents and dram(plain) == dram(kept)
    assert any("no tensor that fits is worth it" in note for note in kept.notes)


@pytest.mark.parametrize("name", ["tpu-like-128", "tpu-v4-like", "eyeriss-v1", "edge-tpu-like"])
def test_taken_bytes_are_as_a_smaller_memory(name: str) -> None:
    chip = load(name)
    memory = next(each for each in chip.at_depth(1) if "input" in each.holds)
    assert memory.capacity_bytes is not None
    taken = memory.capacity_bytes - math.floor(min(memory.capacity_bytes / 5, 524_288) / 4096) * 4096
    gemm = plain_gemm(700, 1200, 900, chip.compute.native_type, 16)
    smaller = load(name, {f"memories.{memory.name}.capacity_bytes": memory.capacity_bytes - taken,
                          f"memories.{memory.name}.energy": None,
                          f"memories.{memory.name}.j_per_byte": _price(chip, memory.name)})  # fmt: skip
    less, small = (Pricer(each, "energy").figures([one]) for each, one in
                   ((chip, replace(gemm, taken=((memory.name, taken),))), (smaller, gemm)))  # fmt: skip
    for column in ("latency_s", "dram_read_bytes", "dram_write_bytes"):
        assert less.columns[column] == pytest.approx(small.columns[column], rel=1e-9)
    assert less.columns["dram_read_bytes"][0] > Pricer(chip, "energy").figures([gemm]).columns["dram_read_bytes"][0]


def _price(chip: Accelerator, memory: str) -> float:
    return float(Pricer(chip).rates.j_per_byte[memory][0])


@pytest.mark.parametrize("name", ["tpu-like-128", "tpu-v4-like", "eyeriss-v1", "edge-tpu-like", "cnvlutin"])
@pytest.mark.parametrize("side", ["input", "weight", "output"])
def test_nothing_of_an_operand_on_chip_crosses_the_link(name: str, side: str) -> None:
    chip = load(name)
    gemm = plain_gemm(96, 64, 128, chip.compute.native_type, 16)
    gemm = replace(gemm, **{side: replace(getattr(gemm, side), on_chip=True)})
    row = Pricer(chip).gemm(gemm)
    assert getattr(row, f"dram_{side}_bytes") == 0
    others = {"input": 96 * 128, "weight": 64 * 128, "output": 96 * 64}
    if name != "cnvlutin":  # whose memories keep positions beside values
        assert row.dram_read_bytes + row.dram_write_bytes >= 2 * (sum(others.values()) - others[side])
    assert row.dram_read_bytes + row.dram_write_bytes > 0


def test_a_streamed_result_takes_its_own_width_in_the_output_buffer() -> None:
    """The buffer holds the sums in the width of their type until the unit has taken them."""
    chip = load("systolic-16x16", {"memories.output_buffer.capacity_bytes": 2 * 2 * 16 * 16 * 2})
    gemm = plain_gemm(64, 64, 64, "fp16", 16)
    streamed = replace(gemm, output=replace(gemm.output, on_chip=True))
    for each in (gemm, streamed):
        row = Pricer(chip).gemm(each)
        assert row.tile_m * row.tile_n * 2 * 2 <= 2 * 2 * 16 * 16 * 2


def test_given_mappings_of_a_run_give_its_figures_again() -> None:
    network, chip = chain([96, 64, 96, 64], 64, ((1, 3),)), load("edge-tpu-like", {RES: "activations"})
    first = zerocast.simulate(network, chip)
    again = zerocast.simulate(network, chip, mapping=_page(first))
    assert (again.latency_s, again.energy_j, dram(again)) == (first.latency_s, first.energy_j, dram(first))
    assert again.residents == first.residents


def _page(result: Result) -> Any:
    import yaml

    return yaml.safe_load(result.mapping)


def test_many_designs_are_priced_as_each_alone() -> None:
    network = chain([96, 64, 96, 64])
    chips = [load("edge-tpu-like", {RES: "activations", "memories.feature_store.capacity_bytes": size})
             for size in (8_000, 16_000, 1_000_000)]  # fmt: skip
    for chip, totals in zip(chips, zerocast.simulate(network, chips), strict=True):
        alone = zerocast.simulate(network, chip)
        assert not isinstance(totals, SimulationError)
        assert totals["latency_s"] == alone.latency_s
        assert totals["resident_saved_bytes"] == alone.total("resident_saved_bytes")


@pytest.mark.slow
def test_a_training_step_keeps_what_it_reads_back_soon() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(3)))
    workload = zerocast.capture(model, (torch.zeros(32, 64),), training=True)
    plain, kept = priced(workload, "tpu-like-128")
    every = zerocast.simulate(workload, load("tpu-like-128", {RES: "all"}))
    assert kept.latency_s <= plain.latency_s and dram(kept) < dram(plain)
    assert any(stay.tensor.endswith("weight") for stay in every.residents)
    assert kept.footprint.peak_bytes <= plain.footprint.peak_bytes


def test_residents_lessen_the_room_of_the_ops_beside_them() -> None:
    chip = load("tpu-like-128", {RES: "activations"})
    planned = program(chain([64, 64, 64], 32), chip)
    found = resident_program(planned, chip, stays(planned.plan, chip, 0.9))
    taken = {name: dict(parts[0].taken) for name, parts in found.products.items()}
    assert taken == {"fc1": {"global_buffer": 32 * 64}, "fc2": {"global_buffer": 32 * 64}}
    assert found.products["fc1"][0].output.on_chip and found.products["fc2"][0].input.on_chip


@pytest.mark.parametrize(
    "name, overrides, words",
    [
        ("nvidia-h100-sxm", {RES: "activations"}, "schedule.residency: a GPU's kernels"),
        ("tpu-like-128", {"memories.dram.takes_results": True}, "memories.dram.takes_results"),
        ("tpu-v4-like", {"memories.vector_memory.takes_results": True}, "memories.vector_memory.takes_results"),
        ("tpu-like-128", {RES: "some"}, "schedule.residency"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(AcceleratorError, match=words):
        load(name, overrides)


def test_why_nothing_stays_is_said() -> None:
    chip = load("nvdla-small")
    assert not any(memory.takes_results for memory in chip.memories)
    network = chain([64, 64, 64])
    result = zerocast.simulate(network, load("nvdla-small", {RES: "activations"}))
    assert not result.residents
    assert any("nothing stays on chip" in note for note in result.notes)
