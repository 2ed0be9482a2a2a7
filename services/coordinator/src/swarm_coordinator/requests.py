"""Requests: from the bytes on ``benchmark.requested`` to the start of a run, or to a reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_common import clock
from swarm_common.errors import InvalidEvent, UsageError
from swarm_common.events import Host
from swarm_common.events.benchmark import Rejected, Requested, Started
from swarm_common.events.envelope import SPEC_VERSION
from swarm_common.ids import derive, is_token
from swarm_common.tracing import is_traceparent
from swarm_coordinator.moment import Moment
from swarm_coordinator.plans import SoFar, Step, Suite, complete_params, find_scenario

LONGEST_RUN_S = 86_400.0
#: Objects and lists inside each other. Far above what a request needs, far below what Python's recursion bears when
#: the request is echoed.
DEEPEST = 100
_LONGEST_SESSION = 128
_LONGEST_TEXT = 1000
#: Every event of a run carries its request's id; a longer one is replaced by its hash.
_LONGEST_ID = 256
_LONGEST_TRACESTATE = 512


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it arrived: who asks, and what for as far as it could be read."""

    id: str
    body: dict[str, Any]
    traceparent: str = ""
    tracestate: str = ""


def read_request(
    raw: bytes, *, message_id: str, position: str, headers: Mapping[str, str] | None = None
) -> Request:
    """Read a request: a CloudEvents object of type ``benchmark.requested``, or the bare data.

    Its id is the event's, else the header ``Nats-Msg-Id``, else derived from its position in the log, so a request is
    one run however often it is delivered. Raises :class:`InvalidEvent` for bytes that are no JSON object.
    """
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"the request is no JSON object: {error}", field="body") from error
    if not isinstance(body, dict):
        raise InvalidEvent(
            f"the request is a JSON {type(body).__name__}, not an object",
            field="body",
            allowed="a JSON object",
        )
    if _deeper_than(body, DEEPEST):
        raise InvalidEvent(
            f"the request is nested more than {DEEPEST} deep", field="body", allowed=f"{DEEPEST} deep"
        )
    headers = headers or {}
    found, state = headers.get("traceparent", ""), headers.get("tracestate", "")
    request = Request(
        id=_id(message_id) or derive(position, "request", 0),
        body=body,
        traceparent=found if is_traceparent(found) else "",
        tracestate=state if state.isprintable() and len(state) <= _LONGEST_TRACESTATE else "",
    )
    return _opened(request) if "specversion" in body else request


def _opened(request: Request) -> Request:
    """Return the request inside a CloudEvents envelope; its data are checked when the run begins."""
    body = request.body
    data = body.get("data")
    ident, trace = body.get("id"), body.get("traceparent")
    for name, allowed in (("specversion", SPEC_VERSION), ("type", Requested.type)):
        if body.get(name) != allowed:
            # No request has such a field, so it is rejected with this one named.
            data = {name: body.get(name)}
    return Request(
        id=_id(ident) if isinstance(ident, str) and ident else request.id,
        body=data if isinstance(data, dict) else {"data": data},
        traceparent=trace if isinstance(trace, str) and is_traceparent(trace) else request.traceparent,
        tracestate=request.tracestate,
    )


def begin(
    request: Request,
    suites: Mapping[str, Suite],
    moment: Moment,
    engine: str,
    host: Host | None = None,
    *,
    endpoint: bool = False,
) -> Started | Rejected:
    """Return how the run begins, or why there is none. Pure; ``endpoint``: the stack has a language model's."""
    try:
        return _started(request, suites, moment, engine, host, endpoint=endpoint)
    except UsageError as error:
        return Rejected(
            reason=_cut(str(error)),
            field=_cut(error.field),
            given=_cut(error.given),
            allowed=error.allowed,
            request=_bounded(request.body),
        )


def _started(
    request: Request,
    suites: Mapping[str, Suite],
    moment: Moment,
    engine: str,
    host: Host | None,
    *,
    endpoint: bool,
) -> Started:
    asked = _typed(request.body)
    if asked.suite not in suites:
        names = ", ".join(suites)
        raise UsageError(
            f"there is no suite {asked.suite!r}; there are {names}",
            field="suite",
            given=asked.suite,
            allowed=names,
        )
    suite = suites[asked.suite]
    scenario = find_scenario(suite, asked.scenario)
    params = complete_params(scenario, asked.params, endpoint=endpoint)
    timeout_s = scenario.timeout_s if asked.timeout_s is None else asked.timeout_s
    if not 0 < timeout_s <= LONGEST_RUN_S:
        allowed = f"more than 0, at most {LONGEST_RUN_S:g} seconds"
        raise UsageError(
            f"timeout_s is {timeout_s}; allowed is {allowed}",
            field="timeout_s",
            given=str(timeout_s),
            allowed=allowed,
        )
    step = suite.plan(SoFar(scenario=scenario.name, params=params, seed=asked.seed))
    tasks = step.tasks if isinstance(step, Step) else ()
    return Started(
        request_id=request.id,
        suite=suite.name,
        scenario=scenario.name,
        params=params,
        session=asked.session,
        seed=asked.seed,
        timeout_s=timeout_s,
        deadline=clock.format_ns(moment.now_ns + int(timeout_s * 1_000_000) * 1000),
        tasks=tasks,
        parallel=scenario.parallel,
        targets=scenario.targets,
        deterministic=scenario.repeats(params),
        engine=engine,
        host=host,
    )


_FIELDS = {field.name: field.type for field in msgspec.structs.fields(Requested)}


def _typed(body: Mapping[str, Any]) -> Requested:
    """Return the body as a request; raises :class:`UsageError` naming the field that does not fit."""
    for name, value in body.items():
        if name not in _FIELDS:
            allowed = ", ".join(_FIELDS)
            raise UsageError(
                f"a request has no field {name!r}; it has {allowed}", field=name, given=name, allowed=allowed
            )
        try:
            msgspec.convert(value, _FIELDS[name])
        except msgspec.ValidationError as error:
            raise UsageError(f"{name}: {error}", field=name, given=str(value)[:100]) from None
    if "suite" not in body:
        raise UsageError(
            "a request names its suite; this one does not", field="suite", allowed="a suite's name"
        )
    asked: Requested = msgspec.convert(dict(body), Requested)
    if not is_token(asked.session):
        allowed = f"letters, digits, '_' and '-', 1 to {_LONGEST_SESSION}"
        raise UsageError(
            f"session {asked.session[:100]!r} is no session name; allowed are {allowed}",
            field="session",
            given=asked.session[:100],
            allowed=allowed,
        )
    if not 0 <= asked.seed < 2**32:
        raise UsageError(
            f"seed is {asked.seed}; allowed is 0 to {2**32 - 1}", field="seed", given=str(asked.seed)
        )
    return asked


def _id(ident: str) -> str:
    return ident if len(ident) <= _LONGEST_ID else derive(ident, "request", 0)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."


def _deeper_than(value: Any, most: int) -> bool:
    """Say whether objects and lists lie inside each other more than ``most`` deep, without recursion."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _bounded(body: dict[str, Any], most: int = 4096) -> dict[str, Any]:
    """Return the body, or its beginning as text where it is large: a rejection stays readable."""
    text = msgspec.json.encode(body)
    return body if len(text) <= most else {"excerpt": text[:most].decode("utf-8", "ignore")}
