"""Networks as bare layers, from `analysis/references/layers.csv`: shapes and densities, each row with its source.

Zeros count as independent, so that channels with more zeros than others are not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from zerocast.analysis.validate.comparison import reference_rows
from zerocast.analysis.validate.suites.zeroskip.rows import zeros_of
from zerocast.simulator.errors import SimulationError
from zerocast.workloads.ir import Affine, Einsum, Tensor, Workload


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution (a fully connected layer is one of a single position), channels of all groups together."""

    name: str
    groups: int
    inputs: int
    outputs: int
    height: int
    width: int
    kernel: int
    stride: int
    padding: int
    input_density: float
    weight_density: float
    output_density: float = 1.0

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = ((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in self.plane)
        return height, width

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.height, self.width

    @property
    def macs(self) -> int:
        """Multiply-accumulates, zeros and padding included."""
        return math.prod(self.output) * self.kernel**2 * self.outputs * self.inputs // self.groups


def layers(network: str) -> list[Layer]:
    """Layers of a network of `layers.csv`; densities that its publication sweeps are 1.

    Raises `SimulationError` for a network that the table does not have.
    """
    table = reference_rows("layers.csv")
    found = [row for row in table if row["network"] == network]
    if not found:
        raise SimulationError(
            f"layers.csv has no network {network!r}; choose {', '.join(sorted({row['network'] for row in table}))}"
        )
    sizes = ("groups", "input_channels", "output_channels", "height", "width", "kernel", "stride", "padding")
    return [
        Layer(row["layer"], *(int(row[size]) for size in sizes),
              *(float(row[density] or 1) for density in ("input_density", "weight_density")))
        for row in found
    ]  # fmt: skip


def without_zeros(layer: Layer) -> Layer:
    """The same layer with dense operands."""
    return replace(layer, input_density=1.0, weight_density=1.0, output_density=1.0)


def workload_of(network: Iterable[Layer], dtype: str, samples: int = 1) -> Workload:
    """One einsum per layer: W[g K + k, c, r, s] and X[n, g C + c, p stride + r, q stride + s], n < samples."""
    ops, tensors = [], {}
    for layer in network:
        op, own = _einsum(layer, dtype, samples)
        ops.append(op)
        tensors.update({tensor.name: tensor for tensor in own})
    return Workload("layers", tensors, tuple(ops))


def _einsum(layer: Layer, dtype: str, samples: int) -> tuple[Einsum, list[Tensor]]:
    inputs, outputs, (height, width) = layer.inputs // layer.groups, layer.outputs // layer.groups, layer.output
    sizes = {"n": samples, "g": layer.groups, "k": outputs, "c": inputs, "p": height, "q": width,
             "r": layer.kernel, "s": layer.kernel}  # fmt: skip

    def channel(rank: str, count: int) -> Affine:
        return (("g", count), (rank, 1))

    def plain(*ranks: str) -> tuple[Affine, ...]:
        return tuple(((rank, 1),) for rank in ranks)

    windows = tuple(((place, layer.stride), (tap, 1)) for place, tap in (("p", "r"), ("q", "s")))
    index = (
        (*plain("n"), channel("c", inputs), *windows),
        (channel("k", outputs), *plain("c", "r", "s")),
        (*plain("n"), channel("k", outputs), *plain("p", "q")),
    )
    x, w, y = (f"{layer.name}.{operand}" for operand in "xwy")
    tensors = [
        Tensor(x, (samples, layer.inputs, *layer.plane), dtype, "activation", zeros_of(layer.input_density)),
        Tensor(w, (layer.outputs, inputs, layer.kernel, layer.kernel), dtype, "weight", zeros_of(layer.weight_density)),
        Tensor(y, (samples, layer.outputs, height, width), dtype, "activation", zeros_of(layer.output_density)),
    ]
    return Einsum(layer.name, layer.name, "FF", (x, w), (y,), sizes, index, source="conv"), tensors


def unit_stride(layer: Layer) -> Layer:
    """The same convolution with stride 1: each residue class of the positions modulo the stride is a channel.

    Exact, as a window's taps of one class step by one position of that class. Kernels are filled up with zeros to
    a multiple of the stride, the image to what the windows then touch, which lowers the densities; nonzeros that
    meet stay the same. Where a scatter engine takes the layer as it is, each input meets all taps, although a
    stride of s lets one in s^2 reach an output.
    """
    if layer.stride == 1:
        return layer
    step, kernel = layer.stride, -(-layer.kernel // layer.stride)
    plane = tuple(out + kernel - 1 for out in layer.output)
    inside = math.prod(
        min(size, span * step - layer.padding) for size, span in zip(layer.plane, plane, strict=True)
    )  # fmt: skip
    return replace(
        layer, inputs=layer.inputs * step**2, height=plane[0], width=plane[1], kernel=kernel, stride=1, padding=0,
        input_density=layer.input_density * inside / (math.prod(plane) * step**2),
        weight_density=layer.weight_density * layer.kernel**2 / (kernel * step) ** 2,
    )  # fmt: skip
