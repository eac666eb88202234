"""Example inputs of a network of transformers: token ids, images, sound, and a cache of what came before."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from zerocast.workloads.errors import UnfitSize, WorkloadError
from zerocast.workloads.lowering.exporting.positional import positional
from zerocast.workloads.zoo.hub.sizes import Sizes

if TYPE_CHECKING:
    from torch import Tensor, nn

TOKENS = 128
"""Tokens of a text where none are given."""

SECOND = 16000
"""Samples of sound where none are given: a second at the 16 kHz that speech models are trained on."""

_TEXT = ("input_ids", "decoder_input_ids")
_IMAGE = "pixel_values"
_SPECTRUM = "input_features"
_SOUND = "input_values"


def inputs_of(model: str, network: nn.Module, sizes: Sizes) -> tuple[Any, ...]:
    """Positional inputs for the network's forward, on the meta device.

    model: its name, for errors. Raises `WorkloadError` for a size that the network does not have, or has less of.
    """
    config: Any = network.config
    text = config.get_text_config()
    names = _taken(network)
    if sizes.image is not None and _IMAGE not in names:
        raise UnfitSize(f"model {model!r} takes no images; leave `image` out")
    if sizes.tokens is not None and not set(names) & {*_TEXT, _SOUND}:
        raise UnfitSize(f"model {model!r} takes images, not tokens; leave `tokens` out")
    tokens = sizes.tokens or (1 if sizes.cache else min(TOKENS, _positions(text)))
    if set(names) & set(_TEXT):
        _within(model, text, tokens + (sizes.cache or 0))
    found = {name: _example(name, config, sizes, tokens) for name in names}
    if sizes.cache:
        found["past_key_values"] = _filled(model, network, text, sizes)
    return positional(network, found)


def _taken(network: nn.Module) -> list[str]:
    """Names of the inputs that a network needs: its main one, a decoder's token ids, the image beside a text."""
    config: Any = network.config
    main: Any = network.main_input_name
    generates: Any = network.can_generate
    parameters = inspect.signature(network.forward).parameters
    names = [main]
    if config.is_encoder_decoder and "decoder_input_ids" in parameters:
        names.append("decoder_input_ids")
    both = {"text_config", "vision_config"} <= set(config.sub_configs) and not generates()
    names += [other for other in ("input_ids", _IMAGE) if both and other in parameters and other != main]
    return names


def _example(name: str, config: Any, sizes: Sizes, tokens: int) -> Tensor:
    import torch

    if name in _TEXT:
        return torch.zeros(sizes.batch, tokens, dtype=torch.long, device="meta")
    if name == _IMAGE:
        vision = getattr(config, "vision_config", config)
        own = getattr(vision, "image_size", None) or 224
        height, width = (
            (sizes.image, sizes.image) if sizes.image else own if isinstance(own, (list, tuple)) else (own, own)
        )
        return torch.zeros(sizes.batch, getattr(vision, "num_channels", 3), height, width, device="meta")
    if name == _SPECTRUM:  # two frames for each position of the encoder
        return torch.zeros(sizes.batch, config.num_mel_bins, 2 * config.max_source_positions, device="meta")
    if name == _SOUND:
        return torch.zeros(sizes.batch, sizes.tokens or SECOND, device="meta")
    raise WorkloadError(f"no example is known for the input {name!r}; give the network with a factory of your own")


def _positions(config: Any) -> int:
    """Tokens that the position encoding of a text model holds; where it has no bound, any number."""
    found = next(
        (size for name in ("max_position_embeddings", "max_target_positions") if (size := getattr(config, name, None))),
        0,
    )
    return int(found) or 1 << 62


def _within(model: str, config: Any, tokens: int) -> None:
    if tokens > (most := _positions(config)):
        raise WorkloadError(
            f"model {model!r}: {tokens} tokens are more than the {most} positions that it has; give fewer, or the "
            f"argument max_position_embeddings={tokens}"
        )


def _filled(model: str, network: nn.Module, config: Any, sizes: Sizes) -> Any:
    """Keys and values of `sizes.cache` earlier tokens, as a causal network keeps them."""
    import torch
    from transformers import DynamicCache

    parameters = inspect.signature(network.forward).parameters
    generates: Any = network.can_generate
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None)
    if "past_key_values" not in parameters or not heads or not generates() or config.is_encoder_decoder:
        raise UnfitSize(f"model {model!r} keeps no cache of keys and values; leave `cache` out")
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kept = DynamicCache()
    for layer in range(config.num_hidden_layers):
        shape = (sizes.batch, heads, sizes.cache or 0, width)
        kept.update(torch.zeros(shape, device="meta"), torch.zeros(shape, device="meta"), layer)
    return kept
