"""`bazar users import` and `users imports list|show`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bazar_cli.domain.entities import Plan, Role, UserState
from tests.cli.auth.support import Terminal
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.cli import Bazar
from tests.support.people import OLD_HASH, OLD_PASSWORD, Org, People, Someone, an_address

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
COUNTS = ("created", "updated", "unchanged", "skipped", "failed", "open")


def write(bazar: Bazar, content: str | bytes, name: str = "users.csv") -> Path:
    """Write a file into the folder that commands run in."""
    path = bazar.folder("work") / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def counts(found: Mapping[str, Any]) -> dict[str, int]:
    """The counts of a result that are not zero."""
    return {name: found[name] for name in COUNTS if found[name]}


def results(bazar: Bazar, name: str) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    content = (bazar.folder("work") / name).read_bytes().decode()
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(content, newline="")))
    return [json.loads(line) for line in content.splitlines()]


def user(people: People, email: str) -> dict[str, Any] | None:
    """The row of a user, with the memberships."""
    found = people.sql(
        "SELECT u.id, u.name, u.plan, u.state, u.pending, (SELECT array_agg(o.slug || ':' || m.role ORDER BY o.slug)"
        " FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id WHERE m.user_id = u.id)"
        " AS organizations FROM bazar.users u WHERE email = %s",
        email,
    )
    return found[0] if found else None


# -- new users ----------------------------------------------------------------------------------------------


@pytest.mark.embedded  # it compares all rows of both systems
def test_users_of_a_csv_file_are_in_both_systems_and_sign_in(admin: Bazar, people: People) -> None:
    org, other = people.org(), people.org()
    ada, bob, eve = an_address("ada"), an_address("bob"), an_address("eve")
    write(
        admin,
        "email,name,organizations,plan,password,password_hash,user_metadata\r\n"
        f'{ada.upper()},Ada,{org.slug}:owner;{other.slug},plus,secret-word-1,,"{{""city"": ""Köln""}}"\r\n'
        f"{bob},,,,,{OLD_HASH},\r\n{eve},'=Eve,,,,,\r\n",
    )
    before = people.everything()
    planned = admin("users", "import", "users.csv", "-n", "-o", "json", "--results", "planned.csv").ok()
    assert counts(planned.json) == {"created": 3}
    assert (planned.json["dry_run"], planned.json["run_id"]) == (True, None)
    assert [(row["line"], row["status"], row["id"]) for row in results(admin, "planned.csv")] == [
        (line, "created", "") for line in ("2", "3", "4")
    ]
    assert people.everything() == before

    done = admin("users", "import", "users.csv", "-o", "json", "--results", "done.jsonl").ok()
    assert counts(done.json) == {"created": 3}
    lines = results(admin, "done.jsonl")
    assert [(row["line"], row["email"], row["status"], row["code"]) for row in lines] == [
        (line, email, "created", None) for line, email in ((2, ada), (3, bob), (4, eve))
    ]
    found = {email: user(people, email) for email in (ada, bob, eve)}
    assert [row["id"] for row in lines] == [str((found[email] or {})["id"]) for email in (ada, bob, eve)]
    slugs = sorted([f"{org.slug}:owner", f"{other.slug}:member"])
    assert {**(found[ada] or {}), "id": 0} == {
        "id": 0,
        "name": "Ada",
        "plan": "plus",
        "state": "active",
        "pending": None,
        "organizations": slugs,
    }
    assert ((found[bob] or {})["name"], (found[eve] or {})["name"]) == (None, "=Eve")
    assert people.signs_in(ada, "secret-word-1")
    assert people.signs_in(bob, OLD_PASSWORD)
    assert not people.signs_in(eve, OLD_PASSWORD)
    assert people.identities(ada)[0]["user_metadata"]["city"] == "Köln"
    run_id = done.json["run_id"]
    (left,) = people.sql(
        "SELECT count(*) FILTER (WHERE password_hash IS NOT NULL) AS hashes, count(*) AS rows"
        " FROM bazar.import_rows WHERE run_id = %s",
        run_id,
    )
    assert left == {"hashes": 0, "rows": 3}

    again = admin("users", "import", "users.csv", "-o", "json").ok()
    assert counts(again.json) == {"unchanged": 3}
    assert again.json["run_id"] != run_id
    listed = admin("users", "imports", "list", "--limit", "2", "-o", "json").ok().json["items"]
    assert [item["id"] for item in listed] == [again.json["run_id"], run_id]
    assert listed[1]["finished_at"] is not None
    shown = admin("users", "imports", "show", run_id, "--limit", "2", "-o", "json").ok().json
    assert shown["items"] == lines[:2]
    rest = admin("users", "imports", "show", run_id, "--cursor", shown["next_cursor"], "-o", "json").ok().json
    assert rest == {"items": lines[2:], "next_cursor": None}


def test_no_password_is_in_an_output_a_log_or_a_row(admin: Bazar, people: People) -> None:
    email, password = an_address(), "marked-secret-1"
    content = f"email,password,plan\n{email},{password},\n"
    log = ("--debug", "--log-file", "log.txt")
    done = admin("users", "import", "-", *log, stdin=content).ok()
    failed = admin("users", "import", "-", *log, stdin=content + f"{an_address()},{password},gold\n")
    assert failed.code == 2
    written = (admin.folder("work") / "log.txt").read_text()
    assert password not in f"{done.out}{done.err}{failed.out}{failed.err}{written}"
    rows = people.sql("SELECT r::text AS text FROM bazar.import_rows r WHERE email = %s", email)
    assert len(rows) == 1
    assert "$2a$" not in rows[0]["text"]


def test_standard_input_and_json_lines(admin: Bazar, people: People) -> None:
    org = people.org()
    ada = an_address("ada")
    record = {"email": ada, "organizations": [{"slug": org.slug, "role": "admin"}], "app_metadata": {"team": 1}}
    done = admin("users", "import", "-", "-o", "ids", stdin=json.dumps(record)).ok()
    (found,) = people.sql("SELECT id FROM bazar.import_runs WHERE id = %s", done.out.strip())
    assert (user(people, ada) or {})["organizations"] == [f"{org.slug}:admin"]
    metadata = people.identities(ada)[0]["app_metadata"]
    assert (metadata["team"], metadata["bazar"]["origin"]) == (1, "created")
    events = people.sql(
        "SELECT use_case, target_type, after FROM bazar.audit_events WHERE target_id = %s", str(found["id"])
    )
    assert events == [{"use_case": "users.import", "target_type": "import", "after": {"rows": 1, "open": 1}}]


@pytest.mark.embedded  # it compares all rows of both systems
def test_export_of_a_target_imports_without_a_change(admin: Bazar, as_user: AsUser, people: People) -> None:
    org = people.org()
    leader = people.known_user({org: Role.ADMIN}, plan=Plan.PREMIUM, name="'s Leader")
    people.known_user({org: Role.MEMBER}, name="=cmd()", state=UserState.SUSPENDED)
    people.known_user({org: Role.MEMBER, people.org(): Role.OWNER}, plan=Plan.PLUS)
    bazar = as_user(leader)
    for name, output in (("all.csv", "csv"), ("all.jsonl", "jsonl")):
        bazar("users", "export", name, "-o", output).ok()
        before = people.everything()
        done = bazar("users", "import", name, "-o", "json").ok()
        assert counts(done.json) == {"unchanged": 3}
        assert done.err.strip() == "not read: the columns pending, is_superuser, created_at, updated_at"
        after = people.everything()
        assert {table: rows for table, rows in after.items() if rows != before[table]}.keys() == {"bazar.audit_events"}


# -- users who exist ----------------------------------------------------------------------------------------


@pytest.fixture
def org(people: People) -> Org:
    return people.org()


@pytest.fixture
def known(people: People, org: Org) -> Someone:
    return people.known_user({org: Role.MEMBER}, name="Ada")


def test_user_with_other_values_fails_by_default_and_others_are_created(
    admin: Bazar, people: People, org: Org, known: Someone
) -> None:
    new = an_address()
    write(admin, f"email,name,organizations\n{known.email},Eve,{org.slug}:admin\n{new},,\n")
    done = admin("users", "import", "users.csv", "-o", "json", "--results", "results.csv")
    assert (done.code, counts(done.json)) == (8, {"created": 1, "failed": 1})
    (failure,) = done.json["failures"]
    expected = f"{known.email} exists already, with other values: name, organizations"
    assert failure == {
        "line": 2,
        "email": known.email,
        "status": "failed",
        "id": None,
        "code": "users.email_exists",
        "message": expected,
    }
    first, second = results(admin, "results.csv")
    assert (first["message"], second["status"]) == (expected, "created")
    table = admin("users", "import", "users.csv").out
    assert f"line 2: {expected}" in table


def test_skip_leaves_the_user_alone(admin: Bazar, people: People, known: Someone) -> None:
    write(admin, f"email,name\n{known.email},Eve\n")
    done = admin("users", "import", "users.csv", "--on-conflict", "skip", "-o", "json").ok()
    assert counts(done.json) == {"skipped": 1}
    assert (user(people, known.email) or {})["name"] == "Ada"


def test_update_changes_what_differs_and_removes_no_membership(
    admin: Bazar, people: People, org: Org, known: Someone
) -> None:
    other = people.org()
    content = (
        "email,name,organizations,plan,password,user_metadata\n"
        f'{known.email},,{other.slug}:admin,premium,another-word,"{{""a"": 1}}"\n'
    )
    write(admin, content)
    done = admin("users", "import", "users.csv", "--on-conflict", "update", "-o", "json").ok()
    assert counts(done.json) == {"updated": 1}
    assert done.err.strip() == "1 row of existing users: they keep their password and metadata"
    found = user(people, known.email) or {}
    assert (found["name"], found["plan"]) == (None, "premium")
    assert found["organizations"] == sorted([f"{org.slug}:member", f"{other.slug}:admin"])
    assert people.signs_in(known.email, OLD_PASSWORD)
    again = admin("users", "import", "users.csv", "--on-conflict", "update", "-o", "json").ok()
    assert counts(again.json) == {"unchanged": 1}


def test_only_columns_that_are_given_are_compared(admin: Bazar, known: Someone) -> None:
    write(admin, f'{{"email": "{known.email}"}}\n', "users.jsonl")
    assert counts(admin("users", "import", "users.jsonl", "-o", "json").ok().json) == {"unchanged": 1}


def test_id_of_another_user_fails(admin: Bazar, people: People, known: Someone) -> None:
    new = an_address()
    write(admin, f"email,id\n{new},{known.id}\n{known.email},{people.user().id}\n")
    done = admin("users", "import", "users.csv", "-o", "json")
    assert (done.code, [row["code"] for row in done.json["failures"]]) == (8, ["users.id_taken", "users.differs"])
    assert user(people, new) is None


# -- findings -----------------------------------------------------------------------------------------------


@pytest.mark.embedded  # it compares all rows of both systems
def test_all_findings_are_reported_at_once_and_nothing_is_written(admin: Bazar, people: People, org: Org) -> None:
    new = an_address()
    write(
        admin,
        "email,organizations,plan,state\n"
        f"{new},{org.slug}:member,free,\n"
        "x,,gold,\n"
        f"{new},nowhere-at-all,,\n"
        f"{an_address()},,,suspended\n",
    )
    before = people.everything()
    refused = admin("users", "import", "users.csv", "-o", "json")
    assert (refused.code, refused.out, refused.error["code"]) == (2, "", "imports.file_invalid")
    assert refused.error["details"]["count"] == 5
    assert [(f["line"], f["column"], f["code"]) for f in refused.error["details"]["findings"]] == [
        (3, "email", "users.email_invalid"),
        (3, "plan", "imports.value_invalid"),
        (4, "email", "imports.value_doubled"),
        (4, "organizations", "orgs.not_found"),
        (5, "state", "imports.suspended"),
    ]
    assert people.everything() == before
    text = admin("users", "import", "users.csv").err
    assert "users.csv has 5 faults, and nothing was written" in text
    assert "  line 4, email: line 2 has the same email" in text


@pytest.mark.embedded  # it compares all rows of both systems
def test_admin_imports_members_of_their_organization_and_no_others(as_user: AsUser, people: People) -> None:
    mine, theirs = people.org(), people.org()
    leader = people.known_user({mine: Role.ADMIN}, plan=Plan.PREMIUM)
    bazar, new = as_user(leader), an_address()
    done = bazar("users", "import", "-", "-o", "json", stdin=f"email,organizations\n{new},{mine.slug}\n").ok()
    assert counts(done.json) == {"created": 1}

    content = (
        "email,organizations,plan,id\n"
        f"{an_address()},{mine.slug}:member,,\n"
        f"{an_address()},{mine.slug}:owner,,\n"
        f"{an_address()},,,\n"
        f"{an_address()},{mine.slug},plus,\n"
        f"{an_address()},{mine.slug},,0193b3c4-0000-7000-8000-00000000000a\n"
    )
    before = people.everything()
    refused = bazar("users", "import", "-", "-o", "json", stdin=content)
    assert (refused.code, refused.error["code"]) == (5, "imports.denied")
    assert [(f["line"], f["column"], f["code"]) for f in refused.error["details"]["findings"]] == [
        (3, "organizations", "access.role"),
        (4, "email", "access.platform"),
        (5, "plan", "access.platform"),
        (6, "id", "access.platform"),
    ]
    changed = {table for table, rows in people.everything().items() if rows != before[table]}
    assert changed == {"bazar.audit_events"}, "the denial is recorded"
    unseen = bazar("users", "import", "-", "-o", "json", stdin=f"email,organizations\n{new},{theirs.slug}\n")
    assert unseen.error["details"]["findings"][0]["code"] == "orgs.not_found"


def test_user_out_of_reach_is_named_as_taken_only(as_user: AsUser, people: People) -> None:
    mine = people.org()
    leader = people.known_user({mine: Role.OWNER}, plan=Plan.PREMIUM)
    stranger = people.user({people.org(): Role.MEMBER}, name="Eve")
    content = f"email,name,organizations\n{stranger.email},Other,{mine.slug}\n"
    for mode, code, status in (("fail", 8, "failed"), ("update", 8, "failed"), ("skip", 0, "skipped")):
        done = as_user(leader)("users", "import", "-", "--on-conflict", mode, "-o", "json", stdin=content)
        assert (done.code, counts(done.json)) == (code, {status: 1})
        rows = as_user(leader)("users", "imports", "show", done.json["run_id"], "-o", "json").ok().json["items"]
        assert [(row["message"], row["id"]) for row in rows] == [(f"{stranger.email} exists already", None)]


def test_update_of_a_user_above_the_operator_is_a_denial(as_user: AsUser, people: People, org: Org) -> None:
    leader = people.known_user({org: Role.ADMIN}, plan=Plan.PREMIUM)
    owner, member = people.user({org: Role.OWNER}), people.user({org: Role.MEMBER})
    content = f"email,name\n{owner.email},Other\n{member.email},Other\n"
    refused = as_user(leader)("users", "import", "-", "--on-conflict", "update", "-o", "json", stdin=content)
    assert (refused.code, refused.error["code"]) == (5, "imports.denied")
    assert [(f["line"], f["code"]) for f in refused.error["details"]["findings"]] == [(2, "access.role")]


# -- runs ---------------------------------------------------------------------------------------------------


def test_operators_see_their_own_runs_and_superusers_all(admin: Bazar, as_user: AsUser, people: People) -> None:
    leader, other = (people.known_user({people.org(): Role.OWNER}, plan=Plan.PREMIUM) for _ in range(2))
    content = f"email\n{leader.email}\n"
    run_id = as_user(leader)("users", "import", "-", "-o", "ids", stdin=content).ok().out.strip()
    for bazar, seen in ((as_user(leader), True), (as_user(other), False), (admin, True)):
        assert (run_id in bazar("users", "imports", "list", "--all", "-o", "ids").ok().out) is seen
        shown = bazar("users", "imports", "show", run_id, "-o", "json")
        assert shown.code == (0 if seen else 3)
        assert seen or shown.error["code"] == "imports.not_found"


def test_results_do_not_replace_the_file_that_is_imported(admin: Bazar) -> None:
    content = f"email\n{an_address()}\n"
    path = write(admin, content)
    (path.parent / "other.csv").hardlink_to(path)
    for named in ("users.csv", "./users.csv", "other.csv"):
        done = admin("users", "import", "users.csv", "--results", named, "--overwrite", "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (2, "", "usage.invalid_value")
        assert f"--results {named} is the file that the command reads" in done.error["message"]
    assert path.read_text() == content


def test_results_of_an_interrupted_import_are_replaced(admin: Bazar, people: People) -> None:
    """Rows that were open have an outcome then; a file with anything else is not replaced."""
    emails = [an_address() for _ in range(3)]
    write(admin, "email\n" + "".join(f"{email}\n" for email in emails), "users.csv")
    words = ("users", "import", "users.csv", "--results", "results.csv")
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("POST", "/admin/users", 429, retry_after="3600", times=None))
        assert admin.on(proxy.target)(*words).code == 7
    assert [line["status"] for line in results(admin, "results.csv")] == ["open"] * 3
    kept = admin.folder("work").joinpath("results.csv").read_bytes()
    write(admin, kept.replace(b"open", b"mine", 1), "results.csv")
    assert admin(*words, "-o", "json").error["code"] == "files.exists"
    write(admin, kept, "results.csv")
    admin(*words).ok()
    assert [line["status"] for line in results(admin, "results.csv")] == ["created"] * 3


def test_results_replace_no_file_without_overwrite(admin: Bazar, people: People, known: Someone) -> None:
    content = f"email\n{known.email}\n"
    kept = write(admin, "mine", "results.csv")
    refused = admin("users", "import", "-", "--results", "results.csv", "-o", "json", stdin=content)
    assert (refused.code, refused.error["code"]) == (6, "files.exists")
    assert refused.error["hint"] == "choose another file for --results, or add --overwrite"
    nowhere = admin("users", "import", "-", "--results", "no/such/folder.csv", "-o", "json", stdin=content)
    assert (nowhere.code, nowhere.error["code"]) == (2, "files.unwritable")
    assert people.sql("SELECT 1 FROM bazar.import_rows WHERE email = %s", known.email) == []
    assert kept.read_text() == "mine"
    run_id = admin("users", "import", "-", "-o", "ids", stdin=content).ok().out.strip()
    reopen = "UPDATE bazar.import_runs SET finished_at = NULL WHERE id = %s"
    people.sql(reopen, run_id)
    other = admin("users", "import", "-", "--results", "results.csv", "-o", "json", stdin=content)
    assert (other.code, other.error["code"]) == (6, "files.exists")
    admin("users", "import", "-", "--results", "results.csv", "--overwrite", stdin=content).ok()
    people.sql(reopen, run_id)
    admin("users", "import", "-", "--results", "results.csv", stdin=content).ok()
    assert results(admin, "results.csv")[0]["status"] == "unchanged"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_progress_as_json_lines(admin: Bazar, known: Someone) -> None:
    done = admin("users", "import", "-", "--progress", "json", stdin=f"email\n{known.email}\n").ok()
    lines = [json.loads(line)["progress"] for line in done.err.splitlines() if line.startswith('{"progress"')]
    assert lines
    assert lines[0]["doing"] == "rows checked"
    assert (lines[0]["done"], lines[0]["total"]) == (1, None)
    assert "progress" not in admin("users", "import", "-", stdin=f"email\n{known.email}\n").ok().err


def test_progress_as_a_bar_on_a_terminal(admin: Bazar, known: Someone) -> None:
    write(admin, f"email\n{known.email}\n{an_address()}\n")
    with Terminal(admin.having(TERM="xterm"), "users", "import", "users.csv") as terminal:
        assert terminal.end() == 0
    assert "rows checked" in terminal.seen
    assert "rows applied" in terminal.seen
    with Terminal(admin.having(TERM="xterm"), "users", "import", "users.csv", "-q") as quiet:
        assert quiet.end() == 0
    assert "rows" in quiet.seen
    assert "rows checked" not in quiet.seen


def test_file_without_rows_does_nothing(admin: Bazar) -> None:
    done = admin("users", "import", "-", "-o", "json", stdin="email,name\n").ok()
    assert (done.json["run_id"], done.json["rows"]) == (None, 0)


@pytest.mark.parametrize("number", ["0", "65"])
def test_concurrency_has_bounds(admin: Bazar, number: str) -> None:
    refused = admin("users", "import", "-", "--concurrency", number, "-o", "json", stdin="email\n")
    assert (refused.code, refused.error["code"]) == (2, "imports.concurrency_invalid")
