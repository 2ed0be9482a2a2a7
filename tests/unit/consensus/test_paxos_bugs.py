"""Given Paxos with a bug planted, then the checks find it, in some world and by its name in the literature."""

from __future__ import annotations

import msgspec
import pytest

from support import paxos_bugs
from support.paxos_worlds import Wire, storm
from swarm_consensus.checking.paxos import INVARIANTS
from swarm_consensus.protocols import multi_paxos, paxos
from swarm_consensus.protocols.ballots import Accepted
from swarm_consensus.protocols.core import Mechanism, Violated
from swarm_consensus.simulator.run import invariants_of
from swarm_consensus.simulator.world import World

_KINDS = {
    "paxos": (paxos.MECHANISM, paxos_bugs.PAXOS),
    "multi_paxos": (multi_paxos.MECHANISM, paxos_bugs.MULTI_PAXOS),
}
_ALL = [(name, bug) for name, (_, bugs) in _KINDS.items() for bug in bugs]


@pytest.mark.parametrize(("name", "bug"), _ALL)
def test_a_planted_bug_is_found(name: str, bug: str) -> None:
    mechanism, bugs = _KINDS[name]
    broken = msgspec.structs.replace(mechanism, node=bugs[bug])
    for seed in range(300):
        outcome = World(broken, storm(name, seed)).run()
        if outcome.invariant is not None:
            assert outcome.invariant in invariants_of(mechanism)
            return
    pytest.fail("not found in 300 worlds")


@pytest.mark.parametrize("mechanism", [paxos.MECHANISM, multi_paxos.MECHANISM], ids=["paxos", "multi_paxos"])
def test_what_is_checked_is_said_by_name(mechanism: Mechanism) -> None:
    said = set(invariants_of(mechanism))
    assert said >= {"agreement", "integrity", "P2b", "P2c", "ballot monotonicity", "unique proposer"}
    assert set(INVARIANTS) - said <= {"total order"}


def test_a_ballot_used_before_a_crash_is_found_even_if_nothing_comes_of_it() -> None:
    wire = Wire(paxos.MECHANISM, 3)
    wire.propose(0, "v")
    wire.disks[0].clear()  # a disk that lied
    wire.restart(0)
    with pytest.raises(Violated) as found:
        wire.propose(0, "w")
    assert found.value.invariant == "unique proposer"


def test_a_vote_counted_for_a_later_ballot_is_found() -> None:
    """Agent 1 voted in ballot 0; its answer comes when agents 0 and 2 have voted in ballot 5: that makes two each."""
    broken = msgspec.structs.replace(paxos.MECHANISM, node=paxos_bugs.CountsOldVotes)
    wire = Wire(broken, 5)
    wire.propose(0, "v")
    wire.flow({0, 1, 2}, until=lambda: wire.nodes[0].state == "accepting")
    wire.flow({0, 1}, until=lambda: any(isinstance(message, Accepted) for *_, message in wire.wire))
    late = [one for one in wire.take(lambda *_: True) if isinstance(one[2], Accepted)]
    wire.nodes[0]._overtaken()
    wire.tick(0, 20)
    wire.flow({0, 2, 3}, until=lambda: wire.nodes[0].state == "accepting")
    wire.flow({0, 2}, until=lambda: wire.nodes[0]._accepted == {0, 2})
    assert wire.values(0) == []
    with pytest.raises(Violated) as found:
        wire.arrive(*late)
    assert found.value.invariant == "learning"


def test_a_read_that_a_former_leader_answers_is_older_than_what_was_decided() -> None:
    def read_of(kind: type) -> list[int]:
        wire = Wire(msgspec.structs.replace(multi_paxos.MECHANISM, node=kind), 3)
        wire.elect(0)
        wire.elect(1, {1, 2})
        wire.propose(1, "new")
        wire.flow({1, 2})
        assert wire.values(1) == ["new"]
        wire.do(0, wire.nodes[0].read("r"))
        wire.flow({0})
        return [read.slot for read in wire.reads]

    assert read_of(multi_paxos.MultiPaxos) == []
    assert read_of(paxos_bugs.AnswersReadsAtOnce) == [-1]
