"""Given a run's events, when it completes, then what it could have done without, with figures and evidence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm_common.events import Array, Event
from swarm_common.events.agent import ModelTrained, Predicted
from swarm_common.events.benchmark import Completed
from swarm_common.events.consensus import Reached
from swarm_optimizer.rules import suggest
from swarm_optimizer.rules.ensembles import costs_of
from swarm_optimizer.service import look_at

NUMBERS = Array("<f8", (1,), bytes(8))


def trained(model: str, cpu_s: float) -> ModelTrained:
    return ModelTrained(
        task=f"train-{model}",
        model=model,
        model_type="svm",
        hyperparameters={},
        n_train=4,
        n_features=1,
        folds=2,
        score_name="accuracy",
        fitted="",
        fit_s=cpu_s,
        score_s=0.0,
        cpu_s=cpu_s,
        max_rss_bytes=1,
        worker="w/1",
        started="",
        waited_s=0.0,
    )


def reached(gains: dict[str, tuple[float, float, float]]) -> Reached:
    return Reached(
        task="combine",
        strategy="weighted",
        members=tuple(gains),
        weights=dict.fromkeys(gains, 1 / len(gains)),
        prediction=NUMBERS,
        agreement=1.0,
        confidence=1.0,
        out_of_fold_score=0.9,
        gain={name: gain[0] for name, gain in gains.items()},
        gain_low={name: gain[1] for name, gain in gains.items()},
        gain_high={name: gain[2] for name, gain in gains.items()},
        consensus_s=0.1,
    )


NOISE, MUCH, HARM = (0.001, -0.002, 0.004), (0.05, 0.03, 0.07), (-0.02, -0.03, -0.01)


def run(log: Any, cpu_s: dict[str, float], gains: dict[str, tuple[float, float, float]]) -> list[Event]:
    for model, seconds in cpu_s.items():
        log.add(trained(model, seconds))
        log.add(Predicted(task=f"train-{model}", model=model, held_out=NUMBERS))
    if gains:
        log.add(reached(gains))
    return log.events


def test_the_dear_model_that_adds_nothing_is_named(log: Any) -> None:
    events = run(log, {"a": 8.0, "b": 1.0, "c": 1.0}, {"a": NOISE, "b": MUCH, "c": MUCH})
    [found] = suggest(events).suggestions
    assert (found.kind, found.subject, found.saves_cpu_s) == ("drop_model", "a", 8.0)
    assert (found.gain, found.gain_low, found.gain_high) == NOISE
    assert found.text == (
        "Drop a: it took 80% of the models' CPU time (8.00 s) and adds nothing beyond noise; "
        "its gain out of fold is +0.0010 (95 % interval -0.0020 to +0.0040)."
    )


def test_its_evidence_is_in_the_log(log: Any) -> None:
    events = run(log, {"a": 8.0, "b": 1.0}, {"a": NOISE, "b": MUCH})
    [found] = suggest(events).suggestions
    assert found.evidence == (events[0].id, events[1].id, events[-1].id)


def test_a_model_that_does_harm_is_said_to(log: Any) -> None:
    [found] = suggest(run(log, {"a": 8.0, "b": 1.0}, {"a": HARM, "b": MUCH})).suggestions
    assert "makes the answer worse" in found.text


@pytest.mark.parametrize(
    ("cpu_s", "gains"),
    [
        ({"a": 8.0, "b": 1.0}, {"a": MUCH, "b": MUCH}),  # dear and worth it
        ({"a": 8.0, "b": 1.0}, {"a": MUCH, "b": NOISE}),  # adds nothing and costs nothing
        ({"a": 8.0}, {"a": NOISE}),  # there is no other
        ({"a": 8.0, "b": 1.0}, {}),  # no consensus
        ({}, {"a": NOISE, "b": NOISE}),  # nothing was trained here
        ({"a": 0.0, "b": 0.0}, {"a": NOISE, "b": NOISE}),  # too little to measure
    ],
)
def test_otherwise_nothing_is_suggested(log: Any, cpu_s: dict[str, float], gains: Any) -> None:
    assert suggest(run(log, cpu_s, gains)).suggestions == ()


def test_of_two_that_can_be_spared_the_dearer_is_named(log: Any) -> None:
    events = run(log, {"a": 3.0, "b": 4.0, "c": 0.5}, {"a": NOISE, "b": NOISE, "c": MUCH})
    assert [found.subject for found in suggest(events).suggestions] == ["b"]


def test_without_intervals_nothing_is_suggested(log: Any) -> None:
    run(log, {"a": 8.0, "b": 1.0}, {})
    log.add(
        Reached(
            task="combine",
            strategy="soft",
            members=("a", "b"),
            weights={"a": 0.5, "b": 0.5},
            prediction=NUMBERS,
            agreement=1.0,
            confidence=1.0,
            out_of_fold_score=None,
            consensus_s=0.1,
        )
    )
    assert suggest(log.events).suggestions == ()


def test_fits_of_one_model_add_up(log: Any) -> None:
    events = [log.add(trained("a", 1.0)), log.add(trained("b", 5.0)), log.add(trained("a", 2.0))]
    found = {cost.model: cost for cost in costs_of(events)}
    assert found["a"].cpu_s == 3.0
    assert found["a"].evidence == (events[0].id, events[2].id)


seconds = st.floats(0, 1e3)
ends = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1)).map(lambda gain: tuple(sorted(gain)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(models=st.dictionaries(st.sampled_from("abcde"), st.tuples(seconds, ends), min_size=1))
def test_who_is_named_took_a_mean_share_and_may_add_nothing(log: Any, models: dict[str, Any]) -> None:
    costs = {name: cost for name, (cost, _) in models.items()}
    gains = {name: (gain, low, high) for name, (_, (low, gain, high)) in models.items()}
    found = suggest(run(type(log)(), costs, gains))
    assert len(found.suggestions) <= 1
    for suggestion in found.suggestions:
        cost, (low, _, _) = models[suggestion.subject]
        assert cost >= sum(value[0] for value in models.values()) / len(models) * (1 - 1e-12)
        assert low <= 0


async def test_each_completed_run_is_looked_at_once(log: Any) -> None:
    run(log, {"a": 8.0, "b": 1.0}, {"a": NOISE, "b": MUCH})
    completed = log.add(
        Completed(
            result={},
            metrics=(),
            targets=(),
            digest="",
            duration_s=1.0,
            clock="wall",
            tasks=3,
            attempts=3,
            events=5,
            log_sha256="",
        )
    )
    log.add(trained("late", 99.0))
    found = await look_at(log.work(completed))
    assert found.looked_at == 6
    assert [suggestion.subject for suggestion in found.suggestions] == ["a"]
