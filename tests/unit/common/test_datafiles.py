"""Files of a user's: what can be sent, what a request may call it, and nothing that a service would have to open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common import datafiles
from swarm_common.datafiles import DataFile
from swarm_common.errors import UsageError

REF = f"sha256:{'0123456789abcdef' * 4}"


@given(st.text())
def test_any_name_can_be_written_and_read_and_is_one_part_of_a_path(name: str) -> None:
    file = DataFile(datafiles.safe_name(name), REF)
    assert datafiles.parse(str(file), "params.data") == file
    assert Path(file.name).name == file.name
    assert not file.name.startswith(".")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("people.csv", "people.csv"),
        ("my people (1).csv", "my_people_1_.csv"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".bashrc", "bashrc"),
        ("...", "file"),
        ("", "file"),
        ("größe.csv", "größe.csv"),
        ("a" * 300 + ".csv", "a" * 96 + ".csv"),
    ],
)
def test_names_stay_readable(name: str, safe: str) -> None:
    assert datafiles.safe_name(name) == safe


@pytest.mark.parametrize(
    "text",
    ["", "people.csv", REF, f"a/b@{REF}", f"..@{REF}", f"a@{REF}0", f"a@{REF}\n", f"a@{REF.upper()}", 3],
)
def test_whatever_else_comes_over_the_wire_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="no file in the object store") as refused:
        datafiles.parse(text, "params.data")
    assert refused.value.field == "params.data"


def test_files_are_found_among_parameters_once_each() -> None:
    params = {"data": f"a.csv@{REF}", "again": f"a.csv@{REF}", "target": "income", "folds": 3, "list": [REF]}
    assert datafiles.references(params) == (DataFile("a.csv", REF),)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n")
    assert datafiles.read(tmp_path / "a.csv", "params.data") == b"a,b\n"


def test_what_is_no_file_to_send_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datafiles, "MOST_BYTES", 2 * 2**20)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(3 * 2**20)
    reasons = {
        "none": "does not exist",
        "": "is a directory",
        "empty": "is empty",
        "empty/under": "cannot be read: Not a directory",
        "pipe": "is no regular file",
        "large": "has 3 MiB; at most 2 MiB",
        "nul\0": "does not exist",
    }
    for name, reason in reasons.items():
        with pytest.raises(UsageError, match=reason) as refused:
            datafiles.read(tmp_path / name, "params.data")
        assert refused.value.field == "params.data"
        assert refused.value.exit_code == 2
