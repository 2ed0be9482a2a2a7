"""What a run's makespan would be with other workers or other tasks: list scheduling of measured durations.

Graham, "Bounds on multiprocessing timing anomalies" (SIAM J. Appl. Math. 17, 1969): whatever the order, a list schedule
on ``m`` workers takes at least ``max(work / m, path)`` and at most ``work / m + (1 - 1 / m) * path``, where ``path`` is
the longest chain of tasks that wait for one another; at most ``work / m + path`` where some of them hold no worker. The
two ends are the interval of what is expected.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import msgspec


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A task and how long it took, in microseconds."""

    task: str
    kind: str
    needs: tuple[str, ...] = ()
    us: int
    pooled: bool
    """Whether it holds a worker; the others run beside."""


class Expected(msgspec.Struct, frozen=True):
    """A makespan in microseconds: of the list schedule, and between which ends any order's lies."""

    us: float
    low: float
    high: float


def expected(jobs: Sequence[Job], workers: int, parallel: Mapping[str, int] | None = None) -> Expected:
    """Return what the jobs would take on ``workers`` workers, taken up in the order given as they become ready."""
    path = longest_path(jobs)
    work = sum(job.us for job in jobs if job.pooled)
    found = makespan(jobs, workers, parallel or {})
    # Of a path of pooled jobs alone one worker's share is in ``work / workers`` already.
    beside = any(not job.pooled for job in jobs)
    high = work / workers + (path if beside else (1 - 1 / workers) * path)
    # Bounds on tasks of one kind at a time are not in Graham's model: they may only lengthen.
    return Expected(found, min(found, max(work / workers, path)), max(found, high))


def longest_path(jobs: Sequence[Job]) -> float:
    """Return how long the longest chain of jobs takes that wait for one another."""
    ends: dict[str, float] = {}
    for job in _in_order(jobs):
        ends[job.task] = job.us + max((ends.get(need, 0.0) for need in job.needs), default=0.0)
    return max(ends.values(), default=0.0)


def makespan(jobs: Sequence[Job], workers: int, parallel: Mapping[str, int]) -> float:
    """Return when the last job ends if each is taken up, in the order given, as soon as it can be."""
    missing, released = _waits(jobs)
    ready: dict[str, list[int]] = {
        job.kind: [] for job in jobs
    }  # by kind, a heap each: kinds have bounds of their own
    for index, job in enumerate(jobs):
        if not missing[index]:
            heapq.heappush(ready[job.kind], index)
    running: list[tuple[float, str, int]] = []
    free, at_work, now, done = workers, dict.fromkeys(ready, 0), 0.0, 0
    while True:
        while (first := _next(jobs, ready, at_work, parallel, free)) is not None:
            job = jobs[heapq.heappop(ready[jobs[first].kind])]
            free -= job.pooled
            at_work[job.kind] += 1
            heapq.heappush(running, (now + job.us, job.task, first))
        if not running:
            break
        now, _, index = heapq.heappop(running)
        done += 1
        free += jobs[index].pooled
        at_work[jobs[index].kind] -= 1
        for behind in released[index]:
            missing[behind] -= 1
            if not missing[behind]:
                heapq.heappush(ready[jobs[behind].kind], behind)
    if done < len(jobs):
        raise ValueError("jobs wait for one another in a circle")
    return now


def _waits(jobs: Sequence[Job]) -> tuple[list[int], list[list[int]]]:
    """Return how many of the jobs each one waits for, and which ones wait for it."""
    place = {job.task: index for index, job in enumerate(jobs)}
    needs = [{*job.needs} & place.keys() for job in jobs]
    behind: list[list[int]] = [[] for _ in jobs]
    for index, names in enumerate(needs):
        for name in names:
            behind[place[name]].append(index)
    return [len(names) for names in needs], behind


def _next(
    jobs: Sequence[Job],
    ready: Mapping[str, list[int]],
    at_work: Mapping[str, int],
    parallel: Mapping[str, int],
    free: int,
) -> int | None:
    """Return the first job that is ready and fits: of each kind the first one, for a kind is pooled or it is not."""
    fit = (
        heap[0]
        for kind, heap in ready.items()
        if heap and (free > 0 or not jobs[heap[0]].pooled) and at_work[kind] < parallel.get(kind, len(jobs))
    )
    return min(fit, default=None)


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs so that each comes behind what it needs."""
    by_task = {job.task: job for job in jobs}
    found: dict[str, Job] = {}
    for first in jobs:
        stack = [first]
        while stack:
            job = stack[-1]
            before = [by_task[need] for need in job.needs if need in by_task and need not in found]
            if before and len(stack) <= len(jobs):
                stack.extend(before)
                continue
            found[job.task] = stack.pop()
    return list(found.values())
