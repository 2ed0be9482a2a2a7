"""``python -m swarm_metrics``: serves until it is told to stop."""

from swarm_common.runtime.host import main
from swarm_metrics.service import service

if __name__ == "__main__":
    main(service)
