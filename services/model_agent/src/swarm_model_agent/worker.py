"""A worker process: reads jobs from its socket, answers, ends when the socket does."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection

from swarm_model_agent.lifeline import die_with_parent, is_orphan


def serve(connection: Connection) -> None:
    """Answer jobs one after the other until the other side closes."""
    die_with_parent()
    if is_orphan():  # the fork server ended before the kernel was told
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's to handle
    from swarm_model_agent import jobs  # noqa: PLC0415 - the service's process imports this module, too

    while True:
        try:
            frame = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send_bytes(jobs.answer(frame))
