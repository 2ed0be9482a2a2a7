"""The supervisor as a process: ``python -m swarm_cli.stack``. `swarm up` starts it."""

from __future__ import annotations

import sys

from swarm_cli.stack.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
