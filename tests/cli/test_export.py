"""`bazar users export` and `orgs export`; `tests/cli/audit` has what every export does with its file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Role
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


@pytest.mark.parametrize("group", ["users", "orgs"])
def test_export_has_what_a_list_of_all_pages_has(as_user: AsUser, people: People, group: str) -> None:
    mine, theirs = people.org(), people.org()
    admin = people.user({mine: Role.ADMIN})
    colleague = people.user({mine: Role.MEMBER, theirs: Role.OWNER}, name="=cmd()")
    stranger = people.user({theirs: Role.MEMBER})
    bazar = as_user(admin)
    listed = bazar(group, "list", "--all", "-o", "json").ok().json["items"]
    exported = bazar(group, "export").ok().out
    assert [json.loads(line) for line in exported.splitlines()] == listed
    assert len(listed) == {"users": 2, "orgs": 1}[group]
    assert not [text for text in (theirs.slug, stranger.email) if text in exported]

    done = bazar(group, "export", "all.csv", "-o", "csv").ok()
    file = bazar.folder("work") / "all.csv"
    assert (done.out, file.stat().st_mode & 0o777) == ("", 0o600)
    rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))
    assert [row["id"] for row in rows] == [item["id"] for item in listed]
    if group == "users":
        assert rows[1]["name"] == "'=cmd()"
        assert rows[1]["organizations"] == f"{mine.slug}:member"
        assert rows[1]["email"] == colleague.email


def test_export_has_the_format_of_its_name_unless_an_option_says_another(as_user: AsUser, people: People) -> None:
    bazar = as_user(people.user({people.org(): Role.ADMIN}))
    work = bazar.folder("work")
    assert bazar("orgs", "export", "all.CSV").ok().err == "1 written to all.CSV\n"
    assert (work / "all.CSV").read_text().startswith("id,slug,name,")
    bazar.having(BAZAR_OUTPUT="table")("orgs", "export", "all.json").ok()
    assert len(json.loads((work / "all.json").read_text())["items"]) == 1
    bazar.having(BAZAR_OUTPUT="csv")("orgs", "export", "all").ok()
    assert (work / "all").read_text().startswith("id,slug,name,")
    done = bazar("orgs", "export", "other.csv", "-o", "jsonl").ok()
    assert done.err == "warning: other.csv gets jsonl, as -o says, and not csv\n1 written to other.csv\n"
    assert json.loads((work / "other.csv").read_text())["slug"]


@pytest.mark.parametrize("words", [("users", "export"), ("orgs", "export"), ("audit", "export", "--action", "none")])
def test_export_shows_progress(admin: Bazar, words: tuple[str, ...]) -> None:
    done = admin(*words, "--progress", "json", "--fields", "id").ok()
    rows = len(done.out.splitlines())
    lines = [json.loads(line)["progress"] for line in done.err.splitlines()]
    assert [(line["doing"], line["done"], line["total"]) for line in lines[-1:]] == [
        (words[0], rows, None) for _ in range(min(rows, 1))
    ]
    assert admin(*words, "--fields", "id").ok().err == ""


def test_export_has_no_credentials(admin: Bazar, unique_email: Callable[[str], str]) -> None:
    created = admin("users", "create", unique_email("ada"), "--generate-password", "-o", "json").ok().json
    exported = admin("users", "export").ok().out
    assert created["email"] in exported
    assert created["password"] not in exported
