"""Weights kept as whole numbers (or fp8) with scales: read at their stored width, counted as parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.workloads import Workload, WorkloadError, capture, prune

K, C = 32, 64
X = (4, C)


class Kept(nn.Module):
    """Buffers of given shapes and types, and what makes a weight of them."""

    def __init__(self, weight: Callable[..., Tensor], **buffers: Tensor) -> None:
        super().__init__()
        for name, data in buffers.items():
            self.register_buffer(name, data)
        self.weight_of = weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_of(self, x))


def whole(*shape: int, dtype: torch.dtype = torch.int8, low: int = 1, high: int = 100) -> Tensor:
    return torch.randint(low, high, shape, dtype=dtype)


def halves(m: Any, x: Tensor) -> Tensor:
    """Two weights in each uint8, a scale for each group of 16."""
    both = torch.stack([m.q & 0xF, m.q >> 4], -1).view(K, C // 16, 16)
    return ((both.to(x.dtype) - 8) * m.scale).reshape(K, C)


def eighths(m: Any, x: Tensor) -> Tensor:
    """Eight weights along C in each int32, as GPTQ keeps them."""
    shifts = torch.arange(0, 32, 4, device=m.q.device)
    q = (m.q[:, None, :] >> shifts[None, :, None]) & 15
    return ((q.reshape(C, K).to(x.dtype) - 8) * m.scale).t()


def quarters(m: Any, x: Tensor) -> Tensor:
    """Ternary: four in each uint8."""
    return torch.cat([(m.q >> by) & 3 for by in (0, 2, 4, 6)]).to(x.dtype) - 1


KINDS: dict[str, tuple[nn.Module, str, int]] = {  # a module, how its weights are stored, bytes that this takes
    "int8": (Kept(lambda m, x: m.q.to(x.dtype) * m.scale, q=whole(K, C), scale=torch.rand(K, 1)), "int8", K * C),
    "cast alone": (Kept(lambda m, x: m.q.to(x.dtype), q=whole(K, C)), "int8", K * C),
    "zero point": (
        Kept(lambda m, x: (m.q.to(x.dtype) - m.zero) * m.scale, q=whole(K, C, dtype=torch.uint8),
             zero=whole(K, 1, dtype=torch.uint8), scale=torch.rand(K, 1)), "int8", K * C,
    ),
    "transposed": (
        Kept(lambda m, x: (m.q.to(x.dtype) * m.scale).t(), q=whole(C, K), scale=torch.rand(K)), "int8", K * C,
    ),
    "int4 in uint8": (
        Kept(halves, q=whole(K, C // 2, dtype=torch.uint8), scale=torch.rand(K, C // 16, 1)), "int4", K * C // 2,
    ),
    "int4 in int32": (Kept(eighths, q=whole(C // 8, K, dtype=torch.int32), scale=torch.rand(K)), "int4", K * C // 2),
    "ternary": (Kept(quarters, q=whole(K // 4, C, dtype=torch.uint8)), "int2", K * C // 4),
    "codebook": (
        Kept(lambda m, x: m.code[m.q.long()] * m.scale, q=whole(K, C, dtype=torch.uint8, high=16),
             code=torch.randn(16), scale=torch.rand(K, 1)), "int8", K * C,
    ),
    "fp8": (
        Kept(lambda m, x: m.q.to(x.dtype) * m.scale, q=torch.randn(K, C).to(torch.float8_e4m3fn), scale=torch.ones(())),
        "fp8", K * C,
    ),
}  # fmt: skip
SCALES = {
    "int8": 2 * K, "cast alone": 0, "zero point": 2 * K + K, "transposed": 2 * K, "int4 in uint8": 2 * K * C // 16,
    "int4 in int32": 2 * K, "ternary": 0, "codebook": 2 * K + 2 * 16, "fp8": 2,
}  # fmt: skip
"""Bytes of scales in 16 bits of zero points as they are stored, and of the codebook."""


def weight_of(workload: Workload) -> Any:
    (op,) = workload.einsums
    return workload.tensors[op.inputs[1]]


@pytest.mark.parametrize("name", KINDS)
def test_products_read_the_stored_width(name: str) -> None:
    module, dtype, size = KINDS[name]
    workload = capture(module, torch.randn(X))
    weight = weight_of(workload)
    assert (weight.name, weight.dtype, weight.bytes, weight.role) == ("q", dtype, size, "weight")
    assert workload.macs == 4 * K * C
    assert workload.parameters == K * C
    assert len(workload.ops) == 1  # made of the stored numbers inside the product
    for chip in ("systolic-32x32", "nvidia-h100-sxm"):
        result = simulate(workload, load(chip))
        read = result.to_pandas()["dram_read_bytes"].sum()
        of_gpu = chip == "nvidia-h100-sxm"  # its kernels read the scales beside the weights
        assert read == pytest.approx(4 * C * 2 + size + of_gpu * SCALES[name])
        said = "as they are stored" if of_gpu else "not priced"
        assert any(dtype in note and said in note for note in result.notes)


def test_parameters_that_are_stored_narrow() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(K, C).to(torch.float8_e4m3fn), requires_grad=False)
            self.scale = nn.Parameter(torch.ones(K, 1), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.w.to(x.dtype) * self.scale)

    workload = capture(Model(), torch.randn(X))
    assert weight_of(workload).dtype == "fp8"
    assert workload.parameters == K * C + K


def test_an_fp8_product() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(K, C).to(torch.float8_e4m3fn), requires_grad=False)
            self.register_buffer("one", torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            x = x.to(torch.float8_e4m3fn)
            return torch._scaled_mm(x, self.w.t(), self.one, self.one, out_dtype=torch.bfloat16)

    workload = capture(Model(), torch.randn(16, C))
    (op,) = workload.einsums
    assert [workload.tensors[name].dtype for name in (*op.inputs, *op.outputs)] == ["fp8", "fp8", "fp16"]
    assert op.macs == 16 * K * C


def test_parts_of_what_is_stored_together() -> None:
    """Queries and keys are kept in one int8 matrix; each product reads its half."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("qk", whole(2 * K, C))

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            first, second = self.qk.to(x.dtype).chunk(2)
            return F.linear(x, first), F.linear(x, second)

    workload = capture(Model(), torch.randn(X))
    weights = [workload.tensors[op.inputs[1]] for op in workload.einsums]
    assert [(weight.dtype, weight.elements) for weight in weights] == [("int8", K * C)] * 2
    assert weights[0].name != weights[1].name
    assert workload.parameters == 2 * K * C


def test_one_weight_used_twice_is_stored_once() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("q", whole(C, C))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.linear(x, self.q.to(x.dtype)), self.q.to(x.dtype))

    workload = capture(Model(), torch.randn(X))
    assert {op.inputs[1] for op in workload.einsums} == {"q"}
    assert workload.parameters == C * C


def test_a_mask_of_whole_numbers_is_no_stored_weight() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(C, K, bias=False)
            self.register_buffer("mask", whole(K, C, low=0, high=2))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.fc.weight * self.mask)

    workload = capture(Model(), torch.randn(X))
    assert (weight_of(workload).dtype, workload.parameters) == ("fp16", K * C)


def test_a_frozen_stored_base_trains_what_is_beside_it() -> None:
    """A low-rank correction beside int4 weights: the base has an input gradient and no weight gradient."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(C, C, bias=False)
            self.register_buffer("q", whole(K, C // 2, dtype=torch.uint8))
            self.register_buffer("scale", torch.rand(K, C // 16, 1))
            self.down, self.up = nn.Linear(C, 4, bias=False), nn.Linear(4, K, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return F.linear(x, halves(self, x)) + self.up(self.down(x))

    model, x = Model(), torch.randn(X)
    step = capture(model, x, training=True)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    assert step.macs == counter.get_total_flops() // 2
    assert {step.tensors[op.inputs[1]].dtype for op in step.einsums if "q" in op.inputs} == {"int4"}
    updated = [op.outputs[0] for op in step.ops if op.phase == "UPDATE"]
    assert sorted(updated) == ["down.weight", "first.weight", "up.weight"]


class Quantised(torch.Tensor):
    """A weight as quantisation libraries wrap it: int8 numbers and a scale that look like one floating tensor."""

    q: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, q: Tensor, scale: Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, q.shape, dtype=scale.dtype, device=q.device)

    def __init__(self, q: Tensor, scale: Tensor) -> None:
        self.q, self.scale = q, scale

    def __tensor_flatten__(self) -> Any:
        return ["q", "scale"], None

    @classmethod
    def __tensor_unflatten__(cls, inner: dict[str, Tensor], *rest: Any) -> Any:
        return cls(inner["q"], inner["scale"])

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            return F.linear(args[0], args[1].q.to(args[0].dtype) * args[1].scale, *args[2:])
        return super().__torch_function__(func, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.detach.default, torch.ops.aten.clone.default):
            return cls(func(args[0].q), func(args[0].scale))
        raise NotImplementedError(func)


def wrapped() -> nn.Module:
    model = nn.Sequential(nn.Linear(C, K, bias=False))
    model[0].weight = nn.Parameter(Quantised(whole(K, C), torch.rand(K, 1)), requires_grad=False)
    return model


def test_a_weight_that_a_tensor_subclass_wraps() -> None:
    model = wrapped()
    workload = capture(model, torch.randn(X))
    weight = weight_of(workload)
    assert (weight.dtype, weight.shape, workload.macs) == ("int8", (K, C), 4 * K * C)
    assert workload.parameters == K * C + K
    assert isinstance(model[0].weight, Quantised)  # the user's model is as it was
    with pytest.raises(WorkloadError, match=r"'0\.weight' is kept quantised; prune the model before"):
        prune(model, "nm:2:4", torch.randn(X), first_and_last_dense=False)


def test_a_subclass_without_data_of_its_own_is_an_ordinary_weight() -> None:
    class Plain(torch.Tensor):
        pass

    model = nn.Linear(C, K, bias=False)
    model.weight = nn.Parameter(torch.randn(K, C).as_subclass(Plain))
    assert capture(model, torch.randn(X).as_subclass(Plain)).macs == 4 * K * C
    assert capture(model, torch.randn(X), training=True).macs == 2 * 4 * K * C
