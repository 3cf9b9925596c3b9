"""`bazar plans grant` and `revoke`: the table changes for everybody on the plan, after consent where it takes away."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import pytest

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import People

JSON = ("-o", "json")
GRANT = ("plans", "grant", "plus", "users:create")
REVOKE = ("plans", "revoke", "plus", "users:create")


@dataclass(frozen=True)
class PlusSystem:
    """A system of its own with a superuser and one user on Plus."""

    people: People
    admin: Bazar
    plus_email: str

    def plus_allows(self, permission: str) -> bool:
        """Ask `plans check` for the user on Plus."""
        done = self.admin("plans", "check", permission, "--user", self.plus_email)
        assert done.code in {0, 9}
        return done.code == 0

    def events(self) -> list[str]:
        """The use cases that changed a plan, the oldest first."""
        found = self.people.sql("SELECT use_case FROM bazar.audit_events WHERE target_type = 'plan' ORDER BY seq")
        return [event["use_case"] for event in found]


@pytest.fixture
def system(fresh_database: Callable[..., str], nobody: Bazar, target: Target) -> Generator[PlusSystem]:
    """The seeded plans."""
    own = replace(target, database_url=Secret(fresh_database(migrated=True)))
    with People(own) as people:
        ruler, plus = people.superuser(), people.user(plan=Plan.PLUS)
        people.identity(ruler)
        admin = nobody.on(own).having(BAZAR_TOKEN=people.access_token(ruler))
        yield PlusSystem(people, admin, plus.email)


@pytest.fixture
def granted(system: PlusSystem) -> PlusSystem:
    """Plus with `users:create`."""
    system.admin(*GRANT).ok()
    return system


def test_grant_counts_for_everybody_on_the_plan_at_once(system: PlusSystem) -> None:
    assert not system.plus_allows("users:create")
    system.admin(*GRANT).ok()
    assert system.plus_allows("users:create")
    assert system.events() == ["plans.grant"]


def test_grant_shows_the_plan_and_how_many_users_it_has(system: PlusSystem) -> None:
    given = system.admin(*GRANT, *JSON).ok().json
    assert list(given) == ["name", "title", "permissions", "permission", "changed", "active", "suspended"]
    assert (given["name"], given["permission"], given["changed"], given["active"]) == ("plus", "users:create", True, 1)
    assert "users:create" in given["permissions"]


def test_grant_of_a_present_permission_changes_nothing(granted: PlusSystem) -> None:
    same = granted.admin(*GRANT, *JSON).ok()
    assert not same.json["changed"]
    assert "plus allows users:create already; nothing was changed" in same.err
    assert granted.events() == ["plans.grant"]


def test_revoke_asks_for_consent_and_names_how_many_lose_it(granted: PlusSystem) -> None:
    asked = granted.admin(*REVOKE, *JSON)
    assert (asked.code, asked.error["code"]) == (10, "input.consent")
    assert asked.error["message"] == (
        "1 user on Plus (1 active, 0 suspended) loses users:create. Take users:create from Plus? Nothing was done"
    )
    assert asked.error["hint"] == "to do it: `bazar plans revoke plus users:create --yes`"
    assert asked.error["details"]["active"] == 1
    assert granted.plus_allows("users:create")


def test_dry_run_of_revoke_changes_nothing(granted: PlusSystem) -> None:
    assert "1 user on Plus" in granted.admin(*REVOKE, "-n").ok().err
    assert granted.plus_allows("users:create")
    assert granted.events() == ["plans.grant"]


def test_revoke_takes_a_permission_away(granted: PlusSystem) -> None:
    taken = granted.admin(*REVOKE, "--yes", *JSON).ok()
    assert "1 user on Plus" in taken.err
    assert "users:create" not in taken.json["permissions"]
    assert not granted.plus_allows("users:create")
    assert granted.events() == ["plans.grant", "plans.revoke"]


def test_premium_keeps_what_superusers_need(system: PlusSystem) -> None:
    kept = system.admin("plans", "revoke", "premium", "db:migrate", "--yes", *JSON)
    assert (kept.code, kept.error["code"]) == (6, "plans.protected")
    assert system.events() == []


def test_unknown_permission_is_refused_with_all_that_there_are(system: PlusSystem) -> None:
    unknown = system.admin("plans", "grant", "free", "rockets:launch", *JSON)
    assert (unknown.code, unknown.error["code"]) == (2, "usage.invalid_value")
    assert [p.value for p in Permission if p.value not in unknown.error["message"]] == []
    assert system.events() == []
