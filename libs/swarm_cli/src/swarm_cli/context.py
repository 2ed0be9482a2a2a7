"""What the root flags said, and the settings that come of them. Light: `swarm --help` imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm_common.settings import Settings

_flags: dict[str, str | None] = {}


def set_flags(**flags: str | None) -> None:
    """Keep the flags that stand before the command's name."""
    _flags.clear()
    _flags.update(flags)


def settings(**flags: object) -> Settings:
    """Return the settings: flags of the command, flags before it, ``SWARM_*`` variables, ``swarm.toml``."""
    from swarm_common.settings import load_settings  # noqa: PLC0415 - not for --help

    return load_settings({**_flags, **{key: value for key, value in flags.items() if value is not None}})
