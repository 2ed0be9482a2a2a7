"""Does combining pay? Every way to combine beside the best single model, over the four real data sets.

Five times repeated three-fold cross-validation (fifteen splits), weights and the choice of the best single model from
an inner three-fold one: `multi_model_consensus` of our own, with the members of each data set's scenario. Ranks are
those of mean scores (accuracy, r2), 1 is best. No figure here is a time.
"""

from __future__ import annotations

from typing import Any

from kit.cli import alone, run_async
from kit.measure import Bench, Row
from kit.servers import Runs, stack

from swarm_common import Client
from swarm_common.events.benchmark import Completed, Requested

_LIMIT_S = 1800.0
DATA = ("wine", "diabetes", "breast_cancer", "digits")
WAYS = ("weighted", "soft", "stacking", "bayesian", "greedy", "best_single")


def _request(case: str, repeats: int) -> Requested:
    params = {"case": case, "iterations": repeats, "test_folds": 3, "folds": 3, "strategies": list(WAYS)}
    return Requested(suite="ensemble", scenario="multi_model_consensus", params=params)


async def _strategies(client: Client, runs: Runs, case: str, repeats: int) -> list[dict[str, Any]]:
    run, _ = await runs.run(_request(case, repeats), patience_s=1800)
    (completed,) = [event.data for event in await client.events(run) if isinstance(event.data, Completed)]
    found: list[dict[str, Any]] = completed.result["strategies"]
    return found


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    rows, notes = [], []
    ranks: dict[str, list[float]] = {way: [] for way in WAYS}
    with stack() as (settings, _):
        async with Client(settings=settings) as client, Runs(client) as runs:
            for case in DATA[:2] if quick else DATA:
                found = await _strategies(client, runs, case, 1 if quick else 5)
                scores = {row["strategy"]: float(row["score"]) for row in found}
                for row in found:
                    way, score = row["strategy"], scores[row["strategy"]]
                    better = sum(other > score for other in scores.values())
                    same = sum(other == score for other in scores.values())
                    ranks[way].append(better + (same + 1) / 2)
                    rows.append(
                        Row(
                            name=f"{case} {way}",
                            what=f"{row['verdict']}",
                            unit="points",  # of a hundred: the table has two digits behind the point
                            samples=(100 * score,),
                        )
                    )
    best = sum(ranks["best_single"]) / len(ranks["best_single"])
    for way in WAYS:
        mean = sum(ranks[way]) / len(ranks[way])
        target = f"< {best}" if way == "weighted" else ""
        rows.append(
            Row(
                name=f"mean rank {way}",
                what="over the data sets",
                unit="rank",
                samples=(mean,),
                target=target,
            )
        )
    notes.append(
        "verdicts: beside the best single model of each split, corrected resampled t-test over all splits"
    )
    return rows, notes


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick), limit_s=_LIMIT_S)


BENCH = Bench("quality", "does combining pay, on real data", run)

if __name__ == "__main__":
    alone(BENCH)
