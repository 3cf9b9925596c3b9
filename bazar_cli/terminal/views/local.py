"""The embedded stack's parts and mails; the records are shown by duck type, so that no view imports the stack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bazar_cli.terminal.views.base import View, rfc3339


@dataclass(frozen=True)
class Started:
    """A stack that runs, and what was made ready on it."""

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
    """A mail that was kept instead of sent."""

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


STARTED: View[Started] = View(
    fields={
        "supabase_url": lambda s: s.supabase_url,
        "database": lambda s: s.database,
        "superuser_email": lambda s: s.superuser_email,
        "profile": lambda s: s.profile,
        "already_running": lambda s: s.already_running,
        "migrated": lambda s: s.migrated,
        "data_dir": lambda s: s.data_dir,
    },
)
STATUS: View[Part] = View(
    fields={
        "component": lambda p: p.name,
        "state": lambda p: str(p.state),
        "pid": lambda p: p.pid,
        "address": lambda p: p.address,
        "since": lambda p: rfc3339(p.since),
        "log": lambda p: str(p.log) if p.log else None,
    },
    identifier=lambda p: p.name,
)
ENVIRONMENT: View[Mapping[str, str]] = View(
    fields={
        name: (lambda values, n=name: values.get(n))
        for name in (
            "SUPABASE_URL",
            "SUPABASE_KEY",
            "SUPABASE_ANON_KEY",
            "DATABASE_URL",
            "SUPERUSER_EMAIL",
            "SUPERUSER_PASSWORD",
        )
    },
    raw=lambda values: "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()),
    for_shells=True,
)
LINE: View[str] = View(fields={"line": lambda line: line}, raw=lambda line: line, for_shells=True)
MAIL: View[Mail] = View(
    fields={
        "sent_at": lambda m: rfc3339(m.sent_at),
        "recipient": lambda m: m.recipient,
        "kind": lambda m: m.kind,
        "code": lambda m: m.code,
        "link": lambda m: m.link,
    },
)


@dataclass(frozen=True)
class Stopped:
    """What a stop or a reset ended."""

    postgres: bool
    auth: bool
    data_deleted: bool = False


STOPPED: View[Stopped] = View(
    fields={
        "postgres": lambda s: s.postgres,
        "auth": lambda s: s.auth,
        "data_deleted": lambda s: s.data_deleted,
    },
)
