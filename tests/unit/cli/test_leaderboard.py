"""The leaderboard says who stands where, and of the ensemble no more than was shown."""

from __future__ import annotations

from typing import Any

import pytest

from swarm_cli.leaderboard import Board, beside_text, board_of, sentence, show_board, verdict_text
from swarm_cli.result import show_result
from swarm_common.events import Metric
from swarm_common.events.metrics import Comparison
from swarm_common.runs import RunView, new_view

VERDICT: dict[str, Any] = {
    "metric": "accuracy", "better": "higher", "baseline": "svm", "difference": 0.006, "low": -0.004, "high": 0.016,
    "p_value": 0.3123, "method": "McNemar's exact test", "estimator": "", "n": 500,
    "verdict": "no difference shown", "reason": "",
}  # fmt: skip
MODELS: list[dict[str, Any]] = [
    {"model": "svm", "model_type": "svm", "score": 0.95, "low": 0.93, "high": 0.97, "out_of_fold": 0.96,
     "weight": 0.6, "gain": 0.002, "fit_s": 0.02, "cpu_s": 0.08, "device": "cpu", "best_single": True},
    {"model": "deep", "model_type": "random_forest", "score": 0.97, "low": 0.95, "high": 0.98, "out_of_fold": 0.94,
     "weight": 0.3, "gain": -0.001, "fit_s": 0.2, "cpu_s": 0.5, "device": "cpu", "best_single": False},
    {"model": "flat", "model_type": "flat", "score": None, "weight": 0.1},
]  # fmt: skip
RESULT: dict[str, Any] = {
    "strategy": "weighted", "main": "accuracy", "models": MODELS, "verdict": VERDICT,
    "ensemble": {"score": 0.956, "low": 0.93, "high": 0.98, "out_of_fold": 0.965},
}  # fmt: skip


def view_of(result: dict[str, Any], *metrics: Metric) -> RunView:
    view = new_view("r")
    view.result, view.metrics, view.status = result, metrics, "completed"
    return view


def board(result: dict[str, Any] | None = None, **more: Any) -> Board:
    found = board_of(view_of((RESULT if result is None else result) | more))
    assert found is not None
    return found


def comparison(**more: Any) -> Comparison:
    return Comparison(**(VERDICT | more))


def test_the_ensemble_stands_in_its_place_among_the_models() -> None:
    rows = board().rows
    assert [(row.rank, row.model, row.together, row.best_single) for row in rows] == [
        (1, "deep", False, False),
        (2, "weighted", True, False),
        (3, "svm", False, True),
        (None, "flat", False, False),
    ]
    assert rows[1].out_of_fold == 0.965


def test_equal_scores_share_the_better_rank() -> None:
    equal = [{"model": name, "score": score} for name, score in (("a", 0.9), ("b", 0.9), ("c", 0.8))]
    rows = board(models=equal, ensemble={"score": 0.95}).rows
    assert [(row.rank, row.model) for row in rows] == [(1, "weighted"), (2, "a"), (2, "b"), (4, "c")]


def test_of_errors_the_least_is_first() -> None:
    error = Metric(name="mse", value=2.0, unit="target^2", better="lower", low=1.0, high=3.0)
    models = [{"model": "a", "score": 3.0}, {"model": "b", "score": 1.0}]
    found = board_of(view_of({"main": "mse", "models": models}, error))
    assert found is not None
    assert [row.model for row in found.rows] == ["b", "ensemble", "a"]
    assert (found.rows[1].low, found.rows[1].rank) == (1.0, 2)


def test_results_of_older_runs_have_a_leaderboard_too() -> None:
    accuracy = Metric(name="accuracy", value=0.95, unit="ratio", low=0.9, high=1.0)
    old = {"strategy": "soft", "models": [{"model": "svm", "accuracy": 0.94, "fit_s": 0.1}]}
    found = board_of(view_of(old, accuracy))
    assert found is not None
    assert [(row.model, row.score) for row in found.rows] == [("soft", 0.95), ("svm", 0.94)]
    assert not found.told
    assert board().told


@pytest.mark.parametrize("result", [{}, {"tasks": 2}, {"models": 5}, {"models": ["svm"]}, {"models": []}])
def test_other_results_have_none(result: dict[str, Any]) -> None:
    assert board_of(view_of(result)) is None


def test_the_verdict_is_one_sentence() -> None:
    assert verdict_text(board()) == (
        "weighted is 0.6 points better than the best single model (svm): no difference shown,"
        " 95 % interval [-0.4, 1.6], p 0.31 (McNemar's exact test)"
    )
    assert verdict_text(board(verdict=None)) == ""


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"difference": -0.02, "low": -0.03, "high": -0.01, "p_value": 0.00002, "verdict": "worse"},
            ("weighted is 2.0 points worse than svm: difference shown, 95 % interval [-3.0, -1.0],"
            " p < 0.001 (McNemar's exact test)"),
        ),
        (
            {"difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0},
            "weighted is as good as svm: no difference shown, 95 % interval [0.0, 0.0], p 1 (McNemar's exact test)",
        ),
        (
            {"metric": "r2", "difference": 0.0123, "low": 0.001, "high": 0.02, "p_value": 0.04, "verdict": "better",
             "method": "paired permutation test of squared errors, 9999 permutations"},
            ("weighted is 0.0123 (r2) better than svm: difference shown, 95 % interval [0.0010, 0.0200],"
            " p 0.04 (paired permutation test of squared errors)"),
        ),
        (
            {"metric": "mse", "better": "lower", "difference": -0.5, "low": None, "high": None, "p_value": None,
             "reason": "no variance"},
            "weighted is 0.5000 (mse) better than svm: no difference shown, no variance",
        ),
        (
            {"baseline": "best single", "n": 5, "method": "corrected resampled t-test"},
            ("weighted is 0.6 points better than the best single model over 5 splits: no difference shown,"
            " 95 % interval [-0.4, 1.6], p 0.31 (corrected resampled t-test)"),
        ),
    ],
)  # fmt: skip
def test_the_sentence_claims_what_was_shown(more: dict[str, Any], text: str) -> None:
    assert sentence("weighted", comparison(**more)) == text


def test_the_terminal_shows_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    shown = board(
        strategies=[
            {
                "strategy": "stacking",
                "score": 0.97,
                "out_of_fold": 0.98,
                "consensus_s": 0.012,
                "verdict": VERDICT,
            }
        ],
        arms=[{"arm": "random", "score": 0.94, "evaluations": 30, "cpu_s": 12.0, "chosen": {"model": "svm"}}],
    )
    show_board(shown)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        "rank", "model", "type", "accuracy", "interval", "out", "of", "fold", "weight", "gain", "fit", "CPU", "device",
    ]  # fmt: skip
    assert lines[2].split()[:5] == ["1", "deep", "random_forest", "0.9700", "[0.95,"]
    assert lines[3].split()[:3] == ["2", "weighted", "0.9560"]
    assert lines[3].endswith("ensemble")
    assert lines[4].endswith("best single")
    assert lines[6] == verdict_text(shown)
    (strategy,) = [line for line in lines if line.startswith("stacking")]
    assert "12.00 ms" in strategy
    assert "+0.6 points: no difference shown" in strategy
    (arm,) = [line for line in lines if line.startswith("random")]
    assert arm.split()[1:] == ["0.9400", "30", "12", "s", '{"model":"svm"}']


def test_an_arm_that_asked_a_language_model_says_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    llm = {"model": "small", "proposed": 9, "valid": 4, "evaluated": 3, "refused": []}
    show_board(board(arms=[{"arm": "random", "score": 0.9}, {"arm": "llm", "score": 0.9, "llm": llm}]))
    lines = capsys.readouterr().out.splitlines()
    assert any("language model" in line for line in lines)
    [row] = [line for line in lines if line.startswith("llm")]
    assert "9 proposed, 4 valid, 3 evaluated" in row


def test_a_strategy_may_say_its_verdict_in_words() -> None:
    strategies = [
        {"strategy": "soft", "score": 0.9, "verdict": "no difference shown", "p_value": 0.25},
        {"strategy": "greedy", "score": 0.9, "verdict": "worse", "p_value": None},
        {"strategy": "majority", "score": 0.9},
    ]
    assert [beside_text(one) for one in board(strategies=strategies).strategies] == [
        "no difference shown, p 0.25",
        "worse",
        "",
    ]


def test_a_part_that_is_something_else_is_left_out_alone() -> None:
    found = board(arms={"mine": 1}, verdict="better")
    assert (found.arms, found.verdict) == ((), None)
    assert len(found.rows) == 4


def test_a_result_shows_its_leaderboard(capsys: pytest.CaptureFixture[str]) -> None:
    show_result(view_of(RESULT))
    assert verdict_text(board()) in capsys.readouterr().out
    show_result(view_of({"tasks": 2}))
    assert "leaderboard" not in capsys.readouterr().out
