"""Schedule of the op graph on shared resources: the array, the units, the off-chip link.

Each resource runs one task at a time, the first ready one in program order. Tasks on different resources run side
by side and share the link: where their demands exceed it, each gets an equal share and slows down (max-min
fairness). Overlap is therefore an outcome of dependencies and of the link's load.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

_EPSILON = 1e-15


@dataclass(frozen=True, slots=True)
class Task:
    """One op to be scheduled. Times in s.

    work_s: time when it runs alone. link_s: time that its bytes keep the link busy (<= work_s).
    after: tasks that must have ended before it starts. along: tasks whose output it takes on the fly; it may start
    when they have started and cannot end before they have ended.
    prologue_s: leading part of the work, loading weights, that the resource may do while the task before it runs,
    as far as the link is idle then. prologue_after: tasks that make those weights.
    """

    name: str
    resource: str
    work_s: float
    link_s: float
    after: tuple[str, ...] = ()
    along: tuple[str, ...] = ()
    prologue_s: float = 0.0
    prologue_after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """When a task ran, in s."""

    start_s: float
    end_s: float


def schedule(tasks: Sequence[Task]) -> dict[str, Span]:
    """Start and end of every task. Tasks must be listed after those they wait for."""
    return _Machine(tasks).run()


def link_shares(demands: Sequence[float]) -> list[float]:
    """Progress rate of each running task (1 = full speed) when the k-th wants a share `demands[k]` of the link.

    Max-min fair: tasks that want less than an equal share get all they want, the others split the rest.
    """
    rates = [1.0] * len(demands)
    free, waiting = 1.0, sorted(range(len(demands)), key=demands.__getitem__)
    while waiting:
        share = free / len(waiting)
        first = waiting.pop(0)
        granted = min(demands[first], share)
        rates[first] = granted / demands[first] if demands[first] > 0 else 1.0
        free = max(free - granted, 0.0)
    return rates


class _Machine:
    """State of a run: who waits for whom, what runs, how much of it is left."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.rank = {task.name: number for number, task in enumerate(tasks)}
        self.waits = {t.name: len(set(t.after)) + len(set(t.along) - set(t.after)) for t in tasks}
        self.wakes_at_end: dict[str, list[str]] = {}
        self.wakes_at_start: dict[str, list[str]] = {}
        for task in tasks:
            for name in dict.fromkeys(task.after):
                self.wakes_at_end.setdefault(name, []).append(task.name)
            for name in dict.fromkeys(task.along):
                if name not in task.after:
                    self.wakes_at_start.setdefault(name, []).append(task.name)
        self.ready: dict[str, list[tuple[int, str]]] = {task.resource: [] for task in tasks}
        self.running: dict[str, str] = {}
        self.left: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.spans: dict[str, Span] = {}
        self.demand: dict[str, float] = {}
        self.idle_link: dict[str, float] = {}
        self.last: dict[str, Task] = {}
        self.now = 0.0

    def run(self) -> dict[str, Span]:
        for task in self.tasks.values():
            if not self.waits[task.name]:
                self._push(task.name)
        self._start_ready()
        while self.running:
            self._advance()
            self._start_ready()
        return self.spans

    def _push(self, name: str) -> None:
        heapq.heappush(self.ready[self.tasks[name].resource], (self.rank[name], name))

    def _wake(self, names: Sequence[str]) -> None:
        for name in names:
            self.waits[name] -= 1
            if not self.waits[name]:
                self._push(name)

    def _start_ready(self) -> None:
        again = True
        while again:
            again = False
            for resource, queue in self.ready.items():
                if queue and resource not in self.running:
                    _, name = heapq.heappop(queue)
                    task = self.tasks[name]
                    self.running[resource] = name
                    self.started[name] = self.now
                    hidden = self._hidden(task)
                    self.left[name] = task.work_s - hidden
                    wanted = max(task.link_s - hidden, 0.0) / max(self.left[name], _EPSILON)
                    self.demand[name] = min(wanted, 1.0)
                    self.idle_link[name] = 0.0
                    self.last[resource] = task
                    self._wake(self.wakes_at_start.get(name, ()))
                    again = True

    def _hidden(self, task: Task) -> float:
        """Part of the weight prologue that an idle link loaded while the task before on this resource ran."""
        before = self.last.get(task.resource)
        if before is None or task.prologue_s <= 0:
            return 0.0
        span = self.spans[before.name]
        if any(self.spans[name].end_s > span.start_s + _EPSILON for name in task.prologue_after if name in self.spans):
            return 0.0
        return min(task.prologue_s, self.idle_link[before.name], task.work_s)

    def _advance(self) -> None:
        """Run until the next task ends."""
        names = list(self.running.values())
        active = [name for name in names if self.left[name] > _EPSILON]
        rates = dict(zip(active, link_shares([self.demand[name] for name in active]), strict=True))
        done = [name for name in names if name not in rates and self._may_end(name)]
        if not done:
            step = min(self.left[name] / rates[name] for name in active)
            self.now += step
            idle = max(1.0 - sum(rates[name] * self.demand[name] for name in active), 0.0)
            for name in names:
                self.idle_link[name] += step * idle
            for name in active:
                self.left[name] -= step * rates[name]
                if self.left[name] <= _EPSILON + 1e-12 * self.tasks[name].work_s:
                    self.left[name] = 0.0
            done = [name for name in active if self.left[name] == 0.0 and self._may_end(name)]
        for name in done:
            self.spans[name] = Span(self.started[name], self.now)
            del self.running[self.tasks[name].resource]
            self._wake(self.wakes_at_end.get(name, ()))

    def _may_end(self, name: str) -> bool:
        return all(other in self.spans for other in self.tasks[name].along)
