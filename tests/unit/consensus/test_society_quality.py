"""A swarm's decisions beside the truth: protocols that really ran, held against theory worked out another way."""

from __future__ import annotations

import math
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swarm_common.errors import SwarmError
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Effects, Node, Violated
from swarm_consensus.protocols.voting import Voter
from swarm_consensus.society import measuring, quality
from swarm_consensus.society.params import JudgeParams
from swarm_consensus.society.quality import block, log_odds, share_right, wilson

PROPOSING = [name for name, mechanism in MECHANISMS.items() if not mechanism.votes]


def near(share: float, expected: float, trials: int) -> bool:
    """Return whether a share lies within four standard errors of what is expected."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)


def slow_share(groups: list[tuple[int, float, float]]) -> float:
    agents = [(competence, weight) for count, competence, weight in groups for _ in range(count)]
    total = 0.0
    for rights in product((True, False), repeat=len(agents)):
        chance = math.prod(p if right else 1 - p for (p, _), right in zip(agents, rights, strict=True))
        lead = sum(weight if right else -weight for (_, weight), right in zip(agents, rights, strict=True))
        total += chance * (0.5 if abs(lead) < 1e-9 else lead > 0)
    return total


# --- theory -----------------------------------------------------------------------------------------------


def test_condorcets_sum_is_that_of_the_books() -> None:
    assert share_right([(1, 0.6, 1.0)]) == pytest.approx(0.6)
    assert share_right([(3, 0.6, 1.0)]) == pytest.approx(0.6**3 + 3 * 0.6**2 * 0.4)
    # The theorem: better than even, more are better, up to certainty; worse than even, more are worse.
    assert share_right([(99, 0.6, 1.0)]) > 0.97
    assert share_right([(99, 0.4, 1.0)]) < 0.03


KIND = st.tuples(st.integers(1, 4), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0, 2.2]))


@given(st.lists(KIND, min_size=1, max_size=3))
def test_weighted_votes_are_right_as_often_as_all_outcomes_say(
    groups: list[tuple[int, float, float]],
) -> None:
    assert share_right(groups) == pytest.approx(slow_share(groups), abs=1e-9)


@given(st.lists(st.floats(0.5, 0.95), min_size=1, max_size=6), st.data())
def test_no_other_weights_are_better_than_log_odds(competences: list[float], data: st.DataObject) -> None:
    others = data.draw(st.lists(st.floats(0, 3), min_size=len(competences), max_size=len(competences)))
    best = share_right([(1, p, log_odds(p)) for p in competences])
    assert share_right([(1, p, w) for p, w in zip(competences, others, strict=True)]) <= best + 1e-9


@given(st.integers(1, 300), st.data())
def test_the_interval_is_wilsons(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    theirs = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


# --- votes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("agents", "competence"), [(3, 0.6), (9, 0.6), (10, 0.6), (15, 0.7), (9, 0.4)])
def test_a_voting_swarm_is_right_as_often_as_condorcet_says(agents: int, competence: float) -> None:
    params = JudgeParams(mechanism="voting", agents=agents, trials=1000, competence=competence)
    found = measuring.judge(params, 1, "t")
    assert found.expected == share_right([(agents, competence, 1.0)])
    assert found.expected is not None
    assert near(found.right / found.trials, found.expected, found.trials)
    assert near(found.mean_agent, competence, found.trials * agents)
    assert (found.made_of, found.undecided) == ("votes", 0)
    assert found.low < found.right / found.trials < found.high


def test_the_votes_are_really_sent_and_counted() -> None:
    found = measuring.judge(JudgeParams(mechanism="voting", agents=9, trials=50), 1, "t")
    assert found.messages == 50 * 3 * 8


def test_weights_from_the_track_record_find_the_experts() -> None:
    plain, weighed = (
        measuring.judge(JudgeParams(mechanism=name, agents=11, world="experts", trials=1000), 1, "t")
        for name in ("voting", "weighted")
    )
    assert min(weighed.weights[:2]) > max(weighed.weights[2:])
    assert plain.weights == ()
    assert weighed.low > plain.high
    # Learned weights come near to the best there are, and not past them.
    assert weighed.low < weighed.optimum
    assert weighed.right / weighed.trials > weighed.optimum - 0.05
    assert plain.expected == pytest.approx(slow_share([(2, 0.9, 1.0), (9, 0.55, 1.0)]))
    assert near(plain.right / plain.trials, plain.expected, plain.trials)


def test_who_votes_for_the_wrong_on_purpose_is_not_weighed() -> None:
    plain, weighed = (
        measuring.judge(JudgeParams(mechanism=name, agents=10, world="adversaries", trials=1000), 1, "t")
        for name in ("voting", "weighted")
    )
    assert weighed.weights[:2] == (0.0, 0.0)
    assert min(weighed.weights[2:]) >= 0
    assert plain.expected == pytest.approx(slow_share([(2, 0.0, 1.0), (8, 0.6, 1.0)]))
    assert near(plain.right / plain.trials, plain.expected, plain.trials)
    assert weighed.right > plain.right
    assert weighed.optimum == share_right([(8, 0.6, 1.0)])


# --- one agent's proposal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", PROPOSING)
def test_what_one_proposes_is_as_good_as_that_one(mechanism: str) -> None:
    params = JudgeParams(mechanism=mechanism, agents=5, world="adversaries", trials=60, competence=1.0)
    found = [block(params, 1, "t", number, ()) for number in quality.blocks(params)]
    assert sum(sum(each.authors) for each in found) == 60
    # Agent 0 is the adversary, all others are always right: right is what they proposed, and nothing else.
    assert sum(each.right for each in found) == sum(sum(each.authors[1:]) for each in found)


@pytest.mark.parametrize("mechanism", PROPOSING)
def test_it_is_not_always_the_same_agent_that_proposes(mechanism: str) -> None:
    params = JudgeParams(mechanism=mechanism, agents=5, trials=300)
    found = [block(params, 1, "t", number, ()) for number in quality.blocks(params)]
    proposed = np.sum([each.authors for each in found], axis=0)
    assert min(proposed) > 0
    assert max(proposed) < 200


@pytest.mark.parametrize("mechanism", PROPOSING)
def test_agreeing_on_a_proposal_makes_nobody_wiser(mechanism: str) -> None:
    found = measuring.judge(JudgeParams(mechanism=mechanism, agents=9, trials=400), 1, "t")
    assert (found.made_of, found.undecided) == ("one_proposal", 0)
    assert found.expected == pytest.approx(0.6)
    assert near(found.right / found.trials, 0.6, found.trials)
    assert found.right / found.trials < share_right([(9, 0.6, 1.0)])


# --- what is done -----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    params = JudgeParams(mechanism="voting", agents=5, trials=100)
    first, again, other, elsewhere = (
        msgspec.structs.replace(measuring.judge(params, seed, task), elapsed_s=0.0, task="")
        for seed, task in ((1, "t"), (1, "t"), (2, "t"), (1, "u"))
    )
    assert first == again
    assert first.mean_agent not in {other.mean_agent, elsewhere.mean_agent}


def test_a_swarm_that_decides_nothing_is_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(Voter):
        def _on_propose(self, value: str) -> None:
            """Do nothing."""

    mute = msgspec.structs.replace(MECHANISMS["voting"], node=Mute)
    monkeypatch.setattr(quality, "MECHANISMS", {"voting": mute})
    found = block(JudgeParams(mechanism="voting", agents=3, trials=5), 1, "t", 0, ())
    assert (found.right, found.undecided) == (0, 5)


def test_an_invariant_that_does_not_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never:
        def __init__(self, honest: tuple[int, ...]) -> None:
            """Watch nobody."""

        def after(self, node: Node, effects: Effects) -> None:  # noqa: ARG002 - it holds of nothing
            raise Violated("nothing is right", "nothing is")

        def restarted(self, node: Node) -> None:
            """Take no note."""

    wrong = msgspec.structs.replace(MECHANISMS["voting"], checks=(Never,))
    monkeypatch.setattr(quality, "MECHANISMS", {"voting": wrong})
    with pytest.raises(SwarmError, match="nothing is right"):
        block(JudgeParams(mechanism="voting", agents=3, trials=5), 1, "t", 0, ())


def test_every_question_is_asked_once() -> None:
    params = JudgeParams(mechanism="voting", agents=3, trials=45)
    found = [block(params, 1, "t", number, ()) for number in quality.blocks(params)]
    assert len(found) == 3
    assert np.sum([each.messages for each in found]) == 45 * 3 * 2
