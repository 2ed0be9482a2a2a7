"""The peer of bench/autogluon_beside.py: AutoGluon's ``TabularPredictor``, one fit under a time limit.

Run by the peer's own Python, which has AutoGluon and nothing of ours. Reads an .npz of ``x_train``, ``y_train``,
``x_test`` and ``y_test``; prints one line of JSON last: the score on the test rows, seconds, and what was trained.
Where AutoGluon trained nothing in its time, ``score`` is null and ``error`` says what it said.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor
from sklearn.metrics import accuracy_score, r2_score

_LABEL = "target"
#: What AutoGluon's own presets train, by the module that a family needs; ray is what fits folds side by side.
_NEEDS = {
    "LightGBM": "lightgbm",
    "XGBoost": "xgboost",
    "CatBoost": "catboost",
    "NeuralNetFastAI": "fastai",
    "NeuralNetTorch": "torch",
    "folds in parallel": "ray",
}


def _frame(x: Any, y: Any = None) -> Any:
    frame = pd.DataFrame(x, columns=[f"x{number}" for number in range(x.shape[1])])
    return frame if y is None else frame.assign(**{_LABEL: y})


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _problem(y: Any) -> str:
    """Return AutoGluon's word: class numbers are integers, values are not."""
    if y.dtype.kind == "f":
        return "regression"
    return "binary" if len(set(y.tolist())) == 2 else "multiclass"


def _trained(predictor: Any) -> dict[str, Any]:
    """Return the models that AutoGluon kept and how many there are of each family; its final mixture counts as none."""
    board = predictor.leaderboard(extra_info=True, silent=True)
    rows = board[["model", "model_type", "child_model_type"]].itertuples(index=False)
    families = {name: kind if child is None else child for name, kind, child in rows}
    models = sorted(name for name in families if not name.startswith("WeightedEnsemble"))
    counted = Counter(families[name].removesuffix("Model") for name in models)
    return {"models": models, "families": dict(sorted(counted.items())), "best": predictor.model_best}


def measure(data: Path, preset: str, limit_s: float, cpus: int) -> dict[str, Any]:
    """Return what one fit came to; ``fit_s`` is the wall time of ``fit`` alone, without imports and prediction."""
    with np.load(data, allow_pickle=False) as arrays:
        x, y, x_test, y_test = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    problem = _problem(y)
    metric, score = ("r2", r2_score) if problem == "regression" else ("accuracy", accuracy_score)
    absent = [family for family, module in _NEEDS.items() if importlib.util.find_spec(module) is None]
    found: dict[str, Any] = {
        "version": importlib.metadata.version("autogluon.tabular"),
        "preset": preset,
        "absent": absent,
        "score": None,
    }
    with tempfile.TemporaryDirectory(prefix="autogluon-", ignore_cleanup_errors=True) as path:
        predictor = TabularPredictor(
            label=_LABEL, problem_type=problem, eval_metric=metric, path=path, verbosity=0
        )
        train, test = _frame(x, y), _frame(x_test)
        began, cpu_began = time.perf_counter(), _cpu_s()
        try:
            predictor.fit(train, presets=preset, time_limit=limit_s, num_cpus=cpus, num_gpus=0)
        except Exception as error:  # noqa: BLE001 - whatever it raises, it has no answer within the limit
            found["error"] = f"{type(error).__name__}: {error}"[:300]
            return found | {"fit_s": time.perf_counter() - began, "cpu_s": _cpu_s() - cpu_began}
        found |= {"fit_s": time.perf_counter() - began, "cpu_s": _cpu_s() - cpu_began}
        began = time.perf_counter()
        found["score"] = float(score(y_test, predictor.predict(test)))
        found["predict_s"] = time.perf_counter() - began
        return found | _trained(predictor)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fits AutoGluon once; prints JSON.")
    parser.add_argument("data", type=Path, help=".npz of x_train, y_train, x_test, y_test")
    parser.add_argument("--preset", default="medium_quality")
    parser.add_argument("--limit-s", type=float, default=20.0)
    parser.add_argument("--cpus", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(measure(given.data, given.preset, given.limit_s, given.cpus)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
