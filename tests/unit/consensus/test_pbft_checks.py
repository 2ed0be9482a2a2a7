"""PBFT's checks by hand: what each must speak up at, where an earlier one would have spoken up in a world."""

from __future__ import annotations

import msgspec
import pytest

from support.pbft_swarm import Swarm
from swarm_consensus.checking.pbft import PbftInvariants
from swarm_consensus.protocols.core import Decision, Effects, Message, Record, Violated
from swarm_consensus.protocols.pbft.messages import (
    NO_PROOF,
    Accepted,
    Certificate,
    Checked,
    Checkpoint,
    Chosen,
    Commit,
    Entered,
    Left,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Proof,
    Stable,
    ViewChange,
    digest,
    to_prepare,
    to_propose,
)


class Watch:
    """A swarm of four whose doings are made up, and the checks that look at them; ``honest`` do not lie."""

    def __init__(self, *honest: int) -> None:
        self.swarm = Swarm(4)
        self.check = PbftInvariants(honest or (0, 1, 2, 3))

    def does(self, agent: int, *what: Record | Message | Decision) -> None:
        """Let an agent persist, send to another, and decide."""
        self.check.after(
            self.swarm.nodes[agent],
            Effects(
                persist=[one for one in what if isinstance(one, Record)],
                messages=[((agent + 1) % 4, one) for one in what if isinstance(one, Message)],
                decisions=[one for one in what if isinstance(one, Decision)],
            ),
        )

    def proposes(self, value: str, view: int = 0) -> None:
        self.does(view % 4, Accepted(view, 0, value, b""), PrePrepare(view, 0, value, b""))

    def prepares(self, agent: int, value: str, view: int = 0) -> None:
        self.does(agent, Accepted(view, 0, value, b""), Prepare(view, 0, digest(value), b""))

    def commits(self, agent: int, value: str, view: int = 0) -> None:
        self.does(agent, Prepared(self.certificate(value, view)), Commit(view, 0, digest(value), b""))

    def certificate(self, value: str, view: int = 0) -> Certificate:
        """Return what all but the primary have signed, with true signatures."""
        backups = tuple(agent for agent in range(4) if agent != view % 4)
        keys, what = self.swarm.keys, digest(value)
        return Certificate(
            view,
            0,
            value,
            keys[view % 4].sign(to_propose(view, 0, what)),
            backups,
            tuple(keys[agent].sign(to_prepare(view, 0, what)) for agent in backups),
        )

    def prepared(self, value: str, view: int = 0) -> None:
        """Let all honest agents accept a value."""
        honest = sorted(self.check._known)
        if view % 4 in honest:
            self.proposes(value, view)
        for agent in honest:
            if agent != view % 4:
                self.prepares(agent, value, view)


def test_all_is_well_where_all_do_as_they_should() -> None:
    watch = Watch()
    watch.prepared("a")
    for agent in range(4):
        watch.commits(agent, "a")
    for agent in range(4):
        watch.does(agent, Chosen(0, "a", NO_PROOF, ()))
        watch.does(agent, Decision(0, "a", {"view": 0, "committed_by": [0, 1, 2]}))
        watch.does(agent, Checkpoint(0, "x", b""))


def test_a_vote_in_a_view_that_was_left() -> None:
    watch = Watch()
    watch.does(1, Left(2), ViewChange(2, -1, "", NO_PROOF, (), b""))
    with pytest.raises(Violated, match="view monotonicity"):
        watch.prepares(1, "a", view=1)


def test_another_vote_after_a_crash() -> None:
    watch = Watch()
    watch.prepares(1, "a")
    watch.check.restarted(watch.swarm.nodes[1])
    with pytest.raises(Violated, match="one vote"):
        watch.prepares(1, "b")


def test_two_certificates_in_a_view() -> None:
    watch = Watch(2, 3)  # the primary and one backup lie: with f + 1 it can come so far
    watch.prepares(2, "a")
    watch.prepares(3, "b")
    certificates = [watch.certificate(value) for value in "ab"]
    for at, agent in enumerate((2, 3)):
        signers = (1, agent)
        keys, what = watch.swarm.keys, digest("ab"[at])
        certificates[at] = msgspec.structs.replace(
            certificates[at],
            signers=signers,
            signatures=tuple(keys[one].sign(to_prepare(0, 0, what)) for one in signers),
        )
    watch.does(2, Prepared(certificates[0]), Commit(0, 0, digest("a"), b""))
    with pytest.raises(Violated, match="prepared certificates: =a and =b"):
        watch.does(3, Prepared(certificates[1]), Commit(0, 0, digest("b"), b""))


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"signers": (1, 1, 1)}, r"has prepares of \[1\] alone"),
        ({"signers": (0, 1), "signatures": (b"", b"")}, r"has prepares of \[0, 1\] alone"),
        ({"signers": (1, 2, 9)}, r"has prepares of \[1, 2, 9\] alone"),
        ({"proposed": b"?"}, "its primary 0 did not sign that"),
        ({"signatures": (b"?", b"?", b"?")}, "agent 1 did not sign that"),
        ({"value": "b"}, "its primary 0 did not sign that"),
    ],
)
def test_certificates_that_prove_nothing(changed: dict[str, object], complaint: str) -> None:
    watch = Watch(2, 3)
    watch.prepared("a")
    watch.does(2, Prepared(watch.certificate("a")))
    with pytest.raises(Violated, match=f"prepared certificates.*{complaint}"):
        watch.does(3, Prepared(msgspec.structs.replace(watch.certificate("a"), **changed)))


def test_a_certificate_of_what_an_honest_agent_did_not_send() -> None:
    watch = Watch()
    watch.proposes("a")
    watch.prepares(1, "a")
    with pytest.raises(Violated, match="names agent 2, who has sent no such prepare"):
        watch.does(1, Prepared(watch.certificate("a")))


def test_another_value_in_a_later_view_than_one_that_may_have_committed() -> None:
    watch = Watch()
    watch.prepared("a")
    for agent in (0, 1, 2):
        watch.commits(agent, "a")
    with pytest.raises(Violated, match="view-change safety"):
        watch.prepares(3, "b", view=1)


def test_a_commit_that_a_later_view_has_gone_past() -> None:
    watch = Watch()
    watch.prepared("a")
    watch.prepares(3, "b", view=1)
    watch.commits(0, "a")
    watch.commits(1, "a")
    with pytest.raises(Violated, match="view-change safety"):
        watch.commits(2, "a")


def test_liars_count_as_if_they_had_committed() -> None:
    watch = Watch(0, 1, 2)
    watch.prepared("a")
    watch.commits(0, "a")
    watch.prepares(2, "b", view=1)
    with pytest.raises(Violated, match="view-change safety"):
        watch.commits(1, "a")


def test_a_new_view_of_changes_that_were_not_sent() -> None:
    watch = Watch()
    true = {agent: ViewChange(1, -1, "", NO_PROOF, (), b"%d" % agent) for agent in range(4)}
    for agent, change in true.items():
        watch.does(agent, Left(1), change)
    watch.does(0, Entered(NewView(1, (1, 2, 3), (true[1], true[2], true[3]), (), b"")))
    made_up = msgspec.structs.replace(true[3], signature=b"?")
    with pytest.raises(Violated, match=r"new-view validity.*agent 3 did not send"):
        watch.does(2, Entered(NewView(1, (1, 2, 3), (true[1], true[2], made_up), (), b"")))
    with pytest.raises(Violated, match=r"new-view validity.*left for by \[1, 2\] alone"):
        watch.does(2, Entered(NewView(1, (1, 2, 2), (true[1], true[2], true[2]), (), b"")))


def test_different_histories_and_stable_ones_that_nobody_made() -> None:
    watch = Watch()
    for agent in (0, 1, 2):
        watch.does(agent, Chosen(0, "a", NO_PROOF, ()))
    watch.does(0, Checkpoint(0, "x", b""))
    proof = Proof(-1, (0, 1, 2), (b"", b"", b""))
    with pytest.raises(Violated, match=r"checkpoint agreement.*names agent 1, who did not make it"):
        watch.does(0, Checked(Stable(0, "x", proof)))
    with pytest.raises(Violated, match=r"checkpoint agreement.*agents 0 and 1 differ"):
        watch.does(1, Checkpoint(0, "y", b""))
    with pytest.raises(Violated, match="persist before send"):
        watch.does(3, Checkpoint(0, "x", b""))


def test_decisions_without_enough_behind_them() -> None:
    watch = Watch()
    watch.prepared("a")
    for agent in range(3):
        watch.commits(agent, "a")
    for by in ([0, 1], [0, 1, 1], [0, 1, 3], [0, 1, 9]):
        with pytest.raises(Violated, match="committed certificates"):
            watch.does(2, Decision(0, "a", {"view": 0, "committed_by": by}))
    with pytest.raises(Violated, match="committed certificates"):
        watch.does(2, Decision(0, "a", {"told_by": [0, 1]}))  # nobody has decided it
    watch.does(2, Decision(0, "a", {"view": 0, "committed_by": [0, 1, 2]}))
    watch.does(3, Decision(0, "a", {"told_by": [0, 1]}))
    for value, by in (("a", [2]), ("b", [1, 2])):
        with pytest.raises(Violated, match="committed certificates"):
            watch.does(3, Decision(0, value, {"told_by": by}))


def test_a_decision_that_the_honest_primary_did_not_propose() -> None:
    watch = Watch()
    for agent in (1, 2, 3):
        watch.check._known[agent].commits[0, 0] = digest("a")
    decided = Decision(0, "a", {"view": 0, "committed_by": [1, 2, 3]})
    with pytest.raises(Violated, match="validity"):
        watch.does(1, decided)
    watch.proposes("a")
    watch.does(1, decided)
