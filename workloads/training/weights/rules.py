"""Rules of update as data: what each optimizer keeps of a weight, in which types, and how much arithmetic it does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zerocast.workloads.dtypes import FLOATING
from zerocast.workloads.errors import WorkloadError

BLOCK = 256
"""Elements of an 8-bit state that share an fp32 scale (bitsandbytes, optimizers of block-wise quantisation)."""
LEAST_8BIT = 4096
"""Weights with fewer elements keep fp32 states (bitsandbytes, `min_8bit_size`)."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """A rule of update.

    function: what a unit must run. state: tensors kept of each weight. flops: per element of them (of the weight where
    there are none). dtype: of the states. master: weights narrower than fp32 have an fp32 copy. rank: states lie in a
    subspace of that rank of each inner weight matrix (GaLore), 0 for no such thing. scratch: intermediate tensors of a
    weight's size and type that a multi-tensor kernel keeps of all weights at once. sparse: of a weight whose gradient
    is masked, states and update are those of the entries under the mask alone.
    """

    function: str
    state: tuple[str, ...]
    flops: float
    dtype: str = "fp32"
    master: bool = True
    rank: int = 0
    scratch: int = 0
    sparse: bool = False

    def stored(self, elements: int) -> str:
        """Type of the states of so many elements."""
        return "fp32" if self.dtype == "int8" and elements < LEAST_8BIT else self.dtype


_ADAM = ("exp_avg", "exp_avg_sq")
OPTIMIZERS = {
    # decay 2 (g += wd w), step 2 (w -= lr g); the multi-tensor kernels of PyTorch keep the gradients with their decay
    "sgd": Optimizer("sgd", (), 4, scratch=1),
    # momentum 2 (m = mu m + g) more
    "sgd_momentum": Optimizer("sgd_momentum", ("momentum",), 6, scratch=1),
    # first moment 3, second moment 4, bias corrections 2, root, epsilon, quotient, step 2 (Kingma, Ba, ICLR 2015);
    # multi-tensor kernels keep the root
    "adam": Optimizer("adam", _ADAM, 14, scratch=1),
    # decay 2 more (Loshchilov, Hutter, ICLR 2019)
    "adamw": Optimizer("adamw", _ADAM, 16, scratch=1),
    # each state is scaled up, its block's maximum found, scaled down and rounded: 4 of each more (Dettmers et al., ICLR
    # 2022); it updates narrow weights as they are
    "adam8bit": Optimizer("adamw", _ADAM, 24, "int8", master=False),
    # Zhao et al., ICML 2024, with the projections as products of their own
    "galore": Optimizer("adamw", _ADAM, 16, "bf16", master=False, rank=1),
    "galore8bit": Optimizer("adamw", _ADAM, 24, "int8", master=False, rank=1),
}


SPARSE = "sparse"
"""Behind an optimizer's name and a colon: `Optimizer.sparse`."""


def optimizer_named(name: str) -> Optimizer:
    """The rule of a name: one of `OPTIMIZERS`; `adamw:bf16` keeps states of that type and no master copy,
    `galore8bit:128` those of a subspace of that rank; `:sparse` behind either, of the unpruned weights alone. Raises a
    `WorkloadError` that lists what there is."""
    plain = name.removesuffix(f":{SPARSE}")
    return _named(plain) if plain == name else replace(_named(plain), sparse=True)


def _named(name: str) -> Optimizer:
    base, colon, argument = name.partition(":")
    if base not in OPTIMIZERS:
        names = [f"{each}:RANK" if rule.rank else each for each, rule in OPTIMIZERS.items()]
        raise WorkloadError(
            f"unknown optimizer {name!r}; use {', '.join(names)}, or with a type of its states, as adamw:bf16, and "
            f":{SPARSE} behind it"
        )
    rule = OPTIMIZERS[base]
    if rule.rank:
        if not argument.isdecimal() or int(argument) < 1:
            raise WorkloadError(f"optimizer {name!r}: give the rank of its subspace, as {base}:128")
        return replace(rule, rank=int(argument))
    if not colon:
        return rule
    if rule.dtype == "int8" or argument not in FLOATING:
        kinds = "its states are int8 already" if rule.dtype == "int8" else f"states may be {', '.join(FLOATING)}"
        raise WorkloadError(f"optimizer {name!r}: {kinds}; write {base}{'' if rule.dtype == 'int8' else ':bf16'}")
    return replace(rule, dtype=argument, master=False)
