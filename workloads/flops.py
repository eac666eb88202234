"""What vector functions cost and which are elementwise.

Arithmetic per element: add, multiply, divide, compare, and exp (or any other
transcendental) count one each. The formulas beside the numbers say what is counted."""

from __future__ import annotations

_ONE = (
    "add", "sub", "rsub", "mul", "div", "neg", "abs", "relu", "exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sin",
    "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "pow", "reciprocal", "maximum",
    "minimum", "square", "sign", "sgn", "floor", "ceil", "round", "trunc", "frac", "eq", "ne", "lt", "le", "gt", "ge",
    "logical_and", "logical_or", "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not",
    "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "where", "masked_fill", "convert", "cumsum",
    "cumprod", "sum", "mean", "amax", "amin", "max", "min", "prod", "any", "all", "diff", "max_pool", "avg_pool",
    "upsample", "fill", "triu", "tril", "remainder", "fmod", "floor_divide", "isnan", "isinf", "isfinite",
    "nan_to_num", "log2", "log10", "log1p", "expm1", "exp2", "erfc", "atan2", "histc", "bincount",
)  # fmt: skip
"""Functions of one operation an element."""

FLOPS: dict[str, float] = {
    **dict.fromkeys(_ONE, 1.0),
    "hardtanh": 2,  # two compares
    "clamp": 2,
    "leaky_relu": 2,
    "dropout": 2,  # times mask, times 1/(1-p)
    "sigmoid": 4,  # 1 / (1 + exp(-x))
    "silu": 5,  # x * sigmoid(x)
    "elu": 3,
    "softplus": 3,
    "hardsigmoid": 4,
    "hardswish": 5,
    "mish": 6,
    "gelu": 5,  # x/2 * (1 + erf(x / sqrt 2))
    "gelu_tanh": 9,
    "softmax": 5,  # max, subtract, exp, sum, divide
    "log_softmax": 6,
    "logsumexp": 5,
    "var": 4,
    "std": 4,
    "norm": 2,
    "batch_norm": 7,  # mean 1, variance 3, normalise 1, scale and shift 2
    "batch_norm_eval": 2,  # statistics are constants, folded into scale and shift
    "layer_norm": 7,
    "group_norm": 7,
    "instance_norm": 7,
    "rms_norm": 4,  # square, sum, times rsqrt, times weight
    "glu": 5,
    "prelu": 2,
    "addcmul": 3,
    "addcdiv": 3,
    "lerp": 3,
    "lrn": 5,
    "polar": 4,  # cosine and sine, each times the length
    "angle": 2,  # divide, arc tangent
    "weight_norm": 4,  # square, sum, divide, multiply
    "quantize": 5,  # times 1/scale, plus zero point, round, clamp 2
    "dequantize": 2,  # minus zero point, times scale
    "fake_quantize": 6,  # times 1/scale, plus zero point, round, clamp 2, and back in one multiply-add
    "grid_sampler": 9,  # position 2, four weighted neighbours 7
    "log_sigmoid": 4,
    "logcumsumexp": 5,
    "softsign": 3,
    "threshold": 1,
    "selu": 4,
    "celu": 4,
    "softshrink": 3,
    "hardshrink": 2,
    "cross_entropy": 6,
    "nll_loss": 1,
    "mse_loss": 3,
    "l1_loss": 3,
    "lstm_cell": 22,  # four gates: two parts added, three sigmoids, a tanh; c = f c + i g; h = o tanh c
    "gru_cell": 16,  # two gates: two parts added, a sigmoid; r times, plus, tanh; h = n + z (h - n)
    "rnn_tanh_cell": 2,  # two parts added, tanh
    "rnn_relu_cell": 2,
    "smooth_l1_loss": 5,
    "huber_loss": 5,
    "kl_div": 4,
    "binary_cross_entropy": 6,
    "binary_cross_entropy_with_logits": 7,
}

_NOT_ELEMENTWISE = frozenset(
    {
        "cumsum", "cumprod", "logcumsumexp", "sum", "mean", "amax", "amin", "max", "min", "prod", "any", "all",
        "diff", "max_pool", "avg_pool", "upsample", "softmax", "log_softmax", "logsumexp", "var", "std", "norm",
        "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "weight_norm", "glu", "lrn",
        "grid_sampler", "histc", "bincount", "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss",
        "huber_loss", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits", "lstm_cell", "gru_cell",
        "rnn_tanh_cell", "rnn_relu_cell",
    }
)  # fmt: skip


COMPLEX_FLOPS = {"mul": 6.0, "div": 11.0, "abs": 4.0, "exp": 5.0}
"""Of one complex number: a product is four multiplications and two additions, a quotient that of the conjugate, and the
square of the length (3) that divides both parts (2). Any other function works on two real numbers."""


def flops_of(function: str, is_complex: bool) -> float:
    """Arithmetic on one element."""
    return COMPLEX_FLOPS.get(function, 2 * FLOPS[function]) if is_complex else FLOPS[function]


def is_elementwise(function: str) -> bool:
    """True where each result depends on the elements at its own position alone: the function itself, and
    with it its gradient (`<function>_backward`). Unknown functions are not."""
    plain = function.removesuffix("_backward")
    return plain in FLOPS and plain not in _NOT_ELEMENTWISE
