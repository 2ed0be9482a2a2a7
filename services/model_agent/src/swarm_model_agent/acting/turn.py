"""A turn: the model is asked, its tools are run and it is asked again, until it has said something."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

import msgspec

from swarm_common import clock
from swarm_common.events.agent import Acted, Called, ToolUse
from swarm_common.llm import Message, Request, Response, ToolCall, Trouble, Usage, key
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.acting.spending import BudgetSpent
from swarm_model_agent.acting.tools import Bench
from swarm_model_agent.executors.core import Executor

Record = Callable[[Called], Awaitable[None]]
Paying = Callable[[Request], AbstractAsyncContextManager[None]]
Used = Callable[[ToolCall, ToolUse, int], None]
Priced = Callable[[Request, Response], float]


def free(_: Request) -> AbstractAsyncContextManager[None]:
    """Let any call be made."""
    return nullcontext()


async def take(
    task: str,
    params: ActParams,
    item: str,
    first: Request,
    executor: Executor,
    bench: Bench,
    *,
    before: Sequence[Called],
    record: Record,
    worker: str,
    paying: Paying = free,
    priced: Priced | None = None,
    recorded: bool = False,
    used: Used = lambda *_: None,
) -> Acted:
    """Return what an agent said, after as many calls as its tools took.

    Args:
        task: The task's name.
        params: The turn.
        item: The question's id.
        first: What the model is asked first.
        executor: Who answers.
        bench: The tools; run anew where ``before`` is not empty, for what they do is repeatable.
        before: Calls that were recorded by somebody who did not come to the end: these are not made again.
        record: Keeps a call before anything else is done.
        worker: This process.
        paying: Entered before a call and left when it is recorded; raises where it must not be made.
        priced: Says what a call cost where the endpoint does not.
        recorded: Whether the answers are an earlier run's.
        used: Told of each tool that was run: the call, what became of it, and when it began (nanoseconds since 1970).
    """
    began = time.perf_counter()
    known = {call.key: call for call in before}
    calls: list[Called] = []
    done: list[ToolUse] = []
    spent, why = False, ""
    asked = first
    while True:
        call = known.get(key(asked, executor.model))
        if call is None:
            try:
                async with paying(asked):
                    found = await executor.run(asked)
                    if found.cost_usd is None and priced is not None:
                        found = msgspec.structs.replace(found, cost_usd=priced(asked, found))
                    call = called(
                        task, params.agent, len(calls), executor.model, asked, found, recorded=recorded
                    )
                    await record(call)
            except BudgetSpent as error:
                spent, why = True, str(error)
                break
        calls.append(call)
        if call.trouble is not None or not call.tool_calls or len(calls) == params.rounds:
            break
        results = [_use(bench, wanted, used) for wanted in call.tool_calls]
        done.extend(results)
        asked = msgspec.structs.replace(
            asked,
            messages=(
                *asked.messages,
                Message(role="assistant", content=call.text, tool_calls=call.tool_calls),
                *(
                    Message(role="tool", tool_call_id=wanted.id, content=result.result)
                    for wanted, result in zip(call.tool_calls, results, strict=True)
                ),
            ),
        )
    trouble: Trouble | None = "budget_spent" if spent else calls[-1].trouble
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return Acted(
        task=task,
        agent=params.agent,
        role=params.role,
        item=item,
        purpose=params.purpose,
        heard=params.hears,
        parts=params.parts,
        text="" if trouble else calls[-1].text.strip(),
        calls=len(calls),
        tools=tuple(done),
        notes=bench.notes,
        usage=summed([call.usage for call in calls]),
        cost_usd=sum(costs) if costs else None,
        trouble=trouble,
        why=why or calls[-1].why,
        model_s=sum(call.timings.total_s for call in calls),
        elapsed_s=time.perf_counter() - began,
        worker=worker,
    )


def called(
    task: str, agent: str, number: int, model: str, asked: Request, found: Response, *, recorded: bool = False
) -> Called:
    """Return what is recorded of a call."""
    return Called(
        task=task,
        agent=agent,
        number=number,
        model=model,
        key=key(asked, model),
        request=asked,
        text=found.text,
        tool_calls=found.tool_calls,
        finish=found.finish,
        answered_by=found.model,
        usage=found.usage,
        timings=found.timings,
        trouble=found.trouble,
        why=found.why,
        cost_usd=found.cost_usd,
        raw=found.raw,
        recorded=recorded,
    )


def _use(bench: Bench, wanted: ToolCall, used: Used) -> ToolUse:
    began = clock.now_ns()
    result = bench.use(wanted)
    used(wanted, result, began)
    return result


def summed(usages: Sequence[Usage]) -> Usage:
    """Return the sum of token counts; it is from the provider where any of them is."""
    return Usage(
        input=sum(usage.input for usage in usages),
        cache_read=sum(usage.cache_read for usage in usages),
        cache_write=sum(usage.cache_write for usage in usages),
        output=sum(usage.output for usage in usages),
        reasoning=sum(usage.reasoning for usage in usages),
        source="provider" if any(usage.source == "provider" for usage in usages) else "none",
    )
