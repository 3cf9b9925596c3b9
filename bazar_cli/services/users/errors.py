"""Errors of several use cases: a user, organization or plan that does not exist, or cannot be changed now."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, Plan
from bazar_cli.domain.errors import Conflict, NotFound, OutOfReach, UsageError
from bazar_cli.domain.versions import Version, check_version

if TYPE_CHECKING:
    from bazar_cli.domain.entities import Organization, User
    from bazar_cli.domain.users.identities import IdentityRefused

T = TypeVar("T")


def user_not_found(reference: str) -> OutOfReach:
    """No user has this id or email, or the operator cannot see the user. The text does not say which."""
    return OutOfReach(
        "users.not_found",
        f"no user {reference!r} that you can see",
        hint="name a user by id or email; `bazar users list` shows the users that you can see",
        details={"user": reference},
    )


def organization_not_found(reference: str) -> OutOfReach:
    """No organization has this id or slug, or the operator cannot see it."""
    return OutOfReach(
        "orgs.not_found",
        f"no organization {reference!r} that you can see",
        hint="name an organization by id or slug; `bazar orgs list` shows the organizations that you can see",
        details={"organization": reference},
    )


def found_user(found: T | None, reference: str) -> T:
    """Return the user that was looked up. Raises: NotFound `users.not_found` for None."""
    if found is None:
        raise user_not_found(reference)
    return found


def found_organization(found: Organization | None, reference: str) -> Organization:
    """Return the organization that was looked up. Raises: NotFound `orgs.not_found` for None."""
    if found is None:
        raise organization_not_found(reference)
    return found


def plan_not_found(plan: Plan) -> NotFound:
    """The plan table lacks a plan that this release knows."""
    return NotFound("plans.not_found", f"the plan table has no plan {plan.value}")


def user_pending(email: str, pending: Pending, *, adopted: bool = False) -> Conflict:
    """The user is in the middle of a change that another run began and did not finish.

    Parameters: `adopted` says that the identity was at Supabase first, so that a pending creation is an adoption.
    """
    commands = {
        Pending.CREATE: f"`{command_line('users create', email)}`, with the options it had,",
        Pending.INVITE: f"`{command_line('users create', email, invite=True)}`, with the options it had,",
        Pending.DELETE: f"`{command_line('users delete', email, confirm=email)}`",
        Pending.SUSPEND: f"`{command_line('users suspend', email, reason='TEXT', yes=True)}`",
        Pending.RESTORE: f"`{command_line('users restore', email)}`",
        Pending.EMAIL: f"`{command_line('users update', email, email=email)}`",
    }
    if adopted:
        commands[Pending.CREATE] = f"`{command_line('users adopt', email)}`, with the options it had,"
    command = commands.get(pending, "the command that began it")
    return Conflict(
        "users.pending",
        f"{email} is in the middle of another change ({pending})",
        hint=f"finish it first: run {command} again, or `bazar doctor --fix`",
        details={"pending": pending.value},
    )


def same_address(email: str) -> str:
    """Return how a superuser gives the identity the address that its user has here."""
    return f"make both the same first: `{command_line('users update', email, email=email)}` sets it at Supabase"


def refused_by_supabase(email: str, refusal: IdentityRefused) -> UsageError:
    """Supabase Auth did not take the values of the user with this address."""
    return UsageError(
        "users.refused_by_supabase",
        f"Supabase Auth refused {email}: {refusal.message}",
        hint="correct the value and run the command again",
        details={"status": refusal.status, "supabase_code": refusal.code},
    )


def check_user_version(wanted: frozenset[Version] | None, user: User) -> None:
    """Refuse a user who is none of these versions. Raises: VersionChanged `users.changed_since`."""
    check_version(wanted, Version(user.id, user.updated_at), "users.changed_since", user.email)


def user_changed_since(user: User, since: datetime) -> Conflict:
    """The user was changed after the moment that --if-unchanged-since names."""
    return Conflict(
        "users.changed_since",
        f"{user.email} was changed at {user.updated_at.isoformat()}, after {since.isoformat()}",
        hint="look at the user again with `bazar users get`, then decide",
        details={"updated_at": user.updated_at.isoformat()},
    )


def taken_over(email: str, what: str) -> Conflict:
    """Return the error of a command that lost its lease; `what` is the verb of the other command."""
    return Conflict(
        "users.taken_over",
        f"this command was held up, and meanwhile another one {what} ({email})",
        hint=f"look at the user with `{command_line('users get', email)}`, then decide",
        details={"email": email},
    )
