"""Elementwise functions, reductions, normalisation, softmax and pooling as vector ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from zerocast.workloads.flops import flops_of, is_elementwise
from zerocast.workloads.ir import COMPLEX, Vector
from zerocast.workloads.lowering.builder import Call, elements
from zerocast.workloads.lowering.values import Value


def vector(
    call: Call,
    function: str,
    inputs: Sequence[Value],
    count: int | None = None,
    flops: float | None = None,
    first_alone: bool = False,
) -> Any:
    """Emit one vector op over `count` elements (the output's, where not given); all results of the node.

    first_alone: of its results only the first counts, since the training rules save statistics and masks.
    """
    name = call.name()
    outs = call.out if isinstance(call.out, (list, tuple)) else [call.out]
    outs = outs[:1] if first_alone else outs
    results = [
        call.build.add(f"{name}.out" if at == 0 else f"{name}.out{at}", out, call.role(out))
        for at, out in enumerate(outs)
    ]
    of_complex = any(call.build.tensors[value.tensor].dtype in COMPLEX for value in inputs)
    each = flops_of(function, of_complex) if flops is None else flops
    count = elements(outs[0]) if count is None else count
    names = tuple(value.tensor for value in inputs), tuple(value.tensor for value in results)
    call.build.ops.append(
        Vector(name, call.layer, "FF", *names, function, count, each, elementwise=is_elementwise(function))
    )
    return results if isinstance(call.out, (list, tuple)) else results[0]


def elementwise(call: Call) -> Any:
    """The aten operator under its own name, over its output."""
    return vector(call, _ALIASES.get(call.operator, call.operator), call.values)


def reduction(call: Call) -> Any:
    """The aten operator under its own name, over its input."""
    return vector(call, _ALIASES.get(call.operator, call.operator), call.values, call.values[0].elements)


def softmax(call: Call) -> Any:
    """Over its input. Where the code asks for its result in fp32 and casts that at once, both kernels run."""
    result = reduction(call)
    users = {str(user.target).split(".")[1] for user in call.node.users if user.op == "call_function"}
    if call["dtype"] == torch.float32 and users and users <= {"to", "_to_copy", "type_as", "_assert_tensor_metadata"}:
        call.build.tensors[result.tensor] = replace(call.build.tensors[result.tensor], dtype="fp32")
    return result


def activation(call: Call) -> Any:
    """gelu in its tanh form has its own cost."""
    function = "gelu_tanh" if call["approximate"] == "tanh" else call.operator
    return vector(call, function, call.values)


def norm(call: Call) -> Any:
    """layer, group and rms norm: input, then weight and bias where there are any."""
    function = {"native_layer_norm": "layer_norm", "native_group_norm": "group_norm"}.get(call.operator, call.operator)
    return vector(call, function, call.values, call.values[0].elements)


def batch_norm(call: Call) -> Any:
    """batch_norm(input, weight, bias, running_mean, running_var, training, ..): statistics of the batch while
    training, constants otherwise. The running averages (a few values per channel) are not priced."""
    x = call["input"]
    training = bool(call["training"])
    parameters = [call[name] for name in ("weight", "bias") if call[name] is not None]
    if not training:
        parameters += [call[name] for name in ("running_mean", "running_var") if call[name] is not None]
    return vector(call, "batch_norm" if training else "batch_norm_eval", [x, *parameters], x.elements, first_alone=True)


def dropout(call: Call) -> Any:
    """Nothing in inference; while training a product with a mask."""
    if not call["train"] or not call["p"]:
        return [call.values[0]] if call.operator == "native_dropout" else call.values[0]
    return vector(call, "dropout", [call.values[0]], first_alone=True)


def pool(call: Call, function: str, spatial: int, adaptive: bool = False) -> Any:
    """Pooling over `spatial` dimensions: one operation for each element of each window."""
    x = call.values[0]
    out = call.out[0] if isinstance(call.out, (list, tuple)) else call.out
    if adaptive:
        window = max(x.elements // max(elements(out), 1), 1)
    else:
        kernel = call["kernel_size"]
        kernel = [kernel] if isinstance(kernel, int) else list(kernel)
        window = math.prod(kernel * spatial if len(kernel) == 1 else kernel)
    return vector(call, function, [x], elements(out) * window)


def cross_entropy(call: Call) -> Any:
    """Log softmax over the classes and a pick."""
    return vector(call, call.operator.removesuffix("_loss"), call.values, call.values[0].elements)


def loss(call: Call) -> Any:
    """nll_loss, mse_loss: over the predictions."""
    return vector(call, call.operator, call.values, call.values[0].elements)


def upsample(call: Call, flops: float) -> Any:
    """Interpolation: one element read for the nearest, a weighted sum of 2, 4, 8 or 16 for the others."""
    return vector(call, "upsample", call.values[:1], flops=flops)


def fourier(call: Call, share: float) -> Any:
    """A Fourier transform over some dimensions, n points together: 5 n log2 n operations, half of them (`share`) where
    one side is real."""
    points = max(call.values[0].elements, elements(call.out))
    axes = [int(axis) for axis in call["dim"]]
    sizes = call.out.shape if call.operator == "_fft_c2r" else call.values[0].shape
    together = math.prod(int(sizes[axis]) for axis in axes)
    return vector(call, "fft", call.values, points, 5 * share * math.log2(max(together, 2)))


def distances(call: Call) -> Any:
    """cdist: for each pair of rows a difference, a square and a sum along them."""
    return vector(call, "cdist", call.values, elements(call.out) * call.values[0].shape[-1], 3.0)


def quantised(call: Call, function: str) -> Any:
    """Numbers to whole ones, and back, by a scale and a zero point."""
    return vector(call, function, call.values)


def fake_quantised(call: Call) -> Any:
    """Scaled, rounded, clamped and scaled back; what observers keep beside it (a few values) is not priced."""
    return vector(call, "fake_quantize", call.values[:1], first_alone=True)


def weight_norm(call: Call) -> Any:
    """g v / |v|: square, sum, divide, multiply."""
    return vector(call, "weight_norm", call.values, call.values[0].elements)


_ALIASES = {
    "__and__": "bitwise_and", "__or__": "bitwise_or", "_softmax": "softmax", "_log_softmax": "log_softmax",
    "relu6": "hardtanh", "clamp_min": "clamp", "clamp_max": "clamp", "var_mean": "var",
    "linalg_vector_norm": "norm",
    "std_mean": "std", "nansum": "sum", "count_nonzero": "sum", "aminmax": "max", "grid_sampler_2d": "grid_sampler",
    "true_divide": "div", "multiply": "mul", "subtract": "sub", "divide": "div", "_to_copy": "convert",
    "masked_fill": "where", "square": "square", "special_erf": "erf",
}  # fmt: skip

_ELEMENTWISE = (
    "add", "sub", "rsub", "mul", "div", "neg", "abs", "relu", "relu6", "exp", "log", "sqrt", "rsqrt",
    "tanh", "erf",
    "sin", "cos", "pow", "reciprocal", "maximum", "minimum", "square", "sign", "floor", "ceil", "round",
    "eq", "ne",
    "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "bitwise_and", "bitwise_or",
    "bitwise_not",
    "__and__", "__or__", "where", "masked_fill", "cumsum", "diff", "triu", "tril", "remainder",
    "floor_divide",
    "isnan", "isinf", "log2", "log1p", "expm1", "atan2", "trunc", "hardtanh", "clamp", "clamp_min",
    "clamp_max",
    "leaky_relu", "sigmoid", "silu", "elu", "softplus", "hardsigmoid", "hardswish", "mish", "glu", "prelu",
    "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "exp2", "log10", "frac", "sgn",
    "fmod", "nan_to_num", "isfinite", "logical_xor", "bitwise_xor", "log_sigmoid", "softsign", "threshold",
    "bitwise_left_shift", "bitwise_right_shift", "erfc", "cumprod", "logcumsumexp", "selu", "celu", "softshrink",
    "hardshrink", "grid_sampler", "grid_sampler_2d", "polar", "angle",
    "addcmul", "addcdiv", "lerp", "multiply", "subtract", "divide", "true_divide", "special_erf",
)  # fmt: skip

REDUCTIONS = (
    "sum", "mean", "amax", "amin", "max", "min", "prod", "any", "all", "var", "std", "var_mean", "logsumexp",
    "std_mean", "nansum", "count_nonzero", "aminmax", "histc", "bincount",
    "softmax", "_softmax", "log_softmax", "_log_softmax", "linalg_vector_norm", "norm",
)  # fmt: skip

RULES: dict[str, Any] = {
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(REDUCTIONS, reduction),
    "softmax": softmax, "gelu": activation,
    **dict.fromkeys(("layer_norm", "group_norm", "rms_norm", "native_layer_norm", "native_group_norm",
                     "instance_norm"), norm),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_functional", "_native_batch_norm_legit",
                     "_native_batch_norm_legit_no_training"),
                    batch_norm),
    "dropout": dropout, "native_dropout": dropout, "_weight_norm": weight_norm, "_weight_norm_interface": weight_norm,
    **{f"{name}{d}d": partial(upsample, flops=1.0)
       for name in ("upsample_nearest", "_upsample_nearest_exact") for d in (1, 2, 3)},
    "upsample_linear1d": partial(upsample, flops=3.0), "upsample_trilinear3d": partial(upsample, flops=15.0),
    **dict.fromkeys(("upsample_bilinear2d", "_upsample_bilinear2d_aa"), partial(upsample, flops=7.0)),
    **dict.fromkeys(("upsample_bicubic2d", "_upsample_bicubic2d_aa"), partial(upsample, flops=31.0)),
    **{f"{start}{kind}_pool{d}d{end}": partial(pool, function=f"{kind}_pool", spatial=d, adaptive=bool(start))
       for kind, start, end in (("max", "", ""), ("max", "", "_with_indices"), ("max", "adaptive_", ""),
                                ("avg", "", ""), ("avg", "adaptive_", "")) for d in (1, 2, 3)},
    "cross_entropy_loss": cross_entropy, "nll_loss": loss, "mse_loss": loss,
    "_fft_c2c": partial(fourier, share=1.0), **dict.fromkeys(("_fft_r2c", "_fft_c2r"), partial(fourier, share=0.5)),
    **dict.fromkeys(("cdist", "_cdist_forward"), distances),
    **{f"{kind}quantize_per_{of}": partial(quantised, function=f"{kind}quantize")
       for kind in ("", "de") for of in ("tensor", "channel", "token", "channel_group")},
    **dict.fromkeys(("fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine",
                     "fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask",
                     "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
                     "_fake_quantize_learnable_per_tensor_affine", "_fake_quantize_learnable_per_channel_affine",
                     "_fused_moving_avg_obs_fq_helper", "_fused_moving_avg_obs_fq_helper_functional"), fake_quantised),
    **dict.fromkeys(("l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "binary_cross_entropy",
                     "binary_cross_entropy_with_logits"), loss),
}  # fmt: skip
