"""Scores of several splits, paired and compared: what the task ``compare`` makes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import commonprefix
from typing import Any

from swarm_common.errors import UsageError
from swarm_common.events import Metric
from swarm_common.events.agent import DataPrepared
from swarm_common.events.metrics import Compared, Pair, Scored
from swarm_metrics.comparing import compare_splits, over_splits

BEST_SINGLE = "best_single"


def compare(
    task: str, params: Mapping[str, Any], scored: Sequence[Scored], prepared: Sequence[DataPrepared]
) -> Compared:
    """Return the comparison that ``params`` ask for; ``elapsed_s`` is 0.

    ``metric`` is the name of a metric; ``baseline`` is ``best_single`` (the model that each split's scoring names) or a
    list of the tasks among ``scored`` that are the other side, paired in order with the rest; ``train_rows`` and
    ``test_rows`` are those of each split, where ``prepared`` does not say them; ``test_rows`` 0 says that the splits
    share no rows. Raises :class:`UsageError` for what does not go together, and for a metric that was not measured on
    every split.
    """
    name = _metric_param(params)
    own, other = _sides(scored, params.get("baseline", BEST_SINGLE))
    ratio = _ratio(params, prepared)
    ensemble = [_named(one.metrics, name, one.task) for one in own]
    models = [_best_of(one) for one in own] if other is None else [one.task for one in other]
    baseline = (
        [_named(one.members[model], name, one.task) for one, model in zip(own, models, strict=True)]
        if other is None
        else [_named(one.metrics, name, one.task) for one in other]
    )
    pairs = tuple(
        Pair(ensemble=_value(left), baseline=_value(right), model=model)
        for left, right, model in zip(ensemble, baseline, models, strict=True)
    )
    everywhere = [model for model in own[0].members if all(model in one.members for one in own)]
    return Compared(
        task=task,
        metric=name,
        pairs=pairs,
        ensemble=over_splits(ensemble, ratio),
        baseline=over_splits(baseline, ratio),
        members={
            model: over_splits([_named(one.members[model], name, one.task) for one in own], ratio)
            for model in everywhere
        },
        comparison=compare_splits(
            pairs,
            metric=ensemble[0],
            baseline=_name_of(models) if other is None else _stem_of(models),
            ratio=ratio,
            single=own[0].versus_best if other is None else None,
        ),
        elapsed_s=0.0,
    )


def _name_of(models: Sequence[str]) -> str:
    return models[0] if len(set(models)) == 1 else "best single"


def _stem_of(tasks: Sequence[str]) -> str:
    """Return what the tasks' names have in common: ``random`` of ``score-random`` and ``score-random-2``."""
    words = commonprefix([task.split("-") for task in tasks])  # noqa: RUF071 - no paths: their words are compared
    return "-".join(words).removeprefix("score-") or ", ".join(tasks)


def _metric_param(params: Mapping[str, Any]) -> str:
    name = params.get("metric")
    if not isinstance(name, str) or not name:
        raise UsageError(
            f"params.metric is {name!r}; name the metric to compare, as metrics.scored has it",
            field="params.metric",
            given=str(name),
            allowed="accuracy, r2, ...",
        )
    return name


def _sides(scored: Sequence[Scored], given: Any) -> tuple[list[Scored], list[Scored] | None]:
    """Return the splits of the one side, and of the other where those are tasks of their own."""
    by_task = {one.task: one for one in scored}
    if not by_task:
        raise UsageError("the task needs at least one metrics.scored; it has none", field="needs")
    if given == BEST_SINGLE:
        return list(by_task.values()), None
    if not isinstance(given, list) or not all(task in by_task for task in given):
        raise UsageError(
            f"params.baseline is {given!r}; it is best_single, or a list of tasks of kind score among the needs",
            field="params.baseline",
            given=str(given),
            allowed=", ".join([BEST_SINGLE, *by_task]),
        )
    own = [data for task, data in by_task.items() if task not in given]
    if not own or len(own) != len(given):
        raise UsageError(
            f"params.baseline names {len(given)} of {len(by_task)} scored splits; each other one needs one beside it",
            field="params.baseline",
            given=", ".join(given),
        )
    return own, [by_task[task] for task in given]


def _best_of(scored: Scored) -> str:
    if scored.best_single:
        return scored.best_single
    reason = scored.best_single_reason or "it was scored by an older version"
    raise UsageError(
        f"{scored.task} names no best single model ({reason}); train with params.folds of 2 or more",
        field="params.baseline",
        given=BEST_SINGLE,
    )


def _ratio(params: Mapping[str, Any], prepared: Sequence[DataPrepared]) -> float:
    """Return test rows by training rows: the largest of the splits, which claims least.

    0 test rows say that the splits share no rows and nothing is to be corrected: streams drawn anew, say.
    """
    train, test = params.get("train_rows"), params.get("test_rows")
    sizes = (
        [(data.n_train, data.n_test) for data in prepared]
        if train is None or test is None
        else [(train, test)]
    )
    if not sizes or not all(
        isinstance(rows, int) and not isinstance(rows, bool) and rows >= least
        for size in sizes
        for rows, least in zip(size, (1, 0), strict=True)
    ):
        raise UsageError(
            f"params.train_rows is {train!r} and params.test_rows {test!r}; give both, at least 1 and 0,"
            " or let the task need each split's agent.data_prepared",
            field="params.train_rows",
            given=f"{train}, {test}",
            allowed="1 and more",
        )
    return max(tested / trained for trained, tested in sizes)


def _named(metrics: Sequence[Metric], name: str, task: str) -> Metric:
    found = next((metric for metric in metrics if metric.name == name), None)
    if found is None:
        allowed = ", ".join(metric.name for metric in metrics)
        raise UsageError(
            f"{task} has no metric {name!r}; it has {allowed}",
            field="params.metric",
            given=name,
            allowed=allowed,
        )
    return found


def _value(metric: Metric) -> float:
    if metric.value is None:
        raise UsageError(
            f"{metric.name} could not be measured on every split ({metric.reason}); compare another metric",
            field="params.metric",
            given=metric.name,
        )
    return metric.value
