"""Policies: how a search chooses what to evaluate next. Pure: the same trials and seed give the same move.

Each but one is a generator that yields moves and is sent what came of them, so it reads as the search it is. It keeps
nothing between calls: :func:`propose` starts it anew and feeds it the trials of the log, which leads to the same place.
The one is ``tpe``, which looks at the trials alone: its library's sums differ in the last digit from processor to
processor, which decides where two choices are as good, so what it said elsewhere cannot be made again for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.pipelines import Space, Spec
from swarm_optimizer.search.steps import Draft, Ground, Move, Question, Search, Trial
from swarm_optimizer.search.tpe import ask

#: Steps of refinement before the next ablation, each of one batch.
_ROUNDS = 2
#: Share of the budget that recipes may take: one in so many.
_RECIPE_SHARE = 3


def propose(
    policy: str,
    space: Space,
    trials: Sequence[Trial],
    *,
    budget: int,
    batch: int,
    seed: int,
    arm: str = "",
    recipes: bool = True,
) -> Move:
    """Return the next move of a search, or one of phase ``done`` that carries the last ablation.

    ``trials`` are all that the search has made, in the order in which it proposed them; ``budget`` bounds their number
    and ``batch`` that of a move, recipes and ablation apart. Raises :class:`UsageError` for an unknown policy and for
    trials that are not of this search.
    """
    if policy not in POLICIES:
        allowed = ", ".join(POLICIES)
        raise UsageError(
            f"{policy!r} is no policy; there are {allowed}",
            field="params.policy",
            given=policy,
            allowed=allowed,
        )
    ground = Ground(space, budget=budget, batch=batch, seed=seed, arm=arm or policy, recipes=recipes)
    if policy == TPE:
        return _tpe(ground, trials)
    move = _next(policy, PURE[policy](ground), ground, trials)
    assert isinstance(move, Move)  # noqa: S101 - a ground without answers has no questions
    return move


def propose_told(
    space: Space,
    trials: Sequence[Trial],
    answers: Sequence[Sequence[Spec]],
    *,
    budget: int,
    batch: int,
    seed: int,
    arm: str,
) -> Move | Question:
    """Return the next move of :func:`mle_star` where somebody else says how to vary the block that matters most.

    ``answers`` are the variations that were accepted so far, one tuple for each step of refinement, in their order. A
    question is returned where the next one is needed: call again with the answer added, which may be empty. The rules'
    own variations, drawn as without answers, fill up the batch. ``arm`` names the dice. Raises :class:`UsageError` for
    trials that are not of this search.
    """
    ground = Ground(space, budget=budget, batch=batch, seed=seed, arm=arm, answers=answers)
    return _next(LLM, mle_star(ground), ground, trials)


def _next(policy: str, search: Search, ground: Ground, trials: Sequence[Trial]) -> Move | Question:
    """Lead a search through the trials that were made, and return what it says then."""
    done = 0
    ablation: dict[str, float] = {}
    try:
        move = next(search)
        while isinstance(move, Move):
            ablation = move.ablation or ablation
            if done >= len(trials):
                break
            found = trials[done : done + len(move.drafts)]
            if [trial.spec for trial in found] != [draft.spec for draft in move.drafts]:
                raise UsageError(
                    f"trials {done + 1} to {done + len(move.drafts)} are not what {policy} with seed {ground.seed} "
                    "proposed",
                    field="needs",
                )
            done += len(found)
            move = search.send(found)
    except StopIteration:
        return Move(phase="done", ablation=ablation)
    if done < len(trials):
        raise UsageError(
            f"there are {len(trials)} trials, and no answer to the question after {done}", field="needs"
        )
    return move


def mle_star(ground: Ground) -> Search:
    """Recipes, then in turn: ablation of the best pipeline, and refinement of the block that matters most.

    After MLE-STAR (Nam and others, arXiv 2506.15692, 2025): its outer loop finds by ablation which block of the
    solution to work on, its inner loop tries variations of that block alone. Here blocks come from a typed space and
    recipes from a catalogue, where the paper has a language model write code and search the web.
    """
    yield from _warm_start(ground)
    open_blocks: list[str] = []
    while (best := ground.best()) is not None and ground.left > 0:
        # Half of what is left at most: what ablation tells must be put to use.
        if ground.left // 2 >= min(len(ground.space.blocks), 2):
            drops = yield from _ablate(ground, best, ground.left // 2)
            ranked = sorted(drops, key=lambda block: (-abs(drops[block]), block))
            # The block just refined comes last: the paper, too, tells its planner which were tried.
            tried = open_blocks[:1]
            open_blocks = [block for block in ranked if block not in tried] + tried
        else:
            drops = {}
            open_blocks = [*open_blocks[1:], *open_blocks[:1]]
        open_blocks += [block for block in reversed(ground.space.blocks) if block not in open_blocks]
        for block in tuple(open_blocks):
            open_blocks.remove(block)
            open_blocks.insert(0, block)
            if (yield from _refine(ground, block, drops)):
                break
        else:
            return  # every variation of the best is known


def random_block(ground: Ground) -> Search:
    """The control of :func:`mle_star`: the same recipes and refinement, but which block is drawn, and no ablation.

    What ablation would have cost goes into refinement, so that ablation has to earn what it takes.
    """
    yield from _warm_start(ground)
    while ground.best() is not None and ground.left > 0:
        for block in ground.rng.sample(ground.space.blocks, len(ground.space.blocks)):
            if (yield from _refine(ground, block, {})):
                break
        else:
            return  # every variation of the best is known


def random_search(ground: Ground) -> Search:
    """Pipelines drawn evenly from the space (Bergstra and Bengio, JMLR 13, 2012), after the recipes where wanted."""
    if ground.recipes:
        yield from _warm_start(ground)
    while ground.left > 0:
        specs = [
            ground.fresh(lambda: pipelines.sample(ground.space, ground.rng)) for _ in range(ground.batch)
        ]
        drafts = tuple(Draft(spec, "Drawn from the whole space.") for spec in specs if spec is not None)
        if not drafts:
            return
        yield from ground.make(Move(phase="sampling", drafts=drafts))


def _tpe(ground: Ground, trials: Sequence[Trial]) -> Move:
    """Ask Optuna's tree-structured Parzen estimator (Bergstra and others, NIPS 2011), after recipes where wanted."""
    if ground.recipes and not trials:
        return next(_warm_start(ground))
    ground.take(trials)
    drafts = [Draft(spec, "Where good pipelines are dense and bad ones are not.") for spec in ask(ground)]
    return Move(phase="sampling", drafts=tuple(drafts)) if drafts else Move(phase="done")


def _warm_start(ground: Ground) -> Generator[Move, Sequence[Trial], None]:
    most = max(1, ground.budget // _RECIPE_SHARE)
    found = pipelines.recipes(ground.space)[:most] if ground.recipes else ()
    if found:
        drafts = [_noted(ground, recipe.spec, f"{recipe.why} ({recipe.source})") for recipe in found]
    else:  # a search has to start somewhere
        spec = pipelines.sample(ground.space, ground.rng)
        drafts = [_noted(ground, spec, "Drawn: there is nothing to start from.")]
    yield from ground.make(Move(phase="recipes", drafts=tuple(drafts)))


def _noted(ground: Ground, spec: Spec, why: str) -> Draft:
    ground.fresh(lambda: spec)
    return Draft(spec, why)


def _ablate(ground: Ground, best: Trial, most: int) -> Generator[Move, Sequence[Trial], dict[str, float]]:
    """Change the best pipeline block by block; return how much of its score each change takes away.

    A block is set to its plainest choice; one that is plain already is varied instead, so that blocks that are not in
    use yet can matter, too. A change whose outcome is known costs nothing. The last blocks of the pipeline come first,
    where the budget does not reach for all. What could not be fitted has no drop.
    """
    changed: dict[str, Spec] = {}
    drafts: list[Draft] = []
    for block in reversed(ground.space.blocks):
        plain = pipelines.neutral(ground.space, best.spec, block)
        if plain != best.spec and ground.known(plain) is not None:
            changed[block] = plain
        elif len(drafts) < most:
            varied = plain == best.spec
            spec = ground.fresh(
                lambda block=block, plain=plain, varied=varied: (  # type: ignore[misc]
                    pipelines.vary(ground.space, best.spec, block, ground.rng) if varied else plain
                )
            )
            if spec is not None:
                changed[block] = spec
                how = "changed, for it is plain already" if varied else "set to its plainest choice"
                drafts.append(Draft(spec, f"Ablation: {block} {how}."))
    yield from ground.make(Move(phase="ablation", drafts=tuple(drafts)))
    found = {block: ground.known(spec) for block, spec in changed.items()}
    return {
        block: best.score - trial.score
        for block, trial in found.items()
        if trial is not None and not trial.failed
    }


def _refine(
    ground: Ground, block: str, drops: dict[str, float]
) -> Generator[Move | Question, Sequence[Trial], bool]:
    """Vary one block of the best pipeline, a batch at a time, each from the best of the one before.

    Returns whether there was anything to try.
    """
    tried = False
    for _ in range(_ROUNDS):
        best = ground.best()
        if best is None or ground.left <= 0:
            break
        base = best.spec
        before = ground.proposed
        count = min(ground.batch, ground.left)
        specs = [
            ground.fresh(lambda: pipelines.vary(ground.space, base, block, ground.rng))  # noqa: B023 - called here
            for _ in range(count)
        ]
        why = f"Refines {block} of {best.name or 'the best so far'}."
        drawn = [Draft(spec, why) for spec in specs if spec is not None]
        drafts = yield from ground.tell(block, base, count, drawn, before)
        tried = tried or bool(drafts)
        yield from ground.make(Move(phase="refinement", drafts=drafts, block=block, ablation=drops))
    return tried


#: Policies that make what they said again from its trials.
PURE: Mapping[str, Callable[[Ground], Search]] = {
    "mle_star": mle_star,
    "random": random_search,
    "random_block": random_block,
}
TPE = "tpe"
#: :func:`mle_star` with variations by a language model: see :func:`propose_told`.
LLM = "llm"
POLICIES = (*PURE, TPE)
