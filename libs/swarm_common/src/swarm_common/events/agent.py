"""Context ``agent``: what model-agent did."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from swarm_common.events.arrays import Array
from swarm_common.events.measuring import MEASURED_VOLATILE, MeasuredData
from swarm_common.events.registry import Data, event
from swarm_common.events.task import TaskFailedData
from swarm_common.events.values import Samples
from swarm_common.llm import Constraint, Finish, Request, Timings, ToolCall, Trouble, Usage
from swarm_common.pipelines import Spec


@event("agent.task_done", concludes=True, volatile=("elapsed_us",))
class TaskDone(Data, frozen=True, kw_only=True):
    """An empty task of the suite ``noop`` went through: what is measured is the platform."""

    task: str
    index: int = 0
    elapsed_us: float = 0.0


@event("agent.data_prepared", concludes=True, volatile=("elapsed_s",))
class DataPrepared(Data, frozen=True, kw_only=True):
    """A data set was loaded or made, and split. The truth travels here, features never do."""

    task: str
    dataset: str
    problem: str
    """``classification`` or ``regression``."""
    n_train: int
    n_test: int
    n_features: int
    classes: tuple[str, ...] = ()
    """Class names; ``y_train`` and ``y_test`` index into them."""
    y_train: Array
    y_test: Array
    sha256: str
    """Of features and truth, in the order of the split."""
    split_seed: int
    categorical: tuple[int, ...] = ()
    """Features whose numbers stand for words."""
    notes: tuple[str, ...] = ()
    """What was done to the data on the way in: a constant column left out, say."""
    missing: int = 0
    """Values that are not there, among the features of the training rows."""
    elapsed_s: float


@event(
    "agent.model_trained",
    volatile=("fit_s", "cpu_s", "fold_s", "score_s", "max_rss_bytes", "worker", "started", "waited_s"),
)
class ModelTrained(Data, frozen=True, kw_only=True):
    """A model was fitted: what it scored out of fold, and what that cost."""

    task: str
    model: str
    model_type: str
    hyperparameters: dict[str, Any]
    """As the fitted estimator reports them."""
    n_train: int
    n_features: int
    folds: int
    """0 where no out-of-fold predictions were asked for."""
    fold_scores: tuple[float, ...] = ()
    score_name: str
    """``accuracy`` or ``r2``."""
    fitted: str
    """sha256 over the fitted model's predictions: evidence that two runs fitted the same."""
    fit_s: float
    """Wall time of the final fit on all training rows."""
    fold_s: tuple[float, ...] = ()
    score_s: float
    """Wall time of predicting the held-out rows."""
    cpu_s: float
    """CPU time (user and system) of the worker process for all of the task."""
    max_rss_bytes: int
    worker: str
    """Instance and process that did it."""
    started: str
    """RFC 3339, the worker's wall clock."""
    waited_s: float
    """From taking the task to a free worker process."""
    warnings: tuple[str, ...] = ()
    """What the library warned of, each once: that a fit did not converge, say."""
    device: str = "cpu"
    """Where it was trained."""
    parts: int = 1
    """How many tasks shared the work; times are then sums over them, and ``worker`` names all."""


@event(
    "agent.part_trained",
    concludes=True,
    volatile=("fit_s", "elapsed_s", "cpu_s", "max_rss_bytes", "worker", "started", "waited_s"),
)
class PartTrained(Data, frozen=True, kw_only=True):
    """A part of a training was done: one fold, the fit on all rows, or some trees of that."""

    task: str
    model: str
    model_type: str
    hyperparameters: dict[str, Any]
    """Of the whole model."""
    device: str = "cpu"
    n_train: int
    """Training rows of the whole, the fold's unseen ones included."""
    n_features: int
    folds: int
    fold: int | None = None
    """Which fold; ``None`` for the fit on all rows."""
    trees: tuple[int, int] | None = None
    """From the first of these trees up to the second; ``None`` for the whole model."""
    rows: Array | None = None
    """The fold's unseen training rows, by number; ``None`` where held-out rows were predicted."""
    predictions: Array
    """For those rows, as in ``agent.predicted``; of some trees their mean."""
    score: float | None = None
    """On the fold's unseen rows."""
    score_name: str
    fit_s: float
    elapsed_s: float
    """Fitting and predicting."""
    cpu_s: float
    max_rss_bytes: int
    worker: str
    started: str
    waited_s: float
    warnings: tuple[str, ...] = ()


@event("agent.predicted", concludes=True)
class Predicted(Data, frozen=True, kw_only=True):
    """A fitted model's predictions: class probabilities ``(rows, classes)``, or values ``(rows,)``."""

    task: str
    model: str
    held_out: Array
    """For the rows kept apart, in the order of ``DataPrepared.y_test``."""
    out_of_fold: Array | None = None
    """For the training rows, each predicted by a fit that had not seen it."""


@event(
    "agent.candidate_evaluated",
    concludes=True,
    volatile=("fit_s", "fold_s", "cpu_s", "max_rss_bytes", "worker", "started", "waited_s"),
)
class CandidateEvaluated(Data, frozen=True, kw_only=True):
    """A pipeline was cross-validated on training rows; held-out rows were out of reach."""

    task: str
    arm: str = ""
    """Which of the searches of the run asked for it."""
    candidate: str
    spec: Spec
    rows: int
    """Training rows that took part."""
    folds: int
    fold_scores: tuple[float, ...] = ()
    score_name: str
    """``accuracy`` or ``r2``."""
    score: float | None = None
    """Mean of the folds; ``None`` for a pipeline that could not be fitted."""
    loss: float | None = None
    """Log loss or mean squared error over all rows, each predicted by a fit that had not seen it."""
    out_of_fold: Array | None = None
    """Those predictions, where the task asked for them."""
    failed: str = ""
    """Why the pipeline could not be fitted."""
    evaluations: int = 1
    """How many pipelines were evaluated for this one to be found; more than 1 after a search within the task."""
    fits: float
    """Fits it took, each counted by its share of the training rows that all folds' fits see."""
    fit_s: float
    """Wall time of all fits and predictions."""
    fold_s: tuple[float, ...] = ()
    cpu_s: float
    max_rss_bytes: int
    worker: str
    started: str
    waited_s: float
    warnings: tuple[str, ...] = ()


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a model comes to know what it should not."""

    kind: str
    """``unseen_rows``, ``not_repeatable``, ``duplicate_rows`` or ``giveaway_feature``."""
    subject: str
    """The candidate, or the feature."""
    text: str
    """One sentence with the figures."""


@event(
    "agent.leaks_checked",
    concludes=True,
    volatile=("elapsed_s", "cpu_s", "worker", "started", "waited_s"),
)
class LeaksChecked(Data, frozen=True, kw_only=True):
    """A pipeline and its data were looked at for leaks; ``leaks`` is empty where none was found."""

    task: str
    candidate: str
    spec: Spec
    folds: int
    leaks: tuple[Leak, ...] = ()
    duplicates: int
    """Held-out rows whose features are those of a training row, too."""
    duplicates_in_training: int
    """Training rows whose features are those of one before them."""
    strongest_feature: str = ""
    """The feature that tells most of the target by itself."""
    strongest_score: float | None = None
    """How much: accuracy or r2 of a tree on it alone, cross-validated on training rows."""
    fits: int
    """Fits of the pipeline that the check took."""
    elapsed_s: float
    cpu_s: float
    worker: str
    started: str
    waited_s: float


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One question of a task family, with all it takes to ask and to grade it."""

    id: str
    """Of the family and the split: ``sentiment/test/17``."""
    question: str
    """What the swarm must answer; alone enough, where there are no ``parts``."""
    parts: tuple[str, ...] = ()
    """Pieces that the answer must be joined from; who has not been given a piece cannot know it."""
    stages: tuple[str, ...] = ()
    """What is to be done one after another, each with the outcome of the one before."""
    constraint: Constraint | None = None
    """The form of an answer."""
    part_constraint: Constraint | None = None
    """The form of what is said of one piece."""
    stage_constraints: tuple[Constraint, ...] = ()
    """The form of each stage's outcome; empty: free."""
    answer: str
    """The right one, as ``checker`` takes it."""
    checker: str
    """How an answer is held against the right one: see docs/coordination.md."""


@event("agent.tasks_posed", concludes=True)
class TasksPosed(Data, frozen=True, kw_only=True):
    """The questions of a run were drawn from a family."""

    task: str
    family: str
    split: str
    """``train``, ``validation`` or ``test``: no question is in two of them."""
    chance: float
    """The score of one who guesses; 0 also where nobody can say."""
    items: tuple[Item, ...]
    graded_by: Literal["grade", "grade_apart"] = "grade"
    """The kind of task that grades answers: ``grade_apart`` runs them, each in a process shut in."""


# Who of a pool took a turn, and what an endpoint's cache still held, are decided by timing and change no answer.
@event("agent.called", volatile=("agent", "usage", "cost_usd", "recorded", "timings", "raw"))
class Called(Data, frozen=True, kw_only=True):
    """A model was asked, once, and answered or failed to."""

    task: str
    agent: str
    number: int
    """Of the calls of this task, from 0."""
    model: str
    """As the request names it."""
    key: str
    """Of the request, see :func:`swarm_common.llm.key`: a replay finds the answer by it."""
    request: Request
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish
    answered_by: str
    """The model, as the endpoint names it."""
    usage: Usage
    timings: Timings
    trouble: Trouble | None = None
    why: str = ""
    cost_usd: float | None = None
    """As the endpoint itself says or estimates, or by the price that is set; ``None``: neither."""
    recorded: bool = False
    """Whether the answer is an earlier run's."""
    raw: bytes = b""
    """The endpoint's answer as it came."""


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """A tool was run for an agent."""

    name: str
    arguments: str
    result: str
    failed: bool = False


@event(
    "agent.acted", concludes=True, volatile=("agent", "usage", "cost_usd", "model_s", "elapsed_s", "worker")
)
class Acted(Data, frozen=True, kw_only=True):
    """An agent took its turn: it heard others, asked its model and said something."""

    task: str
    agent: str
    role: str
    item: str
    purpose: str
    """``answer``, ``join``, ``vote``, ``review``, ``plan`` or another that the mode names."""
    heard: tuple[str, ...] = ()
    """Tasks whose outcomes were told to it, in that order: the edges of the message graph."""
    parts: tuple[int, ...] = ()
    """Pieces of the item that it was given itself."""
    text: str
    """What it said."""
    calls: int
    """Of the model."""
    tools: tuple[ToolUse, ...] = ()
    notes: dict[str, str] = {}
    """What is remembered after the turn, by key: its own notes, and those of the turns that it came after."""
    usage: Usage
    """Summed over the calls."""
    cost_usd: float | None = None
    trouble: Trouble | None = None
    """Why it could say nothing; its text is empty then."""
    why: str = ""
    model_s: float
    """Time in model calls."""
    elapsed_s: float
    worker: str
    """The process that did it."""


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer was worth."""

    item: str
    said: str
    score: float
    """0 to 1; between them where a checker gives partial credit."""
    why: str = ""


@event("agent.graded", concludes=True)
class Graded(Data, frozen=True, kw_only=True):
    """Answers were held against the right ones, by the checker of each question."""

    task: str
    grades: tuple[Grade, ...]


@event("agent.measured", concludes=True, volatile=MEASURED_VOLATILE)
class AgentsMeasured(MeasuredData, frozen=True, kw_only=True):
    """Agents in processes of their own were made ready, or worked at once, and were timed."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a learner scored on held-out questions after so much training."""

    iterations: int
    """0: before it had learned anything."""
    score: float


@event(
    "agent.pattern_learned",
    concludes=True,
    volatile=(
        "samples",
        "loops",
        "rss_bytes",
        "rss_reason",
        "allocated_bytes",
        "elapsed_s",
        "cpu_s",
        "worker",
        "cores",
        "started",
        "waited_s",
    ),
)
class PatternLearned(Data, frozen=True, kw_only=True):
    """A small task of one pattern of thinking was learned: how well, and what that cost."""

    task: str
    pattern: str
    """One of :data:`swarm_common.patterns.PATTERNS`."""
    repeat: int
    """Which of several tasks of the pattern, each with random numbers of its own."""
    size: int
    shuffled: bool = False
    """Whether what there is to be learned was taken away: a control, whose score should be chance."""
    iterations: int
    lessons: int
    """Items that one iteration learns from."""
    questions: int
    """Held out."""
    score: float
    """Mean over the questions: 1 is right."""
    low: float
    """Ends of the interval that ``estimator`` names."""
    high: float
    estimator: str
    chance: float
    """The score of who guesses."""
    baseline: float
    """The score of something simple that has seen as much; docs/neural.md says what."""
    curve: tuple[Checkpoint, ...]
    """Scores as training went on, the one before it first."""
    resampled: Array
    """Scores of resamples of the questions, to be put together with those of other repeats."""
    gained: Array
    """Those scores less what the same resamples of questions scored before training."""
    measures: dict[str, float] = {}
    """What else tells of the pattern, by name."""
    samples: tuple[Samples, ...] = ()
    """``recognition``, ``inference`` and ``iteration``, in microseconds; warm-up is left out."""
    loops: dict[str, int] = {}
    """By name of the samples: how many calls one value is the mean of."""
    rss_bytes: int | None = None
    """Most memory that the worker held meanwhile, its libraries included."""
    rss_reason: str = ""
    """Why that is not known, where it is not."""
    allocated_bytes: int
    """Most that Python and numpy had allocated at once for it; traced in a pass of its own, never a timed one."""
    elapsed_s: float
    """All of the task in its worker."""
    cpu_s: float
    worker: str
    cores: int
    """That the worker may use."""
    started: str
    waited_s: float


@event("agent.task_failed")
class AgentTaskFailed(TaskFailedData, frozen=True, kw_only=True):
    """A task of model-agent ended without a result."""
