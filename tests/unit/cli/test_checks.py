"""`swarm doctor` says which optional parts are there, and what installs the others."""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path

import pytest

from swarm_cli.checks import extras, own_models


def test_an_extra_is_named_with_its_version_or_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name in {"xgboost", "lightgbm"}:
            return "9.8"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {one.name: one for one in extras()}
    assert list(found) == ["xgboost", "lightgbm", "catboost", "search", "grpc"]
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
