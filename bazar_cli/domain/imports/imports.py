"""Imports of users: specs, requests, runs and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.consent import Consent
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.text_enum import TextEnum

IMPORT = requires("users.import", Permission.USERS_CREATE, scope=Scope.ROW, writes=True)
LIST = requires("users.imports.list", Permission.USERS_CREATE, scope=Scope.REACH)
SHOW = requires("users.imports.show", Permission.USERS_CREATE, scope=Scope.REACH)
UNDO = requires("users.imports.undo", Permission.USERS_DELETE, scope=Scope.ROW, writes=True)

MAX_CONCURRENCY = 64
"""Requests at once at the Auth server; more only wait for each other there."""


class FileFormat(TextEnum):
    """The formats of a file."""

    CSV = "csv"
    JSONL = "jsonl"


class Via(TextEnum):
    """How new users get their identity."""

    API = "api"
    """Through Supabase Auth's admin API."""
    DATABASE = "database"
    """By SQL, in the same transaction as the row of the user."""


class OnConflict(TextEnum):
    """The treatment of a row whose user exists with other values."""

    SKIP = "skip"
    UPDATE = "update"
    FAIL = "fail"


class Action(TextEnum):
    """What a row needs."""

    CREATE = "create"
    UPDATE = "update"
    NONE = "none"


class Status(TextEnum):
    """The outcome of a row."""

    OPEN = "open"
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNDONE = "undone"
    """An undo deleted the user, or ended the import before this row."""


@dataclass(frozen=True)
class ImportUsers:
    """The request of `users import`: the file by its content, and how its rows are written."""

    content_hash: bytes
    """SHA-256 of the file's bytes."""
    via: Via = Via.API
    on_conflict: OnConflict = OnConflict.FAIL


@dataclass(frozen=True)
class ImportRun:
    """A run: one file on its way into one target."""

    id: UUID
    content_hash: bytes = field(repr=False)
    columns: tuple[str, ...]
    """The columns of the file that are read."""
    via: Via
    on_conflict: OnConflict
    operator_id: UUID
    operator_email: str
    request_id: str
    rows: int
    started_at: datetime
    staged_at: datetime | None
    """When all rows and hashes were staged; None before."""
    finished_at: datetime | None
    """When the results were complete, or an undo ended the run; None for an open run."""
    undone_at: datetime | None
    """When the last undo ended; None without one."""


@dataclass(frozen=True)
class CountedRun:
    """A run and its rows by status."""

    run: ImportRun
    counts: Mapping[Status, int]


@dataclass(frozen=True)
class RowResult:
    """The outcome of one row of a file."""

    line: int
    email: str
    status: Status
    id: UUID | None
    """The user's id; None where no user came of the row."""
    code: str | None
    message: str | None

    @property
    def before_outcome(self) -> RowResult:
        """What the result was before the row had an outcome."""
        return RowResult(self.line, self.email, Status.OPEN, None, None, None)


@dataclass(frozen=True)
class ListRuns:
    """The request of `users imports list`; `cursor` continues an earlier page."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class ShowRun:
    """The request of `users imports show`: the rows of a run, by line."""

    run: str
    status: Status | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class UndoRun:
    """The request of `users imports undo`; `confirm` must be the id of the run, and may be left out of a dry run."""

    run: str
    confirm: Consent = None


@dataclass(frozen=True)
class KeptUser:
    """A user of an import whom an undo leaves, and why."""

    line: int
    email: str
    id: UUID
    code: str
    message: str


@dataclass(frozen=True)
class UndoneImport:
    """The outcome of an undo; in a dry run the expected one."""

    run_id: UUID
    created: int
    """Users that the import created."""
    deleted: int
    gone: int
    """Users who were deleted before."""
    kept: int
    open: int
    """Users who are left after an interruption."""
    dropped: int = 0
    """Rows of an open import that it had not applied, and never will."""
    reasons: tuple[KeptUser, ...] = ()
    """The first users who were kept."""
    dry_run: bool = False


@dataclass(frozen=True)
class Imported:
    """The outcome of a run of `users import`; in a dry run the expected one."""

    run_id: UUID | None
    """None in a dry run, and for a file without rows."""
    rows: int
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    open: int = 0
    """Rows that are left after an interruption."""
    failures: tuple[RowResult, ...] = ()
    """The first rows that failed."""
    dry_run: bool = False


def checked_concurrency(number: int | None) -> int | None:
    """Return the most requests at once. Raises: UsageError `imports.concurrency_invalid`."""
    if number is not None and not 1 <= number <= MAX_CONCURRENCY:
        raise UsageError(
            "imports.concurrency_invalid",
            f"--concurrency is {number}, and must be from 1 to {MAX_CONCURRENCY}",
            hint="give a number in this range, or leave it out: bazar then adapts to the Auth server",
        )
    return number
