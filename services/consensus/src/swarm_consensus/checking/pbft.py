"""What must hold of PBFT (Castro and Liskov 1999), whatever at most f agents do.

Judged by what honest replicas have on disk, send and decide, not by what they believe; and by counting anew, not with
the protocol's own arithmetic. Where a proof names an honest agent, that agent must have sent what it is said to have
signed; where it names a liar in a prepared certificate, the signature is verified: others will have to.

=============================== ======================================================================================
one vote                         in a view and slot an honest replica sends one pre-prepare, prepare and commit at most,
                                 crashes or not (section 4.2)
persist before send              what it votes for, shows or vouches is on its disk
view monotonicity                it never votes in a view before one that it has been in, or has left for (4.4)
prepared certificates            no two are held in one view and slot for different values; each has a quorum (4.2)
committed certificates           who decides has a quorum of commits, or was told by more than f
view-change safety               what may have been committed is what every later view prepares in the slot (4.5.1)
new-view validity                a new view that is entered follows from view changes that a quorum sent (4.4)
checkpoint agreement             honest checkpoints of a slot are equal, and stable ones have a quorum (4.3)
validity                         what is decided in a view of an honest primary is what that primary proposed
=============================== ======================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from swarm_consensus.protocols.core import Decision, Effects, Keys, Message, Node, Record, Value, Violated
from swarm_consensus.protocols.pbft.messages import (
    NULL,
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
    ViewChange,
    digest,
    to_prepare,
    to_propose,
)


class _Known:
    """What an honest agent has sent and stored, in all its lives."""

    __slots__ = (
        "accepted", "chosen", "commits", "left", "left_for", "prepared", "prepares", "proposed", "shown", "view",
    )  # fmt: skip

    def __init__(self) -> None:
        self.view = 0
        self.proposed: dict[tuple[int, int], str] = {}
        self.prepares: dict[tuple[int, int], str] = {}
        self.commits: dict[tuple[int, int], str] = {}
        self.accepted: dict[tuple[int, int], str] = {}  # on disk
        self.prepared: dict[tuple[int, int], str] = {}  # on disk
        self.shown: dict[int, int] = {}  # on disk: by slot, the highest view it was prepared in
        self.left: set[int] = set()  # on disk
        self.left_for: dict[int, list[bytes]] = {}  # signatures of the view changes sent, by view
        self.chosen = -1  # on disk


class PbftInvariants:
    """All of them, over one picture of the honest agents."""

    INVARIANTS: ClassVar[tuple[str, ...]] = (
        "one vote",
        "persist before send",
        "view monotonicity",
        "prepared certificates",
        "committed certificates",
        "view-change safety",
        "new-view validity",
        "checkpoint agreement",
        "validity",
    )

    def __init__(self, honest: tuple[int, ...]) -> None:
        self._known = {agent: _Known() for agent in honest}
        self._members: tuple[int, ...] = ()
        self._everybody: frozenset[int] = frozenset()
        self._quorum = self._faulty = 0
        self._keys: Keys | None = None
        self._prepared: dict[tuple[int, int], str] = {}  # by view and slot, what honest agents committed to
        self._commits: dict[tuple[int, int], int] = {}  # how many honest agents did
        self._bound: dict[
            int, list[tuple[int, str]]
        ] = {}  # by slot: the views that may have committed, and to what
        self._voted: dict[int, dict[int, str]] = {}  # by slot and view, what an honest agent voted for
        self._decided: dict[int, Value] = {}
        self._checkpoints: dict[int, dict[int, str]] = {}
        self._records: dict[type[Record], Callable[[int, _Known, Any], None]] = {
            Accepted: self._accepted,
            Prepared: self._stored_certificate,
            Left: self._left,
            Entered: self._entered,
            Chosen: self._chosen,
            Checked: self._checked,
        }
        self._sent: dict[type[Message], Callable[[int, _Known, Any], None]] = {
            PrePrepare: self._pre_prepare,
            Prepare: self._prepare,
            Commit: self._commit,
            Checkpoint: self._checkpoint,
            ViewChange: self._view_change,
            NewView: self._new_view,
        }

    def after(self, node: Node, effects: Effects) -> None:
        """Look at records, then at what is sent, then at decisions."""
        if not self._members:
            self._count(node.members)
            self._keys = getattr(node, "keys", None)
        agent = node.id
        known = self._known[agent]
        for record in effects.persist:
            look = self._records.get(type(record))
            if look is not None:
                look(agent, known, record)
        before: Message | None = None
        for _, message in effects.messages:
            if message is not before:  # a broadcast is one message
                before = message
                look = self._sent.get(type(message))
                if look is not None:
                    look(agent, known, message)
        if len(self._members) > 1:  # who is alone sends nothing that could be held against it
            for decision in effects.decisions:
                self._decision(agent, decision)

    def restarted(self, node: Node) -> None:
        """Forget nothing: votes bind across crashes."""

    def _count(self, members: tuple[int, ...]) -> None:
        n = len(members)
        self._members = members
        self._everybody = frozenset(members)
        self._faulty = (n - 1) // 3
        self._quorum = (n + self._faulty) // 2 + 1  # more than half of n + f, as ceil((n + f + 1) / 2)

    def _primary(self, view: int) -> int:
        return self._members[view % len(self._members)]

    # --- what is on disk ----------------------------------------------------------------------------------

    def _accepted(self, agent: int, known: _Known, record: Accepted) -> None:  # noqa: ARG002
        known.accepted[record.view, record.slot] = digest(record.value)

    def _left(self, agent: int, known: _Known, record: Left) -> None:  # noqa: ARG002
        known.left.add(record.view)

    def _chosen(self, agent: int, known: _Known, record: Chosen) -> None:  # noqa: ARG002
        if record.slot == known.chosen + 1:
            known.chosen = record.slot

    def _stored_certificate(self, agent: int, known: _Known, record: Prepared) -> None:
        certificate = record.certificate
        self._certificate(agent, certificate, "prepared certificates")
        known.prepared[certificate.view, certificate.slot] = digest(certificate.value)
        known.shown[certificate.slot] = max(certificate.view, known.shown.get(certificate.slot, -1))

    def _certificate(self, agent: int, certificate: Certificate, invariant: str) -> None:
        """Hold a prepared certificate against what the honest agents in it have sent."""
        wrong = self._wrong_with(agent, certificate)
        if wrong:
            raise Violated(
                invariant,
                f"agent {agent}'s certificate for {certificate.value!r} in view {certificate.view}, "
                f"slot {certificate.slot} {wrong}",
            )

    def _wrong_with(self, agent: int, certificate: Certificate) -> str:
        view, slot, what = certificate.view, certificate.slot, digest(certificate.value)
        place = (view, slot)
        known, primary = self._known, self._primary(view)
        signers = frozenset(certificate.signers)
        if len(signers - {primary}) < self._quorum - 1 or not signers <= self._everybody:
            return f"has prepares of {sorted(signers)} alone"
        if primary not in known:
            if not self._signed(primary, to_propose(view, slot, what), certificate.proposed):
                return f"is no proof: its primary {primary} did not sign that"
        elif primary != agent and known[primary].proposed.get(place) != what:
            return f"is not what its honest primary {primary} proposed"
        for signer, signature in zip(certificate.signers, certificate.signatures, strict=True):
            if signer not in known:
                if not self._signed(signer, to_prepare(view, slot, what), signature):
                    return f"is no proof: agent {signer} did not sign that"
            elif signer != agent and known[signer].prepares.get(place) != what:
                return f"names agent {signer}, who has sent no such prepare"
        return ""

    def _signed(self, signer: int, payload: bytes, signature: bytes) -> bool:
        return self._keys is None or self._keys.verify(signer, payload, signature)

    def _entered(self, agent: int, known: _Known, record: Entered) -> None:
        new = record.new_view
        where = f"view {new.view} as agent {agent} enters it"
        if len(set(new.leavers)) < self._quorum or len(new.leavers) != len(new.changes):
            raise Violated("new-view validity", f"{where} was left for by {sorted(set(new.leavers))} alone")
        for sender, change in zip(new.leavers, new.changes, strict=True):
            honest = self._known.get(sender)
            if (
                honest is not None
                and sender != agent
                and change.signature not in honest.left_for.get(new.view, [])
            ):
                raise Violated(
                    "new-view validity", f"{where} has a view change that agent {sender} did not send"
                )
            if honest is None:
                for certificate in change.prepared:
                    self._certificate(sender, certificate, "new-view validity")
        expected = self._follows(new)
        found = {proposal.slot: proposal.value for proposal in new.proposals}
        if found != expected or any(proposal.view != new.view for proposal in new.proposals):
            raise Violated("new-view validity", f"{where} proposes {found}, and {expected} follows")
        for slot, value in found.items():
            known.accepted[new.view, slot] = digest(value)

    def _follows(self, new: NewView) -> dict[int, Value]:
        """Return by slot what these view changes make safe."""
        floor = max(change.stable for change in new.changes)
        shown = [one for change in new.changes for one in change.prepared if one.slot > floor]
        shown.sort(key=lambda one: one.view)
        expected = dict.fromkeys(range(floor + 1, max((one.slot for one in shown), default=floor) + 1), NULL)
        expected.update({one.slot: one.value for one in shown})  # of each slot the highest view comes last
        return expected

    def _checked(self, agent: int, known: _Known, record: Checked) -> None:  # noqa: ARG002
        stable = record.stable
        signers = set(stable.proof.signers)
        where = f"the stable checkpoint of slot {stable.slot} at agent {agent}"
        if len(signers) < self._quorum:
            raise Violated("checkpoint agreement", f"{where} is of {sorted(signers)} alone")
        made = self._checkpoints.get(stable.slot, {})
        for signer in sorted(signers):
            if signer != agent and signer in self._known and made.get(signer) != stable.history:
                raise Violated("checkpoint agreement", f"{where} names agent {signer}, who did not make it")

    # --- what is sent -------------------------------------------------------------------------------------

    def _vote(
        self, agent: int, known: _Known, votes: dict[tuple[int, int], str], what: tuple[int, int, str]
    ) -> bool:
        """Take note of a vote, and return whether it is new."""
        view, slot, value = what
        before = votes.get((view, slot))
        if view < known.view:
            raise Violated(
                "view monotonicity",
                f"agent {agent} votes in view {view} after it has been in view {known.view}",
            )
        known.view = view
        if before == value:
            return False
        if before is not None:
            raise Violated(
                "one vote", f"agent {agent} votes for {value} and {before} in view {view}, slot {slot}"
            )
        votes[view, slot] = value
        return True

    def _backed(self, agent: int, stored: dict[tuple[int, int], str], what: tuple[int, int, str]) -> None:
        view, slot, value = what
        if stored.get((view, slot)) != value:
            raise Violated(
                "persist before send",
                f"agent {agent} votes for {value} in view {view}, slot {slot}, which is not on its disk",
            )

    def _pre_prepare(self, agent: int, known: _Known, message: PrePrepare) -> None:
        what = (message.view, message.slot, digest(message.value))
        if self._vote(agent, known, known.proposed, what):
            self._backed(agent, known.accepted, what)
            self._safe(agent, what)

    def _prepare(self, agent: int, known: _Known, message: Prepare) -> None:
        what = (message.view, message.slot, message.digest)
        if self._vote(agent, known, known.prepares, what):
            self._backed(agent, known.accepted, what)
            self._safe(agent, what)

    def _safe(self, agent: int, what: tuple[int, int, str]) -> None:
        """Hold a vote against what an earlier view may have committed."""
        view, slot, value = what
        for bound_in, bound in self._bound.get(slot, ()):
            if bound_in < view and bound != value:
                self._unsafe(agent, what, bound_in, bound)
        self._voted.setdefault(slot, {})[view] = value

    def _unsafe(self, agent: int, what: tuple[int, int, str], bound_in: int, bound: str) -> None:
        view, slot, value = what
        raise Violated(
            "view-change safety",
            f"agent {agent} votes for {value} in view {view}, slot {slot}, "
            f"where view {bound_in} may have committed {bound}",
        )

    def _commit(self, agent: int, known: _Known, message: Commit) -> None:
        view, slot, value = what = (message.view, message.slot, message.digest)
        if not self._vote(agent, known, known.commits, what):
            return
        self._backed(agent, known.prepared, what)
        first = self._prepared.setdefault((view, slot), value)
        if first != value:
            raise Violated(
                "prepared certificates", f"{first} and {value} are both prepared in view {view}, slot {slot}"
            )
        count = self._commits[view, slot] = self._commits.get((view, slot), 0) + 1
        liars = len(self._members) - len(self._known)
        if count == max(1, self._quorum - liars):
            self._bound.setdefault(slot, []).append((view, value))
            for later, voted in self._voted.get(slot, {}).items():
                if later > view and voted != value:
                    self._unsafe(agent, (later, slot, voted), view, value)

    def _view_change(self, agent: int, known: _Known, message: ViewChange) -> None:
        if message.view not in known.left:
            raise Violated(
                "persist before send",
                f"agent {agent} leaves for view {message.view}, which is not on its disk",
            )
        known.view = max(known.view, message.view)
        known.left_for.setdefault(message.view, []).append(message.signature)
        shown = {certificate.slot: certificate.view for certificate in message.prepared}
        for slot, view in known.shown.items():
            if slot > message.stable and shown.get(slot) != view and view < message.view:
                raise Violated(
                    "view-change safety",
                    f"agent {agent} leaves for view {message.view} and hides that it prepared "
                    f"slot {slot} in view {view}",
                )

    def _new_view(self, agent: int, known: _Known, message: NewView) -> None:
        if self._primary(message.view) == agent:
            for proposal in message.proposals:
                known.proposed[message.view, proposal.slot] = digest(proposal.value)

    def _checkpoint(self, agent: int, known: _Known, message: Checkpoint) -> None:
        if message.slot > known.chosen:
            raise Violated(
                "persist before send",
                f"agent {agent} vouches for slot {message.slot}, its disk has decisions up to {known.chosen}",
            )
        made = self._checkpoints.setdefault(message.slot, {})
        made[agent] = message.history
        first = next(iter(made))
        if made[first] != message.history:
            raise Violated(
                "checkpoint agreement",
                f"agents {first} and {agent} differ on the history up to slot {message.slot}",
            )

    # --- what is decided ----------------------------------------------------------------------------------

    def _decision(self, agent: int, decision: Decision) -> None:
        slot, value, why = decision.slot, decision.value, decision.certificate
        told = why.get("told_by")
        if told is not None:
            if len(set(told)) <= self._faulty or self._decided.get(slot) != value:
                raise Violated(
                    "committed certificates",
                    f"agent {agent} decides {value!r} in slot {slot}, told by {sorted(told)} alone",
                )
            return
        wrong = self._wrong_with_commits(why["committed_by"], (why["view"], slot), digest(value))
        if wrong:
            raise Violated(
                "committed certificates", f"agent {agent} decides {value!r} in slot {slot} {wrong}"
            )
        primary = self._known.get(self._primary(why["view"]))
        if primary is not None and primary.proposed.get((why["view"], slot)) != digest(value):
            raise Violated(
                "validity",
                f"agent {agent} decides {value!r} in slot {slot}, "
                f"which the honest primary of view {why['view']} did not propose",
            )
        self._decided.setdefault(slot, value)

    def _wrong_with_commits(self, committed_by: Sequence[int], place: tuple[int, int], what: str) -> str:
        signers = frozenset(committed_by)
        if len(signers) < self._quorum or not signers <= self._everybody:
            return f"with commits of {sorted(signers)} alone"
        known = self._known
        for signer in committed_by:
            if signer in known and known[signer].commits.get(place) != what:
                return f"with a commit of agent {signer}, who has sent no such commit"
        return ""


CHECKS = (PbftInvariants,)
