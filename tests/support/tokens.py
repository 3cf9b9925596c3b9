"""Access tokens of every kind, and a wire to the Auth service that remembers what was asked."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import jwt
from jwt.algorithms import ECAlgorithm

from bazar_cli.devstack.auth.keys import AuthKeys, generate_keys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.auth_proxy import Asked, between
from tests.support.people import Someone

JWKS = "GET /auth/v1/.well-known/jwks.json"
USER = "GET /auth/v1/user"
REFRESH = "POST /auth/v1/token?grant_type=refresh_token"


@dataclass(frozen=True)
class Signer:
    """Signs access tokens with one private key, that of an Auth service or a stranger's."""

    jwk: Mapping[str, Any]

    @classmethod
    def of(cls, keys: AuthKeys) -> Signer:
        """The signer that an Auth service with these keys is."""
        return cls(json.loads(keys.jwt_keys)[0])

    @classmethod
    def stranger(cls, kid: str | None = None) -> Signer:
        """A signer with an unknown key, under a new key id or a known one."""
        jwk = cls.of(generate_keys()).jwk
        return cls({**jwk, "kid": kid} if kid else jwk)

    @property
    def kid(self) -> str:
        """The name of the key."""
        return str(self.jwk["kid"])

    @property
    def public(self) -> dict[str, Any]:
        """The key as a key set shows it."""
        return {name: value for name, value in self.jwk.items() if name != "d"}

    def sign(self, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> Secret:
        """Return the token with these claims."""
        key: Any = ECAlgorithm.from_jwk(json.dumps(dict(self.jwk)))
        return Secret(jwt.encode(dict(claims), key, algorithm="ES256", headers={"kid": self.kid, **(headers or {})}))


def claims_of(someone: Someone, **changes: object) -> dict[str, Any]:
    """Return the claims of an hour's token; a change to None leaves one out."""
    now = int(time.time())
    claims: dict[str, object] = {
        "sub": str(someone.id),
        "email": someone.email,
        "aud": "authenticated",
        "role": "authenticated",
        "iat": now,
        "exp": now + 3600,
        "session_id": str(uuid.uuid4()),
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def unsigned(claims: object, **header: object) -> Secret:
    """Return a token without a signature, by default one that says so in its header."""

    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return Secret(f"{part({'alg': 'none', 'typ': 'JWT', **header})}.{part(claims)}.")


class Wire:
    """A way to the Auth service that remembers requests, and can be cut, held, or answer by itself."""

    def __init__(self, target: Target) -> None:
        self.target = target
        """The target whose Auth service is reached by this wire."""
        self.upstream = ""
        """The base URL of the service at the other end; another one stands for a restart with other settings."""
        self.requests: list[str] = []
        """Method and path of every request, the oldest first."""
        self.cut = False
        """No request gets an answer."""
        self.keys: list[dict[str, Any]] | None = None
        """What is shown in place of the service's own key set."""
        self.answers: dict[str, tuple[int, bytes] | None] = {}
        """What is answered to a request in the service's place; None drops the connection."""
        self.lost: set[str] = set()
        """The requests that reach the service, but whose answer does not come back."""
        self.held: dict[str, threading.Event] = {}
        """The requests that wait for an event before they go on."""

    def hold(self, request: str) -> threading.Event:
        """Let such requests wait until the event returned is set."""
        return self.held.setdefault(request, threading.Event())


@contextmanager
def wire_to(target: Target) -> Generator[Wire]:
    """Yield a wire to the Auth service of a target."""
    wire = Wire(target)
    wire.upstream = target.supabase_url

    def answer(came: Asked) -> httpx.Response | None:
        asked = f"{came.method} {came.path}"
        wire.requests.append(asked)
        if asked in wire.held:
            wire.held[asked].wait()
        if wire.cut:
            return None
        if asked in wire.answers:
            return _canned(wire.answers[asked])
        if asked == JWKS and wire.keys is not None:
            return httpx.Response(200, json={"keys": wire.keys})
        passed = came.passed_on(wire.upstream)
        return None if asked in wire.lost else passed

    with between(answer) as url:
        wire.target = replace(target, supabase_url=url)
        try:
            yield wire
        finally:
            for event in wire.held.values():
                event.set()


def _canned(answer: tuple[int, bytes] | None) -> httpx.Response | None:
    if answer is None:
        return None
    return httpx.Response(answer[0], content=answer[1], headers={"Content-Type": "application/json"})
