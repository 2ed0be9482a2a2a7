"""`swarm run ensemble file`: from a CSV in the user's directory to a result that replays, and what is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from support.stacks import SWARM, Stack, stack


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a stack, with a table in the directory that commands run in."""
    with stack(tmp_path_factory.mktemp("table") / "home") as found:
        lines = ["age,town,income"]
        for row in range(120):
            age, town = 18 + row * 37 % 62, "ab"[row * 7 // 3 % 2]
            lines.append(
                f"{'' if row % 9 == 0 else age},{town},{'high' if age > 50 or town == 'b' else 'low'}"
            )
        (found.home.parent / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (found.home.parent / "empty.csv").touch()
        yield found


def ask(own: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the table and return how it ended."""
    return subprocess.run(
        [SWARM, *arguments],
        cwd=own.home.parent,
        env=own.environ,
        capture_output=True,
        text=True,
        timeout=90.0,
        check=False,
    )


FILE = ("run", "ensemble", "file", "-p", "models=logistic_regression,svm", "-p", "target=income")


def test_a_table_is_sent_learned_from_and_replayed(own: Stack) -> None:
    run = json.loads(own.swarm(*FILE, "-p", "data=people.csv", "--json"))
    scores = {metric["name"]: metric["value"] for metric in run["metrics"]}
    assert scores["accuracy"] > 0.8
    assert run["result"]["dataset"] == "file"
    again = json.loads(own.swarm(*FILE, "-p", f"data={own.home.parent / 'people.csv'}", "--json"))
    assert again["digest"] == run["digest"]
    assert "equal" in own.swarm("replay", run["run"])
    own.swarm("export", run["run"], "-o", "run.jsonl")
    assert "equal" in own.swarm("replay", "run.jsonl")
    assert (
        '"type":"swarm.blob"' in (own.home.parent / "run.jsonl").read_text(encoding="utf-8").splitlines()[0]
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("none.csv", "none.csv does not exist"),
        (".", "is a directory"),
        ("empty.csv", "empty.csv is empty"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_2(own: Stack, data: str, what: str) -> None:
    done = ask(own, *FILE, "-p", f"data={data}")
    assert done.returncode == 2
    assert what in done.stderr


def test_a_column_that_is_not_there_fails_the_run_and_names_those_that_are(own: Stack) -> None:
    done = ask(own, "run", "ensemble", "file", "-p", "data=people.csv", "-p", "target=salary")
    assert done.returncode == 1
    assert "the file has age, town, income" in done.stdout
