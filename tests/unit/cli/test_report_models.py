"""The report of an ensemble: what is drawn is what the events say, and what they do not say is left out."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from swarm_cli.report import charts, model_charts
from swarm_cli.report.diagnosis import Confusion, diagnose
from swarm_cli.report.page import page
from swarm_cli.report.workers import Piece, busy, pieces
from swarm_common.events import Array, Metric
from swarm_common.events.agent import CandidateEvaluated, DataPrepared, ModelTrained, PartTrained
from swarm_common.events.benchmark import Completed, Started
from swarm_common.events.consensus import Reached
from swarm_common.events.metrics import CalibrationBin, Scored
from swarm_common.pipelines import Spec
from swarm_common.runs import fold
from swarm_common.timeline import worker_of

NOTHING = Array("<f8", (1,), b"\0" * 8)


def started() -> Started:
    return Started(
        request_id="q", suite="ensemble", scenario="coins", params={}, session="default", seed=1, timeout_s=60.0,
        deadline="2026-11-21T10:01:00Z", tasks=(),
    )  # fmt: skip


def trained(model: str, after: str, **more: Any) -> ModelTrained:
    # The log of the tests begins on 15 January 2027 at 8 o'clock.
    return ModelTrained(
        **{
            "task": f"train-{model}", "model": model, "model_type": model, "hyperparameters": {}, "n_train": 10,
            "n_features": 2, "folds": 2, "score_name": "accuracy", "fitted": "", "fit_s": 0.5, "fold_s": (0.2, 0.2),
            "score_s": 0.1, "cpu_s": 1.5, "max_rss_bytes": 1, "worker": "host-1/10",
            "started": f"2027-01-15T08:00:{after}Z", "waited_s": 0.0,
        }
        | more
    )  # fmt: skip


def part(model: str, after: str, **more: Any) -> PartTrained:
    return PartTrained(
        **{
            "task": f"train-{model}-0", "model": model, "model_type": model, "hyperparameters": {}, "n_train": 10,
            "n_features": 2, "folds": 2, "predictions": NOTHING, "score_name": "accuracy", "fit_s": 0.5,
            "elapsed_s": 0.75, "cpu_s": 0.6, "max_rss_bytes": 1, "worker": "host-1/11",
            "started": f"2027-01-15T08:00:{after}Z", "waited_s": 0.0,
        }
        | more
    )  # fmt: skip


def reached(strategy: str = "weighted", **more: Any) -> Reached:
    return Reached(
        task="combine", strategy=strategy, members=("svm", "tree"), weights={"svm": 0.5, "tree": 0.5},
        prediction=NOTHING, agreement=0.9, confidence=0.8, out_of_fold_score=None, consensus_s=0.1, **more,
    )  # fmt: skip


def scored(source: str, confusion: tuple[tuple[int, ...], ...], *bins: CalibrationBin) -> Scored:
    metric = (Metric(name="accuracy", value=0.9, unit="ratio", low=0.8, high=1.0, source=(source,)),)
    return Scored(
        task="score", metrics=metric, members={"svm": metric, "tree": metric}, confusion=confusion, calibration=bins,
        elapsed_s=0.1,
    )  # fmt: skip


def one_bin(rows: int, confidence: float, accuracy: float) -> CalibrationBin:
    return CalibrationBin(low=0.8, high=0.9, rows=rows, confidence=confidence, accuracy=accuracy)


def prepared() -> DataPrepared:
    return DataPrepared(
        task="prepare", dataset="coins", problem="classification", n_train=10, n_test=4, n_features=2,
        classes=("<heads>", "tails"), y_train=NOTHING, y_test=NOTHING, sha256="", split_seed=1, elapsed_s=0.1,
    )  # fmt: skip


def completed(result: dict[str, Any]) -> Completed:
    return Completed(
        result=result, metrics=(), targets=(), digest="sha256:00", duration_s=2.0, clock="perf_counter", tasks=2,
        attempts=2, events=1, log_sha256="",
    )  # fmt: skip


RESULT: dict[str, Any] = {
    "strategy": "weighted",
    "main": "accuracy",
    "models": [
        {"model": "svm", "score": 0.95, "low": 0.9, "high": 1.0, "best_single": True},
        {"model": "tree", "score": 0.9, "low": 0.8, "high": 1.0},
    ],
    "ensemble": {"score": 0.956, "low": 0.9, "high": 1.0},
    "verdict": {
        "metric": "accuracy", "better": "higher", "baseline": "svm", "difference": 0.006, "low": -0.004, "high": 0.016,
        "p_value": 0.31, "method": "McNemar's exact test", "n": 500, "verdict": "no difference shown",
    },
    "strategies": [{"strategy": "stacking", "score": 0.97, "low": 0.9, "high": 1.0}],
    "arms": [{"arm": "random", "score": 0.94, "low": 0.9, "high": 0.99, "evaluations": 30, "chosen": {"C": 10}}],
}  # fmt: skip


@pytest.fixture
def html(log: Any) -> str:
    log.add(started())
    log.add(prepared())
    log.add(trained("svm", "00.500000"))
    answer = log.add(reached(disagreement=((0.0, 0.25), (0.25, 0.0))))
    log.add(scored(answer.id, ((5, 1), (0, 4)), one_bin(10, 0.85, 0.9)))
    log.add(completed(RESULT))
    return page(fold("run-1", log.events), log.events)


# -- workers -------------------------------------------------------------------------------------------------


def test_work_begins_when_the_worker_says_and_lasts_as_long_as_it_took(log: Any) -> None:
    log.add(started())
    log.add(trained("svm", "01.250000"))
    log.add(part("tree", "00.500000", fold=1))
    log.add(part("tree", "02.000000", trees=(0, 50)))
    assert [
        (one.worker, one.model, one.what, one.start_s, one.wall_s, one.cpu_s) for one in pieces(log.events)
    ] == [
        ("host-1/11", "tree", "fold 2", 0.5, 0.75, 0.6),
        ("host-1/10", "svm", "", 1.25, 1.0, 1.5),
        ("host-1/11", "tree", "trees 1 to 50", 2.0, 0.75, 0.6),
    ]


def test_the_candidates_of_a_search_are_its_work(log: Any) -> None:
    log.add(started())
    log.add(
        CandidateEvaluated(
            task="evaluate-7", arm="random", candidate="c7", spec=Spec(model="svm"), rows=10, folds=2,
            score_name="accuracy", fits=2.0, fit_s=0.5, fold_s=(0.2, 0.3), cpu_s=0.6, max_rss_bytes=1,
            worker="host-1/10", started="2027-01-15T08:00:03Z", waited_s=0.0,
        )
    )  # fmt: skip
    (only,) = pieces(log.events)
    assert (only.model, only.what, only.start_s, only.wall_s) == ("random", "c7", 3.0, 0.5)


def test_what_sums_up_parts_is_no_work_of_its_own(log: Any) -> None:
    log.add(started())
    log.add(part("tree", "00.500000"))
    whole = log.add(trained("tree", "00.500000", parts=2, worker="host-1/10, host-1/11"))
    (only,) = pieces(log.events)
    assert only.what == "all training rows"
    assert worker_of(whole) == "1"  # the instance, for none of the workers put it together


def test_a_worker_whose_clock_is_behind_did_not_begin_before_the_run(log: Any) -> None:
    log.add(started())
    log.add(trained("svm", "00.000000", started="2027-01-15T07:59:59Z"))
    assert pieces(log.events)[0].start_s == 0
    assert pieces(log.events[1:]) == []


def piece(worker: str, start_s: float, wall_s: float, model: str = "svm") -> Piece:
    return Piece(worker=worker, model=model, what="", start_s=start_s, wall_s=wall_s)


def test_a_worker_is_busy_for_its_share_of_the_training() -> None:
    found = [piece("a", 1.0, 1.0), piece("a", 2.0, 1.0), piece("b", 1.0, 0.5)]
    assert busy(found) == {"a": 1.0, "b": 0.25}
    assert busy([]) == {}


def test_a_bar_lies_where_its_work_lies_on_the_axis() -> None:
    drawn = model_charts.workers([piece("a", 0.0, 1.0), piece("b", 1.0, 3.0, "<tree>")])
    bars = re.findall(r'<rect class="bar solid k(\d)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', drawn)
    (first, second) = [tuple(float(number) for number in bar) for bar in bars]
    assert second[1] - first[1] == pytest.approx(first[3])
    assert second[3] == pytest.approx(3 * first[3])
    assert (first[0], second[0]) == (1, 0)  # the dearest model has the first colour
    assert first[2] != second[2]
    assert "<title>&lt;tree&gt;: 3.00 s from 1.00 s on</title>" in drawn
    assert "<desc>2 pieces of work on 2 worker processes" in drawn
    assert model_charts.workers([]) == ""


# -- held-out rows -------------------------------------------------------------------------------------------


def test_splits_of_the_same_combination_are_put_together(log: Any) -> None:
    log.add(prepared())
    for counts, bin_, apart in (
        (((5, 1), (0, 4)), one_bin(10, 0.85, 0.9), 0.1),
        (((3, 0), (2, 5)), one_bin(30, 0.81, 0.7), 0.3),
    ):
        answer = log.add(reached(disagreement=((0.0, apart), (apart, 0.0))))
        log.add(scored(answer.id, counts, bin_))
    other = log.add(reached("soft", disagreement=((0.0, 1.0), (1.0, 0.0))))
    log.add(scored(other.id, ((0, 9), (9, 0)), one_bin(1, 0.9, 0.0)))
    assert diagnose(log.events, "soft").splits == 1
    assert diagnose(log.events, "greedy") == diagnose(log.events, "weighted")  # the first one's kind
    found = diagnose(log.events, "weighted")
    assert found.splits == 2
    assert found.confusion == Confusion(("<heads>", "tails"), ((8, 1), (2, 9)))
    assert found.disagreement is not None
    assert found.disagreement.shares[0][1] == pytest.approx(0.2)
    (only,) = found.calibration
    assert (only.rows, only.confidence, only.accuracy) == (40, pytest.approx(0.82), pytest.approx(0.75))


def test_the_best_of_several_strategies_is_the_one_that_was_chosen(log: Any) -> None:
    for answer, counts in (
        (log.add(reached("weighted")), ((9, 0), (0, 9))),
        (log.add(reached("weighted", considered={"weighted": 0.1, "soft": 0.2})), ((5, 1), (0, 4))),
    ):
        log.add(scored(answer.id, counts))
    found = diagnose(log.events, "best").confusion
    assert found is not None
    assert found.counts == ((5, 1), (0, 4))


def test_what_old_logs_do_not_say_is_left_out(log: Any) -> None:
    log.add(started())
    answer = log.add(reached())
    log.add(msgspec.structs.replace(scored(answer.id, ((5, 1), (0, 4))), calibration=()))
    found = diagnose(log.events, "weighted")
    assert (found.disagreement, found.calibration) == (None, ())
    html = page(fold("run-1", log.events), log.events)
    assert "Leaderboard" in html
    for title in ("Calibration", "Who disagrees", "Time of the workers"):
        assert title not in html


def test_a_dot_lies_at_its_confidence_and_accuracy_and_is_larger_with_more_rows() -> None:
    drawn = model_charts.calibration([one_bin(1, 0.25, 0.75), one_bin(15, 0.75, 0.75)])
    dots = re.findall(r'<circle class="dot" cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', drawn)
    (few, many) = [tuple(float(number) for number in dot) for dot in dots]
    assert many[0] - few[0] == pytest.approx(130)
    assert few[1] == many[1] == pytest.approx(14 + 65)
    assert many[2] > few[2]
    assert "<title>1 row: 25.0 % sure, 75.0 % right</title>" in drawn
    assert model_charts.calibration([]) == ""


def test_a_score_below_zero_is_on_the_chart() -> None:
    bars = [charts.Bar("bad", -0.4, -0.9, 0.1, "ratio"), charts.Bar("good", 0.8, 0.7, 1.0, "ratio")]
    drawn = charts.intervals(bars, "r2")
    begins = [float(x) for x in re.findall(r'class="whisker" d="M([\d.-]+) ', drawn)]
    assert charts.LEFT <= begins[0] < begins[1]
    assert ">1<" in drawn  # the axis ends at 1, which no r2 is beyond


# -- the page ------------------------------------------------------------------------------------------------


def test_the_page_has_everything_once(html: str) -> None:
    for title in (
        "Leaderboard: weighted combination", "Strategies", "Arms", "Confusion matrix", "Calibration",
        "Who disagrees with whom", "Time of the workers",
    ):  # fmt: skip
        assert len(re.findall(f"<h[23]>{title}</h[23]>", html)) == 1
    assert "weighted is 0.6 points better than the best single model (svm): no difference shown" in html
    assert re.search(r"svm <span[^>]*>best single</span>", html)
    assert re.search(r"weighted <span[^>]*>ensemble</span>", html)
    assert "&lt;heads&gt;" in html
    assert "<heads>" not in html


def test_every_chart_is_told_in_words_and_in_a_table(html: str) -> None:
    drawn = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"><title>([^<]+)</title>', html)
    assert {label for label, _ in drawn} >= {
        "Calibration of the ensemble",
        "Time of the workers, by model",
        "accuracy of each model and of the ensemble, with intervals",
        "accuracy of each strategy, with intervals",
    }
    assert all(label == title for label, title in drawn)
    assert "The bins as a table" in html
    assert "The pieces as a table" in html
    assert html.count("<svg") - html.count('role="img"') == html.count('aria-hidden="true"')


def test_every_drawing_is_well_formed_and_within_its_frame(html: str) -> None:
    drawings = [ET.fromstring(text) for text in re.findall(r"<svg .*?</svg>", html, re.DOTALL)]  # noqa: S314
    assert len(drawings) > 4
    for drawing in drawings:
        _, _, width, height = (float(number) for number in drawing.attrib["viewBox"].split())
        for mark in drawing.iter():
            x, y = (
                float(mark.attrib.get(one, mark.attrib.get(other, 0)))
                for one, other in (("x", "cx"), ("y", "cy"))
            )
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_the_page_closes_what_it_opens(html: str) -> None:
    parser = Balance()
    parser.feed(html)
    assert parser.open == []


class Balance(HTMLParser):
    """Holds what is open; fails where something else is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_anywhere(html: str) -> None:
    assert re.findall(r"https?://|@import|url\(|<script|<link|<img|src=", html) == []
