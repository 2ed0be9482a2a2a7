"""``python -m swarm_memory_sync``: serves until it is told to stop."""

from swarm_common.runtime.host import main
from swarm_memory_sync.service import service

if __name__ == "__main__":
    main(service)
