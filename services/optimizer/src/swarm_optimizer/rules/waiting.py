"""Time in which nothing was done: after failures, and before work was taken up."""

from __future__ import annotations

from collections import Counter

from swarm_common.events.benchmark import RetryScheduled
from swarm_common.events.optimizer import Suggestion
from swarm_common.events.task import TaskFailedData
from swarm_common.timeline import Work
from swarm_optimizer.rules.run import SHORTEST_US, Run, processes
from swarm_optimizer.rules.schedule import expected

#: Fewer failed attempts are accidents.
_STORM = 3
_STORM_SHARE = 0.1
#: Shares of the run below which waiting is what a log costs.
_WAITED = 0.3
_BUSY = 0.7


def retries(run: Run) -> list[Suggestion]:
    """Suggest to mend what fails again and again, with the time that its attempts and the waits after them took."""
    failed = [event for event in run.events if isinstance(event.data, TaskFailedData)]
    again = [event for event in run.events if isinstance(event.data, RetryScheduled)]
    attempts = len(run.jobs) + len(failed)
    if len(failed) < max(_STORM, _STORM_SHARE * attempts):
        return []
    counts = Counter(_error(event.data) for event in failed)
    error, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    lost = sum(event.duration_us or 0 for event in failed) / 1e6
    lost += sum(event.data.delay_s for event in again if isinstance(event.data, RetryScheduled))
    return [
        Suggestion(
            kind="retries",
            subject=error,
            text=(
                f"Mend what fails: {len(failed)} of {attempts} attempts failed, {most} of them with {error!r}; the "
                f"attempts and the waits after them came to {lost:.2f} s over all tasks."
            ),
            metric="seconds",
            unit="s",
            expected=_on_path(run),
            expected_low=0.0,
            expected_high=min(lost, run.total_us / 1e6),
            estimator=(
                "failed attempts and waits for the next on the critical path; upper end: all of them in a row; "
                "lower end: another path takes as long"
            ),
            evidence=tuple(event.id for event in (*failed, *again)),
        )
    ]


def slow_consumer(run: Run) -> list[Suggestion]:
    """Suggest what takes up work sooner where a large part of the run was waiting for one service.

    Where its workers were busy meanwhile, it is more of them; else the service was slow to take up what lay ready.
    """
    if run.times is None or run.total_us < SHORTEST_US:
        return []
    waits: Counter[str] = Counter()
    for step in run.times.path:
        if step.task:
            waits[step.service] += step.wait_us
    if not waits:
        return []
    service, waited = max(waits.items(), key=lambda item: (item[1], item[0]))
    if waited < _WAITED * run.total_us:
        return []
    works = [work for work in run.works.values() if work.service == service]
    evidence = tuple(step.event for step in run.times.path if step.task and step.service == service)
    text = f"{waited / run.total_us:.0%} of the run ({waited / 1e6:.2f} s) was waiting for {service} to take work up"
    count = len(processes(works))
    before = expected(run.jobs, max(1, len(run.workers)), run.parallel)
    after = expected(run.jobs, 2 * max(1, len(run.workers)), run.parallel)
    if _busy(works, run.total_us) >= _BUSY and run.workers and after.us < before.us:
        # No more can be won than was waited.
        saved = min(before.us - after.us, waited)
        return [
            Suggestion(
                kind="slow_consumer",
                subject=service,
                text=(
                    f"Give {service} more workers, if there are cores for them: {text}, which was busy with "
                    f"{'one worker' if count == 1 else f'{count} workers'}; with twice as many it would take "
                    f"{saved / 1e6:.2f} s less."
                ),
                metric="seconds",
                unit="s",
                expected=saved / 1e6,
                expected_low=min(saved, max(0.0, before.us - after.high)) / 1e6,
                expected_high=max(saved, min(waited, before.us - after.low)) / 1e6,
                estimator="list schedule of the measured durations; the ends are Graham's bounds (1969)",
                change={"settings": {"SWARM_CPU_WORKERS": str(2 * len(run.workers))}},
                evidence=evidence,
            )
        ]
    return [
        Suggestion(
            kind="slow_consumer",
            subject=service,
            text=(
                f"Look at {service}: {text}, and it was not busy meanwhile; `swarm status` shows its lag, "
                "`swarm watch` its event loop's."
            ),
            metric="seconds",
            unit="s",
            expected=waited / 1e6,
            expected_low=0.0,
            expected_high=waited / 1e6,
            estimator="waits on the critical path; lower end: another path takes as long",
            evidence=evidence,
        )
    ]


def _on_path(run: Run) -> float:
    """Return the seconds of the critical path that went into failed attempts and the waits after them."""
    if run.times is None:
        return 0.0
    kinds = ("_failed", "retry_scheduled", "timer_fired")
    return sum(step.wait_us + step.work_us for step in run.times.path if step.type.endswith(kinds)) / 1e6


def _busy(works: list[Work], total_us: int) -> float:
    """Return which share of the time between its first and last work a service's workers were at work."""
    if not works or total_us <= 0:
        return 0.0
    workers = processes(works)
    span = max(work.end_us for work in works) - min(work.start_us for work in works)
    return sum(work.work_us for work in works) / (len(workers) * span) if span > 0 else 1.0


def _error(data: object) -> str:
    assert isinstance(data, TaskFailedData)  # noqa: S101 - by its caller
    return f"{data.error}: {data.message}"[:120]
