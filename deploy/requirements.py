"""Prints what a part needs from outside this repository, one requirement a line.

The first pyproject is the part's; the others are of the parts that it may ask for. An image installs these before any
source is copied, so that a changed line of code does not install everything again::

    python requirements.py service.toml common.toml histories.toml --extras=xgboost
"""

import re
import sys
import tomllib
from pathlib import Path

OURS = re.compile(r"(?P<name>swarm-[a-z-]+)(?:\[(?P<extras>[^\]]*)\])?")


def requirements(projects: list[dict], extras: list[str]) -> list[str]:
    """Return what the first of ``projects`` and its ``extras`` need, and what the others need that it names."""
    by_name = {project["name"]: project for project in projects}
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(projects[0]["name"], extra) for extra in ("", *extras)]
    while waiting:
        asked = waiting.pop()
        if asked in seen:
            continue
        seen.add(asked)
        name, extra = asked
        project = by_name[name]
        for need in project["optional-dependencies"][extra] if extra else project.get("dependencies", []):
            if ours := OURS.match(need):
                names = (part.strip() for part in (ours["extras"] or "").split(","))
                waiting += [(ours["name"], inner) for inner in ("", *filter(None, names))]
            else:
                found.add(need)
    return sorted(found)


if __name__ == "__main__":
    files = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    wanted = [
        argument.removeprefix("--extras=") for argument in sys.argv[1:] if argument.startswith("--extras=")
    ]
    tables = [tomllib.loads(Path(file).read_text(encoding="utf-8"))["project"] for file in files]
    names = [name.strip() for name in ",".join(wanted).split(",") if name.strip()]
    sys.stdout.write("".join(f"{need}\n" for need in requirements(tables, names)))
