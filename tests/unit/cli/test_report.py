"""A report stands alone, escapes what it shows, and holds the numbers of the log."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from swarm_cli.report import charts
from swarm_cli.report.data import METRIC_FIELDS, as_csv, as_json, write_sqlite
from swarm_cli.report.facts import Confusion, ensembles
from swarm_cli.report.page import page
from swarm_common.events import Event, Metric
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import Scored
from swarm_common.runs import fold

VOID = {"meta", "br", "link", "img", "path", "circle"}


class Balance(HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def html(recorded: list[Event]) -> str:
    return page(fold(recorded[0].run, recorded), recorded)


def test_the_page_is_whole(html: str) -> None:
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert {"svg", "table", "h1", "style"} <= parser.seen


def test_the_page_needs_nothing_from_anywhere(html: str) -> None:
    assert re.findall(r"https?://|@import|url\(|<script|<link|<img|src=", html) == []


def test_what_users_gave_is_escaped(html: str) -> None:
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_page_shows_metrics_targets_and_what_was_not_measured(html: str) -> None:
    for text in (
        "accuracy",
        "0.9",
        "[0.8, 0.95]",
        "0.85 met",
        "not measured: no model was asked",
        "sha256:00",
    ):
        assert text in html


def test_the_page_reads_in_the_dark_and_aloud(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert 'role="img" aria-label=' in html
    assert 'lang="en"' in html
    assert 'scope="col"' in html


def test_a_run_that_has_only_begun_has_a_page(recorded: list[Event]) -> None:
    assert "running" in page(fold("r", recorded[:1]), recorded[:1])


def test_the_document_holds_summary_and_events(recorded: list[Event]) -> None:
    found = json.loads(as_json(fold(recorded[0].run, recorded), recorded))
    assert found["summary"]["status"] == "completed"
    assert [event["id"] for event in found["events"]] == [event.id for event in recorded]


def test_the_table_has_a_row_a_metric(recorded: list[Event]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(fold(recorded[0].run, recorded), recorded).decode())))
    assert tuple(rows[0]) == METRIC_FIELDS
    assert [(row["metric"], row["value"], row["met"]) for row in rows] == [
        ("accuracy", "0.9", "True"),
        ("tokens", "", ""),
        ("seconds", "0.005", ""),
    ]


def test_the_database_answers_and_is_replaced(recorded: list[Event], tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    for _ in range(2):
        write_sqlite(path, fold(recorded[0].run, recorded), recorded)
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT status FROM run").fetchall() == [("completed",)]
        assert base.execute("SELECT count(*) FROM events").fetchone() == (len(recorded),)
        assert base.execute("SELECT value FROM metrics WHERE metric = 'tokens'").fetchone() == (None,)
        assert base.execute("SELECT count(*) FROM tasks WHERE status = 'done'").fetchone() == (2,)


def score(value: float, better: str = "higher") -> tuple[Metric, ...]:
    return (Metric(name="accuracy", value=value, unit="ratio", better=better),)  # type: ignore[arg-type]


@pytest.mark.parametrize(("better", "first"), [("higher", "svm"), ("lower", "forest")])
def test_members_are_ranked_best_first(log: object, better: str, first: str) -> None:
    members = {"forest": score(0.7, better), "svm": score(0.9, better)}
    log.add(  # type: ignore[attr-defined]
        Reached(
            task="combine",
            strategy="weighted",
            members=("forest", "svm"),
            weights={"forest": 0.4, "svm": 0.6},
            prediction=_array(),
            agreement=0.9,
            confidence=0.8,
            out_of_fold_score=None,
            consensus_s=0.1,
        )
    )
    log.add(  # type: ignore[attr-defined]
        Scored(
            task="score",
            metrics=score(0.8, better),
            members=members,
            confusion=((5, 1), (0, 4)),
            elapsed_s=0.1,
        )
    )
    (found,) = ensembles(log.events)  # type: ignore[attr-defined]
    assert found.members[0].name == first
    assert found.members[1].together
    assert found.members[0].weight == {"svm": 0.6, "forest": 0.4}[first]
    assert found.confusion == Confusion(("0", "1"), ((5, 1), (0, 4)))


def _array() -> object:
    from swarm_common.events import Array  # noqa: PLC0415

    return Array("<f8", (1,), b"\0" * 8)


def test_a_chart_names_its_bars_for_who_cannot_see_it() -> None:
    drawn = charts.intervals([charts.Bar("<b>", 0.5, 0.4, 0.6, "ratio", [0.45])], "title")
    assert "<title>&lt;b&gt;: 0.5 [0.4, 0.6]</title>" in drawn
    assert 'class="target"' in drawn


def test_a_chart_of_equal_or_single_values_has_an_axis() -> None:
    assert "nan" not in charts.intervals([charts.Bar("a", 1.0, None, None, "ratio")], "t")
    assert "nan" not in charts.intervals([charts.Bar("a", 0.0, None, None, "s")], "t")
    assert charts.intervals([], "t") == ""
