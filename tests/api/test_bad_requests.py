"""Requests that cannot be served: each gets one problem that names the fault, and changes nothing."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from bazar_cli.api.bodies import MOST_BYTES
from tests.support.api_server import Api
from tests.support.people import People, Someone, an_address, an_org


def encoded(**fields: object) -> bytes:
    """Return a body with these fields."""
    return json.dumps(fields).encode()


_BODIES: dict[str, tuple[bytes, int, str, str]] = {
    "not JSON": (b"email=ada", 400, "request.unreadable", "line 1 column 1"),
    "cut": (b'{"email": "a', 400, "request.unreadable", "line 1"),
    "two values": (b"{} {}", 400, "request.unreadable", "column 4"),
    "no object": (b"[1]", 400, "request.unreadable", "not a JSON object"),
    "Latin-1": ('{"name": "é"}'.encode("latin-1"), 400, "request.unreadable", "not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400, "request.unreadable", "not JSON"),
    "too long": (b'{"name": "' + b"x" * MOST_BYTES + b'"}', 413, "request.too_large", str(MOST_BYTES)),
    "10 MB": (b" " * 10_000_000, 413, "request.too_large", str(MOST_BYTES)),
    "deep": (b'{"name":' * 100_000, 400, "request.unreadable", "deeply"),
    "a key twice": (b'{"email": "a@b", "email": "c@d"}', 400, "request.unreadable", "'email' twice"),
    "NaN": (b'{"email": NaN}', 400, "request.unreadable", "NaN"),
    "a long number": (b'{"email": ' + b"1" * 5000 + b"}", 400, "request.unreadable", "digits"),
    "NUL": (encoded(email="a\0@example.com"), 422, "request.invalid", "NUL"),
    "half a character": (b'{"email": "\\ud800@example.com"}', 422, "request.invalid", "surrogate"),
    "a wrong type": (encoded(email=7), 422, "request.invalid", "email: it must be a string"),
    "a wrong word": (encoded(email="a@b", role="boss"), 422, "request.invalid", "owner, admin, member"),
    "nothing": (b"", 422, "request.invalid", "email: it is missing"),
    "an unknown field": (encoded(email="a@b", mail="x"), 422, "request.invalid", "mail: it is unknown"),
    "a hidden field": (encoded(email="a@b", agreed={}), 422, "request.invalid", "agreed: it is unknown"),
    "a bad address": (encoded(email="ada"), 422, "users.email_invalid", "name@example.com"),
    "two passwords": (
        encoded(email="a@b.example", password="Correct-horse", invite=True),
        422,
        "users.two_passwords",
        "exclude each other",
    ),
}


@pytest.mark.parametrize("kind", _BODIES)
def test_bad_body_is_refused_with_its_fault(api: Api, people: People, kind: str) -> None:
    body, status, code, fault = _BODIES[kind]
    before = people.sql("SELECT count(*) FROM bazar.users")
    reply = api.ask("POST", "/users/", raw=body)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert fault in reply.json["detail"]
    assert reply.json["hint"]
    assert people.sql("SELECT count(*) FROM bazar.users") == before


_REQUESTS: dict[str, tuple[str, str, dict[str, str], int, str, str]] = {
    "no route": ("GET", "/user/", {}, 404, "request.no_route", "/api/v1/user/"),
    "no slash": ("GET", "/users", {}, 404, "request.no_route", "/api/v1/users"),
    "a method": ("PATCH", "/users/", {}, 405, "request.method_not_allowed", "PATCH is not served"),
    "an unknown method": ("BREW", "/users/me", {}, 405, "request.method_not_allowed", "BREW"),
    "an unknown parameter": ("GET", "/users/?plans=free", {}, 422, "request.invalid", "plans: it is unknown"),
    "a parameter twice": ("GET", "/users/?plan=free&plan=plus", {}, 422, "request.invalid", "twice"),
    "a limit": ("GET", "/users/?limit=ten", {}, 422, "request.invalid", "limit: it must be an integer"),
    "a high limit": ("GET", "/users/?limit=1001", {}, 422, "list.limit_invalid", "1000"),
    "a time": ("GET", "/users/?created_since=now", {}, 422, "request.invalid", "RFC 3339"),
    "a cursor": ("GET", "/users/?cursor=x", {}, 422, "list.cursor_invalid", "cursor"),
    "no id": ("GET", "/users/7", {}, 404, "users.not_found", "'7'"),
    "a plan": ("GET", "/plans/gold", {}, 422, "request.invalid", "free, plus, premium"),
    "NUL in the path": ("GET", "/users/a%00b", {}, 422, "request.invalid", "NUL"),
    "no UTF-8 in the path": ("GET", "/users/%ff", {}, 404, "users.not_found", "no user"),
    "dry_run": ("POST", "/audit/verify?dry_run=1", {}, 422, "request.invalid", "dry_run"),
    "dry_run of a read": ("GET", "/users/me?dry_run=true", {}, 422, "request.invalid", "dry_run: it is unknown"),
    "the version": ("GET", "/users/me", {"Bazar-Version": "new"}, 400, "request.unreadable", "not a version"),
    "another version": ("GET", "/users/me", {"Bazar-Version": "7.0.0"}, 400, "request.other_version", "7.0.0"),
    "no ETag": ("DELETE", "/users/x", {"If-Match": "abc"}, 400, "request.unreadable", "If-Match"),
    "an open ETag": ("DELETE", "/users/x", {"If-Match": '"abc'}, 400, "request.unreadable", "If-Match"),
    "If-Match of a read": ("GET", "/users/me", {"If-Match": '"abc"'}, 400, "request.unreadable", "no If-Match"),
    "a method of {user}": ("DELETE", "/users/me", {}, 405, "request.method_not_allowed", "/users/me"),
    "a method of {plan}": ("PUT", "/plans/usage", {}, 405, "request.method_not_allowed", "/plans/usage"),
    "a key": ("POST", "/users/", {"Idempotency-Key": "a b"}, 422, "request.invalid", "email"),
    "a key of a read": ("GET", "/users/me", {"Idempotency-Key": "a"}, 400, "request.unreadable", "takes no"),
}


@pytest.mark.parametrize("kind", _REQUESTS)
def test_bad_request_is_refused_with_its_fault(api: Api, kind: str) -> None:
    method, path, headers, status, code, fault = _REQUESTS[kind]
    reply = api.ask(method, path, headers=headers)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert fault in reply.json["detail"]


def test_problem_has_all_members_and_names_its_request(api: Api) -> None:
    reply = api.ask("GET", "/users/nobody@example.com", headers={"X-Request-Id": "my-request-17"})
    assert reply.headers["X-Request-Id"] == "my-request-17"
    problem: dict[str, Any] = reply.json
    assert problem.pop("type").endswith("/errors.md#users.not_found")
    assert problem == {
        "title": "Not Found",
        "status": 404,
        "detail": "no user 'nobody@example.com' that you can see",
        "instance": "/api/v1/users/nobody@example.com",
        "code": "users.not_found",
        "exit_code": 3,
        "hint": "name a user by id or email; `bazar users list` shows the users that you can see",
        "details": {"user": "nobody@example.com"},
        "request_id": "my-request-17",
        "below": [],
    }


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "a b c d e f", "ümlaut-ümlaut"])
def test_request_id_that_is_not_well_formed_is_replaced(api: Api, given: str) -> None:
    reply = api.ask("GET", "/users/me", headers={"X-Request-Id": given})
    assert len(reply.headers["X-Request-Id"]) == 32


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
)
def test_body_of_another_media_type_is_refused(api: Api, media: str) -> None:
    reply = api.ask("POST", "/users/", raw=encoded(email=an_address()), headers={"Content-Type": media})
    assert (reply.status, reply.code) == (415, "request.media_type")
    assert reply.headers["Accept"] == "application/json"


def test_compressed_body_is_refused(api: Api) -> None:
    reply = api.ask("POST", "/users/", raw=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.code) == (415, "request.media_type")


def test_method_that_is_not_served_names_those_that_are(api: Api) -> None:
    assert api.ask("POST", f"/users/{an_org().id}").headers["Allow"] == "DELETE, GET, PATCH, PUT"


def test_put_needs_the_whole(api: Api, people: People) -> None:
    org = people.org()
    reply = api.ask("PUT", f"/organizations/{org.slug}", {"name": "New"})
    assert (reply.status, reply.code) == (422, "request.invalid")
    assert reply.json["details"]["fields"] == [{"field": "slug", "message": "PUT needs it; PATCH does not"}]


def test_field_of_the_path_is_not_taken_from_the_body(api: Api, people: People) -> None:
    user, other = people.known_user(), people.known_user()
    reply = api.ask("PATCH", f"/users/{user.id}", {"user": str(other.id), "name": "Eve"})
    assert reply.json["details"]["fields"] == [{"field": "user", "message": "it is a part of the path"}]


def test_cursor_of_another_list_is_refused(api: Api, people: People) -> None:
    org = people.org()
    people.org()
    cursor = api.ask("GET", "/organizations/?limit=1").json["next_cursor"]
    for path in ("/users/", f"/organizations/{org.slug}/members", "/audit/events"):
        reply = api.ask("GET", f"{path}?cursor={quote(cursor)}")
        assert (reply.status, reply.code) == (422, "list.cursor_invalid")


def test_slash_in_an_address_is_a_part_of_it(api: Api, people: People) -> None:
    user = people.user(email=f"a/b%2f.{an_address()}")
    reply = api.ask("GET", f"/users/{quote(user.email, safe='')}")
    assert (reply.status, reply.json["email"]) == (200, user.email)


def test_slow_body_does_not_hold_others_up(api: Api, server: Api) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as slow:
        head = f"POST /api/v1/users/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}"
        slow.sendall(f'{head}\r\nContent-Length: 100\r\n\r\n{{"email"'.encode())
        assert api.ask("GET", "/users/me").status == 200
    # The client goes in the middle of its body: nobody gets an answer, and the server goes on.
    assert api.ask("GET", "/users/me").status == 200


def test_hostile_text_is_data(api: Api, people: People, root: Someone) -> None:
    name = "Robert'); DROP TABLE bazar.users;-- <script>alert(1)</script> \u202e"
    made = api.ask("POST", "/users/", {"email": an_address(), "name": name})
    assert made.json["name"] == name
    assert api.ask("GET", f"/users/{made.json['id']}").headers["Content-Type"] == "application/json"
