"""Runs the benches, all or some: ``python bench/run.py [NAME...] [--quick] [--json FILE]``."""

from __future__ import annotations

import sys

import acting
import append
import collection
import combine
import comparing
import consume
import ensemble
import families
import histories
import latency
import live
import memory
import neural
import noop
import primitives
import quality
import queries
import repeats
import replay
import simulator
import speedup
import startup
import structures
from kit.cli import main

BENCHES = [
    module.BENCH
    for module in (
        append,
        consume,
        replay,
        noop,
        latency,
        startup,
        memory,
        combine,
        live,
        ensemble,
        speedup,
        quality,
        simulator,
        histories,
        queries,
        acting,
        structures,
        collection,
        primitives,
        neural,
        comparing,
        repeats,
        families,
    )
]

if __name__ == "__main__":
    sys.exit(main(BENCHES, by_name=True))
