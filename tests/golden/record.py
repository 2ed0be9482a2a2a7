"""Records the golden logs of the present version anew: ``python tests/golden/record.py [NAME...]``.

Each is an export of a real run of the embedded stack. A log of a released version is never recorded again: the code
must go on reading it. A new version adds its own files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from swarm_common import __version__

HERE = Path(__file__).parent
_SPLITS = ("-p", "iterations=2")
_POOL = ("-p", "candidates=decision_tree_5,k_neighbors_5,k_neighbors_15", "-p", "top=2")
_FEW = '{"random_forest": {"n_estimators": 10}}'
#: Name of the file, then the arguments of ``swarm run``.
RUNS: dict[str, list[str]] = {
    "noop": ["noop", "-p", "tasks=5"],
    "retries": ["noop", "-p", "tasks=3", "-p", "fail_attempts=1"],
    "ensemble": ["ensemble", "breast_cancer"],
    "strategies": ["ensemble", "multi_model_consensus", *_SPLITS, "-p", "models=svm,naive_bayes"],
    "values": [
        "ensemble",
        "regression_ensemble",
        *_SPLITS,
        "-p",
        "rows=300",
        "-p",
        f"hyperparameters={_FEW}",
    ],
    "exploration": ["ensemble", "exploration_exploitation", *_SPLITS, *_POOL, "-p", "pulls=6"],
    "adaptive": ["ensemble", "adaptive_learning", *_SPLITS, "-p", "rows=400"],
    "transfer": [
        "ensemble",
        "knowledge_transfer",
        "-p",
        "iterations=1",
        *_POOL,
        "-p",
        "sources=breast_cancer",
    ],
    "mle-star": [
        "ensemble",
        "mle_star",
        "-p",
        "dataset=wine",
        "-p",
        "budget=5",
        "-p",
        "arms=mle_star,random,tpe",
    ],
    "worlds": [
        "hive", "--simulate", "-p", "mechanisms=raft,voting", "-p", "agents=4", "-p", "faults=crash,byzantine",
        "-p", "seeds=40",
    ],
    "live": [
        "hive", "live", "-p", "mechanisms=raft,pbft", "-p", "agents=4", "-p", "faults=none", "-p", "decisions=10",
        "-p", "rounds=10",
    ],
    "quality": ["hive", "decision_quality", "-p", "agents=5", "-p", "trials=20"],
    "knowledge": ["hive", "knowledge", "-p", "agents=10,30", "-p", "repetitions=5"],
    "emergence": ["hive", "emergence", "-p", "agents=10", "-p", "repetitions=20"],
    "coordination": ["coordination", "modes", "-p", "items=2", "-p", "agents=3", "-p", "modes=centralized,mesh"],
    "neural": ["neural", "-p", "repeats=1", "-p", "questions=40", "-p", "timings=5"],
    "conflicts": ["primitives", "proposal_conflicts", "-p", "samples=20"],
    "spawning": ["primitives", "agent_spawning", "-p", "sizes=4,8", "-p", "repeats=2"],
    "stages": ["primitives", "pipeline_execution", "-p", "sizes=3,6", "-p", "repeats=1"],
    "usage": ["noop", "usage", "-p", "tasks=100"],
    "overhead": ["noop", "overhead", "-p", "tasks=20", "-p", "rounds=6"],
}  # fmt: skip


def swarm(home: str, *arguments: str) -> Any:
    """Run the command against a stack of its own and return what it prints as JSON."""
    command = [str(Path(sys.executable).parent / "swarm"), "--home", home, *arguments, "--json"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("SWARM_", "OTEL_"))}
    environ |= {"SWARM_NATS_PORT": "0"}
    done = subprocess.run(command, env=environ, cwd=home, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout or b"null")


def main() -> None:
    """Record every run, or those that are named, into ``<name>-<version>.jsonl`` beside this file."""
    wanted = sys.argv[1:] or list(RUNS)
    with tempfile.TemporaryDirectory() as home:
        try:
            for name in wanted:
                run = swarm(home, "run", *RUNS[name], "--no-report")
                path = HERE / f"{name}-{__version__}.jsonl"
                swarm(home, "export", run["run"], "-o", str(path))
                sys.stdout.write(f"{path.name}: {run['events']} events, {path.stat().st_size} bytes\n")
        finally:
            swarm(home, "down")


if __name__ == "__main__":
    main()
