"""View changes as pure functions: what a proof must have, and what a new view begins with (sections 4.3, 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swarm_consensus.protocols.core import Keys, Value
from swarm_consensus.protocols.pbft.messages import (
    NULL,
    Certificate,
    NewView,
    PrePrepare,
    Proof,
    ViewChange,
    digest,
    to_begin,
    to_check,
    to_commit,
    to_leave,
    to_prepare,
    to_propose,
)

_KEPT = 50_000  # signatures that need not be verified again


def primary_of(view: int, members: Sequence[int]) -> int:
    """Return who is primary: one after the other, by turns."""
    return members[view % len(members)]


def choose(changes: Iterable[ViewChange]) -> tuple[int, tuple[tuple[int, Value], ...]]:
    """Return the latest stable slot (min-s) and, for each later slot up to the last prepared (max-s), its value.

    A slot in which some change shows a prepared certificate keeps the value of the one of the highest view; the others
    get the null request. A pure function of the changes: the new primary proposes it, and backups work it out again.
    """
    changes = tuple(changes)
    stable = max(change.stable for change in changes)
    best: dict[int, Certificate] = {}
    for change in changes:
        for certificate in change.prepared:
            if certificate.slot > stable:
                known = best.get(certificate.slot)
                if known is None or known.view < certificate.view:
                    best[certificate.slot] = certificate
    last = max(best, default=stable)
    return stable, tuple(
        (slot, best[slot].value if slot in best else NULL) for slot in range(stable + 1, last + 1)
    )


class Verifier:
    """Who the members are, how many are a quorum, and everybody's keys: enough to judge any proof."""

    def __init__(self, members: tuple[int, ...], quorum: int, window: int, keys: Keys) -> None:
        self.members = members
        self.quorum = quorum
        self.window = window
        self.keys = keys
        self._everybody = frozenset(members)
        self._verified: set[tuple[int, bytes, bytes]] = set()

    def signed(
        self, payload: bytes, signers: tuple[int, ...], signatures: tuple[bytes, ...], need: int
    ) -> bool:
        """Return whether ``need`` different members at least, and nobody else, have signed ``payload``."""
        if not len(signers) == len(signatures) == len(frozenset(signers)) >= need:
            return False
        if not self._everybody.issuperset(signers):
            return False
        verify = self._verify
        return all(
            verify(signer, payload, signature) for signer, signature in zip(signers, signatures, strict=True)
        )

    def _verify(self, signer: int, payload: bytes, signature: bytes) -> bool:
        """Verify a signature once: in a view change the same prepares come in the certificates of all who leave."""
        key = (signer, payload, signature)
        verified = self._verified
        if key in verified:
            return True
        if not self.keys.verify(signer, payload, signature):
            return False
        if len(verified) >= _KEPT:
            verified.clear()
        verified.add(key)
        return True

    def certificate(self, certificate: Certificate) -> bool:
        """Return whether a value was prepared: the primary's pre-prepare, and prepares of others, a quorum less one."""
        view, slot, what = certificate.view, certificate.slot, digest(certificate.value)
        primary = primary_of(view, self.members)
        return (
            view >= 0
            and primary not in certificate.signers
            and self._verify(primary, to_propose(view, slot, what), certificate.proposed)
            and self.signed(
                to_prepare(view, slot, what), certificate.signers, certificate.signatures, self.quorum - 1
            )
        )

    def committed(self, slot: int, value: Value, proof: Proof) -> bool:
        """Return whether a quorum has signed commits of ``value``."""
        return proof.view >= 0 and self.signed(
            to_commit(proof.view, slot, digest(value)), proof.signers, proof.signatures, self.quorum
        )

    def stable(self, slot: int, history: str, proof: Proof) -> bool:
        """Return whether a quorum has signed this checkpoint; the beginning, slot -1, needs nobody's signature."""
        if slot < 0:
            return slot == -1 and not history
        return self.signed(to_check(slot, history), proof.signers, proof.signatures, self.quorum)

    def change(self, sender: int, change: ViewChange) -> bool:
        """Return whether ``sender`` may leave for that view so: its signature, its checkpoint, all its certificates."""
        payload = to_leave(change.view, change.stable, change.history, change.proof, change.prepared)
        slots = [certificate.slot for certificate in change.prepared]
        return (
            sender in self._everybody
            and self.keys.verify(sender, payload, change.signature)
            and slots == sorted(set(slots))
            and all(change.stable < slot <= change.stable + self.window for slot in slots)
            and all(certificate.view < change.view for certificate in change.prepared)
            and self.stable(change.stable, change.history, change.proof)
            and all(self.certificate(certificate) for certificate in change.prepared)
        )

    def quorum_left(self, new: NewView, known: dict[int, ViewChange]) -> bool:
        """Return whether a quorum left for that view; changes among ``known`` (by sender) were verified before."""
        return (
            len(new.leavers) == len(new.changes) == len(frozenset(new.leavers)) >= self.quorum
            and all(change.view == new.view for change in new.changes)
            and all(
                known.get(sender) == change or self.change(sender, change)
                for sender, change in zip(new.leavers, new.changes, strict=True)
            )
        )

    def begun(self, new: NewView) -> bool:
        """Return whether the primary of that view signed it and each of its proposals."""
        primary = primary_of(new.view, self.members)
        payload = to_begin(new.view, new.leavers, new.changes, new.proposals)
        return self.keys.verify(primary, payload, new.signature) and all(
            self.proposal(primary, proposal) for proposal in new.proposals
        )

    def proposal(self, primary: int, proposal: PrePrepare) -> bool:
        """Return whether ``primary`` signed this pre-prepare."""
        payload = to_propose(proposal.view, proposal.slot, digest(proposal.value))
        return self.keys.verify(primary, payload, proposal.signature)


def follows(new: NewView) -> bool:
    """Return whether a new view proposes what its view changes make safe: all of it, and nothing else."""
    _, values = choose(new.changes)
    return [(new.view, slot, value) for slot, value in values] == [
        (proposal.view, proposal.slot, proposal.value) for proposal in new.proposals
    ]
