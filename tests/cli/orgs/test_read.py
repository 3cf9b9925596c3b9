"""`bazar orgs list` and `bazar orgs get`: reach, paging and every format."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pytest
import yaml

from bazar_cli.domain.entities import Role, UserState
from tests.support.cli import Bazar
from tests.support.people import Org, People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
FIELDS = ["id", "slug", "name", "members", "created_at", "updated_at"]


class Member(NamedTuple):
    """Somebody on Free, signed in, and their organizations, the oldest first."""

    bazar: Bazar
    orgs: list[Org]


@pytest.fixture
def member(as_user: AsUser, people: People) -> Member:
    born = datetime(2024, 1, 1, tzinfo=timezone.utc)
    names = ('Acme, "Inc."', "=cmd()", "Žluťoučký 🐴", "Fourth", "Fifth")
    orgs = [people.org(name=name, created_at=born + timedelta(days=n)) for n, name in enumerate(names)]
    people.org(name="Foreign")
    return Member(as_user(people.user(dict.fromkeys(orgs, Role.MEMBER))), orgs)


def test_list_shows_own_organizations_in_every_format(member: Member) -> None:
    bazar, orgs = member
    words = ("orgs", "list", "-o")
    whole = bazar(*words, "json").ok().json
    assert [o["slug"] for o in whole["items"]] == [o.slug for o in orgs]
    assert whole["next_cursor"] is None
    assert list(whole["items"][0]) == FIELDS
    assert whole["items"][0]["created_at"] == "2024-01-01T00:00:00Z"
    lines = bazar(*words, "jsonl").ok().out.splitlines()
    assert [json.loads(line) for line in lines] == whole["items"]
    assert yaml.safe_load(bazar(*words, "yaml").ok().out) == whole
    assert bazar(*words, "ids").ok().out == "".join(f"{o.id}\n" for o in orgs)
    text = bazar(*words, "csv").ok().out
    assert text.startswith(",".join(FIELDS) + "\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["name"] for row in rows[:3]] == ['Acme, "Inc."', "'=cmd()", "Žluťoučký 🐴"]
    assert [row["members"] for row in rows] == ["1"] * 5
    table = bazar("orgs", "list").ok()
    assert table.out.splitlines()[0] == "SLUG\tNAME\tMEMBERS\tCREATED_AT"
    assert f"{orgs[1].slug}\t=cmd()\t1\t2024-01-02T00:00:00Z\n" in table.out
    assert table.err == ""


def test_fields_choose_and_order(member: Member) -> None:
    bazar, orgs = member
    chosen = bazar("orgs", "list", "--fields", "members,slug", "-o", "jsonl").ok().out.splitlines()
    assert chosen[0] == f'{{"members":1,"slug":"{orgs[0].slug}"}}'
    assert bazar("orgs", "get", orgs[0].slug, "--fields", "name", "-o", "csv").ok().out == (
        'name\r\n"Acme, ""Inc."""\r\n'
    )
    unknown = bazar("orgs", "list", "--fields", "slug,owner", "-o", "json")
    assert (unknown.code, unknown.out, unknown.error["code"]) == (2, "", "output.unknown_field")
    assert unknown.error["details"]["known"] == FIELDS


def test_pages_are_complete_and_a_short_one_says_so(member: Member) -> None:
    bazar, orgs = member
    first = bazar("orgs", "list", "--limit", "2", "-o", "json").ok().json
    rest = bazar("orgs", "list", "--limit", "3", "--cursor", first["next_cursor"], "-o", "json").ok().json
    assert [o["slug"] for o in first["items"] + rest["items"]] == [o.slug for o in orgs]
    assert rest["next_cursor"] is None
    short = bazar("orgs", "list", "--limit", "2", "--quiet").ok()
    assert short.out.count("\n") == 3
    assert f"--all, or --cursor {first['next_cursor']}" in short.err
    every = bazar("orgs", "list", "--limit", "2", "--all", "-o", "ids").ok()
    assert (every.out.split(), every.err) == ([str(o.id) for o in orgs], "")
    for words in (["--limit", "0"], ["--limit", "1001"], ["--cursor", "nonsense"]):
        bad = bazar("orgs", "list", *words, "-o", "json")
        assert (bad.code, bad.out) == (2, "")
        assert bad.error["code"] in {"list.limit_invalid", "list.cursor_invalid"}


def test_cursor_of_users_is_refused_for_organizations(member: Member, people: People) -> None:
    bazar, orgs = member
    people.user({orgs[0]: Role.MEMBER})
    cursor = bazar("users", "list", "--limit", "1", "-o", "json").ok().json["next_cursor"]
    done = bazar("orgs", "list", "--cursor", cursor, "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "list.cursor_invalid")


def test_table_shows_seconds_and_machines_get_the_whole_time(member: Member) -> None:
    bazar, _ = member
    for noun in ("users", "orgs"):
        whole = bazar(noun, "list", "--limit", "1", "-o", "json").ok().json["items"][0]["created_at"]
        seconds = whole.partition(".")[0].rstrip("Z") + "Z"
        row = bazar(noun, "list", "--limit", "1").ok().out.splitlines()[1]
        assert row.split("\t")[-1] == seconds
        assert whole in bazar(noun, "list", "--limit", "1", "-o", "csv").ok().out


def test_all_crosses_pages_of_the_server(as_user: AsUser, people: People) -> None:
    someone = people.user()
    people.sql(
        "WITH made AS (INSERT INTO bazar.organizations (id, slug, name)"
        "  SELECT gen_random_uuid(), %s || '-' || n, 'One of many' FROM generate_series(1, 1001) n RETURNING id)"
        " INSERT INTO bazar.memberships (organization_id, user_id, role) SELECT id, %s, 'member' FROM made",
        f"many-{someone.id}",
        someone.id,
    )
    found = as_user(someone)("orgs", "list", "--all", "-o", "ids").ok().out.split()
    assert len(found) == len(set(found)) == 1001


def test_list_of_nothing(as_user: AsUser, people: People) -> None:
    bazar = as_user(people.user())
    table = bazar("orgs", "list").ok()
    assert (table.out, table.err) == ("", "no results\n")
    assert bazar("orgs", "list", "-o", "json").ok().json == {"items": [], "next_cursor": None}
    assert bazar("orgs", "list", "-o", "csv", "--fields", "slug,name").ok().out == "slug,name\r\n"


def test_get_by_id_and_by_slug(member: Member, people: People) -> None:
    bazar, orgs = member
    people.user({orgs[0]: Role.OWNER})
    by_slug = bazar("orgs", "get", orgs[0].slug, "-o", "json").ok().json
    assert (by_slug["id"], by_slug["members"]) == (str(orgs[0].id), 2)
    assert list(by_slug) == FIELDS
    for reference in (str(orgs[0].id).upper(), orgs[0].slug.upper()):
        assert bazar("orgs", "get", reference, "-o", "json").ok().json == by_slug
    assert yaml.safe_load(bazar("orgs", "get", orgs[0].slug, "-o", "yaml").ok().out) == by_slug
    pairs = bazar("orgs", "get", orgs[0].slug).ok().out
    assert pairs.startswith(f'id\t{orgs[0].id}\nslug\t{orgs[0].slug}\nname\tAcme, "Inc."\n')


def test_out_of_reach_reads_as_unknown(member: Member, people: People) -> None:
    hidden = people.org()
    pairs = [(hidden.slug, "no-such-organization"), (str(hidden.id), str(uuid.uuid4()))]
    for there, absent in pairs:
        first, second = (member.bazar("orgs", "get", name, "-o", "json") for name in (there, absent))
        assert (first.code, first.out) == (second.code, second.out) == (3, "")
        assert first.error["code"] == second.error["code"] == "orgs.not_found"
        assert first.error["message"].replace(there, "X") == second.error["message"].replace(absent, "X")
        assert first.error["hint"] == second.error["hint"]


def test_superuser_reaches_everything(admin: Bazar, people: People) -> None:
    org = people.org(created_at=datetime(2000, 1, 1, tzinfo=timezone.utc))
    assert admin("orgs", "get", org.slug, "-o", "ids").ok().out == f"{org.id}\n"
    assert org.slug in admin("orgs", "list", "--limit", "1000", "--fields", "slug").ok().out


def test_suspended_operator_reads_nothing(as_user: AsUser, people: People) -> None:
    org = people.org()
    done = as_user(people.user({org: Role.OWNER}, state=UserState.SUSPENDED))("orgs", "get", org.slug, "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (5, "", "access.suspended")


def test_nobody_signed_in(signed_out: Bazar) -> None:
    for words in (("orgs", "list"), ("orgs", "get", "acme")):
        done = signed_out(*words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (4, "", "auth.not_signed_in")
