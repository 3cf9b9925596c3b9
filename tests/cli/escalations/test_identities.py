"""Being somebody else: old, foreign and forged tokens, and SUPERUSER_EMAIL where it grants nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt
import pytest

from bazar_cli.adapters.supabase.http import auth_url, key_headers
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from tests.cli.escalations.conftest import JSON, Attack, Realm, World
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import Signer, claims_of, unsigned

AsUser = Callable[[Someone], Bazar]
READ = ("users", "list")
UNKNOWN, INVALID = (5, "access.unknown_operator"), (4, "auth.token_invalid")
SUPERUSER_CLAIMS: Mapping[str, object] = {
    "role": "superuser",
    "is_superuser": True,
    "plan": "premium",
    "bazar": {"role": "superuser", "is_superuser": True, "plan": "premium"},
}


def write(someone: Someone) -> tuple[str, ...]:
    return ("users", "update", someone.email, "--name", "Pwned")


# -- operators who are out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["state = 'suspended'", "pending = 'delete'"])
def test_removed_operator_has_no_right_by_a_token(
    attack: Attack, as_user: AsUser, people: People, world: World, change: str
) -> None:
    me = people.superuser()
    bazar = as_user(me)
    bazar("users", "me").ok()
    people.sql(f"UPDATE bazar.users SET {change} WHERE id = %s", me.id)
    for words in (READ, ("users", "me"), ("auth", "token"), write(me), write(world.member), ("db", "migrate")):
        attack(bazar, *words, ends=(5, "access.suspended"))
    attack(bazar, *write(world.member), "--dry-run", ends=(5, "access.suspended"))


def test_token_of_a_deleted_user_is_refused(
    attack: Attack, as_user: AsUser, people: People, admin: Bazar, world: World
) -> None:
    me = people.superuser()
    bazar = as_user(me)
    admin("users", "delete", me.email, "--confirm", me.email).ok()
    attack(bazar, *READ, ends=UNKNOWN)
    attack(bazar, *write(world.member), ends=(4, "auth.session_revoked"))
    # The address returns, with another id and more rights: the old token is not theirs.
    people.user(email=me.email, plan=Plan.PREMIUM, superuser=True)
    attack(bazar, *READ, ends=UNKNOWN)


# -- tokens of others ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("usurps", [True, False], ids=["under a known key's name", "under its own"])
def test_token_of_another_deployment_is_refused(
    attack: Attack, signed_out: Bazar, people: People, auth_keys: AuthKeys, world: World, usurps: bool
) -> None:
    signer = Signer.stranger(Signer.of(auth_keys).kid if usurps else None)
    bazar = signed_out.having(BAZAR_TOKEN=signer.sign(claims_of(people.superuser())).reveal())
    attack(bazar, *READ, ends=INVALID)
    attack(bazar, *write(world.member), ends=INVALID)


def test_token_without_or_with_a_guessed_signature_is_refused(
    attack: Attack, signed_out: Bazar, people: People, auth_keys: AuthKeys
) -> None:
    claims = claims_of(people.superuser())
    attack(signed_out.having(BAZAR_TOKEN=unsigned(claims).reveal()), *READ, ends=INVALID)
    # The public key, which everybody has, as the secret of a symmetric signature.
    signer = Signer.of(auth_keys)
    guessed = jwt.encode(claims, str(signer.public), algorithm="HS256", headers={"kid": signer.kid})
    attack(signed_out.having(BAZAR_TOKEN=guessed), *READ, ends=INVALID)


def test_service_key_is_no_identity(attack: Attack, signed_out: Bazar, auth_keys: AuthKeys) -> None:
    for key in (auth_keys.service_key, auth_keys.secret_key):
        attack(signed_out.having(BAZAR_TOKEN=key), *READ, ends=INVALID)


def test_session_of_another_user_does_not_confirm_a_token(
    attack: Attack, signed_out: Bazar, people: People, auth_keys: AuthKeys, world: World
) -> None:
    people.identity(world.member)
    people.access_token(world.member)
    (session,) = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", world.member.id)
    claims = claims_of(people.superuser(), session_id=str(session["id"]))
    bazar = signed_out.having(BAZAR_TOKEN=Signer.of(auth_keys).sign(claims).reveal())
    attack(bazar, *write(world.member), ends=(4, "auth.session_revoked"))


# -- what a token says of rights ----------------------------------------------------------------------------


def test_rights_written_into_metadata_are_not_read(
    attack: Attack, signed_out: Bazar, people: People, world: World
) -> None:
    me = people.user({world.acme: Role.MEMBER})
    people.identity(me, app_metadata=SUPERUSER_CLAIMS)
    token = people.access_token(me)
    answer = httpx.put(
        f"{auth_url(people.target)}/user",
        json={"data": dict(SUPERUSER_CLAIMS)},
        headers={**key_headers(people.target), "Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=30,
    )
    answer.raise_for_status()
    bazar = signed_out.having(BAZAR_TOKEN=people.access_token(me))
    no_rights(attack, bazar, world)


@pytest.mark.parametrize("role", ["service_role", "supabase_admin", "superuser"])
def test_rights_signed_into_a_token_are_not_read(
    attack: Attack, signed_out: Bazar, people: People, auth_keys: AuthKeys, world: World, role: str
) -> None:
    me = people.user({world.acme: Role.MEMBER})
    people.identity(me)
    people.access_token(me)
    (session,) = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", me.id)
    forged: dict[str, Any] = {**SUPERUSER_CLAIMS, "role": role, "session_id": str(session["id"])}
    metadata = {"app_metadata": dict(SUPERUSER_CLAIMS), "user_metadata": dict(SUPERUSER_CLAIMS)}
    token = Signer.of(auth_keys).sign(claims_of(me, **forged, **metadata))
    no_rights(attack, signed_out.having(BAZAR_TOKEN=token.reveal()), world)


def no_rights(attack: Attack, bazar: Bazar, world: World) -> None:
    """Whoever it is sees themselves as a free member, and may no more."""
    me = bazar("users", "me", *JSON).ok().json
    assert (me["plan"], me["is_superuser"]) == ("free", False)
    attack(bazar, *write(world.member), ends=(5, "access.plan"))
    attack(bazar, "db", "status", ends=(5, "access.plan"))
    attack(bazar, "users", "get", world.foreign.email, ends=(3, "users.not_found"))


# -- SUPERUSER_EMAIL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [Plan.FREE, Plan.PREMIUM])
def test_address_of_the_superuser_grants_nothing_once_one_exists(realm: Realm, plan: Plan) -> None:
    realm.people.superuser()
    me = realm.people.user(plan=plan)
    bazar = realm.as_user(me).having(SUPERUSER_EMAIL=me.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    ends = (5, "access.plan" if plan is Plan.FREE else "access.platform")
    for words in (("db", "migrate"), ("db", "status"), ("db", "migrate", "--dry-run")):
        realm.attack(bazar, *words, ends=ends)
    before = realm.people.everything()
    login = ("auth", "login", "--email", me.email, "--password-stdin")
    done = bazar.lacking("BAZAR_TOKEN")(*login, *JSON, stdin=OLD_PASSWORD).ok()
    assert done.json["is_superuser"] is False
    assert realm.people.everything() == before


@pytest.mark.parametrize(
    "fallen",
    [
        {"plan": Plan.PREMIUM, "state": UserState.SUSPENDED},
        {"plan": Plan.PREMIUM, "pending": Pending.DELETE},
        {"plan": Plan.PLUS},
    ],
    ids=["suspended", "being deleted", "off Premium"],
)
def test_first_superuser_has_the_named_address(realm: Realm, fallen: dict[str, Any]) -> None:
    old = realm.people.user(superuser=True, **fallen)
    org = realm.people.org()
    owner, named = realm.people.user({org: Role.OWNER}, plan=Plan.PREMIUM), realm.people.user()
    credentials = {"SUPERUSER_EMAIL": named.email, "SUPERUSER_PASSWORD": OLD_PASSWORD}
    others = {
        owner: (5, "access.platform"),
        old: (5, "access.plan" if fallen["plan"] is Plan.PLUS else "access.suspended"),
    }
    for someone, ends in others.items():
        bazar = realm.as_user(someone).having(**credentials)
        realm.attack(bazar, "db", "migrate", ends=ends)
        realm.attack(bazar, "db", "status", ends=ends)

    bazar = realm.as_user(named).having(**credentials)
    realm.attack(bazar, *write(owner), ends=(5, "access.plan"))
    bazar("db", "migrate").ok()

    rulers = realm.people.sql(
        "SELECT id FROM bazar.users WHERE is_superuser AND plan = 'premium' AND state = 'active' AND pending IS NULL"
    )
    assert [row["id"] for row in rulers] == [named.id]
    late = realm.as_user(realm.people.user({org: Role.OWNER}, plan=Plan.PREMIUM))
    realm.attack(late.having(**credentials), "db", "migrate", ends=(5, "access.platform"))
