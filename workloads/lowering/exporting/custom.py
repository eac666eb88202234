"""Custom `torch.autograd.Function`s: their backward is code of its own, held against autograd of their forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from zerocast.workloads.errors import WorkloadError


@dataclass(frozen=True, slots=True)
class CustomCall:
    """A call of a custom function, with tensors by shape, type and whether they need a gradient."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, function: Any, args: Any, kwargs: Any) -> CustomCall:
        """The call without its data."""
        return cls(function, *tree_map_only(torch.Tensor, _shape_of, (tuple(args), dict(kwargs))))

    def check(self) -> None:
        """Raise `WorkloadError` unless the function's backward does the multiply-accumulates that autograd would for
        its forward, and gives gradients to the same inputs: the training graph is made from the forward ops."""
        name = self.function.__name__
        remedy = (
            "a backward of its own is not followed; write it with plain operators, "
            "such as x + (f(x) - x).detach() for a straight-through estimate"
        )
        try:
            theirs, plain = self._backward(self.function.apply), self._backward(self._forward)
        except Exception as error:
            raise WorkloadError(f"autograd.Function {name!r} cannot be run by itself ({error}); {remedy}") from error
        if theirs is None and plain is None:
            return
        (work, reached), (usual, usually) = theirs or (0, ()), plain or (0, ())
        if work != usual:
            raise WorkloadError(
                f"autograd.Function {name!r}: its backward does {work // 2:,} multiply-accumulates, autograd of its "
                f"forward {usual // 2:,}; {remedy}"
            )
        if reached != usually:
            raise WorkloadError(
                f"autograd.Function {name!r}: its backward gives gradients to inputs {reached}, autograd of its "
                f"forward to {usually}; {remedy}"
            )

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        """The forward pass alone, seen by autograd as plain operators."""
        own_context = self.function.setup_context is torch.autograd.Function.setup_context
        return self.function.forward(*((_Context(),) if own_context else ()), *args, **kwargs)

    def _backward(self, run: Any) -> tuple[int, tuple[int, ...]] | None:
        """FLOPs of the backward pass, and the inputs that get a gradient; None where none needs one."""
        given = tree_map_only(torch.Tensor, _fresh, (self.args, self.kwargs))
        inputs = [(at, leaf) for at, leaf in enumerate(tree_leaves(given)) if isinstance(leaf, torch.Tensor)]
        inputs = [(at, leaf) for at, leaf in inputs if leaf.requires_grad]
        if not inputs:
            return None
        with torch.enable_grad(), FlopCounterMode(display=False) as count:
            # not the leaves themselves, which must not be written in place
            args, kwargs = tree_map_only(torch.Tensor, lambda leaf: leaf.view_as(leaf), given)
            results = [out for out in tree_leaves(run(*args, **kwargs)) if isinstance(out, torch.Tensor)]
            results = [out for out in results if out.requires_grad]
            before = count.get_total_flops()
            if not results:
                return None
            found = torch.autograd.grad(
                results, [leaf for _, leaf in inputs], [torch.empty_like(out) for out in results], allow_unused=True
            )
        work = int(count.get_total_flops() - before)
        return work, tuple(at for (at, _), gradient in zip(inputs, found, strict=True) if gradient is not None)


class _Context:
    """Takes what a forward pass leaves for its own backward."""

    def save_for_backward(self, *tensors: Any) -> None:
        """Nothing is saved."""

    mark_dirty = mark_non_differentiable = set_materialize_grads = save_for_forward = save_for_backward
    needs_input_grad: tuple[bool, ...] = (True,) * 64


def _shape_of(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(
        tuple(map(int, tensor.shape)), tuple(map(int, tensor.stride())), dtype=tensor.dtype, device="meta"
    ).requires_grad_(tensor.requires_grad and tensor.is_floating_point())


def _fresh(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
