"""Terminals, pipes and signals, with processes started the usual way."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bazar_cli.domain.entities import Role
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

NASTY = "\x9b31m\u202eevil"
"""A control sequence in one C1 character and a bidirectional override: SQL lets both in."""


def on_terminal(bazar: Bazar, *words: str) -> str:
    """Run a command whose standard output is a terminal of 80 columns; return what it drew."""
    leader, follower = pty.openpty()
    drawn, ended = b"", False
    with bazar.having(COLUMNS="80").start(*words, stdout=follower) as process:
        # The other side stays open to the end: what a process wrote last can be lost when it closes.
        while not ended or select.select([leader], [], [], 0)[0]:
            ended = process.poll() is not None
            if select.select([leader], [], [], 0.05)[0]:
                drawn += os.read(leader, 65536)
    os.close(follower)
    os.close(leader)
    return drawn.decode()


@pytest.fixture
def nasty(people: People) -> tuple[str, Someone]:
    """An organization with one member whose name attacks terminals."""
    org = people.org()
    return org.slug, people.user({org: Role.MEMBER}, name=NASTY)


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "yaml"])
def test_control_characters_never_reach_a_terminal(admin: Bazar, nasty: tuple[str, Someone], form: str) -> None:
    drawn = on_terminal(
        admin.having(NO_COLOR="1"), "users", "list", "--org", nasty[0], "-o", form, "--fields", "id,name"
    )
    assert "evil" in drawn
    assert not {c for c in drawn if c not in "\r\n" and (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0)}
    assert "\u202e" not in drawn


def test_table_is_drawn_on_terminals_only(admin: Bazar, nasty: tuple[str, Someone]) -> None:
    words = ("users", "list", "--org", nasty[0], "--fields", "email,plan")
    drawn = on_terminal(admin, *words)
    assert "\x1b[1m" in drawn
    assert "━" in drawn or "─" in drawn
    plain = on_terminal(admin.having(BAZAR_ACCESSIBLE="1"), *words)
    assert plain.replace("\r\n", "\n") == admin(*words).ok().out
    assert "\x1b" not in on_terminal(admin.having(NO_COLOR="1"), *words)
    assert "\x1b" not in on_terminal(admin.having(TERM="dumb"), *words)


def test_long_values_are_folded_not_cut(admin: Bazar, people: People) -> None:
    org = people.org()
    someone = people.user({org: Role.MEMBER}, name="n" * 150)
    drawn = on_terminal(admin.having(NO_COLOR="1"), "users", "list", "--org", org.slug, "--fields", "name,email")
    assert drawn.count("n") >= 150
    assert "…" not in drawn
    assert someone.email[:20] in drawn.replace("\r\n", "").replace(" ", "") or someone.email[:20] in drawn


def test_closed_pipe_ends_quietly(admin: Bazar, people: People) -> None:
    org = people.org()
    people.sql(
        "INSERT INTO bazar.users (id, email)"
        " SELECT gen_random_uuid(), 'pipe.' || n || %s FROM generate_series(1, 3000) n",
        f"@{org.slug}.example.com",
    )
    people.sql(
        "INSERT INTO bazar.memberships (organization_id, user_id, role)"
        " SELECT %s, id, 'member' FROM bazar.users WHERE email LIKE %s",
        org.id,
        f"%@{org.slug}.example.com",
    )
    with admin.start("users", "list", "--org", org.slug, "--all", "-o", "jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(), said) == (0, b"")


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("users", "list", "--help"), ("help", "environment")])
def test_closed_pipe_of_help(nobody: Bazar, words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = nobody.start(*words, stdout=writer)
    os.close(writer)
    _, said = process.communicate()
    assert (process.returncode, said) == (0, b"")


def test_full_standard_output_is_reported(admin: Bazar, people: People) -> None:
    with Path("/dev/full").open("wb") as full:
        process = admin.start("users", "get", people.user().email, stdout=full)
        _, said = process.communicate()
    assert process.returncode == 7
    assert b"could not be written to standard output" in said
    assert b"Traceback" not in said


def test_interrupt_ends_by_the_signal(signed_out: Bazar) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Auth takes the connection and never answers, so the command is surely in the middle of it.
        port = silent.getsockname()[1]
        bazar = signed_out.having(SUPABASE_URL=f"http://127.0.0.1:{port}")
        words = ("auth", "login", "--email", "a@example.com", "--password-stdin")
        with bazar.start(*words, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(b"secret-word\n")
            process.stdin.close()
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
            connection.close()
            assert b"Traceback" not in process.stderr.read()


def test_log_file_is_private_json_with_the_request_id(
    as_user: Callable[[Someone], Bazar], people: People, tmp_path: Path
) -> None:
    import json

    log = tmp_path / "bazar.log"
    bazar = as_user(people.user())
    done = bazar("users", "create", "x@example.com", "-o", "json", "--log-file", str(log), "--log-format", "json")
    assert done.code == 5
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["request_id"] for line in lines} == {done.error["request_id"]}
    assert f"exit code 5 ({done.error['code']})" in lines[-1]["message"]
    assert log.stat().st_mode & 0o777 == 0o600
    assert bazar.environ["BAZAR_TOKEN"] not in log.read_text()
    event = people.sql("SELECT request_id FROM bazar.audit_events WHERE request_id = %s", done.error["request_id"])
    assert len(event) == 1


def test_debug_shows_where_without_secrets(signed_out: Bazar) -> None:
    done = signed_out.having(BAZAR_TOKEN="not.a.token")("users", "me", "--debug")
    assert done.code == 4
    assert "Traceback" in done.err
    assert signed_out.environ["SUPABASE_KEY"] not in done.err


def test_text_for_shells_is_not_changed_by_the_environment(admin: Bazar) -> None:
    token = admin.environ["BAZAR_TOKEN"]
    assert admin.having(BAZAR_OUTPUT="json")("auth", "token").ok().out == f"{token}\n"
    assert admin("auth", "token", "-o", "json").ok().json["access_token"] == token


BREAK = "x\nhint: do this\u2028::error::\x85\r\x0b\x1e"


@pytest.mark.parametrize(
    "words",
    [
        *(("users", "get", BREAK), ("users", "list", "--limit", BREAK), ("users", "list", "--org", BREAK)),
        *(("users", "list", f"--{BREAK}"), ("users", BREAK), (BREAK,), (f"--{BREAK}",), ("help", BREAK)),
        *(("users", "list", "--cursor", BREAK), ("users", "list", "--fields", BREAK), ("users", "list", BREAK)),
        *(("users", "me", "--profile", BREAK), ("users", "me", "--env-file", BREAK), ("users", "me", "-o", BREAK)),
        *(("users", "create", BREAK), ("users", "create", "a@b.example.com", "--org", BREAK)),
        *(("users", "delete", "a@b.example.com", "--confirm", BREAK), ("orgs", "create", BREAK, "--slug", BREAK)),
        *(("plans", "check", BREAK), ("db", "migrate", BREAK), ("config", "profiles", "use", BREAK)),
        *(("users", "me", "--log-file", f"/{BREAK}/x"), ("db", "seed", "--file", BREAK)),
    ],
    ids=range(23),
)
@pytest.mark.embedded
def test_line_break_in_an_argument_starts_no_line(admin: Bazar, words: tuple[str, ...]) -> None:
    done = admin.having(GITHUB_ACTIONS="true")(*words)
    assert done.code in {2, 3}
    told = [line for line in done.err.splitlines() if not line.startswith("::error title=")]
    assert [line.partition(" ")[0] for line in told] == ["error:", "hint:"]
    assert not [line for line in told if line.startswith("hint: do this")]
