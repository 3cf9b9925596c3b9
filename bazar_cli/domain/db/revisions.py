"""Use cases on the revision files: listing them, and writing the next one."""

from __future__ import annotations

from dataclasses import dataclass

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, public, requires
from bazar_cli.domain.db.migrations import Revision
from bazar_cli.domain.errors import Conflict, Refused, UsageError

HEADS = public("db.heads", "it reads the migration files of this installation")
HISTORY = public("db.history", "it reads the migration files of this installation")
REVISION = public("db.revision", "it writes a file in a checkout and speaks to no target", writes=True)
MERGE = public("db.merge", "it writes a file in a checkout and speaks to no target", writes=True)
AUTOGENERATE = requires(
    "db.revision.autogenerate",
    Permission.DB_READ,
    scope=Scope.PLATFORM,
    command="bazar db revision --autogenerate",
)
"""The spec of `db revision --autogenerate`, which reads the target's tables."""

_LONGEST_MESSAGE = 200


@dataclass(frozen=True)
class RevisionFile:
    """A revision as its file has it."""

    revision: Revision
    down: tuple[str, ...]
    """The revisions that it follows: none for the first, two for a merge."""
    file: str
    """The name of the file, without its folder."""
    is_head: bool = False


@dataclass(frozen=True)
class MakeRevision:
    """The request of `db revision`."""

    message: str
    dry_run: bool = False


@dataclass(frozen=True)
class MergeHeads:
    """The request of `db merge`; without a message it names the heads."""

    message: str | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class NewRevision:
    """A file that was written, or would be; `revision` and `path` are None if nothing is to do."""

    revision: str | None
    down: tuple[str, ...]
    message: str
    path: str | None


def checked_message(text: str) -> str:
    """Return the message of a revision. Raises: UsageError `db.message_invalid`."""
    if not text.isprintable() or len(text) > _LONGEST_MESSAGE or not any(c.isalnum() for c in text):
        raise UsageError(
            "db.message_invalid",
            f"-m {text[:40]!r} cannot be the message of a revision: one line of at most {_LONGEST_MESSAGE} characters,"
            " with a letter or a digit",
            hint='say what the revision changes, such as -m "add invoices"',
        )
    return text.strip()


def two_heads(heads: tuple[RevisionFile, ...]) -> Conflict:
    """The error for migration files that end in several revisions."""
    named = " and ".join(f"{h.revision.id} ({h.revision.message})" for h in heads)
    return Conflict(
        "db.two_heads",
        f"the migration files have {len(heads)} heads: {named}",
        hint="join them with `bazar db merge` in a checkout",
        details={"heads": [h.revision.id for h in heads]},
    )


def installed_package(location: str) -> Refused:
    """The error for writing a migration file where there is no checkout."""
    return Refused(
        "db.installed_package",
        f"the migration files in {location} belong to an installed package, which the next installation replaces",
        hint="run it in a checkout of bazar, installed with `pip install -e .`",
    )
