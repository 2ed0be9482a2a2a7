"""Settings: flags before environment before swarm.toml; what does not fit is named with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarm_common.errors import SettingsError
from swarm_common.settings import PREFIX, Settings, load_settings


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "swarm.toml"


def test_nothing_given_is_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}) == Settings()


def test_flags_come_before_environment_before_file(toml: Path) -> None:
    toml.write_text('session = "file"\nlog_level = "debug"\nio_slots = 7\n', encoding="utf-8")
    environ = {"SWARM_SESSION": "environment", "SWARM_IO_SLOTS": "8"}
    found = load_settings({"session": "flag", "profile": None}, environ=environ, file=toml)
    assert (found.session, found.io_slots, found.log_level, found.profile) == ("flag", 8, "debug", "fast")


def test_swarm_toml_of_the_working_directory_is_read(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toml.parent)
    toml.write_text("nats_port = 0\n", encoding="utf-8")
    assert load_settings(environ={}).nats_port == 0


def test_an_empty_variable_counts_as_not_given() -> None:
    assert load_settings(environ={"SWARM_SESSION": "", "SWARM_NATS_PORT": ""}) == Settings()


def test_a_home_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert load_settings({"home": "~/swarm"}, environ={}).home_path == Path("/somewhere/swarm")
    assert load_settings({"home": "here"}, environ={}).home_path.is_absolute()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("nats_port", "65536", "allowed is 0 to 65535"),
        ("nats_port", "-1", "allowed is 0 to 65535"),
        ("nats_port", "four", "Expected `int`"),
        ("dashboard_port", "70000", "allowed is 0 to 65535"),
        ("cpu_workers", "-1", "allowed is 0 to 1024"),
        ("io_slots", "0", "allowed is 1 to 100000"),
        ("stream_replicas", "6", "allowed is 1 to 5"),
        ("profile", "quick", "Invalid enum value 'quick'"),
        ("log_level", "DEBUG", "Invalid enum value 'DEBUG'"),
        ("max_bytes", "1.5", "Expected `int`"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_source(
    key: str, value: str, words: str, toml: Path
) -> None:
    bare = value.lstrip("-").replace(".", "").isdigit()
    toml.write_text(f"{key} = {value if bare else repr(value)}\n", encoding="utf-8")
    variable = PREFIX + key.upper()
    sources: list[tuple[str, dict[str, Any]]] = [
        (f"--{key.replace('_', '-')}", {"flags": {key: value}, "environ": {}}),
        (variable, {"environ": {variable: value}}),
        (f"{toml}: {key}", {"environ": {}, "file": toml}),
    ]
    for origin, given in sources:
        with pytest.raises(SettingsError, match=words) as refused:
            load_settings(**given)
        assert str(refused.value).startswith(origin)
        assert (refused.value.field, refused.value.exit_code) == (key, 2)


def test_a_key_that_is_no_setting_is_answered_with_those_that_are(toml: Path) -> None:
    toml.write_text("nats_prot = 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"nats_prot is no setting; settings are .*nats_port"):
        load_settings(environ={}, file=toml)


@pytest.mark.parametrize(
    ("content", "words"), [(b"= 1", "is no TOML"), (b"\xff\xfe", "is no TOML"), (None, "No such file")]
)
def test_a_file_that_cannot_be_read(content: bytes | None, words: str, toml: Path) -> None:
    if content is not None:
        toml.write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        load_settings(environ={}, file=toml)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:8080/v1", "is no address of a server"),
        ("file:///etc/passwd", "is no address of a server"),
        ("http://some.where/v1?api-key=sk-1", "is no address of a server"),
        ("http://me:sk-1@some.where/v1", "SWARM_LLM_API_KEY"),
    ],
)
def test_the_address_of_a_language_model_is_one_of_http_and_holds_no_secret(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(environ={"SWARM_LLM_URL": url})
    assert str(caught.value).startswith("SWARM_LLM_URL: ")
    assert "sk-1" not in str(caught.value)
    load_settings(environ={"SWARM_LLM_URL": "https://some.where/v1", "SWARM_LLM_API_KEY": "sk-1"})


def test_the_key_of_a_language_model_is_no_setting(toml: Path) -> None:
    found = load_settings(environ={"SWARM_LLM_API_KEY": "sk-1"}, file=None)
    assert "sk-1" not in repr(found)
    toml.write_text('llm_api_key = "sk-1"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="llm_api_key is no setting") as caught:
        load_settings(environ={}, file=toml)
    assert "sk-1" not in str(caught.value)
