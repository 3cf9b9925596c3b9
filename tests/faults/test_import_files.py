"""Files that no import can read, and an import that is interrupted at a terminal."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from bazar_cli.domain.target import Target
from tests.support.auth_proxy import held_wire
from tests.support.cli import Bazar
from tests.support.people import People, an_address
from tests.support.waiting import poll

MEGABYTE = 1 << 20


def a_long_line(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(b"email,name\na@b,ok\nb@b,")
        for _ in range(100):
            stream.write(b"x" * MEGABYTE)


def an_open_quote(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(b'email,name\na@b,"begins\n')
        for number in range(20_000):
            stream.write(b"user%d@example.com,x\n" % number)


def of(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("write", "line", "said"),
    [
        (a_long_line, 3, "the line is longer than 1 MiB"),
        (an_open_quote, 2, "perhaps because its quote is not closed"),
        (of("email\na@b\n".encode("utf-16")), 1, "the file is UTF-16 text"),
        (of(b"email\na@b\n\xff\n"), 3, "byte 0xff is not UTF-8 text"),
        (of(b"email\n\0\n"), 2, "a NUL character"),
        (of(b"email;name\r\na@b;x\r\n"), 1, "the cells are separated by semicolons"),
        (of(b"email,email\na@b,c@b\n"), 1, "the header has this column twice"),
        (of(b"a@b,c@b\n"), 1, "its name is not known"),
    ],
    ids=["long line", "open quote", "UTF-16", "Latin-1", "NUL", "semicolons", "doubled", "no header"],
)
def test_file_that_cannot_be_read_is_refused_with_its_line(
    admin: Bazar, people: People, write: Callable[[Path], None], line: int, said: str
) -> None:
    write(admin.folder("work") / "users.csv")
    before = people.sql("SELECT count(*) FROM bazar.import_runs WHERE started_at > now() - interval '1 day'")
    for words in (("users.csv",), ("users.csv", "--dry-run")):
        refused = admin("users", "import", *words, "-o", "json")
        assert (refused.code, refused.out, refused.error["code"]) == (2, "", "imports.file_invalid")
        first = refused.error["details"]["findings"][0]
        assert (first["line"], said in first["message"]) == (line, True), first
        assert len(refused.err) < 5000
    assert people.sql("SELECT 1 FROM bazar.import_rows WHERE email IN ('a@b', 'b@b')") == []
    assert before == people.sql("SELECT count(*) FROM bazar.import_runs WHERE started_at > now() - interval '1 day'")


def test_pipe_is_read_as_a_file(admin: Bazar, people: People) -> None:
    email = an_address()
    content = b"email,name\n" + f"{email},{'x' * 150}\n".encode() + b"," * 100
    refused = admin("users", "import", "-", "-o", "json", stdin=content + b"x" * (2 * MEGABYTE))
    assert refused.error["details"]["findings"][0]["line"] == 3
    assert people.sql("SELECT 1 FROM bazar.import_rows WHERE email = %s", email) == []


def test_folder_and_missing_file_are_named(admin: Bazar) -> None:
    for name in (".", "missing.csv"):
        refused = admin("users", "import", name, "-o", "json")
        assert (refused.code, refused.error["code"]) == (2, "files.unwritable")
        assert refused.error["message"].startswith(f"{name} cannot be used: ")


# -- Ctrl-C -------------------------------------------------------------------------------------------------


def waits_for_a_row(people: People) -> bool:
    """Whether an import stands before a row that another session holds."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bazar'"
        " AND wait_event_type = 'Lock'"
    )
    return people.sql(waiting) != []


def test_interrupted_before_its_rows_are_staged_it_leaves_nothing(admin: Bazar, people: People, target: Target) -> None:
    ruler, email = people.known_superuser(), an_address()
    bazar = admin.having(BAZAR_TOKEN=people.access_token(ruler))
    (bazar.folder("work") / "users.csv").write_text(f"email\n{email}\n")
    with psycopg.connect(target.database_url.reveal()) as other:
        other.execute("SELECT 1 FROM bazar.users WHERE id = %s FOR UPDATE", (ruler.id,))
        with bazar.start("users", "import", "users.csv") as process:
            poll(lambda: waits_for_a_row(people))
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
    assert people.sql("SELECT 1 FROM bazar.import_rows WHERE email = %s", email) == []
    bazar("users", "import", "users.csv").ok()


def test_interrupted_between_both_systems_it_finishes_the_step(admin: Bazar, people: People, target: Target) -> None:
    emails = [an_address(), an_address()]
    work = admin.folder("work")
    (work / "users.csv").write_text("email\n" + "".join(f"{email}\n" for email in emails))
    words = ("users", "import", "users.csv", "--results", "results.jsonl", "-o", "json")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        admin.on(wire.target).start(*words) as process,
    ):
        assert wire.held.wait(60)
        process.send_signal(signal.SIGINT)
        wire.release.set()
        out, _ = process.communicate()
        assert process.returncode == -signal.SIGINT
    assert json.loads(out)["run_id"]
    if json.loads(out)["open"]:
        admin(*words).ok()
    lines = [json.loads(line) for line in (work / "results.jsonl").read_text().splitlines()]
    assert [(line["line"], line["email"], line["status"]) for line in lines] == [
        (2, emails[0], "created"),
        (3, emails[1], "created"),
    ]
    assert [len(people.identities(email)) for email in emails] == [1, 1]
