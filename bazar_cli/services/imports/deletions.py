"""The deletion of users whom an import created, for its undo: many at once, or one by one.

A chunk is deleted by the protocol of `users.two_systems`. Nobody who was touched since is deleted.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Pending, Role, User
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Denied
from bazar_cli.domain.imports.imports import KeptUser
from bazar_cli.domain.users.changes import DeleteUser
from bazar_cli.domain.users.identities import IdentityRefused, StoredIdentity
from bazar_cli.services.imports.calls import Attempt, Calls, unfinished
from bazar_cli.services.imports.pace import Pace
from bazar_cli.services.users import delete, leases
from bazar_cli.services.users.new_identity import not_theirs

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.imports.undoing import CreatedRow
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.bulk import BulkAdminClient
    from bazar_cli.services.gate.backends import Backends

_CREATION = timedelta(seconds=10)
"""The longest that Supabase Auth works on one request: a creation inserts an identity and then updates it (v2.196)."""


@dataclass
class Doomed:
    """The users of one chunk whose deletion is begun, and what becomes of the others."""

    claim: uuid.UUID
    since: leases.Since
    rows: list[CreatedRow] = field(default_factory=list["CreatedRow"])
    others: list[CreatedRow] = field(default_factory=list["CreatedRow"])
    """Those who are deleted one by one."""
    removed: int = 0
    """How many are deleted already."""
    kept: list[KeptUser] = field(default_factory=list[KeptUser])


def delete_untouched(backends: Backends, grant: Grant, request: DeleteUser, *, row: CreatedRow) -> User:
    """Delete one user as `users delete` does. Raises: Conflict `imports.user_touched`; as `delete.delete`."""
    from bazar_cli.adapters.postgres.imports import undoing

    identity = backends.admin(grant).get(row.user_id)
    with backends.database().read(grant) as connection:
        is_changed = bool(undoing.changed(connection, [row]))

    def allowed(user: User) -> None:
        why = _touched(row, user, identity, is_changed=is_changed)
        if why:
            raise _why_kept(user, why)

    return delete.delete(backends, grant, request, allowed=allowed)


def begin_deletions(
    connection: Connection, grant: Grant, rows: Sequence[CreatedRow], seen: dict[uuid.UUID, StoredIdentity]
) -> Doomed:
    """Commit to the deletion of the untouched users of a chunk; it locks all of them."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.imports import undoing
    from bazar_cli.adapters.postgres.users import users as stored_users

    doomed = Doomed(uuid.uuid4(), leases.Since())
    held = stored_users.lock_all(connection, grant.reach, [row.user_id for row in rows])
    changed = undoing.changed(connection, rows)
    deployment = stored_users.deployment(connection)
    confirmed: list[events.Change] = []
    for row in rows:
        one, identity = held.get(row.user_id), seen.get(row.user_id)
        if one is None or not _is_plain(grant, one):
            doomed.others.append(row)
            continue
        if one.user.pending is not Pending.DELETE:
            why = _touched(row, one.user, identity, is_changed=row.user_id in changed)
            if why:
                doomed.kept.append(kept_user(row, _why_kept(one.user, why)))
                continue
        if identity is not None and not_theirs(row.user_id, row.email, deployment, identity) is not None:
            doomed.others.append(row)
            continue
        if one.user.pending is not Pending.DELETE:
            confirmed.append(events.Change("user", row.user_id, before=delete.described(one.user)))
        doomed.rows.append(row)
    if doomed.rows:
        undoing.begin(connection, doomed.rows, doomed.claim)
        events.record_all(connection, grant, confirmed)
    return doomed


def _is_plain(grant: Grant, held: LockedUser) -> bool:
    """Say whether nothing but touches can forbid to delete a locked user, and no command holds them."""
    user = held.user
    if held.leased or held.adopted or user.is_superuser or any(m.role is Role.OWNER for m in user.organizations):
        return False
    if user.pending not in {None, Pending.CREATE, Pending.DELETE}:
        return False
    try:
        row_rules.not_oneself(grant, user, "delete")
        row_rules.may_write_user(grant, user)
    except Denied:
        return False
    return True


def _touched(row: CreatedRow, user: User, identity: StoredIdentity | None, *, is_changed: bool) -> str:
    """Return what happened to a user after the run, "" for nothing.

    Parameters: `is_changed` says that another command changed the user, who may have the same values again.
    """
    if is_changed or user.email != row.email or (row.updated_at is not None and user.updated_at != row.updated_at):
        return "was changed after the import"
    if frozenset((m.organization_id, m.role) for m in user.organizations) != row.memberships:
        return "has other memberships than the import gave"
    if identity is None:
        return ""
    if identity.has_signed_in:
        return "has signed in"
    if identity.updated_at and identity.created_at and identity.updated_at - identity.created_at > _CREATION:
        return "was changed at Supabase after the import"
    return ""


def _why_kept(user: User, why: str) -> Conflict:
    return Conflict("imports.user_touched", f"{user.email} {why}")


def kept_user(row: CreatedRow, error: BazarError) -> KeptUser:
    """Return the user of a row, whom an error keeps."""
    return KeptUser(row.line, row.email, row.user_id, error.code, error.message)


def identities_of(
    backends: Backends, grant: Grant, rows: Sequence[CreatedRow], pace: Pace, ended: Callable[[], bool]
) -> tuple[dict[uuid.UUID, StoredIdentity], bool]:
    """Return the identities of users, and whether SQL may delete them.

    They are read by SQL where that is proven to be right, else side by side. Raises: BackendUnavailable.
    """
    from bazar_cli.adapters.postgres.imports import auth_schema
    from bazar_cli.adapters.postgres.users import identities

    with backends.database().read(grant) as connection:
        if identities.readable(connection, grant.session_id):
            found = identities.stored(connection, (), [row.user_id for row in rows])
            return {identity.id: identity for identity in found}, auth_schema.may_delete(connection)

    async def look() -> dict[uuid.UUID, StoredIdentity]:
        async with backends.bulk_admin(grant, pace.most) as client:
            looking = _Looking(rows, pace, ended, client)
            await looking.run()
        if looking.failure is not None or looking.given_up:
            raise looking.failure or unfinished(len(looking.given_up), looking.silence)
        return looking.found

    return asyncio.run(look()), False


class _Looking(Calls["CreatedRow"]):
    """The requests of one chunk that read identities."""

    def __init__(
        self, rows: Sequence[CreatedRow], pace: Pace, ended: Callable[[], bool], client: BulkAdminClient
    ) -> None:
        super().__init__(rows, pace, ended, None)
        self._client = client
        self.found: dict[uuid.UUID, StoredIdentity] = {}

    async def ask(self, attempt: Attempt[CreatedRow]) -> None:
        """Read the identity of a row."""
        identity = await self._client.get(attempt.row.user_id)
        if identity is not None:
            self.found[identity.id] = identity


class Deleting(Calls["CreatedRow"]):
    """The requests of one chunk that delete identities."""

    def __init__(self, backends: Backends, grant: Grant, doomed: Doomed, pace: Pace, ended: Callable[[], bool]) -> None:
        super().__init__(doomed.rows, pace, ended, doomed.since)
        self._backends = backends
        self._grant = grant
        self._claim = doomed.claim
        self._done: list[CreatedRow] = []
        self.kept: list[KeptUser] = []
        self.lost: list[CreatedRow] = []
        """Rows with whose users another command continued."""

    async def through(self, opening: AbstractAsyncContextManager[BulkAdminClient]) -> None:
        """Make all requests."""
        async with opening as self._client:
            await self.run()

    async def ask(self, attempt: Attempt[CreatedRow]) -> None:
        """Delete the identity of a row."""
        try:
            await self._client.delete(attempt.row.user_id)
        except IdentityRefused as refusal:
            why = f"Supabase Auth refused to delete {attempt.row.email}: {refusal.message}"
            self.kept.append(kept_user(attempt.row, Conflict("users.delete_refused", why)))
        else:
            self._done.append(attempt.row)

    async def last_look(self, attempt: Attempt[CreatedRow], /) -> bool:
        """Keep a user whom Supabase fails to delete each time; the others go on."""
        if attempt.failed_inside:
            why = f"Supabase Auth did not delete {attempt.row.email}: {attempt.unknown[-1]}"
            self.kept.append(kept_user(attempt.row, BackendUnavailable("users.delete_unfinished", why)))
        return attempt.failed_inside

    def renewed(self) -> set[int]:
        """Renew the leases; return the lines of the rows that this command still holds."""
        from bazar_cli.adapters.postgres.imports import undoing

        def step(connection: Connection) -> set[int]:
            return undoing.renew(connection, self.rows, self._claim)

        return leases.when_free(step, self._backends, self._grant, finishing=True)

    def settle(self, run_id: uuid.UUID) -> int:
        """Remove the users whose identities are gone, and release the others; return how many were removed.

        Raises: as `leases.when_free`.
        """
        from bazar_cli.adapters.postgres.imports import undoing

        def step(connection: Connection) -> frozenset[uuid.UUID]:
            removed = undoing.remove(connection, self._done, self._claim)
            undoing.mark(connection, run_id, [row.line for row in self._done if row.user_id in removed])
            rest = [row for row in self.rows if row.user_id not in removed]
            if rest:
                undoing.release(connection, rest, self._claim)
            return removed

        if not self.rows:
            return 0
        with self._postgres:
            removed = leases.when_free(step, self._backends, self._grant, finishing=True)
        self.lost = [row for row in self._done if row.user_id not in removed]
        return len(removed)
