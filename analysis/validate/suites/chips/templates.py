"""Every shipped template on the same probe products, held to what was recorded: no reference, but no constant of a
template or a table can change without being seen, also where nothing is published that depends on it.

The probes are small (fill, drain and start-up weigh most), square (the array), square with the zeros that the template
does something about, and flat (the off-chip link).
"""

from __future__ import annotations

from collections.abc import Callable

from zerocast.accelerators import Accelerator, load, templates
from zerocast.accelerators.schema import OperandSparsity
from zerocast.analysis.validate.comparison import Comparison, information
from zerocast.simulator import Gemm, plain_gemm
from zerocast.simulator.einsum_cost import Pricer
from zerocast.workloads.ir import BITS
from zerocast.workloads.patterns import DENSE, NM, Pattern, Uniform

SUITE = "templates"
SMALL, FLAT = (16, 16, 16), (8, 2048, 2048)
"""M, N, K of the probes that the start-up and the link decide."""
SQUARE, SQUARE_OF_A_GPU = (512, 512, 512), (4096, 4096, 4096)
"""Of the one that the array decides: the smaller one does not fill a GPU."""
HALF = 0.5
"""Share of nonzeros at random places, for engines that skip or gate them."""
GROUP = NM(2, 4, "k")
"""For engines that skip N:M."""


def parts() -> tuple[str, ...]:
    """Templates that can be priced alone."""
    return tuple(templates())


def compare(say: Callable[[str], None], part: str | None = None) -> list[Comparison]:
    """All comparisons of the suite, or those of one template."""
    say(f"probe products on {part or 'every template'}")
    return [row for name in ([part] if part else parts()) for row in probes(name)]


def probes(name: str) -> list[Comparison]:
    """What the probes cost on a template."""
    accelerator = load(name)
    pricer = Pricer(accelerator)
    whole = SQUARE if accelerator.gpu is None else SQUARE_OF_A_GPU
    small, square, flat = (product(accelerator, size) for size in (SMALL, whole, FLAT))
    zeros = product(accelerator, whole, zeros=True)
    dense, start_s = pricer.gemm(square), accelerator.host.launch_overhead_s
    link_s = float(pricer.figures([flat]).link_s[0])
    figures = (
        ("cycles", small, "", pricer.gemm(small).cycles, "cycles"),
        ("time with its launch", small, "", (pricer.gemm(small).latency_s + start_s) * 1e6, "us"),
        ("time", square, "", dense.latency_s * 1e6, "us"),
        ("time", zeros, f", {_words(zeros)}", pricer.gemm(zeros).latency_s * 1e6, "us"),
        ("energy of the multipliers", square, "", dense.mac_j * 1e6, "uJ"),
        ("all energy", square, "", dense.energy_j * 1e6, "uJ"),
        ("off-chip link busy", flat, "", link_s * 1e6, "us"),
    )
    return [
        information(SUITE, f"{name}: {what}, {gemm.m}x{gemm.n}x{gemm.k} {gemm.dtype}{more}", value, unit)
        for what, gemm, more, value, unit in figures
    ]


def product(accelerator: Accelerator, size: tuple[int, int, int], zeros: bool = False) -> Gemm:
    """A probe in the type that the multipliers are built for, with the zeros that the array does something about."""
    dtype = accelerator.compute.native_type
    inputs, weights = (
        _law(side) if zeros else DENSE for side in (accelerator.sparsity.input, accelerator.sparsity.weight)
    )
    return plain_gemm(*size, dtype, BITS[dtype], inputs, weights)


def _law(side: OperandSparsity) -> Pattern:
    if side.mode == "structured_skip":
        return GROUP
    return DENSE if side.mode == "none" else Uniform(HALF)


def _words(gemm: Gemm) -> str:
    """The zeros of a probe, for its name."""
    sides = (("input", gemm.input.pattern), ("weight", gemm.weight.pattern))
    found = [
        f"{side} {f'{law.n}:{law.m}' if isinstance(law, NM) else f'{law.density:g} dense'}"
        for side, law in sides
        if not law.is_dense
    ]
    return ", ".join(found) or "no zeros that it sees"
