"""Standard streams that are full, closed, or whose reader has gone."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import pytest

from bazar_cli.domain.target import Target
from tests.contracts.test_hostile_input import READS_A_PIPE
from tests.support.cli import Bazar, Done, program
from tests.support.people import OLD_PASSWORD, People

Email = Callable[[str], str]

FORMS = ("table", "json", "jsonl", "csv", "yaml", "ids")
CROWD = 3000
"""More than the pipe and every buffer in between hold, and more than one page."""
UNWRITABLE = "could not be written to standard output: No space left on device"


@pytest.fixture
def nobody(tmp_path: Path) -> Bazar:
    """`bazar` without any target."""
    return Bazar(tmp_path / "home")


@pytest.fixture(scope="module")
def many_users(target: Target) -> Generator[str]:
    """The slug of an organization with thousands of members."""
    like = f"%@{secrets.token_hex(4)}.example.com"
    with People(target) as people:
        org = people.org()
        people.sql(
            "INSERT INTO bazar.users (id, email)"
            " SELECT gen_random_uuid(), 'crowd.' || n || %s FROM generate_series(1, %s) n",
            like[1:],
            CROWD,
        )
        people.sql(
            "INSERT INTO bazar.memberships (organization_id, user_id, role)"
            " SELECT %s, id, 'member' FROM bazar.users WHERE email LIKE %s",
            org.id,
            like,
        )
        yield org.slug
        people.sql("DELETE FROM bazar.memberships WHERE organization_id = %s", org.id)
        people.sql("DELETE FROM bazar.users WHERE email LIKE %s", like)


@contextmanager
def full() -> Generator[IO[bytes]]:
    """A stream that takes nothing, as on a full disk."""
    with Path("/dev/full").open("wb") as stream:
        yield stream


@contextmanager
def unread() -> Generator[IO[bytes]]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        yield stream


STREAMS = pytest.mark.parametrize("stream", [full, unread], ids=["full", "closed pipe"])
Stream = Callable[[], AbstractContextManager[IO[bytes]]]


def shell(bazar: Bazar, script: str, *words: str, forked: bool = False) -> Done:
    """Run a bash script in which "$@" is the command.

    Parameters: a `forked` command starts no interpreter; it keeps its streams, but no limit of the script's process.
    """
    command = bazar.command()
    if forked:
        command = [str(bazar.folder("work") / "bazar")]
        program(Path(command[0]))
    done = subprocess.run(
        ["bash", "-c", script, "bash", *command, *words],
        # Where `ulimit -f` cuts files off, Python would leave half a module in its cache.
        env={**bazar.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=bazar.folder("work"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return Done(done.returncode, done.stdout, done.stderr)


# -- standard output ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "jsonl", "csv", "ids"])
def test_reader_that_has_seen_enough_ends_a_list_quietly(admin: Bazar, many_users: str, form: str) -> None:
    words = ("users", "list", "--org", many_users, "--all", "-o", form)
    done = shell(admin, '"$@" | head -1; exit "${PIPESTATUS[0]}"', *words, forked=True)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1


@pytest.mark.parametrize("form", FORMS)
def test_full_output_in_the_middle_of_a_list_is_an_error(admin: Bazar, many_users: str, form: str) -> None:
    with full() as stdout:
        done = admin("users", "list", "--org", many_users, "--all", "-o", form, stdout=stdout)
    assert done.code == 7
    assert UNWRITABLE in done.err
    if form in {"json", "jsonl"}:
        assert done.error["code"] == "output.unwritable"


def test_disk_that_fills_up_in_the_middle_of_a_list(admin: Bazar, many_users: str, tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    # Blocks of 1024 bytes: a limit of the kernel on the size of a file, met in the middle of the third page.
    done = shell(admin, f'ulimit -f 60; "$@" > {listed}', "users", "list", "--org", many_users, "--all", "-o", "ids")
    assert done.code == 7
    assert "could not be written to standard output: File too large" in done.err
    assert listed.stat().st_size == 60 * 1024


ANSWERS = (
    (),
    ("--help",),
    ("--version",),
    ("users",),
    ("users", "list", "--help"),
    ("help", "environment"),
    ("completion", "bash"),
    ("__complete", "users", ""),
)


@pytest.mark.parametrize("words", ANSWERS, ids=lambda words: " ".join(words) or "nothing")
def test_full_output_of_a_command_without_target_is_an_error(nobody: Bazar, words: tuple[str, ...]) -> None:
    with full() as stdout:
        done = nobody(*words, stdout=stdout)
    assert done.code == 7
    assert UNWRITABLE in done.err
    assert "request id" not in done.err


def test_full_output_does_not_undo_the_change(admin: Bazar, people: People, unique_email: Email) -> None:
    email = unique_email("told-nobody")
    with full() as stdout:
        done = admin("users", "create", email, "-o", "json", stdout=stdout)
    assert (done.code, done.error["code"]) == (7, "output.unwritable")
    assert "the command is done" in done.error["hint"]
    user = admin("users", "create", email, "--if-not-exists", "-o", "json").ok().json
    assert (user["pending"], len(people.identities(email))) == (None, 1)


@STREAMS
def test_generated_password_that_nobody_saw_is_an_error(
    admin: Bazar, people: People, unique_email: Email, stream: Stream
) -> None:
    email = unique_email("unseen")
    with stream() as stdout:
        done = admin("users", "create", email, "--generate-password", "-o", "json", stdout=stdout)
    assert (done.code, done.error["code"]) == (7, "output.unwritable")
    assert "password is lost" in done.error["message"]
    assert len(people.identities(email)) == 1
    # What it says to do can be done.
    words = shlex.split(done.error["hint"].split("`")[1])
    admin(*words[1:]).ok()
    created = admin("users", "create", email, "--generate-password", "-o", "json").ok().json
    assert people.signs_in(email, created["password"])


def test_reader_that_has_gone_ends_a_create_without_a_generated_password_quietly(
    admin: Bazar, unique_email: Email
) -> None:
    with unread() as stdout:
        done = admin("users", "create", unique_email("unread"), stdout=stdout)
    assert (done.code, done.err) == (0, "")


# -- verdicts -----------------------------------------------------------------------------------------------


def ends_without_readers(bazar: Bazar, *words: str) -> list[int]:
    """Run a command without readers of its error stream, of its output, and of both; return the exit codes."""
    with unread() as out, unread() as err:
        return [
            bazar(*words, stdout=stdout, stderr=stderr).code
            for stdout, stderr in ((None, err), (out, None), (out, err))
        ]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *((("users", "get", "nobody@example.com", "-o", form), 3) for form in ("table", "json")),
        (("users", "list", "--all"), 0),
        (("users", "list", "--fields", "no-such-field"), 2),
        (("users", "list", "--no-such-option"), 2),
        (("no-such-command",), 2),
        *((words, 0) for words in ANSWERS),
    ],
    ids=str,
)
def test_readers_that_have_gone_change_no_exit_code(admin: Bazar, words: tuple[str, ...], code: int) -> None:
    assert ends_without_readers(admin, *words) == [code] * 3


@pytest.mark.parametrize("form", ["table", "json"])
def test_readers_that_have_gone_change_no_permission_check(admin: Bazar, people: People, form: str) -> None:
    words = ("plans", "check", "db:reset", "--user", people.user().email, "-o", form)
    assert ends_without_readers(admin, *words) == [9] * 3


def test_readers_that_have_gone_change_no_check_of_the_migrations(
    signed_out_of: Callable[[str], Bazar], fresh_database: Callable[..., str], people: People
) -> None:
    known = people.user()
    people.identity(known)
    bazar = signed_out_of(fresh_database()).having(SUPERUSER_EMAIL=known.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    assert ends_without_readers(bazar, "db", "status", "--check") == [9] * 3


def test_readers_that_have_gone_change_no_finding_of_the_doctor(nobody: Bazar) -> None:
    assert ends_without_readers(nobody, "doctor") == [9] * 3


@pytest.mark.parametrize("closed", [">/dev/full", ">&-", ">&- 2>&-"])
def test_verdict_stands_where_it_cannot_be_written(nobody: Bazar, closed: str) -> None:
    done = shell(nobody, f'"$@" {closed}', "doctor", "-o", "json")
    assert done.code == 9
    if "2>&-" not in closed:
        assert (done.error["code"], done.error["exit_code"]) == ("output.unwritable", 9)


# -- standard error -----------------------------------------------------------------------------------------


@STREAMS
def test_message_that_cannot_be_written_changes_no_exit_code(admin: Bazar, people: People, stream: Stream) -> None:
    for _ in range(2):
        people.user()
    with stream() as stderr:
        missing = admin("users", "get", "nobody@example.com", stderr=stderr)
        more = admin("users", "list", "--limit", "1", "-o", "ids", stderr=stderr)
        unknown = admin("usres", stderr=stderr)
        debug = admin("users", "me", "--debug", "-o", "ids", stderr=stderr)
    assert (missing.code, missing.out) == (3, "")
    assert (more.code, more.out.count("\n")) == (0, 1)
    assert (unknown.code, unknown.out) == (2, "")
    assert (debug.code, debug.out.count("\n")) == (0, 1)


@STREAMS
def test_migration_continues_when_its_progress_cannot_be_written(
    signed_out_of: Callable[[str], Bazar], fresh_database: Callable[..., str], stream: Stream
) -> None:
    bazar = signed_out_of(fresh_database())
    with stream() as stderr:
        done = bazar("db", "migrate", "-o", "json", stderr=stderr)
    assert done.code == 0
    assert bazar("db", "status", "--check", "-o", "json").ok().json["pending"] == []


@pytest.fixture
def signed_out_of(nobody: Bazar, target: Target, unique_email: Email) -> Callable[[str], Bazar]:
    """`bazar` on another database beside the worker's Auth service, with its own first superuser."""

    def on(database_url: str) -> Bazar:
        return nobody.on(target).having(
            DATABASE_URL=database_url, SUPERUSER_EMAIL=unique_email("root"), SUPERUSER_PASSWORD="a-password"
        )

    return on


# -- closed by the caller -----------------------------------------------------------------------------------


def test_streams_that_the_caller_closed(admin: Bazar, unique_email: Email) -> None:
    email = unique_email("closed")
    create = ("users", "create", email, "--if-not-exists", "-o", "ids")
    no_stdin = shell(admin, '"$@" <&-', *create, "--password-stdin")
    assert no_stdin.code == 2
    assert "standard input cannot be read: Bad file descriptor" in no_stdin.err
    # Three closed streams: the connection to the database must not become one of them.
    nothing = shell(admin, '"$@" <&- >&- 2>&-', *create)
    assert (nothing.code, nothing.out, nothing.err) == (7, "", "")
    no_stderr = shell(admin, '"$@" 2>&-', *create)
    assert (no_stderr.code, no_stderr.out.count("\n"), no_stderr.err) == (0, 1, "")
    no_stdout = shell(admin, '"$@" >&-', *create)
    assert no_stdout.code == 7
    assert "could not be written to standard output: Bad file descriptor" in no_stdout.err


@pytest.mark.parametrize("words", READS_A_PIPE, ids=" ".join)
def test_closed_input_is_an_error_and_not_an_empty_one(admin: Bazar, words: tuple[str, ...]) -> None:
    done = shell(admin, '"$@" <&-', *words, "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "input.unreadable")


# -- log files ----------------------------------------------------------------------------------------------


def test_log_file_that_takes_no_line_is_refused_before_anything_is_done(
    admin: Bazar, people: People, unique_email: Email
) -> None:
    email = unique_email("unlogged")
    done = admin("users", "create", email, "-o", "json", "--log-file", "/dev/full")
    assert (done.code, done.out, done.error["code"]) == (7, "", "files.no_room")
    assert "No space left on device" in done.error["message"]
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []


def test_log_file_that_is_a_pipe_without_a_reader_says_so(nobody: Bazar, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = nobody("config", "path", "-o", "json", "--log-file", str(pipe))
    assert (done.code, done.error["code"]) == (2, "log.unwritable")
    assert done.error["message"].endswith("cannot be written: it is a pipe or a socket that no process reads")
    assert done.error["hint"] == "start the reader of the pipe first, or name another file with --log-file"


@pytest.mark.parametrize("option", ["--log-file", "--env-file"])
def test_option_without_a_file_says_that_it_is_empty(nobody: Bazar, option: str) -> None:
    done = nobody("config", "path", "-o", "json", option, "")
    assert (done.code, done.error["code"]) == (2, "usage.invalid_value")
    assert done.error["message"] == f"{option} cannot be empty: name a file"


@pytest.mark.parametrize("file", ["/dev/stderr", "/dev/stdout", "/dev/fd/2"])
def test_log_file_that_is_a_stream_says_how_to_log_there(nobody: Bazar, file: str) -> None:
    done = nobody("config", "path", "--log-file", file)
    assert done.code == 2
    assert "it is a link" in done.err
    assert "for standard error give --log-format without --log-file" in done.err


def test_log_file_that_takes_no_more_lines_stops_no_command(
    admin: Bazar, people: People, unique_email: Email, tmp_path: Path
) -> None:
    email, log = unique_email("logged"), tmp_path / "bazar.log"
    words = ("users", "create", email, "-o", "ids", "--log-file", str(log), "--log-format", "json")
    # One block of 1024 bytes has no room for what this command says.
    log.write_text("x" * 800 + "\n")
    done = shell(admin, 'ulimit -f 1; "$@"', *words)
    assert done.code == 0, done.err
    (row,) = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    assert (done.out, row["pending"]) == (f"{row['id']}\n", None)
    assert done.err == f"warning: the log file {log} lacks lines: File too large\n"
    first = log.read_text().splitlines()[1]
    assert json.loads(first)["message"] == "users.create begins"
