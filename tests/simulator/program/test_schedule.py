"""The schedule: cases worked out by hand, and what must hold for any graph."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.simulator.program.schedule import Graph, Task, link_shares


class Span(NamedTuple):
    start_s: float
    end_s: float


def spans(*tasks: Task) -> dict[str, Span]:
    """Start and end of every task."""
    times = ([getattr(task, name) for task in tasks] for name in ("work_s", "link_s", "prologue_s"))
    starts, ends = Graph(tasks).run(*times)
    return {task.name: Span(start, end) for task, start, end in zip(tasks, starts, ends, strict=True)}


def test_two_tasks_that_need_the_whole_link_take_turns_fairly() -> None:
    """Each runs at half speed until both end at the sum."""
    got = spans(Task("a", "array", 2.0, 2.0), Task("b", "unit", 2.0, 2.0))
    assert got == {"a": (0.0, pytest.approx(4.0)), "b": (0.0, pytest.approx(4.0))}


def test_a_small_demand_is_granted_in_full() -> None:
    """a wants 1/4 of the link, b all: a runs at full speed, b at 3/4 until a ends at 4 (3 done), then alone to 5."""
    got = spans(Task("a", "array", 4.0, 1.0), Task("b", "unit", 4.0, 4.0))
    assert got == {"a": (0.0, pytest.approx(4.0)), "b": (0.0, pytest.approx(5.0))}


def test_tasks_that_leave_the_link_alone_do_not_slow_down() -> None:
    got = spans(Task("a", "array", 3.0, 0.0), Task("b", "unit", 2.0, 2.0))
    assert got == {"a": (0.0, 3.0), "b": (0.0, 2.0)}


def test_program_order_decides_who_goes_first() -> None:
    """b and c become ready together on one resource; d is ready at once and goes before both."""
    got = spans(Task("a", "x", 2.0, 0.0), Task("b", "y", 1.0, 0.0, ("a",)), Task("c", "y", 1.0, 0.0, ("a",)),
                Task("d", "y", 5.0, 0.0))  # fmt: skip
    assert got == {"a": (0.0, 2.0), "d": (0.0, 5.0), "b": (5.0, 6.0), "c": (6.0, 7.0)}


def test_along_starts_with_its_source_and_ends_no_earlier() -> None:
    quick = spans(Task("a", "x", 4.0, 0.0), Task("b", "y", 1.0, 0.0, along=("a",)))
    assert quick == {"a": (0.0, 4.0), "b": (0.0, 4.0)}
    slow = spans(Task("z", "x", 1.0, 0.0), Task("a", "x", 4.0, 0.0), Task("b", "y", 6.0, 0.0, along=("a",)))
    assert slow["b"] == slow["a"] == (1.0, 7.0)  # nothing lies between them: the slower holds both


def test_a_source_waits_for_the_resource_of_its_taker_and_lets_others_pass() -> None:
    """y is busy until 5: a, whose output b takes there, waits; c runs on x meanwhile, d behind them."""
    got = spans(Task("long", "y", 5.0, 0.0), Task("a", "x", 2.0, 0.0), Task("b", "y", 1.0, 0.0, along=("a",)),
                Task("c", "x", 4.0, 0.0), Task("d", "x", 1.0, 0.0, after=("c",)))  # fmt: skip
    assert got == {"long": (0.0, 5.0), "c": (0.0, 4.0), "d": (4.0, 5.0), "a": (5.0, 7.0), "b": (5.0, 7.0)}


def test_a_taker_that_waits_for_something_else_does_not_hold_its_source() -> None:
    got = spans(Task("z", "w", 5.0, 0.0), Task("a", "x", 2.0, 0.0), Task("b", "y", 1.0, 0.0, ("z",), ("a",)))
    assert got == {"z": (0.0, 5.0), "a": (0.0, 2.0), "b": (5.0, 6.0)}


def test_prologue_hides_where_the_link_is_idle() -> None:
    """a leaves 2 s of the link free: 1.5 s of b's weights come early, but never more than is free."""
    first = Task("a", "x", 4.0, 2.0)
    assert spans(first, Task("b", "x", 5.0, 2.0, prologue_s=1.5))["b"] == (4.0, pytest.approx(7.5))
    assert spans(first, Task("b", "x", 5.0, 3.0, prologue_s=3.0))["b"] == (4.0, pytest.approx(7.0))
    busy = Task("a", "x", 4.0, 4.0)
    assert spans(busy, Task("b", "x", 5.0, 2.0, prologue_s=1.5))["b"] == (4.0, 9.0)


def test_prologue_sees_the_link_time_of_other_resources() -> None:
    """Alone a leaves 4 s of the link free; c takes 3 of them."""
    got = spans(Task("a", "x", 4.0, 0.0), Task("c", "y", 3.0, 3.0), Task("b", "x", 5.0, 2.0, prologue_s=2.0))
    assert got["b"] == (4.0, pytest.approx(8.0))


def test_prologue_waits_for_the_op_that_makes_the_weights() -> None:
    make = Task("make", "y", 2.0, 0.0)
    before = Task("a", "x", 4.0, 0.0)
    late = Task("b", "x", 5.0, 2.0, after=("make",), prologue_s=2.0, prologue_after=("make",))
    assert spans(make, before, late)["b"] == (4.0, 9.0)
    earlier = Task("a", "x", 4.0, 0.0, after=("make",))
    assert spans(make, earlier, late)["b"] == (6.0, pytest.approx(9.0))


def test_tasks_of_no_time() -> None:
    assert spans(Task("a", "x", 0.0, 0.0), Task("b", "x", 0.0, 0.0, ("a",))) == {"a": (0.0, 0.0), "b": (0.0, 0.0)}
    assert spans() == {}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_link_shares_are_max_min_fair(demands: list[float]) -> None:
    rates = link_shares(demands)
    granted = [rate * demand for rate, demand in zip(rates, demands, strict=True)]
    assert sum(granted) <= 1 + 1e-9 and all(0 < rate <= 1 for rate in rates)
    throttled = [share for share, rate in zip(granted, rates, strict=True) if rate < 1 - 1e-9]
    if throttled:  # they share the rest equally, nobody gets more, and nothing is left over
        assert max(throttled) - min(throttled) < 1e-9 and max(granted) <= max(throttled) + 1e-9
        assert sum(granted) == pytest.approx(1.0)


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Up to ten tasks on three resources, waiting for earlier ones; the array has prologues."""
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 10))):
        earlier = [task.name for task in tasks]
        after = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else []
        resource = draw(st.sampled_from(["array", "unit", "other"]))
        work = draw(st.floats(0.0, 4.0))
        link = work * draw(st.floats(0.0, 1.0))
        # only one task streams along each source, and on another resource
        free = [t for t in tasks if t.resource != resource and t.name not in after
                and not any(t.name in other.along for other in tasks)]  # fmt: skip
        along = [draw(st.sampled_from(free)).name] if free and draw(st.booleans()) else []
        prologue = link * draw(st.floats(0.0, 1.0)) if resource == "array" else 0.0
        tasks.append(Task(f"t{number}", resource, work, link, tuple(after), tuple(along), prologue))
    return tasks


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs())
def test_any_schedule_is_sound(tasks: list[Task]) -> None:
    got = spans(*tasks)
    assert set(got) == {task.name for task in tasks}
    slack = 1e-9
    for task in tasks:
        span = got[task.name]
        assert span.end_s - span.start_s >= task.work_s - task.prologue_s - slack
        assert all(got[name].end_s <= span.start_s + slack for name in task.after)
        assert all(got[name].start_s <= span.start_s + slack for name in task.along)
        assert all(got[name].end_s <= span.end_s + slack for name in task.along)
    for resource in {task.resource for task in tasks}:
        _do_not_overlap([got[task.name] for task in tasks if task.resource == resource])
    makespan = max(span.end_s for span in got.values())
    assert makespan >= sum(task.link_s for task in tasks) - slack
    assert makespan <= sum(task.work_s for task in tasks) + slack
    for resource in {task.resource for task in tasks}:
        booked = sum(task.work_s - task.prologue_s for task in tasks if task.resource == resource)
        assert makespan >= booked - slack
    assert makespan >= _critical_path(tasks) - slack


def _do_not_overlap(booked: list[Span]) -> None:
    ordered = sorted(booked, key=lambda span: (span.start_s, span.end_s))
    for first, second in itertools.pairwise(ordered):
        assert second.start_s >= first.end_s - 1e-9


def _critical_path(tasks: list[Task]) -> float:
    """Longest chain of waits; what a prologue may hide is left out."""
    ends: dict[str, float] = {}
    for task in tasks:
        ends[task.name] = max((ends[name] for name in task.after), default=0.0) + task.work_s - task.prologue_s
    return max(ends.values())
