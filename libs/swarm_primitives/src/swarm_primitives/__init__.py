"""Data structures that coordinate a swarm, as the services use them: no I/O, no clock, no randomness."""
