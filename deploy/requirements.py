"""Prints what the given pyprojects need from outside this repository, one requirement a line.

An image installs these before any source is copied, so that a changed line of code does not install everything again::

    python requirements.py common.toml service.toml --extras=xgboost
"""

import re
import sys
import tomllib
from pathlib import Path

OURS = re.compile(r"swarm-[a-z-]+(?:\[(?P<extras>[^\]]*)\])?")


def requirements(projects: list[dict], extras: list[str]) -> list[str]:
    """Return the requirements of ``projects``, with those of ``extras`` and of the extras they ask of each other."""
    found: set[str] = set()
    declared = {
        name: needs
        for project in projects
        for name, needs in project.get("optional-dependencies", {}).items()
    }
    waiting = [need for project in projects for need in project["dependencies"]]
    waiting += [need for extra in extras for need in declared[extra]]
    while waiting:
        need = waiting.pop()
        if ours := OURS.match(need):
            asked = (ours["extras"] or "").split(",")
            waiting += [inner for extra in asked if extra for inner in declared[extra.strip()]]
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
