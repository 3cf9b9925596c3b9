"""An identity for a user's row: made, found or given up, and the row settled or taken back (design section 4).

What `users create` and `doctor --fix` do between the commit of the intent and the end. Whoever comes here holds
the row's lease; a call to Supabase begins only while that lease outlasts it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING

from bazar_cli.domain.access import Grant, Pending, Role
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, UsageError
from bazar_cli.domain.identities import IdentityRefused, NewIdentity, OutcomeUnknown, StoredIdentity
from bazar_cli.domain.permissions import Plan
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import User
from bazar_cli.services import leases
from bazar_cli.services.passwords import hash_of_no_password

if TYPE_CHECKING:
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.system import System

_ORIGIN = "created"


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
    resumed: bool


def provision(system: System, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun) -> bool:
    """Make the identity exist; return whether it has the password that was asked for.

    Raises: what `create` raises; the row is gone again where nothing exists at Supabase.
    """
    if begun.resumed:
        existing = admin.get(begun.id)
        if existing is not None:
            return finish_existing(system, grant, admin, wanted, begun, existing)
    leases.keep(system, grant, begun)
    identity = NewIdentity(
        id=begun.id,
        email=wanted.email,
        deployment=begun.deployment,
        origin=_ORIGIN,
        password=wanted.plain,
        password_hash=None if wanted.plain else wanted.bcrypt_hash or hash_of_no_password(),
        confirmed=not wanted.invite,
    )
    try:
        admin.create(identity)
    except IdentityRefused as refusal:
        # A refusal for want of a valid key did nothing, and a look-up would be refused as well.
        existing = None if refusal.status in {401, 403} and not begun.resumed else admin.get(begun.id)
        if existing is not None:
            # Refused, and yet there: another command made it, so it has no password of this one, and is that
            # one's to give unless the lease is still this one's.
            suspect = replace(begun, resumed=True, since=leases.Since(long_ago=True))
            return finish_existing(system, grant, admin, wanted, suspect, existing)
        error = refused(wanted.email, refusal)
        undo(system, grant, wanted.email, begun, error)
        raise error from refusal
    except OutcomeUnknown as unknown:
        return _find_out(system, grant, admin, wanted, begun, unknown)
    return True


def _find_out(
    system: System, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun, unknown: OutcomeUnknown
) -> bool:
    """After a 5xx or a timeout: ours was created, the address or id is taken, or nobody knows yet."""
    try:
        existing = admin.get(begun.id)
        stranger = admin.find_by_email(wanted.email) if existing is None else None
    except BackendUnavailable as silent:
        raise unfinished(wanted.email, begun, f"whether it created {wanted.email}: {unknown}") from silent
    if existing is not None:
        return finish_existing(system, grant, admin, wanted, begun, existing)
    if stranger is not None and stranger.id == begun.id:
        return finish_existing(system, grant, admin, wanted, begun, stranger)
    if stranger is not None:
        error = only_at_supabase(wanted.email)
        undo(system, grant, wanted.email, begun, error)
        raise error from unknown
    raise unfinished(wanted.email, begun, f"whether it created {wanted.email}: {unknown}") from unknown


def finish_existing(
    system: System,
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
            hint=f"change it back there, or delete both: `bazar users delete {quote(wanted.email)}`",
            details={"user_id": str(begun.id), "email": wanted.email, "supabase_email": existing.email},
        )
    if not ours:
        error = Conflict(
            "users.id_taken",
            f"another identity at Supabase holds the id chosen for {wanted.email}",
            hint="run the command again: it chooses a new id",
            details={"user_id": str(begun.id)},
        )
        undo(system, grant, wanted.email, begun, error)
        raise error
    if wanted.plain is None or existing.has_signed_in:
        # Where this command began, the identity is what its own request made: only the answer was lost.
        return not begun.resumed
    if begun.resumed:
        leases.keep(system, grant, begun)
        try:
            admin.set_password(begun.id, wanted.plain)
        except IdentityRefused as refusal:
            raise refused(wanted.email, refusal) from refusal
        except OutcomeUnknown as unknown:
            what = f"whether it set the password of {wanted.email}: {unknown}"
            raise unfinished(wanted.email, begun, what) from unknown
    return True


def unfinished(email: str, begun: Begun, unsaid: str) -> BackendUnavailable:
    """The error for an outcome that nobody knows: the row waits for the next run."""
    return BackendUnavailable(
        "users.create_unfinished",
        f"Supabase Auth did not say {unsaid}",
        hint="run the same command again: it goes on where this one stopped",
        details={"user_id": str(begun.id), "email": email},
    )


def refused(email: str, refusal: IdentityRefused) -> BazarError:
    """The error for values, or a key, that Supabase refused."""
    if refusal.code == "email_exists":
        return only_at_supabase(email)
    if refusal.status in {401, 403}:
        from bazar_cli.adapters.supabase.http import key_refused

        return key_refused(refusal.message, {"status": refusal.status, "supabase_code": refusal.code})
    return UsageError(
        "users.refused_by_supabase",
        f"Supabase Auth refused {email}: {refusal.message}",
        hint="correct the value and run the command again",
        details={"status": refusal.status, "supabase_code": refusal.code},
    )


def only_at_supabase(email: str) -> Conflict:
    """The error for an address that belongs to somebody else at Supabase."""
    return Conflict(
        "users.email_at_supabase",
        f"{email} has an identity at Supabase that is no user of this Bazar",
        hint=f"use another address, or let a superuser take the identity in: `bazar users adopt {quote(email)}`",
        details={"email": email},
    )


# -- the row ----------------------------------------------------------------------------------------------


def settle(
    system: System, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun, *, created_here: bool
) -> User:
    """Clear `pending`. Where the lease ran out, another command may have gone on with the row: it decides."""
    from bazar_cli.adapters.postgres import users

    with system.database().transaction(grant, finishing=True) as connection:
        settled = users.settle(connection, begun.id, begun.pending, begun.lease)
        held = users.hold_id(connection, begun.id)
        user = users.find(connection, grant.reach, str(begun.id))
    if held is None:
        # Deleted meanwhile: the identity that this command made after that would be nobody's.
        if created_here:
            try:
                admin.delete(begun.id)
            except (IdentityRefused, OutcomeUnknown) as error:
                what = f"whether it took back the identity of {wanted.email}, deleted meanwhile: {error}"
                raise unfinished(wanted.email, begun, what) from error
        raise leases.taken_over(wanted.email, "deleted the user")
    if not settled and held.user.pending is not None:
        raise leases.taken_over(wanted.email, "is in the middle of a change of the user")
    if not settled and (wanted.plain is not None or wanted.bcrypt_hash is not None):
        raise leases.taken_over(wanted.email, "finished the user, perhaps with another password")
    if user is None:
        raise leases.out_of_reach(wanted.email)
    return user


def undo(system: System, grant: Grant, email: str, begun: Begun, why: BazarError) -> None:
    """Take the row back, with an event that says why, unless another command has gone on with it."""
    from bazar_cli.adapters.postgres import audit, users

    with system.database().transaction(grant, finishing=True) as connection:
        if users.remove(connection, begun.id, begun.pending, begun.lease):
            audit.record(
                connection,
                grant,
                audit.Change("user", begun.id, before={"email": email}, reason=why.message, outcome="undone"),
            )
