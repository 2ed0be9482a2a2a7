"""Abstract: induce a rule from few examples, and say what it makes of a new case.

A case is a pair of objects with attributes, as noisy readings. What matters is never what an object is like but whether
the two are alike in an attribute. From labelled cases a network learns to see that, attribute by attribute. The rules
that are asked for join two attributes by *and*, *or* or *either-or*, some negated; no such rule is ever taught. A
question gives a few cases that fit the rule and a few that do not: all rules of the language are tried, each votes
with its likelihood (Tenenbaum 1999), and a new case is judged. As many new cases fit as do not, so chance is one half.
The baseline is the label of the nearest of the cases given.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from swarm_model_agent.patterns.core import Floats, Ints, Posed
from swarm_model_agent.patterns.network import Network

_ATTRIBUTES = 4
_VALUES = 3
_EACH = 6
"""Cases given that fit the rule, and as many that do not."""
_NOISE = 0.15
_UNIT = 300
_HIDDEN = 96
_SURE = 0.98
"""No single case rules a rule out for good: what is seen may be wrong."""

_EVERY: Floats = np.array(list(np.ndindex((2,) * _ATTRIBUTES)), dtype=np.float64)
"""Every way in which two objects can be alike, ``(ways, attributes)``."""

Join = Literal["and", "or", "either-or"]


class Rule(NamedTuple):
    """Two attributes that a pair is alike in (or, negated, is not), joined."""

    one: int
    other: int
    join: Join
    negated: tuple[bool, bool] = (False, False)

    def says(self, alike: Floats) -> Floats:
        """Return the share to which cases fit, of shares ``(..., attributes)`` to which they are alike."""
        first, second = (
            1 - alike[..., at] if negated else alike[..., at]
            for at, negated in zip((self.one, self.other), self.negated, strict=True)
        )
        match self.join:
            case "and":
                return np.asarray(first * second)
            case "or":
                return np.asarray(1 - (1 - first) * (1 - second))
            case "either-or":
                return np.asarray(first * (1 - second) + second * (1 - first))


_SIGNS: Mapping[Join, tuple[tuple[bool, bool], ...]] = {
    "and": ((False, False), (False, True), (True, False), (True, True)),
    "or": ((False, False), (False, True), (True, False), (True, True)),
    "either-or": ((False, False), (False, True)),
}
RULES: tuple[Rule, ...] = tuple(
    Rule(one, other, join, negated)
    for one, other in combinations(range(_ATTRIBUTES), 2)
    for join, signs in _SIGNS.items()
    for negated in signs
)
"""Every rule of the language once; an *either-or* with both negated is the one with none."""


class Induction:
    """Cases to learn to see from, and rules to be induced."""

    chance = 0.5

    def __init__(self, posed: Posed) -> None:
        self.lessons = posed.size * _UNIT
        lessons = posed.stream("lessons")
        objects = lessons.integers(0, _VALUES, size=(self.lessons, 2, _ATTRIBUTES))
        self._x = _read(objects, lessons)
        self._y = _alike(objects)
        if posed.shuffled:
            self._y = posed.stream("shuffle").permutation(self._y)
        self._ask(posed)
        self._network = Network(self._x.shape[1], _HIDDEN, _ATTRIBUTES, "sigmoid", posed.stream("network"))

    def _ask(self, posed: Posed) -> None:
        """Draw rules, cases that fit and cases that do not, and a case to be judged."""
        asked = posed.stream("questions")
        self._rules = [RULES[at] for at in asked.integers(0, len(RULES), size=posed.questions)]
        self._truth: Ints = asked.integers(0, 2, size=posed.questions)
        labels = np.repeat([1, 0], _EACH)
        objects = np.stack(
            [
                _cases(rule, np.append(labels, truth), asked)
                for rule, truth in zip(self._rules, self._truth, strict=True)
            ]
        )
        self._labels = labels
        self._cases = _read(objects.reshape(-1, 2, _ATTRIBUTES), asked).reshape(*objects.shape[:2], -1)

    @cached_property
    def baseline(self) -> float:
        """Return the share of cases that the nearest given case judges right."""
        given, new = self._cases[:, :-1], self._cases[:, -1:]
        nearest = ((given - new) ** 2).sum(axis=2).argmin(axis=1)
        return float((self._labels[nearest] == self._truth).mean())

    def learn(self) -> None:
        self._network.epoch(self._x, self._y)

    def scores(self) -> Floats:
        seen = self._see(self._cases)
        return np.asarray((judged(seen, self._labels) > 0.5) == self._truth, dtype=np.float64)

    def recognise(self, question: int) -> Floats:
        """Return what is seen of one case: in what the two are alike."""
        return np.asarray(self._network.predict(self._cases[question, -1:])[0])

    def infer(self, question: int) -> bool:
        """Return whether the new case fits the rule that is induced."""
        return bool(judged(self._network.predict(self._cases[question]), self._labels) > 0.5)

    def measures(self) -> Mapping[str, float]:
        """Return how often the rule that explains best is the right one, by what it says of all there could be."""
        seen = self._see(self._cases)
        best = likelihoods(seen[:, :-1], self._labels).argmax(axis=0)
        right = [_same(RULES[at], rule) for at, rule in zip(best.tolist(), self._rules, strict=True)]
        return {"rules_right": sum(right) / len(right)}

    def _see(self, cases: Floats) -> Floats:
        return self._network.predict(cases.reshape(-1, cases.shape[-1])).reshape(*cases.shape[:-1], -1)


def likelihoods(alike: Floats, labels: Ints) -> Floats:
    """Return each rule's likelihood ``(rules, ...)`` of the labels of cases ``(..., cases, attributes)``."""
    says = np.stack([rule.says(alike) for rule in RULES])
    says = 0.5 + (says - 0.5) * (2 * _SURE - 1)
    return np.asarray(np.where(labels == 1, says, 1 - says).prod(axis=-1))


def judged(alike: Floats, labels: Ints) -> Floats:
    """Return the share to which the last case fits, by all rules weighed with their likelihood of those before."""
    weights = likelihoods(alike[..., :-1, :], labels)
    says = np.stack([rule.says(alike[..., -1, :]) for rule in RULES])
    return np.asarray((weights * says).sum(axis=0) / weights.sum(axis=0))


def _same(one: Rule, other: Rule) -> bool:
    """Say whether two rules say the same of every case: *not (A and B)* is *not A or not B*."""
    return bool((one.says(_EVERY) == other.says(_EVERY)).all())


def _cases(rule: Rule, labels: Ints, rng: np.random.Generator) -> Ints:
    """Return pairs of objects ``(cases, 2, attributes)`` that fit the rule where the label is 1 and else do not.

    All ways to be alike that give a label are equally likely, so how much is alike tells little of it.
    """
    fits = rule.says(_EVERY)
    alike = np.empty((len(labels), _ATTRIBUTES))
    for label in (0, 1):
        ways = _EVERY[fits == label]
        alike[labels == label] = ways[rng.integers(0, len(ways), size=int((labels == label).sum()))]
    first = rng.integers(0, _VALUES, size=alike.shape)
    other = (first + rng.integers(1, _VALUES, size=alike.shape)) % _VALUES
    return np.stack([first, np.where(alike == 1, first, other)], axis=1)


def _alike(objects: Ints) -> Floats:
    return np.asarray(objects[:, 0] == objects[:, 1], dtype=np.float64)


def _read(objects: Ints, rng: np.random.Generator) -> Floats:
    """Return the readings of objects ``(cases, 2, attributes)``: each value a place of its own, and noise."""
    places = np.eye(_VALUES)[objects].reshape(len(objects), -1)
    return np.asarray(places + rng.normal(scale=_NOISE, size=places.shape))
