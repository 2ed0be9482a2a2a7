"""Replay of a recorded log: equal decisions are silence, every difference is shown event against event."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from swarm_common.errors import InvalidEvent, NotFound
from swarm_common.events import Data, Event
from swarm_common.events.agent import AgentTaskFailed, TaskDone
from swarm_common.events.benchmark import CancelRequested, TaskScheduled
from swarm_common.events.envelope import decode, encode, new_event
from swarm_common.log.files import write_events
from swarm_common.runtime import Service, Work, offline
from swarm_common.runtime.history import RecordedHistory

RUN = "r"


class Log:
    """A recorded log in the making."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(
        self, data: Data, *, cause: Event | None = None, source: str = "model_agent", index: int = 0
    ) -> Event:
        event = new_event(
            data,
            run=RUN,
            source=f"/swarm/{source}/1",
            cause=cause.id if cause else f"outside-{len(self.events)}",
            handler="h",
            index=index,
        )
        event = decode(encode(event), len(self.events) + 1)
        self.events.append(event)
        return event

    def task(
        self, name: str, kind: str = "double", needs: tuple[str, ...] = (), service: str = "model_agent"
    ) -> Event:
        return self.add(
            TaskScheduled(task=name, kind=kind, service=service, params={"index": 4}, needs=needs),
            source="coordinator",
        )


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def service() -> Service:
    service = Service("model_agent", "agent")

    @service.task("double")
    async def double(work: Work) -> Data:
        return TaskDone(task=work.task.task, index=2 * work.task.params["index"], elapsed_us=1.0)

    @service.task("sum")
    async def add_up(work: Work) -> Data:
        return TaskDone(
            task=work.task.task, index=sum(data.index for _, data in await work.inputs_of(TaskDone))
        )

    @service.task("train", pure=False)
    async def train(work: Work) -> Data:
        raise AssertionError(work)

    @service.reaction(CancelRequested)
    async def on_cancel(work: Work) -> Sequence[Data]:
        return [TaskDone(task=f"cancel-{index}") for index in range(len(await work.run_events()))]

    return service


async def test_the_same_decisions_differ_in_nothing(log: Log, service: Service) -> None:
    log.add(TaskDone(task="a", index=8, elapsed_us=99.0), cause=log.task("a"))
    log.add(TaskDone(task="b", index=8), cause=log.task("b", "sum", needs=("a",)))
    outcome = await offline.decide_again(service, log.events)
    assert (outcome.decisions, outcome.skipped, outcome.differences) == (2, 0, ())


async def test_another_decision_is_shown_with_the_fields_that_differ(log: Log, service: Service) -> None:
    recorded = log.add(TaskDone(task="a", index=9), cause=log.task("a"))
    (difference,) = (await offline.decide_again(service, log.events)).differences
    assert (difference.run, difference.position, difference.event_id) == (RUN, recorded.seq, recorded.id)
    assert difference.what == "agent.task_done: decided otherwise"
    assert (difference.recorded, difference.decided) == ({"index": 9}, {"index": 8})


async def test_long_values_are_cut(log: Log, service: Service) -> None:
    @service.task("wordy")
    async def wordy(_work: Work) -> Data:
        return AgentTaskFailed(task="a", attempt=1, error="E", message="x" * 1000, retryable=False)

    log.add(TaskDone(task="a"), cause=log.task("a", "wordy"))
    (difference,) = (await offline.decide_again(service, log.events)).differences
    assert difference.decided["message"].endswith("(1002 characters)")
    assert difference.recorded["type"] == "agent.task_done"


async def test_events_too_many_and_too_few_are_shown(log: Log, service: Service) -> None:
    cancel = log.add(CancelRequested(), source="client")
    log.add(TaskDone(task="cancel-0"), cause=cancel)
    log.add(TaskDone(task="cancel-1"), cause=cancel, index=1)
    second = log.add(CancelRequested(), source="client")
    log.add(TaskDone(task="cancel-0"), cause=second)
    found = (await offline.decide_again(service, log.events)).differences
    assert [difference.what for difference in found] == [
        "agent.task_done: in the log, not decided now",
        "after benchmark.cancel_requested: decided now, not in the log",
        "after benchmark.cancel_requested: decided now, not in the log",
        "after benchmark.cancel_requested: decided now, not in the log",
    ]
    assert found[0].decided is None
    assert found[1].recorded is None


async def test_a_handler_that_fails_now_is_a_difference(log: Log, service: Service) -> None:
    @service.task("double")
    async def broken(_work: Work) -> Data:
        raise ValueError("not today")

    log.add(TaskDone(task="a", index=8), cause=log.task("a"))
    (difference,) = (await offline.decide_again(service, log.events)).differences
    assert difference.decided == "ValueError: not today"


async def test_what_is_not_pure_and_what_others_said_is_left_alone(log: Log, service: Service) -> None:
    log.add(TaskDone(task="a"), cause=log.task("a", "train"))
    log.add(TaskDone(task="b"), cause=log.task("b", "unknown"))
    log.add(TaskDone(task="c"))
    log.add(TaskDone(task="d"), cause=log.task("d", service="metrics"))
    log.add(TaskDone(task="e"), cause=log.task("e"), source="another")
    outcome = await offline.decide_again(service, log.events)
    assert (outcome.decisions, outcome.skipped, outcome.differences) == (0, 4, ())


async def test_recorded_failures_are_no_decisions(log: Log, service: Service) -> None:
    failed = AgentTaskFailed(task="a", attempt=1, error="OSError", message="disk", retryable=True)
    log.add(failed, cause=log.task("a"))
    outcome = await offline.decide_again(service, log.events)
    assert (outcome.decisions, outcome.differences) == (0, ())


async def test_a_service_may_replay_its_own_way(log: Log, service: Service) -> None:
    async def decide_again(events: Sequence[Event]) -> offline.Outcome:
        return offline.Outcome(service="model_agent", decisions=len(events), skipped=0, differences=())

    service.decide_again = decide_again
    log.task("a")
    assert (await offline.decide_again(service, log.events)).decisions == 1


# -- from a file -------------------------------------------------------------------------------------------


async def test_a_file_is_replayed_and_the_exit_code_says_how(
    log: Log, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    log.add(TaskDone(task="a", index=8), cause=log.task("a"))
    write_events(path, log.events)
    assert await offline.main(service, path) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=offline.Outcome).decisions == 1
    log.add(TaskDone(task="b", index=9), cause=log.task("b"))
    write_events(path, log.events)
    assert await offline.main(service, path) == 1
    assert len(msgspec.json.decode(capsys.readouterr().out, type=offline.Outcome).differences) == 1


@pytest.mark.parametrize("content", [None, b"{"])
async def test_a_file_that_cannot_be_read(
    service: Service, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    if content is not None:
        path.write_bytes(content)
    assert await offline.main(service, path) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "log.jsonl" in shown.err or "line 1" in shown.err


# -- histories and work ------------------------------------------------------------------------------------


async def test_inputs_come_in_the_order_of_needs(log: Log) -> None:
    for name in ("a", "b"):
        log.add(TaskDone(task=name), cause=log.task(name))
    log.add(TaskDone(task="a", index=99))  # a second result, which the broker would not have stored
    work = Work(log.task("c", needs=("b", "a")), RecordedHistory(log.events))
    assert [(data.task, data.index) for _, data in await work.inputs_of(TaskDone)] == [("b", 0), ("a", 0)]


async def test_a_result_that_is_missing_is_named(log: Log) -> None:
    work = Work(log.task("c", needs=("a",)), RecordedHistory(log.events))
    with pytest.raises(NotFound, match="task c needs the result of a"):
        await work.inputs()


async def test_only_a_scheduled_task_is_a_task(log: Log) -> None:
    with pytest.raises(InvalidEvent, match=r"agent\.task_done schedules no task"):
        _ = Work(log.add(TaskDone(task="a")), RecordedHistory([])).task


def test_a_service_has_a_name_that_can_stand_in_a_subject() -> None:
    with pytest.raises(InvalidEvent, match="no service name"):
        Service("model.agent", "agent")


def test_a_service_has_the_lanes_of_its_tasks() -> None:
    service = Service("model_agent", "agent")
    for kind, lane in (("a", "io"), ("b", "cpu"), ("c", "io")):
        service.task(kind, lane=lane)(None)  # type: ignore[arg-type]
    assert service.lanes() == {"io": ("a", "c"), "cpu": ("b",)}
