"""Becoming more than one is, or getting in as somebody else: the flag, links, invitations, adoptions, sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Plan, Role
from tests.cli.escalations.conftest import Attack, Realm, World, told
from tests.cli.escalations.test_last_of_their_kind import LAST, outcomes, run_concurrently
from tests.support.cli import Bazar
from tests.support.people import People, Someone

AsUser = Callable[[Someone], Bazar]
PLATFORM, ROLE, PLAN = (5, "access.platform"), (5, "access.role"), (5, "access.plan")
NO_USER, NO_ORG = (3, "users.not_found"), (3, "orgs.not_found")
WHOM = pytest.mark.parametrize(
    ("whom", "ends"),
    [
        ("owner", ROLE),
        ("admin", ROLE),
        ("ruler", PLATFORM),
        ("shared", ROLE),
        ("foreign", NO_USER),
        ("alone", NO_USER),
    ],
)


def demote(someone: Someone) -> tuple[str, ...]:
    return ("users", "demote", someone.email, "--confirm", someone.email)


@pytest.mark.parametrize("verb", ["promote", "demote"])
def test_only_superusers_change_the_superuser_flag(
    attack: Attack, as_user: AsUser, world: World, people: People, verb: str
) -> None:
    me = people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM)
    bazar = as_user(me)
    attack(bazar, "users", verb, me.email, "--confirm", me.email, ends=PLATFORM)
    texts: set[str] = set()
    for someone in (world.member, world.ruler, world.foreign, Someone(uuid.uuid4(), "nobody@example.com")):
        words = ("users", verb, someone.email, "--confirm", someone.email)
        texts.add(told(attack(bazar, *words, ends=PLATFORM), someone.email))
    assert len(texts) == 1


def test_superuser_below_premium_changes_no_flag_and_adopts_no_identity(
    attack: Attack, as_user: AsUser, world: World, people: People
) -> None:
    bazar = as_user(people.user(plan=Plan.PLUS, superuser=True))
    attack(bazar, "users", "promote", world.member.email, "--confirm", world.member.email, ends=PLAN)
    attack(bazar, *demote(world.ruler), ends=PLAN)
    attack(bazar, "users", "adopt", "nobody@example.com", ends=PLAN)


def test_only_superusers_adopt(attack: Attack, as_user: AsUser, world: World, people: People) -> None:
    stranger = Someone(uuid.uuid4(), "stranger@example.com")
    people.identity(stranger)
    bazar = as_user(people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM))
    texts: set[str] = set()
    for email in (stranger.email, "nobody@example.com", world.foreign.email):
        for more in ((), ("--org", world.acme.slug)):
            texts.add(told(attack(bazar, "users", "adopt", email, *more, ends=PLATFORM), email))
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ((), PLATFORM),
        (("--org", "ACME", "--role", "owner"), ROLE),
        (("--org", "ACME", "--role", "admin"), ROLE),
        (("--org", "ACME", "--plan", "premium"), PLATFORM),
        (("--org", "BETA"), NO_ORG),
    ],
)
def test_admin_invites_no_user_above_or_outside(
    attack: Attack, admin_of_acme: Bazar, world: World, people: People, words: tuple[str, ...], ends: tuple[int, str]
) -> None:
    named = {"ACME": world.acme.slug, "BETA": world.beta.slug}
    given = [named.get(word, word) for word in words]
    attack(admin_of_acme, "users", "create", "guest@example.com", "--invite", *given, ends=ends)
    assert people.sql("SELECT 1 FROM bazar_auth.mails WHERE recipient = 'guest@example.com'") == []


# -- links and mails ----------------------------------------------------------------------------------------


@WHOM
def test_admin_resets_no_password_at_or_above_their_role_or_outside(
    attack: Attack, admin_of_acme: Bazar, world: World, whom: str, ends: tuple[int, str]
) -> None:
    someone: Someone = getattr(world, whom)
    attack.people.identity(someone)
    for named in (someone.email, str(someone.id)):
        attack(admin_of_acme, "users", "reset-password", named, ends=ends)
        attack(admin_of_acme, "users", "reset-password", named, "--dry-run", ends=ends)
        attack(admin_of_acme, "users", "reset-password", named, "--print-link", ends=PLATFORM)
    mails = attack.people.sql("SELECT 1 FROM bazar_auth.mails WHERE recipient = %s", someone.email)
    assert mails == []


def test_only_superusers_print_a_link(attack: Attack, as_user: AsUser, world: World, people: People) -> None:
    me = people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM)
    people.identity(world.member)
    for someone in (me, world.member):
        attack(as_user(me), "users", "reset-password", someone.email, "--print-link", ends=PLATFORM)


# -- sessions -----------------------------------------------------------------------------------------------


@pytest.mark.spread
@WHOM
@pytest.mark.parametrize("verb", ["list", "revoke"])
def test_admin_touches_no_session_at_or_above_them_or_outside(
    attack: Attack, admin_of_acme: Bazar, world: World, whom: str, ends: tuple[int, str], verb: str
) -> None:
    someone: Someone = getattr(world, whom)
    attack.people.identity(someone)
    attack.people.access_token(someone)
    for named in (someone.email, str(someone.id)):
        attack(admin_of_acme, "users", "sessions", verb, named, ends=ends)


@pytest.mark.parametrize("verb", ["list", "revoke"])
def test_exemption_for_oneself_is_for_no_other_user(
    attack: Attack, as_user: AsUser, world: World, people: People, verb: str
) -> None:
    me = people.user({world.acme: Role.OWNER}, plan=Plan.FREE)
    bazar = as_user(me)
    for named in (world.member.email, str(world.member.id), f" {me.email}", f"{{{me.id}}}", "", "%"):
        attack(bazar, "users", "sessions", verb, named, ends=PLAN)


# -- the last superuser -------------------------------------------------------------------------------------


def test_last_active_superuser_is_not_demoted(realm: Realm) -> None:
    last = realm.people.superuser()
    realm.people.user(superuser=True, plan=Plan.PLUS)
    bazar = realm.as_user(last)
    realm.attack(bazar, *demote(last), ends=LAST)
    realm.attack(bazar, *demote(last), "--dry-run", ends=LAST)


@pytest.mark.parametrize("each", ["the other", "themselves"])
def test_of_the_last_two_superusers_one_stays_when_both_are_demoted_at_once(realm: Realm, each: str) -> None:
    ada, bob = realm.people.superuser(), realm.people.superuser()
    first, second = (bob, ada) if each == "the other" else (ada, bob)
    tries = ((realm.as_user(ada), demote(first)), (realm.as_user(bob), demote(second)))
    lost = (6, "access.changed") if each == "the other" else LAST
    assert outcomes(run_concurrently(realm.people, (ada, bob), *tries)) == [(0, ""), lost]
    assert len(realm.people.sql("SELECT 1 FROM bazar.users WHERE is_superuser")) == 1
