"""`bazar doctor --fix` finishes what commands that died left pending, and does nothing else."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest

from bazar_cli.domain import doctor as use_cases
from bazar_cli.domain import waits
from bazar_cli.domain.entities import Pending, Plan, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.imports.imports import ImportRun, Via
from bazar_cli.services.users.resume import resume
from tests.cli.auth.support import Terminal
from tests.support.auth_proxy import Asked, Fault, auth_proxy, between
from tests.support.cli import Bazar, Done
from tests.support.imports import Importing, Row
from tests.support.people import OLD_PASSWORD, People, Someone, an_address
from tests.support.waiting import poll

AsUser = Callable[[Someone], Bazar]


@pytest.fixture(autouse=True)
def nobody_else_pending(people: People) -> None:
    """Remove users whom other tests of this worker left pending."""
    people.sql("DELETE FROM bazar.users WHERE pending IS NOT NULL")


def fix_of(done: Done) -> dict[str, Any]:
    """Return the check that says what was fixed."""
    return next(check for check in done.json["items"] if check["check"] == "fix")


def stamped(people: People, someone: Someone) -> None:
    """Give a user the identity that a create of this Bazar makes."""
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    people.identity(someone, app_metadata={"bazar": {"deployment": str(marker["id"]), "origin": "created"}})


def leased(people: People, someone: Someone) -> None:
    """Let a command hold the lease of a user."""
    people.sql(
        "UPDATE bazar.users SET lease_owner = gen_random_uuid(), lease_until = now() + interval '1 hour' WHERE id = %s",
        someone.id,
    )


def pending_of(people: People, someone: Someone) -> str | None:
    """Return what is pending of a user who is there."""
    row = people.row(someone)
    assert row is not None
    return row["pending"]


def test_nothing_to_fix(admin: Bazar) -> None:
    done = admin("doctor", "--fix", "-o", "json")
    assert (fix_of(done)["status"], fix_of(done)["detail"]) == ("ok", "nothing was pending")


@pytest.fixture
def open_import(people: People) -> Generator[ImportRun]:
    """An import that began two hours ago and was killed: its first of two users is pending. No other one is open."""
    people.sql("DELETE FROM bazar.import_runs WHERE finished_at IS NULL")
    importing = Importing(people, people.superuser())
    pending = people.user(pending=Pending.CREATE)
    run = importing.stage([Row(id=pending.id, email=pending.email), Row()], Via.API)
    people.sql("UPDATE bazar.import_runs SET started_at = now() - interval '2 hours' WHERE id = %s", run.id)
    yield run
    people.sql("DELETE FROM bazar.import_runs WHERE id = %s", run.id)


def test_users_of_an_open_import_are_left_to_it(admin: Bazar, people: People, open_import: ImportRun) -> None:
    """The import gives them the password and metadata of its file."""
    [pending] = people.sql("SELECT id, email FROM bazar.users WHERE pending IS NOT NULL")
    done = admin("doctor", "--fix", "--yes", "-o", "json")
    assert fix_of(done)["detail"] == "nothing was pending"
    assert pending_of(people, Someone(pending["id"], pending["email"])) == "create"
    assert people.identities(pending["email"]) == []
    check = next(check for check in done.json["items"] if check["check"] == "open-imports")
    assert (check["status"], done.code) == ("warning", 9)
    assert "2 of 2 rows left" in check["detail"]
    assert f"bazar users imports undo {open_import.id}" in check["remedy"]


def test_an_import_that_a_command_works_on_is_no_finding(admin: Bazar, people: People, open_import: ImportRun) -> None:
    people.sql(
        "UPDATE bazar.import_rows SET claim = gen_random_uuid(), claimed_until = now() + interval '1 hour'"
        " WHERE run_id = %s",
        open_import.id,
    )
    done = admin("doctor", "-o", "json")
    check = next(check for check in done.json["items"] if check["check"] == "open-imports")
    assert check["status"] == "ok"
    assert str(open_import.id) in check["detail"]


def test_pending_users_are_finished(admin: Bazar, people: People) -> None:
    absent, there, leaving = (people.user(pending=p) for p in (Pending.CREATE, Pending.CREATE, Pending.DELETE))
    stamped(people, there)
    people.identity(leaving)

    done = admin("doctor", "--fix", "--yes", "-o", "json")

    assert fix_of(done)["detail"] == "3 finished"
    notes = {row["email"]: row["note"] for row in fix_of(done)["rows"]}
    assert notes.keys() == {absent.email, there.email, leaving.email}
    assert "`bazar users reset-password EMAIL`" in notes[absent.email]
    assert notes[there.email] == "finished"
    for someone in (absent, there):
        [identity] = people.identities(someone.email)
        assert (identity["id"], (people.row(someone) or {})["pending"]) == (someone.id, None)
    assert people.signs_in(there.email, OLD_PASSWORD)
    assert (people.row(leaving), people.identities(leaving.email)) == (None, [])
    assert "3 finished" in fix_of(done)["detail"]
    assert all(email in done.err for email in notes)
    assert next(c for c in done.json["items"] if c["check"] == "pending")["status"] == "ok"


def test_without_consent_nothing_is_done(admin: Bazar, people: People) -> None:
    someone = people.user(pending=Pending.CREATE)
    before = people.everything()
    done = admin("doctor", "--fix", "-o", "json")
    assert (done.code, done.out) == (10, "")
    assert done.error["code"] == "input.consent"
    assert someone.email in done.error["message"]
    assert "bazar doctor --fix --yes" in done.error["hint"]
    assert people.everything() == before


def test_dry_run_lists_the_changes(admin: Bazar, people: People) -> None:
    people.user(pending=Pending.CREATE)
    leaving = people.user(pending=Pending.DELETE)
    people.identity(leaving)
    before = people.everything()
    done = admin("doctor", "--fix", "--dry-run", "-o", "json")
    assert done.code == 9
    assert fix_of(done)["detail"] == "would be: 2 finished"
    assert f"{leaving.email}: would be finished" in done.err
    assert people.everything() == before


@pytest.mark.parametrize("superuser", [False, True], ids=["premium, no superuser", "superuser on free"])
def test_fix_without_permission_is_denied(as_user: AsUser, people: People, superuser: bool) -> None:
    people.user(pending=Pending.CREATE)
    someone = people.user(plan=Plan.FREE if superuser else Plan.PREMIUM, superuser=superuser)
    bazar = as_user(someone)
    before = people.everything()
    done = bazar("doctor", "--fix", "--yes", "-o", "json")
    assert (done.code, done.out) == (5, "")
    assert "bazar doctor --fix" in done.error["message"]
    after = people.everything()
    assert {t for t in before if before[t] != after[t]} == {"bazar.audit_events"}
    [event] = people.sql("SELECT * FROM bazar.audit_events WHERE operator_id = %s", someone.id)
    assert (event["use_case"], event["outcome"]) == ("doctor.fix", "denied")


def test_nobody_signed_in(signed_out: Bazar) -> None:
    done = signed_out("doctor", "--fix", "--yes", "-o", "json")
    assert (done.code, done.error["code"]) == (4, "auth.not_signed_in")


def test_change_with_a_lease_is_finished_after_the_lease_expires(admin: Bazar, people: People) -> None:
    """A command that was killed a moment ago looks alive until its lease ends."""
    held, free = people.user(pending=Pending.CREATE), people.user(pending=Pending.CREATE)
    leased(people, held)
    with ThreadPoolExecutor() as threads:
        run = threads.submit(admin, "doctor", "--fix", "--yes", "-o", "json")
        poll(lambda: pending_of(people, free) is None)
        assert (pending_of(people, held), people.identities(held.email)) == ("create", [])
        people.leases_run_out()
        done = run.result()
    assert (fix_of(done)["status"], fix_of(done)["detail"]) == ("ok", "2 finished")
    assert [row["email"] for row in fix_of(done)["rows"]] == [held.email, free.email]
    assert (pending_of(people, held), len(people.identities(held.email))) == (None, 1)


def test_change_that_its_command_settles_counts_as_finished(admin: Bazar, people: People) -> None:
    held, free = people.user(pending=Pending.CREATE), people.user(pending=Pending.CREATE)
    leaving = people.user(pending=Pending.DELETE)
    stamped(people, held)
    leased(people, held)
    leased(people, leaving)
    with ThreadPoolExecutor() as threads:
        run = threads.submit(admin, "doctor", "--fix", "--yes", "-o", "json")
        poll(lambda: pending_of(people, free) is None)
        people.sql("DELETE FROM bazar.users WHERE id = %s", leaving.id)
        people.sql(
            "UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL WHERE id = %s", held.id
        )
        done = run.result()
    assert (fix_of(done)["status"], fix_of(done)["detail"]) == ("ok", "3 finished")


def test_change_under_a_lease_is_left(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "OF_A_COMMAND", replace(waits.OF_A_COMMAND, lease=0.0))
    held = people.user(pending=Pending.CREATE)
    leased(people, held)
    with pytest.raises(Conflict) as busy:
        people.run(people.superuser(), resume, use_cases.FIX, held.id)
    assert busy.value.code == "users.busy"
    assert (pending_of(people, held), people.identities(held.email)) == ("create", [])


def test_two_at_once_both_end_well(admin: Bazar, people: People) -> None:
    """While the first one is at its first user, the second one finishes all others and waits for that one."""
    first, begun = people.user(pending=Pending.CREATE), people.user(pending=Pending.CREATE)
    leaving = people.user(pending=Pending.DELETE)
    fixing = ("doctor", "--fix", "--yes", "-o", "json")
    with ThreadPoolExecutor() as threads:
        runs: list[Future[Done]] = []

        def answer(asked: Asked) -> httpx.Response:
            if asked.path.endswith(str(first.id)) and not runs:
                runs.append(threads.submit(admin, *fixing))
                poll(lambda: people.row(leaving) is None)
            return asked.passed_on(people.target.supabase_url)

        with between(answer) as url:
            ends = [admin.having(SUPABASE_URL=url)(*fixing), runs[0].result()]
    assert [fix_of(done)["detail"] for done in ends] == ["3 finished", "3 finished"]
    assert [pending_of(people, someone) for someone in (first, begun)] == [None, None]


def test_identities_without_a_user_are_kept(admin: Bazar, people: People) -> None:
    orphan = Someone(uuid.uuid4(), f"orphan.{uuid.uuid4().hex[:8]}@example.com")
    stamped(people, orphan)
    lonely = people.user()
    done = admin("doctor", "--fix", "--yes", "-o", "json")
    assert done.code == 9
    assert len(people.identities(orphan.email)) == 1
    assert people.row(lonely) is not None
    assert people.identities(lonely.email) == []


@pytest.mark.parametrize("taken", ["address", "id"])
def test_a_dry_run_ends_as_the_real_run_would(admin: Bazar, people: People, taken: str) -> None:
    someone = people.user(pending=Pending.CREATE)
    if taken == "address":
        people.identity(Someone(uuid.uuid4(), someone.email))
    else:
        people.identity(Someone(someone.id, an_address("stranger")))
    before = people.everything()
    planned = fix_of(admin("doctor", "--fix", "--dry-run", "-o", "json"))
    assert people.everything() == before
    real = fix_of(admin("doctor", "--fix", "--yes", "-o", "json"))
    assert planned["detail"] == f"would be: {real['detail']}" == "would be: 1 undone"
    assert planned["rows"] == [{**row, "note": f"would be {row['note']}"} for row in real["rows"]]


def test_an_address_that_a_stranger_took_is_given_up(admin: Bazar, people: People) -> None:
    someone = people.user(pending=Pending.CREATE)
    stranger = Someone(uuid.uuid4(), someone.email)
    people.identity(stranger)
    done = admin("doctor", "--fix", "--yes", "-o", "json")
    assert (done.code, fix_of(done)["status"], fix_of(done)["detail"]) == (9, "warning", "1 undone")
    assert someone.email in fix_of(done)["remedy"]
    assert people.row(someone) is None
    assert [i["id"] for i in people.identities(someone.email)] == [stranger.id]
    assert [(e["use_case"], e["outcome"]) for e in people.events(someone.id)] == [("doctor.fix", "undone")]


def test_changes_are_finished_and_an_address_that_is_taken_is_put_back(admin: Bazar, people: People) -> None:
    banned, freed = (
        people.user(pending=Pending.SUSPEND, state=UserState.SUSPENDED),
        people.user(pending=Pending.RESTORE),
    )
    moved, taken = people.user(), an_address("taken")
    for someone in (banned, freed, moved):
        people.identity(someone)
    people.ban(freed)
    people.identity(Someone(uuid.uuid4(), taken))
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("PUT", ".*", 503, lasting=True))
        assert admin.on(proxy.target)("users", "update", moved.email, "--email", taken).code == 7

    planned = fix_of(admin("doctor", "--fix", "--dry-run", "-o", "json"))
    done = admin("doctor", "--fix", "--yes", "-o", "json")

    assert planned["detail"] == "would be: 2 finished, 1 undone"
    assert (done.code, fix_of(done)["detail"]) == (9, "2 finished, 1 undone")
    assert taken in fix_of(done)["remedy"]
    assert "keep the address" in fix_of(done)["remedy"]
    assert [pending_of(people, someone) for someone in (banned, freed, moved)] == [None] * 3
    assert [people.signs_in(s.email, OLD_PASSWORD) for s in (banned, freed, moved)] == [False, True, True]
    assert [len(people.events(someone.id)) for someone in (banned, freed)] == [0, 0]
    assert [(e["use_case"], e["outcome"]) for e in people.events(moved.id)] == [
        ("users.update", "done"),
        ("doctor.fix", "undone"),
    ]


def test_deletions_need_the_permission_to_delete(admin: Bazar, people: People) -> None:
    leaving, begun = people.user(pending=Pending.DELETE), people.user(pending=Pending.CREATE)
    people.identity(leaving)
    people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'premium' AND permission = 'users:delete'")
    try:
        done = admin("doctor", "--fix", "--yes", "-o", "json")
    finally:
        people.sql("INSERT INTO bazar.plan_permissions (plan, permission) VALUES ('premium', 'users:delete')")
    assert done.code == 9
    assert fix_of(done)["detail"] == "1 finished, 1 left"
    assert (people.row(leaving) or {})["pending"] == "delete"
    assert len(people.identities(leaving.email)) == 1
    assert (people.row(begun) or {})["pending"] is None


def test_of_many_the_question_names_a_few(admin: Bazar, people: People) -> None:
    pending = [people.user(pending=Pending.CREATE) for _ in range(5)]
    asked = admin("doctor", "--fix", "-o", "json").error["message"]
    assert [someone.email in asked for someone in pending] == [True, True, True, False, False]
    assert "and 2 more" in asked


def test_a_person_who_says_no_changes_nothing(admin: Bazar, people: People) -> None:
    someone = people.user(pending=Pending.CREATE)
    with Terminal(admin, "doctor", "--fix") as terminal:
        terminal.answer(f"this finishes the pending changes of {someone.email} (create). Finish them?", "n")
        assert terminal.end() == 10
    assert (pending_of(people, someone), people.identities(someone.email)) == ("create", [])


def test_systems_that_are_down_end_with_their_exit_code(admin: Bazar, people: People) -> None:
    someone = people.user(pending=Pending.CREATE)
    before = people.everything()
    for down in ({"SUPABASE_URL": "http://127.0.0.1:1"}, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}):
        done = admin.having(**down)("doctor", "--fix", "--yes", "-o", "json")
        assert (done.code, done.out) == (7, ""), done.err
    assert people.everything() == before
    assert pending_of(people, someone) == "create"


def test_silent_supabase_gets_no_further_request(admin: Bazar, people: People) -> None:
    first, *others = (people.user(pending=Pending.CREATE) for _ in range(3))
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("GET", "/admin/users/.+", lasting=True))
        bazar = admin.having(SUPABASE_URL=proxy.target.supabase_url)
        done = bazar("doctor", "--fix", "--yes", "-o", "json")
        asked = [path for path in proxy.requests if re.search("/admin/users/.", path)]
    assert (done.code, fix_of(done)["detail"]) == (9, "3 left")
    assert asked == [f"GET /auth/v1/admin/users/{first.id}"]
    assert len({row["note"] for row in fix_of(done)["rows"]}) == 1
    assert [pending_of(people, someone) for someone in (first, *others)] == ["create"] * 3


def test_user_whose_deletion_ended_is_kept(admin: Bazar, people: People) -> None:
    """Another command settles the user after the list was read, so the deletion is not asked for."""
    first, kept = people.user(pending=Pending.CREATE), people.user(pending=Pending.DELETE)
    people.identity(kept)

    def answer(asked: Asked) -> httpx.Response:
        if asked.path.endswith(str(first.id)):
            people.sql("UPDATE bazar.users SET pending = NULL WHERE id = %s", kept.id)
        return asked.passed_on(people.target.supabase_url)

    with between(answer) as url:
        done = admin.having(SUPABASE_URL=url)("doctor", "--fix", "--yes", "-o", "json")
    assert fix_of(done)["status"] == "ok"
    assert (pending_of(people, kept), len(people.identities(kept.email))) == (None, 1)


def test_killed_half_way_it_is_run_again(admin: Bazar, people: People) -> None:
    done, cut, untouched = (people.user(pending=Pending.CREATE) for _ in range(3))
    stamped(people, done)
    with auth_proxy(people.target) as proxy:
        hold = proxy.hold("POST", "/admin/users", acts=True)
        process = admin.having(SUPABASE_URL=proxy.target.supabase_url).start("doctor", "--fix", "--yes")
        assert hold.held is not None
        hold.held.wait()
        process.kill()
        process.communicate()
    assert [pending_of(people, someone) for someone in (done, cut, untouched)] == [None, "create", "create"]
    seen = next(c for c in admin("doctor", "-o", "json").json["items"] if c["check"] == "pending")
    assert "1 in the middle of a command" in seen["detail"]
    people.leases_run_out()
    assert fix_of(admin("doctor", "--fix", "--yes", "-o", "json"))["detail"] == "2 finished"
    for someone in (done, cut, untouched):
        assert (pending_of(people, someone), len(people.identities(someone.email))) == (None, 1)


def test_help_says_what_each_part_requires(nobody: Bazar) -> None:
    text = nobody("doctor", "--help").ok().out
    assert "Comparing both systems requires db:read (Premium), as a superuser" in text
    assert "--fix requires users:update (Premium), as a superuser" in text
