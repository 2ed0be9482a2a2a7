"""``configuration_analysis``: descriptions of pipelines, as models and searches propose them, read and examined."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.pipelines import Space, check, read_spec, sample, space
from swarm_metrics.primitives.case import Case, Fact, Prepared, require

_FEATURES = 20
_SOUND = 0.5
"""The share of configurations that nothing is wrong with."""

Wrong = Callable[[dict[str, Any]], None]


def _block(document: dict[str, Any]) -> None:
    document["scale"] = "sideways"


def _model(document: dict[str, Any]) -> None:
    document["model"] = "oracle"


def _hyperparameter(document: dict[str, Any]) -> None:
    document["hyperparameters"] = {**document.get("hyperparameters", {}), "depth_of_thought": 3}


def _field(document: dict[str, Any]) -> None:
    document["sclae"] = "standard"


def _kind(document: dict[str, Any]) -> None:
    document["hyperparameters"] = "default"


_WRONG: dict[str, tuple[Wrong, str]] = {
    "no such choice": (_block, "spec.scale"),
    "no such model": (_model, "spec.model"),
    "no such hyperparameter": (_hyperparameter, "spec.hyperparameters.depth_of_thought"),
    "no such field": (_field, "params.spec"),
    "of another type": (_kind, "params.spec"),
}
"""What can be wrong: how it is done, and the field that is named."""


def documents_of(size: int, seed: int) -> tuple[Space, list[bytes], list[str]]:
    """Return a space, configurations as JSON, and of each the field that is wrong with it; empty where none is."""
    draw = Random(f"{seed}/configuration/{size}")  # noqa: S311 - seeded, nothing secret
    pipelines = space("classification", _FEATURES, categorical=True, missing=True)
    texts, fields = [], []
    for at in range(size):
        document = msgspec.to_builtins(sample(pipelines, draw))
        field = ""
        if at == 0 or draw.random() >= _SOUND:
            spoil, field = _WRONG[draw.choice(sorted(_WRONG))]
            spoil(document)
        texts.append(msgspec.json.encode(document))
        fields.append(field)
    return pipelines, texts, fields


def analysed(pipelines: Space, text: bytes) -> str:
    """Return the field that is wrong with a configuration, empty where nothing is."""
    try:
        check(pipelines, read_spec(msgspec.json.decode(text)))
    except UsageError as error:
        return error.field
    return ""


def prepare(size: int, seed: int) -> Prepared:
    """Return ``size`` configurations, half of them wrong; an operation is to analyse them all."""
    pipelines, texts, fields = documents_of(size, seed)
    found: list[str] = []

    def run(loops: int) -> None:
        for _ in range(loops):
            found[:] = [analysed(pipelines, text) for text in texts]

    def check_found() -> dict[str, Fact]:
        require(found == fields, f"wrong were {fields}; found were {found}")
        return {"configurations": size, "bytes": sum(map(len, texts)), "wrong": size - found.count("")}

    return Prepared(run=run, check=check_found)


CASES = (
    Case(
        scenario="configuration_analysis",
        sizes=(1, 5, 10, 20),
        operation="n descriptions of pipelines decoded, checked, and what is wrong with them named",
        growth="linear",
        prepare=prepare,
    ),
)
