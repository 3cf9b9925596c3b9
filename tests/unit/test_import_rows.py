"""The rows of a file to import: read as a stream, each fault with its line and column."""

from __future__ import annotations

import codecs
import io
import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.domain.entities import Membership, Plan, Role, User, UserState
from bazar_cli.domain.errors import Denied, ExitCode, UsageError
from bazar_cli.domain.findings import DETAILED, SHOWN
from bazar_cli.domain.imports.file import Row, RowFile, format_of
from bazar_cli.domain.imports.findings import Finding, Findings
from bazar_cli.domain.imports.imports import FileFormat
from bazar_cli.domain.imports.lines import MAX_LINE_BYTES
from bazar_cli.domain.page import Page
from bazar_cli.domain.users.values import checked_name, normalized_email
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.views.users import USER

CSV, JSONL = FileFormat.CSV, FileFormat.JSONL
BCRYPT = "$2b$10$" + "a" * 53
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=2$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"
SCRYPT = "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=c2lnbmVy$c2FsdA==$aGFzaA=="


def read(content: str | bytes, file_format: FileFormat = CSV, size: int = 7) -> tuple[list[Row], list[str]]:
    """Read a file in small pieces; return its rows, and its faults as text."""
    data = content.encode() if isinstance(content, str) else content
    size = max(size, len(data) // 1000)
    findings = Findings()
    chunks = (data[start : start + size] for start in range(0, len(data), size))
    rows = list(RowFile(chunks, file_format).rows(findings))
    return rows, [finding.text for finding in findings.first]


def fault(content: str | bytes, file_format: FileFormat = CSV) -> str:
    """Return the one fault of a file."""
    _, (found,) = read(content, file_format)
    return found


# -- the file -----------------------------------------------------------------------------------------------


def test_line_of_a_row_is_that_of_an_editor_whatever_the_line_ends() -> None:
    content = 'email,name\r\na@b,"two\nlines"\rb@b,\n\n,\r\nc@b,x\n'
    rows, faults = read(content)
    assert [row.line for row in rows] == [4, 7]
    assert faults == ["line 2, name: the name 'two\\nlines' has control characters"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pieces_of_any_size_give_the_same_rows(size: int) -> None:
    content = "email,name\r\nä@b,x\r\na@b,Jürgen\r\n"
    rows, faults = read(content, size=size)
    assert [(row.line, row.email, row.name) for row in rows] == [(3, "a@b", "Jürgen")]
    assert len(faults) == 1
    assert faults[0].startswith("line 2, email: 'ä@b'")


@pytest.mark.parametrize("file_format", [CSV, JSONL])
def test_byte_order_mark_is_no_part_of_the_first_column(file_format: FileFormat) -> None:
    content = {CSV: "email\na@b\n", JSONL: '{"email": "a@b"}\n'}[file_format]
    rows, faults = read(codecs.BOM_UTF8 + content.encode(), file_format)
    assert ([row.email for row in rows], faults) == (["a@b"], [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("email\na@b\n".encode("utf-16"), "line 1: the file is UTF-16 text"),
        ("email\na@b\n".encode("utf-16-be"), "line 1, character 1: a NUL character"),
        (b"email\nj\xfcrgen@b\n", "line 2, character 2: byte 0xfc is not UTF-8 text"),
        (b"email\na@b\nb\0@b\n", "line 3, character 2: a NUL character"),
        (b"PK\x03\x04...", "line 1: the file is a workbook or a ZIP archive"),
        (b"\x1f\x8b...", "line 1: the file is compressed"),
        (b"email;name\na@b;x\n", "line 1: the cells are separated by semicolons"),
        (b"email\tname\na@b\tx\n", "line 1: the cells are separated by tabs"),
        (b"", "line 1: the file is empty"),
        (b"name\nx\n", "line 1: the header has no column email"),
        (b"email,name,Email\na@b,x,y\n", "line 1, email: the header has this column twice"),
        (b"email,phone\na@b,x\n", "line 1, column 2: its name is not known; known: email, name"),
        (b"email,name\na@b\n", "line 2: it has 1 cell, and the header has 2"),
        (b'email,name\na@b,"x\nb@b,y\n', "line 2: the quote of a cell is not closed before the end"),
        (b'email,name\na@b,"x"y\n', "line 2: it is not valid CSV"),
    ],
)
def test_file_that_cannot_be_read_is_refused_with_line_and_reason(content: bytes, said: str) -> None:
    assert fault(content).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"email": "a@b"\n', "line 1, character "),
        ('{"email": "a@b"}\n[1]\n', "line 2: an object is needed, not a list"),
        ('{"email": "a@b", "email": "b@b"}\n', "line 1: it is not valid JSON: an object has the key 'email' twice"),
        ('{"email": "a@b", "phone": 1}\n', "line 1, phone: this column is not known; known: email"),
        ('{\n  "email": "a@b"\n}\n', "line 1: the file is one JSON document"),
        ('{"email": 5}\n', "line 1, email: a text is needed, not a number"),
        ('{"name": "x"}\n', "line 1, email: the email is missing"),
        ("[" * 100_000, "line 1: it is not valid JSON"),
    ],
)
def test_line_that_is_no_object_is_refused(content: str, said: str) -> None:
    assert fault(content, JSONL).startswith(said)


@pytest.mark.parametrize("file_format", [CSV, JSONL])
def test_line_that_is_too_long_is_refused_before_the_rest_is_read(file_format: FileFormat) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield b"email\n"
        while True:
            taken += 1
            yield b"x" * 65536

    findings = Findings()
    assert list(RowFile(endless(), file_format).rows(findings)) == []
    assert findings.first[-1].text == "line 2: the line is longer than 1 MiB"
    assert taken <= MAX_LINE_BYTES // 65536 + 2


def test_quote_that_is_never_closed_is_refused_before_the_rest_is_read() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield b'email,name\na@b,"'
        while True:
            taken += 1
            yield b'x\n","\n' * 1000

    findings = Findings()
    assert list(RowFile(endless(), CSV).rows(findings)) == []
    (found,) = findings.first
    assert (found.line, "quote" in found.message) == (2, True)
    assert taken < 1000


@pytest.mark.parametrize(
    ("named", "beginning", "expected"),
    [
        ("users.csv", b"{", CSV),
        ("USERS.JSONL", b"email", JSONL),
        ("users.ndjson", b"email", JSONL),
        ("standard input", b' {"email"', JSONL),
        ("standard input", codecs.BOM_UTF8 + b"{", JSONL),
        ("standard input", b"email,name", CSV),
        ("users.txt", b"", CSV),
    ],
)
def test_format_follows_from_the_name_or_the_content(named: str, beginning: bytes, expected: FileFormat) -> None:
    assert format_of(named, beginning) is expected


# -- values -------------------------------------------------------------------------------------------------


def test_all_columns_of_a_row() -> None:
    chosen = uuid.uuid4()
    record = {
        "email": "Ada@Example.com",
        "name": " Ada ",
        "organizations": "acme:owner; beta",
        "plan": "plus",
        "password_hash": BCRYPT,
        "user_metadata": {"city": "Köln", "n": 1.5},
        "app_metadata": {"role": "editor"},
        "id": str(chosen).upper(),
        "state": "active",
    }
    ((row,), faults) = read(json.dumps(record), JSONL)
    assert faults == []
    assert row == Row(
        1,
        "ada@example.com",
        str(chosen),
        "Ada",
        "plus",
        "acme:owner;beta:member",
        '{"city":"Köln","n":1.5}',
        '{"role":"editor"}',
        BCRYPT,
        awaits_hash=False,
        suspended=False,
    )


def test_column_that_is_not_given_differs_from_an_empty_name() -> None:
    rows, _ = read('{"email": "a@b"}\n{"email": "b@b", "name": null}\n{"email": "c@b", "name": ""}', JSONL)
    assert [row.name for row in rows] == [None, "", ""]
    ((row,), _) = read("email,name,plan,organizations,id,password\na@b,,,,,\n")
    assert row == Row(2, "a@b", None, "", None, None, None, None, None, awaits_hash=False, suspended=False)


@pytest.mark.parametrize("value", [BCRYPT, ARGON2, SCRYPT, ARGON2.replace("argon2id", "argon2i")])
def test_hashes_of_supabase_are_taken(value: str) -> None:
    ((row,), faults) = read(json.dumps({"email": "a@b", "password_hash": value}), JSONL)
    assert (row.password_hash, faults) == (value, [])


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("password", "short", "the password has 5 bytes; 6 to 72 are allowed"),
        ("password", "ä" * 37, "the password has 74 bytes; 6 to 72 are allowed"),
        ("password_hash", "secret", "the password hash is not a bcrypt hash"),
        ("password_hash", "$2b$31$" + "a" * 53, "the password hash has cost 31"),
        ("password_hash", ARGON2.replace("argon2id", "argon2d"), "the password hash is not valid: it is not argon2i"),
        ("password_hash", ARGON2.replace("m=65536", "m=9999999"), "a sign-in would take too much"),
        ("password_hash", ARGON2 + "$", "it is not argon2i or argon2id"),
        ("password_hash", SCRYPT.replace("n=14", "n=40"), "a sign-in would take too much"),
        ("password_hash", SCRYPT.replace("ss=Bw==,", ""), "it is not Firebase's scrypt"),
        ("organizations", "acme:boss", "'boss' is not a role of acme; choose one of: owner, admin, member"),
        ("organizations", "acme;acme:owner", "acme is named twice"),
        ("organizations", "Acme Corp", "'Acme Corp' is not a valid slug"),
        ("organizations", [{"slug": "acme", "rank": 1}], "unknown key 'rank' of an organization"),
        ("organizations", [5], "a list of objects with slug and role is needed, not of a number"),
        ("plan", "gold", "'gold' is not a plan; choose one of: free, plus, premium"),
        ("state", "gone", "'gone' is not a state"),
        ("id", "17", "'17' is not a UUID"),
        ("user_metadata", "{", "it is not valid JSON: line 1 column 2"),
        ("user_metadata", [1], "a JSON object is needed, not a list"),
        ("user_metadata", {"a": "x\0"}, "it has a NUL character"),
        ("user_metadata", {"a": "\ud800"}, "it has a half of a surrogate pair"),
        ("user_metadata", '{"a": NaN}', "NaN is not a number of JSON"),
        ("user_metadata", '{"a": 1e999}', "it has a number that is too large"),
        ("user_metadata", {"a": "x" * 65536}, "it has more than 64 KiB"),
        ("user_metadata", '{"a":' + "[" * 65 + "]" * 65 + "}", "it is nested deeper than 64 levels"),
        ("app_metadata", {"bazar": {}}, "the key 'bazar' is written by bazar or Supabase Auth alone"),
        ("app_metadata", {"provider": "x"}, "the key 'provider' is written"),
    ],
)
def test_value_that_breaks_a_rule_is_named_with_its_column(column: str, value: object, said: str) -> None:
    found = fault(json.dumps({"email": "a@b", column: value}), JSONL)
    assert found.startswith(f"line 1, {column}: ")
    assert said in found
    assert "\ud800" not in found


def test_backslash_before_a_nul_escape_is_a_text() -> None:
    ((row,), faults) = read(json.dumps({"email": "a@b", "user_metadata": {"a": "\\u0000"}}), JSONL)
    assert (row.user_metadata, faults) == ('{"a":"\\\\u0000"}', [])


def test_row_has_a_password_or_a_hash() -> None:
    found = fault(json.dumps({"email": "a@b", "password": "secret-1", "password_hash": BCRYPT}), JSONL)
    assert found == "line 1, password_hash: the row has a password too; give one of the two"


def test_password_is_in_no_row_and_in_no_fault() -> None:
    content = f"email,password,plan\na@b,{'secret' * 13},x\nb@b,secret-word,\n"
    ((row,), faults) = read(content)
    assert (row.email, row.awaits_hash) == ("b@b", True)
    assert len(faults) == 2
    assert "secret" not in f"{row}{faults}"
    assert list(RowFile([content.encode()], CSV).passwords()) == [(2, "secret" * 13), (3, "secret-word")]


def test_file_without_a_header_shows_none_of_its_values() -> None:
    _, faults = read("a@b.example,secret-word\n")
    assert [fault.partition("; known")[0] for fault in faults] == [
        "line 1, column 1: its name is not known",
        "line 1, column 2: its name is not known",
        "line 1: the header has no column email",
    ]


def test_password_that_looks_like_a_formula_is_not_changed() -> None:
    content = "email,password\na@b,'=secret\n"
    assert list(RowFile([content.encode()], CSV).passwords()) == [(2, "'=secret")]


# -- findings -----------------------------------------------------------------------------------------------


def test_error_shows_the_first_findings_by_line_and_counts_all() -> None:
    findings = Findings()
    for line in range(500, 0, -1):
        findings.add(Finding(line, "email", "c.d", "wrong"))
    findings.add_counted(Finding(1000, "plan", "c.d", "wrong"), 40)
    error = findings.error("users.csv")
    assert (error.code, error.exit_code) == ("imports.file_invalid", ExitCode.USAGE)
    assert error.lines[0] == "users.csv has 540 faults, and nothing was written"
    assert error.lines[1] == "  line 1, email: wrong"
    assert len(error.lines) == 1 + SHOWN + 1
    assert error.lines[-1] == f"  and {540 - SHOWN} more"
    detailed = error.details["findings"]
    assert isinstance(detailed, list)
    assert [finding["line"] for finding in detailed] == list(range(1, DETAILED + 1))  # pyright: ignore[reportUnknownVariableType]


def test_only_denials_are_a_denial() -> None:
    findings = Findings()
    findings.add(Finding(2, "organizations", "access.role", "no", denies=True))
    assert isinstance(findings.error("x"), Denied)
    findings.add(Finding(3, "email", "c.d", "wrong"))
    assert findings.error("x").code == "imports.file_invalid"


# -- what an export writes ----------------------------------------------------------------------------------


def _is_name(text: str) -> bool:
    try:
        return checked_name(text) is not None
    except UsageError:
        return False


SLUGS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,5})?", fullmatch=True)
NAMES = st.text(max_size=40).filter(_is_name) | st.sampled_from(["=1+1", "'s", "''", "a;=b", "-x"])
EMAILS = st.from_regex(r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,12}@[a-z]{1,6}", fullmatch=True)
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)


@st.composite
def users(draw: st.DrawFn) -> User:
    slugs = draw(st.lists(SLUGS, unique=True, max_size=3))
    name = draw(st.none() | NAMES)
    return User(
        uuid.uuid4(),
        normalized_email(draw(EMAILS)),
        checked_name(name),
        draw(st.sampled_from(Plan)),
        UserState.ACTIVE,
        None,
        draw(st.booleans()),
        tuple(Membership(uuid.uuid4(), slug, draw(st.sampled_from(Role))) for slug in sorted(slugs)),
        NOW,
        NOW,
    )


@pytest.mark.parametrize("file_format", [CSV, JSONL])
@settings(deadline=None, max_examples=40)
@given(exported=st.lists(users(), min_size=1, max_size=5))
def test_what_an_export_wrote_is_read_unchanged(file_format: FileFormat, exported: list[User]) -> None:
    stream = io.StringIO(newline="")
    chosen = Format.CSV if file_format is CSV else Format.JSONL
    Renderer(chosen, None, {}, stream).pages(USER, [Page(tuple(exported), None)])
    findings = Findings()
    file = RowFile([stream.getvalue().encode()], file_format)
    rows = list(file.rows(findings))
    assert findings.first == []
    assert file.ignored == ("pending", "is_superuser", "created_at", "updated_at")
    assert file.read == ("email", "name", "organizations", "plan", "id", "state")
    assert [(row.id, row.email, row.name, row.plan, row.organizations) for row in rows] == [
        (
            str(user.id),
            user.email,
            user.name or "",
            user.plan.value,
            ";".join(f"{m.slug}:{m.role}" for m in user.organizations) or None,
        )
        for user in exported
    ]
