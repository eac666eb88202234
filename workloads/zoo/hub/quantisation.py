"""The type that a configuration says its weights are quantised to (`quantization_config`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zerocast.workloads.dtypes import DOUBLE, NORMAL
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.zoo.hub.configurations import bare, configuration, is_hub_name, table

PLAIN = "fp16"
_WIDTHS = (4, 8)
"""Bits of whole numbers that kernels widen or multiply."""
Said = Mapping[str, Any]


def quantised_type(model: str) -> str:
    """The data type of a network by its configuration: 16 bits, a pair such as fp16*int4, or fp8 throughout.

    Activations that are quantised are taken to be of 8 bits everywhere. Raises `WorkloadError` for a method that has no
    kernels here.
    """
    if not is_hub_name(model) or bare(model) in table():
        return PLAIN
    said = getattr(configuration(bare(model))[0], "quantization_config", None)
    if said is None:
        return PLAIN
    said = said if isinstance(said, Mapping) else said.to_dict()
    method = str(said.get("quant_method") or "bitsandbytes")
    found = _METHODS[method](said) if method in _METHODS else ""
    if not found:
        raise WorkloadError(
            f"model {model!r}: weights quantised by {method!r} as its quantization_config says have no price; give the "
            f"type that comes nearest, such as --dtype fp16*int4; read are {', '.join(_METHODS)} of 4 and 8 bits"
        )
    return found


def _integers(said: Said) -> str:
    bits = said.get("bits", 4)
    return f"{PLAIN}*int{bits}" if bits in _WIDTHS else ""


def _bitsandbytes(said: Said) -> str:
    """Its 8 bits are multiplied as whole numbers beside a few columns in 16 bits; here as 16 bits throughout."""
    if said.get("load_in_8bit"):
        return f"{PLAIN}*int8"
    double = DOUBLE if said.get("bnb_4bit_use_double_quant") else ""
    named = f"{said.get('bnb_4bit_quant_type', 'fp4')}{double}"
    return f"{PLAIN}*{named if named in NORMAL else 'fp4'}"


def _compressed(said: Said) -> str:
    """Of the first group of layers; activations None where they stay in 16 bits."""
    group: Said = next(iter((said.get("config_groups") or {}).values()), {})
    weights, inputs = (_one(group.get(side)) for side in ("weights", "input_activations"))
    if not weights:
        return ""
    if not inputs:
        return f"{PLAIN}*{weights}"
    return weights if weights == inputs else f"{inputs}*{weights}"


def _one(said: Said | None) -> str:
    """The type of one side: whole numbers of 4 or 8 bits, floating ones of 8 or 4."""
    if not said or said.get("num_bits", 8) not in _WIDTHS:
        return ""
    return ("fp" if said.get("type") == "float" else "int") + str(said.get("num_bits", 8))


_METHODS: dict[str, Callable[[Said], str]] = {
    "gptq": _integers, "awq": _integers, "bitsandbytes": _bitsandbytes, "compressed-tensors": _compressed,
    "fp8": lambda said: "fp8", "fbgemm_fp8": lambda said: "fp8", "mxfp4": lambda said: f"{PLAIN}*fp4",
}  # fmt: skip
