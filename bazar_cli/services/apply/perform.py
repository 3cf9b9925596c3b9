"""Make changes, each by the service of its command with its own Grant and event, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bazar_cli.domain import plans
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Grant, Spec
from bazar_cli.domain.consent import ConsentNeeded, with_consent
from bazar_cli.domain.declared.changes import Change, Outcome, Result, failed
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import BazarError, Conflict, Denied, NotFound, UsageError
from bazar_cli.domain.orgs import members, organizations
from bazar_cli.domain.orgs.members import AddMember, RemoveMember, UpdateMember
from bazar_cli.domain.orgs.organizations import CreateOrganization, GetOrganization, UpdateOrganization
from bazar_cli.domain.plans import AssignPlan, EditPlan
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users.changes import CreatedUser, CreateUser, NewPassword, RestoreUser, SuspendUser, UpdateUser
from bazar_cli.services.apply.compare import staged
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.orgs import members as member_services
from bazar_cli.services.orgs import organizations as org_services
from bazar_cli.services.plans import changes as plan_services
from bazar_cli.services.users import create, suspend, update

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

_ENDS_THE_RUN = frozenset(
    {
        *("access.changed", "access.plan", "access.suspended", "access.unknown_operator"),
        *("db.no_marker", "db.not_migrated", "supabase.key_refused"),
    }
)
"""Errors that do not concern one change only: they end the run."""
MEANWHILE = "another command created it meanwhile"


@dataclass(frozen=True)
class _Call:
    """A use case with its request."""

    spec: Spec
    service: Callable[[Backends, Grant, Any], Any]
    request: object


@dataclass
class Changes:
    """The changes of one run, and their results so far.

    Parameters: `operator` is the address of the operator; `reason` is why users are suspended, for the audit log;
    `password` is the bcrypt hash for new users; `ids` are chosen ids of new users by address.
    """

    all: tuple[Change, ...]
    operator: str
    reason: str
    password: Secret | None = None
    ids: Mapping[str, UUID] = field(default_factory=dict[str, UUID])
    results: dict[Change, Result] = field(default_factory=dict[Change, Result])
    made_ids: dict[str, UUID] = field(default_factory=dict[str, UUID])
    """The ids of users that were created or found."""
    _failed: set[str] = field(default_factory=set[str])
    """Addresses and slugs that could not be created."""
    _has_written: bool = False

    def call_of(self, change: Change) -> tuple[Spec, object]:
        """Return the use case of a change, and its request."""
        call = self._call(change)
        return call.spec, call.request

    def authorize(self, gate: Gate, *, dry_run: bool) -> None:
        """Ask the gate for every change, so that a denial comes before the first write.

        The gate decides by the use case and by the fields of the request that require more, so changes that are equal
        in these are asked once. Raises: Denied.
        """
        asked: set[tuple[object, ...]] = set()
        for change in self.all:
            call = self._call(change)
            decisive = (
                call.spec.name,
                *(getattr(call.request, name) in rule.free for name, rule in call.spec.fields.items()),
            )
            if decisive not in asked:
                asked.add(decisive)
                gate.authorize(call.spec, call.request, dry_run)

    def make(self, workers: WorkerPool) -> None:
        """Make all changes, in their order.

        A change that fails is noted, and the others are made. A denial before anything was written ends the run.
        Raises: Denied; BackendUnavailable and Conflict that do not concern one change only; KeyboardInterrupt.
        """
        for stage, changes in staged(self.all).items():
            workers.each(changes, lambda gate, change: self._make(workers, gate, change), stage)

    def ordered_results(self) -> Iterator[Result]:
        """Yield the result of each change."""
        return (self.results.get(change, Result(change, Outcome.NOT_BEGUN)) for change in self.all)

    def _make(self, workers: WorkerPool, gate: Gate, change: Change) -> None:
        missing = self._missing(change)
        if missing is not None:
            self._fails(change, Conflict("apply.depends", f"{missing} could not be created"))
            return
        try:
            self.results[change] = workers.patiently(lambda: self._perform(gate, change))
        except (Conflict, Denied, NotFound, UsageError) as error:
            if error.code in _ENDS_THE_RUN or (isinstance(error, Denied) and not self._has_written):
                raise
            self._fails(change, error)

    def _fails(self, change: Change, error: BazarError) -> None:
        self.results[change] = failed(change, error)
        if change.use_case in {"users.create", "orgs.create"}:
            self._failed.add(change.user or change.organization or "")

    def _missing(self, change: Change) -> str | None:
        """Return the user or organization that a change needs and that could not be created."""
        needed = (change.user, change.organization, change.given("organization"))
        return next((one for one in needed if one in self._failed), None)

    def _perform(self, gate: Gate, change: Change) -> Result:
        call = self._call(change)
        try:
            done = _agreed(gate, call)
        except Conflict as conflict:
            if conflict.code != "orgs.slug_exists":
                raise
            return self._take_over(gate, change, conflict)
        if isinstance(done, CreatedUser) and change.user is not None:
            self.made_ids[change.user] = done.user.id
        is_changed = getattr(done, "created", getattr(done, "changed", True))
        self._has_written |= is_changed
        return Result(change, Outcome.DONE if is_changed else Outcome.UNCHANGED)

    def _take_over(self, gate: Gate, change: Change, conflict: Conflict) -> Result:
        """Add the owner to an organization that another command created meanwhile.

        Raises: the conflict, if the operator cannot see the organization.
        """
        slug, owner = change.organization or "", self._owner(change)
        try:
            gate.perform(org_services.get, organizations.GET, GetOrganization(slug))
        except NotFound:
            raise conflict from None
        if owner is not None:
            gate.perform(member_services.add, members.ADD, AddMember(slug, owner, Role.OWNER))
        return Result(change, Outcome.UNCHANGED, message=MEANWHILE)

    def is_operators(self, change: Change) -> bool:
        """Whether a new organization gets the operator as its owner, also because the declared one is missing."""
        owner = change.new("owner")
        return owner == self.operator or owner in self._failed

    def _owner(self, change: Change) -> str | None:
        return None if self.is_operators(change) else change.new("owner")

    def _call(self, change: Change) -> _Call:
        user, slug, plan = change.user or "", change.organization or "", change.plan or ""
        match change.use_case:
            case "orgs.create":
                return _Call(
                    organizations.CREATE,
                    org_services.create,
                    CreateOrganization(change.new("name"), slug, self._owner(change)),
                )
            case "orgs.members.add":
                return _Call(members.ADD, member_services.add, AddMember(slug, user, Role(change.new("role"))))
            case "orgs.members.remove":
                return _Call(members.REMOVE, member_services.remove, RemoveMember(slug, user))
            case "orgs.members.update":
                return _Call(members.UPDATE, member_services.update, UpdateMember(slug, user, Role(change.new("role"))))
            case "orgs.update":
                request = UpdateOrganization(slug, name=change.new("name"))
                return _Call(organizations.UPDATE, org_services.update, request)
            case "plans.assign":
                return _Call(plans.ASSIGN, plan_services.assign, AssignPlan(user, Plan(change.new("plan"))))
            case "plans.grant":
                edit = EditPlan(Plan(plan), Permission(change.new("permission")))
                return _Call(plans.GRANT, plan_services.grant_permission, edit)
            case "plans.revoke":
                edit = EditPlan(Plan(plan), Permission(change.old("permission")))
                return _Call(plans.REVOKE, plan_services.revoke_permission, edit)
            case "users.create":
                return self._creation(user, change)
            case "users.restore":
                return _Call(user_changes.RESTORE, suspend.restore, RestoreUser(user))
            case "users.suspend":
                return _Call(user_changes.SUSPEND, suspend.suspend, SuspendUser(user, self.reason))
            case "users.update":
                return _Call(user_changes.UPDATE, update.update, UpdateUser(user, name=change.given("name") or ""))
            case unknown:
                raise ValueError(f"{unknown} is not a use case of declared state")

    def _creation(self, email: str, change: Change) -> _Call:
        """Return the creation of a user, with the membership that is given with it."""
        role, plan = change.given("role"), change.given("plan")
        request = CreateUser(
            email,
            name=change.given("name"),
            organization=change.given("organization"),
            role=None if role is None else Role(role),
            plan=None if plan is None else Plan(plan),
            password=None if self.password is None else NewPassword(bcrypt_hash=self.password),
            if_not_exists=True,
        )

        def create_with_id(backends: Backends, grant: Grant, given: CreateUser) -> CreatedUser:
            return create.create(backends, grant, given, chosen_id=self.ids.get(email))

        return _Call(user_changes.CREATE, create_with_id, request)


def _agreed(gate: Gate, call: _Call) -> Any:
    """Make a change; the operator has agreed to all changes as a whole."""
    try:
        return gate.perform(call.service, call.spec, call.request)
    except ConsentNeeded as needed:
        return gate.perform(call.service, call.spec, with_consent(call.request, needed.impact))
