"""Modes route what they declare, agents speak one at a time, and figures say what happened: hand-made agents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from itertools import pairwise as pairwise_of
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.talks import Speak, play
from swarm_common.events import Event
from swarm_common.events.agent import Acted, Item
from swarm_common.events.benchmark import Completed, Failed, Rejected, TaskScheduled
from swarm_common.llm import Choices
from swarm_coordinator.plans import Scenario
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.coordination.data import AUTO
from swarm_coordinator.suites.coordination.data import own as own_book
from swarm_coordinator.suites.coordination.intervals import difference, share
from swarm_coordinator.suites.coordination.measures import covered
from swarm_coordinator.suites.coordination.modes import MODES
from swarm_coordinator.suites.coordination.scenarios.grid import pairwise

YES_NO = Choices(("yes", "no"))


def split(answers: str, number: int = 0) -> Item:
    """Return a question in pieces, each of which says its own answer: ``yyn`` has three."""
    words = ["yes" if letter == "y" else "no" for letter in answers]
    (most, _), *_ = Counter(words).most_common()
    return Item(
        id=f"split/{number}",
        question="What do most pieces say?",
        parts=tuple(f"It is {word}." for word in words),
        constraint=YES_NO,
        part_constraint=YES_NO,
        answer=most,
        checker="exact",
    )


STAGED = Item(
    id="staged/0",
    question="Do all three.",
    stages=("one", "two", "three"),
    stage_constraints=(YES_NO, YES_NO, YES_NO),
    answer="one two three",
    checker="exact",
)
QUESTIONS = tuple(
    split(answers, number) for number, answers in enumerate(("yyyny", "nnyyn", "ynyny", "nnnnn"))
)


def able(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:
    """Reads pieces rightly and counts what it hears; of a whole question it knows nothing and says yes."""
    if "stage" in params:
        before = f"{heard[-1].text} " if heard else ""
        return before + item.stages[params["stage"]]
    if len(params.get("parts", ())) == 1:
        return item.parts[params["parts"][0]].removeprefix("It is ").rstrip(".")
    if heard:
        return Counter(one.text for one in heard).most_common(1)[0][0]
    return "yes"


def run(scenario: str = "modes", speak: Speak = able, **params: Any) -> list[Event]:
    posed = params.pop("posed", QUESTIONS)
    order = params.pop("order", 0)
    if scenario != "grid":
        params.setdefault("items", len(posed))
    return play(scenario, params, speak, posed=posed, order=order)


def completed(log: Sequence[Event]) -> Completed:
    last = log[-1].data
    assert isinstance(last, Completed), last
    return last


def arm(log: Sequence[Event], name: str) -> dict[str, Any]:
    found = {one["name"]: one for one in completed(log).result["coordination"]["arms"]}
    return dict(found[name])


def acted(log: Sequence[Event], mode: str) -> dict[str, Acted]:
    return {
        event.data.task: event.data
        for event in log
        if isinstance(event.data, Acted) and event.data.task.startswith(f"{mode}-q")
    }


def heard(log: Sequence[Event], mode: str) -> Counter[tuple[str, str]]:
    """Return who heard whom, from the log alone."""
    turns = acted(log, mode)
    return Counter(
        (turns[name].agent, turn.agent)
        for turn in turns.values()
        for name in turn.heard
        if turns[name].agent != turn.agent
    )


# --- routes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy", ["analysis", "research", "development", "testing", "optimization", "maintenance"]
)
@pytest.mark.parametrize("agents", [5, 6, 9])
def test_nobody_hears_whom_the_graph_keeps_apart(strategy: str, agents: int) -> None:
    log = run(strategy=strategy, agents=agents, posed=(*QUESTIONS, STAGED))
    for name, mode in MODES.items():
        assert set(heard(log, name)) <= mode.seats(agents).edges
    assert next(metric.value for metric in completed(log).metrics if metric.name == "off_graph") == 0


def test_every_mode_has_a_message_graph_of_its_own() -> None:
    log = run()
    graphs = {name: frozenset(heard(log, name)) for name in MODES}
    assert len(set(graphs.values())) == len(MODES)
    assert {hearer for _, hearer in graphs["centralized"]} == {"hub"}
    assert graphs["mesh"] == MODES["mesh"].seats(6).edges
    tree = MODES["hierarchical"].seats(6)
    lead_of = {worker: lead for lead, members in tree.groups for worker in members}
    assert graphs["hierarchical"] == {*lead_of.items(), *((lead, "root") for lead, _ in tree.groups)}
    leaves = [set(members) for _, members in MODES["hybrid"].seats(6).groups]
    assert all(
        hearer == "root" or any({speaker, hearer} <= leaf for leaf in leaves)
        for speaker, hearer in graphs["hybrid"]
    )


def test_what_is_shown_of_a_mode_is_what_the_log_holds() -> None:
    log = run()
    for name in MODES:
        found = arm(log, name)
        assert {(one, other): count for one, other, count in found["edges"]} == heard(log, name)
        assert found["messages"] == heard(log, name).total() > 0


def test_a_worker_is_given_its_piece_and_no_other() -> None:
    log = run(modes=["centralized"])
    scheduled = [
        event.data for event in log if isinstance(event.data, TaskScheduled) and event.data.kind == "act"
    ]
    pieces = [task.params["parts"] for task in scheduled if "-p" in task.task]
    assert all(len(parts) == 1 for parts in pieces)
    assert len(pieces) == 5 * len(QUESTIONS)
    assert not any(task.params.get("parts") for task in scheduled if task.task.endswith("-join"))


def test_stages_follow_one_another_and_each_hears_the_one_before() -> None:
    log = run(posed=(STAGED,))
    for name in MODES:
        assert arm(log, name)["quality"] == 1, name
    assert [turn.agent for turn in acted(log, "mesh").values()] == ["peer-1", "peer-2", "peer-3"]
    assert len({turn.agent for turn in acted(log, "centralized").values()}) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_no_agent_takes_two_turns_at_once_in_whatever_order_they_end(order: int) -> None:
    log = run(order=order, agents=5, posed=QUESTIONS[:2])
    working: dict[str, str] = {}
    for event in log:
        if isinstance(event.data, TaskScheduled) and "agent" in event.data.params:
            agent = event.data.params["agent"]
            assert agent not in working, f"{agent} is still at {working.get(agent)}"
            working[agent] = event.data.task
        if isinstance(event.data, Acted):
            del working[event.data.agent]


def test_who_is_free_first_takes_the_next_job_and_changes_no_digest() -> None:
    logs = [run(modes=["distributed"], order=order) for order in range(4)]
    took = [{name: turn.agent for name, turn in acted(log, "distributed").items()} for log in logs]
    assert any(one != took[0] for one in took[1:])
    assert len({completed(log).digest for log in logs}) == 1


# --- ends -------------------------------------------------------------------------------------------------


def stubborn(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:  # noqa: ARG001
    """Half of the peers say yes, half say no, and nobody listens."""
    return "yes" if int(params["agent"].rpartition("-")[2] or 0) % 2 else "no"


def contrary(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:
    """Says the opposite of what it said last: an echo that would go on for ever."""
    mine = [one for one in heard if one.agent == params["agent"]]
    if not mine:
        return stubborn(params, item, ())
    return "no" if mine[0].text == "yes" else "yes"


@pytest.mark.parametrize(("speak", "rounds", "exchanges"), [(able, 9, 1), (stubborn, 9, 2), (contrary, 4, 4)])
def test_an_exchange_ends_by_rule(speak: Speak, rounds: int, exchanges: int) -> None:
    """All agree: after one. Nobody changes: after two. Otherwise after as many as are allowed."""

    def said(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:
        return speak(params, item, heard) if params["agent"].startswith("peer") else "yes"

    log = run(modes=["mesh"], speak=said, rounds=rounds, posed=QUESTIONS[:1])
    votes = [name for name in acted(log, "mesh") if "-vote" in name]
    assert len(votes) == 6 * exchanges


def test_an_agent_that_says_nothing_is_counted_and_costs_no_run() -> None:
    def half_mute(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:
        return "" if params["agent"] == "worker-1" else able(params, item, heard)

    log = run(modes=["centralized"], speak=half_mute)
    silent = sum(turn.agent == "worker-1" for turn in acted(log, "centralized").values())
    assert arm(log, "centralized")["silent"] == silent > 0
    missed = next(target for target in completed(log).targets if target.metric == "silent")
    assert not missed.met


def test_the_planner_says_the_same_of_the_same_log() -> None:
    first, second = run(), run()
    assert [event.id for event in first] == [event.id for event in second]
    assert completed(first).result == completed(second).result


# --- what was measured ------------------------------------------------------------------------------------


def test_modes_that_share_pieces_beat_one_who_guesses() -> None:
    log = run()
    for name in ("centralized", "distributed", "mesh"):
        assert arm(log, name)["quality"] == 1
    alone = arm(log, "alone")
    assert alone["quality"] == 0.5
    assert arm(log, "centralized")["gain"] == 0.5
    assert alone["calls"] == len(QUESTIONS)


def test_one_agent_gets_as_many_answers_as_the_modes_spend_tokens() -> None:
    log = run(modes=["mesh"])
    tokens = {name: arm(log, name)["tokens"] for name in ("mesh", "alone", "budget")}
    samples = arm(log, "budget")["samples"]
    assert samples % 2
    assert abs(samples - tokens["mesh"] / tokens["alone"]) <= 1.5
    temperatures = {
        event.data.params["temperature"]
        for event in log
        if isinstance(event.data, TaskScheduled) and event.data.task.startswith("budget-q")
    }
    assert temperatures == {0.7}
    seeds = Counter(
        event.data.params["seed"]
        for event in log
        if isinstance(event.data, TaskScheduled) and event.data.task.startswith("budget-q0-")
    )
    assert len(seeds) == samples


def test_time_without_a_model_call_is_overhead() -> None:
    found = arm(run(modes=["centralized"]), "centralized")
    assert found["overhead"] == pytest.approx(0.2, abs=1e-6)  # of each turn a fifth, one after the other
    assert covered([(0, 2), (1, 3), (5, 6), (5.5, 5.7)]) == 4


def test_a_hub_that_must_join_everything_is_seen() -> None:
    log = run(modes=["centralized"], agents=3)
    found = arm(log, "centralized")
    tokens = Counter({turn.agent: 0 for turn in acted(log, "centralized").values()})
    for turn in acted(log, "centralized").values():
        tokens[turn.agent] += turn.usage.total
    assert found["balance"] == pytest.approx(sum(tokens.values()) / 3 / max(tokens.values()))


def test_wilson_and_agresti_min_are_those_of_the_books() -> None:
    """Newcombe 1998 (table I): 81 of 263; Agresti and Min 2005 (the 2 x 2 table of their example)."""
    one = share([1.0] * 81 + [0.0] * 182, 1, "x")
    assert (round(one.low, 4), round(one.high, 4)) == (0.2553, 0.3662)
    ours = [1.0] * 132 + [1.0] * 107 + [0.0] * 6 + [0.0] * 899
    theirs = [1.0] * 132 + [0.0] * 107 + [1.0] * 6 + [0.0] * 899
    gap = difference(ours, theirs, 1, "x")
    assert gap.value == pytest.approx(101 / 1144)
    assert gap.low < gap.value < gap.high
    none = difference([1.0] * 5, [1.0] * 5, 1, "x")
    assert none.low < 0 == none.value < none.high


# --- the other scenarios ----------------------------------------------------------------------------------


def test_auto_takes_what_suits_the_shape_and_is_held_against_the_best() -> None:
    log = run("strategies")
    verdict = completed(log).result["coordination"]["verdicts"][0]
    assert verdict.startswith("auto took analysis: 1.00, beside 1.00 of")
    whole = Item(id="w/0", question="?", constraint=YES_NO, answer="yes", checker="exact")
    free = Item(id="f/0", question="?", answer="yes", checker="exact")
    assert (
        "auto took research, development:"
        in completed(run("strategies", posed=(whole, free))).result["coordination"]["verdicts"][0]
    )


def test_strategies_are_worked_on_in_their_own_way() -> None:
    log = run("strategies", posed=QUESTIONS[:1])
    purposes = {
        name: Counter(turn.purpose for turn in acted(log, name).values())
        for name in ("analysis", "research", "development", "testing", "optimization", "maintenance")
    }
    assert purposes["analysis"] == {"answer": 5, "join": 1}
    assert purposes["research"] == {"answer": 15, "join": 1}
    assert purposes["development"] == {"answer": 5, "review": 5, "join": 1}
    assert purposes["testing"] == {"answer": 5, "test": 5, "join": 1}  # two agree: nobody has to decide
    assert purposes["optimization"] == {
        "answer": 5,
        "improve": 5,
        "join": 1,
    }  # nothing changes: no second time
    assert purposes["maintenance"] == {"answer": 5, "review": 5, "join": 1}


def test_a_role_speaks_in_its_seat() -> None:
    log = run("roles", roles=["coder", "tester", "orchestrator"], posed=QUESTIONS[:1], mode="centralized")
    for name, purpose in (("coder", "answer"), ("tester", "review"), ("orchestrator", "join")):
        roles = {turn.role for turn in acted(log, name).values() if turn.purpose == purpose}
        assert roles == {name}
    instructions = {
        event.data.params.get("instructions", "")
        for event in log
        if isinstance(event.data, TaskScheduled) and event.data.task.startswith("orchestrator-q0-join")
    }
    assert instructions == {"You lead a team. Answer with what most of them say."}


def test_of_many_roles_those_that_differ_are_named_and_how_many_would_by_chance() -> None:
    def contrary(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:
        said = item.answer if len(params.get("parts", ())) != 1 else able(params, item, heard)
        return "yes" if params.get("role") == "orchestrator" and said == "no" else said

    posed = tuple(split("nnnny", number) for number in range(12))
    named = ["coder", "orchestrator"]
    (told,) = completed(run("roles", contrary, roles=named, posed=posed)).result["coordination"]["verdicts"]
    assert told.startswith(
        "Of 2 roles on 12 questions these differ from one agent alone beyond their interval: orch"
    )
    assert told.endswith(
        "orchestrator by -1.00 [-1.00, -0.63]. Of 2 intervals of 95 %, 0.1 are expected to do so by chance."
    )
    (told,) = completed(run("roles", contrary, roles=["coder"], posed=posed)).result["coordination"][
        "verdicts"
    ]
    assert told == "Of 1 roles on 12 questions none differs from one agent alone beyond its interval."


def test_every_pair_meets_in_the_grid() -> None:
    log = run("grid", items=len(QUESTIONS), agents=5)
    arms = [one for one in completed(log).result["coordination"]["arms"] if one["name"] != "alone"]
    assert len(arms) == 18 * 7
    effects = completed(log).result["coordination"]["effects"]
    assert Counter(one["factor"] for one in effects) == {"strategy": 7, "mode": 5, "role": 18}
    assert {one["cells"] for one in effects if one["factor"] == "strategy"} == {18}


@given(st.lists(st.integers(1, 7), min_size=3, max_size=3))
def test_a_covering_array_is_as_short_as_can_be(sizes: list[int]) -> None:
    factors = [[f"{factor}{value}" for value in range(size)] for factor, size in enumerate(sizes)]
    rows = pairwise(factors)
    largest = sorted(sizes)[1:]
    assert len(rows) == largest[0] * largest[1]
    for one, other in combinations(range(3), 2):
        assert {(row[one], row[other]) for row in rows} == set(product(factors[one], factors[other]))


def test_members_of_a_vote_are_graded_each_and_never_speak() -> None:
    def by_role(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:
        assert not heard
        wrong = "no" if item.answer == "yes" else "yes"
        number = int(item.id.rpartition("/")[2])
        lucky = {"coder": number != 0, "researcher": number != 1, "designer": number != 2}
        return item.answer if lucky.get(params.get("role", ""), False) else wrong

    log = run("votes", by_role, roles=["coder", "researcher", "designer"])
    result = completed(log).result["coordination"]
    assert [one["quality"] for one in result["members"]] == [0.75, 0.75, 0.75]
    metrics = {metric.name: metric.value for metric in completed(log).metrics}
    assert metrics["votes_minus_mean"] == metrics["votes_minus_best"] == 0.25
    assert arm(log, "votes")["messages"] == 0
    alone = [
        event.data.params
        for event in log
        if isinstance(event.data, TaskScheduled) and event.data.task == "alone-q0-alone-0"
    ]
    assert [(one["role"], "instructions" in one) for one in alone] == [("agent", False)]  # no member's twin


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "field", "named"),
    [
        ({"agents": 4}, "params.agents", "hierarchical needs 5"),
        ({"roles": ["wizard"]}, "params.role", "'wizard'"),
        ({"strategy": "luck"}, "params.strategy", "'luck'"),
        ({"executor": "anthropic", "model": "m"}, "params.budget_usd", "costs money"),
        ({"own": "[roles.mine]\ndescription = 'x'\n"}, "params.own", "line 1: roles.mine"),
        (
            {"own": "[roles.mine]\ndescription = 'x'\ninstructions = 'y'\nseat = 'top'\n"},
            "params.own",
            "line 4: roles",
        ),
        (
            {"own": "[strategies.mine]\ndescription = 'x'\nluck = 1\n"},
            "params.own",
            "line 3: strategies",
        ),
        ({"own": "[roles.mine\n"}, "params.own", "line 1"),
        ({"own": "[strategies.auto]\ndescription = 'x'\n"}, "params.own", "another name"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(params: dict[str, Any], field: str, named: str) -> None:
    (rejected,) = (event.data for event in run(**params))
    assert isinstance(rejected, Rejected)
    assert rejected.field == field
    assert named in rejected.reason


def test_roles_and_strategies_of_ones_own_are_used() -> None:
    own = """
[roles.pirate]
description = "Speaks as at sea"
instructions = "Arr."

[strategies.twice]
description = "Says it twice"
phases = [{ purpose = "answer" }, { purpose = "answer", hears = "last", ask = "Again." }]
"""
    log = run(modes=["centralized"], own=own, roles=["pirate"], strategy="twice", posed=QUESTIONS[:1])
    said = [
        event.data.params["instructions"]
        for event in log
        if isinstance(event.data, TaskScheduled) and event.data.task.startswith("centralized-q0-p0-")
    ]
    assert said == ["Arr.", "Arr. Again."]


def test_without_answers_there_is_no_result() -> None:
    """A run whose questions cannot be posed fails; nothing is made up for it."""

    def nobody(params: dict[str, Any], item: Item, heard: Sequence[Acted]) -> str:  # noqa: ARG001
        return ""

    log = run(modes=["centralized"], speak=nobody)
    assert arm(log, "centralized")["quality"] == 0
    assert not isinstance(log[-1].data, Failed)
    assert not all(target.met for target in completed(log).targets)


@pytest.mark.parametrize("scenario", SUITES["coordination"].scenarios, ids=lambda one: one.name)
def test_a_run_repeats_unless_it_leaves_the_machine_or_depends_on_who_was_first(scenario: Scenario) -> None:
    params = {param.name: param.default for param in scenario.params}
    assert scenario.repeats(params)
    assert scenario.repeats(params | {"executor": "embedded", "temperature": 0.7})
    for change in (
        *({"executor": executor} for executor in ("openai", "anthropic", "claude-code")),
        {"tools": True},
        {"budget_tokens": 1000},
        {"budget_usd": 0.5},
    ):
        assert not scenario.repeats(params | change)
    recorded = params | {"executor": "openai", "recording": "sha256:1"}
    assert scenario.repeats(recorded)
    assert not scenario.repeats(recorded | {"tools": True})


# --- the guide --------------------------------------------------------------------------------------------


def test_the_mode_and_the_roles_of_the_guide_work(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[3] / "docs/coordination.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    made: dict[str, Any] = {}
    exec(compile(code, "docs/coordination.md", "exec"), made)  # noqa: S102 - the page's own example
    monkeypatch.setitem(MODES, "mesh", made["MODE"])  # type: ignore[arg-type] - a mapping that the suite only reads
    log = run(modes=["mesh"], posed=QUESTIONS[:2])
    line = [f"link-{number}" for number in range(1, 7)]
    assert set(heard(log, "mesh")) == set(pairwise_of(line))
    assert next(metric.value for metric in completed(log).metrics if metric.name == "off_graph") == 0
    (own,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    roles = {turn.role for turn in acted(run(own=own, roles=["pirate"], strategy="twice"), "mesh").values()}
    assert "pirate" in roles


def test_every_role_and_strategy_that_is_promised_is_there() -> None:
    book = own_book()
    assert len(book.roles) == 18
    assert [AUTO, *book.strategies] == [
        "auto", "analysis", "research", "development", "testing", "optimization", "maintenance",
    ]  # fmt: skip
    assert all(len(role.instructions) <= 80 for role in book.roles.values())
