"""Nodes as others run them: processes that talk in lines over a bad network, one killed, clients' history checked."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from support.maelstrom import Swarm, client
from support.waiting import until
from swarm_histories import CAS_REGISTER, Event, check, encode, read

CLIENTS, EACH, KEYS = 6, 40, 3


@pytest.mark.chaos
@pytest.mark.parametrize(("mechanism", "n"), [("raft", 3), ("multi_paxos", 3), ("pbft", 4)])
async def test_a_swarm_with_a_killed_node_on_a_bad_network_stays_linearizable(
    mechanism: str, n: int, tmp_path: Path
) -> None:
    history: list[Event] = []
    done: list[str] = []
    async with Swarm(mechanism, n, tmp_path, seed=1, drop=0.02, delay_ms=(0, 5)) as swarm:
        clients = [
            asyncio.create_task(client(swarm, f"c{at + 1}", at + 1, EACH, KEYS, history, done))
            for at in range(CLIENTS)
        ]
        await until(lambda: len(done) > CLIENTS * EACH // 4)
        await swarm.kill("n1")
        before = len(done)
        await until(lambda: done[before:].count("ok") > CLIENTS * EACH // 8, timeout_s=60)
        await swarm.start("n1")
        await asyncio.gather(*clients)
        assert swarm.lost > 0
        assert swarm.errors == []
    ends = Counter(event.type for event in history)
    assert ends["ok"] > ends["invoke"] / 2, ends
    lines = [encode(event) for event in history]
    verdict = check(read(lines, CAS_REGISTER), CAS_REGISTER)
    assert verdict.linearizable, verdict.refutation
    # A history that could not fail would prove nothing: one late read of an early value refutes it.
    assert check(read([*lines, *_late_read(history)], CAS_REGISTER), CAS_REGISTER).linearizable is False


def _late_read(history: list[Event]) -> list[bytes]:
    written = [event for event in history if event.type == "ok" and event.f == "write"]
    early, late = written[0], [event for event in written if event.key == written[0].key][-1]
    return [
        encode(Event(process="late", type=kind, f="read", key=early.key, value=value))  # type: ignore[arg-type]
        for one in (late, early)
        for kind, value in (("invoke", None), ("ok", one.value))
    ]
