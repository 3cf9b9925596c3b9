"""`bazar doctor`: configuration, both systems and the session, one check a line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import yaml

from bazar_cli.domain.entities import Plan
from tests.cli.auth.support import sign_in
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
COMPARED = [
    *("migrations", "marker", "plan-table", "tables-exposed", "organizations-without-owner", "audit-tables"),
    *("open-imports", "pending", "users-without-identity", "identities-without-user", "emails-differ"),
    *("banned-not-suspended", "suspended-not-banned"),
]
CHECKS = [
    *("profiles", "target", "postgres", "supabase", "writable", "connection", "clock", "session", "superusers"),
    *COMPARED,
]


@pytest.fixture(autouse=True)
def somebody_rules(people: People) -> None:
    """A superuser who stays: without one, that would be a finding of every run."""
    people.superuser()


def checks(done: Done) -> dict[str, dict[str, Any]]:
    """The checks of a run in JSON, by their names."""
    found = {check["check"]: check for check in done.json["items"]}
    assert list(found) == CHECKS
    return found


def findings(done: Done) -> dict[str, str]:
    """What asks for something to be done, and how bad it is; each with a remedy."""
    found = {n: c for n, c in checks(done).items() if c["status"] in {"warning", "failed"}}
    assert all(c["remedy"] for c in found.values())
    assert done.code == (9 if found else 0)
    return {name: check["status"] for name, check in found.items()}


def test_all_is_well(as_user: AsUser, people: People) -> None:
    me = people.user(plan=Plan.PLUS)
    bazar = as_user(me)
    done = bazar("doctor", "-o", "json").ok()
    assert {n: c["status"] for n, c in checks(done).items()} == {
        **dict.fromkeys(CHECKS, "ok"),
        **dict.fromkeys(COMPARED, "skipped"),
    }
    assert "db:read, which your plan Plus does not have" in checks(done)["migrations"]["detail"]
    assert checks(done)["pending"]["detail"] == "not checked, see migrations"
    assert done.json["next_cursor"] is None
    assert list(done.json["items"][0]) == ["check", "status", "detail", "remedy", "count", "rows"]
    assert "PostgreSQL" in checks(done)["postgres"]["detail"]
    assert bazar.environ["SUPABASE_URL"] in checks(done)["supabase"]["detail"]
    assert checks(done)["session"]["detail"] == f"{me.email}, plan plus, from BAZAR_TOKEN"
    assert done.err == ""
    for secret in ("SUPABASE_KEY", "BAZAR_TOKEN"):
        assert bazar.environ[secret] not in done.out
    table = bazar("doctor").ok().out.splitlines()
    assert table[0] == "CHECK\tSTATUS\tDETAIL\tREMEDY"
    assert [line.split("\t")[:2] for line in table[1:]] == [
        [name, "skipped" if name in COMPARED else "ok"] for name in CHECKS
    ]
    assert people.events(me.id) == []
    assert yaml.safe_load(bazar("doctor", "-o", "yaml").ok().out) == done.json
    assert bazar("doctor", "-o", "ids").ok().out.split() == CHECKS


def test_superuser_is_named_as_one(admin: Bazar) -> None:
    assert ", plan premium, superuser, from" in checks(admin("doctor", "-o", "json"))["session"]["detail"]


def test_signed_out_operator_is_no_finding(signed_out: Bazar) -> None:
    done = signed_out("doctor", "-o", "json").ok()
    assert checks(done)["session"]["status"] == "skipped"
    assert "bazar auth login" in checks(done)["session"]["remedy"]


def test_no_target(nobody: Bazar) -> None:
    done = nobody("doctor", "-o", "json")
    assert findings(done) == {"target": "failed"}
    assert "bazar local start" in checks(done)["target"]["remedy"]
    assert {checks(done)[name]["status"] for name in CHECKS[2:]} == {"skipped"}
    assert nobody.having(SUPABASE_URL="https://project.supabase.co")("doctor").code == 9


def test_postgres_is_down(as_user: AsUser, people: People) -> None:
    bazar = as_user(people.user()).having(DATABASE_URL="postgresql://someone:very-secret@127.0.0.1:1/nothing")
    done = bazar("doctor", "-o", "json")
    assert findings(done) == {"postgres": "failed"}
    assert "127.0.0.1:1/nothing" in checks(done)["postgres"]["detail"]
    others = {check["detail"] for name, check in checks(done).items() if name in ("writable", "session", *COMPARED)}
    assert others == {"not checked, see postgres"}
    assert "very-secret" not in done.out + done.err
    assert checks(done)["supabase"]["status"] == "ok"


def test_auth_is_down(signed_out: Bazar) -> None:
    done = signed_out.having(SUPABASE_URL="http://127.0.0.1:1")("doctor", "-o", "json")
    assert findings(done) == {"supabase": "failed"}
    assert checks(done)["supabase"]["detail"].endswith("is not available: Connection refused")
    assert "SUPABASE_URL" in checks(done)["supabase"]["remedy"]
    assert checks(done)["postgres"]["status"] == "ok"


def test_wrong_service_key(signed_out: Bazar) -> None:
    done = signed_out.having(SUPABASE_KEY="sb_secret_not-this-one")("doctor", "-o", "json")
    assert findings(done) == {"supabase": "failed"}
    assert "refuses the service key" in checks(done)["supabase"]["detail"]
    assert "SUPABASE_KEY" in checks(done)["supabase"]["remedy"]
    assert "not-this-one" not in done.out


def test_token_with_a_wrong_signature(signed_out: Bazar) -> None:
    done = signed_out.having(BAZAR_TOKEN="not.a.token")("doctor", "-o", "json")
    assert findings(done) == {"session": "failed"}


def test_session_that_was_revoked(signed_out: Bazar, people: People) -> None:
    someone = people.user()
    people.identity(someone)
    sign_in(signed_out, someone).ok()
    token = signed_out("auth", "token").ok().out.strip()
    signed_out("auth", "logout", "--everywhere").ok()
    done = signed_out.having(BAZAR_TOKEN=token)("doctor", "-o", "json")
    assert findings(done) == {"session": "failed"}
    assert "no longer accepts the session" in checks(done)["session"]["detail"]
    assert "not.a.token" not in done.out


def test_signed_in_as_no_user_of_this_bazar(as_user: AsUser, people: People) -> None:
    someone = people.user()
    bazar = as_user(someone)
    people.sql("DELETE FROM bazar.users WHERE id = %s", someone.id)
    done = bazar("doctor", "-o", "json")
    assert findings(done) == {"session": "warning"}
    assert someone.email in checks(done)["session"]["detail"]


@pytest.mark.parametrize(
    ("change", "what"), [("state = 'suspended'", "is suspended"), ("pending = 'delete'", "is being deleted")]
)
def test_operator_that_every_command_denies(as_user: AsUser, people: People, change: str, what: str) -> None:
    someone = people.user()
    bazar = as_user(someone)
    people.sql(f"UPDATE bazar.users SET {change} WHERE id = %s", someone.id)
    done = bazar("doctor", "-o", "json")
    assert findings(done) == {"session": "warning"}
    assert checks(done)["session"]["detail"].startswith(f"{someone.email} {what}")


def test_broken_profile_file(signed_out: Bazar) -> None:
    path = signed_out.folder("config") / "profiles.toml"
    path.write_text("{]")
    done = signed_out("doctor", "-o", "json")
    assert findings(done) == {"profiles": "failed"}
    assert str(path) in checks(done)["profiles"]["detail"]


@contextmanager
def auth_of_another_time() -> Generator[str]:
    """Lend an Auth service whose clock is years behind; a real one's cannot be set."""

    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            healthy = self.path.endswith("/health")
            body = b'{"version": "v2.0.0"}' if healthy else b'{"code": 404, "error_code": "user_not_found"}'
            self.send_response_only(200 if healthy else 404)
            self.send_header("Date", "Mon, 01 Jan 2001 00:00:00 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Late) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_clocks_that_differ(signed_out: Bazar) -> None:
    with auth_of_another_time() as url:
        done = signed_out.having(SUPABASE_URL=url)("doctor", "-o", "json")
    assert findings(done) == {"clock": "failed"}
    assert "s ahead of Supabase Auth's" in checks(done)["clock"]["detail"]
    assert "within 2 s of the database's" in checks(done)["clock"]["detail"]
    assert "v2.0.0" in checks(done)["supabase"]["detail"]
