"""The task `act`: an agent's turn, with what it needs from the run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from swarm_common import clock
from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events.agent import Acted, Called, TasksPosed
from swarm_common.llm import Request, Response
from swarm_common.runtime.service import Work
from swarm_common.tracing import Attributes, Tracer
from swarm_model_agent.acting import prompting, spending, tools, turn
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.executors.choosing import Executors
from swarm_model_agent.executors.core import Executor
from swarm_model_agent.params import read


async def act(work: Work, executors: Executors, tracer: Tracer, folder: Path, worker: str) -> Acted:
    """Take a turn and return what was said.

    Args:
        work: The task, of kind `act`.
        executors: Of the service.
        tracer: Of the service.
        folder: Where the files of runs lie, a folder a run.
        worker: This process.

    Raises:
        UsageError: The task asks for what is not there.
        TaskFailed: The endpoint refuses us, or the run's budget is spent: nothing the swarm could do about.
    """
    params = read(work.task.params, ActParams)
    posed, heard = await _inputs(work, params)
    if not params.item < len(posed.items):
        raise UsageError(
            f"params.item is {params.item}; there are {len(posed.items)} questions, counted from 0",
            field="params.item",
            given=str(params.item),
        )
    item = posed.items[params.item]
    first = prompting.request(params, item, posed.family, heard, tools.tools_of(params.tools))

    async def recording(run: str) -> Sequence[Called]:
        return [event.data for event in await work.history.run(run) if isinstance(event.data, Called)]

    endpoint = executors.costs(params)
    if endpoint:
        spending.check(params, endpoint, counted=executors.counted(params))

    def paying(asked: Request) -> AbstractAsyncContextManager[None]:
        if not endpoint or params.budget_usd is None:
            return turn.free(asked)
        most = None if executors.price is None else executors.price.most(asked)
        return executors.purse(work.event.run).paying(most, params.budget_usd, spent)

    async def spent() -> float:
        calls = await recording(work.event.run)
        return sum(call.cost_usd or 0.0 for call in calls if not call.recorded)

    executor = Traced(await executors.of(params, recording), tracer, params.agent)
    began = clock.now_ns()
    said = await turn.take(
        work.task.task,
        params,
        item.id,
        first,
        executor,
        tools.Bench("\n".join([item.question, *item.parts]), folder / work.event.run, {}),
        before=await work.recorded(Called),
        record=work.record,
        worker=worker,
        paying=paying,
        priced=executors.price.of if endpoint and executors.price else None,
        recorded=params.executor == "recorded",
    )
    tracer.past(
        f"invoke_agent {params.agent}",
        "",
        began,
        clock.now_ns(),
        attributes={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": params.agent,
            **_usage(said),
        },
    )
    if said.trouble == "unauthorized":
        raise TaskFailed(said.why, retryable=False)
    return said


async def _inputs(work: Work, params: ActParams) -> tuple[TasksPosed, list[Acted]]:
    posed = await work.inputs_of(TasksPosed)
    if len(posed) != 1:
        raise UsageError(f"the task needs one agent.tasks_posed; it has {len(posed)}", field="needs")
    acted = {data.task: data for _, data in await work.inputs_of(Acted)}
    missing = [name for name in params.hears if name not in acted]
    if missing:
        raise UsageError(
            f"params.hears names {', '.join(missing)}, which the task does not need; needs must name it, too",
            field="params.hears",
            given=", ".join(missing),
        )
    return posed[0][1], [acted[name] for name in params.hears]


class Traced:
    """An executor whose calls are spans (OpenTelemetry's conventions for generative AI, in development)."""

    def __init__(self, executor: Executor, tracer: Tracer, agent: str) -> None:
        self.model = executor.model
        self._executor = executor
        self._tracer = tracer
        self._agent = agent

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
                attributes=chat_attributes(request, found, self.model),
            )
        return found

    async def close(self) -> None:
        """Nothing of its own is held."""


def chat_attributes(request: Request, found: Response, model: str) -> Attributes:
    """Return the attributes of a ``chat`` span; input tokens include cached ones there, output reasoning."""
    usage = found.usage
    attributes: dict[str, str | float | bool] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.response.model": found.model,
        "gen_ai.request.max_tokens": request.sampling.max_tokens,
        "gen_ai.usage.input_tokens": usage.read,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "gen_ai.usage.output_tokens": usage.written,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "gen_ai.response.finish_reason": found.finish,
    }
    sampling = request.sampling
    for name, value in (
        ("temperature", sampling.temperature),
        ("seed", sampling.seed),
        ("top_p", sampling.top_p),
    ):
        if value is not None:
            attributes[f"gen_ai.request.{name}"] = value
    if found.trouble is not None:
        attributes["error.type"] = found.trouble
    return attributes


def _usage(said: Acted) -> Attributes:
    usage = said.usage
    return {
        "gen_ai.usage.input_tokens": usage.read,
        "gen_ai.usage.output_tokens": usage.written,
    }
