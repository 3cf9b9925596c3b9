"""`bazar users list`, `get` and `me`: reach, paging and every format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
import yaml

from bazar_cli.domain.entities import Role
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


def test_get_by_id_and_by_email_in_any_case(admin: Bazar, people: People) -> None:
    someone = people.user(name="Ada")
    by_email = admin("users", "get", someone.email.upper(), "-o", "json").ok().json
    assert by_email == admin("users", "get", str(someone.id), "-o", "json").ok().json
    assert list(by_email) == [
        *("id", "email", "name", "plan", "state", "pending", "is_superuser"),
        *("organizations", "created_at", "updated_at"),
    ]
    assert by_email["created_at"].endswith("Z")


def test_out_of_reach_reads_as_unknown(as_user: AsUser, people: People) -> None:
    mine, theirs = people.org(), people.org()
    bazar = as_user(people.user({mine: Role.MEMBER}))
    hidden, absent = people.user({theirs: Role.MEMBER}), "nobody.at.all@example.com"
    first, second = bazar("users", "get", hidden.email), bazar("users", "get", absent)
    assert first.code == second.code == 3
    assert first.err.replace(hidden.email, "X") == second.err.replace(absent, "X")


def test_foreign_memberships_are_left_out(as_user: AsUser, people: People) -> None:
    shared, foreign = people.org(), people.org()
    bazar = as_user(people.user({shared: Role.MEMBER}))
    colleague = people.user({shared: Role.ADMIN, foreign: Role.OWNER})
    done = bazar("users", "get", colleague.email, "-o", "json").ok()
    assert [o["slug"] for o in done.json["organizations"]] == [shared.slug]
    assert foreign.slug not in done.out


def test_me_works_on_every_plan(as_user: AsUser, people: People) -> None:
    someone = people.user()
    assert as_user(someone)("users", "me", "-o", "ids").ok().out == f"{someone.id}\n"


def test_list_in_every_format(admin: Bazar, people: People) -> None:
    org = people.org()
    first, second = (people.user({org: Role.MEMBER}, name=name) for name in ('Ann, "A"', "=cmd()"))
    words = ("users", "list", "--org", org.slug, "-o")
    whole = admin(*words, "json").ok().json
    assert [u["email"] for u in whole["items"]] == [first.email, second.email]
    assert whole["next_cursor"] is None
    lines = admin(*words, "jsonl", "--fields", "email,name").ok().out.splitlines()
    assert json.loads(lines[1]) == {"email": second.email, "name": "=cmd()"}
    assert lines[0].startswith('{"email":')
    rows = list(csv.DictReader(io.StringIO(admin(*words, "csv").ok().out, newline="")))
    assert (rows[0]["name"], rows[1]["name"]) == ('Ann, "A"', "'=cmd()")
    assert rows[0]["organizations"] == f"{org.slug}:member"
    assert yaml.safe_load(admin(*words, "yaml").ok().out) == whole
    assert admin(*words, "ids").ok().out == f"{first.id}\n{second.id}\n"
    table = admin(*words, "table", "--fields", "email,name").ok().out
    assert table == f'EMAIL\tNAME\n{first.email}\tAnn, "A"\n{second.email}\t=cmd()\n'


def test_nothing_found(admin: Bazar, people: People) -> None:
    org = people.org()
    words = ("users", "list", "--org", org.slug, "-o")
    assert admin(*words, "json").ok().json == {"items": [], "next_cursor": None}
    assert admin(*words, "csv", "--fields", "id,email").ok().out == "id,email\r\n"
    assert admin(*words, "jsonl").ok().out == ""
    assert yaml.safe_load(admin(*words, "yaml").ok().out) == {"items": [], "next_cursor": None}


def test_pages_are_complete_and_a_table_says_that_there_is_more(admin: Bazar, people: People) -> None:
    org = people.org()
    everyone = {str(people.user({org: Role.MEMBER}).id) for _ in range(5)}
    page = admin("users", "list", "--org", org.slug, "--limit", "3", "-o", "json").ok().json
    rest = admin("users", "list", "--org", org.slug, "--cursor", page["next_cursor"], "-o", "ids").ok().out.split()
    assert [*(u["id"] for u in page["items"]), *rest] == sorted(
        everyone, key=[*(u["id"] for u in page["items"]), *rest].index
    )
    assert {*(u["id"] for u in page["items"]), *rest} == everyone
    short = admin("users", "list", "--org", org.slug, "--limit", "3")
    assert "--all" in short.err
    assert (
        set(admin("users", "list", "--org", org.slug, "--limit", "2", "--all", "-o", "ids").ok().out.split())
        == everyone
    )


BAD = {
    "limit 0": (["--limit", "0"], "list.limit_invalid"),
    "limit 1001": (["--limit", "1001"], "list.limit_invalid"),
    "cursor": (["--cursor", "nonsense"], "list.cursor_invalid"),
    "time": (["--created-since", "yesterday"], "input.time_invalid"),
    "plan": (["--plan", "gold"], "usage.invalid_value"),
    "field": (["--fields", "id,shoe_size"], "output.unknown_field"),
    "format": (["--output", "xml"], "usage.invalid_value"),
}


@pytest.mark.parametrize(("words", "code"), BAD.values(), ids=BAD.keys())
def test_bad_value(admin: Bazar, words: list[str], code: str) -> None:
    done = admin.having(BAZAR_OUTPUT="json")("users", "list", *words)
    if words[0] == "--output":
        done = admin("users", "list", *words)
        assert (done.code, done.out) == (2, "")
        assert "choose one of: table, json" in done.err
        return
    assert (done.code, done.out) == (2, "")
    assert done.error["code"] == code
