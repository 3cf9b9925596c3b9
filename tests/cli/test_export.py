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


def test_export_has_no_credentials(admin: Bazar, unique_email: Callable[[str], str]) -> None:
    created = admin("users", "create", unique_email("ada"), "--generate-password", "-o", "json").ok().json
    exported = admin("users", "export").ok().out
    assert created["email"] in exported
    assert created["password"] not in exported
