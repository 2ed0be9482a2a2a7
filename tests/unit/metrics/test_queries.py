"""Given a view of many runs, when it is asked, then what the log tells: all of it, in pages, by index, and in time."""

from __future__ import annotations

import math
import sqlite3
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.measured import completed, log_of, measured, scheduled, started
from swarm_common.errors import UsageError
from swarm_common.events import Data, Metric, Samples
from swarm_metrics import asking, queries, spread, summaries
from swarm_metrics.projection import Projection, rebuild
from swarm_metrics.view import Reader, about

LATENCY = Samples(name="latency", unit="us", values=(3.0, 1.0, 2.0), of="8")
DRIFT = Samples(name="drift", unit="s", values=(-0.5, 0.25), better="neither", clock="time_ns")
RUNS = 6


def run_of(number: int) -> list[tuple[str, Data]]:
    run, odd = f"run-{number}", number % 2
    return [
        (run, started("noop" if odd else "primitives", f"s{number % 3}", "odd" if odd else "even")),
        (run, scheduled("t")),
        (run, measured("t", LATENCY, DRIFT)),
        (
            run,
            completed(
                Metric(name="score", value=number / 10, unit="ratio", low=0.0, high=1.0, n=3),
                Metric(name="lost", value=None, unit="s", reason="no clock"),
            ),
        ),
    ]


LOG = log_of([item for number in range(RUNS) for item in run_of(number)])


@pytest.fixture(scope="module")
def view() -> Iterator[sqlite3.Connection]:
    with closing(Projection()) as projection:
        projection.apply(LOG)
        yield projection.connection


def pages(view: sqlite3.Connection, query: Callable[..., Any], key: str, given: dict[str, Any]) -> list[Any]:
    """Return all rows of a query, read page by page."""
    found, cursor = [], ""
    while True:
        page = query(view, {**given, "cursor": cursor})
        found += page[key]
        cursor = page["next"]
        if cursor is None:
            return found


# -- samples of any event ----------------------------------------------------------------------------------


def test_samples_of_any_event_come_with_all_that_they_are(view: sqlite3.Connection) -> None:
    drift, duration, latency = queries.samples(view, {"run": "run-1"})["samples"]
    told = LOG[6]
    assert (latency["name"], latency["unit"], latency["of"], latency["values"]) == (
        "latency",
        "us",
        "8",
        [3.0, 1.0, 2.0],
    )
    assert (drift["better"], drift["clock"], drift["values"]) == ("neither", "time_ns", [-0.5, 0.25])
    assert (duration["of"], duration["unit"], duration["values"]) == ("measure", "us", [6.0])
    for row in (drift, duration, latency):
        assert (row["event"], row["time"], row["task"]) == (told.id, told.time, "t")
        assert (row["suite"], row["scenario"], row["session"]) == ("noop", "s1", "odd")


def test_the_event_that_tells_samples_leads_to_them(view: sqlite3.Connection) -> None:
    rows = queries.samples(view, {"event": LOG[2].id})["samples"]
    assert {(row["run"], row["name"]) for row in rows} == {
        ("run-0", "latency"),
        ("run-0", "drift"),
        ("run-0", "duration"),
    }
    assert queries.samples(view, {"event": "none"}) == {"samples": [], "next": None}


def test_very_many_samples_of_one_event_are_all_kept() -> None:
    many = tuple(float(value % 1000) for value in range(100_000))
    with closing(Projection()) as projection:
        projection.apply(
            log_of(
                [
                    ("a", started()),
                    ("a", measured("t", Samples(name="tick", unit="us", values=many))),
                ]
            )
        )
        rows = pages(projection.connection, queries.samples, "samples", {"name": "tick", "limit": 10_000})
        assert [value for row in rows for value in row["values"]] == list(many)
        assert [row["place"] for row in rows] == list(range(0, 100_000, 10_000))
        [ticks] = summaries.summary(projection.connection, {"name": "tick"})["summary"]
        assert (ticks["n"], ticks["low"], ticks["high"], ticks["mean"]) == (100_000, 0, 999, 499.5)
        assert ticks["quantiles"]["0.5"] == pytest.approx(499, rel=spread.RELATIVE_ERROR)


def test_a_run_that_was_archived_and_brought_back_counts_once() -> None:
    data = [item for number in range(2) for item in run_of(number)]
    back = log_of(data, after=50)[:4]
    with closing(Projection()) as twice, closing(Projection()) as once:
        twice.apply([*log_of(data), *back])
        once.apply([*log_of(data)[4:], *back])
        assert twice.dump() == once.dump()


def test_an_event_that_stands_twice_in_the_log_tells_its_samples_once() -> None:
    again = msgspec.structs.replace(LOG[2], seq=99)
    with closing(Projection()) as projection:
        projection.apply([*LOG[:4], again])
        [latency] = queries.samples(projection.connection, {"name": "latency"})["samples"]
        [found] = summaries.summary(projection.connection, {"name": "latency"})["summary"]
    assert (latency["seq"], found["n"]) == (3, 3)


def test_a_view_made_anew_is_the_same_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "view.sqlite"
    with closing(Projection()) as bit_by_bit:
        for event in LOG:
            bit_by_bit.apply([event])
        rebuild(path, LOG)
        with closing(Projection(path)) as anew:
            assert anew.dump() == bit_by_bit.dump()


# -- pages and filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("query", "key", "given"),
    [
        (queries.runs, "runs", {}),
        (queries.runs, "runs", {"session": "odd"}),
        (queries.sessions, "sessions", {}),
        (queries.metrics, "metrics", {}),
        (queries.metrics, "metrics", {"name": "score"}),
        (queries.history, "history", {"metric": "score"}),
    ],
)
def test_pages_add_up_to_the_whole(
    view: sqlite3.Connection, query: Callable[..., Any], key: str, given: dict[str, Any], limit: int
) -> None:
    whole = query(view, given)
    assert whole["next"] is None
    assert len(whole[key]) > 1
    assert pages(view, query, key, {**given, "limit": limit}) == whole[key]


@pytest.mark.parametrize("limit", range(1, 8))
@pytest.mark.parametrize("given", [{}, {"name": "latency"}, {"session": "odd"}, {"run": "run-2"}])
def test_pages_of_samples_add_up_to_the_whole(
    view: sqlite3.Connection, given: dict[str, Any], limit: int
) -> None:
    def values(rows: list[Any]) -> list[Any]:
        return [
            (row["run"], row["name"], row["place"] + index, value)
            for row in rows
            for index, value in enumerate(row["values"])
        ]

    whole = values(queries.samples(view, given)["samples"])
    page = queries.samples(view, {**given, "limit": limit})
    assert sum(len(row["values"]) for row in page["samples"]) == min(limit, len(whole))
    assert values(pages(view, queries.samples, "samples", {**given, "limit": limit})) == whole


def test_a_page_fits_into_a_message() -> None:
    wide = completed(*(Metric(name=f"m{i}", value=1.0, unit="s", estimator="e" * 5000) for i in range(300)))
    with closing(Projection()) as projection:
        projection.apply(log_of([("a", started()), ("a", wide)]))
        page = queries.metrics(projection.connection, {"limit": 1000})
        assert page["next"] is not None
        assert len(msgspec.json.encode(page)) < 1_000_000
        found = pages(projection.connection, queries.metrics, "metrics", {"limit": 1000})
        assert [row["name"] for row in found] == [f"m{i}" for i in range(300)]


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ({"session": "odd"}, [5, 3, 1]),
        ({"suite": "primitives"}, [4, 2, 0]),
        ({"scenario": "s1"}, [4, 1]),
        ({"run": "run-3"}, [3]),
        ({"status": "running"}, []),
        ({"since": LOG[8].time}, [5, 4, 3, 2]),
        ({"until": LOG[8].time}, [1, 0]),
        ({"since": "2027-01-15T08:00:04+00:00", "until": "2027-01-15T09:00:09+01:00"}, [2, 1]),
        ({"suite": "noop", "session": "even"}, []),
    ],
)
def test_filters_choose_runs_in_every_query(
    view: sqlite3.Connection, given: dict[str, Any], runs: list[int]
) -> None:
    names = [f"run-{number}" for number in runs]
    assert [row["run"] for row in queries.runs(view, given)["runs"]] == names
    metrics = queries.metrics(view, {**given, "name": "score"})["metrics"]
    assert [row["run"] for row in metrics] == names
    history = queries.history(view, {**given, "metric": "score"})["history"]
    assert [(row["run"], row["value"]) for row in history] == [
        (f"run-{number}", number / 10) for number in reversed(runs)
    ]
    samples = queries.samples(view, {**given, "name": "latency"})["samples"]
    assert [row["run"] for row in samples] == names[::-1]
    found = summaries.summary(view, {**given, "name": "latency"})["summary"]
    assert [row["n"] for row in found] == ([3 * len(runs)] if runs else [])


def test_sessions_say_what_they_hold(view: sqlite3.Connection) -> None:
    even, odd = queries.sessions(view, {})["sessions"]
    assert (even["session"], even["runs"], even["suites"]) == ("even", 3, ["primitives"])
    assert (odd["statuses"], odd["first"], odd["last"]) == ({"completed": 3}, LOG[4].time, LOG[20].time)


def test_what_was_not_measured_has_no_place_in_a_history(view: sqlite3.Connection) -> None:
    assert queries.history(view, {"metric": "lost"})["history"] == []
    lost = queries.metrics(view, {"name": "lost", "limit": 1})["metrics"]
    assert [(row["value"], row["reason"]) for row in lost] == [(None, "no clock")]


@pytest.mark.parametrize(
    ("query", "given", "field", "said"),
    [
        (queries.runs, {"limit": 0}, "limit", "allowed is 1 to 1000"),
        (queries.runs, {"limit": True}, "limit", "allowed is 1 to 1000"),
        (queries.samples, {"limit": 10_001}, "limit", "1 to 10000; `next` of a page leads on"),
        (queries.runs, {"sesion": "x"}, "sesion", "there are run, session, suite"),
        (queries.runs, {"status": "lost"}, "status", "running, completed, failed, cancelled, rejected"),
        (queries.runs, {"session": 5}, "session", "allowed is a text"),
        (queries.metrics, {"since": "yesterday"}, "since", "RFC 3339 time, such as"),
        (queries.metrics, {"until": "2026-13-01"}, "until", "RFC 3339 time, such as"),
        (queries.history, {}, "metric", "name the metric"),
        (queries.samples, {"cursor": "next"}, "cursor", "the `next` of the page before"),
        (queries.samples, {"cursor": asking.after("a", "b")}, "cursor", "of the same query"),
        (summaries.summary, {"quantiles": [1.5]}, "quantiles", "numbers from 0 to 1"),
        (summaries.summary, {"quantiles": []}, "quantiles", "1 to 20"),
        (about, {"run": "a"}, "run", "there are none"),
    ],
)
def test_a_query_that_makes_no_sense_says_what_is_allowed(
    view: sqlite3.Connection, query: Callable[..., Any], given: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        query(view, given)
    assert refused.value.field == field
    assert said in str(refused.value)


# -- summaries ---------------------------------------------------------------------------------------------

values = st.lists(
    st.one_of(
        st.just(0.0),
        st.floats(-1e12, 1e12).filter(lambda value: abs(value) > 1e-200),
        st.integers(-1000, 1000).map(float),
    ),
    min_size=1,
    max_size=40,
)


def rank(ordered: list[float], share: float) -> float:
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


@given(st.lists(values, min_size=1, max_size=3), st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_a_summary_is_that_of_the_values(sets: list[list[float]], shares: list[float]) -> None:
    data = [("a", started())] + [
        ("a", measured(f"t{at}", Samples(name="x", unit="s", values=tuple(one))))
        for at, one in enumerate(sets)
    ]
    ordered = sorted(value for one in sets for value in one)
    with closing(Projection()) as projection, pytest.MonkeyPatch.context() as patch:
        projection.apply(log_of(data))
        for exact in (100_000, 0):
            patch.setattr(summaries, "EXACT", exact)
            asked = {"name": "x", "quantiles": shares}
            [found] = summaries.summary(projection.connection, asked)["summary"]
            assert (found["n"], found["low"], found["high"]) == (len(ordered), ordered[0], ordered[-1])
            assert found["mean"] == pytest.approx(statistics.fmean(ordered), rel=1e-9, abs=1e-3)
            for share in shares:
                error = found["relative_error"]
                assert error == (0.0 if exact else spread.RELATIVE_ERROR)
                wanted = rank(ordered, share)
                assert abs(found["quantiles"][f"{share:g}"] - wanted) <= error * abs(wanted) * (1 + 1e-9)


def test_quantities_are_summed_up_apart(view: sqlite3.Connection) -> None:
    rows = summaries.summary(view, {})["summary"]
    assert [(row["name"], row["of"], row["unit"], row["clock"], row["n"]) for row in rows] == [
        ("drift", "", "s", "time_ns", 12),
        ("duration", "measure", "us", "perf_counter_ns", 6),
        ("latency", "8", "us", "perf_counter_ns", 18),
    ]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), min_size=2, max_size=2)
)
def test_buckets_rise_with_values_and_hold_them(pair: list[float]) -> None:
    low, high = sorted(pair)
    assert spread.bucket(low) <= spread.bucket(high)
    for value in pair:
        index = spread.bucket(value)
        assert abs(value) <= abs(spread.bound(index))
        if value:
            assert abs(spread.bound(index - 1 if value > 0 else index + 1)) < abs(value)


@given(st.dictionaries(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1)))
def test_counts_are_packed_without_loss(counts: dict[int, int]) -> None:
    assert spread.unpack(spread.pack(counts)) == counts


def test_counts_within_a_limit_are_exact_at_powers_of_two() -> None:
    counted = spread.Spread([spread.pack({spread.bucket(value): 1}) for value in (1.0, 2.0, 2.001, 4.0, 5.0)])
    assert [counted.within(limit) for limit in (0.5, 1.0, 2.0, 4.0, 8.0)] == [0, 1, 2, 4, 5]


# -- how it is found ---------------------------------------------------------------------------------------

FILTERS: list[dict[str, Any]] = [
    {},
    {"run": "a"},
    {"session": "a"},
    {"suite": "a", "scenario": "b"},
    {"since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"},
    {"session": "a", "since": "2026-01-01T00:00:00Z"},
]


def plan(view: sqlite3.Connection, statement: str, bound: tuple[Any, ...]) -> list[str]:
    return [row["detail"] for row in view.execute(f"EXPLAIN QUERY PLAN {statement}", bound)]


def asked(given: dict[str, Any], columns: dict[str, str]) -> asking.Condition:
    return asking.condition(given, asking.OF_RUNS | columns)


@pytest.mark.parametrize("given", FILTERS)
@pytest.mark.parametrize("name", ["", "latency"])
def test_no_query_reads_all_samples(view: sqlite3.Connection, given: dict[str, Any], name: str) -> None:
    given = {**given, "name": name}
    of_sets, of_sums = asked(given, {"name": "sets.name"}), asked(given, {"name": "summaries.name"})
    behind = of_sets.also("(runs.started, runs.run) > (?, ?)", "", "")
    plans = {
        "samples": plan(view, queries.sets_query(of_sets), of_sets.values),
        "a later page": plan(view, queries.sets_query(behind), behind.values),
        "summary": plan(view, summaries.summaries_query(of_sums), of_sums.values),
        "its values": plan(view, summaries.sets_query(of_sets), of_sets.values),
        "a set": plan(view, summaries.VALUES_QUERY, (1, 1)),
    }
    for what, steps in plans.items():
        searched = [step for step in steps if step.startswith("SCAN ") and not step.startswith("SCAN runs")]
        assert searched == [], f"{what}: {steps}"
    for what in ("samples", "a later page"):
        assert not any("TEMP B-TREE" in step for step in plans[what]), f"{what}: {plans[what]}"


async def test_queries_run_beside_the_loop_and_only_read(tmp_path: Path) -> None:
    path = tmp_path / "view.sqlite"
    with closing(Projection(path)) as projection:
        projection.apply(LOG)
        reader = Reader(path)
        try:
            thread, _ = await reader.ask(lambda connection, _: (threading.get_ident(), connection), {})
            assert thread != threading.get_ident()
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await reader.ask(lambda connection, _: connection.execute("DELETE FROM runs"), {})
            projection.apply(log_of(run_of(9), after=len(LOG)))
            assert len((await reader.ask(queries.runs, {}))["runs"]) == RUNS + 1
        finally:
            reader.close()


def test_one_query_sees_one_state(tmp_path: Path) -> None:
    """What is written while a query runs is not half in its answer."""
    path = tmp_path / "view.sqlite"
    with closing(Projection(path)) as projection:
        projection.apply(LOG)
        reader = Reader(path)

        def both(connection: sqlite3.Connection, _given: Any) -> tuple[int, int]:
            first = about(connection, {})["rows"]["runs"]
            projection.apply(log_of(run_of(9), after=len(LOG)))
            return first, about(connection, {})["rows"]["runs"]

        try:
            future = reader._threads.submit(reader._answer, both, {})
            assert future.result() == (RUNS, RUNS)
        finally:
            reader.close()
