"""The checker against one that tries everything, on histories that are right by construction, mutated, and random."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.histories import explained, played
from swarm_histories import CAS_REGISTER, KV, MODELS, REGISTER, Model, Operation, Refutation, check


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - seeded, nothing secret


models = st.sampled_from(list(MODELS.values()))


def value_of(model: Model, f: str, draw: Random, values: int) -> Any:
    def one() -> Any:
        return str(draw.randrange(values)) if model.texts else draw.randrange(values)

    match model.operations[f]:
        case "read":
            text = "".join(str(draw.randrange(values)) for _ in range(draw.randrange(1, 4)))
            return draw.choice([None, one(), text if model.texts else one()])
        case "cas":
            return [draw.choice([None, one()]), one()]
        case _:
            return one()


@st.composite
def anything(draw: st.DrawFn) -> tuple[Model, list[Operation]]:
    """Draw operations at random times with random values, few of them: many are not linearizable, some just so."""
    model, random = draw(models), draw(st.randoms(use_true_random=False))
    count, values = random.randrange(1, 8), random.choice([1, 2, 3, 5])
    moments = random.sample(range(1, 2 * count + 1), 2 * count)
    history = []
    for process in range(count):
        called, returned = sorted((moments.pop(), moments.pop()))
        f = random.choice(list(model.operations))
        history.append(
            Operation(
                process=process,
                f=f,
                key=random.randrange(2),
                value=value_of(model, f, random, values),
                called=called,
                returned=None if random.random() < 0.25 else returned,
            )
        )
    return model, sorted(history, key=lambda one: one.called)


@st.composite
def stores(draw: st.DrawFn) -> tuple[Model, list[Operation]]:
    """Draw what clients of a correct store saw."""
    model, random = draw(models), draw(st.randoms(use_true_random=False))
    history = played(
        random,
        model,
        random.randrange(1, 9),
        processes=random.randrange(1, 6),
        keys=random.choice([1, 1, 2]),
        values=random.choice([None, 1, 2, 3]),
        unsure=random.choice([0.0, 0.2, 0.5]),
    )
    return model, history


def mutated(model: Model, history: list[Operation], random: Random) -> list[Operation]:
    """Change what one operation read, wrote or expected."""
    at = random.randrange(len(history))
    one = history[at]
    value = value_of(model, one.f, random, 4)
    return [*history[:at], msgspec.structs.replace(one, value=value), *history[at + 1 :]]


@given(stores())
@settings(max_examples=150, deadline=None)
def test_what_a_correct_store_did_is_linearizable(drawn: tuple[Model, list[Operation]]) -> None:
    model, history = drawn
    verdict = check(history, model)
    assert (verdict.linearizable, verdict.refutation, verdict.operations) == (True, None, len(history))


@given(anything())
@settings(max_examples=250, deadline=None)
def test_it_agrees_with_trying_everything(drawn: tuple[Model, list[Operation]]) -> None:
    model, history = drawn
    agrees(model, history)


@given(stores(), st.randoms(use_true_random=False))
@settings(max_examples=250, deadline=None)
def test_it_agrees_on_stores_that_went_wrong_once(
    drawn: tuple[Model, list[Operation]], random: Random
) -> None:
    model, history = drawn
    if history:
        agrees(model, mutated(model, history, random))


def agrees(model: Model, history: list[Operation]) -> None:
    verdict = check(history, model)
    assert verdict.linearizable is explained(history, model)
    if (found := verdict.refutation) is not None:
        refutes(model, found)


def refutes(model: Model, found: Refutation) -> None:
    """Whoever gets a refutation can check it by hand: it is one, and with another value it would be none."""
    assert found.minimal
    begins = [None] if found.since is None else [None, "another", *range(10)]
    assert not any(explained(found.operations, model, begin) for begin in begins)
    assert found.impossible in found.operations
    for value in found.possible:
        one = found.impossible
        new = value if model.operations[one.f] == "read" else [value, one.value[1]]
        other = msgspec.structs.replace(one, value=new)
        instead = [other if each == one else each for each in found.operations]
        assert any(explained(instead, model, begin) for begin in begins)


# -- what the refuting part is -----------------------------------------------------------------------------


def op(process: int, f: str, value: Any, called: int, returned: int | None, key: Any = "x") -> Operation:
    return Operation(process=process, f=f, key=key, value=value, called=called, returned=returned)


def test_a_long_history_is_refuted_by_the_few_operations_that_matter() -> None:
    history = played(seeded(7), REGISTER, 2000, processes=8, unsure=0.05)
    reads = [
        at for at, one in enumerate(history) if one.f == "read" and one.returned and one.value is not None
    ]
    stale, old = history[reads[-5]], history[reads[20]].value
    history[reads[-5]] = msgspec.structs.replace(stale, value=old)
    found = check(history, REGISTER).refutation
    assert found is not None
    assert len(found.operations) == 3  # a write, one that overwrote it, and the read
    assert found.impossible.called == stale.called
    assert {one.f for one in found.operations if one != found.impossible} <= {"write", "read"}
    refutes(REGISTER, found)
    assert found.possible


def test_where_every_value_is_needed_the_beginning_is_left_out() -> None:
    history = [
        op(1, f, at // 2 % 2, 2 * at + 1, 2 * at + 2)
        for at in range(400)
        for f in ("write", "read")[at % 2 :][:1]
    ]
    end = 2 * len(history)
    history += [op(2, "write", 1, end + 1, end + 2), op(2, "write", 0, end + 3, end + 4)]
    history += [op(3, "read", 1, end + 5, end + 6)]
    found = check(history, REGISTER).refutation
    assert found is not None
    assert found.operations == tuple(history[-2:])
    assert found.since == end + 3
    refutes(REGISTER, found)


def test_a_text_with_an_append_missing_in_the_middle_is_refuted() -> None:
    history = [
        op(1, "append", "a", 1, 2),
        op(1, "append", "b", 3, 4),
        op(1, "get", "ab", 5, 6),
        op(1, "append", "c", 7, 8),
        op(2, "get", "ac", 9, 10),
    ]
    found = check(history, KV).refutation
    assert found is not None
    assert found.impossible == history[-1]
    assert found.possible == ("abc",)


def test_the_cheapest_key_that_refutes_ends_the_check() -> None:
    hard = played(seeded(3), CAS_REGISTER, 4000, processes=20, values=4)
    easy = [op(98, "write", 1, 1, 2, "y"), op(98, "read", 2, 3, 4, "y")]
    alone = check(hard, CAS_REGISTER)
    verdict = check([*hard, *easy], CAS_REGISTER)
    assert verdict.outcome == "refuted"
    assert verdict.refutation is not None
    assert verdict.refutation.key == "y"
    assert verdict.undecided == 1
    assert verdict.steps < alone.steps / 10


def test_steps_that_are_spent_are_no_pass() -> None:
    history = played(seeded(1), REGISTER, 2000, keys=2)
    verdict = check(history, REGISTER, steps=100)
    assert (verdict.outcome, verdict.linearizable, verdict.undecided) == ("undecided", None, 2)
    assert verdict.steps <= 100
    assert check(history, REGISTER, steps=10_000).linearizable is True


# -- what nobody knows whether it happened -----------------------------------------------------------------


@pytest.mark.parametrize("seen", [[1, 1, 2], [1, 2, 2], [2, 1, 1], [1, 1, 1]])
def test_an_unsure_write_may_take_effect_at_any_later_time_or_never(seen: list[int]) -> None:
    history = [op(1, "write", 1, 1, 2), op(2, "write", 2, 3, None)]
    history += [op(3, "read", value, 10 + 2 * at, 11 + 2 * at) for at, value in enumerate(seen)]
    assert check(history, REGISTER).linearizable is (seen != [2, 1, 1])


def test_an_unsure_write_does_not_take_effect_before_its_call_nor_twice() -> None:
    before = [op(1, "read", 2, 1, 2), op(2, "write", 2, 3, None)]
    assert check(before, REGISTER).linearizable is False
    twice = [
        op(2, "write", 2, 1, None),
        op(1, "read", 2, 3, 4),
        op(1, "write", 1, 5, 6),
        op(1, "read", 2, 7, 8),
    ]
    assert check(twice, REGISTER).linearizable is False
    assert check([op(9, "write", 2, 2, None), *twice], REGISTER).linearizable is True


# -- the cases on which searches drown ---------------------------------------------------------------------


@pytest.mark.timeout(30)
@pytest.mark.parametrize("writers", [20, 50])
def test_many_distinct_writes_at_once_are_decided(writers: int) -> None:
    writes = [op(at, "write", at, at + 1, None if at % 3 == 2 else 10_000 + at) for at in range(writers)]
    forth = [op(99, "read", at, 1000 + 2 * at, 1001 + 2 * at) for at in range(writers)]
    assert check([*writes, *forth], REGISTER).linearizable is True
    back = [*forth, op(99, "read", 1, 9000, 9001)]
    assert check([*writes, *back], REGISTER).linearizable is False


@pytest.mark.timeout(30)
def test_fifty_processes_and_many_crashes_are_decided() -> None:
    crowd = played(seeded(2), CAS_REGISTER, 1000, processes=50, values=5)
    crashes = played(seeded(4), CAS_REGISTER, 2000, processes=10, unsure=0.2)
    assert check(crowd, CAS_REGISTER).linearizable is True
    assert check(crashes, CAS_REGISTER).linearizable is True
