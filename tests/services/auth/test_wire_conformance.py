"""Every recorded exchange of a real Supabase Auth server that this service serves, played against it."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Callable, Generator
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx
import jwt
import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from tests.support.auth_service import SITE_URL
from tests.support.wire_records import SHAPES, UUID, differences, exchanges, scenarios

# What the service leaves out on purpose: settings, sign-up, soft deletion, links for an email change, factors. "What
# it does not serve answers 404."
NOT_SERVED = {
    "01-public": {1},
    "15-delete": {12, 15},
    "16-signup": {0, 2, 4, 5, 6, 7, 8, 9},
    "17-links": {14, 16, 17, 22, 23, 24},
    "21-mfa-admin": {1, 2, 3},
}
# What needs the user or the token of such a step.
DEPENDENT = {"15-delete": {13, 14, 16}, "16-signup": {1}, "17-links": {15}}
HEADERS = {
    header
    for name in scenarios()
    for shape in SHAPES
    for e in exchanges(name, shape)
    for header in e["response"]["headers"]
}
"""Every header that the record keeps; what an exchange does not record, its answer must not carry."""


class Player:
    """Plays exchanges, keeps what they capture, compares what comes back."""

    def __init__(self, client: httpx.Client, keys: AuthKeys, shape: str) -> None:
        self._client = client
        self._keys = keys
        self._shape = shape
        self._values = {"run": secrets.token_hex(6), "uuid1": str(uuid.uuid4()), "uuid2": str(uuid.uuid4())}
        claims = {"role": "service_role", "iat": 1, "exp": 2}
        self._values["expired"] = jwt.encode(claims, keys.jwt_secret, algorithm="HS256")

    def play(self, exchange: dict[str, Any]) -> list[str]:
        """Send the request and return the differences from the recorded answer."""
        return self.compare(self.send(exchange["request"]), exchange)

    def compare(self, answer: httpx.Response, exchange: dict[str, Any]) -> list[str]:
        """Keep what the exchange captures and return the differences from the recorded answer."""
        is_json = answer.headers.get("content-type") == "application/json"
        body: Any = answer.json() if is_json else answer.text
        found = self._capture(exchange["request"], answer.status_code, body)
        wanted = json.loads(self._filled(json.dumps(exchange["response"])))
        if answer.status_code != wanted["status"]:
            found.append(f"status {answer.status_code} is not {wanted['status']}")
        for header in sorted(HEADERS):
            found += differences(f"header {header}", answer.headers.get(header), wanted["headers"].get(header))
        return found + differences("body", self._with_claims(body), wanted["body"])

    def send(self, request: dict[str, Any]) -> httpx.Response:
        """Send a recorded request."""
        auth = request.get("auth", "service")
        headers = {"Authorization": f"Bearer {self._token(auth)}"} if auth != "none" else {}
        headers |= {name: self._filled(value) for name, value in request.get("headers", {}).items()}
        if self._shape != "legacy":
            headers["X-Supabase-Api-Version"] = self._shape
        content = None
        if "json" in request:
            content = self._filled(json.dumps(request["json"]))
            headers["Content-Type"] = "application/json"
        elif "raw" in request:
            content = request["raw"]
        path = quote(self._filled(request["path"]), safe="/?&=%")
        return self._client.request(request["method"], path, headers=headers, content=content)

    def _capture(self, request: dict[str, Any], status: int, body: Any) -> list[str]:
        found: list[str] = []
        for name, path in request.get("capture", {}).items() if status == HTTPStatus.OK else ():
            value: Any = body
            for part in path.split("."):
                value = cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else None
            if not isinstance(value, str) or (path == "id" and not UUID.fullmatch(value)):
                found.append(f"captured {path}: {value!r}")
            self._values[name] = str(value)
        return found

    def _token(self, auth: str) -> str:
        keys = {"service": self._keys.service_key, "anon": self._keys.anon_key}
        return keys.get(auth) or self._values[auth]

    def _filled(self, text: str) -> str:
        own = str(self._client.base_url).rstrip("/")
        text = re.sub(r"\{\{([\w.]+)\}\}", lambda m: self._values.get(m[1], m[0]), text)
        return text.replace("http://HOST/auth/v1", own).replace("http://HOST", SITE_URL)

    def _with_claims(self, body: Any) -> object:
        """The record shows an access token as what it says; ours must be signed by our key, too."""
        shown: dict[str, Any] = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
        if "access_token" not in shown:
            return cast("object", body)
        token = shown["access_token"]
        key: Any = jwt.PyJWK(json.loads(self._keys.jwt_keys)[0]).key
        try:
            claims = jwt.decode(token, key.public_key(), algorithms=["ES256"], options={"verify_aud": False})
        except jwt.PyJWTError as error:
            return {**shown, "access_token": f"{token!r} does not verify: {error}"}
        return {**shown, "access_token": {"<jwt>": {"header": jwt.get_unverified_header(token), "claims": claims}}}


@pytest.fixture(scope="module")
def client(auth_url: str) -> Generator[httpx.Client]:
    """A client of this worker's Auth service, below its prefix."""
    with httpx.Client(base_url=f"{auth_url}/auth/v1", timeout=30, trust_env=False) as opened:
        yield opened


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", scenarios())
def test_recorded_exchanges(client: httpx.Client, auth_keys: AuthKeys, name: str, shape: str) -> None:
    player = Player(client, auth_keys, shape)
    found: dict[str, list[str]] = {}
    for e in exchanges(name, shape):
        if e["step"] in DEPENDENT.get(name, ()):
            continue
        if e["step"] in NOT_SERVED.get(name, ()):
            status = player.send(e["request"]).status_code
            odd = [] if status == HTTPStatus.NOT_FOUND else [f"status {status}, though it is not served"]
        else:
            odd = player.play(e)
        if odd:
            found[f"{name} step {e['step']} ({e['request']['method']} {e['request']['path']})"] = odd
    assert found == {}


def test_nothing_recorded_falls_out_silently() -> None:
    kinds = {"played": 0, "answered 404": 0, "left out": 0}
    for name in scenarios():
        for e in exchanges(name, "legacy") + exchanges(name, "2024-01-01"):
            refused, dependent = e["step"] in NOT_SERVED.get(name, ()), e["step"] in DEPENDENT.get(name, ())
            kinds["answered 404" if refused else "left out" if dependent else "played"] += 1
    assert kinds == {"played": 472, "answered 404": 40, "left out": 10}


def _changed(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(response: dict[str, Any]) -> None:
        *folders, last = place.split("/")
        for folder in folders:
            response = response[folder]
        if value is None:
            del response[last]
        else:
            response[last] = value

    return change


@pytest.fixture(scope="module")
def answered(client: httpx.Client, auth_keys: AuthKeys) -> tuple[Player, dict[int, httpx.Response]]:
    """A user created and one refused, answered as recorded."""
    player, recorded = Player(client, auth_keys, "legacy"), exchanges("03-create", "legacy")
    return player, {step: player.send(recorded[step]["request"]) for step in (3, 5)}


@pytest.mark.parametrize(
    ("step", "change"),
    [
        pytest.param(5, _changed("status", 409), id="status"),
        pytest.param(5, _changed("body/error_code", "email_exist"), id="code"),
        pytest.param(5, _changed("body/code", 422.0), id="type of a number"),
        pytest.param(5, _changed("body/msg", "A user"), id="beginning of a value"),
        pytest.param(5, _changed("headers/x-sb-error-code", "conflict"), id="header"),
        pytest.param(5, _changed("headers/x-sb-error-code", None), id="header too many"),
        pytest.param(5, _changed("headers/x-total-count", "1"), id="header missing"),
        pytest.param(5, _changed("headers/content-type", "application/json; charset=utf-8"), id="content type"),
        pytest.param(3, _changed("body/is_anonymous", 0), id="false for 0"),
        pytest.param(3, _changed("body/id", "{{uuid2}}"), id="value"),
        pytest.param(3, _changed("body/created_at", None), id="key too many"),
        pytest.param(3, _changed("body/confirmed_at", "<time>"), id="key missing"),
        pytest.param(3, _changed("body/app_metadata/providers", []), id="list"),
        pytest.param(3, _changed("body/identities", {}), id="object for a list"),
    ],
)
def test_a_change_in_the_record_would_show(
    answered: tuple[Player, dict[int, httpx.Response]], step: int, change: Callable[[dict[str, Any]], None]
) -> None:
    player, answers = answered
    recorded = exchanges("03-create", "legacy")[step]
    assert player.compare(answers[step], recorded) == []
    change(recorded["response"])
    assert len(player.compare(answers[step], recorded)) == 1
