"""What data sets taught about candidates, and what that advises for new data. Pure functions of lessons.

A lesson ranks the candidates that were cross-validated on one data set. New data are like some of those and unlike
others, by their sizes; what did well on the like counts most. This is the ranking of learning algorithms by
meta-features of Brazdil, Soares & da Costa, *Ranking Learning Algorithms: Using IBL and Meta-Learning on Accuracy and
Time Results*, Machine Learning 50, 2003: distances over meta-features that are scaled by their range, and mean ranks
over the near data sets. Unlike there, no number of neighbours is set: every lesson counts, the less the farther it is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.agent import DataPrepared, PartTrained
from swarm_common.events.memory import Advice, Advised, Heard, Learned, Ranked


class Lesson(msgspec.Struct, frozen=True):
    """A lesson and where it lies in the log."""

    run: str
    event: str
    data: Learned


Lessons = Mapping[tuple[str, tuple[str, ...]], Lesson]
"""By the name of the data and the names of the candidates, in the order in which they were learned."""

NO_LESSONS: Lessons = {}


def evolve(known: Lessons, lesson: Lesson) -> Lessons:
    """Return the lessons with one more, which stands last; of the same data and candidates, the latest is kept."""
    key = (lesson.data.name, tuple(sorted(_scores(lesson.data))))
    return {**{other: one for other, one in known.items() if other != key}, key: lesson}


def learn(
    task: str, name: str, prepared: tuple[str, DataPrepared], parts: Sequence[tuple[str, PartTrained]]
) -> Learned:
    """Return what the folds of the candidates teach about the data they were cut from; events come with their ids.

    Raises :class:`UsageError` for folds that are missing, that there are twice, or that are of other data.
    """
    about = prepared[1]
    by_candidate: dict[str, list[PartTrained]] = {}
    for _, part in parts:
        by_candidate.setdefault(part.model, []).append(part)
    if not by_candidate:
        raise UsageError("there is nothing to learn from: the task needs agent.part_trained", field="needs")
    for candidate, folds in by_candidate.items():
        _check(candidate, folds, about)
    scores = {name_: statistics.fmean(_fold_scores(folds)) for name_, folds in by_candidate.items()}
    ranks = ranks_of(scores)
    first = parts[0][1]
    return Learned(
        task=task,
        name=name,
        dataset=about.dataset,
        problem=about.problem,
        rows=about.n_train,
        features=about.n_features,
        classes=len(about.classes),
        score_name=first.score_name,
        folds=first.folds,
        ranking=tuple(
            Ranked(
                candidate=candidate,
                model_type=by_candidate[candidate][0].model_type,
                hyperparameters=by_candidate[candidate][0].hyperparameters,
                score=scores[candidate],
                rank=ranks[candidate],
            )
            for candidate in sorted(scores, key=lambda one: (ranks[one], one))
        ),
        learned_from=(prepared[0], *(event for event, _ in parts)),
    )


def advise(
    task: str,
    target: str,
    about: DataPrepared,
    candidates: Sequence[str],
    lessons: Iterable[Lesson],
    *,
    memory: Literal["run", "all"],
) -> Advised:
    """Return the order in which candidates should be tried on data of these sizes.

    Lessons on the target itself are left out: what is new must not be known already. So are those on other problems,
    and those that know fewer than two of the candidates. Candidates that no lesson knows come last, by name.
    """
    heard, left_out = _heard(target, about, candidates, lessons)
    distances = distances_to(about, [lesson.data for lesson in heard])
    nearness = [math.exp(-distance) for distance in distances]
    weights = [near / sum(nearness) for near in nearness]
    order = [_advice(candidate, candidates, heard, weights) for candidate in candidates]
    drawn_on = [
        Heard(name=lesson.data.name, run=lesson.run, event=lesson.event, distance=distance, weight=weight)
        for lesson, distance, weight in zip(heard, distances, weights, strict=True)
    ]
    return Advised(
        task=task,
        target=target,
        memory=memory,
        problem=about.problem,
        rows=about.n_train,
        features=about.n_features,
        classes=len(about.classes),
        order=tuple(
            sorted(order, key=lambda one: (math.inf if one.rank is None else one.rank, one.candidate))
        ),
        lessons=tuple(sorted(drawn_on, key=lambda one: (one.distance, one.name))),
        left_out=tuple(left_out),
    )


def ranks_of(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the rank of each, 1 for the highest score; equal ones share the mean of their ranks."""
    return {
        name: 1
        + sum(other > score for other in scores.values())
        + (sum(other == score for other in scores.values()) - 1) / 2
        for name, score in scores.items()
    }


def distances_to(about: DataPrepared, lessons: Sequence[Learned]) -> list[float]:
    """Return how unlike the sizes of each lesson's data are: sums over rows, features and classes.

    Each is the difference of logarithms (a tenfold is a tenfold, among hundreds as among thousands), divided by the
    range among the lessons and the target, so it is at most 1; a size that all of them share tells nothing apart.
    """
    own = _sizes(about.n_train, about.n_features, len(about.classes))
    others = [_sizes(lesson.rows, lesson.features, lesson.classes) for lesson in lessons]
    spans = [max(column) - min(column) for column in zip(own, *others, strict=True)]
    return [
        sum(abs(mine - its) / span for mine, its, span in zip(own, sizes, spans, strict=True) if span > 0)
        for sizes in others
    ]


def _sizes(rows: int, features: int, classes: int) -> tuple[float, ...]:
    return math.log(max(rows, 1)), math.log(max(features, 1)), math.log(max(classes, 1))


def _heard(
    target: str, about: DataPrepared, candidates: Sequence[str], lessons: Iterable[Lesson]
) -> tuple[list[Lesson], list[str]]:
    """Return the lessons that count, one for each name, by name; and why the others do not."""
    chosen: dict[str, tuple[int, Lesson]] = {}
    left_out: list[str] = []
    for lesson in lessons:
        data = lesson.data
        known = sum(candidate in _scores(data) for candidate in candidates)
        if data.name == target:
            left_out.append(f"{data.name}: it is about the target itself")
        elif data.problem != about.problem:
            left_out.append(f"{data.name}: its problem is {data.problem}")
        elif known < 2:
            left_out.append(f"{data.name}: it compares none of the candidates")
        elif data.name not in chosen or known >= chosen[data.name][0]:
            chosen[data.name] = (known, lesson)  # of those that know as many, the latest
    return [chosen[name][1] for name in sorted(chosen)], sorted(set(left_out))


def _advice(
    candidate: str, candidates: Sequence[str], heard: Sequence[Lesson], weights: Sequence[float]
) -> Advice:
    """Return the weighted mean of a candidate's relative ranks, over the lessons that know it."""
    total = weighted = 0.0
    told: list[tuple[float, str]] = []
    for lesson, weight in zip(heard, weights, strict=True):
        scores = {name: score for name, score in _scores(lesson.data).items() if name in candidates}
        if candidate not in scores:
            continue
        rank = ranks_of(scores)[candidate]
        total += weight
        weighted += weight * (rank - 1) / (len(scores) - 1)
        told.append((-weight, f"{rank:g} of {len(scores)} on {lesson.data.name} ({scores[candidate]:.4f})"))
    if not told:
        return Advice(candidate=candidate, rank=None, reason="no lesson knows it")
    return Advice(
        candidate=candidate, rank=weighted / total, reason=", ".join(text for _, text in sorted(told))
    )


def _scores(lesson: Learned) -> dict[str, float]:
    return {ranked.candidate: ranked.score for ranked in lesson.ranking}


def _fold_scores(folds: Sequence[PartTrained]) -> list[float]:
    return [part.score for part in folds if part.score is not None]


def _check(candidate: str, folds: Sequence[PartTrained], about: DataPrepared) -> None:
    found = sorted(part.fold for part in folds if part.fold is not None and part.score is not None)
    what = ""
    if len(found) < len(folds) or found != list(range(folds[0].folds)):
        what = f"folds {', '.join(map(str, found)) or 'none'} of {folds[0].folds}"
    elif any(part.n_train != about.n_train for part in folds):
        what = f"{folds[0].n_train} training rows, the data have {about.n_train}"
    if what:
        raise UsageError(
            f"{candidate} teaches nothing of {about.dataset}: {what}; the task needs each of its folds once",
            field="needs",
            given=what,
        )
