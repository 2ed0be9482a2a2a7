"""A replica of PBFT: Castro and Liskov 1999, Practical Byzantine fault tolerance. Sections are those of the paper.

Normal case (4.2): the primary of a view gives a value a slot (pre-prepare), backups accept it (prepare), and who has
seen a quorum accept it says so (commit); a quorum of commits decides. Of n agents f = floor((n - 1) / 3) may lie, and
a quorum is ceil((n + f + 1) / 2), so that any two share an honest agent whatever n is. Without faults a decision
takes (n - 1) + (n - 1)² + n(n - 1) = 2n(n - 1) messages.

Prepares are verified when there are enough of them, before the replica says that it is prepared, and no more of them
than it needs: what it says then must be provable in a view change. Were they verified there alone, a liar's
unverifiable prepare could leave a committed value without proof. Commits are signed, and verified only by one who
lags and is shown them: a replica decides by what it heard from each itself.

Checkpoints (4.3): every ``checkpoint`` slots each replica signs a digest of its history. With a quorum of these the
votes before are dropped. State transfer sends decided values with their commit certificates; without one (a liar may
have spoiled it), the same value told by f + 1 agents is as good. Not snapshots: they are the host's, two hosts' need
not be equal byte for byte, and nothing would prove one. A snapshot stands in for values in a replica's own memory,
once all agents have vouched that they have them.

View change (4.4): who waits too long for a value leaves the view, shows what it had prepared, and waits longer in the
next, each time twice as long. f + 1 leavers take all others with them, and the wait for a new view begins when a
quorum has left (4.5.2). The new primary proposes again what might have been decided; backups work it out themselves
and enter only if it is that.

What was lost on its way is sent again: a replica with something unfinished reminds the others after ``retry`` ticks
without progress, then after twice that, and so on; and tells how far it is, upon which each sends what the other
lacks. A client may ask any agent: a backup passes the value on to the primary, and waits for it.

Options, in ticks: ``timeout`` (until a view is left, 30), ``retry`` (until reminders begin, 15); in slots:
``checkpoint`` (100), ``window`` (how far beyond the last stable checkpoint slots are used, twice ``checkpoint``);
``doublings`` of the timeout at the most (4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from swarm_common.errors import UsageError
from swarm_consensus.protocols.core import (
    Message,
    Node,
    Record,
    Setup,
    Snapshot,
    Transition,
    Value,
    on,
)
from swarm_consensus.protocols.pbft.messages import (
    NO_PROOF,
    NULL,
    Accepted,
    Certificate,
    Checked,
    Checkpoint,
    Chosen,
    Commit,
    Compacted,
    Decided,
    Entered,
    Left,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Proof,
    Request,
    Stable,
    Status,
    ViewChange,
    digest,
    link,
    to_begin,
    to_check,
    to_commit,
    to_leave,
    to_prepare,
    to_propose,
)
from swarm_consensus.protocols.pbft.viewchange import Verifier, choose, follows, primary_of
from swarm_consensus.protocols.quorum import byzantine, faulty

_BATCH = 64  # values in one message of state transfer
_AT_ONCE = 16  # slots, or requests, that one reminder speaks of
_ASIDE = 512  # messages kept of one sender, for a view that has not begun here
_REQUESTS = 10_000  # values that a replica waits for at one time
_RECENT = 1_000  # decisions back to which a value that is asked for second-hand counts as decided


class _Slot:
    """What a replica knows of one slot: in the present view, but for the certificate."""

    __slots__ = (
        "agreeing", "certificate", "commit", "commits", "committed", "digest",
        "matching", "prepare", "prepared", "prepares", "signature", "value",
    )  # fmt: skip

    def __init__(self) -> None:
        self.certificate: Certificate | None = None
        """Of the latest view in which the slot was prepared."""
        self.begin()

    def begin(self) -> None:
        """Forget what belongs to a view."""
        self.value: Value = NULL
        self.digest: str | None = None  # None: no pre-prepare was accepted
        self.signature = b""
        self.prepare: Prepare | None = None
        self.commit: Commit | None = None
        self.prepares: dict[int, Prepare] = {}
        self.commits: dict[int, Commit] = {}
        self.matching = 0  # prepares for the digest
        self.agreeing = 0  # commits for it
        self.prepared = self.committed = False


class _Disk:
    """What a replica's records amount to, decisions apart."""

    def __init__(self) -> None:
        self.view = 0
        self.serving = True
        self.new_view: NewView | None = None
        self.accepted: dict[int, PrePrepare | Accepted] = {}  # in this view
        self.certificates: dict[int, Certificate] = {}
        self.stable = Stable(-1, "", NO_PROOF)
        self.snapshot: Snapshot | None = None

    def take(self, record: Record) -> None:
        """Go on to the next record."""
        match record:
            case Accepted():
                self.accepted[record.slot] = record
            case Prepared():
                self.certificates[record.certificate.slot] = record.certificate
            case Checked():
                self.stable = record.stable
            case Left():
                self.view, self.serving = record.view, False
            case Entered():
                self.view, self.serving, self.new_view = record.new_view.view, True, record.new_view
                self.accepted = {proposal.slot: proposal for proposal in record.new_view.proposals}
            case Compacted():
                self.snapshot = record.snapshot


class Replica(Node):
    """One agent's part in PBFT: backup, or primary of its view, or on the way to another view.

    Raises:
        UsageError: The setup has no keys.
    """

    TRANSITIONS = (
        Transition("backup", "first of all", "primary"),
        Transition("backup", "timed out", "changing"),
        Transition("primary", "timed out", "changing"),
        Transition("changing", "timed out", "changing"),
        Transition("backup", "f + 1 others left", "changing"),
        Transition("primary", "f + 1 others left", "changing"),
        Transition("changing", "f + 1 others left", "changing"),
        Transition("changing", "made the new view", "primary"),
        Transition("changing", "heard of the new view", "backup"),
        Transition("backup", "heard of the new view", "backup"),
        Transition("primary", "heard of the new view", "backup"),
        Transition("backup", "came back", "backup"),
        Transition("backup", "came back", "primary"),
        Transition("backup", "came back", "changing"),
        Transition("primary", "came back", "backup"),
        Transition("primary", "came back", "primary"),
        Transition("primary", "came back", "changing"),
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.keys is None:
            raise UsageError(
                "pbft signs messages: give it keys", field="keys", given="none", allowed="the agent's own"
            )
        options = setup.options
        self._timeout: int = options.get("timeout", 30)
        self._retry: int = options.get("retry", 15)
        self._interval: int = options.get("checkpoint", 100)
        self._window: int = options.get("window", 2 * self._interval)
        self._doublings: int = options.get("doublings", 4)
        n = len(self.members)
        self._quorum = self._quorum_of(n)
        self._weak = faulty(n) + 1
        self.keys = self._keys = setup.keys
        """Its own secret and everybody's public keys; checks verify with them."""
        self._verifier = Verifier(self.members, self._quorum, self._window, setup.keys)

        self.view = 0
        """In which it takes part, or to which it wants to change."""
        self._serving: int | None = 0  # the view in which it takes part
        self._primary = self.members[0]
        self._new_view: NewView | None = None  # what began the view
        self._leaving: dict[int, ViewChange] = {}  # each agent's latest
        self._aside: dict[int, list[PrePrepare | Prepare | Commit]] = {}

        self.decided = -1
        """The last slot decided, as all before it."""
        self._history = ""
        self._log: dict[int, tuple[Value, Proof, tuple[int, ...]]] = {}  # as decided
        self._ready: dict[
            int, tuple[Value, Proof, tuple[int, ...]]
        ] = {}  # known, and waiting for those before
        self._told: dict[int, dict[int, Value]] = {}
        self._snapshot: Snapshot | None = None
        self._kept = 0  # the first slot in the log

        self._slots: dict[int, _Slot] = {}
        self._last = -1  # the highest slot accepted in this view
        self._next = 0  # primary: the next slot to be given
        self._stable = Stable(-1, "", NO_PROOF)
        self._checkpoints: dict[int, dict[int, Checkpoint]] = {}

        self._pending: dict[Value, bool] = {}  # asked for, not decided; whether it is to be decided again
        self._queue: deque[Value] = deque()  # primary: those without a slot
        self._recent: dict[Value, int] = {}  # decided of late: no reason to start again
        self._order: deque[Value] = deque()

        self._awaited: Value | None = None  # what the timer runs for
        self._waited = 0
        self._attempts = 0  # views left since the last decision
        self._idle = 0  # ticks since there was progress
        self._pause = self._retry
        self._shown = dict.fromkeys(
            self.peers, -1
        )  # the highest slot a peer has committed or decided, it says
        self._vouched = dict.fromkeys(self.peers, -1)  # the highest it says it has decided, with all before
        self._unheard: set[int] = set()  # after a crash: who has not answered
        if self._primary == self.id:
            self._become("primary", "first of all")

    @property
    def leader(self) -> int | None:
        """The primary of the view that this replica knows."""
        return self._primary

    @staticmethod
    def _quorum_of(n: int) -> int:
        return byzantine(n)

    # --- clients (4.1) ------------------------------------------------------------------------------------

    def _on_propose(self, value: Value) -> None:
        if value != NULL:
            self._take_up(value, fresh=value in self._recent, first_hand=True)

    @on(Request)
    def _request(self, sender: int, message: Request) -> None:  # noqa: ARG002
        value = message.value
        if value != NULL and value not in self._pending and (message.fresh or value not in self._recent):
            self._take_up(value, fresh=message.fresh, first_hand=False)

    def _take_up(self, value: Value, *, fresh: bool, first_hand: bool) -> None:
        """Wait for a value: give it a slot, or pass it on to the primary."""
        known = value in self._pending
        if not known:
            if len(self._pending) >= _REQUESTS:
                return
            self._pending[value] = fresh
            self._watch()
        if self.state == "primary":
            if not known:
                self._queue.append(value)
                self._drain()
        elif self.state == "backup" and (first_hand or not known):
            self._send(self._primary, Request(value, fresh))

    def _drain(self) -> None:
        """Give slots to what waits for one, as far as the high water mark allows (4.2)."""
        while self._queue and self._next <= self._stable.slot + self._window:
            value = self._queue.popleft()
            if value in self._pending:
                self._propose(self._next, value)

    def _propose(self, number: int, value: Value) -> None:
        signature = self._keys.sign(to_propose(self.view, number, digest(value)))
        self._next = number + 1
        self._persist(Accepted(self.view, number, value, signature))
        self._broadcast(PrePrepare(self.view, number, value, signature))
        self._accept(number, value, signature)

    # --- the three phases (4.2) ---------------------------------------------------------------------------

    @on(PrePrepare)
    def _pre_prepare(self, sender: int, message: PrePrepare) -> None:
        if message.view != self._serving:
            self._set_aside(sender, message)
        elif self._acceptable(sender, message):
            self._persist(Accepted(message.view, message.slot, message.value, message.signature))
            self._accept(message.slot, message.value, message.signature)

    def _acceptable(self, sender: int, message: PrePrepare) -> bool:
        """Whether it is the primary's, signed, between the water marks, and the first of its slot in this view."""
        if sender != self._primary or sender == self.id:
            return False
        slot = self._open(message.slot)
        return slot is not None and slot.digest is None and self._verifier.proposal(sender, message)

    def _open(self, number: int) -> _Slot | None:
        """Return what is known of a slot; ``None``: it is not between the water marks."""
        slot = self._slots.get(number)
        if slot is None and self._stable.slot < number <= self._stable.slot + self._window:
            slot = self._slots[number] = _Slot()
        return slot

    def _accept(self, number: int, value: Value, signature: bytes) -> None:
        """Take a pre-prepare as this view's for the slot, and vote for it."""
        slot = self._slots.get(number) or self._slots.setdefault(number, _Slot())
        slot.value, slot.signature = value, signature
        what = slot.digest = digest(value)
        slot.matching = sum(prepare.digest == what for prepare in slot.prepares.values())
        slot.agreeing = sum(commit.digest == what for commit in slot.commits.values())
        if self._last <= self.decided:
            self._idle = 0  # else others come after one that may be missing, which is no progress
        self._last = max(self._last, number)
        self._watch()
        if number > self.decided:
            self._phase(number, "pre-prepare")
        if self.state == "backup":
            if number > self.decided:
                self._phase(number, "prepare")
            self._broadcast(self._vote(number, slot, what))
        self._consider_prepared(number, slot)

    def _vote(self, number: int, slot: _Slot, what: str) -> Prepare:
        """Count this replica's own prepare, and return it."""
        prepare = Prepare(self.view, number, what, self._keys.sign(to_prepare(self.view, number, what)))
        slot.prepare = slot.prepares[self.id] = prepare
        slot.matching += 1
        return prepare

    @on(Prepare)
    def _prepare(self, sender: int, message: Prepare) -> None:
        if message.view != self._serving:
            self._set_aside(sender, message)
            return
        slot = self._slots.get(message.slot) or self._open(message.slot)
        if slot is None or slot.prepared or sender in slot.prepares or sender == self._primary:
            return
        slot.prepares[sender] = message
        if message.digest == slot.digest:
            slot.matching += 1
            self._consider_prepared(message.slot, slot)

    def _consider_prepared(self, number: int, slot: _Slot) -> None:
        """Say that the slot is prepared, once the primary's pre-prepare and a quorum less one of prepares are there."""
        if slot.matching < self._quorum - 1 or slot.prepared or slot.digest is None:
            return
        certificate = self._certify(number, slot, slot.digest)
        if certificate is None:
            return
        self._persist(Prepared(certificate))
        if number > self.decided:
            self._phase(number, "commit")
        self._broadcast(self._agree(number, slot, certificate, slot.digest))
        self._consider_committed(number, slot)

    def _certify(self, number: int, slot: _Slot, what: str) -> Certificate | None:
        """Return a certificate of prepares that others can verify; ``None``: too few can be."""
        need = self._quorum - 1
        payload = to_prepare(self.view, number, what)
        verify = self._keys.verify
        signers: list[int] = []
        signatures: list[bytes] = []
        spoilt: list[int] = []
        for signer, prepare in slot.prepares.items():
            if len(signers) == need:
                break
            if prepare.digest != what:
                continue
            if signer == self.id or verify(signer, payload, prepare.signature):
                signers.append(signer)
                signatures.append(prepare.signature)
            else:
                spoilt.append(signer)
        for signer in spoilt:
            del slot.prepares[signer]
            slot.matching -= 1
        if len(signers) < need:
            return None
        return Certificate(self.view, number, slot.value, slot.signature, tuple(signers), tuple(signatures))

    def _agree(self, number: int, slot: _Slot, certificate: Certificate, what: str) -> Commit:
        """Count this replica's own commit, and return it."""
        slot.certificate = certificate
        slot.prepared = True
        slot.prepares = {}  # those that count are in the certificate
        commit = Commit(self.view, number, what, self._keys.sign(to_commit(self.view, number, what)))
        slot.commit = slot.commits[self.id] = commit
        slot.agreeing += 1
        return commit

    @on(Commit)
    def _commit(self, sender: int, message: Commit) -> None:
        number = message.slot
        if number > self._shown[sender]:  # noqa: PLR1730 - half the messages come here, and max() is a call
            self._shown[sender] = number
        if message.view != self._serving:
            self._set_aside(sender, message)
            return
        slot = self._slots.get(number) or self._open(number)
        if slot is None or slot.committed or sender in slot.commits:
            return
        slot.commits[sender] = message
        if message.digest == slot.digest:
            slot.agreeing += 1
            if slot.agreeing >= self._quorum:
                self._consider_committed(number, slot)

    def _consider_committed(self, number: int, slot: _Slot) -> None:
        """Decide, once the slot is prepared here and a quorum has committed: ``committed-local``."""
        if slot.agreeing < self._quorum or not slot.prepared or slot.committed:
            return
        slot.committed = True
        agreed = [(sender, one) for sender, one in slot.commits.items() if one.digest == slot.digest]
        slot.commits = {}
        if number > self.decided and number not in self._ready:
            proof = Proof(
                self.view, tuple(sender for sender, _ in agreed), tuple(one.signature for _, one in agreed)
            )
            self._ready[number] = (slot.value, proof, ())
            self._execute()

    def _execute(self) -> None:
        """Decide what is ready, in the order of slots."""
        while (ready := self._ready.pop(self.decided + 1, None)) is not None:
            number = self.decided + 1
            value, proof, told = ready
            self._apply(number, value, proof, told)
            self._persist(Chosen(number, value, proof, told))
            self._tell_host(number)
            if (number + 1) % self._interval == 0:
                self._check(number)
        self._watch()

    def _apply(self, number: int, value: Value, proof: Proof, told: tuple[int, ...]) -> None:
        self.decided = number
        self._log[number] = (value, proof, told)
        self._history = link(self._history, value)
        self._told.pop(number, None)
        self._recent[value] = number
        self._order.append(value)
        if len(self._order) > _RECENT:
            old = self._order.popleft()
            if self._recent.get(old) == number - _RECENT:
                del self._recent[old]
        if value == self._awaited or self._awaited not in self._pending:
            self._awaited = None
        self._pending.pop(value, None)
        self._idle = self._attempts = 0
        self._pause = self._retry

    def _tell_host(self, number: int) -> None:
        value, proof, told = self._log[number]
        why = {"told_by": list(told)} if told else {"view": proof.view, "committed_by": list(proof.signers)}
        self._decide(number, value, why)

    def _set_aside(self, sender: int, message: PrePrepare | Prepare | Commit) -> None:
        """Keep what belongs to a view that has not begun here: it may have overtaken the news of it."""
        if message.view > self.view or (message.view == self.view and self._serving is None):
            kept = self._aside.setdefault(sender, [])
            if len(kept) < _ASIDE:
                kept.append(message)

    # --- checkpoints (4.3) --------------------------------------------------------------------------------

    def _check(self, number: int) -> None:
        self._vouch(number, self._history)
        self._broadcast(self._checkpoints[number][self.id])
        self._consider_stable(number)

    def _vouch(self, number: int, history: str) -> None:
        """Count this replica's own checkpoint."""
        message = Checkpoint(number, history, self._keys.sign(to_check(number, history)))
        self._checkpoints.setdefault(number, {})[self.id] = message

    @on(Checkpoint)
    def _checkpoint(self, sender: int, message: Checkpoint) -> None:
        number = message.slot
        self._note_vouched(sender, number)
        known = self._checkpoints.get(number, {})
        if (
            number <= self._stable.slot
            or (number + 1) % self._interval
            or number > max(self._stable.slot, self.decided) + 2 * self._window
            or sender in known
            or not self._keys.verify(sender, to_check(number, message.history), message.signature)
        ):
            return
        self._checkpoints.setdefault(number, {})[sender] = message
        self._consider_stable(number)

    def _consider_stable(self, number: int) -> None:
        votes = self._checkpoints[number]
        histories = [vote.history for vote in votes.values()]
        for history in dict.fromkeys(histories):
            if histories.count(history) >= self._quorum:
                same = [(sender, vote.signature) for sender, vote in votes.items() if vote.history == history]
                proof = Proof(-1, tuple(sender for sender, _ in same), tuple(one for _, one in same))
                self._stabilise(Stable(number, history, proof))
                return

    @on(Stable)
    def _stable_elsewhere(self, sender: int, message: Stable) -> None:  # noqa: ARG002
        if message.slot > self._stable.slot and self._verifier.stable(
            message.slot, message.history, message.proof
        ):
            self._stabilise(message)

    def _stabilise(self, stable: Stable) -> None:
        """Move the water marks, and forget the votes below."""
        if stable.slot <= self._stable.slot:
            return
        self._persist(Checked(stable))
        self._stable = stable
        self._slots = {number: slot for number, slot in self._slots.items() if number > stable.slot}
        self._checkpoints = {
            number: votes for number, votes in self._checkpoints.items() if number > stable.slot
        }
        self._next = max(self._next, stable.slot + 1)
        self._forget()
        if self.decided < stable.slot:
            self._broadcast(self._status(answer=True))
        if self.state == "primary":
            self._drain()

    def _on_compact(self, snapshot: Snapshot) -> None:
        if snapshot.slot <= self.decided and (self._snapshot is None or snapshot.slot > self._snapshot.slot):
            self._snapshot = snapshot
            self._persist(Compacted(snapshot))
            self._forget()

    def _note_vouched(self, sender: int, number: int) -> None:
        """Take a replica's word that it has decided all up to a slot; who lies about that harms itself."""
        if number > self._vouched[sender]:
            self._vouched[sender] = number
            self._forget()

    def _forget(self) -> None:
        """Drop values that are in the host's snapshot and that all agents have vouched they have."""
        if self._snapshot is not None:
            end = min([self._snapshot.slot, self._stable.slot, *self._vouched.values()])
            for number in range(self._kept, end + 1):
                self._log.pop(number, None)
            self._kept = max(self._kept, end + 1)

    # --- view changes (4.4) -------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        self._idle += 1
        if self._timing():
            self._waited += 1
            if self._waited >= self._timeout << min(max(self._attempts - 1, 0), self._doublings):
                self._leave(self.view + 1, "timed out")
        if self._idle >= self._pause:
            self._idle = 0
            self._remind()

    def _timing(self) -> bool:
        """Whether a view is waited for: a value in it, or, once a quorum has left for it, its beginning (4.5.2)."""
        if self.state != "changing":
            return self._awaited is not None
        return sum(change.view >= self.view for change in self._leaving.values()) >= self._quorum

    def _watch(self) -> None:
        """Let the timer run for the oldest request, or else the first slot in progress; or stop it."""
        if self._awaited is not None:
            return
        self._waited = 0
        if self._pending:
            self._awaited = next(iter(self._pending))
            return
        for number in range(self.decided + 1, self._last + 1):
            slot = self._slots.get(number)
            if slot is not None and slot.digest is not None:
                self._awaited = slot.value
                return

    def _leave(self, view: int, trigger: str) -> None:
        """Take no more part in any view before ``view``, and show what was prepared."""
        self._persist(Left(view))
        self._become("changing", trigger)
        self._attempts += 1
        self._turn_to(view)
        change = self._make_change()
        self._leaving[self.id] = change
        self._broadcast(change)
        self._join()
        self._consider_new_view()

    def _turn_to(self, view: int) -> None:
        self.view = view
        self._serving = None
        self._primary = primary_of(view, self.members)
        self._waited = self._idle = 0
        self._pause = self._retry
        self._queue.clear()

    def _make_change(self) -> ViewChange:
        prepared = self._certificates()
        stable = self._stable
        payload = to_leave(self.view, stable.slot, stable.history, stable.proof, prepared)
        return ViewChange(
            self.view, stable.slot, stable.history, stable.proof, prepared, self._keys.sign(payload)
        )

    def _certificates(self) -> tuple[Certificate, ...]:
        """Return what this replica must show: of each slot after the checkpoint its latest prepared certificate."""
        slots = self._slots
        found = [slots[number].certificate for number in sorted(slots)]
        return tuple(certificate for certificate in found if certificate is not None)

    @on(ViewChange)
    def _view_change(self, sender: int, message: ViewChange) -> None:
        if message.view < self.view or message.view == self._serving:
            self._send_view(sender)
            return
        known = self._leaving.get(sender)
        if (known is None or known.view < message.view) and self._valid_change(sender, message):
            self._leaving[sender] = message
            self._join()
            self._consider_new_view()

    def _valid_change(self, sender: int, change: ViewChange) -> bool:
        return self._verifier.change(sender, change)

    def _join(self) -> None:
        """Leave with f + 1 others, for the nearest of their views: one of them at least is honest (4.5.2)."""
        later = [change.view for change in self._leaving.values() if change.view > self.view]
        if len(later) >= self._weak:
            self._leave(min(later), "f + 1 others left")

    def _consider_new_view(self) -> None:
        """Begin the view as its primary, once a quorum has left for it."""
        if self.state != "changing" or self._primary != self.id:
            return
        leavers = tuple(agent for agent in sorted(self._leaving) if self._leaving[agent].view == self.view)
        if len(leavers) >= self._quorum:
            changes = tuple(self._leaving[agent] for agent in leavers)
            new = self._make_new_view(leavers, changes)
            self._persist(Entered(new))
            self._broadcast(new)
            self._enter(new, "primary", "made the new view")

    def _make_new_view(self, leavers: tuple[int, ...], changes: tuple[ViewChange, ...]) -> NewView:
        _, values = self._choose(changes)
        sign = self._keys.sign
        proposals = tuple(
            PrePrepare(self.view, number, value, sign(to_propose(self.view, number, digest(value))))
            for number, value in values
        )
        return NewView(
            self.view, leavers, changes, proposals, sign(to_begin(self.view, leavers, changes, proposals))
        )

    def _choose(self, changes: tuple[ViewChange, ...]) -> tuple[int, tuple[tuple[int, Value], ...]]:
        return choose(changes)

    @on(NewView)
    def _on_new_view(self, sender: int, message: NewView) -> None:  # noqa: ARG002 - it may be passed on by anybody
        if (
            message.view >= self.view
            and message.view != self._serving
            and primary_of(message.view, self.members) != self.id
            and self._valid_new_view(message)
        ):
            self._persist(Entered(message))
            self._enter(message, "backup", "heard of the new view")

    def _valid_new_view(self, new: NewView) -> bool:
        """Whether a quorum left for it, its primary made it, and it proposes what it must."""
        return self._quorum_left(new) and self._begun(new) and self._follows(new)

    def _quorum_left(self, new: NewView) -> bool:
        return self._verifier.quorum_left(new, self._leaving)

    def _begun(self, new: NewView) -> bool:
        return self._verifier.begun(new)

    def _follows(self, new: NewView) -> bool:
        return follows(new)

    def _enter(self, new: NewView, state: str, trigger: str) -> None:
        """Take part in a view, beginning with what it proposes again."""
        latest = max(new.changes, key=lambda change: change.stable)
        self._stabilise(Stable(latest.stable, latest.history, latest.proof))
        self._become(state, trigger)
        self._turn_to(new.view)
        self._serving = new.view
        self._new_view = new
        self._leaving = {agent: change for agent, change in self._leaving.items() if change.view > new.view}
        self._begin_slots()
        last = max([latest.stable, *(proposal.slot for proposal in new.proposals)])
        self._next = max(last, self._stable.slot) + 1
        proposed = set()
        for proposal in new.proposals:
            proposed.add(proposal.value)
            if proposal.slot > self._stable.slot:
                self._accept(proposal.slot, proposal.value, proposal.signature)
        self._watch()
        for value, fresh in list(self._pending.items()):
            if value in proposed:
                continue
            if state == "primary":
                self._queue.append(value)
            else:
                self._send(self._primary, Request(value, fresh))
        if state == "primary":
            self._drain()
        self._take_from_aside()

    def _begin_slots(self) -> None:
        """Forget all slots but for their certificates."""
        self._slots = {number: slot for number, slot in self._slots.items() if slot.certificate is not None}
        for slot in self._slots.values():
            slot.begin()
        self._last = -1
        self._awaited = None

    def _take_from_aside(self) -> None:
        aside, self._aside = self._aside, {}
        for sender, kept in aside.items():
            for message in kept:
                self._handlers[type(message)](self, sender, message)

    # --- what was lost on its way ------------------------------------------------------------------------

    def _status(self, *, answer: bool) -> Status:
        return Status(self.view, self._serving is not None, self.decided, self._stable.slot, answer)

    def _remind(self) -> None:
        """Say again what others may not have heard, and ask for what this replica has not."""
        busy = bool(self._pending) or self._lacks()
        for value in list(self._pending)[:_AT_ONCE]:
            self._broadcast(Request(value, self._pending[value]))
        if self.state == "changing":
            busy = True
            self._broadcast(self._leaving[self.id])
        else:
            numbers = [number for number in sorted(self._slots) if self._unfinished(number)][:_AT_ONCE]
            busy = busy or bool(numbers)
            for peer in self.peers:
                self._send_votes(peer, numbers)
        for votes in self._checkpoints.values():
            if self.id in votes:
                busy = True
                self._broadcast(votes[self.id])
        if busy:
            self._broadcast(self._status(answer=True))
        else:
            for peer in self.peers:
                if self._shown[peer] < self.decided:
                    busy = True
                    self._send(peer, self._status(answer=True))
        self._pause = min(2 * self._pause, 8 * self._retry) if busy else self._retry

    def _lacks(self) -> bool:
        """Whether others seem to be further, or have not said where they are since this replica came back."""
        return bool(self._unheard or self._aside) or any(
            shown > self.decided for shown in self._shown.values()
        )

    def _unfinished(self, number: int) -> bool:
        slot = self._slots[number]
        return number > self.decided and (
            slot.digest is not None or len(slot.prepares) + len(slot.commits) >= self._weak
        )

    def _send_votes(self, to: int, numbers: Sequence[int]) -> None:
        for number in numbers:
            slot = self._slots[number]
            if slot.digest is not None:
                if self.state == "primary":
                    self._send(to, PrePrepare(self.view, number, slot.value, slot.signature))
                if slot.prepare is not None:
                    self._send(to, slot.prepare)
                if slot.commit is not None:
                    self._send(to, slot.commit)

    def _send_view(self, to: int) -> None:
        """Bring one up to this replica's view who is in an earlier one, or has not entered it."""
        if self.state == "changing":
            self._send(to, self._leaving[self.id])
        elif self._new_view is not None:
            self._send(to, self._new_view)

    @on(Status)
    def _on_status(self, sender: int, message: Status) -> None:
        self._shown[sender] = max(self._shown[sender], message.decided)
        self._note_vouched(sender, message.decided)
        if message.decided < self.decided:
            self._send_decided(sender, message.decided + 1)
        if message.stable < self._stable.slot:
            self._send(sender, self._stable)
        if message.view < self.view or (message.view == self._serving and not message.active):
            self._send_view(sender)
        elif message.answer and message.active and message.view == self._serving:
            numbers = [number for number in sorted(self._slots) if number > message.decided]
            self._send_votes(sender, numbers[:_AT_ONCE])
        if message.answer:
            self._send(sender, self._status(answer=False))
        if self._unheard:
            self._unheard.discard(sender)
            if len(self._unheard) <= len(self.members) - self._quorum:
                self._unheard.clear()

    def _send_decided(self, to: int, first: int) -> None:
        log = self._log
        numbers = range(first, min(first + _BATCH, self.decided + 1))
        if all(number in log for number in numbers):
            values = tuple(log[number][0] for number in numbers)
            self._send(to, Decided(first, values, tuple(log[number][1] for number in numbers)))

    @on(Decided)
    def _on_decided(self, sender: int, message: Decided) -> None:
        """Catch up: by a commit certificate, or by as many tellers as cannot all lie."""
        numbers = range(message.first, message.first + len(message.values))
        for number, value, proof in zip(numbers, message.values, message.proofs, strict=False):
            if not self.decided < number <= self.decided + _BATCH or number in self._ready:
                continue
            told = self._told.setdefault(number, {})
            told[sender] = value
            tellers = tuple(agent for agent, said in told.items() if said == value)
            if self._valid_commits(number, value, proof):
                self._ready[number] = (value, proof, ())
            elif len(tellers) >= self._weak:
                self._ready[number] = (value, NO_PROOF, tellers)
            elif number > self._stable.slot and value != NULL and value not in self._recent:
                self._take_up(value, fresh=False, first_hand=False)  # if it is true, a view change will show
        before = self.decided
        self._execute()
        if self.decided > before and len(message.values) == _BATCH:
            self._send(sender, self._status(answer=True))

    def _valid_commits(self, number: int, value: Value, proof: Proof) -> bool:
        return self._verifier.committed(number, value, proof)

    # --- crashes ------------------------------------------------------------------------------------------

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        """Take up what was on disk: the view, what was accepted and prepared in it, and what was decided."""
        if not persisted:
            return
        disk = _Disk()
        histories: dict[int, str] = {}
        for record in persisted:
            if isinstance(record, Chosen):
                self._apply(record.slot, record.value, record.proof, record.told)
                histories[record.slot] = self._history
            else:
                disk.take(record)
        self._stable, self._snapshot, self._new_view = disk.stable, disk.snapshot, disk.new_view
        self._come_back(disk.view, serving=disk.serving)
        self._vouch_again(histories)
        self._next = self._stable.slot + 1
        for number in sorted(disk.certificates):
            if number > self._stable.slot:
                self._slots.setdefault(number, _Slot()).certificate = disk.certificates[number]
        if disk.serving:
            for number in sorted(disk.accepted):
                self._next = max(self._next, number + 1)
                if number > self._stable.slot:
                    self._accept_again(number, disk.accepted[number])
        else:
            self._leaving[self.id] = self._make_change()
            self._broadcast(self._leaving[self.id])
        self._tell_all_again()
        self._watch()
        self._unheard = set(self.peers) if len(self.peers) > len(self.members) - self._quorum else set()
        self._broadcast(self._status(answer=True))

    def _come_back(self, view: int, *, serving: bool) -> None:
        if view or not serving:
            state = "primary" if primary_of(view, self.members) == self.id else "backup"
            self._become(state if serving else "changing", "came back")
        self._turn_to(view)
        self._serving = view if serving else None

    def _vouch_again(self, histories: Mapping[int, str]) -> None:
        """Make those checkpoints again that are not stable: a quorum may need them."""
        for number, history in histories.items():
            if number > self._stable.slot and (number + 1) % self._interval == 0:
                self._vouch(number, history)

    def _accept_again(self, number: int, accepted: PrePrepare | Accepted) -> None:
        """Stand by what was accepted, and by the votes for it, before the crash."""
        slot = self._slots.setdefault(number, _Slot())
        slot.value, slot.signature = accepted.value, accepted.signature
        what = slot.digest = digest(accepted.value)
        self._last = max(self._last, number)
        if self.state == "backup":
            self._vote(number, slot, what)
        if slot.certificate is not None and slot.certificate.view == self.view:
            self._agree(number, slot, slot.certificate, what)

    def _tell_all_again(self) -> None:
        """Set the host to where it was: its snapshot, and the decisions after it."""
        first = 0
        if self._snapshot is not None:
            self._out.snapshot = self._snapshot
            first = self._snapshot.slot + 1
        for number in range(first, self.decided + 1):
            self._tell_host(number)


MESSAGES: tuple[type[Message], ...] = (
    Request, PrePrepare, Prepare, Commit, Checkpoint, Stable, ViewChange, NewView, Status, Decided,
)  # fmt: skip
RECORDS: tuple[type[Record], ...] = (Accepted, Prepared, Left, Entered, Chosen, Checked, Compacted)
