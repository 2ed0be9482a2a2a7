"""`swarm doctor` says which optional parts are there, and what installs the others."""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path

import pytest

from support.chat import Reply, serve
from swarm_cli.checks import extras, language_model, own_models
from swarm_common.settings import Settings


def test_an_extra_is_named_with_its_version_or_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name in {"xgboost", "lightgbm"}:
            return "9.8"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {one.name: one for one in extras()}
    assert list(found) == ["xgboost", "lightgbm", "catboost", "search", "llm", "grpc"]
    assert {one.verdict for one in found.values()} == {"ok"}
    assert found["xgboost"].what == "model xgboost: xgboost 9.8"
    assert found["lightgbm"].advice == ""
    assert found["catboost"].what == "model catboost: not installed"
    assert found["catboost"].advice == "`pip install 'swarm-model-agent[catboost]'`"


def test_versions_are_those_of_the_installed_distributions() -> None:
    for one in extras():
        if not one.advice:
            name, version = one.what.rpartition(": ")[2].split()
            assert metadata.version(name) == version


def test_types_of_model_that_others_bring_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "acme_models-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-models\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[swarmbench.models]\nown_forest = acme_models:Forest\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    (found,) = own_models()
    assert "own_forest (acme-models 1.2)" in found.what


def test_a_language_model_is_reachable_refuses_our_key_is_away_or_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWARM_LLM_API_KEY", "sk-loopback")
    with serve() as chat:
        settings = Settings(llm_url=f"{chat.url}/")
        chat.answer = lambda _: Reply(200, {"data": []})
        there = language_model(settings)
        chat.answer = lambda _: Reply(401, {"error": {"message": "sk-loopback is no key"}})
        refused = language_model(settings)
    away = language_model(settings)
    unset = language_model(Settings())
    assert [one.path for one in chat.asked] == ["/v1/models"] * 2
    assert chat.asked[0].headers["authorization"] == "Bearer sk-loopback"
    assert [one.verdict for one in (there, refused, away, unset)] == ["ok", "warn", "warn", "ok"]
    assert refused.advice == "SWARM_LLM_API_KEY is not the key it wants"
    assert "does not answer" in away.what
    assert "SWARM_LLM_URL" in unset.what
    assert not any("sk-loopback" in str(one) for one in (there, refused, away, unset))


def test_a_key_does_not_follow_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_LLM_API_KEY", "sk-loopback")
    with serve() as chat, serve() as other:
        chat.redirect = f"{other.url}/models"
        chat.answer = lambda _: Reply(302, b"")
        language_model(Settings(llm_url=chat.url))
    assert chat.asked
    assert not other.asked
