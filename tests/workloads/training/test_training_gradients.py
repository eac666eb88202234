"""Whatever a module does to its own gradients, a training step has the multiply-accumulates that PyTorch runs."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from test_training_joint_graph import joint_graph, products
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

from zerocast.workloads import WorkloadError, capture

X = torch.zeros(6, 8)


class Net(nn.Module):
    """Layers to play with; `run` is the forward pass."""

    def __init__(self, run: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run
        self.a, self.b, self.d, self.c = nn.Linear(8, 16), nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 4)
        self.square, self.flat = nn.Parameter(torch.zeros(16, 16)), nn.Parameter(torch.zeros(512))
        self.kernel = nn.Parameter(torch.zeros(2, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def without_gradient(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.b(x)


def copied(target: Tensor, source: Tensor) -> Tensor:
    target.copy_(source)
    return target


def halves(net: Net, x: Tensor) -> Tensor:
    """A tensor made first and filled part by part."""
    y, out = net.a(x), x.new_zeros(len(x), 64)
    out[:, :32] = net.b(y)
    out[:, 32:] = net.d(y)
    return net.c(out[:, :32] + out[:, 32:])


def rows(net: Net, x: Tensor) -> Tensor:
    y, out = net.a(x), x.new_zeros(2, len(x), 32)
    out[0], out[1] = net.b(y), net.d(y)
    return net.c(out)


def through_views(net: Net, x: Tensor) -> Tensor:
    """In-place work on parts, which the whole shows afterwards."""
    y = net.a(x)
    out = net.b(y)
    out[:, :16].add_(y)
    out[:, 16:].mul_(net.d(y)[:, 16:])
    return net.c(out)


def over_half(net: Net, x: Tensor) -> Tensor:
    out = net.b(net.a(x))
    out[:, ::2] = 0.5
    return net.c(out)


def shared(net: Net, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.c(net.b(y) + net.b(y @ net.square) + net.d(net.a(x)))


def patterned(net: Net, x: Tensor) -> Tensor:
    """A kernel that is written into a weight, and a product with itself."""
    weight = net.flat.reshape(32, 16).clone()
    weight[:2, :3] = net.kernel[:, 0]
    return net.c(functional.linear(net.a(x), weight @ (net.square @ net.square.t())))


class Round(torch.autograd.Function):
    """A straight-through estimate."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        return gradient @ weight.t(), x.t() @ gradient


rounded = Round.apply  # as many write it, so that the class's own attribute is not asked again

PLAIN: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "detach": lambda net, x: net.c(net.b(net.a(x).detach()) + net.d(net.a(x))),
    "detached weight": lambda net, x: net.c(functional.linear(net.a(x), net.b.weight.detach())),
    "both ways": lambda net, x: (lambda y: net.c(net.b(y * y.detach())))(net.a(x)),
    "a view of it": lambda net, x: net.c(net.b(net.a(x).detach().view(2, 3, 16)) + net.d(net.a(x)).view(2, 3, 32)),
    "no_grad": lambda net, x: net.c(without_gradient(net, net.a(x)) + net.d(net.a(x))),
    "no_grad taken apart": lambda net, x: net.c(
        copied(torch.empty(6, 32), without_gradient(net, net.a(x))) + net.d(net.a(x))),
    "straight through": lambda net, x: (lambda y: net.c(net.b(y + ((y > 0).float() - y).detach())))(net.a(x)),
    "whole copy": lambda net, x: net.c(copied(torch.empty(6, 32), net.b(net.a(x)))),
    "halves": halves, "rows": rows, "through views": through_views, "over half": over_half,
    "shared": shared, "two parameters": patterned,
    "flattened weight": lambda net, x: net.c(functional.linear(net.a(x), net.flat.reshape(32, 16))),
    "custom": lambda net, x: net.c(net.b(rounded(net.a(x)))),
    "custom product": lambda net, x: net.c(net.b(Product.apply(net.a(x), net.square))),
}  # fmt: skip

CHECKPOINTS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "last linear is not needed": lambda net, x: net.c(
        checkpoint(lambda y: net.b(torch.relu(y @ net.square)), net.a(x), use_reentrant=False)),
    "last relu is": lambda net, x: net.c(
        checkpoint(lambda y: torch.relu(net.b(torch.relu(y @ net.square))), net.a(x), use_reentrant=False)),
    "all of it": lambda net, x: net.c(
        checkpoint(lambda y: net.b(torch.relu(y @ net.square)), net.a(x), use_reentrant=True)),
    "no early stop": lambda net, x: net.c(
        checkpoint(lambda y: net.b(torch.relu(y @ net.square)), net.a(x), use_reentrant=False, early_stop=False)),
    "two, one in place": lambda net, x: net.c(checkpoint(
        lambda y: over_half(net, y) @ torch.ones(4, 32), checkpoint(lambda y: net.a(y).relu() @ torch.ones(16, 8), x,
        use_reentrant=False), use_reentrant=False)),
    "saved in vain": lambda net, x: net.c(checkpoint(
        lambda y: net.b(y @ net.square) + net.d(y).detach(), net.a(x), use_reentrant=False)),
    "reentrant, nothing before it to train": lambda net, x: net.c(
        checkpoint(lambda y: net.b(torch.relu(net.a(y))), x, use_reentrant=True)),
    "nothing to train": lambda net, x: net.c(
        checkpoint(lambda y: (y @ torch.ones(8, 16)) @ torch.ones(16, 32), x, use_reentrant=False)),
}  # fmt: skip


def ours(run: Callable[[Net, Tensor], Tensor]) -> int:
    return capture(Net(run), X, training=True).macs


def counted(run: Callable[[Net, Tensor], Tensor]) -> int:
    """Multiply-accumulates that PyTorch runs for a step."""
    with FlopCounterMode(display=False) as count:
        Net(run).train()(X).sum().backward()
    return count.get_total_flops() // 2


@pytest.mark.parametrize("name", PLAIN)
def test_a_step_has_the_products_of_pytorchs_joint_graph(name: str) -> None:
    run = PLAIN[name]
    graph = (
        joint_graph(Net(run).to("meta").train(), (X.to("meta"),))
        if name not in ("no_grad taken apart", "whole copy")
        else None
    )
    found = ours(run)
    assert found == counted(run)
    if graph is not None and "custom" not in name:
        assert found == sum(macs for node in graph.nodes if node.op == "call_function" for macs, _ in products(node))


@pytest.mark.parametrize("layers", ["a", "b", "a b", "a d"])
def test_frozen_parts_have_no_gradient(layers: str) -> None:
    def net() -> Net:
        made = Net(lambda net, x: net.c(net.b(net.a(x)) + net.d(net.a(x * 2))))
        for layer in layers.split():
            made.get_submodule(layer).requires_grad_(False)
        made.a.bias.requires_grad_("d" in layers)
        return made

    with FlopCounterMode(display=False) as count:
        net().train()(X).sum().backward()
    assert capture(net(), X, training=True).macs == count.get_total_flops() // 2


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_activation_checkpoints_run_again(name: str) -> None:
    run = CHECKPOINTS[name]
    step = capture(Net(run), X, training=True)
    assert step.macs == counted(run)
    again = [op for op in step.ops if op.name.endswith(".again")]
    assert all(op.phase == "FF" for op in again) and bool(again) == ("nothing" not in name)


def test_a_reentrant_checkpoint_of_an_input_that_wants_its_gradient_has_one() -> None:
    """The weights' gradients are PyTorch's; that of the network's own input is never a part of a step."""
    run = CHECKPOINTS["reentrant, nothing before it to train"]
    x = X.clone().requires_grad_()
    with FlopCounterMode(display=False) as count:
        Net(run).train()(x).sum().backward()
    inputs_own = x.numel() * Net(run).a.out_features
    assert capture(Net(run), x, training=True).macs == count.get_total_flops() // 2 - inputs_own


def test_what_a_checkpoint_throws_away_is_not_kept() -> None:
    """No tensor between forward and backward but what goes into the checkpoint, and its result."""
    run = lambda net, x: net.c(checkpoint(lambda y: net.b(torch.relu(y @ net.square)), net.a(x), use_reentrant=False))  # noqa: E731
    step = capture(Net(run), X, training=True)
    place = {op.name: at for at, op in enumerate(step.ops)}
    first = min(at for name, at in place.items() if name.endswith((".BP", ".WU")))
    written = {name for op in step.ops[:first] for name in op.outputs if not name.startswith("loss")}
    kept = {name for op in step.ops[first:] for name in op.inputs if name in written}
    assert kept == {"a.out", "b.out"}


class Sign(torch.autograd.Function):
    """Autograd of the forward pass alone gives no gradient at all."""

    @staticmethod
    def forward(ctx, x):
        return (x > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Half(Product):
    """Without the gradient of the weight."""

    @staticmethod
    def backward(ctx, gradient):
        _, weight = ctx.saved_tensors
        return gradient @ weight.t(), torch.zeros_like(weight)


class Blocked(Product):
    @staticmethod
    def backward(ctx, gradient):
        _, weight = ctx.saved_tensors
        return gradient @ weight.t(), None


def chosen(net: Net, x: Tensor) -> Tensor:
    def contexts() -> object:
        return create_selective_checkpoint_contexts([torch.ops.aten.mm.default])

    return checkpoint(net.a, x, use_reentrant=False, context_fn=contexts)


REFUSED: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "'Sign': its backward gives gradients to inputs": lambda net, x: net.b(Sign.apply(net.a(x))),
    "'Half': its backward does 1,536 .* forward 3,072": lambda net, x: net.b(Half.apply(net.a(x), net.square)),
    "'Blocked': its backward does": lambda net, x: net.b(Blocked.apply(net.a(x), net.square)),
    "context_fn": chosen,
    "checkpoint inside another": lambda net, x: checkpoint(
        lambda y: checkpoint(net.a, y, use_reentrant=False), x, use_reentrant=False),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        capture(Net(REFUSED[message]), X, training=True)
    capture(Net(REFUSED[message]), X)  # inference has no gradients to follow


@pytest.mark.parametrize("training", [True, False])
def test_a_part_written_before_a_batch_norm_is_taken_fresh_and_used(training: bool) -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x)
            y[:, :2] = 0.5
            return self.fc(self.norm(y))

    model = Normed()
    fresh = capture(model, X, training=training)
    model(X)
    assert capture(model, X, training=training) == fresh
    assert [op.function for op in fresh.ops if op.name == "norm"] == ["batch_norm" if training else "batch_norm_eval"]


def random_run(seed: int) -> Callable[[Net, Tensor], Tensor]:
    """A forward pass of random steps on a few tensors of 6 x 16."""

    def run(net: Net, x: Tensor) -> Tensor:
        rng = random.Random(seed)
        known = [net.a(x), net.a(x * 2)]
        for _ in range(rng.randint(4, 9)):
            known.append(step(net, known, rng))
        return net.c(net.b(torch.stack(known).sum(0)))  # a result that nobody reads would be dropped

    return run


def step(net: Net, known: list[Tensor], rng: random.Random, inner: bool = False) -> Tensor:
    x, y = rng.choice(known), rng.choice(known)
    kind = rng.randrange(10 - inner)
    if kind < 3:
        return x @ (net.square if kind else net.square @ net.square)
    if kind == 3:
        return x.detach()
    if kind == 4:
        with torch.no_grad():
            return torch.relu(x @ net.square)
    if kind == 5:
        out = x.new_zeros(6, 16)
        out[:, :8] = (x @ net.square)[:, 8:]
        out[:3, 8:].copy_(y[3:, :8])
        return out
    if kind == 6:
        out = x.clone()
        out[:, 4:8].mul_(y[:, :4])
        return out
    if kind == 7:
        return (x @ y.t()) @ x
    if kind == 8:
        return rounded(x) @ net.square.detach()
    seed = rng.random()

    def part(a: Tensor, b: Tensor) -> Tensor:
        made = random.Random(seed)  # as the second run must do what the first one did
        first = step(net, [a, b], made, True)
        return torch.tanh(step(net, [first, a], made, True) + first + net.square[:6])

    return checkpoint(part, x, y, use_reentrant=rng.random() < 0.3)


@pytest.mark.parametrize("seed", (0, 2, 6, 9, 12, 16, 20, 25))
def test_random_modules_have_pytorchs_work(seed: int) -> None:
    run = random_run(seed)
    assert ours(run) == counted(run)
