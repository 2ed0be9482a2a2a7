"""``python -m swarm_consensus.simulator``: runs simulated worlds at the command line, for whoever writes a mechanism.

``--mechanism raft --agents 5 --fault crash --seeds 1000`` runs a cell of the fault matrix and draws the first failure,
made small; ``--seed 7`` shows that world alone, and ``--plan FILE`` that of a plan as counterexamples have it, with
``--trace`` all that happened in it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.consensus import Simulated
from swarm_common.verdicts import verdict
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.simulator.chart import chart
from swarm_consensus.simulator.draw import FAULTS, OTHERS, draw, inside
from swarm_consensus.simulator.plan import Plan
from swarm_consensus.simulator.run import SimulateParams, mechanism_of, simulate, simulate_params
from swarm_consensus.simulator.world import World


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 where all held that is inside the mechanisms' fault models, 1 otherwise, 2 for what cannot be run."""
    given = _parser().parse_args(arguments)
    try:
        if given.plan is not None:
            return _show_one(_plan(given.plan), everything=given.trace)
        if given.seed is not None:
            mechanism = mechanism_of(given.mechanism)
            plan = draw(mechanism, int(given.agents), given.fault, given.seed, values=given.values)
            return _show_one(plan, everything=given.trace)
        return _show_cells(given)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m swarm_consensus.simulator", description="Runs mechanisms in simulated worlds."
    )
    parser.add_argument(
        "--mechanism", default=",".join(MECHANISMS), help="one, or several with commas (default: all)"
    )
    parser.add_argument("--agents", default="3,4,5,7", help="how many, or several numbers with commas")
    parser.add_argument(
        "--fault",
        default=",".join(FAULTS),
        help=f"of {', '.join((*FAULTS, *OTHERS))} (default: the first eight)",
    )
    parser.add_argument("--seeds", type=int, default=100, help="worlds a cell (default: 100)")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first world of each cell")
    parser.add_argument("--values", type=int, default=3, help="how many are asked for in a world")
    parser.add_argument("--seed", type=int, help="show the world of this seed alone")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="show the world of this plan (JSON)")
    parser.add_argument(
        "--trace", action="store_true", help="with --seed or --plan: everything that happened"
    )
    return parser


def _plan(file: Path) -> Plan:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{file} has no plan of a world: {error}", field="plan", given=str(file)) from error


def _show_one(plan: Plan, *, everything: bool) -> int:
    world = World(mechanism_of(plan.mechanism), plan, trace=True)
    outcome = world.run()
    _print(chart(world.trace or [], lines=sys.maxsize if everything else 60, everything=everything))
    _print(f"\nplan: {msgspec.json.encode(plan).decode()}\n")
    if outcome.violation:
        _print(f"violated: {outcome.violation}")
    elif outcome.stopped:
        _print(f"stopped: never decided: {', '.join(outcome.undecided)}")
    else:
        _print(f"held: all decided after {outcome.ended_ms} ms, {outcome.deliveries} deliveries")
    return int(outcome.violation is not None or outcome.stopped)


def _show_cells(given: argparse.Namespace) -> int:
    failed = False
    _print(
        f"{'mechanism':12} {'n':>3} {'fault':18} {'model':7} {'verdict':8} {'unsafe':>6} {'stopped':>7} "
        f"{'decided':>8} {'p50 ms':>7} {'worlds/s':>8} {'deliveries/s':>12}"
    )
    for name in given.mechanism.split(","):
        for agents in map(int, given.agents.split(",")):
            base = simulate("none", _params(given, name, agents, "none", max(1, given.seeds // 3)))
            for fault in given.fault.split(","):
                cell = simulate(fault, _params(given, name, agents, fault, given.seeds))
                _print_cell(cell, base)
                failed |= cell.inside and bool(cell.unsafe or cell.stopped)
    return int(failed)


def _params(given: argparse.Namespace, name: str, agents: int, fault: str, seeds: int) -> SimulateParams:
    return simulate_params(
        {
            "mechanism": name,
            "agents": agents,
            "fault": fault,
            "seeds": seeds,
            "first_seed": given.first_seed,
            "values": given.values,
            "shrink": inside(mechanism_of(name), agents, fault),
        }
    )


def _print_cell(cell: Simulated, base: Simulated) -> None:
    times = "-" if cell.decision_ms is None else f"{cell.decision_ms[0]:.0f}"
    _print(
        f"{cell.mechanism:12} {cell.agents:3} {cell.fault:18} {'inside' if cell.inside else 'outside':7} "
        f"{verdict(cell, base):8} {cell.unsafe:6} {cell.stopped:7} {cell.decided / cell.asked:8.1%} {times:>7} "
        f"{cell.seeds / cell.elapsed_s:8,.0f} {cell.deliveries / cell.elapsed_s:12,.0f}"
    )
    if cell.inside:
        for one in cell.counterexamples:
            _print(f"\nseed {one.seed}: {one.what}\n{one.chart}\nplan: {one.plan}\n")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
