"""MACs and parameters of every zoo model against PyTorch's own counter; Llama's cost of capture itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from zerocast.workloads import Workload, build, capture, models
from zerocast.workloads.zoo.trained import EfficientNetLite0, VGG16Trunk

# fewer layers (or steps) of the same kind, so that the suite stays short
SHORTER = {
    "bert_base": {"num_hidden_layers": 2}, "gpt2": {"n_layer": 2}, "llama2_7b": {"num_hidden_layers": 2},
    "llama2_7b_decode": {"num_hidden_layers": 2}, "lstm": {"tokens": 4},
}  # fmt: skip

# the zoo's own constructors look for the packages that hold the weights
WITHOUT_WEIGHTS = {"efficientnet_lite0": EfficientNetLite0, "vgg16_hed": VGG16Trunk}


def on_meta(name: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    with torch.device("meta"):
        if name in WITHOUT_WEIGHTS:
            model, inputs = WITHOUT_WEIGHTS[name](), (torch.zeros(1, 3, 224, 224),)
        else:
            model, inputs = build(name, **SHORTER.get(name, {}))
    return model.to("meta").train(), tuple(value.to("meta") for value in inputs)


def grouped_backward(grad, x, w, bias, stride, padding, dilation, transposed, output_padding, groups, mask,
                     out_shape=None):  # fmt: skip
    """FLOPs of a convolution's two backward passes. PyTorch's own formula ignores `groups` in the weight
    gradient, which makes a depthwise layer as dear as a full one; each pass does the forward's work."""
    forward = conv_flop_count(x, w, grad, transposed)
    return forward * (int(mask[0]) + int(mask[1]))


def counted(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[float, float]:
    """MACs that PyTorch counts, forward and of the whole step: convolutions and matrix products. It does not count
    embeddings, norms, softmax, pooling, elementwise work, the loss or the optimizer, which are no einsums here either.
    Attention is run as plain products (MATH), because fused kernels recompute scores in their backward pass."""
    custom = {torch.ops.aten.convolution_backward: grouped_backward}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=custom) as counter:
        out = model(*inputs).sum()
        forward = counter.get_total_flops() / 2
        out.backward()
    return forward, counter.get_total_flops() / 2


ANCHORS = {"resnet18": 1.814e9, "resnet50": 4.089e9, "vit_b16": 17.564e9, "mobilenet_v2": 0.3008e9}
"""ImageNet models at 224x224, as torchvision's documentation lists them (GFLOPS there are MACs)."""


@pytest.mark.parametrize("name", models())
def test_macs_and_weights_equal_those_of_pytorch(name: str) -> None:
    model, inputs = on_meta(name)
    workload = capture(model, inputs, training=True)
    forward = sum(op.macs for op in workload.einsums if op.phase == "FF")
    assert (forward, workload.macs) == counted(model, inputs)
    assert forward == pytest.approx(ANCHORS.get(name, forward), rel=1e-3)
    check_parameters(workload, model)


def check_parameters(workload: Workload, model: torch.nn.Module) -> None:
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    weights = {name: tensor.shape for name, tensor in workload.tensors.items() if tensor.role == "weight"}
    assert weights == expected
    updated = [op.outputs[0] for op in workload.ops if op.phase == "UPDATE"]
    assert sorted(updated) == sorted(expected)


def test_bert_base_in_full() -> None:
    """12 layers of 4 d^2 + 2 d d_ff weights at 128 tokens, and two products of 128 x 128 x 768 each."""
    model, inputs = build("bert_base")
    expected = 12 * (128 * (4 * 768**2 + 2 * 768 * 3072) + 2 * 128 * 128 * 768)
    assert capture(model.to("meta"), inputs, equal_layers_once=True).macs == expected


@pytest.mark.slow
def test_llama_is_lowered_in_a_minute_and_two_gigabytes() -> None:
    script = (
        "import resource, time; from zerocast.workloads import build, capture\n"
        "start = time.time(); workload = capture(*build('llama2_7b'))\n"
        "print(workload.parameters, time.time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    parameters, seconds, kilobytes = done.stdout.split()
    assert int(parameters) == 6_738_415_616  # Touvron et al. 2023
    assert float(seconds) < 60
    assert int(kilobytes) < 2 * 1024**2
