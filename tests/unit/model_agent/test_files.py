"""A user's CSV or Parquet: columns become numbers, bit for bit, and what cannot be used is named."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_common.errors import SwarmError, UsageError
from swarm_model_agent import datasets, files
from swarm_model_agent.datasets import Table, load_held_out, load_training, prepare
from swarm_model_agent.files import load_file
from swarm_model_agent.params import FILES, DataParams

Keep = Callable[[bytes | str], str]


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keep]:
    """Put a file where the service would, and return what a task calls it."""
    store = tmp_path_factory.mktemp("store")
    (store / FILES).mkdir()
    datasets.keep_in(str(store))

    def put(content: bytes | str) -> str:
        data = content.encode() if isinstance(content, str) else content
        digest = hashlib.sha256(data).hexdigest()
        (store / FILES / digest).write_bytes(data)
        return f"t.csv@sha256:{digest}"

    yield put
    datasets.keep_in("")


def table(keep: Keep, content: bytes | str, target: str = "y", **more: Any) -> Table:
    return load_file(DataParams(dataset="file", file=keep(content), target=target, **more))


def refusal(keep: Keep, content: bytes | str, target: str = "y", **more: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        table(keep, content, target, **more)
    return caught.value


def columns(**values: list[Any]) -> str:
    """Return a CSV of these columns; those that are too short are repeated to ten rows and more."""
    height = max(12, *(len(column) for column in values.values()))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(values)
    writer.writerows([column[row % len(column)] for column in values.values()] for row in range(height))
    return out.getvalue()


def parquet(**values: Any) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(values).write_parquet(out)
    return out.getvalue()


# -- what is read is what was written ----------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=8).map(
    lambda text: f"w{text.strip()}"
)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.none() | NUMBERS, st.none() | WORDS), min_size=10, max_size=30),
    st.sampled_from(files.DELIMITERS),
    st.booleans(),
)
def test_numbers_come_back_bit_for_bit_and_words_by_their_codes(
    keep: Keep, rows: list[tuple[float | None, str | None]], delimiter: str, bom: bool
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["number", "word", "y"])
    for row, (number, word) in enumerate(rows):
        writer.writerow(["" if number is None else repr(number), word or "", float(row) + 0.5])
    written = ("\ufeff" if bom else "") + out.getvalue()
    numbers = np.array([np.nan if number is None else number for number, _ in rows])
    words = [word for _, word in rows]
    different = len(np.unique(numbers[~np.isnan(numbers)])) > 1, len(set(words) - {None}) > 1
    if not any(different):
        assert refusal(keep, written).field == "params.file"
        return
    found = table(keep, written)
    assert found.columns == tuple(
        name for name, there in zip(("number", "word"), different, strict=True) if there
    )
    if different[0]:
        assert found.x[:, 0].tobytes() == numbers.tobytes()
    if different[1]:
        known = sorted({word for word in words if word is not None})
        codes = found.x[:, -1]
        assert [None if np.isnan(code) else known[int(code)] for code in codes] == words
        assert found.categorical == (len(found.columns) - 1,)
    assert found.y.tolist() == [row + 0.5 for row in range(len(rows))]


@settings(max_examples=30)
@given(st.lists(st.none() | NUMBERS, min_size=12, max_size=20, unique=True))
def test_parquet_says_the_same_as_csv(keep: Keep, numbers: list[float | None]) -> None:
    y = [row + 0.5 for row in range(len(numbers))]
    one = table(keep, parquet(a=pl.Series(numbers, dtype=pl.Float64), y=y))
    two = table(keep, columns(a=["" if number is None else repr(number) for number in numbers], y=y))
    assert one.x.tobytes() == two.x.tobytes()
    assert one.y.tolist() == two.y.tolist() == y


# -- kinds of columns -------------------------------------------------------------------------------------

Y = [0, 1]


def column(keep: Keep, *values: Any, target: list[Any] | None = None) -> list[float]:
    return table(keep, columns(a=list(values), y=target or Y)).x[: len(values), 0].tolist()


def test_booleans_are_0_and_1(keep: Keep) -> None:
    assert column(keep, "true", "False", "TRUE") == [1.0, 0.0, 1.0]


def test_spaces_around_values_and_names_mean_nothing(keep: Keep) -> None:
    found = table(keep, "a , b, y\n" + " 1, x ,0\n2 ,y, 1\n" * 6)
    assert found.columns == ("a", "b")
    assert found.x[:2].tolist() == [[1.0, 0.0], [2.0, 1.0]]


@pytest.mark.parametrize("text", files.MISSING)
def test_what_says_that_there_is_no_value_is_missing(keep: Keep, text: str) -> None:
    found = column(keep, "1", text, "2.5")
    assert np.isnan(found[1])
    assert (found[0], found[2]) == (1.0, 2.5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29", dt.datetime(2024, 2, 29, tzinfo=dt.UTC)),
        ("2024-02-29T13:14:15.5", dt.datetime(2024, 2, 29, 13, 14, 15, 500_000, tzinfo=dt.UTC)),
        ("2024-02-29 13:14:15", dt.datetime(2024, 2, 29, 13, 14, 15, tzinfo=dt.UTC)),
        ("2024-02-29T13:14", dt.datetime(2024, 2, 29, 13, 14, tzinfo=dt.UTC)),
        ("2024-02-29T13:14:15Z", dt.datetime(2024, 2, 29, 13, 14, 15, tzinfo=dt.UTC)),
        ("2024-02-29T13:14:15+02:00", dt.datetime(2024, 2, 29, 11, 14, 15, tzinfo=dt.UTC)),
    ],
)
def test_dates_are_seconds_since_1970(keep: Keep, text: str, moment: dt.datetime) -> None:
    seconds = moment.timestamp()
    form = text.replace("29", "28", 1)
    found = table(keep, columns(a=[text, form, ""], y=Y))
    assert found.x[:2, 0].tolist() == [seconds, seconds - 86_400]
    assert np.isnan(found.x[2, 0])
    assert "column a: dates, as seconds since 1970" in found.notes


def test_parquet_keeps_its_types(keep: Keep) -> None:
    day = dt.date(2024, 2, 29)
    rows = 12
    found = table(
        keep,
        parquet(
            flag=[True, None] * 6,
            day=[day, day + dt.timedelta(1)] * 6,
            at=[dt.time(1), dt.time(2)] * 6,
            long=[dt.timedelta(seconds=1.5), None, dt.timedelta(0)] * 4,
            code=["01", "02"] * 6,
            kind=pl.Series(["b", "a"] * 6, dtype=pl.Categorical),
            list=[[1], [2]] * 6,
            none=[None] * rows,
            small=pl.Series([1, 2] * 6, dtype=pl.UInt8),
            y=[0, 1] * 6,
        ),
    )
    assert found.columns == ("day", "at", "long", "code", "kind", "small")
    assert [found.columns[at] for at in found.categorical] == ["code", "kind"]
    first = dt.datetime(2024, 2, 29, tzinfo=dt.UTC).timestamp()
    assert found.x[0].tolist() == [first, 3600.0, 1.5, 0.0, 1.0, 1.0]
    assert [note.split(":")[0] for note in found.notes if "left out" in note] == [
        "column flag left out",
        "column list left out",
        "column none left out",
    ]


def test_a_decimal_comma_is_one_where_commas_do_not_separate(keep: Keep) -> None:
    found = table(keep, "a;y\n" + "1,5;0\n-2,25;1\n" * 6)
    assert found.x[:2, 0].tolist() == [1.5, -2.25]
    assert "column a: its decimal comma is read as a point" in found.notes
    thousands = table(keep, columns(a=["1,500", "2,500"], y=Y))
    assert thousands.categorical == (0,)


@pytest.mark.parametrize("delimiter", files.DELIMITERS)
def test_the_delimiter_is_the_one_that_fits(keep: Keep, delimiter: str) -> None:
    rows = [["a, b", "c; d", "y"], *[["x | 1, 2", "3", "0"], ["y;\t2", "4", "1"]] * 6]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    assert table(keep, out.getvalue()).columns == ("a, b", "c; d")


def test_quoted_lines_and_windows_ends_are_read(keep: Keep) -> None:
    found = table(keep, 'a,b,y\r\n"one\nline",1,0\r\n"say ""so""",2,1\r\n' + "x,3,0\r\nz,4,1\r\n" * 5)
    assert len(found.y) == 12
    assert found.x[:2, 1].tolist() == [1.0, 2.0]


def test_a_column_without_a_name_gets_one(keep: Keep) -> None:
    assert table(keep, ",a,y\n" + "".join(f"{row},{row % 3},{row % 2}\n" for row in range(12))).columns == (
        "unnamed_1",
        "a",
    )


# -- what is left out -------------------------------------------------------------------------------------


def test_columns_that_tell_nothing_are_left_out_and_named(keep: Keep) -> None:
    rows = 60
    found = table(
        keep,
        columns(
            id=[f"id-{row}" for row in range(rows)],
            half=[f"w{row % 30}" for row in range(rows)],
            same=["x"],
            empty=[""],
            once=["", "7"],
            a=list(range(rows)),
            y=Y,
        ),
    )
    assert found.columns == ("half", "a")
    assert [note for note in found.notes if "left out" in note] == [
        "column id left out: 60 different words in 60 rows are names of rows or free text",
        "column same left out: it has a single value",
        "column empty left out: it has no value",
        "column once left out: it has a single value",
    ]


def test_few_rows_may_all_have_different_words(keep: Keep) -> None:
    assert table(keep, columns(a=[f"w{row}" for row in range(50)], y=Y)).categorical == (0,)


def test_no_more_than_a_thousand_words(keep: Keep) -> None:
    rows = 2500
    found = table(
        keep,
        columns(
            many=[f"w{row % 1001}" for row in range(rows)],
            most=[f"w{row % 1000}" for row in range(rows)],
            y=Y,
        ),
    )
    assert found.columns == ("most",)


def test_rows_without_a_target_are_left_out_and_counted(keep: Keep) -> None:
    found = table(keep, columns(a=list(range(20)), y=["a", "b", "", "a"]))
    assert found.x[:, 0].tolist() == [float(row) for row in range(20) if row % 4 != 2]
    assert "5 of 20 rows left out: they have no y" in found.notes


# -- the target -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "problem", "classes"),
    [
        (["no", "yes"], "", ("no", "yes")),
        (["true", "false"], "", ("false", "true")),
        ([10, 9, -1], "", ("-1", "9", "10")),
        (["1.0", "2.0"], "", ("1", "2")),
        (list(range(20)), "", tuple(str(number) for number in range(20))),
        (list(range(21)), "", ()),
        ([0.5, 1.5], "", ()),
        ([0.5, 1.5], "classification", ("0.5", "1.5")),
        ([0, 1], "regression", ()),
        (["true", "false"], "regression", ()),
    ],
)
def test_what_is_predicted_follows_the_target(
    keep: Keep, values: list[Any], problem: Any, classes: tuple[str, ...]
) -> None:
    found = table(keep, columns(a=list(range(60)), y=values), problem=problem)
    assert found.classes == classes
    if classes:
        assert found.y.dtype == np.int64
        named = [found.classes[code] for code in found.y[: len(values)]]
        assert named == [str(value).removesuffix(".0") for value in values]
    elif isinstance(values[0], str):
        assert found.y[:2].tolist() == [1.0, 0.0]
    else:
        assert found.y[: len(values)].tolist() == values
    assert found.notes[0].startswith("target y: ")
    overridable = not problem and not isinstance(values[0], str)
    assert ("-p problem=" in found.notes[0]) == (
        overridable or (values[0] in {"true", "1.0"} and not problem)
    )


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (columns(a=[1, 2], b=[3], y=Y).replace("b,", "a,"), "more than one column 'a'"),
        (columns(a=["1.5", "inf"], y=Y), "column a, row 2: inf"),
        (columns(a=["1.5", "1e999"], y=Y), "column a, row 2: inf"),
        (columns(a=[1], y=Y), "no column to learn y from: column a left out"),
        ("y\n" + "0\n1\n" * 6, "no column to learn y from: it is the only one"),
        ("a,y\n" + "1,0\n2,1\n" * 4, "8 rows with a y; at least 10"),
        ("a,y\n", "0 rows with a y"),
        (columns(a=[1, 2], y=[""]), "0 rows with a y"),
        ("a,y\n1,2,3\n" + "1,0\n" * 12, "3 fields in line 2"),
        ("1,2\n3,4\n" * 12, "begins with numbers"),
        ("\n\n", "holds no line of names"),
        ('a,y\n"1,0\n' * 12, "cannot be read as CSV"),
        ("a,y\n1,0\n2,\xff\n".encode("latin-1"), "not UTF-8 in line 3"),
        ("a,y\n1,0\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04\0\0", "neither CSV nor Parquet"),
        (b"PAR1 and no more", "no Parquet file that can be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(keep: Keep, content: bytes | str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        table(keep, content)


@pytest.mark.parametrize(
    ("values", "problem", "what", "field"),
    [
        (["a"], "", r"y is the same in every row \(a\)", "params.target"),
        ([3], "", r"y is the same in every row \(3\)", "params.target"),
        (["a"] * 11 + ["b"], "", "y: class b has 1 row;", "params.target"),
        (["a"] * 10 + ["b", "c"], "", "class b has 1 row, and so have 1 more", "params.target"),
        ([0] * 11 + [1], "", "-p problem=regression", "params.target"),
        (["a", "b"], "regression", "holds words such as 'a'", "params.problem"),
        (["0.5", "inf"], "", "column y, row 2: inf", "params.file"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(
    keep: Keep, values: list[Any], problem: Any, what: str, field: str
) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        table(keep, columns(a=list(range(12)), y=values), problem=problem)
    assert caught.value.field == field


@pytest.mark.parametrize("target", ["", "income", "Y"])
def test_a_target_that_is_not_there_is_told_those_that_are(keep: Keep, target: str) -> None:
    error = refusal(keep, columns(a=[1, 2], y=Y), target)
    assert (error.field, error.given, error.allowed) == ("params.target", target, "a, y")


@pytest.mark.parametrize("file", ["", "/etc/passwd", "people.csv"])
def test_a_worker_opens_nothing_but_what_the_service_put_beside_it(keep: Keep, file: str) -> None:
    keep("a")
    with pytest.raises(UsageError, match="no file in the object store"):
        load_file(DataParams(dataset="file", file=file, target="y"))
    with pytest.raises(SwarmError, match="does not lie beside this worker"):
        load_file(DataParams(dataset="file", file=f"t.csv@sha256:{'0' * 64}", target="y"))


@pytest.mark.parametrize("given", [{"file": "x"}, {"target": "y"}, {"problem": "regression"}])
def test_what_is_said_of_files_is_refused_for_other_data(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is for data set 'file'"):
        load_training(DataParams(dataset="wine", **given))


def test_a_file_is_no_made_data(keep: Keep) -> None:
    assert refusal(keep, columns(a=[1, 2], y=Y), make={"rows": 1}).field == "params.make"


def test_a_class_too_small_for_the_split_is_refused(keep: Keep) -> None:
    params = DataParams(
        dataset="file", file=keep(columns(a=list(range(12)), y=list("abcdef"))), target="y", test_share=0.2
    )
    with pytest.raises(UsageError, match="file cannot be split so") as caught:
        load_training(params)
    assert caught.value.field == "params.test_share"


# -- as a data set ----------------------------------------------------------------------------------------


def test_a_file_is_split_as_other_data_and_its_event_tells_what_was_done(keep: Keep) -> None:
    written = columns(a=list(range(40)), b=["x", "y", ""], same=[1], y=["no", "yes"])
    params = DataParams(dataset="file", file=keep(written), target="y")
    told = prepare("t", params)
    assert (told.dataset, told.problem, told.n_train, told.n_test) == ("file", "classification", 32, 8)
    assert (told.classes, told.categorical, told.n_features) == (("no", "yes"), (1,), 2)
    assert "column same left out: it has a single value" in told.notes
    training, held_out = load_training(params), load_held_out(params)
    assert sorted([*training.x[:, 0], *held_out.x[:, 0]]) == list(range(40))
    assert np.array_equal(training.y, training.x[:, 0] % 2)  # rows stay together
