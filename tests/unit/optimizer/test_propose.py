"""A task `propose` says what comes next, from what the log holds of its search."""

from __future__ import annotations

from typing import Any

import pytest

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events.agent import CandidateEvaluated
from swarm_common.events.optimizer import Candidate, Proposed
from swarm_optimizer.service import propose_next, propose_tpe, service

PARAMS: dict[str, Any] = {
    "arm": "a",
    "policy": "mle_star",
    "problem": "classification",
    "n_features": 13,
    "budget": 12,
}


def evaluated(candidate: Candidate, score: float | None) -> CandidateEvaluated:
    return CandidateEvaluated(
        task=candidate.name,
        candidate=candidate.name,
        spec=candidate.spec,
        rows=10,
        folds=2,
        score_name="accuracy",
        score=score,
        loss=None if score is None else 1 - score,
        failed="" if score is not None else "ValueError: no",
        fits=2.0,
        fit_s=0.1,
        cpu_s=0.1,
        max_rss_bytes=1,
        worker="w/1",
        started="",
        waited_s=0.0,
    )


async def test_a_search_goes_through_the_log_to_its_end(log: Any) -> None:
    names: list[str] = []
    phases = []
    for number in range(20):
        proposed = await propose_next(
            log.task("propose", task=f"p{number}", params=PARAMS, needs=tuple(names), seed=5)
        )
        assert isinstance(proposed, Proposed)
        phases.append(proposed.phase)
        if proposed.done:
            break
        for candidate in proposed.candidates:
            names.append(candidate.name)
            log.add(evaluated(candidate, None if len(names) == 2 else 0.5 + len(names) / 100))
    assert phases[:2] == ["recipes", "ablation"]
    assert phases[-1] == "done"
    assert names == [f"a-{number}" for number in range(1, 13)]
    assert (proposed.best, proposed.evaluated, proposed.candidates) == ("a-12", 12, ())
    assert proposed.ablation


async def test_where_nothing_can_be_fitted_the_search_ends_and_says_so(log: Any) -> None:
    first = await propose_next(log.task("propose", params=PARAMS))
    for candidate in first.candidates:
        log.add(evaluated(candidate, None))
    needs = tuple(candidate.name for candidate in first.candidates)
    last = await propose_next(log.task("propose", params=PARAMS, needs=needs))
    assert (last.done, last.best, last.evaluated) == (True, "", len(needs))


async def test_the_space_is_that_of_the_data(log: Any) -> None:
    plain = await propose_next(log.task("propose", params={**PARAMS, "policy": "random", "recipes": False}))
    rich = {"categorical": True, "missing": True, "extra_models": ["lightgbm"], "batch": 60, "budget": 60}
    proposed = await propose_next(
        log.task("propose", params={**PARAMS, "policy": "random", "recipes": False, **rich})
    )
    assert {candidate.spec.encode for candidate in plain.candidates} == {"ordinal"}
    assert {candidate.spec.encode for candidate in proposed.candidates} == {"ordinal", "onehot", "target"}
    assert len({candidate.spec.impute for candidate in proposed.candidates}) == 5
    assert "lightgbm" in {candidate.spec.model for candidate in proposed.candidates}


async def test_optunas_proposals_are_a_kind_of_their_own_and_not_decided_again(log: Any) -> None:
    found = await propose_tpe(log.task("propose_tpe", params={**PARAMS, "policy": "tpe", "recipes": False}))
    assert (found.policy, found.phase, len(found.candidates)) == ("tpe", "sampling", 3)
    assert {kind: handler.pure for kind, handler in service.tasks.items()} == {
        "propose": True,
        "propose_tpe": False,
        "propose_llm": False,
    }
    with pytest.raises(UsageError, match="no policy of a task of kind propose_tpe"):
        await propose_tpe(log.task("propose_tpe", params=PARAMS))


async def test_recipes_say_who_recommends_them(log: Any) -> None:
    proposed = await propose_next(log.task("propose", params=PARAMS))
    recipe = pipelines.RECIPES["classification"][0]
    assert proposed.candidates[0].spec == recipe.spec
    assert proposed.candidates[0].why == f"{recipe.why} ({recipe.source})"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"policy": "llm"}, "params.policy"),
        ({"policy": "tpe"}, "params.policy"),
        ({"problem": "ranking"}, "params.problem"),
        ({"size": 3}, "params"),
    ],
)
async def test_what_does_not_fit_is_named(log: Any, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as caught:
        await propose_next(log.task("propose", params={**PARAMS, **wrong}))
    assert caught.value.field == field
