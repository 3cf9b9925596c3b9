"""The one text for what cannot be found, or cannot be changed now."""

from __future__ import annotations

from shlex import quote

from bazar_cli.domain.access import Pending
from bazar_cli.domain.errors import Conflict, NotFound
from bazar_cli.domain.permissions import Plan


def user_not_found(reference: str) -> NotFound:
    """No user by this id or email, or none within the operator's reach: the text tells nobody which."""
    return NotFound(
        "users.not_found",
        f"no user {reference!r} within your reach",
        hint="name a user by id or email; `bazar users list` shows those you can see",
        details={"user": reference},
    )


def organization_not_found(reference: str) -> NotFound:
    """No organization by this id or slug, or none within the operator's reach."""
    return NotFound(
        "orgs.not_found",
        f"no organization {reference!r} within your reach",
        hint="name an organization by id or slug; `bazar orgs list` shows those you can see",
        details={"organization": reference},
    )


def plan_not_found(plan: Plan) -> NotFound:
    """The plan table has lost a plan that this release knows."""
    return NotFound("plans.not_found", f"the plan table has no plan {plan.value}")


def user_pending(email: str, pending: Pending, *, adopted: bool = False) -> Conflict:
    """The user is in the middle of a change that another run began and nobody finished.

    Parameters: `adopted` says that the identity was at Supabase first, so that a pending creation is an adoption.
    """
    commands = {
        Pending.CREATE: f"`bazar users create {quote(email)}`, with the options it had,",
        Pending.INVITE: f"`bazar users create {quote(email)} --invite`, with the options it had,",
        Pending.DELETE: f"`bazar users delete {quote(email)} --confirm {quote(email)}`",
    }
    if adopted:
        commands[Pending.CREATE] = f"`bazar users adopt {quote(email)}`, with the options it had,"
    command = commands.get(pending, "the command that began it")
    return Conflict(
        "users.pending",
        f"{email} is in the middle of another change ({pending})",
        hint=f"finish it first: run {command} again, or `bazar doctor --fix`",
        details={"pending": pending.value},
    )
