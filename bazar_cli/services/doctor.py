"""The doctor: configuration and reachability, then both systems compared, one check after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain.access import Denial, Grant, Pending
from bazar_cli.domain.doctor import (
    COMPARE,
    FIX,
    SHOWN_ROWS,
    Affected,
    Check,
    Comparison,
    Diagnosis,
    Health,
    PendingUser,
    Repair,
    Repaired,
)
from bazar_cli.domain.errors import BazarError, Denied, NotSignedIn
from bazar_cli.services import comparison, config
from bazar_cli.services.access import describe_operator
from bazar_cli.services.repair import finish_all

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target
    from bazar_cli.services.access import Gate
    from bazar_cli.services.identity import Identities
    from bazar_cli.services.system import System

COMPARED = ("pending", "users-without-identity", "identities-without-user")
"""The checks that compare both systems."""
_NAMED = 3
"""So many rows a finding names in its sentence."""
_SKEW_SECONDS = 60.0
"""A stored session bears 300 s; of BAZAR_TOKEN no end was measured, so it is refused late, or looked at twice."""
_OLDEST_POSTGRES = 13


@dataclass(frozen=True)
class Places:
    """Where the doctor looks; each is opened when it is looked at, and may be what is broken."""

    target: Callable[[], Target]
    identities: Callable[[], Identities]
    system: Callable[[], System]
    gate: Callable[[], Gate]


def examine(environ: Mapping[str, str], places: Places) -> Diagnosis:
    """Look at the configuration, at both systems and the session, then compare the two where one may.

    Raises nothing of its own: what a check raises is what it found.
    """
    profiles = _checked("profiles", lambda: _profiles(environ))
    try:
        target = places.target()
    except BazarError as error:
        skipped = ("postgres", "supabase", "session", *COMPARED)
        return Diagnosis((profiles, _finding("target", error), *_skipped(skipped, "there is no target to ask")))
    found = Check("target", Health.OK, f"{target.supabase_url}, from {config.origin(target.source)}")
    postgres = _checked("postgres", lambda: _postgres(target))
    supabase = _checked("supabase", lambda: _supabase(target))
    session = _checked("session", lambda: _session(places))
    first = (profiles, found, postgres, supabase, session)
    if Health.FAILED in {postgres.status, supabase.status}:
        return Diagnosis((*first, *_skipped(COMPARED, "both systems must answer")))
    return Diagnosis((*first, *compare(places)))


def compare(places: Places) -> tuple[Check, ...]:
    """Compare both systems, for operators who may; for others these checks are skipped, not denied."""
    try:
        comparison = _comparison(places)
    except BazarError as error:
        known = isinstance(error, NotSignedIn | Denied) or error.code == "db.not_migrated"
        if known:
            return _skipped(COMPARED, error.message)
        first, *others = COMPARED
        return (_finding(first, error), *_skipped(others, "both systems could not be compared"))
    return (
        _pending(comparison),
        _users_without_identity(comparison),
        _identities_without_user(comparison),
    )


def unfinished(places: Places, *, dry_run: bool) -> tuple[PendingUser, ...]:
    """Return every user in the middle of a change, for `--fix`.

    One whom a command holds is among them: whether that command lives shows when its lease ends.

    Raises: Denied, recorded, for an operator who may not fix; as the gate.
    """
    places.gate().authorize(FIX, None, dry_run)
    return comparison.pending(places.system(), _may_compare(places))


def named(pending: tuple[PendingUser, ...]) -> str:
    """Name the first of these users and what is pending of each, and say how many more there are."""
    return _named(tuple(Affected(u.id, f"{u.email} ({u.pending})") for u in pending))


def fix(places: Places, pending: tuple[PendingUser, ...], tell: Callable[[Repair], None], *, dry_run: bool) -> Check:
    """Finish what dead commands left pending; return the check that says what became of each.

    Raises: as `repair.finish_all`.
    """
    repairs = finish_all(places.gate(), pending, tell, dry_run=dry_run)
    remedies: list[str] = []
    taken_back = [r.user for r in repairs if r.outcome is Repaired.UNDONE]
    for moved, remedy in (
        (False, "create whom you still want with an address that is free, in place of {}"),
        (True, "the users keep the address they had; give them another than {}"),
    ):
        undone = tuple(Affected(u.id, u.email) for u in taken_back if (u.pending is Pending.EMAIL) is moved)
        if undone:
            remedies.append(remedy.format(_named(undone)))
    if any(r.outcome is Repaired.LEFT for r in repairs):
        remedies.append("run the command that began it again, or `bazar doctor --fix` later")
    counts = [(o, sum(r.outcome is o for r in repairs)) for o in Repaired]
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts if count) or "nothing was pending"
    rows = tuple(Affected(r.user.id, r.user.email, f"{r.outcome}. {r.note}".strip(" .")) for r in repairs)
    return Check(
        "fix",
        Health.WARNING if remedies else Health.OK,
        f"{'would be: ' if dry_run else ''}{said}",
        "; ".join(remedies),
        len(repairs),
        rows[:SHOWN_ROWS],
    )


def _checked(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except BazarError as error:
        return _finding(name, error)


def _finding(name: str, error: BazarError) -> Check:
    return Check(name, Health.FAILED, error.message, error.hint)


def _profiles(environ: Mapping[str, str]) -> Check:
    found = config.profiles(environ)
    active = next((p.name for p in found if p.active), None)
    names = ", ".join(f"{p.name} (active)" if p.name == active else p.name for p in found)
    return Check("profiles", Health.OK, names or "none")


def _postgres(target: Target) -> Check:
    from bazar_cli.adapters.postgres.probe import probe

    place = probe(target)
    where = f"PostgreSQL {place.server_version} at {place.host}, database {place.database}"
    major = int(place.server_version.partition(".")[0] or 0)
    if major < _OLDEST_POSTGRES:
        return Check("postgres", Health.FAILED, where, f"bazar needs PostgreSQL {_OLDEST_POSTGRES} or later")
    return Check("postgres", Health.OK, where)


def _supabase(target: Target) -> Check:
    from bazar_cli.adapters.supabase.probe import probe_auth

    found = probe_auth(target)
    where = f"Supabase Auth {found.version} at {target.supabase_url}".replace("  ", " ")
    if not found.key_accepted:
        remedy = "set SUPABASE_KEY to the service key (sb_secret_... or the service_role JWT) of this project"
        return Check("supabase", Health.FAILED, f"{where} refuses the service key", remedy)
    skew = found.clock_skew_seconds
    if skew is not None and abs(skew) > _SKEW_SECONDS:
        late = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
        return Check("supabase", Health.WARNING, f"{where}; this machine's clock is {late}", "set the clock (NTP)")
    return Check("supabase", Health.OK, where)


def _session(places: Places) -> Check:
    try:
        identity = places.identities().current()
    except NotSignedIn as error:
        if error.code == "auth.not_signed_in":
            return Check("session", Health.SKIPPED, "nobody is signed in", error.hint)
        raise
    operator = describe_operator(places.system(), identity)
    if operator is None:
        remedy = "run `bazar db migrate` where the database is new, else ask a superuser to take you in"
        return Check("session", Health.WARNING, f"{identity.email} is no user of this Bazar", remedy)
    if not operator.in_service:
        what = "being deleted" if operator.pending is Pending.DELETE else "suspended"
        remedy = "ask an administrator of your organization to restore you"
        return Check("session", Health.WARNING, f"{operator.email} is {what}: every command is denied", remedy)
    role = ", superuser" if operator.is_superuser else ""
    return Check("session", Health.OK, f"{operator.email}, plan {operator.plan.value}{role}, from {identity.source}")


# -- both systems compared ----------------------------------------------------------------------------------


def _comparison(places: Places) -> Comparison:
    return comparison.compare(places.system(), _may_compare(places))


def _may_compare(places: Places) -> Grant:
    decision = places.gate().offer(COMPARE, None)
    if isinstance(decision, Denial):
        raise Denied(decision.code, decision.message, hint=decision.hint, details=decision.details)
    return decision


def _abandoned(found: Comparison) -> tuple[PendingUser, ...]:
    return tuple(user for user in found.pending if not user.leased)


def _pending(found: Comparison) -> Check:
    abandoned = _abandoned(found)
    busy = len(found.pending) - len(abandoned)
    going = f"{busy} in the middle of a command" if busy else ""
    if not abandoned:
        return Check("pending", Health.OK, going or "nobody is in the middle of a change", count=0)
    rows = tuple(Affected(u.id, u.email, f"pending {u.pending}") for u in abandoned)
    return Check(
        "pending",
        Health.WARNING,
        f"{_named(rows)} {_are(len(rows))} in the middle of a change that nobody finished"
        + (f"; {going}" if going else ""),
        "run the command that began it again, or `bazar doctor --fix`",
        len(rows),
        rows[:SHOWN_ROWS],
    )


def _users_without_identity(found: Comparison) -> Check:
    name, rows = "users-without-identity", found.users_without_identity
    if not rows.count:
        return Check(name, Health.OK, "every user has an identity at Supabase", count=0)
    return Check(
        name,
        Health.FAILED,
        f"{_named(rows.rows, rows.count)} cannot sign in: Supabase has no identity with the id",
        "delete and create them anew: `bazar users delete EMAIL --confirm EMAIL`, then `bazar users create EMAIL`",
        rows.count,
        rows.rows,
    )


def _identities_without_user(found: Comparison) -> Check:
    name, rows = "identities-without-user", found.identities_without_user
    unread = f"; {found.unread} could not be read: run it again" if found.unread else ""
    if not rows.count:
        status = Health.WARNING if unread else Health.OK
        return Check(name, status, f"every identity of this Bazar has a user{unread}", unread.strip("; "), 0)
    return Check(
        name,
        Health.FAILED,
        f"{_named(rows.rows, rows.count)}: this Bazar made the identity, and has no user with its id{unread}",
        "look at them in the Supabase dashboard; bazar never deletes an identity by itself",
        rows.count,
        rows.rows,
    )


def _named(rows: tuple[Affected, ...], total: int | None = None) -> str:
    count = len(rows) if total is None else total
    shown = ", ".join(row.email or str(row.id) for row in rows[:_NAMED])
    return f"{shown} and {count - _NAMED} more" if count > _NAMED else shown


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _skipped(names: Sequence[str], why: str) -> tuple[Check, ...]:
    return tuple(Check(name, Health.SKIPPED, why) for name in names)
