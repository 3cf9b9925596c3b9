"""`bazar plans check`: yes is 0, no is 9, and whom one may ask about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


def test_yes_and_no_about_oneself(as_user: AsUser, people: People) -> None:
    me = people.user(plan=Plan.PLUS)
    bazar = as_user(me)
    yes = bazar("plans", "check", "files:execute", "-o", "json").ok().json
    assert list(yes) == ["allowed", "permission", "user_id", "email", "plan", "organization", "reason"]
    assert (yes["allowed"], yes["permission"], yes["user_id"]) == (True, "files:execute", str(me.id))
    assert (yes["email"], yes["plan"], yes["organization"]) == (me.email, "plus", None)
    no = bazar("plans", "check", "files:delete", "-o", "json")
    assert (no.code, no.err, no.json["allowed"]) == (9, "", False)
    assert "Premium has it" in no.json["reason"]
    table = bazar("plans", "check", "files:delete")
    assert table.code == 9
    assert table.out.startswith("allowed\tno\npermission\tfiles:delete\n")


def test_about_another_user_by_id_and_email(admin: Bazar, people: People) -> None:
    free, plus = people.user(), people.user(plan=Plan.PLUS)
    assert admin("plans", "check", "files:execute", "--user", free.email.upper()).code == 9
    assert admin("plans", "check", "files:execute", "--user", str(plus.id)).code == 0
    suspended = people.user(plan=Plan.PREMIUM, state=UserState.SUSPENDED)
    done = admin("plans", "check", "users:read", "--user", suspended.email, "-o", "json")
    assert (done.code, done.json["reason"]) == (9, f"{suspended.email} is suspended")


def test_premium_alone_gives_no_platform_permission(admin: Bazar, people: People) -> None:
    premium, superuser = people.user(plan=Plan.PREMIUM), people.superuser()
    no = admin("plans", "check", "db:migrate", "--user", premium.email, "-o", "json")
    assert (no.code, no.json["allowed"]) == (9, False)
    assert "only superusers" in no.json["reason"]
    admin("plans", "check", "db:migrate", "--user", superuser.email).ok()


def test_in_an_organization_the_role_counts(as_user: AsUser, people: People) -> None:
    org, other = people.org(), people.org()
    boss = people.user({org: Role.ADMIN, other: Role.MEMBER}, plan=Plan.PREMIUM)
    bazar = as_user(boss)
    words = ("plans", "check", "members:manage", "-o", "json", "--org")
    yes = bazar(*words, org.slug).ok().json
    assert (yes["allowed"], yes["organization"]) == (True, org.slug)
    no = bazar(*words, str(other.id))
    assert (no.code, no.json["organization"]) == (9, other.slug)
    assert "needs the role admin, not member" in no.json["reason"]
    colleague = people.user({other: Role.MEMBER}, plan=Plan.PREMIUM)
    outside = bazar(*words, org.slug, "--user", colleague.email)
    assert (outside.code, outside.json["reason"]) == (9, f"{colleague.email} is not a member of {org.slug}")


def test_out_of_reach_reads_as_unknown(as_user: AsUser, people: People) -> None:
    mine, theirs = people.org(), people.org()
    bazar = as_user(people.user({mine: Role.OWNER}, plan=Plan.PREMIUM))
    stranger = people.user({theirs: Role.MEMBER})
    for option, there, absent, code in (
        ("--user", stranger.email, "nobody.at.all@example.com", "users.not_found"),
        ("--org", theirs.slug, "no-such-organization", "orgs.not_found"),
    ):
        first, second = (bazar("plans", "check", "users:read", option, name, "-o", "json") for name in (there, absent))
        assert (first.code, first.out) == (second.code, second.out) == (3, "")
        assert first.error["code"] == second.error["code"] == code
        assert first.error["message"].replace(there, "X") == second.error["message"].replace(absent, "X")


def test_unknown_permission_lists_the_known_ones(admin: Bazar) -> None:
    done = admin("plans", "check", "files:fly", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "usage.invalid_value")
    assert all(p.value in done.error["message"] for p in Permission)
    assert admin("plans", "check").code == 2
    # "-o ids" has nothing to print: refused before anything is asked.
    assert admin("plans", "check", "users:read", "-o", "ids").code == 2


@pytest.mark.embedded
def test_operator_whose_plan_lost_plans_read_is_denied(
    fresh_database: Callable[..., str], nobody: Bazar, target: Target
) -> None:
    alone = replace(target, database_url=Secret(fresh_database(migrated=True)))
    with People(alone) as people:
        me = people.user()
        people.identity(me)
        people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'free' AND permission = 'plans:read'")
        bazar = nobody.on(alone).having(BAZAR_TOKEN=people.access_token(me))
    done = bazar("plans", "check", "users:read", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (5, "", "access.plan")
    assert done.error["details"]["permissions"] == ["plans:read"]
