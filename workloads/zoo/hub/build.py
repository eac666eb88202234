"""A network of transformers without data, and the inputs that its kind takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zerocast.extras import need
from zerocast.workloads.blame import reason
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.zoo.arguments import checked
from zerocast.workloads.zoo.hub.configurations import bare, configuration
from zerocast.workloads.zoo.hub.sizes import Sizes

if TYPE_CHECKING:
    from torch import nn


def from_hub(model: str, sizes: Sizes, arguments: Mapping[str, Any]) -> tuple[nn.Module, tuple[Any, ...]]:
    """The network of `hf:NAME_OR_DIR` on the meta device, and example inputs for it.

    sizes: of the inputs. arguments: fields of its configuration, by name, in place of its own.
    Raises `WorkloadError` for a name without a configuration, and for fields and sizes that do not fit it.
    """
    from zerocast.workloads.zoo.hub.inputs import inputs_of

    need("transformers", f"model {model!r}")
    config, name = configuration(bare(model))
    if arguments:
        known = {**config.to_dict(), **dict.fromkeys(config.attribute_map)}
        config, name = configuration(bare(model), checked(model, arguments, known))
    network = _made(model, _class(model, config, name), config)
    return network, inputs_of(model, network, sizes)


def _made(model: str, kind: Any, config: Any) -> nn.Module:
    """The network with PyTorch's fused attention, its causality a flag and no mask that is stored; with its own
    attention where it knows no other."""
    import torch

    from zerocast.workloads.zoo.transformers import fused_attention

    own = config._attn_implementation_internal
    for attention in (fused_attention(), own):
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
