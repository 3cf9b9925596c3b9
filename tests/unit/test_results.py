"""What results say of themselves: whether something changed, was written or failed, and their words in texts."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timezone
from enum import Enum

import pytest

from bazar_cli.domain import audit, doctor, entities, target
from bazar_cli.domain.authz.permissions import Permission, in_order
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db.marker import no_marker
from bazar_cli.domain.db.migrations import LostTable, Place, Revision
from bazar_cli.domain.db.reset import AuditLog, ResetPlan
from bazar_cli.domain.db.revisions import installed_package
from bazar_cli.domain.demo import seed
from bazar_cli.domain.demo.seed import Outcome, Seeded, SeededOrganization, SeededUser
from bazar_cli.domain.doctor import Check, Diagnosis, Health
from bazar_cli.domain.entities import Plan, Role, User, UserState
from bazar_cli.domain.errors import Conflict, RightsChanged
from bazar_cli.domain.orgs.members import MemberChange
from bazar_cli.domain.plans import AssignedPlan
from bazar_cli.domain.texts import decomposed
from bazar_cli.domain.users.identities import OutcomeUnknown

ENUMS = [
    found
    for module in (audit, doctor, entities, seed, target)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, Enum) and found.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", ENUMS)
def test_a_member_of_an_enum_is_its_value_in_a_text(kind: type[Enum]) -> None:
    assert [str(member) for member in kind] == [member.value for member in kind]


def test_permissions_of_a_newer_release_come_last() -> None:
    known = [permission.value for permission in Permission]
    assert in_order(["new:b", "new:a", *reversed(known)]) == (*known, "new:a", "new:b")


def test_consent_for_any_number_covers_all_users() -> None:
    impact = Impact("it ends", "End it?", "bazar end --yes", users=2)
    assert impact.for_any_number().covers(replace(impact, users=10**9))


def test_a_dry_run_of_a_reset_shows_its_plan() -> None:
    plan = ResetPlan(
        place=Place("host", "shop", None, "18"),
        current="a1",
        head="a2",
        in_place=True,
        missing=(),
        pending=(Revision("a2", "next"),),
        tables=(LostTable("users", 3),),
        unsure=(),
        strangers=("t",),
        dependents=(),
        foreign_keys=("k",),
        superusers=1,
        created_users=2,
        audit=AuditLog(7, "ab"),
        deployment=None,
    )
    shown = plan.result("a@b", 4)
    assert (shown.previous, shown.current, shown.applied, shown.superuser, shown.identities) == (
        *("a1", "a1", (), "a@b", 4),
    )
    same = ("place", "head", "in_place", "pending", "tables", "strangers", "foreign_keys", "audit")
    assert [getattr(shown, name) for name in same] == [getattr(plan, name) for name in same]


def test_refusals_have_their_codes() -> None:
    assert (no_marker().code, installed_package("/lib").code) == ("db.no_marker", "db.installed_package")


def test_changed_rights_name_what_they_refuse_now() -> None:
    stopped = RightsChanged()
    assert (stopped.code, stopped.hint, stopped.details) == ("access.changed", "run it again", {})
    refused = RightsChanged(Conflict("users.busy", "wait", hint="later", details={"email": "a@b"}))
    assert (refused.code, refused.hint) == ("access.changed", "later")
    assert refused.message.endswith("nothing was written: wait")
    assert refused.details == {"email": "a@b", "refusal": "users.busy"}


@pytest.mark.parametrize("outcome", Outcome)
def test_a_seeded_part_is_written_or_failed(outcome: Outcome) -> None:
    user, other = SeededUser(None, "a@b", outcome), SeededUser(None, "b@b", Outcome.EXISTING)
    of_user = Seeded("host", "shop", "local", (), (user, other))
    of_organization = Seeded("host", "shop", "local", (SeededOrganization("acme", "Acme", outcome),), ())
    assert of_user.count(outcome) == (2 if outcome is Outcome.EXISTING else 1)
    for done in (of_user, of_organization):
        assert done.partly_done == (outcome is Outcome.FAILED)
        assert done.writes == (outcome.value in {"created", "taken-back", "completed"})


def test_findings_ask_for_something() -> None:
    checks = tuple(Check(health.value, health, "") for health in Health)
    assert [check.name for check in Diagnosis(checks).findings] == ["warning", "failed"]


def test_a_change_to_the_same_is_no_change() -> None:
    now = datetime.now(timezone.utc)
    user = User(uuid.uuid4(), "a@b", None, Plan.PLUS, UserState.ACTIVE, None, False, (), now, now)
    assert [AssignedPlan(user, plan, (), ()).changed for plan in (Plan.FREE, Plan.PLUS)] == [True, False]
    roles = (None, Role.MEMBER)
    assert [MemberChange("acme", user.id, "a@b", Role.MEMBER, role).changed for role in roles] == [True, False]


def test_text_is_decomposed() -> None:
    assert (decomposed("a"), decomposed("\u00eb")) == ("a", "e\u0308")


@pytest.mark.parametrize(
    ("status", "message", "inside", "database"),
    [(500, "Database error", True, True), (500, "no", True, False), (503, "Database error", False, False)],
)
def test_an_error_of_auths_database_is_told_from_others(
    status: int, message: str, inside: bool, database: bool
) -> None:
    unknown = OutcomeUnknown(message, status=status)
    assert (unknown.failed_inside, unknown.of_its_database) == (inside, database)
