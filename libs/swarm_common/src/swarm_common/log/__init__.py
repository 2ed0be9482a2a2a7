"""The log: one JetStream stream that holds every event, and what reads and writes it."""

from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import EventLog, Expected

__all__ = ["Broker", "EventLog", "Expected"]
