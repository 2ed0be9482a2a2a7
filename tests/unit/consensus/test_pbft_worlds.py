"""PBFT in simulated worlds: up to f liars break nothing and all goes on, more may; and planted bugs are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from support.pbft_swarm import Swarm
from support.pbft_worlds import hard
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Node, Record, Setup
from swarm_consensus.protocols.pbft.messages import (
    Accepted,
    Certificate,
    Chosen,
    Commit,
    Entered,
    Left,
    NewView,
    Prepared,
    PrePrepare,
    ViewChange,
    digest,
)
from swarm_consensus.protocols.pbft.node import Replica
from swarm_consensus.protocols.quorum import byzantine, faulty
from swarm_consensus.simulator.plan import Network, Plan, Submit
from swarm_consensus.simulator.world import Outcome, World

PBFT = MECHANISMS["pbft"]


def run(plan: Plan, node: Callable[[Setup], Node] = Replica) -> Outcome:
    return World(msgspec.structs.replace(PBFT, node=node), plan).run()


class TestWithinTheModel:
    @pytest.mark.parametrize(("n", "worlds"), [(3, 20), (4, 60), (5, 40), (6, 20), (7, 20), (10, 10)])
    def test_hard_worlds_break_nothing_and_all_is_decided_after_them(self, n: int, worlds: int) -> None:
        for seed in range(worlds):
            outcome = run(hard(PBFT, n, seed))
            assert outcome.violation is None, (seed, outcome.violation)
            assert not outcome.stopped, (seed, outcome.undecided)

    @pytest.mark.parametrize("n", [4, 5, 7])
    @pytest.mark.parametrize("behaviour", ["silence", *sorted(PBFT.lies)])
    def test_each_kind_of_liar_is_borne(self, n: int, behaviour: str) -> None:
        for seed in range(1_000, 1_012):
            outcome = run(hard(PBFT, n, seed, behaviours=(behaviour,)))
            assert outcome.violation is None, (seed, outcome.violation)
            assert not outcome.stopped, (seed, outcome.undecided)

    @pytest.mark.parametrize("n", [4, 7, 10])
    @pytest.mark.parametrize("behaviour", ["silence", *sorted(PBFT.lies)])
    def test_the_first_f_primaries_lie_and_yet_each_value_is_decided(self, n: int, behaviour: str) -> None:
        actions = tuple(Submit(20 + 30 * i, f"value {i}", i % n) for i in range(4))
        liars = dict.fromkeys(range(faulty(n)), behaviour)
        outcome = run(Plan(mechanism="pbft", n=n, seed=n, actions=actions, liars=liars, limit_ms=20_000))
        assert outcome.violation is None
        assert outcome.undecided == ()

    def test_the_same_plan_gives_the_same_trace(self) -> None:
        worlds = [World(PBFT, hard(PBFT, 4, 7), trace=True) for _ in range(2)]
        for world in worlds:
            world.run()
        assert msgspec.json.encode(worlds[0].trace) == msgspec.json.encode(worlds[1].trace)

    def test_a_hundred_agents_change_views(self) -> None:
        plan = Plan(mechanism="pbft", n=100, seed=1, actions=(Submit(5, "a", 50),), liars={0: "silence"})
        outcome = run(plan)
        assert (outcome.violation, outcome.stopped) == (None, False)


class TestBeyondTheModel:
    def test_f_plus_1_equivocating_agents_can_make_the_honest_disagree(self) -> None:
        found = [
            run(
                Plan(
                    mechanism="pbft",
                    n=4,
                    seed=seed,
                    actions=(Submit(5, "a", 3),),
                    liars={0: "equivocation", 3: "equivocation"},
                    network=Network(),
                    limit_ms=2_000,
                )
            ).invariant
            for seed in range(40)
        ]
        assert "prepared certificates" in found
        agreement = msgspec.structs.replace(PBFT, checks=PBFT.checks[:1])  # not stopped before they decide
        assert any(
            World(agreement, hard(PBFT, 4, seed, behaviours=("equivocation",), liars=2)).run().invariant
            == "agreement"
            for seed in range(40)
        )

    def test_one_crash_more_than_may_be_stops_it_and_breaks_nothing(self) -> None:
        swarm = Swarm(4)
        swarm.crash(2, 3)
        swarm.propose(0, "a")
        swarm.tick(2_000)
        assert swarm.values(0) == swarm.values(1) == []


# --- planted bugs ------------------------------------------------------------------------------------------


class SkipsPrepare(Replica):
    """Commits what it has accepted, without a certificate."""

    def _certify(self, number: int, slot: Any, what: str) -> Certificate:  # noqa: ARG002
        return Certificate(self.view, number, slot.value, slot.signature, (), ())

    def _consider_prepared(self, number: int, slot: Any) -> None:
        slot.matching += self._quorum
        super()._consider_prepared(number, slot)


class QuorumOffByOne(Replica):
    @staticmethod
    def _quorum_of(n: int) -> int:
        return byzantine(n) - 1


class TwoFPlusOne(Replica):
    """Safe for n = 3f + 1, and at 4 and 7 the same."""

    @staticmethod
    def _quorum_of(n: int) -> int:
        return 2 * faulty(n) + 1


class AcceptsTwice(Replica):
    def _acceptable(self, sender: int, message: PrePrepare) -> bool:
        slot = self._open(message.slot)
        if slot is not None and not slot.prepared and slot.digest != digest(message.value):
            slot.digest = None
            slot.prepares.pop(self.id, None)
        return super()._acceptable(sender, message)


class HidesCertificates(Replica):
    def _certificates(self) -> tuple[Certificate, ...]:
        return ()


class ForgetsCertificatesInTheNextView(Replica):
    def _begin_slots(self) -> None:
        for slot in self._slots.values():
            slot.certificate = None
        super()._begin_slots()


class ProposesNothingAgain(Replica):
    def _choose(self, changes: tuple[ViewChange, ...]) -> tuple[int, tuple[tuple[int, str], ...]]:
        return max(change.stable for change in changes), ()

    def _follows(self, new: NewView) -> bool:  # noqa: ARG002
        return True


class EntersWhatDoesNotFollow(Replica):
    def _follows(self, new: NewView) -> bool:  # noqa: ARG002
        return True


class EntersWithoutAQuorum(Replica):
    def _quorum_left(self, new: NewView) -> bool:  # noqa: ARG002
        return True


class BelievesViewChanges(Replica):
    def _valid_change(self, sender: int, change: ViewChange) -> bool:  # noqa: ARG002
        return True


class CountsUnverifiedPrepares(Replica):
    def _certify(self, number: int, slot: Any, what: str) -> Certificate:
        same = [(who, one.signature) for who, one in slot.prepares.items() if one.digest == what]
        signers, signatures = zip(*same[: self._quorum - 1], strict=True)
        return Certificate(self.view, number, slot.value, slot.signature, signers, signatures)


class BelievesOneTeller(Replica):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._weak = 1


class BelievesAnyProof(Replica):
    def _valid_commits(self, number: int, value: str, proof: Any) -> bool:  # noqa: ARG002
        return True


class CommitsOfAnyView(Replica):
    def step(self, sender: int, message: Any) -> Any:
        if isinstance(message, Commit) and self._serving is not None:
            message = msgspec.structs.replace(message, view=self._serving)
        return super().step(sender, message)


class VotesInAViewItHasLeft(Replica):
    def _turn_to(self, view: int) -> None:
        before = self._serving
        super()._turn_to(view)
        self._serving = before


class GivesSlotsTwice(Replica):
    def _on_restore(self, persisted: Sequence[Record]) -> None:
        super()._on_restore(persisted)
        self._next = self.decided + 1


class StableTooSoon(Replica):
    def _consider_stable(self, number: int) -> None:
        quorum, self._quorum = self._quorum, 1
        super()._consider_stable(number)
        self._quorum = quorum


class DecidesOnOneCommitLess(Replica):
    def _consider_committed(self, number: int, slot: Any) -> None:
        quorum, self._quorum = self._quorum, self._quorum - 1
        super()._consider_committed(number, slot)
        self._quorum = quorum


def forgets(kind: type[Record]) -> type[Replica]:
    """Return a replica that does not persist one kind of record."""

    class Forgets(Replica):
        def _persist(self, record: Record) -> None:
            if not isinstance(record, kind):
                super()._persist(record)

    Forgets.__name__ = f"Forgets{kind.__name__}"
    return Forgets


BUGS: tuple[tuple[type[Replica], set[str]], ...] = (
    (SkipsPrepare, {"prepared certificates"}),
    (QuorumOffByOne, {"prepared certificates", "committed certificates"}),
    (TwoFPlusOne, {"prepared certificates"}),
    (AcceptsTwice, {"one vote"}),
    (HidesCertificates, {"view-change safety"}),
    (ForgetsCertificatesInTheNextView, {"view-change safety"}),
    (ProposesNothingAgain, {"new-view validity"}),
    (EntersWhatDoesNotFollow, {"new-view validity"}),
    (EntersWithoutAQuorum, {"new-view validity"}),
    (BelievesViewChanges, {"new-view validity"}),
    (CountsUnverifiedPrepares, {"prepared certificates"}),
    (BelievesOneTeller, {"agreement", "committed certificates"}),
    (BelievesAnyProof, {"agreement", "committed certificates"}),
    (CommitsOfAnyView, {"committed certificates"}),
    (VotesInAViewItHasLeft, {"committed certificates", "view monotonicity"}),
    (GivesSlotsTwice, {"one vote"}),
    (StableTooSoon, {"checkpoint agreement"}),
    (DecidesOnOneCommitLess, {"committed certificates"}),
    (forgets(Accepted), {"persist before send"}),
    (forgets(Prepared), {"persist before send"}),
    (forgets(Left), {"persist before send"}),
    (forgets(Entered), {"persist before send"}),
    (forgets(Chosen), {"persist before send"}),
)


@pytest.mark.parametrize(("bug", "invariants"), BUGS, ids=[bug.__name__ for bug, _ in BUGS])
def test_a_planted_bug_is_found_and_called_by_its_name(bug: type[Replica], invariants: set[str]) -> None:
    for seed in range(60):
        for n in (4, 5, 7):
            outcome = run(hard(PBFT, n, seed), bug)
            if outcome.invariant is not None:
                assert outcome.invariant in invariants, outcome.violation
                return
    pytest.fail(f"{bug.__name__} broke nothing in 180 worlds")


# --- the table of transitions ----------------------------------------------------------------------------


def test_each_way_of_the_table_is_taken_and_no_other() -> None:
    taken: set[tuple[str, str, str]] = set()

    class Watched(Replica):
        def _become(self, target: str, trigger: str) -> None:
            source = self.state
            super()._become(target, trigger)
            taken.add((source, trigger, target))

    for seed in range(40):
        run(hard(PBFT, 4, seed), Watched)
    # Rare: the primary of view 0 comes back as the primary of view 4, its next turn.
    swarm = Swarm(4, replica=Watched)
    swarm.disks[0] = [Left(4), Entered(NewView(4, (), (), (), b""))]
    swarm.restart(0)
    assert swarm.nodes[0].state == "primary"
    # And one that has missed how the others went on.
    swarm = Swarm(4, replica=Watched)
    swarm.cut(0)
    swarm.propose(1, "a")
    swarm.tick(200)
    swarm.heal()
    swarm.tick(200)
    assert swarm.nodes[0].state == "backup"
    assert taken == {(row.source, row.trigger, row.target) for row in Replica.TRANSITIONS}


# --- the checks themselves -------------------------------------------------------------------------------


def test_checks_are_silent_where_nothing_is_wrong_and_speak_of_nobody_who_lies() -> None:
    plan = hard(PBFT, 4, 3, behaviours=("equivocation",))
    world = World(PBFT, plan)
    assert world.run().violation is None
    (invariants,) = [check for check in world._checks if hasattr(check, "INVARIANTS")]
    assert set(invariants._known) == set(world.honest)  # type: ignore[attr-defined]
