"""How the workers were used: those that stood idle, and the one task that all waited for."""

from __future__ import annotations

import msgspec

from swarm_common.events.optimizer import Suggestion
from swarm_optimizer.rules.run import SHORTEST_US, Run
from swarm_optimizer.rules.schedule import Job, expected

#: Workers that stood idle for less of the run are what scheduling costs.
_IDLE = 0.3
#: How much longer a run may take with fewer workers and still count as the same.
_AS_LONG = 1.05
#: A task that took less of the run does not dominate it.
_DOMINATES = 0.5
#: What is suggested must save at least this share of the run.
_WORTH = 0.1
_GRAHAM = "list schedule of the measured durations; the ends are Graham's bounds (1969)"


def idle_workers(run: Run) -> list[Suggestion]:
    """Suggest fewer workers where the same work would have taken as long with them."""
    pooled = [job for job in run.jobs if job.pooled]
    count = len(run.workers)
    if count < 2 or run.total_us < SHORTEST_US:
        return []
    works = [run.works[job.task] for job in pooled]
    span = max(work.end_us for work in works) - min(work.start_us for work in works)
    busy = sum(job.us for job in pooled)
    idle = 1 - busy / (count * span) if span > 0 else 0.0
    before = expected(run.jobs, count, run.parallel)
    fewer = next(
        (n for n in range(1, count) if expected(run.jobs, n, run.parallel).us <= _AS_LONG * before.us), None
    )
    if idle < _IDLE or fewer is None:
        return []
    after = expected(run.jobs, fewer, run.parallel)
    held = count * before.us
    low, mid, high = ((held - fewer * us) / 1e6 for us in (after.high, after.us, after.low))
    return [
        Suggestion(
            kind="idle_workers",
            subject=f"{count} workers",
            text=(
                f"Use {_workers(fewer)}: of {count} workers' time {idle:.0%} was idle, and the same work would have "
                f"taken {after.us / 1e6:.2f} s with {fewer} instead of {before.us / 1e6:.2f} s."
            ),
            metric="worker time",
            unit="s",
            expected=mid,
            expected_low=low,
            expected_high=high,
            estimator=_GRAHAM,
            change={"settings": {"cpu_workers": fewer}},
            evidence=tuple(work.event for work in works),
        )
    ]


def dominating_task(run: Run) -> list[Suggestion]:
    """Suggest to divide the task that took most of the run while workers stood idle."""
    count = len(run.workers)
    critical = [job for job in run.jobs if job.pooled and run.works[job.task].critical]
    if count < 2 or not critical or run.total_us < SHORTEST_US:
        return []
    longest = max(critical, key=lambda job: (job.us, job.task))
    share = longest.us / run.total_us
    before = expected(run.jobs, count, run.parallel)
    after = expected(_divided(run.jobs, longest, count), count, run.parallel)
    saved = before.us - after.us
    if share < _DOMINATES or saved < _WORTH * run.total_us:
        return []
    return [
        Suggestion(
            kind="dominating_task",
            subject=longest.task,
            text=(
                f"Divide {longest.task}, or make it cheaper: it took {longest.us / 1e6:.2f} s, {share:.0%} of the run, "
                f"while others waited; in {count} parts the run would take at best {saved / 1e6:.2f} s less."
            ),
            metric="seconds",
            unit="s",
            expected=saved / 1e6,
            expected_low=0.0,
            expected_high=(before.us - after.low) / 1e6,
            estimator=f"{_GRAHAM}; the lower end is 0, for whether it can be divided is not in the log",
            evidence=(run.works[longest.task].event,),
        )
    ]


def _divided(jobs: tuple[Job, ...], longest: Job, parts: int) -> list[Job]:
    """Return the jobs with one in equal parts, and who needed it waiting for all of them."""
    names = [longest.task, *(f"{longest.task}/{part}" for part in range(1, parts))]
    found: list[Job] = []
    for job in jobs:
        if job.task == longest.task:
            pieces = (msgspec.structs.replace(job, task=name, us=job.us // parts) for name in names)
            found.extend(pieces)
        elif longest.task in job.needs:
            found.append(msgspec.structs.replace(job, needs=(*job.needs, *names[1:])))
        else:
            found.append(job)
    return found


def _workers(count: int) -> str:
    return "one worker" if count == 1 else f"{count} workers"
