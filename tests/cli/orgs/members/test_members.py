"""`bazar orgs members`: list, add, update and remove as a user sees them, and an organization handed over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from typing import Any

import pytest

from bazar_cli.domain.entities import Plan, Role
from tests.support.cli import Bazar
from tests.support.people import Org, People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
terminal: Any = import_module("pexpect")
CHANGE = ["organization", "user_id", "email", "role", "previous_role", "changed"]


@pytest.fixture
def acme(people: People) -> Org:
    return people.org()


@pytest.fixture
def owner(as_user: AsUser, people: People, acme: Org) -> Bazar:
    return as_user(people.user({acme: Role.OWNER}, plan=Plan.PREMIUM))


def test_list_in_pages_formats_and_by_role(owner: Bazar, people: People, acme: Org) -> None:
    foreign = people.org(name="The Secret Org")
    mia = people.user({acme: Role.MEMBER, foreign: Role.OWNER}, name="Mia")
    words = ("orgs", "members", "list", acme.slug)
    whole = owner(*words, "-o", "json").ok().json
    assert list(whole["items"][1]) == ["user_id", "email", "name", "role", "state", "joined_at"]
    assert [m["role"] for m in whole["items"]] == ["owner", "member"]
    assert whole["items"][1]["name"] == "Mia"
    first = owner(*words, "--limit", "1", "-o", "json").ok().json
    rest = owner(*words, "--limit", "1", "--cursor", first["next_cursor"], "-o", "json").ok().json
    assert first["items"] + rest["items"] == whole["items"]
    assert owner(*words, "--role", "member", "-o", "ids").ok().out == f"{mia.id}\n"
    assert owner(*words, "--all", "--limit", "1").ok().out.splitlines()[0] == "EMAIL\tNAME\tROLE\tSTATE\tJOINED_AT"
    shown = "".join(owner(*words, "-o", shape).ok().out for shape in ("json", "csv", "yaml", "table"))
    assert foreign.slug not in shown
    assert str(foreign.id) not in shown
    orgs = owner("orgs", "list", "--limit", "1", "-o", "json").json["next_cursor"] or "nonsense"
    assert owner(*words, "--cursor", orgs, "-o", "json").error["code"] == "list.cursor_invalid"
    assert owner(*words, "--limit", "0", "-o", "json").error["code"] == "list.limit_invalid"
    assert owner("orgs", "members", "list", foreign.slug).code == 3


def test_add_twice_and_with_another_role(admin: Bazar, people: People, acme: Org) -> None:
    foreign = people.org()
    who = people.user({foreign: Role.OWNER})
    words = ("orgs", "members", "add", acme.slug, who.email.upper())
    assert admin(*words, "-n", "-o", "json").ok().json["changed"] is True
    added = admin(*words, "-o", "json").ok()
    assert list(added.json) == CHANGE
    assert (added.json["role"], added.json["previous_role"], added.json["changed"]) == ("member", None, True)
    assert foreign.slug not in added.out
    again = admin(*words).ok()
    assert f"{who.email} is member of {acme.slug} already; nothing was changed" in again.err
    other = admin(*words, "--role", "owner", "-o", "json")
    assert (other.code, other.error["code"]) == (6, "members.differs")
    assert len(people.events(who.id)) == 1


def test_an_organization_is_handed_over(owner: Bazar, people: People, acme: Org) -> None:
    me = owner("users", "me", "-o", "ids").ok().out.strip()
    heir = people.user({acme: Role.MEMBER})
    update = ("orgs", "members", "update", acme.slug)
    last = owner(*update, me, "--role", "member", "-o", "json")
    assert (last.code, last.error["code"]) == (6, "users.last_owner")
    assert f"`bazar orgs members update {acme.slug} USER --role owner`" in last.error["hint"]
    assert owner(*update, heir.email, "--role", "owner", "-o", "json").ok().json["previous_role"] == "member"
    owner(*update, me, "--role", "member").ok()
    done = owner(*update, heir.email, "--role", "member", "-o", "json")
    assert (done.code, done.error["code"]) == (5, "access.role")
    (denial,) = people.sql("SELECT use_case FROM bazar.audit_events WHERE operator_id = %s AND outcome = 'denied'", me)
    assert denial["use_case"] == "orgs.members.update"
    assert owner(*update, heir.email).code == 2


def test_remove_asks_and_is_repeatable(owner: Bazar, people: People, acme: Org) -> None:
    who = people.user({acme: Role.ADMIN})
    words = ("orgs", "members", "remove", acme.slug, who.email)
    asked = owner(*words, "-o", "json")
    assert (asked.code, asked.out, asked.error["code"]) == (10, "", "input.consent")
    told = f"this removes the role admin of {who.email} in {acme.slug}. Remove {who.email} from {acme.slug}?"
    assert asked.error["message"] == f"{told} Nothing was done"
    assert asked.error["details"] == {"organization": acme.slug, "user_id": str(who.id), "role": "admin"}
    assert f"`bazar {' '.join(words)} --yes`" in asked.error["hint"]
    assert owner(*words, "--dry-run", "-o", "json").ok().json["previous_role"] == "admin"
    assert people.events(who.id) == []
    assert owner(*words, "--yes", "-o", "json").ok().json["role"] is None
    assert len(people.events(who.id)) == 1
    # Of nobody within reach any more; a superuser sees that it is already so.
    assert owner(*words, "--yes").code == 3


def test_change_that_is_already_made_needs_no_consent(admin: Bazar, people: People, acme: Org) -> None:
    who = people.user()
    done = admin("orgs", "members", "remove", acme.slug, who.email, "-o", "json").ok()
    assert done.json["changed"] is False
    assert f"{who.email} is not a member of {acme.slug}; nothing was changed" in done.err


def test_remove_on_a_terminal(admin: Bazar, people: People, acme: Org) -> None:
    who = people.user({acme: Role.MEMBER})
    program, *words = admin.command("orgs", "members", "remove", acme.slug, who.email)
    screen: Any = terminal.spawn(program, words, env=dict(admin.environment()), encoding="utf-8", timeout=30)
    with closing(screen):
        screen.expect(r"this removes the role member of .* Remove .* from .*\? \[y/N\] ")
        screen.sendline("y")
        screen.expect(terminal.EOF)
    assert screen.exitstatus == 0
    assert people.sql("SELECT 1 FROM bazar.memberships WHERE user_id = %s", who.id) == []
