"""Killing any process at any point changes nothing in the result but the time it took.

Every test kills at moments that a seed draws: after so many events of the run. The seed is in the test's name, and
``SWARM_CHAOS_SEED`` adds to it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from support.stacks import Follower, Stack, completed, results, stack
from support.waiting import until
from swarm_common.client import Client
from swarm_common.events import Event
from swarm_common.events.benchmark import Requested

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

NOOP = Requested(suite="noop", params={"tasks": 300})
ENSEMBLE = Requested(suite="ensemble", scenario="breast_cancer")
SEED = int(os.environ.get("SWARM_CHAOS_SEED", "0"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("chaos") / "home", SWARM_CPU_WORKERS="2") as found:
        yield found


async def undisturbed(home: Stack, request: Requested, known: dict[str, Sequence[Event]]) -> Sequence[Event]:
    """Return the events of the same request without kills; done once a module."""
    if request.suite not in known:
        async with home.client() as client:
            known[request.suite] = await Follower(client, await client.request(request)).settle()
    return known[request.suite]


@pytest.fixture(scope="module")
def known() -> dict[str, Sequence[Event]]:
    return {}


async def follow_killing(
    home: Stack, client: Client, run: str, victims: Sequence[str], rng: random.Random, most: int
) -> Sequence[Event]:
    """Kill the victims in turn, each after a number of events that is drawn, then wait for the run's end."""
    follower = Follower(client, run)
    before_the_end = 0
    # The first early, so that it comes while there is work, however fast the machine.
    counts = [rng.randrange(1, most // 4), *sorted(rng.sample(range(most // 4, most), len(victims) - 1))]
    for victim, count in zip(victims, counts, strict=True):
        await follower.reach(count)
        before_the_end += not follower.over
        home.kill(victim)
    assert before_the_end
    return await follower.settle()


def check(home: Stack, disturbed: Sequence[Event], calm: Sequence[Event]) -> None:
    assert completed(disturbed).digest == completed(calm).digest
    assert not [ident for ident, n in Counter(event.id for event in disturbed).items() if n > 1]
    assert results(disturbed) == results(calm)
    assert max(results(disturbed).values()) == 1
    replayed = home.replay(home.export(disturbed[0].run))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Draw from a seed, and name it where the test fails."""
    seed += 1000 * SEED
    try:
        yield random.Random(seed)  # noqa: S311 - a test
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize(
    ("seed", "victims"),
    [
        (1, ["coordinator", "coordinator", "coordinator"]),
        (2, ["model_agent", "nats", "model_agent"]),
        (3, ["nats", "coordinator", "nats", "model_agent"]),
    ],
)
async def test_empty_tasks_while_their_processes_are_killed(
    home: Stack, known: dict[str, Sequence[Event]], seed: int, victims: list[str]
) -> None:
    calm = await undisturbed(home, NOOP, known)
    with seeded(seed) as rng:
        async with home.client() as client:
            run = await client.request(NOOP)
            disturbed = await follow_killing(home, client, run, victims, rng, len(calm) - 2)
        check(home, disturbed, calm)


async def test_an_ensemble_while_every_process_is_killed_twice(
    home: Stack, known: dict[str, Sequence[Event]]
) -> None:
    calm = await undisturbed(home, ENSEMBLE, known)
    with seeded(4) as rng:
        victims = [*(one.name for one in home.state.services), "nats", "worker"] * 2
        rng.shuffle(victims)
        async with home.client() as client:
            run = await client.request(ENSEMBLE)
            disturbed = await follow_killing(home, client, run, victims, rng, len(calm) - 2)
        assert all(one.restarts >= 2 for one in (home.state.broker, *home.state.services))
        check(home, disturbed, calm)


async def test_the_supervisor_killed_and_the_stack_started_again(
    home: Stack, known: dict[str, Sequence[Event]]
) -> None:
    calm = await undisturbed(home, NOOP, known)
    with seeded(5) as rng:
        async with home.client() as client:
            run = await client.request(NOOP)
            await Follower(client, run).reach(rng.randrange(1, len(calm) - 2))
            state = home.state
            os.kill(state.pid, signal.SIGKILL)
        home.swarm("up")
        assert home.state.pid != state.pid
        async with home.client() as client:
            check(home, await Follower(client, run).settle(), calm)


async def test_two_coordinators_share_the_work_and_agree(
    home: Stack, known: dict[str, Sequence[Event]]
) -> None:
    calm = await undisturbed(home, NOOP, known)
    home.swarm("up", "--replicas", "coordinator=2")
    try:
        with seeded(6) as rng:
            async with home.client() as client:
                runs = [await client.request(NOOP) for _ in range(6)]
                followers = [Follower(client, run) for run in runs]
                await followers[0].reach(rng.randrange(1, len(calm) - 2))
                home.kill(rng.choice(["coordinator-1", "coordinator-2"]))
                all_events = [await follower.settle() for follower in followers]
            for events in all_events:
                check(home, events, calm)
            sources = {e.source for events in all_events for e in events if e.type.startswith("benchmark.")}
            assert len(sources) >= 2, sources
    finally:
        home.swarm("up", "--replicas", "coordinator=1")


async def test_after_all_that_every_service_runs_and_nothing_was_given_up(home: Stack) -> None:
    async with home.client() as client:
        await until(lambda: all(one.pid for one in home.state.services), what="all services")
        dead = await client.broker.js.stream_info("SWARM_DEAD")
        assert dead.state.messages == 0
