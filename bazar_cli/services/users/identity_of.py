"""Whether an identity at Supabase with a user's id is that user's.

A stranger may have taken the id before a creation got to Supabase, and the row may have been settled or doomed
since. Nobody touches what is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.users.identities import StoredIdentity

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.domain.entities import User
    from bazar_cli.services.users.leases import Claim


def addresses(connection: Connection, user: User) -> frozenset[str]:
    """Return the addresses that the user's identity may have: the row's, and the one before its latest change."""
    from bazar_cli.adapters.postgres.audit import events

    before = events.address_before(connection, user.id, user.email)
    return frozenset({user.email} if before is None else {user.email, before})


def is_theirs(existing: StoredIdentity, claim: Claim, known: frozenset[str]) -> bool:
    """Say whether the identity bears our stamp, or one of the user's addresses, or was there before the user."""
    return claim.adopted or existing.deployment == claim.deployment or existing.email in known
