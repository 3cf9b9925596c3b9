"""The report of the doctor: configuration and reachability, then the comparison of both systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Denial, Grant
from bazar_cli.domain.doctor import (
    COMPARE,
    FIX,
    SHOWN_ROWS,
    Affected,
    Check,
    Diagnosis,
    Health,
    Mismatch,
    PendingUser,
    Repair,
    Repaired,
)
from bazar_cli.domain.entities import Pending, Plan
from bazar_cli.domain.errors import BazarError, Denied, NotSignedIn
from bazar_cli.services import config
from bazar_cli.services.doctor import checks, compare_systems, postgres_checks, public_checks
from bazar_cli.services.doctor.checks import checked, failed, failed_together, see, skipped
from bazar_cli.services.doctor.postgres_checks import INSPECTED, SUPERUSERS, PostgresChecks
from bazar_cli.services.doctor.repair import finish_all
from bazar_cli.services.gate.gate import has_active_superuser

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate
    from bazar_cli.services.gate.identities import Identities

COMPARED = (checks.PENDING, *(kind.value for kind in Mismatch))
"""The checks that compare both systems."""
GRANTED = (*INSPECTED, *COMPARED)
"""The checks that read data, for operators who may compare both systems."""


@dataclass(frozen=True)
class Places:
    """The systems that the doctor examines. Each is opened when it is needed, and may be broken."""

    target: Callable[[], Target]
    identities: Callable[[], Identities]
    backends: Callable[[], Backends]
    gate: Callable[[], Gate]


def examine(environ: Mapping[str, str], places: Places) -> Diagnosis:
    """Check the configuration, both systems and the session, then compare the two if the operator may.

    An error of a check is its finding.
    """
    profiles = checked("profiles", lambda: public_checks.profiles(environ))
    try:
        target = places.target()
    except BazarError as error:
        if error.code == "target.needs_direct":
            raise
        names = (*public_checks.REACHED, "session", SUPERUSERS, *GRANTED)
        return Diagnosis((profiles, failed("target", error), *skipped(names, "there is no target to ask")))
    found = Check("target", Health.OK, f"{target.supabase_url}, from {config.origin(target.source)}")
    reached = public_checks.reach(target)
    first = (profiles, found, *reached)
    postgres, supabase = reached[:2]
    if postgres.status is Health.FAILED:
        return Diagnosis((*first, *see(postgres.name, ("session", SUPERUSERS, *GRANTED))))
    first = (*first, _session(places, supabase))
    try:
        exists = has_active_superuser(places.backends())
    except BazarError as error:
        return Diagnosis((*first, failed(SUPERUSERS, error), *skipped(GRANTED, "the users could not be read")))
    if exists is None:
        compared = skipped(COMPARED, "the database has no tables of bazar yet")
        return Diagnosis((*first, postgres_checks.superuser_exists(exists), *postgres_checks.not_migrated(), *compared))
    if supabase.status is Health.FAILED:
        return Diagnosis((*first, postgres_checks.superuser_exists(exists), *see(supabase.name, GRANTED)))
    return Diagnosis((*first, *_granted(places, has_superuser=exists)))


def _session(places: Places, supabase: Check) -> Check:
    try:
        return public_checks.session(places.identities(), places.backends())
    except BazarError as error:
        if supabase.status is Health.FAILED and error.code == "supabase.unavailable":
            return see(supabase.name, ("session",))[0]
        return failed("session", error)


def _granted(places: Places, *, has_superuser: bool) -> tuple[Check, ...]:
    """Make the checks that need a Grant; for other operators they are skipped, not denied."""
    try:
        grant = _may_compare(places)
    except BazarError as error:
        return (postgres_checks.superuser_exists(has_superuser), *_not_granted(error))
    backends = places.backends()
    looks = PostgresChecks(backends, grant)
    superusers, inspected = looks.superusers(), looks.all()
    return (superusers, *inspected, *_compared(backends, grant, looks))


def _not_granted(error: BazarError) -> tuple[Check, ...]:
    if not isinstance(error, NotSignedIn | Denied):
        return failed_together(GRANTED, error)
    skipped_checks = skipped(GRANTED, error.message)
    lacking = [str(p) for p in _listed(error, "permissions")]
    if error.code == "access.plan" and Plan.PREMIUM.value not in _listed(error, "plans_with_it"):
        # Nobody on Premium can compare both systems any more, so this is the only place to say it.
        finding = postgres_checks.premium_lacks(lacking)
        return tuple(finding if check.name == finding.name else check for check in skipped_checks)
    return skipped_checks


def _listed(error: BazarError, name: str) -> list[object]:
    values = error.details.get(name)
    return list(values) if isinstance(values, list) else []  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]


def _compared(backends: Backends, grant: Grant, looks: PostgresChecks) -> tuple[Check, ...]:
    try:
        return checks.of_comparison(compare_systems.compare(backends, grant))
    except BazarError as error:
        if error.code == "db.no_marker":
            return skipped(COMPARED, "the marker is lost, which says which identities belong to this Bazar")
        return looks.or_behind(COMPARED, error)


def unfinished(places: Places, *, dry_run: bool) -> tuple[PendingUser, ...]:
    """Return every user in the middle of a change, for `--fix`.

    A user whom a command holds is among them: the end of the lease shows whether that command lives.

    Raises: as the gate; a denial is recorded.
    """
    places.gate().authorize(FIX, None, dry_run)
    return compare_systems.pending(places.backends(), _may_compare(places))


def named(pending: tuple[PendingUser, ...]) -> str:
    """Name the first of these users with their pending change, and the number of the others."""
    return checks.named(tuple(Affected(u.id, f"{u.email} ({u.pending})") for u in pending))


def fix(places: Places, pending: tuple[PendingUser, ...], on_end: Callable[[Repair], None], *, dry_run: bool) -> Check:
    """Finish what commands which died left pending; return the check that says what became of each user."""
    repairs = finish_all(places.gate(), pending, on_end, dry_run=dry_run)
    remedies: list[str] = []
    taken_back = [r.user for r in repairs if r.outcome is Repaired.UNDONE]
    for moved, remedy in (
        (False, "create the users that you still want with addresses that are free, in place of {}"),
        (True, "the users keep the address that they had; choose another one than {}"),
    ):
        undone = tuple(Affected(u.id, u.email) for u in taken_back if (u.pending is Pending.EMAIL) is moved)
        if undone:
            remedies.append(remedy.format(checks.named(undone)))
    if any(r.outcome is Repaired.LEFT for r in repairs):
        remedies.append("run the command that began it again, or `bazar doctor --fix` later")
    counts = [(o, sum(r.outcome is o for r in repairs)) for o in Repaired]
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts if count) or "nothing was pending"
    would = "would be " if dry_run else ""
    rows = tuple(Affected(r.user.id, r.user.email, f"{would}{r.outcome}. {r.note}".strip(" .")) for r in repairs)
    return Check(
        "fix",
        Health.WARNING if remedies else Health.OK,
        f"{'would be: ' if dry_run else ''}{summary}",
        "; ".join(remedies),
        len(repairs),
        rows[:SHOWN_ROWS],
    )


def _may_compare(places: Places) -> Grant:
    decision = places.gate().offer(COMPARE, None)
    if isinstance(decision, Denial):
        raise Denied(decision.code, decision.message, hint=decision.hint, details=decision.details)
    return decision
