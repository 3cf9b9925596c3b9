"""The comparison of both systems.

Identities are read by SQL where the operator's own session proves that `auth.*` of the database belongs to the
same project, else through the Auth API: page by page, each compared with Postgres as it comes, so that memory stays
flat. The list may skip some, and is older than the rows: every suspect is looked at again by id.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor as use_cases
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Comparison, Found, Mismatch, PendingUser
from bazar_cli.services.doctor.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bazar_cli.adapters.postgres.doctor.mismatches import Suspect
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends

_CHECKED_BY_ID = 1000
"""How many suspects of a kind are asked for one by one. If there are more, a few errors do not matter."""
_AT_ONCE = 25
"""How many identities are asked for between two looks at their rows, which must not change meanwhile."""
_LOOKS = 3
"""Skip a row that changes during three checks; the next run compares it."""


def compare(backends: Backends, grant: Grant, _request: None = None) -> Comparison:
    """Return how the two systems differ, and the users in the middle of a change.

    Raises: BackendUnavailable; Conflict `supabase.key_refused`, `db.no_marker`.
    """
    from bazar_cli.adapters.postgres.doctor import mismatches
    from bazar_cli.adapters.postgres.users import identities, users

    grant.demand(use_cases.COMPARE)
    with backends.database().read(grant) as connection:
        pending_users = mismatches.pending_users(connection)
        deployment = users.deployment(connection)
        if identities.readable(connection, grant.session_id):
            return Comparison(
                pending_users, {kind: mismatches.found(connection, kind, deployment) for kind in Mismatch}
            )
    return _ByApi(backends, grant, deployment).compare(pending_users)


def pending(backends: Backends, grant: Grant, _request: None = None) -> tuple[PendingUser, ...]:
    """Return the users in the middle of a change, without a look at Supabase."""
    from bazar_cli.adapters.postgres.doctor import mismatches

    grant.demand(use_cases.COMPARE)
    with backends.database().read(grant) as connection:
        return mismatches.pending_users(connection)


class _Suspects:
    """Ids for each kind of mismatch: the first 1000 are kept, the others counted."""

    def __init__(self) -> None:
        self._kept: dict[Mismatch, dict[uuid.UUID, None]] = {kind: {} for kind in Mismatch}
        self.uncounted: dict[Mismatch, int] = dict.fromkeys(Mismatch, 0)

    def add(self, kind: Mismatch, suspect: uuid.UUID) -> None:
        kept = self._kept[kind]
        if suspect in kept or len(kept) < _CHECKED_BY_ID:
            kept[suspect] = None
        else:
            self.uncounted[kind] += 1

    def ids(self) -> list[uuid.UUID]:
        return list(dict.fromkeys(suspect for kept in self._kept.values() for suspect in kept))


class _ByApi:
    """One comparison through the Auth API."""

    def __init__(self, backends: Backends, grant: Grant, deployment: uuid.UUID) -> None:
        self._database = backends.database()
        self._admin: AdminClient = backends.admin(grant)
        self._grant = grant
        self._deployment = deployment
        self._suspects = _Suspects()

    def compare(self, pending_users: tuple[PendingUser, ...]) -> Comparison:
        unread = self._compare_list()
        confirmed: dict[Mismatch, list[Affected]] = {kind: [] for kind in Mismatch}
        ids = self._suspects.ids()
        for start in range(0, len(ids), _AT_ONCE):
            for suspect in self._confirmed(ids[start : start + _AT_ONCE]):
                confirmed[suspect.kind].append(suspect.affected)
        beyond = self._suspects.uncounted
        return Comparison(
            pending_users,
            {k: Found(len(rows) + beyond[k], tuple(rows[:SHOWN_ROWS])) for k, rows in confirmed.items()},
            unread,
        )

    def _compare_list(self) -> int:
        """Compare the list, page by page; return how many identities it did not show."""
        from bazar_cli.adapters.postgres.doctor import mismatches

        living, deleted = IdSet(), IdSet()
        total = 0
        for page in self._admin.every():
            total = page.total
            for identity in page.identities:
                (deleted if identity.is_deleted else living).add(identity.id)
            compared = [identity for identity in page.identities if not identity.is_deleted]
            with self._database.read(self._grant) as connection:
                for suspect in mismatches.suspects(connection, compared, self._deployment):
                    self._suspects.add(suspect.kind, suspect.id)
        with self._database.read(self._grant) as connection:
            for user_id in mismatches.every_settled(connection):
                if user_id not in living:
                    self._suspects.add(Mismatch.USERS_WITHOUT_IDENTITY, user_id)
        return max(0, total - len(living) - len(deleted))

    def _confirmed(self, ids: Sequence[uuid.UUID]) -> Iterable[Suspect]:
        """Ask for each of these by id; return the mismatches of rows that do not change meanwhile.

        A command changes the row before and after it asks Supabase. So if the row is the same before and after this
        look, no command was in the middle of a change.
        """
        from bazar_cli.adapters.postgres.doctor import mismatches

        confirmed: list[Suspect] = []
        for _ in range(_LOOKS):
            with self._database.read(self._grant) as connection:
                before = mismatches.versions(connection, ids)
            asked = [identity for identity in map(self._admin.get, ids) if identity is not None]
            living = [identity for identity in asked if not identity.is_deleted]
            absent = set(ids).difference(identity.id for identity in living)
            with self._database.read(self._grant) as connection:
                seen = [
                    *mismatches.suspects(connection, living, self._deployment),
                    *mismatches.still_settled(connection, list(absent)),
                ]
                now = mismatches.versions(connection, ids)
            confirmed += [s for s in seen if before.get(s.id) == now.get(s.id) == s.version]
            ids = [i for i in ids if before.get(i) != now.get(i)]
            if not ids:
                break
        return confirmed
