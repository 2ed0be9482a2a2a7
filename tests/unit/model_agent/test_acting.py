"""A turn of an agent: what it is asked, what its tools do, what is recorded, and what is never asked twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support.endpoints import Endpoint, completion, serving, wants
from support.making import event
from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events import Data, Event, digest_view
from swarm_common.events.agent import Acted, Called, Item, TasksPosed
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.llm import Choices, ToolCall, Usage
from swarm_common.runtime.history import RecordedHistory
from swarm_common.runtime.service import Work
from swarm_common.settings import Settings
from swarm_common.tracing import LogTracer
from swarm_model_agent.acting.acting import act
from swarm_model_agent.acting.params import ActParams
from swarm_model_agent.acting.prompting import request
from swarm_model_agent.acting.tools import TOOLS, Bench, tools_of
from swarm_model_agent.executors.choosing import Executors
from swarm_model_agent.families.posing import PoseParams, pose

FORM = Choices(("yes", "no"))
WHOLE = Item(id="w", question="Is it?", constraint=FORM, answer="yes", checker="exact")
SPLIT = Item(
    id="s",
    question="Do most?",
    parts=("Does A?", "Does B?", "Does C?"),
    constraint=FORM,
    part_constraint=Choices(("a", "b")),
    answer="yes",
    checker="exact",
)
STAGED = replace(WHOLE, stages=("First word?", "What kind?"), stage_constraints=(FORM, Choices(("x",))))


def acted(task: str, agent: str, text: str) -> Acted:
    return Acted(
        task=task, agent=agent, role="r", item="w", purpose="answer", text=text, calls=1, usage=Usage(), model_s=0.1,
        elapsed_s=0.1, worker="w",
    )  # fmt: skip


def asked(
    params: ActParams, item: Item = WHOLE, heard: Sequence[Acted] = (), family: str = "mine"
) -> list[str]:
    found = request(params, item, family, heard)
    return [found.instructions, *(message.content for message in found.messages)]


def turn(**params: Any) -> ActParams:
    return ActParams(agent="anna", item=0, **params)


# -- what it is asked ------------------------------------------------------------------------------------------


def test_a_question_alone() -> None:
    assert asked(turn(instructions="You are exact.")) == ["You are exact.", "Is it?"]


def test_a_family_gives_its_guide_and_its_examples() -> None:
    instructions, *said = asked(turn(instructions="You are exact."), family="topic")
    assert (
        instructions == "You are exact.\nName the topic of the text: sports, cooking, weather or computers."
    )
    assert len(said) == 2 * 4 + 1
    assert asked(turn(guide=False), family="topic") == ["", "Is it?"]


def test_who_has_one_piece_is_asked_of_that_piece() -> None:
    params = turn(parts=(1,))
    assert asked(params, SPLIT) == ["", "Does B?"]
    assert request(params, SPLIT, "mine", []).constraint == SPLIT.part_constraint


def test_who_has_several_pieces_is_asked_of_the_whole() -> None:
    params = turn(parts=(0, 2))
    assert asked(params, SPLIT) == ["", "Does A?\nDoes C?\nDo most?"]
    assert request(params, SPLIT, "mine", []).constraint == FORM


def test_who_joins_hears_and_is_told_no_piece() -> None:
    heard = [acted("1", "ben", "yes"), acted("2", "carla", ""), acted("3", "david", "no")]
    assert asked(turn(hears=("1", "2", "3"), purpose="join"), SPLIT, heard) == [
        "",
        "Others say: yes, no.\nDo most?",
    ]


def test_a_stage_gets_the_outcome_of_the_one_before() -> None:
    assert asked(turn(stage=0), STAGED, family="topic")[1:] == ["First word?"]
    assert asked(turn(stage=1), STAGED, [acted("1", "ben", "apple")])[1] == "Word: apple\nWhat kind?"
    assert request(turn(stage=1), STAGED, "mine", []).constraint == Choices(("x",))


@pytest.mark.parametrize("params", [turn(parts=(3,)), turn(parts=(-1,)), turn(stage=2)])
def test_a_piece_or_stage_that_is_not_there_is_named(params: ActParams) -> None:
    with pytest.raises(UsageError, match=r"has no (piece|stage) -?\d; it has \d"):
        request(params, STAGED if params.stage else SPLIT, "mine", [])


# -- tools -----------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench("The red door is locked.\nThe key is under the blue mat.\nIt rains.", tmp_path / "run", {})


def use(bench: Bench, tool: str, **arguments: str) -> str:
    return bench.use(ToolCall(id="1", name=tool, arguments=json.dumps(arguments))).result


@pytest.mark.parametrize(
    ("expression", "value"), [("(2 + 3) * -4", "-20"), ("7 / 2", "3.5"), ("7 // 2 % 2", "1"), ("+1.5", "1.5")]
)
def test_the_calculator_works_it_out(bench: Bench, expression: str, value: str) -> None:
    assert use(bench, "calculator", expression=expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "1 / 0",
        "2 ** 9",
        "(1).real",
        "9" * 201,
        "1e300 * 1e300",
        "True",
        "'a' * 9",
        "10**13",
        "(",
    ],
)
def test_the_calculator_runs_no_code_and_no_bomb(bench: Bench, expression: str) -> None:
    assert use(bench, "calculator", expression=expression).startswith("error: ")


def test_search_finds_the_lines_with_most_of_the_words(bench: Bench) -> None:
    assert use(bench, "search", query="where is the KEY").splitlines()[0] == "The key is under the blue mat."
    assert use(bench, "search", query="zebra") == "nothing found"


def test_files_stay_in_the_runs_own_folder(bench: Bench, tmp_path: Path) -> None:
    assert use(bench, "write_file", name="a.txt", text="hello") == "wrote a.txt"
    assert use(bench, "read_file", name="a.txt") == "hello"
    assert (tmp_path / "run" / "a.txt").read_text() == "hello"
    for name in ("../a.txt", "/etc/passwd", "b/c", ".hidden", "", "a" * 65, "a\x00b"):
        assert use(bench, "write_file", name=name, text="x").startswith("error: ")
        assert use(bench, "read_file", name=name).startswith("error: ")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.txt"]


def test_a_link_out_of_the_folder_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    use(bench, "write_file", name="a.txt", text="hello")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "run" / "link").symlink_to(tmp_path / "secret")
    assert use(bench, "read_file", name="link") == "error: there is no file 'link'"
    assert use(bench, "write_file", name="link", text="x").startswith("error: ")
    assert (tmp_path / "secret").read_text() == "secret"


def test_files_are_bounded(bench: Bench) -> None:
    assert use(bench, "write_file", name="a", text="x" * 70_000).startswith("error: a file has at most")
    for number in range(100):
        use(bench, "write_file", name=f"f{number}", text="")
    assert use(bench, "write_file", name="one-more", text="") == "error: there are 100 files already"
    assert use(bench, "write_file", name="f1", text="anew") == "wrote f1"


def test_notes_are_kept_for_the_turn(bench: Bench) -> None:
    assert use(bench, "recall", key="door") == "error: nothing is remembered of 'door'"
    use(bench, "remember", key="door", value="red")
    assert use(bench, "recall", key="door") == "red"


def test_a_call_that_fits_no_tool_says_so(bench: Bench) -> None:
    assert "there is no tool 'shell'" in use(bench, "shell", command="ls")
    assert use(bench, "search", words="x") == "error: search takes query"
    assert bench.use(ToolCall(id="1", name="search", arguments="{")).failed
    with pytest.raises(UsageError, match="there is no tool 'shell'; there are calculator"):
        tools_of(("shell",))
    assert [tool.name for tool in tools_of(("recall", "search"))] == ["recall", "search"]
    assert all(tool.parameters["required"] for tool in TOOLS.values())


# -- a turn, against a server ----------------------------------------------------------------------------------


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serving(lambda *_: completion("positive")) as server:
        yield server


class Run:
    """A run's log, to which turns are added."""

    def __init__(self, tmp_path: Path, url: str = "") -> None:
        self.log: list[Event] = [event(pose("pose", PoseParams(family="sentiment", count=3)), "run-1")]
        self.executors = Executors(Settings(llm_url=url))
        self.recorded: list[Event] = []
        self.tmp_path = tmp_path

    async def act(
        self,
        task: str = "a",
        *,
        repeated: bool = False,
        crash_after: int = -1,
        needs: Sequence[str] = (),
        **params: Any,
    ) -> Acted:
        needs = needs or [one.data.task for one in self.log if isinstance(one.data, TasksPosed | Acted)]
        scheduled = TaskScheduled(
            task=task,
            kind="act",
            service="model_agent",
            needs=tuple(needs),
            params={"agent": "anna", "item": 0, "tries": 1, **params},
        )

        async def append(data: Data) -> None:
            if crash_after == sum(isinstance(one.data, Called) for one in self.log):
                raise KeyboardInterrupt
            self.log.append(event(data, "run-1", index=f"{task}/{len(self.log)}"))

        name = "run-2" if self.recorded else "run-1"
        log = [replace(one, run=name) for one in self.log]
        history = RecordedHistory([*self.recorded, *log])
        work = Work(event(scheduled, name, index=task), history, repeated, append)
        said = await act(work, self.executors, LogTracer(), self.tmp_path, "w-1")
        self.log.append(event(said, "run-1", index=f"{task}/said"))
        return said

    @property
    def calls(self) -> list[Called]:
        return [one.data for one in self.log if isinstance(one.data, Called)]


async def test_a_turn_and_its_call_are_recorded(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.script = lambda *_: completion('{"choice": "positive"}')
    run = Run(tmp_path, f"{endpoint.url}/v1")
    said = await run.act(role="critic", instructions="You are exact.", seed=7)
    (call,) = run.calls
    assert (said.text, said.role, said.calls, said.trouble, said.worker) == (
        "positive",
        "critic",
        1,
        None,
        "w-1",
    )
    assert said.usage == call.usage == Usage(input=100, output=20)
    assert said.model_s == call.timings.total_s > 0
    assert (call.agent, call.number, call.answered_by) == ("anna", 0, "m-1-dated")
    assert call.request.instructions.startswith("You are exact.")
    assert endpoint.asked[0].body["seed"] == 7
    await run.executors.close()


async def test_an_agent_hears_whom_it_should_and_nobody_else(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.script = lambda *_: completion('{"choice": "negative"}')
    run = Run(tmp_path, f"{endpoint.url}/v1")
    await run.act("a")
    await run.act("b", agent="ben")
    said = await run.act("c", agent="carla", hears=["b"])
    assert said.heard == ("b",)
    content = endpoint.asked[2].body["messages"][-1]["content"]
    assert content.startswith("Others say: negative.\nReview:")
    assert "anna" not in content
    await run.executors.close()


async def test_tools_are_run_and_their_results_told(endpoint: Endpoint, tmp_path: Path) -> None:
    replies = [wants("calculator", expression="6 * 7"), completion("It is 42")]
    endpoint.script = lambda number, _: replies[number]
    run = Run(tmp_path, f"{endpoint.url}/v1")
    said = await run.act(tools=["calculator"])
    assert (said.text, said.calls, [use.result for use in said.tools]) == ("It is 42", 2, ["42"])
    assert [call.number for call in run.calls] == [0, 1]
    assert endpoint.asked[1].body["messages"][-1] == {"role": "tool", "tool_call_id": "c", "content": "42"}
    await run.executors.close()


async def test_an_agent_that_never_ends_is_ended(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.script = lambda *_: wants("calculator", expression="1 + 1")
    run = Run(tmp_path, f"{endpoint.url}/v1")
    said = await run.act(tools=["calculator"], rounds=3)
    assert (said.calls, len(endpoint.asked)) == (3, 3)
    await run.executors.close()


async def test_a_turn_that_was_cut_off_repeats_no_recorded_call(endpoint: Endpoint, tmp_path: Path) -> None:
    replies = [wants("calculator", expression="6 * 7"), completion("It is 42")]
    endpoint.script = lambda number, _: replies[min(number, 1)]
    run = Run(tmp_path, f"{endpoint.url}/v1")
    with pytest.raises(KeyboardInterrupt):
        await run.act(tools=["calculator"], crash_after=1)
    assert (len(endpoint.asked), len(run.calls)) == (2, 1)  # the second was answered, and not yet recorded
    said = await run.act(tools=["calculator"], repeated=True)
    assert (said.text, said.calls) == ("It is 42", 2)
    assert (len(endpoint.asked), len(run.calls)) == (3, 2)  # that one alone was asked again
    await run.executors.close()


async def test_an_endpoint_that_fails_makes_an_agent_that_says_nothing(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.script = lambda *_: completion(None)._replace(status=500)
    run = Run(tmp_path, f"{endpoint.url}/v1")
    said = await run.act()
    assert (said.text, said.trouble, said.calls) == ("", "overloaded", 1)
    await run.executors.close()


async def test_an_endpoint_that_refuses_us_fails_the_task(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.script = lambda *_: completion(None)._replace(status=401)
    run = Run(tmp_path, f"{endpoint.url}/v1")
    with pytest.raises(TaskFailed, match="SWARM_LLM_API_KEY is not set"):
        await run.act()
    await run.executors.close()


async def test_a_recording_gives_the_same_turns_and_asks_nobody(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.script = lambda *_: completion('{"choice": "positive"}')
    run = Run(tmp_path, f"{endpoint.url}/v1")
    first = await run.act("a", seed=1)
    again = await run.act("b", seed=1, executor="recorded", recording="run-1")
    assert replace(again, task="a", elapsed_s=first.elapsed_s) == first
    other = await run.act("c", seed=2, executor="recorded", recording="run-1")
    assert (other.trouble, other.text, len(endpoint.asked)) == ("not_recorded", "", 1)
    await run.executors.close()


async def test_two_tasks_with_one_question_and_two_answers_replay_each_its_own(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.script = lambda number, _: completion(json.dumps({"choice": ("positive", "negative")[number]}))
    run = Run(tmp_path, f"{endpoint.url}/v1")
    live = [await run.act(task) for task in ("a", "b")]
    assert [said.text for said in live] == ["positive", "negative"]
    assert len({call.key for call in run.calls}) == 1
    replayed = Run(tmp_path)
    replayed.recorded = run.log
    again = [await replayed.act(task, executor="recorded", recording="run-1") for task in ("b", "a")]
    assert [digest_view(said) for said in again] == [digest_view(said) for said in reversed(live)]
    assert len(endpoint.asked) == 2
    await run.executors.close()


async def test_who_comes_after_an_agent_reads_its_notes(endpoint: Endpoint, tmp_path: Path) -> None:
    replies = [
        wants("remember", key="door", value="red"),
        completion("done"),
        completion("heard"),
        wants("recall", key="door"),
        completion("red"),
    ]
    endpoint.script = lambda number, _: replies[number]
    run = Run(tmp_path, f"{endpoint.url}/v1")
    assert (await run.act("a", tools=["remember"])).notes == {"door": "red"}
    assert (await run.act("b", agent="ben", needs=("pose", "a"))).notes == {"door": "red"}
    said = await run.act(
        "c", agent="carla", needs=("pose", "b"), tools=["recall"]
    )  # hears of it over b alone
    assert [use.result for use in said.tools] == ["red"]
    await run.executors.close()


async def test_notes_of_a_turn_that_one_does_not_come_after_are_unknown(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    replies = [wants("remember", key="door", value="red"), completion("done"), wants("recall", key="door")]
    endpoint.script = lambda number, _: replies[min(number, 2)]
    run = Run(tmp_path, f"{endpoint.url}/v1")
    await run.act("a", tools=["remember"])
    said = await run.act("b", agent="ben", needs=("pose",), tools=["recall"], rounds=2)
    assert said.tools[0].failed
    await run.executors.close()


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"item": 3}, r"params\.item is 3; there are 3 questions"),
        ({"hears": ["x"]}, r"params\.hears names x, which the task does not need"),
        ({"tools": ["shell"]}, "there is no tool 'shell'"),
        ({"executor": "openai"}, "set SWARM_LLM_URL"),
        ({"executor": "anthropic"}, "executor anthropic may cost money"),
        ({"executor": "anthropic", "consent": True}, r"needs params\.model"),
        ({"executor": "embedded", "model": "gpt"}, "the embedded model is smollm2-135m-instruct"),
        ({"executor": "recorded"}, r"needs params\.recording"),
        ({"executor": "recorded", "recording": "run-1"}, "run run-1 has calls of no model"),
        ({"executor": "oracle"}, r"params\.executor"),
        ({"temperature": 3}, r"params\.temperature"),
        ({"temper": 1}, "temper"),
    ],
)
async def test_what_cannot_be_done_is_named(tmp_path: Path, params: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        await Run(tmp_path).act(**params)
