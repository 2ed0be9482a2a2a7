"""A run as a list of events: given these, when that, then what is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.simulated import REQUEST_ID, RUN, START_NS
from swarm_common.clock import format_ns
from swarm_common.events import Data, Event, Metric, Task
from swarm_common.events.agent import AgentTaskFailed, TaskDone
from swarm_common.events.benchmark import Started
from swarm_common.events.envelope import decode, encode, new_event
from swarm_coordinator.decider import decide
from swarm_coordinator.moment import Moment
from swarm_coordinator.plans import Finish, Scenario, SoFar, Step, Suite
from swarm_coordinator.state import RunState, evolve

MOMENT = Moment(START_NS + 5_000_000_000)


class Scripted:
    """A suite whose planner answers from a list: steps, then the end."""

    name = "scripted"
    description = ""
    scenarios = (Scenario(name="s", description=""),)

    def __init__(self, *answers: Step | Finish | Exception) -> None:
        self.answers = answers
        self.asked: list[SoFar] = []

    def plan(self, sofar: SoFar) -> Step | Finish:
        self.asked.append(sofar)
        answer = self.answers[min(sofar.step - 1, len(self.answers) - 1)]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Story:
    """The events of a run so far, and the state they lead to."""

    def __init__(self, *tasks: Task, suite: Suite | None = None, **started: Any) -> None:
        self.suite = suite or Scripted(
            Finish(result={}, metrics=(Metric(name="sum", value=3.0, unit="count"),))
        )
        self.events: list[Event] = []
        self.state = RunState(run=RUN)
        given = {
            "request_id": REQUEST_ID,
            "suite": self.suite.name,
            "scenario": "s",
            "params": {},
            "session": "default",
            "seed": 42,
            "timeout_s": 60.0,
            "deadline": format_ns(START_NS + 60_000_000_000),
            "tasks": tasks,
        }
        self.add(Started(**(given | started)))

    def add(self, *data: Data) -> Story:
        """Append events and fold them."""
        for item in data:
            event = new_event(
                item,
                run=RUN,
                source="/swarm/test/1",
                cause=self.state.last_id or REQUEST_ID,
                handler=f"test-{len(self.events)}",
                correlation=REQUEST_ID,
                time_ns=START_NS + len(self.events) * 1_000_000,
            )
            stored = decode(encode(event), len(self.events) + 1)
            self.events.append(stored)
            self.state = evolve(self.state, stored)
        return self

    def decide(self, moment: Moment = MOMENT) -> Sequence[Data]:
        return decide(self.state, moment, {self.suite.name: self.suite})

    def go(self) -> Sequence[Data]:
        """Decide and append until there is nothing left to decide; return all that was decided."""
        found: list[Data] = []
        while decided := self.decide():
            found += decided
            self.add(*decided)
        return found

    def done(self, *names: str, index: int = 0) -> Story:
        return self.add(*(TaskDone(task=name, index=index) for name in names))

    def fail(self, name: str, *, retryable: bool = True, attempt: int | None = None) -> Story:
        attempt = self.state.tasks[name].attempt if attempt is None else attempt
        return self.add(
            AgentTaskFailed(
                task=name, attempt=attempt, error="TaskFailed", message="no luck", retryable=retryable
            )
        )
