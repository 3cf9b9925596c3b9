"""An import from its file to its results: interrupted anywhere, begun twice at once, continued by others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bazar_cli.adapters.import_file import ImportFile, import_file
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import BazarError, Conflict, Denied, UsageError
from bazar_cli.domain.imports.imports import (
    UNDO,
    FileFormat,
    Imported,
    ImportRun,
    ImportUsers,
    OnConflict,
    RowResult,
    UndoRun,
    Via,
)
from bazar_cli.domain.page import Page
from bazar_cli.domain.progress import Progress, ignored
from bazar_cli.services.imports import undo
from bazar_cli.services.imports.importing import carry_out, prepare
from bazar_cli.services.imports.request import Command
from tests.support.concurrently import run_concurrently
from tests.support.gates import gate_of
from tests.support.people import People, Someone, an_address


class Killed(BaseException):
    """Ends the command as kill -9 does: nothing that was not committed is left."""


@dataclass
class Kept:
    """A file of results that is kept in memory."""

    rows: list[RowResult] = field(default_factory=list[RowResult])
    checked: list[bool] = field(default_factory=list[bool])

    def check(self, rows: Callable[[], Iterable[Page[RowResult]]] | None) -> None:
        self.checked.append(rows is not None)

    def write(self, rows: Callable[[], Iterable[Page[RowResult]]]) -> None:
        self.rows = [row for page in rows() for row in page.items]


@dataclass
class Imports:
    """Imports of one operator, whose files are in a folder of the test."""

    people: People
    operator: Someone
    folder: Path
    notices: list[str] = field(default_factory=list[str])

    def file(self, content: str, name: str = "users.csv") -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8", newline="")
        return path

    @contextmanager
    def command(
        self,
        path: Path,
        *,
        results: Kept | None = None,
        progress: Progress = ignored,
        on_conflict: OnConflict = OnConflict.FAIL,
    ) -> Generator[Command]:
        """Yield one call of the command."""
        with ExitStack() as stack:
            handle = stack.enter_context(path.open("rb"))
            file: ImportFile = stack.enter_context(import_file(handle.fileno(), path.name))
            gate = stack.enter_context(gate_of(self.people, self.operator))
            request = ImportUsers(file.content_hash, Via.API, on_conflict)
            yield Command(gate, file, FileFormat.CSV, request, results, progress, self.notices.append)

    def run(
        self,
        path: Path,
        ended: Callable[[], bool] = lambda: False,
        *,
        results: Kept | None = None,
        progress: Progress = ignored,
        on_conflict: OnConflict = OnConflict.FAIL,
    ) -> Imported:
        """Call the command to its end."""
        with self.command(path, results=results, progress=progress, on_conflict=on_conflict) as command:
            begun = prepare(command, dry_run=False)
            return begun if isinstance(begun, Imported) else carry_out(command, begun, ended)

    def runs(self, emails: Iterable[str]) -> list[object]:
        """The runs that have rows of these addresses."""
        found = self.people.sql("SELECT DISTINCT run_id FROM bazar.import_rows WHERE email = ANY(%s)", list(emails))
        return [row["run_id"] for row in found]


@pytest.fixture
def imports(people: People, tmp_path: Path) -> Imports:
    return Imports(people, people.known_superuser(), tmp_path)


def with_passwords(emails: Iterable[str]) -> str:
    """A file of new users, each with a password of their own."""
    return "email,password\n" + "".join(f"{email},secret-{email[:12]}\n" for email in emails)


def assert_done(imports: Imports, emails: list[str], results: Kept) -> None:
    """Both systems have each user once, with the password; the results have each line once; no hash is left."""
    people = imports.people
    assert [(row.line, row.email, row.status.value) for row in results.rows] == [
        (line, email, "created") for line, email in enumerate(emails, 2)
    ]
    users = people.sql("SELECT id, email, pending FROM bazar.users WHERE email = ANY(%s)", emails)
    assert {row["email"]: row["id"] for row in users} == {row.email: row.id for row in results.rows}
    assert {row["pending"] for row in users} == {None}
    for email in emails:
        assert len(people.identities(email)) == 1
        assert people.signs_in(email, f"secret-{email[:12]}")
    left = people.sql("SELECT 1 FROM bazar.import_rows WHERE email = ANY(%s) AND password_hash IS NOT NULL", emails)
    assert left == []
    (run,) = people.sql("SELECT finished_at FROM bazar.import_runs WHERE id = ANY(%s)", imports.runs(emails))
    assert run["finished_at"] is not None


# -- interrupted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doing", ["rows checked", "passwords hashed", "rows applied"])
def test_killed_command_continues_where_it_stopped(
    imports: Imports, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.hashes._EACH", 1)
    emails = [an_address() for _ in range(5)]
    path, results = imports.file(with_passwords(emails)), Kept()

    def die(what: str, done: int, _total: int | None) -> None:
        if what == doing and done:
            raise Killed

    with pytest.raises(Killed):
        imports.run(path, results=results, progress=die)
    assert results.rows == []
    done = imports.run(path, results=results)
    assert (done.created, done.open) == (5, 0)
    assert_done(imports, emails, results)
    is_continued = doing != "rows checked"
    assert results.checked == [False, is_continued]
    assert [text.partition(" the run")[0] for text in imports.notices] == ["continuing"] * is_continued


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_interrupted_command_ends_between_steps_and_continues(
    imports: Imports, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.hashes._EACH", 1)
    emails = [an_address() for _ in range(5)]
    path, results, reported = imports.file(with_passwords(emails)), Kept(), list[str]()
    done = imports.run(
        path,
        lambda: reported.count("passwords hashed") >= steps,
        results=results,
        progress=lambda what, _done, _total: reported.append(what),
    )
    assert (done.created, done.open, [row.status.value for row in results.rows]) == (0, 5, ["open"] * 5)
    assert len(imports.runs(emails)) == 1
    imports.run(path, results=results)
    assert_done(imports, emails, results)


def test_run_that_only_lacks_its_results_is_finished_by_the_same_command(imports: Imports) -> None:
    class Unwritable(Kept):
        def write(self, rows: Callable[[], Iterable[Page[RowResult]]]) -> None:
            raise Killed

    emails = [an_address()]
    path, results = imports.file(with_passwords(emails)), Kept()
    with pytest.raises(Killed):
        imports.run(path, results=Unwritable())
    imports.run(path, results=results)
    assert results.checked == [True]
    assert_done(imports, emails, results)


def test_runs_that_finished_long_ago_are_deleted_when_another_is_staged(imports: Imports, people: People) -> None:
    emails = [an_address() for _ in range(4)]
    for email in emails[:2]:
        imports.run(imports.file(f"email\n{email}\n"))
    begun(imports, f"email\n{emails[2]}\n")
    for email, days in ((emails[0], 91), (emails[1], 89), (emails[2], 200)):
        people.sql(
            "UPDATE bazar.import_runs SET started_at = now() - make_interval(days => %s),"
            " finished_at = finished_at - make_interval(days => %s)"
            " WHERE id IN (SELECT run_id FROM bazar.import_rows WHERE email = %s)",
            *(days, days, email),
        )
    imports.run(imports.file(f"email\n{emails[3]}\n"))
    assert [len(imports.runs([email])) for email in emails] == [0, 1, 1, 1]


# -- at once ------------------------------------------------------------------------------------------------


def test_two_commands_that_begin_at_once_share_one_run(imports: Imports) -> None:
    emails = [an_address() for _ in range(6)]
    path, results = imports.file(with_passwords(emails)), (Kept(), Kept())
    checking = threading.Barrier(2)

    def meet(what: str, _done: int, _total: int | None) -> None:
        # Both have looked for an open run, and found none. The second one does not check again.
        if what == "rows checked":
            checking.wait()

    found = run_concurrently(*(lambda kept=kept: imports.run(path, results=kept, progress=meet) for kept in results))
    assert found == ["done", "done"]
    assert len(imports.runs(emails)) == 1
    for kept in results:
        assert_done(imports, emails, kept)


# -- others -------------------------------------------------------------------------------------------------


def begun(imports: Imports, content: str, on_conflict: OnConflict = OnConflict.FAIL) -> tuple[Path, ImportRun]:
    """Stage a file and leave it."""
    path = imports.file(content)
    with imports.command(path, on_conflict=on_conflict) as command:
        run = prepare(command, dry_run=False)
    assert isinstance(run, ImportRun)
    return path, run


def code_of(act: Callable[[], object], kind: type[BazarError] = Conflict) -> str:
    with pytest.raises(kind) as raised:
        act()
    return raised.value.code


def test_open_run_keeps_its_options(imports: Imports) -> None:
    path, run = begun(imports, f"email\n{an_address()}\n", on_conflict=OnConflict.SKIP)
    with pytest.raises(Conflict) as raised:
        imports.run(path)
    assert raised.value.code == "imports.options_differ"
    end = f"`bazar users imports undo {run.id}` ends it"
    assert raised.value.hint == f"run the command again with --on-conflict skip; {end}"
    assert raised.value.details == {"run_id": str(run.id), "different": ["on_conflict"]}
    assert imports.run(path, on_conflict=OnConflict.SKIP).run_id == run.id


def test_command_whose_run_was_undone_meanwhile_says_so(imports: Imports) -> None:
    path, run = begun(imports, f"email\n{an_address()}\n")
    with imports.command(path) as command:
        command.gate.perform(undo.begin, UNDO, UndoRun(str(run.id), confirm=str(run.id)))
        assert code_of(lambda: carry_out(command, run, lambda: False)) == "imports.undone"
    assert imports.run(path).created == 1


def test_dry_run_of_an_open_run_shows_what_the_command_would_do(imports: Imports, people: People) -> None:
    """Rows that ended keep their outcome, also if the target changed since; the others are compared again."""
    known, same, other = people.user(), people.known_user(name="Ada"), people.known_user(name="Eve")
    new = an_address()
    content = "".join(f"{email},Ada\n" for email in (known.email, same.email, other.email, new))
    people.sql("UPDATE bazar.users SET email = 'away.' || email WHERE id = ANY(%s)", [same.id, other.id])
    path, run = begun(imports, f"email,name\n{content}", on_conflict=OnConflict.SKIP)
    people.sql("UPDATE bazar.users SET email = substr(email, 6) WHERE id = ANY(%s)", [same.id, other.id])
    people.sql("DELETE FROM bazar.users WHERE id = %s", known.id)
    before, results = people.sql("SELECT * FROM bazar.import_rows WHERE run_id = %s", run.id), Kept()
    with imports.command(path, results=results, on_conflict=OnConflict.SKIP) as command:
        done = prepare(command, dry_run=True)
    assert isinstance(done, Imported)
    assert [row.status.value for row in results.rows] == ["skipped", "unchanged", "skipped", "created"]
    assert (done.run_id, done.rows, done.skipped, done.unchanged, done.created) == (None, 4, 2, 1, 1)
    assert people.sql("SELECT * FROM bazar.import_rows WHERE run_id = %s", run.id) == before
    with imports.command(path) as command:
        assert code_of(lambda: prepare(command, dry_run=True)) == "imports.options_differ"
    real = imports.run(path, on_conflict=OnConflict.SKIP)
    assert (real.skipped, real.unchanged, real.created) == (2, 1, 1)


def test_run_belongs_to_its_operator_and_a_superuser_continues_it(
    imports: Imports, people: People, tmp_path: Path
) -> None:
    org = people.org()
    leader, other = (people.known_user({org: Role.OWNER}, plan=Plan.PREMIUM) for _ in range(2))
    path, run = begun(Imports(people, leader, tmp_path), f"email,organizations\n{an_address()},{org.slug}\n")
    assert code_of(lambda: Imports(people, other, tmp_path).run(path)) == "imports.other_operator"
    assert imports.run(path).run_id == run.id


def test_continued_run_is_judged_by_the_present_rights(people: People, tmp_path: Path) -> None:
    org, other = people.org(), people.org()
    leader = people.known_user({org: Role.OWNER, other: Role.ADMIN}, plan=Plan.PREMIUM)
    email = an_address()
    imports = Imports(people, leader, tmp_path)
    path, _ = begun(imports, f"email,organizations\n{email},{org.slug}:admin\n")
    people.sql("UPDATE bazar.memberships SET role = 'admin' WHERE user_id = %s", leader.id)
    assert code_of(lambda: imports.run(path), Denied) == "imports.denied"
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []


def test_rights_that_change_during_the_check_count(people: People, tmp_path: Path) -> None:
    org = people.org()
    leader = people.known_user({org: Role.OWNER}, plan=Plan.PREMIUM)
    email = an_address()
    imports = Imports(people, leader, tmp_path)
    path = imports.file(f"email,organizations\n{email},{org.slug}:admin\n")

    def demote(what: str, _done: int, _total: int | None) -> None:
        if what == "rows checked":
            people.sql("UPDATE bazar.memberships SET role = 'member' WHERE user_id = %s", leader.id)

    with pytest.raises(Conflict) as raised:
        imports.run(path, progress=demote)
    assert (raised.value.code, raised.value.details["refusal"]) == ("access.changed", "imports.denied")
    assert imports.runs([email]) == []


def test_check_holds_no_lock(imports: Imports, people: People) -> None:
    """While a long file is checked, others may change the operator."""

    def rename(what: str, _done: int, _total: int | None) -> None:
        people.sql("SET lock_timeout = '1ms'")
        people.sql("UPDATE bazar.users SET name = 'Changed' WHERE id = %s", imports.operator.id)
        people.sql("RESET lock_timeout")
        renamed.append(what)

    renamed = list[str]()
    path = imports.file(f"email\n{an_address()}\n")
    with imports.command(path, progress=rename) as command:
        prepare(command, dry_run=True)
    assert renamed == ["rows checked"]


# -- the file -----------------------------------------------------------------------------------------------


def test_file_that_changes_while_it_is_read_stages_nothing(imports: Imports) -> None:
    emails = [an_address(), an_address()]
    path = imports.file(with_passwords(emails))
    with imports.command(path) as command:
        imports.file(with_passwords(reversed(emails)))
        assert code_of(lambda: prepare(command, dry_run=False)) == "imports.file_changed"
    assert imports.runs(emails) == []


def test_file_that_changed_before_its_passwords_are_hashed_is_refused(imports: Imports) -> None:
    emails = [an_address(), an_address()]
    path = imports.file(with_passwords(emails))
    with imports.command(path) as command:
        run = prepare(command, dry_run=False)
        assert isinstance(run, ImportRun)
        imports.file(with_passwords(emails).replace("secret", "public"))
        assert code_of(lambda: carry_out(command, run, lambda: False)) == "imports.file_changed"
    assert imports.people.sql("SELECT 1 FROM bazar.users WHERE email = ANY(%s)", emails) == []
    rows = imports.people.sql("SELECT awaits_hash FROM bazar.import_rows WHERE run_id = %s", run.id)
    assert [row["awaits_hash"] for row in rows] == [True, True]
    results = Kept()
    imports.run(imports.file(with_passwords(emails)), results=results)
    assert_done(imports, emails, results)


def test_faults_in_many_rows_are_counted(imports: Imports) -> None:
    email = an_address()
    content = "email,organizations\n" + f"{email},nowhere-at-all\n" * 300
    with pytest.raises(UsageError) as raised:
        imports.run(imports.file(content))
    assert raised.value.details["count"] == 299 + 300
    found = raised.value.details["findings"]
    assert isinstance(found, list)
    assert len(found) == 100  # pyright: ignore[reportUnknownArgumentType]


def test_user_of_many_organizations(imports: Imports, people: People) -> None:
    orgs = [people.org() for _ in range(120)]
    email = an_address()
    cell = ";".join(f"{org.slug}:admin" for org in orgs)
    assert imports.run(imports.file(f"email,organizations\n{email},{cell}\n")).created == 1
    path = imports.file(f"email,organizations\n{email},{cell};{people.org().slug}:owner\n", "more.csv")
    assert imports.run(path, on_conflict=OnConflict.UPDATE).updated == 1
    (found,) = people.sql(
        "SELECT count(*) AS count FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id WHERE email = %s",
        email,
    )
    assert found["count"] == 121


def test_cells_with_the_beginning_of_a_formula_are_named(imports: Imports) -> None:
    cells = ["=1+1", "+1", "-", "@x", " =a", "\u2212a", "1-1", "'s"]
    content = "".join(f'{an_address()},"{cell}"\n' for cell in cells)
    assert imports.run(imports.file(f"email,name\n{content}")).created == 8
    what = "6 cells with the beginning of a formula (=, +, - or @), imported unchanged"
    assert imports.notices == [f"{what}: line 2, 3, 4, 5, 6 and others"]


def test_name_that_is_stored_decomposed_is_the_same(imports: Imports, people: People) -> None:
    someone = people.user(name="Ju\u0308rgen")
    assert imports.run(imports.file(f"email,name\n{someone.email},J\u00fcrgen\n")).unchanged == 1


def test_many_rows_are_staged_with_ids_in_their_order(imports: Imports) -> None:
    emails = [an_address(f"u{number:05}") for number in range(50)]
    _, run = begun(imports, "email\n" + "".join(f"{email}\n" for email in emails))
    rows = imports.people.sql(
        "SELECT email, user_id, line FROM bazar.import_rows WHERE run_id = %s ORDER BY user_id, line", run.id
    )
    assert sorted(row["email"] for row in rows) == emails
    assert {row["user_id"].version for row in rows} == {7}
    assert [row["user_id"].bytes[:6] for row in rows] == sorted(row["user_id"].bytes[:6] for row in rows)
