"""Answers of an earlier run in place of a model: by the key of the request, and no other answer ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from swarm_common.llm import Request, Response, check, key


class Recorded:
    """An :class:`~swarm_model_agent.executors.core.Executor` that repeats what was recorded.

    A request that is not there is an error, and never asked of anybody: a replay that asked a model in secret would be
    none. Timings are those of the recording; with ``honour_latency`` an answer also takes as long as it took then.
    """

    def __init__(self, model: str, answers: Mapping[str, Response], *, honour_latency: bool = False) -> None:
        self.model = model
        self._answers = answers
        self._honour = honour_latency

    async def run(self, request: Request) -> Response:
        """Return the recorded answer, or a response with trouble ``not_recorded``."""
        check(request)
        asked = key(request, self.model)
        found = self._answers.get(asked)
        if found is None:
            return Response(
                model=self.model,
                finish="other",
                trouble="not_recorded",
                why=f"the recording has no answer to this request (key {asked[:12]}, repeat {request.repeat}); "
                "record the run anew, or replay it with the parameters it was recorded with",
            )
        if self._honour:
            await asyncio.sleep(found.timings.total_s)
        return msgspec.structs.replace(found)

    async def close(self) -> None:
        """Nothing is held."""
