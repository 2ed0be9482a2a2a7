"""How a language model is asked for variations of a block, and how its answer is read. Pure: no model is called here.

It is told the problem, the block with what is allowed in it, and what was evaluated; of the data nothing else: no row
and no column's name. Whatever it answers is material: what is no valid and new variation of the block is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.pipelines import Choice, Float, Int, Range, Space, Spec
from swarm_optimizer.search.steps import Question, Trial, best_of

#: Evaluated pipelines that a question shows, beside the best.
_SHOWN = 6
#: Variations of an answer that are looked at.
_MOST = 64
_LONGEST = 160
_HYPERPARAMETERS = "hyperparameters"

_SYSTEM = (
    "You improve machine-learning pipelines. You answer with one JSON object and nothing else, "
    "and use only what is allowed."
)


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    variations: Annotated[list[dict[str, Any]], Meta(max_length=_MOST)]


class Told(msgspec.Struct, frozen=True):
    """What an answer comes to."""

    specs: tuple[Spec, ...]
    """The best pipeline with the block varied: valid, new, and each once."""
    refused: tuple[str, ...]
    """What of the answer could not be used, and why."""


def messages(space: Space, trials: Sequence[Trial], question: Question) -> list[dict[str, str]]:
    """Return the question as messages of a chat."""
    best = best_of(trials)
    lines = [
        f"Problem: {space.problem} on a table of {space.n_features} features.",
        f"The best pipeline so far has score {_score(best)} (cross-validated, higher is better):",
        _json(msgspec.to_builtins(question.base)),
        "Evaluated lately:",
        *(f"score {_score(trial)}: {pipelines.describe(trial.spec)}" for trial in trials[-_SHOWN:]),
        f"Vary only the block {question.block!r}. Now it is {_json(_now(question))}.",
        *_allowed(space, question),
        f"Propose {question.count} different variations of {question.block!r} that may score higher.",
        'Answer: {"variations": [...]}, each an object such as ' + _json(_example(space, question)),
    ]
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": "\n".join(lines)}]


def schema(space: Space, question: Question) -> dict[str, Any]:
    """Return the JSON schema of an answer."""
    block = question.block
    if block == _HYPERPARAMETERS:
        ranges = space.models[question.base.model].ranges
        value = _object({name: _range_schema(range_) for name, range_ in ranges.items()})
    else:
        value = {"type": "string", "enum": _others(space, question)}
    variation = _object({block: value})
    several = {"type": "array", "items": variation, "minItems": 1, "maxItems": question.count}
    return _object({"variations": several})


def read(text: str, space: Space, question: Question) -> Told:
    """Return the variations that an answer proposes, as far as they are of use, and why the others are not.

    The text has to be JSON as the schema says. A variation names the block and nothing else, lies in the space, and was
    not proposed before; with another model may come hyperparameters. No error is raised, whatever the text is.
    """
    try:
        answer = msgspec.json.decode(text, type=_Answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return Told((), (f"the answer is not what was asked for: {_short(error)}",))
    found: dict[str, Spec] = {}
    refused = []
    for variation in answer.variations:
        try:
            spec = _varied(space, question, variation)
            key = pipelines.key(spec)
            if key in found or key in question.known:
                raise UsageError("it was proposed already")
            if len(found) == question.count:
                raise UsageError(f"{question.count} were asked for")
        except UsageError as error:
            refused.append(f"{_short(_json(variation))}: {_short(error)}")
        else:
            found[key] = spec
    return Told(tuple(found.values()), tuple(refused))


def _varied(space: Space, question: Question, variation: Mapping[str, Any]) -> Spec:
    """Return the best pipeline with the block as proposed; raises :class:`UsageError` where that is no variation."""
    block, base = question.block, question.base
    for name in variation:
        if name != block and (block, name) != ("model", _HYPERPARAMETERS):
            raise UsageError(f"it changes {_short(name)}; asked for was {block}")
    if block not in variation:
        raise UsageError(f"it does not say {block}")
    spec = pipelines.read_spec({**msgspec.to_builtins(base), **variation}, "variation")
    if block != _HYPERPARAMETERS and getattr(spec, block) == getattr(base, block):
        raise UsageError("it changes nothing")
    if _HYPERPARAMETERS not in variation and block != "model":
        pipelines.check(space, spec)
        return spec
    if spec.model not in space.models:
        pipelines.check(space, replace(spec, hyperparameters={}))  # says which models there are
    model = space.models[spec.model]
    given = dict(variation.get(_HYPERPARAMETERS, {}))
    for name in given:
        if name not in model.ranges:
            raise UsageError(f"{_short(name)} is not varied; there are {', '.join(model.ranges)}")
    start = base.hyperparameters if block == _HYPERPARAMETERS else {}
    pipelines.check(space, replace(spec, hyperparameters=given))
    exact = {name: _exact(model.ranges[name], value) for name, value in given.items()}
    if block == _HYPERPARAMETERS and all(start.get(name) == value for name, value in exact.items()):
        raise UsageError("it changes nothing")
    return replace(spec, hyperparameters={**model.plain, **start, **exact})


def _exact(range_: Range, value: Any) -> Any:
    """Return a valid value as the rules would say it, so that what is the same has the same key."""
    return pipelines.rounded(range_, float(value)) if isinstance(range_, Float) else value


def _allowed(space: Space, question: Question) -> list[str]:
    if question.block != _HYPERPARAMETERS:
        return [f"Allowed: {', '.join(_others(space, question))}."]
    ranges = space.models[question.base.model].ranges
    return ["Allowed:", *(f"{name}: {pipelines.range_text(range_)}" for name, range_ in ranges.items())]


def _others(space: Space, question: Question) -> list[str]:
    """Return what can stand in the block and does not; but for models, without what was proposed already."""
    block, base = question.block, question.base
    others = [option for option in space.choices[block] if option != getattr(base, block)]
    new = [
        option for option in others if pipelines.key(replace(base, **{block: option})) not in question.known
    ]
    return others if block == "model" else new or others


def _now(question: Question) -> Any:
    return getattr(question.base, question.block)


def _example(space: Space, question: Question) -> dict[str, Any]:
    if question.block != _HYPERPARAMETERS:
        return {question.block: _others(space, question)[0]}
    name, range_ = next(iter(space.models[question.base.model].ranges.items()))
    return {question.block: {name: range_.options[0] if isinstance(range_, Choice) else range_.low}}


def _range_schema(range_: Range) -> dict[str, Any]:
    match range_:
        case Choice(options):
            return {"enum": list(options)}
        case Int(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case Float(low, high):
            return {"type": "number", "minimum": low, "maximum": high}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _score(trial: Trial | None) -> str:
    return "none, it could not be fitted" if trial is None or trial.failed else f"{trial.score:.4f}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(what: object) -> str:
    text = str(what)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
