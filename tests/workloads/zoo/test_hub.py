"""Networks by hub name or folder: parameters as published, the multiplications that PyTorch counts, the inputs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zerocast.analysis.run.network import Network, lower, silent
from zerocast.workloads import WorkloadError, capture
from zerocast.workloads.ir import Einsum, Vector, Workload
from zerocast.workloads.zoo import build
from zerocast.workloads.zoo.hub import quantised_type
from zerocast.workloads.zoo.hub.configurations import configuration, known, table, weights_beside

SHORT = {"num_hidden_layers": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-3.2-1B": SHORT, "Qwen/Qwen3-0.6B": SHORT, "google/gemma-3-1b-pt": SHORT,
    "facebook/opt-125m": SHORT, "bigscience/bloom-560m": {"n_layer": 2}, "openai-community/gpt2": {"n_layer": 2},
    "google-t5/t5-small": {"num_layers": 2, "num_decoder_layers": 2}, "google/vit-base-patch16-224": SHORT,
    "openai/whisper-tiny": {"encoder_layers": 1, "decoder_layers": 1}, "openai/clip-vit-base-patch32": {},
    "facebook/wav2vec2-base": SHORT, "FacebookAI/roberta-base": SHORT,
}  # fmt: skip
WHOLE = sorted(set(known()) - set(FAMILIES) - {
    "deepseek-ai/DeepSeek-V3", "mistralai/Mixtral-8x7B-v0.1", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V2-Lite",
    "meta-llama/Llama-2-70b-hf", "meta-llama/Llama-3.1-70B", "state-spaces/mamba-2.8b-hf", "state-spaces/mamba-130m-hf",
    "facebook/sam-vit-base",
})  # fmt: skip
"""Those whose products `FlopCounterMode` counts on the meta device, in a few seconds each."""


def _counted(model: torch.nn.Module, inputs: tuple[Any, ...]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return counter.get_total_flops() / 2


def test_own_code_of_attention_is_kept_where_it_is_asked_for() -> None:
    """Scaling, mask and a softmax in fp32 that is cast, as transformers writes them; the same multiplications."""
    usual, own = (
        capture(*build("hf:facebook/opt-125m", 2, tokens=8, num_hidden_layers=1, **more))
        for more in ({}, {"attn_implementation": "eager"})
    )
    assert own.macs == usual.macs
    functions = [op.function for op in own.ops if isinstance(op, Vector)]
    assert functions.count("softmax") == functions.count("convert") == 1 and len(own.ops) > len(usual.ops)
    with pytest.raises(WorkloadError, match="attn_implementation"):
        build("hf:facebook/opt-125m", 2, attn_implementation=3)


@pytest.mark.parametrize("name", FAMILIES)
def test_macs_are_those_that_pytorch_counts(name: str) -> None:
    model, inputs = build(f"hf:{name}", 2, **FAMILIES[name])
    found = capture(model, inputs)
    assert found.macs == _counted(model, inputs) > 0
    assert found.parameters == sum(each.numel() for each in model.parameters())
    assert not found.unknown


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_macs_of_whole_networks(name: str) -> None:
    model, inputs = build(f"hf:{name}")
    assert capture(model, inputs).macs == _counted(model, inputs) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", known())
def test_parameters_are_the_published_number(name: str) -> None:
    model, _ = build(f"hf:{name}")
    assert sum(each.numel() for each in model.parameters()) == known()[name]


def test_the_table_names_classes_and_fields_of_transformers() -> None:
    assert len(known()) >= 40
    for name in table():
        config, kind = configuration(name)
        assert hasattr(__import__("transformers"), kind), name
        given = set(table()[name]) - {"type", "class", "parameters"}
        assert given <= {*config.to_dict(), *config.attribute_map, "num_labels"}, (
            name
        )  # a misspelled field would be kept and ignored


def test_a_step_with_a_cache_reads_it_and_makes_one_token() -> None:
    model, inputs = build("hf:meta-llama/Llama-3.1-8B", 4, cache=100, num_hidden_layers=1)
    found = capture(model, inputs)
    linear = sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n)
    scores = 2 * 32 * 128 * 101  # queries with keys, weights with values: heads, width, positions
    assert found.macs == 4 * (linear + scores)


MIXTURE: dict[str, Any] = {
    "num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 16, "vocab_size": 32,
}  # fmt: skip


def _experts(batch: int, tokens: int, **arguments: Any) -> list[Einsum]:
    name = "hf:mistralai/Mixtral-8x7B-v0.1"
    model, inputs = build(name, batch, tokens=tokens, **MIXTURE, **arguments)
    found: Workload = capture(model, inputs)
    return [op for op in found.einsums if "g" in op.sizes]


def test_one_token_reads_the_experts_that_it_picks() -> None:
    up, down = _experts(1, 1)
    assert (up.sizes["g"], up.sizes["m"], down.sizes["g"]) == (2, 1, 2)


@pytest.mark.parametrize(("batch", "tokens"), [(3, 1), (5, 1), (1, 7), (2, 64)])
def test_a_batch_reads_the_union_of_what_its_tokens_pick(batch: int, tokens: int) -> None:
    ops = _experts(batch, tokens)
    up = [op for op in ops if op.sizes["c"] == 64]
    expected = 8 * (1 - (1 - 2 / 8) ** (batch * tokens))
    assert abs(sum(op.sizes["g"] for op in up) - expected) <= 0.5
    assert sum(op.sizes["g"] * op.sizes["m"] for op in up) == batch * tokens * 2
    assert max(op.sizes["m"] for op in up) - min(op.sizes["m"] for op in up) <= 1
    assert sum(op.macs for op in ops) == batch * tokens * 2 * 3 * 64 * 96


def test_the_union_agrees_with_drawn_routing() -> None:
    """T tokens that each pick k of E experts at random, counted."""
    rng = torch.Generator().manual_seed(0)
    picks = torch.rand(2000, 6, 16, generator=rng).topk(3, dim=-1).indices  # draws, tokens, k of 16
    drawn = sum(len(torch.unique(draw)) for draw in picks) / len(picks)
    ops = _experts(1, 6, num_local_experts=16, num_experts_per_tok=3)
    busy = sum(op.sizes["g"] for op in ops if op.sizes["c"] == 64)
    assert busy == round(16 * (1 - (1 - 3 / 16) ** 6)) and math.isclose(busy, drawn, abs_tol=0.6)


def test_experts_are_pruned_and_trained() -> None:
    from zerocast.workloads import prune

    model, inputs = build("hf:mistralai/Mixtral-8x7B-v0.1", 1, tokens=9, **MIXTURE)
    model, pruning = prune(model, "nm:2:4", inputs)
    assert {"model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"} <= set(pruning.layers)
    forward = capture(model, inputs, pruning=pruning)
    assert all(forward.pattern_of(op, 1).density == 0.5 for op in forward.einsums if "g" in op.sizes)
    trained = capture(model, inputs, training=True)
    passes = {phase: sum(op.macs for op in trained.einsums if op.phase == phase) for phase in ("FF", "WU")}
    assert passes["WU"] == sum(op.macs for op in trained.einsums if op.phase == "FF" and op.inputs[1] in trained.tensors
                               and trained.tensors[op.inputs[1]].role == "weight")  # fmt: skip


def test_complex_rotary_embeddings_are_priced_by_their_real_parts() -> None:
    small = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
             "num_attention_heads": 2, "num_key_value_heads": 2, "n_routed_experts": 4, "vocab_size": 32,
             "num_experts_per_tok": 2, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
             "v_head_dim": 8, "first_k_dense_replace": 0}  # fmt: skip
    model, inputs = build("hf:deepseek-ai/DeepSeek-V2-Lite", 1, tokens=8, **small)
    found = capture(model, inputs)
    turned = [op for op in found.ops if getattr(op, "function", "") == "mul"
              and found.tensors[op.outputs[0]].dtype == "complex32"]  # fmt: skip
    assert [op.elements for op in turned] == [2 * 8 * 4, 8 * 4]  # of the queries' two heads, of the keys' one
    assert all(op.flops_per_element == 6 for op in turned)
    assert not found.unknown


def test_a_folder_with_a_configuration_is_a_network(tmp_path: Path) -> None:
    config, kind = configuration("openai-community/gpt2")
    config.n_layer, config.architectures = 1, [kind]
    config.save_pretrained(tmp_path)
    model, _ = build(f"hf:{tmp_path}", tokens=4)
    assert type(model).__name__ == "GPT2LMHeadModel" and len(model.transformer.h) == 1  # type: ignore[union-attr,arg-type]
    assert weights_beside(f"hf:{tmp_path}") is None


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("hf:meta-llama/Llama-3.1-8b", {}, "did you mean hf:meta-llama/Llama-3.1-8B"),
        ("hf:nobody/nothing", {}, "no folder, not in the hub's cache.*zerocast list hub"),
        ("hf:openai-community/gpt2", {"tokens": 2000}, "2000 tokens are more than the 1024 positions"),
        ("hf:openai-community/gpt2", {"cache": 1024}, "1025 tokens are more than the 1024 positions"),
        ("hf:openai-community/gpt2", {"image": 32}, "takes no images"),
        ("hf:google/vit-base-patch16-224", {"tokens": 8}, "takes images, not tokens"),
        ("hf:google-bert/bert-base-uncased", {"cache": 0}, "cache 0 must be a whole number of 1 or more"),
        ("hf:google-t5/t5-small", {"cache": 8}, "keeps no cache"),
        ("hf:google/vit-base-patch16-224", {"cache": 8}, "keeps no cache"),
        ("hf:google-bert/bert-base-uncased", {"cache": 8}, "keeps no cache"),
        ("hf:openai-community/gpt2", {"n_layers": 2}, "has no 'n_layers'; did you mean 'n_layer'"),
        ("resnet18", {"cache": 8}, "takes no cache"),
        (
            "hf:mistralai/Mixtral-8x7B-v0.1",
            {"num_local_experts": 0},
            "num_local_experts is 0; a mixture of experts has 1",
        ),
        ("hf:Qwen/Qwen3-30B-A3B", {"num_experts_per_tok": 0}, "num_experts_per_tok is 0; a token picks 1 to 128"),
        (
            "hf:deepseek-ai/DeepSeek-V2-Lite",
            {"num_experts_per_tok": 65},
            "num_experts_per_tok is 65; a token picks 1 to",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message) as caught:
        build(name, **sizes)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_configuration_and_one_that_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"the folder has no config\.json"):
        build(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no such kind"}))
    with pytest.raises(WorkloadError, match=r"its config\.json cannot be used"):
        build(f"hf:{tmp_path}")


def _compressed(weights: dict[str, Any], inputs: dict[str, Any] | None) -> dict[str, Any]:
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}}
    return {"quant_method": "compressed-tensors", "config_groups": groups}


INTEGERS, FLOATS = {"num_bits": 8, "type": "int"}, {"num_bits": 8, "type": "float"}
SAID: list[tuple[dict[str, Any], str]] = [
    ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "fp16*int4"),
    ({"quant_method": "gptq", "bits": 8}, "fp16*int8"), ({"quant_method": "awq", "bits": 4}, "fp16*int4"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "fp16*nf4"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
      "bnb_4bit_use_double_quant": True}, "fp16*nf4-dq"),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "fp16*int8"),
    ({"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}, "fp8"),
    (_compressed({"num_bits": 4, "type": "int"}, None), "fp16*int4"), (_compressed(INTEGERS, INTEGERS), "int8"),
    (_compressed(FLOATS, FLOATS), "fp8"),
]  # fmt: skip


def _saved_with(folder: Path, said: dict[str, Any]) -> str:
    config, kind = configuration("openai-community/gpt2")
    config.n_layer, config.architectures, config.quantization_config = 1, [kind], said
    config.save_pretrained(folder)
    return f"hf:{folder}"


@pytest.mark.parametrize(("said", "dtype"), SAID)
def test_a_configuration_says_what_its_weights_are_quantised_to(tmp_path: Path, said: Any, dtype: str) -> None:
    assert quantised_type(_saved_with(tmp_path, said)) == dtype


@pytest.mark.parametrize("said", [{"quant_method": "aqlm"}, {"quant_method": "gptq", "bits": 3}])
def test_a_quantisation_without_kernels_is_refused_by_name(tmp_path: Path, said: dict[str, Any]) -> None:
    with pytest.raises(
        WorkloadError, match=rf"quantised by '{said['quant_method']}' as .* have no price; give .*--dtype"
    ):
        quantised_type(_saved_with(tmp_path, said))


def test_a_network_takes_the_type_of_its_configuration(tmp_path: Path) -> None:
    model = _saved_with(tmp_path, SAID[0][0])
    read = [lower(Network(model, tokens=8, dtype=dtype), silent) for dtype in (None, "fp16")]
    types = [{each.tensors[op.inputs[1]].dtype for op in each.einsums if op.inputs[1] in each.inner_weights}
             for each in read]  # fmt: skip
    assert types == [{"int4"}, {"fp16"}]
