"""Suite ``noop``: tasks that do nothing, so that what is measured is the platform itself, and what measuring costs."""

from __future__ import annotations

from swarm_common.events import Metric, Task
from swarm_common.events.agent import TaskDone
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites import costs

TASKS = Param(name="tasks", type="int", default=100, low=1, high=100_000, description="how many empty tasks")
FAIL_ATTEMPTS = Param(
    name="fail_attempts",
    type="int",
    default=0,
    low=0,
    high=2,
    description="how many attempts at each task fail on purpose, to measure retries",
)


class Noop:
    """Empty tasks, all at once: from request to result through the log."""

    name = "noop"
    description = "Overhead of the platform itself: empty tasks, end to end through the log"
    scenarios = (
        Scenario(
            name="throughput",
            description="Empty tasks, as fast as they go through",
            params=(TASKS, FAIL_ATTEMPTS),
        ),
        costs.OVERHEAD,
        costs.USAGE,
        costs.MEMORY,
    )

    def plan(self, sofar: SoFar) -> Step | Finish:
        """Return all tasks at once, then their count and rate; or one task that measures, then what it found."""
        if sofar.scenario in {costs.OVERHEAD.name, costs.MEMORY.name}:
            if sofar.step == 0:
                return Step(tasks=(costs.task_of(sofar.scenario, dict(sofar.params)),))
            return costs.finish(sofar.results[sofar.scenario])
        if sofar.scenario == costs.USAGE.name:
            return _used(sofar)
        if sofar.step == 0:
            return Step(tasks=noop_tasks(int(sofar.params["tasks"]), int(sofar.params["fail_attempts"])))
        metrics = noop_metrics(sofar)
        return Finish(result={"tasks": metrics[0].value}, metrics=metrics)


def _used(sofar: SoFar) -> Step | Finish:
    """Return a collection, all tasks, another collection; then what lies between the two."""
    count = int(sofar.params["tasks"])
    match sofar.step:
        case 0:
            return Step(tasks=(costs.collect_task(costs.BEFORE),))
        case 1:
            return Step(tasks=noop_tasks(count))
        case 2:
            return Step(tasks=(costs.collect_task(costs.AFTER),))
    tasks = noop_metrics(sofar)[0]
    metrics = costs.usage_metrics(sofar.results[costs.AFTER], count)
    return Finish(result={"tasks": tasks.value}, metrics=(tasks, *metrics))


def noop_tasks(count: int, fail_attempts: int = 0) -> tuple[Task, ...]:
    """Return ``count`` empty tasks."""
    extra = {"fail_attempts": fail_attempts} if fail_attempts else {}
    return tuple(
        Task(id=f"noop-{index}", kind="noop", service="model_agent", params={"index": index, **extra})
        for index in range(count)
    )


def noop_metrics(sofar: SoFar) -> tuple[Metric, ...]:
    """Return how many empty tasks went through, and how fast."""
    done = [fact for fact in sofar.results.values() if isinstance(fact.data, TaskDone)]
    rate = len(done) / sofar.elapsed_s if sofar.elapsed_s > 0 else None
    return (
        Metric(name="tasks", value=len(done), unit="count", n=len(done)),
        Metric(
            name="throughput",
            value=rate,
            unit="tasks/s",
            n=len(done),
            timing=True,
            estimator="tasks divided by the time from benchmark.started to the last result",
            reason="" if rate is not None else "the run took no measurable time",
        ),
        seconds(sofar.elapsed_s),
    )


def seconds(elapsed_s: float) -> Metric:
    """Return how long the run took."""
    return Metric(name="seconds", value=elapsed_s, unit="s", better="lower", n=1, timing=True)
