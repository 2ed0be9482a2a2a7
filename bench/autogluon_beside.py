"""Our ensembles beside AutoGluon: the same rows, the same two cores, 20 seconds, whoever wins.

AutoGluon lives in an environment of its own, which you make once (about 1.1 GB)::

    python -m venv DIR
    DIR/bin/pip install "autogluon.tabular[lightgbm,xgboost,catboost]==1.6.3"
    python bench/autogluon_beside.py --python DIR/bin/python [--splits 3] [--quick] [--json FILE]

The extras ``fastai`` and ``ray`` add its neural networks and folds in parallel; what it could train and what it lacked
is printed. Splits are the held-out folds of our scenarios with ``test_folds`` 3 and seed 42, all of which the peer
gets as files: that they hold the rows on which ours trained is checked by hash.

The peer: one process a split; its seconds are those of ``fit(time_limit=20, num_cpus=2)``. Presets are
``medium_quality``, AutoGluon's default, and ``best_quality``, which its authors mean for an hour.

Ours: the scenario of the data set with the members below, combined once by ``weighted``, the scenarios' default, and
once by ``best``, which picks among all ways out of fold. Either is a run of its own over three splits at once; its
seconds a split are a third of the wall time from request to completion, scoring and bootstrapping included. It has no
time limit: the members were chosen so that the planner's own estimate of their cost (``costs.py``) stays under 20
seconds on the dearest data set. **They were fixed before any score was seen, and are the same for all data sets.**
A split that takes longer than the limit misses its target and is no fair comparison.

Neither side's clock includes starting Python or the stack; both load the boosting libraries while it runs. A time limit
is worth less on a busy machine, to the peer alone: ours then takes longer and does the same. Hence the warning.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from kit.cli import main, run_async
from kit.measure import Bench, Load, Row, Skipped, Watch
from kit.servers import Runs, stack

from swarm_common import Client
from swarm_common.errors import SwarmError
from swarm_common.events.agent import DataPrepared
from swarm_common.events.benchmark import Requested
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import Scored
from swarm_model_agent.datasets import fingerprint, load_held_out, load_training
from swarm_model_agent.models import known_types
from swarm_model_agent.params import DataParams

DATA = ("wine", "diabetes", "breast_cancer", "digits")
PRESETS = ("medium_quality", "best_quality")
WAYS = ("weighted", "best")
CORES = 2
SEED = 42
FOLDS = 3
"""Held-out folds of a repetition; one of our runs is over all of them."""
LIMIT_S = 20.0
#: One of each kind; those of the data set's own scenario keep the settings that they have there.
MEMBERS = (
    *("hist_gradient_boost", "xgboost", "lightgbm", "catboost", "random_forest", "extra_trees"),
    *("svm", "k_neighbors", "neural_network"),
)
LINEAR = {"classification": "logistic_regression", "regression": "ridge_regression"}
#: Its default of 1,000 rounds would take most of the limit for one member of ten.
SETTINGS = {"catboost": {"iterations": 200}}
#: Of a peer's process beyond its limit: starting, ending, and a model that does not stop in time.
_GRACE_S = 160.0
_PEER = Path(__file__).resolve().parent / "peers" / "autogluon_peer.py"
_VERSION = "import importlib.metadata as m; print(m.version('autogluon.tabular'))"
_SAME = 1e-12


class Outcome(msgspec.Struct, frozen=True):
    """What one side came to on one split."""

    score: float | None
    """``None`` where it had no answer."""
    seconds: float
    models: int
    said: str
    """Which families, or which way to combine; what went wrong where there is no score."""


Found = dict[str, list[Outcome]]
"""By side, an outcome for each split."""


def _split(dataset: str, number: int) -> DataParams:
    """Return the split of that number, as the planner numbers them: folds first, then repetitions."""
    return DataParams(dataset=dataset, split_seed=SEED + number // FOLDS, test_fold=(number % FOLDS, FOLDS))


def members(problem: str) -> list[str]:
    """Return the members for a problem: the list above without what is not installed, and the linear one."""
    there = known_types(problem)
    return [name for name in (*MEMBERS, LINEAR[problem]) if name in there]


async def _run(settings: Any, dataset: str, way: str, splits: int) -> tuple[list[Outcome], list[str]]:
    """Return what our run came to on each split, and the hashes of the data that it prepared."""
    chosen = members(load_training(_split(dataset, 0)).problem)
    repeats = math.ceil(splits / FOLDS)
    params = {
        "combination": way,
        "models": chosen,
        "hyperparameters": {name: given for name, given in SETTINGS.items() if name in chosen},
        "test_folds": FOLDS,
        "iterations": repeats,
    }
    async with Client(settings=settings) as client, Runs(client) as runs:
        request = Requested(suite="ensemble", scenario=dataset, params=params, seed=SEED)
        run, seconds = await runs.run(request, patience_s=600)
        events = [event.data for event in await client.events(run)]
    scored = {data.task: data for data in events if isinstance(data, Scored)}
    reached = {data.task: data for data in events if isinstance(data, Reached)}
    prepared = {data.task: data for data in events if isinstance(data, DataPrepared)}
    each = seconds / (FOLDS * repeats)
    outcomes, hashes = [], []
    for number in range(splits):
        suffix = "" if number == 0 else f"-{number + 1}"
        metrics = {metric.name: metric.value for metric in scored[f"score{suffix}"].metrics}
        score = metrics["accuracy"] if "accuracy" in metrics else metrics["r2"]
        said = reached[f"combine{suffix}"].strategy
        outcomes.append(Outcome(score, each, len(chosen), said))
        hashes.append(prepared[f"prepare{suffix}"].sha256)
    return outcomes, hashes


def _ours(dataset: str, splits: int) -> tuple[Found, list[str]]:
    """Return our outcomes by way to combine, each from a stack that is gone before the peer begins."""
    found, hashes = {}, []
    for way in WAYS:
        with stack(cpu_workers=CORES) as (settings, _):
            found[way], hashes = run_async(_run(settings, dataset, way, splits))
    return found, hashes


def _hand_over(dataset: str, number: int, sha256: str, folder: Path) -> Path:
    """Write a split for the peer; raises :class:`SwarmError` where it is not what our run had."""
    params = _split(dataset, number)
    training, held_out = load_training(params), load_held_out(params)
    if fingerprint(training.x, held_out.x, training.y, held_out.y) != sha256:
        raise SwarmError(f"{dataset}, split {number}: the peer's rows are not those of our run")
    path = folder / f"{dataset}-{number}.npz"
    np.savez(path, x_train=training.x, y_train=training.y, x_test=held_out.x, y_test=held_out.y)
    return path


def _ask(python: Path, *arguments: str, cwd: Path, patience_s: float) -> str:
    """Return the last line that the peer's Python prints; raises :class:`Skipped` where there is no AutoGluon."""
    try:
        done = subprocess.run(
            [str(python), "-I", *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=patience_s,
            cwd=cwd,
        )
        return done.stdout.splitlines()[-1]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        said = str(getattr(error, "stderr", "") or "").strip()[-300:]
        raise Skipped(
            f"{python} could not run AutoGluon: {error} {said}\n"
            "  make an environment for it: python -m venv DIR && DIR/bin/pip install "
            '"autogluon.tabular[lightgbm,xgboost,catboost]==1.6.3"'
        ) from error


def _fit(python: Path, data: Path, preset: str, limit_s: float) -> dict[str, Any]:
    arguments = [str(_PEER), str(data), "--preset", preset, "--limit-s", str(limit_s), "--cpus", str(CORES)]
    line = _ask(python, *arguments, cwd=data.parent, patience_s=limit_s + _GRACE_S)
    found: dict[str, Any] = json.loads(line)
    return found


def _outcome(found: Mapping[str, Any]) -> Outcome:
    if found["score"] is None:
        return Outcome(None, found["fit_s"], 0, found["error"])
    families = ", ".join(
        f"{name} {count}" if count > 1 else name for name, count in found["families"].items()
    )
    return Outcome(found["score"], found["fit_s"], len(found["models"]), families)


def _cell(outcomes: Sequence[Outcome]) -> str:
    """Return mean, smallest and largest score; how many splits had an answer where not all did."""
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    if not scores:
        return "no answer"
    missing = "" if len(scores) == len(outcomes) else f", {len(scores)} of {len(outcomes)} splits"
    return f"{statistics.fmean(scores):.4f} ({min(scores):.4f} to {max(scores):.4f}{missing})"


def _span(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def against(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> tuple[int, int, int]:
    """Return wins, ties and losses of ours over the splits; a split where a side has no answer counts nowhere."""
    pairs = zip(ours, theirs, strict=True)
    gains = [a.score - b.score for a, b in pairs if a.score is not None and b.score is not None]
    wins, losses = sum(gain > _SAME for gain in gains), sum(gain < -_SAME for gain in gains)
    return wins, len(gains) - wins - losses, losses


def table(found: Mapping[str, Found], presets: Sequence[str]) -> str:
    """Return what was found, as two tables in Markdown."""
    lines = ["| data | side | score, mean (smallest to largest) | seconds a split | models |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for dataset, sides in found.items():
        metric = "r2" if dataset == "diabetes" else "accuracy"
        for side, outcomes in sides.items():
            name = f"AutoGluon `{side}`" if side in presets else f"ours, `{side}`"
            seconds = _span([outcome.seconds for outcome in outcomes], ".1f")
            models = _span([outcome.models for outcome in outcomes], "d")
            lines.append(f"| {dataset}, {metric} | {name} | {_cell(outcomes)} | {seconds} | {models} |")
    lines += ["", f"| ours beside AutoGluon: wins, ties, losses | {' | '.join(found)} | all |"]
    lines.append("| --- " * (len(found) + 2) + "|")
    for way in WAYS:
        for preset in presets:
            counts = [against(sides[way], sides[preset]) for sides in found.values()]
            counts.append((sum(c[0] for c in counts), sum(c[1] for c in counts), sum(c[2] for c in counts)))
            cells = " | ".join(", ".join(map(str, count)) for count in counts)
            lines.append(f"| `{way}` beside `{preset}` | {cells} |")
    return "\n".join(lines)


def _rows(dataset: str, sides: Found, limit_s: float) -> list[Row]:
    rows = []
    for side, outcomes in sides.items():
        said = "; ".join(dict.fromkeys(outcome.said for outcome in outcomes))
        scores = tuple(outcome.score for outcome in outcomes if outcome.score is not None)
        if scores:
            rows.append(Row(name=f"{dataset} {side}", what=said, unit="score", samples=scores))
        rows.append(
            Row(
                name=f"{dataset} {side} time",
                what=f"a split, {_span([outcome.models for outcome in outcomes], 'd')} models",
                unit="s",
                samples=tuple(outcome.seconds for outcome in outcomes),
                target=f"<= {limit_s:g}" if side in WAYS else "",  # AutoGluon minds its limit itself
            )
        )
    return rows


def _notes(found: Mapping[str, Found], answers: Sequence[dict[str, Any]], loads: Sequence[Load]) -> list[str]:
    peer = answers[0]
    during = [load.others_during for load in loads]
    notes = [
        f"AutoGluon {peer['version']}, without: {', '.join(peer['absent']) or 'nothing'}",
        *(f"ours for {problem}: {', '.join(members(problem))}" for problem in LINEAR),
        (
            f"while AutoGluon fitted, others used {min(during):.0%} to {max(during):.0%} of the machine, load average"
            f" {min(load.average_before for load in loads):.1f} to {max(load.average_after for load in loads):.1f}"
        ),
        *(
            f"{dataset} {side}: no answer on a split: {outcome.said}"
            for dataset, sides in found.items()
            for side, outcomes in sides.items()
            for outcome in outcomes
            if outcome.score is None
        ),
    ]
    if spoiled := [load.spoiled for load in loads if load.spoiled]:
        notes.append(
            f"WARNING: the machine was busy in {len(spoiled)} of {len(loads)} fits of AutoGluon ({spoiled[0]}, say):"
            " its time limit was worth less than on a quiet machine, so these scores are NOT evidence against it"
        )
    return notes


def _bench(given: argparse.Namespace) -> Bench:
    def run(quick: bool) -> tuple[list[Row], list[str]]:
        splits, limit_s = (1, 5.0) if quick else (given.splits, LIMIT_S)
        found: dict[str, Found] = {}
        answers, loads, rows = [], [], []
        with tempfile.TemporaryDirectory(prefix="swarm-bench-") as scratch:
            _ask(
                given.python, "-c", _VERSION, cwd=Path(scratch), patience_s=_GRACE_S
            )  # before minutes of ours
            for dataset in DATA[:1] if quick else DATA:
                ours, hashes = _ours(dataset, splits)
                files = [_hand_over(dataset, i, sha256, Path(scratch)) for i, sha256 in enumerate(hashes)]
                sides: Found = {preset: [] for preset in given.presets}
                for file in files:
                    for preset in given.presets:  # in turns: what load there is falls on both
                        watch = Watch()
                        answer = _fit(given.python, file, preset, limit_s)
                        loads.append(watch.end()[0])
                        answers.append(answer)
                        sides[preset].append(_outcome(answer))
                found[dataset] = sides | ours
                rows += _rows(dataset, found[dataset], limit_s)
        print(f"\n{table(found, given.presets)}", flush=True)
        limits = (
            f"{splits} split(s), {limit_s:g} s each; a split where a side has no answer counts for nobody"
        )
        return rows, [limits, *_notes(found, answers, loads)]

    return Bench("autogluon", f"our ensembles beside AutoGluon, {CORES} cores, a time limit", run)


def _main() -> int:
    parser = argparse.ArgumentParser(
        description="Holds our ensembles beside AutoGluon.",
        epilog="--quick (wine, one split, 5 s: a trial of the script) and --json FILE as for every bench.",
    )
    parser.add_argument("--python", type=Path, required=True, help="of the environment with AutoGluon")
    parser.add_argument("--splits", type=int, default=3, choices=range(1, 10), metavar="1..9")
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), help="AutoGluon's, a row each")
    given, rest = parser.parse_known_args()
    # Not resolved: a venv's Python is a link, and where it leads to is another environment.
    given.python = Path(os.path.abspath(given.python))  # noqa: PTH100
    if sys.platform == "linux":  # all that is started here keeps to as many cores, on larger machines, too
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    code: int = main([_bench(given)], rest)
    return code


if __name__ == "__main__":
    sys.exit(_main())
