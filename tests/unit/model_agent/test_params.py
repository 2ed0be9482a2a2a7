"""Parameters are read strictly, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest

from swarm_common.errors import UsageError
from swarm_model_agent.params import DataParams, TrainParams, read

MODEL = {"dataset": "wine", "model": "m", "model_type": "svm"}


def test_defaults_are_filled_in() -> None:
    found = read(MODEL, TrainParams)
    assert (found.test_share, found.split_seed, found.folds, found.scale) == (0.2, 42, 0, True)


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({}, "params.dataset", ""),
        ({**MODEL, "fold": 3}, "params.fold", "3"),
        ({**MODEL, "folds": -1}, "params.folds", "-1"),
        ({**MODEL, "folds": "3"}, "params.folds", "3"),
        ({**MODEL, "test_share": 1.5}, "params.test_share", "1.5"),
        ({**MODEL, "split_seed": 2**32}, "params.split_seed", str(2**32)),
        ({**MODEL, "hyperparameters": [1]}, "params.hyperparameters", "[1]"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], field: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(given, TrainParams)
    assert (caught.value.field, caught.value.given) == (field, value)
    assert caught.value.allowed


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        read({"dataset": "wine", "seed": 1}, DataParams)
    assert caught.value.allowed == ", ".join(DataParams.__struct_fields__)
