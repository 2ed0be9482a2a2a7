"""`swarm run hive` and `--simulate`, from the command to the tables; a failing seed fails again; what is refused."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from support.stacks import SWARM, Stack, stack


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("hive") / "home") as found:
        yield found


def ask(hive: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SWARM, *arguments],
        cwd=hive.home.parent,
        env=hive.environ,
        capture_output=True,
        text=True,
        timeout=90.0,
        check=False,
    )


def run(hive: Stack, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hive.swarm("run", "hive", *arguments, "--check", "--json"))
    return found


SMALL = ("--simulate", "-p", "protocol=raft,pbft", "-p", "agents=3,4", "-p", "seeds=10")


@pytest.fixture(scope="module")
def simulated(hive: Stack) -> dict[str, Any]:
    return run(hive, *SMALL)


def test_a_simulation_is_the_same_each_time_and_holds_what_was_promised(
    hive: Stack, simulated: dict[str, Any]
) -> None:
    first, second = simulated, run(hive, *SMALL)
    assert first["scenario"] == "simulate"
    assert first["digest"] == second["digest"]
    assert first["deterministic"]
    cells = first["result"]["matrix"]
    assert len(cells) == 2 * 2 * 9
    assert {cell["worlds"] for cell in cells} == {10}
    assert not [cell for cell in cells if cell["inside"] and (cell["unsafe"] or cell["stuck"])]
    assert {cell["verdict"] for cell in cells if cell["fault"] == "none"} == {"held"}
    assert all(target["met"] for target in first["targets"])
    assert "equal" in hive.swarm("replay", "--decide", first["run"])


def test_another_seed_is_other_worlds(hive: Stack) -> None:
    one, other = (run(hive, *SMALL, "-p", "faults=loss", "--seed", seed)["digest"] for seed in ("7", "8"))
    assert one != other


def test_the_table_and_the_page_say_what_became_of_it(hive: Stack, simulated: dict[str, Any]) -> None:
    found = simulated["run"]
    shown = [" ".join(line.split()) for line in hive.swarm("show", found).splitlines()]
    assert "mechanism fault N=3 N=4" in shown
    assert any(line.startswith("raft byzantine (") and line.endswith("outside its model") for line in shown)
    assert any(line.startswith("pbft byzantine") and "outside its model at N=3" in line for line in shown)
    page = hive.swarm("report", found, "-o", "-")
    assert "Fault tolerance, simulated" in page
    assert "outside its model at N=3" in page


def test_a_seed_that_fails_fails_again_by_the_command_that_is_printed(hive: Stack) -> None:
    found = run(
        hive,
        "--simulate",
        "-p",
        "protocol=voting",
        "-p",
        "agents=3",
        "-p",
        "faults=byzantine",
        "-p",
        "seeds=80",
    )
    first = found["result"]["counterexamples"][0]
    assert first["invariant"] == "agreement"
    assert "violated: agreement" in first["chart"]
    (again,) = [
        line.partition("again: swarm ")[2]
        for line in hive.swarm("show", found["run"]).splitlines()
        if "again: " in line
    ]
    (one,) = json.loads(hive.swarm(*shlex.split(again), "--json"))["result"]["counterexamples"]
    assert {name: one[name] for name in ("seed", "invariant", "chart")} == {
        name: first[name] for name in ("seed", "invariant", "chart")
    }


def test_agents_decide_live_while_their_leader_crashes(hive: Stack) -> None:
    found = run(
        hive, "-p", "mechanisms=raft", "-p", "agents=3", "-p", "faults=none,leader_crash", "-p", "decisions=20",
        "-p", "rounds=10",
    )  # fmt: skip
    assert found["scenario"] == "live"
    assert not found["deterministic"]
    plain, crashed = found["result"]["live"]
    assert (plain["verdict"], crashed["verdict"]) == ("held", "held")
    assert plain["linearizable"]
    assert plain["messages"] == pytest.approx(4, rel=0.5)  # 2(N - 1), and a heartbeat now and then
    assert plain["rounds"] > 0.5
    assert crashed["gap_us"] > 0
    assert "equal" in hive.swarm("replay", found["run"])
    shown = hive.swarm("show", found["run"])
    assert "leader_crash" in shown
    assert "yes, " in shown


@pytest.mark.parametrize(
    ("scenario", "params", "says"),
    [
        ("decision_quality", ("agents=5", "trials=40", "mechanisms=voting,raft"), "decision quality"),
        ("knowledge", ("agents=16", "repetitions=5"), "gossip: rounds until all know"),
        ("emergence", ("agents=10", "repetitions=20"), "emergence: Cliff's delta"),
    ],
)
def test_what_a_swarm_knows_is_told(hive: Stack, scenario: str, params: tuple[str, ...], says: str) -> None:
    given = [part for param in params for part in ("-p", param)]
    first, second = (json.loads(hive.swarm("run", "hive", scenario, *given, "--json")) for _ in range(2))
    assert first["digest"] == second["digest"]
    assert says in hive.swarm("show", first["run"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hive", "--simulate", "-p", "protocol=rafter"), "params.protocol"),
        (("hive", "--simulate", "-p", "seeds=0"), "params.seeds"),
        (("hive", "--simulate", "-p", "protocol=pbft", "-p", "agents=2"), "params.agents"),
        (("hive", "--simulate", "-p", "faults=meteor"), "params.faults"),
        (("hive", "--simulate", "-p", "size=forever"), "params.size"),
        (("hive", "-p", "mechanisms=pbft", "-p", "agents=2"), "params.agents"),
        (("hive", "-p", "mechanisms=zab"), "params.mechanisms"),
        (("hive", "live", "-p", "seeds=3"), "scenario live has no parameter 'seeds'"),
        (("hive", "live", "--simulate"), "live is another"),
        (("noop", "--simulate"), "suite noop has no simulation; there is one in hive"),
        (("nope", "--simulate"), "there is no suite"),
    ],
)
def test_what_cannot_be_is_refused_with_2_and_says_why(
    hive: Stack, arguments: tuple[str, ...], said: str
) -> None:
    done = ask(hive, "run", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stdout + done.stderr


def test_the_scenarios_are_listed_with_their_parameters(hive: Stack) -> None:
    text = hive.swarm("suites", "hive")
    for part in (
        "live",
        "simulate",
        "unsafe_inside == 0",
        "-p protocol=",
        "multi_paxos",
        "one_way_partition",
    ):
        assert part in text
