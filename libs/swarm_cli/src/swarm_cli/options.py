"""Options and arguments that several commands share: one name, one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or `last`.", show_default=False),
]
Session = Annotated[str | None, typer.Option(help="Name that runs are filed under.", metavar="NAME")]
OutFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="File to write; - means standard output.", metavar="FILE"),
]
