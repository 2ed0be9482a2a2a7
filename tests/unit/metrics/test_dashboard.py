"""Given a view of the log, when the dashboard is asked over HTTP, then pages and JSON; and nothing can be changed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from typing import Any

import httpx
import msgspec
import pytest

from swarm_common.errors import BrokerUnavailable
from swarm_common.events import JudgedTarget, Metric
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import Completed, Failed, Started, TaskScheduled
from swarm_metrics import queries
from swarm_metrics.dashboard.app import application, assemble
from swarm_metrics.dashboard.server import Dashboard
from swarm_metrics.projection import Projection
from swarm_metrics.view import Query

EVIL = "<script>alert(1)</script>"
SCORE = Metric(name="accuracy", value=0.9, unit="ratio", n=10, low=0.8, high=0.95, source=("event-1",))
TIMED = Metric(name="seconds", value=0.5, unit="s", better="lower", timing=True)


def started(suite: str, scenario: str = "", session: str = "default") -> Started:
    return Started(
        request_id="q",
        suite=suite,
        scenario=scenario,
        params={"folds": 5},
        session=session,
        seed=7,
        timeout_s=60.0,
        deadline="2027-01-01T00:00:00Z",
        tasks=(),
    )


def scheduled(task: str) -> TaskScheduled:
    return TaskScheduled(task=task, kind="noop", service="model_agent")


def fill(log: Any) -> None:
    """One run that completed, one that goes on, one that failed."""
    log.add(started("ensemble", "digits", "nightly"), run="done")
    log.add(scheduled("a"), run="done")
    log.add(TaskDone(task="a"), run="done", duration_us=1200)
    log.add(
        Completed(
            result={},
            metrics=(TIMED, SCORE),
            targets=(JudgedTarget(metric="accuracy", op=">=", target=0.85, value=0.9, met=True),),
            digest="sha256:1",
            duration_s=0.5,
            clock="perf_counter",
            tasks=1,
            attempts=1,
            events=3,
            log_sha256="",
        ),
        run="done",
    )
    log.add(started("noop", EVIL), run="going")
    log.add(scheduled("a"), run="going")
    log.add(scheduled("b"), run="going")
    log.add(TaskDone(task="a"), run="going", duration_us=1200)
    log.add(started("noop"), run="lost")
    log.add(Failed(reason="task_failed", error=EVIL, duration_s=0.1, clock="perf_counter"), run="lost")


@pytest.fixture
def view(log: Any) -> Iterator[Projection]:
    fill(log)
    with closing(Projection()) as projection:
        projection.begin("log-1")
        projection.apply(log.events)
        yield projection


def client_of(app: Any, host: str = "127.0.0.1:8080") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}")


async def told(accept: str) -> tuple[bytes, str]:
    return f"asked for {accept}".encode(), "text/plain; version=0.0.4"


@pytest.fixture
async def client(view: Projection) -> AsyncIterator[httpx.AsyncClient]:
    async def ask(query: Query, given: Mapping[str, Any]) -> tuple[Any, int]:
        return query(view.connection, given), 0

    async with client_of(application(ask, connected=lambda: True, scrape=told)) as client:
        yield client


# -- JSON --------------------------------------------------------------------------------------------------


async def test_runs_are_listed_the_latest_first_with_what_matters_of_each(client: httpx.AsyncClient) -> None:
    lost, going, done = (await client.get("/api/runs")).json()
    assert (done["run"], done["suite"], done["scenario"], done["session"]) == (
        "done",
        "ensemble",
        "digits",
        "nightly",
    )
    assert (done["status"], done["duration_s"], done["trace"]) == ("completed", 0.5, "a" * 32)
    assert done["main"] == {"name": "accuracy", "value": 0.9, "unit": "ratio", "low": 0.8, "high": 0.95}
    assert (going["status"], going["main"], going["progress"]) == (
        "running",
        None,
        {"scheduled": 2, "done": 1},
    )
    assert (lost["status"], lost["reason"]) == ("failed", f"task_failed: {EVIL}")


async def test_runs_are_chosen_by_session_status_and_number(client: httpx.AsyncClient) -> None:
    async def chosen(query: str) -> list[str]:
        return [run["run"] for run in (await client.get(f"/api/runs?{query}")).json()]

    assert await chosen("session=nightly") == ["done"]
    assert await chosen("status=running") == ["going"]
    assert await chosen("session=default&limit=1") == ["lost"]
    assert await chosen("session=' OR 1=1 --") == []


async def test_a_run_comes_with_metrics_targets_and_tasks(
    client: httpx.AsyncClient, view: Projection
) -> None:
    run = (await client.get("/api/runs/done")).json()
    assert run == msgspec.to_builtins(queries.run(view.connection, {"run": "done"}))
    assert [metric["name"] for metric in run["metrics"]] == ["seconds", "accuracy"]
    assert [(target["metric"], target["met"]) for target in run["targets"]] == [("accuracy", True)]
    assert [(task["task"], task["status"], task["duration_us"]) for task in run["work"]] == [
        ("a", "done", 1200)
    ]


async def test_metrics_go_over_runs(client: httpx.AsyncClient) -> None:
    (found,) = (await client.get("/api/metrics?name=accuracy&session=nightly")).json()
    assert (found["run"], found["suite"], found["value"], found["n"]) == ("done", "ensemble", 0.9, 10)


async def test_queries_are_answered_as_lists_and_lead_on(client: httpx.AsyncClient) -> None:
    first = await client.get("/api/runs?limit=2")
    assert [run["run"] for run in first.json()] == ["lost", "going"]
    rest = await client.get("/api/runs", params={"limit": 2, "cursor": first.headers["x-swarm-next"]})
    assert [run["run"] for run in rest.json()] == ["done"]
    assert "x-swarm-next" not in rest.headers
    (point,) = (await client.get("/api/history?metric=accuracy")).json()
    assert (point["run"], point["value"]) == ("done", 0.9)
    (took,) = (await client.get("/api/summary?run=done&quantiles=[0.5]")).json()
    assert (took["name"], took["of"], took["n"], took["quantiles"]) == (
        "duration",
        "noop",
        1,
        {"0.5": 1200.0},
    )
    assert [one["session"] for one in (await client.get("/api/sessions")).json()] == ["default", "nightly"]
    (sample,) = (await client.get("/api/samples?run=done")).json()
    assert sample["values"] == [1200.0]


async def test_prometheus_is_told_in_the_format_that_it_asks_for(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert (answer.text, answer.headers["content-type"]) == (
        "asked for application/openmetrics-text",
        "text/plain; version=0.0.4",
    )


async def test_what_has_not_changed_is_not_sent_again(
    client: httpx.AsyncClient, view: Projection, log: Any
) -> None:
    first = await client.get("/api/runs")
    again = {"If-None-Match": first.headers["etag"]}
    assert (await client.get("/api/runs", headers=again)).status_code == 304
    assert (await client.get("/api/runs?limit=1", headers=again)).status_code == 200
    log.add(started("noop"), run="new")
    view.apply(log.events)
    assert (await client.get("/api/runs", headers=again)).status_code == 200


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("/api/runs?limit=0", "limit is 0; allowed is 1 to 1000"),
        ("/api/runs?limit=many", "limit is 'many'; allowed is 1 to 1000"),
        ("/api/runs?limit=-1", "limit is -1; allowed is 1 to 1000"),
        (
            "/api/runs?colour=red",
            "unknown field 'colour'; there are run, session, suite, scenario, status, since, until, limit, cursor",
        ),
        ("/api/runs?status=lost", "allowed is running, completed, failed, cancelled, rejected"),
        ("/api/runs?session=a&session=b", "session is given twice"),
        ("/api/runs/done?limit=1", "unknown field 'limit'; there is none here"),
        ("/api/metrics?colour=red", "unknown field 'colour'; there are run, session, suite"),
        ("/api/runs?since=yesterday", "allowed is an RFC 3339 time"),
    ],
)
async def test_a_bad_query_is_told_what_is_allowed(client: httpx.AsyncClient, query: str, why: str) -> None:
    answer = await client.get(query)
    assert answer.status_code == 400
    assert why in answer.json()["error"]


async def test_what_is_not_there_is_said_so(client: httpx.AsyncClient) -> None:
    for path in ("/api/runs/nowhere", "/nowhere", "/runs/nowhere", "/runs/a/b", "/api/runs/"):
        answer = await client.get(path)
        assert answer.status_code == 404, path
    assert "no run 'nowhere'" in (await client.get("/api/runs/nowhere")).json()["error"]
    assert "/api/metrics" in (await client.get("/nowhere")).json()["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_it_is_read_only(client: httpx.AsyncClient, method: str) -> None:
    for path in ("/", "/runs/done", "/api/runs", "/api/runs/done", "/api/metrics", "/healthz"):
        assert (await client.request(method, path)).status_code == 405, path


# -- health ------------------------------------------------------------------------------------------------


async def test_health_says_how_far_the_view_is(client: httpx.AsyncClient, view: Projection) -> None:
    assert (await client.get("/healthz")).json() == {
        "status": "ok",
        "position": view.position,
        "behind": 0,
    }


async def test_without_a_broker_it_is_not_healthy() -> None:
    async def current(_query: Query, _given: Mapping[str, Any]) -> tuple[Any, int]:
        raise BrokerUnavailable("the broker does not answer")

    async with client_of(application(current, connected=lambda: False, scrape=told)) as client:
        assert (await client.get("/healthz")).status_code == 503
        answer = await client.get("/api/runs")
        assert (answer.status_code, answer.json()) == (503, {"error": "the broker does not answer"})


# -- pages -------------------------------------------------------------------------------------------------


async def test_the_page_is_self_contained_and_its_policy_lets_nothing_else_in(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"""(?:src|href)="(?!/|data:)[^"]*""", answer.text) == []
    assert re.findall(r"@import|url\(", answer.text) == []


async def test_nothing_of_the_log_stands_in_the_page_itself(client: httpx.AsyncClient) -> None:
    index, run = await client.get("/"), await client.get("/runs/going")
    assert run.status_code == 200
    assert run.text == index.text
    assert EVIL not in run.text


def test_the_script_writes_texts_never_markup() -> None:
    page, _ = assemble()
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", page) == []
    )


def test_a_link_to_traces_is_an_address_and_nothing_else() -> None:
    assert 'content="http://127.0.0.1:16686"' in assemble("http://127.0.0.1:16686/")[0]
    assert 'content=""' in assemble("javascript:alert(1)")[0]
    assert EVIL not in assemble(f'http://a">{EVIL}')[0]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("metrics:8080", 200),
        ("a.localhost", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("127.0.0.1.evil.example", 403),
    ],
)
async def test_a_foreign_name_is_refused(client: httpx.AsyncClient, host: str, status: int) -> None:
    assert (await client.get("/api/runs", headers={"Host": host})).status_code == status


# -- the server --------------------------------------------------------------------------------------------


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - an ASGI application
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_it_serves_on_this_machine_and_stops_when_told() -> None:
    dashboard = Dashboard(answer_ok, "127.0.0.1", 0)
    running = asyncio.create_task(dashboard.run())
    await dashboard.listening.wait()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{dashboard.port}/")).text == "ok"
        await dashboard.stop()
        await running
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{dashboard.port}/")


async def test_a_port_that_is_taken_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm_metrics.dashboard.server.RETRY_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as other:
        dashboard = Dashboard(answer_ok, "127.0.0.1", other.getsockname()[1])
        running = asyncio.create_task(dashboard.run())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(dashboard.listening.wait(), 0.05)
    await asyncio.wait_for(dashboard.listening.wait(), 5)
    await dashboard.stop()
    await running


async def test_it_can_be_stopped_while_it_waits_for_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        dashboard = Dashboard(answer_ok, "127.0.0.1", other.getsockname()[1])
        running = asyncio.create_task(dashboard.run())
        await dashboard.stop()
        await running
        assert not dashboard.listening.is_set()


def test_without_a_dashboard_no_web_server_is_loaded() -> None:
    probe = "import sys, swarm_metrics.service; print(sorted({'starlette', 'uvicorn', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
