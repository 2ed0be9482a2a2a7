"""``python -m swarm_optimizer``: serves until it is told to stop."""

from swarm_common.runtime.host import main
from swarm_optimizer.service import service

if __name__ == "__main__":
    main(service)
