"""How checks are made: of an error, of rows, and of the comparison of both systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Check, Comparison, Found, Health, Mismatch
from bazar_cli.domain.errors import BazarError

PENDING = "pending"
_NAMED = 3
"""How many rows a sentence names."""


def checked(name: str, look: Callable[[], Check]) -> Check:
    """Return the check that `look` makes; an error becomes a failed check."""
    try:
        return look()
    except BazarError as error:
        return failed(name, error)


def failed(name: str, error: BazarError) -> Check:
    """Return the check that ended with an error."""
    return Check(name, Health.FAILED, error.message, error.hint)


def skipped(names: Sequence[str], why: str, remedy: str = "") -> tuple[Check, ...]:
    """Return checks that could not be made. The first one says why, so that a table is easy to read."""
    return (Check(names[0], Health.SKIPPED, why, remedy), *see(names[0], names[1:]))


def failed_together(names: Sequence[str], error: BazarError) -> tuple[Check, ...]:
    """Return checks that one error ended. The first one has the error, and counts."""
    return (failed(names[0], error), *see(names[0], names[1:]))


def see(cause: str, names: Sequence[str]) -> tuple[Check, ...]:
    """Return checks that were not made because of the result of the check `cause`."""
    return tuple(Check(name, Health.SKIPPED, f"not checked, see {cause}") for name in names)


def named(rows: Sequence[Affected], total: int | None = None) -> str:
    """Name the first rows, and say how many more there are."""
    count = len(rows) if total is None else total
    shown = ", ".join(row.label for row in rows[:_NAMED])
    return f"{shown} and {count - _NAMED} more" if count > _NAMED else shown


def of_rows(name: str, status: Health, found: Found, detail: str, remedy: str) -> Check:
    """Return a finding about rows; `{rows}` in the sentence names the first."""
    return Check(name, status, detail.format(rows=named(found.rows, found.count)), remedy, found.count, found.rows)


def of_comparison(comparison: Comparison) -> tuple[Check, ...]:
    """Return the checks that compare both systems, in their order."""
    return (_pending(comparison), *(_mismatch(comparison, kind) for kind in Mismatch))


def _pending(comparison: Comparison) -> Check:
    abandoned = [user for user in comparison.pending if not user.leased]
    busy = len(comparison.pending) - len(abandoned)
    leased = f"{busy} in the middle of a command" if busy else ""
    if not abandoned:
        return Check(PENDING, Health.OK, leased or "no user is in the middle of a change", count=0)
    rows = tuple(Affected(u.id, u.email, f"pending {u.pending}") for u in abandoned)
    verb = "is" if len(rows) == 1 else "are"
    return of_rows(
        PENDING,
        Health.WARNING,
        Found(len(rows), rows[:SHOWN_ROWS]),
        f"{{rows}} {verb} in the middle of an unfinished change{f'; {leased}' if leased else ''}",
        "run the command that began it again, or `bazar doctor --fix`",
    )


# The sentence if nothing is found, then the status, the sentence and the remedy if something is.
_MISMATCHES: Mapping[Mismatch, tuple[str, Health, str, str]] = {
    Mismatch.USERS_WITHOUT_IDENTITY: (
        "every user has an identity at Supabase",
        Health.FAILED,
        "{rows} cannot sign in: Supabase has no identity with the id",
        "delete and create them again: `bazar users delete EMAIL --confirm EMAIL`, then `bazar users create EMAIL`",
    ),
    Mismatch.IDENTITIES_WITHOUT_USER: (
        "every identity of this Bazar has a user",
        Health.FAILED,
        "{rows}: the identity has the stamp of this Bazar, which has no user with its id",
        "make it a user again, with its id: `bazar users adopt EMAIL`; or delete it in the Supabase dashboard",
    ),
    Mismatch.EMAILS_DIFFER: (
        "every user has the same address in both systems",
        Health.WARNING,
        "{rows}: the identity at Supabase has another address, which signs in and gets the mails",
        "set the right one with `bazar users update USER --email ADDRESS`, or change it back in the Supabase dashboard",
    ),
    Mismatch.BANNED_NOT_SUSPENDED: (
        "no active user is banned at Supabase",
        Health.WARNING,
        "{rows}: active here, but banned at Supabase, so they cannot sign in",
        "`bazar users suspend USER --reason TEXT` suspends them here too, `bazar users restore USER` lifts the ban",
    ),
    Mismatch.SUSPENDED_NOT_BANNED: (
        "every suspended user is banned at Supabase",
        Health.FAILED,
        "{rows}: suspended here, but not banned at Supabase, so they can still sign in to other services",
        "`bazar users suspend USER --reason TEXT` bans them again, `bazar users restore USER` makes them active here",
    ),
}


def _mismatch(comparison: Comparison, kind: Mismatch) -> Check:
    fine, status, detail, remedy = _MISMATCHES[kind]
    found = comparison.found[kind]
    unread = ""
    if kind is Mismatch.IDENTITIES_WITHOUT_USER and comparison.unread:
        # No user was missed: a user whom the list did not show was asked for by id.
        unread = f"{comparison.unread} could not be read: run it again"
    if found.count:
        return of_rows(kind.value, status, found, detail + (f"; {unread}" if unread else ""), remedy)
    if unread:
        return Check(kind.value, Health.WARNING, f"{fine}; {unread}", unread, 0)
    return Check(kind.value, Health.OK, fine, count=0)
