"""Parameters that the scenarios share, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarm_common import datafiles
from swarm_common.errors import UsageError
from swarm_common.events import Target, Task
from swarm_common.events.agent import TasksPosed
from swarm_coordinator.plans import Param, SoFar
from swarm_coordinator.suites.coordination.arms import POSE, Arm, Cast, Setup
from swarm_coordinator.suites.coordination.data import AUTO, Book, Role, library, role_of, strategy_of
from swarm_coordinator.suites.coordination.modes import ALONE, MODES, Mode

#: They cost money wherever they are asked.
PAID = ("anthropic", "claude-code")
OUTSIDE = ("openai", *PAID)
"""Executors whose answers nobody promises to be the same twice."""
WORK, REVIEW, JOIN = "analyzer", "reviewer", "swarm-coordinator"
"""The role of each seat, where none is given for it."""


def common(*, family: str, items: int, agents: int = 6) -> tuple[Param, ...]:
    """Return the parameters that every scenario has."""
    return (
        Param(
            name="family", type="str", default=family, description="family of questions; see docs/tasks.md"
        ),
        Param(
            name="tasks",
            type="file",
            default="",
            description="your own questions in place of a family: JSON Lines with input, answer, checker",
        ),
        Param(
            name="split",
            type="str",
            default="test",
            choices=("train", "validation", "test"),
            description="which part of the questions",
        ),
        Param(name="items", type="int", default=items, low=1, high=10_000, description="how many questions"),
        Param(
            name="agents",
            type="int",
            default=agents,
            low=1,
            high=64,
            description="how many agents a team has",
        ),
        Param(
            name="executor",
            type="str",
            default="default",
            choices=("default", "embedded", *OUTSIDE),
            endpoint="openai",
            description="who answers; default: the endpoint of SWARM_LLM_URL, else the embedded model",
        ),
        Param(name="model", type="str", default="", description="the executor's model; empty: its own"),
        Param(
            name="recording",
            type="str",
            default="",
            description="a run whose recorded answers are taken: no model is asked",
        ),
        Param(
            name="honour_latency",
            type="bool",
            default=False,
            description="whether a recorded answer takes as long as it took then",
        ),
        Param(
            name="budget_usd",
            type="float",
            default=None,
            low=0.0,
            description="US dollars that the run may spend at most",
        ),
        Param(
            name="budget_tokens",
            type="int",
            default=None,
            low=0,
            description="tokens that the run may read and write at most, whoever answers",
        ),
        Param(
            name="consent",
            type="bool",
            default=False,
            description="that an endpoint may be asked whatever it costs; without it paid ones need a budget",
        ),
        Param(
            name="temperature",
            type="float",
            default=0.0,
            low=0.0,
            high=2.0,
            description="of the agents; 0 takes the likeliest token",
        ),
        Param(name="max_tokens", type="int", default=64, low=1, high=100_000, description="of an answer"),
        Param(
            name="tools",
            type="bool",
            default=False,
            description="whether agents may use their role's tools; then answers have no fixed form",
        ),
        Param(
            name="join",
            type="str",
            default="model",
            choices=("model", "vote"),
            description="whoever joins asks its model, or takes what most say",
        ),
        Param(
            name="rounds",
            type="int",
            default=2,
            low=1,
            high=10,
            description="most exchanges among peers; they end before that where nothing changes",
        ),
        Param(
            name="own",
            type="str",
            default="",
            description="your own roles and strategies as TOML: own=@FILE.toml",
        ),
    )


def roles_param(default: Sequence[str] = (), description: str = "") -> Param:
    """Return the parameter that names roles."""
    return Param(
        name="roles",
        type="list",
        default=list(default),
        description=description
        or "roles in place of the usual ones, each for its seat; several workers' go round",
    )


def mode_param(default: str) -> Param:
    """Return the parameter that names one mode."""
    return Param(
        name="mode", type="str", default=default, choices=tuple(MODES), description="how agents coordinate"
    )


def strategy_param(default: str = AUTO) -> Param:
    """Return the parameter that names one strategy."""
    return Param(
        name="strategy",
        type="str",
        default=default,
        description="how a question is worked on: `swarm strategies`",
    )


OUTSIDERS: dict[str, tuple[str, ...]] = {"executor": OUTSIDE}
"""For ``timed_with``. The embedded model says the same each time, and so does a recording."""
TIMED_BY = ("budget_usd", "budget_tokens", "tools")
"""For ``timed_by``. Where a budget ends a run depends on which calls came first, and what a file of the run's directory
holds on who wrote last."""
TARGETS = (
    Target(metric="silent", op="==", target=0),
    Target(metric="off_graph", op="==", target=0),
)


def setup_of(sofar: SoFar) -> Setup:
    """Return what the arms share.

    Raises:
        UsageError: A parameter does not fit the others, or names what is not there.
    """
    params = sofar.params
    budget = params["budget_usd"] is not None or params.get("budget_tokens") is not None
    agreed = params["consent"] or budget or params["recording"]
    if params["executor"] in PAID and not agreed:
        raise UsageError(
            f"executor {params['executor']} costs money; say with -p budget_usd=1.50 or -p "
            "budget_tokens=100000 what the run may spend, or with --yes (-p consent=true) that it may be asked "
            "whatever it costs",
            field="params.budget_usd",
            allowed="a number of US dollars",
        )
    book = library(params["own"])
    for name in params.get("roles", ()):
        role_of(book, name)
    if "strategy" in params and params["strategy"] != AUTO:
        strategy_of(book, params["strategy"])
    return Setup(book=book, params=params, seed=sofar.seed)


def cast(book: Book, names: Sequence[str]) -> Cast:
    """Return who speaks how: roles named take their seats, the usual ones the others."""
    roles = [(name, role_of(book, name)) for name in names]

    def of(seat: str, usual: str) -> tuple[tuple[str, Role], ...]:
        found = tuple((name, role) for name, role in roles if role.seat == seat)
        return found or ((usual, role_of(book, usual)),)

    return Cast(work=of("work", WORK), review=of("review", REVIEW)[0], join=of("join", JOIN)[0])


def pose(sofar: SoFar) -> Task:
    """Return the task that draws the questions."""
    params: Mapping[str, Any] = sofar.params
    asked: dict[str, Any] = {"split": params["split"], "count": params["items"], "seed": sofar.seed}
    if params["tasks"]:
        datafiles.parse(params["tasks"], "params.tasks")
        return Task(
            id=POSE, kind="pose_file", service="model_agent", params={**asked, "file": params["tasks"]}
        )
    return Task(id=POSE, kind="pose", service="model_agent", params={**asked, "family": params["family"]})


def posed_of(sofar: SoFar) -> TasksPosed:
    """Return the questions that were posed."""
    data = sofar.results[POSE].data
    assert isinstance(data, TasksPosed)  # noqa: S101 - what concludes these kinds
    return data


def check_agents(mode: Mode, agents: int) -> None:
    """Raise :class:`UsageError` where a mode has too few agents."""
    if agents < mode.fewest:
        raise UsageError(
            f"params.agents is {agents}; mode {mode.name} needs {mode.fewest}",
            field="params.agents",
            given=str(agents),
            allowed=f"{mode.fewest} or more",
        )


def alone(setup: Setup, questions: Sequence[int], roles: Sequence[str], samples: int = 1) -> Arm:
    """Return one agent that is asked the whole question: once as the others are, or several times with chance."""
    temperature = setup.params["temperature"]
    return Arm(
        name="alone" if samples == 1 else "budget",
        mode=ALONE,
        agents=1,
        strategy="analysis",
        cast=cast(setup.book, roles),
        questions=tuple(questions),
        temperature=temperature if samples == 1 else max(temperature, setup.params.get("spread", 0.0)),
        samples=samples,
    )
