"""Writes the generated parts of docs/: `make docs`. With `--check` it only says what is out of date, and exits 1.

Whole files lie in docs/reference/. Elsewhere a part stands between ``<!-- generated: NAME -->`` and
``<!-- /generated -->``, with NAME one of :data:`PARTS`; the text around it is written by hand.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from swarm_cli import main as command
from swarm_common.events import registered
from swarm_common.events.registry import EventType
from swarm_common.events.schema import QUERIES, address, asyncapi, field_docs, jsonschema
from swarm_common.log.streams import stream_configs
from swarm_common.settings import PREFIX, Settings
from swarm_consensus.protocols import MECHANISMS
from swarm_consensus.protocols.core import Mechanism, Setup, Transition
from swarm_consensus.simulator.keys import signers
from swarm_consensus.simulator.run import invariants_of
from swarm_coordinator.plans import Param, Scenario
from swarm_coordinator.state import TRANSITIONS
from swarm_coordinator.suites import SUITES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_MARKED = re.compile(
    r"(?P<open><!-- generated: (?P<name>[a-z-]+) -->\n)(?P<text>.*?)(?P<close><!-- /generated -->)", re.DOTALL
)
_EVENTS = """\
# Events

<!-- Written by `make docs` from the code; changes here are lost. -->

Every type of event, by context. [Concepts](../concepts.md) says what an event is;
[events.schema.json](events.schema.json) is the same as JSON Schema, [asyncapi.json](asyncapi.json) as AsyncAPI.

The envelope around `data` is a CloudEvents 1.0 object. Its `subject` is the run; the subjects named here are NATS's.
"""
_SUITES = """\
# Suites

<!-- Written by `make docs` from the code; changes here are lost. -->

`swarm suites` prints the same. A parameter is given as `-p name=value`; a target that is missed is reported as missed,
and `swarm run --check` then exits 1.
"""


# -- Markdown ----------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def prose(text: str) -> str:
    """Return a docstring as Markdown: double backticks and roles become single backticks."""
    text = re.sub(r":[a-z]+:`~?(?:[\w.]+\.)?([\w-]+)`", r"`\1`", inspect.cleandoc(text))
    return text.replace("``", "`")


def value(given: Any) -> str:
    return msgspec.json.encode(given).decode()


# -- events ------------------------------------------------------------------------------------------------


def events() -> str:
    contexts: dict[str, list[EventType]] = {}
    for entry in registered():
        contexts.setdefault(entry.name.partition(".")[0], []).append(entry)
    parts = [_EVENTS]
    for context, entries in contexts.items():
        parts.append(f"\n## {context}\n")
        parts += [_event(entry) for entry in entries]
    parts.append("\n## Values\n\nWhat events hold.\n")
    parts += [f"\n### {cls.__name__}\n\n{prose(cls.__doc__ or '')}\n\n{_fields(cls)}" for cls in _values()]
    parts.append("\n## Queries\n\nRequest and reply, JSON both ways; no events. ")
    parts.append("Every service also answers `query.<service>.health`.\n\n")
    rows = [
        [code(query.subject), "; ".join(f"`{k}`: {v}" for k, v in query.takes.items()), query.returns]
        for query in QUERIES
    ]
    parts.append(table(["subject", "takes", "returns"], rows))
    return "".join(parts)


def _event(entry: EventType) -> str:
    cls = entry.cls
    facts = [f"Version {entry.version}", f"subject `{address(entry)}`"]
    if cls.concludes:
        facts.append("concludes its task")
    if cls.volatile:
        facts.append(f"not in the digest: {', '.join(code(name) for name in sorted(cls.volatile))}")
    if not cls.digested:
        facts.append("no part of the digest")
    return f"\n### {entry.name}\n\n{prose(cls.__doc__ or '')}\n\n{'; '.join(facts)}.\n\n{_fields(cls)}"


def _fields(cls: type[Any]) -> str:
    docs = field_docs(cls)
    rows = []
    for field in msgspec.structs.fields(cls):
        default = "" if field.required else code(value(_default(field)))
        rows.append(
            [code(field.encode_name), code(_type(field.type)), default, prose(docs.get(field.name, ""))]
        )
    return table(["field", "type", "default", "meaning"], rows)


def _default(field: Any) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _type(annotation: Any) -> str:
    if inspect.isclass(annotation) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return re.sub(r"\b(?:typing|swarm_\w+(?:\.\w+)*)\.", "", str(annotation)).replace("NoneType", "None")


def _values() -> list[type[Any]]:
    """Return the structs that events hold, by name."""
    found: dict[str, type[Any]] = {}

    def look(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            found[info.cls.__name__] = info.cls
            look_in(info.cls)
        for name in ("item_type", "key_type", "value_type"):
            if hasattr(info, name):
                look(getattr(info, name))
        for name in ("types", "item_types"):
            for inner in getattr(info, name, ()):
                look(inner)

    def look_in(cls: type[Any]) -> None:
        for field in msgspec.structs.fields(cls):
            look(msgspec.inspect.type_info(field.type))

    for entry in registered():
        look_in(entry.cls)
    return [found[name] for name in sorted(found)]


# -- suites ------------------------------------------------------------------------------------------------


def suites() -> str:
    parts = [_SUITES]
    for suite in SUITES.values():
        parts.append(f"\n## {suite.name}\n\n{suite.description}.\n")
        parts += [_scenario(scenario) for scenario in suite.scenarios]
    return "".join(parts)


def _scenario(scenario: Scenario) -> str:
    targets = ", ".join(f"`{one.metric} {one.op} {one.target:g}`" for one in scenario.targets)
    text = f"\n### {scenario.name}\n\n{scenario.description}. "
    text += f"Targets: {targets}. " if targets else "No targets. "
    text += f"Fails after {scenario.timeout_s:g} s unless `--timeout` says otherwise.\n"
    if not scenario.params:
        return text
    rows = [
        [
            code(one.name),
            one.type,
            "" if one.default is None else code(value(one.default)),
            _allowed(one),
            one.description,
        ]
        for one in scenario.params
    ]
    return text + "\n" + table(["parameter", "type", "default", "allowed", "meaning"], rows)


def _allowed(param: Param) -> str:
    if param.choices:
        return ", ".join(code(choice) for choice in param.choices)
    if param.low is None and param.high is None:
        return ""
    low = "" if param.low is None else f"from {param.low:g}"
    high = "" if param.high is None else f"to {param.high:g}"
    return f"{low} {high}".strip()


# -- parts of pages ----------------------------------------------------------------------------------------


def settings() -> str:
    docs = field_docs(Settings)
    rows = []
    for field in msgspec.structs.fields(Settings):
        if not _is_read(field.name):
            continue
        kind = _type(field.type)
        choices = re.fullmatch(r"Literal\[(.*)\]", kind)
        allowed = ", ".join(code(text.strip(" '")) for text in choices[1].split(",")) if choices else kind
        default = code(value(_default(field)).strip('"')) or "empty"
        rows.append([code(PREFIX + field.name.upper()), default, allowed, prose(docs.get(field.name, ""))])
    return table(["variable", "default", "type", "meaning"], rows)


def _is_read(name: str) -> bool:
    """Say whether anything reads a setting; the supervisor only hands all of them on."""
    reads = re.compile(rf"settings(?:\(\))?\.{name}(?:_path)?\b")
    return any(
        reads.search(path.read_text(encoding="utf-8"))
        for part in ("libs", "services")
        for path in (ROOT / part).rglob("src/**/*.py")
        if path.name not in {"settings.py", "supervisor.py"}
    )


def streams() -> str:
    rows = []
    for config in stream_configs():
        days = "" if not config.max_age else f"{config.max_age / 86_400:g} days"
        subjects = ", ".join(code(subject) for subject in config.subjects or ())
        said = (config.description or "").partition(": ")[2] or config.description or ""
        rows.append([code(config.name or ""), subjects, said, days or "until archived"])
    return table(["stream", "subjects", "holds", "keeps"], rows)


def task_states() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> waiting", "    [*] --> ready"]
    lines += [
        f"    {start} --> {end}: {why.replace('<', '‹').replace('>', '›')}" for start, why, end in TRANSITIONS
    ]
    lines += ["    done --> [*]", "```", ""]
    rows = [[code(start), why.replace("<", "&lt;"), code(end)] for start, why, end in TRANSITIONS]
    return "\n".join(lines) + "\n" + table(["from", "by", "to"], rows)


def mechanisms() -> str:
    """Return what there is to know of each mechanism: from its description, and the table of its states."""
    sizes = (3, 4, 5, 7, 10, 31, 100)
    rows = [
        [
            f"[{one.title}](#{anchor(one.title)})",
            code(one.name),
            _formula(one),
            "the first agent has decided" if one.counted_until == "decided" else "nobody has more to say",
            _counts(one.crashes, sizes),
            _counts(one.liars, sizes),
        ]
        for one in MECHANISMS.values()
    ]
    counted = ", ".join(map(str, sizes))
    head = ["mechanism", "name", "messages", "until", f"crashes, N = {counted}", f"liars, N = {counted}"]
    return table(head, rows) + "".join(_mechanism(one) for one in MECHANISMS.values())


def anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _formula(one: Mechanism, until: int = 100) -> str:
    """Return how messages grow with N where it is ``a(N - 1)`` or ``aN(N - 1)`` up to ``until``, else some numbers."""
    for text, shape in (("(N - 1)", lambda n: n - 1), ("N(N - 1)", lambda n: n * (n - 1))):
        factor, rest = divmod(one.fault_free(3), shape(3))
        if not rest and all(one.fault_free(n) == factor * shape(n) for n in range(3, until + 1)):
            return f"{factor}{text}"
    return ", ".join(f"{one.fault_free(n)} at N = {n}" for n in (3, 4, 10, 100))


def _counts(allowed: Callable[[int], int], sizes: Sequence[int]) -> str:
    found = [allowed(n) for n in sizes]
    return ", ".join(map(str, found)) if any(found) else "none"


def _mechanism(one: Mechanism) -> str:
    setup = Setup(id=0, members=(0, 1, 2, 3), random=Random(0), keys=signers(4)[0])  # noqa: S311
    node = one.node(setup)
    about = [
        f"\n### {one.title}\n",
        f"\n{one.description}. ({one.paper}.)\n",
        f"\nPhases of a decision: {', '.join(one.phases)}. ",
        f"Messages: {', '.join(code(kind.__name__) for kind in one.messages)}. ",
        f"On the disk: {', '.join(code(kind.__name__) for kind in one.records)}. ",
        f"Ways to lie: {', '.join(code(name) for name in ('silence', *one.lies))}.\n",
        f"\n{_states(type(node).TRANSITIONS)}\n",
        "Checked after every step: ",
        ", ".join(f"*{name}*" for name in invariants_of(one)),
        ".\n",
    ]
    return "".join(about)


def _states(rows: Sequence[Transition]) -> str:
    """Return the diagram of a table of states; several ways between the same two share an arrow."""
    ways: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        ways.setdefault((row.source, row.target), []).append(row.trigger)
    names = {state: re.sub(r"\W", "_", state) for pair in ways for state in pair}
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{state}" as {name}' for state, name in names.items() if name != state]
    lines.append(f"    [*] --> {names[rows[0].source]}")
    lines += [
        f"    {names[source]} --> {names[target]}: {' / '.join(triggers)}"
        for (source, target), triggers in ways.items()
    ]
    return "\n".join([*lines, "```", ""])


def commands() -> str:
    each = (f"\n## swarm {name}\n\n```\n{help_of(name)}```\n" for name in command.COMMANDS)
    return f"```\n{help_of()}```\n{''.join(each)}"


def help_of(*arguments: str) -> str:
    """Return what `swarm ARGUMENTS --help` prints on a terminal of 80 columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            command.run([*arguments, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()).strip() + "\n"


def decisions() -> str:
    rows = []
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        number, _, text = title.partition(". ")
        rows.append(f"- [{number}]({path.name}) {text}\n")
    return "".join(rows)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "decisions": decisions,
    "mechanisms": mechanisms,
    "settings": settings,
    "streams": streams,
    "task-states": task_states,
}


def pretty(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def outputs() -> Iterator[tuple[Path, str]]:
    """Yield every file with a generated part, and what it should hold."""
    reference = DOCS / "reference"
    yield reference / "asyncapi.json", pretty(asyncapi())
    yield reference / "events.schema.json", pretty(jsonschema())
    yield reference / "events.md", events()
    yield reference / "suites.md", suites()
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if _MARKED.search(text):
            yield path, _MARKED.sub(lambda m: f"{m['open']}{PARTS[m['name']]()}{m['close']}", text)


def outdated() -> list[Path]:
    return [path for path, text in outputs() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main(arguments: Sequence[str]) -> int:
    if arguments == ["--check"]:
        found = outdated()
        for path in found:
            print(f"{path.relative_to(ROOT)} is out of date; `make docs` writes it again")
        return 1 if found else 0
    for path, text in outputs():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
