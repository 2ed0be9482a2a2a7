"""The swarm's shared memory and its replicas."""
