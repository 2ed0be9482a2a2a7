"""Given agents with opinions, when one of them asks all, then the answer is that of the most, counted once each."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Decision, Node, Record, Setup, Violated
from swarm_consensus.protocols.voting import Ask, Ballot, Result, Voter
from swarm_consensus.protocols.weighted import Truth, WeightedVoter


def setup(agent: int, n: int, opinion: Callable[[str], str] = str, **more: Any) -> Setup:
    random = Random(agent)  # noqa: S311 - seeded, nothing secret
    return Setup(id=agent, members=tuple(range(n)), random=random, opinion=opinion, **more)


class Swarm:
    """Agents whose messages arrive at once and in order; those that are down get none."""

    def __init__(self, kind: type[Node], answers: str, **more: Any) -> None:
        self.answers, self.kind, self.more = answers, kind, more
        self.disks: list[list[Record]] = [[] for _ in answers]
        self.decided: list[list[Decision]] = [[] for _ in answers]
        self.down: set[int] = set()
        self.nodes = [self.made(agent) for agent in range(len(answers))]

    def made(self, agent: int) -> Any:
        return self.kind(setup(agent, len(self.answers), lambda _question: self.answers[agent], **self.more))

    def do(self, agent: int, effects: Any) -> None:
        self.disks[agent].extend(effects.persist)
        self.decided[agent].extend(effects.decisions)
        for to, message in effects.messages:
            if to not in self.down:
                self.do(to, self.nodes[to].step(agent, message))

    def ask(self, question: str, agent: int = 0) -> list[Decision]:
        for decided in self.decided:
            decided.clear()
        self.do(agent, self.nodes[agent].propose(question))
        return list(self.decided[agent])

    def tick(self, agent: int, times: int) -> None:
        for _ in range(times):
            self.do(agent, self.nodes[agent].tick())

    def restart(self, agent: int) -> None:
        self.decided[agent].clear()
        self.nodes[agent] = self.made(agent)
        self.do(agent, self.nodes[agent].restore(list(self.disks[agent])))


@pytest.mark.parametrize(
    ("answers", "most"), [("aab", "a"), ("abb", "b"), ("abbcc", "b"), ("ba", "a"), ("c", "c")]
)
def test_the_answer_with_the_most_votes_is_told_to_all_and_equal_counts_go_to_the_first(
    answers: str, most: str
) -> None:
    swarm = Swarm(Voter, answers)
    swarm.ask("which?")
    assert [[(one.question, one.value) for one in decided] for decided in swarm.decided] == [
        [("which?", most)]
    ] * len(answers)


def test_every_agent_collects_in_slots_of_its_own() -> None:
    swarm = Swarm(Voter, "aab")
    slots = [swarm.ask("one", 0), swarm.ask("two", 2), swarm.ask("three", 0)]
    assert [decided[0].slot for decided in slots] == [0, 2, 3]


def test_a_majority_is_enough_when_patience_is_over_and_less_is_not() -> None:
    swarm = Swarm(Voter, "abbbb", options={"patience": 4, "retry": 2})
    swarm.down = {3, 4}
    assert not swarm.ask("which?")
    swarm.tick(0, 4)
    assert [one.value for one in swarm.decided[0]] == ["b"]
    swarm.down = {2, 3, 4}
    assert not swarm.ask("and now?")
    swarm.tick(0, 50)
    assert not swarm.decided[0]


def test_a_voter_that_was_away_is_asked_again_and_told_the_result_that_stands() -> None:
    swarm = Swarm(Voter, "abbaa", options={"patience": 4})
    swarm.down = {3, 4}
    swarm.ask("which?")
    swarm.tick(0, 6)
    swarm.down = set()
    swarm.tick(0, 3)
    assert [decided[0].value for decided in swarm.decided] == ["b"] * 5
    assert swarm.nodes[0].state == "idle"


def test_a_collector_that_crashes_goes_on_with_its_question_and_takes_no_slot_twice() -> None:
    swarm = Swarm(Voter, "abb")
    swarm.down = {1, 2}
    swarm.ask("which?")
    swarm.restart(0)
    assert swarm.nodes[0].state == "collecting"
    swarm.down = set()
    swarm.tick(0, 3)
    assert [(one.slot, one.value) for one in swarm.decided[0]] == [(0, "b")]
    assert swarm.ask("and now?")[0].slot == 3


def test_what_was_announced_before_a_crash_stands_whatever_is_heard_after() -> None:
    swarm = Swarm(Voter, "aabbb", options={"patience": 2})
    swarm.down = {3, 4}
    swarm.ask("which?")
    swarm.tick(0, 2)
    swarm.down = set()
    swarm.restart(0)
    swarm.tick(0, 9)
    assert {decided[0].value for decided in swarm.decided} == {"a"}


def test_a_result_counts_only_from_the_agent_whose_slot_it_is() -> None:
    node = Voter(setup(1, 3))
    result = Result(0, "which?", "b", {"b": 3.0}, {0: "b", 1: "b", 2: "b"})
    assert not node.step(2, result).decisions
    assert node.step(0, result).decisions


# --- weighted ---------------------------------------------------------------------------------------------


def test_who_was_wrong_counts_half_and_the_one_expert_wins_in_the_end() -> None:
    swarm = Swarm(WeightedVoter, "abb")
    answers = []
    for _ in range(3):
        (decision,) = swarm.ask("which?")
        answers.append(decision.value)
        swarm.do(1, swarm.nodes[1].reveal(decision.slot, "a"))
    assert answers == [
        "b",
        "a",
        "a",
    ]  # 1 against 2, then 1 against 1 and a sorts first, then 1 against a half
    assert swarm.nodes[0].weights == swarm.nodes[2].weights == pytest.approx({0: 2.4, 1: 0.3, 2: 0.3})


def test_weights_begin_as_given_and_beta_says_what_remains() -> None:
    swarm = Swarm(WeightedVoter, "abb", weights={0: 2.5}, options={"beta": 0.1})
    (decision,) = swarm.ask("which?")
    assert (decision.value, decision.certificate["votes"]) == ("a", {"a": 2.5, "b": 2.0})
    swarm.do(0, swarm.nodes[0].reveal(decision.slot, "b"))
    assert swarm.nodes[1].weights == pytest.approx({0: 3 / 9, 1: 12 / 9, 2: 12 / 9})


def test_a_truth_is_counted_once_however_often_it_comes_and_in_whatever_order() -> None:
    result = Result(0, "which?", "b", {"a": 1.0, "b": 2.0}, {0: "a", 1: "b", 2: "b"})
    inputs = {
        "result first": [(0, result), (0, Truth(0, "a")), (2, Truth(0, "a"))],
        "truth first": [(0, Truth(0, "a")), (2, Truth(0, "a")), (0, result), (0, result)],
    }
    found = []
    for order in inputs.values():
        node = WeightedVoter(setup(1, 3))
        for sender, message in order:
            node.step(sender, message)
        found.append(node.weights)
    assert found[0] == found[1] == pytest.approx({0: 1.5, 1: 0.75, 2: 0.75})


def test_the_track_record_outlives_a_crash() -> None:
    swarm = Swarm(WeightedVoter, "abb")
    (decision,) = swarm.ask("which?")
    swarm.do(0, swarm.nodes[0].reveal(decision.slot, "a"))
    before = swarm.nodes[1].weights
    swarm.restart(1)
    assert swarm.nodes[1].weights == before != WeightedVoter(setup(1, 3)).weights


def test_the_mistakes_of_the_swarm_stay_within_the_bound_of_the_paper() -> None:
    random, n, questions = Random(7), 15, 120  # noqa: S311 - seeded, nothing secret
    skill = [0.95] + [0.45] * (n - 1)
    swarm = Swarm(WeightedVoter, "?" * n)
    wrong, mistakes = 0, [0] * n
    for number in range(questions):
        truth = "ab"[number % 2]
        other = "ba"[number % 2]
        said = [truth if random.random() < share else other for share in skill]
        swarm.answers = "".join(said)
        (decision,) = swarm.ask(f"question {number}")
        wrong += decision.value != truth
        mistakes = [made + (answer != truth) for made, answer in zip(mistakes, said, strict=True)]
        swarm.do(0, swarm.nodes[0].reveal(decision.slot, truth))
    assert wrong <= 2.41 * (min(mistakes) + 3.91)
    assert wrong < questions / 4  # equal votes are wrong in more than half


# --- the checks ---------------------------------------------------------------------------------------------


def checked(name: str, kind: type[Node], answers: str) -> None:
    """Ask one question of nodes of a kind, under the checks of a mechanism."""
    checks = [check(tuple(range(len(answers)))) for check in MECHANISMS[name].checks]
    swarm = Swarm(kind, answers)
    carry_out = swarm.do

    def do(agent: int, effects: Any) -> None:
        for check in checks:
            check.after(swarm.nodes[agent], effects)
        carry_out(agent, effects)

    swarm.do = do  # type: ignore[method-assign]
    swarm.ask("which?")
    assert swarm.decided[0]


@pytest.mark.parametrize("name", ["voting", "weighted"])
def test_the_checks_find_nothing_in_a_vote_as_it_should_be(name: str) -> None:
    checked(name, Voter if name == "voting" else WeightedVoter, "abb")


class Fraud(Voter):
    def _tally(self, ballots: Any) -> dict[str, float]:
        return super()._tally(ballots) | {"a": 9.0}


class Forger(Voter):
    def _settle(self, slot: int, count: Any) -> None:
        count.votes = dict.fromkeys(count.votes, "a")
        super()._settle(slot, count)


class Hasty(Voter):
    def _settle(self, slot: int, count: Any) -> None:
        count.ticks = self._patience
        self.members, members = self.members[:1], self.members
        super()._settle(slot, count)
        self.members = members


@pytest.mark.parametrize(
    ("kind", "name", "invariant"),
    [
        (Fraud, "voting", "uniqueness"),
        (Forger, "weighted", "accuracy"),
        (Hasty, "voting", "quorum"),
    ],
)
def test_the_checks_name_what_a_collector_did_wrong(kind: type[Node], name: str, invariant: str) -> None:
    with pytest.raises(Violated) as found:
        checked(name, kind, "abb")
    assert found.value.invariant == invariant


def test_lies_are_told_to_half_of_the_others_or_to_all() -> None:
    lies, result = MECHANISMS["voting"].lies, Result(0, "which?", "b", {"b": 3.0}, {0: "b"})
    for liar in range(4):
        told = [lies["equivocation"](result, to, setup(liar, 4)) for to in range(4) if to != liar]
        assert len({one.answer for one in told if isinstance(one, Result)}) == 2
        assert lies["wrong_value"](Ballot(0, "b"), 1, setup(liar, 4)) == Ballot(0, "not b")
        assert lies["wrong_value"](Ask(0, "which?"), 1, setup(liar, 4)) == Ask(0, "which?")
