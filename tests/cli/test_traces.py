"""Traces: one root span a command, its calls below, and a collector that never changes how a command ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bazar_cli import __version__
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.collector import PATIENT, Collector, running_collector
from tests.support.raw_server import RawServer, raw_server

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def collector() -> Generator[Collector]:
    """A collector of its own for each test."""
    with running_collector() as running:
        yield running


@pytest.fixture
def traced(admin: Bazar, collector: Collector) -> Bazar:
    """`bazar` of a superuser, with a collector."""
    return replace(admin, constants=PATIENT).having(**{ENDPOINT: collector.url})


@pytest.mark.live
def test_command_is_a_root_span_and_its_calls_are_children(
    traced: Bazar, collector: Collector, target: Target, unique_email: Callable[[str], str]
) -> None:
    done = traced("users", "create", unique_email("traced"), "-o", "json", "--log-format", "json").ok()
    record = json.loads(done.err.splitlines()[-1])
    [(path, headers, _)] = collector.requests
    assert (path, headers["Content-Type"]) == ("/v1/traces", "application/json")
    root, *children = collector.spans
    assert (root.name, root.kind, root.parent_id, root.failed) == ("bazar users create", 1, "", False)
    assert root.resource == {"service.name": "bazar", "service.version": __version__}
    assert isinstance(root.attributes["process.pid"], int)
    expected = {
        "process.executable.name": "bazar",
        "process.exit.code": 0,
        "user.id": record["operator_id"],
        "bazar.request_id": record["request_id"],
        "bazar.use_case": "users.create",
        "bazar.target": "the environment",
    }
    assert {k: v for k, v in root.attributes.items() if k != "process.pid"} == expected
    # Without a caller the trace has the id of the request, which audit events have.
    assert (root.trace_id, root.id) == (record["request_id"], record["span_id"])
    assert {(child.trace_id, child.parent_id, child.kind) for child in children} == {(root.trace_id, root.id, 3)}
    assert all(root.began <= child.began <= child.ended <= root.ended for child in children)
    database = [child for child in children if child.attributes.get("db.system.name") == "postgresql"]
    auth = [child for child in children if "http.request.method" in child.attributes]
    assert len(database) + len(auth) == len(children)
    assert (len(database), len(auth)) == (record["postgres_calls"], record["auth_calls"])
    assert {"connect", "SELECT bazar.operators", "INSERT bazar.users", "COMMIT"} <= {span.name for span in database}
    [created] = [span for span in auth if span.name == "POST /auth/v1/admin/users"]
    assert created.attributes["http.response.status_code"] == 200
    assert created.attributes["url.full"] == f"{_with_port(target.supabase_url)}/auth/v1/admin/users"


def _with_port(url: str) -> str:
    return url if url.rpartition(":")[2].isdecimal() else f"{url}:443"


def test_failed_call_has_the_code_of_its_error(traced: Bazar, collector: Collector) -> None:
    done = traced.having(BAZAR_TOKEN="not.a.token")("users", "me")
    [root] = collector.take()
    assert (done.code, root.attributes["process.exit.code"]) == (4, 4)
    assert (root.failed, root.attributes["error.type"]) == (True, "auth.token_invalid")
    assert traced.having(DATABASE_URL="postgresql://bazar@127.0.0.1:1/bazar")("users", "me").code == 7
    root, *calls = collector.take()
    assert root.attributes["error.type"] == "postgres.unavailable"
    failed = [call for call in calls if call.failed]
    assert {(call.name, call.attributes["error.type"]) for call in failed} == {("connect", "OperationalError")}


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("users", "me", "--unknown"), 2, "bazar users me"),
        (("users", "unknown"), 2, "bazar users"),
        (("unknown",), 2, "bazar"),
        (("users", "get", "nobody@example.com"), 3, "bazar users get"),
        (("plans", "check", "users:read", "--user", "nobody@example.com"), 3, "bazar plans check"),
    ],
)
def test_refused_command_leaves_one_root_span(
    traced: Bazar, collector: Collector, words: tuple[str, ...], code: int, name: str
) -> None:
    assert traced(*words).code == code
    [root] = collector.roots
    assert (root.name, root.attributes["process.exit.code"], root.failed) == (name, code, True)
    # Arguments name people.
    assert "nobody@example.com" not in collector.requests[0][2].decode()


@pytest.mark.parametrize("words", [("--version",), ("users",), ("users", "list", "--help"), ("__complete", "us")])
def test_what_only_shows_help_leaves_no_span(traced: Bazar, collector: Collector, words: tuple[str, ...]) -> None:
    traced(*words).ok()
    assert collector.requests == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_signal_leaves_one_root_span_and_one_record_with_its_exit_code(
    traced: Bazar, collector: Collector, number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        words = ("users", "create", "x@example.com", "--log-format", "json")
        with traced.having(SUPABASE_URL=url).start(*words) as process:
            connection, _ = silent.accept()
            process.send_signal(number)
            _, said = process.communicate()
            assert process.returncode == -number
            connection.close()
    [root] = collector.roots
    assert (root.attributes["process.exit.code"], root.attributes["error.type"]) == (128 + number, "interrupted")
    records = [record for line in said.splitlines() if "event" in (record := json.loads(line))]
    assert [record["exit_code"] for record in records] == [128 + number]
    [call] = [span for span in collector.spans if "http.request.method" in span.attributes]
    assert call.attributes["error.type"] == ("KeyboardInterrupt" if number == signal.SIGINT else "EndedBySignal")


def test_closed_pipe_leaves_one_root_span_with_0(traced: Bazar, collector: Collector) -> None:
    with traced.start("users", "list") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 0
    [root] = collector.roots
    assert (root.attributes["process.exit.code"], root.failed) == (0, False)


def test_lines_of_a_batch_are_children_of_the_batch(traced: Bazar, collector: Collector) -> None:
    lines = b"users me\nusers get nobody@example.com\nusers nobody@example.com\nauth logout\nusers 'me\n"
    with traced.start("batch", "-", "--keep-going", stdin=subprocess.PIPE) as process:
        process.communicate(lines)
    assert process.returncode == 8
    *within, batch = collector.roots
    assert [(root.name, root.attributes["process.exit.code"]) for root in within] == [
        ("bazar users me", 0),
        ("bazar users get", 3),
        ("bazar users", 2),
        ("bazar auth logout", 2),
        ("bazar", 2),
    ]
    assert {root.attributes.get("error.type") for root in within[2:]} == {"batch.line_invalid"}
    assert b"nobody@example.com" not in b"".join(body for _, _, body in collector.requests)
    assert (batch.name, batch.attributes["process.exit.code"]) == ("bazar batch", 8)
    assert {(root.trace_id, root.parent_id) for root in within} == {(batch.trace_id, batch.id)}


def test_batch_waits_once_for_a_collector_that_fails(admin: Bazar, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with raw_server() as server:
        silent(server)
        bazar = admin.having(**{ENDPOINT: server.url})
        bazar("batch", "-", "--jobs", "1", stdin=f"users me --log-file {log}\n" * 3).ok()
        # One of the worker, one of the batch itself.
        assert len(server.requests) == 2
    assert log.read_text().count("the trace was not sent: the collector failed for an earlier command") == 2


def test_caller_is_the_parent_and_auth_gets_the_context(traced: Bazar, collector: Collector) -> None:
    caller = traced.having(TRACEPARENT=SAMPLED, TRACESTATE="vendor=1").lacking("BAZAR_TOKEN")
    with raw_server() as auth:
        done = caller.having(SUPABASE_URL=auth.url)(
            "auth", "login", "--email", "a@b.example", "--password-stdin", stdin="x" * 9
        )
        [head] = auth.requests
    assert done.code == 7
    root, call = collector.spans
    assert (root.trace_id, root.parent_id, call.parent_id) == (TRACE, PARENT, root.id)
    sent = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
    assert (sent["traceparent"], sent["tracestate"]) == (f"00-{TRACE}-{call.id}-01", "vendor=1")
    assert call.name == "POST /auth/v1/token"
    assert "?" not in str(call.attributes["url.full"])


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"TRACEPARENT": f"00-{TRACE}-{PARENT}-00"},
        {ENDPOINT: ""},
    ],
    ids=lambda v: next(iter(v)),
)
def test_traces_can_be_switched_off(traced: Bazar, collector: Collector, variables: dict[str, str]) -> None:
    traced.having(**variables)("users", "me").ok()
    assert collector.requests == []


def test_endpoint_headers_and_names_for_traces_come_first(traced: Bazar, collector: Collector) -> None:
    named = traced.having(
        **{ENDPOINT: "http://127.0.0.1:1"},
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/otlp?tenant=a",
        OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20abc, x-tenant = b",
        OTEL_SERVICE_NAME="provisioning",
        OTEL_RESOURCE_ATTRIBUTES="service.name=other,deployment.environment.name=te%20st,broken",
    )
    named("config", "path").ok()
    [(path, headers, _)] = collector.requests
    assert (path, headers["Authorization"], headers["x-tenant"]) == ("/otlp?tenant=a", "Bearer abc", "b")
    [root] = collector.spans
    assert root.resource["service.name"] == "provisioning"
    assert root.resource["deployment.environment.name"] == "te st"


def test_query_of_the_base_url_is_kept(traced: Bazar, collector: Collector) -> None:
    traced.having(**{ENDPOINT: f"{collector.url}/otlp/?tenant=a/b"})("config", "path").ok()
    assert [path for path, _, _ in collector.requests] == ["/otlp/v1/traces?tenant=a/b"]


@pytest.mark.parametrize("account", ["token-of-ada", "ada:pass-word", ":pass-word"])
@pytest.mark.parametrize("variable", [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_account_in_the_url_is_refused_and_not_shown(
    admin: Bazar, collector: Collector, variable: str, account: str
) -> None:
    url = collector.url.replace("//", f"//{account}@")
    logged = admin.having(**{variable: url})("config", "path", "--log-format", "json", "--debug").ok().err
    assert f"the trace was not sent: {variable} has a user or password, which bazar does not send" in logged
    assert "Authorization=Basic" in logged
    assert "token-of-ada" not in logged
    assert "pass-word" not in logged
    assert collector.requests == []


# -- a collector that fails --------------------------------------------------------------------------------------


def silent(server: RawServer) -> None:
    server.answer = lambda: server.drips(b"")


def drips(server: RawServer) -> None:
    server.answer = lambda: server.drips(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 1000)


def never_reads(server: RawServer) -> None:
    server.reads = False


def fails(server: RawServer) -> None:
    server.answer = lambda: [b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"]


def speaks_no_http(server: RawServer) -> None:
    server.answer = lambda: [b"\x00\x01\x02 never shown\r\n\r\n"]


def redirects(server: RawServer) -> None:
    server.answer = lambda: [f"HTTP/1.1 307 x\r\nLocation: {server.url}\r\nContent-Length: 0\r\n\r\n".encode()]


@contextmanager
def broken_collector(change: Callable[[RawServer], None] | None) -> Generator[str]:
    """Yield the URL of a collector with a fault; without `change` one that never accepts a connection."""
    if change is None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        return
    with raw_server() as server:
        change(server)
        yield server.url


FAULTS = (None, silent, drips, never_reads, fails, speaks_no_http, redirects)
GARBAGE = (
    *("garbage", "http://", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:99999", "http://\u00e4\u00f6.example"),
    *(
        "http://127.0.0.1:1",
        "http://127.0.0.1:1/a b",
        "http://no-such-host.invalid",
        "https://127.0.0.1:1",
        "http://a\tb",
        "://",
        " ",
    ),
)


@pytest.mark.spread
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("words", [("users", "me", "-o", "json"), ("users", "get", "nobody@example.com")], ids=" ".join)
def test_broken_collector_changes_nothing(
    admin: Bazar, fault: Callable[[RawServer], None] | None, words: tuple[str, ...]
) -> None:
    without = admin(*words)
    with broken_collector(fault) as url:
        assert admin.having(**{ENDPOINT: url})(*words) == without


@pytest.mark.parametrize("endpoint", GARBAGE)
def test_unusable_endpoint_changes_nothing_and_the_log_says_why(admin: Bazar, endpoint: str) -> None:
    bazar = admin.having(**{ENDPOINT: endpoint})
    assert bazar("config", "path", "-o", "json") == admin("config", "path", "-o", "json")
    logged = bazar("config", "path", "--log-format", "text").ok().err
    assert logged.count("the trace was not sent: ") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c\r\nd"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere"),
    ],
)
def test_unusable_setting_changes_nothing(traced: Bazar, admin: Bazar, name: str, value: str) -> None:
    bazar = traced.having(**{name: value, ENDPOINT: traced.environ[ENDPOINT].replace("http:", "https:")})
    assert bazar("config", "path") == admin("config", "path")


@pytest.mark.parametrize(
    "parent",
    ["", "garbage", SAMPLED.upper(), f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"{SAMPLED}-more"],
)
def test_unreadable_caller_does_not_count(traced: Bazar, collector: Collector, parent: str) -> None:
    traced.having(TRACEPARENT=parent)("config", "path").ok()
    [root] = collector.spans
    assert root.parent_id == ""
    assert root.trace_id == root.attributes["bazar.request_id"]


def test_later_version_of_the_context_counts(traced: Bazar, collector: Collector) -> None:
    traced.having(TRACEPARENT=f"01-{TRACE}-{PARENT}-01-more")("config", "path").ok()
    assert [(span.trace_id, span.parent_id) for span in collector.spans] == [(TRACE, PARENT)]
