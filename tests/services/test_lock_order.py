"""All locks are taken in one order (`postgres.operator_rights`): no two commands wait for each other in a circle.

Each use case that writes runs once while its statements are read: they lock in that order. Pairs of them run at once on
the same rows, in lockstep: after each statement that locks or writes, each of the two waits for the other to do one
more, unless that one waits for a lock or has ended. So two that lock the same rows in another order meet in a deadlock
nearly always, not once in a thousand runs.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import psycopg
import pytest

from bazar_cli import domain
from bazar_cli.domain import audit as of_audit
from bazar_cli.domain import doctor as of_doctor
from bazar_cli.domain import plans as of_plans
from bazar_cli.domain.audit import VerifyLog
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Spec
from bazar_cli.domain.db.marker import SET_MARKER, SetMarker
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.imports.imports import Via
from bazar_cli.domain.orgs import members as of_members
from bazar_cli.domain.orgs import organizations as of_orgs
from bazar_cli.domain.orgs.members import AddMember, RemoveMember, UpdateMember
from bazar_cli.domain.orgs.organizations import CreateOrganization, DeleteOrganization, UpdateOrganization
from bazar_cli.domain.plans import AssignPlan, EditPlan
from bazar_cli.domain.users import changes as of_users
from bazar_cli.domain.users import sessions as of_sessions
from bazar_cli.domain.users.changes import (
    AdoptUser,
    ChangeSuperuser,
    CreateUser,
    DeleteUser,
    ResetPassword,
    RestoreUser,
    SuspendUser,
    UpdateUser,
)
from bazar_cli.domain.users.sessions import OfUser
from bazar_cli.services.audit import read as audit
from bazar_cli.services.db import marker
from bazar_cli.services.orgs import members
from bazar_cli.services.orgs import organizations as orgs
from bazar_cli.services.plans import changes
from bazar_cli.services.users import adopt, create, delete, reset_password, superusers, suspend, update
from bazar_cli.services.users import sessions as user_sessions
from bazar_cli.services.users.resume import resume
from tests.support.concurrently import ended, run_concurrently
from tests.support.imports import Importing, Row
from tests.support.people import Org, People, Someone, an_address
from tests.support.statements import watched

WHOLE_DATABASE = {"apply", "auth.login", "doctor", "users.imports.undo"} | {
    f"db.{verb}"
    for verb in ("create", "drop", "locks", "merge", "migrate", "redo", "reset", "revision", "rollback", "seed")
}
"""They lock tables or nothing at all, have the migration lock, or are made of the others."""
ONE_EVENT = {"auth.password"}
"""It writes nothing in Postgres but its event."""
_LOCKS = re.compile(r"\b(FOR (NO KEY )?(KEY )?(UPDATE|SHARE)|INSERT INTO|UPDATE|DELETE FROM|pg_advisory_xact_lock)\b")
_LOCKSTEP_SECONDS = 0.05
"""How long one waits for the other's next statement: that one may send no more that locks."""


@dataclass(frozen=True)
class Side:
    """One of two operators, each of whom does something to the other, their organization or what both share."""

    people: People
    me: Someone
    other: Someone
    shared: Org
    mine: Org
    theirs: Org
    guest: Someone
    """A member of the organization that the operators share, and of `mine` and `theirs`."""
    outsider: Someone

    def run(self, service: Any, spec: Spec, request: Any) -> object:
        """Do it with consent to the impact."""
        with People(self.people.target) as own:
            return own.run_agreeing(self.me, service, spec, request)

    def imports(self) -> None:
        """Import new members of the organizations, in one chunk."""
        with People(self.people.target) as own:
            if not own.identities(self.me.email):
                own.identity(self.me)  # an import proves its operator by a session
            importing = Importing(own, self.me)
            file = [Row(roles={self.shared: Role.MEMBER, self.mine: Role.MEMBER}), Row(roles={self.mine: Role.ADMIN})]
            importing.apply(importing.stage(file, Via.API))


Act = Callable[[Side], object]
ACTS: dict[str, Act] = {
    "orgs.create": lambda s: s.run(
        orgs.create, of_orgs.CREATE, CreateOrganization(f"New {uuid.uuid4().hex}", owner=s.other.email)
    ),
    "orgs.update": lambda s: s.run(orgs.update, of_orgs.UPDATE, UpdateOrganization(str(s.mine.id), slug=s.theirs.slug)),
    "orgs.delete": lambda s: s.run(orgs.delete, of_orgs.DELETE, DeleteOrganization(str(s.theirs.id), s.theirs.slug)),
    "orgs.delete shared": lambda s: s.run(
        orgs.delete, of_orgs.DELETE, DeleteOrganization(str(s.shared.id), s.shared.slug)
    ),
    "orgs.members.add": lambda s: s.run(members.add, of_members.ADD, AddMember(s.shared.slug, s.outsider.email)),
    "orgs.members.update": lambda s: s.run(
        members.update, of_members.UPDATE, UpdateMember(s.shared.slug, s.other.email, Role.ADMIN)
    ),
    "orgs.members.remove": lambda s: s.run(
        members.remove, of_members.REMOVE, RemoveMember(s.shared.slug, s.other.email)
    ),
    "orgs.members.remove oneself": lambda s: s.run(
        members.remove, of_members.REMOVE, RemoveMember(s.shared.slug, s.me.email)
    ),
    "plans.assign": lambda s: s.run(changes.assign, of_plans.ASSIGN, AssignPlan(s.other.email, Plan.PLUS)),
    "plans.grant": lambda s: s.run(
        changes.grant_permission, of_plans.GRANT, EditPlan(Plan.FREE, Permission.FILES_EXECUTE)
    ),
    "plans.revoke": lambda s: s.run(
        changes.revoke_permission, of_plans.REVOKE, EditPlan(Plan.PREMIUM, Permission.USERS_DELETE)
    ),
    "users.adopt": lambda s: s.run(adopt.adopt, of_users.ADOPT, AdoptUser(an_address(), organization=s.shared.slug)),
    "users.create": lambda s: s.run(
        create.create, of_users.CREATE, CreateUser(s.other.email, organization=s.shared.slug)
    ),
    "users.create new": lambda s: s.run(
        create.create, of_users.CREATE, CreateUser(f"new.{s.guest.email}", organization=s.shared.slug)
    ),
    "users.delete": lambda s: s.run(delete.delete, of_users.DELETE, DeleteUser(str(s.other.id), s.other.email)),
    "users.delete guest": lambda s: s.run(delete.delete, of_users.DELETE, DeleteUser(s.guest.email, s.guest.email)),
    "users.demote": lambda s: s.run(superusers.demote, of_users.DEMOTE, ChangeSuperuser(s.other.email, s.other.email)),
    "users.import": lambda s: s.imports(),
    "users.promote": lambda s: s.run(
        superusers.promote, of_users.PROMOTE, ChangeSuperuser(s.guest.email, s.guest.email)
    ),
    "users.reset-password": lambda s: s.run(
        reset_password.reset, of_users.RESET_PASSWORD, ResetPassword(s.other.email)
    ),
    "users.restore": lambda s: s.run(suspend.restore, of_users.RESTORE, RestoreUser(str(s.other.id))),
    "users.sessions.revoke": lambda s: s.run(user_sessions.revoke, of_sessions.REVOKE, OfUser(str(s.other.id))),
    "users.suspend": lambda s: s.run(suspend.suspend, of_users.SUSPEND, SuspendUser(s.other.email, "left")),
    "users.update": lambda s: s.run(update.update, of_users.UPDATE, UpdateUser(s.other.email, "Grace")),
    "users.update guest": lambda s: s.run(update.update, of_users.UPDATE, UpdateUser(s.guest.email, s.me.email)),
    "users.update oneself": lambda s: s.run(update.update, of_users.UPDATE, UpdateUser(s.me.email, "Grace")),
    "users.update email": lambda s: s.run(
        update.update, of_users.UPDATE, UpdateUser(str(s.other.id), email=s.me.email)
    ),
    "doctor.fix": lambda s: s.run(resume, of_doctor.FIX, s.other.id),
    "audit.verify": lambda s: s.run(audit.verify, of_audit.VERIFY, VerifyLog()),
    "db.env.set": lambda s: s.run(marker.change, SET_MARKER, SetMarker("tests", protected=False, confirm=None)),
}
"""Every use case that writes rows, in the way in which it meets most of the others."""
OF_MEMBERS = frozenset(
    name
    for name in ACTS
    if not name.startswith(("plans.", "users.adopt", "users.demote", "users.promote", "doctor", "audit", "db."))
    and name not in {"orgs.create", "users.update email"}
)
"""The use cases of operators who are not superusers."""


def test_every_use_case_that_writes_is_among_them() -> None:
    specs = {
        value.name
        for module in pkgutil.walk_packages(domain.__path__, "bazar_cli.domain.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, Spec) and value.writes
    }
    assert specs - WHOLE_DATABASE - ONE_EVENT == {name.partition(" ")[0] for name in ACTS}


# -- each by itself -----------------------------------------------------------------------------------------

_PLACES = (
    "bazar.users",
    "pg_advisory_xact_lock",
    "bazar.organizations",
    "bazar.plans",
    "bazar.memberships",
    "bazar.deployment",
)
"""What is locked, in the order of `adapters.postgres.operator_rights`."""


@dataclass
class Locks:
    """The locks of one transaction: those that break the order."""

    whom: dict[str, str]
    """The ids of users by their addresses."""
    broken: list[str] = field(default_factory=list[str])
    _held: set[str] = field(default_factory=set[str])
    _last: int = 0

    def after(self, cursor: psycopg.Cursor[Any], statement: str, parameters: Any) -> None:
        """Place the locks of a statement; a second lock on the same user does not count."""
        if cursor.connection.info.parameter_status("application_name") == "bazar auth service":
            return  # it signs somebody in, in this process
        if statement.startswith("BEGIN"):
            self._held, self._last = set(), 0
        if "WITH before AS" in statement:
            named = {str(one) for one in parameters["ids"]} | {self.whom[email] for email in parameters["emails"]}
            self._held = named | {str(parameters["operator"])}
            return
        locks = re.search(r"\bFOR (NO KEY )?(KEY )?(UPDATE|SHARE)\b|pg_advisory_xact_lock", statement)
        if locks is None or "SKIP LOCKED" in statement or cursor.rowcount == 0:
            return  # such a lock waits for nobody
        _, place = min((statement.find(name), n) for n, name in enumerate(_PLACES) if name in statement)
        if place == 0:
            rows = cursor.pgresult
            assert rows is not None
            found = {(rows.get_value(n, 0) or b"").decode() for n in range(rows.ntuples)}
            if self._held and not found <= self._held:
                self.broken.append(" ".join(statement.split()))
            self._held |= found
            return
        if place < self._last:
            self.broken.append(" ".join(statement.split()))
        self._last = max(self._last, place)


@pytest.mark.parametrize(
    ("name", "superusers"),
    [*((name, True) for name in sorted(ACTS)), *((name, False) for name in sorted(OF_MEMBERS))],
)
def test_each_takes_its_locks_in_order(apart: People, name: str, superusers: bool) -> None:
    apart.superuser()
    side, _ = sides(apart, superusers=superusers)
    someone = (side.me, side.other, side.guest, side.outsider)
    locks = Locks(defaultdict(str, {one.email: str(one.id) for one in someone}))
    with watched(locks.after):
        ended(lambda: ACTS[name](side))
    assert locks.broken == []


# -- two at once --------------------------------------------------------------------------------------------


_WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Lockstep:
    """Lets two threads take their locks in turns, and hears of each deadlock."""

    def __init__(self, people: People) -> None:
        self.deadlocks: list[str] = []
        self._people = people
        self._turn = threading.Condition()
        self._turns = 0
        self._waits = False
        self._ended = True

    def begin(self) -> None:
        """Begin with two threads."""
        self._waits = self._ended = False

    def end(self) -> None:
        """Note that one of them has ended: nobody waits for it any more."""
        with self._turn:
            self._ended = True
            self._turn.notify()

    def after(self, _cursor: object, statement: str, _parameters: object) -> None:
        """Wait for the other's next lock, unless the other has ended or waits for a lock itself."""
        if not _LOCKS.search(statement):
            return
        with self._turn:
            turn = self._turns
            if self._waits:
                self._waits, self._turns = False, turn + 1
                self._turn.notify()
                return
            self._waits, last = True, time.monotonic() + _LOCKSTEP_SECONDS
            while self._turns == turn and not self._ended and time.monotonic() < last:
                if not self._turn.wait(_LOCKSTEP_SECONDS / 5) and self._people.sql(_WAITING):
                    break
            if self._turns == turn:
                self._waits = False

    def failed(self, error: psycopg.Error) -> None:
        """Note a deadlock."""
        if error.sqlstate == "40P01":
            self.deadlocks.append(str(error))


@pytest.fixture
def lockstep(apart: People) -> Generator[Lockstep]:
    """Watch every statement of this process."""
    watch = Lockstep(apart)
    with watched(watch.after, watch.failed):
        yield watch


def sides(people: People, *, superusers: bool) -> tuple[Side, Side]:
    """Make two operators with common organizations; their ids are in random order."""
    people.seed_plans()
    shared, mine, theirs = (people.org() for _ in range(3))
    roles = {shared: Role.OWNER, mine: Role.OWNER, theirs: Role.OWNER}
    me, other = (people.user(roles, plan=Plan.PREMIUM, superuser=superusers) for _ in range(2))
    guest = people.user(dict.fromkeys(roles, Role.MEMBER))
    outsider = people.user({mine: Role.MEMBER, theirs: Role.MEMBER})
    return (
        Side(people, me, other, shared, mine, theirs, guest, outsider),
        Side(people, other, me, shared, theirs, mine, guest, outsider),
    )


def met(people: People, lockstep: Lockstep, first: str, second: str, *, superusers: bool) -> list[str]:
    """Run a pair at once; return how each ended, deadlocks included."""
    one, two = sides(people, superusers=superusers)
    lockstep.begin()

    def act(name: str, side: Side) -> None:
        try:
            ACTS[name](side)
        finally:
            lockstep.end()

    ends = run_concurrently(lambda: act(first, one), lambda: act(second, two))
    deadlocks = ["deadlock" for _ in lockstep.deadlocks]
    lockstep.deadlocks.clear()
    return [*ends, *deadlocks]


def in_circles(people: People, lockstep: Lockstep, pairs: Iterable[tuple[str, str]], *, superusers: bool) -> object:
    """Return the pairs of which one waited for the other in a circle, and how they ended."""
    people.superuser()
    wrong = {"deadlock", "postgres.busy", "users.busy"}
    ends = {pair: met(people, lockstep, *pair, superusers=superusers) for pair in pairs}
    return {pair: codes for pair, codes in ends.items() if wrong.intersection(codes)}


@pytest.mark.parametrize(
    ("name", "superusers"),
    [*((name, True) for name in sorted(ACTS)), *((name, False) for name in sorted(OF_MEMBERS))],
)
def test_two_of_a_kind_do_not_wait_in_a_circle(apart: People, lockstep: Lockstep, name: str, superusers: bool) -> None:
    assert in_circles(apart, lockstep, [(name, name)], superusers=superusers) == {}


@pytest.mark.long
@pytest.mark.parametrize("superusers", [True, False], ids=["superusers", "owners"])
def test_no_two_wait_in_a_circle(apart: People, lockstep: Lockstep, superusers: bool) -> None:
    names = [name for name in ACTS if superusers or name in OF_MEMBERS]
    assert in_circles(apart, lockstep, combinations(names, 2), superusers=superusers) == {}
