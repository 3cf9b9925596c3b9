"""Every recorded exchange of a real Supabase Auth server that this service serves, played against it."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Generator
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import jwt
import pytest

from bazar_cli.devstack.auth.keys import AuthKeys

DATA = Path(__file__).parents[2] / "data" / "gotrue"
# What the issue leaves out: sign-up, soft deletion, email-change links, factors; and settings, which nobody asks.
NOT_SERVED_FILES = {"16-signup", "21-mfa-admin"}
NOT_SERVED_STEPS = {
    "01-public": {1},
    "15-delete": {12, 13, 14, 15, 16},
    "17-links": {14, 15, 16, 17, 22, 23, 24},
}
PLACEHOLDERS = {
    "<uuid>": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "<time>": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
    "<token>": re.compile(r"[\w.-]+"),
    "<hash>": re.compile(r"[\w-]+"),
}


def scenarios() -> list[tuple[str, str]]:
    """Every recorded file in both error shapes."""
    names = sorted(p.stem for p in DATA.glob("[0-9]*.jsonl") if p.stem not in NOT_SERVED_FILES)
    return [(name, shape) for name in names for shape in ("legacy", "2024-01-01")]


def exchanges(name: str, shape: str) -> list[dict[str, Any]]:
    """The exchanges of one scenario in order."""
    lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [e for e in map(json.loads, lines) if e["shape"] == shape]


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
        request, expected = exchange["request"], exchange["response"]
        answer = self._send(request)
        body: Any = answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
        for name, path in request.get("capture", {}).items():
            if answer.status_code == HTTPStatus.OK:
                value: Any = body
                for part in path.split("."):
                    value = value[part]
                self._values[name] = value
        found = [] if answer.status_code == expected["status"] else [f"status {answer.status_code}"]
        for header, value in expected["headers"].items():
            wanted = self._filled(value)
            given = (
                answer.headers.get(header, "").split(";")[0] if header == "content-type" else answer.headers.get(header)
            )
            if given != wanted and not (header == "link" and self._same_link(given, wanted)):
                found.append(f"header {header}: {given!r} is not {wanted!r}")
        if "x-sb-error-code" in answer.headers and "x-sb-error-code" not in expected["headers"]:
            found.append("header x-sb-error-code is there")
        if expected["status"] != HTTPStatus.NO_CONTENT:
            found += self._differences("body", body, expected["body"])
        return found

    def _send(self, request: dict[str, Any]) -> httpx.Response:
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

    def _token(self, auth: str) -> str:
        keys = {"service": self._keys.service_key, "anon": self._keys.anon_key}
        return keys.get(auth) or self._values[auth]

    def _filled(self, text: str) -> str:
        return re.sub(r"\{\{([\w.]+)\}\}", lambda m: self._values.get(m[1], m[0]), text)

    @staticmethod
    def _same_link(given: str | None, wanted: str) -> bool:
        return given is not None and given.replace("%2B", "+") == wanted.replace("%2B", "+")

    def _differences(self, where: str, given: Any, wanted: Any) -> list[str]:
        if isinstance(wanted, dict):
            return self._object_differences(where, given, cast("dict[str, Any]", wanted))
        if isinstance(wanted, list):
            items = cast("list[Any]", wanted)
            if not isinstance(given, list) or len(cast("list[Any]", given)) != len(items):
                return [f"{where}: {given!r} is not a list of {len(items)}"]
            return [d for i, w in enumerate(items) for d in self._differences(f"{where}[{i}]", given[i], w)]
        return [] if self._equal(given, wanted) else [f"{where}: {given!r} is not {wanted!r}"]

    def _object_differences(self, where: str, given: Any, wanted: dict[str, Any]) -> list[str]:
        if "<jwt>" in wanted:
            return self._token_differences(where, given, wanted["<jwt>"])
        if not isinstance(given, dict):
            return [f"{where}: {given!r} is no object"]
        found_object = cast("dict[str, Any]", given)
        odd = set(wanted) ^ set(found_object)
        found = [f"{where}: keys {sorted(odd)} differ"] if odd else []
        for name in set(wanted) & set(found_object):
            found += self._differences(f"{where}.{name}", found_object[name], wanted[name])
        return found

    def _token_differences(self, where: str, given: str, wanted: dict[str, Any]) -> list[str]:
        claims = jwt.decode(given, options={"verify_signature": False})
        found = self._differences(f"{where}.header", jwt.get_unverified_header(given), wanted["header"])
        return found + self._differences(f"{where}.claims", claims, wanted["claims"])

    def _equal(self, given: Any, wanted: Any) -> bool:
        if not isinstance(wanted, str):
            return bool(given == wanted)
        if wanted in {"<epoch>", "<count>"}:
            return isinstance(given, int)
        if wanted in PLACEHOLDERS:
            return isinstance(given, str) and PLACEHOLDERS[wanted].fullmatch(given) is not None
        text = re.sub(r"http://127\.0\.0\.1:\d+", "http://HOST", str(given))
        pattern = re.escape(self._filled(wanted)).replace("<token>", r"[\w.-]+").replace("<uuid>", r"[0-9a-f-]+")
        return isinstance(given, str) and re.fullmatch(pattern, text) is not None


@pytest.fixture(scope="module")
def client(auth_url: str) -> Generator[httpx.Client]:
    """A client of this worker's Auth service, below its prefix."""
    with httpx.Client(base_url=f"{auth_url}/auth/v1", timeout=30, trust_env=False) as opened:
        yield opened


@pytest.mark.parametrize(("name", "shape"), scenarios())
def test_recorded_exchanges(client: httpx.Client, auth_keys: AuthKeys, name: str, shape: str) -> None:
    player = Player(client, auth_keys, shape)
    skipped = NOT_SERVED_STEPS.get(name, set())
    found = {
        f"{name} step {e['step']} ({e['request']['method']} {e['request']['path']})": differences
        for e in exchanges(name, shape)
        if e["step"] not in skipped and (differences := player.play(e))
    }
    assert found == {}


def test_nothing_recorded_falls_out_silently() -> None:
    played = sum(
        e["step"] not in NOT_SERVED_STEPS.get(name, set())
        for name, shape in scenarios()
        for e in exchanges(name, shape)
    )
    lines = sum(len(p.read_text(encoding="utf-8").splitlines()) for p in DATA.glob("[0-9]*.jsonl"))
    assert (played, lines) == (468, 522)
