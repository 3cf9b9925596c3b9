"""Access tokens of every kind, and a wire to the Auth service that remembers what was asked."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
from jwt.algorithms import ECAlgorithm

from bazar_cli.devstack.auth.keys import AuthKeys, generate_keys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.people import Someone

JWKS = "GET /auth/v1/.well-known/jwks.json"
USER = "GET /auth/v1/user"
REFRESH = "POST /auth/v1/token?grant_type=refresh_token"
_PASSED_ON = ("Date", "X-Supabase-Api-Version")


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
        """A signer with a key that nobody knows, under a name of its own or one that it usurps."""
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
    """Lend a wire to the Auth service of a target."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked = f"{self.command} {self.path}"
            wire.requests.append(asked)
            if asked in wire.held:
                wire.held[asked].wait()
            canned = wire.answers.get(asked)
            if wire.cut or (asked in wire.answers and canned is None):
                self.connection.shutdown(socket.SHUT_RDWR)
            elif canned is not None:
                self._answer(*canned, {})
            elif asked == JWKS and wire.keys is not None:
                self._answer(200, json.dumps({"keys": wire.keys}).encode(), {})
            else:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                url = wire.upstream + self.path
                passed = httpx.request(self.command, url, headers=headers, content=body, trust_env=False, timeout=30)
                if asked in wire.lost:
                    self.connection.shutdown(socket.SHUT_RDWR)
                else:
                    self._answer(passed.status_code, passed.content, passed.headers)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Keep the test's output clean."""

        def _answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            for name in _PASSED_ON:
                if name in headers:
                    self.send_header(name, headers[name])
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked was killed
                self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        wire = Wire(replace(target, supabase_url=f"http://127.0.0.1:{server.server_address[1]}"))
        wire.upstream = target.supabase_url
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield wire
        finally:
            for event in wire.held.values():
                event.set()
            server.shutdown()
