"""Optuna's TPE over our space. Optuna is an extra, and loaded when it is asked for."""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import TYPE_CHECKING, Any

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.pipelines import Choice, Float, Int, Space, Spec

if TYPE_CHECKING:
    from types import ModuleType

    from swarm_optimizer.search.steps import Ground, Trial

#: Trials that TPE wants to have seen before it models them (Optuna's default), or half the budget if that is less.
_STARTUP = 10


def ask(ground: Ground) -> list[Spec]:
    """Return the next batch: a study is built from the trials so far and asked, with a seed of this place in it.

    Of a batch, each pipeline is asked for with those before it counted as bad (``constant_liar``), so that they differ.
    A pipeline that is known already is not proposed again. Raises :class:`UsageError` where Optuna is not installed.
    """
    optuna = _optuna()
    startup = min(_STARTUP, max(1, ground.budget // 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=_seed(ground.seed, ground.arm, len(ground.trials)),
            n_startup_trials=startup,
            constant_liar=True,
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in ground.trials:
        study.add_trial(_told(optuna, ground.space, trial))
    specs = [
        ground.fresh(lambda: _suggest(study.ask(), ground.space))
        for _ in range(min(ground.batch, ground.left))
    ]
    return [spec for spec in specs if spec is not None]


def _optuna() -> ModuleType:
    try:
        import optuna  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            "policy tpe needs Optuna, which is not installed here: pip install 'swarm-optimizer[search]', "
            "or leave tpe out of params.arms",
            field="params.policy",
            given="tpe",
            allowed="mle_star, random, random_block",
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    module: ModuleType = optuna
    return module


def _seed(seed: int, arm: str, place: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{arm}/{place}".encode()).digest()[:4], "little")


def _suggest(trial: Any, space: Space) -> Spec:
    """Return a pipeline: Optuna chooses block by block, then the hyperparameters that the model has."""
    chosen = {
        block: trial.suggest_categorical(block, options) if len(options) > 1 else options[0]
        for block, options in space.choices.items()
    }
    model = space.models[chosen["model"]]
    hyperparameters = dict(model.plain)
    for name, range_ in model.ranges.items():
        label = f"{chosen['model']}.{name}"
        match range_:
            case Int(low, high, log):
                hyperparameters[name] = trial.suggest_int(label, low, high, log=log)
            case Float(low, high, log):
                hyperparameters[name] = pipelines.rounded(
                    range_, trial.suggest_float(label, low, high, log=log)
                )
            case Choice(options):
                hyperparameters[name] = json.loads(trial.suggest_categorical(label, _texts(options)))
    return Spec(**chosen, hyperparameters=hyperparameters)


def _told(optuna: ModuleType, space: Space, trial: Trial) -> Any:
    """Return one of our trials as Optuna keeps them. One that could not be fitted has no value to learn from."""
    params: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    kinds = optuna.distributions
    for block, options in space.choices.items():
        if len(options) > 1:
            params[block] = getattr(trial.spec, block)
            distributions[block] = kinds.CategoricalDistribution(options)
    ranges = space.models[trial.spec.model].ranges
    for name, value in trial.spec.hyperparameters.items():
        label = f"{trial.spec.model}.{name}"
        match ranges.get(name):
            case Int(low, high, log):
                params[label], distributions[label] = value, kinds.IntDistribution(low, high, log=log)
            case Float(low, high, log):
                params[label], distributions[label] = value, kinds.FloatDistribution(low, high, log=log)
            case Choice(options):
                texts = _texts(options)
                params[label], distributions[label] = json.dumps(value), kinds.CategoricalDistribution(texts)
    state = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=state.FAIL if trial.failed else state.COMPLETE,
        value=None if trial.failed else trial.score,
        params=params,
        distributions=distributions,
    )


def _texts(options: tuple[Any, ...]) -> tuple[str, ...]:
    """Return choices as Optuna takes them: it has no lists."""
    return tuple(json.dumps(option) for option in options)
