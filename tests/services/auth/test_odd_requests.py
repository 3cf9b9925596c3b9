"""Odd requests: the Auth service refuses or reads them as a real server does, logs no traceback, and goes on."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.devstack.auth.keys import AuthKeys
from tests.support.auth_service import SITE_URL, environment_of, running_auth_service
from tests.support.postgres import TEMPLATE, scratch_database
from tests.support.wire_records import SHAPES

USERS = "/admin/users"
STRING, BOOL, MAP = "string", "bool", "map[string]interface {}"
PASSWORD = "correct-horse-1"
NEW = "new@odd.example.com"
UNKNOWN = "5d2f4a7e-3a86-4f0c-9c0e-6d1f5b7a9e21"
MIB = 1024 * 1024
NUL = r"\u0000"
LONE = r"\ud800"


@dataclass(frozen=True)
class Service:
    """A service whose log is read at the end, one of its users, and a client of each kind."""

    admin: httpx.Client
    user: httpx.Client
    email: str
    user_id: str

    def client(self, path: str) -> httpx.Client:
        """The client that may ask for a path."""
        return self.user if path.startswith(("/user", "/logout")) else self.admin


@pytest.fixture(scope="module")
def service(auth_keys: AuthKeys, postgres_url: str) -> Generator[Service]:
    """A service with users of its own; whatever was asked, its log must end without a traceback."""
    email = f"odd.{secrets.token_hex(5)}@example.com"
    with tempfile.TemporaryFile("w+") as log:
        with (
            scratch_database(postgres_url, TEMPLATE) as database,
            running_auth_service(environment_of(auth_keys, database), log=log) as url,
            httpx.Client(base_url=f"{url}/auth/v1", timeout=60, trust_env=False) as admin,
            httpx.Client(base_url=f"{url}/auth/v1", timeout=60, trust_env=False) as user,
        ):
            admin.headers["Authorization"] = f"Bearer {auth_keys.service_key}"
            known = {"email": email, "password": PASSWORD}
            made = admin.post(USERS, json={**known, "email_confirm": True}).json()
            token = admin.post("/token?grant_type=password", json=known).json()["access_token"]
            user.headers["Authorization"] = f"Bearer {token}"
            yield Service(admin, user, email, made["id"])
            assert admin.get("/health").status_code == 200
        log.seek(0)
        assert "Traceback" not in log.read()


def refusal(answer: httpx.Response, shape: str) -> tuple[int, str, str]:
    """Status, code and sentence of an error in the asked shape."""
    assert answer.headers["content-type"] == "application/json", answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers.get("x-supabase-api-version", "legacy") == shape
    if shape == "legacy":
        assert set(body) - {"error_id"} == {"code", "error_code", "msg"}
        assert body["code"] == answer.status_code
        return answer.status_code, body["error_code"], body["msg"]
    assert set(body) == {"code", "message"}
    return answer.status_code, body["code"], body["message"]


def ask(
    service: Service, shape: str, method: str, path: str, content: str | bytes = b"", **headers: str
) -> httpx.Response:
    """Send a request in an error shape; the address NEW is nobody's yet."""
    raw = content.encode() if isinstance(content, str) else content
    raw = raw.replace(NEW.encode(), f"odd.{secrets.token_hex(5)}@example.com".encode())
    if shape != "legacy":
        headers["X-Supabase-Api-Version"] = shape
    return service.client(path).request(method, path, content=raw, headers=headers)


def new(rest: str) -> str:
    """A body that creates a new user, with more fields written as JSON."""
    return f'{{{rest}, "email": "{NEW}"}}'


BAD_JSON = (400, "bad_json")
INVALID = (400, "validation_failed")
FAILURE = (500, "unexpected_failure")
REFUSED: list[tuple[str, str, str | bytes, tuple[int, str]]] = [
    ("POST", USERS, b"", BAD_JSON),
    ("POST", USERS, b"   ", BAD_JSON),
    ("POST", USERS, b"\xff\xfe", BAD_JSON),
    ("POST", USERS, b"\xef\xbb\xbf{}", BAD_JSON),
    ("POST", USERS, "5", BAD_JSON),
    ("POST", USERS, '"text"', BAD_JSON),
    ("POST", USERS, "true", BAD_JSON),
    ("POST", USERS, "[{}]", BAD_JSON),
    ("POST", USERS, "null", INVALID),
    ("POST", USERS, "{} {}", BAD_JSON),
    ("POST", USERS, "{'email': 'a@b.c'}", BAD_JSON),
    ("POST", USERS, '{"email": "a@b.c",}', BAD_JSON),
    ("POST", USERS, '{"email": "a\nb"}', BAD_JSON),
    ("POST", USERS, "[" * 100_000, BAD_JSON),
    ("POST", USERS, '{"user_metadata": {"a": NaN}}', BAD_JSON),
    ("POST", USERS, '{"user_metadata": {"a": -Infinity}}', BAD_JSON),
    ("POST", USERS, '{"user_metadata": {"a": 1e999}}', BAD_JSON),
    ("POST", USERS, f'{{"user_metadata": {{"a": {"9" * 5000}}}}}', BAD_JSON),
    ("POST", USERS, f'{{"user_metadata": {{"a": {"[" * 900}{"]" * 900}}}}}', BAD_JSON),
    ("POST", USERS, f'{{"email": "a{NUL}@example.com"}}', INVALID),
    ("POST", USERS, f'{{"email": "a{LONE}@example.com"}}', INVALID),
    ("POST", USERS, new('"ban_duration": "99999999999h"'), INVALID),
    ("POST", USERS, new('"ban_duration": "\u0661h"'), INVALID),
    ("POST", USERS, new('"ban_duration": "\u00b2h"'), INVALID),
    ("POST", USERS, new('"id": "not-a-uuid"'), INVALID),
    # The server's own faults. What Postgres cannot store it refuses, and the server takes it for a fault.
    ("POST", USERS, new(f'"password": "{"x" * 73}"'), FAILURE),
    ("POST", USERS, new(f'"password": "{"é" * 37}"'), FAILURE),
    ("POST", USERS, new('"password_hash": "$2a$10$short"'), FAILURE),
    ("POST", USERS, new(f'"password_hash": "$2a$99${"a" * 53}"'), FAILURE),
    ("POST", USERS, new('"password_hash": "$argon2id$v=19$nonsense"'), FAILURE),
    ("POST", USERS, new(f'"role": "{"r" * 256}"'), FAILURE),
    ("POST", USERS, new(f'"user_metadata": {{"a": "{NUL}"}}'), FAILURE),
    ("GET", f"{USERS}?per_page=0", b"", FAILURE),
    ("GET", f"{USERS}?page=-1", b"", INVALID),
    ("GET", f"{USERS}?page=1.5", b"", INVALID),
    ("GET", f"{USERS}?page=%D9%A1", b"", INVALID),
    ("GET", f"{USERS}?page=18446744073709551616", b"", INVALID),
    ("GET", f"{USERS}?page={'9' * 5000}", b"", INVALID),
    ("GET", f"{USERS}?per_page=-1", b"", INVALID),
    ("GET", f"{USERS}?sort=created_at%20sideways", b"", INVALID),
    ("GET", f"{USERS}/{UNKNOWN}", b"", (404, "user_not_found")),
    ("GET", f"{USERS}/not-a-uuid", b"", (404, "validation_failed")),
    ("GET", f"{USERS}/%00", b"", (404, "validation_failed")),
    ("PUT", f"{USERS}/{UNKNOWN}", "{}", (404, "user_not_found")),
    ("PUT", f"{USERS}/not-a-uuid", "{}", (404, "validation_failed")),
    ("DELETE", f"{USERS}/{UNKNOWN}", "[]", (404, "user_not_found")),
    ("POST", "/token?grant_type=password", "[]", BAD_JSON),
    ("POST", "/token?grant_type=password", f'{{"email": "{LONE}", "password": "x"}}', (400, "invalid_credentials")),
    ("POST", "/token?grant_type=refresh_token", "null", INVALID),
    ("POST", "/verify", f'{{"type": "email", "email": "{LONE}", "token": "1"}}', (403, "otp_expired")),
    ("POST", "/verify", "null", INVALID),
    ("POST", "/recover", "null", INVALID),
    ("POST", "/invite", "[]", BAD_JSON),
    ("POST", "/admin/generate_link", "null", INVALID),
    ("PUT", "/user", "[]", BAD_JSON),
    ("PUT", "/user", f'{{"data": {{"{NUL}": 1}}}}', FAILURE),
    ("POST", "/logout?scope=%00", b"", INVALID),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("method", "path", "content", "expected"), REFUSED, ids=[f"{r[0]} {r[1][:40]} {r[2][:40]!r}" for r in REFUSED]
)
def test_refused(
    service: Service, shape: str, method: str, path: str, content: str | bytes, expected: tuple[int, str]
) -> None:
    assert refusal(ask(service, shape, method, path, content), shape)[:2] == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_of_more_than_a_mebibyte_is_refused(service: Service, shape: str) -> None:
    assert refusal(ask(service, shape, "POST", USERS, b" " * MIB), shape)[0] == 400
    assert refusal(ask(service, shape, "POST", USERS, b" " * (MIB + 1)), shape)[0] == 413
    assert refusal(ask(service, shape, "POST", USERS, b" " * (20 * MIB)), shape)[0] == 413


_TEXTS = dict.fromkeys(("id", "role", "email", "phone", "password", "password_hash", "ban_duration"), STRING)
USER_FIELDS = {**_TEXTS, "email_confirm": BOOL, "phone_confirm": BOOL, "user_metadata": MAP, "app_metadata": MAP}
BODIES: list[tuple[str, str, str, dict[str, str]]] = [
    ("POST", USERS, "AdminUserParams", USER_FIELDS),
    ("PUT", f"{USERS}/{{id}}", "AdminUserParams", USER_FIELDS),
    ("DELETE", f"{USERS}/{{id}}", "adminUserDeleteParams", {"should_soft_delete": BOOL}),
    ("POST", "/admin/generate_link", "GenerateLinkParams", {"type": STRING, "email": STRING, "data": MAP}),
    ("POST", "/invite", "InviteParams", {"email": STRING, "data": MAP}),
    ("POST", "/token?grant_type=password", "PasswordGrantParams", {"email": STRING, "password": STRING}),
    ("POST", "/token?grant_type=refresh_token", "RefreshTokenGrantParams", {"refresh_token": STRING}),
    ("POST", "/recover", "RecoverParams", {"email": STRING}),
    ("POST", "/verify", "VerifyParams", dict.fromkeys(("type", "token", "token_hash", "email"), STRING)),
    ("PUT", "/user", "UserUpdateParams", {"email": STRING, "password": STRING, "data": MAP, "app_metadata": MAP}),
]
KINDS = {STRING: '"text"', BOOL: "true", MAP: "{}", "number": "5", "array": "[]"}
NAMES = {MAP: "object"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("method", "path", "struct", "fields"), BODIES, ids=[f"{b[0]} {b[1]}" for b in BODIES])
def test_a_value_of_a_wrong_type_is_named(
    service: Service, shape: str, method: str, path: str, struct: str, fields: dict[str, str]
) -> None:
    where = path.format(id=service.user_id)
    for field, wanted in fields.items():
        for kind, value in KINDS.items():
            if kind != wanted:
                answer = ask(service, shape, method, where, f'{{"{field}": {value}}}')
                what = f"json: cannot unmarshal {NAMES.get(kind, kind)} into Go struct field {struct}.{field}"
                sentence = f"Could not parse request body as JSON: {what} of type {wanted}"
                assert refusal(answer, shape) == (*BAD_JSON, sentence)


def test_text_that_utf8_cannot_hold_is_replaced(service: Service) -> None:
    rest = rf'"user_metadata": {{"a{LONE}": "b{LONE}c\ud83d\ude00", "d": ["\udc00"], "e": "X"}}'
    content = new(rest).encode().replace(b"X", b"\xff")
    made = ask(service, "legacy", "POST", USERS, content).json()
    assert made["user_metadata"] == {"a\ufffd": "b\ufffdc\U0001f600", "d": ["\ufffd"], "e": "\ufffd"}


def test_large_numbers_are_floats(service: Service) -> None:
    rest = '"user_metadata": {"a": 999999999999999, "b": 123456789012345678901, "c": -0.5, "d": 1e3}'
    made = ask(service, "legacy", "POST", USERS, new(rest)).json()
    assert made["user_metadata"] == {"a": 999999999999999, "b": 123456789012345680000, "c": -0.5, "d": 1000}


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/xml"}])
def test_the_content_type_of_a_request_does_not_matter(service: Service, headers: dict[str, str]) -> None:
    assert ask(service, "legacy", "POST", USERS, new('"id": "", "nonce": {}'), **headers).status_code == 200


@pytest.mark.parametrize(
    ("query", "rows", "last"),
    [
        ("page=&per_page=&sort=", 1, "page=1"),
        ("page=1&page=abc&per_page=1&per_page=0", 1, "page=1"),
        ("page=0", 1, "page=1"),
        ("page=00001", 1, "page=1"),
        ("page=9223372036854775807&per_page=9223372036854775807", 0, "page=1"),
        ("page=18446744073709551615", 0, "page=1"),
        ("per_page=18446744073709551615", 1, "page=1"),
        ("unknown=%ff", 1, "page=1"),
    ],
)
def test_lists_with_odd_parameters(service: Service, query: str, rows: int, last: str) -> None:
    answer = ask(service, "legacy", "GET", f"{USERS}?filter={service.email}&{query}")
    assert answer.status_code == 200
    assert len(answer.json()["users"]) == rows
    assert answer.headers["x-total-count"] == "1"
    assert last in answer.headers["link"]


@pytest.mark.parametrize("path", [f"{USERS}/", f"{USERS}/{{id}}/", "/user/"])
def test_a_slash_at_the_end_is_served_where_a_real_server_serves_it(service: Service, path: str) -> None:
    assert ask(service, "legacy", "GET", path.format(id=service.user_id)).status_code == 200


@pytest.mark.parametrize("path", ["", "/", "/nope", "/health/", "/token/", "//health", f"{USERS}/a/b", "/signup"])
@pytest.mark.parametrize("shape", SHAPES)
def test_unknown_paths_answer_404(service: Service, path: str, shape: str) -> None:
    assert [ask(service, shape, method, path).status_code for method in ("GET", "POST")] == [404, 404]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/health", "GET"), ("/token", "POST"), ("/user", "GET, PUT"), (f"{USERS}/x", "GET, PUT, DELETE")],
)
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH"])
def test_another_method_answers_405(service: Service, path: str, allowed: str, method: str) -> None:
    answer = ask(service, "2024-01-01", method, path)
    assert (answer.status_code, answer.headers["allow"], answer.text) == (405, allowed, "")


@pytest.mark.parametrize(
    ("version", "shape"),
    [("2024-01-01", "2024-01-01"), ("2031-12-31", "2024-01-01"), ("2023-12-31", "legacy"), ("soon", "legacy")],
)
def test_the_shape_of_errors_is_the_closest_one(service: Service, version: str, shape: str) -> None:
    headers = {"X-Supabase-Api-Version": version}
    assert refusal(service.admin.get(f"{USERS}/nope", headers=headers), shape)[:2] == (404, "validation_failed")


@pytest.mark.parametrize("target", ["http://[bad", "javascript:alert(1)", "//example.com", "", "\0"])
def test_an_odd_redirect_ends_at_the_site(service: Service, target: str) -> None:
    answer = service.admin.get("/verify", params={"token": "x", "type": "recovery", "redirect_to": target})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{SITE_URL}#error=access_denied&")


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=90)
    | st.sampled_from(["\0", "\ud800", "a@example.com", UNKNOWN, "1h", "none", "recovery", "magiclink"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
REQUESTS = st.sampled_from(BODIES).flatmap(
    lambda known: st.tuples(
        st.just(known[:2]), JUNK | st.dictionaries(st.sampled_from(sorted(known[3])), JUNK, min_size=1, max_size=4)
    )
)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(request=REQUESTS)
def test_any_json_is_answered_in_json(service: Service, request: tuple[tuple[str, str], Any]) -> None:
    (method, path), body = request
    answer = ask(service, "legacy", method, path.format(id=UNKNOWN), json.dumps(body))
    assert answer.headers["content-type"] == "application/json"
    assert answer.status_code < 500 or answer.json()["error_code"] == "unexpected_failure"
