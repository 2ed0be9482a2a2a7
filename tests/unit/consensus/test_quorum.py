"""Given who has acknowledged or voted, when quorums are counted, then as whoever tries all sets of agents would."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_consensus.protocols.quorum import (
    Joint,
    Majority,
    byzantine,
    committed_index,
    faulty,
    majority,
    vote_result,
)


def of(*members: int) -> Majority:
    return Majority(frozenset(members))


@pytest.mark.parametrize(
    ("members", "acked", "index"),
    [
        ((), {}, None),
        ((), {1: 5}, None),
        ((1,), {}, None),
        ((1,), {1: 12}, 12),
        ((1, 2), {1: 12}, None),
        ((1, 2), {1: 12, 2: 5}, 5),
        ((1, 2, 3), {1: 12, 2: 5}, 5),
        ((1, 2, 3), {1: 12, 2: 5, 3: 6}, 6),
        ((1, 2, 3), {1: 12, 9: 12, 8: 12}, None),
        ((1, 2, 3, 4), {1: 100, 2: 101, 3: 103}, 100),
        ((1, 2, 3, 4, 5), {1: 100, 2: 101, 3: 103, 4: 104, 5: 104}, 103),
    ],
)
def test_what_a_majority_has_is_committed(
    members: tuple[int, ...], acked: dict[int, int], index: int | None
) -> None:
    assert committed_index(of(*members), acked) == index


@pytest.mark.parametrize(
    ("joint", "acked", "index"),
    [
        (Joint(of(1, 2, 3), of()), {1: 4, 2: 3, 3: 2}, 3),
        (Joint(of(), of(1, 2, 3)), {1: 4, 2: 3, 3: 2}, 3),
        (Joint(of(), of()), {1: 4}, None),
        (Joint(of(1, 2, 3), of(3, 4, 5)), {1: 9, 2: 9, 3: 1, 4: 5}, 1),
        (Joint(of(1, 2, 3), of(3, 4, 5)), {1: 9, 2: 9}, None),
        (Joint(of(1, 2), of(1, 2, 3)), {1: 7, 2: 6, 3: 8}, 6),
    ],
)
def test_a_joint_configuration_needs_both_halves(
    joint: Joint, acked: dict[int, int], index: int | None
) -> None:
    assert committed_index(joint, acked) == index


agents = st.integers(0, 9)
configurations = st.frozensets(agents, max_size=7).map(Majority)
joints = st.builds(Joint, configurations, configurations)
acknowledgements = st.dictionaries(agents, st.integers(0, 6))
ballots = st.dictionaries(agents, st.booleans())


def quorums(members: frozenset[int]) -> list[frozenset[int]]:
    """Return all sets of more than half of the members, by trying all sets."""
    found = (combinations(sorted(members), size) for size in range(len(members) + 1))
    return [frozenset(some) for sets in found for some in sets if 2 * len(some) > len(members)]


def brute_index(members: frozenset[int], acked: dict[int, int]) -> int | None:
    reached = [
        min(acked[member] for member in quorum)
        for quorum in quorums(members)
        if all(member in acked for member in quorum)
    ]
    return max(reached, default=None)


def brute_vote(members: frozenset[int], votes: dict[int, bool]) -> str:
    if not members or any(all(votes.get(member) for member in quorum) for quorum in quorums(members)):
        return "won"
    if any(all(votes.get(member, True) for member in quorum) for quorum in quorums(members)):
        return "pending"
    return "lost"


@given(configurations, acknowledgements)
def test_committed_is_the_best_that_any_quorum_has(config: Majority, acked: dict[int, int]) -> None:
    assert committed_index(config, acked) == brute_index(config.members, acked)


@given(joints, acknowledgements)
def test_jointly_committed_is_what_both_halves_have(joint: Joint, acked: dict[int, int]) -> None:
    halves = [brute_index(half.members, acked) for half in (joint.old, joint.new) if half.members]
    known = [index for index in halves if index is not None]
    assert committed_index(joint, acked) == (min(known) if known and len(known) == len(halves) else None)


@given(configurations, ballots)
def test_a_vote_is_won_once_a_quorum_says_yes_and_lost_once_none_can(
    config: Majority, votes: dict[int, bool]
) -> None:
    assert vote_result(config, votes) == brute_vote(config.members, votes)


@given(joints, ballots)
def test_a_joint_vote_is_won_in_both_halves_or_lost_in_one(joint: Joint, votes: dict[int, bool]) -> None:
    halves = [brute_vote(half.members, votes) for half in (joint.old, joint.new)]
    expected = "lost" if "lost" in halves else "won" if halves == ["won", "won"] else "pending"
    assert vote_result(joint, votes) == expected


@given(joints, ballots, agents, st.booleans())
def test_a_further_vote_never_takes_back_a_result(
    joint: Joint, votes: dict[int, bool], voter: int, vote: bool
) -> None:
    before = vote_result(joint, votes)
    if before != "pending" and voter not in votes:
        assert vote_result(joint, votes | {voter: vote}) == before


@pytest.mark.parametrize("n", range(1, 14))
def test_two_majorities_meet_and_no_smaller_sets_must(n: int) -> None:
    q = majority(n)
    assert 2 * q - n >= 1
    assert 2 * (q - 1) - n < 1


@pytest.mark.parametrize("n", range(1, 101))
def test_two_byzantine_quorums_share_an_honest_agent_and_the_honest_alone_fill_one(n: int) -> None:
    f, q = faulty(n), byzantine(n)
    assert 3 * f < n <= 3 * f + 3
    assert 2 * q - n >= f + 1  # what two quorums share at least, of which f may lie
    assert 2 * (q - 1) - n < f + 1  # and one agent less would be too few
    assert q <= n - f  # liars may keep silent


def test_twice_f_and_one_is_too_few_of_five() -> None:
    meet = min(
        len(set(one) & set(other)) for one in combinations(range(5), 3) for other in combinations(range(5), 3)
    )
    assert (faulty(5), meet, byzantine(5)) == (1, 1, 4)
