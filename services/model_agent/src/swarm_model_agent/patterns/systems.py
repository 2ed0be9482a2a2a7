"""Systems: how an influence spreads. One quantity is held at a value; where are the others then?

Quantities move each other along the edges of a directed graph that is drawn, as rates that saturate (Hopfield 1984).
A network learns from trajectories how the state changes from step to step. Held out are interventions (Pearl's *do*):
a quantity that was never held is held, and the state some steps later is predicted by running what was learned. A
question's score is 1 less its squared error over the mean squared error of persistence, which says that nothing
changes: 0 is as good as that, 1 is perfect, and below 0 is worse. The baseline learns each quantity by itself and knows
no influences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from sklearn.metrics import roc_auc_score

from swarm_model_agent.patterns.core import Floats, Ints, Posed
from swarm_model_agent.patterns.network import Network

_NODES = 10
_INTO = 2
"""Edges into each quantity."""
_RATE = 0.3
_STEPS = 12
"""From the intervention to the state that is asked for."""
_SETTLING = 200
"""Steps before an intervention: most graphs are at rest then, a few go round for ever."""
_LONG = 4
"""Steps of a trajectory to learn from: from anywhere, before it comes to rest."""
_UNIT = 40
_NOISE = 0.01
_HIDDEN = 64


class Influences:
    """A graph, trajectories of it, and interventions."""

    def __init__(self, posed: Posed) -> None:
        drawn = posed.stream("graph")
        self.edges = np.zeros((_NODES, _NODES))
        for node in range(_NODES):
            others = np.delete(np.arange(_NODES), node)
            sources = drawn.choice(others, _INTO, replace=False)
            self.edges[sources, node] = drawn.choice([-1.0, 1.0], _INTO) * drawn.uniform(0.5, 0.9, _INTO)
        self._bias = drawn.normal(scale=0.3, size=_NODES)
        watched = posed.stream("trajectories")
        state = watched.uniform(-2.0, 2.0, size=(posed.size * _UNIT, _NODES))
        before, change = [], []
        for _ in range(_LONG):
            after = self.step(state) + watched.normal(scale=_NOISE, size=state.shape)
            before.append(state)
            change.append(after - state)
            state = after
        self._x, self._y = np.concatenate(before), np.concatenate(change)
        if posed.shuffled:
            # Each quantity's own changes, and nothing of what they came after.
            self._y = posed.stream("shuffle").permuted(self._y, axis=0)
        self.lessons = len(self._x)
        self._intervene(posed)
        self._network = Network(_NODES, _HIDDEN, _NODES, "linear", posed.stream("network"), still=True)

    def _intervene(self, posed: Posed) -> None:
        """Draw states that the system comes to by itself, and what is then held at which value; find where it leads."""
        asked = posed.stream("questions")
        state = asked.normal(size=(posed.questions, _NODES))
        for _ in range(_SETTLING):
            state = self.step(state)
        self._before = state
        self._held: Ints = asked.integers(0, _NODES, size=posed.questions)
        self._value = asked.choice([-1.0, 1.0], posed.questions) * asked.uniform(1.0, 2.0, posed.questions)
        self._after = self._run(self.step, self._before, self._held, self._value)
        self._others = np.arange(_NODES) != self._held[:, np.newaxis]
        self._still = float(self._errors(self._before).mean())

    @property
    def chance(self) -> float:
        """Return 0: persistence."""
        return 0.0

    @cached_property
    def baseline(self) -> float:
        """Return the score of a line a quantity, from its own value to its change."""
        x, y = self._x, self._y
        slope = ((x - x.mean(axis=0)) * (y - y.mean(axis=0))).sum(axis=0) / ((x - x.mean(axis=0)) ** 2).sum(
            axis=0
        )
        start = y.mean(axis=0) - slope * x.mean(axis=0)
        found = self._run(lambda state: state + start + slope * state, self._before, self._held, self._value)
        return float(1 - self._errors(found).mean() / self._still)

    def step(self, state: Floats) -> Floats:
        """Return the states one step later, as they really go."""
        return np.asarray(state + _RATE * (np.tanh(state @ self.edges + self._bias) - state))

    def learn(self) -> None:
        self._network.epoch(self._x, self._y)

    def scores(self) -> Floats:
        found = self._run(self._learned, self._before, self._held, self._value)
        return np.asarray(1 - self._errors(found) / self._still)

    def recognise(self, question: int) -> Floats:
        """Return where a state moves to within a step."""
        return np.asarray(self._network.predict(self._before[question : question + 1])[0])

    def infer(self, question: int) -> Floats:
        """Return the state that an intervention leads to."""
        one = slice(question, question + 1)
        return np.asarray(self._run(self._learned, self._before[one], self._held[one], self._value[one])[0])

    def measures(self) -> Mapping[str, float]:
        """Return how well edges are told from other pairs, by how much one moves the other: the area under the ROC."""
        moved = np.zeros((_NODES, _NODES))
        for node in range(_NODES):
            up, down = self._before.copy(), self._before.copy()
            up[:, node] += 0.5
            down[:, node] -= 0.5
            moved[node] = np.abs(self._network.predict(up) - self._network.predict(down)).mean(axis=0)
        pairs = ~np.eye(_NODES, dtype=bool)
        return {"edges_auc": float(roc_auc_score(self.edges[pairs] != 0, moved[pairs]))}

    def _learned(self, state: Floats) -> Floats:
        return state + self._network.predict(state)

    def _run(self, step: Callable[[Floats], Floats], state: Floats, held: Ints, value: Floats) -> Floats:
        rows = np.arange(len(state))
        for _ in range(_STEPS):
            state = state.copy()
            state[rows, held] = value
            state = step(state)
        return state

    def _errors(self, found: Floats) -> Floats:
        """Return each question's mean squared error over the quantities that were not held."""
        wrong = np.where(self._others, (found - self._after) ** 2, 0.0)
        return np.asarray(wrong.sum(axis=1) / (_NODES - 1))
