"""``python -m swarm_model_agent``: serves until it is told to stop."""

from swarm_common.runtime.host import main
from swarm_model_agent.service import service

if __name__ == "__main__":  # the fork server's children import this module, too
    main(service)
