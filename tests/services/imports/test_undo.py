"""An undo deletes exactly what a run created and nobody touched since."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bazar_cli.domain import waits
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import BackendUnavailable, Refused
from bazar_cli.domain.imports.imports import UNDO, ImportRun, OnConflict, UndoneImport, UndoRun, Via
from bazar_cli.domain.orgs.members import ADD, REMOVE, AddMember, RemoveMember
from bazar_cli.domain.progress import ignored
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.services.imports import undo
from bazar_cli.services.orgs import members
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.gates import gate_of
from tests.support.imports import Importing, Row, rows
from tests.support.people import OLD_PASSWORD, Org, People, Someone
from tests.support.postgres import limited_role
from tests.support.waiting import poll

BOTH = pytest.mark.parametrize("via", list(Via))


@pytest.fixture
def importing(people: People, root: Someone) -> Importing:
    """Imports of a superuser."""
    return Importing(people, root)


def imported(importing: Importing, file: list[Row], via: Via = Via.DATABASE) -> ImportRun:
    """A finished run that created these users."""
    run = importing.stage(file, via)
    importing.apply(run)
    importing.people.sql("UPDATE bazar.import_runs SET finished_at = now() WHERE id = %s", run.id)
    return run


def undone(
    importing: Importing,
    run: ImportRun,
    *,
    confirm: str | None = None,
    dry_run: bool = False,
    target: Target | None = None,
) -> UndoneImport:
    with gate_of(importing.people, importing.operator, target) as gate:
        request = UndoRun(str(run.id), confirm=str(run.id) if confirm is None else confirm)
        begun = gate.perform(undo.begin, UNDO, request, dry_run=dry_run)
        return undo.undo(gate, begun, ignored, lambda: False, dry_run=dry_run)


def left(people: People, file: list[Row]) -> set[str]:
    """The addresses that are in either system."""
    emails = [row.email for row in file]
    found = people.sql("SELECT email FROM bazar.users WHERE email = ANY(%s)", emails)
    return {row["email"] for row in found} | {e for e in emails if people.identities(e)}


@BOTH
def test_untouched_users_are_deleted_from_both_systems(importing: Importing, people: People, via: Via) -> None:
    acme = people.org()
    people.user({acme: Role.OWNER})
    file = [Row(roles={acme: Role.MEMBER}), *rows(9)]
    run = imported(importing, file, via)
    done = undone(importing, run)
    assert (done.created, done.deleted, done.kept, done.open) == (10, 10, 0, 0)
    assert left(people, file) == set()
    used = [(event["use_case"], event["outcome"]) for event in people.events(file[1].id)]
    assert used == [("users.import", "done"), ("users.delete", "done")]
    assert [event["use_case"] for event in people.events(run.id)] == ["users.imports.undo"]
    assert importing.statuses(run) == [("undone", None)] * 10
    again = undone(importing, run)
    assert (again.deleted, again.gone) == (0, 10)


def renamed(people: People, row: Row, _org: Org) -> None:
    people.sql("UPDATE bazar.users SET name = 'Eve', updated_at = clock_timestamp() WHERE id = %s", row.id)


def joined(people: People, row: Row, org: Org) -> None:
    people.sql("INSERT INTO bazar.memberships VALUES (%s, %s, 'member')", org.id, row.id)


def signed_in(people: People, row: Row, _org: Org) -> None:
    assert people.signs_in(row.email, OLD_PASSWORD)


def joined_and_left(people: People, row: Row, org: Org) -> None:
    root = people.known_superuser()
    people.run_agreeing(root, members.add, ADD, AddMember(org.slug, row.email))
    people.run_agreeing(root, members.remove, REMOVE, RemoveMember(org.slug, row.email))


def changed_at_supabase(people: People, row: Row, _org: Org) -> None:
    people.sql("UPDATE auth.users SET updated_at = created_at + interval '11 seconds' WHERE id = %s", row.id)


@pytest.mark.parametrize(
    ("touch", "said"),
    [
        (renamed, "was changed after the import"),
        (joined, "has other memberships"),
        (joined_and_left, "was changed after the import"),
        (signed_in, "has signed in"),
        (changed_at_supabase, "was changed at Supabase"),
    ],
)
def test_a_touched_user_is_kept(
    importing: Importing, people: People, touch: Callable[[People, Row, Org], None], said: str
) -> None:
    file = rows(2)
    run = imported(importing, file)
    touch(people, file[0], people.org())
    expected = undone(importing, run, dry_run=True)
    assert left(people, file) == {row.email for row in file}
    done = undone(importing, run)
    assert (done.deleted, done.kept) == (expected.deleted, expected.kept) == (1, 1)
    [kept] = done.reasons
    assert (kept.line, kept.email, kept.code) == (2, file[0].email, "imports.user_touched")
    assert said in kept.message
    assert left(people, file) == {file[0].email}


def test_users_whom_the_run_only_changed_are_kept(importing: Importing, people: People) -> None:
    existing = people.known_user()
    change = Row(email=existing.email, id=existing.id, name="New", password_hash=None, action="update")
    run = importing.stage([change, Row()], Via.API, OnConflict.UPDATE)
    importing.apply(run)
    people.sql("UPDATE bazar.import_runs SET finished_at = now() WHERE id = %s", run.id)
    done = undone(importing, run)
    assert (done.created, done.deleted) == (1, 1)
    assert people.row(existing) is not None


def test_an_undo_stops_where_supabase_is_away(
    importing: Importing, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.0)
    file = rows(30)
    run = imported(importing, file, Via.API)
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("DELETE", ".*", lasting=True))
        with pytest.raises(BackendUnavailable) as away:
            undone(importing, run, target=proxy.target)
    assert away.value.code == "imports.unfinished"
    assert undone(importing, run).deleted == 30


def test_users_without_an_identity_and_owners_are_deleted_too(importing: Importing, people: People) -> None:
    acme = people.org()
    people.user({acme: Role.OWNER})
    file = [Row(roles={acme: Role.OWNER}), *rows(2)]
    run = imported(importing, file)
    people.sql("DELETE FROM auth.users WHERE id = %s", file[1].id)
    done = undone(importing, run)
    assert (done.deleted, done.kept, done.open) == (3, 0, 0)
    assert left(people, file) == set()
    assert importing.statuses(run) == [("undone", None)] * 3


def test_a_user_to_whom_a_table_of_others_refers_is_kept(
    importing: Importing, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.0)
    file = rows(3)
    run = imported(importing, file)
    people.sql("CREATE TABLE public.theirs (user_id uuid REFERENCES auth.users)")
    people.sql("INSERT INTO public.theirs VALUES (%s)", file[1].id)
    try:
        done = undone(importing, run)
    finally:
        people.sql("DROP TABLE public.theirs")
    assert [(user.line, user.code) for user in done.reasons] == [(3, "users.delete_unfinished")]
    assert left(people, file) == {file[1].email}
    assert undone(importing, run).deleted == 1


def test_the_last_owner_is_kept(importing: Importing, people: People) -> None:
    acme = people.org()
    file = [Row(roles={acme: Role.OWNER}), Row()]
    done = undone(importing, imported(importing, file))
    assert [(user.line, user.code) for user in done.reasons] == [(2, "users.last_owner")]
    assert done.deleted == 1


def test_an_admin_undoes_within_reach_without_auth_tables(people: People) -> None:
    """The identities are read through the API where the database is not proven to have them."""
    acme = people.org()
    admin = people.known_user({acme: Role.ADMIN}, plan=Plan.PREMIUM)
    importing = Importing(people, admin)
    file = [Row(roles={acme: Role.MEMBER}) for _ in range(3)]
    run = imported(importing, file, Via.API)
    assert people.signs_in(file[0].email, OLD_PASSWORD)
    people.sql("DELETE FROM bazar.memberships WHERE user_id = %s", file[1].id)
    with limited_role(people.target.database_url.reveal(), "NOBYPASSRLS") as url:
        done = undone(importing, run, target=replace(people.target, database_url=Secret(url)))
    assert (done.deleted, done.gone, [user.line for user in done.reasons]) == (1, 1, [2])
    assert left(people, file) == {file[0].email, file[1].email}
    assert importing.statuses(run) == [("created", None)] * 2 + [("undone", None)]


def test_an_interrupted_deletion_is_finished_by_the_next_undo(
    importing: Importing, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.0)
    file = rows(2)
    run = imported(importing, file, Via.API)
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("DELETE", ".*", status=500, times=None))
        kept = undone(importing, run, target=proxy.target).reasons
    assert [(user.email, user.code) for user in kept] == [(row.email, "users.delete_unfinished") for row in file]
    assert left(people, file) == {row.email for row in file}
    assert undone(importing, run).deleted == 2
    assert left(people, file) == set()


def test_an_open_run_is_ended_and_undone(importing: Importing, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Created users, one who is pending without an identity, and one with it are deleted; other rows are dropped."""
    monkeypatch.setattr("bazar_cli.services.imports.via_database.CHUNK", 2)
    existing = people.known_user()
    changes = Row(email=existing.email, id=existing.id, name="New", password_hash=None, action="update")
    file = [*rows(6), changes]
    run = importing.stage(file, Via.DATABASE, OnConflict.UPDATE)
    importing.apply(run, lambda: ("created", None) in importing.statuses(run))
    pending = "INSERT INTO bazar.users (id, email, pending) VALUES (%s, %s, 'create')"
    for row in file[2:4]:
        people.sql(pending, row.id, row.email)
    stamp = {"bazar": {"deployment": str(people.sql("SELECT id FROM bazar.deployment")[0]["id"]), "origin": "created"}}
    people.identity(Someone(file[3].id, file[3].email), app_metadata=stamp)
    before = importing.results(run)
    expected = undone(importing, run, dry_run=True)
    assert importing.results(run) == before
    done = undone(importing, run)
    assert (done.created, done.deleted, done.dropped, done.open) == (4, 4, 3, 0)
    assert (expected.created, expected.deleted, expected.dropped, expected.open) == (4, 4, 3, 0)
    assert left(people, file[:6]) == set()
    assert {(row["password_hash"], row["name"], row["status"]) for row in importing.results(run)} == {
        (None, None, "undone")
    }
    [stored] = people.sql("SELECT finished_at, undone_at FROM bazar.import_runs WHERE id = %s", run.id)
    assert None not in stored.values()


def test_nothing_remains_of_a_user_whose_identity_is_created_during_the_undo(
    importing: Importing, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "OF_A_COMMAND", replace(waits.OF_A_COMMAND, lease=60.0))
    file = rows(30)
    run = importing.stage(file, Via.API)
    with auth_proxy(people.target) as proxy, ThreadPoolExecutor() as pool:
        hold = proxy.hold("POST", "/admin/users", acts=True)
        assert hold.held is not None
        importer = pool.submit(importing.apply, run, target=proxy.target, concurrency=1)
        assert hold.held.wait(60)
        undoing = pool.submit(undone, importing, run)
        poll(lambda: importing.statuses(run)[0][0] != "open")
        hold.release.set()
        importer.result()
        done = undoing.result()
    assert (done.kept, done.open) == (0, 0)
    assert done.deleted + done.dropped == 30
    assert left(people, file) == set()


def test_an_undo_needs_the_id_of_the_run_as_confirmation(importing: Importing, people: People) -> None:
    file = rows(1)
    run = imported(importing, file)
    with pytest.raises(Refused) as refused:
        undone(importing, run, confirm=secrets.token_hex(4))
    assert refused.value.code == "imports.confirm_mismatch"
    assert left(people, file) == {file[0].email}
