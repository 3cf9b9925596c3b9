"""An undo deletes exactly what a run created and nobody touched since."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import BackendUnavailable, Conflict, Refused
from bazar_cli.domain.imports.imports import UNDO, ImportRun, OnConflict, UndoneImport, UndoRun, Via
from bazar_cli.domain.progress import ignored
from bazar_cli.domain.target import Target
from bazar_cli.services.imports import undo
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.gates import gate_of
from tests.support.imports import Importing, Row, rows
from tests.support.people import OLD_PASSWORD, Org, People, Someone

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
    again = undone(importing, run)
    assert (again.deleted, again.gone) == (0, 10)


def renamed(people: People, row: Row, _org: Org) -> None:
    people.sql("UPDATE bazar.users SET name = 'Eve', updated_at = clock_timestamp() WHERE id = %s", row.id)


def joined(people: People, row: Row, org: Org) -> None:
    people.sql("INSERT INTO bazar.memberships VALUES (%s, %s, 'member')", org.id, row.id)


def signed_in(people: People, row: Row, _org: Org) -> None:
    assert people.signs_in(row.email, OLD_PASSWORD)


def changed_at_supabase(people: People, row: Row, _org: Org) -> None:
    people.sql("UPDATE auth.users SET updated_at = created_at + interval '11 seconds' WHERE id = %s", row.id)


@pytest.mark.parametrize(
    ("touch", "said"),
    [
        (renamed, "was changed after the import"),
        (joined, "has other memberships"),
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


def test_an_interrupted_deletion_is_finished_by_the_next_undo(importing: Importing, people: People) -> None:
    file = rows(2)
    run = imported(importing, file)
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("DELETE", ".*", status=500, times=None))
        with pytest.raises(BackendUnavailable):
            undone(importing, run, target=proxy.target)
    assert left(people, file) == {row.email for row in file}
    assert undone(importing, run).deleted == 2
    assert left(people, file) == set()


def test_an_open_run_is_not_undone(importing: Importing) -> None:
    run = importing.stage(rows(1), Via.API)
    with pytest.raises(Conflict) as refused:
        undone(importing, run)
    assert refused.value.code == "imports.run_open"


def test_an_undo_needs_the_id_of_the_run_as_confirmation(importing: Importing, people: People) -> None:
    file = rows(1)
    run = imported(importing, file)
    with pytest.raises(Refused) as refused:
        undone(importing, run, confirm=secrets.token_hex(4))
    assert refused.value.code == "imports.confirm_mismatch"
    assert left(people, file) == {file[0].email}
