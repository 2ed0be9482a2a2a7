"""Raft by scripts: each file under ``raft/`` is a story of commands, and under four dashes what comes of each.

The way is that of etcd's datadriven tests. ``REWRITE=1 pytest`` writes what comes now into the files: read the diff.

    agents N [option=value ...]      a new swarm
    disk A term=T [vote=B] log=T,T   agent A is made of these records; values are called by index and term
    time-out A                       ticks pass at A until it does something
    ticks A N                        N ticks pass at A
    deliver                          all messages on their way, and those they lead to, until it is quiet
    trace [N]                        the same, showing them (N: so many alone)
    lose A                           what is on its way from and to A is lost
    hold A, release                  what is on its way from A waits; it goes on
    cut A [B ...], heal              messages from and to these agents are lost from now on; no more
    propose A VALUE ..., read A R, compact A SLOT
    crash A, restart A
    show                             how all stand: the log as term:value, - without a value, a bar where commit ends
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from random import Random

import pytest

from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Effects, Message, Node, Record, Setup, Snapshot, Violated
from swarm_consensus.protocols.raft import Raft
from swarm_consensus.protocols.raft.messages import (
    Append,
    Appended,
    AskRead,
    Entry,
    Install,
    ReadAt,
    Rejected,
    RequestVote,
    Stored,
    Vote,
    Voted,
)

SCRIPTS = sorted((Path(__file__).parent / "raft").glob("*.txt"))


def told(message: Message) -> str:  # noqa: PLR0911 - one kind of message, one line
    """Return a message as scripts show it."""
    match message:
        case RequestVote(term, index, of, pre):
            return f"{'would you vote' if pre else 'vote'} for me in term {term}? my log ends at {index}:{of}"
        case Vote(term, granted, pre):
            return f"{'' if granted else 'no '}{'pre-vote' if pre else 'vote'} in term {term}"
        case Append(term, prev, of, entries, commit, _):
            what = " ".join(shown(entry) for entry in entries) if entries else "heartbeat"
            return f"term {term} after {prev}:{of} commit {commit}: {what}"
        case Appended(term, index, _):
            return f"term {term} have {index}"
        case Rejected(term, prev, of, first, _):
            return f"term {term} not after {prev}: {f'term {of} from {first}' if of else f'nothing from {first}'}"
        case Install(term, index, of, slot, _, _):
            return f"term {term} snapshot {index}:{of} slot {slot}"
        case AskRead(request):
            return f"read {request}?"
        case ReadAt(request, index, slot):
            return f"read {request} at {index}, slot {slot}"
    return repr(message)


def shown(entry: Entry) -> str:
    return f"{entry.term}:{'-' if entry.value is None else entry.value}"


class Swarm:
    """Agents, and a network that does what the script says; the invariants are checked all along."""

    def __init__(self, kind: type[Raft] = Raft) -> None:
        self.kind = kind
        self.nodes: list[Raft | None] = []
        self.disks: list[list[Record]] = []
        self.way: deque[tuple[int, int, Message]] = deque()
        self.held: list[tuple[int, int, Message]] = []
        self.cuts: set[int] = set()
        self.lines: list[str] = []
        self.seen: list[str] = []

    def do(self, line: str) -> str:
        """Carry out a command and return what came of it."""
        name, *words = line.split()
        self.lines = []
        getattr(self, "do_" + name.replace("-", "_"))(*words)
        return "\n".join(self.lines) or "ok"

    def tell(self, commands: str) -> list[str]:
        """Carry out all commands that are no comments."""
        return [self.do(line) for line in commands.splitlines() if line and not line.startswith("#")]

    def do_agents(self, n: str, *options: str) -> None:
        self.options = {key: int(value) for key, _, value in (option.partition("=") for option in options)}
        self.members = tuple(range(int(n)))
        self.disks = [[] for _ in self.members]
        self.checks = [check(self.members) for check in MECHANISMS["raft"].checks]
        self.seen = ["follower"] * int(n)
        self.nodes = [None for _ in self.members]
        for agent in self.members:
            self._make(agent)

    def do_disk(self, agent: str, *settings: str) -> None:
        given = dict(setting.split("=") for setting in settings)
        terms = [int(term) for term in given.get("log", "").split(",") if term]
        entries = tuple(Entry(term, at, f"{at + 1}.{term}") for at, term in enumerate(terms))
        vote = int(given["vote"]) if "vote" in given else None
        records: list[Record] = [Voted(int(given["term"]), vote), Stored(1, entries)]
        self._out(self._node(agent), Effects(persist=records))
        self._make(int(agent))

    def do_time_out(self, agent: str) -> None:
        node = self._node(agent)
        for _ in range(100):
            effects = node.tick()
            if effects.messages or effects.persist or node.state != self.seen[node.id]:
                self._out(node, effects)
                return
        raise AssertionError("nothing happened in 100 ticks")

    def do_ticks(self, agent: str, times: str) -> None:
        for _ in range(int(times)):
            self._out(self._node(agent), self._node(agent).tick())

    def do_deliver(self) -> None:
        while self.way:
            self._deliver()

    def do_trace(self, most: str = "1000") -> None:
        for _ in range(int(most)):
            if not self.way:
                return
            sender, to, message = self.way[0]
            lost = " (lost)" if self._lost(sender, to) else ""
            self.lines.append(f"{sender}>{to} {told(message)}{lost}")
            self._deliver()

    def do_lose(self, agent: str) -> None:
        self.way = deque(one for one in self.way if int(agent) not in one[:2])

    def do_hold(self, agent: str) -> None:
        self.held = [one for one in self.way if one[0] == int(agent)]
        self.way = deque(one for one in self.way if one[0] != int(agent))

    def do_release(self) -> None:
        self.way.extend(self.held)
        self.held = []

    def do_cut(self, *agents: str) -> None:
        self.cuts |= {int(agent) for agent in agents}

    def do_heal(self) -> None:
        self.cuts.clear()

    def do_propose(self, agent: str, *values: str) -> None:
        for value in values:
            self._out(self._node(agent), self._node(agent).propose(value))

    def do_read(self, agent: str, request: str) -> None:
        self._out(self._node(agent), self._node(agent).read(request))

    def do_compact(self, agent: str, slot: str) -> None:
        self._out(self._node(agent), self._node(agent).compact(Snapshot(int(slot), f"state {slot}")))

    def do_crash(self, agent: str) -> None:
        self.nodes[int(agent)] = None

    def do_restart(self, agent: str) -> None:
        self._make(int(agent))

    def do_show(self) -> None:
        for agent, node in enumerate(self.nodes):
            if node is None:
                self.lines.append(f"{agent} is down")
                continue
            log = node.log
            words = [f"[{log.base}:{log.base_term}]"] if log.base else []
            for index, entry in enumerate(log.entries, log.base + 1):
                if index == node.commit + 1:
                    words.append("|")
                words.append(shown(entry))
            vote = "-" if node.vote is None else node.vote
            self.lines.append(
                f"{agent} {node.state} term {node.term} vote {vote} log {' '.join(words)}".rstrip()
            )

    def _node(self, agent: str) -> Raft:
        node = self.nodes[int(agent)]
        assert node is not None, f"{agent} is down"
        return node

    def _make(self, agent: int) -> None:
        setup = Setup(id=agent, members=self.members, random=Random(agent), options=self.options)  # noqa: S311 - seeded, nothing secret
        node = self.nodes[agent] = self.kind(setup)
        self.seen[agent] = node.state
        for check in self.checks:
            check.restarted(node)
        self._out(node, node.restore(self.disks[agent]))

    def _lost(self, sender: int, to: int) -> bool:
        return sender in self.cuts or to in self.cuts or self.nodes[to] is None

    def _deliver(self) -> None:
        sender, to, message = self.way.popleft()
        node = self.nodes[to]
        if node is not None and not self._lost(sender, to):
            self._out(node, node.step(sender, message))

    def _out(self, node: Node, effects: Effects) -> None:
        self.disks[node.id].extend(effects.persist)
        for check in self.checks:
            check.after(node, effects)
        if node.state != self.seen[node.id]:
            self.seen[node.id] = node.state
            self.lines.append(f"  {node.id} is {node.state}")
        if effects.snapshot is not None:
            self.lines.append(f"  {node.id} is set to {effects.snapshot.state}")
        if effects.decisions:
            first, last = effects.decisions[0].slot, effects.decisions[-1].slot
            slots = f"{first}" if first == last else f"{first} to {last}"
            values = " ".join(one.value for one in effects.decisions)
            self.lines.append(f"  {node.id} decides {slots}: {values}")
        self.lines += [f"  {node.id} reads {one.request} after slot {one.slot}" for one in effects.reads]
        self.way.extend((node.id, to, message) for to, message in effects.messages)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    swarm, written, expected = Swarm(), [], path.read_text()
    for block in expected.strip().split("\n\n"):
        head, _, _ = block.partition("\n----")
        comments = [line for line in head.splitlines() if line.startswith("#")]
        commands = [line for line in head.splitlines() if line and not line.startswith("#")]
        if not commands:
            written.append(block)
            continue
        came = [swarm.do(command) for command in commands]
        kept = [lines for lines in came[:-1] if lines != "ok"] + came[-1:]
        written.append("\n".join([*comments, *commands, "----", *kept]))
    found = "\n\n".join(written) + "\n"
    if os.environ.get("REWRITE"):
        path.write_text(found)
    assert found == expected


def test_what_figure_8_warns_of_is_found() -> None:
    class CommitsAnyTerm(Raft):
        def _may_commit(self, index: int) -> bool:
            return self.log.term(index) is not None

    script = (Path(__file__).parent / "raft" / "figure_8.txt").read_text()
    heads = [block.partition("\n----")[0] for block in script.split("\n\n")]
    with pytest.raises(Violated, match="leader completeness: agent 0 decided entry 2 of term 2, and agent 4"):
        Swarm(CommitsAnyTerm).tell("\n".join(heads))


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 8
