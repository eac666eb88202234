"""Attention networks: our own vision transformer, and language models built by the transformers library."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zerocast.workloads.errors import WorkloadError


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection of queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.head_dim = width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    """ViT with a class token (Dosovitskiy et al., ICLR 2021)."""

    def __init__(self, image: int, patch: int, width: int, depth: int, heads: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, width) * 0.02)
        self.encoder = nn.Sequential(*(EncoderBlock(width, heads, hidden) for _ in range(depth)))
        self.ln = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embedding
        return self.head(self.ln(self.encoder(x))[:, 0])


class LastHidden(nn.Module):
    """A transformers model reduced to token ids in, first output tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, use_cache=False, return_dict=False)[0]


class Encoder(nn.Module):
    """An encoder without a decoder's cache argument: token ids in, hidden states out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, return_dict=False)[0]


class DecodeStep(nn.Module):
    """One decode step of a causal language model; its cache comes as flat key and value arguments."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, *cache: Tensor) -> Tensor:
        from transformers import DynamicCache

        past = DynamicCache()
        for layer in range(len(cache) // 2):
            past.update(cache[2 * layer], cache[2 * layer + 1], layer)
        return self.model(input_ids=input_ids, past_key_values=past, use_cache=True, return_dict=False)[0]


def bert(batch: int, tokens: int, **config: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """BERT encoder without pooler; `config` overrides fields of transformers' BertConfig."""
    from transformers import BertConfig, BertModel

    model = BertModel(_within(BertConfig(**_attention(), **config), tokens), add_pooling_layer=False)
    return Encoder(model), (torch.zeros(batch, tokens, dtype=torch.long),)


def gpt2(batch: int, tokens: int, **config: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """GPT-2 with its language head, tied to the token embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(_within(GPT2Config(**_attention(), **config), tokens))
    return LastHidden(model), (torch.zeros(batch, tokens, dtype=torch.long),)


def llama(batch: int, tokens: int, **config: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Llama prefill on the meta device: shapes without weights. Defaults of LlamaConfig are Llama-2-7B."""
    return LastHidden(_meta_llama(config, tokens)), (torch.zeros(batch, tokens, dtype=torch.long, device="meta"),)


def llama_decode(batch: int, tokens: int, **config: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """One new token against a cache of `tokens` earlier ones, on the meta device."""
    model = _meta_llama(config, tokens + 1)
    settings = model.config
    shape = (batch, settings.num_key_value_heads, tokens, settings.head_dim)
    cache = tuple(torch.zeros(shape, device="meta") for _ in range(2 * settings.num_hidden_layers))
    return DecodeStep(model), (torch.zeros(batch, 1, dtype=torch.long, device="meta"), *cache)


def _meta_llama(config: dict[str, Any], tokens: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = _within(LlamaConfig(**{"max_position_embeddings": 4096, **_attention(), **config}), tokens)
    with torch.device("meta"):
        return LlamaForCausalLM(settings)


def _within(config: Any, tokens: int) -> Any:
    """The configuration, where its positions hold that many tokens; `WorkloadError` otherwise."""
    if tokens > config.max_position_embeddings:
        name = config.attribute_map.get("max_position_embeddings", "max_position_embeddings")
        raise WorkloadError(
            f"{tokens} tokens are more than the {config.max_position_embeddings} positions that the model has; give "
            f"fewer, or the argument {name}={tokens}"
        )
    return config


def fused_attention() -> str:
    """Name of transformers' setting for PyTorch's fused attention without an explicit mask tensor: causal models then
    tell so by a flag, as they do outside of an export."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    name = "sdpa_without_mask"
    AttentionInterface.register(name, sdpa_attention_forward)
    return name


def _attention() -> dict[str, Any]:
    return {"attn_implementation": fused_attention()}
