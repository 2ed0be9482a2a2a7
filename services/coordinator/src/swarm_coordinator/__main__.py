"""Starts the coordinator."""

from swarm_common.runtime.host import main
from swarm_coordinator.service import service

if __name__ == "__main__":
    main(service)
