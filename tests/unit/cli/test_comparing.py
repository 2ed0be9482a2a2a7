"""What `swarm compare` makes of recorded runs: like with like, one value a start, and assumptions that are checked."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from support.sessions import HARD, SAME, SLOWER, World, in_turns, simulate
from swarm_cli.comparing import Comparison, compare_pairs, compare_runs
from swarm_cli.comparing_checks import apart_reasons, host_reasons
from swarm_cli.comparing_groups import Settings
from swarm_cli.comparing_rows import Row
from swarm_cli.comparing_runs import Facts, Measure, facts_of, named
from swarm_cli.comparing_show import document, show
from swarm_cli.history import series_of
from swarm_common import clock
from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Event, Host, Samples

HOST = Host(cpu="a processor", cores=2, memory=2**33, system="Linux", python="CPython 3.11", load=0.1)
BEGAN_NS = clock.parse_ns("2026-11-21T10:00:00Z")


def seconds(value: float | None) -> Measure:
    return Measure(name="seconds", value=value, unit="s", better="lower", timing=True)


def accuracy(value: float | None, **more: Any) -> Measure:
    return Measure(name="accuracy", value=value, unit="ratio", better="higher", timing=False, **more)


def run(name: str, *metrics: Measure, at_s: float = 0.0, **more: Any) -> Facts:
    known: dict[str, Any] = {
        "suite": "noop",
        "scenario": "throughput",
        "params": {"tasks": 3},
        "seed": 42,
        "start": name,
        "host": HOST,
        "deterministic": True,
        "digest": "sha256:1",
    }
    started = clock.format_ns(BEGAN_NS + int(at_s * 1e9))
    return Facts(run=name, started=started, metrics=metrics, **{**known, **more})


def timed(side: str, mean: float, count: int, later_s: float = 0.0, **more: Any) -> list[Facts]:
    """Return runs whose logarithm of seconds is around ``mean``, within 5 %."""
    draw = random.Random(f"{side}/{mean}")  # noqa: S311 - seeded, nothing secret
    return [
        run(f"{side}-{at}", seconds(draw.lognormvariate(mean, 0.05)), at_s=later_s + at, **more)
        for at in range(count)
    ]


def compared(base: list[Facts], head: list[Facts], **settings: Any) -> Comparison:
    return compare_runs(base, head, Settings(**settings))


def only(comparison: Comparison) -> Row:
    (row,) = comparison.rows
    return row


# -- what is timed -----------------------------------------------------------------------------------------


def test_a_slow_down_over_many_starts_is_a_regression_and_the_way_back_an_improvement() -> None:
    base, head = timed("base", 0.0, 20), timed("head", 0.1, 20, 30)
    row = only(compared(base, head))
    assert (row.verdict, row.per, row.n_base, row.n_head) == ("regression", "run", 20, 20)
    assert row.low is not None
    assert row.high is not None
    assert 0.05 < row.low < math.expm1(0.1) < row.high < 0.16
    assert compared(base, head).exit_code == 1
    assert only(compared(head, base)).verdict == "improvement"
    assert compared(head, base).exit_code == 0


def test_many_runs_of_one_start_a_side_tell_nothing_and_say_what_would() -> None:
    row = only(compared(timed("base", 0.0, 20, start="one"), timed("head", 0.3, 20, 30, start="two")))
    assert (row.verdict, row.per, row.n_base) == ("inconclusive", "start", 1)
    assert "cannot be told from a restart" in row.reason
    assert row.needs == 4


def test_runs_of_one_start_count_as_their_median() -> None:
    base = [
        run(f"b{at}", seconds(value), at_s=at, start=f"s{at // 3}") for at, value in enumerate([1, 9, 2] * 5)
    ]
    head = [
        run(f"h{at}", seconds(value), at_s=20 + at, start=f"t{at // 3}")
        for at, value in enumerate([3, 4, 8] * 5)
    ]
    row = only(compared(base, head))
    assert (row.per, row.n_base, row.n_head, row.base, row.head) == ("start", 5, 5, 2.0, 4.0)


def test_what_one_start_served_on_both_sides_is_compared_run_by_run() -> None:
    row = only(compared(timed("base", 0.0, 20, start="same"), timed("head", 0.1, 20, 30, start="same")))
    assert (row.verdict, row.per, row.n_base) == ("regression", "run", 20)


def test_several_starts_that_served_both_sides_are_pairs() -> None:
    level = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    base = [run(f"b{at}", seconds(math.exp(one)), at_s=at, start=f"s{at}") for at, one in enumerate(level)]
    head = [
        run(f"h{at}", seconds(math.exp(one + 0.1 + at / 1e3)), at_s=at, start=f"s{at}")
        for at, one in enumerate(level)
    ]
    row = only(compared(base, head))
    assert (row.verdict, row.per, row.n_base) == ("regression", "start", 8)
    assert row.method.startswith("Wilcoxon")
    mixed = only(compared(base, [*head[:4], *(replace(one, start="other") for one in head[4:])]))
    assert mixed.verdict == "inconclusive"
    assert "served both sides" in mixed.reason


@pytest.mark.parametrize(
    ("host", "word"),
    [
        (replace(HOST, cpu="another"), "processor a processor and another"),
        (replace(HOST, cores=4), "cores 2 and 4"),
        (replace(HOST, memory=2**34), "memory 8 GiB and 16 GiB"),
        (replace(HOST, python="CPython 3.13"), "Python"),
        (replace(HOST, versions={"numpy": "9"}), "numpy 9"),
        (replace(HOST, load=3.0), "not as busy: 0.1 processes a core in base, 3 in head"),
        (None, "does not say which machine head"),
    ],
)
def test_timings_of_another_machine_are_inconclusive_and_what_was_computed_is_not(
    host: Host | None, word: str
) -> None:
    base = [replace(one, metrics=(*one.metrics, accuracy(0.9))) for one in timed("base", 0.0, 20)]
    head = [
        replace(one, metrics=(*one.metrics, accuracy(0.9))) for one in timed("head", 0.1, 20, 30, host=host)
    ]
    rows = {row.metric: row for row in compared(base, head).rows}
    assert rows["seconds"].verdict == "inconclusive"
    assert word in rows["seconds"].reason
    assert rows["accuracy"].verdict == "equal"


def test_like_machines_give_no_reason() -> None:
    assert (
        host_reasons(timed("base", 0, 3), timed("head", 0, 3, host=replace(HOST, load=0.5, since="later")))
        == ()
    )


def test_sides_that_lie_days_apart_are_one_session_each() -> None:
    base, head = timed("base", 0.0, 20), timed("head", 0.1, 20, later_s=86_400)
    row = only(compared(base, head))
    assert row.verdict == "inconclusive"
    assert "lie 24 h apart, each within 19 s" in row.reason
    nightly = [
        replace(one, started=clock.format_ns(BEGAN_NS + at * 86_400 * 10**9))
        for at, one in enumerate(base + head)
    ]
    assert apart_reasons(nightly[:20], nightly[20:]) == ()
    assert apart_reasons(head, base) == apart_reasons(base, head)


def test_a_drift_is_no_regression() -> None:
    draw = random.Random(3)  # noqa: S311
    runs = [run(f"r{at}", seconds(math.exp(at / 40 + draw.gauss(0, 0.05))), at_s=at) for at in range(40)]
    row = only(compared(runs[:20], runs[20:]))
    assert row.verdict == "inconclusive"
    assert "drift with time" in row.reason


def test_the_number_of_metrics_raises_the_bar() -> None:
    def many(side: str, shift: float) -> list[Facts]:
        draws = [random.Random(f"{side}/{at}") for at in range(40)]  # noqa: S311
        found = []
        for one in range(6):
            values = [math.exp(draw.gauss(shift if at == 0 else 0.0, 0.05)) for at, draw in enumerate(draws)]
            metrics = [replace(seconds(value), name=f"m{at}") for at, value in enumerate(values)]
            found.append(run(f"{side}{one}", *metrics, at_s=one + (10 if side == "head" else 0)))
        return found

    base, head = many("base", 0.0), many("head", 0.12)
    alone = only(compared(base, head, metrics=("m0",)))
    among = next(row for row in compared(base, head).rows if row.metric == "m0")
    assert alone.p == among.p
    assert alone.p_adjusted is not None
    assert among.p_adjusted is not None
    assert alone.p_adjusted < 0.05 <= among.p_adjusted
    assert (alone.verdict, among.verdict) == ("regression", "inconclusive")
    assert among.needs is not None
    assert among.needs > 6


# -- what is computed --------------------------------------------------------------------------------------


def test_what_repeats_is_equal_to_the_digit_in_one_run_a_side() -> None:
    row = only(compared([run("a", accuracy(0.9))], [run("b", accuracy(0.9))]))
    assert (row.verdict, row.per, row.shift, row.p) == ("equal", "seed", 0.0, None)
    assert "so are the digests" in row.reason


def test_a_difference_on_the_same_seed_is_a_fact_and_shown_with_the_runs_own_interval() -> None:
    base, head = (
        run("a", accuracy(0.9, low=0.88, high=0.92)),
        run("b", accuracy(0.8, low=0.77, high=0.83), digest="2"),
    )
    row = only(compared([base], [head]))
    assert row.verdict == "regression"
    assert (row.base_low, row.base_high, row.head_low, row.head_high) == (0.88, 0.92, 0.77, 0.83)
    assert row.shift == pytest.approx(-1 / 9)
    assert only(compared([head], [base])).verdict == "improvement"
    small = only(compared([base], [replace(head, metrics=(accuracy(0.88),))]))
    assert (small.verdict, small.shift) == ("equal", pytest.approx(-0.0222, abs=1e-4))
    assert (
        only(compared([base], [replace(head, metrics=(accuracy(0.88),))], threshold=0.01)).verdict
        == "regression"
    )


def test_seeds_are_held_against_themselves() -> None:
    base = [run(f"b{seed}", accuracy(0.5 + seed / 20), seed=seed) for seed in range(8)]
    head = [run(f"h{seed}", accuracy((0.5 + seed / 20) * 0.9), seed=seed, digest="2") for seed in range(8)]
    row = only(compared(base, head))
    assert (row.verdict, row.per, row.n_base) == ("regression", "seed", 8)
    assert row.shift == pytest.approx(-0.1)
    others = only(compared(base[:3], head[5:]))
    assert (others.verdict, others.reason) == ("inconclusive", "no seed is the same on both sides")


def test_runs_that_say_they_repeat_and_do_not_are_named() -> None:
    row = only(compared([run("a", accuracy(0.9)), run("b", accuracy(0.8))], [run("c", accuracy(0.9))]))
    assert row.verdict == "inconclusive"
    assert "differ although they say that they repeat" in row.reason


def test_runs_that_do_not_repeat_are_samples() -> None:
    base = [run(f"b{at}", accuracy(0.9 + at / 1000), deterministic=False, start="x") for at in range(10)]
    head = [run(f"h{at}", accuracy(0.8 + at / 1000), deterministic=False, start="y") for at in range(10)]
    row = only(compared(base, head))
    assert (row.verdict, row.per, row.n_base) == ("regression", "run", 10)
    assert row.p is not None


# -- what has no partner -----------------------------------------------------------------------------------


def test_only_like_is_compared_with_like_and_the_rest_is_named() -> None:
    base = [run("a", accuracy(0.9)), run("b", accuracy(0.9), params={"tasks": 5})]
    head = [run("c", accuracy(0.9)), run("d", accuracy(0.9), suite="hive")]
    found = compared(base, head)
    assert len(found.rows) == 1
    assert found.notes == (
        "1 run of noop/throughput (tasks=5) only in base: not compared",
        "1 run of hive/throughput (tasks=3) only in head: not compared",
    )
    nothing = compared(base[1:], head[1:])
    assert (nothing.rows, nothing.verdict, nothing.exit_code) == ((), "inconclusive", 3)


def test_a_metric_that_one_side_lacks_is_named() -> None:
    found = compared([run("a", accuracy(0.9), seconds(1.0))], [run("b", accuracy(0.9), seconds(None))])
    assert [row.metric for row in found.rows] == ["accuracy"]
    assert found.notes == ("noop/throughput (tasks=3): seconds was not measured in head",)


def test_runs_that_failed_speak_up() -> None:
    failed = [run(f"f{at}", status="failed", at_s=20 + at) for at in range(10)]
    base = [run(f"b{at}", accuracy(0.9), at_s=at) for at in range(10)]
    assert only(compared(base, failed)).verdict == "regression"
    assert only(compared(failed, base)).verdict == "improvement"
    one = only(compared(base[:1], failed[:1]))
    assert (one.verdict, one.metric) == ("inconclusive", "completed")
    assert "1 of 1 and 0 of 1" in one.reason


# -- pairs, samples, documents -----------------------------------------------------------------------------


def test_pairs_are_tested_as_pairs_whatever_the_machine_did() -> None:
    base, head = timed("base", 0.0, 12, host=None), timed("head", 0.0, 12, host=None)
    wild = [math.exp(3 * math.sin(at)) for at in range(12)]
    base = [replace(one, metrics=(seconds(value),)) for one, value in zip(base, wild, strict=True)]
    head = [
        replace(one, metrics=(seconds(value * (1.1 + at / 1000)),))
        for at, (one, value) in enumerate(zip(head, wild, strict=True))
    ]
    row = only(compare_pairs(base, head, Settings()))
    assert (row.verdict, row.per, row.n_base, row.p) == ("regression", "pair", 12, pytest.approx(2 / 2**12))


def test_samples_of_events_become_a_metric_with_their_number(make_run: Callable[..., list[Event]]) -> None:
    events = make_run()
    data = msgspec.defstruct("Measured", [("samples", tuple), ("concludes", bool, False)], frozen=True)(
        samples=(Samples(name="read", unit="us", values=(1.0, 2.0, 9.0), of="10"),)
    )
    facts = facts_of(events[0].run, [*events[:-1], replace(events[1], data=data), events[-1]])
    found = {one.name: one for one in facts.metrics}
    assert (found["read 10"].value, found["read 10"].samples, found["read 10"].timing) == (2.0, 3, True)
    assert found["accuracy"].value == 0.9
    assert facts.start.startswith("/swarm/coordinator/")


def test_names_are_separated_by_commas() -> None:
    assert named("a, b,c.jsonl") == ["a", "b", "c.jsonl"]
    with pytest.raises(UsageError, match="between two commas"):
        named("a,,b")


def test_a_comparison_is_shown_with_reasons_and_as_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(timed("base", 0.0, 20), timed("head", 0.1, 20, 30))
    show(found)
    out = capsys.readouterr().out
    assert "noop/throughput (tasks=3)" in out
    assert "20+20 runs" in out
    assert "regression: 1 regression (" in out
    plain = document(found, base=["x"])
    assert (plain["exit_code"], plain["verdict"], plain["base"]) == (1, "regression", ["x"])
    assert plain["rows"][0]["metric"] == "seconds"


# -- history -----------------------------------------------------------------------------------------------


def test_a_history_has_its_changes_with_date_run_and_direction() -> None:
    runs = [*timed("old", 0.0, 15, session="nightly-1"), *timed("new", 0.3, 15, 100, session="nightly-2")]
    (series,) = series_of(runs, "seconds", suite="noop", session="nightly-*")
    (move,) = series.changes
    assert (move.run, move.session, move.verdict) == ("new-0", "nightly-2", "regression")
    assert move.time == runs[15].started
    assert move.shift == pytest.approx(math.expm1(0.3), abs=0.06)
    assert [point.run for point in series.points] == [one.run for one in runs]
    assert series_of(runs, "seconds", last=10)[0].changes == ()


def test_a_history_takes_one_value_a_start() -> None:
    runs = [run(f"r{at}", seconds(float(at)), at_s=at, start=f"s{at // 2}") for at in range(6)]
    (series,) = series_of(runs, "seconds")
    assert [(point.value, point.runs) for point in series.points] == [(0.5, 2), (2.5, 2), (4.5, 2)]
    (alone,) = series_of([replace(one, start="same") for one in runs], "seconds")
    assert len(alone.points) == 6


def test_a_metric_that_nobody_measured_is_named_with_those_that_are() -> None:
    with pytest.raises(NotFound, match="3 runs, and none measured 'second'; they have seconds"):
        series_of(timed("a", 0.0, 3), "second")


def test_pairs_are_open_while_more_of_them_could_decide() -> None:
    base = timed("base", 0.0, 8)
    near, worse, same = (timed("head", mean, 8) for mean in (math.log(1.05), 0.6, 0.0))
    found = {
        name: compare_pairs(base, head, Settings(looks=2))
        for name, head in (("near", near), ("worse", worse), ("same", same))
    }
    assert {name: one.verdict for name, one in found.items()} == {
        "near": "inconclusive",
        "worse": "regression",
        "same": "inconclusive",
    }
    assert {name for name, one in found.items() if one.open} == {"near", "same"}
    unknown = [
        [replace(run, metrics=tuple(replace(one, better="neither") for one in run.metrics)) for run in side]
        for side in (base, worse)
    ]
    changed = compare_pairs(*unknown, Settings(looks=2))
    assert (changed.verdict, changed.open) == ("inconclusive", False)


# -- how often it errs: few sessions here, a thousand in bench/comparing.py -----------------------------------


@pytest.mark.parametrize("world", SAME, ids=lambda world: world.name)
def test_where_nothing_changed_a_regression_is_seldom_seen(world: Any) -> None:
    assert sum(simulate(world, seed).false for seed in range(6)) <= 1


def test_the_worlds_are_hard_enough_that_a_test_by_itself_would_cry() -> None:
    levels = [world for world in HARD if world.name.startswith("a level of each side, 5 %")]
    assert [simulate(world, seed).false for world in levels for seed in range(3)] == [True] * 3


def test_a_shift_of_just_the_threshold_is_rarely_called_equal_however_often_one_looks() -> None:
    sides = in_turns(120, drift=0.05, noise=0.05, shift=0.05, slower=1)
    world = World("just the threshold", sides, 1, paired=True, looks=(30, 60, 120), slower=1)
    assert sum(simulate(world, seed).verdict == "equal" for seed in range(100)) <= 8


@pytest.mark.parametrize("world", SLOWER, ids=lambda world: world.name)
def test_ten_per_cent_are_found(world: Any) -> None:
    assert sum(simulate(world, seed).found for seed in range(10)) >= 9
