"""Six patterns of thinking: each learns what there is to be learned, and nothing where that was taken away."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from swarm_common.errors import UsageError
from swarm_common.events import digest_view
from swarm_common.events.agent import PatternLearned
from swarm_common.patterns import PATTERNS
from swarm_model_agent.params import PatternParams, read
from swarm_model_agent.patterns import abstract, divergent, lateral, systems
from swarm_model_agent.patterns.core import Posed
from swarm_model_agent.patterns.learning import LEARNERS, checkpoints, learn_pattern
from swarm_model_agent.patterns.measuring import (
    allocated_bytes,
    forget_peak_rss,
    peak_rss_bytes,
    timed,
)
from swarm_model_agent.patterns.network import Network, Out
from swarm_model_agent.patterns.scoring import scored

each_pattern = pytest.mark.parametrize("pattern", list(PATTERNS))


def posed(pattern: str, **given: Any) -> Posed:
    return Posed(**({"seed": 7, "name": f"{pattern}/0", "size": 2, "questions": 60} | given))


def learned(seed: int = 7, **given: Any) -> PatternLearned:
    params = read({"size": 4, "iterations": 24, "questions": 120, "timings": 2} | given, PatternParams)
    return learn_pattern("task", params, seed=seed, instance="test")


@cache
def usual(pattern: str) -> PatternLearned:
    return learned(pattern=pattern)


# -- each learns -------------------------------------------------------------------------------------------


def test_there_is_a_learner_for_each_pattern_that_can_be_asked_for() -> None:
    allowed = get_args(get_type_hints(PatternParams)["pattern"])
    assert list(LEARNERS) == list(PATTERNS) == list(allowed)


@each_pattern
def test_a_pattern_guesses_before_training_and_knows_after(pattern: str) -> None:
    found = usual(pattern)
    first, *_, last = found.curve
    assert first.iterations == 0
    assert first.score <= found.chance + 0.1
    assert (last.iterations, last.score) == (24, found.score)
    assert found.low > max(found.chance, first.score) + 0.2
    assert found.low > found.baseline or pattern == "convergent"  # there the mean images read well, too
    assert found.low <= found.score <= found.high <= 1


@each_pattern
def test_where_nothing_relates_the_lessons_nothing_is_learned(pattern: str) -> None:
    found = learned(pattern=pattern, shuffled=True)
    assert found.shuffled
    assert found.low <= found.chance + 0.02
    assert found.high < usual(pattern).low


@each_pattern
def test_the_same_again_is_the_same_but_for_times_and_memory(pattern: str) -> None:
    again = learned(pattern=pattern)
    assert digest_view(again) == digest_view(usual(pattern))
    assert again.samples != usual(pattern).samples


@each_pattern
def test_each_parameter_changes_the_outcome(pattern: str) -> None:
    few: dict[str, Any] = {"pattern": pattern, "size": 2, "iterations": 4, "questions": 40}
    given: list[dict[str, Any]] = [
        few | {"repeat": 1},
        few | {"size": 3},
        few | {"iterations": 5},
        few | {"questions": 41},
    ]
    outcomes = [learned(**few), learned(seed=8, **few), *(learned(**one) for one in given)]
    said = {(one.curve, one.resampled.data, one.lessons, tuple(one.measures.items())) for one in outcomes}
    assert len(said) == len(outcomes)


def test_more_training_is_better_and_more_to_learn_from_too() -> None:
    short, small = learned(pattern="critical", iterations=3), learned(pattern="critical", size=1)
    assert max(short.score, small.score) < usual("critical").score - 0.1


def test_an_unknown_pattern_or_a_size_beyond_bounds_is_refused_by_name() -> None:
    for given, field in (
        ({"pattern": "vertical"}, "params.pattern"),
        ({"pattern": "lateral", "size": 0}, "params.size"),
        ({"pattern": "lateral", "questions": 5}, "params.questions"),
        ({"pattern": "lateral", "iterations": 2}, "params.iterations"),
    ):
        with pytest.raises(UsageError) as refused:
            read(given, PatternParams)
        assert refused.value.field == field


# -- the network -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", get_args(Out))
def test_gradients_are_what_differences_say(out: Out) -> None:
    rng = np.random.default_rng(3)
    network = Network(4, 5, 3, out, rng)
    x = rng.normal(size=(6, 4))
    y = np.eye(3)[rng.integers(0, 3, 6)] if out == "softmax" else rng.integers(0, 2, (6, 3)).astype(float)
    gradients = network.gradients(x, y)
    for weight, gradient in zip(network.weights, gradients, strict=True):
        for place in np.ndindex(weight.shape):
            kept, step = weight[place], 1e-6
            weight[place] = kept + step
            up = network.loss(x, y)
            weight[place] = kept - step
            down = network.loss(x, y)
            weight[place] = kept
            assert gradient[place] == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_a_network_learns_what_no_line_can() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float64)
    y = np.array([[0], [1], [1], [0]], dtype=np.float64)
    network = Network(2, 16, 1, "sigmoid", np.random.default_rng(0))
    for _ in range(1500):
        network.epoch(x, y)
    assert (network.predict(x) > 0.5).ravel().tolist() == [False, True, True, False]


# -- what single patterns promise --------------------------------------------------------------------------


def test_proposals_count_once_if_they_are_valid_and_new() -> None:
    task = divergent.Words(posed("divergent"))
    known = task._known[0]
    valid = task._draw(400, np.random.default_rng(1))
    new = next(word for word in valid if not (task._known == word).all(axis=1).any())
    # The first letter may be anything, so the break is put where two letters stand before it.
    broken = new.copy()
    broken[5] = next(letter for letter in range(8) if not task.allowed[new[3], new[4], letter])
    assert task._worth(np.stack([known, new, new, broken])).tolist() == [0, 1, 0, 0]
    by_hand = [
        all(task.allowed[tuple(word[at : at + 3])] for at in range(10)) for word in (known, new, broken)
    ]
    assert by_hand == task.valid(np.stack([known, new, broken])).tolist() == [True, True, False]


def test_the_share_of_valid_strings_is_known_exactly() -> None:
    task = divergent.Words(posed("divergent"))
    # Each start goes on in three ways, ten times over; of all strings of twelve letters that is this share.
    ways = np.ones((8, 8))
    for _ in range(10):
        ways = np.einsum("abc,bc->ab", task.allowed, ways)
    assert task.chance == pytest.approx(ways.sum() / 8**12)


def test_analogies_go_across_domains_and_offsets_answer_them() -> None:
    task = lateral.Analogies(posed("lateral", questions=200))
    domain, role = task._asked // 6, task._asked % 6
    assert (domain[:, 0] == domain[:, 1]).all()
    assert (domain[:, 2] != domain[:, 0]).all()
    assert (role[:, 2] == role[:, 0]).all()
    assert not (task._answers[:, np.newaxis] == task._asked).any()
    domains, roles = np.random.default_rng(2).normal(size=(2, 12, 20))
    words = np.arange(72)
    task._vectors = lateral.unit(domains[words // 6] + roles[words % 6])
    assert task.scores().mean() > 0.95
    task._vectors = lateral.unit(domains[words // 6] + domains[words % 6 + 1] * 1e-9)
    assert task.scores().mean() < 0.5


def test_who_knows_the_system_scores_1_and_who_expects_no_change_0() -> None:
    task = systems.Influences(posed("systems"))
    assert task.scores().mean() == pytest.approx(0, abs=1e-12)

    class Truth:
        def predict(self, state: Any) -> Any:
            return task.step(state) - state

    task._network = Truth()  # type: ignore[assignment]
    assert task.scores() == pytest.approx(np.ones(60))
    assert task.measures() == {"edges_auc": 1.0}


def test_an_intervention_holds_what_it_holds_and_moves_only_what_can_be_reached() -> None:
    task = systems.Influences(posed("systems"))
    reached = np.linalg.matrix_power((task.edges != 0) + np.eye(10), 12) > 0
    by_itself = task._before
    for _ in range(12):
        by_itself = task.step(by_itself)
    moved = np.abs(task._after - by_itself) > 1e-9
    for held, row in zip(task._held, moved, strict=True):
        others = np.arange(10) != held
        assert not (row & ~reached[held] & others).any()
    assert moved.any(axis=1).all()


def test_the_rules_are_all_that_join_two_attributes_and_each_says_something_else() -> None:
    every = np.array(list(np.ndindex((2,) * 4)), dtype=np.float64)
    tables = {tuple(rule.says(every)) for rule in abstract.RULES}
    assert len(tables) == len(abstract.RULES) == 6 * 10
    assert all(0 < sum(table) < 16 for table in tables)


def test_who_sees_rightly_induces_the_rule() -> None:
    task = abstract.Induction(posed("abstract", questions=150))

    class Sight:
        def predict(self, cases: Any) -> Any:
            values = cases.reshape(len(cases), 2, 4, 3).argmax(axis=3)
            return (values[:, 0] == values[:, 1]).astype(np.float64)

    task._network = Sight()  # type: ignore[assignment]
    assert task.scores().mean() > 0.95
    assert task.measures()["rules_right"] > 0.85


# -- what it costs -----------------------------------------------------------------------------------------


def test_times_are_kept_value_by_value_and_warm_up_is_not() -> None:
    found = learned(pattern="systems", iterations=10, timings=5)
    lengths = {samples.name: len(samples.values) for samples in found.samples}
    assert lengths == {"recognition": 5, "inference": 5, "iteration": 8}
    assert {(samples.unit, samples.of) for samples in found.samples} == {("us", "systems")}
    assert all(value > 0 for samples in found.samples for value in samples.values)
    assert found.loops["iteration"] == 1


def test_short_calls_are_timed_in_loops_over_all_questions() -> None:
    asked: list[int] = []
    found = timed(asked.append, 4, 7)
    assert len(found.values) == 4
    assert found.loops > 1  # appending takes far less than 0.1 ms
    assert found.loops & (found.loops - 1) == 0
    assert set(asked) == set(range(7))


def test_what_is_allocated_is_counted_and_what_was_there_before_is_not() -> None:
    before = np.ones(3_000_000)
    found = allocated_bytes(lambda: np.ones(1_000_000).sum())
    assert 8_000_000 <= found < 8_100_000
    assert len(before) == 3_000_000


@pytest.mark.skipif(bool(forget_peak_rss()), reason="this kernel cannot forget a peak")
def test_the_peak_of_earlier_work_is_forgotten() -> None:
    assert np.ones(16_000_000).sum() > 0
    high = peak_rss_bytes()
    assert forget_peak_rss() == ""
    after = peak_rss_bytes()
    assert high is not None
    assert after is not None
    assert after < high - 64_000_000
    assert np.ones(16_000_000).sum() > 0
    again = peak_rss_bytes()
    assert again is not None
    assert again > after + 64_000_000


def test_the_score_is_looked_at_before_often_at_first_and_last() -> None:
    assert sorted(checkpoints(40)) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40]
    assert sorted(checkpoints(3)) == [1, 2, 3]


def test_an_interval_has_a_width_even_where_all_is_right() -> None:
    found = scored(np.ones(100), np.zeros(100), [1, 2])
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.963, abs=0.001)  # Wilson's for 100 of 100
    by_degree = scored(np.linspace(-1, 1, 101), np.full(101, -1.0), [1, 2])
    assert by_degree.low < by_degree.value < by_degree.high
    assert by_degree.gained == pytest.approx(by_degree.resampled + 1)
    assert len(by_degree.resampled) == 500
