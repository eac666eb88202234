"""Traces against zeros counted by forward hooks, which know nothing of graphs and names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from zerocast.workloads import WorkloadError, apply_trace, build, capture, load_workload, prune, save, trace
from zerocast.workloads.patterns import DENSE, Mask, PerChannel
from zerocast.workloads.tracing import Trace


class Net(nn.Module):
    """In-place ReLUs, a strided, a depthwise and a parallel convolution, a shortcut, pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down = nn.Conv2d(8, 16, 3, 2, 1)
        self.side = nn.Conv2d(8, 16, 1, 2)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.stem(x)))
        x = self.relu(self.depthwise(x))
        x = self.relu(self.down(x) + self.side(x))
        x = self.relu(self.grouped(x))
        return self.fc(functional.max_pool2d(x, 4).flatten(2).amax(-1).sub(0.3).relu())


class Mixer(nn.Module):
    """Tokens with ReLU features, and causal attention."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 24)
        self.down = nn.Linear(24, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(self.up(x).relu())
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        return functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)


def net() -> nn.Module:
    torch.manual_seed(1)
    return Net()


def images(runs: int, batch: int = 2) -> list[torch.Tensor]:
    torch.manual_seed(2)
    return [functional.interpolate(torch.randn(batch, 3, 4, 4), scale_factor=4) for _ in range(runs)]


def hooked(model: nn.Module, runs: list[torch.Tensor]) -> dict[str, list[torch.Tensor]]:
    """Inputs of every convolution and linear layer, copied as they go in."""
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [
        module.register_forward_pre_hook(lambda _, x, at=path: seen.setdefault(at, []).append(x[0].clone()))
        for path, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    with torch.no_grad():
        for run in runs:
            model(run)
    for handle in handles:
        handle.remove()
    return seen


@pytest.fixture(scope="module")
def measured() -> tuple[nn.Module, list[torch.Tensor], Trace]:
    model, runs = net().eval(), images(3)
    return model, runs, trace(model, runs, name="net")


def test_densities_are_those_that_hooks_count(measured: tuple[nn.Module, list[torch.Tensor], Trace]) -> None:
    model, runs, found = measured
    operands = {op.layer: op.inputs[0] for op in capture(model, runs[0], name="net").einsums}
    seen = hooked(model, runs)
    assert operands.keys() == seen.keys() and set(operands.values()) == found.tensors.keys()
    for layer, inputs in seen.items():
        data, tensor = torch.stack(inputs).numpy(), found.tensors[operands[layer]]
        assert tensor.nonzeros == np.count_nonzero(data) and tensor.elements == data.size
        channels = (data != 0).mean(axis=(0, 1, *range(3, data.ndim)))
        np.testing.assert_allclose(tensor.channels, channels)
        assert tensor.tokens is None
        assert found.sampled == (0, 1, 2)
        for run, each in enumerate(inputs):
            np.testing.assert_array_equal(tensor.bits(run), each.numpy() != 0)
    assert 0.2 < found.density < 0.9


def test_the_model_and_the_inputs_are_left_alone() -> None:
    model, runs = net(), images(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy = runs[0].clone()
    trace(model, runs)
    assert model.training and torch.equal(runs[0], copy)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_masks_go_onto_the_operands(measured: tuple[nn.Module, list[torch.Tensor], Trace]) -> None:
    model, runs, found = measured
    seen = hooked(model, runs)
    workload = apply_trace(capture(model, torch.cat([runs[0], runs[1], runs[2][:1]]), name="net"), found)
    ranks = {}
    for op in workload.einsums:
        pattern = workload.pattern_of(op, 0)
        ranks[op.layer] = getattr(pattern, "ranks", None)
        if pattern is DENSE:
            assert all(bool((x != 0).all()) for x in seen[op.layer])
            continue
        # batch 5 of runs of 2: three runs, the last one cut
        data = torch.cat(seen[op.layer])[:5].numpy() != 0
        assert isinstance(pattern, Mask)
        np.testing.assert_array_equal(pattern.bits.reshape(data.shape), data)
    assert ranks == {
        "stem": None, "depthwise": ("n", "g", "c", "p+r", "q+s"), "down": ("n", "c", "p+r", "q+s"),
        "side": ("n", "c", "p+r", "q+s"), "grouped": ("n", "g", "c", "p+r", "q+s"), "fc": ("m0", "c"),
    }  # fmt: skip


def test_fewer_samples_than_the_batch_are_repeated(measured: tuple[nn.Module, list[torch.Tensor], Trace]) -> None:
    model, runs, _ = measured
    single = trace(model, [run[:1] for run in runs], name="net")
    workload = apply_trace(capture(model, torch.zeros(7, 3, 16, 16), name="net"), single)
    pattern = next(workload.pattern_of(op, 0) for op in workload.einsums if op.layer == "down")
    assert isinstance(pattern, Mask)
    np.testing.assert_array_equal(pattern.bits, pattern.bits[[0, 1, 2, 0, 1, 2, 0]])
    assert not np.array_equal(pattern.bits[0], pattern.bits[1])


def test_densities_alone_go_on_per_channel(measured: tuple[nn.Module, list[torch.Tensor], Trace]) -> None:
    model, runs, found = measured
    workload = apply_trace(capture(model, runs[0], name="net"), found, masks=False)
    for op in workload.einsums:
        pattern, tensor = workload.pattern_of(op, 0), found.tensors[op.inputs[0]]
        assert pattern.density == pytest.approx(tensor.density)
        if op.layer in ("depthwise", "down"):
            assert isinstance(pattern, PerChannel) and pattern.rank == ("g" if op.layer == "depthwise" else "c")
            np.testing.assert_allclose(pattern.shares, tensor.channels)


def test_both_sides_may_be_sparse(measured: tuple[nn.Module, list[torch.Tensor], Trace], tmp_path: Path) -> None:
    model, runs, _ = measured
    pruned, pruning = prune(model, "magnitude:0.3", (runs[0],))
    found = trace(pruned, runs, name="net")
    workload = apply_trace(capture(pruned, runs[0], name="net", pruning=pruning), found)
    down = next(op for op in workload.einsums if op.layer == "down")
    weight, inputs = workload.pattern_of(down, 1), workload.pattern_of(down, 0)
    assert isinstance(weight, Mask) and weight.density < 0.5
    assert isinstance(inputs, Mask) and inputs.ranks == ("n", "c", "p+r", "q+s")
    again = load_workload(save(workload, tmp_path / "w.npz"))
    assert again == workload


def test_a_training_step_reads_the_same_zeros_in_its_weight_gradients(
    measured: tuple[nn.Module, list[torch.Tensor], Trace],
) -> None:
    model, runs, found = measured
    workload = apply_trace(capture(model, runs[0], name="net", training=True), found)
    passes = [op for op in workload.einsums if op.layer == "down" and op.phase in ("FF", "WU")]
    masks = [workload.pattern_of(op, op.inputs.index(passes[0].inputs[0])) for op in passes]
    assert len(masks) == 2 and masks[0] == masks[1] and isinstance(masks[0], Mask)


def test_tokens_and_the_softmax_inside_attention() -> None:
    torch.manual_seed(0)
    model, x = Mixer().eval(), torch.randn(2, 6, 8)
    found = trace(model, x, name="mixer")
    einsums = {op.name: op for op in capture(model, x, name="mixer").einsums}
    hidden = model.up(x).relu()
    tensor = found.tensors[einsums["down"].inputs[0]]
    np.testing.assert_allclose(tensor.tokens, (hidden != 0).float().mean((0, 2)).numpy())
    np.testing.assert_allclose(tensor.channels, (hidden != 0).float().mean((0, 1)).numpy())
    softmax = found.tensors[next(op for name, op in einsums.items() if name.startswith("pv")).inputs[0]]
    assert softmax.shape == (2, 2, 6, 6) and softmax.density == 21 / 36  # the lower triangle and its diagonal
    np.testing.assert_array_equal(softmax.bits(0), np.broadcast_to(np.tri(6, dtype=bool), (2, 2, 6, 6)))


def test_names_are_those_of_capture() -> None:
    model, inputs = build("lstm", batch=2, tokens=3, words=20, width=8)
    found = trace(model, [inputs], name="lstm")
    workload = capture(model, inputs, name="lstm")
    read = {name for op in workload.einsums for name in op.inputs[:2]}
    assert found.tensors.keys() == {n for n in read if workload.tensors[n].role in ("activation", "input")}
    assert apply_trace(workload, found).meta["trace"] == "masks"


def test_masks_are_sampled_by_seed_and_size() -> None:
    model, runs = net().eval(), images(6, batch=1)
    full = trace(model, runs)
    size = sum(tensor.masks.shape[1] for tensor in full.tensors.values() if tensor.masks is not None)
    one, two = (trace(model, runs, mask_bytes_limit=2.5 * size, seed=seed) for seed in (0, 3))
    assert len(one.sampled) == len(two.sampled) == 2 and one.sampled != two.sampled
    assert trace(model, runs, mask_bytes_limit=2.5 * size).sampled == one.sampled
    name = next(iter(full.tensors))
    for at, run in enumerate(one.sampled):
        np.testing.assert_array_equal(one.tensors[name].bits(at), full.tensors[name].bits(run))
    none = trace(model, runs, mask_bytes_limit=0)
    assert none.sampled == () and none.density == full.density
    assert apply_trace(capture(model, runs[0]), none).meta["trace"] == "densities"


def test_minus_zero_is_a_zero_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    x = torch.tensor([[1.0, -0.0, 0.0, 1e-38]])
    found = trace(nn.Linear(4, 2), [x, x.numpy()], progress=lambda done, of: told.append((done, of)))
    tensor = next(iter(found.tensors.values()))
    assert tensor.nonzeros == 4 and tensor.bits(1).tolist() == [[True, False, False, True]]
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "no inputs to trace"),
        ([torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 8, 8)], r"inputs of run 1 have shapes \(1, 3, 8, 8\)"),
        ([torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), torch.nan)], r"activation 'x' holds NaN in run 1"),
    ],
)
def test_unfit_inputs_are_named(inputs: list[torch.Tensor], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        trace(net(), inputs)


def test_a_nan_made_inside_names_its_tensor() -> None:
    model = net().eval()
    x = torch.full((1, 3, 16, 16), 3e38)
    with pytest.raises(WorkloadError, match=r"activation 'relu.*out' holds NaN"):
        trace(model, x * torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1, 1) * torch.randn(1, 3, 16, 16).sign())


def test_a_model_without_data_is_refused() -> None:
    with pytest.raises(WorkloadError, match="has no weights"):
        trace(net().to("meta"), images(1))


def test_a_trace_of_another_model_is_refused(measured: tuple[nn.Module, list[torch.Tensor], Trace]) -> None:
    model, runs, found = measured
    workload = capture(model, runs[0], name="net")
    with pytest.raises(WorkloadError, match="is of model 'resnet9', the workload is 'net'"):
        apply_trace(workload, replace(found, model="resnet9"))
    wider = capture(model, torch.zeros(2, 3, 24, 24), name="net")
    with pytest.raises(WorkloadError, match=r"another model.*has shape \(2, 3, 16, 16\) \(batch 2\).*\(2, 3, 24, 24\)"):
        apply_trace(wider, found)
    first = next(iter(found.tensors))
    rest = {name: tensor for name, tensor in found.tensors.items() if name != first}
    with pytest.raises(WorkloadError, match=f"the trace has no activation '{first}'"):
        apply_trace(workload, replace(found, tensors=rest))
    more = {**found.tensors, "extra": replace(found.tensors[first], name="extra")}
    with pytest.raises(WorkloadError, match="the workload has no activation 'extra'"):
        apply_trace(workload, replace(found, tensors=more))
