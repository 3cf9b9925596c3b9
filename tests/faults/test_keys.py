"""Signing keys that change under stored sessions and handed-out tokens, and key sets that cannot be had."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys, generate_keys
from bazar_cli.domain.target import Target
from tests.cli.auth.support import let_it_end_soon, sign_in, stored_session
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar
from tests.support.people import People, Someone
from tests.support.tokens import JWKS, REFRESH, USER, Signer, Wire, claims_of, wire_to

# The restarted services are shared: all tests of this file run in one process.
pytestmark = pytest.mark.xdist_group("signing keys")
ME = ("users", "me", "-o", "ids")
Services = Mapping[str, str]


@pytest.fixture(scope="module")
def services(auth_keys: AuthKeys, database_url: str) -> Generator[Services]:
    """The Auth service as it is after restarts with other keys, by what happened to the old key."""
    old, new = json.loads(auth_keys.jwt_keys)[0], json.loads(generate_keys().jwt_keys)[0]
    kept = json.dumps([new, {**old, "key_ops": ["verify"]}])
    secret = generate_keys().jwt_secret
    restarts = {
        "kept": replace(auth_keys, jwt_keys=kept),
        "gone": replace(auth_keys, jwt_keys=json.dumps([new])),
        "shared secret": replace(auth_keys, jwt_keys=""),
        "other secret": replace(generate_keys(), jwt_secret=secret, jwt_keys="", secret_key=auth_keys.secret_key),
    }
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(running_auth_service(environment_of(keys, database_url)))
            for name, keys in restarts.items()
        }


@pytest.fixture
def wire(target: Target) -> Generator[Wire]:
    """The way to the Auth service, whichever is at its other end."""
    with wire_to(target) as lent:
        yield lent


@pytest.fixture
def bazar(tmp_path: Path, wire: Wire, root: Someone) -> Bazar:
    """`bazar` signed in, the keys of before cached."""
    made = Bazar(tmp_path / "home").on(wire.target)
    sign_in(made, root).ok()
    made(*ME).ok()
    wire.requests.clear()
    return made


def rename(root: Someone) -> tuple[str, ...]:
    """A command that writes."""
    return ("users", "update", root.email, "--name", "New", "-o", "json")


def let_the_keys_get_old(bazar: Bazar, hours: float = 1) -> None:
    (cache,) = (bazar.home / "data" / "cache").glob("jwks-*.json")
    content = json.loads(cache.read_text())
    cache.write_text(json.dumps({**content, "fetched_at": content["fetched_at"] - hours * 3600}))


# -- a restart with another key ----------------------------------------------------------------------------------


def test_old_key_that_is_still_shown_serves_on(bazar: Bazar, wire: Wire, root: Someone, services: Services) -> None:
    wire.upstream = services["kept"]
    let_the_keys_get_old(bazar)
    bazar(*ME).ok()
    bazar(*rename(root)).ok()
    assert wire.requests == [JWKS, USER]
    let_it_end_soon(bazar)
    for _ in range(2):
        bazar(*ME).ok()
    # The new key came with the old one, so nothing is asked for after the renewal.
    assert wire.requests == [JWKS, USER, REFRESH]


def test_new_key_is_fetched_once_after_the_renewal(bazar: Bazar, wire: Wire, services: Services) -> None:
    wire.upstream = services["kept"]
    let_it_end_soon(bazar)
    for _ in range(3):
        bazar(*ME).ok()
    assert wire.requests == [REFRESH, JWKS]


def test_session_under_a_key_that_is_gone_is_renewed_to_write(
    bazar: Bazar, wire: Wire, people: People, root: Someone, services: Services
) -> None:
    wire.upstream = services["gone"]
    bazar(*ME).ok()
    assert wire.requests == []  # the key set of ten minutes ago is good for a read
    assert bazar(*rename(root)).ok().json["name"] == "New"
    assert wire.requests == [USER, REFRESH, JWKS, USER]
    assert (people.row(root) or {})["name"] == "New"


def test_session_under_a_key_that_is_gone_is_renewed_to_read(bazar: Bazar, wire: Wire, services: Services) -> None:
    wire.upstream = services["gone"]
    let_the_keys_get_old(bazar)
    for _ in range(2):
        bazar(*ME).ok()
    assert wire.requests == [JWKS, USER, REFRESH]


def test_handed_out_token_under_a_key_that_is_gone(bazar: Bazar, wire: Wire, root: Someone, services: Services) -> None:
    agent = bazar.having(BAZAR_TOKEN=stored_session(bazar)["access_token"])
    wire.upstream = services["gone"]
    done = agent(*rename(root))
    assert (done.code, done.error["code"]) == (4, "auth.token_invalid")
    assert "`bazar auth token`" in done.error["hint"]
    assert wire.requests == [USER]  # nobody's session is renewed for it


def test_new_key_that_is_not_shown_yet_is_looked_for_once(bazar: Bazar, wire: Wire, services: Services) -> None:
    # As while a cache in front of Auth still has the key set of before, or none.
    wire.upstream, wire.keys = services["gone"], [Signer.stranger().public]
    let_the_keys_get_old(bazar)
    bazar(*ME).ok()
    assert wire.requests == [JWKS, USER, REFRESH, USER]


@pytest.mark.parametrize("after", ["shared secret", "other secret"])
def test_switch_to_a_shared_secret_and_back(
    bazar: Bazar, wire: Wire, root: Someone, target: Target, services: Services, after: str
) -> None:
    for service in (services[after], target.supabase_url, services[after]):
        wire.upstream = service
        bazar(*rename(root)).ok()
        bazar("auth", "refresh").ok()
        assert bazar(*ME).ok().out == f"{root.id}\n"
        let_the_keys_get_old(bazar)
        assert bazar(*ME).ok().out == f"{root.id}\n"


# -- tokens that somebody made -----------------------------------------------------------------------------------


def test_forged_keys_cost_one_look_at_the_key_set_a_command(bazar: Bazar, wire: Wire, root: Someone) -> None:
    for _ in range(5):
        wire.requests.clear()
        done = bazar.having(BAZAR_TOKEN=Signer.stranger().sign(claims_of(root)).reveal())(*rename(root))
        assert (done.code, done.error["code"]) == (4, "auth.token_invalid")
        assert wire.requests == [JWKS, USER]


# -- the key set cannot be had -----------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[int, bytes] | None] = {
    "down": None,
    "500": (500, b"{}"),
    "garbage": (200, b"<html>"),
    "another shape": (200, b'{"keys": null}'),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_no_key_set(bazar: Bazar, wire: Wire, root: Someone, answer: tuple[int, bytes] | None) -> None:
    wire.answers[JWKS] = answer
    bazar(*ME).ok()
    assert wire.requests == []
    let_the_keys_get_old(bazar)
    assert bazar(*ME).ok().out == f"{root.id}\n"
    bazar(*rename(root)).ok()
    let_the_keys_get_old(bazar, 24)
    wire.requests.clear()
    failed = bazar("users", "me", "-o", "json")
    assert (failed.code, failed.error["code"], wire.requests) == (7, "supabase.unavailable", [JWKS])
    wire.answers.clear()
    bazar(*ME).ok()
    assert REFRESH not in wire.requests


@pytest.mark.parametrize("answer", [(200, b'{"keys": []}'), (404, b"")], ids=["empty", "404"])
def test_service_that_shows_no_key_is_asked_itself(
    bazar: Bazar, wire: Wire, root: Someone, answer: tuple[int, bytes]
) -> None:
    wire.answers[JWKS] = answer
    let_the_keys_get_old(bazar)
    bazar(*ME).ok()
    bazar(*rename(root)).ok()
    assert wire.requests == [JWKS, USER] * 2
