"""Turns: a seeded coin for each pair, programs that are timed, and a file that is read again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from swarm_cli.commands.compare import part
from swarm_cli.comparing_runs import Facts, Measure
from swarm_cli.interleaving import (
    NAMES,
    Pairs,
    interleave,
    is_pairs,
    looks_at,
    order_of,
    read_pairs,
    sides,
    write_pairs,
)
from swarm_cli.interleaving_arms import Command, call, commit_of, environment
from swarm_common.errors import InvalidEvent, NotFound, SwarmError, UsageError


class Counting:
    """An arm that notes when it was its turn."""

    def __init__(self, label: str, turns: list[str]) -> None:
        self.label = label
        self._turns = turns

    def run(self) -> Facts:
        self._turns.append(self.label)
        value = float(len(self._turns))
        return Facts(
            run="", metrics=(Measure(name="turn", value=value, unit="count", better="neither", timing=True),)
        )


def python(code: str) -> Command:
    return Command(f"{sys.executable} -c '{code}'", name="base")


def values(facts: Facts) -> dict[str, float | None]:
    return {one.name: one.value for one in facts.metrics}


def test_a_coin_decides_each_pair_and_the_seed_decides_the_coin() -> None:
    order = order_of(200, 1)
    assert order == order_of(200, 1) != order_of(200, 2)
    assert order[:50] == order_of(50, 1)
    assert 70 < order.count("base") < 130
    assert {(a, b) for a, b in pairwise(order)} == {(a, b) for a in NAMES for b in NAMES}


def test_both_arms_warm_up_and_then_take_turns_in_the_order_of_the_coin() -> None:
    turns: list[str] = []
    said: list[str] = []
    found = interleave((Counting("base", turns), Counting("head", turns)), [12], 7, say=said.append)
    assert turns[:2] == ["base", "head"]
    for at, first in enumerate(order_of(12, 7)):
        assert turns[2 + 2 * at : 4 + 2 * at] == [first, *(name for name in NAMES if name != first)]
        pair = found.pairs[at]
        assert pair.first == first
        assert {values(pair.base)["turn"], values(pair.head)["turn"]} == {3.0 + 2 * at, 4.0 + 2 * at}
    assert said[-1].startswith("pair 12 of 12: turn ")


def test_looks_are_at_twice_as_many_each_time_and_at_the_most() -> None:
    assert looks_at(30, 30) == [30]
    assert looks_at(30, 240) == [30, 60, 120, 240]
    assert looks_at(30, 100) == [30, 60, 100]


@pytest.mark.parametrize(("stop", "made", "looked"), [(1, 2, [2]), (2, 4, [2, 4]), (9, 7, [2, 4])])
def test_it_goes_on_only_while_something_is_open(stop: int, made: int, looked: list[int]) -> None:
    asked: list[int] = []
    said: list[str] = []
    turns: list[str] = []

    def decided(pairs: Pairs) -> bool:
        asked.append(len(pairs.pairs))
        return len(asked) == stop

    arms = Counting("base", turns), Counting("head", turns)
    found = interleave(arms, [2, 4, 7], 7, say=said.append, decided=decided)
    assert (len(found.pairs), found.looks, asked, len(turns)) == (made, 3, looked, 2 + 2 * made)
    assert [pair.first for pair in found.pairs] == order_of(7, 7)[:made]
    assert ("after 4 pairs it is open: going on to 7" in said) == (made == 7)


def test_what_the_first_runs_measured_can_be_refused_before_any_pair() -> None:
    turns: list[str] = []

    def refuse(runs: Sequence[Facts]) -> None:
        raise UsageError(f"only {[one.name for run in runs for one in run.metrics]}", field="metric")

    with pytest.raises(UsageError, match="'turn', 'turn'"):
        interleave((Counting("a", turns), Counting("b", turns)), [5], 1, say=lambda _: None, warmed=refuse)
    assert turns == ["a", "b"]


def test_pairs_are_read_as_they_were_written(tmp_path: Path) -> None:
    turns: list[str] = []
    found = interleave((Counting("a", turns), Counting("b", turns)), [3], 1, say=lambda _: None)
    path = tmp_path / "pairs"
    write_pairs(path, found)
    assert is_pairs(path)
    assert read_pairs(path) == found
    assert [len(side) for side in sides(found)] == [3, 3]
    path.write_bytes(path.read_bytes().replace(b'"seed": 1', b'"seed": 1, "looks": 0'))
    with pytest.raises(InvalidEvent, match=r"`int` >= 1 - at `\$.looks`"):
        read_pairs(path)
    path.write_text('{"format": "swarm-pairs/2", "base": "a", "head": "b", "seed": 1, "pairs": []}')
    assert not is_pairs(path)
    with pytest.raises(InvalidEvent, match="no pairs of the format swarm-pairs/1"):
        read_pairs(path)
    with pytest.raises(NotFound):
        read_pairs(tmp_path / "none")


def test_a_program_is_timed_and_what_it_prints_is_taken() -> None:
    silent = values(python("sum(range(300000))").run())
    assert set(silent) == {"wall_s", "cpu_s"}
    assert silent["cpu_s"] is not None
    assert silent["wall_s"] is not None
    assert silent["cpu_s"] > 0
    metric = '{"name": "score", "value": 0.5, "unit": "ratio"}'
    spoken = python(f'print("a word before"); print("""{{"metrics": [{metric}], "seed": 3}}""")').run()
    assert values(spoken)["score"] == 0.5
    assert spoken.seed == 3


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(SwarmError, match="exit code 3: a last word"):
        python('import sys; sys.stderr.write("a last word"); sys.exit(3)').run()
    with pytest.raises(SwarmError, match="cannot be started"):
        call(["/nowhere/at-all"])


@pytest.mark.parametrize("text", ["", "'open", "no-such-program --x"])
def test_a_command_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--head-command"):
        Command(text, name="head")


def test_the_shell_has_no_say(tmp_path: Path) -> None:
    target = tmp_path / "written"
    Command(f"{sys.executable} -c pass ; touch {target} > {target}", name="base").run()
    assert not target.exists()


def test_packages_of_a_checkout_come_before_the_installed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_NATS_URL", "nats://127.0.0.1:1")
    package = tmp_path / "libs" / "swarm_common" / "src" / "swarm_common"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    environ = environment(tmp_path)
    assert "SWARM_NATS_URL" not in environ
    where = call([sys.executable, "-c", "import swarm_common; print(swarm_common.__file__)"], environ=environ)
    assert Path(where.decode().strip()).parent == package
    assert "PYTHONPATH" not in environment(tmp_path / "libs") or os.environ.get("PYTHONPATH")


def test_what_is_no_commit_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in no git repository"):
        commit_of(tmp_path, "HEAD")
    call(["git", "init", "-q", str(tmp_path)])
    for ref in ("HEAD", "--all", "nothing"):
        with pytest.raises(UsageError, match="names no commit"):
            commit_of(tmp_path, ref)


def test_a_threshold_is_read_both_ways() -> None:
    assert part("5%") == part("0.05") == 0.05
    for bad in ("x", "0", "-3%", "2000%", "nan"):
        with pytest.raises(UsageError, match="reads like"):
            part(bad)
