"""A suggestion is followed, and the gain is measured: pairs of runs, without and with it, the order drawn by lot."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from swarm_cli.connect import client
from swarm_cli.stack.control import down, ensure, up
from swarm_common.client import Client, Run
from swarm_common.errors import UsageError
from swarm_common.events.optimizer import Suggestion
from swarm_common.hosts import usable_cores
from swarm_common.runs import RunView
from swarm_common.settings import Settings

#: The metric of idle workers' time, which no run reports: workers times seconds.
WORKER_TIME = "worker time"


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs of one seed: the ids, and what was measured. ``None`` where a run could not measure it."""

    seed: int
    before: str
    after: str
    before_value: float | None
    after_value: float | None


def followed(view: RunView, suggestion: Suggestion) -> Mapping[str, object]:
    """Return a run's parameters as they are with a suggestion followed.

    Raises :class:`UsageError` for one that a person must follow.
    """
    if not suggestion.change:
        raise UsageError(
            f"{suggestion.kind} is for a person to follow: no parameter or setting does it; follow it, run again, and "
            f"`swarm compare {view.run} RUN` measures the gain",
            field="apply",
            given=suggestion.kind,
        )
    return {**view.params, **suggestion.change.get("params", {})}


def sessions(view: RunView) -> tuple[str, str]:
    """Return the sessions that the runs without and with the suggestion are filed under."""
    return f"suggest-{view.run[:8]}-before", f"suggest-{view.run[:8]}-after"


async def pairs_of(
    settings: Settings, view: RunView, suggestion: Suggestion, count: int, *, told: Callable[[str], None]
) -> list[Pair]:
    """Return what ``count`` pairs of runs measured; the runs of a pair have one seed, and each pair another one.

    A change of parameters runs on the stack that there is; a change of settings on two of its own, which end with it.
    Raises :class:`UsageError` as :func:`followed` does, and where a broker is named whose stack is not ours to start.
    """
    params = followed(view, suggestion)
    names = dict(zip(("before", "after"), sessions(view), strict=True))
    found = []
    async with _arms(settings, suggestion) as arms:
        for number in range(count):
            seed = view.seed + number
            draw = random.Random(f"{view.run}/{suggestion.kind}/{number}")  # noqa: S311 - an order, nothing secret
            runs: dict[str, Run] = {}
            for name in draw.sample(("before", "after"), 2):
                told(f"pair {number + 1} of {count}: {name}")
                runs[name] = await arms[name].swarm.run(
                    view.suite,
                    view.scenario,
                    view.params if name == "before" else params,
                    session=names[name],
                    seed=seed,
                )
            values = {name: arms[name].value(run.view) for name, run in runs.items()}
            found.append(
                Pair(
                    seed=seed,
                    before=runs["before"].view.run,
                    after=runs["after"].view.run,
                    before_value=values["before"],
                    after_value=values["after"],
                )
            )
    return found


class _Arm(msgspec.Struct, frozen=True):
    """Where one side runs, and what is read there."""

    swarm: Client
    metric: str
    workers: int

    def value(self, view: RunView) -> float | None:
        name = "seconds" if self.metric == WORKER_TIME else self.metric
        found = next((metric.value for metric in view.metrics if metric.name == name), None)
        return found if found is None or self.metric != WORKER_TIME else found * self.workers


@contextlib.asynccontextmanager
async def _arms(settings: Settings, suggestion: Suggestion) -> AsyncIterator[dict[str, _Arm]]:
    after = suggestion.metric_after or suggestion.metric
    changed: dict[str, Any] = suggestion.change.get("settings", {})
    if not changed:
        ensure(settings)
        async with client(settings) as swarm:
            yield {"before": _Arm(swarm, suggestion.metric, 1), "after": _Arm(swarm, after, 1)}
        return
    if settings.nats_url:
        raise UsageError(
            f"{suggestion.kind} changes settings of the stack, and SWARM_NATS_URL names one that is not ours to start; "
            "unset it to try the change on embedded stacks",
            field="nats_url",
        )
    was = settings.cpu_workers or usable_cores()
    async with contextlib.AsyncExitStack() as stack:
        arms = {}
        sides: dict[str, dict[str, Any]] = {"before": {}, "after": changed}
        for name, more in sides.items():
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm-"))
            own = msgspec.convert(
                {**msgspec.to_builtins(settings), **more, "home": str(Path(home)), "nats_port": 0}, Settings
            )
            up(own)
            stack.callback(down, own)
            workers = int(more.get("cpu_workers", was))
            metric = suggestion.metric if name == "before" else after
            arms[name] = _Arm(await stack.enter_async_context(client(own)), metric, workers)
        yield arms
