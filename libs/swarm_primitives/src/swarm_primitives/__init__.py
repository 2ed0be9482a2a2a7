"""Data structures that coordinate a swarm, as the services use them: no I/O, no clock, no randomness.

=========================  ==========================================  =============================================
module                     what it is                                  who uses it
=========================  ==========================================  =============================================
:mod:`.queues`             an immutable priority queue                 the coordinator's ready tasks
:mod:`.scheduling`         a scheduler over queues; order by hints     the coordinator; planners of the ensemble
:mod:`.graphs`             topological levels; cycles, named           the coordinator's check of what is planned
:mod:`.snapshots`          immutable maps, a version each              memory-sync's replicas
:mod:`.proposals`          changes under preconditions, merged         memory-sync, through :mod:`.store`
:mod:`.store`              a map that many read while one writes       memory-sync's replicas
:mod:`.claims`             conflicts over resources, by hash           consensus: who decided otherwise than others
:mod:`.aggregation`        many made into one, in any order           consensus: voting, plain and weighted
=========================  ==========================================  =============================================
"""
