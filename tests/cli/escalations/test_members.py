"""Rising by a membership: one's own, another's, or one in an organization that is not one's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Plan, Role
from tests.cli.escalations.conftest import JSON, Attack, World, told
from tests.support.cli import Bazar
from tests.support.people import People, Someone

AsUser = Callable[[Someone], Bazar]
ROLE, PLAN, PLATFORM = (5, "access.role"), (5, "access.plan"), (5, "access.platform")
NO_USER, NO_ORG, LAST = (3, "users.not_found"), (3, "orgs.not_found"), (6, "users.last_owner")
MEMBERS = ("orgs", "members")


def test_admin_changes_no_member_at_or_above_their_role(attack: Attack, admin_of_acme: Bazar, world: World) -> None:
    acme = world.acme.slug
    me = admin_of_acme("users", "me", "-o", "ids").ok().out.strip()
    tries = [
        ("update", acme, me, "--role", "owner"),
        ("add", acme, me, "--role", "owner"),
        ("add", acme, world.member.email, "--role", "admin"),
        ("add", acme, world.shared.email, "--role", "owner"),
        ("update", acme, world.member.email, "--role", "admin"),
        ("update", acme, world.admin.email, "--role", "member"),
        ("update", acme, world.owner.email, "--role", "member"),
        ("remove", acme, world.admin.email, "--yes"),
        ("remove", acme, world.owner.email),
    ]
    for words in tries:
        attack(admin_of_acme, *MEMBERS, *words, ends=ROLE)
    attack(admin_of_acme, *MEMBERS, *tries[0], "--dry-run", ends=ROLE)
    attack(admin_of_acme, "orgs", "delete", acme, "--confirm", acme, ends=ROLE)


@pytest.mark.parametrize(("role", "plan", "ends"), [(Role.MEMBER, Plan.PREMIUM, ROLE), (Role.OWNER, Plan.PLUS, PLAN)])
def test_member_management_requires_role_and_plan(
    attack: Attack, as_user: AsUser, people: People, world: World, role: Role, plan: Plan, ends: tuple[int, str]
) -> None:
    bazar, acme = as_user(people.user({world.acme: role}, plan=plan)), world.acme.slug
    for words in (
        (*MEMBERS, "add", acme, world.member.email),
        (*MEMBERS, "update", acme, world.member.email, "--role", "member"),
        (*MEMBERS, "remove", acme, world.member.email, "--yes"),
        ("orgs", "update", acme, "--name", "Pwned"),
        ("orgs", "delete", acme),
    ):
        attack(bazar, *words, ends=ends)


def test_owner_acts_on_their_own_organization_only(
    attack: Attack, as_user: AsUser, people: People, world: World
) -> None:
    bazar = as_user(people.user({world.beta: Role.OWNER}, plan=Plan.PREMIUM))
    texts: set[str] = set()
    for acme in (world.acme.slug, "nowhere"):
        for words in (
            (*MEMBERS, "add", acme, world.shared.email, "--role", "owner"),
            (*MEMBERS, "update", acme, world.shared.email, "--role", "owner"),
            (*MEMBERS, "remove", acme, world.shared.email, "--yes"),
            (*MEMBERS, "list", acme),
            ("orgs", "update", acme, "--name", "Pwned"),
            ("orgs", "delete", acme, "--confirm", acme),
        ):
            texts.add(told(attack(bazar, *words, ends=NO_ORG), acme))
    assert len(texts) == 1


def test_user_out_of_reach_cannot_be_added(attack: Attack, as_user: AsUser, people: People, world: World) -> None:
    bazar = as_user(people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM))
    texts: set[str] = set()
    for whom in (world.alone.email, world.foreign.email, "nobody.at.all@example.com"):
        texts.add(told(attack(bazar, *MEMBERS, "add", world.acme.slug, whom, ends=NO_USER), whom))
        attack(bazar, "users", "update", whom, "--name", "Pwned", ends=NO_USER)
        attack(bazar, "users", "update", whom, "--email", "mine@example.com", ends=PLATFORM)
        attack(bazar, "users", "reset-password", whom, "--print-link", ends=PLATFORM)
        attack(bazar, "users", "reset-password", whom, ends=NO_USER)
    assert len(texts) == 1


def test_member_taken_in_from_a_shared_organization_is_not_ruled(
    attack: Attack, as_user: AsUser, people: People, world: World
) -> None:
    """Adding gives no right over whom another organization has too, and shows nothing of it."""
    mine = people.org()
    bazar = as_user(people.user({mine: Role.OWNER, world.acme: Role.MEMBER}, plan=Plan.PREMIUM))
    done = bazar(*MEMBERS, "add", mine.slug, world.shared.email, *JSON).ok()
    shown = done.out + bazar(*MEMBERS, "list", mine.slug, *JSON).ok().out
    shown += bazar(*MEMBERS, "update", mine.slug, world.shared.email, "--role", "admin", *JSON).ok().out
    for secret in (world.beta.slug, str(world.beta.id), "The Secret Org", world.acme.slug):
        assert secret not in shown
    attack(bazar, "users", "update", world.shared.email, "--name", "Pwned", ends=ROLE)
    attack(bazar, "users", "delete", world.shared.email, "--confirm", world.shared.email, ends=ROLE)


def test_last_owner_is_kept_for_every_operator(attack: Attack, as_user: AsUser, admin: Bazar, people: People) -> None:
    org = people.org()
    last = people.user({org: Role.OWNER}, plan=Plan.PREMIUM)
    for bazar in (as_user(last), admin):
        attack(bazar, *MEMBERS, "remove", org.slug, last.email, "--yes", ends=LAST)
        attack(bazar, *MEMBERS, "update", org.slug, last.email, "--role", "admin", ends=LAST)
        attack(bazar, *MEMBERS, "remove", org.slug, last.email, "--dry-run", ends=LAST)
