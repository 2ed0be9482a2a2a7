"""What `swarm status` shows: services, lag, dead letters, how full the log is, what went wrong last."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
from nats.js.errors import NotFoundError

from swarm_cli import context, output, render
from swarm_cli.connect import client, run_async
from swarm_cli.stack.layout import SERVICES, Layout, State, read_state
from swarm_common.client import Client
from swarm_common.log.broker import redact
from swarm_common.log.streams import DEAD_STREAM, STREAM
from swarm_common.settings import Settings

#: Less free space than this is worth a word: JetStream refuses to store when none is left.
LOW_DISK_BYTES = 512 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_PAGE = 256


def status(*, json: bool) -> int:
    """Print the status; returns an exit code: 0 if every service has an instance that takes work, else 1."""
    settings = context.settings()
    found = run_async(_status(settings))
    if json:
        output.emit(found)
    else:
        _show(found)
    return 0 if all(any(one["ready"] for one in service["instances"]) for service in found["services"]) else 1


async def _status(settings: Settings) -> dict[str, Any]:
    state = None if settings.nats_url else read_state(Layout(settings.home_path))
    async with client(settings) as swarm:
        instances, consumers, log, dead = await asyncio.gather(
            swarm.instances(wait_s=0.4),
            _consumers(swarm),
            _stream(swarm, STREAM),
            _stream(swarm, DEAD_STREAM),
        )
        url = redact(swarm.broker.url)
    return {
        "nats_url": url,
        "services": _services(instances, consumers, state),
        "dead_letters": dead["messages"],
        "log": log,
        "embedded": None if state is None else _embedded(state, settings),
        "problems": _problems(log, None if state is None else settings),
    }


def _services(
    instances: list[dict[str, Any]], consumers: list[dict[str, Any]], state: State | None
) -> list[dict[str, Any]]:
    """Return the services, those that should be there but are not included."""
    names = [*SERVICES, *sorted({str(one["service"]) for one in instances} - set(SERVICES))]
    restarts = {one.pid: one.restarts for one in state.services} if state else {}
    found = []
    for name in names:
        own = [one for one in consumers if one["name"] == name or one["name"].startswith(f"{name}-")]
        found.append(
            {
                "name": name,
                "instances": [
                    one
                    | {
                        "pid": int(one["pid"]),
                        "ready": bool(one.get("ready")),
                        "restarts": restarts.get(one["pid"]),
                    }
                    for one in instances
                    if one["service"] == name
                ],
                "lag": sum(one["pending"] for one in own),
                "in_flight": sum(one["in_flight"] for one in own),
                "consumers": own,
            }
        )
    return found


async def _consumers(swarm: Client) -> list[dict[str, Any]]:
    """Return the log's durable consumers: what waits for each, and what is being worked on."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            page = await swarm.broker.js.consumers_info(STREAM, offset=len(found))
        except NotFoundError:
            return found
        found += [
            {
                "name": one.name,
                "pending": one.num_pending or 0,
                "in_flight": one.num_ack_pending or 0,
                "redelivered": one.num_redelivered or 0,
            }
            for one in page
            if one.config.durable_name
        ]
        if len(page) < _PAGE:
            return found


async def _stream(swarm: Client, name: str) -> dict[str, Any]:
    try:
        info = await swarm.broker.js.stream_info(name)
    except NotFoundError:
        return {"messages": 0, "bytes": 0, "max_bytes": None, "full": None}
    limit = info.config.max_bytes or -1
    return {
        "messages": info.state.messages,
        "bytes": info.state.bytes,
        "max_bytes": limit if limit > 0 else None,
        "full": info.state.bytes / limit if limit > 0 else None,
    }


def _embedded(state: State, settings: Settings) -> dict[str, Any]:
    return {
        "pid": state.pid,
        "started": state.started,
        "profile": state.profile,
        "monitoring_url": state.monitoring_url,
        "home": str(settings.home_path),
        "restarts": state.restarts(),
        "disk_free_bytes": shutil.disk_usage(settings.home_path).free,
    }


def _problems(log: dict[str, Any], embedded: Settings | None) -> list[str]:
    """Return what a person should look at."""
    found = []
    if log["full"] is not None and log["full"] > 0.9:
        found.append(
            f"the log is {log['full']:.0%} full ({render.size(log['bytes'])}); `swarm archive` makes room"
        )
    if embedded is not None:
        free = shutil.disk_usage(embedded.home_path).free
        if free < LOW_DISK_BYTES:
            found.append(
                f"the disk is nearly full: {render.size(free)} left under {embedded.home_path}; free some space"
            )
        found += last_errors(Layout(embedded.home_path).logs)
    return found


def last_errors(logs: Path, most: int = 5) -> list[str]:
    """Return the last errors in the log files of the stack's processes, newest last."""
    found: list[tuple[float, str]] = []
    for path in logs.glob("*.log"):
        with contextlib.suppress(OSError):
            last: deque[str] = deque((text for text in _tail(path) if text), maxlen=2)
            found += [(path.stat().st_mtime, f"{path.stem}: {text}") for text in last]
    return [text for _, text in sorted(found)[-most:]]


def _tail(path: Path) -> list[str]:
    """Return the errors among the last lines of a log file."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return [error_in(line) for line in lines]


def error_in(line: str) -> str:
    """Return what a line of a log file says went wrong, or an empty string."""
    if "[ERR]" in line or "[FTL]" in line:
        text = line.partition("[ERR]")[2] or line.partition("[FTL]")[2]
        hint = " (the disk is full)" if "no space left" in line else ""
        return text.strip() + hint
    if not line.startswith("{"):
        return ""
    try:
        entry = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return ""
    if entry.get("level") not in {"error", "critical"}:
        return ""
    details = entry.get("error") or entry.get("message") or entry.get("subject") or ""
    return f"{entry.get('timestamp', '')[:19]} {entry.get('event', '')} {details}".strip()


def _show(found: dict[str, Any]) -> None:
    rows: list[list[render.Cell]] = []
    for service in found["services"]:
        lag = str(service["lag"])
        if not service["instances"]:
            rows.append([service["name"], ("absent", "red"), "", "", "", "", lag])
        for one in service["instances"]:
            ready: render.Cell = ("ready", "green") if one["ready"] else ("stopping", "yellow")
            rows.append(
                [
                    service["name"],
                    ready,
                    str(one["pid"]),
                    str(one.get("handled", "")),
                    str(one.get("in_flight", "")),
                    str(one.get("failures", "")),
                    lag,
                ]
            )
            lag = ""
    output.line(f"broker {found['nats_url']}")
    render.table(
        ["service", "state", "pid", "handled", "in flight", "failures", "lag"], rows, right=(2, 3, 4, 5, 6)
    )
    log = found["log"]
    full = "" if log["full"] is None else f", {log['full']:.0%} full"
    output.line(f"log: {log['messages']:,} messages, {render.size(log['bytes'])}{full}")
    letters = found["dead_letters"]
    output.line(f"dead letters: {letters}" + (" (`swarm dead-letters` lists them)" if letters else ""))
    embedded = found["embedded"]
    if embedded:
        output.line(
            f"embedded since {render.day_time(embedded['started'])} UTC, profile {embedded['profile']}, "
            f"{embedded['restarts']} restarts, {render.size(embedded['disk_free_bytes'])} of disk free"
        )
    for problem in found["problems"]:
        output.line(render.styled(f"! {problem}", "yellow"))
