"""Context ``consensus``: one answer made out of many."""

from __future__ import annotations

from typing import Any

import msgspec

from swarm_common.events.arrays import Array
from swarm_common.events.measuring import MEASURED_VOLATILE, MeasuredData
from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData


@event("consensus.reached", concludes=True, volatile=("consensus_s",))
class Reached(Data, frozen=True, kw_only=True):
    """The models' predictions became one."""

    task: str
    strategy: str
    """``majority``, ``soft``, ``weighted``, ``bayesian``, ``greedy``, ``best_single``, ``stacking`` or ``adaptive``.

    Where ``best`` was asked for, the one that was chosen.
    """
    members: tuple[str, ...]
    weights: dict[str, float]
    """By member; they sum to 1. Empty for ``stacking``; of ``adaptive`` those after the last block."""
    losses: dict[str, float] = {}
    """Out-of-fold log loss (classification) or mean squared error, by member; what the weights come from."""
    prediction: Array
    """Class probabilities ``(rows, classes)``, vote shares, or values ``(rows,)``, for the held-out rows."""
    agreement: float | None
    """Mean share of pairs of members that give the same class, over rows; ``None`` for regression."""
    confidence: float | None
    """Mean of the winning class's share."""
    out_of_fold_score: float | None
    """The combination's accuracy or r2 on the training rows; ``None`` where there were no folds, and for ``adaptive``.

    Cross-fitted: what says how much each member counts in a row has not seen that row's truth.
    """
    gain: dict[str, float] = {}
    """By member: out-of-fold score with all, less the score without that member; empty for ``stacking``, ``adaptive``
    and a member alone."""
    gain_low: dict[str, float] = {}
    """Lower end of a 95 % paired bootstrap interval of ``gain``."""
    gain_high: dict[str, float] = {}
    diversity: float | None = None
    """Share of held-out rows in which two members name different classes, in the mean over pairs; ``None`` for values
    and for a member alone."""
    disagreement: tuple[tuple[float, ...], ...] = ()
    """The same for each pair, ``members`` by ``members``; empty for values."""
    q_statistic: tuple[tuple[float | None, ...], ...] = ()
    """Yule's Q of being right out of fold, ``members`` by ``members``: 1 where two are right in the same rows, 0 where
    independent, below 0 where one is right where the other is not; ``None`` where undefined. Empty for values and
    without folds."""
    q_statistic_mean: float | None = None
    """Over those pairs where it is defined."""
    variance: float | None = None
    """Consensus variance: the weighted variance of the members' predictions, in the mean over held-out rows and classes
    (probabilities), or in the target's unit squared (values). Weights are ``weights``; equal where there are none."""
    row_confidence: Array | None = None
    """``(rows,)`` float32: the winning class's share in each held-out row; ``None`` for values."""
    row_agreement: Array | None = None
    """``(rows,)`` float32: the share of pairs of members that name the same class in each held-out row; ``None`` for
    values and for a member alone."""
    considered: dict[str, float] = {}
    """Where ``best`` was asked for: the cross-fitted out-of-fold loss of every strategy that fits the problem."""
    coefficients: tuple[tuple[float, ...], ...] = ()
    """Of ``stacking``: one row a class (one alone for two classes, and for values). First the intercept, then member by
    member its coefficients: one for each of its classes (of two classes, for the second alone), or one for its
    value."""
    trajectory: tuple[tuple[float, ...], ...] = ()
    """Of ``adaptive``: one row a block, the weights it was predicted with, in the order of ``members``."""
    warnings: tuple[str, ...] = ()
    """What a library warned of, each once: that the fit of ``stacking`` did not converge, say."""
    consensus_s: float


class Counterexample(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated world in which something did not hold, made as short as it gets."""

    seed: int
    """Of the world in which it was found; the small one's is in ``plan``."""
    invariant: str
    """By its name in the literature; ``progress`` where the swarm was well again and decided nothing."""
    what: str
    """Who did what, where and when."""
    plan: str
    """The shrunk plan as JSON: with it the world can be made again."""
    chart: str
    """Its messages as a chart to read."""


@event("consensus.simulated", concludes=True, volatile=("elapsed_s",))
class Simulated(Data, frozen=True, kw_only=True):
    """Seeded worlds of one mechanism were run under one kind of fault, and checked after every step."""

    task: str
    mechanism: str
    agents: int
    fault: str
    inside: bool
    """Whether the fault model of the mechanism has this fault for so many agents."""
    seeds: int
    """Worlds run: the seeds from ``first_seed`` on."""
    first_seed: int
    unsafe: int
    """Worlds in which an invariant did not hold."""
    stopped: int
    """Worlds in which something was never decided by all who were well in the end."""
    decided: int
    """Values decided, over all worlds."""
    during: int
    """Of those, the ones decided before the chaos ended."""
    asked: int
    """Values asked for, over all worlds."""
    decision_ms: tuple[float, float, float] | None
    """Virtual time from asking to the first agent's decision: median, 90th and 99th percentile; ``None``: none."""
    known_ms: tuple[float, float, float] | None
    """The same until all who are well know."""
    deliveries: int
    messages: int
    invariants: dict[str, int]
    """Worlds in which it did not hold, by invariant; all that were checked are named."""
    counterexamples: tuple[Counterexample, ...] = ()
    """A few, one for each invariant broken at most."""
    elapsed_s: float


@event("consensus.decided", volatile=("latency_us", "phases_us", "slot", "certificate", "value"))
class Decided(Data, frozen=True, kw_only=True):
    """A live swarm decided."""

    task: str
    mechanism: str
    agents: int
    fault: str
    number: int
    """Of the decision, as the client asked for it, from 0."""
    slot: int
    value: str
    question: str
    certificate: dict[str, Any]
    """Why: term, ballot or view, and who was heard."""
    latency_us: float
    """From the client's asking to its knowing."""
    phases_us: tuple[tuple[str, float], ...]
    """The phases of this decision at the agent that led it, and how long each took."""


@event(
    "consensus.measured",
    concludes=True,
    volatile=(
        "processes", "decisions", "unanswered", "latency_us", "round_us", "messages_a_decision", "throughput_s",
        "gap_us", "history_operations", "quality", "elapsed_s", "first_us", "history",
    ),
)  # fmt: skip
class Measured(Data, frozen=True, kw_only=True):
    """Agents in processes of their own decided over the broker, were timed, and their decisions checked."""

    task: str
    mechanism: str
    agents: int
    fault: str
    inside: bool
    """Whether the fault model of the mechanism has this fault for so many agents."""
    processes: int
    asked: int
    decisions: int
    unanswered: int
    """Asked for, and not known to the client within its patience."""
    latency_us: Array | None
    """``(decisions,)`` float32, one after the other from asking to knowing; ``None``: nothing was decided."""
    first_us: float | None
    """Of the first decision, which elects or prepares where the mechanism has to."""
    round_us: Array
    """``(rounds,)`` float32: one publishes to all, all others answer, the same agents and processes: the floor."""
    messages_a_decision: float | None
    throughput_s: float | None
    """Decisions a second with several clients at once; ``None``: not measured under this fault."""
    gap_us: float | None
    """The longest time without a decision while there was something to decide."""
    agreement: float | None
    """Share of decided slots in which all honest agents that know the slot decided the same."""
    violations: tuple[str, ...]
    linearizable: bool | None
    """Of the clients' operations on a register over the decisions; ``None``: the mechanism orders nothing."""
    history_operations: int
    history: str = ""
    """The refuting part, where it is not linearizable: one line an operation."""
    quality: float | None = None
    """Share of decisions that were right, where the question had a right answer."""
    elapsed_s: float


@event("consensus.quality_measured", concludes=True, volatile=("elapsed_s",))
class QualityMeasured(Data, frozen=True, kw_only=True):
    """A swarm decided seeded questions whose right answer is known, each agent having a noisy signal of it."""

    task: str
    mechanism: str
    agents: int
    world: str
    """``condorcet`` (all alike), ``experts`` (few know much), ``adversaries`` (some vote for the wrong on purpose)."""
    made_of: str
    """``votes``, or ``one_proposal``: such a decision is what one agent proposed, and no better than that agent."""
    trials: int
    undecided: int
    """Trials in which nobody decided; they count as not right."""
    right: int
    low: float
    """Wilson interval of the share, 95 %."""
    high: float
    best_agent: float
    """Share in which the agent right most often was right."""
    mean_agent: float
    expected: float | None
    """What theory says, where it does: Condorcet's sum, the proposer's own share; ``None``: it does not."""
    expected_by: str
    """Which theory that is, in words."""
    optimum: float
    """The share that votes weighted by the log-odds of their true competence reach, the most that any rule can which
    counts no vote against who cast it (Nitzan and Paroush 1982)."""
    weights: tuple[float, ...] = ()
    """By agent, what its vote counts, learned from earlier questions; empty where votes are not weighed."""
    messages: int
    """Sent in all trials together."""
    elapsed_s: float


@event("consensus.knowledge_spread", concludes=True, volatile=("elapsed_s",))
class KnowledgeSpread(Data, frozen=True, kw_only=True):
    """A fact known to one agent was passed on until all knew it, over and over."""

    task: str
    way: str
    """``push``, ``pull`` or ``push_pull``."""
    agents: int
    loss: float
    """Share of messages lost."""
    rounds: tuple[int, ...]
    """Until all knew, one a repetition."""
    messages: tuple[int, ...]
    curve: tuple[float, ...]
    """Mean share of agents that knew after each round."""
    bound: float
    """log2 of the number of agents: push can at best double who knows."""
    expected: float | None
    """Rounds of ``push`` for many agents, no message being lost: log2 n + ln n (Pittel 1987); else ``None``."""
    elapsed_s: float


@event("consensus.emergence_measured", concludes=True, volatile=("elapsed_s",))
class EmergenceMeasured(Data, frozen=True, kw_only=True):
    """Agents chose by local rules; what they did together stands beside a null model."""

    task: str
    phenomenon: str
    """``specialisation`` or ``cascades``."""
    agents: int
    measure: str
    """What is measured, in words."""
    null_model: str
    """What the null model leaves out, in words."""
    observed: tuple[float, ...]
    """The measure, one a repetition."""
    null: tuple[float, ...]
    """The same measure of the null model, one a repetition."""
    effect: float
    """Cliff's delta of observed over null, -1 to 1."""
    low: float
    """95 % bootstrap interval."""
    high: float
    p_value: float
    """Of a two-sided permutation test of the difference of means."""
    shares: dict[str, float] = {}
    """Further shares, by name. Of cascades: ``right_cascade``, ``wrong_cascade`` and ``no_cascade`` of all repetitions,
    each with ``_expected`` beside it (Bikhchandani, Hirshleifer and Welch 1992, section II A)."""
    elapsed_s: float


@event("consensus.weighed", concludes=True, volatile=MEASURED_VOLATILE)
class Weighed(MeasuredData, frozen=True, kw_only=True):
    """How much memory the agents of a swarm take was measured."""


@event("consensus.task_failed")
class ConsensusTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of consensus ended without a result."""
