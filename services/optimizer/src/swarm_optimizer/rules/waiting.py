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
    if _busy(works, run.total_us) >= _BUSY:
        return _more_workers(run, service, text, waited, evidence)
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


def _more_workers(
    run: Run, service: str, text: str, waited_us: int, evidence: tuple[str, ...]
) -> list[Suggestion]:
    """Suggest as many workers as the machine has cores for; nothing where all are used, or no schedule gains by it."""
    count, most = len(run.workers), 2 * len(run.workers)
    if run.started is not None and run.started.host is not None:
        most = min(most, run.started.host.cores)
    if not 0 < count < most:
        return []
    before, after = (expected(run.jobs, workers, run.parallel) for workers in (count, most))
    saved = min(before.us - after.us, waited_us)  # no more can be won than was waited
    if saved <= 0:
        return []
    return [
        Suggestion(
            kind="slow_consumer",
            subject=service,
            text=(
                f"Give {service} {most} workers, if there are cores for them: {text}, and it was busy with "
                f"{count}; with {most} it would take {saved / 1e6:.2f} s less."
            ),
            metric="seconds",
            unit="s",
            expected=saved / 1e6,
            expected_low=min(saved, max(0.0, before.us - after.high)) / 1e6,
            expected_high=max(saved, min(waited_us, before.us - after.low)) / 1e6,
            estimator="list schedule of the measured durations; the ends are Graham's bounds (1969)",
            change={"settings": {"cpu_workers": most}},
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
