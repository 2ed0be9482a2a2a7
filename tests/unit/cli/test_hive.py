"""A hive run's tables say what was promised and what was not, in words; what does not hold is shown."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from msgspec.structs import replace

from swarm_cli.commands.run import simulation
from swarm_cli.hive import hive_of, outside_text, replay_text, show_hive, verdict_cell
from swarm_cli.report.page import page
from swarm_cli.result import show_result
from swarm_common.errors import UsageError
from swarm_common.events import Event, Metric
from swarm_common.runs import RunView, fold, new_view

VOID = {"meta", "path", "circle"}


class Balance(HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Close what is opened here."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


CELL: dict[str, Any] = {
    "mechanism": "raft", "agents": 3, "fault": "crash", "inside": True, "verdict": "held", "worlds": 100,
    "unsafe": 0, "stuck": 0, "asked": 300, "decided": 300, "during": 290, "decision_ms": 12.0, "p99_ms": 90.0,
    "messages": 5000, "invariants": {"election safety": 0},
}  # fmt: skip
LIE = CELL | {"fault": "byzantine", "inside": False, "verdict": "unsafe", "unsafe": 7}
FOUND: dict[str, Any] = {
    "mechanism": "raft", "agents": 3, "fault": "byzantine", "inside": False, "seed": 42000007,
    "invariant": "agreement", "what": "agreement: in slot 0 agent 1 decided 'a', agent 2 'b' (at 20 ms)",
    "plan": "{}", "chart": " 0 ms  0 --> 1  <Append>\n 1 ms  0 --> 2  Append\n",
}  # fmt: skip
MATRIX: dict[str, Any] = {
    "matrix": [CELL, CELL | {"agents": 100, "verdict": "slowed"}, LIE], "counterexamples": [FOUND],
}  # fmt: skip
LIVE: dict[str, Any] = {
    "mechanism": "pbft", "agents": 4, "fault": "none", "inside": True, "verdict": "held", "asked": 200,
    "decisions": 200, "unanswered": 0, "processes": 2, "p50_us": 2500.0, "p99_us": 8000.0, "round_us": 1000.0,
    "rounds": 2.5, "messages": 24.0, "throughput_s": 812.0, "gap_us": None, "agreement": 1.0,
    "linearizable": True, "operations": 400, "violations": [], "history": "", "first_us": 9000.0,
    "quality": None, "source": "e1",
}  # fmt: skip
BROKEN = LIVE | {
    "fault": "byzantine_more", "inside": False, "verdict": "unsafe", "linearizable": False,
    "violations": ["agreement: slot 3"], "history": "1 invoke read x", "throughput_s": None, "gap_us": 12_000.0,
}  # fmt: skip
SPREAD: dict[str, Any] = {
    "way": "push", "agents": 8, "loss": 0.0, "repetitions": 9, "rounds": 5.5, "rounds_low": 5.0,
    "rounds_high": 6.0, "most_rounds": 8, "bound": 3.0, "expected": 5.08, "messages": 40.0, "messages_an_agent": 5.0,
    "curve": [0.25, 0.5, 0.9, 1.0],
}  # fmt: skip
QUALITY: dict[str, Any] = {
    "mechanism": "voting", "world": "condorcet", "agents": 5, "trials": 100, "quality": 0.7, "low": 0.6,
    "high": 0.78, "expected": 0.68, "optimum": 0.71, "made_of": "one_proposal", "best_agent": 0.66,
    "mean_agent": 0.6, "over_mean": 0.1,
}  # fmt: skip
EMERGED: dict[str, Any] = {
    "phenomenon": "cascades", "agents": 10, "repetitions": 40, "observed": 0.5, "null": 0.49, "effect": 0.02,
    "low": -0.2, "high": 0.25, "p_value": 0.8, "verdict": "no effect shown",
    "measure": "length of the first run", "null_model": "private signals alone",
    "shares": {"wrong_cascade": 0.25, "wrong_cascade_expected": 0.247},
}  # fmt: skip
EVERYTHING = MATRIX | {
    "live": [LIVE, BROKEN],
    "spread": [SPREAD],
    "quality": [QUALITY],
    "emergence": [EMERGED],
}


def view_of(result: dict[str, Any], *metrics: Metric, suite: str = "hive") -> RunView:
    view = new_view("r")
    view.suite, view.result, view.metrics, view.status = suite, result, metrics, "completed"
    return view


def printed(capsys: pytest.CaptureFixture[str], result: dict[str, Any]) -> list[str]:
    hive = hive_of(view_of(result))
    assert hive is not None
    show_hive(hive)
    return capsys.readouterr().out.splitlines()


def test_the_matrix_says_in_words_what_held_and_what_was_never_promised(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [" ".join(line.split()) for line in printed(capsys, MATRIX)]
    assert lines[:4] == [
        "fault tolerance, simulated",
        "mechanism fault N=3 N=100",
        "raft crash held slowed",
        "raft byzantine (unsafe) outside its model",
    ]
    assert any("promises nothing" in line for line in lines)


def test_colours_are_for_promises_alone() -> None:
    hive = hive_of(view_of(MATRIX))
    assert hive is not None
    assert [verdict_cell(cell) for cell in hive.matrix] == [
        ("held", "green"),
        ("slowed", "yellow"),
        ("(unsafe)", "dim"),
    ]
    assert verdict_cell(replace(hive.matrix[2], inside=True)) == ("unsafe", "red")
    assert outside_text(hive.matrix) == "outside its model at N=3"
    assert outside_text(hive.matrix[:2]) == ""


def test_a_counterexample_is_charted_with_the_command_that_runs_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "\n".join(printed(capsys, MATRIX))
    assert "0 --> 1  <Append>" in text
    assert "-p protocol=raft -p agents=3 -p faults=byzantine -p first_seed=42000007 -p seeds=1" in text
    broken = [FOUND | {"seed": seed, "inside": True} for seed in range(9)]
    text = "\n".join(printed(capsys, MATRIX | {"counterexamples": [*broken, FOUND]}))
    assert text.count("again: ") == 3
    assert all(f"seed {seed}, inside its fault model" in text for seed in range(9))
    assert "outside its fault model: agreement" in text


def test_a_taste_charts_broken_promises_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show_result(view_of({"hive": MATRIX}, suite="quick"))
    text = capsys.readouterr().out
    assert "seed 42000007, outside its fault model" in text
    assert "again: " not in text
    show_result(view_of({"hive": MATRIX | {"counterexamples": [FOUND | {"inside": True}]}}, suite="quick"))
    assert "again: " in capsys.readouterr().out


def test_a_taste_shows_the_scores_that_no_table_of_its_own_has(capsys: pytest.CaptureFixture[str]) -> None:
    score = Metric(name="score.lateral", value=0.875, unit="ratio")
    gap = Metric(name="gap.raft", value=0.5, unit="ratio")
    show_result(view_of({"hive": MATRIX}, score, gap, suite="quick"))
    text = capsys.readouterr().out
    assert "score.lateral" in text
    assert "gap.raft" not in text
    show_result(view_of(MATRIX, score, suite="hive"))
    assert "score.lateral" not in capsys.readouterr().out


def test_live_cells_are_held_against_the_round_of_the_same_agents(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [" ".join(line.split()) for line in printed(capsys, {"live": [LIVE, BROKEN]})]
    assert "pbft 4 none held 2.50 ms 8.00 ms 2.50 24.0 812 200 of 200 1 yes, 400 operations" in lines
    assert any("(unsafe)" in line and "12.00 ms" in line and "NO, 400" in line for line in lines)
    assert "pbft, 4 agents, byzantine_more: agreement: slot 3" in lines
    assert "1 invoke read x" in lines
    many = {"violations": [f"agreement: slot {slot}" for slot in range(9)]}
    text = "\n".join(
        printed(capsys, {"live": [BROKEN | many, BROKEN | many | {"inside": True, "agents": 5}]})
    )
    assert "4 agents, byzantine_more: agreement: slot 0; more in the report" in text
    assert "4 agents, byzantine_more: agreement: slot 1" not in text
    assert "5 agents, byzantine_more: agreement: slot 8" in text


def test_gossip_quality_and_emergence_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(printed(capsys, {"spread": [SPREAD], "quality": [QUALITY], "emergence": [EMERGED]}))
    for part in (
        "▃▅█",
        "[5.00, 6.00]",
        "5.08",
        "0.680",
        "0.710",
        "one proposal",
        "[0.6, 0.78]",
        "+0.020",
        "p 0.8",
        "no effect shown",
        "alone",
        "wrong cascade 0.250 (0.247 in theory)",
    ):
        assert part in text


def test_metrics_of_single_cells_stand_in_the_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = [Metric(name=name, value=1, unit="count") for name in ("unsafe_inside", "gap.raft.4.crashes")]
    show_result(view_of({"live": [LIVE]}, *metrics))
    text = capsys.readouterr().out
    assert "unsafe_inside" in text
    assert "gap.raft" not in text


@pytest.mark.parametrize("result", [{}, {"matrix": [{"mechanism": 3}]}, {"matrix": "x"}, {"tasks": 3}])
def test_a_result_of_something_else_has_no_tables(result: dict[str, Any]) -> None:
    assert hive_of(view_of(result)) is None


def test_another_suites_result_is_left_alone() -> None:
    assert hive_of(view_of(MATRIX, suite="ensemble")) is None
    assert hive_of(view_of({"hive": MATRIX}, suite="quick")) is not None


def test_the_report_has_all_of_it_and_is_whole(recorded: list[Event]) -> None:
    view = fold(recorded[0].run, recorded)
    view.suite, view.result = "hive", EVERYTHING
    html = page(view, recorded)
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    for text in ("(unsafe)", "outside its model", "0 --&gt; 1  &lt;Append&gt;", "log2 N = 3.00", "no effect shown",
                 "first_seed=42000007", "1 invoke read x", "agreement: slot 3", "verdict-held"):  # fmt: skip
        assert text in html
    assert "<Append>" not in html
    assert "metrics of single cells" not in html
    assert html.count('class="curve c0"') == 2


def test_metrics_of_single_cells_are_folded_away_on_the_page(recorded: list[Event]) -> None:
    view = fold(recorded[0].run, recorded)
    view.suite, view.result = "hive", EVERYTHING
    view.metrics = tuple(
        Metric(name=name, value=1, unit="ratio") for name in ("agreement", "quality.raft", "quality.pbft")
    )
    html = page(view, recorded)
    assert "2 metrics of single cells" in html
    assert html.index("agreement</th>") < html.index("2 metrics of single cells") < html.index("quality.raft")


def test_the_report_of_another_suite_has_none_of_it(recorded: list[Event]) -> None:
    html = page(fold(recorded[0].run, recorded), recorded)
    assert "Fault tolerance" not in html
    assert "Gossip" not in html


SUITES = [
    {"name": "hive", "scenarios": [{"name": "live"}, {"name": "simulate"}]},
    {"name": "noop", "scenarios": [{"name": "throughput"}]},
]


def test_simulate_picks_the_scenario() -> None:
    assert simulation(SUITES, "hive") == "simulate"
    assert simulation(SUITES, "hive", "simulate") == "simulate"
    assert simulation(SUITES, "nope") == "simulate"  # the coordinator knows better what is wrong with that


@pytest.mark.parametrize(
    ("suite", "scenario", "said"),
    [("noop", "", "suite noop has no simulation; there is one in hive"), ("hive", "live", "live is another")],
)
def test_simulate_where_there_is_none_says_what_there_is(suite: str, scenario: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        simulation(SUITES, suite, scenario)


def test_the_command_to_run_a_world_again_is_one_line() -> None:
    hive = hive_of(view_of(MATRIX))
    assert hive is not None
    assert "\n" not in replay_text(hive.counterexamples[0])
