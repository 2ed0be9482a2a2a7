"""Task families: the right answers are right, splits share no question, and answers are graded as they deserve."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from swarm_common.errors import InvalidEvent, UsageError
from swarm_common.events.agent import Acted, Grade, Item
from swarm_common.llm import Choices, Usage
from swarm_model_agent.families import FAMILIES, examples, family_of, guide, stage_examples
from swarm_model_agent.families.checking import CHECKERS, TAKES, fits, grade
from swarm_model_agent.families.core import LEAST, SPLITS, draw, pool
from swarm_model_agent.families.posing import GradeParams, PoseParams, graded, pose, pose_file, read_items

NAMES = sorted(FAMILIES)


@pytest.mark.parametrize("name", NAMES)
def test_each_split_has_enough_questions_and_shares_none(name: str) -> None:
    found = pool(FAMILIES[name])
    asked = [(item.question, item.parts) for split in SPLITS for item in found[split]]
    assert [len(found[split]) for split in SPLITS] == [LEAST] * 3
    assert len(set(asked)) == len(asked)
    assert found["test"][7].id == f"{name}/test/7"


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_is_allowed_and_graded_1(name: str) -> None:
    for items in pool(FAMILIES[name]).values():
        for item in items:
            assert grade(item, item.answer) == Grade(item=item.id, said=item.answer, score=1.0)
            if isinstance(item.constraint, Choices):
                assert item.answer in item.constraint.options


@pytest.mark.parametrize("name", NAMES)
def test_guessing_scores_the_chance_that_is_stated(name: str) -> None:
    family = FAMILIES[name]
    scores = [
        grade(item, option).score
        for items in pool(family).values()
        for item in items
        if isinstance(item.constraint, Choices)
        for option in item.constraint.options
    ]
    assert (sum(scores) / len(scores) if scores else 0.0) == pytest.approx(family.chance)


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_is_worth_nothing(name: str) -> None:
    assert {grade(item, "").score for item in pool(FAMILIES[name])["test"]} == {0.0}


def test_a_question_in_pieces_cannot_be_answered_without_them() -> None:
    for name in ("split_evidence", "document", "addresses"):
        items = pool(FAMILIES[name])["test"]
        assert {item.question for item in items} == {items[0].question}
        assert len({item.answer for item in items}) > 1


def test_draws_depend_on_the_seed_alone() -> None:
    family = FAMILIES["topic"]
    assert draw(family, "test", 10, 1) == draw(family, "test", 10, 1)
    assert draw(family, "test", 10, 1) != draw(family, "test", 10, 2)
    assert len({item.id for item in draw(family, "test", LEAST, 1)}) == LEAST


def test_examples_come_from_train_and_show_every_answer() -> None:
    shown = examples("topic")
    assert shown == examples("document")
    assert (examples("mine.jsonl"), guide("mine.jsonl"), guide("topic") != "") == ((), "", True)
    assert {item.answer for item in shown} == {"sports", "cooking", "weather", "computers"}
    assert {item.id.split("/")[1] for item in shown} == {"train"}


def test_each_stage_has_examples_of_its_own_in_the_form_in_which_it_is_asked() -> None:
    first, second = (stage_examples("pipeline", stage) for stage in (0, 1))
    train = {item.stages[0]: item for item in pool(FAMILIES["pipeline"])["train"]}
    assert len(first) == len(second) == FAMILIES["pipeline"].shots
    for (asked, said), (then, kind) in zip(first, second, strict=True):
        item = train[asked]
        assert asked.startswith("Words: ")
        assert asked.split()[-3] == said  # before "Last word:"
        assert (then, kind) == (f"Word: {said}\n{item.stages[1]}", item.answer)
    assert (stage_examples("topic", 0), stage_examples("mine.jsonl", 0)) == ((), ())


@pytest.mark.parametrize(
    ("params", "why"),
    [
        (PoseParams(family="riddles"), "there is no task family 'riddles'; there are sentiment, "),
        (PoseParams(family="topic", split="all"), "params.split is 'all'; there are train, validation, test"),
        (PoseParams(family="topic", count=61), "params.items is 61; family topic has 60 in each split"),
    ],
)
def test_what_there_is_not_is_named(params: PoseParams, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        pose("pose", params)


@pytest.mark.parametrize(
    ("checker", "said", "right", "score"),
    [
        ("exact", " Apple. ", "apple", 1.0),
        ("exact", "an apple", "apple", 0.0),
        ("number", "It is 1,234.", "1234", 1.0),
        ("number", "12 or 13", "12", 0.0),
        ("number", "none", "12", 0.0),
        ("contains", "It is New York, I think", "new york", 1.0),
        ("contains", "Newer York", "new york", 0.0),
        ("json_fields", '{"a": "X", "b": 2}', '{"a": "x", "b": 2}', 1.0),
        ("json_fields", '{"a": "X", "b": 3}', '{"a": "x", "b": 2}', 0.5),
        ("json_fields", '{"a": "X", "b": 2, "c": 1, "d": 1}', '{"a": "x", "b": 2}', 0.5),
        ("json_fields", '{"b": true}', '{"b": 1}', 0.0),
        ("json_fields", "no JSON", '{"b": 1}', 0.0),
        ("json_fields", "[1]", '{"b": 1}', 0.0),
        ("any_of", "pear", '["apple", "pear"]', 1.0),
        ("any_of", "plum", '["apple", "pear"]', 0.0),
        ("set_f1", "b; a", "a, b", 1.0),
        ("set_f1", "a, c", "a, b", 0.5),
        ("set_f1", "", "", 1.0),
    ],
)
def test_checkers(checker: str, said: str, right: str, score: float) -> None:
    assert CHECKERS[checker](said, right) == score


def test_an_unknown_checker_is_refused() -> None:
    with pytest.raises(UsageError, match="checker 'taste'; there are exact"):
        grade(Item(id="1", question="", answer="", checker="taste"), "")


LINES = [json.dumps({"input": f"{n}+1?", "answer": str(n + 1), "checker": "number"}) for n in range(9)]


def test_a_users_file_is_dealt_out_to_the_splits(tmp_path: Path) -> None:
    path = tmp_path / "tasks"
    path.write_text("\n".join(LINES))
    posed = [
        pose_file("p", PoseParams(split=split, count=3, file="x"), path, "sums.jsonl") for split in SPLITS
    ]
    assert len({item.id for one in posed for item in one.items}) == 9
    assert (posed[0].family, posed[0].chance) == ("sums.jsonl", 0.0)
    with pytest.raises(
        UsageError, match=r"params.items is 4; sums.jsonl has 9 questions, 3 of them in split test"
    ):
        pose_file("p", PoseParams(count=4, file="x"), path, "sums.jsonl")
    with pytest.raises(UsageError, match=r"params\.split is 'dev'"):
        pose_file("p", PoseParams(split="dev", count=1, file="x"), path, "sums.jsonl")


def test_a_users_choices_give_the_chance() -> None:
    (item,) = read_items(b'{"input": "?", "answer": "a", "choices": ["a", "b"], "id": "q"}\n\n', "f")
    assert (item.id, item.constraint) == ("q", Choices(("a", "b")))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "f, line 2: .*a line is a JSON object with input, answer"),
        (b'{"input": "?"}', "f, line 2: .*`answer`"),
        (b'{"input": "?", "answer": "a", "grade": 1}', "f, line 2: .*`grade`"),
        (
            b'{"input": "?", "answer": "a", "checker": "taste"}',
            "f, line 2: checker is 'taste'; there are exact",
        ),
        (
            b'{"input": "?", "answer": "c", "choices": ["a"]}',
            "f, line 2: the answer 'c' is none of the choices",
        ),
        (
            b'{"input": "%s", "answer": "c"}' % (b"x" * 70_000),
            "f, line 2: it has 70028 bytes; a question has 65536 at",
        ),
        (b'{"input": " ", "answer": "c"}', "f, line 2: input is empty"),
        (
            b'{"input": "?", "answer": " . "}',
            "f, line 2: the answer ' . ' is none that checker exact can take: words",
        ),
        (b'{"input": "?", "answer": "six", "checker": "number"}', "f, line 2: .* can take: one number"),
        (b'{"input": "?", "answer": "?!", "checker": "contains"}', "f, line 2: .* can take: words"),
        (
            b'{"input": "?", "answer": "[1]", "checker": "json_fields"}',
            "f, line 2: .* can take: a JSON object",
        ),
        (b'{"input": "?", "answer": "grey", "checker": "any_of"}', "f, line 2: .* can take: a JSON list"),
        (b'{"input": "?", "answer": "[]", "checker": "any_of"}', "f, line 2: .* can take: a JSON list"),
        (b'{"input": "?", "answer": "a", "id": "f/1"}', "f, line 2: line 1 has the id 'f/1', too"),
        (b"\xff\xfe", "f, line 2: "),
    ],
)
def test_a_bad_line_is_named(line: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read_items(LINES[0].encode() + b"\n" + line, "f")


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_checker_says_what_it_takes(checker: str) -> None:
    assert TAKES[checker]


def test_a_file_of_an_editor_that_marks_utf_8_is_read() -> None:
    (item,) = read_items(b"\xef\xbb\xbf" + LINES[0].encode(), "f")
    assert item.question == "0+1?"


def test_an_answer_that_no_checker_takes_would_stop_a_run_only_when_its_models_had_answered() -> None:
    item = Item(id="1", question="", answer="six", checker="number")
    assert not fits("number", "six")
    with pytest.raises(ValueError, match="could not convert"):
        grade(item, "6")


def test_an_empty_file_has_no_question() -> None:
    with pytest.raises(UsageError, match="f has no question"):
        read_items(b"\n", "f")


def acted(task: str, text: str) -> Acted:
    return Acted(
        task=task, agent="a", role="r", item="i", purpose="answer", text=text, calls=1, usage=Usage(), model_s=0.1,
        elapsed_s=0.1, worker="w",
    )  # fmt: skip


def test_answers_are_graded_in_the_order_of_questions() -> None:
    posed = pose("p", PoseParams(family="topic", count=3))
    said = {f"a{n}": acted(f"a{n}", posed.items[n].answer if n else "nonsense") for n in range(3)}
    found = graded("g", GradeParams(answers={"2": "a2", "0": "a0", "1": "a1"}), posed, said)
    assert [one.score for one in found.grades] == [0.0, 1.0, 1.0]
    assert found.grades[0].why == f"right is {posed.items[0].answer}"


@pytest.mark.parametrize("answers", [{"0": "nobody"}, {"3": "a0"}])
def test_an_answer_that_is_not_there_is_an_error(answers: dict[str, str]) -> None:
    posed = pose("p", PoseParams(family="topic", count=3))
    with pytest.raises(InvalidEvent, match="not among the inputs"):
        graded("g", GradeParams(answers=answers), posed, {"a0": acted("a0", "x")})


def test_a_family_is_found_by_name() -> None:
    assert family_of("email").name == "email"
    assert msgspec.structs.asdict(family_of("sum"))["control"] == "floor"
