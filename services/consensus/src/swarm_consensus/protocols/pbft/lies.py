"""What lying replicas tell: each signs with its own key, and none has another's.

Liars make common cause without a word: each tells agents with an even number one story and those with an odd number
another, and both stories follow from what an honest replica would have said. With more than f of them, a
primary among them, both halves can be led to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from swarm_consensus.protocols.core import Keys, Lie, Message, Setup, Value
from swarm_consensus.protocols.pbft.messages import (
    NO_PROOF,
    NULL,
    Certificate,
    Checkpoint,
    Commit,
    Decided,
    NewView,
    Prepare,
    PrePrepare,
    Proof,
    Request,
    Stable,
    Status,
    ViewChange,
    digest,
    to_begin,
    to_check,
    to_commit,
    to_leave,
    to_prepare,
    to_propose,
)
from swarm_consensus.protocols.pbft.viewchange import choose

_NOT = "not "
_Twist = Callable[[Value], Value]


def _other(value: Value) -> Value:
    """Return the other story's value; of that, the first."""
    return value.removeprefix(_NOT) if value.startswith(_NOT) else _NOT + value


def _odd(value: Value) -> Value:
    return value if value.startswith(_NOT) else _NOT + value


def _even(value: Value) -> Value:
    return value.removeprefix(_NOT)


def _keys(setup: Setup) -> Keys:
    if setup.keys is None:  # pragma: no cover - a replica is not made without
        raise TypeError("a replica of pbft has keys")
    return setup.keys


def _of_digest(what: str, twist: _Twist) -> str:
    """Twist what a digest stands for; of a long value, which it does not show, return another digest."""
    return digest(twist(what[1:])) if what.startswith("=") else what[:1] + what[:0:-1]


def _votes(message: Message, twist: _Twist, keys: Keys) -> Message:
    """Return the same message for another value, well signed."""
    if isinstance(message, PrePrepare):
        value = twist(message.value)
        signature = keys.sign(to_propose(message.view, message.slot, digest(value)))
        return PrePrepare(message.view, message.slot, value, signature)
    if isinstance(message, Prepare):
        what = _of_digest(message.digest, twist)
        return Prepare(
            message.view, message.slot, what, keys.sign(to_prepare(message.view, message.slot, what))
        )
    if isinstance(message, Commit):
        what = _of_digest(message.digest, twist)
        return Commit(
            message.view, message.slot, what, keys.sign(to_commit(message.view, message.slot, what))
        )
    if isinstance(message, Checkpoint):
        history = _other(message.history)
        return Checkpoint(message.slot, history, keys.sign(to_check(message.slot, history)))
    if isinstance(message, Decided):
        return Decided(message.first, tuple(twist(value) for value in message.values), message.proofs)
    if isinstance(message, Request):
        return Request(twist(message.value), message.fresh)
    return message


def _leave(change: ViewChange, prepared: tuple[Certificate, ...], keys: Keys) -> ViewChange:
    payload = to_leave(change.view, change.stable, change.history, change.proof, prepared)
    return msgspec.structs.replace(change, prepared=prepared, signature=keys.sign(payload))


def _begin(new: NewView, changes: Mapping[int, ViewChange], twist: _Twist | None, keys: Keys) -> NewView:
    """Return a new view from these changes; with a twist, one that does not follow from them."""
    _, values = choose(changes.values())
    proposals = tuple(
        PrePrepare(new.view, slot, value, keys.sign(to_propose(new.view, slot, digest(value))))
        for slot, value in ((slot, twist(value) if twist else value) for slot, value in values)
    )
    leavers, given = tuple(changes), tuple(changes.values())
    return NewView(
        new.view, leavers, given, proposals, keys.sign(to_begin(new.view, leavers, given, proposals))
    )


def _changes(new: NewView) -> dict[int, ViewChange]:
    return dict(zip(new.leavers, new.changes, strict=True))


def _forged(certificate: Certificate, view: int, setup: Setup) -> Certificate:
    """Return a certificate of a later view for another value, with all signatures by the liar's own key."""
    sign, value = _keys(setup).sign, _other(certificate.value)
    what = digest(value)
    prepare = sign(to_prepare(view - 1, certificate.slot, what))
    return Certificate(
        view - 1,
        certificate.slot,
        value,
        sign(to_propose(view - 1, certificate.slot, what)),
        certificate.signers,
        (prepare,) * len(certificate.signers),
    )


def _repeated(certificate: Certificate, view: int, setup: Setup) -> Certificate:
    """Return a certificate that counts one true prepare, the liar's own, as often as there should be others."""
    forged = _forged(certificate, view, setup)
    return msgspec.structs.replace(forged, signers=(setup.id,) * len(forged.signers))


def _grafted(certificate: Certificate, view: int, setup: Setup) -> Certificate:  # noqa: ARG001
    """Return a true certificate's signatures under another value."""
    return msgspec.structs.replace(certificate, value=_other(certificate.value))


def _raised(certificate: Certificate, view: int, setup: Setup) -> Certificate:  # noqa: ARG001
    """Return a true certificate's signatures under a later view, so that it would win over true ones."""
    return msgspec.structs.replace(certificate, view=view - 1)


_FORGERIES = (_forged, _repeated, _grafted, _raised)


def equivocation(message: Message, to: int, setup: Setup) -> Message | None:
    """Tell even agents one story and odd ones another: in each vote, and in what was prepared.

    Now and then the two are changed over, so that a message sent again contradicts the first. As the primary of a new
    view, show one half a view change of its own that hides what it had prepared: both new views are well made.
    """
    keys = _keys(setup)
    odd = to % 2 == 1
    if setup.random.random() < 1 / 16:
        odd = not odd
    if isinstance(message, ViewChange):
        return _leave(message, (), keys) if odd else message
    if isinstance(message, NewView):
        changes = _changes(message)
        if odd and setup.id in changes:
            changes[setup.id] = _leave(changes[setup.id], (), keys)
        return _begin(message, changes, None, keys) if message.leavers else message
    return _votes(message, _odd if odd else _even, keys)


def wrong_value(message: Message, to: int, setup: Setup) -> Message | None:  # noqa: ARG001 - the signature of a lie
    """Stand for another value than the true one in every message, and to all alike."""
    keys = _keys(setup)
    if isinstance(message, NewView):
        return _begin(message, _changes(message), _other, keys)
    if isinstance(message, ViewChange):
        prepared = tuple(_forged(certificate, message.view, setup) for certificate in message.prepared)
        return _leave(message, prepared, keys)
    return _votes(message, _other, keys)


def lying_view_change(message: Message, to: int, setup: Setup) -> Message | None:
    """Bring views down, and lie about them: hide what was prepared, forge it, begin views with what does not follow.

    Commits are kept from half of the agents, so that a slot is decided by some and must survive the change.
    """
    keys = _keys(setup)
    draw = setup.random.random
    if isinstance(message, Commit | PrePrepare):
        return message if to % 2 else None
    if isinstance(message, ViewChange):
        if draw() < 1 / 2 or not message.prepared:
            return _leave(message, (), keys)
        forge = _FORGERIES[int(draw() * len(_FORGERIES))]
        view = message.view
        return _leave(message, tuple(forge(one, view, setup) for one in message.prepared), keys)
    if isinstance(message, NewView):
        return _lying_new_view(message, int(draw() * 6), setup)
    if isinstance(message, Stable):
        return Stable(message.slot + 1, message.history, message.proof)
    if isinstance(message, Status):
        return Status(message.view, message.active, message.decided + 1, message.stable, message.answer)
    if isinstance(message, Decided):
        unproven: tuple[Any, ...] = (NO_PROOF,) * len(message.values)
        return Decided(message.first, tuple(_other(value) for value in message.values), unproven)
    return message


def _lying_new_view(new: NewView, way: int, setup: Setup) -> Message | None:
    keys, changes = _keys(setup), _changes(new)
    if way == 0:  # nothing was prepared, says everybody
        return _begin(
            new, {sender: _leave(change, (), keys) for sender, change in changes.items()}, None, keys
        )
    if way == 1:  # true changes, and values that do not follow
        return _begin(new, changes, _other, keys)
    if way == 2:  # true changes, and nothing but null requests
        return _begin(new, changes, lambda _: NULL, keys)
    if way == 3:  # fewer than a quorum
        return _begin(new, dict(list(changes.items())[:1]), None, keys)
    if way == 4:  # itself alone, as often as there should be others
        own = changes.get(setup.id, new.changes[0])
        n, payload = len(changes), to_begin(new.view, (setup.id,) * len(changes), (own,) * len(changes), ())
        return NewView(new.view, (setup.id,) * n, (own,) * n, (), keys.sign(payload))
    if setup.id in changes:  # well made, but for what it had prepared itself
        changes[setup.id] = _leave(changes[setup.id], (), keys)
    return _begin(new, changes, None, keys)


def forged_proof(message: Message, to: int, setup: Setup) -> Message | None:  # noqa: ARG001 - the signature of a lie
    """Vote as the honest do, but with signatures that nobody can verify, and show proofs that prove nothing.

    A certificate made of such prepares would be of no use in a view change: replicas must not count them.
    """
    keys = _keys(setup)
    if isinstance(message, Prepare | Commit):
        return msgspec.structs.replace(message, signature=message.signature[::-1])
    if isinstance(message, Decided):
        made_up = tuple(
            Proof(proof.view, proof.signers, (keys.sign(value.encode()),) * len(proof.signers))
            for value, proof in zip(message.values, message.proofs, strict=True)
        )
        return Decided(message.first, tuple(_other(value) for value in message.values), made_up)
    if isinstance(message, ViewChange):
        return _leave(message, tuple(_grafted(one, message.view, setup) for one in message.prepared), keys)
    return message


LIES: Mapping[str, Lie] = {
    "equivocation": equivocation,
    "wrong_value": wrong_value,
    "lying_view_change": lying_view_change,
    "forged_proof": forged_proof,
}
