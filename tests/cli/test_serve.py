"""`bazar serve`: processes, signals, health, the access log, metrics and traces. tests/api has what it serves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.auth_proxy import auth_proxy
from tests.support.cli import Bazar, Done
from tests.support.collector import running_collector
from tests.support.people import People, Someone, an_address
from tests.support.server import Server, running_server
from tests.support.waiting import poll

pytestmark = pytest.mark.xdist_group("serve")

_SCRIPT = """
import os, pathlib, sys
from bazar_cli.api.serving import process
from bazar_cli.main import dispatch

def run(*_args, **_options):
    names = [name for name in os.environ if name.startswith(("SUPERUSER", "BAZAR_TOKEN", "SUPABASE"))]
    pathlib.Path(sys.argv[1]).write_text(" ".join(sorted(names)))

process.run = run
dispatch(["serve", "--port", "0"])
"""
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def bazar(home: Path, target: Target) -> Bazar:
    """The command of the machine that serves; SUPERUSER_* are there and must not count."""
    return Bazar(home).on(target).having(SUPERUSER_EMAIL="first@example.com", SUPERUSER_PASSWORD="Correct-horse-9")


@pytest.fixture(scope="module")
def server(bazar: Bazar) -> Generator[Server]:
    """One process that serves, with metrics, below a path and behind a proxy."""
    with running_server(bazar, "--metrics-port", "0", "--proxy-headers", "--root-path", "/bazar") as running:
        yield running


@pytest.fixture
def token(people: People, root: Someone) -> str:
    return people.access_token(root)


def test_probes_and_people_get_answers(server: Server, root: Someone, token: str) -> None:
    assert server.by(None).ask("GET", "//healthz").json == {"status": "ok"}
    assert server.by(None).ask("GET", "//readyz").json == {"status": "ready"}
    assert server.by(token).ask("GET", "/users/me").json["email"] == root.email
    assert server.by(None).ask("GET", "/users/me").status == 401


def test_request_leaves_one_line_without_its_secrets(server: Server, root: Someone, token: str) -> None:
    number = uuid.uuid4().hex
    headers = {"X-Request-Id": number, "X-Forwarded-For": "198.51.100.9, 192.0.2.7"}
    server.by(token).ask("GET", "/users/?limit=1&cursor=verysecretword", headers=headers)
    record = server.request(request_id=number)
    wanted = {
        "method": "GET",
        "route": "/api/v1/users/",
        "use_case": "users.list",
        "operator_id": str(root.id),
        "client": "192.0.2.7",
        "level": "INFO",
    }
    assert {name: record[name] for name in wanted} == wanted
    assert (record["status"], record["error_code"]) == (422, "list.cursor_invalid")
    assert record["duration_ms"] >= 0
    assert record["postgres_calls"] > 0
    assert token not in json.dumps(server.log)
    assert "verysecretword" not in json.dumps(server.log)


def test_metrics_count_requests_by_use_case_only(server: Server, token: str) -> None:
    def count(line: str) -> float:
        text = urllib.request.urlopen(server.metrics_url).read().decode()  # noqa: S310 - our own
        return next((float(found[1]) for found in re.finditer(rf"^{re.escape(line)} (\S+)$", text, re.M)), 0.0)

    listed = 'bazar_http_requests_total{method="GET",status="200",use_case="users.me"}'
    unknown = 'bazar_http_requests_total{method="",status="404",use_case=""}'
    before = count(listed), count(unknown)
    server.by(token).ask("GET", "/users/me")
    server.by(None).ask("BREW", f"//{uuid.uuid4()}")
    poll(lambda: (count(listed), count(unknown)) == (before[0] + 1, before[1] + 1))
    poll(lambda: count("bazar_http_requests_in_hand") == 0)
    assert count('bazar_calls_total{system="postgres"}') > 0


def test_secrets_of_operators_leave_the_environment(bazar: Bazar, tmp_path: Path) -> None:
    """A child of the process would inherit them."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    environ = bazar.having(BAZAR_TOKEN="x").environment()
    subprocess.run([sys.executable, script, tmp_path / "names"], env=environ, check=True)
    assert (tmp_path / "names").read_text() == "SUPABASE_KEY SUPABASE_URL"


def test_drain_answers_and_says_that_it_stops(bazar: Bazar, root: Someone, token: str) -> None:
    with running_server(bazar, "--drain", "300") as server:
        assert server.is_ready()
        server.process.send_signal(signal.SIGTERM)
        poll(lambda: not server.is_ready())
        stopping = server.by(None).ask("GET", "//readyz")
        assert stopping.json == {"status": "not ready", "code": "server.stopping"}
        assert server.by(token).ask("GET", "/users/me").json["email"] == root.email
        # A second signal ends it at once.
        assert server.end() == -signal.SIGTERM


def test_request_in_hand_ends_before_the_process(bazar: Bazar, target: Target, people: People, token: str) -> None:
    email = an_address("served")
    with auth_proxy(target) as proxy:
        held = proxy.hold("POST", "/admin/users", acts=True)
        options = ("--issuer", f"{target.supabase_url}/auth/v1")
        with running_server(bazar.on(proxy.target), *options) as server, ThreadPoolExecutor(1) as threads:
            address = urlsplit(server.url)
            created = threads.submit(server.by(token).ask, "POST", "/users/", {"email": email})
            assert held.held is not None
            held.held.wait()
            server.process.send_signal(signal.SIGTERM)
            poll(lambda: not _takes_connections(str(address.hostname), int(address.port or 0)))
            assert server.process.poll() is None
            held.release.set()
            assert created.result().status == 201
            assert server.process.wait() == 0
    [row] = people.sql("SELECT pending FROM bazar.users WHERE email = %s", email)
    assert row["pending"] is None


def error_of(done: Done) -> dict[str, Any]:
    """Return the error object, after which the record of the command follows."""
    [found] = [line for line in map(json.loads, done.err.splitlines()) if "error" in line]
    return found["error"]


def _takes_connections(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port)):
            return True
    except ConnectionRefusedError:
        return False


def test_ctrl_c_has_no_drain(bazar: Bazar) -> None:
    with running_server(bazar, "--drain", "300") as server:
        assert server.is_ready()
        assert server.end(signal.SIGINT) == 0


def test_workers_are_replaced_and_end_with_their_parent(bazar: Bazar, root: Someone, token: str) -> None:
    with running_server(bazar, "--workers", "2", "--metrics-port", "0") as server:
        parent = psutil.Process(server.process.pid)
        assert server.by(token).ask("GET", "/users/me").json["email"] == root.email
        seen = poll(lambda: _when(children := parent.children(), len(children) == 3))
        working = {record["worker"] for record in poll(lambda: server.requests(status=200))}
        killed = working.pop()
        assert killed in {child.pid for child in seen}
        os.kill(killed, signal.SIGKILL)
        poll(lambda: len(parent.children()) == 3 and killed not in {child.pid for child in parent.children()})
        assert server.by(token).ask("GET", "/users/me").json["email"] == root.email
        text = urllib.request.urlopen(server.metrics_url).read().decode()  # noqa: S310 - our own
        assert 'bazar_http_requests_total{method="GET",status="200",use_case="users.me"} 2.0' in text
        left = parent.children()
        os.kill(parent.pid, signal.SIGKILL)
        assert server.process.wait() == -signal.SIGKILL
        psutil.wait_procs(left)


def _when(value: list[psutil.Process], fact: bool) -> list[psutil.Process]:
    return value if fact else []


def test_workers_end_by_one_signal(bazar: Bazar) -> None:
    with running_server(bazar, "--workers", "2") as server:
        assert server.is_ready()
        children = psutil.Process(server.process.pid).children()
        assert server.end() == 0
        assert not [child for child in children if child.is_running()]


def test_it_is_not_ready_before_the_database_is_migrated(
    bazar: Bazar, target: Target, fresh_database: Callable[..., str]
) -> None:
    fresh = bazar.on(replace(target, database_url=Secret(fresh_database())))
    with running_server(fresh) as server:
        answer = server.by(None).ask("GET", "//readyz")
        assert (answer.status, answer.json["code"]) == (503, "db.not_migrated")
        assert server.by(None).ask("GET", "//healthz").status == 200
        assert [r["level"] for r in server.log if "not ready" in r["message"]] == ["WARNING"]
        fresh.having(SUPERUSER_EMAIL=an_address("first"))("db", "migrate", "--no-input").ok()
        poll(server.is_ready)


def test_trace_of_a_request_joins_that_of_its_client(bazar: Bazar, token: str) -> None:
    with running_collector() as collector:
        traced = bazar.having(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        with running_server(traced) as server:
            headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
            assert server.by(token).ask("GET", "/users/me", headers=headers).status == 200
            spans = poll(lambda: [s for s in collector.spans if s.trace_id == TRACE])
    [root_span] = [s for s in spans if s.parent_id == SPAN]
    assert (root_span.name, root_span.kind) == ("GET /api/v1/users/me", 2)
    assert root_span.attributes["http.response.status_code"] == 200
    assert {s.parent_id for s in spans} == {SPAN, root_span.id}
    assert "/auth/v1/.well-known/jwks.json" in {s.attributes.get("url.template") for s in spans}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--port", "65536"), "serve.option_invalid"),
        (("--workers", "0"), "serve.option_invalid"),
        (("--connections", "2"), "serve.option_invalid"),
        (("--drain", "nan"), "serve.option_invalid"),
        (("--root-path", "bazar"), "serve.option_invalid"),
        (("--root-path", "/bazar/"), "serve.option_invalid"),
        (("--origins", "https://app.example.com/"), "serve.option_invalid"),
        (("--origins", "*"), "serve.option_invalid"),
        (("--host", "no.such.host.invalid"), "serve.address_invalid"),
        (("--host", "192.0.2.1"), "serve.address_invalid"),
    ],
)
def test_options_that_cannot_be_used_are_named(bazar: Bazar, words: tuple[str, ...], code: str) -> None:
    done = bazar("serve", *words, "-o", "json")
    assert (done.code, error_of(done)["code"]) == (2, code)
    assert words[0] in error_of(done)["message"]


def test_port_that_another_program_has_is_named(bazar: Bazar) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options in (("--port", port), ("--port", "0", "--metrics-port", port)):
            done = bazar("serve", *options, "-o", "json")
            assert (done.code, error_of(done)["code"]) == (7, "serve.port_taken")
            assert port in error_of(done)["message"]


def test_missing_extra_is_named(bazar: Bazar, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('No module named uvicorn', name='uvicorn')\n")
    done = replace(bazar, fresh=True).having(PYTHONPATH=str(tmp_path))("serve", "-o", "json")
    error = error_of(done)
    assert (done.code, error["code"], error["details"]) == (2, "serve.extra_missing", {"module": "uvicorn"})
    assert "pip install '.[server]'" in error["hint"]
