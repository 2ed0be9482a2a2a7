"""The ways to agree that the hive suite knows. The coordinator offers them by name; consensus imports their modules."""

from __future__ import annotations

from collections.abc import Mapping

MECHANISMS: Mapping[str, str] = {
    "voting": "swarm_consensus.protocols.voting",
    "weighted": "swarm_consensus.protocols.weighted",
    "raft": "swarm_consensus.protocols.raft",
    "paxos": "swarm_consensus.protocols.paxos",
    "multi_paxos": "swarm_consensus.protocols.multi_paxos",
    "pbft": "swarm_consensus.protocols.pbft",
}
"""By name, the module that offers its ``MECHANISM``. A further one is a module like these, and a line here."""
