"""Given what a log tells of a run's time and tokens, when it is looked at, then what would help, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from swarm_common.events import Array, Data, Event
from swarm_common.events.agent import AgentTaskFailed, Called, PartTrained
from swarm_common.events.benchmark import Completed, RetryScheduled, Started, TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.events.metrics import Grew, Grown, GrowthShown, GrowthVerdict, MemoryProfiled
from swarm_common.events.optimizer import Suggestion
from swarm_common.events.values import Host
from swarm_common.llm import Message, Request, Timings, Usage
from swarm_common.log.files import read_events
from swarm_optimizer.rules import read, suggest
from swarm_optimizer.rules.schedule import Job, expected, longest_path, makespan

GOLDEN = Path(__file__).parents[2] / "golden"
T0_NS = 1_800_000_000_000_000_000


class Story:
    """A run, told in the order of its log: times are seconds since it began."""

    def __init__(self, **params: Any) -> None:
        self.events: list[Event] = []
        started = Started(
            request_id="r",
            suite="s",
            scenario="c",
            params=params,
            session="default",
            seed=1,
            timeout_s=600.0,
            deadline="",
            tasks=(),
        )
        self.began = self.add(started, 0.0)

    def add(self, data: Data, at_s: float, *, cause: Event | None = None, took_s: float = 0.0) -> Event:
        event = new_event(
            data,
            run="run-1",
            source="/swarm/model_agent/vm-1",
            cause=cause.id if cause else "request",
            handler="test",
            index=len(self.events),
            duration_us=round(took_s * 1e6),
            time_ns=T0_NS + round(at_s * 1e9),
        )
        self.events.append(replace(event, seq=len(self.events) + 1))
        return self.events[-1]

    def schedule(
        self, task: str, at_s: float = 0.0, *, needs: tuple[str, ...] = (), attempt: int = 1
    ) -> Event:
        data = TaskScheduled(
            task=task, kind="train", service="model_agent", lane="cpu", needs=needs, attempt=attempt
        )
        return self.add(data, at_s, cause=self.began)

    def work(
        self, task: str, worker: int, begin_s: float, end_s: float, scheduled: Event | None = None
    ) -> Event:
        part = PartTrained(
            task=task,
            model="m",
            model_type="svm",
            hyperparameters={},
            fold=0,
            n_train=1,
            n_features=1,
            folds=1,
            predictions=Array("<f8", (1,), bytes(8)),
            score_name="accuracy",
            fit_s=end_s - begin_s,
            cpu_s=end_s - begin_s,
            elapsed_s=end_s - begin_s,
            max_rss_bytes=1,
            worker=f"vm-1/{worker}",
            started="",
            waited_s=0.0,
        )
        scheduled = scheduled or self.schedule(task)
        return self.add(part, end_s, cause=scheduled, took_s=end_s - begin_s)

    def end(self, at_s: float, cause: Event, result: dict[str, Any] | None = None) -> list[Event]:
        completed = Completed(
            result=result or {},
            metrics=(),
            targets=(),
            digest="",
            duration_s=at_s,
            clock="wall",
            tasks=1,
            attempts=1,
            events=len(self.events),
            log_sha256="",
        )
        self.add(completed, at_s, cause=cause)
        return self.events


def found(events: Sequence[Event]) -> dict[str, Suggestion]:
    return {one.kind: one for one in suggest(events).suggestions}


def test_workers_that_stood_idle_are_too_many() -> None:
    story = Story()
    story.work("a", 1, 0.0, 4.0)
    story.work("b", 2, 0.0, 0.5)
    last = story.work("c", 3, 0.0, 0.5)
    one = found(story.end(4.0, last))["idle_workers"]
    assert one.text.startswith("Use 2 workers: of 3 workers' time 58% was idle")
    assert one.change == {"settings": {"cpu_workers": 2}}
    assert one.expected == pytest.approx(3 * 4.0 - 2 * 4.0)
    assert one.expected_low is not None
    assert one.expected_low <= 4.0
    assert set(one.evidence) == {event.id for event in story.events if event.type == "agent.part_trained"}


def test_workers_that_are_all_needed_are_not_too_many() -> None:
    story = Story()
    story.work("a", 1, 0.0, 4.0)
    assert "idle_workers" not in found(story.end(4.0, story.work("b", 2, 0.0, 3.9)))


def test_the_task_that_all_waited_for_is_named_with_what_dividing_it_gains() -> None:
    story = Story()
    story.work("small", 2, 0.0, 0.5)
    event = story.work("huge", 1, 0.0, 8.0)
    one = found(story.end(8.0, event))["dominating_task"]
    assert (one.subject, one.evidence) == ("huge", (event.id,))
    # Two halves of 4 s, and half a second more on one of the two workers.
    assert one.expected == pytest.approx(8.0 - 4.5)
    assert (one.expected_low, one.expected_high) == (0.0, pytest.approx(8.0 - 4.25))


def test_of_tasks_alike_none_dominates() -> None:
    story = Story()
    story.work("a", 1, 0.0, 4.0)
    assert "dominating_task" not in found(story.end(4.1, story.work("b", 2, 0.0, 4.0)))


def test_a_run_too_short_to_time_is_left_alone() -> None:
    story = Story()
    story.work("small", 2, 0.0, 0.005)
    assert found(story.end(0.08, story.work("huge", 1, 0.0, 0.08))) == {}


def retried(failures: int) -> list[Event]:
    story = Story()
    cause, at_s = story.schedule("t"), 0.0
    for attempt in range(1, failures + 1):
        failed = story.add(
            AgentTaskFailed(task="t", attempt=attempt, error="OSError", message="no disk", retryable=True),
            at_s + 0.5,
            cause=cause,
            took_s=0.5,
        )
        again = RetryScheduled(task="t", attempt=attempt + 1, delay_s=1.0, due="", error="no disk")
        waits = story.add(again, at_s + 0.5, cause=failed)
        at_s += 1.5
        data = TaskScheduled(task="t", kind="train", service="model_agent", lane="cpu", attempt=attempt + 1)
        cause = story.add(data, at_s, cause=waits)
    return story.end(at_s + 0.5, story.work("t", 1, at_s, at_s + 0.5, cause))


def test_what_fails_again_and_again_is_named_with_the_time_it_cost() -> None:
    events = retried(3)
    one = found(events)["retries"]
    assert one.subject == "OSError: no disk"
    assert "3 of 4 attempts failed" in one.text
    assert one.expected == pytest.approx(3 * 0.5)  # each failed attempt is on the only path there is
    assert one.expected_high == pytest.approx(3 * 1.5)
    assert len(one.evidence) == 6


def test_two_failures_are_no_storm() -> None:
    assert "retries" not in found(retried(2))


def test_work_that_waited_for_busy_workers_asks_for_more_of_them() -> None:
    story = Story()
    scheduled = [story.schedule(name) for name in "abcd"]
    for index, name in enumerate("abcd"):
        last = story.work(name, 1, float(index), index + 1.0, scheduled[index])
    one = found(story.end(4.0, last))["slow_consumer"]
    assert one.change == {"settings": {"cpu_workers": 2}}
    assert one.expected == pytest.approx(2.0)


def test_more_workers_than_cores_are_not_asked_for() -> None:
    story = Story()
    scheduled = [story.schedule(name) for name in "abcd"]
    for index, name in enumerate("abcd"):
        last = story.work(name, 1, float(index), index + 1.0, scheduled[index])
    events = story.end(4.0, last)
    host = Host(cpu="", cores=1, system="", python="")
    assert isinstance(events[0].data, Started)
    events[0] = replace(events[0], data=replace(events[0].data, host=host))
    assert "slow_consumer" not in found(events)


def test_work_that_waited_while_nobody_was_busy_accuses_the_service() -> None:
    story = Story()
    story.work("first", 1, 0.0, 0.1)
    scheduled = story.schedule("late")
    one = found(story.end(3.1, story.work("late", 1, 3.0, 3.1, scheduled)))["slow_consumer"]
    assert one.subject == "model_agent"
    assert "not busy meanwhile" in one.text
    assert one.expected == pytest.approx(3.0)
    assert one.change == {}


def called(number: int, prompt: str, *, read: int, cached: int) -> Called:
    request = Request(messages=(Message(role="user", content=prompt),))
    return Called(
        task=f"t-{number}",
        agent="a",
        number=0,
        model="m",
        key="",
        request=request,
        text="yes",
        finish="stop",
        answered_by="m",
        usage=Usage(input=read - cached, cache_read=cached, output=1),
        timings=Timings(),
    )


def asked(cached: int, *, same: bool = True) -> list[Event]:
    story = Story()
    for number in range(8):
        start = "A long preface that all of them share. " * 40 if same else f"{number} " * 800
        last = story.add(called(number, f"{start}Question {number}", read=400, cached=cached), 0.1 * number)
    return story.end(1.0, last)


def test_prompts_that_begin_alike_and_are_read_again_are_cache_misses() -> None:
    one = found(asked(0))["cache_misses"]
    assert one.expected is not None
    assert 0.9 * 7 * 400 < one.expected <= 7 * 400  # all but the first could have come from the cache
    assert one.expected_low is not None
    assert one.expected_high is not None
    assert one.expected_low <= one.expected <= one.expected_high
    assert len(one.evidence) == 8


@pytest.mark.parametrize("events", [asked(390), asked(0, same=False)], ids=["cached", "nothing shared"])
def test_where_nothing_is_missed_nothing_is_said_of_the_cache(events: list[Event]) -> None:
    assert "cache_misses" not in found(events)


def compared(scores: dict[str, list[float]], tokens: dict[str, int], **params: Any) -> list[Event]:
    story = Story(**params)
    arms = [
        {
            "name": name,
            "scores": given,
            "questions": list(range(len(given))),
            "tokens": tokens[name],
            "source": f"grade-{name}",
        }
        for name, given in scores.items()
    ]
    return story.end(9.0, story.began, {"coordination": {"arms": arms}})


ALIKE = {"mesh": [1.0, 0.0] * 5, "centralized": [1.0, 0.0] * 5}
BETTER = {"mesh": [1.0] * 10, "centralized": [0.0] * 9 + [1.0]}


def test_a_dear_mode_that_is_not_shown_to_be_better_gives_way_to_a_cheap_one() -> None:
    events = compared(ALIKE, {"mesh": 9000, "centralized": 3000}, modes=["mesh", "centralized"])
    one = found(events)["dear_mode"]
    assert (one.subject, one.expected, one.gain) == ("mesh", 6000.0, 0.0)
    assert one.change == {"params": {"modes": ["centralized"]}}
    assert one.evidence == ("grade-mesh", "grade-centralized")


@pytest.mark.parametrize(
    ("scores", "tokens"),
    [(BETTER, {"mesh": 9000, "centralized": 3000}), (ALIKE, {"mesh": 3300, "centralized": 3000})],
    ids=["better", "as cheap"],
)
def test_a_mode_that_is_worth_its_tokens_stays(scores: Any, tokens: Any) -> None:
    assert "dear_mode" not in found(compared(scores, tokens))


def profiled(verdict: GrowthVerdict) -> list[Event]:
    shown = GrowthShown(
        samples=480, warm_up=160, block=16, blocks=20, growth=4.0 * 2**20, low=3.0 * 2**20, high=5.0 * 2**20
    )
    profile = MemoryProfiled(
        task="profile",
        events=1,
        event_bytes=1,
        rows=1,
        portions=480,
        samples=(),
        grown=Grown(verdict=verdict, reason="", ratio=2.02, single=shown, double=shown),
        grew=(Grew(where="swarm_metrics/feed.py:40", bytes=9, blocks=1),),
        view_bytes=1,
        elapsed_s=1.0,
    )
    story = Story()
    return story.end(2.0, story.add(profile, 1.0))


def test_a_leak_that_doubled_work_confirmed_is_named_with_its_growth() -> None:
    one = found(profiled("leak"))["memory_growth"]
    assert (one.expected, one.expected_low, one.expected_high) == (4.0 * 2**20, 3.0 * 2**20, 5.0 * 2**20)
    assert "4.00 MiB over 320 equal portions" in one.text
    assert "swarm_metrics/feed.py:40" in one.text


@pytest.mark.parametrize("verdict", ["no leak", "suspected", "too few samples"])
def test_a_suspicion_is_no_fact(verdict: GrowthVerdict) -> None:
    assert "memory_growth" not in found(profiled(verdict))


def test_every_suggestion_names_events_of_the_run_it_is_about() -> None:
    for path in sorted(GOLDEN.glob("*.jsonl")):
        events = list(read_events(path))
        ids = {event.id for event in events}
        for one in suggest(events).suggestions:
            assert one.evidence, one
            assert set(one.evidence) <= ids
            assert one.metric
            assert one.estimator


jobs = st.lists(
    st.tuples(st.integers(1, 1000), st.booleans(), st.integers(0, 5)), min_size=1, max_size=12
).map(
    lambda drawn: [
        Job(
            task=str(index),
            kind="k",
            needs=() if not index or back > index else (str(index - back),) if back else (),
            us=us,
            pooled=pooled,
        )
        for index, (us, pooled, back) in enumerate(drawn)
    ]
)


@given(jobs, st.integers(1, 4))
def test_a_schedule_lies_between_grahams_bounds(drawn: list[Job], workers: int) -> None:
    one = expected(drawn, workers)
    work, path = sum(job.us for job in drawn if job.pooled), longest_path(drawn)
    assert one.low <= one.us <= one.high
    took = makespan(drawn, workers, {})
    assert max(work / workers, path) - 1e-6 <= took <= one.high + 1e-6 <= work / workers + path + 1e-3
    if all(job.pooled for job in drawn):
        assert took <= work / workers + (1 - 1 / workers) * path + 1e-6
    assert makespan(drawn, len(drawn), {}) == path


def test_a_bound_on_tasks_of_a_kind_makes_them_wait() -> None:
    drawn = [Job(task=str(index), kind="k", us=10, pooled=True) for index in range(4)]
    assert makespan(drawn, 4, {}) == 10
    assert makespan(drawn, 4, {"k": 1}) == 40


def test_jobs_in_a_circle_are_refused() -> None:
    drawn = [
        Job(task="a", kind="k", needs=("b",), us=1, pooled=True),
        Job(task="b", kind="k", needs=("a",), us=1, pooled=True),
    ]
    with pytest.raises(ValueError, match="circle"):
        makespan(drawn, 1, {})


def test_a_service_with_a_pool_counts_its_workers_and_not_itself() -> None:
    events = list(read_events(GOLDEN / "mle-star-0.1.0.jsonl"))
    run = read(events)
    assert run.workers
    assert all("/" in worker for worker in run.workers)


def test_nothing_is_said_of_no_events() -> None:
    assert suggest([]).suggestions == ()
