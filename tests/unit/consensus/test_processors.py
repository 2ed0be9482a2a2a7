"""What is recorded does not depend on the processor: this one, or one with nothing newer than the oldest has."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[2]
CODE = """
import hashlib, sys, warnings
import numpy as np
from support.voices import classification, combined, regression
from swarm_common.errors import UsageError
from swarm_consensus.adapting import adapt
from swarm_consensus.combining import STRATEGIES

def told(found):
    arrays = (found.prediction, found.row_confidence)
    return hashlib.sha256(repr([
        [None if each is None else each.tobytes() for each in arrays],
        found.weights, found.losses, found.gains, found.variance, found.considered, found.coefficients,
        found.out_of_fold_score, found.q_statistic, found.voices.agreement, found.trajectory,
    ]).encode()).hexdigest()

for kind, cases in ("classes", classification), ("values", regression):
    for seed in range(4):
        case = cases(seed, (1.0, 1.1, 0.5, 2.0))
        for strategy in STRATEGIES:
            if (kind, strategy) != ("values", "majority"):
                print(kind, seed, strategy, told(combined(case, strategy)))
        truth = np.arange(50) % 3
        print(kind, seed, "adaptive", told(adapt(case[1], case[0], truth, block=9, rate=5.0, share=0.05)))
"""


def told(**environ: str) -> list[str]:
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    env = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", **environ}
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_every_strategy_says_the_same_on_an_older_processor() -> None:
    features = np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]
    older = {"NPY_DISABLE_CPU_FEATURES": " ".join(features)}
    if platform.machine() in {"x86_64", "AMD64"}:
        older["OPENBLAS_CORETYPE"] = "Prescott"
    here, there = told(), told(**older)
    assert len(here) == 2 * 4 * 9 - 4
    assert [line for line in here if line not in there] == []
