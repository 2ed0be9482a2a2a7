"""Arm ``llm``: a language model varies the block that matters most, on a short leash; over the protocol it speaks."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.chat import Asked, Chat, Reply, completion, serve
from swarm_common import pipelines
from swarm_common.errors import TaskFailed, UsageError
from swarm_common.events import encode
from swarm_common.events.agent import CandidateEvaluated
from swarm_common.events.optimizer import Candidate, Proposed
from swarm_common.pipelines import Spec
from swarm_optimizer import llm
from swarm_optimizer import service as module
from swarm_optimizer.search import Question, Trial, asking, propose_told
from swarm_optimizer.service import propose_llm, propose_next, service

SECRET = "sk-loopback-0123456789"  # noqa: S105 - of no one
RECORDED = Path(__file__).parent / "smollm2.json"
SPACE = pipelines.space("classification", 13)
PARAMS: dict[str, Any] = {
    "arm": "llm",
    "dice": "mle_star",
    "policy": "llm",
    "problem": "classification",
    "n_features": 13,
    "budget": 24,
}


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    monkeypatch.delenv(llm.KEY, raising=False)
    with serve() as chat:
        monkeypatch.setattr(module, "_endpoint", llm.Endpoint(url=chat.url, timeout_s=20.0))
        yield chat


def score(spec: Spec) -> float:
    """Scaling matters most, then the model, then its hyperparameters."""
    scale = {"none": 0.0, "standard": 0.2, "robust": 0.3}.get(spec.scale, 0.1)
    c = spec.hyperparameters.get("C", 1.0)
    return 0.4 + scale + 0.1 * (spec.model == "svm") + 0.02 * (0.5 < c < 5)


def evaluated(candidate: Candidate) -> CandidateEvaluated:
    value = score(candidate.spec)
    return CandidateEvaluated(
        task=candidate.name,
        candidate=candidate.name,
        spec=candidate.spec,
        rows=10,
        folds=2,
        score_name="accuracy",
        score=value,
        loss=1 - value,
        failed="",
        fits=2.0,
        fit_s=0.1,
        cpu_s=0.1,
        max_rss_bytes=1,
        worker="w/1",
        started="",
        waited_s=0.0,
    )


async def search(log: Any, params: Mapping[str, Any] = PARAMS) -> list[Proposed]:
    """Lead a search through the log to its end, and return what was proposed."""
    handler = {"llm": propose_llm, "mle_star": propose_next}[params["policy"]]
    found: list[Proposed] = []
    needs: list[str] = []
    while not found or not found[-1].done:
        name = f"p{len(found)}"
        earlier = [] if params["policy"] == "mle_star" else [one.task for one in found]
        work = log.task("any", task=name, params=params, needs=(*needs, *earlier), seed=5)
        proposed = await handler(work)
        log.add(proposed)
        found.append(proposed)
        for candidate in proposed.candidates:
            needs.append(candidate.name)
            log.add(evaluated(candidate))
    return found


def from_schema(asked: Asked) -> Reply:
    """Answer with the last of what the schema allows, as often as it asks for variations."""
    form = asked.body["response_format"]["json_schema"]["schema"]["properties"]["variations"]
    [(block, value)] = form["items"]["properties"].items()
    options = value.get("enum") or [
        {name: range_.get("minimum", range_.get("enum", [0])[-1]) for name, range_ in properties.items()}
        for properties in [value["properties"]]
    ]
    several = [{block: option} for option in options[-form["maxItems"] :]]
    return completion(json.dumps({"variations": several}))


# -- the search --------------------------------------------------------------------------------------------


async def test_the_model_varies_the_block_that_ablation_finds_and_rules_fill_up(chat: Chat, log: Any) -> None:
    chat.answer = from_schema
    found = await search(log)
    asked = [one for one in found if one.phase == "refinement"]
    assert len(asked) == len(chat.asked) >= 3
    assert asked[0].block == "scale"
    assert [one.spec.scale for one in asked[0].candidates if one.by == "llm"] != []
    for one in asked:
        assert {candidate.by for candidate in one.candidates} <= {"rules", "llm"}
        assert (one.model, one.tokens_in, one.tokens_out) == ("small-1", 90, 7)
        assert one.llm_s is not None
        assert one.llm_s > 0
        assert one.answer.startswith('{"variations"')
    assert all((one.model, one.tokens_in, one.llm_s) == ("", None, None) for one in found if one not in asked)
    everything = [candidate for one in found for candidate in one.candidates]
    assert len(everything) == len({pipelines.key(one.spec) for one in everything}) == 24


@pytest.mark.parametrize("said", ["", "Sure! Here you are:", '{"variations": []}', None])
async def test_a_model_of_no_use_leaves_the_search_that_mle_star_makes(
    chat: Chat, log: Any, said: str | None
) -> None:
    chat.answer = lambda _: completion(said, usage=False)
    found = await search(log)
    rules = await search(log, {**PARAMS, "policy": "mle_star", "arm": "mle_star", "dice": ""})
    assert [[one.spec for one in each.candidates] for each in found] == [
        [one.spec for one in each.candidates] for each in rules
    ]
    assert {one.by for each in found for one in each.candidates} == {"rules"}
    asked = [one for one in found if one.model]
    assert asked
    assert all((one.tokens_in, one.tokens_out) == (None, None) for one in asked)


async def test_a_step_is_made_anew_from_the_log_alone(chat: Chat, log: Any) -> None:
    chat.answer = from_schema
    found = await search(log)
    chat.answer = lambda _: Reply(500, b"")
    names = [candidate.name for one in found for candidate in one.candidates]
    earlier = [one.task for one in found[:-1]]
    again = await propose_llm(log.task("any", task="again", params=PARAMS, needs=(*names, *earlier), seed=5))
    assert again.done
    with pytest.raises(UsageError, match=r"no answer to the question|are not what llm"):
        await propose_llm(log.task("any", task="again", params=PARAMS, needs=tuple(names), seed=5))


def test_a_batch_is_no_larger_for_being_answered() -> None:
    options = {"budget": 12, "batch": 2, "seed": 1, "arm": "a"}
    trials: list[Trial] = []
    while not isinstance(move := propose_told(SPACE, trials, [], **options), Question):  # type: ignore[arg-type]
        trials += [Trial(spec=draft.spec, score=score(draft.spec)) for draft in move.drafts]
    assert move.count == 2
    specs = [
        one
        for scale in pipelines.space("classification", 13).choices["scale"]
        if pipelines.key(one := msgspec.structs.replace(move.base, scale=scale)) not in move.known
    ]
    told = propose_told(SPACE, trials, [specs], **options)  # type: ignore[arg-type]
    assert not isinstance(told, Question)
    assert [(draft.by, draft.spec) for draft in told.drafts] == [("llm", spec) for spec in specs[:2]]


def test_it_is_no_pure_task() -> None:
    assert (service.tasks["propose_llm"].pure, service.tasks["propose_llm"].lane) == (False, "io")


# -- what is asked, and what is made of the answer ---------------------------------------------------------

BASE = Spec(scale="standard", model="svm", hyperparameters={"C": 10.0, "kernel": "rbf", "gamma": "scale"})
KNOWN = frozenset({pipelines.key(BASE), pipelines.key(msgspec.structs.replace(BASE, scale="power"))})


def question(block: str = "scale", count: int = 3) -> Question:
    return Question(block=block, base=BASE, count=count, known=KNOWN)


def read(block: str, *variations: Any, count: int = 3) -> asking.Told:
    return asking.read(json.dumps({"variations": variations}), SPACE, question(block, count))


def test_a_question_tells_the_block_what_is_allowed_and_what_came_of_pipelines() -> None:
    trials = [Trial(spec=BASE, score=0.9731), Trial(spec=BASE, score=0.0, failed=True)]
    text = "\n".join(message["content"] for message in asking.messages(SPACE, trials, question()))
    assert "classification" in text
    assert "13 features" in text
    assert "0.9731" in text
    assert "could not be fitted" in text
    assert "Allowed: none, minmax, robust, quantile." in text  # power was proposed before
    text = str(asking.messages(SPACE, trials, question("hyperparameters")))
    assert "C: a number from 0.03 to 100" in text


@pytest.mark.parametrize("block", SPACE.blocks)
def test_what_the_schema_shows_is_valid(block: str) -> None:
    form = asking.schema(SPACE, question(block))
    text = json.loads(
        from_schema(Asked("", {}, {"response_format": {"json_schema": {"schema": form}}})).body["choices"][0][
            "message"
        ]["content"]
    )
    told = asking.read(json.dumps(text), SPACE, question(block))
    assert told.specs
    assert all("proposed already" in reason for reason in told.refused)


def test_valid_variations_change_the_block_and_nothing_else() -> None:
    told = read("scale", {"scale": "robust"}, {"scale": "none"})
    assert told == asking.Told(
        tuple(msgspec.structs.replace(BASE, scale=scale) for scale in ("robust", "none")), ()
    )
    told = read("hyperparameters", {"hyperparameters": {"C": 3}})
    assert told.specs[0] == msgspec.structs.replace(
        BASE, hyperparameters={"C": 3.0, "kernel": "rbf", "gamma": "scale", "max_iter": 100_000}
    )
    [other] = read("model", {"model": "random_forest", "hyperparameters": {"max_depth": 6}}).specs
    assert (other.scale, other.model, other.hyperparameters) == (
        "standard",
        "random_forest",
        {"max_depth": 6},
    )


@pytest.mark.parametrize(
    ("block", "variation", "reason"),
    [
        ("scale", {"model": "svm"}, "it changes model; asked for was scale"),
        ("scale", {"scale": "robust", "select": "best_50"}, "it changes select"),
        ("scale", {}, "it does not say scale"),
        ("scale", {"scale": "logarithmic"}, "there are none, standard"),
        ("scale", {"scale": ["robust"]}, "Expected `str`"),
        ("scale", {"scale": "power"}, "it was proposed already"),
        ("scale", {"scale": "standard"}, "it changes nothing"),
        ("model", {"model": "svm", "hyperparameters": {"C": 1}}, "it changes nothing"),
        ("hyperparameters", {"hyperparameters": {}}, "it changes nothing"),
        ("hyperparameters", {"hyperparameters": {"C": 10}}, "it changes nothing"),
        ("model", {"model": "transformer"}, "there are logistic_regression"),
        ("model", {"model": "random_forest", "hyperparameters": {"C": 1}}, "C is not varied"),
        ("hyperparameters", {"hyperparameters": {"C": 1e9}}, "allowed is a number from 0.03 to 100"),
        ("hyperparameters", {"hyperparameters": {"C": "10"}}, "allowed is a number"),
        ("hyperparameters", {"hyperparameters": {"C": True}}, "allowed is a number"),
        ("hyperparameters", {"hyperparameters": {"max_iter": 10**9}}, "max_iter is not varied"),
        ("hyperparameters", {"hyperparameters": {"__class__": 1}}, "__class__ is not varied"),
        ("hyperparameters", {"hyperparameters": None}, "Expected `object`"),
    ],
)
def test_what_is_no_new_variation_of_the_block_is_refused_with_its_reason(
    block: str, variation: Any, reason: str
) -> None:
    told = read(block, variation)
    assert told.specs == ()
    [refused] = told.refused
    assert reason in refused
    assert refused.startswith(json.dumps(variation)[:40])


def test_what_is_twice_or_too_much_is_refused() -> None:
    told = read("scale", {"scale": "robust"}, {"scale": "robust"}, {"scale": "none"}, count=1)
    assert [spec.scale for spec in told.specs] == ["robust"]
    assert [reason.rpartition(": ")[2] for reason in told.refused] == [
        "it was proposed already",
        "1 were asked for",
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"variations": [{"scale": "robust"}',
        '{"variations": {"scale": "robust"}}',
        '{"variations": ["robust"]}',
        '[{"scale": "robust"}]',
        '{"variations": [], "comment": "none"}',
        '```json\n{"variations": [{"scale": "robust"}]}\n```',
        "[" * 100_000,
        json.dumps({"variations": [{"scale": "robust"}] * 65}),
        '{"variations": [{"scale": "\\ud800"}]}',
    ],
)
def test_what_is_no_answer_is_refused_as_a_whole(text: str) -> None:
    told = asking.read(text, SPACE, question())
    assert told.specs == ()
    assert len(told.refused) == 1
    assert len(told.refused[0]) < 300


# -- the protocol ------------------------------------------------------------------------------------------


def ask(chat: Chat, **more: Any) -> llm.Said:
    endpoint = llm.Endpoint(**{"url": chat.url, "model": "m", "timeout_s": 20.0, **more})
    schema = asking.schema(SPACE, question())
    return asyncio.run(llm.ask(endpoint, [{"role": "user", "content": "?"}], schema, seed=2**40 + 7))


def test_a_request_is_what_the_protocol_says(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(llm.KEY, f" {SECRET}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("OPENAI_ORG_ID", "another")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer another\nX-Own: another")
    chat.answer = lambda _: completion("{}")
    said = ask(chat)
    assert (said.text, said.model, said.tokens_in, said.tokens_out) == ("{}", "small-1", 90, 7)
    [asked] = chat.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    assert "another" not in str(asked)
    body = asked.body
    assert (body["model"], body["temperature"], body["seed"]) == ("m", 0.0, 7)
    assert body["max_tokens"] == 512
    assert body["response_format"]["type"] == "json_schema"


def test_a_server_without_formats_is_asked_once_more_without(chat: Chat) -> None:
    chat.answer = lambda asked: (
        Reply(400, {"error": {"message": "response_format?"}})
        if "response_format" in asked.body
        else completion("{}")
    )
    assert ask(chat).text == "{}"
    assert len(chat.asked) == 2


@pytest.mark.parametrize("key", ["", SECRET])
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_named_and_not_shown(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, status: int, key: str
) -> None:
    monkeypatch.setenv(llm.KEY, key)
    chat.answer = lambda _: Reply(status, {"error": {"message": f"Incorrect API key: {SECRET[:8]}"}})
    with pytest.raises(UsageError, match="SWARM_LLM_API_KEY is not") as caught:
        ask(chat)
    assert caught.value.field == "SWARM_LLM_API_KEY"
    assert SECRET[:8] not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_fails_is_asked_again_by_the_engine(chat: Chat, status: int) -> None:
    chat.answer = lambda _: Reply(status, {"error": {"message": "busy"}})
    with pytest.raises(TaskFailed, match="did not answer") as caught:
        ask(chat)
    assert caught.value.retryable
    assert len(chat.asked) == 1


def test_a_server_that_takes_too_long_or_is_away_is_tried_again(chat: Chat) -> None:
    def never(_: Asked) -> Reply:
        chat.closing.wait()
        return Reply(500, b"")

    chat.answer = never
    with pytest.raises(TaskFailed, match="did not answer") as caught:
        ask(chat, timeout_s=0.2)
    assert caught.value.retryable
    with pytest.raises(TaskFailed, match="did not answer") as caught:
        ask(chat, url="http://127.0.0.1:1/v1")
    assert caught.value.retryable


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"choices": []}', b"[1]"])
def test_what_is_no_chat_completion_is_said_so(chat: Chat, body: bytes) -> None:
    chat.answer = lambda _: Reply(200, body)
    with pytest.raises(TaskFailed, match="SWARM_LLM_URL"):
        ask(chat)


def test_an_endless_answer_is_not_read(chat: Chat) -> None:
    chat.answer = lambda _: completion("x" * (1024 * 1024 + 1))
    with pytest.raises(TaskFailed, match="more than 1048576 bytes"):
        ask(chat)


def test_a_model_that_is_not_there_is_no_reason_to_try_again(chat: Chat) -> None:
    chat.answer = lambda _: Reply(404, {"error": {"message": "no model m"}})
    with pytest.raises(UsageError, match=r"no model m.*SWARM_LLM_MODEL"):
        ask(chat)


async def test_without_an_endpoint_the_first_step_says_which_setting_to_give(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_endpoint", llm.Endpoint(url=""))
    with pytest.raises(UsageError, match="SWARM_LLM_URL"):
        await propose_llm(log.task("propose_llm", params=PARAMS))


async def test_without_the_library_the_first_step_says_what_installs_it(
    chat: Chat, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UsageError, match=r"pip install 'swarm-optimizer\[llm\]'"):
        await propose_llm(log.task("propose_llm", params=PARAMS))
    assert not chat.asked


def test_a_key_that_is_none_is_refused_without_being_shown(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(llm.KEY, "sk-\u20ac-1")
    with pytest.raises(UsageError, match="SWARM_LLM_API_KEY") as caught:
        ask(chat)
    assert "\u20ac" not in str(caught.value)


async def test_a_key_is_in_no_event_even_if_the_server_says_it(
    chat: Chat, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(llm.KEY, SECRET)
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    said = f'{{"variations": [{{"{SECRET}": "{escaped}"}}, {{"{escaped}": 1}}]}}'
    chat.answer = lambda _: completion(said, model=f"m {SECRET}")
    found = await search(log)
    assert chat.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert any("***" in one.answer for one in found)
    assert not any(SECRET.encode() in encode(event) for event in log.events)


async def test_of_a_long_answer_the_beginning_is_kept(chat: Chat, log: Any) -> None:
    chat.answer = lambda _: completion("ä" * 5000)
    found = await search(log, {**PARAMS, "budget": 12})
    kept = {one.answer for one in found if one.model}
    assert kept == {"ä" * 2048}


# -- what a real model says --------------------------------------------------------------------------------


async def test_recorded_answers_of_a_small_model_lead_a_search(chat: Chat, log: Any) -> None:
    """Requests and responses as they went between us and the model; for a question of today there is a response."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    responses = {json.dumps(one["request"], sort_keys=True): one["response"] for one in recorded["exchanges"]}
    chat.answer = lambda asked: Reply(200, responses[json.dumps(asked.body, sort_keys=True)])
    found = await search(log, {**PARAMS, "budget": recorded["budget"]})
    asked = [one for one in found if one.model]
    assert len(asked) == len(responses) > 2
    assert {one.block for one in asked} > {"scale"}
    assert [one.answer for one in asked] == [
        one["response"]["choices"][0]["message"]["content"] for one in recorded["exchanges"]
    ]
    for one, exchange in zip(asked, recorded["exchanges"], strict=True):
        proposed = [candidate for candidate in one.candidates if candidate.by == "llm"]
        assert (len(proposed), len(one.refused)) == (exchange["valid"], exchange["refused"])
        assert one.tokens_in == exchange["response"]["usage"]["prompt_tokens"] > 100
    assert sum(exchange["valid"] for exchange in recorded["exchanges"]) > 0
    assert sum(exchange["refused"] for exchange in recorded["exchanges"]) > 0
