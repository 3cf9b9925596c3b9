"""`bazar plans grant` and `revoke`: the table changes for everybody on the plan, after consent where it takes away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import People


def test_grant_and_revoke(fresh_database: Callable[..., str], nobody: Bazar, target: Target) -> None:
    own = replace(target, database_url=Secret(fresh_database(migrated=True)))
    with People(own) as people:
        ruler, plus = people.superuser(), people.user(plan=Plan.PLUS)
        people.identity(ruler)
        admin = nobody.on(own).having(BAZAR_TOKEN=people.access_token(ruler))
        words = ("plans", "check", "users:create", "--user", plus.email)
        assert admin(*words).code == 9

        given = admin("plans", "grant", "plus", "users:create", "-o", "json").ok().json
        assert list(given) == [
            *("name", "title", "permissions", "permission", "changed", "active", "suspended"),
        ]
        assert (given["name"], given["permission"], given["changed"], given["active"]) == (
            *("plus", "users:create", True, 1),
        )
        assert "users:create" in given["permissions"]
        admin(*words).ok()
        same = admin("plans", "grant", "plus", "users:create", "-o", "json").ok()
        assert not same.json["changed"]
        assert "plus allows users:create already; nothing was changed" in same.err

        asked = admin("plans", "revoke", "plus", "users:create", "-o", "json")
        assert (asked.code, asked.error["code"]) == (10, "input.consent")
        assert asked.error["message"] == (
            "1 user on Plus (1 active, 0 suspended) loses users:create. Take users:create from Plus? Nothing was done"
        )
        assert asked.error["hint"] == "to do it: `bazar plans revoke plus users:create --yes`"
        assert asked.error["details"]["active"] == 1
        dry = admin("plans", "revoke", "plus", "users:create", "-n").ok()
        assert "1 user on Plus" in dry.err
        admin(*words).ok()
        taken = admin("plans", "revoke", "plus", "users:create", "--yes", "-o", "json").ok()
        assert "1 user on Plus" in taken.err
        assert "users:create" not in taken.json["permissions"]
        assert admin(*words).code == 9

        kept = admin("plans", "revoke", "premium", "db:migrate", "--yes", "-o", "json")
        assert (kept.code, kept.error["code"]) == (6, "plans.protected")
        unknown = admin("plans", "grant", "free", "rockets:launch", "-o", "json")
        assert (unknown.code, unknown.error["code"]) == (2, "usage.invalid_value")
        assert all(p.value in unknown.error["message"] for p in Permission)
        events = people.sql("SELECT use_case FROM bazar.audit_events WHERE target_type = 'plan' ORDER BY seq")
        assert [event["use_case"] for event in events] == ["plans.grant", "plans.revoke"]
