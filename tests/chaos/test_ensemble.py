"""Every scenario of the suite: the same digest on one worker, two and four, with a worker killed, and when replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.stacks import Follower, Stack, completed, stack
from swarm_common.client import Client
from swarm_common.events.benchmark import Requested
from swarm_coordinator.suites.ensemble import Ensemble

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

#: What makes each scenario small. What is not named here is as the scenario has it.
_FEW: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 8},
    "gradient_boost": {"n_estimators": 4},
    "hist_gradient_boost": {"max_iter": 4},
    "xgboost": {"n_estimators": 4},
    "lightgbm": {"n_estimators": 4},
    "neural_network": {"max_iter": 20},
}
_MADE = {"rows": 300, "iterations": 1}
SMALL: dict[str, dict[str, Any]] = {
    "digits": {"models": ["svm", "logistic_regression"]},
    "classification_ensemble": {"rows": 300, "iterations": 2},
    "regression_ensemble": {"rows": 300, "iterations": 2},
    "classification_ensemble_small": _MADE,
    "classification_ensemble_large": _MADE,
    "regression_ensemble_small": _MADE,
    "regression_ensemble_large": _MADE,
    "hyperparameter_tuning_ensemble": _MADE,
    "cross_validation_ensemble": _MADE,
    "multi_model_consensus": {"iterations": 1, "test_folds": 2},
    "adaptive_learning": {"iterations": 2, "rows": 800},
    "exploration_exploitation": {"case": "wine", "pulls": 16, "iterations": 1},
    "knowledge_transfer": {
        "sources": ["breast_cancer"],
        "candidates": ["k_neighbors_5", "logistic_regression_1", "naive_bayes", "random_forest_50"],
        "iterations": 1,
        "folds": 2,
    },
    "mle_star": {"dataset": "wine", "budget": 6},
}
SCENARIOS = [scenario.name for scenario in Ensemble.scenarios]


def request(scenario: str, data: str) -> Requested:
    found = next(one for one in Ensemble.scenarios if one.name == scenario)
    params = dict(SMALL.get(scenario, {}))
    if scenario == "file":
        params |= {"data": data, "target": "grower"}
    declared = {param.name: param.default for param in found.params}
    if "hyperparameters" in declared and scenario in SMALL:
        members = params.get("models", declared["models"])
        params["hyperparameters"] = {
            name: few for name in members for kind, few in _FEW.items() if name.startswith(kind)
        }
    return Requested(suite="ensemble", scenario=scenario, params=params)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a table with words and gaps: 90 wines of which one column is a word and some are not measured."""
    rows = ["sugar,acid,colour,grower"]
    for at in range(90):
        grower = at % 3
        sugar = "" if at % 17 == 0 else f"{10 + 3 * grower + (at * 7 % 11) / 5:.1f}"
        rows.append(
            f"{sugar},{5 - grower + (at * 5 % 13) / 9:.2f},{('red', 'white')[at % 5 > grower]},grower {grower}"
        )
    path = tmp_path_factory.mktemp("table") / "wines.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Stack]]:
    home = tmp_path_factory.mktemp("workers")
    with (
        stack(home / "one", SWARM_CPU_WORKERS="1") as one,
        stack(home / "two", SWARM_CPU_WORKERS="2") as two,
        stack(home / "four", SWARM_CPU_WORKERS="4") as four,
    ):
        yield {1: one, 2: two, 4: four}


async def uploaded(client: Client, table: Path) -> str:
    return str(await client.upload(table))


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_scenario_is_the_same_however_its_work_is_done(
    stacks: dict[int, Stack], table: Path, scenario: str
) -> None:
    digests, kinds = {}, {}
    for workers, home in stacks.items():
        async with home.client() as client:
            run = await client.request(request(scenario, await uploaded(client, table)))
            follower = Follower(client, run)
            if workers == 2:
                await follower.reach(5)
                home.kill("worker")
            events = await follower.settle()
        assert not [ident for ident, n in Counter(event.id for event in events).items() if n > 1]
        digests[workers] = completed(events).digest
        kinds[workers] = Counter(event.type for event in events)
        if workers == 2:
            replayed = home.replay(home.export(run))
            assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert len(set(digests.values())) == 1, (digests, kinds)
