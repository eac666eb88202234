"""What each operator says of the axes of its operands and results: which are one, which stay, which make which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zerocast.workloads.transforms.groups.rules import elementwise, lookups, products, recurrent, shapes
from zerocast.workloads.transforms.groups.rules.step import Step


def _all(rule: Callable[[Step], Any], names: str) -> dict[str, Callable[[Step], Any]]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Callable[[Step], Any]] = {
    **_all(
        elementwise.unchanged,
        "clone contiguous to _to_copy alias detach dropout feature_dropout alpha_dropout softmax _softmax log_softmax "
        "_log_softmax safe_softmax _safe_softmax lift_fresh lift_fresh_copy type_as tril triu zeros_like ones_like "
        "full_like empty_like rand_like randn_like zero bernoulli",
    ),
    **_all(
        elementwise.created,
        "zeros ones full empty arange rand randn scalar_tensor new_zeros new_ones new_full new_empty linspace eye "
        "one_hot",
    ),
    **_all(elementwise.pointwise, "where"),
    **_all(products.linear, "linear"),
    **_all(products.matmul, "mm bmm matmul addmm baddbmm mv dot"),
    **_all(products.grouped, "_grouped_mm grouped_mm_fallback"),
    **_all(products.attention, "scaled_dot_product_attention"),
    **_all(products.convolution, "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_all(elementwise.per_channel, "batch_norm instance_norm"),
    **_all(elementwise.slopes, "prelu"),
    **_all(elementwise.per_group, "group_norm"),
    **_all(elementwise.over_last, "layer_norm rms_norm native_layer_norm"),
    **_all(lookups.embedding, "embedding"),
    **_all(
        elementwise.pooled,
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d max_pool2d_with_indices upsample_nearest1d "
        "upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d "
        "upsample_trilinear3d _upsample_bilinear2d_aa",
    ),
    **_all(
        elementwise.reduced,
        "mean sum amax amin max min var std prod argmax argmin any all logsumexp norm linalg_vector_norm var_mean "
        "std_mean",
    ),
    **_all(shapes.reshaped, "view reshape _unsafe_view flatten unflatten view_as reshape_as"),
    **_all(shapes.permuted, "permute transpose t numpy_T swapaxes swapdims mT adjoint"),
    **_all(shapes.concatenated, "cat concat concatenate"),
    **_all(shapes.stacked, "stack"),
    **_all(shapes.split, "split split_with_sizes chunk tensor_split unsafe_chunk unsafe_split"),
    **_all(shapes.picked, "unbind select"),
    **_all(shapes.sliced, "slice narrow"),
    **_all(shapes.expanded, "expand expand_as broadcast_to"),
    **_all(shapes.tiled, "repeat tile"),
    **_all(shapes.interleaved, "repeat_interleave"),
    **_all(shapes.unsqueezed, "unsqueeze"),
    **_all(shapes.squeezed, "squeeze"),
    **_all(shapes.padded, "pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d"),
    **_all(lookups.looked_up, "index"),
    **_all(lookups.selected, "index_select"),
    **_all(lookups.gathered, "gather"),
    **_all(lookups.scattered, "index_add index_copy scatter_add scatter_reduce scatter"),
    **_all(lookups.bags, "embedding_bag"),
    **_all(elementwise.along, "flip roll cumsum cumprod sort topk"),
    **_all(products.einsum, "einsum"),
    **_all(recurrent.recurrent, "lstm gru rnn_tanh rnn_relu"),
    **_all(recurrent.cell, "lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"),
    **_all(shapes.shuffled, "pixel_shuffle"),
}
"""By the name of the aten operator, without the underscore of one that works in place."""
