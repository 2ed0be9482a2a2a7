"""What metrics' tasks of the primitives do: cases in a process of their own, times read from a log, fitted curves."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

import msgspec
import pytest

from swarm_common.clock import format_ns
from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events import Data, Event, Samples, digest_view
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.consensus import Simulated
from swarm_common.events.envelope import new_event
from swarm_common.events.metrics import CaseMeasured
from swarm_common.timing import clock_of
from swarm_metrics.primitives import apart, cases, measuring
from swarm_metrics.primitives.case import Case, Fact, Prepared, require
from swarm_metrics.primitives.logged import LogParams, Part, time_log

QUICK = {"samples": 20, "shots": 50, "least_us": 50.0, "warm_up": 1, "budget_s": 0.2}


def measured(**params: object) -> CaseMeasured:
    return asyncio.run(measuring.measure("t", params | {"settings": QUICK}, seed=7))


# --- in a process of their own ------------------------------------------------------------------------------


def test_a_case_is_measured_in_a_process_and_its_facts_are_the_same_each_time() -> None:
    first, again = (measured(scenario="proposal_conflicts", variant="hash", size=50) for _ in range(2))
    assert digest_view(first) == digest_view(again)
    assert first.checked["proposals"] == 50
    assert first.samples[0].name == "proposal_conflicts.hash.50"
    assert len(first.samples[0].values) == first.timings[0].n == 20
    assert min(first.samples[0].values) > 0
    assert first.host.cores >= 1
    assert first.clock.cost_ns > 0
    assert "samples" not in digest_view(first)


def test_another_size_and_another_seed_are_other_work() -> None:
    facts = [measured(scenario="proposal_conflicts", variant="hash", size=size).checked for size in (10, 50)]
    assert facts[0] != facts[1]
    other = asyncio.run(
        measuring.measure(
            "t", {"scenario": "proposal_conflicts", "variant": "hash", "size": 50, "settings": QUICK}, seed=8
        )
    )
    assert other.checked != facts[1]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"scenario": "nothing", "size": 1}, "params.scenario"),
        ({"scenario": "proposal_conflicts", "variant": "magic", "size": 1}, "params.variant"),
        ({"scenario": "proposal_conflicts", "variant": "hash", "size": 0}, "params.size"),
        ({"scenario": "proposal_conflicts", "sizes": 1}, "params"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(params: dict[str, object], field: str) -> None:
    with pytest.raises(UsageError) as refused:
        measured(**params)
    assert refused.value.field == field


def planted(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    module = ModuleType("swarm_metrics.primitives.cases.planted")
    module.CASES = (case,)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cases.MODULES, case.scenario, "planted")


def answered(order: apart.Order) -> object:
    frame = apart.answer(msgspec.msgpack.encode({"order": order, "exercise": None, "seed": 1}))
    return msgspec.msgpack.decode(frame)


def test_wrong_work_is_answered_as_such_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> dict[str, Fact]:
        require(holds=False, message="the sum is wrong")
        return {}

    prepared = Prepared(run=lambda loops: sum(range(loops * 100)) and None, check=check)
    planted(monkeypatch, Case(scenario="wrong", sizes=(1,), operation="", prepare=lambda *_: prepared))
    found = answered(apart.Order(scenario="wrong", size=1, settings=msgspec.convert(QUICK, apart.Settings)))
    assert found == {
        "type": "wrong",
        "message": "the work that was timed was wrong: the sum is wrong",
        "retryable": False,
    }


async def test_a_process_that_ends_without_an_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TaskFailed, match="ended with status 1") as failed:
        await measuring.measure("t", {"scenario": "semaphore_coordination", "size": 5}, 1)
    assert failed.value.retryable is True


async def test_work_that_is_not_timed_is_done_and_checked_all_the_same() -> None:
    given = {"cases": [["semaphore_coordination", "", 5, 2], ["timeout_overhead", "kept", 50, 1]]}
    found = await measuring.exercise("t", given, 1)
    assert found.checked["semaphore_coordination.5"]["turns"] == 100
    assert found.checked["timeout_overhead.kept.50"] == {"milliseconds": 50, "kept": 100}


# --- from the log -------------------------------------------------------------------------------------------


class Log:
    """Events with the times that a test gives them."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, at_us: int, data: Data) -> None:
        time_ns = 1_800_000_000_000_000_000 + at_us * 1000
        event = new_event(
            data,
            run="r",
            source="/swarm/test/1",
            cause="c",
            handler="h",
            index=len(self.events),
            time_ns=time_ns,
        )
        assert event.time == format_ns(time_ns)
        self.events.append(msgspec.structs.replace(event, seq=len(self.events) + 1))

    def scheduled(self, at_us: int, task: str) -> None:
        self.add(
            at_us,
            TaskScheduled(
                task=task,
                kind="noop",
                service="model_agent",
                lane="io",
                attempt=1,
                params={},
                needs=(),
                seed=1,
            ),
        )

    def done(self, at_us: int, task: str) -> None:
        self.add(at_us, TaskDone(task=task))


def three_parts() -> Log:
    log = Log()
    for at_us, task in (
        (0, "a1"),
        (1, "a2"),
        (10_000, "b1"),
        (10_001, "b2"),
        (13_000, "c1"),
        (18_500, "timed"),
    ):
        log.scheduled(at_us, task)
        if task != "timed":
            log.done(at_us + 100, task)
    return log


def params(**fields: object) -> LogParams:
    usual: dict[str, object] = {
        "scenario": "orchestration_throughput",
        "size": 2,
        "operation": "a batch",
        "parts": [
            {"tasks": ["a1", "a2"], "until": "b1"},
            {"tasks": ["b1", "b2"], "until": "c1"},
            {"tasks": ["c1"]},
        ],
    }
    return msgspec.convert(usual | fields, LogParams)


def test_parts_last_from_the_first_task_to_the_scheduling_of_what_comes_next() -> None:
    found = time_log("timed", params(), three_parts().events)
    assert found.samples[0].values == (10_000.0, 3_000.0, 5_500.0)
    assert found.checked == {"parts": 3, "tasks": 5, "same": 0}
    assert time_log("timed", params(skip=1), three_parts().events).samples[0].values == (3_000.0, 5_500.0)


def test_a_part_without_a_result_is_not_timed() -> None:
    log = three_parts()
    log.events = [
        event for event in log.events if not (event.type == "agent.task_done" and event.data.task == "b2")
    ]  # type: ignore[union-attr]
    with pytest.raises(TaskFailed, match="no result of b2"):
        time_log("timed", params(), log.events)


def test_a_clock_that_was_set_back_is_told_and_not_averaged() -> None:
    log = three_parts()
    parts = [Part(tasks=("b1",), until="a1")]
    with pytest.raises(TaskFailed, match="set back"):
        time_log("timed", msgspec.structs.replace(params(), parts=tuple(parts)), log.events)


def simulated(task: str, decided: int) -> Simulated:
    return Simulated(
        task=task, mechanism="raft", agents=5, fault="loss", inside=True, seeds=1, first_seed=1, unsafe=0, stopped=0,
        decided=decided, during=0, asked=3, decision_ms=None, known_ms=None, deliveries=1, messages=1, invariants={},
        counterexamples=(), elapsed_s=float(decided),
    )  # fmt: skip


@pytest.mark.parametrize("other", [3, 2])
def test_pairs_must_have_found_the_same_but_for_name_and_time(other: int) -> None:
    log = three_parts()
    log.scheduled(18_000, "x")
    log.scheduled(18_000, "y")
    log.add(18_100, simulated("x", 3))
    log.add(18_200, msgspec.structs.replace(simulated("y", other), elapsed_s=99.0))
    asked = params(same=[["x", "y"]], parts=[{"tasks": ["x", "y"]}])
    if other == 3:
        assert time_log("timed", asked, [*log.events]).checked["same"] == 1
    else:
        with pytest.raises(TaskFailed, match="x and y did the same work and found different things"):
            time_log("timed", asked, log.events)


# --- curves -------------------------------------------------------------------------------------------------


def at(size: int, us: float, **fields: object) -> CaseMeasured:
    usual: dict[str, object] = {"scenario": "proposal_conflicts", "variant": "hash", "growth": "linear"}
    return CaseMeasured(
        task=f"t-{size}",
        size=size,
        checked={},
        samples=(Samples(name="s", unit="us", values=tuple(us * (1 + step / 100) for step in range(-5, 6))),),
        timings=(),
        host=measuring.this_host(),
        clock=clock_of(readings=3),
        elapsed_s=1.0,
        **(usual | fields),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("power", "verdict", "model"),
    [(0, "kept", "constant"), (1, "kept", "linear"), (2, "steeper", "quadratic")],
)
def test_a_quadratic_case_is_called_so_and_breaks_its_promise(power: int, verdict: str, model: str) -> None:
    found = measuring.fit_curve("curve", [at(size, 3.0 * size**power) for size in (10, 50, 100, 500)], 1)
    assert found.exponent == pytest.approx(power, abs=0.05)
    assert (found.verdict, found.model) == (verdict, model)
    assert digest_view(found) == {
        "task": "curve", "scenario": "proposal_conflicts", "variant": "hash", "growth": "linear",
        "sizes": (10, 50, 100, 500),
    }  # fmt: skip


def test_a_curve_is_of_what_the_work_took_of_the_processor_where_that_is_known() -> None:
    def busy(size: int) -> CaseMeasured:
        found = at(size, 3.0 * size**2)
        cpu = Samples(name="s.cpu", unit="us", values=(2.0 * size,) * 20, clock="process_time_ns")
        return msgspec.structs.replace(found, samples=(*found.samples, cpu))

    found = measuring.fit_curve("curve", [busy(size) for size in (10, 50, 100, 500)], 1)
    assert (found.verdict, found.model) == ("kept", "linear")
    assert found.times_us == (20.0, 100.0, 200.0, 1000.0)


def test_a_curve_is_of_one_case() -> None:
    with pytest.raises(UsageError, match="one scenario and variant"):
        measuring.fit_curve("curve", [at(10, 1.0), at(20, 1.0, variant="all_pairs")], 1)
    assert measuring.fit_curve("curve", [at(10, 1.0), at(20, 2.0)], 1).verdict == "too few sizes"
