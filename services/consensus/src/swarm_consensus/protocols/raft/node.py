"""An agent of Raft: elections, replication, snapshots and reads. See :mod:`swarm_consensus.protocols.raft`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarm_common.errors import UsageError
from swarm_consensus.protocols.core import (
    NOTHING,
    Effects,
    Node,
    Read,
    Record,
    Setup,
    Snapshot,
    Transition,
    Value,
    on,
)
from swarm_consensus.protocols.quorum import Majority, committed_index, vote_result
from swarm_consensus.protocols.quorum import Vote as Result
from swarm_consensus.protocols.raft.log import Log
from swarm_consensus.protocols.raft.messages import (
    Append,
    Appended,
    AskRead,
    Compacted,
    Entry,
    Install,
    ReadAt,
    Rejected,
    RequestVote,
    Stored,
    Vote,
    Voted,
)

OPTIONS: Mapping[str, int] = {"election": 10, "heartbeat": 2, "batch": 64, "window": 64}
"""What a node may be told, and what it does untold; see :mod:`swarm_consensus.protocols.raft`."""


class _Follower:
    """What a leader knows of a follower (section 5.3; thesis, section 10.2.1)."""

    __slots__ = ("flights", "heard", "hold", "next", "probing", "told")

    def __init__(self, following: int) -> None:
        self.next = following
        """The first entry it is not known or hoped to have."""
        self.probing = False
        """Whether ``next`` is a guess: one message at a time, until an answer says where the logs agree."""
        self.hold = 0
        """Until this tick a probe or snapshot is on its way and not sent again."""
        self.flights: list[int] = []
        """The last index of each message sent and not answered, while not probing."""
        self.told = -1
        """The commit index of the last entries sent since the last heartbeat; -1: none were sent."""
        self.heard = True
        """Since the leader last counted whom it hears."""


class Raft(Node):
    """A follower, candidate or leader, with a log."""

    TRANSITIONS = (
        Transition("follower", "election time-out", "precandidate"),
        Transition("precandidate", "election time-out", "precandidate"),
        Transition("precandidate", "a majority would vote for it", "candidate"),
        Transition("precandidate", "a majority would not", "follower"),
        Transition("precandidate", "heard the leader", "follower"),
        Transition("precandidate", "a higher term", "follower"),
        Transition("candidate", "election time-out", "precandidate"),
        Transition("candidate", "a majority voted for it", "leader"),
        Transition("candidate", "a majority did not", "follower"),
        Transition("candidate", "heard the leader", "follower"),
        Transition("candidate", "a higher term", "follower"),
        Transition("leader", "a higher term", "follower"),
        Transition("leader", "heard no majority", "follower"),
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._election, self._heartbeat, self._batch, self._window = _checked(setup.options)
        self._config = Majority(frozenset(setup.members))
        # On disk:
        self.term = 0
        self.vote: int | None = None
        self.log = Log()
        self._compacted: Compacted | None = None
        # In memory:
        self.commit = 0
        """The last entry known to be committed; everything up to it is decided, or in the snapshot."""
        self._leader: int | None = None
        self._now = 0  # ticks
        self._heard_at = 0  # when the leader was last heard
        self._votes: dict[int, bool] = {}
        self._asked: dict[str, None] = {}  # reads that the leader has not answered
        self._waiting: list[ReadAt] = []  # reads whose index is not yet decided here
        # Of a leader:
        self._followers: dict[int, _Follower] = {}
        self._acked: dict[int, int] = {}  # by agent, itself among them, up to where its log is the leader's
        self._opened = 0  # the entry its term began with
        self._beat_at = self._count_at = 0
        self._made: Append | None = None  # the last entries sent: most followers are at the same place
        self._round = 0
        self._rounds: dict[int, int] = {}  # by agent, the last round it has answered
        self._reads: list[tuple[int, int, int, str]] = []  # round, index, whose, request
        self._rest()

    @property
    def leader(self) -> int | None:
        """The leader of this node's term, if it has heard of it."""
        return self._leader

    def tick(self) -> Effects:
        """Let one unit of time pass; mostly nothing comes of it."""
        self._now += 1
        if self._now < self._due:
            return NOTHING
        return super().tick()

    def persisted(self) -> list[Record]:
        """Return the shortest list of records that :meth:`restore` makes this node of: to rewrite a disk with."""
        records: list[Record] = [Voted(self.term, self.vote)] if self.term else []
        if self._compacted is not None:
            records.append(self._compacted)
        if self.log.entries:
            records.append(Stored(self.log.base + 1, tuple(self.log.entries)))
        return records

    # --- what decides: small, so that each rule stands alone ----------------------------------------------

    def _may_vote(self, candidate: int, message: RequestVote) -> bool:
        """One vote a term (section 5.2), and none for a log that may lack what is committed (section 5.4.1)."""
        return self.vote in (None, candidate) and self._up_to_date(message)

    def _up_to_date(self, message: RequestVote) -> bool:
        """Whether the candidate's log ends in a later term, or in the same and is not shorter (section 5.4.1)."""
        return (message.last_term, message.last_index) >= (self.log.last_term, self.log.last)

    def _count(self, votes: Mapping[int, bool]) -> Result:
        return vote_result(self._config, votes)

    def _agreed(self, acked: Mapping[int, int]) -> int:
        """Return the highest number a majority has reached; 0: none has."""
        return committed_index(self._config, acked) or 0

    def _may_commit(self, index: int) -> bool:
        """Only entries of the leader's own term are committed by counting; all before go with them (section 5.4.2)."""
        return self.log.term(index) == self.term

    def _may_replace(self, index: int) -> bool:
        """What is committed stays; a leader that has it otherwise is none of this protocol."""
        return index > self.commit

    def _stale(self, term: int) -> bool:
        return term < self.term

    def _write_vote(self) -> None:
        self._persist(Voted(self.term, self.vote))

    def _store(self, index: int, entries: Sequence[Entry]) -> None:
        """Let the log go on from ``index`` with ``entries``, in memory and, before anything is said of it, on disk."""
        self.log.put(index, entries)
        self._persist(Stored(index, tuple(entries)))

    def _learn(self, commit: int) -> None:
        """Decide all up to ``commit``, and answer the reads that waited for it."""
        leads = self.state == "leader"
        for index in range(self.commit + 1, commit + 1):
            entry = self.log.entries[index - self.log.base - 1]
            if entry.value is None:
                continue
            certificate: dict[str, object] = {"term": entry.term, "index": index, "leader": self._leader}
            if leads:
                acked = self._acked
                certificate["acked"] = [agent for agent in self.members if acked.get(agent, 0) >= index]
                self._phase(entry.slot, "commit")
            self._decide(entry.slot, entry.value, certificate)
        self.commit = commit
        if self._waiting:
            self._answer()
        if self._reads:
            self._serve()

    # --- elections (section 5.2; thesis, section 9.6) -----------------------------------------------------

    def _rest(self) -> None:
        """Draw a time-out and start it."""
        self._patience = self._election + int(self._random.random() * self._election)
        self._due = self._now + self._patience

    def _adopt(self, term: int) -> None:
        """Enter a higher term, in which this node has not voted and knows no leader."""
        self.term = term
        self.vote = None
        self._write_vote()
        self._leader = None
        self._asked.clear()
        if self.state != "follower":
            self._retire("a higher term")

    def _retire(self, trigger: str) -> None:
        """Be a follower again. Reads that a leader has not answered never will be: the client asks another."""
        if self.state == "leader":
            self._leader = None
            self._reads.clear()
            self._rest()
        self._become("follower", trigger)

    def _on_tick(self) -> None:
        if self.state == "leader":
            self._lead()
        else:
            self._campaign()

    def _campaign(self) -> None:
        """Ask who would vote for this node in the next term; nothing is disturbed by that if nobody would."""
        self._become("precandidate", "election time-out")
        self._leader = None
        self._ask(pre=True)

    def _stand(self) -> None:
        self._become("candidate", "a majority would vote for it")
        self.term += 1
        self.vote = self.id
        self._write_vote()
        self._ask(pre=False)

    def _ask(self, *, pre: bool) -> None:
        self._rest()
        self._votes = {self.id: True}
        self._broadcast(RequestVote(self.term + pre, self.log.last, self.log.last_term, pre))
        self._close()

    def _close(self) -> None:
        """See whether the votes are enough."""
        result = self._count(self._votes)
        if result == "pending":
            return
        if self.state == "precandidate":
            if result == "won":
                self._stand()
            else:
                self._retire("a majority would not")
        elif result == "won":
            self._win()
        else:
            self._retire("a majority did not")

    @on(RequestVote)
    def _request(self, sender: int, message: RequestVote) -> None:
        if message.pre:
            would = message.term > self.term and not self._led() and self._up_to_date(message)
            self._send(sender, Vote(message.term if would else self.term, would, pre=True))
            return
        if message.term > self.term:
            self._adopt(message.term)
        granted = not self._stale(message.term) and self._may_vote(sender, message)
        if granted:
            if self.vote != sender:
                self.vote = sender
                self._write_vote()
            self._due = self._now + self._patience
        self._send(sender, Vote(self.term, granted, pre=False))

    def _led(self) -> bool:
        """Whether a leader is in office as far as this node can tell: then it helps nobody to unseat it."""
        if self.state == "leader":
            return True
        return self._leader is not None and self._now - self._heard_at < self._election

    @on(Vote)
    def _voted(self, sender: int, message: Vote) -> None:
        if message.pre and message.granted:
            counts = self.state == "precandidate" and message.term == self.term + 1
        elif message.term > self.term:
            self._adopt(message.term)
            return
        elif message.pre:
            counts = self.state == "precandidate"
        else:
            counts = self.state == "candidate" and not self._stale(message.term)
        if counts:
            self._votes.setdefault(sender, message.granted)
            self._close()

    # --- leading (section 5.3) ----------------------------------------------------------------------------

    def _win(self) -> None:
        """Begin a term with an entry of no value: once it is committed, all before it is (section 8)."""
        self._become("leader", "a majority voted for it")
        self._leader = self.id
        self._acked = {}
        self._made = None
        self._rounds = {}
        self._followers = {peer: _Follower(self.log.last + 1) for peer in self.peers}
        self._beat_at = self._now + self._heartbeat
        self._count_at = self._now + self._election
        self._due = min(self._beat_at, self._count_at)
        self._opened = self.log.last + 1
        self._add(None)

    def _on_propose(self, value: Value) -> None:
        if self.state == "leader":
            self._phase(self.log.slot(self.log.last) + 1, "replicate")
            self._add(value)

    def _add(self, value: Value | None) -> None:
        """Take up an entry and send it to all.

        The leader counts itself among those that have it at once, although it is on its disk only once these effects
        are carried out: a decision that follows from it is among these effects or later ones, whose turn comes after.
        The same holds of the commit index that later messages tell. Alone in its swarm it decides here, on the
        strength of the record that is carried out first.
        """
        log = self.log
        entry = Entry(self.term, log.slot(log.last) + (value is not None), value)
        self._store(log.last + 1, (entry,))
        self._acked[self.id] = log.last
        for peer, follower in self._followers.items():
            self._feed(peer, follower)
        if not self.peers:
            self._advance()

    def _feed(self, peer: int, follower: _Follower) -> None:
        """Send a follower what comes next for it, unless enough is on its way."""
        after = follower.next - 1
        if after < self.log.base:
            self._send_state(peer, follower)
            return
        if follower.probing:
            if self._now < follower.hold:
                return
            follower.hold = self._now + self._heartbeat
        elif len(follower.flights) >= self._window:
            return
        message = self._made
        if (
            message is None
            or message.prev_index != after
            or message.commit != self.commit
            or (after + len(message.entries) != self.log.last and len(message.entries) != self._batch)
        ):
            entries = self.log.since(after, self._batch)
            message = self._made = Append(
                self.term, after, self.log.term(after) or 0, entries, self.commit, self._round
            )
        self._send(peer, message)
        follower.told = self.commit
        if not follower.probing:
            follower.next = after + len(message.entries) + 1
            follower.flights.append(follower.next - 1)

    def _send_state(self, peer: int, follower: _Follower) -> None:
        """Send the snapshot: the entries that come next are gone (section 7)."""
        kept = self._compacted
        if kept is None or (follower.probing and self._now < follower.hold):
            return
        follower.probing = True
        follower.hold = self._now + self._election
        follower.flights.clear()
        self._send(peer, Install(self.term, kept.index, kept.term, kept.slot, kept.state, self._round))

    def _lead(self) -> None:
        """Step down unheard (thesis, section 6.2), or let the followers know that the leader is there."""
        if self._now >= self._count_at:
            self._count_at = self._now + self._election
            heard = {peer: True for peer, follower in self._followers.items() if follower.heard}
            heard[self.id] = True
            if self._count(heard) != "won":
                self._retire("heard no majority")
                return
            for follower in self._followers.values():
                follower.heard = False
        if self._now >= self._beat_at:
            self._beat_at = self._now + self._heartbeat
            self._beat(all_of_them=False)
        self._due = min(self._beat_at, self._count_at)

    def _beat(self, *, all_of_them: bool) -> None:
        """Send heartbeats, but not to who has just been sent entries with the same news, unless to ``all_of_them``."""
        message: Append | None = None
        for peer, follower in self._followers.items():
            if follower.told == self.commit and not all_of_them:
                follower.told = -1
                continue
            follower.told = -1
            # A follower that needs the snapshot is told of the place where all logs agree.
            after = follower.next - 1 if follower.next > self.log.base else 0
            if message is None or message.prev_index != after:
                message = Append(self.term, after, self.log.term(after) or 0, (), self.commit, self._round)
            self._send(peer, message)

    @on(Appended)
    def _appended(self, sender: int, message: Appended) -> None:
        follower = self._answered(sender, message.term, message.round)
        if follower is None:
            return
        index = message.index
        if index > self._acked.get(sender, 0):
            self._acked[sender] = index
            if index >= follower.next:
                follower.next = index + 1
            flights = follower.flights
            while flights and flights[0] <= index:
                del flights[0]
            if index > self.commit:
                self._advance()
        if follower.probing and index >= follower.next - 1 >= self.log.base:
            follower.probing = False  # the logs agree there: from now on send without waiting
        if follower.next <= self.log.last:
            self._feed(sender, follower)

    @on(Rejected)
    def _rejected(self, sender: int, message: Rejected) -> None:
        follower = self._answered(sender, message.term, message.round)
        if follower is None:
            return
        rejected, acked = message.prev_index, self._acked.get(sender, 0)
        if rejected <= acked or (follower.probing and rejected != follower.next - 1):
            return  # said before something that is known by now
        follower.next = max(acked + 1, min(self._back(message), rejected))
        follower.probing = True
        follower.hold = 0
        follower.flights.clear()
        self._feed(sender, follower)

    def _back(self, message: Rejected) -> int:
        """Return where to try next: a whole term of conflicts is skipped at a time (section 5.3, end)."""
        last = self.log.last_of(message.conflict_term) if message.conflict_term else None
        return message.conflict_index if last is None else last + 1

    def _answered(self, sender: int, term: int, round_: int) -> _Follower | None:
        """Take note that a follower answers; ``None``: not to this term's leader."""
        if term > self.term:
            self._adopt(term)
            return None
        if self.state != "leader" or self._stale(term):
            return None
        follower = self._followers.get(sender)
        if follower is None:
            return None
        follower.heard = True
        if self._reads and round_ > self._rounds.get(sender, 0):
            self._rounds[sender] = round_
            self._serve()
        return follower

    def _advance(self) -> None:
        index = self._agreed(self._acked)
        if index > self.commit and self._may_commit(index):
            self._learn(index)

    # --- following (section 5.3) --------------------------------------------------------------------------

    def _follow(self, sender: int, term: int) -> bool:
        """Take ``sender`` for the leader; ``False``: its time is over, or it is this node's."""
        if self._stale(term):
            return False
        if term > self.term:
            self._adopt(term)
        if self.state != "follower":
            if self.state == "leader":
                return False
            self._retire("heard the leader")
        self._leader = sender
        self._heard_at = self._now
        self._due = self._now + self._patience
        return True

    @on(Append)
    def _append(self, sender: int, message: Append) -> None:
        prev, entries, log = message.prev_index, message.entries, self.log
        if not self._follow(sender, message.term):
            self._send(sender, Rejected(self.term, prev, 0, prev, message.round))
            return
        if (
            prev < log.base
        ):  # what the snapshot has replaced is committed, and so the same in the leader's log
            entries = entries[log.base - prev :]
            prev = log.base
        elif (term := log.term(prev)) != message.prev_term:
            first = log.last + 1 if term is None else log.first_of(term)
            self._send(sender, Rejected(self.term, prev, term or 0, first, message.round))
            return
        matched = prev + len(entries)
        if entries and not self._merge(prev + 1, entries):
            return
        commit = min(message.commit, matched)
        if commit > self.commit:
            self._learn(commit)
        self._send(sender, Appended(self.term, matched, message.round))

    def _merge(self, index: int, entries: Sequence[Entry]) -> bool:
        """Store what is new. What is there stays unless it conflicts: the message may be an old one (section 5.3)."""
        for offset, entry in enumerate(entries):
            at = index + offset
            if self.log.term(at) != entry.term:
                if not self._may_replace(at):
                    return False
                self._store(at, entries[offset:])
                break
        return True

    # --- snapshots (section 7) ----------------------------------------------------------------------------

    @on(Install)
    def _install(self, sender: int, message: Install) -> None:
        if not self._follow(sender, message.term):
            self._send(sender, Rejected(self.term, message.index, 0, message.index, message.round))
            return
        if message.index > self.commit:
            self._compact(Compacted(message.index, message.index_term, message.slot, message.state))
            self._out.snapshot = Snapshot(message.slot, message.state)
            self.commit = message.index
            if self._waiting:
                self._answer()
        self._send(sender, Appended(self.term, message.index, message.round))

    def _on_compact(self, snapshot: Snapshot) -> None:
        log = self.log
        if snapshot.slot <= log.base_slot:
            return
        index = log.index_of(snapshot.slot)
        if index is None or index > self.commit:
            raise UsageError(
                f"slot {snapshot.slot} is not decided at agent {self.id}: snapshots hold what is, up to slot "
                f"{log.slot(self.commit)}",
                field="slot",
                given=str(snapshot.slot),
                allowed=f"0 to {log.slot(self.commit)}",
            )
        self._compact(Compacted(index, log.term(index) or 0, snapshot.slot, snapshot.state))

    def _compact(self, record: Compacted) -> None:
        self._persist(record)
        self._compacted = record
        self.log.cut(record.index, record.term, record.slot)

    # --- linearizable reads without the log (ReadIndex: thesis, section 6.4) ------------------------------

    def _on_read(self, request: str) -> None:
        if self.state == "leader":
            self._confirm(self.id, request)
        elif self._leader is not None:
            self._asked[request] = None
            self._send(self._leader, AskRead(request))

    @on(AskRead)
    def _ask_read(self, sender: int, message: AskRead) -> None:
        if self.state == "leader":
            self._confirm(sender, message.request)

    def _confirm(self, reader: int, request: str) -> None:
        """Ask a majority whether this node still leads. Until its term's first entry it knows no commit for sure."""
        self._round += 1
        self._reads.append((self._round, max(self.commit, self._opened), reader, request))
        self._rounds[self.id] = self._round
        self._made = None
        if self.peers:
            self._beat(all_of_them=True)
        else:
            self._serve()

    def _serve(self) -> None:
        """Answer the reads whose round a majority has answered and whose index is committed."""
        confirmed = self._agreed(self._rounds)
        while self._reads and self._reads[0][0] <= confirmed and self._reads[0][1] <= self.commit:
            _, index, reader, request = self._reads.pop(0)
            slot = self.log.slot(index)
            if reader == self.id:
                self._out.reads.append(Read(request, slot))
            else:
                self._send(reader, ReadAt(request, index, slot))

    @on(ReadAt)
    def _read_at(self, sender: int, message: ReadAt) -> None:  # noqa: ARG002 - whoever led then
        if message.request in self._asked:
            del self._asked[message.request]
            self._waiting.append(message)
            self._answer()

    def _answer(self) -> None:
        """Answer the reads for which all is decided here."""
        self._out.reads.extend(
            Read(read.request, read.slot) for read in self._waiting if read.index <= self.commit
        )
        self._waiting = [read for read in self._waiting if read.index > self.commit]

    # --- after a crash ------------------------------------------------------------------------------------

    def _on_restore(self, persisted: Sequence[Record]) -> None:
        for record in persisted:
            if isinstance(record, Voted):
                self.term, self.vote = record.term, record.vote
            elif isinstance(record, Stored):
                self.log.put(record.index, record.entries)
            elif isinstance(record, Compacted):
                self._compacted = record
                self.log.cut(record.index, record.term, record.slot)
                self.commit = record.index
        if self._compacted is not None:
            self._out.snapshot = Snapshot(self._compacted.slot, self._compacted.state)


def _checked(options: Mapping[str, object]) -> tuple[int, int, int, int]:
    """Return election, heartbeat, batch and window."""
    found = []
    for name, default in OPTIONS.items():
        value = options.get(name, default)
        if not isinstance(value, int) or value < 1:
            raise UsageError(
                f"{name} is {value!r}: it is a whole number from 1 on",
                field=name,
                given=str(value),
                allowed="1, 2, ...",
            )
        found.append(value)
    election, heartbeat, batch, window = found
    if heartbeat >= election:
        raise UsageError(
            f"heartbeats every {heartbeat} ticks are too late for elections after {election}",
            field="heartbeat",
            given=str(heartbeat),
            allowed=f"1 to {election - 1}",
        )
    return election, heartbeat, batch, window
