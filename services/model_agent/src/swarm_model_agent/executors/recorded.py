"""Answers of an earlier run in place of a model: to the same request, model and repeat, and no other answer ever.

The same question may have been asked in several tasks and answered differently (a temperature, or an endpoint that
promises nothing). So an answer is looked for by its task first, then by the key of the request alone: a task that
the recording does not know by that request, as in a run with other modes, gets the first answer that was given to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from swarm_common.events.agent import Called
from swarm_common.llm import Request, Response, check, key


def response_of(call: Called) -> Response:
    """Return a recorded call as the response it was."""
    return Response(
        text=call.text,
        tool_calls=call.tool_calls,
        finish=call.finish,
        model=call.answered_by,
        usage=call.usage,
        timings=call.timings,
        raw=call.raw,
        cost_usd=call.cost_usd,
        trouble=call.trouble,
        why=call.why,
    )


class Recording:
    """The calls of a run, by what was asked."""

    def __init__(self, calls: Iterable[Called], model: str) -> None:
        """Keep what one model was asked; a call that failed is repeated as it failed, in its own task alone."""
        self.model = model
        self._by_task: dict[tuple[str, str], Response] = {}
        self._by_key: dict[str, Response] = {}
        for call in calls:
            if call.model == model:
                found = response_of(call)
                self._by_task[call.task, call.key] = found
                if call.trouble is None:
                    self._by_key.setdefault(call.key, found)

    def find(self, task: str, asked: str) -> Response | None:
        """Return what a request (its key) was answered, in this task if it was asked there; ``None``: it never was."""
        return self._by_task.get((task, asked)) or self._by_key.get(asked)


class Recorded:
    """An :class:`~swarm_model_agent.executors.core.Executor` that repeats what was recorded, for one task.

    A request that is not there is an error, and never asked of anybody: a replay that asked a model in secret would be
    none. Timings are those of the recording; with ``honour_latency`` an answer also takes as long as it took then.
    """

    def __init__(self, recording: Recording, task: str = "", *, honour_latency: bool = False) -> None:
        self.model = recording.model
        self._recording = recording
        self._task = task
        self._honour = honour_latency

    async def run(self, request: Request) -> Response:
        """Return the recorded answer, or a response with trouble ``not_recorded`` that says what was missed."""
        check(request)
        asked = key(request, self.model)
        found = self._recording.find(self._task, asked)
        if found is None:
            return Response(
                model=self.model,
                finish="other",
                trouble="not_recorded",
                why=f"the recording has no answer to this request (key {asked[:12]}, model {self.model}, repeat "
                f"{request.repeat}{f', task {self._task}' if self._task else ''}): {_words(request)!r}; record the run "
                "anew, or replay it with the parameters and the seed it was recorded with",
            )
        if self._honour:
            await asyncio.sleep(found.timings.total_s)
        return found

    async def close(self) -> None:
        """Nothing is held."""


def _words(request: Request, longest: int = 80) -> str:
    """Return how the request's last message begins: it is what people know it by."""
    text = " ".join(request.messages[-1].content.split())
    return text if len(text) <= longest else f"{text[:longest]}..."
