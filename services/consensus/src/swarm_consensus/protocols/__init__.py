"""The ways to agree. One module a mechanism; each offers its ``MECHANISM``, and this table lists them."""

from __future__ import annotations

from collections.abc import Mapping

from swarm_consensus.protocols import multi_paxos, paxos, raft, voting, weighted
from swarm_consensus.protocols.core import Mechanism

MECHANISMS: Mapping[str, Mechanism] = {
    mechanism.name: mechanism
    for mechanism in (
        voting.MECHANISM,
        weighted.MECHANISM,
        raft.MECHANISM,
        paxos.MECHANISM,
        multi_paxos.MECHANISM,
    )
}
"""By name. A further one is a module like these, and a name here."""
