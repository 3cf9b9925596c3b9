"""The client of the API against servers that answer badly: one clear error each, within bounds."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bazar_cli import __version__
from bazar_cli.adapters.remote import client as clients
from bazar_cli.adapters.remote import connection
from bazar_cli.adapters.remote.client import ApiClient, Ask
from bazar_cli.domain.consent import ConsentNeeded
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Denied, NotFound, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import RemoteTarget, TargetKind, TargetSource
from bazar_cli.domain.users import users
from bazar_cli.services.remote.requests import asked_for, result_of
from tests.support.raw_server import RawServer, raw_server

READ = Ask("GET", "/users/me", "/users/me", Secret("t.o.k"))
WRITE = Ask("POST", "/users/", "/users/", Secret("t.o.k"), body={"email": "ada@example.com"})


@pytest.fixture
def server() -> Generator[RawServer]:
    with raw_server() as found:
        yield found


_OPEN: list[ApiClient] = []


@pytest.fixture(autouse=True)
def _closed() -> Generator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def client_of(url: str, environ: dict[str, str] | None = None) -> ApiClient:
    """Make a client, which is closed after the test."""
    made = ApiClient(RemoteTarget(TargetSource(TargetKind.ENVIRONMENT, ""), url), environ or {})
    made.request_id = "a" * 32
    _OPEN.append(made)
    return made


def answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json", more: str = "") -> Iterable[bytes]:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nBazar-Version: 9.9.9\r\n{more}"
    return [head.encode() + b"\r\n" + body]


def problem(**values: object) -> bytes:
    made = {"code": "users.not_found", "detail": "no user", "exit_code": 3, "hint": "look", "details": {"user": "x"}}
    return json.dumps({**made, **values}).encode()


def refused(client: ApiClient, asked: Ask = READ) -> BazarError:
    with pytest.raises(BazarError) as error:
        client.ask(asked)
    return error.value


def of_problem(server: RawServer, status: str = "404 Not Found", more: str = "", **values: object) -> BazarError:
    server.answer = lambda: answer(problem(**values), status=status, kind="application/problem+json", more=more)
    return refused(client_of(server.url))


# -- requests -----------------------------------------------------------------------------------------------


def test_request_has_token_version_and_request_id(server: RawServer) -> None:
    server.answer = lambda: answer(b'{"id": 1}')
    assert client_of(f"{server.url}/base").ask(WRITE) == {"id": 1}
    [head] = server.requests
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /base/api/v1/users/ HTTP/1.1"
    wanted = {"Authorization: Bearer t.o.k", f"Bazar-Version: {__version__}", f"X-Request-Id: {'a' * 32}"}
    assert wanted <= set(lines)
    assert server.bodies == [b'{"email":"ada@example.com"}']


def test_path_and_query_hold_any_reference(server: RawServer) -> None:
    server.answer = lambda: answer(b"{}")
    for reference in ("a/b?c#d@example.com", "100%", "gr\u00fcn"):
        with pytest.raises(Conflict):
            result_of(users.GET, client_of(server.url), asked_for(users.GET, users.GetUser(reference)))
    asked = asked_for(users.LIST, users.ListUsers(search="a&b=c", limit=7), dry_run=True)
    assert asked.query == {"dry_run": "true", "search": "a&b=c", "limit": "7"}
    paths = [head.split(b" ")[1].decode() for head in server.requests]
    assert paths == [f"/api/v1/users/{name}" for name in ("a%2Fb%3Fc%23d%40example.com", "100%25", "gr%C3%BCn")]


@pytest.mark.parametrize("reference", ["", ".", "..", "me", "export", "adopt"])
def test_reference_that_a_path_cannot_hold_is_looked_up_as_nobody(server: RawServer, reference: str) -> None:
    asked = asked_for(users.GET, users.GetUser(reference))
    [new] = asked.stands_for
    body = problem(detail=f"no user {new!r} that you can see", details={"user": new})
    server.answer = lambda: answer(body, status="404 Not Found", kind="application/problem+json")
    with pytest.raises(NotFound) as error:
        result_of(users.GET, client_of(server.url), asked)
    assert (error.value.message, error.value.details) == (
        f"no user {reference!r} that you can see",
        {"user": reference},
    )
    assert server.requests[0].startswith(f"GET /api/v1/users/{new} ".encode())


def test_connection_is_kept_and_opened_again_after_the_server_closed_it(server: RawServer) -> None:
    server.answer = lambda: answer(b"{}")  # and it closes
    client = client_of(server.url)
    for _ in range(3):
        client.ask(READ)
    assert len(server.requests) == 3


# -- errors of the server -----------------------------------------------------------------------------------


def test_problem_is_the_error_that_the_server_raised(server: RawServer) -> None:
    error = of_problem(server, below=["one", "two"])
    assert type(error) is NotFound
    assert (error.code, error.hint, error.details) == ("users.not_found", "look", {"user": "x"})
    assert error.lines == ("no user", "  one", "  two")


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [(1, BazarError), (2, UsageError), (5, Denied), (6, Conflict), (7, BackendUnavailable), (77, BazarError)],
)
def test_exit_code_is_that_of_a_direct_target(server: RawServer, exit_code: int, kind: type[BazarError]) -> None:
    assert type(of_problem(server, "500 Any", exit_code=exit_code)) is kind


def test_impact_is_consent_that_is_needed(server: RawServer) -> None:
    impact: dict[str, Any] = {
        "text": "it ends",
        "question": "End it?",
        "command": "bazar end",
        "subject": ["end", "x"],
        "users": 2,
        "details": {"users": 2},
        "word": {"value": "acme", "what": "the slug", "code": "orgs.confirm_mismatch", "any_case": False},
    }
    error = of_problem(server, "428 Precondition Required", impact=impact)
    assert isinstance(error, ConsentNeeded)
    assert (error.code, error.hint) == ("orgs.confirm_mismatch", "to do it: `bazar end`")
    assert (error.impact.subject, error.impact.users) == (("end", "x"), 2)
    assert error.impact.word is not None
    assert error.impact.word.matches("acme")


def test_answer_of_another_release_names_both_versions(server: RawServer) -> None:
    server.answer = lambda: answer(b'{"id": 1}')
    with pytest.raises(Conflict) as error:
        result_of(users.ME, client_of(server.url), asked_for(users.ME, None))
    assert error.value.code == "api.other_version"
    assert error.value.details == {"client": __version__, "server": "9.9.9"}
    assert f"bazar {__version__}" in error.value.message
    assert "bazar 9.9.9" in error.value.message


# -- no bazar -----------------------------------------------------------------------------------------------

_HTML = b"<html><body>502 Bad Gateway</body></html>"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(_HTML) + _HTML,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(_HTML) + _HTML,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nBazar-Version: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 404 No\r\nContent-Type: application/problem+json\r\nBazar-Version: 1\r\nContent-Length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nBazar-Version: 1\r\nContent-Length: 4\r\n\r\n{"a"',
    ],
    ids=["gateway", "page", "json of another", "not a problem", "problem of another", "half JSON"],
)
def test_answer_of_another_program_is_named(server: RawServer, raw: bytes) -> None:
    server.answer = lambda: [raw]
    error = refused(client_of(server.url))
    assert (error.code, error.exit_code) == ("api.foreign_answer", 7)
    assert server.url in error.message
    assert "html" not in error.message.replace("text/html", "")


def test_redirect_is_not_followed_and_shows_no_secret(server: RawServer) -> None:
    location = "https://elsewhere.example.com/login?token=hidden"
    server.answer = lambda: answer(b"", status="302 Found", more=f"Location: {location}\r\n")
    error = refused(client_of(server.url))
    assert error.code == "api.foreign_answer"
    assert error.message.endswith("a redirect to https://elsewhere.example.com")
    assert "hidden" not in error.message + error.hint


# -- no whole answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nBazar-Version: 1\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nBazar-Version: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["nothing", "half a body", "no last chunk", "not HTTP"],
)
def test_cut_answer_is_no_answer(server: RawServer, raw: bytes) -> None:
    server.answer = lambda: [raw]
    for asked in (READ, WRITE):
        error = refused(client_of(server.url), asked)
        assert (error.code, error.exit_code) == ("api.unavailable", 7)
        assert "can be run again" in error.hint
    assert len(server.requests) == 2, "no request is sent twice"


def test_no_server_says_where_it_looked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = refused(client_of(url))
    assert error.message == f"the API at {url} is not available: Connection refused"


def test_slow_answer_ends_with_the_deadline(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CALL_SECONDS", 0.3)
    body = b'{"a": "' + b"x" * 100_000 + b'"}'
    server.answer = lambda: server.drips(b"".join(answer(body)))
    error = refused(client_of(server.url))
    assert error.message.endswith("it gave no complete answer in time")
    assert server.sent < len(body)


def test_endless_answer_ends_at_the_limit(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MOST_BYTES", 100_000)

    def endless() -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nBazar-Version: 1\r\nContent-Type: application/json\r\n\r\n"
        while not server.over.is_set():
            yield b" " * 65536

    server.answer = endless
    assert "larger than" in refused(client_of(server.url)).message


# -- a busy server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_read_is_repeated_after_the_time_that_the_server_names(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    busy = answer(problem(exit_code=7), status=status, kind="application/problem+json", more="Retry-After: 2\r\n")
    answers = iter([busy, busy, answer(b"{}")])
    server.answer = lambda: next(answers)
    assert client_of(server.url).ask(READ) == {}
    assert waited == [2, 2]


@pytest.mark.parametrize(("asked", "again"), [(WRITE, "1"), (READ, "3600"), (READ, "soon")])
def test_other_refusals_of_a_busy_server_count_at_once(server: RawServer, asked: Ask, again: str) -> None:
    server.answer = lambda: answer(
        problem(exit_code=7), status="503 Busy", kind="application/problem+json", more=f"Retry-After: {again}\r\n"
    )
    assert refused(client_of(server.url), asked).code == "users.not_found"
    assert len(server.requests) == 1


# -- streams ------------------------------------------------------------------------------------------------


def streamed(server: RawServer, content: bytes) -> list[object]:
    server.answer = lambda: answer(content, kind="application/jsonl")
    return list(client_of(server.url).stream(READ))


def test_stream_yields_lines_until_its_end(server: RawServer) -> None:
    assert streamed(server, b'{"n":1}\n{"n":2}\n{"end":true}\n') == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("content", [b'{"n":1}\n', b'{"n":1}\n{"n"', b'{"n":1}\n{"end":true}', b"", b"<html>\n"])
def test_cut_stream_is_no_whole_answer(server: RawServer, content: bytes) -> None:
    with pytest.raises(BackendUnavailable) as error:
        streamed(server, content)
    assert error.value.code == "api.unavailable"


def test_error_in_a_stream_is_raised(server: RawServer) -> None:
    server.answer = lambda: answer(
        b'{"n":1}\n{"error":' + problem(exit_code=7, code="postgres.unavailable") + b"}\n", kind="application/jsonl"
    )
    rows = client_of(server.url).stream(READ)
    assert next(rows) == {"n": 1}
    with pytest.raises(BackendUnavailable) as error:
        next(rows)
    assert error.value.code == "postgres.unavailable"


def test_stream_that_is_refused_is_an_error_at_once(server: RawServer) -> None:
    server.answer = lambda: answer(problem(exit_code=5), status="403 No", kind="application/problem+json")
    with pytest.raises(Denied):
        client_of(server.url).stream(READ)


def test_json_in_place_of_a_stream_is_of_another_program(server: RawServer) -> None:
    server.answer = lambda: answer(b"{}")
    with pytest.raises(BackendUnavailable) as error:
        client_of(server.url).stream(READ)
    assert error.value.code == "api.foreign_answer"


# -- TLS and proxies ----------------------------------------------------------------------------------------


@contextmanager
def encrypted(server: RawServer, folder: Path) -> Generator[tuple[int, Path]]:
    """Serve TLS for localhost in front of a server, one connection after another; yields port and certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    plain, _ = listener.accept()
                    with context.wrap_socket(plain, server_side=True) as connected:
                        server.requests.append(connected.recv(65536))
                        connected.sendall(b"".join(server.answer()))
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], certificate
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_certificate_must_be_trusted(server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda: answer(b"{}")
    with encrypted(server, tmp_path) as (port, certificate):
        error = refused(client_of(f"https://localhost:{port}"))
        assert (error.code, "SSL_CERT_FILE" in error.hint) == ("api.unavailable", True)
        assert "its certificate is not trusted" in error.message
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert client_of(f"https://localhost:{port}").ask(READ) == {}
        # Another name than that of the certificate.
        assert "certificate" in refused(client_of(f"https://127.0.0.1:{port}")).message


def test_proxy_opens_a_tunnel_and_sees_no_token(
    server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda: answer(b"{}")
    with encrypted(server, tmp_path) as (port, certificate), socket.create_server(("127.0.0.1", 0)) as listener:
        seen: list[bytes] = []

        def tunnel() -> None:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as there:
                seen.append(client.recv(65536))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_copied, args=(there, client, []))
                back.start()
                _copied(client, there, seen)
                back.join()

        thread = threading.Thread(target=tunnel)
        thread.start()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        proxy = f"http://ada:word@127.0.0.1:{listener.getsockname()[1]}"
        client = client_of(f"https://localhost:{port}", {"HTTPS_PROXY": proxy})
        assert client.ask(READ) == {}
        client.close()
        thread.join()
    assert seen[0].startswith(f"CONNECT localhost:{port} HTTP/1.".encode())
    assert b"Proxy-Authorization: Basic YWRhOndvcmQ=" in seen[0]
    assert b"t.o.k" not in b"".join(seen)
    assert b"Authorization: Bearer t.o.k" in server.requests[0]
    assert b"Proxy-Authorization" not in server.requests[0]


def test_plain_http_uses_no_proxy(server: RawServer) -> None:
    server.answer = lambda: answer(b"{}")
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY")
    assert client_of(server.url, dict.fromkeys(names, "http://127.0.0.1:1")).ask(READ) == {}


def _copied(source: socket.socket, to: socket.socket, seen: list[bytes]) -> None:
    try:
        while piece := source.recv(65536):
            seen.append(piece)
            to.sendall(piece)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        pass
