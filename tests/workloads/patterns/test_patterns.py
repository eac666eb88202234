"""Patterns against brute force: masks drawn from each law, or counted one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import DENSE, NM, Block, Mask, Pattern, Uniform, channel_group

RNG_SEED = 20
quick = settings(max_examples=60, deadline=None, derandomize=True)


def draw(pattern: Pattern, shape: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    """A random mask of the law, written from its definition; groups and blocks start at the origin."""
    extents = tuple(shape.values())
    if isinstance(pattern, Uniform):
        return rng.random(extents) < pattern.share
    if isinstance(pattern, NM):
        axis = list(shape).index(pattern.rank)
        others = extents[:axis] + extents[axis + 1 :]
        groups = -(-extents[axis] // pattern.m)
        rank = rng.random((*others, groups, pattern.m)).argsort(axis=-1).argsort(axis=-1)
        flat = (rank < pattern.n).reshape(*others, groups * pattern.m)[..., : extents[axis]]
        return np.moveaxis(flat, -1, axis)
    assert isinstance(pattern, Block)
    sizes = dict(pattern.shape)
    steps = [sizes.get(rank, extent if pattern.whole else 1) for rank, extent in shape.items()]
    blocks = [-(-extent // step) for extent, step in zip(extents, steps, strict=True)]
    kept = rng.random(blocks) < pattern.share
    for axis, (step, extent) in enumerate(zip(steps, extents, strict=True)):
        kept = kept.repeat(step, axis=axis).take(np.arange(extent), axis=axis)
    return kept


LAWS = [
    (Uniform(0.3), {"k": 4, "c": 8}),
    (Uniform(0.02), {"k": 3, "c": 7}),
    (NM(2, 8, "c"), {"k": 4, "c": 16}),
    (NM(2, 4, "c"), {"k": 2, "c": 3}),
    (NM(1, 4, "k"), {"k": 6, "c": 5}),
    (NM(2, 8, "c"), {"k": 5}),
    (Block((("k", 4), ("c", 4)), 0.3), {"k": 8, "c": 8, "r": 3}),
    (Block((("k", 4), ("c", 4)), 0.3), {"k": 6, "c": 3}),
    (Block((("k", 16), ("c", 8)), 0.25), {"k": 4, "c": 4}),
    (Block((("c", 8),), 0.5), {"k": 3, "c": 4}),
    (channel_group("c", 0.4), {"k": 4, "c": 6, "r": 3}),
    (channel_group("k", 0.4, group=4), {"k": 8, "c": 5}),
]


def samples(pattern: Pattern, tile: dict[str, int], trials: int) -> np.ndarray:
    rng = np.random.default_rng(RNG_SEED)
    ranks = {**({"c": 1} if isinstance(pattern, NM) else {}), **tile}
    return np.array([draw(pattern, ranks, rng).sum() for _ in range(trials)], dtype=float)


@pytest.mark.parametrize(("pattern", "tile"), LAWS)
def test_occupancy_of_a_law_is_that_of_its_masks(pattern: Pattern, tile: dict[str, int]) -> None:
    trials = 4000
    counts = samples(pattern, tile, trials)
    law = pattern.occupancy(tile)
    assert abs(counts.mean() - law.mean) <= 4.5 * math.sqrt(float(law.variance) / trials)
    fourth = ((counts - counts.mean()) ** 4).mean()
    assert abs(counts.var() - law.variance) <= 4.5 * math.sqrt(fourth / trials)
    assert counts.max() <= law.maximum


@pytest.mark.parametrize(("pattern", "tile"), [law for law in LAWS if not isinstance(law[0], NM)])
@pytest.mark.parametrize("group", [1, 2, 16])
def test_slowest_of_independent_tiles(pattern: Pattern, tile: dict[str, int], group: int) -> None:
    """Exact laws: within the sampling error, but for tiles with a cut block (equal blocks are assumed)."""
    counts = samples(pattern, tile, 4096).reshape(-1, group).max(axis=1)
    cut = isinstance(pattern, Block) and any(
        tile.get(rank, 1) > extent and tile.get(rank, 1) % extent for rank, extent in pattern.shape
    )
    slack = 0.06 * counts.mean() if cut else 0.0
    error = 4.5 * counts.std() / math.sqrt(len(counts)) + slack + 1e-9
    assert abs(counts.mean() - pattern.slowest(tile, group)) <= error


@pytest.mark.parametrize("tile", [{"k": 16, "c": 3}, {"k": 8, "c": 6}, {"k": 64, "c": 12}])
def test_slowest_of_cut_nm_groups_is_near_the_sampled_one(tile: dict[str, int]) -> None:
    """Normal order statistics on sums of hypergeometric counts."""
    pattern = NM(2, 8, "c")
    counts = samples(pattern, tile, 4096).reshape(-1, 16).max(axis=1)
    assert pattern.slowest(tile, 16) == pytest.approx(counts.mean(), rel=0.03)


def test_slowest_of_whole_nm_groups_waits_for_nobody() -> None:
    assert NM(2, 8, "c").slowest({"k": 4, "c": 32}, 64) == 4 * 8
    assert DENSE.slowest({"k": 4, "c": 32}, 64) == 128


def test_slowest_of_two_coins() -> None:
    """By hand: of two fair coins at least one shows heads in 3/4 of the throws; so it is with blocks."""
    assert Uniform(0.5).slowest({"c": 1}, 2) == pytest.approx(0.75, rel=1e-12)
    assert Block((("c", 8),), 0.5).slowest({"c": 4}, 2) == pytest.approx(4 * 0.75, rel=1e-12)


@quick
@given(share=st.floats(0.05, 0.95), size=st.integers(1, 6), group=st.integers(1, 3))
def test_uniform_slowest_by_enumeration(share: float, size: int, group: int) -> None:
    """Every outcome of `group` binomials, weighted by its probability."""
    chance = [math.comb(size, x) * share**x * (1 - share) ** (size - x) for x in range(size + 1)]
    expected = sum(
        max(outcome) * math.prod(chance[x] for x in outcome)
        for outcome in itertools.product(range(size + 1), repeat=group)
    )
    assert Uniform(share).slowest({"c": size}, group) == pytest.approx(expected, rel=1e-9)


def test_uniform_slowest_does_not_jump_where_the_normal_law_takes_over() -> None:
    below, above = Uniform(0.3).slowest({"c": np.array([4096, 4097])}, 64)
    assert above == pytest.approx(below, rel=2e-3)


shares = st.floats(0.0, 1.0)
extents = st.integers(1, 40)
few = st.lists(extents, min_size=1, max_size=3)
patterns = st.one_of(
    st.builds(Uniform, shares),
    st.just(DENSE),
    st.integers(1, 8).flatmap(lambda m: st.builds(NM, st.integers(1, m), st.just(m), st.sampled_from("kc"))),
    st.builds(lambda k, c, d, w: Block((("k", k), ("c", c)), d, w), extents, extents, shares, st.booleans()),
    st.builds(channel_group, st.sampled_from("kc"), shares, extents),
    st.builds(
        lambda k, c, seed, d: Mask.of(np.random.default_rng(seed).random((k, c)) < d, "kc"),
        extents, extents, st.integers(0, 99), shares,
    ),
)  # fmt: skip


@quick
@given(pattern=patterns, k=extents, c=extents, group=st.integers(1, 9))
def test_every_pattern_keeps_its_bounds(pattern: Pattern, k: int, c: int, group: int) -> None:
    if isinstance(pattern, Mask):
        k, c = min(k, pattern.shape[0]), min(c, pattern.shape[1])
    tile = {"k": k, "c": c}
    occupancy = pattern.occupancy(tile)
    assert 0 <= occupancy.mean <= occupancy.maximum * (1 + 1e-12) <= k * c * (1 + 1e-12)
    assert occupancy.variance >= 0
    assert occupancy.mean == pytest.approx(pattern.density * k * c)
    slowest = pattern.slowest(tile, group)
    assert slowest <= occupancy.maximum * (1 + 1e-9)
    if not isinstance(pattern, Mask):  # a mask's runs leave out the tiles that its edge cuts
        assert slowest >= occupancy.mean * (1 - 1e-9)


@quick
@given(pattern=patterns, ks=few, cs=few)
def test_broadcasting_equals_the_scalar_calls(pattern: Pattern, ks: list[int], cs: list[int]) -> None:
    tiles = {"k": np.array(ks)[:, None], "c": np.array(cs), "r": 3}
    occupancy = pattern.occupancy(tiles)
    slowest = pattern.slowest(tiles, np.arange(1, len(ks) + 1)[:, None])
    for i, j in np.ndindex(len(ks), len(cs)):
        tile = {"k": ks[i], "c": cs[j], "r": 3}
        one = pattern.occupancy(tile)
        for part in ("mean", "variance", "maximum"):
            whole = np.broadcast_to(getattr(occupancy, part), (len(ks), len(cs)))
            assert whole[i, j] == pytest.approx(float(getattr(one, part)), rel=1e-9, abs=1e-12)
        assert np.broadcast_to(slowest, (len(ks), len(cs)))[i, j] == pytest.approx(
            float(pattern.slowest(tile, i + 1)), rel=1e-9, abs=1e-12
        )


def test_broadcasting_across_the_exact_limit() -> None:
    sizes = np.array([16, 100_000])
    for pattern in (Uniform(0.2), Block((("c", 2),), 0.2)):
        together = pattern.slowest({"c": sizes}, 8)
        assert together == pytest.approx([float(pattern.slowest({"c": int(size)}, 8)) for size in sizes])


@quick
@given(low=shares, high=shares, k=extents, c=extents)
def test_occupancy_rises_with_density(low: float, high: float, k: int, c: int) -> None:
    low, high = sorted((low, high))
    tile = {"k": k, "c": c}
    laws: list[Callable[[float], Pattern]] = [
        Uniform, lambda share: Block((("k", 4), ("c", 2)), share), lambda share: channel_group("c", share)
    ]  # fmt: skip
    for law in laws:
        assert law(low).occupancy(tile).mean <= law(high).occupancy(tile).mean
        assert law(low).slowest(tile, 4) <= law(high).slowest(tile, 4) * (1 + 1e-9)
    counts = [NM(n, 8, "c").occupancy(tile).mean for n in range(1, 9)]
    assert counts == sorted(counts)


def test_mask_counts_every_tile_of_the_grid() -> None:
    bits = np.random.default_rng(3).random((7, 10)) < 0.4
    counts = Mask.of(bits, "kc").counts({"k": 3, "c": 4})
    by_hand = [[bits[i : i + 3, j : j + 4].sum() for j in (0, 4, 8)] for i in (0, 3, 6)]
    np.testing.assert_array_equal(counts, by_hand)


def test_mask_moments_are_those_of_its_tiles() -> None:
    bits = np.random.default_rng(5).random((12, 16)) < 0.3
    mask = Mask.of(bits, "kc")
    counts = np.array([[bits[i : i + 3, j : j + 4].sum() for j in range(0, 16, 4)] for i in range(0, 12, 3)])
    occupancy = mask.occupancy({"k": 3, "c": 4})
    assert occupancy.mean == pytest.approx(counts.mean())
    assert occupancy.variance == pytest.approx(counts.var())
    assert occupancy.maximum == counts.max()
    assert mask.slowest({"k": 3, "c": 4}, 2) == pytest.approx(counts.reshape(-1, 2).max(axis=1).mean())


def test_a_mask_of_ones_is_dense_although_tiles_do_not_divide_it() -> None:
    mask, tile = Mask.of(np.ones((10, 7)), "kc"), {"k": 4, "c": 3}
    occupancy = mask.occupancy(tile)
    assert (occupancy.mean, occupancy.variance, occupancy.maximum) == (12, 0, 12)
    assert mask.slowest(tile, 4) == 12


def test_a_rank_that_a_tile_does_not_name_has_extent_one() -> None:
    bits = np.random.default_rng(1).random((6, 8, 3)) < 0.5
    for pattern in (Mask.of(bits, "kcr"), Uniform(0.5), NM(2, 4, "c"), Block((("k", 2),), 0.5)):
        short, full = pattern.occupancy({"k": 2}), pattern.occupancy({"k": 2, "c": 1, "r": 1})
        assert short.mean == full.mean
        assert short.variance == full.variance


def test_a_rank_that_a_mask_lacks_repeats_it() -> None:
    mask = Mask.of(np.random.default_rng(1).random((6, 8)) < 0.5, "kc")
    once, thrice = mask.occupancy({"k": 2, "c": 4}), mask.occupancy({"k": 2, "c": 4, "n": 3})
    assert (thrice.mean, thrice.maximum) == (3 * once.mean, 3 * once.maximum)
    assert thrice.variance == 9 * once.variance


@pytest.mark.parametrize(("n", "m"), [(2, 4), (2, 8), (1, 16)])
def test_nm_law_and_nm_mask_agree_on_aligned_tiles(n: int, m: int) -> None:
    """The mask is taken from the magnitudes of a tensor, group by group."""
    weight = np.random.default_rng(9).normal(size=(24, 64))
    bits = np.zeros_like(weight, dtype=bool)
    for k, start in itertools.product(range(24), range(0, 64, m)):
        group = np.abs(weight[k, start : start + m])
        bits[k, start + np.argsort(group)[-n:]] = True
    mask, law = Mask.of(bits, "kc"), NM(n, m, "c")
    for tile in ({"k": 1, "c": m}, {"k": 8, "c": 2 * m}, {"k": 24, "c": 64}):
        for part in ("mean", "variance", "maximum"):
            exact = getattr(mask.occupancy(tile), part)
            assert exact == pytest.approx(float(getattr(law.occupancy(tile), part)))
        assert mask.slowest(tile, 3) == law.slowest(tile, 3)


def test_masks_compare_by_their_bits() -> None:
    bits = np.eye(4, dtype=bool)
    assert Mask.of(bits, "kc") == Mask.of(bits.copy(), "kc")
    assert hash(Mask.of(bits, "kc")) == hash(Mask.of(bits.copy(), "kc"))
    assert Mask.of(bits, "kc") != Mask.of(~bits, "kc")
    assert Mask.of(bits, "kc") != Mask.of(bits, "ck")
    np.testing.assert_array_equal(Mask.of(bits, "kc").bits, bits)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Uniform(1.5), lambda: Uniform(math.nan), lambda: NM(5, 4, "c"), lambda: NM(0, 4, "c"),
        lambda: Block((), 0.5), lambda: Block((("k", 0),), 0.5), lambda: Mask.of(np.ones((2, 2)), "kcr"),
    ],
)  # fmt: skip
def test_impossible_patterns_are_refused(wrong: object) -> None:
    with pytest.raises(WorkloadError):
        wrong()  # type: ignore[operator]
