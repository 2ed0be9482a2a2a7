"""PBFT by scripts: each test is a story of a few replicas, told message by message."""

from __future__ import annotations

import itertools
from typing import Any, Union

import msgspec
import pytest

from support.pbft_swarm import Swarm
from swarm_common.errors import UsageError
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Setup, Snapshot
from swarm_consensus.protocols.pbft import lies, viewchange
from swarm_consensus.protocols.pbft.messages import (
    NO_PROOF,
    NULL,
    Accepted,
    Certificate,
    Checkpoint,
    Commit,
    Decided,
    Entered,
    Left,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Proof,
    Request,
    Status,
    ViewChange,
    digest,
    link,
    to_commit,
    to_leave,
    to_propose,
)
from swarm_consensus.protocols.pbft.node import MESSAGES, Replica

PBFT = MECHANISMS["pbft"]


def prepared_at(*agents: int, n: int = 4, value: str = "kept", **options: Any) -> Swarm:
    """Return a swarm in which these agents alone are prepared in slot 0, and nobody has heard a commit."""
    swarm = Swarm(n, **options)
    swarm.passes = lambda sender, to, message: (  # noqa: ARG005
        not isinstance(message, Commit) and (not isinstance(message, Prepare) or to in agents)
    )
    swarm.propose(0, value)
    swarm.deliver()
    assert [swarm.nodes[agent]._slots[0].prepared for agent in range(n)] == [a in agents for a in range(n)]
    swarm.heal()
    return swarm


def change_of(swarm: Swarm, agent: int, view: int, prepared: tuple[Any, ...] = ()) -> ViewChange:
    """Return a view change that is well signed."""
    signature = swarm.keys[agent].sign(to_leave(view, -1, "", NO_PROOF, prepared))
    return ViewChange(view, -1, "", NO_PROOF, prepared, signature)


def proposal(swarm: Swarm, agent: int, view: int, slot: int, value: str) -> PrePrepare:
    signature = swarm.keys[agent].sign(to_propose(view, slot, digest(value)))
    return PrePrepare(view, slot, value, signature)


class TestNormalCase:
    @pytest.mark.parametrize("n", [*range(1, 41), 100])
    def test_takes_2n_n_minus_1_messages_and_no_more_until_it_is_quiet(self, n: int) -> None:
        swarm = Swarm(n)
        swarm.propose(0, "a")
        swarm.deliver()
        swarm.tick(100 if n < 41 else 20)
        assert len(swarm.sent) == 2 * n * (n - 1) == PBFT.fault_free(n)
        assert len(swarm.told(PrePrepare)) == n - 1
        assert len(swarm.told(Prepare)) == (n - 1) ** 2
        assert len(swarm.told(Commit)) == n * (n - 1)
        assert all(swarm.values(agent) == ["a"] for agent in range(n))

    def test_a_checkpoint_takes_n_n_minus_1_messages_more(self) -> None:
        swarm = Swarm(4, checkpoint=2)
        swarm.propose(0, "a", "b")
        swarm.deliver()
        swarm.tick(100)
        assert len(swarm.sent) == 2 * 2 * 4 * 3 + 4 * 3
        assert len(swarm.told(Checkpoint)) == 4 * 3

    def test_decisions_come_in_the_order_of_slots_with_the_quorum_that_made_them(self) -> None:
        swarm = Swarm(5)
        swarm.propose(0, *"abcdef")
        swarm.queue = type(swarm.queue)(reversed(swarm.queue))
        swarm.deliver()
        for agent in range(5):
            assert [(one.slot, one.value) for one in swarm.decided[agent]] == list(enumerate("abcdef"))
            assert all(len(set(one.certificate["committed_by"])) >= 4 for one in swarm.decided[agent])
            assert {one.certificate["view"] for one in swarm.decided[agent]} == {0}

    def test_phases_begin_in_their_order(self) -> None:
        swarm = Swarm(4)
        swarm.propose(0, "a")
        swarm.deliver()
        assert swarm.phases[0] == [(0, "pre-prepare"), (0, "commit")]  # a primary prepares nothing
        assert swarm.phases[1] == [(0, name) for name in PBFT.phases]

    @pytest.mark.parametrize(("n", "quorum"), [(3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7)])
    def test_one_commit_less_than_a_quorum_decides_nothing(self, n: int, quorum: int) -> None:
        swarm = Swarm(n)
        swarm.passes = lambda sender, to, message: not isinstance(message, Commit)  # noqa: ARG005
        swarm.propose(0, "a")
        swarm.deliver()
        commits = [one for one in swarm.told(Commit) if one[1] == 1]
        for sender, to, message in commits[: quorum - 2]:  # and its own
            swarm.give(sender, to, message)
        assert swarm.values(1) == []
        swarm.give(*commits[quorum - 2])
        assert swarm.values(1) == ["a"]

    def test_the_same_commit_again_does_not_count_again(self) -> None:
        swarm = Swarm(4)
        swarm.passes = lambda sender, to, message: not isinstance(message, Commit)  # noqa: ARG005
        swarm.propose(0, "a")
        swarm.deliver()
        commit = next(one for one in swarm.told(Commit) if one[1] == 1)
        for _ in range(5):
            swarm.give(*commit)
        assert swarm.values(1) == []

    def test_a_value_asked_for_twice_while_it_is_under_way_is_decided_once(self) -> None:
        swarm = Swarm(4)
        swarm.propose(0, "a", "a")
        swarm.propose(2, "a")
        swarm.deliver()
        assert swarm.values(3) == ["a"]

    def test_a_value_asked_for_again_later_is_decided_again(self) -> None:
        swarm = Swarm(4)
        for agent in (0, 2, 0):
            swarm.propose(agent, "a")
            swarm.deliver()
        assert swarm.values(3) == ["a", "a", "a"]

    def test_nothing_to_decide_is_not_proposed(self) -> None:
        swarm = Swarm(4)
        swarm.propose(0, NULL)
        swarm.propose(1, NULL)
        assert swarm.sent == []

    def test_without_keys_there_is_no_replica(self) -> None:
        with pytest.raises(UsageError, match="give it keys"):
            Replica(Setup(id=0, members=(0, 1), random=None))  # type: ignore[arg-type]


class TestWhatABackupAccepts:
    def test_not_a_second_value_in_a_slot(self) -> None:
        swarm = Swarm(4)
        first, second = (proposal(swarm, 0, 0, 0, value) for value in "ab")
        assert swarm.give(0, 1, first).persist == [Accepted(0, 0, "a", first.signature)]
        assert swarm.give(0, 1, second).messages == []

    def test_not_from_another_than_the_primary(self) -> None:
        swarm = Swarm(4)
        assert swarm.give(2, 1, proposal(swarm, 2, 0, 0, "a")).messages == []
        assert swarm.give(2, 1, proposal(swarm, 0, 0, 0, "a")).messages == []

    def test_not_what_the_primary_did_not_sign(self) -> None:
        swarm = Swarm(4)
        signed = proposal(swarm, 0, 0, 0, "a")
        assert swarm.give(0, 1, msgspec.structs.replace(signed, value="b")).messages == []
        assert swarm.give(0, 1, msgspec.structs.replace(signed, slot=1)).messages == []

    def test_not_beyond_the_water_marks(self) -> None:
        swarm = Swarm(4, checkpoint=2, window=4)
        assert swarm.give(0, 1, proposal(swarm, 0, 0, 4, "a")).messages == []
        assert swarm.give(0, 1, proposal(swarm, 0, 0, -1, "a")).messages == []
        assert swarm.give(0, 1, proposal(swarm, 0, 0, 3, "a")).messages != []

    @pytest.mark.parametrize("view", [-1, 1])
    def test_not_in_another_view(self, view: int) -> None:
        swarm = Swarm(4)
        assert swarm.give(0, 1, proposal(swarm, 0, view, 0, "a")).messages == []

    @pytest.mark.parametrize("view", [-1, 0, 1, 2])
    def test_nothing_at_all_while_it_changes_views(self, view: int) -> None:
        swarm = Swarm(4, timeout=3)
        swarm.cut(1)
        swarm.propose(1, "x")
        swarm.tick(3, 1)
        assert swarm.nodes[1].state == "changing"
        for sender in (0, 1, 2):
            assert swarm.give(sender, 1, proposal(swarm, sender, view, 0, "a")).messages == []
        for sender in (0, 2, 3):
            signature = swarm.keys[sender].sign(to_commit(view, 0, "=a"))
            assert swarm.give(sender, 1, Commit(view, 0, "=a", signature)).decisions == []

    def test_unverifiable_prepares_do_not_prepare(self) -> None:
        """They would be of no use in a view change, and what was committed could be lost."""
        swarm = Swarm(4)
        swarm.passes = lambda sender, to, message: not isinstance(message, Prepare)  # noqa: ARG005
        swarm.propose(0, "a")
        swarm.deliver()
        assert swarm.give(2, 1, Prepare(0, 0, "=a", b"?")).persist == []
        true = next(message for sender, to, message in swarm.told(Prepare) if (sender, to) == (3, 1))
        (record,) = swarm.give(3, 1, true).persist
        assert isinstance(record, Prepared)
        assert record.certificate.signers == (1, 3)

    def test_the_primarys_own_prepare_does_not_count(self) -> None:
        swarm = prepared_at()
        prepare = next(message for sender, _, message in swarm.told(Prepare) if sender == 1)
        assert swarm.give(0, 2, prepare).persist == []


class TestClients:
    def test_a_backup_passes_a_value_on(self) -> None:
        swarm = Swarm(4)
        swarm.propose(2, "a")
        assert swarm.sent == [(2, 0, Request("a", False))]
        swarm.deliver()
        assert all(swarm.values(agent) == ["a"] for agent in range(4))
        assert len(swarm.sent) == 1 + PBFT.fault_free(4)

    def test_all_come_to_wait_for_what_one_backup_was_asked_and_the_primary_ignores(self) -> None:
        swarm = Swarm(4)
        swarm.cut(0)
        swarm.propose(2, "a")
        swarm.tick(200)
        assert [swarm.values(agent) for agent in (1, 2, 3)] == [["a"]] * 3
        assert {swarm.nodes[agent].view for agent in (1, 2, 3)} == {1}
        assert swarm.nodes[3].leader == 1
        swarm.heal()
        swarm.propose(0, "b")
        swarm.tick(200)
        assert all(swarm.values(agent) == ["a", "b"] for agent in range(4))

    def test_the_wait_is_for_one_value_whatever_else_is_decided(self) -> None:
        """A primary that never takes up what one client wants is left, busy as it is."""
        swarm = Swarm(4, timeout=10)
        swarm.passes = lambda sender, to, message: message != Request("mine", False)  # noqa: ARG005
        for agent in (1, 2, 3):
            swarm.propose(agent, "mine")
        for step in range(9):
            swarm.propose(0, f"other {step}")
            swarm.tick()
        assert swarm.nodes[3].view == 0
        swarm.propose(0, "one more")
        swarm.tick()
        assert swarm.nodes[3].view == 1
        assert "mine" in swarm.values(3)

    def test_what_is_beyond_the_window_waits_for_the_checkpoint(self) -> None:
        swarm = Swarm(4, checkpoint=2, window=2)
        swarm.propose(0, *"abcdefg")
        assert len(swarm.told(PrePrepare)) == 2 * 3
        swarm.deliver()
        assert swarm.values(2) == list("abcdefg")


class TestViewChange:
    def leave(self, swarm: Swarm, view: int = 1) -> None:
        """Let all but the primary of view 0 time out."""
        swarm.cut(0)
        for agent in range(1, swarm.n):
            swarm.propose(agent, "later")
        ticks = 0
        while min(node.view for node in swarm.nodes[1:]) < view:
            swarm.tick()
            ticks += 1
            assert ticks < 5_000
        swarm.tick(5)

    @pytest.mark.parametrize("n", [4, 5, 7])
    @pytest.mark.parametrize("who", [1, 2, 3])
    def test_what_one_had_prepared_keeps_its_slot(self, n: int, who: int) -> None:
        # Of those who begin view 1 it must be one: where a quorum can do without it, nothing was committed.
        swarm = prepared_at(*range(who, n), n=n)
        self.leave(swarm)
        assert all(swarm.values(agent)[:2] == ["kept", "later"] for agent in range(1, n))

    def test_a_gap_is_filled_with_the_null_request(self) -> None:
        swarm = Swarm(4)
        swarm.passes = lambda sender, to, message: (  # noqa: ARG005
            not isinstance(message, Commit) and getattr(message, "slot", 1) == 1
        )
        swarm.propose(0, "lost", "kept")
        swarm.deliver()
        self.leave(swarm)
        assert swarm.values(1) == [NULL, "kept", "later"]
        assert swarm.values(3) == [NULL, "kept", "later"]

    def test_the_certificate_of_the_highest_view_wins(self) -> None:
        swarm = Swarm(4)
        certificates = [Certificate(view, 0, f"of view {view}", b"", (), ()) for view in (0, 4, 2)]
        changes = [change_of(swarm, agent, 5, (certificates[agent],)) for agent in range(3)]
        for order in itertools.permutations(changes):
            assert viewchange.choose(order) == (-1, ((0, "of view 4"),))

    def test_certificates_up_to_the_latest_checkpoint_do_not_count(self) -> None:
        swarm = Swarm(4)
        old = change_of(swarm, 1, 5, tuple(Certificate(0, slot, "x", b"", (), ()) for slot in (0, 1, 3)))
        new = msgspec.structs.replace(change_of(swarm, 2, 5), stable=1)
        assert viewchange.choose((old, new)) == (1, ((2, NULL), (3, "x")))
        assert viewchange.choose((new,)) == (1, ())

    def test_f_leavers_take_nobody_with_them_and_f_plus_1_do(self) -> None:
        swarm = Swarm(7)
        swarm.passes = lambda sender, to, message: False  # noqa: ARG005
        for leaver, view in ((2, 5), (3, 9)):
            swarm.give(leaver, 6, change_of(swarm, leaver, view))
            assert swarm.nodes[6].view == 0
        swarm.give(4, 6, change_of(swarm, 4, 7))
        assert (swarm.nodes[6].state, swarm.nodes[6].view) == ("changing", 5)

    def test_one_leaver_counts_once_however_often_it_leaves(self) -> None:
        swarm = Swarm(4)
        for view in range(1, 9):
            swarm.give(2, 3, change_of(swarm, 2, view))
        assert swarm.nodes[3].view == 0

    def test_waits_get_longer_from_view_to_view_and_short_again_after_a_decision(self) -> None:
        swarm = Swarm(4, timeout=10)
        swarm.passes = lambda sender, to, message: isinstance(message, ViewChange)  # noqa: ARG005
        for agent in range(4):
            swarm.propose(agent, "a")
        waits, ticks = [], 0
        while len(waits) < 5:
            view = swarm.nodes[1].view
            swarm.tick()
            ticks += 1
            if swarm.nodes[1].view > view:
                waits.append(ticks)
                ticks = 0
        assert waits == [10, 10, 20, 40, 80]
        swarm.heal()
        swarm.tick(500)
        assert swarm.values(1) == ["a"]
        assert swarm.nodes[1]._attempts == 0

    def test_no_wait_for_a_view_that_no_quorum_wants(self) -> None:
        swarm = Swarm(4)
        swarm.cut(3)
        swarm.propose(3, "a")
        swarm.tick(2_000)
        assert swarm.nodes[3].view == 1
        swarm.heal()
        swarm.tick(300)  # it left alone: the others decide for it, in the view it is not in
        assert all("a" in swarm.values(agent) for agent in range(4))

    def test_what_comes_before_the_new_view_is_kept_for_it(self) -> None:
        swarm = Swarm(4, timeout=5)
        late: list[Any] = []
        swarm.passes = lambda sender, to, message: (
            0 not in (sender, to)
            and not (to == 3 and isinstance(message, NewView) and not late.append(message))
        )
        for agent in (1, 2, 3):
            swarm.propose(agent, "a")
        swarm.tick(6)
        assert swarm.values(3) == []
        swarm.heal()
        swarm.give(1, 3, late[0])  # with prepares and commits that came before it
        assert swarm.nodes[3].state == "backup"
        swarm.deliver()
        assert swarm.values(3) == ["a"]


class TestLyingViewChanges:
    @pytest.mark.parametrize("forge", lies._FORGERIES)
    def test_forged_certificates_are_refused(self, forge: Any) -> None:
        swarm = prepared_at(3)
        (true,) = swarm.nodes[3]._certificates()
        setup = Setup(id=2, members=(0, 1, 2, 3), random=None, keys=swarm.keys[2])  # type: ignore[arg-type]
        assert swarm.nodes[1]._valid_change(2, change_of(swarm, 2, 5, (true,)))
        assert not swarm.nodes[1]._valid_change(2, change_of(swarm, 2, 5, (forge(true, 5, setup),)))

    def test_certificates_that_are_true_and_out_of_place_are_refused(self) -> None:
        swarm = prepared_at(3)
        (true,) = swarm.nodes[3]._certificates()
        valid = swarm.nodes[1]._valid_change
        assert not valid(2, change_of(swarm, 2, 5, (true, true)))  # twice the same slot
        assert not valid(2, change_of(swarm, 2, 0, (true,)))  # of a view not left
        assert not valid(3, change_of(swarm, 2, 5, (true,)))  # another's signature
        fewer = msgspec.structs.replace(true, signers=true.signers[:1], signatures=true.signatures[:1])
        assert not valid(2, change_of(swarm, 2, 5, (fewer,)))
        stable = msgspec.structs.replace(change_of(swarm, 2, 5), stable=7, history="x")
        payload = to_leave(5, 7, "x", NO_PROOF, ())
        assert not valid(2, msgspec.structs.replace(stable, signature=swarm.keys[2].sign(payload)))

    @pytest.mark.parametrize("way", range(5))
    def test_a_new_view_that_does_not_follow_is_not_entered(self, way: int) -> None:
        swarm = prepared_at(1, 2, 3)
        changes = {
            agent: change_of(swarm, agent, 1, swarm.nodes[agent]._certificates()) for agent in (1, 2, 3)
        }
        new = lies._begin(NewView(1, (), (), (), b""), changes, None, swarm.keys[1])
        setup = Setup(id=1, members=(0, 1, 2, 3), random=None, keys=swarm.keys[1])  # type: ignore[arg-type]
        lie = lies._lying_new_view(new, way, setup)
        assert isinstance(lie, NewView)
        swarm.give(1, 2, lie)
        assert (swarm.nodes[2].view, swarm.nodes[2].state) == (0, "backup")
        swarm.give(1, 2, new)
        assert (swarm.nodes[2].view, swarm.nodes[2].state) == (1, "backup")
        assert swarm.nodes[2]._slots[0].value == "kept"

    def test_a_new_view_is_its_primarys_whoever_passes_it_on(self) -> None:
        swarm = prepared_at(1, 2, 3)
        changes = {
            agent: change_of(swarm, agent, 1, swarm.nodes[agent]._certificates()) for agent in (1, 2, 3)
        }
        empty = NewView(1, (), (), (), b"")
        others = lies._begin(empty, changes, None, swarm.keys[2])
        swarm.give(2, 3, others)
        assert swarm.nodes[3].view == 0
        swarm.give(2, 3, lies._begin(empty, changes, None, swarm.keys[1]))
        assert swarm.nodes[3].view == 1


class TestCrashes:
    def test_who_comes_back_stands_by_its_votes(self) -> None:
        swarm = prepared_at(1)
        before = {
            type(one): one for sender, _, one in swarm.told(Prepare) + swarm.told(Commit) if sender == 1
        }
        assert set(before) == {Prepare, Commit}
        swarm.crash(1)
        swarm.restart(1)
        assert swarm.give(0, 1, proposal(swarm, 0, 0, 0, "another")).messages == []
        swarm.sent.clear()
        swarm.tick(15, 1)
        again = {type(one): one for sender, _, one in swarm.told(Prepare) + swarm.told(Commit) if sender == 1}
        assert again == before
        (certificate,) = swarm.nodes[1]._certificates()
        assert certificate.value == "kept"

    def test_a_primary_that_comes_back_gives_no_slot_twice(self) -> None:
        swarm = Swarm(4)
        swarm.passes = lambda sender, to, message: False  # noqa: ARG005
        swarm.propose(0, "a", "b")
        swarm.restart(0)
        swarm.sent.clear()
        swarm.propose(0, "c")
        assert {message.slot for _, _, message in swarm.told(PrePrepare)} == {2}
        swarm.heal()
        swarm.tick(100)
        assert swarm.values(3) == ["a", "b", "c"]

    def test_who_has_left_a_view_does_not_come_back_to_it(self) -> None:
        swarm = Swarm(4, timeout=3)
        swarm.cut(2)
        swarm.propose(2, "a")
        swarm.tick(3, 2)
        swarm.restart(2)
        assert (swarm.nodes[2].state, swarm.nodes[2].view) == ("changing", 1)
        assert swarm.give(0, 2, proposal(swarm, 0, 0, 0, "b")).messages == []

    def test_all_crash_and_go_on(self) -> None:
        swarm = Swarm(4, checkpoint=2)
        swarm.cut(0)
        swarm.propose(1, "a", "b", "c")
        swarm.tick(300)
        for agent in range(4):
            swarm.restart(agent)
        swarm.heal()
        swarm.deliver()
        swarm.propose(3, "d")
        swarm.tick(300)
        assert all(swarm.values(agent) == ["a", "b", "c", "d"] for agent in range(4))

    def test_nothing_on_disk_is_a_beginning_and_says_nothing(self) -> None:
        swarm = Swarm(4)
        swarm.restart(1)
        assert swarm.sent == []


class TestCheckpoints:
    def test_with_a_quorum_of_them_votes_are_forgotten(self) -> None:
        swarm = Swarm(4, checkpoint=3)
        swarm.propose(0, *"abcd")
        swarm.deliver()
        for node in swarm.nodes:
            assert node._stable.slot == 2
            assert sorted(node._slots) == [3]
            assert node._stable.history == link(link(link("", "a"), "b"), "c")
            assert len(node._stable.proof.signers) >= 3

    def test_one_less_than_a_quorum_is_not_enough_nor_are_different_histories(self) -> None:
        swarm = Swarm(4, checkpoint=1)
        swarm.passes = lambda sender, to, message: not isinstance(message, Checkpoint)  # noqa: ARG005
        swarm.propose(0, "a")
        swarm.deliver()
        ((_, _, true), *_) = [one for one in swarm.told(Checkpoint) if one[0] == 2]
        lie = lies.wrong_value(true, 1, Setup(id=3, members=(0, 1, 2, 3), random=None, keys=swarm.keys[3]))  # type: ignore[arg-type]
        assert lie is not None
        swarm.give(3, 1, lie)
        swarm.give(3, 1, true)  # agent 2's
        swarm.give(2, 1, true)
        assert swarm.nodes[1]._stable.slot == -1
        ((_, _, other), *_) = [one for one in swarm.told(Checkpoint) if one[0] == 0]
        swarm.give(0, 1, other)
        assert swarm.nodes[1]._stable.slot == 0

    def test_a_lost_checkpoint_is_sent_again_even_after_a_crash(self) -> None:
        swarm = Swarm(4, checkpoint=1, window=1)
        swarm.passes = lambda sender, to, message: not isinstance(message, Checkpoint)  # noqa: ARG005
        swarm.propose(0, "a", "b")
        swarm.deliver()
        for agent in range(4):
            swarm.restart(agent)
        swarm.propose(0, "b")
        swarm.heal()
        swarm.tick(200)
        assert all(swarm.values(agent)[:2] == ["a", "b"] for agent in range(4))

    def test_a_view_change_begins_at_the_latest_checkpoint(self) -> None:
        swarm = Swarm(4, checkpoint=2)
        swarm.propose(0, *"abc")
        swarm.deliver()
        swarm.cut(0)
        swarm.propose(1, "d")
        swarm.tick(200)
        (new, *_) = [message for _, _, message in swarm.told(NewView)]
        assert {change.stable for change in new.changes} == {1}
        assert [one.slot for one in new.proposals] == [2]
        assert swarm.values(2) == list("abcd")


class TestWhoLags:
    def lagging(self, **options: Any) -> Swarm:
        """Return a swarm in which agent 3 has missed five decisions."""
        swarm = Swarm(4, **options)
        swarm.cut(3)
        swarm.propose(0, *"abcde")
        swarm.deliver()
        swarm.heal()
        return swarm

    @pytest.mark.parametrize("checkpoint", [1, 2, 100])
    def test_is_brought_on(self, checkpoint: int) -> None:
        swarm = self.lagging(checkpoint=checkpoint)
        swarm.tick(60)
        assert swarm.values(3) == list("abcde")
        assert swarm.nodes[3]._stable.slot == swarm.nodes[0]._stable.slot
        assert {node.view for node in swarm.nodes} == {0}

    def test_one_slot_is_fetched_while_others_go_on_and_on(self) -> None:
        swarm = Swarm(4)
        swarm.passes = lambda sender, to, message: to != 3 or getattr(message, "slot", 1) != 0  # noqa: ARG005
        for step in range(100):
            swarm.propose(0, f"value {step}")
            swarm.tick()
        assert len(swarm.values(3)) > 80
        assert {node.view for node in swarm.nodes} == {0}

    @pytest.mark.parametrize("missed", [30, 170, 350])
    def test_catches_up_with_those_who_go_on_and_on(self, missed: int) -> None:
        swarm = Swarm(4)
        swarm.cut(3)
        for step in range(missed + 100):
            if step == missed:
                swarm.heal()
            swarm.propose(0, f"value {step}")
            swarm.tick()
        assert len(swarm.values(3)) > missed + 80
        assert {node.view for node in swarm.nodes} == {0}

    def test_believes_one_who_shows_the_certificates(self) -> None:
        swarm = self.lagging()
        swarm.passes = lambda sender, to, message: to != 3 or sender == 1  # noqa: ARG005
        swarm.crash(0, 2)
        swarm.tick(60)
        assert swarm.values(3) == list("abcde")
        assert all(len(one.certificate["committed_by"]) >= 3 for one in swarm.decided[3])

    def test_believes_f_plus_1_without_and_not_f(self) -> None:
        swarm = self.lagging()
        bare = Decided(0, ("a", "b"), (NO_PROOF, NO_PROOF))
        assert swarm.give(1, 3, bare).decisions == []
        assert swarm.give(1, 3, bare).decisions == []
        assert [one.value for one in swarm.give(2, 3, bare).decisions] == ["a", "b"]
        assert swarm.decided[3][0].certificate == {"told_by": [1, 2]}

    def test_believes_no_proof_that_proves_something_else(self) -> None:
        swarm = self.lagging()
        value, proof, _ = swarm.nodes[1]._log[0]
        repeated = Proof(0, (proof.signers[0],) * 3, (proof.signatures[0],) * 3)
        few = Proof(0, proof.signers[:2], proof.signatures[:2])
        strange = Proof(0, (7, 8, 9), proof.signatures[:3])
        for lie in (
            Decided(0, ("x",), (proof,)),
            Decided(1, (value,), (proof,)),
            Decided(0, (value,), (msgspec.structs.replace(proof, view=1),)),
            Decided(0, ("y",), (repeated,)),
            Decided(0, (value,), (few,)),
            Decided(0, (value,), (strange,)),
        ):
            assert swarm.give(1, 3, lie).decisions == []
        assert [one.value for one in swarm.give(2, 3, Decided(0, (value,), (proof,))).decisions] == ["a"]

    def test_by_more_than_one_message_holds(self) -> None:
        swarm = Swarm(4)
        swarm.cut(3)
        swarm.propose(0, *(f"value {number}" for number in range(150)))
        swarm.deliver()
        swarm.heal()
        swarm.tick(100)
        assert len(swarm.values(3)) == 150

    def test_one_alone_who_has_decided_and_cannot_prove_it_is_heard_by_a_view_change(self) -> None:
        """A liar's commit, not to be verified, may stand in its certificate."""
        swarm = Swarm(4)
        swarm.passes = lambda sender, to, message: not isinstance(message, Commit)  # noqa: ARG005
        swarm.propose(0, "a")
        swarm.deliver()
        for sender, to, message in swarm.told(Commit):
            if to == 1:
                spoilt = msgspec.structs.replace(message, signature=b"?") if sender == 0 else message
                swarm.give(sender, to, spoilt)
        assert swarm.values(1) == ["a"]
        swarm.crash(0)
        swarm.restart(2)
        swarm.heal()
        swarm.tick(400)
        assert [swarm.values(agent)[:1] for agent in (1, 2, 3)] == [["a"]] * 3

    def test_a_claim_to_be_far_ahead_costs_a_reminder_now_and_then(self) -> None:
        swarm = Swarm(4)
        swarm.give(3, 1, Status(0, True, 10**9, -1, False))
        swarm.sent.clear()
        swarm.passes = lambda sender, to, message: False  # noqa: ARG005
        swarm.tick(1_000, 1)
        assert len(swarm.sent) < 12 * 3


class TestCompaction:
    def test_values_go_once_all_have_vouched_and_a_snapshot_comes_back_in_their_place(self) -> None:
        swarm = Swarm(4, checkpoint=2)
        swarm.propose(0, *"abcde")
        swarm.deliver()
        swarm.carry_out(1, swarm.nodes[1].compact(Snapshot(2, "a to c")))
        assert sorted(swarm.nodes[1]._log) == [3, 4]
        swarm.restart(1)
        assert swarm.snapshots[1] == Snapshot(2, "a to c")
        assert [(one.slot, one.value) for one in swarm.decided[1]] == [(3, "d"), (4, "e")]

    def test_values_stay_while_somebody_may_need_them(self) -> None:
        swarm = Swarm(4, checkpoint=1)
        swarm.cut(3)
        swarm.propose(0, *"abc")
        swarm.deliver()
        for agent in (0, 1, 2):
            swarm.carry_out(agent, swarm.nodes[agent].compact(Snapshot(2, "a to c")))
        swarm.heal()
        swarm.tick(100)
        assert swarm.values(3) == ["a", "b", "c"]
        assert [sorted(swarm.nodes[agent]._log) for agent in (0, 1, 2)] == [[], [], []]

    def test_a_snapshot_of_what_is_not_decided_is_none(self) -> None:
        swarm = Swarm(4)
        assert swarm.nodes[0].compact(Snapshot(0, "?")).persist == []


class TestOnTheWire:
    def test_all_messages_come_through(self) -> None:
        swarm = Swarm(4, checkpoint=2, timeout=10)
        swarm.propose(0, *"abc")
        swarm.deliver()
        swarm.cut(0)
        swarm.propose(2, "d")
        swarm.tick(200)
        swarm.heal()
        swarm.propose(3, "e")
        swarm.tick(200)
        swarm.restart(1)
        swarm.deliver()
        kinds: Any = Union[MESSAGES]  # noqa: UP007
        seen = {type(message) for _, _, message in swarm.sent}
        assert seen == set(MESSAGES)
        for encode, decode in (
            (msgspec.msgpack.encode, msgspec.msgpack.decode),
            (msgspec.json.encode, msgspec.json.decode),
        ):
            for _, _, message in swarm.sent:
                assert decode(encode(message), type=kinds) == message

    def test_all_records_come_through(self) -> None:
        swarm = Swarm(4, checkpoint=2)
        swarm.cut(0)
        swarm.propose(1, *"abc")
        swarm.tick(200)
        swarm.carry_out(1, swarm.nodes[1].compact(Snapshot(1, "ab")))
        kinds: Any = Union[PBFT.records]  # noqa: UP007
        assert {type(record) for record in swarm.disks[1]} == set(PBFT.records)
        for record in swarm.disks[1]:
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=kinds) == record


def test_digests_differ_where_values_do() -> None:
    long = "x" * 65
    values = ["", "a", "=a", "#a", "x" * 64, long, long + "y", digest(long), digest(long)[1:]]
    assert len({digest(value) for value in values}) == len(values)
    assert len(digest("x" * 10_000)) == 65


def test_a_signature_of_one_kind_does_not_stand_in_for_another() -> None:
    swarm = prepared_at(3)
    (true,) = swarm.nodes[3]._certificates()
    commits = {sender: message for sender, _, message in swarm.told(Commit)}
    crossed = msgspec.structs.replace(
        true, signatures=(commits[3].signature, *true.signatures[1:]), signers=(3, *true.signers[1:])
    )
    assert not swarm.nodes[1]._verifier.certificate(crossed)


def test_left_and_entered_are_on_disk_before_anybody_hears_of_them() -> None:
    swarm = Swarm(4, timeout=3)
    swarm.cut(2)
    swarm.propose(2, "a")
    effects = [swarm.nodes[2].tick() for _ in range(3)][-1]
    assert effects.persist == [Left(1)]
    assert all(isinstance(message, ViewChange) for _, message in effects.messages)
    for sender in (0, 3):
        swarm.give(sender, 1, change_of(swarm, sender, 1))
    entered = [record for record in swarm.disks[1] if isinstance(record, Entered)]
    assert [record.new_view for record in entered] == [swarm.told(NewView)[0][2]]
