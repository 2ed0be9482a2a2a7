"""What the neural suite asks for, and what it makes of what comes back: scores together, one number, speed-up."""

from __future__ import annotations

import random
import struct
from typing import Any

import msgspec
import pytest

from swarm_common.errors import UsageError
from swarm_common.events import Array, Data, Samples
from swarm_common.events.agent import Checkpoint, PatternLearned
from swarm_common.patterns import PATTERNS
from swarm_coordinator.decider import judge
from swarm_coordinator.plans import Fact, Finish, SoFar, Step, complete_params, find_scenario
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.neural.measures import corrected, ends, resampled
from swarm_model_agent.params import PatternParams, read

NEURAL = SUITES["neural"]


def asked(scenario: str = "", sofar: SoFar | None = None, **params: Any) -> Step | Finish:
    case = find_scenario(NEURAL, scenario)
    return NEURAL.plan(sofar or SoFar(scenario=case.name, params=complete_params(case, params), seed=42))


def learned(pattern: str = "lateral", repeat: int = 0, **fields: Any) -> PatternLearned:
    score = fields.get("score", 0.8)
    drawn = random.Random(f"{pattern}/{repeat}")  # noqa: S311 - a test's numbers
    means = [score + drawn.gauss(0, 0.02) for _ in range(500)]
    usual: dict[str, Any] = {
        "task": f"{pattern}-{repeat}", "size": 4, "iterations": 40, "lessons": 100, "questions": 200, "score": score,
        "low": score - 0.04, "high": score + 0.04, "estimator": "", "chance": 0.2, "baseline": 0.3,
        "curve": (Checkpoint(iterations=0, score=0.21), Checkpoint(iterations=40, score=score)),
        "resampled": Array("<f8", (500,), struct.pack("<500d", *means)),
        "gained": Array("<f8", (500,), struct.pack("<500d", *(mean - 0.21 for mean in means))),
        "measures": {"auc": 0.9},
        "samples": tuple(
            Samples(name=name, unit="us", values=tuple(first + at for at in range(101)), of=pattern)
            for name, first in (("recognition", 10.0), ("inference", 20.0), ("iteration", 1000.0))
        ),
        "loops": {"recognition": 8, "inference": 1, "iteration": 1}, "rss_bytes": 100_000_000,
        "allocated_bytes": 5_000_000, "elapsed_s": 1.0, "cpu_s": 1.0, "worker": "w/1", "cores": 2, "started": "",
        "waited_s": 0.0,
    }  # fmt: skip
    return PatternLearned(pattern=pattern, repeat=repeat, **(usual | fields))


def finished(*results: PatternLearned, **params: Any) -> Finish:
    case = find_scenario(NEURAL, "patterns")
    shuffled = list(results)
    random.Random(1).shuffle(shuffled)  # noqa: S311 - the mapping has no order
    facts = {data.task: Fact(f"event-{data.task}", data, "") for data in shuffled}
    found = asked(
        sofar=SoFar(
            scenario=case.name,
            params=complete_params(case, params),
            seed=42,
            step=1,
            results=facts,
            elapsed_s=2.0,
        )
    )
    assert isinstance(found, Finish)
    msgspec.json.encode(found.result)
    return found


def values(finish: Finish) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in finish.metrics}


def missed(finish: Finish) -> list[str]:
    targets = find_scenario(NEURAL, "patterns").targets
    return [target.metric for target in targets if not judge(target, finish.metrics).met]


ALL = [learned(pattern, repeat) for pattern in PATTERNS for repeat in range(2)]

# -- patterns ----------------------------------------------------------------------------------------------


def test_every_pattern_is_asked_for_as_often_as_repeats_say_in_words_that_model_agent_takes() -> None:
    step = asked(repeats=2, size=3, shuffled=True)
    assert isinstance(step, Step)
    taken = [read(task.params, PatternParams) for task in step.tasks]
    assert sorted((one.pattern, one.repeat) for one in taken) == sorted(
        (pattern, repeat) for pattern in PATTERNS for repeat in range(2)
    )
    assert {(one.size, one.iterations, one.questions, one.timings, one.shuffled) for one in taken} == {
        (3, 40, 200, 200, True)
    }
    assert {(task.service, task.lane, task.kind) for task in step.tasks} == {
        ("model_agent", "cpu", "learn_pattern")
    }
    # They are timed, so one has the machine to itself.
    assert find_scenario(NEURAL, "patterns").parallel == {"learn_pattern": 1}


def test_what_is_named_twice_is_learned_once() -> None:
    step = asked(patterns="lateral,lateral", repeats=1)
    assert isinstance(step, Step)
    assert [task.id for task in step.tasks] == ["lateral-0"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"patterns": "vertical"}, "params.patterns"),
        ({"size": 0}, "params.size"),
        ({"iterations": 2}, "params.iterations"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as refused:
        asked(**given)
    assert refused.value.field == field


def test_a_patterns_score_is_the_mean_of_its_tasks_with_an_interval_that_covers_how_they_differ() -> None:
    alike = finished(learned(repeat=0), learned(repeat=1))
    apart = finished(learned(repeat=0, score=0.6), learned(repeat=1, score=1.0))
    (one,), (other,) = (found.result["neural"]["patterns"] for found in (alike, apart))
    assert one["score"] == other["score"] == pytest.approx(0.8)
    assert one["low"] < 0.8 < one["high"]
    # Drawing one of two tasks twice gives either's score, half of the time; so few draws are spread about their mean.
    assert other["low"] < 0.56
    assert other["high"] == 1
    assert one["high"] - one["low"] < 0.1
    assert one["questions"] == 400


def test_the_overall_score_is_the_mean_of_what_lies_above_chance_equally_weighted() -> None:
    found = finished(
        learned("lateral", score=1.0),
        learned("systems", score=-3.0, chance=0.0),  # worse than chance counts as chance
        learned("critical", score=0.6, questions=2000),
        learned("abstract", score=0.75, chance=0.5),
    )
    assert values(found)["overall"] == pytest.approx((1.0 + 0.0 + 0.5 + 0.5) / 4)
    whole = next(metric for metric in found.metrics if metric.name == "overall")
    assert whole.low is not None
    assert whole.high is not None
    assert whole.low < 0.5 < whole.high
    assert len(whole.source) == 4
    assert whole.estimator.startswith(found.result["neural"]["formula"])


@pytest.mark.parametrize(
    ("score", "chance", "expected"), [(0.2, 0.2, 0), (0.1, 0.2, 0), (1, 0.2, 1), (0.6, 0.2, 0.5)]
)
def test_chance_is_0_and_all_right_is_1(score: float, chance: float, expected: float) -> None:
    assert corrected(score, chance) == pytest.approx(expected)


def test_all_targets_are_met_by_good_work_and_each_missed_by_bad() -> None:
    assert missed(finished(*ALL)) == []
    rest = ALL[:-1]
    last = ALL[-1]
    slow = {
        name: tuple(
            msgspec.structs.replace(samples, values=(most,) * 200) if samples.name == name else samples
            for samples in last.samples
        )
        for name, most in (("recognition", 100_001.0), ("inference", 50_001.0), ("iteration", 500_001.0))
    }
    for bad, targets in (
        ({"samples": slow["recognition"]}, ["recognition_p99"]),
        ({"samples": slow["inference"]}, ["inference_p99"]),
        ({"samples": slow["iteration"]}, ["iteration_p99"]),
        ({"rss_bytes": 512_000_001}, ["memory"]),
        ({"rss_bytes": None, "rss_reason": "no kernel tells"}, ["memory"]),
        ({"chance": 1.5}, ["not_above_chance", "not_learned"]),
        ({"gained": Array("<f8", (1,), struct.pack("<d", -0.1))}, ["not_learned"]),
    ):
        assert missed(finished(*rest, msgspec.structs.replace(last, **bad))) == targets, bad


def test_guessing_is_not_above_chance() -> None:
    found = finished(*(learned(pattern, score=0.2) for pattern in PATTERNS))
    assert values(found)["not_above_chance"] == 6
    assert values(found)["not_learned"] == 6
    assert values(found)["overall"] == pytest.approx(0)


def test_memory_that_no_kernel_tells_is_none_with_the_reason() -> None:
    found = finished(learned(rss_bytes=None, rss_reason="no kernel tells"))
    (memory,) = [metric for metric in found.metrics if metric.name == "memory"]
    assert (memory.value, memory.reason) == (None, "no kernel tells")


def test_times_are_the_percentiles_of_all_tasks_of_the_slowest_pattern() -> None:
    slow = msgspec.structs.replace(
        learned("abstract"),
        samples=tuple(
            msgspec.structs.replace(one, values=tuple(10 * value for value in one.values))
            for one in ALL[0].samples
        ),
    )
    found = values(finished(learned("lateral", 0), learned("lateral", 1), slow))
    assert found["recognition_p99"] == pytest.approx(10 * 109)
    assert found["recognition_p50.lateral"] == pytest.approx(60)
    assert found["iteration_p99.lateral"] == pytest.approx(1099)


def test_resamples_are_the_same_each_time_and_others_for_another_seed() -> None:
    tasks = [learned(repeat=repeat) for repeat in range(3)]
    assert resampled(tasks, 1) == resampled(tasks, 1)
    assert resampled(tasks, 1) != resampled(tasks, 2)


def test_an_interval_without_width_is_wilsons() -> None:
    low, high = ends([1.0] * 100, 1.0, 100)
    assert (low, high) == (pytest.approx(0.963, abs=0.001), 1.0)


# -- parallel ----------------------------------------------------------------------------------------------


def played(took_s: float = 1.0, other: float = 0.8, **params: Any) -> tuple[Finish, list[int]]:
    """Return the end of a run whose tasks take so long each, and how many were open after each decision.

    ``other`` is the score by several workers; the clock is the run's own.
    """
    case = find_scenario(NEURAL, "parallel")
    given = complete_params(case, {"repeats": 1, "rounds": 2} | params)
    now, step = 0.0, 0
    planned: dict[str, Any] = {}
    results: dict[str, Fact] = {}
    open_: dict[str, float] = {}
    counts = []
    while True:
        sofar = SoFar(
            scenario="parallel",
            params=given,
            seed=1,
            step=step,
            results=results,
            planned=planned,
            elapsed_s=now,
        )
        found = NEURAL.plan(sofar)
        if isinstance(found, Finish):
            return found, counts
        assert found.tasks or open_
        for task in found.tasks:
            assert task.decides
            planned[task.id] = task
            open_[task.id] = now + took_s
        counts.append(len(open_))
        step += 1
        name = min(open_, key=lambda one: (open_[one], one))
        now = open_.pop(name)
        params_ = planned[name].params
        score = 0.8 if "-w1-" in name else other
        data: Data = learned(params_["pattern"], params_["repeat"], task=name, elapsed_s=took_s, score=score)
        results[name] = Fact(f"event-{name}", data, "", int(now * 1e9))


def test_as_many_tasks_are_open_as_there_are_to_be_workers() -> None:
    found, counts = played(workers="2,3")
    # Six tasks by one, by two and by three, twice; at the end of a batch there are fewer left.
    assert counts == ([1] * 6 + [2] * 5 + [1] + [3] * 4 + [2, 1]) * 2
    rows = found.result["neural"]["parallel"]
    assert [row["workers"] for row in rows] == [1, 2, 3]
    assert [row["speedup"] for row in rows] == [pytest.approx(1), pytest.approx(2), pytest.approx(3)]
    assert [row["wall_s"] for row in rows] == [pytest.approx(6), pytest.approx(3), pytest.approx(2)]


def test_the_bound_is_the_least_of_workers_cores_and_the_longest_task() -> None:
    found, _ = played(workers="2,8")
    by = {row["workers"]: (row["bound"], row["bound_by"]) for row in found.result["neural"]["parallel"]}
    assert by == {1: (1, "workers"), 2: (2, "workers"), 8: (2, "cores")}
    found, _ = played(workers="8", patterns="lateral")
    (_, eight) = found.result["neural"]["parallel"]
    assert (eight["bound"], eight["bound_by"]) == (1, "the longest task")
    assert eight["idle"] == pytest.approx(7 / 8)


def test_scores_that_depend_on_who_works_beside_miss_the_target() -> None:
    case = find_scenario(NEURAL, "parallel")
    for other, differing in ((0.8, 0), (0.9, 12)):
        found, _ = played(other=other)
        assert values(found)["differing"] == differing
        assert judge(case.targets[0], found.metrics).met == (differing == 0)
