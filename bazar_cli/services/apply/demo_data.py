"""`db seed`: demo users and organizations, each written by the service of its command, with a Grant and an event.

This module itself writes only the event of the run, before everything else. All changes have the request id of that
run. A run that was killed is finished by the next one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db.marker import no_marker
from bazar_cli.domain.db.migrations import Marker, Place, refuse_protected
from bazar_cli.domain.declared.changes import Outcome as ChangeOutcome
from bazar_cli.domain.declared.changes import Result
from bazar_cli.domain.demo import seed as use_cases
from bazar_cli.domain.demo.data import wanted
from bazar_cli.domain.demo.seed import Outcome, Seed, Seeded, SeededOrganization, SeededUser
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.progress import Progress, ignored
from bazar_cli.domain.texts import counted
from bazar_cli.services.apply.demo_plan import OrganizationPlan, SeedPlan, UserPlan, plan_seed
from bazar_cli.services.apply.perform import MEANWHILE
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.interrupts import between_steps
from bazar_cli.services.users.passwords import bcrypt_hash

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate


@dataclass(frozen=True)
class Prepared:
    """The planned changes of a run, and their target."""

    place: Place
    environment: str
    deployment: uuid.UUID
    request: Seed
    plan: SeedPlan

    def impact(self, command: str) -> Impact:
        """Return the changes, to be confirmed. Parameters: `command` is the command that asks no question."""
        new = [o.wanted.slug for o in self.plan.organizations if o.outcome is Outcome.CREATED]
        counts = {outcome: self.plan.count(outcome) for outcome in Outcome if outcome is not Outcome.FAILED}
        made = [counted(len(new), "organization")] if new else []
        made += [counted(counts[Outcome.CREATED], "user")] if counts[Outcome.CREATED] else []
        texts = [f"this creates {' and '.join(made)}"] if made else []
        for outcome in (Outcome.TAKEN_BACK, Outcome.COMPLETED):
            if counts[outcome]:
                texts.append(f"{counted(counts[outcome], 'user')} to be {outcome.value.replace('-', ' ')}")
        return Impact(
            text=f"in {self.place.database} on {self.place.host} ({self.environment}): {', '.join(texts)}",
            question="Write this demo data?",
            command=command,
            details={
                "host": self.place.host,
                "database": self.place.database,
                "environment": self.environment,
                "new_organizations": new,
                **{outcome.value.replace("-", "_"): count for outcome, count in counts.items()},
            },
        )

    def seeded(self) -> Seeded:
        """Return the result so far; before a run, the expected one."""
        by_user: dict[str | None, list[Result]] = {}
        made: dict[str | None, Result] = {}
        for result in self.plan.changes.results.values():
            by_user.setdefault(result.change.user, []).append(result)
            if result.change.use_case == "orgs.create":
                made[result.change.organization] = result
        return Seeded(
            self.place.host,
            self.place.database,
            self.environment,
            tuple(self._organization(plan, made.get(plan.wanted.slug)) for plan in self.plan.organizations),
            tuple(self._user(plan, by_user.get(plan.wanted.email, ())) for plan in self.plan.users),
        )

    def _organization(self, plan: OrganizationPlan, made: Result | None) -> SeededOrganization:
        outcome, note = plan.outcome, plan.note
        if made is not None and made.outcome is ChangeOutcome.DONE:
            note = "owned by the operator" if self.plan.changes.is_operators(made.change) else ""
        elif made is not None:
            outcome = Outcome.FAILED if made.outcome is ChangeOutcome.FAILED else Outcome.EXISTING
            note = made.message or ""
        return SeededOrganization(plan.wanted.slug, plan.wanted.name or "", outcome, note)

    def _user(self, plan: UserPlan, results: Sequence[Result]) -> SeededUser:
        email = plan.wanted.email
        user_id: uuid.UUID | None = self.plan.changes.made_ids.get(email, plan.id)
        outcome, note = plan.outcome, plan.note
        creation = next((r for r in results if r.change.use_case == "users.create"), None)
        failure = next((r for r in results if r.outcome is ChangeOutcome.FAILED), None)
        if failure is not None:
            outcome = Outcome.DIFFERS if failure.code == "users.differs" else Outcome.FAILED
            note = failure.message or ""
            if failure is creation and outcome is Outcome.FAILED:
                user_id = None
        elif creation is not None and creation.outcome is ChangeOutcome.UNCHANGED:
            outcome, note = Outcome.EXISTING, MEANWHILE
        return SeededUser(user_id, email, outcome, note)


def seed(gate: Gate, request: Seed, progress: Progress = ignored, *, dry_run: bool = False) -> Seeded:
    """Write the demo data without a question; a dry run returns the expected result.

    Raises: as `prepare` and `carry_out`.
    """
    prepared = prepare(gate, request, dry_run=dry_run)
    return prepared.seeded() if dry_run else carry_out(gate, prepared, progress)


def prepare(gate: Gate, request: Seed, *, dry_run: bool, emptied: bool = False) -> Prepared:
    """Read both systems, and return the changes of a run. Writes nothing.

    Parameters: `emptied` plans for the time after a reset, which deletes all rows but the operator's.
    Raises: Refused `db.protected`, `db.unmarked`; UsageError `seed.users_invalid`; Conflict `seed.identity_taken`;
    Denied, also if the operator may not make one of the changes; BackendUnavailable.
    """
    prepared = gate.perform(
        lambda backends, grant, asked: _prepare(backends, grant, asked, emptied=emptied),
        use_cases.SEED,
        request,
        dry_run=dry_run,
    )
    prepared.plan.changes.authorize(gate, dry_run=dry_run)
    return prepared


def _prepare(backends: Backends, grant: Grant, request: Seed, *, emptied: bool) -> Prepared:
    grant.demand(use_cases.SEED)
    data = wanted(request)
    place, environment, deployment = _allowed(backends, grant)
    return Prepared(
        place, environment, deployment, request, plan_seed(backends, grant, data, deployment, emptied=emptied)
    )


def carry_out(gate: Gate, prepared: Prepared, progress: Progress) -> Seeded:
    """Make the prepared changes, and return their outcome. Without changes nothing is written.

    If a change of one user or organization fails, because another command was faster or Supabase refused it, the result
    says so and the other changes are made. Raises: Refused `db.protected`; Denied; BackendUnavailable and Conflict that
    do not concern one user only: run it again; KeyboardInterrupt, after the changes that have begun.
    """
    if not prepared.plan.writes:
        return prepared.seeded()
    gate.perform(_begin, use_cases.SEED, prepared)
    with between_steps() as ended:
        changes, password = prepared.plan.changes, prepared.request.password
        changes.password = None if password is None else bcrypt_hash(password)
        changes.make(WorkerPool(gate, ended, progress))
    return prepared.seeded()


def _allowed(backends: Backends, grant: Grant) -> tuple[Place, str, uuid.UUID]:
    """Return the database for the demo data, its environment and its deployment; refuse a protected one.

    The marker is read over DATABASE_URL, not over the connection for migrations.
    """
    from bazar_cli.adapters.postgres import marker

    status = backends.migrator(grant).status()
    with backends.database().read(grant) as connection:
        found = marker.find_if_any(connection)
        name = marker.name(connection)
    said = None if found is None else Marker(found.environment, found.protected)
    place = replace(status.place, database=name, marker=said)
    refuse_protected(replace(status, place=place), "seeding", embedded=backends.target.source.embedded)
    if found is None:
        raise no_marker()
    return place, found.environment, found.id


def _begin(backends: Backends, grant: Grant, prepared: Prepared) -> None:
    """Check the marker again, and record the event of this run."""
    from bazar_cli.adapters.postgres.audit import events

    grant.demand(use_cases.SEED)
    place, _, deployment = _allowed(backends, grant)
    if deployment != prepared.deployment:
        raise Conflict("seed.database_changed", "the database was reset or recreated meanwhile", hint="run it again")
    plan = prepared.plan
    after: dict[str, object] = {
        "new_organizations": sum(o.outcome is Outcome.CREATED for o in plan.organizations),
        "created": plan.count(Outcome.CREATED),
        "taken_back": plan.count(Outcome.TAKEN_BACK),
        "completed": plan.count(Outcome.COMPLETED),
    }
    with backends.database().transaction(grant) as connection:
        events.record(connection, grant, events.Change("database", place.database, after=after))
