"""What people type is read exactly, or refused with the way to type it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_cli.archiving import parse_moment
from swarm_cli.checks import parse_version
from swarm_cli.commands.replay import is_file
from swarm_cli.commands.report import parse_formats
from swarm_cli.commands.run import as_path, file_params, parse_params
from swarm_cli.commands.stack import parse_replicas
from swarm_cli.stack.broker import check_profile, configuration
from swarm_cli.stack.control import check_replicas
from swarm_common.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tasks=5", 5),
        ("share=0.2", 0.2),
        ("deep=true", True),
        ("models=[1, 2]", [1, 2]),
        ("name=soft", "soft"),
        ('name="5"', "5"),
        ("name=", ""),
        ("name=a=b", "a=b"),
        ("name=null", None),
    ],
)
def test_a_parameter_is_json_where_it_can_be(text: str, value: object) -> None:
    assert list(parse_params([text]).values()) == [value]


@pytest.mark.parametrize("text", ["tasks", "=5", ""])
def test_a_parameter_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_params([text])


_VALUES = st.text().filter(lambda text: not text.startswith("@"))  # which names a file


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), _VALUES))
def test_any_value_is_read_or_kept_as_text(params: dict[str, str]) -> None:
    assert list(parse_params([f"{key}={value}" for key, value in params.items()])) == list(params)


SUITES = [
    {"name": "noop", "scenarios": [{"name": "throughput"}]},
    {
        "name": "ensemble",
        "scenarios": [
            {"name": "digits", "params": [{"name": "data", "type": "str"}]},
            {"name": "file", "params": [{"name": "data", "type": "file"}, {"name": "target", "type": "str"}]},
        ],
    },
]


@pytest.mark.parametrize(
    ("suite", "scenario", "files"),
    [
        ("ensemble", "file", {"data"}),
        ("ensemble", "digits", set()),
        ("ensemble", "", set()),
        ("noop", "", set()),
        ("nope", "file", set()),
        ("ensemble", "nope", set()),
    ],
)
def test_a_scenario_says_which_parameters_are_files(suite: str, scenario: str, files: set[str]) -> None:
    assert file_params(SUITES, suite, scenario) == files


def test_a_text_is_a_path_unless_it_names_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert as_path("a.csv") == Path("a.csv")
    assert as_path("~/a.csv") == tmp_path / "a.csv"
    for other in ("", f"a.csv@sha256:{'0' * 64}", 3, None):
        assert as_path(other) is other


def test_replicas_name_a_service_and_a_number() -> None:
    assert parse_replicas(["model_agent=2", "memory-sync=1"]) == {"model_agent": 2, "memory_sync": 1}


@pytest.mark.parametrize("text", ["model_agent", "model_agent=two", "model_agent=-1"])
def test_other_replicas_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="SERVICE=NUMBER"):
        parse_replicas([text])


@pytest.mark.parametrize(("service", "count"), [("nobody", 1), ("metrics", 65)])
def test_replicas_of_nobody_or_too_many_are_refused(service: str, count: int) -> None:
    with pytest.raises(UsageError):
        check_replicas({service: count})


def test_formats_come_once_each_in_their_order() -> None:
    assert parse_formats("csv, html,csv") == ["csv", "html"]


@pytest.mark.parametrize("text", ["pdf", "html,pdf", "", ","])
def test_an_unknown_format_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="html, json, csv, sqlite"):
        parse_formats(text)


def test_a_date_is_midnight_utc() -> None:
    assert parse_moment("2026-11-21") == parse_moment("2026-11-21T00:00:00Z")


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(UsageError, match="2026-11-21"):
        parse_moment("yesterday")


@pytest.mark.parametrize(
    ("text", "version"), [("2.15.1", (2, 15, 1)), ("2.12.0-beta.1", (2, 12, 0)), ("dev", ())]
)
def test_versions_compare_by_number(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(("name", "file"), [("x.jsonl", True), ("dir/x", True), ("0123456789abcdef", False)])
def test_a_file_is_told_from_a_run(name: str, file: bool) -> None:
    assert is_file(name) is file


def test_one_broker_is_no_cluster() -> None:
    with pytest.raises(UsageError, match="SWARM_NATS_URL"):
        check_profile("cluster")


def test_the_broker_listens_to_this_machine_only() -> None:
    text = configuration(name="n", port=4222, monitoring=8222, store=Path('/a "b"'), profile="durable")
    assert 'listen: "127.0.0.1:4222"' in text
    assert 'http: "127.0.0.1:8222"' in text
    assert "sync_interval: always" in text
    assert r'store_dir: "/a \"b\""' in text
