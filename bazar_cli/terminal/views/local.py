"""How the embedded stack is shown. Its records have protocols here, so that no view imports the stack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bazar_cli.terminal.views.base import View


@dataclass(frozen=True)
class Started:
    """A running stack, its profile and its migrations."""

    supabase_url: str
    database: str
    superuser_email: str
    profile: str | None
    already_running: bool
    migrated: int
    data_dir: str


class Part(Protocol):
    """A component of the stack."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> object: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def address(self) -> str | None: ...
    @property
    def since(self) -> datetime | None: ...
    @property
    def log(self) -> object: ...


class Mail(Protocol):
    """A mail that was stored instead of sent."""

    @property
    def sent_at(self) -> datetime: ...
    @property
    def recipient(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def link(self) -> str: ...
    @property
    def code(self) -> str: ...


@dataclass(frozen=True)
class Stopped:
    """The parts that a stop or a reset ended."""

    postgres: bool
    auth: bool
    data_deleted: bool = False


STARTED = View(Started)
STOPPED = View(Stopped)
STATUS = View[Part](
    paths=("name", "state", "pid", "address", "since", "log"), renamed={"name": "component"}, identifier="name"
)
ENVIRONMENT: View[Mapping[str, str]] = View(
    computed={
        name: (lambda values, name=name: values.get(name))
        for name in (
            *("SUPABASE_URL", "SUPABASE_KEY", "SUPABASE_ANON_KEY", "DATABASE_URL"),
            *("SUPERUSER_EMAIL", "SUPERUSER_PASSWORD"),
        )
    },
    raw=lambda values: "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()),
    for_shells=True,
)
LINE = View[str](computed={"line": lambda line: line}, raw=lambda line: line, for_shells=True)
MAIL = View[Mail](paths=("sent_at", "recipient", "kind", "code", "link"))
