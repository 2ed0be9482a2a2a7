"""Live decisions in multiples of a round of all agents; Raft with disks beside etcd; and beside PySyncObj without.

*Rounds.* One agent publishes to all, all others answer: the least that any decision of all can take over this broker,
by these processes, on this machine. Round and decision take turns within one run; each turn of the bench gives one
ratio of medians. Client and round begin and end in the process of the agent that leads.

*etcd.* Three nodes each, on loopback, every answer on disk before it counts; a client in a process of its own asks for
one put after the other. Its client is gRPC by hand over a plain socket, which is less than its own library does.

*PySyncObj.* Three processes each, no disks, called in the leader's own process. With its defaults, with timers of two
milliseconds, and with these and without batches: the fastest it goes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from kit.cli import alone, run_async
from kit.etcd import Etcd, etcd
from kit.measure import Bench, Row, Skipped, quantile, ratios
from kit.pysyncobj import pysyncobj
from kit.servers import nats_server, scratch

from swarm_consensus.live.driver import Swarm, swarm
from swarm_consensus.live.keys import Authentication
from swarm_consensus.live.measuring import Load
from swarm_consensus.live.params import LiveParams

#: Multiples of the round that a decision may take, by mechanism; and for how many agents.
_MAY = {"voting": 1.5, "raft": 2.0, "multi_paxos": 2.0, "paxos": 3.0, "pbft": 4.0}
_SIZES = {"voting": (3, 4, 5), "raft": (3, 4, 5), "multi_paxos": (3, 5), "paxos": (3, 4, 5), "pbft": (4, 5)}
#: PBFT signs; beside it the same with MACs, as its authors measured it.
_CELLS: list[tuple[str, int, Authentication]] = [
    *((mechanism, agents, "ed25519") for mechanism, sizes in _SIZES.items() for agents in sizes),
    *(("pbft", agents, "mac") for agents in _SIZES["pbft"]),
]
#: Decisions, and rounds, in one turn.
_BLOCK = 50
_PEERS = {
    "defaults": ("its defaults", 8),
    "tuned": ("2 ms timers", 20),
    "unbatched": ("and unbatched", _BLOCK),
}
_PATIENCE_S = 10.0
_LIMIT_S = 600


async def _led(made: Swarm) -> None:
    """Return when somebody leads and has decided: what follows elects nobody and prepares nothing."""
    await made.decide(["first"])
    await made.until(lambda: made.leader is not None, _PATIENCE_S, "a leader")
    await made.decide([f"warm {number}" for number in range(_BLOCK)], rounds=_BLOCK)


async def _multiples(url: str, home: Path, turns: int) -> list[Row]:
    rows = []
    for mechanism, agents, how in _CELLS:
        decisions: list[float] = []
        rounds: list[float] = []
        params = LiveParams(mechanism=mechanism, agents=agents, authentication=how)
        async with swarm(params, url, home=home) as made:
            await _led(made)
            for turn in range(turns):
                block = await made.decide([f"{turn} {at}" for at in range(_BLOCK)], rounds=_BLOCK)
                decisions.append(quantile([one.latency_us for one in block], 0.5))
                rounds.append(quantile([one.round_us for one in block], 0.5))
        what = f"{statistics.median(decisions):.0f} us a decision, {statistics.median(rounds):.0f} us a round"
        rows.append(
            Row(
                name=f"{mechanism} {agents}{', MACs' if how == 'mac' else ''}",
                what=what,
                unit="rounds",
                samples=ratios(decisions, rounds),
                target=f"<= {_MAY[mechanism]}",
            )
        )
    return rows


async def _puts(made: Swarm, count: int) -> float:
    """Return the median microseconds of a client's operations, one after the other, over the broker."""
    load = Load(made, LiveParams(mechanism="raft", agents=3, decisions=count, clients=1))
    load.begin()
    await made.until(lambda: load.over, _PATIENCE_S * count, "a client's operations")
    load.end()
    lasted = [(one.returned - one.called) / 1e3 for one in load.history if one.returned is not None]
    if len(lasted) < count:
        raise RuntimeError(f"only {len(lasted)} of {count} operations were answered")
    return quantile(lasted, 0.5)


async def _beside_etcd(url: str, home: Path, turns: int) -> list[Row]:
    params = LiveParams(mechanism="raft", agents=3, fsync=True)
    ours: list[float] = []
    theirs: list[float] = []
    with etcd(home) as peer:
        async with swarm(params, url, home=home) as made:
            await _led(made)
            for turn in range(-1, turns):
                mine, other = await _puts(made, _BLOCK), _etcd_puts(peer)
                if turn >= 0:
                    ours.append(mine)
                    theirs.append(other)
    return [
        Row(name="raft, disks", what="ours, 3 agents, a client elsewhere", unit="us", samples=tuple(ours)),
        Row(name="etcd", what="3 nodes, a client elsewhere", unit="us", samples=tuple(theirs)),
        Row(
            name="ratio",
            what="p50 of ours / p50 of etcd, by turn",
            unit="x",
            samples=ratios(ours, theirs),
            target="<= 1",
        ),
    ]


def _etcd_puts(peer: Etcd) -> float:
    lasted = []
    for number in range(_BLOCK):
        began = time.perf_counter()
        peer.put(b"r", b"%d" % number)
        lasted.append(1e6 * (time.perf_counter() - began))
    return quantile(lasted, 0.5)


async def _beside_pysyncobj(url: str, home: Path, turns: int) -> list[Row]:
    rows = []
    for config, (what, count) in _PEERS.items():
        ours: list[float] = []
        theirs: list[float] = []
        with pysyncobj(config) as peer:
            async with swarm(LiveParams(mechanism="raft", agents=3), url, home=home) as made:
                await _led(made)
                for turn in range(-1, turns):
                    block = await made.decide([f"{turn} {at}" for at in range(_BLOCK)])
                    other = peer.add(count)
                    if turn >= 0:
                        ours.append(quantile([one.latency_us for one in block], 0.5))
                        theirs.append(quantile(other, 0.5))
        told = f"ours {statistics.median(ours):.0f} us, theirs {statistics.median(theirs):,.0f} us"
        rows.append(
            Row(
                name=f"pysyncobj {config}",
                what=f"theirs / ours, {what}: {told}",
                unit="x",
                samples=ratios(theirs, ours),
                target=">= 5",
            )
        )
    return rows


async def _measure(quick: bool) -> tuple[Sequence[Row], Sequence[str]]:
    turns = 3 if quick else 9
    notes: list[str] = []
    with scratch() as home, nats_server(home) as url:
        rows = await _multiples(url, home, turns)
        for part in (_beside_etcd, _beside_pysyncobj):
            try:
                rows += await part(url, home, turns)
            except Skipped as reason:
                notes.append(f"not measured: {reason}")
    return rows, notes


def run(quick: bool) -> tuple[Sequence[Row], Sequence[str]]:
    return run_async(_measure(quick), _LIMIT_S)


BENCH = Bench("live", "live decisions in rounds of all agents; Raft beside etcd and PySyncObj", run)

if __name__ == "__main__":
    alone(BENCH)
