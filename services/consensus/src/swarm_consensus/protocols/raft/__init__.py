"""Raft: an elected leader orders values in its log and replicates it; what a majority has on disk is decided.

Ongaro and Ousterhout 2014, *In Search of an Understandable Consensus Algorithm*; sections named here are its, and
with "thesis" those of Ongaro 2014, *Consensus: Bridging Theory and Practice*.

- Elections (5.2) after time-outs drawn anew each time, with pre-votes (thesis 9.6): an agent that cannot win does not
  raise anybody's term, and who hears a leader helps nobody to unseat it. A leader that has heard no majority for an
  election time-out steps down (thesis 6.2).
- Replication (5.3) does not wait: entries follow one another to each follower, as far as ``window`` allows. An answer
  that its log differs makes the leader try further back, a whole term of conflicts at a time. No round tells of a
  commit: followers learn of it with the next entries or heartbeat. So a decision takes 2(n - 1) messages.
- Commit (5.4.2): an entry of the leader's own term, once a majority has it; all before it go with it. A leader begins
  its term with an entry of no value. It takes an index of the log but no slot: slots number the values alone, from 0
  without gaps, and each entry says the slot it stands at.
- Snapshots (7): ``compact`` puts a state in place of the log; a follower that needs what is gone gets the state whole.
- Reads (thesis 6.4, *ReadIndex*): the leader asks a majority whether it still leads, no clock involved; followers ask
  the leader. A read is answered where all it must see is decided; if the leader changes it may never be. Name each
  request differently.

Every answer says what is on the disk, by the order of effects: term, vote, entries and snapshots are records, carried
out before the messages beside them. A leader's new entry alone may go out while the leader's own disk is being written
(thesis 10.2.1): the message claims no more than that this agent leads, which rests on earlier records, and the commit
index in it counts none that is not written. The decision comes in later effects, and so after the leader's own disk.

Raft's fault model is crashes: a majority must be well, nobody may lie. Membership is fixed.

Options, in ticks: ``election`` (10: time-outs are 10 to 20, a majority must be heard in each 10), ``heartbeat`` (2). In
counts: ``batch`` (64: entries a message), ``window`` (64: messages to a follower before it answers). A live runner with
many clients wants ``batch`` larger; with ``window=1`` everything proposed while a message is on its way goes as one.
"""

from __future__ import annotations

from swarm_consensus.checking.agreement import Agreement, Integrity
from swarm_consensus.checking.raft import RaftInvariants
from swarm_consensus.protocols.core import Mechanism, Message, Setup
from swarm_consensus.protocols.quorum import majority
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
from swarm_consensus.protocols.raft.node import Raft

__all__ = ["MECHANISM", "Raft"]


def _equivocation(message: Message, to: int, setup: Setup) -> Message | None:
    """Lead every other agent to something else; vote for everybody; claim to have whatever one is asked for."""
    if isinstance(message, Append) and to % 2 == 0:
        return message
    if isinstance(message, Vote):
        return Vote(message.term, granted=True, pre=message.pre)
    if isinstance(message, Rejected):
        return Appended(message.term, message.prev_index, message.round)
    return _wrong_value(message, to, setup)


def _wrong_value(message: Message, to: int, setup: Setup) -> Message | None:  # noqa: ARG001 - the signature of a lie
    """Replicate what nobody has proposed."""
    if not isinstance(message, Append) or not message.entries:
        return message
    return Append(
        message.term,
        message.prev_index,
        message.prev_term,
        tuple(
            Entry(entry.term, entry.slot, None if entry.value is None else f"not {entry.value}")
            for entry in message.entries
        ),
        message.commit,
        message.round,
    )


MECHANISM = Mechanism(
    name="raft",
    title="Raft",
    description="An elected leader orders values in its log; what a majority has on disk is decided",
    paper="Ongaro, Ousterhout 2014, In Search of an Understandable Consensus Algorithm",
    node=Raft,
    messages=(RequestVote, Vote, Append, Appended, Rejected, Install, AskRead, ReadAt),
    records=(Voted, Stored, Compacted),
    phases=("replicate", "commit"),
    early=(Append,),
    crashes=lambda n: n - majority(n),
    liars=lambda n: 0,  # noqa: ARG005 - who believes its leader has no defence, whatever the size
    fault_free=lambda n: 2 * (n - 1),
    counted_until="decided",
    checks=(Agreement, Integrity, RaftInvariants),
    lies={"equivocation": _equivocation, "wrong_value": _wrong_value},
    variations={"batch": (1, 2), "window": (1, 2)},
)
