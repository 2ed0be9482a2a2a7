"""A search is a function of its trials: within its budget, without repeats, and led by what it was told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.pipelines import Space, Spec
from swarm_optimizer.search import POLICIES, Move, Trial, propose

Score = Callable[[Spec], float | None]
SPACE = pipelines.space("classification", 10)


def walk(
    policy: str, score: Score, *, space: Space = SPACE, budget: int = 24, seed: int = 1, recipes: bool = True
) -> tuple[list[Move], list[Trial]]:
    """Play a search to its end; ``None`` as a score means that the pipeline cannot be fitted."""
    moves: list[Move] = []
    trials: list[Trial] = []
    while True:
        move = propose(policy, space, trials, budget=budget, batch=3, seed=seed, recipes=recipes)
        if move.phase == "done":
            return moves, trials
        moves.append(move)
        for draft in move.drafts:
            value = score(draft.spec)
            trials.append(
                Trial(spec=draft.spec, score=value or 0.0, failed=value is None, name=f"c{len(trials) + 1}")
            )


def flat(_spec: Spec) -> float:
    return 0.5


def scale_matters(spec: Spec) -> float:
    return {"none": 0.2, "standard": 0.6, "robust": 0.9}.get(spec.scale, 0.4)


@settings(deadline=None, max_examples=30)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    problem=st.sampled_from(["classification", "regression"]),
    n_features=st.sampled_from([1, 13, 200]),
    budget=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    bad=st.sets(st.sampled_from(["standard", "none", "svm", "random_forest", "pca_95"])),
)
def test_a_search_keeps_its_budget_stays_in_its_space_and_repeats_nothing(
    policy: str, problem: str, n_features: int, budget: int, seed: int, bad: set[str]
) -> None:
    space = pipelines.space(problem, n_features, categorical=True)

    def score(spec: Spec) -> float | None:
        return None if {spec.scale, spec.model, spec.features} & bad else len(pipelines.key(spec)) / 1000

    moves, trials = walk(policy, score, space=space, budget=budget, seed=seed)
    assert 1 <= len(trials) <= budget
    assert len({pipelines.key(trial.spec) for trial in trials}) == len(trials)
    for trial in trials:
        pipelines.check(space, trial.spec)
    if any(not trial.failed for trial in trials[: len(moves[0].drafts)]):
        assert len(trials) == budget


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_seed_alone_decides(policy: str) -> None:
    first, again, other = (walk(policy, scale_matters, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_all_start_from_the_same_recipes(policy: str) -> None:
    moves, _ = walk(policy, flat)
    assert moves[0].phase == "recipes"
    assert [draft.spec for draft in moves[0].drafts] == [
        recipe.spec for recipe in pipelines.recipes(SPACE)[:8]
    ]


@pytest.mark.parametrize("policy", ["random", "tpe"])
def test_without_recipes_all_is_sampled(policy: str) -> None:
    moves, trials = walk(policy, flat, recipes=False)
    assert {move.phase for move in moves} == {"sampling"}
    assert len(trials) == 24


def test_ablation_finds_the_block_that_matters_and_refinement_works_on_it() -> None:
    moves, trials = walk("mle_star", scale_matters)
    ablation = next(index for index, move in enumerate(moves) if move.phase == "ablation")
    refinement = moves[ablation + 1]
    assert refinement.phase == "refinement"
    assert refinement.block == "scale"
    assert refinement.ablation["scale"] == pytest.approx(0.6 - 0.2)  # of the best recipe, standardised
    assert all(drop == 0 for block, drop in refinement.ablation.items() if block != "scale")
    base = trials[1].spec
    for draft in refinement.drafts:
        assert draft.spec == pipelines.read_spec({**_plain(base), "scale": draft.spec.scale})
    assert max(trial.score for trial in trials) == 0.9


def _plain(spec: Spec) -> dict[str, object]:
    return {block: getattr(spec, block) for block in pipelines.BLOCKS}


def test_a_block_that_is_not_in_use_is_tried_too() -> None:
    def score(spec: Spec) -> float:
        return 0.9 if spec.select != "none" else 0.5

    moves, _ = walk("mle_star", score, budget=30)
    found = next(move for move in moves if move.phase == "refinement")
    assert abs(found.ablation["select"]) == pytest.approx(0.4)
    assert found.block == "select"


def test_the_block_just_refined_gives_way_to_the_next() -> None:
    def score(spec: Spec) -> float:
        return (spec.scale == "standard") * 0.5 + (spec.model == "svm") * 0.2

    moves, _ = walk("mle_star", score, budget=40)
    blocks = [move.block for move in moves if move.phase == "refinement"]
    assert blocks[:4] == ["scale", "scale", "model", "model"]


def test_the_control_spends_nothing_on_ablation_and_draws_its_blocks() -> None:
    blocks = {
        move.block
        for seed in range(12)
        for move in walk("random_block", scale_matters, seed=seed)[0]
        if move.phase != "recipes"
    }
    phases = {move.phase for move in walk("random_block", scale_matters)[0]}
    assert phases == {"recipes", "refinement"}
    assert blocks == set(SPACE.blocks)


def test_refinement_goes_on_from_the_best_so_far() -> None:
    def score(spec: Spec) -> float:
        return spec.hyperparameters.get("C", 1.0) if spec.model == "svm" else 0.0

    moves, trials = walk("mle_star", score, budget=40)
    known = 0
    for move in moves:
        if move.phase == "refinement":
            best = max(trials[:known], key=lambda trial: trial.score)
            kept = set(pipelines.BLOCKS) - {move.block, "hyperparameters"}
            for draft in move.drafts:
                assert all(getattr(draft.spec, block) == getattr(best.spec, block) for block in kept)
        known += len(move.drafts)


def test_tpe_samples_where_scores_are_high() -> None:
    def score(spec: Spec) -> float:
        return (spec.scale == "robust") * 0.4 + (spec.model == "svm") * 0.4

    _, found = walk("tpe", score, budget=60, recipes=False)
    _, drawn = walk("random", score, budget=60, recipes=False)
    late, even = ([trial.score for trial in trials[30:]] for trials in (found, drawn))
    assert sum(late) > 2 * sum(even)


def test_a_tie_goes_to_the_lower_loss_then_to_the_first() -> None:
    move = propose("mle_star", SPACE, [], budget=24, batch=3, seed=1)
    losses = [0.5, 0.2, 0.2, *[0.5] * 5]
    trials = [
        Trial(spec=draft.spec, score=0.9, loss=loss, name=draft.why)
        for draft, loss in zip(move.drafts, losses, strict=True)
    ]
    ablation = propose("mle_star", SPACE, trials, budget=24, batch=3, seed=1)
    second = pipelines.neutral(SPACE, trials[1].spec, "scale")
    assert second in [draft.spec for draft in ablation.drafts]


def test_the_last_ablation_is_told_at_the_end() -> None:
    moves, trials = walk("mle_star", scale_matters)
    done = propose("mle_star", SPACE, trials, budget=24, batch=3, seed=1)
    assert done.phase == "done"
    assert done.ablation == [move.ablation for move in moves if move.ablation][-1]


def test_tpe_goes_on_from_whatever_it_is_told_was_tried() -> None:
    """Another processor may have broken a tie otherwise."""
    _, elsewhere = walk("random", flat, seed=2)
    move = propose("tpe", SPACE, elsewhere[:10], budget=24, batch=3, seed=1)
    assert (move.phase, len(move.drafts)) == ("sampling", 3)
    assert not {pipelines.key(draft.spec) for draft in move.drafts} & {
        pipelines.key(t.spec) for t in elsewhere[:10]
    }


def test_trials_of_another_search_are_refused() -> None:
    _, trials = walk("random", flat, seed=2, recipes=False)
    with pytest.raises(UsageError, match="not what random with seed 1 proposed"):
        propose("random", SPACE, trials, budget=24, batch=3, seed=1, recipes=False)


def test_an_unknown_policy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        propose("llm", SPACE, [], budget=3, batch=3, seed=1)
    assert (caught.value.field, caught.value.allowed) == (
        "params.policy",
        "mle_star, random, random_block, tpe",
    )


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"swarm-optimizer\[search\]") as caught:
        propose("tpe", SPACE, [], budget=3, batch=3, seed=1, recipes=False)
    assert caught.value.field == "params.policy"


def test_the_service_loads_neither_optuna_nor_numpy() -> None:
    code = "import swarm_optimizer.service, sys; print({'numpy', 'optuna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
