"""`bazar plans assign`: an upgrade at once, a downgrade after its impact was shown and agreed to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.entities import Plan
from tests.cli.auth.support import Terminal
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

LOST = [p.value for p in Permission if p in SEEDED_PLANS[Plan.PREMIUM] - SEEDED_PLANS[Plan.FREE]]


def plan_of(people: People, someone: Someone) -> str:
    return (people.row(someone) or {})["plan"]


def test_up_and_down(admin: Bazar, people: People) -> None:
    user = people.user()
    up = admin("plans", "assign", user.email.upper(), "premium", "-o", "json").ok()
    assert up.err == ""
    assert list(up.json)[:4] == ["id", "email", "name", "plan"]
    assert list(up.json)[-4:] == ["previous_plan", "changed", "lost", "gained"]
    assert [up.json[name] for name in ("plan", "previous_plan", "changed", "lost", "gained")] == [
        *("premium", "free", True, [], LOST),
    ]
    asked = admin("plans", "assign", user.email, "free", "-o", "json")
    assert (asked.code, asked.out, asked.error["code"]) == (10, "", "input.consent")
    assert asked.error["hint"] == f"to do it: `bazar plans assign {user.email} free --yes`"
    assert asked.error["details"]["lost"] == LOST
    assert "users:create" in asked.error["message"]
    assert asked.error["message"].endswith(f"Move {user.email} to Free? Nothing was done")
    dry = admin("plans", "assign", user.email, "free", "--dry-run").ok()
    assert f"{user.email} moves from Premium to Free and loses users:create" in dry.err
    assert "dry run: nothing was written" in dry.err
    assert plan_of(people, user) == "premium"
    down = admin("plans", "assign", user.email, "free", "--yes").ok()
    assert f"{user.email} moves from Premium to Free and loses users:create" in down.err
    assert f"lost\t{' '.join(LOST)}\n" in down.out
    assert plan_of(people, user) == "free"
    same = admin("plans", "assign", user.email, "free", "-o", "json").ok()
    assert (same.json["changed"], same.json["previous_plan"]) == (False, "free")
    assert f"{user.email} is on free already; nothing was changed" in same.err
    assert len(people.events(user.id)) == 2


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_is_shown_the_impact_and_asked(admin: Bazar, people: People, answer: str) -> None:
    ruler = people.superuser()
    with Terminal(admin, "plans", "assign", ruler.email, "plus") as terminal:
        terminal.answer("[y/N] ", answer)
        assert terminal.end() == (0 if answer == "y" else 10)
    shown = terminal.seen.replace("\r\n", "\n")
    assert f"{ruler.email} moves from Premium to Plus and loses users:create" in shown
    assert f"{ruler.email} remains a superuser, but superusers need Premium" in shown
    assert f"Move {ruler.email} to Plus? [y/N]" in shown
    assert plan_of(people, ruler) == ("plus" if answer == "y" else "premium")


def test_change_during_a_prompt_asks_again(admin: Bazar, people: People) -> None:
    user = people.user(plan=Plan.PREMIUM)
    with Terminal(admin, "plans", "assign", user.email, "free") as terminal:
        terminal.wait_for("[y/N] ")
        people.sql("UPDATE bazar.users SET plan = 'plus' WHERE id = %s", user.id)
        terminal.answer("", "y")
        terminal.wait_for("moves from Plus to Free and loses files:execute")
        assert plan_of(people, user) == "plus"
        terminal.answer("[y/N] ", "y")
        assert terminal.end() == 0
    assert plan_of(people, user) == "free"


def test_refusals(admin: Bazar, as_user: Callable[[Someone], Bazar], people: People) -> None:
    unknown = admin("plans", "assign", "nobody@example.com", "plus", "-o", "json")
    assert (unknown.code, unknown.error["code"]) == (3, "users.not_found")
    gold = admin("plans", "assign", people.user().email, "gold", "-o", "json")
    assert (gold.code, gold.error["code"]) == (2, "usage.invalid_value")
    me = people.user(plan=Plan.PREMIUM)
    denied = as_user(me)("plans", "assign", me.email, "free", "--yes", "-o", "json")
    assert (denied.code, denied.error["code"]) == (5, "access.platform")
    assert plan_of(people, me) == "premium"
    [event] = people.sql("SELECT use_case, outcome FROM bazar.audit_events WHERE operator_id = %s", me.id)
    assert event == {"use_case": "plans.assign", "outcome": "denied"}
