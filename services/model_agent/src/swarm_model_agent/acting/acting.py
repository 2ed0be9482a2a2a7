"""The task `act`: an agent's turn, with what it needs from the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from swarm_common import clock
from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events.agent import Acted, Called, TasksPosed, ToolUse
from swarm_common.llm import Request, Response, ToolCall
from swarm_common.runtime.service import Work
from swarm_common.tracing import Tracer
from swarm_model_agent.acting import prompting, spans, spending, tools, turn
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.executors.choosing import Executors
from swarm_model_agent.executors.core import Executor
from swarm_model_agent.params import read


async def act(work: Work, executors: Executors, tracer: Tracer, folder: Path, worker: str) -> Acted:
    """Take a turn and return what was said; where the run's budget is spent, a turn that says nothing but that.

    Args:
        work: The task, of kind `act`.
        executors: Of the service.
        tracer: Of the service.
        folder: Where the files of runs lie, a folder a run.
        worker: This process.

    Raises:
        UsageError: The task asks for what is not there.
        TaskFailed: The endpoint refuses us: nothing the swarm could do about.
    """
    params = read(work.task.params, ActParams)
    posed, before = await _inputs(work)
    heard = _heard(params, before)
    if not params.item < len(posed.items):
        raise UsageError(
            f"params.item is {params.item}; there are {len(posed.items)} questions, counted from 0",
            field="params.item",
            given=str(params.item),
        )
    item = posed.items[params.item]
    first = prompting.request(params, item, posed.family, heard, tools.tools_of(params.tools))

    async def calls(run: str) -> Sequence[Called]:
        events, _ = await work.history.since(run, Called, 0)
        return [event.data for event in events if isinstance(event.data, Called)]

    endpoint = executors.costs(params)
    if endpoint:
        spending.check(params, endpoint, counted=executors.counted(params))
    provider = spans.PROVIDERS[executors.kind(params)]
    executor = Traced(await executors.of(params, calls, work.task.task), tracer, provider)
    with tracer.span(f"invoke_agent {params.agent}", "", kind="internal") as span:
        said = await turn.take(
            work.task.task,
            params,
            item.id,
            first,
            executor,
            tools.Bench(
                "\n".join([item.question, *item.parts]), folder / work.event.run, _notes(before.values())
            ),
            before=await work.recorded(Called),
            record=work.record,
            worker=worker,
            paying=_paying(work, params, executors, endpoint),
            priced=executors.price.of if endpoint and executors.price else None,
            recorded=params.executor == "recorded",
            used=executor.used,
        )
        if tracer.exports:
            span.tell(spans.invoke_agent(said, work.event.run, provider))
    if said.trouble == "unauthorized":
        raise TaskFailed(said.why, retryable=False)
    return said


def _paying(work: Work, params: ActParams, executors: Executors, endpoint: str) -> turn.Paying:
    """Return what is entered before each call: a purse, where the run has a budget that this call can count for."""
    usd = params.budget_usd if endpoint else None
    if executors.kind(params) == "recorded" or (usd is None and params.budget_tokens is None):
        return turn.free
    budget = spending.Budget(usd, params.budget_tokens)
    run = work.event.run

    def paying(asked: Request) -> AbstractAsyncContextManager[None]:
        most_usd = None if executors.price is None else executors.price.most(asked)
        return executors.purse(run).paying(run, work.history, most_usd, spending.most_tokens(asked), budget)

    return paying


async def _inputs(work: Work) -> tuple[TasksPosed, dict[str, Acted]]:
    """Return the questions, and the turns that this one comes after, in the order of ``needs``."""
    inputs = [event.data for event in await work.inputs()]
    posed = [data for data in inputs if isinstance(data, TasksPosed)]
    if len(posed) != 1:
        raise UsageError(f"the task needs one agent.tasks_posed; it has {len(posed)}", field="needs")
    return posed[0], {data.task: data for data in inputs if isinstance(data, Acted)}


def _heard(params: ActParams, before: Mapping[str, Acted]) -> list[Acted]:
    missing = [name for name in params.hears if name not in before]
    if missing:
        raise UsageError(
            f"params.hears names {', '.join(missing)}, which the task does not need; needs must name it, too",
            field="params.hears",
            given=", ".join(missing),
        )
    return [before[name] for name in params.hears]


def _notes(before: Iterable[Acted]) -> dict[str, str]:
    """Return what is remembered before a turn; of two notes under one key, the later turn's in the order of needs."""
    return {key: note for said in before for key, note in said.notes.items()}


class Traced:
    """An executor whose calls are spans, and those of the tools that it asked for."""

    def __init__(self, executor: Executor, tracer: Tracer, provider: str) -> None:
        self.model = executor.model
        self._executor = executor
        self._tracer = tracer
        self._provider = provider

    async def run(self, request: Request) -> Response:
        """Ask, and make the span of it."""
        began = clock.now_ns()
        found = await self._executor.run(request)
        if self._tracer.exports:
            self._tracer.past(
                f"chat {self.model}",
                "",
                began,
                clock.now_ns(),
                kind="client",
                attributes=spans.chat(request, found, self.model, self._provider),
            )
        return found

    def used(self, call: ToolCall, use: ToolUse, began_ns: int) -> None:
        """Make the span of a tool that was run."""
        if self._tracer.exports:
            self._tracer.past(
                f"execute_tool {call.name if call.name in tools.TOOLS else 'unknown'}",
                "",
                began_ns,
                clock.now_ns(),
                attributes=spans.execute_tool(call, use),
            )

    async def close(self) -> None:
        """Nothing of its own is held."""
