"""How many answers become one, against scikit-learn, against slow and plain formulas, and what must not matter."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score

from support.voices import CLASSES, classification, combined, regression, without_folds
from swarm_common.errors import UsageError
from swarm_common.resampling import RESAMPLES
from swarm_consensus import learning
from swarm_consensus.combining import STRATEGIES, Member, combine, mix
from swarm_consensus.scoring import loss, named, score
from swarm_consensus.table import Table

# -- weights and losses ------------------------------------------------------------------------------------


def test_losses_are_scikit_learns_log_loss_out_of_fold() -> None:
    y_train, members = classification()
    expected = {m.name: log_loss(y_train, m.out_of_fold, labels=range(CLASSES)) for m in members}
    assert combined((y_train, members)).losses == pytest.approx(expected, rel=1e-11)


def test_losses_of_values_are_mean_squared_errors() -> None:
    y_train, members = regression()
    expected = {m.name: mean_squared_error(y_train, m.out_of_fold) for m in members}
    assert combined((y_train, members)).losses == pytest.approx(expected, rel=1e-11)


def test_a_sure_and_wrong_answer_costs_much_and_not_everything() -> None:
    assert loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(np.finfo(float).eps))


@pytest.mark.parametrize("case", [classification(), regression()], ids=["classes", "values"])
def test_weights_go_with_one_over_loss_squared(case: Any) -> None:
    found = combined(case)
    products = [found.weights[name] * value**2 for name, value in found.losses.items()]
    assert products == pytest.approx([products[0]] * 3)
    assert sum(found.weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("strategy", ["soft", "majority"])
def test_other_strategies_weigh_equally(strategy: str) -> None:
    assert set(combined(classification(), strategy).weights.values()) == {1 / 3}


def table_of(y_train: Any, members: list[Member]) -> Table:
    seen = [member.out_of_fold for member in members]
    return Table.of([member.name for member in members], seen, y_train, [1, 2])


LEARNERS = {
    "weighted": learning.weighted,
    "soft": learning.equal,
    "majority": learning.equal,
    "bayesian": lambda table: learning.bayesian(table, [3, 4]),
    "greedy": learning.greedy,
    "best_single": learning.best_single,
}


# -- the mix -----------------------------------------------------------------------------------------------


def test_weighted_is_the_weighted_mean() -> None:
    case = classification()
    found = combined(case)
    expected = sum(found.weights[m.name] * m.held_out for m in case[1])
    assert np.allclose(found.prediction, expected, rtol=1e-15)


@pytest.mark.parametrize("case", [classification(), regression()], ids=["classes", "values"])
def test_soft_is_the_mean(case: Any) -> None:
    expected = np.mean([member.held_out for member in case[1]], axis=0)
    assert np.allclose(combined(case, "soft").prediction, expected, rtol=1e-14)


def test_majority_is_the_share_of_votes_and_ties_go_to_the_lowest_class() -> None:
    rows = [np.array([[0.1, 0.9, 0.0]]), np.array([[0.9, 0.1, 0.0]]), np.array([[0.4, 0.4, 0.2]])]
    assert np.allclose(mix(rows, [1 / 3] * 3, "majority"), [[2 / 3, 1 / 3, 0]])
    tied = mix(rows[:2], [0.5, 0.5], "majority")
    assert tied.tolist() == [[0.5, 0.5, 0.0]]
    assert tied.argmax(axis=1) == [0]


QUICK = [strategy for strategy in STRATEGIES if strategy not in {"stacking", "best"}]
SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.sampled_from(QUICK))
def test_every_strategy_gives_probabilities_by_weights_that_sum_to_one(seed: int, strategy: str) -> None:
    found = combined(classification(seed), strategy)
    assert np.allclose(found.prediction.sum(axis=1), 1)
    assert found.prediction.min() >= 0
    assert sum(found.weights.values()) == pytest.approx(1)
    assert min(found.weights.values()) >= 0


@given(SEEDS, st.sampled_from([strategy for strategy in QUICK if strategy != "majority"]))
def test_weights_of_values_sum_to_one(seed: int, strategy: str) -> None:
    found = combined(regression(seed, (1.0, 1.2, 2.0)), strategy)
    assert sum(found.weights.values()) == pytest.approx(1)
    expected = sum(found.weights[m.name] * m.held_out for m in regression(seed, (1.0, 1.2, 2.0))[1])
    assert np.allclose(found.prediction, expected)


@given(SEEDS, st.permutations(range(4)), st.sampled_from(QUICK), st.booleans())
def test_the_order_of_members_does_not_matter(
    seed: int, order: list[int], strategy: str, values: bool
) -> None:
    if values and strategy == "majority":
        return
    y_train, members = regression(seed, (1, 1, 2, 2)) if values else classification(seed, (1, 1, 0.5, 2))
    # Two that say the same: which of them is taken must not hang on the order either.
    members[2] = Member("m2", members[1].held_out, members[1].out_of_fold)
    one = combined((y_train, members), strategy)
    other = combined((y_train, [members[index] for index in order]), strategy)
    assert one.weights == pytest.approx(other.weights)
    assert np.allclose(one.prediction, other.prediction)
    assert one.out_of_fold_score == pytest.approx(other.out_of_fold_score)


@given(SEEDS, st.sampled_from([strategy for strategy in QUICK if strategy not in {"soft", "majority"}]))
def test_noise_that_is_the_same_everywhere_does_not_take_over(seed: int, strategy: str) -> None:
    y_train, members = classification(seed, (2.0, 1.5))
    noise = Member("noise", np.full((50, CLASSES), 1 / CLASSES), np.full((200, CLASSES), 1 / CLASSES))
    weights = combined((y_train, [*members, noise]), strategy).weights
    assert weights["noise"] < min(weights["m0"] + weights["m1"], 0.34)


def test_one_member_alone_is_its_own_answer() -> None:
    y_train, members = classification(skills=(1.0,))
    found = combined((y_train, members))
    assert np.array_equal(found.prediction, members[0].held_out)
    assert (found.voices.agreement, found.voices.row_agreement, found.gains) == (None, None, {})


# -- confidence, score --------------------------------------------------------------------------------------


def test_confidence_is_the_mean_share_of_the_winner() -> None:
    found = combined(classification())
    assert found.confidence == pytest.approx(found.prediction.max(axis=1).mean())
    assert np.allclose(found.row_confidence, found.prediction.max(axis=1))


def test_values_have_no_agreement_or_confidence() -> None:
    found = combined(regression())
    assert (found.voices.agreement, found.confidence, found.row_confidence) == (None, None, None)


def test_scores_are_scikit_learns() -> None:
    y_class, members = classification()
    for member in members:
        chosen = member.out_of_fold.argmax(axis=1)
        assert score(y_class, member.out_of_fold) == accuracy_score(y_class, chosen)
    y_value, members = regression()
    for member in members:
        assert score(y_value, member.out_of_fold) == pytest.approx(r2_score(y_value, member.out_of_fold))


def test_r2_of_a_truth_that_does_not_vary() -> None:
    flat = np.ones(5)
    assert score(flat, flat) == r2_score(flat, flat) == 1
    assert score(flat, flat + 1) == r2_score(flat, flat + 1) == 0


# -- gains -------------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(2, 5))
def test_the_named_class_is_the_first_of_the_likeliest(seed: int, classes: int) -> None:
    voices = np.random.default_rng(seed).integers(0, 3, (4, classes, 30)).astype(float)
    assert np.array_equal(named(voices), voices.argmax(axis=1))


@pytest.mark.parametrize("strategy", QUICK)
@pytest.mark.parametrize(
    "case", [classification(), regression(2, (1.0, 1.1, 2.0))], ids=["classes", "values"]
)
def test_a_gain_is_the_score_with_all_less_that_without_one(case: Any, strategy: str) -> None:
    y_train, members = case
    if members[0].held_out.ndim == 1 and strategy == "majority":
        return
    found = combined((y_train, members), strategy)
    for member in members:
        rest = combined((y_train, [other for other in members if other is not member]), strategy)
        expected = found.out_of_fold_score - rest.out_of_fold_score
        assert found.gains[member.name].value == pytest.approx(expected)


@pytest.mark.parametrize("case", [classification(), regression()], ids=["classes", "values"])
def test_the_interval_holds_the_gain(case: Any) -> None:
    for gain in combined(case).gains.values():
        assert gain.low <= gain.value <= gain.high


def test_a_member_that_knows_much_gains_and_an_echo_does_not() -> None:
    y_train, members = classification(skills=(0.3, 0.3, 6.0))
    echo = Member("echo", members[0].held_out, members[0].out_of_fold)
    found = combined((y_train, [*members, echo])).gains
    assert found["m2"].low > 0
    assert found["echo"].low <= 0


@pytest.mark.parametrize(
    "case", [classification(), regression(noises=(1.0, 1.1, 3.0))], ids=["classes", "values"]
)
def test_the_interval_is_that_of_resampled_rows(case: Any) -> None:
    y_train, members = case
    seen = [member.out_of_fold for member in members]
    without, whole = mix(seen[1:], [0.5, 0.5], "soft"), mix(seen, [1 / 3] * 3, "soft")
    rng = np.random.default_rng(1)
    gains = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(y_train), len(y_train))
        gains.append(score(y_train[rows], whole[rows]) - score(y_train[rows], without[rows]))
    low, high = np.percentile(gains, [2.5, 97.5])
    gain = combined(case, "soft").gains["m0"]
    assert (gain.low, gain.high) == pytest.approx((low, high), abs=0.02)


def test_the_seed_draws_the_resamples() -> None:
    case = regression()
    one, again, other = combined(case, seed=1), combined(case, seed=1), combined(case, seed=2)
    assert one.gains == again.gains
    assert one.gains != other.gains
    assert one.weights == other.weights


# -- what makes no sense -----------------------------------------------------------------------------------


def test_without_folds_there_are_no_losses_gains_or_score() -> None:
    y_train, members = classification()
    found = combined((y_train, without_folds(members)), "soft")
    assert (found.losses, found.gains, found.out_of_fold_score) == ({}, {}, None)


@pytest.mark.parametrize(
    ("case", "strategy", "field"),
    [
        (classification(), "mean", "params.strategy"),
        (regression(), "majority", "params.strategy"),
        *(
            ((classification()[0], without_folds(classification()[1])), strategy, "params.strategy")
            for strategy in STRATEGIES
            if strategy not in {"soft", "majority"}
        ),
        ((np.zeros(1), [Member("a", np.ones(3), np.ones(1))]), "weighted", "params.strategy"),
        ((np.zeros(2, int), [Member("a", np.ones((3, 1)), np.ones((2, 1)))]), "soft", "needs"),
        ((classification()[0], []), "soft", "needs"),
        ((classification()[0][:-1], classification()[1]), "soft", "needs"),
        ((classification()[0], classification()[1] * 2), "soft", "params.model"),
        ((classification()[0], classification()[1] + regression()[1]), "soft", "params.model"),
    ],
)
def test_what_cannot_be_combined_is_refused(case: Any, strategy: str, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        combined(case, strategy)
    assert caught.value.field == field


def test_members_of_different_shape_are_refused_by_name() -> None:
    y_train, members = classification()
    short = Member("short", members[0].held_out[:-1], members[0].out_of_fold)
    with pytest.raises(UsageError) as caught:
        combined((y_train, [*members, short]), "soft")
    assert caught.value.given == "short"


def test_an_unknown_strategy_is_told_of_all_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        combined(classification(), "mean")
    assert caught.value.allowed == ("weighted, soft, majority, bayesian, greedy, best_single, stacking, best")


@pytest.mark.parametrize("side", ["held_out", "out_of_fold"])
def test_what_is_no_number_is_refused_by_name(side: str) -> None:
    y_train, members = regression()
    told = getattr(members[1], side).copy()
    told[3] = np.nan
    members[1] = msgspec.structs.replace(members[1], **{side: told})
    with pytest.raises(UsageError, match="no finite number") as caught:
        combined((y_train, members))
    assert caught.value.given == "m1"


@pytest.mark.parametrize("wrong", [-1, CLASSES])
def test_a_class_that_no_model_knows_is_refused(wrong: int) -> None:
    y_train, members = classification()
    y_train[5] = wrong
    with pytest.raises(UsageError, match="classes 0 to 2") as caught:
        combined((y_train, members))
    assert caught.value.given == str(wrong)


def test_few_rows_make_fewer_folds() -> None:
    y_train, members = classification()
    few = [Member(m.name, m.held_out, m.out_of_fold[:3]) for m in members]
    for strategy in QUICK:
        assert combine(few, y_train[:3], strategy, seed=1, name="x").out_of_fold_score is not None


# -- cross-fitting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [*STRATEGIES])
def test_the_score_is_honest(strategy: str) -> None:
    """Members that know nothing: whoever looks best on some rows by chance must not be scored on those."""
    scores = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y_train = np.repeat([0, 1], 20)
        members = []
        for number in range(12):
            sure = rng.permutation(np.repeat([0.1, 0.9], 20))
            seen = np.column_stack([sure, 1 - sure])
            members.append(Member(f"m{number:02}", seen, seen))
        scores.append(combine(members, y_train, strategy, seed=seed, name="x").out_of_fold_score)
    assert np.mean(scores) < 0.6


def test_a_fold_is_mixed_by_what_the_others_taught() -> None:
    """Each row's truth, turned, must not move how that row is mixed."""
    y_train, members = classification(3)
    for strategy in QUICK:
        first = table_of(y_train, members)
        weights = LEARNERS[strategy](first)(np.ones(3, dtype=bool), learning.EVERY)
        for fold, (start, end) in enumerate(zip(first.edges[:-1], first.edges[1:], strict=True)):
            turned = msgspec.structs.replace(first, row_losses=first.row_losses.copy())
            turned.row_losses[:, start:end] = turned.row_losses[::-1, start:end] * 3
            again = LEARNERS[strategy](turned)(np.ones(3, dtype=bool), learning.EVERY)
            assert np.allclose(again[fold + 1], weights[fold + 1]), strategy
            if strategy in {"weighted", "bayesian"}:
                assert not np.allclose(again[0], weights[0]), strategy
