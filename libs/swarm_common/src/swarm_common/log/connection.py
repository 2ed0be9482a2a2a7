"""nats-py's client with a header parser that costs a tenth.

``DIRECT.GET`` answers carry about ten headers, and nats-py 2.16 looks at every character of every name: three quarters of
the time of reading a run went there (``bench/replay.py`` prints what reading costs).
"""

from __future__ import annotations

from nats.aio.client import Client as NatsClient


class Connection(NatsClient):
    """A client that reads headers fast; everything else is nats-py's."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """Return the headers of a block of ``Name: value`` lines; lines that are none are skipped, as nats-py does."""
        found: dict[str, str] = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            name = name.strip()
            if colon and name.isascii() and len(name.split()) == 1:
                found[name] = value.strip()
        return found
