"""The docs say what is so: generated parts are fresh, links lead somewhere, commands exist, the example runs."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jsonschema
import msgspec
import pytest
from typer.main import get_command

from swarm_cli import main as command
from swarm_common.events import benchmark, encode, registered
from swarm_common.events.envelope import new_event
from swarm_common.events.schema import QUERIES
from swarm_common.events.schema import asyncapi as asyncapi_document
from swarm_common.events.schema import jsonschema as json_schema
from swarm_common.runs import fold
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.simulator.run import invariants_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
PAGES += sorted(ROOT.glob("services/*/README.md"))

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


# -- generated ---------------------------------------------------------------------------------------------


def test_what_is_generated_is_up_to_date() -> None:
    found = [str(path.relative_to(ROOT)) for path in load(DOCS / "generate.py").outdated()]
    assert found == [], "`make docs` writes them again"


def test_every_generated_part_is_on_a_page() -> None:
    marked = {name for page in PAGES for name in re.findall(r"<!-- generated: ([a-z-]+) -->", read(page))}
    assert marked == set(load(DOCS / "generate.py").PARTS)


def test_the_schema_takes_a_real_event_and_refuses_a_wrong_one() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    event = new_event(
        benchmark.TaskAbandoned(task="t", attempt=1, reason="x"),
        run="run-1",
        source="/swarm/coordinator/1",
        cause="c",
        handler="h",
    )
    good = json.loads(encode(event))
    assert list(validator.iter_errors(good)) == []
    assert list(validator.iter_errors(good | {"data": {"task": "t", "attempt": "one", "reason": "x"}})) != []
    assert list(validator.iter_errors(good | {"type": "benchmark.unheard_of"})) != []


def test_asyncapi_has_every_event_and_refers_to_what_is_there() -> None:
    document = asyncapi_document()
    assert {message["name"] for message in document["components"]["messages"].values()} == {
        entry.name for entry in registered()
    }
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        place = document
        for part in reference.split("/"):
            place = place[part]


def test_the_queries_documented_are_those_that_services_answer() -> None:
    declared = set()
    for name in ("coordinator", "model_agent", "consensus", "memory_sync", "metrics", "optimizer"):
        module = importlib.import_module(f"swarm_{name}.service")
        declared |= {(name, query) for query in module.service.queries}
    assert {(query.service, query.name) for query in QUERIES} == declared


# -- written by hand ---------------------------------------------------------------------------------------


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


COMMAND = re.compile(
    r"(?:^|`|&& |\$ )(?:[A-Z_]+=\S+ )*(?P<line>swarm(?: [^`\n#|>]+)?)(?=`|$|[#|>])", re.MULTILINE
)


@each_page
def test_commands_exist_with_their_options(page: Path) -> None:
    wrong = []
    for match in COMMAND.finditer(without_output(read(page))):
        words = shlex.split(match["line"].strip(), posix=True)
        names = [word for word in words[1:] if not word.startswith("-")]
        if not names or not re.fullmatch(r"[a-z-]+", names[0]):
            continue
        if names[0] not in command.COMMANDS:
            wrong.append(match["line"])
            continue
        known = {"--help", "-h"}
        for parameter in get_command(_app(names[0])).params:
            known |= {*parameter.opts, *parameter.secondary_opts}
        wrong += [
            f"{match['line']}: {word}" for word in words[1:] if word.startswith("--") and word not in known
        ]
    assert wrong == []


def _app(name: str) -> object:
    return importlib.import_module(f"swarm_cli.commands.{command.COMMANDS[name][0]}").APPS[name]


def without_output(text: str) -> str:
    """Return a page without what `--help` printed: its prose wraps where it likes."""
    return re.sub(r"<!-- generated: commands -->.*?<!-- /generated -->", "", text, flags=re.DOTALL)


MAKE = re.compile(r"(?:`|^)make ([a-z-]+)", re.MULTILINE)


@pytest.mark.parametrize("target", sorted({name for page in PAGES for name in MAKE.findall(read(page))}))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", read(ROOT / "Makefile"), re.MULTILINE)


def test_the_json_of_a_run_is_documented_field_by_field() -> None:
    section = read(DOCS / "reference/json.md").partition("## swarm run, swarm show")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    rejected = fold("run-1", [given(benchmark.Rejected(reason="r", field="f", given="g", allowed="a"))])
    assert documented == set(rejected.summary())


def given(data: benchmark.Rejected) -> object:
    event = new_event(data, run="run-1", source="/swarm/test/1", cause="c", handler="h")
    return msgspec.structs.replace(event, seq=1)


@pytest.mark.parametrize(
    ("page", "name", "tests"), [("writing-a-suite.md", "test_pi.py", 3), ("hive.md", "test_unanimous.py", 11)]
)
def test_the_worked_example_of_a_page_works(tmp_path: Path, page: str, name: str, tests: int) -> None:
    blocks = re.findall(r"```python\n(.*?)```", read(DOCS / page), re.DOTALL)
    (tmp_path / name).write_text("".join(blocks), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    # A process of its own: the example registers an event type, which the rest of the tests must not meet.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{tests} passed", done.stdout, re.MULTILINE)


def test_every_invariant_that_is_checked_is_explained() -> None:
    section = read(DOCS / "hive.md").partition("## What is checked")[2].partition("\n## ")[0]
    explained = set(re.findall(r"\*([^*\n]+)\*", section))
    checked = {name for mechanism in MECHANISMS.values() for name in invariants_of(mechanism)}
    assert not checked - explained


def test_the_clients_example_of_the_readme_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", read(ROOT / "README.md"), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
