"""The commands, one module a group; each has ``APPS``, a typer application by the name of its command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer


def single(function: Callable[..., Any]) -> typer.Typer:
    """Return an application of one command."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(function)
    return app
