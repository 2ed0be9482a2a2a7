"""Maelstrom's part: nodes as child processes, a network that delays and drops, clients that record what they see.

It speaks the protocol that Maelstrom documents: JSON lines, ``init``, the workload ``lin-kv``, error codes.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import json
import sys
from pathlib import Path
from random import Random
from typing import Any, Self

from swarm_histories import Event

DEFINITE = {10, 11, 12, 20, 22}
"""Error codes that say that nothing happened."""
GIVE_UP_S = 2.0


class Swarm:
    """Processes of ``python -m swarm_consensus.maelstrom``, and the network; a seed says what is lost and how late."""

    def __init__(
        self, mechanism: str, n: int, directory: Path, *, seed: int, drop: float, delay_ms: tuple[int, int]
    ) -> None:
        self.names = [f"n{at + 1}" for at in range(n)]
        self._command = [
            *(sys.executable, "-m", "swarm_consensus.maelstrom", "--mechanism", mechanism),
            *("--directory", str(directory), "--tick-ms", "10"),
        ]
        self._random = Random(seed)  # noqa: S311 - seeded, nothing secret
        self._drop, self._delay_ms = drop, delay_ms
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._late: list[tuple[float, int, str, bytes]] = []
        self._order = itertools.count()
        self._more = asyncio.Event()
        self._waiting: dict[tuple[str, int], asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self.carried = self.lost = 0
        self.errors: list[str] = []

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._carry()))
        await asyncio.gather(*(self.start(name) for name in self.names))
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.stdin is not None:
                process.stdin.close()  # whose input ends, ends
        try:
            async with asyncio.timeout(10):
                await asyncio.gather(*(process.wait() for process in self.processes.values()))
        finally:
            for process in self.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self, name: str) -> None:
        """Start a node, or start it again, and initialise it."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, limit=1 << 24
        )
        self.processes[name] = process
        self._tasks.append(asyncio.create_task(self._hear(process)))
        self._tasks.append(asyncio.create_task(self._complain(name, process)))
        told = await self.call(
            "c0", name, {"type": "init", "node_id": name, "node_ids": self.names}, wait_s=30
        )
        assert told is not None, self.errors
        assert told["type"] == "init_ok"

    async def kill(self, name: str) -> None:
        """End a node by SIGKILL."""
        self.processes[name].kill()
        await self.processes[name].wait()

    async def call(
        self, client: str, node: str, body: dict[str, Any], *, wait_s: float = GIVE_UP_S
    ) -> dict[str, Any] | None:
        """Return the body of the answer; ``None``: none came in time."""
        number = next(self._ids)
        answer = self._waiting[client, number] = asyncio.get_running_loop().create_future()
        self._deliver(
            node, json.dumps({"src": client, "dest": node, "body": body | {"msg_id": number}}).encode()
        )
        try:
            async with asyncio.timeout(wait_s):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._waiting[client, number]

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        loop = asyncio.get_running_loop()
        async for line in process.stdout:
            message = json.loads(line)
            if message["dest"] not in self.names:
                waiting = self._waiting.get((message["dest"], message["body"]["in_reply_to"]))
                if waiting is not None and not waiting.done():
                    waiting.set_result(message["body"])
            elif self._random.random() < self._drop:
                self.lost += 1
            else:
                self.carried += 1
                late_s = self._random.uniform(*self._delay_ms) / 1000
                heapq.heappush(self._late, (loop.time() + late_s, next(self._order), message["dest"], line))
                self._more.set()

    async def _complain(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.errors.append(f"{name}: {line.decode().rstrip()}")

    async def _carry(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._more.clear()
            while self._late and self._late[0][0] <= loop.time():
                _, _, node, line = heapq.heappop(self._late)
                self._deliver(node, line)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._late[0][0] if self._late else None):
                    await self._more.wait()

    def _deliver(self, node: str, line: bytes) -> None:
        process = self.processes[node]
        if process.returncode is None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(line.rstrip(b"\n") + b"\n")


async def client(
    swarm: Swarm, name: str, seed: int, count: int, keys: int, history: list[Event], done: list[str]
) -> None:
    """Ask for one thing after another, each of any node; who hears nothing goes on as another process."""
    random = Random(seed)  # noqa: S311
    lives = itertools.count()
    process = f"{name}.{next(lives)}"
    for at in range(count):
        key, fresh = random.randrange(keys), seed * 10_000 + at
        f = random.choice(["read", "write", "write", "cas"])
        known = [
            event.value for event in history if event.type == "ok" and event.key == key and event.f == "write"
        ]
        value: Any = {"read": None, "write": fresh, "cas": [known[-1] if known else 0, fresh]}[f]
        body: dict[str, Any] = {"type": f, "key": key}
        body |= {"value": value} if f == "write" else {"from": value[0], "to": value[1]} if f == "cas" else {}
        history.append(Event(process=process, type="invoke", f=f, key=key, value=value))
        told = await swarm.call(name, random.choice(swarm.names), body)
        event = outcome(process, f, key, value, told)
        history.append(event)
        done.append(event.type)
        if event.type == "info":
            process = f"{name}.{next(lives)}"


def outcome(process: str, f: str, key: Any, value: Any, told: dict[str, Any] | None) -> Event:
    """Return what an answer means: a key that is not there was read as nothing."""
    if told is None:
        return Event(process=process, type="info", f=f, key=key, value=value)
    if told["type"] == "error":
        if f == "read" and told["code"] == 20:
            return Event(process=process, type="ok", f=f, key=key, value=None)
        kind = "fail" if told["code"] in DEFINITE else "info"
        return Event(process=process, type=kind, f=f, key=key, value=value)
    return Event(process=process, type="ok", f=f, key=key, value=told["value"] if f == "read" else value)
