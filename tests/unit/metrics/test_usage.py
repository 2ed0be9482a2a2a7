"""What services used between two moments: differences of what they said, and a reason where there are none."""

from __future__ import annotations

from typing import Any, cast

import pytest

from support.played import play
from swarm_common.events import Data
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import Completed
from swarm_common.events.metrics import Collected, Totals
from swarm_metrics.costs.usage import OFF, collect, used


def totals(service: str, number: int, cpu_s: float, **more: Any) -> Totals:
    return Totals(service=service, instance=f"host-{number}", cpu_s=cpu_s, **more)


BEFORE = (
    totals("consensus", 1, 10.0, gc_pause_us=5.0, rss_peak_bytes=100),
    totals("model_agent", 2, 1.0, children_cpu_s=3.0),
    totals("model_agent", 3, 2.0),
)
AFTER = (
    totals("consensus", 1, 10.5, gc_pause_us=25.0, rss_peak_bytes=140),
    totals("model_agent", 2, 1.25, children_cpu_s=4.0),
    totals("model_agent", 3, 2.125, children_cpu_s=7.0),
)


def test_each_instance_counts_by_what_it_used_in_between() -> None:
    samples, reason = used(BEFORE, AFTER)
    found = {(one.name, one.of): one.values for one in samples}
    assert reason == ""
    assert found["cpu", "consensus"] == (0.5,)
    # Children that were not known at the first moment may have worked before it: they are left out.
    assert found["cpu", "model_agent"] == (1.25, 0.125)
    assert found["gc_pause", "consensus"] == (20.0,)
    assert found["rss_peak", "consensus"] == (140.0,)
    assert ("rss_peak", "model_agent") not in found


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (BEFORE, (), "no service was heard of"),
        (BEFORE, AFTER[:2], "host-3"),
        (BEFORE[1:], AFTER, "host-1"),
    ],
)
def test_an_instance_that_came_or_went_makes_no_difference_to_tell(
    before: tuple[Totals, ...], after: tuple[Totals, ...], why: str
) -> None:
    samples, reason = used(before, after)
    assert samples == ()
    assert why in reason


async def test_where_collection_is_off_nobody_is_waited_for() -> None:
    before = Collected(task="usage-before", instances=(), elapsed_s=0.0)
    found = await collect(cast("Any", None), 0, "usage-after", before)
    assert (found.instances, found.samples, found.reason) == ((), (), OFF)


def collected(task: str, instances: tuple[Totals, ...], **more: Any) -> list[Data]:
    return [Collected(task=task, instances=instances, elapsed_s=0.1, **more)]


async def run(after: list[Data]) -> Completed:
    made: dict[str, list[Data]] = {
        f"noop-{index}": [TaskDone(task=f"noop-{index}", index=index)] for index in range(100)
    }
    made |= {"usage-before": collected("usage-before", BEFORE), "usage-after": after}
    events = await play("usage", {"tasks": 100}, suite="noop", made=made)
    assert isinstance(events[-1].data, Completed)
    return events[-1].data


async def test_a_run_tells_what_each_service_used_for_a_task() -> None:
    samples, _ = used(BEFORE, AFTER)
    ended = await run(collected("usage-after", AFTER, since="usage-before", samples=samples))
    metrics = {metric.name: metric for metric in ended.metrics}
    assert ended.result == {"tasks": 100}
    assert metrics["task_cpu_us_consensus"].value == 5_000.0
    assert metrics["task_cpu_us"].value == 5_000.0 + 13_750.0
    assert metrics["rss_peak_bytes"].value == 140.0
    assert [metric.name for metric in ended.metrics if not metric.timing] == ["tasks"]


async def test_without_collection_the_run_has_its_result_and_says_why_no_figure() -> None:
    ended = await run(collected("usage-after", (), reason=OFF))
    metrics = {metric.name: metric for metric in ended.metrics}
    assert ended.result == {"tasks": 100}
    assert (metrics["task_cpu_us"].value, metrics["task_cpu_us"].reason) == (None, OFF)
