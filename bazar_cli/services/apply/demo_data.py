"""`db seed`: demo users and organizations, each written by the service of its command, with a Grant and an event.

This module itself writes only the event of the run, before everything else. All changes have the request id of that
run. A run that was killed is finished by the next one.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant, Spec
from bazar_cli.domain.consent import ConsentNeeded, Impact
from bazar_cli.domain.db.marker import no_marker
from bazar_cli.domain.db.migrations import Marker, Place, refuse_protected
from bazar_cli.domain.demo import seed as use_cases
from bazar_cli.domain.demo.data import wanted
from bazar_cli.domain.demo.seed import REASON, Outcome, Seed, Seeded, SeededOrganization, SeededUser
from bazar_cli.domain.entities import Plan, UserState
from bazar_cli.domain.errors import Conflict, NotFound, UsageError
from bazar_cli.domain.orgs import members, organizations
from bazar_cli.domain.orgs.members import AddMember
from bazar_cli.domain.orgs.organizations import CreateOrganization
from bazar_cli.domain.progress import Progress, ignored
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.texts import counted
from bazar_cli.domain.users import users
from bazar_cli.domain.users.users import CreatedUser, CreateUser, NewPassword, RestoreUser, SuspendUser
from bazar_cli.services.apply.demo_plan import OrganizationPlan, SeedPlan, UserPlan, plan_seed
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.interrupts import between_steps
from bazar_cli.services.orgs import members as member_services
from bazar_cli.services.orgs import organizations as org_services
from bazar_cli.services.users import create, suspend
from bazar_cli.services.users.passwords import bcrypt_hash

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

_ENDS_THE_RUN = frozenset({"access.changed", "db.no_marker", "db.not_migrated", "supabase.key_refused"})
"""Errors that do not concern one user only: they end the run."""
_MEANWHILE = "another command created it meanwhile"


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
        return Seeded(
            self.place.host,
            self.place.database,
            self.environment,
            tuple(SeededOrganization(o.wanted.slug, o.wanted.name, o.outcome, o.note) for o in self.plan.organizations),
            tuple(
                SeededUser(
                    None if u.outcome is Outcome.FAILED and u.creates else u.id, u.wanted.email, u.outcome, u.note
                )
                for u in self.plan.users
            ),
        )


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
    _may_do_all(gate, prepared.plan, dry_run=dry_run)
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
        workers = WorkerPool(gate, ended, progress)
        password = prepared.request.password
        _Changes(workers, None if password is None else bcrypt_hash(password)).make(prepared.plan)
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


def _may_do_all(gate: Gate, plan: SeedPlan, *, dry_run: bool) -> None:
    """Ask the gate for one change of each planned kind, so that a denial comes before the first write."""

    def ask(spec: Spec, request: object) -> None:
        gate.authorize(spec, request, dry_run)

    of_users = [u for u in plan.users if u.works]
    if any(o.outcome is Outcome.CREATED for o in plan.organizations):
        ask(organizations.CREATE, CreateOrganization("", owner=""))
    new = [u for u in of_users if u.creates]
    if new:
        highest = next((u.wanted.plan for u in new if u.wanted.plan is not Plan.FREE), None)
        role = max((u.first.role for u in new if u.first), key=lambda r: r.rank, default=None)
        ask(users.CREATE, CreateUser(new[0].wanted.email, role=role, plan=highest))
    if any(u.memberships for u in of_users):
        ask(members.ADD, AddMember("", ""))
    if any(u.state is UserState.SUSPENDED for u in of_users):
        ask(users.SUSPEND, SuspendUser("", REASON))
    if any(u.state is UserState.ACTIVE for u in of_users):
        ask(users.RESTORE, RestoreUser(""))


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


@dataclass(frozen=True)
class _Changes:
    """Makes the changes of one run, in the order of their dependencies."""

    workers: WorkerPool
    bcrypt_hash: Secret | None

    def make(self, plan: SeedPlan) -> None:
        """Create owners of new organizations, those organizations, all other users; then memberships; states last."""
        new = [o for o in plan.organizations if o.outcome is Outcome.CREATED]
        owners = list({id(o.owner): o.owner for o in new if o.owner is not None}.values())
        for user in owners:
            self._owns_nothing_yet(user, {o.wanted.slug for o in new})
        self.workers.each([u for u in owners if u.creates], self._create, "owners")
        self.workers.each(new, self._create_organization, "organizations")
        self.workers.each([u for u in plan.users if u.creates and u.works], self._create, "users")
        self.workers.each([u for u in plan.users if u.works and u.memberships], self._add_memberships, "memberships")
        self.workers.each([u for u in plan.users if u.works and u.state is not None], self._set_state, "states")

    def _owns_nothing_yet(self, user: UserPlan, new: set[str]) -> None:
        """Create an owner before the new organization: in an existing organization, else in none."""
        if user.first is not None and user.first.slug in new:
            user.memberships.insert(0, user.first)
            user.first = None

    def _create(self, gate: Gate, user: UserPlan) -> None:
        asked = user.wanted
        request = CreateUser(
            asked.email,
            name=asked.name,
            organization=user.first.slug if user.first else None,
            role=user.first.role if user.first else None,
            plan=asked.plan,
            password=None if self.bcrypt_hash is None else NewPassword(bcrypt_hash=self.bcrypt_hash),
            if_not_exists=True,
        )

        def create_with_id(backends: Backends, grant: Grant, given: CreateUser) -> CreatedUser:
            return create.create(backends, grant, given, chosen_id=user.id)

        with _failure_noted(user):
            made = self.workers.patiently(lambda: gate.perform(create_with_id, users.CREATE, request))
            user.id, user.creates = made.user.id, False
            if not made.created:
                user.outcome, user.note = Outcome.EXISTING, _MEANWHILE

    def _create_organization(self, gate: Gate, organization: OrganizationPlan) -> None:
        asked, owner = organization.wanted, organization.owner
        if owner is not None and owner.outcome is Outcome.FAILED:
            owner = None
        request = CreateOrganization(asked.name, asked.slug, None if owner is None else str(owner.id))
        with _failure_noted(organization):
            try:
                gate.perform(org_services.create, organizations.CREATE, request)
            except Conflict as conflict:
                if conflict.code != "orgs.slug_exists":
                    raise
                organization.outcome, organization.note = Outcome.EXISTING, _MEANWHILE
                return
            if owner is None:
                organization.note = "owned by the operator"
            else:
                owner.memberships = [m for m in owner.memberships if m.slug != asked.slug]

    def _add_memberships(self, gate: Gate, user: UserPlan) -> None:
        with _failure_noted(user):
            for membership in user.memberships:
                request = AddMember(membership.slug, str(user.id), membership.role)
                gate.perform(member_services.add, members.ADD, request)

    def _set_state(self, gate: Gate, user: UserPlan) -> None:
        def change() -> None:
            if user.state is UserState.ACTIVE:
                gate.perform(suspend.restore, users.RESTORE, RestoreUser(str(user.id)))
                return
            asked = SuspendUser(str(user.id), REASON)
            try:
                gate.perform(suspend.suspend, users.SUSPEND, asked)
            except ConsentNeeded as needed:
                # The demo data was agreed to as a whole.
                gate.perform(suspend.suspend, users.SUSPEND, replace(asked, agreed=needed.impact))

        with _failure_noted(user):
            self.workers.patiently(change)


@contextmanager
def _failure_noted(part: UserPlan | OrganizationPlan) -> Generator[None]:
    """Note the failure for one user or organization in the result, and continue with the others."""
    try:
        yield
    except (Conflict, NotFound, UsageError) as error:
        if error.code in _ENDS_THE_RUN:
            raise
        differs = error.code == "users.differs"
        part.outcome, part.note = Outcome.DIFFERS if differs else Outcome.FAILED, error.message
