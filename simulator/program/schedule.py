"""Schedule of the op graph on shared resources: the array, the units, the off-chip link.

Each resource runs one task at a time, the first ready one in program order. Tasks on different resources run side
by side and share the link: where their demands exceed it, each gets an equal share and slows down (max-min
fairness). Overlap is therefore an outcome of dependencies and of the link's load.

A task that takes the output of another on the fly runs beside it: there is no buffer between them, so that the source
waits until the taker's resource is free as well, both start together, and both hold their resources until the slower is
done.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

_EPSILON = 1e-15


@dataclass(frozen=True, slots=True)
class Task:
    """One op to be scheduled. Times in s.

    work_s: time when it runs alone. link_s: time that its bytes keep the link busy (<= work_s).
    after: tasks that must have ended before it starts. along: tasks whose output it takes on the fly: it starts with
    them, if it waits for nothing else, and they end together; if it does, it starts when it can and does not end before
    they have ended.
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


class Graph:
    """Who waits for whom and for which resource: what the schedules of many designs have in common.

    Tasks go by their place in the list, which is also their rank among the ready ones of a resource.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        place = {task.name: number for number, task in enumerate(tasks)}
        kinds = {name: number for number, name in enumerate(dict.fromkeys(task.resource for task in tasks))}
        self.resource = [kinds[task.resource] for task in tasks]
        self.waits = [len(set(t.after)) + len(set(t.along) - set(t.after)) for t in tasks]
        self.along = [[place[name] for name in task.along] for task in tasks]
        self.prologue_after = [[place[name] for name in task.prologue_after if name in place] for task in tasks]
        self.wakes_at_end: list[list[int]] = [[] for _ in tasks]
        self.wakes_at_start: list[list[int]] = [[] for _ in tasks]
        for number, task in enumerate(tasks):
            for name in dict.fromkeys(task.after):
                self.wakes_at_end[place[name]].append(number)
            for name in dict.fromkeys(task.along):
                if name not in task.after:
                    self.wakes_at_start[place[name]].append(number)
        self.beside = [[*self.along[number], *self.wakes_at_start[number]] for number in range(len(tasks))]

    def run(
        self, work_s: Sequence[float], link_s: Sequence[float], prologue_s: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """Start and end of every task for one set of times (see `Task`), in s."""
        return _Run(self, work_s, link_s, prologue_s).run()


class _Run:
    """State of a run: what waits, what runs, how much of it is left."""

    def __init__(
        self, graph: Graph, work_s: Sequence[float], link_s: Sequence[float], prologue_s: Sequence[float]
    ) -> None:
        size = len(graph.resource)
        self.graph, self.work_s, self.link_s, self.prologue_s = graph, work_s, link_s, prologue_s
        self.waits = list(graph.waits)
        self.ready: list[list[int]] = [[] for _ in range(max(graph.resource, default=-1) + 1)]
        self.running: dict[int, int] = {}
        self.left, self.demand, self.idle_link = [0.0] * size, [0.0] * size, [0.0] * size
        self.start_s, self.end_s = [0.0] * size, [math.inf] * size
        self.last = [-1] * len(self.ready)
        self.now = 0.0

    def run(self) -> tuple[list[float], list[float]]:
        for task, waits in enumerate(self.waits):
            if not waits:
                heapq.heappush(self.ready[self.graph.resource[task]], task)
        self._start_ready()
        while self.running:
            self._advance()
            self._start_ready()
        return self.start_s, self.end_s

    def _wake(self, tasks: list[int]) -> None:
        for task in tasks:
            self.waits[task] -= 1
            if not self.waits[task]:
                heapq.heappush(self.ready[self.graph.resource[task]], task)

    def _start_ready(self) -> None:
        """Start what can run, the first in program order first."""
        while (task := self._next()) is not None:
            queue = self.ready[self.graph.resource[task]]
            if queue[0] == task:
                heapq.heappop(queue)
            else:
                queue.remove(task)
                heapq.heapify(queue)
            self._start(task)

    def _next(self) -> int | None:
        """The first in program order of the tasks that can start; a task whose taker's resource is busy lets later ones
        pass where no other resource has one."""
        idle = [queue for resource, queue in enumerate(self.ready) if queue and resource not in self.running]
        for task in sorted([queue[0] for queue in idle]):
            if self._can_start(task):
                return task
        return min([task for queue in idle for task in queue if self._can_start(task)], default=None)

    def _can_start(self, task: int) -> bool:
        """Whether those who would start with a task find their resources free."""
        for other in self.graph.wakes_at_start[task]:
            if self.waits[other] == 1 and (self.graph.resource[other] in self.running or not self._can_start(other)):
                return False
        return True

    def _start(self, task: int) -> None:
        resource = self.graph.resource[task]
        self.running[resource] = task
        self.start_s[task] = self.now
        hidden = self._hidden(task, resource) if self.prologue_s[task] > 0 else 0.0
        left = self.left[task] = self.work_s[task] - hidden
        self.demand[task] = min(max(self.link_s[task] - hidden, 0.0) / max(left, _EPSILON), 1.0)
        self.last[resource] = task
        for other in self.graph.wakes_at_start[task]:
            self.waits[other] -= 1
            if self.waits[other]:
                continue
            if self.graph.resource[other] not in self.running:
                self._start(other)
            else:
                heapq.heappush(self.ready[self.graph.resource[other]], other)

    def _hidden(self, task: int, resource: int) -> float:
        """Part of the weight prologue that an idle link loaded while the task before on this resource ran."""
        before = self.last[resource]
        if before < 0:
            return 0.0
        made = self.start_s[before] + _EPSILON  # the weights must have been there
        if any(made < self.end_s[maker] < math.inf for maker in self.graph.prologue_after[task]):
            return 0.0
        return min(self.prologue_s[task], self.idle_link[before], self.work_s[task])

    def _advance(self) -> None:
        """Run until the next task ends."""
        tasks = list(self.running.values())
        if not (done := self._done(tasks)):
            self._pass_time(tasks)
            done = self._done(tasks)
        for task in done:
            self.end_s[task] = self.now
            del self.running[self.graph.resource[task]]
            self._wake(self.graph.wakes_at_end[task])

    def _done(self, tasks: list[int]) -> list[int]:
        """Running tasks that may end."""
        left = self.left
        return [task for task in tasks if left[task] <= _EPSILON and self._may_end(task)]

    def _pass_time(self, tasks: list[int]) -> None:
        """Let the running tasks work, each at its share of the link, until one of them has no work left."""
        left, demand, idle_link = self.left, self.demand, self.idle_link
        active = [task for task in tasks if left[task] > _EPSILON]
        used = sum([demand[task] for task in active])
        if used <= 1.0:
            rates = [1.0] * len(active)
        else:
            wanted = [demand[task] for task in active]
            rates = link_shares(wanted)
            used = sum([rate * want for rate, want in zip(rates, wanted, strict=True)])
        step = min([left[task] / rate for task, rate in zip(active, rates, strict=True)])
        self.now += step
        idle_s = step * (1.0 - used) if used < 1.0 else 0.0
        for task in tasks:
            idle_link[task] += idle_s
        for task, rate in zip(active, rates, strict=True):
            after = left[task] - step * rate
            left[task] = after if after > _EPSILON + 1e-12 * self.work_s[task] else 0.0

    def _may_end(self, task: int) -> bool:
        """Whether all that run together with a task, along it or its sources, have no work left."""
        group, beside = [task], self.graph.beside
        for member in group:
            if self.left[member] > _EPSILON:
                return False
            for other in beside[member]:
                if other not in group and self.running.get(self.graph.resource[other]) == other:
                    group.append(other)
        return True


def paced(
    starts_s: Sequence[float], ends_s: Sequence[float], launch_s: Sequence[float], hidden_s: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Start and end of tasks of one stream, each no earlier than the host has launched it, one after another, which
    takes `launch_s`, and `hidden_s` before the last one has ended. The stream runs dry where tasks are shorter than
    launches."""
    starts, ends = list(starts_s), list(ends_s)
    free = issued = 0.0
    for task in sorted(range(len(starts)), key=lambda each: (starts_s[each], each)):
        issued += launch_s[task]
        work = ends_s[task] - starts_s[task]
        starts[task] = max(free - hidden_s[task], issued) if work > 0 else free
        ends[task] = free = max(starts[task] + work, free)
    return starts, ends
