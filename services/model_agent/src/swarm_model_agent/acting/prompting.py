"""What an agent is asked: its instructions, examples, what it heard, and the question. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from swarm_common.errors import UsageError
from swarm_common.events.agent import Acted, Item
from swarm_common.llm import Constraint, Limits, Message, Request, Sampling, Tool
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.families import examples, guide, stage_examples

#: Characters of what may stand in a line with others.
_SHORT = 60


def request(
    params: ActParams, item: Item, family: str, heard: Sequence[Acted], tools: Sequence[Tool] = ()
) -> Request:
    """Return the first request of a turn.

    Args:
        params: The turn.
        item: The question.
        family: Whose guide and examples stand before it; a user's file has none.
        heard: What ``params.hears`` said, in that order.
        tools: That the agent may use.

    Raises:
        UsageError: The question has no such piece or stage.
    """
    told = [guide(family)] if params.guide and guide(family) else []
    return Request(
        instructions="\n".join([*([params.instructions] if params.instructions else []), *told]),
        messages=(
            *(_shots(family, params.stage) if params.guide else ()),
            Message(role="user", content=_content(params, item, heard)),
        ),
        tools=tuple(tools),
        constraint=_form(params, item),
        sampling=Sampling(temperature=params.temperature, seed=params.seed, max_tokens=params.max_tokens),
        limits=Limits(time_s=params.time_s, tries=params.tries),
        repeat=params.repeat,
    )


@lru_cache(maxsize=64)
def _shots(family: str, stage: int | None) -> tuple[Message, ...]:
    """Return examples as turns of a conversation: of whole questions and pieces, or of a stage; kept once made."""
    whole = ((item.question, item.answer) for item in (examples(family) if stage is None else ()))
    return tuple(
        message
        for asked, said in (whole if stage is None else stage_examples(family, stage))
        for message in (Message(role="user", content=asked), Message(role="assistant", content=said))
    )


def _content(params: ActParams, item: Item, heard: Sequence[Acted]) -> str:
    pieces = _pieces(params, item)
    if params.stage is not None:
        _within(params.stage, item.stages, "stage", item)
        before = [f"Word: {heard[-1].text}"] if params.stage and heard else []
        return "\n".join([*before, item.stages[params.stage]])
    if len(pieces) == 1:
        return "\n".join([*_said(heard), pieces[0]])
    return "\n".join([*_said(heard), *pieces, item.question])


def _pieces(params: ActParams, item: Item) -> list[str]:
    for part in params.parts:
        _within(part, item.parts, "piece", item)
    return [item.parts[part] for part in params.parts]


def _within(place: int, of: Sequence[str], what: str, item: Item) -> None:
    if not 0 <= place < len(of):
        raise UsageError(
            f"question {item.id} has no {what} {place}; it has {len(of)}, counted from 0",
            field=f"params.{what}s",
            given=str(place),
            allowed=f"0 to {len(of) - 1}",
        )


def _said(heard: Sequence[Acted]) -> list[str]:
    """Return what others say, without their names: who was free to say it is no part of the question.

    Short answers stand in one line: small models make more of that than of a list.
    """
    said = [one.text for one in heard if one.text]
    if not said:
        return []
    if all(len(text) <= _SHORT and "\n" not in text for text in said):
        return [f"Others say: {', '.join(said)}."]
    return ["Others say:", *(f"- {text}" for text in said)]


def _form(params: ActParams, item: Item) -> Constraint | None:
    if params.tools:
        return None  # a form would keep the model from calling a tool
    if params.stage is not None:
        return item.stage_constraints[params.stage] if item.stage_constraints else None
    return item.part_constraint if len(params.parts) == 1 else item.constraint
