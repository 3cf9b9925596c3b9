"""Every call to Supabase Auth ends within its deadline, and its answer within bounds, whatever the server does.

The calls are the public methods of what speaks with Supabase Auth, found by looking: a new one is called too.
"""

from __future__ import annotations

import asyncio
import gzip
import inspect
import itertools
import json
import socket
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.adapters.postgres.users import changes
from bazar_cli.adapters.supabase import transport
from bazar_cli.adapters.supabase.admin import AdminClient
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.adapters.supabase.bulk import BulkAdminClient, open_bulk
from bazar_cli.adapters.supabase.jwks import KeySet
from bazar_cli.adapters.supabase.probe import probe_auth
from bazar_cli.devstack import health
from bazar_cli.domain.errors import BackendUnavailable, BazarError, KeyRefused
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from bazar_cli.domain.users.identities import IdentityRefused, NewIdentity, OutcomeUnknown
from bazar_cli.services.users import leases
from tests.support.raw_server import RawServer, raw_server

Call = Callable[[Target], object]
ID = uuid.UUID("018f0000-0000-7000-8000-000000000001")
EMAIL = "ada@example.com"
NEW = NewIdentity(ID, EMAIL, ID, "created", Secret("correct horse"), None)
GIVEN: Mapping[str, object] = {
    "uuid.UUID": ID,
    "uuid.UUID | None": ID,
    "str": EMAIL,
    "Secret": Secret("c2VjcmV0"),
    "bool": True,
    "NewIdentity": NEW,
}
"""A value for each type that a method asks for."""
READERS = {"AdminClient.every", "AdminClient.find_by_email", "AdminClient.get", "BulkAdminClient.get"}
BOUND = 128 * 2**10
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LONG = 40


def methods_of(kind: type[object], make: Callable[[Target], Any]) -> dict[str, Call]:
    def calling(name: str) -> Call:
        def call(target: Target) -> object:
            with make(target) as client:
                method = getattr(client, name)
                parameters = inspect.signature(method).parameters.values()
                done = method(**{p.name: GIVEN[p.annotation] for p in parameters})
                return list(done) if inspect.isgenerator(done) else done

        return call

    names = (name for name, _ in inspect.getmembers(kind, inspect.isfunction))
    return {f"{kind.__name__}.{n}": calling(n) for n in names if not n.startswith("_") and n != "close"}


def asynchronous(target: Target) -> AbstractContextManager[object]:
    """The asynchronous client, with its methods as ordinary ones: each on an event loop of its own."""

    def calling(name: str) -> Callable[..., object]:
        method = getattr(BulkAdminClient, name)

        def call(_self: object, *given: object, **named: object) -> object:
            async def once() -> object:
                async with open_bulk(target, 1) as client:
                    return await method(client, *given, **named)

            return asyncio.run(once())

        return wraps(method)(call)

    names = (name for name, _ in inspect.getmembers(BulkAdminClient, inspect.isfunction) if not name.startswith("_"))
    return nullcontext(type("BulkAdminClient", (), {name: calling(name) for name in names})())


CALLS: Mapping[str, Call] = {
    **methods_of(BulkAdminClient, asynchronous),
    **methods_of(AdminClient, lambda target: closing(AdminClient(target, read_only=False))),
    **methods_of(AuthClient, AuthClient),
    "KeySet.find": lambda target: KeySet(target, Path("/nowhere")).find("kid"),
    "probe_auth": probe_auth,
}
NAMES = (
    *("id", "email", "users", "keys", "user", "session", "access_token", "refresh_token", "expires_in", "expires_at"),
    *("token_type", "app_metadata", "user_metadata", "bazar", "deployment", "origin", "banned_until", "deleted_at"),
    *("created_at", "invited_at", "aud", "action_link", "email_otp", "hashed_token", "redirect_to", "properties"),
    *("verification_type", "code", "error_code", "message", "msg", "weak_password", "reasons", "version", "kid"),
)
"""The names in Supabase Auth's answers that something reads."""


def chunked(head: bytes, chunk: bytes) -> Iterable[bytes]:
    return itertools.chain([head + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(chunk))


def whole(body: bytes, *headers: bytes, head: bytes = OK) -> list[bytes]:
    lines = [f"Content-Length: {len(body)}".encode(), b"Connection: close", *headers]
    return [head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body]


def coded(coding: str, body: bytes) -> list[bytes]:
    return whole(body, f"Content-Encoding: {coding}".encode())


def bomb() -> bytes:
    return gzip.compress(b'{"users": ["' + bytes(4 * BOUND) + b'"]}')


def nested(levels: int, inner: bytes = b"") -> bytes:
    return b'{"a":' * levels + b"[" + inner + b"]" + b"}" * levels


DRIPS: Mapping[str, bytes] = {
    "nothing": b"",
    "a status line": b"HTTP/1.1 200 " + b"O" * LONG,
    "headers": OK + b"X: " + b"y" * LONG,
    "a body": OK + b"Content-Length: 10000\r\n\r\n{" + b" " * LONG,
    "a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * LONG,
    "what is to come": b"HTTP/1.1 100 Continue\r\n\r\n" * LONG,
}
"""Each goes on for longer than the deadline is, and every byte of it for less."""
ENDLESS: Mapping[str, Callable[[], Iterable[bytes]]] = {
    "a header": lambda: itertools.chain([OK + b"X: "], itertools.repeat(b"y" * 65536)),
    "headers": lambda: itertools.chain([OK], itertools.repeat(b"X-Header: y\r\n" * 5000)),
    "informational answers": lambda: itertools.repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 500),
    "a body without a length": lambda: itertools.chain([OK + b"\r\n{"], itertools.repeat(b" " * 65536)),
    "a body with a length": lambda: itertools.chain(
        [OK + b"Content-Length: 3000000000\r\n\r\n{"], itertools.repeat(b" " * 65536)
    ),
    "chunks": lambda: chunked(OK, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "the extension of a chunk": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n1;"], itertools.repeat(b"x" * 65536)
    ),
    "a trailer": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], itertools.repeat(b"X-Trailer: y\r\n" * 5000)
    ),
    "an error": lambda: itertools.chain([b"HTTP/1.1 500 No\r\n\r\n"], itertools.repeat(b" " * 65536)),
    "a refusal": lambda: itertools.chain([b"HTTP/1.1 403 No\r\n\r\n"], itertools.repeat(b" " * 65536)),
}
NONSENSE: Mapping[str, list[bytes]] = {
    "nothing": [],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "half an answer": [OK + b"Content-Length: 100\r\n\r\n{"],
    "two lengths": [OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
    "another protocol": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"],
    "a bomb": coded("gzip", bomb()),
    "a bomb in a bomb": coded("gzip, gzip", gzip.compress(bomb())),
    "a coding that was not asked for": coded("br", b"\x0b\x02\x80{}\x03"),
    "a coding that is not there": coded("gzip", b"{}"),
    "half a coding": coded("gzip", gzip.compress(b'{"users": []}')[:-4]),
    "deflate": coded("deflate", zlib.compress(b"{}")),
    "an empty body": whole(b""),
    "a page": whole(b"<html>Sign in to the network</html>", b"Content-Type: text/html"),
    "a page of a gateway": whole(b"<html>", head=b"HTTP/1.1 502 Bad Gateway\r\n"),
    "a list": whole(b"[]"),
    "a string": whole(b'"{}"'),
    "half an object": whole(b'{"id":'),
    "two objects": whole(b"{}{}"),
    "another charset": whole('{"email": "é"}'.encode("utf-16")),
    "Latin-1": whole('{"email": "é"}'.encode("latin-1")),
    "deep lists": whole(b"[" * 100_000),
    "deep objects": whole(nested(150)),
    "depth that the parsers take": whole(nested(transport.MOST_LEVELS)),
    "depth behind a string": whole(b'{"a": "\\"]]]", "b": ' + nested(150) + b"}"),
    "a number with many digits": whole(b'{"id": ' + b"9" * 5000 + b"}"),
    "no number": whole(b'{"expires_in": NaN}'),
    "infinity": whole(b'{"expires_in": -Infinity}'),
    "half a surrogate pair": whole(b'{"email": "\\ud800"}'),
    "a refusal that is deep": whole(nested(100_000), head=b"HTTP/1.1 400 Bad Request\r\n"),
    "a refusal with many digits": whole(b'{"code": ' + b"9" * 5000 + b"}", head=b"HTTP/1.1 400 Bad Request\r\n"),
    "a redirect": [b"HTTP/1.1 302 Found\r\nLocation: https://user:pw@elsewhere.example/x?token=y\r\n\r\n"],
    "a redirect to itself": [b"HTTP/1.1 307 Again\r\nLocation: /\r\n\r\n"],
    "a redirect to nowhere": [b"HTTP/1.1 308 Gone\r\nLocation: http://[::1/\r\n\r\n"],
}


@pytest.fixture(scope="module")
def server() -> Generator[RawServer]:
    with raw_server() as running:
        yield running


@pytest.fixture(scope="module")
def target(server: RawServer) -> Target:
    source = TargetSource(TargetKind.ENVIRONMENT, "environment")
    return server.instead_of(Target(source, "", Secret("sb_secret_key"), Secret("postgresql://nowhere/x")))


@pytest.fixture(autouse=True)
def polite(server: RawServer) -> None:
    """Let the server read its requests, whatever a test had before."""
    server.reads = True


def unanswered(name: str, target: Target) -> str:
    """Make a call that gets no answer; return what is said of it. It ends as a timeout does."""
    try:
        CALLS[name](target)
    except OutcomeUnknown as unknown:
        return str(unknown)
    except BackendUnavailable as error:
        if error.code == "supabase.unavailable":
            return error.message
        raise
    raise AssertionError(f"{name} took it for an answer")


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_answer_in_drips_ends_with_the_deadline(
    server: RawServer, target: Target, monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    monkeypatch.setattr(transport, "CALL_SECONDS", 0.03)
    server.answer = lambda: server.drips(drip)
    for name in CALLS:
        assert "took longer than 0.03 s" in unanswered(name, target)


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_without_end_is_not_read_on(
    server: RawServer, target: Target, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Iterable[bytes]]
) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", BOUND)
    server.answer = answer
    for name in CALLS:
        unanswered(name, target)


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_no_answer(
    server: RawServer, target: Target, monkeypatch: pytest.MonkeyPatch, answer: list[bytes]
) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", BOUND)
    server.answer = lambda: answer
    for name in CALLS:
        unanswered(name, target)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b'{"message": "Invalid API key"}', b"<html>no</html>", b""])
def test_a_key_that_is_not_taken_is_one_error(server: RawServer, target: Target, status: int, body: bytes) -> None:
    server.answer = lambda: whole(body, head=f"HTTP/1.1 {status} No\r\n".encode())
    assert not probe_auth(target).key_accepted
    # A page that refuses what a user asks in their own name says nothing of the key.
    of_users = {"AuthClient.create_confirmed", "AuthClient.knows"}.symmetric_difference(
        name for name in CALLS if name.startswith("AuthClient")
    )
    for name in CALLS.keys() - {"probe_auth"} - (set() if body.startswith(b"{") else of_users):
        with pytest.raises(KeyRefused) as refused:
            CALLS[name](target)
        assert (refused.value.code, refused.value.details["status"]) == ("supabase.key_refused", status), name


@pytest.mark.spread
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("status", [200, 401, 404, 422, 500])
def test_an_answer_in_any_encoding_may_be_deep(server: RawServer, target: Target, status: int, encoding: str) -> None:
    for text in ("[" * 100_000, '{"code": "not_admin", "a": ' + "[" * 100_000, " " + '{"a":' * 5000):
        server.answer = lambda text=text: whole(text.encode(encoding), head=f"HTTP/1.1 {status} X\r\n".encode())
        for call in CALLS.values():
            with suppress(OutcomeUnknown, IdentityRefused, BazarError):
                call(target)


@pytest.mark.parametrize("status", [300, 408, 425, 429, 500, 501, 502, 503, 504, 520, 530, 599, 600])
def test_a_status_that_proves_nothing_is_no_answer(server: RawServer, target: Target, status: int) -> None:
    server.answer = lambda: whole(b'{"code": "any", "message": "any"}', head=f"HTTP/1.1 {status} No\r\n".encode())
    for name in CALLS:
        with pytest.raises((OutcomeUnknown, BackendUnavailable)):
            CALLS[name](target)


@pytest.mark.parametrize("status", [400, 405, 409, 410, 413, 422, 451])
def test_a_refusal_is_one_in_the_form_of_supabase_only(server: RawServer, target: Target, status: int) -> None:
    writers = {name for name in CALLS if name.startswith(("AdminClient", "BulkAdminClient"))} - READERS
    head = f"HTTP/1.1 {status} No\r\n".encode()
    for name in writers:
        server.answer = lambda: whole(b"<html>no</html>", head=head)
        unanswered(name, target)
        server.answer = lambda: whole(b'{"error_code": "any", "msg": "because"}', head=head)
        with pytest.raises(IdentityRefused, match="because") as refused:
            CALLS[name](target)
        assert (refused.value.status, refused.value.code) == (status, "any")


def test_a_route_that_is_not_there_is_no_answer(server: RawServer, target: Target) -> None:
    server.answer = lambda: whole(b'{"message": "no Route matched"}', head=b"HTTP/1.1 404 Not Found\r\n")
    for name in CALLS.keys() - {"KeySet.find"}:  # an Auth service with a secret has no key set
        unanswered(name, target)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([1e300, -0.5, "", EMAIL, str(ID), "now", "2026-01-01T00:00:00Z", "9999-99-99", "\u0000"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=5,
)


@settings(max_examples=25, deadline=None)
@given(
    body=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=9), status=st.sampled_from([200, 200, 204, 400, 422])
)
def test_an_answer_of_any_types_is_one_or_none(server: RawServer, target: Target, body: object, status: int) -> None:
    """Whatever the values in it are: it is understood, refused, or its outcome is unknown."""
    server.answer = lambda: whole(json.dumps(body).encode(), head=f"HTTP/1.1 {status} X\r\n".encode())
    for call in CALLS.values():
        with suppress(OutcomeUnknown, IdentityRefused, BazarError):
            call(target)


def test_memory_is_bounded(server: RawServer, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", BOUND)
    inflates = coded("gzip", gzip.compress(bytes(64 * 2**20)))
    tracemalloc.start()
    try:
        for answer in (*ENDLESS.values(), lambda: inflates):
            server.answer = answer
            unanswered("AdminClient.every", target)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["AdminClient.every", "AdminClient.find_by_email"])
@pytest.mark.parametrize(
    ("totals", "repeated", "said"),
    [
        (["0"] * 20, True, "has no end"),
        (["0"] * 20, False, "has no end"),
        (["1000"] * 20, False, "has no end"),
        ([str(1000 * page) for page in range(2, 22)], False, "has no end"),
        (["1000000000"], False, "1000000000 users"),
        (["1000", "1000000000"], False, "1000000000 users"),
        ([None], False, "does not have the form"),
        (["many"], False, "does not have the form"),
    ],
)
def test_a_list_without_end_ends(
    server: RawServer, target: Target, name: str, totals: list[str | None], repeated: bool, said: str
) -> None:
    pages = enumerate(totals)

    def answer() -> list[bytes]:
        page, total = next(pages, (len(totals), totals[-1]))
        first = 0 if repeated else page * 1000
        users = [{"id": str(uuid.UUID(int=first + n))} for n in range(1000)]
        headers = [] if total is None else [b"X-Total-Count: " + total.encode()]
        return whole(json.dumps({"users": users}).encode(), *headers)

    server.answer = answer
    assert said in unanswered(name, target)


def test_a_list_may_grow_while_it_is_read(server: RawServer, target: Target) -> None:
    pages = iter([1000, 1000, 1000, 7])

    def answer() -> list[bytes]:
        users = [{"id": str(uuid.uuid4()), "email": f"{uuid.uuid4()}@example.com"} for _ in range(next(pages, 0))]
        return whole(json.dumps({"users": users}).encode(), b"X-Total-Count: 1000")

    server.answer = answer
    with closing(AdminClient(target, read_only=True)) as admin:
        assert sum(len(page.identities) for page in admin.every()) == 3007


def test_bounds_leave_room_for_what_is_real(server: RawServer, target: Target) -> None:
    deep = json.loads(nested(transport.MOST_LEVELS - 5, b'"]]]]{{{{\\\\\\""'))
    users = [{"id": str(ID), "user_metadata": {"about": "x" * 8000, "deep": deep}}] * 999
    body = gzip.compress(json.dumps({"users": users}).encode())
    server.answer = lambda: whole(body, b"Content-Encoding: gzip", b"X-Total-Count: 999")
    with closing(AdminClient(target, read_only=True)) as admin:
        [page] = admin.every()
    assert len(page.identities) == 999


def test_the_keys_follow_no_redirect(server: RawServer, target: Target) -> None:
    with raw_server() as elsewhere:
        location = elsewhere.url.replace("//", "//user:secret@") + "/auth/v1/health?token=secret"
        server.answer = lambda: [f"HTTP/1.1 307 Away\r\nLocation: {location}\r\n\r\n".encode()]
        for name in CALLS:
            said = unanswered(name, target)
            assert f"it redirects to {elsewhere.url}," in said
            assert "secret" not in said
        assert elsewhere.requests == []


def test_a_handshake_in_drips_ends_with_the_deadline(
    server: RawServer, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CALL_SECONDS", 0.2)
    server.reads = False
    server.answer = lambda: server.drips(b"\x16\x03\x03\x40\x00" + bytes(200))
    encrypted = replace(target, supabase_url=target.supabase_url.replace("http:", "https:"))
    assert "took longer" in unanswered("probe_auth", encrypted)


def test_a_server_that_does_not_read_on_ends_with_the_deadline(
    server: RawServer, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CALL_SECONDS", 0.2)
    server.reads = False
    server.answer = lambda: server.drips(b"")
    with AuthClient(target) as client, pytest.raises(BackendUnavailable, match="took longer"):
        client.get_user(Secret("x" * 2**25))


def test_the_look_up_of_a_name_ends_with_the_deadline(
    target: Target, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(host: str, *args: object, **options: int) -> object:
        if options.get("flags"):
            raise socket.gaierror("not a number")
        server.over.wait()
        raise socket.gaierror("nobody listens any more")

    monkeypatch.setattr(transport, "CALL_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    assert "took longer" in unanswered("probe_auth", replace(target, supabase_url="http://slow.example"))


def test_every_address_of_a_name_is_tried(target: Target, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(target.supabase_url.rpartition(":")[2])
    real = socket.getaddrinfo

    def known(host: str, *args: Any, **options: Any) -> list[Any]:
        if host != "many.example":
            return real(host, *args, **options)
        if options.get("flags"):
            raise socket.gaierror("not a number")
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    server.answer = lambda: whole(b'{"keys": []}')
    assert KeySet(replace(target, supabase_url=f"http://many.example:{port}"), Path("/nowhere")).find("kid") is None


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", ".."])
def test_a_name_that_nobody_has_is_no_service(target: Target, host: str) -> None:
    unanswered("probe_auth", replace(target, supabase_url=f"http://{host}"))


def test_the_health_of_the_embedded_service_has_a_deadline(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_HEALTH_SECONDS", 0.03)
    port = int(server.url.rpartition(":")[2])
    for drip in DRIPS.values():
        server.answer = lambda drip=drip: server.drips(drip)
        assert not health.answers_within(port, 0)
    server.answer = lambda: whole(b"{}")
    # On a busy machine one answer may take longer than that: it is asked again.
    assert health.answers_within(port, 60)


def test_a_call_that_begins_under_a_lease_ends_under_it() -> None:
    assert leases.CALL_WITHIN_SECONDS + transport.CALL_SECONDS < changes.LEASE_SECONDS
