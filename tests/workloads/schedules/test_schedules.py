"""Schedules: what their texts mean, what they cover, what is refused."""

import numpy as np
import pytest

from zerocast.workloads import WorkloadError
from zerocast.workloads.schedules import Ramp, Schedule, Segment, parse_schedule
from zerocast.workloads.schedules.schedule import MOST_LEVELS


@pytest.mark.parametrize(
    ("ramp", "densities"), [("linear", (0.9, 0.8, 0.7, 0.6)), ("cubic", (0.875, 0.75, 0.625, 0.5))]
)
def test_average_density_of_ramps_from_a_quarter_to_three_quarters(ramp: str, densities: tuple[float, ...]) -> None:
    """Parameters averaged over training at 20 to 80 % final sparsity, as in The Journey Matters (2501.12486)."""
    found = [parse_schedule(f"{ramp}:0-{final}@25%-75%").density(100) for final in (0.2, 0.4, 0.6, 0.8)]
    assert found == pytest.approx(densities, abs=1e-12)


@pytest.mark.parametrize("power", [1, 3])
def test_weights_of_knots_integrate_a_cost_that_is_linear_between_them(power: int) -> None:
    ramp, knots, costs = Ramp(0.1, 0.7, power), [0.1, 0.2, 0.55, 0.7], [5.0, 2.0, 3.0, 1.0]
    shares = (np.arange(200_000) + 0.5) / 200_000
    along = np.interp([ramp.sparsity(share) for share in shares], knots, costs).mean()
    weights = ramp.weights(knots)
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    assert np.dot(weights, costs) == pytest.approx(along, rel=1e-6)


def test_few_mask_updates_make_levels_of_their_own() -> None:
    schedule = parse_schedule("linear:0-0.8@0%-100%:mask=25", "magnitude:erk")
    (segment,) = schedule.segments
    recipes = [(point.recipe, point.steps) for point in schedule.points(segment, 100)]
    assert recipes == [(r, 25.0) for r in ("dense", "magnitude:0.8:erk", "magnitude:0.6:erk", "magnitude:0.4:erk")]
    assert schedule.density(100) == pytest.approx((1 + 0.8 + 0.6 + 0.4) / 4)
    assert not segment.levels(25 * (MOST_LEVELS + 1))  # more are taken as continuous


@pytest.mark.parametrize(
    ("every", "recipes"),
    [
        (30, [("dense", 30), ("magnitude:0.76", 30), ("magnitude:0.52", 30), ("magnitude:0.28", 10)]),
        (1000, [("dense", 100)]),  # the ramp is over before a mask is made
    ],
)
def test_the_last_level_may_be_cut_short(every: int, recipes: list[tuple[str, float]]) -> None:
    """Masks of the steps 0, 30, 60 and 90 have the sparsities of those steps, of 0.8 at step 100."""
    schedule = parse_schedule(f"linear:0-0.8@0%-100%:mask={every}")
    (segment,) = schedule.segments
    found = [(point.recipe, pytest.approx(point.steps)) for point in schedule.points(segment, 100)]
    assert recipes == found


@pytest.mark.parametrize("recipe", ["sdgp:2:8", "channel:0.5", "static:held"])
def test_what_a_recipe_counts_may_be_no_weights(recipe: str) -> None:
    assert np.isnan(parse_schedule(f"constant:{recipe}").density(10))


@pytest.mark.parametrize(
    ("text", "recipes"),
    [
        ("nm-decay:sparsify:1:16", ["srste:15:16", "srste:8:16", "srste:4:16", "srste:2:16", "srste:1:16"]),
        ("nm-decay:densify:1:4", ["srste:1:32", "srste:1:16", "srste:1:8", "srste:1:4"]),
        ("nm-decay:fine:1:4", ["srste:8:32", "srste:4:16", "srste:2:8", "srste:1:4"]),
    ],
)
def test_stages_of_decays(text: str, recipes: list[str]) -> None:
    segments = parse_schedule(text).segments
    assert [segment.recipe for segment in segments] == recipes
    assert [segment.share for segment in segments] == pytest.approx([1 / len(recipes)] * len(recipes))


def test_decay_between_dense_steps_and_tuning() -> None:
    schedule = parse_schedule("nm-decay:sparsify:2:4:dense=10%:tune=20%", "bdwp")
    assert [segment.recipe for segment in schedule.segments] == ["dense", "bdwp:3:4", "bdwp:2:4", "bdwp:2:4"]
    assert schedule.density(100) == pytest.approx(0.1 + 0.35 * 0.75 + 0.35 * 0.5 + 0.2 * 0.5)


def test_iterative_pruning_to_four_fifths_takes_eight_rounds_of_a_fifth() -> None:
    by_count, by_sparsity = parse_schedule("imp:8:0.2"), parse_schedule("imp:80%:20%")
    assert by_sparsity.segments == by_count.segments
    assert len(by_count.segments) == 9 and by_count.runs == 9
    assert by_count.segments[-1].recipe == f"magnitude:{0.8**8:.10g}"


def test_rewinding_retraining_and_soups_take_their_own_steps() -> None:
    assert parse_schedule("imp:3:0.2:rewind=1%").runs == pytest.approx(1 + 3 * 0.99)
    soup = parse_schedule("imp:3:0.2:retrain=10%:models=5")
    assert soup.runs == pytest.approx(1 + 3 * 5 * 0.1)
    assert [[upkeep.what for upkeep in segment.upkeep] for segment in soup.segments] == [
        ["mask"], ["average", "mask"], ["average", "mask"], ["average"],
    ]  # fmt: skip


def test_switch_gives_the_last_recipe_the_rest() -> None:
    schedule = parse_schedule("switch:magnitude:0.25@90%,dense")
    assert [(s.recipe, pytest.approx(s.share)) for s in schedule.segments] == [("magnitude:0.25", 0.9), ("dense", 0.1)]


def test_rows_of_a_file(tmp_path) -> None:
    file = tmp_path / "density.csv"
    file.write_text("until,sparsity\n25%,0\n0.75,0.5\n100%,0.9\n")
    schedule = parse_schedule(f"file:{file}", "block:4x1")
    assert [segment.recipe for segment in schedule.segments] == ["dense", "block:4x1:0.5", "block:4x1:0.1"]
    assert schedule.density(100) == pytest.approx(0.25 + 0.5 * 0.5 + 0.25 * 0.1)
    file.write_text("until,recipe\n25%,dense\n")
    with pytest.raises(WorkloadError, match=r"covers 0\.25 of the steps"):
        parse_schedule(f"file:{file}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"until,sparsity\n0.5\n", "the row '0.5' has 1 cells, the header 2"),
        (b"until,sparsity\n1,0.5,0.5\n", "has 3 cells, the header 2"),
        (b"until,sparsity\n\xff,0.5\n", "cannot be read: it is no CSV"),
        (b"until,sparsity\n", "needs rows of the columns until"),
        (b"until,share\n1,0.5\n", "one of `recipe` and `sparsity`"),
        (b"", "needs rows"),
    ],
)
def test_files_that_are_no_such_table(tmp_path, content: bytes, message: str) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(WorkloadError, match=message):
        parse_schedule(f"file:{tmp_path}/rows.csv")


def test_masks_of_a_ramp_are_made_while_it_rises() -> None:
    schedule = parse_schedule("cubic:0-0.8@25%-75%:mask=100:average=500")
    assert [[(u.what, s.times(u, 10_000)) for u in s.upkeep] for s in schedule.segments] == [
        [], [("mask", 50), ("average", 10)], [("average", 5)],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cubi:0-0.8@25%-75%", "there are constant, cubic, linear, nm-decay, imp, switch, file"),
        ("cubic:0.8-0.2@25%-75%", "goes down from 0.8 to 0.2"),
        ("cubic:0-1@25%-75%", "sparsity 1 is outside"),
        ("cubic:0-0.8@75%-25%", "not after its start"),
        ("cubic:0-0.8", "does not fit its grammar"),
        ("cubic:0-0.8@25%-75%:every=3", "no option 'every'"),
        ("cubic:0-0.8@25%-75%:mask=5:mask=50", "stands there twice"),
        ("cubic:0-0.8@25%-75%:mask=0", "whole number of 1 or more"),
        ("switch:nm:2:4@30%,dense@50%", "covers 0.8 of the steps"),
        ("switch:nm:2:4,dense", "has no share"),
        ("nm-decay:sparsify:3:8", "must be N times a power of 2"),
        ("nm-decay:coarsen:1:8", "choose sparsify, densify or fine"),
        ("nm-decay:fine:1:8:dense=60%:tune=40%", "leave no steps"),
        ("imp:8:0", "between 0 and 1"),
        ("imp:8:0.2:rewind=1%:retrain=5%", "give one of them"),
        ("file:none.csv", "none.csv cannot be read: No such file"),
        ("constant:nm:5:4", "N must lie between"),
    ],
)
def test_refusals_say_what_is_wrong_in_one_line(text: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=message) as refused:
        parse_schedule(text)
    assert "\n" not in str(refused.value)


def test_a_recipe_must_have_what_the_schedule_varies() -> None:
    with pytest.raises(WorkloadError, match="take magnitude, static, rigl"):
        parse_schedule("cubic:0-0.8@25%-75%", "nm:2:4")
    with pytest.raises(WorkloadError, match="take nm, bdwp, srste, sdgp"):
        parse_schedule("nm-decay:fine:1:4", "magnitude")


def test_a_recipe_beside_those_that_a_schedule_names_is_refused(tmp_path) -> None:
    file = tmp_path / "recipes.csv"
    file.write_text("until,recipe\n100%,dense\n")
    for text in ("constant:nm:2:4", "switch:nm:2:4@50%,dense", f"file:{file}"):
        with pytest.raises(WorkloadError, match="drop --recipe"):
            parse_schedule(text, "magnitude:0.5")
    assert parse_schedule("constant", "nm:2:4").segments == parse_schedule("constant:nm:2:4").segments


def test_recipes_of_sparse_training_take_the_density_of_a_ramp() -> None:
    schedule = parse_schedule("cubic:0.5-0.8@0%-30%", "granet:erk:DT=4000")
    assert [segment.recipe for segment in schedule.segments] == ["granet:erk:DT=4000", "granet:0.2:erk:DT=4000"]
    # the mean of a cubic ramp lies a quarter from its end
    assert schedule.density(100) == pytest.approx(0.3 * (0.2 + 0.3 / 4) + 0.7 * 0.2)


def test_segments_of_ones_own_must_cover_the_run() -> None:
    with pytest.raises(WorkloadError, match=r"covers 0\.5 of the steps"):
        Schedule("mine", (Segment(0.5, "dense"),))
