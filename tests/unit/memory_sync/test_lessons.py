"""What folds teach about candidates, what lessons advise for other data, and who remembers them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Array, Event, digest_view
from swarm_common.events.agent import DataPrepared, PartTrained
from swarm_common.events.memory import Advised, Learned, Ranked
from swarm_common.runtime.offline import decide_again
from swarm_memory_sync import service
from swarm_memory_sync.lessons import (
    NO_LESSONS,
    Lesson,
    advise,
    distances_to,
    evolve,
    learn,
    ranks_of,
)
from swarm_memory_sync.replica import LEARNED, Library

NOTHING = Array("<i2", (0,), b"")


def data(rows: int = 100, features: int = 10, classes: int = 2, **more: Any) -> DataPrepared:
    given_: dict[str, Any] = {
        "task": "prepare",
        "dataset": "wine",
        "problem": "classification" if classes else "regression",
        "n_train": rows,
        "n_test": 20,
        "n_features": features,
        "classes": tuple(f"c{at}" for at in range(classes)),
        "y_train": NOTHING,
        "y_test": NOTHING,
        "sha256": "",
        "split_seed": 1,
        "elapsed_s": 0.1,
    }
    return DataPrepared(**(given_ | more))


def part(model: str, fold: int | None, score: float | None, **more: Any) -> PartTrained:
    given_: dict[str, Any] = {
        "task": f"train-{model}-fold-{fold}",
        "model": model,
        "model_type": "svm",
        "hyperparameters": {"C": 1.0},
        "n_train": 100,
        "n_features": 10,
        "folds": 2,
        "fold": fold,
        "predictions": NOTHING,
        "score": score,
        "score_name": "accuracy",
        "fit_s": 0.1,
        "elapsed_s": 0.1,
        "cpu_s": 0.1,
        "max_rss_bytes": 1,
        "worker": "w",
        "started": "t",
        "waited_s": 0.0,
    }
    return PartTrained(**(given_ | more))


def parts(**scores: tuple[float, ...]) -> list[tuple[str, PartTrained]]:
    return [
        (f"{model}-{fold}", part(model, fold, score, folds=len(folds)))
        for model, folds in scores.items()
        for fold, score in enumerate(folds)
    ]


def taught(name: str, rows: int = 100, features: int = 10, classes: int = 2, **scores: float) -> Learned:
    """Return a lesson as it would have been learned from folds with these scores."""
    about = data(rows, features, classes, dataset=name)
    folds = [
        (event, msgspec.structs.replace(one, n_train=rows))
        for event, one in parts(**{model: (score, score) for model, score in scores.items()})
    ]
    return learn(f"learn-{name}", name, (f"data of {name}", about), folds)


def lesson(name: str, run: str = "r", **more: Any) -> Lesson:
    return Lesson(run, f"event of {name}", taught(name, **more))


def told(*lessons: Lesson, about: DataPrepared | None = None, candidates: str = "abc") -> Advised:
    return advise("advise", "new", about or data(), list(candidates), lessons, memory="run")


# -- learning ----------------------------------------------------------------------------------------------


def test_a_lesson_ranks_by_the_mean_of_the_folds_and_says_what_it_is_from() -> None:
    found = learn("t", "wine", ("d", data()), parts(a=(0.7, 0.9), b=(0.9, 0.9), c=(0.85, 0.75)))
    assert [(one.candidate, one.score, one.rank) for one in found.ranking] == [
        ("b", pytest.approx(0.9), 1.0),
        ("a", pytest.approx(0.8), 2.5),
        ("c", pytest.approx(0.8), 2.5),
    ]
    assert (found.rows, found.features, found.classes, found.folds) == (100, 10, 2, 2)
    assert found.learned_from == ("d", "a-0", "a-1", "b-0", "b-1", "c-0", "c-1")
    assert found.ranking[0].hyperparameters == {"C": 1.0}
    assert digest_view(found) == digest_view(msgspec.structs.replace(found, learned_from=()))


@pytest.mark.parametrize(
    "folds",
    [
        [],
        parts(a=(0.9, 0.9), b=(0.9, 0.9))[:-1],
        [*parts(a=(0.9, 0.9)), ("again", part("a", 1, 0.9))],
        [*parts(a=(0.9, 0.9)), ("whole", part("a", None, None))],
        [("a-0", part("a", 0, None)), ("a-1", part("a", 1, 0.9))],
        [("a-0", part("a", 0, 0.9, n_train=99)), ("a-1", part("a", 1, 0.9, n_train=99))],
    ],
)
def test_folds_that_do_not_make_up_a_lesson_are_refused(folds: list[tuple[str, PartTrained]]) -> None:
    with pytest.raises(UsageError) as caught:
        learn("t", "wine", ("d", data()), folds)
    assert caught.value.field == "needs"


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.1, 0.2, 0.3]), min_size=1))
def test_ranks_are_those_of_a_count(scores: dict[str, float]) -> None:
    ranks = ranks_of(scores)
    assert sum(ranks.values()) == pytest.approx(len(scores) * (len(scores) + 1) / 2)
    assert all((ranks[a] < ranks[b]) == (scores[a] > scores[b]) for a in scores for b in scores)


# -- advising ----------------------------------------------------------------------------------------------


def test_one_lesson_is_followed() -> None:
    found = told(lesson("old", a=0.5, b=0.9, c=0.7))
    assert [(one.candidate, one.rank) for one in found.order] == [("b", 0.0), ("c", 0.5), ("a", 1.0)]
    assert found.order[0].reason == "1 of 3 on old (0.9000)"
    assert [(heard.name, heard.weight) for heard in found.lessons] == [("old", 1.0)]


def test_lessons_of_like_data_count_more() -> None:
    like, unlike = lesson("like", rows=120, a=0.9, b=0.5), lesson("unlike", rows=9000, a=0.5, b=0.9)
    found = told(like, unlike, candidates="ab")
    assert [one.candidate for one in found.order] == ["a", "b"]
    assert [heard.name for heard in found.lessons] == ["like", "unlike"]
    assert sum(heard.weight for heard in found.lessons) == pytest.approx(1.0)
    other = told(like, unlike, candidates="ab", about=data(rows=8000))
    assert [one.candidate for one in other.order] == ["b", "a"]


def test_weights_fall_with_the_distance_of_sizes() -> None:
    lessons = [taught("same", a=0.9), taught("tenfold", rows=1000, a=0.9), taught("far", rows=10_000, a=0.9)]
    assert distances_to(data(), lessons) == pytest.approx([0.0, 0.5, 1.0])
    both = [taught("both", rows=1000, features=20, a=0.9), taught("same", a=0.9)]
    assert distances_to(data(), both) == pytest.approx([2.0, 0.0])
    assert distances_to(data(), [taught("same", a=0.9)]) == [0.0]
    found = told(
        *(
            Lesson("r", one.name, one)
            for one in [taught("x", a=0.9, b=0.1), taught("y", rows=900, a=0.9, b=0.1)]
        )
    )
    assert found.lessons[0].weight / found.lessons[1].weight == pytest.approx(math.e)


def test_what_no_lesson_knows_comes_last_and_says_so() -> None:
    found = told(lesson("old", b=0.5, c=0.9), candidates="dacb")
    assert [(one.candidate, one.rank) for one in found.order] == [
        ("c", 0.0),
        ("b", 1.0),
        ("a", None),
        ("d", None),
    ]
    assert found.order[-1].reason == "no lesson knows it"


def test_candidates_that_were_not_asked_for_do_not_shift_ranks() -> None:
    found = told(lesson("old", a=0.6, b=0.5, x=0.9, y=0.8, z=0.7), candidates="ab")
    assert [(one.candidate, one.rank) for one in found.order] == [("a", 0.0), ("b", 1.0)]


def test_lessons_that_cannot_tell_are_left_out_and_named() -> None:
    found = told(
        lesson("new", a=0.9, b=0.1),
        lesson("values", classes=0, a=0.9, b=0.1),
        lesson("alone", a=0.9),
        lesson("old", a=0.1, b=0.9),
    )
    assert [heard.name for heard in found.lessons] == ["old"]
    assert found.left_out == (
        "alone: it compares none of the candidates",
        "new: it is about the target itself",
        "values: its problem is regression",
    )
    assert found.order[0].candidate == "b"


def test_without_lessons_the_order_is_that_of_names() -> None:
    found = told(candidates="cab")
    assert [one.candidate for one in found.order] == ["a", "b", "c"]
    assert all(one.rank is None for one in found.order)


def test_of_lessons_on_the_same_data_the_one_that_knows_most_counts_then_the_latest() -> None:
    full, part_ = lesson("old", a=0.1, b=0.5, c=0.9), lesson("old", a=0.9, b=0.5)
    assert told(full, part_).order[0].candidate == "c"
    later = lesson("old", a=0.9, b=0.5, c=0.1)
    assert told(full, later).order[0].candidate == "a"
    assert len(told(full, later).lessons) == 1


scored = st.dictionaries(st.sampled_from("abc"), st.floats(0, 1), min_size=2)
some_lessons = st.lists(st.tuples(st.sampled_from("uvw"), st.integers(2, 10_000), scored), max_size=5)


@given(some_lessons, st.permutations("abc"))
def test_an_advice_is_an_order_of_all_that_was_asked(
    given_: list[tuple[str, int, dict[str, float]]], candidates: list[str]
) -> None:
    lessons = [lesson(name, rows=rows, **scores) for name, rows, scores in given_]
    found = told(*lessons, candidates="".join(candidates))
    assert sorted(one.candidate for one in found.order) == ["a", "b", "c"]
    assert found == told(*lessons)
    ranks = [math.inf if one.rank is None else one.rank for one in found.order]
    assert ranks == sorted(ranks)
    assert all(0 <= rank <= 1 for rank in ranks if rank < math.inf)


def test_an_advice_is_the_same_whichever_run_its_lessons_are_from() -> None:
    mine, theirs = (told(lesson("old", run=run, a=0.1, b=0.9)) for run in ("one", "two"))
    assert mine != theirs
    assert digest_view(mine) == digest_view(theirs)


# -- remembering -------------------------------------------------------------------------------------------


def test_what_is_learned_anew_takes_the_place_of_the_old_and_stands_last() -> None:
    known = NO_LESSONS
    for one in (lesson("x", a=0.1, b=0.2), lesson("y", a=0.1), lesson("x", "later", a=0.3, b=0.2)):
        known = evolve(known, one)
    assert [(one.data.name, one.run) for one in known.values()] == [("y", "r"), ("x", "later")]
    known = evolve(known, lesson("x", "few", a=0.1))
    assert len(known) == 3


class Stored:
    """The part of the log that the library reads."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.reads: list[int] = []

    async def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Event]:
        assert subject == LEARNED
        self.reads.append(after)
        for event in list(self.log.events):
            if event.seq > after and isinstance(event.data, Learned):
                yield event


async def test_a_library_knows_what_the_log_holds_and_reads_on(log: Any) -> None:
    stored = Stored(log)
    library = Library(stored)
    assert await library.lessons() == {}
    log.add(taught("x", a=0.1, b=0.2), run="one")
    log.add(taught("y", a=0.1, b=0.2), run="two")
    found = await library.lessons()
    assert [(one.run, one.data.name) for one in found.values()] == [("one", "x"), ("two", "y")]
    assert await Library(stored).lessons() == found
    await library.lessons()
    assert stored.reads == [0, 0, 0, 2]


# -- the service -------------------------------------------------------------------------------------------


def learning(log: Any, name: str = "old", run: str = "run-1", **scores: tuple[float, ...]) -> Any:
    """Add folds to the log and return the work that learns from them."""
    log.add(data(task=f"prepare-{name}"), run=run)
    needs = [f"prepare-{name}"]
    for _, one in parts(**scores):
        needs.append(f"{name}-{one.task}")
        log.add(msgspec.structs.replace(one, task=needs[-1]), run=run)
    return log.task("learn", task=f"learn-{name}", needs=tuple(needs), params={"name": name})


async def test_what_was_learned_advises_and_a_replay_decides_the_same(log: Any) -> None:
    work = learning(log, a=(0.5, 0.5), b=(0.9, 0.9))
    learned = await service.learn(work)
    log.add(learned)
    log.add(data(rows=300))
    asked = {"target": "new", "candidates": ["a", "b", "c"]}
    advising = log.task("advise", task="advise", needs=("prepare", "learn-old"), params=asked)
    advised = await service.advise(advising)
    assert [one.candidate for one in advised.order] == ["b", "a", "c"]
    assert (advised.memory, advised.rows, advised.target) == ("run", 300, "new")
    assert advised.lessons[0].event == log.events[-3].id
    tasks = service.service.tasks
    assert (tasks["learn"].pure, tasks["advise"].pure) == (True, True)
    assert (tasks["advise_from_all"].pure, tasks["recall"].pure) == (False, False)


async def test_a_replay_tells_an_advice_that_was_changed_from_one_that_was_not(log: Any) -> None:
    work = learning(log, a=(0.5, 0.5), b=(0.9, 0.9))
    learned = await service.learn(work)

    def answered(events: list[Event], answer: Learned) -> list[Event]:
        event = msgspec.structs.replace(
            log.add(answer), causation=work.event.id, source="/swarm/memory_sync/1"
        )
        log.events.pop()
        named = [
            msgspec.structs.replace(one, data=msgspec.structs.replace(one.data, service="memory_sync"))
            if one.id == work.event.id
            else one
            for one in events
        ]
        return [*named, event]

    same = await decide_again(service.service, answered(log.events, learned))
    assert (same.decisions, same.differences) == (1, ())
    lied = msgspec.structs.replace(
        learned, ranking=(Ranked(candidate="a", model_type="svm", score=1.0, rank=1.0),)
    )
    other = await decide_again(service.service, answered(log.events, lied))
    assert len(other.differences) == 1


async def test_all_lessons_are_heard_where_all_are_asked_for(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_library", Library(Stored(log)))
    log.add(taught("elsewhere", a=0.9, b=0.1), run="another")
    log.add(data())
    asked = {"target": "new", "candidates": ["b", "a"]}
    work = log.task("advise_from_all", task="advise", needs=("prepare",), params=asked)
    found = await service.advise_from_all(work)
    assert [one.candidate for one in found.order] == ["a", "b"]
    assert (found.memory, found.lessons[0].run) == ("all", "another")


@pytest.mark.parametrize(
    ("kind", "params", "field"),
    [
        ("learn", {}, "params.name"),
        ("learn", {"name": "x"}, "needs"),
        ("advise", {"target": "new", "candidates": ["a"]}, "needs"),
        ("advise_from_all", {"candidates": ["a"]}, "params.target"),
        ("advise_from_all", {"target": "new"}, "params.candidates"),
        ("advise_from_all", {"target": "new", "candidates": []}, "params.candidates"),
        ("advise_from_all", {"target": "new", "candidates": "ab"}, "params.candidates"),
    ],
)
async def test_what_is_missing_is_named(log: Any, kind: str, params: dict[str, Any], field: str) -> None:
    log.add(data())
    with pytest.raises(UsageError) as caught:
        await service.service.tasks[kind].handle(log.task(kind, params=params))
    assert caught.value.field == field


async def test_data_are_needed_once(log: Any) -> None:
    log.add(taught("old", a=0.9, b=0.1))
    asked = {"target": "new", "candidates": ["a"]}
    work = log.task("advise", needs=("learn-old",), params=asked)
    with pytest.raises(UsageError, match=r"one agent\.data_prepared; it has 0"):
        await service.advise(work)


async def test_before_it_has_started_it_knows_no_lessons(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_library", None)
    log.add(data())
    asked = {"target": "new", "candidates": ["a"]}
    with pytest.raises(NotFound, match="not started"):
        await service.advise_from_all(log.task("advise_from_all", needs=("prepare",), params=asked))
