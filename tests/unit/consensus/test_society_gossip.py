"""Gossip: nobody knows what nobody told, and it takes as many rounds and messages as the literature says."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_consensus.protocols.core import Setup
from swarm_consensus.society import measuring
from swarm_consensus.society.gossip import (
    FACT,
    NODES,
    Ask,
    Course,
    Exchange,
    Gossiper,
    Tell,
    mean_curve,
    once,
)
from swarm_consensus.society.params import SpreadParams

SEEDS = st.integers(0, 2**62)
SIZES = st.integers(2, 60)
WAYS = st.sampled_from(sorted(NODES))
LOSS = st.sampled_from([0.0, 0.1, 0.5])


def node(way: str, agent: int = 0, agents: int = 3) -> Gossiper:
    return NODES[way](Setup(id=agent, members=tuple(range(agents)), random=Random(1)))  # noqa: S311 - seeded


@given(WAYS, SIZES, LOSS, SEEDS)
def test_all_know_in_the_end_and_nobody_forgets(way: str, agents: int, loss: float, seed: int) -> None:
    course = once(way, agents, loss=loss, seed=seed)
    assert course.knowing[-1] == agents
    assert list(course.knowing) == sorted(course.knowing)
    assert all(count < agents for count in course.knowing[:-1])
    assert course == once(way, agents, loss=loss, seed=seed)


@given(SIZES, LOSS, SEEDS)
def test_pushing_at_most_doubles_who_knows(agents: int, loss: float, seed: int) -> None:
    course = once("push", agents, loss=loss, seed=seed)
    before = (1, *course.knowing)
    assert all(after <= 2 * count for count, after in zip(before, course.knowing, strict=False))
    assert course.rounds >= math.log2(agents)


@given(SIZES, SEEDS)
def test_every_message_is_counted(agents: int, seed: int) -> None:
    push, pull, both = (once(way, agents, loss=0.0, seed=seed) for way in ("push", "pull", "push_pull"))
    # Push: in each round who knew before it. Pull: all ask, and everybody but the first is answered once.
    assert push.messages == sum((1, *push.knowing[:-1]))
    assert pull.messages == pull.rounds * agents + agents - 1
    # Push-pull: all call; answered are those who did not know, some of whom are told by others' calls.
    assert both.rounds * agents <= both.messages <= both.rounds * agents + agents - 1


@given(SIZES, SEEDS)
def test_calls_that_are_lost_are_counted_and_tell_nobody(agents: int, seed: int) -> None:
    push = once("push", agents, loss=0.5, seed=seed)
    assert push.messages == sum((1, *push.knowing[:-1]))


def test_pushing_takes_as_many_rounds_as_pittel_says() -> None:
    found = measuring.spread(SpreadParams(way="push", agents=256, repetitions=40), 1, "t")
    assert found.expected == pytest.approx(8 + math.log(256))
    assert found.expected is not None
    assert abs(fmean(found.rounds) - found.expected) < 2
    assert found.bound == 8


def test_pushing_and_pulling_takes_fewest_rounds() -> None:
    rounds = {
        way: fmean(measuring.spread(SpreadParams(way=way, agents=200, repetitions=20), 1, "t").rounds)
        for way in NODES
    }
    assert rounds["push_pull"] < rounds["pull"] < rounds["push"]
    # log3 n and a little (Karp et al. 2000).
    assert math.log(200, 3) < rounds["push_pull"] < math.log(200, 3) + 4


def test_losses_cost_rounds() -> None:
    without, lossy = (
        measuring.spread(SpreadParams(way="push_pull", agents=100, repetitions=30, loss=loss), 1, "t")
        for loss in (0.0, 0.5)
    )
    assert fmean(lossy.rounds) > fmean(without.rounds) + 1
    assert lossy.expected is None


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    params = SpreadParams(way="push", agents=50, repetitions=20)
    first, again, other = (measuring.spread(params, seed, "t") for seed in (1, 1, 2))
    assert (first.rounds, first.messages) == (again.rounds, again.messages)
    assert first.messages != other.messages
    assert len(set(first.messages)) > 1, "repetitions differ"


def test_a_curve_is_the_mean_of_its_courses() -> None:
    courses = [Course((2, 4), 0), Course((1, 3, 4), 0)]
    assert mean_curve(courses, 4) == (3 / 8, 7 / 8, 1.0)


# --- one agent --------------------------------------------------------------------------------------------


def test_who_knows_nothing_has_nothing_to_push() -> None:
    silent = node("push")
    assert silent.tick().messages == []
    assert silent.state == "susceptible"


def test_who_knows_tells_another() -> None:
    knowing = node("push")
    knowing.propose(FACT)
    for _ in range(20):
        ((to, message),) = knowing.tick().messages
        assert to in {1, 2}
        assert message == Tell((FACT,))
    assert knowing.state == "infective"


def test_who_asks_is_told_what_it_lacks_and_no_more() -> None:
    knowing = node("pull")
    knowing.propose("a")
    knowing.propose("b")
    knowing.tick()
    assert knowing.step(1, Ask(("a",))).messages == [(1, Tell(("b",)))]
    assert knowing.step(1, Ask(("a", "b"))).messages == []


def test_what_is_heard_in_a_round_is_passed_on_in_the_next() -> None:
    middle = node("push_pull")
    assert middle.step(1, Exchange((FACT,))).messages == []
    assert middle.knows(FACT)
    assert middle.step(2, Exchange(())).messages == []
    middle.tick()
    assert middle.step(2, Exchange(())).messages == [(2, Tell((FACT,)))]


def test_what_an_agent_knows_is_lost_in_a_crash() -> None:
    again = node("pull")
    again.restore(())
    assert not again.knows(FACT)
