"""What many say comes to the same in whatever order it comes, however it is grouped, and where promised: repeated."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_primitives import aggregation
from swarm_primitives.aggregation import Aggregate, plurality, tally, weigh

numbers = st.integers(-(2**40), 2**40)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "SUM": numbers,
    "EXACT_SUM": st.fractions(),
    "VOTES": st.dictionaries(st.sampled_from("abc"), st.integers(1, 5), max_size=3),
    "UNION": st.frozensets(st.integers(0, 9), max_size=5),
    "BITS": st.integers(0, 2**70),
    "HIGHEST": st.floats(allow_nan=False),
    "LOWEST": st.floats(allow_nan=False),
}


def test_every_way_is_tested() -> None:
    ways = {name for name, value in vars(aggregation).items() if isinstance(value, Aggregate)}
    assert ways == set(VALUES)


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_the_laws_of_a_commutative_monoid_and_of_a_semilattice(name: str, data: Any) -> None:
    way: Aggregate[Any] = getattr(aggregation, name)
    a, b, c = (data.draw(VALUES[name]) for _ in range(3))
    assert way.join(a, b) == way.join(b, a)
    assert way.join(way.join(a, b), c) == way.join(a, way.join(b, c))
    assert way.join(a, way.nothing) == a
    if way.idempotent:
        assert way.join(a, a) == a
        assert way.join(way.join(a, b), b) == way.join(a, b)


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_many_at_once_come_to_what_they_do_one_by_one_in_any_order(name: str, data: Any) -> None:
    way: Aggregate[Any] = getattr(aggregation, name)
    many = data.draw(st.lists(VALUES[name], max_size=8))
    shuffled = data.draw(st.permutations(many))
    assert way.all_of(many) == way.all_of(shuffled) == reduce(way.join, shuffled, way.nothing)


votes = st.lists(st.tuples(st.sampled_from(["yes", "no", "later"]), st.floats(1e-9, 1e9)), max_size=20)


@given(votes, st.data())
def test_weights_add_up_to_the_same_bits_in_any_order(given_: list[tuple[str, float]], data: Any) -> None:
    assert weigh(data.draw(st.permutations(given_))) == weigh(given_)


def test_adding_one_after_the_other_would_not() -> None:
    weights = [0.1, 0.2, 0.3]
    assert sum(weights) != sum(reversed(weights))
    assert weigh(("yes", weight) for weight in weights) == weigh(("yes", w) for w in reversed(weights))


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_the_answer_with_most_votes_wins_and_of_equals_the_first_by_name(answers: list[str]) -> None:
    found = tally(answers)
    assert found == Counter(answers)
    most = max(found.values())
    assert plurality(found) == min(answer for answer in found if found[answer] == most)


def test_no_votes_have_no_winner() -> None:
    with pytest.raises(ValueError, match="empty"):
        plurality({})
