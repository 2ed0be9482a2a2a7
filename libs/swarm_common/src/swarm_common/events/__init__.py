"""Every event of the swarm: the vocabulary that services share, and the only thing they share.

Importing this package fills the registry.
"""

from swarm_common.events import agent, benchmark, consensus, memory, metrics, optimizer
from swarm_common.events.arrays import Array
from swarm_common.events.envelope import Event, decode, encode
from swarm_common.events.registry import Data, EventType, decode_data, digest_view, event, lookup, registered
from swarm_common.events.values import Better, Host, JudgedTarget, Metric, Samples, Target, Task

__all__ = [
    "Array",
    "Better",
    "Data",
    "Event",
    "EventType",
    "Host",
    "JudgedTarget",
    "Metric",
    "Samples",
    "Target",
    "Task",
    "agent",
    "benchmark",
    "consensus",
    "decode",
    "decode_data",
    "digest_view",
    "encode",
    "event",
    "lookup",
    "memory",
    "metrics",
    "optimizer",
    "registered",
]
