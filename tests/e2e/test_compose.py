"""docker compose up: the images, the stack, a run through it, and the same with the broker's permissions in force."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nats
import pytest

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("coordinator", "model-agent", "consensus", "memory-sync", "metrics", "optimizer")
USERS = ("admin", "requester", *(name.replace("-", "_") for name in SERVICES))
NUMERICAL = {"numpy", "scipy", "sklearn", "scikit_learn"}
ENDS = ("completed", "failed", "rejected", "cancelled")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compose_command() -> list[str]:
    """Return Compose v2, or docker-compose where that is what there is."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_image(name: str) -> bool:
    return (
        subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0
    )


def python_image() -> str:
    """Return the base to build from: what is asked for, else the default, else one that is here without a registry."""
    wanted = [os.environ.get("PYTHON_IMAGE"), "python:3.13-slim", "python:3.12-slim", "python:3.11-slim"]
    return wanted[0] or next((name for name in wanted[1:] if name and has_image(name)), "python:3.13-slim")


class Stack:
    """The compose file under a project name and on ports of its own."""

    def __init__(self, project: str, *overlays: str) -> None:
        self.project = project
        self.ports = {name: free_port() for name in ("NATS", "MONITOR", "DASHBOARD", "TRACES", "OTLP")}
        self.environment = os.environ | {f"SWARM_PORT_{name}": str(port) for name, port in self.ports.items()}
        self.environment["PYTHON_IMAGE"] = python_image()
        self.environment |= {f"SWARM_PASSWORD_{user.upper()}": "secret" for user in USERS}
        files = [option for name in ("docker-compose.yml", *overlays) for option in ("-f", name)]
        self._command = [*compose_command(), "-p", project, *files]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-4000:]}"
        return done.stdout

    def container(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", self("ps", "-q", service).split()[0]))[0]
        return found

    async def healthy(self, *services: str) -> None:
        """Wait until the health checks of ``services`` pass; the failure shows the logs."""
        states: dict[str, str] = {}
        try:
            async with asyncio.timeout(150):
                while not states or set(states.values()) != {"healthy"}:
                    await asyncio.sleep(1)
                    states = {name: self.container(name)["State"]["Health"]["Status"] for name in services}
        except TimeoutError:
            waiting = [name for name in services if states.get(name) != "healthy"]
            pytest.fail(f"not healthy: {waiting}\n{self('logs', '--tail=30', *waiting)}")


@pytest.fixture(scope="module")
def engine() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no Docker engine answers")


def raise_stack(stack: Stack, *services: str) -> Iterator[Stack]:
    try:
        stack("up", "-d", *services)
        yield stack
    finally:
        stack("down", "-v", "--remove-orphans", "-t", "5")


@pytest.fixture(scope="module")
def images(engine: None) -> None:  # noqa: ARG001 - needs it
    Stack("swarmtest-build")("build")


@pytest.fixture(scope="module")
def traced() -> bool:
    """Whether Jaeger can take part: its image is here, or a registry that gives it."""
    image = "jaegertracing/jaeger:2"
    return (
        has_image(image)
        or subprocess.run(["docker", "pull", "-q", image], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def stack(images: None, traced: bool) -> Iterator[Stack]:  # noqa: ARG001 - needs them
    yield from raise_stack(Stack("swarmtest"), "nats", *SERVICES, "model", *(["jaeger"] if traced else []))


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.status == 200
        return answer.read().decode()


async def run(port: int, request: Mapping[str, Any], user: str = "") -> dict[str, Any]:
    """Ask as any NATS client may, and return the event the run ended with."""
    ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def on_event(message: nats.aio.msg.Msg) -> None:
        if message.subject.endswith(ENDS) and not ended.done():
            ended.set_result(json.loads(message.data))

    client = await nats.connect(f"nats://{user}127.0.0.1:{port}")
    try:
        await client.subscribe("swarm.benchmark.*.*", cb=on_event)
        await client.publish("benchmark.requested", json.dumps(request).encode())
        async with asyncio.timeout(120):
            return await ended
    finally:
        await client.close()


async def test_every_service_becomes_healthy_and_works(stack: Stack) -> None:
    await stack.healthy("nats", *SERVICES)
    end = await run(stack.ports["NATS"], {"suite": "noop"})
    assert end["type"] == "benchmark.completed", end


async def test_agents_ask_the_embedded_model_that_runs_beside(stack: Stack) -> None:
    await stack.healthy("nats", "model", *SERVICES)
    params = {"modes": ["distributed"], "items": 2, "agents": 2, "family": "sentiment", "max_tokens": 8}
    end = await run(stack.ports["NATS"], {"suite": "coordination", "params": params})
    assert end["type"] == "benchmark.completed", end
    assert end["data"]["result"]["coordination"]["model"] == "smollm2-135m-instruct"
    silent = [metric["value"] for metric in end["data"]["metrics"] if metric["name"] == "silent"]
    assert silent == [0]
    # Nobody but model-agent has anything to ask of it: no port of it is published.
    assert not any(stack.container("model")["HostConfig"]["PortBindings"] or {})


async def test_the_dashboard_and_the_brokers_monitoring_answer(stack: Stack) -> None:
    await stack.healthy("nats", "metrics")
    assert "<html" in get(stack.ports["DASHBOARD"], "/").lower()
    streams = json.loads(get(stack.ports["MONITOR"], "/jsz?streams=true"))["account_details"][0][
        "stream_detail"
    ]
    assert "SWARM" in {stream["name"] for stream in streams}


async def test_one_run_is_one_trace_in_jaeger(stack: Stack, *, traced: bool) -> None:
    if not traced:
        pytest.skip("no Jaeger image here, and no registry that gives it")
    await stack.healthy("nats", *SERVICES)
    end = await run(stack.ports["NATS"], {"suite": "noop"})
    trace = end["traceparent"].split("-")[1]
    async with asyncio.timeout(60):
        services: set[str] = set()
        while not {"coordinator", "model_agent"} <= {name.removeprefix("swarm-") for name in services}:
            await asyncio.sleep(1)
            answer = await asyncio.to_thread(get, stack.ports["TRACES"], f"/api/traces/{trace}")
            processes = json.loads(answer)["data"][0]["processes"].values()
            services = {
                process["serviceName"].replace("-", "_").removeprefix("swarm_") for process in processes
            }


async def test_the_log_outlives_the_broker(stack: Stack) -> None:
    await stack.healthy("nats", *SERVICES)
    end = await run(stack.ports["NATS"], {"suite": "noop"})
    stack("restart", "-t", "5", "nats")
    await stack.healthy("nats")
    client = await nats.connect(f"nats://127.0.0.1:{stack.ports['NATS']}")
    subject = f"swarm.benchmark.{end['subject']}.completed"
    stored = await client.jetstream().get_last_msg("SWARM", subject)
    await client.close()
    assert json.loads(stored.data or b"")["id"] == end["id"]


@pytest.mark.parametrize("service", [*SERVICES, "model"])
async def test_a_service_runs_without_rights_it_does_not_need(stack: Stack, service: str) -> None:
    found = stack.container(service)
    assert found["Config"]["User"] == "10001:10001"
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]


#: Libraries of ours that a service needs beside the common one.
LIBRARIES = {
    "consensus": ("swarm-histories", "swarm-primitives"),  # whose live swarms keep histories
    "coordinator": ("swarm-primitives",),
    "memory-sync": ("swarm-primitives",),
    "metrics": ("swarm-primitives", "swarm-statistics"),
}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.usefixtures("images")
def test_an_image_holds_its_own_service_alone(service: str) -> None:
    listing = "import importlib.metadata as m; print(*(d.metadata['Name'] for d in m.distributions()))"
    names = docker(
        "run", "--rm", "--entrypoint", "/opt/swarm/bin/python", f"swarmbench-{service}", "-c", listing
    ).split()
    assert {name for name in names if name.startswith("swarm-")} == {
        "swarm-common",
        f"swarm-{service}",
        *LIBRARIES.get(service, ()),
    }
    assert {"pip", "setuptools", "hatchling"} & set(names) == set()


@pytest.mark.parametrize(
    ("service", "needed"),
    [("memory-sync", []), ("coordinator", []), ("optimizer", ["numpy"])],  # Optuna computes with numpy
)
@pytest.mark.usefixtures("images")
def test_the_numerical_stack_stays_where_it_is_needed(service: str, needed: list[str]) -> None:
    probe = f"import importlib.util as u; print(*(n for n in {sorted(NUMERICAL)!r} if u.find_spec(n)))"
    assert (
        docker(
            "run", "--rm", "--entrypoint", "/opt/swarm/bin/python", f"swarmbench-{service}", "-c", probe
        ).split()
        == needed
    )


async def test_the_stack_works_with_least_permissions(stack: Stack, images: None) -> None:  # noqa: ARG001 - needs it
    secured = Stack("swarmtest-secured", "deploy/compose.secured.yml")
    for _ in raise_stack(secured, "nats", "streams", *SERVICES):
        await secured.healthy("nats", *SERVICES)
        end = await run(secured.ports["NATS"], {"suite": "noop"}, user="requester:secret@")
        assert end["type"] == "benchmark.completed", end
        refusals = [line for line in secured("logs", *SERVICES).splitlines() if "permission" in line.lower()]
        assert refusals == []
