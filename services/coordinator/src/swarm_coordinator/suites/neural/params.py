"""What the scenarios of the suite share: parameters, and the task that learns a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarm_common.events import Task
from swarm_common.patterns import PATTERNS
from swarm_coordinator.plans import Param
from swarm_coordinator.suites.hive.params import int_param, list_param

KIND = "learn_pattern"
_TASK_S = 300.0


def common(repeats: int, repeated: str) -> tuple[Param, ...]:
    """Return the parameters that both scenarios have."""
    return (
        list_param("patterns", tuple(PATTERNS), "what is learned"),
        int_param("repeats", repeats, 1, 100, repeated),
        int_param("size", 4, 1, 100, "multiplies how much one iteration learns from"),
        int_param("iterations", 40, 3, 10_000, "how often it goes through that"),
        int_param("questions", 200, 20, 5000, "held-out questions a task"),
        int_param("timings", 200, 2, 10_000, "timings of recognition and inference a task, each"),
    )


def task_of(
    name: str, pattern: str, repeat: int, params: Mapping[str, Any], *, decides: bool = False
) -> Task:
    """Return the task that learns a pattern. Its random numbers are the repeat's, whatever it is called."""
    return Task(
        id=name,
        kind=KIND,
        service="model_agent",
        lane="cpu",
        decides=decides,
        timeout_s=_TASK_S,
        params={
            "pattern": pattern,
            "repeat": repeat,
            **{key: params[key] for key in ("size", "iterations", "questions", "timings")},
            **({"shuffled": True} if params.get("shuffled") else {}),
        },
    )
