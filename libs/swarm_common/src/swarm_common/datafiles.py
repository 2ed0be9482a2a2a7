"""Files of a user's that a run works on: in the object store by content, in a request as ``people.csv@sha256:<hex>``.

A request says which bytes and what to call them, never where they lie: no service opens a path that came over the wire.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from swarm_common.errors import UsageError

#: Largest file that is taken: 256 MiB.
MOST_BYTES = 256 * 1024 * 1024
_LONGEST_NAME = 100
_UNSAFE = re.compile(r"[^\w.-]+")
#: A name is one part of a path, and no hidden file's.
_WRITTEN = re.compile(rf"(?P<name>[\w-][\w.-]{{0,{_LONGEST_NAME - 1}}})@(?P<ref>sha256:[0-9a-f]{{64}})")


class DataFile(msgspec.Struct, frozen=True):
    """A file in the object store."""

    name: str
    """What its owner calls it; for people."""
    ref: str
    """Of its bytes: ``sha256:<hex>``."""

    @property
    def sha256(self) -> str:
        """The hash in hexadecimal."""
        return self.ref.removeprefix("sha256:")

    def __str__(self) -> str:
        return f"{self.name}@{self.ref}"


def parse(text: Any, field: str) -> DataFile:
    """Return the file that ``name@sha256:<64 hex>`` means; raises :class:`UsageError` for anything else."""
    found = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        allowed = "NAME@sha256:<64 hexadecimal digits>"
        shown = text if isinstance(text, str) else msgspec.json.encode(text).decode()
        shown = shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}..."
        raise UsageError(
            f"{field} is {shown!r}, which is no file in the object store; a request names one as {allowed}, and "
            f"`swarm run -p {field.rpartition('.')[2]}=PATH` (in Python: a pathlib.Path) puts it there first",
            field=field,
            given=shown,
            allowed=allowed,
        )
    return DataFile(found["name"], found["ref"])


def is_reference(text: str) -> bool:
    """Say whether a text names a file in the object store."""
    return _WRITTEN.fullmatch(text) is not None


def references(params: Any) -> tuple[DataFile, ...]:
    """Return the files that parameters name, each once, in their order."""
    values = params.values() if isinstance(params, dict) else ()
    texts = dict.fromkeys(value for value in values if isinstance(value, str) and is_reference(value))
    return tuple(parse(text, "params") for text in texts)


def safe_name(name: str) -> str:
    """Return a file's name as a request may hold it: letters, digits, ``_``, ``.`` and ``-``, none of them hidden."""
    return _UNSAFE.sub("_", name).lstrip(".")[-_LONGEST_NAME:].lstrip(".") or "file"


def read(path: Path, field: str) -> bytes:
    """Return the bytes of a file to be sent.

    Raises :class:`UsageError` for one that is not there, is no file, cannot be read, is empty or has more than
    :data:`MOST_BYTES`.
    """
    what = _refusal(path)
    if not what:
        try:
            with path.open("rb") as stream:
                data = stream.read(MOST_BYTES + 1)  # it may have grown since
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
        else:
            if len(data) <= MOST_BYTES:
                return data
            what = _too_large(len(data))
    raise UsageError(f"{field}: {path} {what}", field=field, given=str(path))


def _refusal(path: Path) -> str:
    """Return why a path cannot be sent, or nothing."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | ValueError)
        return "does not exist" if missing else f"cannot be read: {getattr(error, 'strerror', '') or error}"
    if path.is_dir():
        return "is a directory; give a CSV or Parquet file in it"
    if not path.is_file():
        return "is no regular file"
    if found.st_size == 0:
        return "is empty"
    return _too_large(found.st_size) if found.st_size > MOST_BYTES else ""


def _too_large(size: int) -> str:
    return f"has {size / 2**20:.0f} MiB; at most {MOST_BYTES // 2**20} MiB can be sent: give fewer rows or Parquet"
