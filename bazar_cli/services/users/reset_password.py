"""`users reset-password`: a link by which a user sets a new password, mailed by Supabase or printed.

Postgres keeps no state of it, so there is no `pending`. The audit event of the intent is committed first. If Supabase
refuses, an event follows that it was undone.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import User, UserState
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, KeyRefused
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import PasswordReset, ResetPassword
from bazar_cli.domain.users.identities import IN_THE_WAY, IdentityRefused, OutcomeUnknown
from bazar_cli.services.interrupts import step_in_hand
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import same_address

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.audit.events import Change
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends


def reset(backends: Backends, grant: Grant, request: ResetPassword) -> PasswordReset:
    """Mail a user the link to set a new password, or return the link; until then the old password is valid.

    Raises: NotFound; Denied by the row rules; Conflict `users.suspended`, `users.pending`, `users.identity_missing`,
    `users.email_differs`, `users.reset_refused`; BackendUnavailable `supabase.rate_limited`, `users.reset_unfinished`.
    """
    from bazar_cli.adapters.postgres.audit import events

    grant.demand(use_cases.RESET_PASSWORD)
    admin = backends.admin(grant)
    user = leases.when_free(lambda connection: _subject(connection, grant, request), backends, grant)
    _has_identity(admin, user)
    if grant.dry_run:
        return PasswordReset(user, mailed=not request.print_link)
    change = events.Change("user", user.id, after={"recovery": "link" if request.print_link else "mail"})
    with step_in_hand() as begin_step:

        def step(connection: Connection) -> User:
            # Read again and locked until the commit: a user who was suspended meanwhile gets no link.
            subject = _subject(connection, grant, request)
            events.record(connection, grant, change)
            begin_step()
            return subject

        user = leases.when_free(step, backends, grant)
        link = _asked(backends, grant, admin, request, user, change)
    return PasswordReset(user, mailed=link is None, link=link)


def _subject(connection: Connection, grant: Grant, request: ResetPassword) -> User:
    from bazar_cli.adapters.postgres.users import users

    locked = leases.locked_user(connection, grant, request.user)
    user = locked.user
    row_rules.may_write_user(grant, user)
    leases.refuse_pending(locked)
    if user.state is UserState.SUSPENDED:
        raise Conflict(
            "users.suspended",
            f"{user.email} is suspended and cannot sign in",
            hint=f"restore the user first: `{command_line('users restore', user.email)}`",
            details={"user_id": str(user.id)},
        )
    return users.seen(connection, grant.reach, user.id)


def _has_identity(admin: AdminClient, user: User) -> None:
    """Check the identity first, because Supabase answers the same for an address that it does not know."""
    identity = admin.get(user.id)
    if identity is None or identity.is_deleted:
        raise identity_missing(user)
    if identity.email != user.email:
        raise _another_address(user, identity.email)


def identity_missing(user: User) -> Conflict:
    """The error for a user whom Supabase does not know."""
    delete = command_line("users delete", user.email, confirm=user.email)
    return Conflict(
        "users.identity_missing",
        f"{user.email} has no identity at Supabase",
        hint=f"delete and create the user again: `{delete}`, then `{command_line('users create', user.email)}`",
        details={"user_id": str(user.id), "email": user.email},
    )


def _another_address(user: User, email: str) -> Conflict:
    return Conflict(
        "users.email_differs",
        f"the identity of {user.email} has the address {email} at Supabase",
        hint=f"{same_address(user.email)} (for superusers); a link would let in the user who has the address there",
        details={"user_id": str(user.id), "email": user.email, "supabase_email": email},
    )


def _asked(
    backends: Backends, grant: Grant, admin: AdminClient, request: ResetPassword, user: User, change: Change
) -> Secret | None:
    """Ask Supabase for the mail, or for the link and return it."""
    details = {"user_id": str(user.id), "email": user.email}
    what = f"{'a link' if request.print_link else 'a mail'} for {user.email}"
    try:
        if not request.print_link:
            admin.recovery_mail(user.email)
            return None
        owner, link = admin.recovery_link(user.email)
    except KeyRefused as error:
        _undone(backends, grant, change, error)
        raise
    except IdentityRefused as refusal:
        error = _refused(user, what, refusal)
        _undone(backends, grant, change, error)
        raise error from refusal
    except OutcomeUnknown as unknown:
        if unknown.limit is not None:
            from bazar_cli.adapters.supabase.answers import links_limited, mails_limited

            limited = links_limited if request.print_link else mails_limited
            error = limited(what, unknown.limit, details)
            _undone(backends, grant, change, error)
            raise error from unknown
        again = "run the same command again: a newer link takes the place of an older one"
        raise BackendUnavailable(
            "users.reset_unfinished",
            f"Supabase Auth did not say whether it made {what}: {unknown}",
            hint=f"{again}. {IN_THE_WAY}" if unknown.of_its_database else again,
            details=details,
        ) from unknown
    if owner != user.id:
        # The address has another owner by now, whose link must not be shown.
        error = _stranger(user, owner)
        _undone(backends, grant, change, error)
        raise error
    return link


def _stranger(user: User, owner: uuid.UUID) -> Conflict:
    return Conflict(
        "users.email_differs",
        f"the address {user.email} belongs to another identity at Supabase ({owner})",
        hint="compare both systems with `bazar doctor`",
        details={"user_id": str(user.id), "email": user.email},
    )


def _refused(user: User, what: str, refusal: IdentityRefused) -> BazarError:
    return Conflict(
        "users.reset_refused",
        f"Supabase Auth refused {what}: {refusal.message}",
        hint="check the project's Auth settings, or whether the identity is still there with `bazar doctor`",
        details={"status": refusal.status, "supabase_code": refusal.code, "user_id": str(user.id)},
    )


def _undone(backends: Backends, grant: Grant, change: Change, why: BazarError) -> None:
    from bazar_cli.adapters.postgres.audit import events

    with backends.database().transaction(grant, finishing=True) as connection:
        events.record(connection, grant, replace(change, outcome="undone", reason=why.message))
