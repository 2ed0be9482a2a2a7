"""Where a model can be trained: asked of the library itself, before any training.

XGBoost trains on the CPU, with a warning, where there is no device it was told to use; so what it would really use is
looked up here, and a device that is not there is an error.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from swarm_common.errors import UsageError
from swarm_model_agent.registry import ModelType

DEVICES = ("cpu", "cuda", "gpu")


def setting(name: str, entry: ModelType, device: str, given: Mapping[str, object]) -> dict[str, str]:
    """Return the hyperparameter that puts a model on a device: none for the CPU and for types that know no other.

    A setting among the hyperparameters ``given`` wins, and is looked at, too. Raises :class:`UsageError` for a device
    that is not there, naming what is.
    """
    if device not in DEVICES:
        raise UsageError(
            f"params.device is {device!r}; there are {', '.join(DEVICES)}",
            field="params.device",
            given=device,
            allowed=", ".join(DEVICES),
        )
    if not entry.device:
        return {}
    own = given.get(entry.device)
    value = str(own) if own is not None else entry.devices.get(device, device)
    if value.lower() == "cpu":
        return {}
    probe = _PROBES.get(entry.extra)
    if probe and (why := probe(value)):
        there = ["cpu", *(word for word in DEVICES[1:] if not probe(entry.devices.get(word, word)))]
        raise UsageError(
            f"{name} cannot be trained on {value!r} here: {why}; there is {', '.join(there)}",
            field=f"params.hyperparameters.{entry.device}" if own is not None else "params.device",
            given=value,
            allowed=", ".join(there),
        )
    return {} if own is not None else {entry.device: value}


@cache
def _xgboost(value: str) -> str:
    """Return why XGBoost cannot train on a device; nothing where it can."""
    import xgboost  # noqa: PLC0415 - an extra

    if not xgboost.build_info().get("USE_CUDA"):
        return (
            "this build of xgboost is for the CPU; "
            "`pip uninstall xgboost-cpu` and `pip install xgboost` bring the one with CUDA"
        )
    x, y = _few()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the fall-back, which is read below
            model = xgboost.XGBRegressor(n_estimators=1, device=value, n_jobs=1).fit(x, y)
    except xgboost.core.XGBoostError as error:
        return _first_line(error)
    used = json.loads(model.get_booster().save_config())["learner"]["generic_param"]["device"]
    return f"xgboost finds no such device and would use the {used}" if used == "cpu" else ""


@cache
def _lightgbm(value: str) -> str:
    """Return why LightGBM cannot train on a device; it says so itself, at a fit."""
    import lightgbm  # noqa: PLC0415 - an extra

    x, y = _few()
    try:
        lightgbm.LGBMRegressor(n_estimators=1, device_type=value, n_jobs=1, verbosity=-1).fit(x, y)
    except lightgbm.basic.LightGBMError as error:
        return f"lightgbm says: {_first_line(error)}"
    return ""


@cache
def _catboost(value: str) -> str:
    """Return why CatBoost cannot train on a device: it counts them."""
    from catboost.utils import get_gpu_device_count  # noqa: PLC0415 - an extra

    if value.upper() != "GPU":
        return "catboost knows CPU and GPU"
    return "" if get_gpu_device_count() else "catboost finds no CUDA device"


def _few() -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(128.0).reshape(64, 2)
    return x, x[:, 0]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


_PROBES: Mapping[str, Callable[[str], str]] = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}
