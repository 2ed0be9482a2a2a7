"""The 24 scenarios: sizes, what one size is, and how it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from swarm_common.events import Target

How = Literal["case", "agents", "weigh", "live", "batches", "stages", "swarms", "whole"]
"""Who measures: metrics a ``case`` in a process; model-agent its ``agents``; consensus, which does ``weigh`` them or
has them decide ``live``; or the log, of ``batches``, ``stages`` of a pipeline, ``swarms`` at once, the ``whole``."""


MS = 1000.0
"""Microseconds, in which the metrics are."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario of the catalogue."""

    name: str
    description: str
    how: How
    sizes: tuple[int, ...]
    size: str
    """What the size counts."""
    variants: tuple[str, ...] = ("",)
    """Ways that are measured beside one another."""
    curve: bool = False
    """Whether a cost curve is fitted over the sizes."""
    targets: tuple[Target, ...] = ()


def _below(metric: str, most: float) -> Target:
    return Target(metric=metric, op="<", target=most)


_MERGES = ("sum", "bits", "union", "tally", "weigh")


ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="consensus_latency",
        description="A decision of a live swarm whose agents hold opinions that conflict",
        how="live",
        sizes=(1, 3, 5, 10, 20),
        size="agents",
        targets=(
            _below("p50.consensus_latency.10", 100 * MS),
            _below("p99.consensus_latency.10", 500 * MS),
        ),
    ),
    Entry(
        name="agent_spawning",
        description="Agents in processes until all have answered a first order: forked anew, and from the warm pool",
        how="agents",
        sizes=(4, 8, 16, 32),
        size="agents",
        variants=("forked", "warm"),
        targets=(_below("p50.agent_spawning.warm.8", 50 * MS),),
    ),
    Entry(
        name="conflict_detection",
        description="Version clashes among packs, found by a hash index",
        how="case",
        sizes=(5, 10, 20, 50),
        size="packs",
        curve=True,
        targets=(_below("p50.conflict_detection.50", 200 * MS),),
    ),
    Entry(
        name="configuration_analysis",
        description="Configurations analysed: the work grows with their number",
        how="case",
        sizes=(1, 5, 10, 20),
        size="configurations",
        curve=True,
    ),
    Entry(
        name="parallel_agents",
        description="A forest trained by each of several agents at once, beside one agent that trains them all",
        how="agents",
        sizes=(2, 4, 8, 16),
        size="agents",
        variants=("work",),
        targets=(Target(metric="parallel_efficiency", op=">=", target=0.8),),
    ),
    Entry(
        name="memory_overhead",
        description="Bytes that the agents of a swarm hold when they have decided",
        how="weigh",
        sizes=(10, 50, 100, 200),
        size="agents",
        curve=True,
        targets=(_below("bytes.memory_overhead.100", 10e6),),
    ),
    Entry(
        name="orchestration_throughput",
        description="Empty tasks through the log: planned, scheduled, done, recorded, decided on",
        how="batches",
        sizes=(10, 50, 100),
        size="tasks",
        targets=(Target(metric="orchestration_throughput", op=">", target=100.0),),
    ),
    Entry(
        name="pipeline_execution",
        description="Tasks one after the other through the log, each waiting for the one before",
        how="stages",
        sizes=(3, 6, 10, 15),
        size="stages",
        curve=True,
        targets=(_below("p50.pipeline_execution.6", 200 * MS),),
    ),
    Entry(
        name="dependency_resolution",
        description="An order in which dependencies come first, and the cycles that stand in its way",
        how="case",
        sizes=(2, 4, 6, 8),
        size="levels",
        curve=True,
    ),
    Entry(
        name="concurrent_execution",
        description="Simulated swarms at once through the log, each found what it finds alone",
        how="swarms",
        sizes=(2, 5, 10, 20),
        size="swarms",
        variants=("alone", "together"),
    ),
    Entry(
        name="semaphore_coordination",
        description="Turns under a semaphore with four workers a permit",
        how="case",
        sizes=(5, 10, 20, 50),
        size="permits",
        curve=True,
    ),
    Entry(
        name="timeout_overhead",
        description="What a timeout costs that does not expire, and how late one is that does",
        how="case",
        sizes=(10, 50, 100, 500),
        size="milliseconds",
        variants=("kept", "expired"),
        curve=True,
    ),
    Entry(
        name="artifact_conversion",
        description="Artifacts converted from one form into another",
        how="case",
        sizes=(10, 50, 100, 200),
        size="artifacts",
        curve=True,
    ),
    Entry(
        name="swarm_memory_allocation",
        description="The shared memory of a swarm made: bytes and time",
        how="case",
        sizes=(10, 50, 100, 200),
        size="agents",
        curve=True,
    ),
    Entry(
        name="snapshot_reads",
        description="Reads of a snapshot while a writer commits",
        how="case",
        sizes=(10, 50, 100, 500, 1000),
        size="readers",
        curve=True,
        targets=(_below("p99.snapshot_reads.1000", 1.0),),
    ),
    Entry(
        name="snapshot_writes",
        description="Writes staged and committed as one",
        how="case",
        sizes=(10, 50, 100, 200),
        size="writes",
        curve=True,
    ),
    Entry(
        name="commutative_aggregation",
        description="Proposals aggregated to the same result in any order",
        how="case",
        sizes=(10, 50, 100, 500),
        size="proposals",
        variants=_MERGES,
        curve=True,
        targets=tuple(_below(f"p50.commutative_aggregation.{way}.100", 10.0) for way in _MERGES),
    ),
    Entry(
        name="conditional_aggregation",
        description="Proposals aggregated where conditions hold, with conflicts that occur",
        how="case",
        sizes=(10, 50, 100, 200),
        size="proposals",
        curve=True,
    ),
    Entry(
        name="priority_scheduling",
        description="One dequeue from a queue of tasks by priority",
        how="case",
        sizes=(10, 50, 100, 500, 1000),
        size="queued",
        curve=True,
    ),
    Entry(
        name="scheduler_queue_depth",
        description="Tasks through the scheduler's queue at a depth",
        how="case",
        sizes=(100, 500, 1000, 5000),
        size="queued",
        curve=True,
    ),
    Entry(
        name="proposal_conflicts",
        description="Conflicts among proposals: by a hash index, and between all pairs",
        how="case",
        sizes=(10, 50, 100, 500),
        size="proposals",
        variants=("hash", "all_pairs"),
        curve=True,
        targets=(_below("exponent.proposal_conflicts.hash", 1.25),),
    ),
    Entry(
        name="proposal_merging",
        description="Proposals merged into one",
        how="case",
        sizes=(2, 5, 10, 20),
        size="proposals",
        curve=True,
    ),
    Entry(
        name="scheduling_hint_sorting",
        description="Scheduling hints sorted",
        how="case",
        sizes=(100, 500, 1000, 5000),
        size="hints",
        curve=True,
    ),
    Entry(
        name="integrated",
        description="All of the above as one swarm, from the first task to the last decision, again and again",
        how="whole",
        sizes=(1,),
        size="swarms",
        targets=(Target(metric="variation", op="<", target=0.05),),
    ),
)
"""In the order of the catalogue. ``conflict_detection`` occurs twice there: for packs, here under that name, and for
proposals, here ``proposal_conflicts``."""

BY_NAME: Mapping[str, Entry] = {entry.name: entry for entry in ENTRIES}


def chosen(names: Sequence[str], sizes: Sequence[int] | None) -> tuple[tuple[Entry, tuple[int, ...]], ...]:
    """Return entries with the sizes at which they are measured: their own where none are given."""
    return tuple((BY_NAME[name], tuple(dict.fromkeys(sizes or BY_NAME[name].sizes))) for name in names)
