"""Settings: flags, then ``SWARM_*`` environment variables, then ``swarm.toml``. Errors name the key."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from swarm_common.errors import SettingsError

PREFIX = "SWARM_"
#: Samples that come faster cost more than they tell.
LEAST_SAMPLE_S = 0.1


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every command and service can be told. A field ``x_y`` is ``SWARM_X_Y`` and ``x_y`` in swarm.toml."""

    nats_url: str = ""
    """Broker to use; empty means the embedded one under ``home``."""
    home: str = "~/.local/state/swarmbench"
    """Where the embedded stack keeps state and logs."""
    nats_port: int = msgspec.field(default=4222)
    """Port of the embedded broker on 127.0.0.1; 0, or one that is taken, means any free one."""
    session: str = "default"
    """Name that runs are filed under."""
    profile: Literal["fast", "durable", "cluster"] = "fast"
    """Durability of the log; see docs/running.md for what each can lose."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important lines that services log."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or text for people."""
    health_file: str = "/tmp/swarm-health"  # noqa: S108 - a container's own; the embedded stack names another
    """Touched while the service is healthy."""
    cpu_workers: int = 0
    """Worker processes of a service that computes; 0 means one a core."""
    io_slots: int = 128
    """Tasks that a service handles at once on its event loop."""
    sample_s: float = 1.0
    """Seconds between two samples of what a service uses, published live and never written to the log; 0 means none.
    docs/collection.md says what they cost."""
    max_bytes: int = -1
    """Upper bound of the log in bytes; -1 means the disk."""
    stream_replicas: int = 1
    """Copies that a NATS cluster keeps of each stream; 3 or 5 there, 1 on a single broker."""
    data_dir: str = ""
    """Where a service keeps projections; empty means a temporary directory, which ends with the service."""
    dashboard_port: int = 0
    """Port of the dashboard; 0 means none."""
    dashboard_host: str = "127.0.0.1"
    """Address that the dashboard listens on: this machine's alone, for it asks nobody who they are. In a container,
    127.0.0.1 is the container's own and cannot be published: there it is 0.0.0.0, published on 127.0.0.1."""
    llm_url: str = ""
    """OpenAI-compatible server that agents and arm `llm` of `mle_star` ask, up to `/v1`; empty means none. Its key, if
    it wants one, comes from the environment alone: `SWARM_LLM_API_KEY`, which is no setting and never recorded."""
    llm_model: str = "default"
    """Name of the model there; a server of one model takes any."""
    llm_slots: int = 64
    """Calls at once to an endpoint, and connections to it, of one process; further ones wait. More are not faster: the
    libraries' connection pool looks at each connection with each call."""
    embedded_url: str = ""
    """Server of the embedded model, up to `/v1`, where one runs beside the services; empty: model-agent starts its
    own."""
    llm_rpm: int = 0
    """Requests a minute to an endpoint, of one process; 0 sets no limit. What it answers with 429 and Retry-After is
    heeded in any case."""
    llm_tpm: int = 0
    """Tokens a minute to an endpoint, read and written, of one process; 0 sets no limit."""
    llm_price: str = ""
    """US dollars for a million tokens read and a million written, such as `3,15`; empty means unknown. Without it a
    budget can only be kept where an endpoint itself says what a call costs."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("nats_port", 0, 65535),
            ("dashboard_port", 0, 65535),
            ("cpu_workers", 0, 1024),
            ("io_slots", 1, 100_000),
            ("llm_slots", 1, 1024),
            ("llm_rpm", 0, 1_000_000),
            ("llm_tpm", 0, 1_000_000_000),
            ("stream_replicas", 1, 5),
            ("sample_s", 0, 60),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} is {value}; allowed is {low} to {high}"
                raise ValueError(msg)
        if 0 < self.sample_s < LEAST_SAMPLE_S:
            msg = f"sample_s is {self.sample_s}; allowed is 0, which means none, and {LEAST_SAMPLE_S} to 60"
            raise ValueError(msg)
        where = urlsplit(self.llm_url)
        if self.llm_url and (where.scheme not in {"http", "https"} or not where.hostname or where.query):
            msg = "llm_url is no address of a server; it is like http://127.0.0.1:8080/v1"
            raise ValueError(msg)
        if where.username or where.password:  # not repeated: it may be a secret
            msg = "llm_url holds a user or password; a key is given by the variable SWARM_LLM_API_KEY"
            raise ValueError(msg)

        if self.llm_price:
            self.llm_prices  # noqa: B018 - raises what is wrong with it

    @property
    def llm_prices(self) -> tuple[float, float] | None:
        """US dollars for a million tokens read and a million written; ``None`` where no price is set."""
        if not self.llm_price:
            return None
        given = self.llm_price.split(",")
        try:
            read, written = (float(text) for text in given)
        except ValueError:
            read = written = -1.0
        if not (0 <= read < math.inf and 0 <= written < math.inf):
            msg = (
                f"llm_price is {self.llm_price!r}; it is two numbers, US dollars for a million tokens read and a "
                "million written, such as 3,15"
            )
            raise ValueError(msg)
        return read, written

    @property
    def home_path(self) -> Path:
        return Path(self.home).expanduser().absolute()


_BY_NAME = {field.name: field for field in msgspec.structs.fields(Settings)}


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Return the settings; raises :class:`SettingsError` naming source and key of what does not fit.

    ``file`` defaults to ``swarm.toml`` in the working directory, which may be absent. Flags that are ``None`` count as
    not given.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    path = file or Path("swarm.toml")
    if path.exists() or file is not None:
        for key, value in _read_toml(path).items():
            values[key], origin[key] = value, f"{path}: {key}"
    for name in _BY_NAME:
        variable = PREFIX + name.upper()
        if environ.get(variable):
            values[name], origin[name] = environ[variable], variable
    for key, value in (flags or {}).items():
        if value is not None:
            values[key], origin[key] = value, f"--{key.replace('_', '-')}"
    _check_names(values, origin)
    for key, value in values.items():
        try:
            msgspec.convert(value, _BY_NAME[key].type, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{origin[key]} is {value!r}: {error}", field=key, given=str(value)) from None
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        key = next((name for name in values if str(error).startswith(f"{name} ")), "")
        raise SettingsError(f"{origin.get(key, 'settings')}: {error}", field=key) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}", field=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML: {error}", field=str(path)) from error


def _check_names(values: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    for key in values:
        if key not in _BY_NAME:
            raise SettingsError(
                f"{origin[key]} is no setting; settings are {', '.join(sorted(_BY_NAME))}",
                field=key,
                given=key,
            )
