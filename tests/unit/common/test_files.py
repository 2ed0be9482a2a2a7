"""Exported logs: the very bytes out and in, and every altered line named."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common.errors import InvalidEvent, NotFound
from swarm_common.events import Event, decode, encode
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import Requested
from swarm_common.events.envelope import encode_wire, new_event
from swarm_common.log.blobs import reference
from swarm_common.log.files import Problem, Writer, chain, check, read_events, read_lines, write_events


def done(index: int, run: str = "r") -> Event:
    event = new_event(
        TaskDone(task=f"t{index}"), run=run, source="/swarm/test/1", cause="c", handler="h", index=index
    )
    return decode(encode(event), index)


def checked(text: str) -> tuple[Event, bytes]:
    """Return an event as it is read from the log when its data lie in the object store, and those data."""
    data = msgspec.json.encode(Requested(suite=text))
    event = new_event(Requested(suite=text), run="r", source="/swarm/test/1", cause="c", handler=text)
    return decode(encode_wire(event, b"", dataref=reference(data))), data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def rewrite(path: Path, content: list[bytes]) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in content))


# -- out and in --------------------------------------------------------------------------------------------


def test_what_was_exported_is_read_with_its_bytes_and_lines(path: Path) -> None:
    events = [done(index) for index in range(5)]
    assert write_events(path, events) == 5
    assert [event.raw for event in read_events(path)] == [event.raw for event in events]
    assert [event.seq for event in read_events(path)] == [1, 2, 3, 4, 5]
    assert check(path) == []


def test_an_export_of_an_export_is_the_same_but_for_the_time_of_its_manifest(path: Path) -> None:
    big, data = checked("big")
    with path.open("wb") as stream:
        writer = Writer(stream)
        for event, blob in ((done(1), b""), (big, data), (big, data), (done(2), b"")):
            writer.add(event, blob)
        writer.close()
    again = path.with_name("again.jsonl")
    write_events(again, read_events(path))
    assert lines(again)[:-1] == lines(path)[:-1]
    assert json.loads(lines(again)[-1])["data"] == json.loads(lines(path)[-1])["data"]


def test_a_claim_checked_event_stands_behind_its_blob_once(path: Path) -> None:
    big, data = checked("big")
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.add(big, data)
        writer.add(big, data)
        writer.close()
    found = list(read_lines(path))
    assert [line.event is None for line in found] == [True, False, False]
    assert found[0].blob == data
    assert [line.event.data for line in found[1:] if line.event] == [Requested(suite="big")] * 2


def test_every_line_is_json_of_a_cloudevent(path: Path) -> None:
    big, data = checked("big")
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.add(big, data)
        writer.close()
    for line in lines(path):
        assert {"specversion", "id", "source", "type"} <= set(json.loads(line))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_an_event_over_several_lines_becomes_one(path: Path, ending: str) -> None:
    pretty = decode(
        json.dumps(json.loads(encode(done(1))), indent=1).replace("\n", ending).encode() + ending.encode()
    )
    write_events(path, [pretty])
    (event,) = read_events(path)
    assert json.loads(event.raw) == json.loads(pretty.raw)
    assert check(path) == []


def test_empty_lines_do_not_count(path: Path) -> None:
    write_events(path, [done(1)])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n"))
    assert check(path) == []
    assert len(list(read_events(path))) == 1


# -- altered files -----------------------------------------------------------------------------------------


def test_an_altered_line_is_named_with_its_event(path: Path) -> None:
    write_events(path, [done(index) for index in range(5)])
    content = lines(path)
    content[2] = content[2].replace(b"t2", b"t9")
    rewrite(path, content)
    assert check(path) == [Problem(3, "differs from what was exported", done(2).id)]


def test_a_removed_line_is_named_and_the_rest_left_in_peace(path: Path) -> None:
    write_events(path, [done(index) for index in range(5)])
    content = lines(path)
    del content[1:3]
    rewrite(path, content)
    assert check(path) == [Problem(2, "2 exported before it are missing")]


def test_an_added_line_is_named(path: Path) -> None:
    write_events(path, [done(index) for index in range(5)])
    content = lines(path)
    content.insert(1, done(9).raw)
    rewrite(path, content)
    assert check(path) == [Problem(2, "was not exported", done(9).id)]


def test_the_last_line_removed(path: Path) -> None:
    write_events(path, [done(index) for index in range(3)])
    content = lines(path)
    del content[2]
    rewrite(path, content)
    assert check(path) == [Problem(3, "1 exported before it is missing")]


def test_everything_removed_but_the_manifest(path: Path) -> None:
    write_events(path, [done(1)])
    rewrite(path, lines(path)[-1:])
    assert check(path) == [Problem(1, "1 exported before it is missing")]


@given(st.lists(st.sampled_from(["keep", "alter", "remove", "add"]), min_size=1, max_size=12), st.booleans())
def test_any_alteration_is_noticed(steps: list[str], swap: bool) -> None:
    stream = io.BytesIO()
    writer = Writer(stream)
    for index in range(len(steps)):
        writer.add(done(index))
    writer.close()
    *original, manifest = stream.getvalue().splitlines()
    content: list[bytes] = []
    for step, line in zip(steps, original, strict=True):
        content += {"keep": [line], "alter": [line + b" "], "remove": [], "add": [line, line + b"x"]}[step]
    if swap:
        content.reverse()
    same = content == original
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log.jsonl"
        rewrite(path, [*content, manifest])
        found = check(path)
    assert (found == []) == same
    assert all(1 <= problem.line <= len(content) + 1 for problem in found)


def test_a_cut_file_says_so(path: Path) -> None:
    write_events(path, [done(1), done(2)])
    rewrite(path, lines(path)[:-1])
    (problem,) = check(path)
    assert problem.line == 0
    assert "no manifest" in problem.what


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{", b'{"type":"swarm.manifest"}', b'{"type":"swarm.manifest","data":[]}']
)
def test_a_file_that_is_no_export_has_no_manifest(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "no manifest" in check(path)[0].what


def test_a_manifest_that_was_made_to_fit_does_not_add_up(path: Path) -> None:
    write_events(path, [done(1), done(2)])
    content = lines(path)
    manifest = json.loads(content[-1])
    del manifest["data"]["lines"][0]
    rewrite(path, [content[1], json.dumps(manifest).encode()])
    assert check(path) == [Problem(0, "the lines do not add up to what was exported")]


def test_no_such_file(path: Path) -> None:
    for read in (check, read_events):
        with pytest.raises(NotFound, match="No such file"):
            list(read(path))


@pytest.mark.parametrize("bad", [b"{", b"[1]", b'"text"', b"\xff", b'{"specversion":"1.0"}'])
def test_a_line_that_is_no_event_is_named(path: Path, bad: bytes) -> None:
    path.write_bytes(done(1).raw + b"\n" + bad + b"\n")
    with pytest.raises(InvalidEvent, match="line 2"):
        list(read_events(path))


@pytest.mark.parametrize("text", ["", "AAAA", "no base64 at all", "ü"])
def test_a_blob_with_other_bytes_is_named(path: Path, text: str) -> None:
    big, data = checked("big")
    with path.open("wb") as stream:
        Writer(stream).add(big, data)
    content = lines(path)
    content[0] = json.dumps(json.loads(content[0]) | {"data_base64": text}).encode()
    rewrite(path, content)
    with pytest.raises(InvalidEvent, match="line 1: the blob's bytes are not those of sha256:") as refused:
        list(read_events(path))
    assert refused.value.field == "data_base64"


def test_an_event_whose_blob_is_not_in_the_file(path: Path) -> None:
    big, _ = checked("big")
    path.write_bytes(big.raw + b"\n")
    with pytest.raises(InvalidEvent, match=r"line 1: the blob sha256:[0-9a-f]+ is not in the file before it"):
        list(read_events(path))


def test_a_chain_tells_order_and_bytes() -> None:
    first = chain(chain("", b"a"), b"b")
    assert first == chain(chain("", b"a"), b"b")
    assert len({first, chain(chain("", b"b"), b"a"), chain("", b"ab"), chain("", b"")}) == 4
