"""An identity for a user's row: made, found or given up, and the row settled or taken back (docs/architecture.md).

What `users create` and `doctor --fix` do between the commit of the intent and the end. Whoever comes here holds
the row's lease; a call to Supabase begins only while that lease outlasts it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, Plan, Role, User
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, KeyRefused, UsageError
from bazar_cli.domain.limits import first_limit
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users.identities import (
    CREATED,
    Failure,
    IdentityRefused,
    NewIdentity,
    OutcomeUnknown,
    StoredIdentity,
)
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import same_address
from bazar_cli.services.users.passwords import hash_of_no_password

if TYPE_CHECKING:
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends


@dataclass(frozen=True)
class Wanted:
    """The request with every value checked."""

    email: str
    name: str | None
    plan: Plan
    role: Role
    plain: Secret | None
    bcrypt_hash: Secret | None
    generated: bool
    invite: bool = False


@dataclass(frozen=True, kw_only=True)
class Begun(leases.Claim):
    """A row whose identity is to be made, and how it is to be stamped."""

    pending: Pending = Pending.CREATE


def provision(backends: Backends, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun) -> bool:
    """Make the identity exist; return whether it has the password that was asked for.

    Raises: what `create` raises; the row is gone again where nothing exists at Supabase.
    """
    if begun.resumed:
        existing = admin.get(begun.id)
        if existing is not None:
            return finish_existing(backends, grant, admin, wanted, begun, existing)
    leases.keep(backends, grant, begun)
    identity = NewIdentity(
        id=begun.id,
        email=wanted.email,
        deployment=begun.deployment,
        origin=CREATED,
        password=wanted.plain,
        password_hash=None if wanted.plain else wanted.bcrypt_hash or hash_of_no_password(),
        confirmed=not wanted.invite,
    )
    try:
        admin.create(identity)
    except KeyRefused as error:
        # It did nothing. What an earlier run did cannot be looked up with this key.
        if not begun.resumed:
            undo(backends, grant, wanted.email, begun, error)
        raise
    except IdentityRefused as refusal:
        existing = admin.get(begun.id)
        if existing is not None:
            # Refused, and yet there: another command made it, so it has no password of this one, and is that
            # one's to give unless the lease is still this one's.
            suspect = replace(begun, resumed=True, since=leases.Since(long_ago=True))
            return finish_existing(backends, grant, admin, wanted, suspect, existing)
        if refusal.code == "email_exists":
            raise taken(backends, grant, wanted.email, begun, who_has(admin, wanted.email)) from refusal
        error = refused(wanted.email, refusal)
        undo(backends, grant, wanted.email, begun, error)
        raise error from refusal
    except OutcomeUnknown as unknown:
        return _find_out(backends, grant, admin, wanted, begun, unknown)
    return True


def _find_out(
    backends: Backends, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun, unknown: OutcomeUnknown
) -> bool:
    """After a 5xx or a timeout: ours was created, the address or id is taken, or nobody knows yet."""
    try:
        existing = admin.get(begun.id)
        stranger = admin.find_by_email(wanted.email) if existing is None else None
    except BackendUnavailable as silent:
        raise unfinished(wanted.email, begun, f"whether it created {wanted.email}", unknown, silent) from silent
    if existing is not None:
        return finish_existing(backends, grant, admin, wanted, begun, existing)
    if stranger is not None and stranger.id == begun.id:
        return finish_existing(backends, grant, admin, wanted, begun, stranger)
    if stranger is not None:
        raise taken(backends, grant, wanted.email, begun, stranger) from unknown
    raise unfinished(wanted.email, begun, f"whether it created {wanted.email}", unknown) from unknown


def finish_existing(
    backends: Backends,
    grant: Grant,
    admin: AdminClient,
    wanted: Wanted,
    begun: Begun,
    existing: StoredIdentity,
) -> bool:
    """Take an identity with our id for ours, and give it the password unless it signed in before.

    A hash stays as the first run sent it, because Supabase ignores one in an update.
    """
    ours = existing.deployment == begun.deployment and not existing.is_deleted
    if ours and existing.email != wanted.email:
        raise Conflict(
            "users.email_differs",
            f"the identity of {wanted.email} has the address {existing.email} at Supabase",
            hint="change it back there, or delete both:"
            f" `{command_line('users delete', wanted.email, confirm=wanted.email)}`",
            details={"user_id": str(begun.id), "email": wanted.email, "supabase_email": existing.email},
        )
    if not ours:
        error = Conflict(
            "users.id_taken",
            f"another identity at Supabase holds the id chosen for {wanted.email}",
            hint="run the command again: it chooses a new id",
            details={"user_id": str(begun.id)},
        )
        undo(backends, grant, wanted.email, begun, error)
        raise error
    if wanted.plain is None or existing.has_signed_in:
        # Where this command began, the identity is what its own request made: only the answer was lost.
        return not begun.resumed
    if begun.resumed:
        leases.keep(backends, grant, begun)
        try:
            admin.set_password(begun.id, wanted.plain)
        except IdentityRefused as refusal:
            raise refused(wanted.email, refusal) from refusal
        except OutcomeUnknown as unknown:
            raise unfinished(
                wanted.email, begun, f"whether it set the password of {wanted.email}", unknown
            ) from unknown
    return True


def unfinished(
    email: str, begun: Begun, unsaid: str, unknown: Failure, *looks: BackendUnavailable
) -> BackendUnavailable:
    """The error for an outcome that nobody knows: the row waits for the next run."""
    return BackendUnavailable(
        "users.create_unfinished",
        f"Supabase Auth did not say {unsaid}: {unknown}",
        hint=leases.advice(begun, unknown),
        details={"user_id": str(begun.id), "email": email},
        limit=first_limit(unknown.limit, *(look.limit for look in looks)),
    )


def refused(email: str, refusal: IdentityRefused) -> UsageError:
    """The error for values that Supabase refused."""
    return UsageError(
        "users.refused_by_supabase",
        f"Supabase Auth refused {email}: {refusal.message}",
        hint="correct the value and run the command again",
        details={"status": refusal.status, "supabase_code": refusal.code},
    )


def taken(backends: Backends, grant: Grant, email: str, begun: Begun, identity: StoredIdentity | None) -> Conflict:
    """Take the row back whose address `identity` has at Supabase; return the error that says so."""
    error = at_supabase(backends, grant, email, identity)
    # The event may be read by others than this operator: it names no other user.
    undo(backends, grant, email, begun, _taken(email) if "user_id" in error.details else error)
    return error


def at_supabase(backends: Backends, grant: Grant, email: str, identity: StoredIdentity | None) -> Conflict:
    """The error for an address that an identity at Supabase has: of nobody here, or of a user with another address.

    Of a user out of the operator's reach only that the address is taken is told; so of whom nobody could look up.
    """
    from bazar_cli.adapters.postgres.users import users

    if identity is None:
        return _taken(email)
    with backends.database().read(grant) as connection:
        if not users.is_there(connection, identity.id):
            return _only_at_supabase(email)
        owner = users.find(connection, grant.reach, str(identity.id))
    return _taken(email) if owner is None else _of_user(grant, email, owner)


def who_has(admin: AdminClient, email: str) -> StoredIdentity | None:
    """The identity with an address that Supabase refused for being taken; None also where it does not say."""
    try:
        return admin.find_by_email(email)
    except BackendUnavailable:
        # The refusal stands without it: the row is taken back, and the error says less.
        return None


def _taken(email: str) -> Conflict:
    return Conflict(
        "users.email_at_supabase",
        f"{email} is taken at Supabase",
        hint="use another address, or let a superuser compare both systems with `bazar doctor`",
        details={"email": email},
    )


def _of_user(grant: Grant, email: str, owner: User) -> Conflict:
    """The error for the address of an identity whose user has another one here."""
    hint = same_address(owner.email)
    if not grant.operator.is_superuser:
        hint = f"use another address, or let a superuser {hint}"
    return Conflict(
        "users.email_at_supabase",
        f"{email} is the address at Supabase of {owner.email}, who is a user of this Bazar",
        hint=hint,
        details={"email": email, "user_id": str(owner.id), "user_email": owner.email},
    )


def _only_at_supabase(email: str) -> Conflict:
    return Conflict(
        "users.email_at_supabase",
        f"{email} has an identity at Supabase that is no user of this Bazar",
        hint=f"use another address, or let a superuser take the identity in: `{command_line('users adopt', email)}`",
        details={"email": email},
    )


# -- the row ----------------------------------------------------------------------------------------------


def settle(
    backends: Backends, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun, *, created_here: bool
) -> User:
    """Clear `pending`. Where the lease ran out, another command may have gone on with the row: it decides."""
    from bazar_cli.adapters.postgres.users import changes, users

    with backends.database().transaction(grant, finishing=True) as connection:
        settled = changes.settle(connection, begun.id, begun.pending, begun.lease)
        held = users.lock_by_id(connection, begun.id)
        user = users.find(connection, grant.reach, str(begun.id))
    if held is None:
        # Deleted meanwhile: the identity that this command made after that would be nobody's.
        if created_here:
            try:
                admin.delete(begun.id)
            except (IdentityRefused, OutcomeUnknown) as error:
                what = f"whether it took back the identity of {wanted.email}, deleted meanwhile"
                raise unfinished(wanted.email, begun, what, error) from error
        raise leases.taken_over(wanted.email, "deleted the user")
    if not settled and held.user.pending is not None:
        raise leases.taken_over(wanted.email, "is in the middle of a change of the user")
    if not settled and (wanted.plain is not None or wanted.bcrypt_hash is not None):
        raise leases.taken_over(wanted.email, "finished the user, perhaps with another password")
    if user is None:
        raise leases.out_of_reach(wanted.email)
    return user


def undo(backends: Backends, grant: Grant, email: str, begun: Begun, why: BazarError) -> None:
    """Take the row back, with an event that says why, unless another command has gone on with it."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes

    with backends.database().transaction(grant, finishing=True) as connection:
        if changes.remove(connection, begun.id, begun.pending, begun.lease):
            events.record(
                connection,
                grant,
                events.Change("user", begun.id, before={"email": email}, reason=why.message, outcome="undone"),
            )
