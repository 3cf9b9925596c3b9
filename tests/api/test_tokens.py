"""Requests without the token of a user: every route refuses them, and nothing is touched."""

from __future__ import annotations

import time
import uuid

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.authz.spec import Access
from tests.api.test_routes import ROUTES
from tests.support.api_server import Api
from tests.support.people import People, Someone
from tests.support.routes import routed
from tests.support.tokens import Signer, claims_of, unsigned

_WITHOUT_TOKEN = {("POST", "/auth/login"), ("POST", "/auth/refresh")}
_GUARDED = [key for key in ROUTES if key not in _WITHOUT_TOKEN]


def tokens(keys: AuthKeys, someone: Someone, issuer: str) -> dict[str, str | None]:
    """Return an Authorization header of each bad kind; None for no header."""
    signer = Signer.of(keys)
    claims = claims_of(someone, iss=issuer)
    past = int(time.time()) - 60
    bad = {
        "expired": signer.sign({**claims, "iat": past - 60, "exp": past}),
        "foreign": Signer.stranger().sign(claims),
        "foreign under a known kid": Signer.stranger(signer.kid).sign(claims),
        "of another issuer": signer.sign({**claims, "iss": "https://else.example.com/auth/v1"}),
        "service role": signer.sign({**claims, "role": "service_role"}),
        "anonymous": signer.sign({**claims, "is_anonymous": True}),
        "of nobody": signer.sign({**claims, "sub": "nobody"}),
        "unsigned": unsigned(claims),
    }
    return {
        "none": None,
        "empty": "Bearer ",
        "no scheme": signer.sign(claims).reveal(),
        "another scheme": f"Basic {signer.sign(claims).reveal()}",
        "garbage": "Bearer garbage",
        "binary": "Bearer \xff\xfe",
        "the service key": f"Bearer {keys.service_key}",
        "the anon key": f"Bearer {keys.anon_key}",
        "the secret key": f"Bearer {keys.secret_key}",
        **{name: f"Bearer {token.reveal()}" for name, token in bad.items()},
    }


def test_only_signing_in_and_renewing_need_no_token() -> None:
    public = {(route.method, route.path) for spec, route in routed() if spec.access is Access.PUBLIC}
    # The services of these two ask for the identity themselves.
    assert public - _WITHOUT_TOKEN == {("POST", "/auth/logout"), ("GET", "/auth/status")}


def test_every_route_refuses_a_bad_token_and_touches_nothing(
    server: Api, people: People, root: Someone, auth_keys: AuthKeys, auth_url: str
) -> None:
    before = people.everything()
    for kind, header in tokens(auth_keys, root, f"{auth_url}/auth/v1").items():
        headers = {} if header is None else {"Authorization": header}
        for method, path in _GUARDED:
            # A body that would be refused, so that the token is seen to be checked first.
            reply = server.ask(method, path.format_map(_Names()), {"garbage": 1}, headers=headers)
            assert reply.status == 401, (kind, method, path, reply.body)
            assert reply.headers["WWW-Authenticate"] == "Bearer"
            assert reply.code in {"auth.not_signed_in", "auth.token_invalid", "auth.token_expired"}
    assert people.everything() == before


@pytest.mark.parametrize("token", ["", " ", "never", "a\0b"])
def test_refresh_token_that_is_none_is_refused(server: Api, token: str) -> None:
    reply = server.ask("POST", "/auth/refresh", {"refresh_token": token})
    assert (reply.status, reply.code) == (401, "auth.session_expired")


class _Names(dict[str, str]):
    """Gives each part of a path a value that fits."""

    def __missing__(self, name: str) -> str:
        return {"plan": "free", "permission": "users:read"}.get(name, str(uuid.uuid4()))


@pytest.mark.parametrize("ends", ["signed out", "suspended", "unknown"])
def test_token_stops_writing_at_once_when_its_session_or_user_ends(server: Api, people: People, ends: str) -> None:
    user = people.known_superuser()
    api = server.by(people.access_token(user))
    assert api.ask("GET", "/users/me").status == 200
    if ends == "signed out":
        assert api.ask("POST", "/auth/logout").status == 200
    elif ends == "suspended":
        people.sql("UPDATE bazar.users SET state = 'suspended' WHERE id = %s", user.id)
    else:
        people.sql("DELETE FROM bazar.users WHERE id = %s", user.id)
    refused = api.ask("PATCH", f"/users/{user.id}", {"name": "Eve"})
    codes = {
        "signed out": (401, "auth.session_revoked"),
        "suspended": (403, "access.suspended"),
        "unknown": (403, "access.unknown_operator"),
    }
    assert (refused.status, refused.code) == codes[ends]
