"""What the embedded model can do: each family's questions of a split, asked in several ways, beside guessing.

*bare*: the question alone. *guide*: behind the family's guide and examples. *role*: behind those and the instructions
of a worker's usual role, as the suite ``coordination`` asks one agent alone. *apart*: as *guide*, but piece by piece or
stage by stage, and a program joins what is said: what a team could reach whose members join without a mistake.

Answers at temperature 0 are the same each time, so a figure has no spread but that of the questions: the interval is
Wilson's, or the bootstrap over questions where a checker gives partial credit. ``SPLIT=train python bench/families.py``
is for those who write a guide: tuned on ``train``, chosen on ``validation``, and ``test`` is left to the suite.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from kit.cli import alone, run_async
from kit.measure import Bench, Row
from msgspec.structs import replace

from swarm_common.events.agent import Acted, Item
from swarm_common.llm import Choices, Usage
from swarm_coordinator.suites.coordination.data import own
from swarm_coordinator.suites.coordination.intervals import share
from swarm_coordinator.suites.coordination.params import WORK
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.acting.prompting import request
from swarm_model_agent.executors.choosing import Embedded
from swarm_model_agent.families import FAMILIES
from swarm_model_agent.families.checking import grade
from swarm_model_agent.families.core import LEAST, Family, pool

_LIMIT_S = 7200.0
_QUICK = 12
#: Tokens of an answer, as the suite has it.
_LONGEST = 64
Ask = Callable[[ActParams, Item, Sequence[str]], Awaitable[str]]


def _params(**given: object) -> ActParams:
    return ActParams(
        agent="a", item=0, executor="embedded", temperature=0.0, seed=42, max_tokens=_LONGEST, **given
    )  # type: ignore[arg-type]


def _ways() -> dict[str, ActParams]:
    """Return the turns in which a whole question is asked, by the way's name."""
    return {
        "bare": _params(guide=False),
        "guide": _params(),
        "role": _params(role=WORK, instructions=own().roles[WORK].instructions),
    }


async def _whole(ask: Ask, params: ActParams, item: Item) -> str:
    return await ask(replace(params, parts=tuple(range(len(item.parts)))), item, ())


async def _apart(ask: Ask, params: ActParams, item: Item) -> str:
    """Return what is said of the pieces, joined by a program, or of the last stage."""
    if item.stages:
        said = ""
        for stage in range(len(item.stages)):
            said = await ask(replace(params, stage=stage), item, (said,) if stage else ())
        return said
    found = [await ask(replace(params, parts=(part,)), item, ()) for part in range(len(item.parts))]
    if isinstance(item.part_constraint, Choices):
        (most, _), *_ = Counter(found).most_common()
        return most
    return ", ".join(found)


def _heard(text: str) -> Acted:
    return Acted(
        task="t", agent="b", role="", item="", purpose="answer", text=text, calls=1, usage=Usage(), model_s=0.0,
        elapsed_s=0.0, worker="",
    )  # fmt: skip


def _row(family: Family, way: str, scores: Sequence[float]) -> Row:
    found = share(scores, 42, f"{family.name}/{way}")
    told = "above" if found.low > family.chance else "below" if found.high < family.chance else "at"
    # A floor is what it fails at, a ceiling what it cannot fail at; a control that is neither controls nothing.
    target = {"floor": "< 0.1", "ceiling": "> 0.9"}.get(family.control, "") if way == "guide" else ""
    return Row(
        name=f"{family.name} {way}",
        what=f"[{found.low:.2f}, {found.high:.2f}] of {len(scores)}, {told} chance ({family.chance:.2f})",
        unit="right",
        samples=(found.value,),
        target=target,
    )


def _show(row: Row) -> None:
    """Tell of a row when it is known: on a busy machine the last one may be an hour away."""
    print(f"{row.name}: {row.median:.2f} {row.what}", file=sys.stderr, flush=True)


async def _measure(quick: bool) -> tuple[list[Row], list[str]]:
    model = Embedded()
    split = os.environ.get("SPLIT", "validation")
    named = os.environ.get("FAMILIES", "").split(",")
    rows: list[Row] = []
    tokens = 0

    async def ask(params: ActParams, item: Item, heard: Sequence[str]) -> str:
        nonlocal tokens
        found = await model.run(request(params, item, item.id.split("/")[0], [_heard(one) for one in heard]))
        if found.trouble is not None:
            raise RuntimeError(f"the embedded model failed: {found.why}")
        tokens += found.usage.total
        return found.text.strip()

    try:
        for name, family in FAMILIES.items():
            if named != [""] and name not in named:
                continue
            items = pool(family)[split][: _QUICK if quick else LEAST]
            for way, params in _ways().items():
                scores = [grade(item, await _whole(ask, params, item)).score for item in items]
                rows.append(_row(family, way, scores))
                _show(rows[-1])
            if items[0].parts or items[0].stages:
                scores = [grade(item, await _apart(ask, _params(), item)).score for item in items]
                rows.append(_row(family, "apart", scores))
                _show(rows[-1])
    finally:
        await model.close()
    return rows, [f"split {split}; {tokens:,} tokens of {model.model}, temperature 0"]


def run(quick: bool) -> tuple[list[Row], list[str]]:
    return run_async(_measure(quick), limit_s=_LIMIT_S)


BENCH = Bench("families", "what the embedded model can do, beside guessing", run)

if __name__ == "__main__":
    alone(BENCH)
