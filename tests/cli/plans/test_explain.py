"""`bazar plans explain`: every step to the decision, what would change it, and nothing of what is out of reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Plan, Role
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


def test_every_step_and_what_would_change_it(as_user: AsUser, people: People) -> None:
    org = people.org()
    me = people.user({org: Role.MEMBER})
    bazar = as_user(me)
    no = bazar("plans", "explain", "users:create", "--org", org.slug, "-o", "json").ok().json
    assert list(no) == [
        *("allowed", "permission", "user_id", "email", "plan", "organization", "steps", "decision", "changes"),
    ]
    assert [(s["step"], s["value"], s["ok"]) for s in no["steps"]] == [
        ("user", me.email, True),
        ("state", "active", True),
        ("plan", "free", False),
        ("superuser", "no", True),
        ("organization", org.slug, True),
        ("role", "member", False),
    ]
    assert (no["allowed"], no["decision"]) == (False, no["steps"][2]["why"])
    who = f"an owner of {org.slug}, or a superuser, on a plan with members:manage"
    assert no["changes"] == [
        f"`bazar plans assign {me.email} premium` (a superuser on Premium)",
        "or `bazar plans grant free users:create` (a superuser on Premium; for everybody on Free)",
        f"`bazar orgs members update {org.slug} {me.email} --role admin` ({who})",
    ]
    check = bazar("plans", "check", "users:create", "--org", org.slug, "-o", "json")
    assert (check.code, check.json["reason"]) == (9, no["decision"])
    table = bazar("plans", "explain", "users:read").ok().out.splitlines()
    assert table[0] == "allowed\tyes"
    assert f"steps\tyes user {me.email}: not a superuser" in table
    assert "steps\tyes role: the target decides: oneself, and users who share an organization" in table
    assert [line for line in table if line.startswith("changes")] == ["changes\t"]


def test_nothing_of_an_organization_out_of_reach(as_user: AsUser, people: People) -> None:
    acme, beta = people.org(), people.org()
    bazar = as_user(people.user({acme: Role.OWNER}, plan=Plan.PREMIUM))
    here = people.user({acme: Role.MEMBER}, plan=Plan.PREMIUM)
    both = people.user({acme: Role.MEMBER, beta: Role.OWNER}, plan=Plan.PREMIUM)
    for words in (("users:update",), ("users:update", "--org", acme.slug), ("orgs:read",)):
        said = [
            bazar("plans", "explain", *words, "--user", one.email, "-o", "json").ok().out.replace(one.email, "WHO")
            for one in (here, both)
        ]
        assert said[0].replace(str(here.id), "ID") == said[1].replace(str(both.id), "ID")
        assert beta.slug not in said[1]
    for reference in (("--user", people.user({beta: Role.MEMBER}).email), ("--user", both.email, "--org", beta.slug)):
        assert bazar("plans", "explain", "users:read", *reference).code == 3
