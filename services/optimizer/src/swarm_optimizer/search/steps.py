"""What a search knows and says: trials that were made, the next move, and the ground both stand on."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence

import msgspec

from swarm_common import pipelines
from swarm_common.pipelines import Space, Spec

#: How often a draw is tried again that brings a pipeline already known.
_TRIES = 30


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline that was evaluated."""

    spec: Spec
    score: float
    """Mean over the folds, higher is better."""
    loss: float | None = None
    """Decides between equal scores: lower is better."""
    failed: bool = False
    """It could not be fitted; ``score`` then says nothing."""
    name: str = ""


class Draft(msgspec.Struct, frozen=True):
    """A pipeline to evaluate, and why."""

    spec: Spec
    why: str
    by: str = "rules"
    """Who proposed it: ``rules`` or ``llm``."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a search does next."""

    phase: str
    drafts: tuple[Draft, ...] = ()
    block: str = ""
    ablation: dict[str, float] = {}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a search has to be told before it goes on: variations of one block of a pipeline."""

    block: str
    base: Spec
    """The best pipeline so far."""
    count: int
    """Most variations that are of use."""
    known: frozenset[str]
    """Pipelines that were proposed already, by :func:`pipelines.key`."""


#: A search yields moves and is sent the trials that came of each, in the order of the drafts. A question ends it:
#: whoever knows the answer begins the search anew with it.
Search = Generator[Move | Question, Sequence[Trial], None]


class Ground:
    """What all policies stand on: the space, the budget, the dice, and the trials so far."""

    def __init__(
        self,
        space: Space,
        *,
        budget: int,
        batch: int,
        seed: int,
        arm: str,
        recipes: bool = True,
        answers: Sequence[Sequence[Spec]] | None = None,
    ) -> None:
        self.space = space
        self.budget = budget
        self.batch = batch
        self.seed = seed
        self.arm = arm
        self.recipes = recipes
        self.rng = random.Random(f"{seed}/{arm}")  # noqa: S311 - a search, not a secret
        self.trials: list[Trial] = []
        self._known: dict[str, Trial | None] = {}
        self._answers = None if answers is None else iter(answers)

    @property
    def left(self) -> int:
        """How many more pipelines may be evaluated."""
        return self.budget - len(self.trials)

    def best(self) -> Trial | None:
        """Return the trial with the highest score, of equal ones that with the lowest loss, of those the first."""
        return best_of(self.trials)

    def known(self, spec: Spec) -> Trial | None:
        """Return what came of a pipeline, if it was evaluated."""
        return self._known.get(pipelines.key(spec))

    def tell(
        self, block: str, base: Spec, count: int, drafts: Sequence[Draft], before: frozenset[str]
    ) -> Generator[Question, Sequence[Trial], tuple[Draft, ...]]:
        """Return what was answered about a block, filled up with the rules' own drafts to ``count``.

        The drafts themselves where nobody is asked. ``before`` are the pipelines that were known before the drafts.
        Asks where the answer is not there yet.
        """
        if self._answers is None or not drafts:
            return tuple(drafts)
        answer = next(self._answers, None)
        if answer is None:
            yield Question(block=block, base=base, count=count, known=before)
            return ()
        told = {pipelines.key(spec): spec for spec in answer[:count]}
        others = [draft for draft in drafts if pipelines.key(draft.spec) not in told]
        kept = others[: count - len(told)]
        for draft in others[len(kept) :]:  # not proposed after all: another step may
            del self._known[pipelines.key(draft.spec)]
        self._known.update(dict.fromkeys(told))
        why = f"A language model's variation of {block}."
        return (*(Draft(spec, why, "llm") for spec in told.values()), *kept)

    @property
    def proposed(self) -> frozenset[str]:
        """The pipelines that were proposed already, by :func:`pipelines.key`."""
        return frozenset(self._known)

    def fresh(self, draw: Callable[[], Spec]) -> Spec | None:
        """Draw until a pipeline comes that no move has named, and note it; ``None`` where none comes."""
        for _ in range(_TRIES):
            spec = draw()
            if pipelines.key(spec) not in self._known:
                self._known[pipelines.key(spec)] = None
                return spec
        return None

    def make(self, move: Move) -> Generator[Move, Sequence[Trial], Sequence[Trial]]:
        """Make a move, cut to what is left of the budget, and note its trials; a move without drafts is none."""
        move = msgspec.structs.replace(move, drafts=move.drafts[: self.left])
        if not move.drafts:
            return ()
        trials = yield move
        self.take(trials)
        return trials

    def take(self, trials: Sequence[Trial]) -> None:
        """Note trials."""
        self.trials += trials
        self._known.update({pipelines.key(trial.spec): trial for trial in trials})


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the best of some trials, as :meth:`Ground.best` does; ``None`` where all failed."""
    fitted = [trial for trial in trials if not trial.failed]
    return max(
        fitted,
        key=lambda trial: (trial.score, -trial.loss if trial.loss is not None else 0.0),
        default=None,
    )
