"""Listing the revision files, and writing the next one in a checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db import revisions as use_cases
from bazar_cli.domain.db.revisions import (
    MakeRevision,
    MergeHeads,
    NewRevision,
    RevisionFile,
    checked_message,
)
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.revision_writer import RevisionWriter
    from bazar_cli.services.gate.backends import Backends


def heads() -> tuple[RevisionFile, ...]:
    """Return the revisions that no other follows: one, or several that `db merge` joins.

    Raises: Conflict `db.revision_unreadable`, `db.duplicate_revision`, `db.missing_revision`.
    """
    from bazar_cli.adapters.migrations import revision_files

    return revision_files.heads(revision_files.script_location())


def history() -> tuple[RevisionFile, ...]:
    """Return all revisions, the newest first. Raises: as `heads`."""
    from bazar_cli.adapters.migrations import revision_files

    return revision_files.revision_files(revision_files.script_location())[::-1]


def revision(request: MakeRevision) -> NewRevision:
    """Write the file that follows the head; a dry run returns its name.

    Raises: UsageError `db.message_invalid`; Refused `db.installed_package`; Conflict `db.two_heads`,
    `db.file_exists`; as `heads`.
    """
    return _writer().add(checked_message(request.message), dry_run=request.dry_run)


def autogenerate(backends: Backends, grant: Grant, request: MakeRevision) -> NewRevision:
    """Write the file that brings the target to the models; none if nothing differs.

    Raises: as `revision`; Conflict `db.not_at_head` for a target that is not at the head.
    """
    grant.demand(use_cases.AUTOGENERATE)
    message = checked_message(request.message)
    writer = _writer()
    writer.demand_checkout()
    status = backends.migrator(grant).status()
    if status.pending or status.unknown:
        raise Conflict(
            "db.not_at_head",
            f"the database is at {status.current or 'no revision'}, the migration files end at {status.head}:"
            " only a database at the head can be compared with the models",
            hint="use a newer checkout" if status.unknown else "run `bazar db migrate` first",
            details={"current": status.current, "head": status.head},
        )
    made = writer.add_difference(backends.target, message, dry_run=request.dry_run)
    return made or NewRevision(None, (status.head,), message, None)


def merge(request: MergeHeads) -> NewRevision:
    """Write the file that joins all heads; none if there is one head only. Raises: as `revision`."""
    message = None if request.message is None else checked_message(request.message)
    return _writer().merge(message, dry_run=request.dry_run)


def _writer() -> RevisionWriter:
    from bazar_cli.adapters.migrations.revision_writer import RevisionWriter

    return RevisionWriter()
