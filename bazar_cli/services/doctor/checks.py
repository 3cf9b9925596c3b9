"""What the doctor makes of what it found: one check each, with a sentence and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Check, Comparison, Found, Health, Mismatch
from bazar_cli.domain.errors import BazarError

PENDING = "pending"
_NAMED = 3
"""So many rows a finding names in its sentence."""


def checked(name: str, look: Callable[[], Check]) -> Check:
    """Return what `look` says; an error is what it found."""
    try:
        return look()
    except BazarError as error:
        return failed(name, error)


def failed(name: str, error: BazarError) -> Check:
    """Return the check that ended with an error."""
    return Check(name, Health.FAILED, error.message, error.hint)


def skipped(names: Sequence[str], why: str, remedy: str = "") -> tuple[Check, ...]:
    """Return checks that nobody could make; the reason is said once, so that a table stays readable."""
    return (Check(names[0], Health.SKIPPED, why, remedy), *_as(names))


def failed_together(names: Sequence[str], error: BazarError) -> tuple[Check, ...]:
    """Return checks that one error ended: it is said, and counts, once."""
    return (failed(names[0], error), *_as(names))


def _as(names: Sequence[str]) -> tuple[Check, ...]:
    first, *others = names
    return tuple(Check(name, Health.SKIPPED, f"not looked at, as {first}") for name in others)


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
    going = f"{busy} in the middle of a command" if busy else ""
    if not abandoned:
        return Check(PENDING, Health.OK, going or "nobody is in the middle of a change", count=0)
    rows = tuple(Affected(u.id, u.email, f"pending {u.pending}") for u in abandoned)
    verb = "is" if len(rows) == 1 else "are"
    return of_rows(
        PENDING,
        Health.WARNING,
        Found(len(rows), rows[:SHOWN_ROWS]),
        f"{{rows}} {verb} in the middle of a change that nobody finished{f'; {going}' if going else ''}",
        "run the command that began it again, or `bazar doctor --fix`",
    )


# What is well, how bad it is otherwise, the sentence and the remedy of each.
_MISMATCHES: Mapping[Mismatch, tuple[str, Health, str, str]] = {
    Mismatch.USERS_WITHOUT_IDENTITY: (
        "every user has an identity at Supabase",
        Health.FAILED,
        "{rows} cannot sign in: Supabase has no identity with the id",
        "delete and create them anew: `bazar users delete EMAIL --confirm EMAIL`, then `bazar users create EMAIL`",
    ),
    Mismatch.IDENTITIES_WITHOUT_USER: (
        "every identity of this Bazar has a user",
        Health.FAILED,
        "{rows}: the identity has the stamp of this Bazar, which has no user with its id",
        "make it a user again, with its id: `bazar users adopt EMAIL`; or delete it in the Supabase dashboard",
    ),
    Mismatch.EMAILS_DIFFER: (
        "every user signs in with the address that is shown here",
        Health.WARNING,
        "{rows}: the identity at Supabase has another address, which signs in and gets the mails",
        "set the right one with `bazar users update USER --email ADDRESS`, or change it back in the Supabase dashboard",
    ),
    Mismatch.BANNED_NOT_SUSPENDED: (
        "nobody is banned at Supabase who is active here",
        Health.WARNING,
        "{rows}: active here, and banned at Supabase, where nobody can sign in as them",
        "`bazar users suspend USER --reason TEXT` makes it so here too, `bazar users restore USER` lifts the ban",
    ),
    Mismatch.SUSPENDED_NOT_BANNED: (
        "whoever is suspended is banned at Supabase",
        Health.FAILED,
        "{rows}: suspended here, and not banned at Supabase: they can still sign in to other services",
        "`bazar users suspend USER --reason TEXT` bans them again, `bazar users restore USER` lets them in here too",
    ),
}


def _mismatch(comparison: Comparison, kind: Mismatch) -> Check:
    well, status, detail, remedy = _MISMATCHES[kind]
    found = comparison.found[kind]
    unread = ""
    if kind is Mismatch.IDENTITIES_WITHOUT_USER and comparison.unread:
        # Of users nothing was missed: whom the list did not show was asked for by id.
        unread = f"{comparison.unread} could not be read: run it again"
    if found.count:
        return of_rows(kind.value, status, found, detail + (f"; {unread}" if unread else ""), remedy)
    if unread:
        return Check(kind.value, Health.WARNING, f"{well}; {unread}", unread, 0)
    return Check(kind.value, Health.OK, well, count=0)
