"""A record is whole, or the place where it is not is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swarm_cli.importing import chunks, verify
from swarm_cli.leaves import ABSENT, Leaf, differing
from swarm_cli.replaying import counts, sums
from swarm_common.errors import SwarmError
from swarm_common.events import Event
from swarm_common.log.files import write_events
from swarm_common.runtime.offline import Difference

Make = Callable[..., list[Event]]


def test_a_whole_record_adds_up(recorded: list[Event]) -> None:
    assert sums(recorded[0].run, recorded) == []


def test_a_changed_event_breaks_the_chain(recorded: list[Event], make_run: Make) -> None:
    altered = [*recorded[:-1], make_run(reason="0" * 64)[-1]]
    (found,) = sums(recorded[0].run, altered)
    assert "chain" in found.what
    assert found.line == len(recorded)


def test_a_lost_event_breaks_chain_and_count(recorded: list[Event]) -> None:
    assert len(sums(recorded[0].run, recorded[1:])) == 2


def test_a_doubled_event_is_named(recorded: list[Event]) -> None:
    found = sums(recorded[0].run, [*recorded, recorded[-1]])
    assert any("twice" in problem.what for problem in found)


def test_a_target_that_was_judged_wrongly_is_named(make_run: Make) -> None:
    events = make_run(value=0.5)
    (found,) = sums(events[0].run, events)
    assert "target accuracy >= 0.85: the metric is 0.5, met False" in found.what


def test_an_altered_line_is_refused_by_its_number(recorded: list[Event], tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_events(path, recorded)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"t-1", b"t-9")
    path.write_bytes(b"".join(lines))
    with pytest.raises(SwarmError, match=r"line 3 \(event .*nothing was imported"):
        verify(path, force=False)
    assert [problem.line for problem in verify(path, force=True)] == [3]


def test_chunks_are_bounded_by_number_and_bytes(recorded: list[Event]) -> None:
    assert [len(chunk) for chunk in chunks(recorded, most=4)] == [4, 2]
    assert all(len(chunk) == 1 for chunk in chunks(recorded, most_bytes=1))
    assert [event for chunk in chunks(recorded, most=2) for event in chunk] == recorded
    assert list(chunks([])) == []


def test_differences_are_cut_down_to_their_leaves() -> None:
    then = {"a": {"b": [1, 2], "c": "x"}, "d": None}
    now = {"a": {"b": [1, 3, 4], "c": "x"}}
    assert list(differing(then, now)) == [
        Leaf("a.b.1", 2, 3),
        Leaf("a.b.2", ABSENT, 4),
        Leaf("d", None, ABSENT),
    ]


def difference(recorded: object, decided: object) -> Difference:
    return Difference(
        service="s", run="r", position=1, event_id="e", what="w", recorded=recorded, decided=decided
    )


def test_what_is_the_same_json_is_no_difference() -> None:
    assert not counts(difference({"x": (1, 2)}, {"x": [1, 2]}), verify_only=False)


def test_newer_decisions_are_no_flaw_of_the_record() -> None:
    newer = difference({"metrics": 1}, {"metrics": 2})
    assert counts(newer, verify_only=False)
    assert not counts(newer, verify_only=True)
    assert counts(difference({"digest": "a"}, {"digest": "b"}), verify_only=True)
