"""How fast agents are ready, and what several at once are worth: the task ``measure_agents``.

An agent here is what the service gives its work to: a worker process with the libraries of training loaded, forked from
a server that has them (:mod:`~swarm_model_agent.pool`). It is ready when it has answered a first order.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from swarm_common.errors import TaskFailed
from swarm_common.events import Samples, digest_view
from swarm_common.events.agent import AgentsMeasured, ModelTrained
from swarm_common.events.measuring import Timing
from swarm_common.hosts import this_host
from swarm_common.timing import clock_of, timing_of
from swarm_model_agent.params import DataParams, TrainParams
from swarm_model_agent.pool import WarmPool
from swarm_model_agent.wire import decode_answer, events_of, job

_FIRST = DataParams(dataset="wine")
"""The first order: data are loaded and split, which takes a millisecond once the worker's pages are its own."""


class AgentParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of agents is measured."""

    scenario: str
    variant: Literal["forked", "warm", "work"]
    """``forked``: agents are made anew, until all have answered. ``warm``: agents that are there answer. ``work``: all
    train a model each at once, beside one agent that trains them all."""
    size: Annotated[int, Meta(ge=1, le=256)]
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 5
    trees: Annotated[int, Meta(ge=1, le=10_000)] = 60
    """Of the forest that each agent trains."""


class _Found(msgspec.Struct, frozen=True):
    operation: str
    checked: dict[str, int | float | str | bool]
    samples: tuple[Samples, ...]


async def measure_agents(task: str, params: AgentParams, *, seed: int, store: str) -> AgentsMeasured:
    """Measure agents, and end those that were made for it.

    Raises:
        TaskFailed: An agent answered with something else than its order asks for, or workers ended.
    """
    began, host, clock = time.perf_counter_ns(), this_host(), clock_of()
    ways: dict[str, Callable[[AgentParams, _Orders], Awaitable[_Found]]] = {
        "forked": _forked,
        "warm": _warm,
        "work": _working,
    }
    found = await ways[params.variant](params, _Orders(task, params, seed, store))
    return AgentsMeasured(
        task=task,
        scenario=params.scenario,
        variant=params.variant,
        size=params.size,
        operation=found.operation,
        checked=found.checked,
        samples=found.samples,
        timings=_timings(found.samples),
        host=host,
        load_end=this_host().load,
        clock=clock,
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


class _Orders:
    """What agents are told, and what their answers say."""

    def __init__(self, task: str, params: AgentParams, seed: int, store: str) -> None:
        self.params = params
        self._task, self._seed, self._store = task, seed, store

    def first(self) -> bytes:
        """Return the order that shows that an agent is there."""
        return job("prepare", self._task, _FIRST, seed=self._seed, instance="", store=self._store)

    def work(self, agent: int) -> bytes:
        """Return the order to train an agent's forest: as large as the others', and its own by its seed."""
        params = TrainParams(
            dataset="wine",
            model=f"agent-{agent}",
            model_type="random_forest",
            hyperparameters={"n_estimators": self.params.trees},
        )
        return job("train", self._task, params, seed=self._seed + agent, instance="", store=self._store)

    async def answers(self, pool: WarmPool, orders: Sequence[bytes]) -> list[str]:
        """Have a pool follow orders, all at once as far as it has workers; return a digest of what each found."""
        replies = await asyncio.gather(*(pool.run(order) for order in orders))
        found = []
        for reply in replies:
            events = events_of(decode_answer(reply.frame))
            views = [digest_view(data) for data in events if not isinstance(data, ModelTrained)]
            fitted = [data.fitted for data in events if isinstance(data, ModelTrained)]
            found.append(hashlib.sha256(msgspec.json.encode([views, fitted], order="sorted")).hexdigest())
        return found


async def _forked(params: AgentParams, orders: _Orders) -> _Found:
    values, answers = [], set()
    for number in range(params.repeats + 1):
        pool = WarmPool(params.size)
        try:
            began = time.perf_counter_ns()
            answers |= set(await orders.answers(pool, [orders.first()] * params.size))
            elapsed_us = (time.perf_counter_ns() - began) / 1e3
            _all_at_once(pool, params.size)
        finally:
            await pool.close()
        if number:  # the first starts the fork server, where none is there yet
            values.append(elapsed_us)
    return _ready(
        "agents forked from the warm server until each has answered a first order", params, values, answers
    )


async def _warm(params: AgentParams, orders: _Orders) -> _Found:
    values, answers = [], set()
    pool = WarmPool(params.size)
    try:
        for number in range(params.repeats + 1):
            began = time.perf_counter_ns()
            answers |= set(await orders.answers(pool, [orders.first()] * params.size))
            if number:  # the first makes them
                values.append((time.perf_counter_ns() - began) / 1e3)
            _all_at_once(pool, params.size)
    finally:
        await pool.close()
    return _ready("agents of a pool kept warm until each has answered an order", params, values, answers)


def _all_at_once(pool: WarmPool, size: int) -> None:
    if len(pool.pids()) != size:
        raise TaskFailed(f"{len(pool.pids())} agents answered for {size}", retryable=True)


def _ready(operation: str, params: AgentParams, values: Sequence[float], answers: set[str]) -> _Found:
    if len(answers) != 1:
        raise TaskFailed(f"agents answered one order in {len(answers)} ways", retryable=False)
    name = f"{params.scenario}.{params.variant}.{params.size}"
    return _Found(
        f"{params.size} {operation}",
        {"agents": params.size, "answer": answers.pop()[:16]},
        (Samples(name=name, unit="us", values=tuple(values)),),
    )


async def _working(params: AgentParams, orders: _Orders) -> _Found:
    """Time the same work by one agent and by all, in turn, so that a machine that drifts does so for both."""
    work = [orders.work(agent) for agent in range(params.size)]
    alone, together = WarmPool(1), WarmPool(params.size)
    alone_us: list[float] = []
    together_us: list[float] = []
    found = set()
    try:
        for number in range(params.repeats + 1):
            for pool, values in ((alone, alone_us), (together, together_us)):
                began = time.perf_counter_ns()
                found.add(tuple(await orders.answers(pool, work)))
                if number:  # the first makes the agents
                    values.append((time.perf_counter_ns() - began) / 1e3)
        _all_at_once(together, params.size)
    finally:
        await alone.close()
        await together.close()
    if len(found) != 1:
        raise TaskFailed("several agents found something else than one alone did", retryable=False)
    results = found.pop()
    if len(set(results)) != len(results):
        raise TaskFailed(
            "agents with seeds of their own found the same: somebody's work was not done", retryable=False
        )
    name = f"{params.scenario}.{params.size}"
    return _Found(
        f"a forest of {params.trees} trees trained by each of {params.size} agents",
        {"agents": params.size, "found": hashlib.sha256(" ".join(results).encode()).hexdigest()[:16]},
        (
            Samples(name=name, unit="us", values=tuple(together_us)),
            Samples(name=f"{name}.alone", unit="us", values=tuple(alone_us)),
        ),
    )


def _timings(samples: Sequence[Samples]) -> tuple[Timing, ...]:
    return tuple(timing_of(one.name, one.values, warm_up=1) for one in samples)
