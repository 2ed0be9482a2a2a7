"""A user's CSV or Parquet as a data set: columns become numbers, and nothing else is done to them.

Only types and names are decided over all rows: what kind of column it is, which words there are, which columns cannot
tell anything. What is learned from values (what to fill a gap with, how to scale) is fitted in fold, in
:mod:`~swarm_model_agent.tables`.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common import datafiles
from swarm_common.errors import UsageError
from swarm_model_agent import datasets
from swarm_model_agent.datasets import Floats, Table
from swarm_model_agent.params import DataParams

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one worker a core; read when polars is loaded
import polars as pl

DELIMITERS = (",", ";", "\t", "|")
#: Texts that say that there is no value.
MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "Null", "null", "None", "none")
#: More words than this in a column are names of rows, or free text.
MOST_WORDS = 1000
#: In a column of more values than this, words that are mostly different ones are that, too.
_FEW_VALUES = 50
#: Whole numbers with up to this many different values are taken for classes.
MOST_CLASSES = 20
FEWEST_ROWS = 10
#: What all columns together may have, as values of 8 bytes: 4 GiB. A small Parquet file can hold any number.
MOST_VALUES = 2**29
_SAMPLE_BYTES = 64 * 1024
_SAMPLE_ROWS = 50
_BLOCK_BYTES = 1024 * 1024
_TIMES = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")
_ZONE = r"(?:Z|[+-]\d\d:?\d\d)$"
_COMMA = r"^([+-]?\d+),(\d+)$"
_PARQUET = b"PAR1"
_NO_VALUE = "it has no value"
_NOTHING: Floats = np.empty(0)
_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)

Kind = Literal["number", "whole", "bool", "time", "word"]


class Column(msgspec.Struct, frozen=True):
    """A column as numbers."""

    name: str
    kind: Kind
    values: Floats
    """``(rows,)``, NaN where missing: numbers, 0 and 1, seconds, or for words their places in ``words``."""
    words: tuple[str, ...] = ()
    """In the order of their code points."""
    note: str = ""
    useless: str = ""
    """Why nothing can be made of it; then it has no values."""


def load_file(params: DataParams) -> Table:
    """Return the table of the file that ``params`` name, which lies beside the workers.

    - CSV: UTF-8, with a line of names; separated by comma, semicolon, tab or bar, whichever fits the first lines.
      Types are decided over the whole file; :data:`MISSING` lists what counts as no value. With semicolons, numbers may
      have a decimal comma. Parquet is known by its first bytes.
    - Numbers stay as they are; booleans become 0 and 1; dates and times (in a CSV: ISO 8601), seconds since 1970;
      words, their places in sorted order, and such a column is in ``categorical``. NaN is a missing value.
    - Left out, with a note each: columns with no value or a single one; columns of words of which more than half differ
      (of more than 50) or that has more than 1000 words; columns of lists and the like; rows without a target.
    - The target's words, booleans and whole numbers of up to 20 different values are classes, anything else values,
      unless ``params.problem`` says otherwise. Classes are named by their text, and in the order of their values.

    Raises :class:`UsageError` naming the column, and the row (from 1, below the names), of what cannot be used.
    """
    if params.make:
        raise UsageError("params.make is for made data; a file is a fixed data set", field="params.make")
    file = datafiles.parse(params.file, "params.file")
    frame, read_notes = _read(datasets.path_of(file), file.name)
    target = _target_name(params.target, frame.columns)
    columns = [_column(series) for series in frame]
    truth = columns[frame.columns.index(target)]
    if truth.useless:
        raise UsageError(f"target {target}: {truth.useless}", field="params.target", given=target)
    known = ~np.isnan(truth.values)
    count = int(known.sum())
    if count < FEWEST_ROWS:
        raise UsageError(
            f"{file.name} has {count} rows with a {target}; at least {FEWEST_ROWS} are needed",
            field="params.file",
            given=str(count),
            allowed=f"at least {FEWEST_ROWS}",
        )
    y, classes, note = _truth(_rows(truth, known), params.problem)
    notes = [note]
    if count < len(known):
        notes.append(f"{len(known) - count} of {len(known)} rows left out: they have no {target}")
    features = []
    for column in columns:
        if column is truth:
            continue
        found = _rows(column, known)
        if reason := _useless(found):
            notes.append(f"column {column.name} left out: {reason}")
            continue
        features.append(found)
        notes += [
            f"column {column.name}: {text}" for text in (read_notes.get(column.name), column.note) if text
        ]
    if not features:
        reasons = "; ".join(notes[1:]) or "it is the only one"
        raise UsageError(
            f"{file.name} has no column to learn {target} from: {reasons}",
            field="params.file",
            given=", ".join(frame.columns),
        )
    return Table(
        x=np.column_stack([column.values for column in features]),
        y=y,
        classes=classes,
        columns=tuple(column.name for column in features),
        categorical=tuple(at for at, column in enumerate(features) if column.kind == "word"),
        notes=tuple(notes),
    )


def _rows(column: Column, chosen: NDArray[np.bool_]) -> Column:
    """Return the column with these rows only."""
    if column.useless or chosen.all():
        return column
    return msgspec.structs.replace(column, values=column.values[chosen])


# -- reading ----------------------------------------------------------------------------------------------


def _read(path: Path, name: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the file's columns, each of its type, and by name what was done to read them so."""
    with path.open("rb") as stream:
        head = stream.read(_SAMPLE_BYTES)
    if head.startswith(_PARQUET):
        return _read_parquet(path, name), {}
    return _read_csv(path, name, head)


def _read_parquet(path: Path, name: str) -> pl.DataFrame:
    try:
        lazy = pl.scan_parquet(path, glob=False)
        wide, high = len(lazy.collect_schema()), lazy.select(pl.len()).collect().item()
        if wide * high > MOST_VALUES:
            raise _bad_file(name, f"has {high} rows of {wide} columns, more than {MOST_VALUES} values in all")
        return lazy.collect()
    except _BROKEN as error:
        raise _bad_file(name, f"is no Parquet file that can be read: {_first_line(error)}") from error


def _read_csv(path: Path, name: str, head: bytes) -> tuple[pl.DataFrame, dict[str, str]]:
    _check_text(path, name, head)
    text = head.decode("utf-8-sig", "ignore")  # a sign may be cut at the sample's end
    whole = len(head) < _SAMPLE_BYTES
    delimiter, names = _sniff(text, whole=whole)
    if not names:
        raise _bad_file(name, "holds no line of names")
    repeated = [column for column, count in Counter(names).items() if count > 1]
    if repeated:
        raise _bad_file(
            name, f"has more than one column {repeated[0]!r}; give each a name of its own", repeated[0]
        )
    if all(_is_number(column) for column in names):
        raise _bad_file(
            name,
            f"begins with numbers ({', '.join(names[:5])}); its first line must name the columns",
            names[0],
        )
    try:
        frame = pl.read_csv(path, separator=delimiter, infer_schema=False, glob=False)
    except _BROKEN as error:
        what = _ragged(path, delimiter, len(names)) or f"cannot be read as CSV: {_first_line(error)}"
        raise _bad_file(name, what) from error
    if frame.width != len(names):
        raise _bad_file(name, f"names {len(names)} columns and has {frame.width}")
    frame.columns = names
    frame = frame.select(pl.all().str.strip_chars().replace(list(MISSING), [None] * len(MISSING)))
    # Between commas, "1,234" may as well be a thousand.
    return _typed(frame, commas=delimiter == ";")


def _ragged(path: Path, delimiter: str, width: int) -> str:
    """Return which line has more fields than there are names, if one does."""
    with path.open(encoding="utf-8-sig", newline="") as stream, contextlib.suppress(csv.Error):
        reader = csv.reader(stream, delimiter=delimiter)
        for row in reader:
            if len(row) > width:
                return f"has {len(row)} fields in line {reader.line_num}, and {width} names in its first"
    return ""


def _check_text(path: Path, name: str, head: bytes) -> None:
    """Raise for bytes that are no UTF-8, naming the line."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _bad_file(name, "is UTF-16; save it as UTF-8")
    if b"\0" in head:
        raise _bad_file(name, "is neither CSV nor Parquet: it holds bytes that are no text")
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as stream:
        while True:
            block = stream.read(_BLOCK_BYTES)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += bytes(error.object[: error.start]).count(b"\n")
                raise _bad_file(name, f"is not UTF-8 in line {line}; save it as UTF-8") from error
            if not block:
                return
            line += block.count(b"\n")


def _sniff(text: str, *, whole: bool) -> tuple[str, list[str]]:
    """Return the delimiter and the names: that by which most of the first lines have as many fields as the first."""
    best, most = ",", (0.0, 0)
    found: list[str] = []
    for delimiter in DELIMITERS:
        rows: list[list[str]] = []
        try:
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
                if row:
                    rows.append(row)
                if len(rows) > _SAMPLE_ROWS:
                    break
        except csv.Error:
            continue
        if not whole and 1 < len(rows) <= _SAMPLE_ROWS:
            rows.pop()  # cut by the sample's end
        if not rows:
            continue
        width = len(rows[0])
        alike = sum(len(row) == width for row in rows) / len(rows)
        score = (alike if width > 1 else 0.0, width)
        if not found or score > most:
            best, found, most = delimiter, rows[0], score
    return best, [name.strip() or f"unnamed_{at}" for at, name in enumerate(found, 1)]


# -- types of text ----------------------------------------------------------------------------------------


def _typed(frame: pl.DataFrame, *, commas: bool) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return columns of text as what they say, and by name what is worth a note."""
    notes: dict[str, str] = {}
    columns = []
    for series in frame:
        typed = _of_text(series)
        if typed is None and commas and (typed := _floats_with_commas(series)) is not None:
            notes[series.name] = "its decimal comma is read as a point"
        columns.append(series if typed is None else typed)
    return pl.DataFrame(columns), notes


def _of_text(series: pl.Series) -> pl.Series | None:
    """Return booleans, whole numbers, numbers, dates or times where every value is one."""
    missing = series.null_count()
    if missing == len(series):
        return None
    lower = series.str.to_lowercase()
    if lower.is_in(["true", "false"]).sum() == len(series) - missing:
        return lower == "true"
    for kind in (pl.Int64, pl.Float64):
        numbers = series.cast(kind, strict=False)
        if numbers.null_count() == missing:
            return numbers
    dates = series.str.to_date("%Y-%m-%d", strict=False)
    return dates if dates.null_count() == missing else _times(series)


def _times(series: pl.Series) -> pl.Series | None:
    """Return times where every value is one in the same form of ISO 8601; those with a zone in UTC."""
    missing = series.null_count()
    zoned = series.str.contains(_ZONE).sum() == len(series) - missing
    for form in _TIMES:
        if zoned:
            written = series.str.replace("Z$", "+00:00")
            times = written.str.to_datetime(f"{form}%#z", strict=False, time_unit="us", time_zone="UTC")
        else:
            times = series.str.to_datetime(form, strict=False, time_unit="us")
        if times.null_count() == missing:
            return times
    return None


def _floats_with_commas(series: pl.Series) -> pl.Series | None:
    if series.null_count() == len(series):
        return None
    numbers = series.str.replace(_COMMA, "${1}.${2}").cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == series.null_count() else None


# -- columns to numbers -----------------------------------------------------------------------------------


def _column(series: pl.Series) -> Column:
    """Return a column as numbers, or with the reason why it cannot be one; raises for infinite numbers."""
    name, kind = series.name, series.dtype
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return _of_words(series)
    if isinstance(kind, pl.Boolean):
        return Column(name, "bool", _floats(series))
    if kind.is_integer():
        return Column(name, "whole", _floats(series))
    if kind.is_numeric():
        return _number(name, _floats(series))
    if kind.is_temporal():
        return _of_time(series)
    empty = isinstance(kind, pl.Null)
    return Column(
        name, "word", _NOTHING, useless=_NO_VALUE if empty else f"{kind} is no number, date or word"
    )


def _of_time(series: pl.Series) -> Column:
    name, kind = series.name, series.dtype
    if isinstance(kind, pl.Date):
        seconds = _floats(series.cast(pl.Int32)) * 86_400.0
    elif isinstance(kind, pl.Time):
        seconds = _floats(series.cast(pl.Int64)) / 1e9
        return Column(name, "time", seconds, note="a time of day, as seconds since midnight")
    elif isinstance(kind, pl.Duration):
        seconds = _floats(series.dt.total_microseconds()) / 1e6
        return Column(name, "time", seconds, note="a duration, as seconds")
    else:
        seconds = _floats(series.dt.epoch("us")) / 1e6
    return Column(name, "time", seconds, note="dates, as seconds since 1970")


def _of_words(series: pl.Series) -> Column:
    text = series.cast(pl.String).replace([""], [None])
    words = text.drop_nulls().unique().sort()
    codes = text.cast(pl.Enum(words)).to_physical()
    return Column(series.name, "word", _floats(codes), words=tuple(words))


def _number(name: str, values: Floats) -> Column:
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise UsageError(
            f"column {name}, row {infinite[0] + 1}: {values[infinite[0]]} is no value to learn from; "
            "leave it empty where there is none",
            field="params.file",
            given=f"{name}, row {infinite[0] + 1}",
        )
    return Column(name, "number", values)


def _floats(series: pl.Series) -> Floats:
    """Return numbers as float64 with NaN where missing."""
    return np.array(series.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _useless(column: Column) -> str:
    """Return why nothing can be learned from a column, or nothing."""
    if column.useless:
        return column.useless
    there = column.values[~np.isnan(column.values)]
    different = len(np.unique(there))
    if different == 0:
        return _NO_VALUE
    if different == 1:
        return "it has a single value"
    few = different <= len(there) / 2 or len(there) <= _FEW_VALUES
    if column.kind == "word" and (different > MOST_WORDS or not few):
        return f"{different} different words in {len(there)} rows are names of rows or free text"
    return ""


# -- the target -------------------------------------------------------------------------------------------


def _target_name(target: str, names: Sequence[str]) -> str:
    if target in names:
        return target
    allowed = ", ".join(names[:50]) + (f" and {len(names) - 50} more" if len(names) > 50 else "")
    said = f"there is no column {target!r}" if target else "params.target names no column"
    raise UsageError(
        f"{said} to be predicted; the file has {allowed}",
        field="params.target",
        given=target,
        allowed=allowed,
    )


def _truth(column: Column, problem: str) -> tuple[NDArray[Any], tuple[str, ...], str]:
    """Return what is to be predicted, the names of its classes (none for values), and a note that says which."""
    name, values = column.name, column.values
    present = np.unique(values)
    if len(present) == 1:
        raise UsageError(
            f"target {name} is the same in every row ({_names(column, present)[0]}): there is nothing to learn",
            field="params.target",
            given=name,
        )
    # Whole numbers beside gaps are floats to most writers of Parquet.
    whole = column.kind in {"whole", "number"} and bool((values == np.floor(values)).all())
    discrete = column.kind in {"bool", "word"} or (whole and len(present) <= MOST_CLASSES)
    chosen = problem or ("classification" if discrete else "regression")
    if chosen == "regression":
        if column.kind == "word":
            raise UsageError(
                f"target {name} holds words such as {column.words[0]!r}, which are classes and no values",
                field="params.problem",
                given=problem,
                allowed="classification",
            )
        other = "; -p problem=classification makes each number a class" if not problem else ""
        return values, (), f"target {name}: values, so regression{other}"
    names = _names(column, present)
    counts = Counter(np.searchsorted(present, values).tolist())
    lone = [at for at in range(len(present)) if counts[at] < 2]
    if lone:
        more = f", and so have {len(lone) - 1} more classes" if len(lone) > 1 else ""
        raise UsageError(
            f"target {name}: class {names[lone[0]]} has 1 row{more}; each needs 2, one to learn from and one to be "
            "judged by: leave such rows out, join classes"
            + ("" if column.kind == "word" else ", or give -p problem=regression"),
            field="params.target",
            given=names[lone[0]],
            allowed="at least 2 rows a class",
        )
    other = "; -p problem=regression makes them values" if not problem and column.kind != "word" else ""
    note = f"target {name}: {len(names)} classes, so classification{other}"
    return np.searchsorted(present, values).astype(np.int64), names, note


def _names(column: Column, present: Floats) -> tuple[str, ...]:
    """Return the names of values that occur, in their order."""
    match column.kind:
        case "word":
            return tuple(column.words[int(code)] for code in present)
        case "bool":
            return tuple("true" if value else "false" for value in present)
        case _:
            return tuple(str(int(value)) if value.is_integer() else repr(value) for value in present.tolist())


# -- errors -----------------------------------------------------------------------------------------------


def _bad_file(name: str, what: str, given: str = "") -> UsageError:
    return UsageError(f"{name} {what}", field="params.file", given=given)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
