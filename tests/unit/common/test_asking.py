"""What the client asks of metrics: whole answers, or an error that says why there is none yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from swarm_common import asking
from swarm_common.asking import Asking
from swarm_common.errors import SwarmError, UsageError

ROW = {"session": "s", "runs": 1, "statuses": {"completed": 1}, "suites": ["noop"], "first": "", "last": ""}


class Answered(Asking):
    """Is given the answers of metrics, one after another."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def query(
        self,
        service: str,
        name: str,
        given: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 3.0,  # noqa: ARG002 - the signature is the client's
    ) -> Any:
        self.asked.append({"service": service, "name": name, **(given or {})})
        return self.answers.pop(0)


def page(count: int, follows: str | None = None, behind: int = 0) -> dict[str, Any]:
    return {"sessions": [ROW] * count, "next": follows, "behind": behind}


async def test_pages_are_read_until_the_limit() -> None:
    metrics = Answered(page(1000, "c1"), page(500, "c2"))
    assert len(await metrics.sessions(limit=1500)) == 1500
    assert [(one["limit"], one.get("cursor")) for one in metrics.asked] == [(1000, None), (500, "c1")]


async def test_a_view_that_is_behind_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_LOOK_S", 0.0)
    metrics = Answered(page(1, behind=3), page(2))
    assert len(await metrics.sessions()) == 2


async def test_a_view_that_stays_behind_gives_no_half_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", -1.0)
    with pytest.raises(SwarmError, match="12,345 events behind"):
        await Answered(page(1, behind=12_345)).sessions()


async def test_a_limit_is_above_0() -> None:
    with pytest.raises(UsageError, match="1 and above"):
        await Answered().runs(limit=0)
