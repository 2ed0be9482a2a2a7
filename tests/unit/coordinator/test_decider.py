"""Given the events of a run, when the coordinator decides, then these events follow."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.simulated import START_NS, Swarm, task
from support.stories import Scripted, Story
from swarm_common.events import Metric, Target, Task
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import (
    Cancelled,
    CancelRequested,
    Completed,
    Failed,
    Planned,
    RetryScheduled,
    TaskAbandoned,
    TaskScheduled,
    TimerFired,
)
from swarm_coordinator.decider import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    MOST_EVENTS,
    PARALLEL,
    judge,
    retry_delay_s,
)
from swarm_coordinator.moment import Moment
from swarm_coordinator.plans import Finish, Step
from swarm_coordinator.state import TRANSITIONS


def names(decided: Any, kind: type = TaskScheduled) -> list[str]:
    return [data.task for data in decided if isinstance(data, kind)]


# -- scheduling --------------------------------------------------------------------------------------------


def test_nothing_is_decided_before_the_start_and_after_the_end() -> None:
    run = Story(task("a"))
    run.events, run.state = [], type(run.state)(run="r")
    assert run.decide() == ()
    over = Story(task("a")).add(Failed(reason="x", duration_s=1.0, clock="wall"))
    assert over.decide() == ()


def test_a_start_schedules_what_is_ready_with_the_runs_seed() -> None:
    run = Story(task("a", params={"x": 1}), task("b", after=("a",)), seed=7)
    assert run.decide() == (
        TaskScheduled(task="a", kind="noop", service="model_agent", params={"x": 1}, seed=7),
    )


def test_no_more_of_a_kind_are_in_flight_than_the_scenario_says() -> None:
    run = Story(*(task(f"t{i}") for i in range(5)), task("x", kind="other"), parallel={"noop": 2})
    assert names(run.go()) == ["t0", "t1", "x"]
    assert names(run.done("t1").go()) == ["t2"]


def test_without_a_limit_cpu_work_waits_for_cores_and_io_work_hardly() -> None:
    cpu = Story(*(task(f"t{i}", lane="cpu") for i in range(40)))
    assert len(cpu.go()) == PARALLEL["cpu"]
    io = Story(*(task(f"t{i}") for i in range(PARALLEL["io"] + 40)))
    assert len(io.decide()) == MOST_EVENTS
    assert len(io.go()) == PARALLEL["io"]


def test_the_highest_priority_goes_first_whenever_and_of_whatever_kind_it_was_planned() -> None:
    run = Story(
        task("low", priority=-1),
        task("a"),
        task("first", decides=True, priority=2),
        task("b"),
        task("other", kind="other", priority=1),
        suite=Scripted(Step(tasks=(task("late", priority=1), task("c")))),
        parallel={"noop": 1},
    )
    assert names(run.go()) == ["first", "other"]
    handed_out = ["first"]
    while names_now := names(run.done(handed_out[-1]).go()):
        handed_out += names_now
    # The planner is asked when what there was room for is handed out: "late" comes behind one that had no priority.
    assert handed_out == ["first", "a", "late", "b", "c", "low"]


def test_a_task_that_is_tried_again_keeps_its_place() -> None:
    run = Story(task("a"), task("dear", priority=1), task("b"), parallel={"noop": 1})
    run.go()
    run.fail("dear")
    run.go()
    assert run.state.tasks["dear"].status == "retrying"
    assert names(run.decide()) == []
    run.done("a").add(TimerFired(timer="retry-2-dear", due="", task="dear", attempt=2))
    assert names(run.decide()) == ["dear"]


def test_a_task_waits_for_all_it_needs() -> None:
    run = Story(task("a"), task("b"), task("c", after=("a", "b", "a")))
    assert names(run.go()) == ["a", "b"]
    assert run.done("b").go() == []
    (scheduled,) = run.done("a").go()
    assert scheduled.task == "c"
    assert scheduled.needs == ("a", "b", "a")


def test_tasks_that_were_planned_later_may_need_earlier_ones() -> None:
    end = Finish(result={}, metrics=())
    run = Story(task("a"), suite=Scripted(Step(tasks=(task("b", after=("a",)),)), end))
    run.go()
    assert run.done("a").decide() == (Planned(step=1, tasks=(task("b", after=("a",)),)),)
    assert names(run.go()) == ["b"]


def test_at_a_decision_point_the_planner_is_asked_although_others_are_open() -> None:
    suite = Scripted(Step(tasks=(task("c"),)), Step(), Finish(result={}, metrics=()))
    run = Story(task("a", decides=True), task("b"), suite=suite)
    run.go()
    assert run.done("b").decide() == ()
    assert not suite.asked
    assert run.done("a").decide() == (Planned(step=1, tasks=(task("c"),)),)


def test_a_planner_may_wait_and_is_asked_again_when_all_is_done() -> None:
    waits = Scripted(Step())
    run = Story(task("a", decides=True), task("b"), suite=waits)
    run.go()
    assert run.done("a").decide() == ()
    (failed,) = run.done("b").decide()
    assert isinstance(failed, Failed)
    assert "neither ends" in failed.reason


@pytest.mark.parametrize(
    ("planned", "why"),
    [
        ((task("a"),), "plans a twice"),
        ((task("b"), task("b")), "plans b twice"),
        ((task("b", after=("z",)),), "plans b, which needs z, and that is no task"),
        (
            (task("b"), task("c", after=("b", "e")), task("d", after=("c",)), task("e", after=("d",))),
            "plans tasks that wait for each other: c needs e needs d needs c",
        ),
        ((task("b", after=("b",)),), "plans tasks that wait for each other: b needs b"),
    ],
)
def test_a_planner_whose_tasks_could_never_end_fails_the_run(planned: tuple[Task, ...], why: str) -> None:
    (failed,) = Story(*planned, *([task("a")] if planned == (task("a"),) else [])).decide()
    assert isinstance(failed, Failed)
    assert why in failed.reason
    run = Story(task("a"), suite=Scripted(Step(tasks=planned)))
    run.go()
    (failed,) = run.done("a").decide()
    assert isinstance(failed, Failed)
    assert why in failed.reason


def test_a_planner_that_raises_fails_the_run_and_says_how() -> None:
    run = Story(task("a"), suite=Scripted(KeyError("accuracy")))
    run.go()
    (failed,) = run.done("a").decide()
    assert isinstance(failed, Failed)
    assert "KeyError" in failed.error


def test_a_suite_of_another_version_fails_the_run() -> None:
    run = Story(task("a"))
    run.go()
    run.done("a")
    run.suite.name = "renamed"
    (failed,) = run.decide()
    assert "not known" in failed.reason


def test_a_run_without_work_fails() -> None:
    (failed,) = Story().decide()
    assert isinstance(failed, Failed)
    assert failed.reason == "no work was done"


# -- attempts ----------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_followed_by_another_after_its_timer() -> None:
    run = Story(task("a", max_attempts=3))
    run.go()
    (retry,) = run.fail("a").decide()
    assert isinstance(retry, RetryScheduled)
    assert (retry.attempt, retry.error) == (2, "TaskFailed: no luck")
    assert FIRST_DELAY_S / 2 <= retry.delay_s <= FIRST_DELAY_S
    run.add(retry)
    assert run.decide() == ()
    run.add(TimerFired(timer="retry-2-a", due=retry.due, task="a", attempt=2))
    (scheduled,) = run.decide()
    assert (scheduled.task, scheduled.attempt) == ("a", 2)


def test_exhausted_attempts_fail_the_run() -> None:
    run = Story(task("a", max_attempts=2), task("b"))
    run.go()
    run.fail("a").go()
    run.add(TimerFired(timer="retry-2-a", due="", task="a", attempt=2)).go()
    (failed,) = run.fail("a").decide()
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.task) == ("task a failed 2 times", "a")
    assert failed.error == "TaskFailed: no luck"


def test_what_no_retry_can_help_fails_at_once() -> None:
    run = Story(task("a", max_attempts=3), task("b"))
    run.go()
    (failed,) = run.fail("b").fail("a", retryable=False).decide()
    assert isinstance(failed, Failed)
    assert failed.task == "a"


def test_an_abandoned_task_is_tried_again() -> None:
    run = Story(task("a"))
    run.go()
    (retry,) = run.add(TaskAbandoned(task="a", attempt=1, reason="never reported")).decide()
    assert isinstance(retry, RetryScheduled)
    assert retry.error == "never reported"


@pytest.mark.parametrize("when", ["failed", "retrying", "ready", "in flight again"])
def test_a_late_result_ends_a_task_wherever_it_is(when: str) -> None:
    run = Story(task("a"))
    run.go()
    run.fail("a")
    if when != "failed":
        run.go()
    if when in {"ready", "in flight again"}:
        run.add(TimerFired(timer="retry-2-a", due="", task="a", attempt=2))
    if when == "in flight again":
        run.go()
    (completed,) = run.done("a").decide()
    assert isinstance(completed, Completed)
    assert sum(run.state.schedule.running.values()) == 0
    assert set(run.state.timers) == {"deadline"}


@pytest.mark.parametrize("second", ["result", "failure", "abandoned"])
def test_what_comes_after_the_result_changes_nothing(second: str) -> None:
    run = Story(task("a"), task("b"))
    run.go()
    run.done("a")
    before = run.state.tasks, run.state.results, run.state.open, run.state.schedule.running
    match second:
        case "result":
            run.done("a", index=99)
        case "failure":
            run.fail("a")
        case _:
            run.add(TaskAbandoned(task="a", attempt=1, reason="x"))
    assert (run.state.tasks, run.state.results, run.state.open, run.state.schedule.running) == before
    assert run.decide() == ()


def test_a_failure_of_an_earlier_attempt_is_no_failure_of_this_one() -> None:
    run = Story(task("a"))
    run.go()
    run.fail("a").go()
    run.add(TimerFired(timer="retry-2-a", due="", task="a", attempt=2)).go()
    assert run.fail("a", attempt=1).decide() == ()


def test_a_result_between_decision_and_append_stands() -> None:
    """The decision was made before the result; both are in the log, in this order."""
    run = Story(task("a"), task("b"))
    run.go()
    run.fail("a")
    retry = run.decide()
    run.done("a").add(*retry)
    assert run.state.tasks["a"].status == "done"
    assert set(run.state.timers) == {"deadline"}
    (completed,) = run.done("b").decide()
    assert isinstance(completed, Completed)


def test_a_result_for_a_task_that_nobody_knows_is_ignored() -> None:
    run = Story(task("a"))
    run.go()
    before = run.state.tasks
    run.add(TaskDone(task="nope")).fail("a", attempt=7)
    assert run.state.tasks == before


def test_a_result_for_a_task_that_was_never_scheduled_releases_others_once() -> None:
    run = Story(task("a"), task("b", after=("a",)), task("c", after=("b",)))
    run.go()
    run.done("b")
    assert names(run.go()) == ["c"]
    assert names(run.done("a").go()) == []
    (completed,) = run.done("c").decide()
    assert isinstance(completed, Completed)


def test_a_timer_that_nobody_waits_for_does_nothing() -> None:
    run = Story(task("a"))
    run.go()
    run.add(TimerFired(timer="retry-2-a", due="", task="a", attempt=2))
    assert run.decide() == ()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_delays_double_with_jitter_between_half_and_all(seed: int, attempt: int) -> None:
    whole = min(FIRST_DELAY_S * 2 ** (attempt - 1), LONGEST_DELAY_S)
    delay = retry_delay_s(seed, "a", attempt)
    assert whole / 2 - 1e-6 <= delay <= whole
    assert delay == retry_delay_s(seed, "a", attempt)


def test_jitter_differs_by_task_seed_and_attempt() -> None:
    base = retry_delay_s(1, "a", 1)
    assert len({base, retry_delay_s(2, "a", 1), retry_delay_s(1, "b", 1), retry_delay_s(1, "a", 2) / 2}) == 4


# -- ends --------------------------------------------------------------------------------------------------


def test_the_deadline_fails_the_run() -> None:
    run = Story(task("a"), timeout_s=0.5)
    run.go()
    (failed,) = run.add(TimerFired(timer="deadline", due="")).decide()
    assert isinstance(failed, Failed)
    assert failed.reason == "deadline: not done 0.5 s after it started"


def test_a_cancelled_run_ends_with_the_reason_given() -> None:
    run = Story(task("a"))
    assert run.add(CancelRequested(reason="enough")).decide() == (
        Cancelled(reason="enough", duration_s=5.0, clock="wall"),
    )
    (unsaid,) = Story(task("a")).add(CancelRequested()).decide()
    assert unsaid.reason == "cancelled on request"


def test_durations_come_from_the_clock_that_saw_both_ends() -> None:
    run = Story(task("a")).add(CancelRequested(reason="x"))
    (measured,) = run.decide(Moment(START_NS + 9_000_000_000, 1.25))
    assert (measured.duration_s, measured.clock) == (1.25, "perf_counter")
    (told,) = run.decide(Moment(START_NS + 9_000_000_000))
    assert (told.duration_s, told.clock) == (9.0, "wall")


def test_an_end_judges_the_targets_and_counts_what_was_done() -> None:
    metrics = (Metric(name="accuracy", value=0.9, unit="ratio"), Metric(name="f1", value=None, unit="ratio"))
    run = Story(
        task("a"),
        suite=Scripted(Finish(result={"x": 1}, metrics=metrics)),
        targets=(
            Target(metric="accuracy", op=">=", target=0.9),
            Target(metric="accuracy", op=">", target=0.9),
            Target(metric="f1", op=">=", target=0.0),
            Target(metric="nope", op="<", target=1.0),
        ),
    )
    run.go()
    (end,) = run.done("a").decide()
    assert [judged.met for judged in end.targets] == [True, False, False, False]
    assert (end.result, end.tasks, end.attempts, end.events) == ({"x": 1}, 1, 1, 3)
    assert end.log_sha256 == run.state.chain


@pytest.mark.parametrize(
    ("op", "value", "met"),
    [(">=", 1.0, True), (">", 1.0, False), ("<=", 1.0, True), ("<", 1.0, False), ("==", 1.0, True)],
)
def test_targets_mean_what_their_operator_says(op: Any, value: float, met: bool) -> None:
    judged = judge(Target(metric="m", op=op, target=1.0), (Metric(name="m", value=value, unit="s"),))
    assert judged.met is met


def test_no_event_changes_a_run_that_is_over() -> None:
    run = Story(task("a"))
    run.go()
    run.done("a").go()
    assert run.state.over
    before = run.state.tasks, run.state.facts
    run.done("a").fail("a", attempt=1).add(CancelRequested(), TimerFired(timer="deadline", due=""))
    assert (run.state.tasks, run.state.facts) == before
    assert run.decide() == ()


# -- properties --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
def test_results_in_any_order_give_the_same_digest(seed: int, width: int, parallel: int) -> None:
    calm = Swarm(0, faulty=False, coordinators=1, params={"width": width}).run()
    rough = Swarm(seed, coordinators=1, params={"width": width}, steps=100 * parallel, fails=parallel).run()
    assert digest(calm) == digest(rough)


def digest(events: Any) -> str:
    return next(event.data.digest for event in events if isinstance(event.data, Completed))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_decision_is_never_made_twice_and_deciding_stops(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - drawn by hypothesis
    tasks = [task(f"t{i}", after=tuple(f"t{j}" for j in range(i) if rng.random() < 0.2)) for i in range(8)]
    run = Story(*tasks, parallel={"noop": rng.randint(1, 4)})
    for _ in range(200):
        said = run.go()  # ends, or the test's timeout does
        assert len({(data.type, getattr(data, "task", "")) for data in said}) == len(said)
        if run.state.over:
            break
        flying = [name for name, known in run.state.tasks.items() if known.status == "in_flight"]
        timers = [name for name in run.state.timers if name != "deadline"]
        if timers and (not flying or rng.random() < 0.4):
            timer = rng.choice(timers)
            _, attempt, name = timer.split("-", 2)
            run.add(TimerFired(timer=timer, due="", task=name, attempt=int(attempt)))
        elif rng.random() < 0.3:
            run.fail(rng.choice(flying))
        else:
            run.done(rng.choice(flying))
    assert run.state.over


def test_every_status_is_reached_and_left_by_the_table() -> None:
    reached = {to for _, _, to in TRANSITIONS}
    assert reached == {"ready", "in_flight", "done", "failed", "retrying"}
    assert {start for start, _, _ in TRANSITIONS} == {"waiting", "ready", "in_flight", "failed", "retrying"}
