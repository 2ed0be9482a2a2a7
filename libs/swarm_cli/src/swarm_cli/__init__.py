"""The swarm command: embedded stack, run, watch, report, export, replay, compare."""
