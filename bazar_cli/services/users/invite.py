"""The invitation of a user who was just created: mailed by Supabase, once.

Supabase mails it to an unconfirmed identity and writes `invited_at`; the identity keeps its id and stamp (Supabase
Auth v2.196). Whoever comes here holds the row's lease, as in `provision`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.users.identities import IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.services.users import leases
from bazar_cli.services.users.provision import Begun, Wanted, taken, unfinished, who_has

if TYPE_CHECKING:
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends


def invite(
    backends: Backends, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun, *, created_here: bool
) -> bool:
    """Let Supabase mail the invitation, unless it did or the user has confirmed the address meanwhile.

    Parameters: `created_here` says that this command made the identity, so that nobody can have been invited.
    Returns whether the mail is of this command.
    Raises: Conflict `users.invite_refused`, `users.email_at_supabase` when the identity is gone and the address
    somebody else's; BackendUnavailable `supabase.rate_limited`, `users.create_unfinished`: run it again.
    """
    if not created_here and _needs_none(admin.get(begun.id)):
        return False
    leases.keep(backends, grant, begun)
    try:
        invited = admin.invite(wanted.email)
    except IdentityRefused as refusal:
        existing = admin.get(begun.id)
        if _needs_none(existing):
            return False
        if refusal.code == "email_exists" and existing is None:
            raise taken(backends, grant, wanted.email, begun, who_has(admin, wanted.email)) from refusal
        raise _refused(wanted, begun, refusal) from refusal
    except OutcomeUnknown as unknown:
        if _found_invited(admin, wanted, begun, unknown):
            return True
        raise _not_sent(wanted, begun, unknown) from unknown
    if invited != begun.id:
        # The identity was deleted since, and Supabase made another one for the address: it is nobody's here.
        raise taken(backends, grant, wanted.email, begun, who_has(admin, wanted.email))
    return True


def _needs_none(identity: StoredIdentity | None) -> bool:
    return identity is not None and (identity.invited_at is not None or identity.is_confirmed)


def _found_invited(admin: AdminClient, wanted: Wanted, begun: Begun, unknown: OutcomeUnknown) -> bool:
    try:
        return _needs_none(admin.get(begun.id))
    except BackendUnavailable as silent:
        raise unfinished(wanted.email, begun, f"whether it invited {wanted.email}", unknown, silent) from silent


def _not_sent(wanted: Wanted, begun: Begun, unknown: OutcomeUnknown) -> BackendUnavailable:
    if unknown.limit is not None:
        from bazar_cli.adapters.supabase.answers import mails_limited

        details = {"user_id": str(begun.id), "email": wanted.email}
        return mails_limited(f"the invitation of {wanted.email}", unknown.limit, details)
    return unfinished(wanted.email, begun, f"whether it invited {wanted.email}", unknown)


def _refused(wanted: Wanted, begun: Begun, refusal: IdentityRefused) -> BazarError:
    return Conflict(
        "users.invite_refused",
        f"Supabase Auth refused to invite {wanted.email}: {refusal.message}",
        hint="mend the cause, often the project's mail settings, and run the same command again, or delete the user",
        details={"status": refusal.status, "supabase_code": refusal.code, "user_id": str(begun.id)},
    )
