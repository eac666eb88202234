"""A network of transformers without data, and the inputs that its kind takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zerocast.extras import need
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.user_code.blame import reason
from zerocast.workloads.zoo.arguments import checked
from zerocast.workloads.zoo.hub.configurations import ARCHITECTURE, bare, configuration
from zerocast.workloads.zoo.hub.sizes import Sizes

if TYPE_CHECKING:
    from torch import nn

_ATTENTION = "attn_implementation"


_EXPERTS, _PICKED = ("num_local_experts", "n_routed_experts", "num_experts"), "num_experts_per_tok"
"""What configurations call the number of experts, and of those that a token picks."""


def from_hub(model: str, sizes: Sizes, arguments: Mapping[str, Any]) -> tuple[nn.Module, tuple[Any, ...]]:
    """The network of `hf:NAME_OR_DIR` on the meta device, and example inputs for it.

    sizes: of the inputs. arguments: fields of its configuration, by name, in place of its own; `architectures` names
    another class of the same kind, `attn_implementation=eager` takes attention apart as the library's own code does.
    Raises `WorkloadError` for a name without a configuration, and for fields and sizes that do not fit it.
    """
    from zerocast.workloads.zoo.hub.inputs import inputs_of

    need("transformers", f"model {model!r}")
    config, name = configuration(bare(model))
    given = dict(arguments)
    attention = given.pop(_ATTENTION, "")
    if not isinstance(attention, str):
        raise WorkloadError(f"model {model!r}: {_ATTENTION} {attention!r} is no name; give one such as eager or sdpa")
    if given:
        known = {**config.to_dict(), **dict.fromkeys(config.attribute_map), **dict.fromkeys((_ATTENTION, ARCHITECTURE))}
        config, name = configuration(bare(model), checked(model, given, known))
    _check_experts(model, config)
    network = _made(model, _class(model, config, name), config, attention)
    return network, inputs_of(model, network, sizes)


def _check_experts(model: str, config: Any) -> None:
    """Raise `WorkloadError` for a mixture of experts of which no token picks any, or more than there are."""
    text = config.get_text_config()
    count = next((name for name in _EXPERTS if getattr(text, name, None) is not None), "")
    picked = getattr(text, _PICKED, None)
    if not count or picked is None:
        return
    experts = getattr(text, count)
    if experts < 1:
        raise WorkloadError(f"model {model!r}: {count} is {experts}; a mixture of experts has 1 or more")
    if not 1 <= picked <= experts:
        raise WorkloadError(f"model {model!r}: {_PICKED} is {picked}; a token picks 1 to {experts}, all that there are")


def _made(model: str, kind: Any, config: Any, given: str) -> nn.Module:
    """The network with the given attention, else with PyTorch's fused one, its causality a flag and no mask that is
    stored; with its own where it knows no other."""
    import torch

    from zerocast.workloads.zoo.transformers import fused_attention

    own = config._attn_implementation_internal
    for attention in (given,) if given else (fused_attention(), own):
        config._attn_implementation = attention
        try:
            with torch.device("meta"):
                network: nn.Module = kind(config).eval()
                return network
        except Exception as error:
            failed = error
    raise WorkloadError(f"model {model!r} cannot be built from its configuration: {reason(failed)}") from failed


def _class(model: str, config: Any, name: str) -> Any:
    """The class that a configuration names, of this version of transformers."""
    import transformers

    if found := getattr(transformers, name, None):
        return found
    if type(config) in transformers.MODEL_MAPPING:
        return transformers.MODEL_MAPPING[type(config)]
    raise WorkloadError(
        f"model {model!r}: transformers {transformers.__version__} has no class {name or config.model_type!r}"
    )
