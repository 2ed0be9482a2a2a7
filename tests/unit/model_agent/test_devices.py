"""A model is trained on the device that was asked for, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from swarm_common.errors import UsageError
from swarm_model_agent import devices
from swarm_model_agent.models import MODEL_TYPES, build, device_of, estimator

SETTINGS = {"catboost": "task_type", "lightgbm": "device_type", "xgboost": "device"}
ABSENT = [name for name in SETTINGS if not MODEL_TYPES[name].installed()]


def booster(name: str) -> Any:
    return pytest.param(
        name, marks=pytest.mark.skipif(name in ABSENT, reason=f"{name} is not installed: it is an extra")
    )


boosters = pytest.mark.parametrize("name", [booster(name) for name in SETTINGS])


def cuda_here(name: str) -> bool:
    return not devices._PROBES[name]("GPU" if name == "catboost" else "cuda")


def test_the_types_that_have_a_device_are_known() -> None:
    assert {name: device_of(name) for name in MODEL_TYPES if device_of(name)} == SETTINGS


@pytest.mark.parametrize("device", ["cpu", "cuda", "gpu"])
def test_types_without_a_device_stay_on_the_cpu(device: str) -> None:
    model = build("random_forest", "regression", {}, seed=1, device=device)
    assert model.get_params() == build("random_forest", "regression", {}, seed=1).get_params()


def test_a_device_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        build("random_forest", "regression", {}, seed=1, device="tpu")
    assert (caught.value.field, caught.value.allowed) == ("params.device", "cpu, cuda, gpu")


@boosters
def test_a_device_that_is_not_here_is_an_error_before_any_training(name: str) -> None:
    if cuda_here(name):
        pytest.skip("there is such a device")
    with pytest.raises(UsageError, match="cannot be trained on") as caught:
        estimator(name, "regression", {}, seed=1, device="cuda")
    assert caught.value.field == "params.device"
    assert caught.value.allowed.startswith("cpu")
    assert "there is cpu" in str(caught.value)


@boosters
def test_the_librarys_own_setting_is_looked_at_too(name: str) -> None:
    if cuda_here(name):
        pytest.skip("there is such a device")
    value = "GPU" if name == "catboost" else "cuda"
    with pytest.raises(UsageError) as caught:
        build(name, "regression", {SETTINGS[name]: value}, seed=1)
    assert caught.value.field == f"params.hyperparameters.{SETTINGS[name]}"


@boosters
def test_a_device_that_is_here_reaches_the_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._PROBES, name, lambda _: "")
    for device in ("cuda", "gpu"):
        said = build(name, "regression", {}, seed=1, device=device).get_params()[SETTINGS[name]]
        assert said == ("GPU" if name == "catboost" else device)


@boosters
def test_on_the_cpu_nothing_is_set_that_the_user_did_not_set(name: str) -> None:
    assert build(name, "regression", {}, seed=1).get_params().get(SETTINGS[name]) is None
    own = "CPU" if name == "catboost" else "cpu"
    assert (
        build(name, "regression", {SETTINGS[name]: own}, seed=1, device="cuda").get_params()[SETTINGS[name]]
        == own
    )


@pytest.mark.parametrize("name", [booster("xgboost")])
def test_xgboost_for_the_cpu_is_told_from_one_without_a_device(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    xgboost = pytest.importorskip(name)
    if xgboost.build_info()["USE_CUDA"]:
        pytest.skip("this build has CUDA")
    assert "pip install xgboost" in devices._xgboost("cuda")
    # A build with CUDA on a machine without falls back in silence: what it used is in the fitted model.
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": True})
    assert "would use the cpu" in devices._xgboost.__wrapped__("cuda")
    assert "Invalid" in devices._xgboost.__wrapped__("tpu")
