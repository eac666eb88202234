"""Kernels that a framework puts between a network's ops: casts of automatic mixed precision, the change of layout
around convolutions of images that lie channels first, and copies of batches that do not lie one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.gpu.convolution import is_depthwise
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Transfer, Vector, Workload

WHOLE = 8
"""Positions of an image of which cuBLAS takes whole multiples, so that a 1x1 convolution of stride 1 is one product of
its channels-first image as it lies; other convolutions have kernels for channels-last images alone."""
WIDE = ("layer_norm", "group_norm", "softmax", "log_softmax", "cross_entropy", "pow", "exp", "rsqrt", "sum")
"""Functions that PyTorch's autocast runs in fp32, with their backward passes (torch.amp's op reference)."""


@dataclass(slots=True)
class _Casts:
    """Tensors in other types than their own, each cast once."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    made: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, tensor: Tensor, dtype: str, op: Op) -> Iterator[Op]:
        """The kernel that makes a cast, where there is none yet."""
        if (tensor.name, dtype) not in self.made:
            name = self.made[tensor.name, dtype] = f"{tensor.name}.as.{dtype}"
            self.tensors[name] = replace(tensor, name=name, dtype=dtype)
            yield _kernel(name, op, tensor.name, name, tensor.elements, "cast")


def _kernel(name: str, op: Op, source: str, target: str, elements: int, kind: str) -> Op:
    """A kernel that an op asks for, which makes one tensor of another."""
    places = f"{name}.made", op.layer, op.phase, (source,), (target,)
    if kind == "cast":
        return Vector(*places, function=kind, elements=elements, elementwise=True, of=op.name)
    return Transfer(*places, function=kind, elements=elements, of=op.name)


def in_tf32(op: Op, accelerator: Accelerator) -> bool:
    """Whether a product of fp32 operands runs on the tensor cores of a GPU, by the regime."""
    if accelerator.gpu is None or "tf32" not in accelerator.compute.rates:
        return False
    mode = accelerator.gpu.software.tf32
    return mode == "all" or (mode == "convolutions" and isinstance(op, Einsum) and op.source.startswith("conv"))


def with_layouts(workload: Workload, accelerator: Accelerator) -> Workload:
    """The workload with the kernels that turn images for convolutions and turn their results back, for each convolution
    anew; those in fp32 have kernels on the CUDA cores that take them as they are."""
    balance = accelerator.peak_macs_per_s / accelerator.dram_bytes_per_s
    ops: list[Op] = []
    tensors: dict[str, Tensor] = {}
    for op in workload.ops:
        wide = workload.tensors[op.inputs[0]].dtype == "fp32" if op.inputs else False
        if not isinstance(op, Einsum) or (wide and not in_tf32(op, accelerator)) or not _turns(op, workload, balance):
            ops.append(op)
            continue
        turned = {}
        for name in (*op.inputs, *op.outputs):
            tensor = workload.tensors[name]
            if _is_image(tensor, op):
                turned[name] = f"{name}.for.{op.name}"
                tensors[turned[name]] = replace(tensor, name=turned[name])
        ops += [_kernel(turned[name], op, name, turned[name], workload.tensors[name].elements, "layout")
                for name in op.inputs if name in turned]  # fmt: skip
        places = [tuple(turned.get(name, name) for name in side) for side in (op.inputs, op.outputs)]
        ops.append(replace(op, inputs=places[0], outputs=places[1]))
        ops += [_kernel(turned[name], op, turned[name], name, workload.tensors[name].elements, "layout")
                for name in op.outputs if name in turned]  # fmt: skip
    return workload.with_ops(tuple(ops), **tensors)


def _turns(op: Einsum, workload: Workload, balance: float) -> bool:
    """Whether a convolution has, or is worth, a kernel for channels-last images alone.

    A 1x1 convolution of stride 1 is a product of its image as it lies; where its rows have no whole multiple of `WHOLE`
    positions it is slow to compute, which one that the memory bounds does not mind. balance: multiply-adds that the
    card makes in the time of a byte.
    """
    if not op.source.startswith("conv") or is_depthwise(op):
        return False
    tensors = [workload.tensors[name] for name in (*op.inputs, *op.outputs)]
    images = [tensor for tensor in tensors if _is_image(tensor, op)]
    kernels = [tensor for tensor in tensors if not _is_image(tensor, op)]
    sizes = {math.prod(image.shape[2:]) for image in images}
    if len(sizes) != 1 or any(math.prod(kernel.shape[2:]) > 1 for kernel in kernels):
        return True
    bound = op.macs / sum(tensor.bytes for tensor in tensors) < balance
    return not (bound or min(sizes) % WHOLE == 0)


def with_copied_batches(workload: Workload) -> Workload:
    """The workload with the copies that PyTorch's `matmul` makes of operands whose batch is no single stride, such as
    samples and heads of a tensor that lies tokens first."""
    ops: list[Op] = []
    tensors: dict[str, Tensor] = {}
    for op in workload.ops:
        scattered = [at for at in (0, 1) if isinstance(op, Einsum) and _is_scattered(op, at, workload)]
        names = list(op.inputs)
        for at in scattered:
            source = workload.tensors[names[at]]
            names[at] = f"{source.name}.for.{op.name}"
            tensors[names[at]] = replace(source, name=names[at])
            ops.append(_kernel(names[at], op, source.name, names[at], source.elements, "copy"))
        ops.append(replace(op, inputs=tuple(names)) if scattered else op)
    return workload.with_ops(tuple(ops), **tensors)


def _is_scattered(op: Einsum, at: int, workload: Workload) -> bool:
    """Whether the batch of an operand of a `matmul` is more than one stride in memory."""
    if op.source != "matmul" or op.phase != "FF":
        return False
    strides: dict[str, int] = {}
    shape = workload.tensors[op.inputs[at]].shape
    for axis, affine in enumerate(op.index[at]):
        strides |= {rank: by * math.prod(shape[axis + 1 :]) for rank, by in affine}
    batch = op.ranks_of(0) & op.ranks_of(1) & op.ranks_of(2)
    outer_first = sorted((rank for rank in batch if op.sizes[rank] > 1), key=lambda rank: -strides[rank])
    return any(strides[a] != op.sizes[b] * strides[b] for a, b in pairwise(outer_first))


def _is_image(tensor: Tensor, op: Einsum) -> bool:
    """Whether a tensor of a convolution is an image, not its kernel or that kernel's gradient."""
    return len(tensor.shape) == 4 and not tensor.weight and not (op.phase == "WU" and tensor.name in op.outputs)


def with_casts(workload: Workload, inside: frozenset[str]) -> Workload:
    """The workload as PyTorch's automatic mixed precision runs it: products in the network's own type, functions of
    `WIDE` in fp32, other work in the widest type of what it reads, with a kernel for each cast between them.

    inside: ops of fused attention, whose scores stay in the narrow type. Casts of weights, once a step, are left out.
    """
    casts = _Casts()
    ops: list[Op] = []
    types = {name: tensor.dtype for name, tensor in workload.tensors.items()}
    for op in workload.ops:
        if not isinstance(op, (Einsum, Vector, Transfer)) or op.phase == "UPDATE":
            ops.append(op)
            continue
        narrow = isinstance(op, Einsum) or op.name in inside
        wide = not narrow and isinstance(op, Vector) and op.function.removesuffix("_backward") in WIDE
        inputs = []
        for name in op.inputs:
            tensor = workload.tensors[name]
            wanted = tensor.dtype if narrow else "fp32" if wide and _is_big(tensor) else types[name]
            if _is_float(tensor) and wanted != types[name]:
                ops += casts.of(tensor, wanted, op)
                inputs.append(casts.made[name, wanted])
            else:
                inputs.append(name)
        widest = wide or (
            not narrow and any(types[name] == "fp32" for name in op.inputs if _is_big(workload.tensors[name]))
        )
        widest = widest or (_promotes(op) and any(workload.tensors[name].weight for name in op.inputs))
        for name in op.outputs:
            if _is_float(workload.tensors[name]) and not narrow and widest and op.phase != "WU":
                types[name] = "fp32"
        ops.append(replace(op, inputs=tuple(inputs)))
    changed = {n: replace(t, dtype=types[n]) for n, t in workload.tensors.items() if types[n] != t.dtype}
    return workload.with_ops(tuple(ops), **{**changed, **casts.tensors})


def _is_float(tensor: Tensor) -> bool:
    return tensor.role in ("activation", "gradient", "input") and tensor.dtype in ("fp16", "bf16", "fp32")


def _is_big(tensor: Tensor) -> bool:
    return tensor.role in ("activation", "gradient") and tensor.dtype in ("fp16", "bf16")


def _promotes(op: Op) -> bool:
    """Whether an op gives the wider of its operands' types: parameters are kept in fp32."""
    elementwise = isinstance(op, Vector) and op.elementwise and not op.function.startswith("batch_norm")
    return elementwise or (isinstance(op, Transfer) and op.elements > 0)


def with_narrow_products(workload: Workload, attention: frozenset[str], wide: str) -> Workload:
    """A network in fp8 as engines run it: products of weights take 8 bits, of which each input is cast once, and all
    that lies between them, attention too, is `wide`; a cache stays as it is."""
    casts = _Casts()
    ops: list[Op] = []
    kept = {name for op in workload.ops if isinstance(op, (Transfer, Index)) and op.in_place for name in op.outputs}
    widened = {
        name: replace(tensor, dtype=wide)
        for name, tensor in workload.tensors.items()
        if tensor.role == "activation" and tensor.dtype == "fp8" and not tensor.weight and name not in kept
    }
    for op in workload.ops:
        if isinstance(op, Einsum) and op.name not in attention and op.inputs[0] in widened:
            ops += casts.of(widened[op.inputs[0]], "fp8", op)
            op = replace(op, inputs=(casts.made[op.inputs[0], "fp8"], *op.inputs[1:]))
        ops.append(op)
    return workload.with_ops(tuple(ops), **{**widened, **casts.tensors})
