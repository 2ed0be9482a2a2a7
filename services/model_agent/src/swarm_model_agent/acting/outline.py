"""What an endpoint and a run's questions look like from outside, so that a run can be priced before it begins."""

from __future__ import annotations

from typing import Any

from swarm_common.events.agent import Item, TasksPosed
from swarm_common.llm import Choices
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.executors.choosing import Executors
from swarm_model_agent.families import examples, guide

#: Questions that are looked at: more only repeat what these tell.
MOST_ITEMS = 60


def endpoint(executors: Executors, executor: Any, model: str) -> dict[str, Any]:
    """Return whether asking may cost money (its endpoint in words, empty where not), and what a million tokens do."""
    params = ActParams(agent="outline", item=0, executor=executor, model=model)
    price = executors.price
    return {
        "paid": executors.costs(params),
        "counted": executors.counted(params),
        "price": None if price is None else [price.read, price.written],
    }


def questions(posed: TasksPosed) -> dict[str, Any]:
    """Return how long the questions are, in characters, and of what shape; never their words."""
    shots = sum(len(one.question) + len(one.answer) for one in examples(posed.family))
    return {"guide": len(guide(posed.family)) + shots, "items": [_item(item) for item in posed.items]}


def _item(item: Item) -> dict[str, Any]:
    return {
        "question": len(item.question),
        "parts": [len(part) for part in item.parts],
        "stages": [len(stage) for stage in item.stages],
        "choice": isinstance(item.constraint, Choices),
    }
