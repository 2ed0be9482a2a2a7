"""What a suggestion changes of a request, which one is meant, and what pairs of runs say of its gain."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from swarm_cli.applying import Pair, followed
from swarm_cli.commands.suggest import choose, measured, verdict
from swarm_common.errors import UsageError
from swarm_common.events.optimizer import Suggestion
from swarm_common.runs import RunView, new_view

DROP = Suggestion(
    kind="drop_model", subject="svm", text="Drop svm", change={"params": {"models": ["a", "b"]}}
)
MEND = Suggestion(kind="retries", subject="OSError", text="Mend what fails")


def view() -> RunView:
    found = new_view("0123456789abcdef")
    found.params = {"models": ["a", "b", "svm"], "folds": 3}
    found.suggestions = (DROP, MEND)
    return found


def pairs(*values: tuple[float | None, float | None]) -> list[Pair]:
    return [
        Pair(seed=seed, before="b", after="a", before_value=before, after_value=after)
        for seed, (before, after) in enumerate(values)
    ]


def test_a_request_that_follows_a_suggestion_is_the_same_but_for_the_change() -> None:
    assert followed(view(), DROP) == {"models": ["a", "b"], "folds": 3}


def test_what_a_person_must_do_says_how_to_measure_it() -> None:
    with pytest.raises(UsageError, match="swarm compare 0123456789abcdef RUN"):
        followed(view(), MEND)


@pytest.mark.parametrize("given", ["1", "drop_model", "drop_model:svm"])
def test_a_suggestion_goes_by_number_kind_or_subject(given: str) -> None:
    assert choose(view(), given) is DROP


def test_one_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"it has 1 \(drop_model\), 2 \(retries\)"):
        choose(view(), "drop_model:rf")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([(2.0, 1.0), (2.2, 1.1), (2.1, 1.3), (2.0, 1.2), (2.3, 1.0), (2.1, 1.1)], 0),
        ([(1.0, 2.0), (1.1, 2.2), (1.3, 2.1), (1.2, 2.0), (1.0, 2.3), (1.1, 2.1)], 1),
        ([(1.0, 1.1), (1.1, 1.0), (1.3, 1.2), (1.2, 1.3), (1.0, 1.1), (1.1, 1.0)], 3),
        ([(2.0, 1.0)], 3),
        ([(None, 1.0)], 3),
    ],
    ids=["gain", "loss", "neither", "one pair", "not measured"],
)
def test_the_verdict_is_of_the_whole_interval(
    values: list[tuple[float | None, float | None]], code: int
) -> None:
    gain = measured(pairs(*values))
    assert verdict(gain) == code
    assert gain["reason"] or (gain["low"] <= gain["value"] <= gain["high"])


def test_a_suggestion_without_change_is_told_from_one_with() -> None:
    with pytest.raises(UsageError):
        followed(view(), replace(DROP, change={}))
