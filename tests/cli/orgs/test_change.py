"""`bazar orgs update` and `bazar orgs delete`: what a user sees."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from typing import Any

import pytest

from bazar_cli.domain.entities import Plan, Role
from tests.support.cli import Bazar
from tests.support.people import RUN, Org, People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
terminal: Any = import_module("pexpect")


def exists(people: People, org: Org) -> bool:
    return bool(people.sql("SELECT 1 FROM bazar.organizations WHERE id = %s", org.id))


def test_update_changes_the_given_fields(admin: Bazar, people: People) -> None:
    org, slug = people.org(name="Old"), f"org-{RUN}-{secrets.token_hex(5)}"
    planned = admin("orgs", "update", org.slug, "--slug", slug, "-n", "-o", "json").ok()
    assert (planned.json["slug"], "nothing was written" in planned.err) == (slug, True)
    done = admin("orgs", "update", org.slug, "--name", "New", "--slug", slug, "-o", "json").ok()
    assert list(done.json) == ["id", "slug", "name", "members", "created_at", "updated_at"]
    assert (done.json["id"], done.json["slug"], done.json["name"]) == (str(org.id), slug, "New")
    assert "nothing was changed" not in planned.err + done.err
    again = admin("orgs", "update", slug, "--name", "New", "-o", "json").ok()
    assert (again.json, f"{slug} already has these values; nothing was changed" in again.err) == (done.json, True)
    assert admin("orgs", "get", org.slug).code == 3
    nothing = admin("orgs", "update", slug, "-o", "json")
    assert (nothing.code, nothing.error["code"]) == (2, "orgs.nothing_to_update")
    for option, value, code in (("--slug", "A b", "orgs.slug_invalid"), ("--name", " ", "orgs.name_invalid")):
        bad = admin("orgs", "update", slug, option, value, "-o", "json")
        assert (bad.code, bad.error["code"]) == (2, code)


def test_delete_shows_its_effects_and_asks_for_the_slug(as_user: AsUser, people: People) -> None:
    org, other = people.org(), people.org()
    people.user({org: Role.MEMBER})
    bazar = as_user(people.user({org: Role.OWNER, other: Role.OWNER}, plan=Plan.PREMIUM))
    for words in ((), ("--yes",), ("--confirm", "another")):
        done = bazar("orgs", "delete", str(org.id), *words)
        assert (done.code, done.out) == (10, "")
        assert f"deleting {org.slug} ends 2 memberships (owner 1, member 1) and leaves 1 user without" in done.err
        assert f"`bazar orgs delete {org.slug} --confirm {org.slug}`" in done.err
    shown = bazar("orgs", "delete", org.slug, "--dry-run", "-o", "json").ok().json
    assert (shown["roles"], shown["left_alone"]) == ({"owner": 1, "admin": 0, "member": 1}, 1)
    assert exists(people, org)
    assert bazar("orgs", "delete", org.slug, "--confirm", org.slug, "-o", "json").ok().json == shown
    assert not exists(people, org)
    assert bazar("orgs", "delete", org.slug, "--confirm", org.slug).code == 3


@pytest.mark.parametrize("typed", ["slug", "yes"])
def test_delete_on_a_terminal_shows_its_effects_and_takes_the_slug(admin: Bazar, people: People, typed: str) -> None:
    org = people.org()
    program, *words = admin.command("orgs", "delete", str(org.id))
    screen: Any = terminal.spawn(program, words, env=dict(admin.environment()), encoding="utf-8", timeout=30)
    with closing(screen):
        screen.expect(f"deleting {org.slug} ends 0 memberships and leaves 0 users without any organization")
        screen.expect("Type the slug to do it: ")
        screen.sendline(org.slug if typed == "slug" else typed)
        screen.expect(terminal.EOF)
    assert screen.exitstatus == (0 if typed == "slug" else 10)
    assert exists(people, org) == (typed != "slug")
