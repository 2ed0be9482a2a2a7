"""Configuration ``mle_star``: searches over whole pipelines side by side, and one answer of what the first has found.

Every arm has the same budget of evaluations on training rows. Policies are asked what comes next (``propose``), the
candidates are cross-validated (``evaluate``), until the budget is used up; scikit-learn's halving search is one task
with the same budget of fits. Held-out rows are opened when all searches have ended: each arm's best pipeline is
trained on all training rows and scored once. The best pipelines of the leading arm become members, and of all ways to
combine them the one with the least out-of-fold loss is taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events import Metric, Target, Task
from swarm_common.events.agent import CandidateEvaluated, DataPrepared, LeaksChecked
from swarm_common.events.metrics import Compared, Scored
from swarm_common.events.optimizer import Proposed
from swarm_coordinator.plans import Fact, Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.ensemble.cases import SIZES, TEST_FOLDS
from swarm_coordinator.suites.ensemble.results import ensemble_metrics, ensemble_result, mean_of, one
from swarm_coordinator.suites.ensemble.tasks import Plan, named, prepare_task, splits_of
from swarm_coordinator.suites.noop import seconds

_HALVING = "halving"
_LLM = "llm"
ARMS = ("mle_star", "random", "random_block", "tpe", _HALVING)
#: Arms that are there where they are asked for.
_MORE_ARMS = (_LLM,)
#: Reasons for a refusal that a result repeats; the events have all.
_REASONS = 20
_WHAT: Mapping[str, str] = {
    "mle_star": "recipes, then the block that ablation finds to matter most is refined",
    "random": "drawn evenly from the space",
    "random_block": "as mle_star without ablation: the block to refine is drawn",
    "tpe": "Optuna's tree-structured Parzen estimator",
    _LLM: "as mle_star, but a language model proposes how to vary the block; rules fill up what it leaves open",
    _HALVING: "scikit-learn's HalvingRandomSearchCV: many candidates on few rows, few on all",
}
_COMBINATION = "best"
#: These refine what they start from, and so always start from recipes.
_FROM_RECIPES = ("mle_star", "random_block", _LLM)
_TRANSFORM_LEAKS = ("unseen_rows", "not_repeatable")


class Arm(msgspec.Struct, frozen=True):
    """One search on one split, as far as it has come."""

    name: str
    evaluated: tuple[CandidateEvaluated, ...]
    done: bool
    missing: tuple[Task, ...] = ()
    """Tasks that come next and are not planned yet."""

    @property
    def ranked(self) -> list[CandidateEvaluated]:
        """Candidates that could be fitted: best score first, of equals the least loss, of those the first."""
        fitted = [(data.score, data.loss or 0.0, data) for data in self.evaluated if data.score is not None]
        return [data for _, _, data in sorted(fitted, key=lambda triple: (-triple[0], triple[1]))]


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the splits, the searches step by step, the final trainings and scores, then what all that has measured."""
    splits = _data(sofar)
    if sofar.step == 0:
        _check(sofar.params)
        prepare = (prepare_task(named("prepare", split), data) for split, data in enumerate(splits))
        return Step(tasks=tuple(msgspec.structs.replace(task, decides=True) for task in prepare))
    arms = {
        (split, name): _arm(sofar, split, data, name)
        for split, data in enumerate(splits)
        if named("prepare", split) in sofar.results
        for name in sofar.params["arms"]
    }
    missing = [task for arm in arms.values() for task in arm.missing]
    if (
        missing
        or len(arms) < len(splits) * len(sofar.params["arms"])
        or not all(arm.done for arm in arms.values())
    ):
        return Step(tasks=tuple(missing))
    final = list(_final(sofar, splits, arms))
    if not all(task.id in sofar.results for task in final):
        return Step(tasks=tuple(task for task in final if task.id not in sofar.planned))
    return Finish(result=_result(sofar, splits, arms), metrics=_metrics(sofar, splits, arms))


def _check(params: Mapping[str, Any]) -> None:
    if not params["arms"] or len(set(params["arms"])) != len(params["arms"]):
        raise UsageError(
            f"params.arms is {', '.join(params['arms']) or 'empty'}; name each arm once, at least one",
            field="params.arms",
            given=", ".join(params["arms"]),
            allowed=", ".join((*ARMS, *_MORE_ARMS)),
        )
    if _HALVING in params["arms"] and params["budget"] < 2:
        raise UsageError(
            "params.budget is 1; arm halving needs 2: one for its search, one for its best on all rows",
            field="params.budget",
            given="1",
            allowed="2 and more, or arms without halving",
        )
    for name in ("data", "target"):
        if bool(params[name]) != (params["dataset"] == "file"):
            raise UsageError(
                f"params.{name} goes with dataset file, and with no other; dataset is {params['dataset']}",
                field=f"params.{name}",
                given=str(params[name]),
            )


def _data(sofar: SoFar) -> list[dict[str, Any]]:
    """Return the parameters of the data, a set for each split."""
    params = sofar.params
    what = {"dataset": params["dataset"]}
    if params["dataset"] == "file":
        what |= {"file": params["data"], "target": params["target"]}
    return [{**what, **split} for split in splits_of(params, sofar.seed)]


def _prepared(sofar: SoFar, split: int = 0) -> DataPrepared:
    data = one(sofar, named("prepare", split), DataPrepared).data
    assert isinstance(data, DataPrepared)  # noqa: S101 - one() has looked
    return data


# -- the searches ------------------------------------------------------------------------------------------


def _arm(sofar: SoFar, split: int, data: dict[str, Any], name: str) -> Arm:
    """Return how far a search has come, and the tasks that it lacks."""
    arm = named(name, split)
    if name == _HALVING:
        return _halving(sofar, data, arm)
    needs: list[str] = []
    step = 0
    while True:
        propose = f"propose-{arm}-{step}"
        if propose not in sofar.planned:
            return Arm(name, _evaluated(sofar, needs), False, (_propose(sofar, split, name, step, needs),))
        proposed = sofar.results[propose].data if propose in sofar.results else None
        if not isinstance(proposed, Proposed) or proposed.done:
            return Arm(name, _evaluated(sofar, needs), proposed is not None)
        ids = [f"evaluate-{candidate.name}" for candidate in proposed.candidates]
        needs += ids
        if ids[0] not in sofar.planned:
            tasks = [
                _evaluate(sofar, data, arm, candidate.name, candidate.spec)
                for candidate in proposed.candidates
            ]
            following = _propose(sofar, split, name, step + 1, needs)
            return Arm(name, (), False, (*tasks, following))
        step += 1


def _evaluated(sofar: SoFar, needs: Sequence[str]) -> tuple[CandidateEvaluated, ...]:
    found = [sofar.results[name].data for name in needs if name in sofar.results]
    return tuple(data for data in found if isinstance(data, CandidateEvaluated))


#: Policies that have a kind of task of their own, for what they propose is not decided again by a replay.
_KINDS = {"tpe": "propose_tpe", _LLM: "propose_llm"}


def _propose(sofar: SoFar, split: int, name: str, step: int, needs: Sequence[str]) -> Task:
    prepared = _prepared(sofar, split)
    params = sofar.params
    arm = named(name, split)
    # What a language model has said cannot be made again from its outcome: the arm is told what was proposed.
    earlier = [f"propose-{arm}-{before}" for before in range(step)] if name == _LLM else []
    # The same draws as mle_star's, so that the two differ by the model's proposals alone.
    dice = {"dice": named("mle_star", split)} if name == _LLM else {}
    return Task(
        id=f"propose-{arm}-{step}",
        kind=_KINDS.get(name, "propose"),
        service="optimizer",
        after=(*needs, *earlier),
        decides=True,
        params={
            **dice,
            "arm": arm,
            "policy": name,
            "problem": prepared.problem,
            "n_features": prepared.n_features,
            "categorical": bool(prepared.categorical),
            "missing": prepared.missing > 0,
            "budget": params["budget"],
            "batch": params["batch"],
            "recipes": params["recipes"] or name in _FROM_RECIPES,
            "extra_models": params["extra_models"],
        },
    )


def _evaluate(sofar: SoFar, data: dict[str, Any], arm: str, candidate: str, spec: pipelines.Spec) -> Task:
    return Task(
        id=f"evaluate-{candidate}",
        kind="evaluate",
        service="model_agent",
        lane="cpu",
        params={
            **data,
            "arm": arm,
            "candidate": candidate,
            "spec": msgspec.to_builtins(spec),
            "folds": sofar.params["folds"],
        },
    )


def _halving(sofar: SoFar, data: dict[str, Any], arm: str) -> Arm:
    task = Task(
        id=f"search-{arm}",
        kind="halving_search",
        service="model_agent",
        lane="cpu",
        decides=True,
        params={
            **data,
            "arm": arm,
            "candidate": f"{arm}-best",
            "folds": sofar.params["folds"],
            "budget": sofar.params["budget"],
            "extra_models": sofar.params["extra_models"],
        },
    )
    planned = task.id in sofar.planned
    return Arm(_HALVING, _evaluated(sofar, [task.id]), task.id in sofar.results, () if planned else (task,))


# -- the end: held-out rows --------------------------------------------------------------------------------

Arms = Mapping[tuple[int, str], Arm]


def _lead(sofar: SoFar) -> str:
    """Return the arm whose pipelines are combined."""
    arms: list[str] = sofar.params["arms"]
    return arms[0] if "mle_star" not in arms else "mle_star"


def _others(sofar: SoFar, splits: Sequence[Any], arms: Arms) -> list[str]:
    """Return the other arms that found something on every split."""
    lead = _lead(sofar)
    return [
        name
        for name in sofar.params["arms"]
        if name != lead and all(arms[split, name].ranked for split in range(len(splits)))
    ]


def _members(sofar: SoFar, splits: Sequence[Any], arms: Arms) -> list[list[CandidateEvaluated]]:
    """Return the leading arm's pipelines that are combined, for each split, as many on each.

    The best comes first; then the best of each further type of model, for those err in other rows; then what is left.
    """
    lead = _lead(sofar)
    found = []
    for split in range(len(splits)):
        ranked = arms[split, lead].ranked
        if not ranked:
            reasons = next(
                (data.failed for data in arms[split, lead].evaluated if data.failed), "none was tried"
            )
            raise UsageError(
                f"arm {lead} found no pipeline that can be fitted: {reasons}", field="params.arms"
            )
        first: dict[str, CandidateEvaluated] = {}
        for data in ranked:
            first.setdefault(data.spec.model, data)
        rest = [data for data in ranked if data is not first[data.spec.model]]
        found.append([*first.values(), *rest][: sofar.params["top"]])
    most = min(len(members) for members in found)
    return [members[:most] for members in found]


def _final(sofar: SoFar, splits: Sequence[dict[str, Any]], arms: Arms) -> Iterator[Task]:
    """Yield the tasks that open the held-out rows, all at once, and the leak checks."""
    lead, others = _lead(sofar), _others(sofar, splits, arms)
    for split, (data, members) in enumerate(zip(splits, _members(sofar, splits, arms), strict=True)):
        prepare = named("prepare", split)
        train = [
            _train(
                sofar, split, data, lead if place == 0 else f"{lead}_{place + 1}", candidate.spec, folds=True
            )
            for place, candidate in enumerate(members)
        ]
        best = {name: arms[split, name].ranked[0] for name in others}
        alone = [_train(sofar, split, data, name, found.spec, folds=False) for name, found in best.items()]
        ids = tuple(task.id for task in train)
        yield from (*train, *alone)
        yield from _scored(split, "", _COMBINATION, (prepare, *ids), tuple(task.id for task in alone))
        if len(splits) > 1:
            for name in (lead, *others):
                yield from _scored(split, f"-{name}", "soft", (prepare, named(f"train-{name}", split)), ())
        checked = {pipelines.key(found.spec): found for found in (members[0], *best.values())}
        for found in checked.values():
            yield _leak_check(sofar, data, found)
    if len(splits) > 1:
        yield from _compared(sofar, splits, lead, others)


def _train(
    sofar: SoFar, split: int, data: dict[str, Any], name: str, spec: pipelines.Spec, *, folds: bool
) -> Task:
    return Task(
        id=named(f"train-{name}", split),
        kind="train",
        service="model_agent",
        lane="cpu",
        params={
            **data,
            "model": name,
            "spec": msgspec.to_builtins(spec),
            "folds": sofar.params["folds"] if folds else 0,
        },
    )


def _scored(
    split: int, suffix: str, strategy: str, needs: tuple[str, ...], beside: tuple[str, ...]
) -> tuple[Task, Task]:
    """Return the tasks that combine models and score the outcome, with others that only stand beside it."""
    combine = named(f"combine{suffix}", split)
    return (
        Task(id=combine, kind="combine", service="consensus", after=needs, params={"strategy": strategy}),
        Task(
            id=named(f"score{suffix}", split),
            kind="score",
            service="metrics",
            after=(*needs, *beside, combine),
        ),
    )


def _leak_check(sofar: SoFar, data: dict[str, Any], found: CandidateEvaluated) -> Task:
    return Task(
        id=f"leaks-{found.candidate}",
        kind="check_leaks",
        service="model_agent",
        lane="cpu",
        params={
            **data,
            "candidate": found.candidate,
            "spec": msgspec.to_builtins(found.spec),
            "folds": sofar.params["folds"],
        },
    )


def _compared(sofar: SoFar, splits: Sequence[Any], lead: str, others: Sequence[str]) -> Iterator[Task]:
    """Yield the comparisons over splits: the ensemble with its best member, the leading arm with each other."""
    every = range(len(splits))
    prepared = [named("prepare", split) for split in every]

    def compare(suffix: str, own: str, baseline: str) -> Task:
        other = [named(baseline, split) for split in every] if baseline else "best_single"
        mine = [named(own, split) for split in every]
        return Task(
            id=f"compare{suffix}",
            kind="compare",
            service="metrics",
            after=(*mine, *(other if isinstance(other, list) else ()), *prepared),
            params={"metric": _main(sofar), "baseline": other},
        )

    yield compare("", "score", "")
    for name in others:
        yield compare(f"-{name}", f"score-{lead}", f"score-{name}")


def _main(sofar: SoFar) -> str:
    return "accuracy" if _prepared(sofar).classes else "r2"


# -- what it comes to --------------------------------------------------------------------------------------


def _plan(sofar: SoFar, splits: Sequence[dict[str, Any]]) -> Plan:
    """Return the run's end as a plan, for its results are those of any ensemble."""
    prepared = _prepared(sofar)
    return Plan(
        data=tuple(splits),
        models=(),
        strategies=(_COMBINATION,),
        folds=sofar.params["folds"],
        rows=prepared.n_train,
        features=prepared.n_features,
        classes=len(prepared.classes),
    )


def _held_out(sofar: SoFar, splits: Sequence[Any], name: str) -> Metric:
    """Return the score of an arm's best pipeline on the held-out rows."""
    main = _main(sofar)
    facts = [one(sofar, named("score", split), Scored) for split in range(len(splits))]
    found = [
        next(metric for metric in fact.data.members[name] if metric.name == main)
        for fact in facts
        if isinstance(fact.data, Scored)
    ]
    over = mean_of(found)
    if "compare" in sofar.results:  # its intervals allow for splits that share rows
        compared = one(sofar, "compare", Compared).data
        assert isinstance(compared, Compared)  # noqa: S101 - one() has looked
        over = compared.members[name]
    source = tuple(fact.event for fact in facts)
    return msgspec.structs.replace(over, name=f"held_out.{name}", source=source)


def _metrics(sofar: SoFar, splits: Sequence[dict[str, Any]], arms: Arms) -> tuple[Metric, ...]:
    every = range(len(splits))
    searched = [_lead(sofar), *_others(sofar, splits, arms)]
    leaks = _leaks(sofar)
    source = tuple(fact.event for fact, _ in leaks)
    return (
        *ensemble_metrics(sofar, _plan(sofar, splits), _COMBINATION),
        *(_held_out(sofar, splits, name) for name in searched),
        *(
            Metric(
                name=f"cv.{name}",
                value=statistics.fmean(arms[split, name].ranked[0].score or 0.0 for split in every),
                unit="ratio",
                n=len(splits),
                estimator="the best candidate's mean over the folds, which chose it: too good by what choosing adds",
            )
            for name in searched
        ),
        *(
            Metric(
                name=f"search_cpu.{name}",
                value=sum(data.cpu_s for split in every for data in arms[split, name].evaluated),
                unit="s",
                better="lower",
                n=sum(len(arms[split, name].evaluated) for split in every),
                timing=True,
                estimator="sum over the evaluations of their workers' CPU time (getrusage)",
            )
            for name in sofar.params["arms"]
        ),
        Metric(
            name="leaks",
            value=float(sum(leak.kind in _TRANSFORM_LEAKS for _, data in leaks for leak in data.leaks)),
            unit="count",
            better="lower",
            n=len(leaks),
            estimator="pipelines that know rows they were not fitted to, or cannot be repeated",
            source=source,
        ),
        Metric(
            name="duplicate_rows",
            value=float(max(data.duplicates for _, data in leaks)),
            unit="count",
            better="lower",
            n=len(leaks),
            estimator="held-out rows with the features of a training row; largest of the splits",
            source=source,
        ),
        *_llm_tokens(sofar, splits),
        seconds(sofar.elapsed_s),
    )


def _asked(sofar: SoFar, splits: Sequence[Any]) -> list[tuple[Fact, Proposed]]:
    """Return the steps at which a language model was asked, over all splits."""
    found = []
    for split in range(len(splits)):
        step = 0
        while (task := f"propose-{named(_LLM, split)}-{step}") in sofar.results:
            fact = sofar.results[task]
            if isinstance(fact.data, Proposed) and fact.data.model:
                found.append((fact, fact.data))
            step += 1
    return found


def _llm_tokens(sofar: SoFar, splits: Sequence[Any]) -> Iterator[Metric]:
    """Yield what a language model read and wrote, where one was to be asked."""
    if _LLM not in sofar.params["arms"]:
        return
    asked = _asked(sofar, splits)
    counts = [
        data.tokens_in + data.tokens_out
        for _, data in asked
        if data.tokens_in is not None and data.tokens_out is not None
    ]
    counted = len(counts) == len(asked)
    yield Metric(
        name="tokens.llm",
        value=float(sum(counts)) if counted else None,
        unit="count",
        better="lower",
        n=len(asked),
        estimator="tokens of questions and answers, as the language model's server counted them",
        source=tuple(fact.event for fact, _ in asked),
        reason="" if counted else "the language model's server did not count them",
    )


def _leaks(sofar: SoFar) -> list[tuple[Fact, LeaksChecked]]:
    found = [sofar.results[name] for name in sorted(sofar.results)]
    return [(fact, fact.data) for fact in found if isinstance(fact.data, LeaksChecked)]


def _result(sofar: SoFar, splits: Sequence[dict[str, Any]], arms: Arms) -> dict[str, Any]:
    lead, others = _lead(sofar), _others(sofar, splits, arms)
    result = ensemble_result(sofar, _plan(sofar, splits), _COMBINATION)
    rows = [
        _arm_row(sofar, splits, arms, name, scored=name in (lead, *others)) for name in sofar.params["arms"]
    ]
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["arm"]))
    notes = list(result.get("notes", ()))
    if len(splits) == 1 and others:
        notes.append("One split: differences between arms are not tested; ask for 5 iterations or more.")
    first = ARMS[:-1] if sofar.params["recipes"] else tuple(name for name in ARMS if name in _FROM_RECIPES)
    if _LLM in sofar.params["arms"]:
        first = (*first, *(name for name in _MORE_ARMS if name not in first))
        notes.append(_llm_note(next(row["llm"] for row in rows if row["arm"] == _LLM)))
    notes.append(f"From recipes start {', '.join(first)}; the others draw from the whole space.")
    return {
        **result,
        "lead": lead,
        "budget": sofar.params["budget"],
        "arms": rows,
        "ablation": _ablation(sofar, lead),
        "leaks": [
            {"candidate": data.candidate, **msgspec.to_builtins(leak)}
            for _, data in _leaks(sofar)
            for leak in data.leaks
        ],
        "notes": notes,
    }


def _arm_row(sofar: SoFar, splits: Sequence[Any], arms: Arms, name: str, *, scored: bool) -> dict[str, Any]:
    """Return an arm as a row: its best pipeline's scores, what the search cost, and the leading arm beside it."""
    searches = [arms[split, name] for split in range(len(splits))]
    evaluated = [data for search in searches for data in search.evaluated]
    held_out = _held_out(sofar, splits, name) if scored else None
    best = [search.ranked[0] for search in searches] if scored else []
    described = [pipelines.describe(data.spec) for data in best]
    row: dict[str, Any] = {
        "arm": name,
        "what": _WHAT[name],
        "score": None if held_out is None else held_out.value,
        "low": None if held_out is None else held_out.low,
        "high": None if held_out is None else held_out.high,
        "cv": statistics.fmean(data.score or 0.0 for data in best) if best else None,
        "evaluations": sum(data.evaluations for data in evaluated),
        "failed": sum(bool(data.failed) for data in evaluated),
        "fits": sum(data.fits for data in evaluated),
        "cpu_s": sum(data.cpu_s for data in evaluated),
        "chosen": described[0] if len(described) == 1 else described,
        "candidates": [data.candidate for data in best],
        "specs": [msgspec.to_builtins(data.spec) for data in best],
        "best_so_far": _best_so_far(searches[0]),
    }
    if name == _LLM:
        row["llm"] = _llm_row(sofar, splits, evaluated, best)
    if f"compare-{name}" in sofar.results:
        compared = one(sofar, f"compare-{name}", Compared).data
        assert isinstance(compared, Compared)  # noqa: S101 - one() has looked
        row["lead_beside_it"] = msgspec.to_builtins(compared.comparison)
        row["lead_wins"] = sum(pair.ensemble > pair.baseline for pair in compared.pairs)
        row["lead_losses"] = sum(pair.ensemble < pair.baseline for pair in compared.pairs)
    return row


def _llm_row(
    sofar: SoFar,
    splits: Sequence[Any],
    evaluated: Sequence[CandidateEvaluated],
    best: Sequence[CandidateEvaluated],
) -> dict[str, Any]:
    """Return what came of asking a language model: how much of what it proposed was valid, evaluated, and the best."""
    asked = [data for _, data in _asked(sofar, splits)]
    valid = {candidate.name for data in asked for candidate in data.candidates if candidate.by == _LLM}
    refused = [reason for data in asked for reason in data.refused]
    return {
        "model": asked[0].model if asked else "",
        "asked": len(asked),
        "proposed": len(valid) + len(refused),
        "valid": len(valid),
        "evaluated": sum(data.candidate in valid for data in evaluated),
        "by_rules": sum(len(data.candidates) for data in asked) - len(valid),
        "best": sum(data.candidate in valid for data in best),
        "splits": len(splits),
        "refused": refused[:_REASONS],
    }


def _llm_note(row: Mapping[str, Any]) -> str:
    if not row["asked"]:
        return "Arm llm: the budget was used up before there was anything to ask the language model."
    times = "once" if row["asked"] == 1 else f"{row['asked']} times"
    return (
        f"Arm llm: of {row['proposed']} variations that {row['model']}, asked {times}, proposed, "
        f"{row['valid']} were valid and new and {row['evaluated']} were evaluated, {row['by_rules']} more by the "
        f"rules; the arm's best pipeline is the language model's on {row['best']} of {row['splits']} splits."
    )


def _best_so_far(search: Arm) -> list[float | None]:
    """Return the best score after each evaluation; ``None`` before the first that could be fitted."""
    best: float | None = None
    path = []
    for data in search.evaluated:
        if data.score is not None:
            best = data.score if best is None else max(best, data.score)
        path.append(best)
    return path


def _ablation(sofar: SoFar, lead: str) -> list[dict[str, Any]]:
    """Return the ablations of the leading arm on the first split: of what, what each block took, what came next."""
    rows: list[dict[str, Any]] = []
    step = 0
    while (task := f"propose-{lead}-{step}") in sofar.results:
        data = sofar.results[task].data
        if isinstance(data, Proposed) and data.phase == "refinement" and data.ablation:
            row = {"of": data.best, "drops": data.ablation, "refined": data.block}
            if not rows or rows[-1]["drops"] != row["drops"]:
                rows.append(row)
        step += 1
    return rows


_PARAMS = (
    Param(
        name="dataset",
        type="str",
        default="wine",
        choices=(*SIZES, "file"),
        description="whose pipelines are searched; file is your own table",
    ),
    Param(name="data", type="file", default="", description="of dataset file: CSV or Parquet"),
    Param(name="target", type="str", default="", description="of dataset file: the column to predict"),
    Param(
        name="budget",
        type="int",
        default=24,
        low=1,
        high=1000,
        description="evaluations of each arm, each a fit a fold",
    ),
    Param(
        name="arms",
        type="list",
        default=list(ARMS),
        choices=(*ARMS, *_MORE_ARMS),
        description="searches that run side by side; mle_star's pipelines, or the first one's, are combined",
    ),
    Param(
        name="top",
        type="int",
        default=3,
        low=1,
        high=20,
        description="pipelines that are combined in the end",
    ),
    Param(
        name="batch",
        type="int",
        default=3,
        low=1,
        high=64,
        description="candidates that a search proposes at a time",
    ),
    Param(
        name="recipes",
        type="bool",
        default=True,
        description="whether arms random and tpe start from the recipes, too, as mle_star and its control do",
    ),
    Param(
        name="extra_models",
        type="list",
        default=[],
        choices=tuple(pipelines.EXTRA_MODELS),
        description="types of model beside scikit-learn's that are searched",
    ),
    Param(
        name="iterations",
        type="int",
        default=1,
        low=1,
        high=100,
        description="how often all is done anew on another split; with 2 or more, arms are compared over splits",
    ),
    Param(
        name="folds",
        type="int",
        default=3,
        low=2,
        high=20,
        description="folds in which candidates are cross-validated",
    ),
    Param(
        name="test_share",
        type="float",
        default=0.2,
        low=0.05,
        high=0.5,
        description="share of rows held out until all searches have ended",
    ),
    TEST_FOLDS,
)

SCENARIOS: tuple[tuple[Scenario, Callable[[SoFar], Step | Finish]], ...] = (
    (
        Scenario(
            name="mle_star",
            description="Whole pipelines: recipes, ablation, refinement of the block that matters, combination; "
            "beside four other searches with the same budget",
            params=_PARAMS,
            targets=(Target(metric="leaks", op="==", target=0),),
            timeout_s=3600.0,
            timed_with={"arms": (_LLM,)},
        ),
        plan,
    ),
)

__all__ = ["ARMS", "SCENARIOS", "plan"]
