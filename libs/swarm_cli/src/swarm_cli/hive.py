"""The tables of a hive run, read from its result: fault tolerance, live cells, decision quality, gossip, emergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from swarm_cli import output, render
from swarm_cli.leaderboard import p_text
from swarm_cli.render import Cell
from swarm_common.runs import RunView

T = TypeVar("T")

#: How a verdict looks where the mechanism had promised something.
COLOURS = {"held": "green", "slowed": "yellow", "stopped": "red", "unsafe": "red"}
OUTSIDE = "in parentheses: outside its fault model, where it promises nothing"
_MOST_CHARTS = 3
_LONGEST_CHART = 60
"""Lines of a counterexample on a terminal; the report has them all."""


class Faced(msgspec.Struct, frozen=True, kw_only=True):
    """One mechanism under one simulated fault, with so many agents."""

    mechanism: str
    agents: int
    fault: str
    inside: bool
    verdict: str
    worlds: int
    unsafe: int = 0
    stuck: int = 0
    asked: int = 0
    decided: int = 0
    during: int = 0
    decision_ms: float | None = None
    p99_ms: float | None = None
    invariants: dict[str, int] = {}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A world in which an invariant did not hold, made short."""

    mechanism: str
    agents: int
    fault: str
    inside: bool
    seed: int
    invariant: str
    what: str
    chart: str = ""
    plan: str = ""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """One mechanism among processes, with so many agents, under one fault."""

    mechanism: str
    agents: int
    fault: str
    inside: bool
    verdict: str
    asked: int = 0
    decisions: int = 0
    unanswered: int = 0
    processes: int = 0
    p50_us: float | None = None
    p99_us: float | None = None
    round_us: float | None = None
    rounds: float | None = None
    messages: float | None = None
    throughput_s: float | None = None
    gap_us: float | None = None
    agreement: float | None = None
    linearizable: bool | None = None
    operations: int = 0
    violations: tuple[str, ...] = ()
    history: str = ""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How often a mechanism was right."""

    mechanism: str
    world: str
    agents: int
    trials: int
    quality: float
    low: float | None = None
    high: float | None = None
    made_of: str = ""
    expected: float | None = None
    optimum: float | None = None
    best_agent: float | None = None
    mean_agent: float | None = None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How a fact got to all."""

    way: str
    agents: int
    rounds: float
    rounds_low: float | None = None
    rounds_high: float | None = None
    most_rounds: int | None = None
    bound: float
    expected: float | None = None
    messages_an_agent: float | None = None
    curve: tuple[float, ...] = ()


class Emerged(msgspec.Struct, frozen=True, kw_only=True):
    """What agents did together, beside the null model."""

    phenomenon: str
    agents: int
    observed: float
    null: float
    effect: float
    low: float | None = None
    high: float | None = None
    p_value: float
    verdict: str
    measure: str = ""
    null_model: str = ""
    shares: dict[str, float] = {}


class Hive(msgspec.Struct, frozen=True, kw_only=True):
    """What a hive run has to show; each part is empty where the scenario has none."""

    matrix: tuple[Faced, ...] = ()
    counterexamples: tuple[Found, ...] = ()
    live: tuple[Live, ...] = ()
    quality: tuple[Quality, ...] = ()
    spread: tuple[Spread, ...] = ()
    emergence: tuple[Emerged, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """The numbers of agents in the matrix, ascending."""
        return sorted({cell.agents for cell in self.matrix})

    @property
    def faced(self) -> list[tuple[str, str]]:
        """The rows of the matrix: mechanism and fault, in the order in which they came."""
        return list(dict.fromkeys((cell.mechanism, cell.fault) for cell in self.matrix))

    def cell(self, mechanism: str, fault: str, agents: int) -> Faced | None:
        """Return a cell of the matrix; ``None`` where the run has it not."""
        wanted = (mechanism, fault, agents)
        return next((c for c in self.matrix if (c.mechanism, c.fault, c.agents) == wanted), None)


def hive_of(view: RunView) -> Hive | None:
    """Return the tables of a run; ``None`` where its result has none, as in other suites."""
    if view.suite not in {"hive", "quick"}:
        return None
    result = view.result.get("hive", {}) if view.suite == "quick" else view.result
    try:
        found = msgspec.convert(result, Hive)
    except msgspec.ValidationError:
        return None
    parts = (found.matrix, found.live, found.quality, found.spread, found.emergence)
    return found if any(parts) else None


def tells(metric: str) -> bool:
    """Say whether a metric of such a run stands in its tables: those of one cell, ``gap.raft.4.leader_crash``."""
    return "." in metric


def show_hive(hive: Hive, *, example: bool = True) -> None:
    """Print the tables that a run has; ``example``: also a chart of something that nobody had promised."""
    _show_matrix(hive)
    _show_counterexamples(hive.counterexamples, example=example)
    _show_live(hive.live)
    if hive.quality:
        render.table(
            [
                "world",
                "agents",
                "mechanism",
                "made of",
                "right",
                "interval",
                "in theory",
                "optimum",
                "best agent",
                "mean agent",
            ],
            [_quality_cells(one) for one in hive.quality],
            title="decision quality: share of decisions that were right",
            right=(1, 4, 6, 7, 8, 9),
        )
    if hive.spread:
        render.table(
            [
                "way",
                "agents",
                "rounds",
                "interval",
                "most",
                "log2 N",
                "in theory",
                "messages an agent",
                "who knows, by round",
            ],
            [_spread_cells(one) for one in hive.spread],
            title="gossip: rounds until all know",
            right=(1, 2, 4, 5, 6, 7),
        )
    if hive.emergence:
        render.table(
            ["phenomenon", "agents", "observed", "null model", "effect", "interval", "", "verdict"],
            [_emerged_cells(one) for one in hive.emergence],
            title="emergence: Cliff's delta beside the null model",
            right=(1, 2, 3, 4),
        )
        for text in filter(None, map(shares_text, hive.emergence)):
            output.line(text)
        for text in dict.fromkeys(measure_text(one) for one in hive.emergence):
            output.line(render.styled(text, "dim"))


# --- fault tolerance --------------------------------------------------------------------------------------


def _show_matrix(hive: Hive) -> None:
    if not hive.matrix:
        return
    sizes = hive.sizes
    rows: list[list[Cell]] = []
    for mechanism, fault in hive.faced:
        cells = [hive.cell(mechanism, fault, size) for size in sizes]
        shown = [("", "") if cell is None else verdict_cell(cell) for cell in cells]
        rows.append([mechanism, fault, *shown, outside_text([cell for cell in cells if cell is not None])])
    render.table(
        ["mechanism", "fault", *(f"N={size}" for size in sizes), ""], rows, title="fault tolerance, simulated"
    )
    if any(not cell.inside for cell in hive.matrix):
        output.line(render.styled(OUTSIDE, "dim"))


def verdict_text(cell: Faced | Live) -> str:
    """Return ``unsafe``, or ``(unsafe)`` outside the fault model."""
    return cell.verdict if cell.inside else f"({cell.verdict})"


def verdict_cell(cell: Faced | Live) -> tuple[str, str]:
    """Return the verdict in its colour; what was not promised has none."""
    return verdict_text(cell), COLOURS.get(cell.verdict, "") if cell.inside else "dim"


def outside_text(cells: Sequence[Faced]) -> str:
    """Return ``outside its model``, with the sizes for which it is so unless that is all of them."""
    beyond = [cell.agents for cell in cells if not cell.inside]
    if not beyond:
        return ""
    if len(beyond) == len(cells):
        return "outside its model"
    return f"outside its model at N={', '.join(map(str, beyond))}"


def replay_text(one: Found) -> str:
    """Return the command that runs this world again, alone."""
    return (
        f"swarm run hive --simulate -p protocol={one.mechanism} -p agents={one.agents} -p faults={one.fault} "
        f"-p first_seed={one.seed} -p seeds=1"
    )


def found_text(one: Found) -> str:
    """Return in one line what did not hold where."""
    where = "inside its fault model" if one.inside else "outside its fault model"
    return f"{one.mechanism}, {one.agents} agents, {one.fault}, seed {one.seed}, {where}: {one.what}"


def _show_counterexamples(found: Sequence[Found], *, example: bool) -> None:
    """Print each in a line, and charts of those that break a promise (a few of many), else one as an example."""
    if not found:
        return
    inside = [one for one in found if one.inside]
    charted = inside[:_MOST_CHARTS]
    if example and not charted:
        charted = [min(found, key=lambda one: (one.invariant != "agreement", len(one.chart)))]
    output.line("counterexamples, shortened:")
    for one in found:
        output.line(render.styled(f"  {found_text(one)}", "red" if one.inside else ""))
    for one in charted:
        output.line(f"{one.mechanism} under {one.fault}, seed {one.seed}: {one.invariant}")
        lines = one.chart.rstrip("\n").splitlines()
        for text in lines[:_LONGEST_CHART]:
            output.line(f"  {text}")
        if len(lines) > _LONGEST_CHART:
            output.line(f"  and {len(lines) - _LONGEST_CHART} lines more: the report has them")
        output.line(f"again: {replay_text(one)}")


# --- live -------------------------------------------------------------------------------------------------


def _show_live(cells: Sequence[Live]) -> None:
    if not cells:
        return
    render.table(
        [
            "mechanism", "agents", "fault", "verdict", "p50", "p99", "rounds", "messages", "decisions/s", "gap",
            "decided", "agreement", "linearizable",
        ],
        [_live_cells(one) for one in cells],
        title="live: time to decision, also in all-agents rounds",
        right=(1, 4, 5, 6, 7, 8, 9, 10, 11),
    )  # fmt: skip
    if any(not cell.inside for cell in cells):
        output.line(render.styled(OUTSIDE, "dim"))
    for one in cells:
        _show_broken(one)


def _show_broken(one: Live) -> None:
    """Print what did not hold: all of it where it was promised, else an example."""
    what, style = f"{one.mechanism}, {one.agents} agents, {one.fault}", "red" if one.inside else "dim"
    shown = one.violations if one.inside else one.violations[:1]
    more = "; more in the report" if len(one.violations) > len(shown) else ""
    for text in shown:
        output.line(render.styled(f"{what}: {text}{more}", style))
    if one.linearizable is False:
        lines = one.history.splitlines()
        output.line(render.styled(f"{what}: no order explains what clients saw", style))
        for text in lines[: None if one.inside else 3]:
            output.line(f"  {text}")


def _live_cells(one: Live) -> list[Cell]:
    return [
        one.mechanism,
        str(one.agents),
        one.fault,
        verdict_cell(one),
        _us(one.p50_us),
        _us(one.p99_us),
        "" if one.rounds is None else f"{one.rounds:.2f}",
        "" if one.messages is None else f"{one.messages:.1f}",
        "" if one.throughput_s is None else f"{one.throughput_s:,.0f}",
        _us(one.gap_us),
        f"{one.decisions} of {one.asked}",
        render.number(one.agreement, "ratio") if one.agreement is not None else "",
        linearizable_text(one),
    ]


def linearizable_text(one: Live) -> str:
    """Return ``yes``, ``NO``, or nothing where the mechanism orders nothing; with the operations checked."""
    if one.linearizable is None:
        return ""
    return f"{'yes' if one.linearizable else 'NO'}, {one.operations} operations"


def _us(value: float | None) -> str:
    return "" if value is None else render.microseconds(value)


# --- the swarm's mind -------------------------------------------------------------------------------------


def _quality_cells(one: Quality) -> list[Cell]:
    return [
        one.world,
        str(one.agents),
        one.mechanism,
        one.made_of.replace("_", " "),
        f"{one.quality:.3f}",
        render.interval(one.low, one.high, "ratio"),
        _share(one.expected),
        _share(one.optimum),
        _share(one.best_agent),
        _share(one.mean_agent),
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _spread_cells(one: Spread) -> list[Cell]:
    return [
        one.way,
        str(one.agents),
        f"{one.rounds:.2f}",
        "" if one.rounds_low is None or one.rounds_high is None
        else f"[{one.rounds_low:.2f}, {one.rounds_high:.2f}]",
        "" if one.most_rounds is None else str(one.most_rounds),
        f"{one.bound:.2f}",
        "" if one.expected is None else f"{one.expected:.2f}",
        "" if one.messages_an_agent is None else f"{one.messages_an_agent:.2f}",
        render.sparkline(one.curve, 1.0),
    ]  # fmt: skip


def measure_text(one: Emerged) -> str:
    """Return in one line what was observed, and what the null model is."""
    return f"{one.phenomenon}: {one.measure}; the null model: {one.null_model}"


def shares_text(one: Emerged) -> str:
    """Return in one line the shares that stand beside the effect, each with theory's; empty where there are none."""
    told = [
        f"{name.replace('_', ' ')} {share:.3f} ({one.shares[f'{name}_expected']:.3f} in theory)"
        for name, share in one.shares.items()
        if f"{name}_expected" in one.shares
    ]
    return f"{one.phenomenon}, {one.agents} agents: {', '.join(told)}" if told else ""


def _emerged_cells(one: Emerged) -> list[Cell]:
    return [
        one.phenomenon,
        str(one.agents),
        f"{one.observed:.4g}",
        f"{one.null:.4g}",
        f"{one.effect:+.3f}",
        render.interval(one.low, one.high, "ratio"),
        p_text(one.p_value),
        one.verdict,
    ]
