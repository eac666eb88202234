"""Networks of many kinds, small: each a function that makes a module and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

R = torch.randn
NODES, EDGES = 50, 200


class Net(nn.Module):
    """A function of the layers and parameters that it is given, and of the inputs."""

    def __init__(self, function: Callable[..., Any], /, **held: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


Made = tuple[nn.Module, tuple[Tensor, ...]]


def edges() -> Tensor:
    return torch.randint(0, NODES, (2, EDGES))


def volumes() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        fine = F.relu(m.norm(m.first(x)))
        coarse = m.up(F.relu(m.second(F.max_pool3d(fine, 2))))
        return m.last(torch.cat([fine, coarse], 1))

    first, second, last = (nn.Conv3d(*channels, 3, padding=1) for channels in ((1, 8), (8, 16), (16, 2)))
    up, norm = nn.ConvTranspose3d(16, 8, 2, 2), nn.InstanceNorm3d(8)
    return Net(forward, first=first, second=second, last=last, up=up, norm=norm), (R(1, 1, 8, 16, 16),)


def sound() -> Made:
    """Dilated causal convolutions with gates."""

    def forward(m: Any, x: Tensor) -> Tensor:
        skip: Any = 0
        for at, (wide, narrow) in enumerate(zip(m.wide, m.narrow, strict=True)):
            value, gate = wide(F.pad(x, (2**at, 0))).chunk(2, 1)
            out = torch.tanh(value) * torch.sigmoid(gate)
            x, skip = x + narrow(out), skip + out
        return m.last(F.relu(skip))

    wide = nn.ModuleList(nn.Conv1d(8, 16, 2, dilation=2**at) for at in range(4))
    narrow = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(4))
    return Net(forward, wide=wide, narrow=narrow, last=nn.Conv1d(8, 32, 1)), (R(2, 8, 64),)


def segmentation() -> Made:
    """A pyramid of dilations, brought back to the size of the image."""

    def forward(m: Any, x: Tensor) -> Tensor:
        h = F.relu(m.stem(x))
        whole = F.interpolate(m.whole(h.mean((2, 3), keepdim=True)), size=h.shape[2:])
        y = m.head(torch.cat([*(F.relu(each(h)) for each in m.pyramid), whole], 1))
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)

    pyramid = nn.ModuleList([nn.Conv2d(16, 8, 1), *(nn.Conv2d(16, 8, 3, padding=d, dilation=d) for d in (6, 12))])
    layers = {"stem": nn.Conv2d(3, 16, 3, 2, 1), "whole": nn.Conv2d(16, 8, 1), "head": nn.Conv2d(32, 21, 1)}
    return Net(forward, pyramid=pyramid, **layers), (R(1, 3, 64, 64),)


def generator() -> Made:
    up = nn.ConvTranspose2d
    layers = (up(32, 64, 4), nn.BatchNorm2d(64), nn.ReLU(), up(64, 32, 4, 2, 1), nn.ReLU(), up(32, 3, 4, 2, 1))
    return nn.Sequential(*layers, nn.Tanh()), (R(4, 32, 1, 1),)


def graph_sums() -> Made:
    def forward(m: Any, x: Tensor, edge: Tensor) -> Tensor:
        for layer in m.layers:
            h = layer(x)
            x = torch.zeros_like(h).index_add(0, edge[1], h[edge[0]]).relu()
        return x

    return Net(forward, layers=nn.ModuleList([nn.Linear(16, 32), nn.Linear(32, 8)])), (R(NODES, 16), edges())


def graph_attention() -> Made:
    def forward(m: Any, x: Tensor, edge: Tensor) -> Tensor:
        h = m.layer(x).view(-1, 4, 8)
        score = (h * m.score).sum(-1)
        weight = F.leaky_relu(score[edge[0]] + score[edge[1]]).exp()
        weight = weight / torch.zeros(NODES, 4).index_add(0, edge[1], weight)[edge[1]]
        return torch.zeros_like(h).index_add(0, edge[1], h[edge[0]] * weight[..., None]).flatten(1)

    return Net(forward, layer=nn.Linear(16, 32), score=nn.Parameter(R(4, 8))), (R(NODES, 16), edges())


def graph_means() -> Made:
    def forward(m: Any, x: Tensor, edge: Tensor) -> Tensor:
        to = edge[1][:, None].expand(-1, 16)
        mean = torch.zeros_like(x).scatter_reduce(0, to, x[edge[0]], "mean", include_self=False)
        return m.own(x) + m.others(mean)

    return Net(forward, own=nn.Linear(16, 8), others=nn.Linear(16, 8)), (R(NODES, 16), edges())


def recommender() -> Made:
    """Bags of embeddings and their products with each other."""

    def forward(m: Any, dense: Tensor, ids: Tensor) -> Tensor:
        vectors = [F.relu(m.bottom(dense))] + [bag(each) for bag, each in zip(m.bags, ids.unbind(1), strict=True)]
        stack = torch.stack(vectors, 1)
        pairs = torch.bmm(stack, stack.transpose(1, 2))
        first, second = torch.tril_indices(4, 4, -1)
        return m.top(torch.cat([vectors[0], pairs[:, first, second]], 1))

    bags = nn.ModuleList(nn.EmbeddingBag(1000, 16, mode="sum") for _ in range(3))
    inputs = (R(8, 13), torch.randint(0, 1000, (8, 3, 5)))
    return Net(forward, bags=bags, bottom=nn.Linear(13, 16), top=nn.Linear(22, 1)), inputs


def decaying_memory() -> Made:
    """The scan of RWKV's time mixing, step by step."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = x * m.mix + F.pad(x, (0, 0, 1, -1)) * (1 - m.mix)
        k, v, gate, decay = m.k(x), m.v(x), torch.sigmoid(m.gate(x)), -torch.exp(m.decay)
        above = below = torch.zeros_like(k[:, 0])
        most, out = torch.full_like(above, -1e38), []
        for at in range(x.shape[1]):
            top = torch.maximum(most, m.first + k[:, at])
            old, new = torch.exp(most - top), torch.exp(m.first + k[:, at] - top)
            out.append((old * above + new * v[:, at]) / (old * below + new))
            top = torch.maximum(most + decay, k[:, at])
            old, new = torch.exp(most + decay - top), torch.exp(k[:, at] - top)
            above, below, most = old * above + new * v[:, at], old * below + new, top
        return m.out(gate * torch.stack(out, 1))

    layers = {name: nn.Linear(32, 32, bias=False) for name in ("k", "v", "gate", "out")}
    vectors = {name: nn.Parameter(R(32)) for name in ("mix", "decay", "first")}
    return Net(forward, **layers, **vectors), (R(2, 16, 32),)


def state_space() -> Made:
    """A selective scan, step by step."""

    def forward(m: Any, x: Tensor) -> Tensor:
        step, (into, out_of) = F.softplus(m.step(x)), m.both(x).chunk(2, -1)
        state, found = torch.zeros(2, 32, 4), []
        for at in range(x.shape[1]):
            width = step[:, at, :, None]
            state = state * torch.exp(-width * m.decay.exp()) + width * into[:, at, None] * x[:, at, :, None]
            found.append((state * out_of[:, at, None]).sum(-1))
        return m.out(torch.stack(found, 1))

    layers = {"step": nn.Linear(32, 32), "both": nn.Linear(32, 8), "out": nn.Linear(32, 32)}
    return Net(forward, decay=nn.Parameter(R(32, 4)), **layers), (R(2, 16, 32),)


def linear_attention() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).chunk(3, -1)
        kept = torch.einsum("btc,btd->bcd", F.elu(k) + 1, v)
        return m.out(torch.einsum("btc,bcd->btd", F.elu(q) + 1, kept))

    return Net(forward, qkv=nn.Linear(32, 96), out=nn.Linear(32, 32)), (R(2, 16, 32),)


def fourier_mixing() -> Made:
    return Net(lambda m, x: m.layer(torch.fft.fft2(x).real), layer=nn.Linear(32, 32)), (R(2, 16, 32),)


def points() -> Made:
    body = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1))
    return Net(lambda m, x: m.head(m.body(x).amax(-1)), body=body, head=nn.Linear(64, 10)), (R(4, 3, 128),)


def detector() -> Made:
    """Scores and boxes of each place; the best places picked, as many as one says."""

    def forward(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(m.body(x))
        scores, boxes = m.scores(h).flatten(2).sigmoid(), m.boxes(h).flatten(2)
        best, at = scores.amax(1).topk(16)
        return best, boxes.gather(2, at[:, None].expand(-1, 4, -1))

    heads = {"scores": nn.Conv2d(16, 20, 3, padding=1), "boxes": nn.Conv2d(16, 4, 3, padding=1)}
    return Net(forward, body=nn.Conv2d(3, 16, 3, 2, 1), **heads), (R(1, 3, 64, 64),)


def regions() -> Made:
    """Features sampled in the regions of an image, as many as one says."""

    def forward(m: Any, x: Tensor, where: Tensor) -> Tensor:
        grid = F.affine_grid(where, [8, 16, 7, 7], align_corners=False)
        return m.head(F.grid_sample(m.body(x).expand(8, -1, -1, -1), grid, align_corners=False).flatten(1))

    inputs = (R(1, 3, 32, 32), R(8, 2, 3))
    return Net(forward, body=nn.Conv2d(3, 16, 3, padding=1), head=nn.Linear(16 * 49, 5)), inputs


def mixer() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = x + m.tokens(x.transpose(1, 2)).transpose(1, 2)
        return x + m.channels(x)

    def mlp(width: int, inner: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    return Net(forward, tokens=mlp(16, 32), channels=mlp(32, 64)), (R(2, 16, 32),)


def codebook() -> Made:
    """The nearest of a table's vectors in place of each."""

    def forward(m: Any, x: Tensor) -> Tensor:
        z = m.encode(x)
        nearest = torch.cdist(z.flatten(0, 1), m.table.weight).argmin(-1)
        return m.decode(m.table(nearest).view_as(z))

    layers = {"encode": nn.Linear(8, 16), "table": nn.Embedding(64, 16), "decode": nn.Linear(16, 8)}
    return Net(forward, **layers), (R(2, 10, 8),)


def rays() -> Made:
    """A field sampled along rays, with the light that gets through."""

    def forward(m: Any, x: Tensor) -> Tensor:
        waves = torch.cat([turn(x * 2**at) for at in range(4) for turn in (torch.sin, torch.cos)], -1)
        h = m.field(waves)
        opaque = 1 - torch.exp(-F.relu(h[..., :1]))
        return (opaque * torch.cumprod(1 - opaque + 1e-10, 1) * torch.sigmoid(h[..., 1:])).sum(1)

    return Net(forward, field=nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 4))), (R(16, 32, 3),)


def two_way_memory() -> Made:
    return Net(lambda m, x: m.memory(x)[0], memory=nn.GRU(16, 32, 2, bidirectional=True)), (R(6, 2, 16),)


KINDS: dict[str, Callable[[], Made]] = {
    each.__name__: each
    for each in (
        volumes, sound, segmentation, generator, graph_sums, graph_attention, graph_means, recommender,
        decaying_memory, state_space, linear_attention, fourier_mixing, points, detector, regions, mixer, codebook,
        rays, two_way_memory,
    )
}  # fmt: skip


def open_ended_detector() -> Made:
    """As many boxes as have a score above one half: known when the network has run."""
    model, inputs = detector()
    best: Any = model.function

    def forward(m: Any, x: Tensor) -> Tensor:
        scores, boxes = best(m, x)
        return boxes.transpose(1, 2)[scores > 0.5]

    model.function = forward
    return model, inputs


def spectral_operator() -> Made:
    """Products of complex numbers: weights of a spectrum."""

    def forward(m: Any, x: Tensor) -> Tensor:
        kept = torch.fft.rfft(x)[..., :8]
        return torch.einsum("bit,iot->bot", kept, torch.view_as_complex(m.weight)).real

    return Net(forward, weight=nn.Parameter(R(8, 8, 8, 2))), (R(2, 8, 64),)


def second_stage() -> Made:
    """A layer over as many boxes as have a score above one half."""
    model, inputs = open_ended_detector()
    boxes: Any = model.function
    model.function = lambda m, x: m.refine(boxes(m, x))
    model.refine = nn.Linear(4, 4)
    return model, inputs


REFUSED: dict[str, tuple[Callable[[], Made], str]] = {
    "a layer over boxes above a score": (
        second_stage,
        r"how much aten.index.Tensor .* gives depends on the data, and layer 'refine' multiplies.*topk",
    ),
    "complex products": (spectral_operator, r"multiplies complex numbers; write it as products of their real parts"),
}
