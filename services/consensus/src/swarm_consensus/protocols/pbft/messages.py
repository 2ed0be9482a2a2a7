"""What replicas of PBFT tell each other, what they keep on disk, and the bytes that they sign.

Signed is what is shown to others later: pre-prepares and prepares (they make a prepared certificate, which a view
change carries), commits (they make a commit certificate, which brings on who lags), checkpoints, view changes and new
views. Who sent a message directly, the transport says. Each kind signs under a name of its own, so that no signature
can stand in for one of another kind. Section 4.2 of Castro and Liskov (1999) signs the same.

Certificates carry the value, not its digest alone: nobody has to ask for it in the midst of a view change.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from swarm_consensus.protocols.core import Message, Record, Snapshot, Value

NULL: Value = ""
"""The null request (section 4.4): what a new view puts where nothing was prepared; state machines pass it over."""

_encode = msgspec.msgpack.Encoder().encode
_SHORT = 64


def digest(value: Value) -> str:
    """Return what stands for ``value`` in votes: itself where it is short, else its BLAKE2b-256 (RFC 7693) in hex.

    Different values have different digests: the first character says which of the two it is.
    """
    return f"={value}" if len(value) <= _SHORT else f"#{blake2b(value.encode(), digest_size=32).hexdigest()}"


def link(history: str, value: Value) -> str:
    """Return the digest of a history of decisions that goes on with ``value``; the empty history has ``""``."""
    return blake2b(_encode((history, value)), digest_size=32).hexdigest()


class Certificate(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A quorum accepted ``value`` in ``view`` and ``slot``: ``prepared`` of section 4.2, to show to others."""

    view: int
    slot: int
    value: Value
    proposed: bytes
    """The primary's signature of its pre-prepare."""
    signers: tuple[int, ...]
    """Backups whose prepares make it up, one less than a quorum: the primary is the one more."""
    signatures: tuple[bytes, ...]


class Proof(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Signatures of a quorum: of commits in ``view``, or of checkpoints (``view`` -1)."""

    view: int
    signers: tuple[int, ...]
    signatures: tuple[bytes, ...]


NO_PROOF = Proof(-1, (), ())


class Request(Message, frozen=True):
    """A client wants ``value`` decided."""

    value: Value
    fresh: bool
    """Whether it is to be decided even if it was decided before: a client asked for it again, on purpose."""


class PrePrepare(Message, frozen=True):
    """The primary of ``view`` gives ``value`` the place ``slot``."""

    view: int
    slot: int
    value: Value
    signature: bytes


class Prepare(Message, frozen=True):
    """A backup has accepted the primary's pre-prepare, and will accept no other in this view and slot."""

    view: int
    slot: int
    digest: str
    signature: bytes


class Commit(Message, frozen=True):
    """A replica holds a prepared certificate."""

    view: int
    slot: int
    digest: str
    signature: bytes


class Checkpoint(Message, frozen=True):
    """A replica has decided all up to ``slot``, with the history that ``history`` is the digest of (section 4.3)."""

    slot: int
    history: str
    signature: bytes


class Stable(Message, frozen=True):
    """A quorum has made the checkpoint: nobody needs votes up to ``slot`` any more."""

    slot: int
    history: str
    proof: Proof


class ViewChange(Message, frozen=True):
    """A replica has left all views before ``view``, and shows what it had prepared there (section 4.4)."""

    view: int
    stable: int
    history: str
    proof: Proof
    """That the checkpoint at ``stable`` is stable; of -1, the beginning, nothing need be shown."""
    prepared: tuple[Certificate, ...]
    """By slot, of each the one of the highest view."""
    signature: bytes


class NewView(Message, frozen=True):
    """The primary of ``view`` begins it with what a quorum of view changes makes safe (section 4.4)."""

    view: int
    leavers: tuple[int, ...]
    changes: tuple[ViewChange, ...]
    """Of the leavers, in their order."""
    proposals: tuple[PrePrepare, ...]
    signature: bytes


class Status(Message, frozen=True):
    """How far a replica is: who has what it lacks sends it."""

    view: int
    active: bool
    decided: int
    stable: int
    answer: bool
    """Whether it wants to be told the other's."""


class Decided(Message, frozen=True):
    """What was decided from slot ``first`` on, for one that lags, with the commit certificates."""

    first: int
    values: tuple[Value, ...]
    proofs: tuple[Proof, ...]


class Accepted(Record, frozen=True):
    """This replica has accepted a pre-prepare (the primary: its own) and votes for no other in this view and slot."""

    view: int
    slot: int
    value: Value
    signature: bytes


class Prepared(Record, frozen=True):
    """This replica holds a prepared certificate, which it must show in every view change until a checkpoint."""

    certificate: Certificate


class Left(Record, frozen=True):
    """This replica has left all views before ``view``."""

    view: int


class Entered(Record, frozen=True):
    """This replica takes part in the view that this message began, and has accepted what it proposes."""

    new_view: NewView


class Chosen(Record, frozen=True):
    """This replica has decided."""

    slot: int
    value: Value
    proof: Proof
    """The commit certificate; none where ``told``."""
    told: tuple[int, ...]
    """Who told it, more than may lie: then no certificate was needed."""


class Checked(Record, frozen=True):
    """A checkpoint is stable."""

    stable: Stable


class Compacted(Record, frozen=True):
    """The host has replaced a prefix of the decisions by a snapshot."""

    snapshot: Snapshot


def to_propose(view: int, slot: int, what: str) -> bytes:
    """Return what the primary signs in a pre-prepare, ``what`` being the digest."""
    return _encode(("pre-prepare", view, slot, what))


def to_prepare(view: int, slot: int, what: str) -> bytes:
    """Return what a backup signs in a prepare; the same bytes for all backups."""
    return _encode(("prepare", view, slot, what))


def to_commit(view: int, slot: int, what: str) -> bytes:
    """Return what a replica signs in a commit."""
    return _encode(("commit", view, slot, what))


def to_check(slot: int, history: str) -> bytes:
    """Return what a replica signs in a checkpoint."""
    return _encode(("checkpoint", slot, history))


def to_leave(view: int, stable: int, history: str, proof: Proof, prepared: tuple[Certificate, ...]) -> bytes:
    """Return what a replica signs in a view change."""
    return _encode(("view-change", view, stable, history, proof, prepared))


def to_begin(
    view: int,
    leavers: tuple[int, ...],
    changes: Iterable[ViewChange],
    proposals: Iterable[PrePrepare],
) -> bytes:
    """Return what the new primary signs in a new view: which view changes and proposals, by their signatures."""
    return _encode(
        (
            "new-view",
            view,
            leavers,
            [change.signature for change in changes],
            [(proposal.slot, proposal.signature) for proposal in proposals],
        )
    )
