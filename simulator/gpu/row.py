"""Rows of the result table for products on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from zerocast.accelerators.schema import Accelerator, Unit
from zerocast.accelerators.tables import energy_table
from zerocast.simulator.cost import OpRow
from zerocast.simulator.energy import access_j_per_byte
from zerocast.simulator.gpu.card import Card, card_of, gpu_part, type_class
from zerocast.simulator.gpu.convolution import Winograd, direct_seconds, direct_unit, winograd
from zerocast.simulator.gpu.fit.calibration import Calibrated, calibration_of
from zerocast.simulator.gpu.fit.lattice import lattice_of
from zerocast.simulator.gpu.power import switching
from zerocast.simulator.gpu.predict import UNSEEN_BAR, Prediction, predict, quicker, with_doubt
from zerocast.simulator.gpu.problem import Problem, kept_share, problem, weight_share
from zerocast.simulator.gpu.rules import cores_refusal, group_of, is_structured
from zerocast.simulator.gpu.sparse import kernel_refusal, options, sparse_row, vector_product
from zerocast.simulator.gpu.streaming import found_bytes, streamed_s
from zerocast.simulator.priced import product_row
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.pairs import effectual_macs
from zerocast.workloads.ir import BITS


def gpu_rows(gemms: Sequence[Gemm], accelerator: Accelerator) -> list[OpRow]:
    """Row of each product under the kernel chosen for it; op, layer and schedule times are left open.

    Zeros run on the quickest of the 2:4 kernel, the sparse kernels that take them and the dense one (a user would keep
    a layer that loses dense); `note` gives the times. Latencies leave out the gap between kernel starts
    (`gpu.launch_floor_s`), which `host.launch_overhead_s` adds for every op. Static power is in no row.
    Off-chip bytes are those that a product asks for, each once; what the L2 still holds is in the time alone.
    Raises `SimulationError` for a data type that the card lacks and for a calibration that cannot be read.
    """
    rows: list[OpRow | None] = [None] * len(gemms)
    for types in dict.fromkeys(gemm.types for gemm in gemms):
        places = [place for place, gemm in enumerate(gemms) if gemm.types == types]
        for place, row in zip(places, _rows([gemms[i] for i in places], accelerator), strict=True):
            rows[place] = row
    return [row for row in rows if row is not None]


def _rows(gemms: list[Gemm], accelerator: Accelerator) -> list[OpRow]:
    """Rows of products of the same data types."""
    dtype = gemms[0].dtype
    card, kind = card_of(accelerator, dtype), type_class(accelerator, dtype)
    calibration = calibration_of(gpu_part(accelerator).calibration)
    dense_class = calibration.of(f"dense_{kind}")
    lattice = lattice_of(accelerator.name, f"dense_{kind}")
    mixed = gemms[0].weight.bits < BITS[dtype]
    dense = predict(_problem(gemms, accelerator, [0] * len(gemms)), dense_class, lattice=lattice, mixed=mixed)
    # a lattice is of products by a matrix library: convolutions have kernels of their own
    windows = np.array([gemm.conv is not None for gemm in gemms])
    dense = dense.times(np.where(windows, dense.chosen.seconds / dense.seconds, 1.0)) if lattice else dense
    if kind == "int8" and gpu_part(accelerator).software.own_int8:
        own = predict(_problem(gemms, accelerator, [0] * len(gemms)), calibration.of("dense_16bit"))
        dense = quicker(dense, own, np.arange(len(gemms)))
    rows = [_row(gemm, accelerator, card, dense, i, dense_class, 0) for i, gemm in enumerate(gemms)]
    for place, gemm in enumerate(gemms):
        if (unit := direct_unit(gemm, accelerator)) is not None:
            rows[place] = _direct_row(rows[place], gemm, accelerator, card, unit, dense_class)
        elif gemm.streams:
            rows[place] = _cache_row(rows[place], gemm, accelerator, card)
        elif kind == "fp32" and (tiled := winograd(gemm, accelerator, card, dense_class)) is not None:
            rows[place] = _winograd_row(rows[place], gemm, accelerator, card, tiled)
        elif (vector := vector_product(gemm, accelerator, card)) is not None:
            rows[place] = _with_energy(sparse_row(rows[place], gemm, vector, card), gemm, accelerator)
    _take_sparse_cores(rows, gemms, accelerator, dtype, dense)
    return [_quickest(row, gemm, accelerator, card) for row, gemm in zip(rows, gemms, strict=True)]


def _take_sparse_cores(
    rows: list[OpRow], gemms: list[Gemm], accelerator: Accelerator, dtype: str, dense: Prediction
) -> None:
    """Put the row of the 2:4 kernel in the place of the dense one where it is quicker, else say why it is not."""
    card, kind = card_of(accelerator, dtype), type_class(accelerator, dtype)
    reasons = [cores_refusal(gemm, accelerator) for gemm in gemms]
    for place, reason in enumerate(reasons):
        if reason:
            rows[place] = replace(rows[place], fallback="refused", note=f"dense: {reason}; {rows[place].note}")
    wanted = [i for i, gemm in enumerate(gemms) if is_structured(gemm) and not reasons[i]]
    if not wanted:
        return
    sparse_class = calibration_of(gpu_part(accelerator).calibration).of(f"sparse_{kind}")
    groups = [group_of(gemms[i].weight.structured, accelerator.sparsity.weight.max_group) for i in wanted]
    mixed = gemms[0].weight.bits < BITS[dtype]
    sparse = predict(_problem([gemms[i] for i in wanted], accelerator, groups), sparse_class, mixed=mixed)
    sparse = with_doubt(sparse, dense[np.array(wanted)])
    few = [j for j, i in enumerate(wanted) if gemms[i].m <= gpu_part(accelerator).software.few_rows]
    if few:
        narrow = _problem([gemms[wanted[j]] for j in few], accelerator, [groups[j] for j in few])
        dense_class = calibration_of(gpu_part(accelerator).calibration).of(f"dense_{kind}")
        sparse = quicker(sparse, predict(narrow, dense_class, mixed=True), np.array(few))
    for j, place in enumerate(wanted):
        row = _row(gemms[place], accelerator, card, sparse, j, sparse_class, groups[j])
        dense_s, sparse_s = rows[place].latency_s, row.latency_s
        times = f"2:{groups[j]} {sparse.seconds[j] * 1e6:.3g} us, dense {dense.seconds[place] * 1e6:.3g} us"
        if sparse.seconds[j] < dense.seconds[place]:
            rows[place] = replace(row, note=f"{times}; {row.note}")
        else:
            note = f"sparse loses, dense kernel used: {times}; {rows[place].note}"
            rows[place] = replace(rows[place], fallback="slower", note=note)
        rows[place] = replace(rows[place], dense_kernel_s=dense_s, sparse_kernel_s=sparse_s)


def _quickest(row: OpRow, gemm: Gemm, accelerator: Accelerator, card: Card) -> OpRow:
    """The row on the quickest sparse kernel where one beats the tensor cores; else what keeps the zeros from paying."""
    reason = "" if is_structured(gemm) else kernel_refusal(gemm, accelerator)
    if reason:
        return replace(row, fallback="refused", note=f"dense: {reason}; {row.note}")
    found = options(gemm, accelerator, card)
    if not found:
        return row
    best, other_s = found[0], row.latency_s + card.gap_s
    times = f"{best.words()}, {row.order if row.skipped else 'dense'} {other_s * 1e6:.3g} us"
    # a product that is little more than its launch gains nothing that any model of kernels could tell
    if best.trusted_s < other_s and row.bound != "launch":
        taken = sparse_row(row, gemm, best, card)
        return replace(_with_energy(taken, gemm, accelerator), note=f"{times}; {taken.note}")
    if row.skipped or row.fallback:
        return row
    note = f"no sparse kernel pays, dense kernel used: {times}; {row.note}"
    return replace(row, fallback="slower", note=note)


def _problem(gemms: list[Gemm], accelerator: Accelerator, groups: list[int]) -> Problem:
    """Products of the same data types as columns; groups: M of 2:M weights, 0 for dense ones."""

    def column(values: list[float]) -> np.ndarray:
        return np.array(values, dtype=float)

    card, part = card_of(accelerator, gemms[0].dtype), gpu_part(accelerator)
    element_bytes = max(BITS[gemms[0].dtype] // 8, 1)
    return problem(
        card, *(column([getattr(gemm, name) for gemm in gemms]) for name in ("m", "n", "k")),
        batch=column([gemm.batch for gemm in gemms]), element_bytes=element_bytes,
        out_element_bytes=column([(not gemm.output.on_chip) * gemm.output.bits / 8 for gemm in gemms]), group=groups,
        x_elements=column([gemm.input.crossing for gemm in gemms]),
        weight_elements=column([gemm.weight.crossing for gemm in gemms]),
        repeats=column([part.operands == "warm" or gemm.again for gemm in gemms]),
        quantise=part.quantises and element_bytes == 1,
        # kernels that gather windows (implicit products) go through all of them for each output
        whole=column([gemm.conv is not None for gemm in gemms]),
        weight_bits=column([gemm.weight.bits for gemm in gemms]),
        scale_bits=column([gemm.weight.scale_bits for gemm in gemms]),
    )  # fmt: skip


@cache
def _shares(group: int, bits: int) -> tuple[float, float]:
    """What 2:M weights of so many bits leave of the multiplications, and of the bytes of the weights."""
    return float(kept_share(group)), float(weight_share(group, bits / 8))


def _row(
    gemm: Gemm, accelerator: Accelerator, card: Card, times: Prediction, i: int, calibrated: Calibrated, group: int
) -> OpRow:
    """Row of one product under the kernel chosen for it."""
    chosen = times.chosen
    whole_s = float(times.seconds[i])
    share, weight_part = _shares(group, gemm.weight.bits)
    ideal_s = gemm.macs * share / card.macs_per_s
    read = gemm.batch * gemm.input.crossing * gemm.input.bits / 8
    weight = gemm.batch * gemm.weight.crossing * (gemm.weight.bits * weight_part + gemm.weight.scale_bits) / 8
    write = gemm.batch * gemm.output.crossing * gemm.output.bits / 8
    latency = max(whole_s - min(card.gap_s, calibrated.constants.floor_s), ideal_s)
    split = int(chosen.split[i])
    row = product_row(
        gemm, "tensor_core", {}, effectual_macs=effectual_macs(gemm), flops=2.0 * gemm.macs * share,
        cycles=latency * card.clock_hz, ideal_cycles=ideal_s * card.clock_hz, latency_s=latency,
        low_s=latency * times.low_s[i] / whole_s, high_s=latency * times.high_s[i] / whole_s,
        utilisation=min(ideal_s / latency, 1.0), bound=_bound(times, i), skipped="weight" if group else "",
        order=f"split-K {split}", tile_m=int(chosen.tile_m[i]), tile_n=int(chosen.tile_n[i]),
        tile_k=-(-gemm.k // split), dram_read_bytes=read + weight, dram_write_bytes=write, dram_input_bytes=read,
        dram_weight_bytes=weight, dram_output_bytes=write, note=_trust(times, i, calibrated),
    )  # fmt: skip
    return _with_energy(row, gemm, accelerator)


def _direct_row(
    row: OpRow, gemm: Gemm, accelerator: Accelerator, card: Card, unit: Unit, calibrated: Calibrated
) -> OpRow:
    """The row of a product that runs as a direct convolution beside the tensor cores, from its row on them."""
    compute_s, dram_s = direct_seconds(gemm, accelerator, unit, row.dram_read_bytes + row.dram_write_bytes)
    busy_s = max(compute_s, dram_s)
    latency = busy_s + max(calibrated.constants.floor_s - card.gap_s, 0.0)
    bound = "launch" if busy_s < 0.5 * latency else "dram" if dram_s >= compute_s else "compute"
    row = replace(
        row, latency_s=latency, cycles=latency * card.clock_hz, ideal_cycles=compute_s * card.clock_hz,
        utilisation=compute_s / latency, bound=bound, order="direct", tile_m=gemm.m, tile_n=gemm.n, tile_k=gemm.k,
        low_s=latency * np.exp(-UNSEEN_BAR), high_s=latency * np.exp(UNSEEN_BAR),
        note=f"direct convolution on {unit.name}, a roofline",
    )  # fmt: skip
    return _with_energy(row, gemm, accelerator)


def _winograd_row(row: OpRow, gemm: Gemm, accelerator: Accelerator, card: Card, tiled: Winograd) -> OpRow:
    """The row of a convolution by Winograd's algorithm, where that is quicker than its row as a product."""
    if tiled.seconds >= row.latency_s:
        return row
    ideal_s = tiled.macs / card.macs_per_s
    row = replace(
        row, latency_s=tiled.seconds, cycles=tiled.seconds * card.clock_hz, ideal_cycles=ideal_s * card.clock_hz,
        flops=2.0 * tiled.macs, utilisation=ideal_s / tiled.seconds, order="Winograd 4 x 4", tile_m=tiled.tiles,
        tile_n=gemm.n, tile_k=gemm.k, bound="dram" if tiled.transform_s > tiled.seconds / 2 else "compute",
        low_s=tiled.seconds * np.exp(-UNSEEN_BAR), high_s=tiled.seconds * np.exp(UNSEEN_BAR),
        dram_read_bytes=tiled.input_bytes + tiled.weight_bytes, dram_write_bytes=tiled.write_bytes,
        dram_input_bytes=tiled.input_bytes, dram_weight_bytes=tiled.weight_bytes, dram_output_bytes=tiled.write_bytes,
        note=f"Winograd F(4x4, 3x3): {tiled.transform_s / tiled.seconds:.0%} of the time are its transforms",
    )  # fmt: skip
    return _with_energy(row, gemm, accelerator)


def _cache_row(row: OpRow, gemm: Gemm, accelerator: Accelerator, card: Card) -> OpRow:
    """The row of a product of attention for few queries, from its row as a product: it streams the cache that it reads,
    over all SMs, or computes."""
    busy_s = max(
        float(streamed_s(accelerator, row.dram_read_bytes + row.dram_write_bytes)), gemm.macs / card.macs_per_s
    )
    if busy_s >= row.latency_s:
        return row
    share = busy_s / row.latency_s
    return replace(
        row, latency_s=busy_s, low_s=row.low_s * share, high_s=row.high_s * share, cycles=busy_s * card.clock_hz,
        utilisation=row.utilisation / share, bound="dram", order="split over keys",
    )  # fmt: skip


def _trust(times: Prediction, i: int, calibrated: Calibrated) -> str:
    """Level, error bar and distance of a prediction."""
    low, high = times.low_s[i] / times.seconds[i] - 1, times.high_s[i] / times.seconds[i] - 1
    return (
        f"{calibrated.level}, 90 % within {low:+.0%} to {high:+.0%}, {times.distance[i]:.1f} doublings from calibrated"
    )


def _bound(times: Prediction, i: int) -> str:
    """What sets the time: `launch` where none of the parts is half of it."""
    chosen = times.chosen
    parts = {
        "compute": max(chosen.compute_s[i], chosen.power_s[i]), "dram": chosen.dram_s[i], "port": chosen.cache_s[i],
    }  # fmt: skip
    name, longest = max(parts.items(), key=lambda part: part[1])
    return name if longest > 0.5 * times.seconds[i] else "launch"


def _with_energy(row: OpRow, gemm: Gemm, accelerator: Accelerator) -> OpRow:
    """Energy of arithmetic and of the off-chip bytes that the L2 does not hold; a multiply-accumulate has in it what
    brings its operands from there. On CUDA cores it is an operation of theirs."""
    technology = accelerator.technology
    table = energy_table(technology.energy_table)
    operation_j = table.flop_j(gemm.dtype) if row.order == "direct" else table.mac_j(gemm.dtype)
    # the multipliers of skipped zeros do not switch; tiles' operands cross the L2 once per tile row and column
    mac = row.flops / 2 * operation_j * technology.energy_scale * switching(accelerator)
    buffer_bytes = row.dram_input_bytes * -(-gemm.n // row.tile_n) + row.dram_weight_bytes * -(-gemm.m // row.tile_m)
    off_chip = row.dram_input_bytes - float(found_bytes(accelerator, row.dram_input_bytes))
    off_chip += row.dram_weight_bytes + row.dram_write_bytes
    dram = off_chip * access_j_per_byte(accelerator, accelerator.dram)
    return replace(
        row, mac_j=mac, buffer_j=0.0, dram_j=dram, energy_j=mac + dram,
        buffer_read_bytes=buffer_bytes, buffer_write_bytes=row.dram_output_bytes,
    )  # fmt: skip
