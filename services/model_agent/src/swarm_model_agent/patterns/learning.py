"""A pattern is learned: a score before, between and after, and what recognising, inferring and learning cost."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from threadpoolctl import threadpool_limits

from swarm_common.events import Array, Samples
from swarm_common.events.agent import Checkpoint, PatternLearned
from swarm_common.hosts import usable_cores
from swarm_common.resampling import stream_of
from swarm_model_agent.params import PatternParams
from swarm_model_agent.patterns.abstract import Induction
from swarm_model_agent.patterns.convergent import Sums
from swarm_model_agent.patterns.core import Learner, Make, Posed
from swarm_model_agent.patterns.critical import Odd
from swarm_model_agent.patterns.divergent import Words
from swarm_model_agent.patterns.lateral import Analogies
from swarm_model_agent.patterns.measuring import (
    allocated_bytes,
    forget_peak_rss,
    peak_rss_bytes,
    timed,
)
from swarm_model_agent.patterns.scoring import scored, settled
from swarm_model_agent.patterns.systems import Influences
from swarm_model_agent.training import Meter

LEARNERS: Mapping[str, Make] = {
    "convergent": Sums,
    "divergent": Words,
    "lateral": Analogies,
    "systems": Influences,
    "critical": Odd,
    "abstract": Induction,
}
"""By name of the pattern, in the order of :data:`swarm_common.patterns.PATTERNS`."""
_WARM_UP = 2
"""Iterations whose time is not kept: code and caches are cold. What they learn is."""
_TRACED = 2
"""Iterations in the pass that traces memory: an iteration takes no more than the one before."""


def learn_pattern(task: str, params: PatternParams, *, seed: int, instance: str = "") -> PatternLearned:
    """Learn a pattern's task from nothing, and return how well and at what cost.

    The same parameters and seed give the same scores; times and memory are those of this once. Training goes on for as
    many iterations as asked for, whatever the held-out questions say: they choose nothing.
    """
    meter = Meter()
    name = f"{params.pattern}/{params.repeat}"
    posed = Posed(
        seed=seed, name=name, size=params.size, questions=params.questions, shuffled=params.shuffled
    )
    make = LEARNERS[params.pattern]
    reason = forget_peak_rss()
    with threadpool_limits(
        limits=1
    ):  # workers have one thread anyhow; whoever calls this elsewhere gets the same sums
        learner = make(posed)
        before = learner.scores()
        curve, iteration_us = _train(learner, params.iterations)
        recognition = timed(learner.recognise, params.timings, params.questions)
        inference = timed(learner.infer, params.timings, params.questions)
        found = scored(learner.scores(), before, stream_of(seed, f"{name}/resamples"))
        rss = None if reason else peak_rss_bytes()
        allocated = allocated_bytes(lambda: _all_once(make(posed)))
    return PatternLearned(
        task=task,
        pattern=params.pattern,
        repeat=params.repeat,
        size=params.size,
        shuffled=params.shuffled,
        iterations=params.iterations,
        lessons=learner.lessons,
        questions=params.questions,
        score=found.value,
        low=found.low,
        high=found.high,
        estimator=found.estimator,
        chance=settled(learner.chance),
        baseline=settled(learner.baseline),
        curve=curve,
        resampled=Array.of(found.resampled),
        gained=Array.of(found.gained),
        measures={measure: settled(value) for measure, value in sorted(learner.measures().items())},
        samples=(
            _samples("recognition", params.pattern, recognition.values),
            _samples("inference", params.pattern, inference.values),
            _samples("iteration", params.pattern, iteration_us[_WARM_UP:]),
        ),
        loops={"recognition": recognition.loops, "inference": inference.loops, "iteration": 1},
        rss_bytes=rss,
        rss_reason=reason or ("" if rss is not None else "this kernel tells no peak of a process"),
        allocated_bytes=allocated,
        elapsed_s=meter.wall_s(),
        cpu_s=meter.cpu_s(),
        worker=f"{instance}/{os.getpid()}",
        cores=usable_cores(),
        started=meter.started,
        waited_s=0.0,
    )


def _train(learner: Learner, iterations: int) -> tuple[tuple[Checkpoint, ...], tuple[float, ...]]:
    """Return scores along the way and the microseconds of each iteration; scoring is not timed."""
    looked = checkpoints(iterations)
    curve, took = [_checkpoint(0, learner)], []
    for done in range(1, iterations + 1):
        began = time.perf_counter_ns()
        learner.learn()
        took.append((time.perf_counter_ns() - began) / 1000)
        if done in looked:
            curve.append(_checkpoint(done, learner))
    return tuple(curve), tuple(took)


def checkpoints(iterations: int) -> set[int]:
    """Return after which iterations the score is looked at: 1, 2, 3, 4, 6, 8, 12, 16, ..., and the last."""
    doubled = {step << power for power in range(iterations.bit_length()) for step in (1, 3)}
    return {at for at in doubled if at <= iterations} | {iterations}


def _checkpoint(iterations: int, learner: Learner) -> Checkpoint:
    return Checkpoint(iterations=iterations, score=settled(float(learner.scores().mean())))


def _samples(name: str, pattern: str, values: tuple[float, ...]) -> Samples:
    return Samples(name=name, unit="us", values=values, of=pattern)


def _all_once(learner: Learner) -> None:
    """Do a little of all that is timed."""
    for _ in range(_TRACED):
        learner.learn()
    learner.scores()
    learner.recognise(0)
    learner.infer(0)


__all__ = ["LEARNERS", "checkpoints", "learn_pattern"]
