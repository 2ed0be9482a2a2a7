"""Histories of clients' operations on a shared store, and whether they are linearizable."""

from swarm_histories.checking import Refutation, Verdict, check
from swarm_histories.history import Event, InvalidHistory, Operation, encode, read
from swarm_histories.models import CAS_REGISTER, KV, MODELS, REGISTER, Model

__all__ = [
    "CAS_REGISTER",
    "KV",
    "MODELS",
    "REGISTER",
    "Event",
    "InvalidHistory",
    "Model",
    "Operation",
    "Refutation",
    "Verdict",
    "check",
    "encode",
    "read",
]
