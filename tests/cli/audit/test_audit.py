"""`bazar audit list`, `export` and `verify`: what a user sees, and what no output ever has."""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
from collections.abc import Callable, Generator

import bcrypt
import psycopg
import pytest
import yaml

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import RUN, People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
FIELDS = [
    *("id", "occurred_at", "operator_id", "operator_email", "action", "outcome", "target_type", "target_id"),
    *("organization_id", "before", "after", "reason", "request_id"),
]


@pytest.fixture
def renamed(admin: Bazar, people: People) -> Someone:
    """A user with two events about them."""
    someone = people.user(name="Ann")
    for name in ("Bea", "=cmd()"):
        admin("users", "update", str(someone.id), "--name", name).ok()
    return someone


# -- list ---------------------------------------------------------------------------------------------------


def test_list_in_every_format(admin: Bazar, renamed: Someone) -> None:
    words = ("audit", "list", "--target", renamed.email, "-o")
    whole = admin(*words, "json").ok().json
    newest, oldest = whole["items"]
    assert list(newest) == FIELDS
    assert (newest["before"], newest["after"]) == ({"name": "Bea"}, {"name": "=cmd()"})
    assert (oldest["action"], oldest["outcome"], oldest["target_id"]) == ("users.update", "done", str(renamed.id))
    assert (oldest["target_type"], oldest["organization_id"], oldest["reason"]) == ("user", None, None)
    assert oldest["occurred_at"].endswith("Z")
    assert yaml.safe_load(admin(*words, "yaml").ok().out) == whole
    assert admin(*words, "ids").ok().out.split() == [newest["id"], oldest["id"]]
    rows = list(csv.DictReader(io.StringIO(admin(*words, "csv").ok().out, newline="")))
    assert [json.loads(row["after"]) for row in rows] == [{"name": "=cmd()"}, {"name": "Bea"}]
    table = admin(*words, "table", "--fields", "action,before,after").ok().out
    assert table == "ACTION\tBEFORE\tAFTER\nusers.update\tname=Bea\tname==cmd()\nusers.update\tname=Ann\tname=Bea\n"


def test_a_table_fits_a_narrow_terminal(admin: Bazar, renamed: Someone, people: People) -> None:
    slug = f"org-{RUN}-{secrets.token_hex(5)}"
    org = people.org()
    admin("orgs", "update", org.slug, "--slug", slug).ok()
    header, line = admin("audit", "list", "--target", slug).ok().out.splitlines()
    assert header == "OCCURRED_AT\tOPERATOR_EMAIL\tACTION\tOUTCOME\tTARGET"
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\t\S+@\S+\torgs.update\tdone\t{slug}", line)
    plain = admin("audit", "list", "--target", renamed.email).ok().out
    assert plain.count(f"\t{renamed.id}\n") == 2

    here = admin.having(CLICOLOR_FORCE="1", NO_COLOR="1", COLUMNS="80")
    drawn = here("audit", "list", "--target", renamed.email).ok().out.splitlines()[1:]
    assert max(map(len, drawn)) <= 80
    assert sum(f"{str(renamed.id)[:8]}…{str(renamed.id)[-4:]}" in line for line in drawn) == 2
    # A head of two lines; the long address of the operator takes three.
    assert len([line for line in drawn if line.strip()]) <= 2 + 2 * 3


def test_pages_continue(admin: Bazar, renamed: Someone) -> None:
    words = ("audit", "list", "--target", str(renamed.id), "--limit", "1", "-o", "json")
    first = admin(*words).ok().json
    second = admin(*words, "--cursor", first["next_cursor"]).ok().json
    assert second["next_cursor"] is None
    assert [e["after"]["name"] for e in first["items"] + second["items"]] == ["=cmd()", "Bea"]
    assert len(admin(*words[:-2], "--all", "-o", "ids").ok().out.split()) == 2


def test_the_run_of_a_denial_is_found_by_its_request(as_user: AsUser, admin: Bazar, people: People) -> None:
    denied = as_user(people.user(plan=Plan.PREMIUM))("users", "create", "x@example.com", "-o", "json")
    found = admin("audit", "list", "--request", denied.error["request_id"], "-o", "json").ok().json["items"]
    assert [(e["action"], e["outcome"], e["target_id"], e["reason"]) for e in found] == [
        ("users.create", "denied", "x@example.com", denied.error["message"])
    ]


BAD = {
    "action": (["--action", "Users"], "audit.action_invalid"),
    "time": (["--since", "yesterday"], "input.time_invalid"),
    "until": (["--until", "tomorrow"], "input.time_invalid"),
    "outcome": (["--outcome", "tried"], "usage.invalid_value"),
    "limit": (["--limit", "0"], "list.limit_invalid"),
    "cursor of users": (["--cursor", "WyJjcmVhdGVkIiwiMjAyNi0wMS0wMSIsIngiXQ"], "list.cursor_invalid"),
}


@pytest.mark.parametrize(("words", "code"), BAD.values(), ids=BAD.keys())
def test_bad_value(admin: Bazar, words: list[str], code: str) -> None:
    done = admin("audit", "list", *words, "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", code)
    assert "--sort" not in done.error["hint"]


# -- a foreign organization never shows ---------------------------------------------------------------------


def test_no_output_names_a_foreign_organization(as_user: AsUser, people: People) -> None:
    shared, foreign = people.org(), people.org()
    reader = people.user({shared: Role.OWNER}, plan=Plan.PREMIUM)
    ruler = people.superuser()
    rule = as_user(ruler)
    colleague = people.user({shared: Role.MEMBER, foreign: Role.MEMBER})
    rule("users", "update", colleague.email, "--name", "Bea").ok()
    for org in (shared, foreign):
        made = f"new-{secrets.token_hex(6)}.{reader.email}"
        rule("users", "create", made, "--org", org.slug).ok()
        people.sql(
            "INSERT INTO bazar.memberships (organization_id, user_id, role)"
            " SELECT o.id, u.id, 'member' FROM bazar.organizations o, bazar.users u"
            " WHERE u.email = %s AND o.id IN (%s, %s) ON CONFLICT DO NOTHING",
            made,
            shared.id,
            foreign.id,
        )
        rule("users", "delete", made, "--confirm", made).ok()

    bazar, told = as_user(reader), list[str]()
    for output in ("json", "jsonl", "csv", "yaml", "table"):
        told.append(bazar("audit", "list", "-o", output).ok().out)
        if output != "table":
            told.append(bazar("audit", "export", "-o", output).ok().out)

    assert all(str(colleague.id) in text for text in told)
    assert not [text for text in told if foreign.slug in text or str(foreign.id) in text]
    assert foreign.slug in rule("audit", "list", "--operator", ruler.email, "-o", "json").ok().out


# -- export -------------------------------------------------------------------------------------------------


def test_export_to_a_new_private_file(admin: Bazar, renamed: Someone) -> None:
    path = admin.folder("work") / "events.jsonl"
    done = admin("audit", "export", "events.jsonl", "--target", renamed.email).ok()
    assert (done.out, "2 written to events.jsonl" in done.err) == ("", True)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [e["after"]["name"] for e in events] == ["Bea", "=cmd()"]
    assert path.stat().st_mode & 0o777 == 0o600
    piped = admin("audit", "export", "-", "--target", renamed.email, "-o", "csv").ok().out
    assert [row["id"] for row in csv.DictReader(io.StringIO(piped, newline=""))] == [e["id"] for e in events]
    assert admin("audit", "export", "--target", renamed.email, "-o", "json").ok().json["items"] == events

    path.write_text("mine")
    refused = admin("audit", "export", "events.jsonl", "-o", "json")
    assert (refused.code, refused.error["code"], path.read_text()) == (6, "files.exists", "mine")
    admin("audit", "export", "events.jsonl", "--overwrite", "--target", renamed.email).ok()
    assert len(path.read_text().splitlines()) == 2
    assert list(path.parent.iterdir()) == [path]


def test_an_export_that_fails_leaves_no_file(admin: Bazar, people: People) -> None:
    folder = admin.folder("work")
    for words, code, message in (
        (("missing/events.jsonl",), "files.unwritable", "missing/events.jsonl cannot be used: "),
        (("",), "usage.invalid_value", ""),
        (("events.jsonl", "--org", "nowhere-at-all"), "orgs.not_found", ""),
    ):
        done = admin.having(BAZAR_OUTPUT="json")("audit", "export", *words)
        assert (done.code != 0, done.out, done.error["code"]) == (True, "", code)
        assert message in done.error["message"]
    as_table = admin("audit", "export", "events.jsonl", "-o", "table")
    assert (as_table.code, as_table.out) == (2, "")
    assert "the results of `bazar audit export` cannot be a table" in as_table.err
    assert list(folder.iterdir()) == []


# -- verify -------------------------------------------------------------------------------------------------


def test_verify_prints_a_head_that_later_runs_expect(admin: Bazar, renamed: Someone) -> None:
    before = admin("audit", "verify", "--dry-run", "-o", "json").ok()
    assert "nothing was written" in before.err
    found = admin("audit", "verify", "-o", "json").ok().json
    named = ["whole", "events", "seals", "unsealed", "head", "head_at", "broken", "out_of_order", "unguarded"]
    assert list(found) == named
    assert (found["whole"], found["broken"], len(found["head"])) == (True, [], 64)
    admin("users", "update", str(renamed.id), "--name", "Cleo").ok()
    later = admin("audit", "verify", "--expect", found["head"].upper(), "-o", "json").ok().json
    assert later["events"] > found["events"]

    other = admin("audit", "verify", "--expect", "0" * 64, "-o", "json")
    assert (other.code, other.json["whole"], other.json["broken"][0]["kind"]) == (9, False, "not-as-expected")
    assert "older backup" in other.err
    malformed = admin("audit", "verify", "--expect", "0" * 63, "-o", "json")
    assert (malformed.code, malformed.error["code"]) == (2, "audit.hash_invalid")


@pytest.mark.embedded
def test_verify_names_the_changed_row(
    as_user: AsUser, target: Target, fresh_database: Callable[..., str], people: People, signed_out: Bazar
) -> None:
    from dataclasses import replace

    from bazar_cli.domain.secrets import Secret

    url = fresh_database(migrated=True)
    ruler = people.superuser()
    as_user(ruler)
    with People(replace(target, database_url=Secret(url))) as elsewhere:
        elsewhere.sql(
            "INSERT INTO bazar.users (id, email, plan, is_superuser) VALUES (%s, %s, 'premium', true)",
            ruler.id,
            ruler.email,
        )
        bazar = signed_out.on(elsewhere.target).having(BAZAR_TOKEN=people.access_token(ruler))
        bazar("users", "update", ruler.email, "--name", "Ada").ok()
        bazar("audit", "verify").ok()
        [event] = elsewhere.sql("SELECT id FROM bazar.audit_events")
        elsewhere.sql("ALTER TABLE bazar.audit_events DISABLE TRIGGER USER")
        elsewhere.sql("UPDATE bazar.audit_events SET operator_email = 'someone@else'")

        done = bazar("audit", "verify")

    assert done.code == 9
    assert f"event {event['id']} was changed" in done.err
    assert "users.update" in done.err
    assert "whole\tno" in done.out


# -- secrets ------------------------------------------------------------------------------------------------


def test_no_secret_is_ever_in_an_event(admin: Bazar, people: People, unique_email: Callable[[str], str]) -> None:
    org, mark = people.org(), secrets.token_hex(12)
    password, hash_ = f"Aa1-{mark}", bcrypt.hashpw(mark.encode(), bcrypt.gensalt(4)).decode()
    first, second, third = unique_email("a"), unique_email("b"), unique_email("c")
    admin("users", "create", first, "--org", org.slug, "--password-stdin", stdin=f"{password}\n").ok()
    admin("users", "create", second, "--password-hash-stdin", stdin=f"{hash_}\n").ok()
    generated = admin("users", "create", third, "--generate-password", "-o", "json").ok().json["password"]
    admin("users", "update", first, "--name", "Ada").ok()
    admin("users", "create", first, "--password-stdin", stdin=f"{password}\n")
    own = admin.having(BAZAR_TOKEN=people.access_token(Someone(people.user().id, first), password))
    own("auth", "password", "--password-stdin", stdin=f"new-{password}\n").ok()
    own("users", "create", second, "--password-stdin", stdin=f"{password}\n")
    admin("users", "delete", second, "--confirm", second).ok()

    stored = "\n".join(
        row["line"]
        for table in ("audit_events", "audit_seals", "audit_unsealed")
        for row in people.sql(f"SELECT t::text AS line FROM bazar.{table} t")
    )

    assert first in stored
    assert [word for word in (mark, hash_, hash_[-31:], generated) if word in stored] == []


# -- append-only --------------------------------------------------------------------------------------------


@pytest.fixture
def owner(target: Target) -> Generator[psycopg.Connection]:
    """The owner of the tables."""
    with psycopg.connect(target.database_url.reveal(), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("table", ["audit_events", "audit_seals"])
@pytest.mark.parametrize(
    "statement", ["UPDATE bazar.{} SET hash = hash", "DELETE FROM bazar.{}", "TRUNCATE bazar.{} CASCADE"]
)
def test_the_log_refuses_change_from_its_owner_too(
    admin: Bazar, renamed: Someone, owner: psycopg.Connection, table: str, statement: str
) -> None:
    admin("audit", "verify").ok()
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        owner.execute(statement.format(table).encode())
