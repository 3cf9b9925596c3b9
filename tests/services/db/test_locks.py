"""`db locks`: who holds what and who waits for whom, and ending one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.postgres.migration_lock import KEY
from bazar_cli.domain import waits
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db.locks import LOCKS, LockSession, ShowLocks, without_literals
from bazar_cli.domain.errors import BackendUnavailable, Conflict, ExitCode, NotFound
from bazar_cli.domain.users.changes import UPDATE, UpdateUser
from bazar_cli.domain.users.users import GET, GetUser
from bazar_cli.services.db import locks
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.users import read
from tests.support.people import REQUEST_ID, People, Someone, granted, impact_of
from tests.support.postgres import target_of
from tests.support.waiting import poll

Open = Callable[[str], psycopg.Connection]


@pytest.fixture
def opened(people: People) -> Generator[Open]:
    """Open sessions on the database, by the name that they go by."""
    sessions: list[psycopg.Connection] = []

    def another(name: str) -> psycopg.Connection:
        sessions.append(psycopg.connect(people.target.database_url.reveal(), application_name=name))
        return sessions[-1]

    yield another
    for session in sessions:
        session.close()


def listed(people: People, ruler: Someone) -> dict[str, LockSession]:
    found = people.run(ruler, locks.show, LOCKS, ShowLocks())
    return {session.application or "": session for session in found}


def ended(people: People, ruler: Someone, request: ShowLocks, *, dry_run: bool = False) -> LockSession:
    return people.run(ruler, locks.terminate, LOCKS, request, dry_run=dry_run)


def test_without_sessions_the_list_is_empty(people: People, ruler: Someone) -> None:
    assert listed(people, ruler) == {}


def test_holder_of_the_migration_lock_is_listed(people: People, ruler: Someone, opened: Open) -> None:
    migrator = opened("a migrator")
    migrator.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    migrator.commit()
    opened("another lock").execute("SELECT pg_advisory_lock(7)")

    (found,) = listed(people, ruler).values()

    assert (found.pid, found.application, found.migrating) == (migrator.info.backend_pid, "a migrator", True)
    assert (found.state, found.blocked_by, found.tables) == ("idle", (), ())
    assert found.query in {"COMMIT", "SELECT pg_advisory_lock($1)"}


def test_waiting_sessions_name_their_blockers(people: People, ruler: Someone, opened: Open) -> None:
    holder, waiter, queued = opened("holder"), opened("waiter"), opened("queued")
    holder.execute("UPDATE bazar.users SET name = 'Top Secret' WHERE id = %s", (ruler.id,))
    opened("elsewhere").execute("CREATE TABLE public.things (id int)")
    update = "UPDATE bazar.users SET name = 'it''s secret' WHERE email <> 'x' AND 12345 = 12345"
    threads = [_in_thread(waiter, update)]
    try:
        # The one who locks the table comes last: who comes after them waits for them too.
        _until(lambda: listed(people, ruler), lambda seen: "waiter" in seen and bool(seen["waiter"].blocked_by))
        threads.append(_in_thread(queued, "LOCK TABLE bazar.users IN SHARE ROW EXCLUSIVE MODE"))
        found = _until(
            lambda: listed(people, ruler),
            lambda seen: all(s.blocked_by for n, s in seen.items() if n != "holder") and len(seen) == 3,
        )
        assert set(found) == {"holder", "waiter", "queued"}
        pid = holder.info.backend_pid
        assert (found["holder"].state, found["holder"].blocked_by) == ("idle in transaction", ())
        assert found["waiter"].blocked_by == (pid,)
        assert pid in found["queued"].blocked_by
        assert all("users" in session.tables for session in found.values())
        assert found["waiter"].query == "UPDATE bazar.users SET name = ? WHERE email <> ? AND ? = ?"
        assert found["holder"].user == holder.info.user
        assert (found["holder"].age_seconds or 0) < 60
    finally:
        holder.rollback()
        for session in (waiter, queued):
            session.cancel()
        for thread in threads:
            thread.join()


def test_terminate_asks_first_then_ends_and_records(people: People, ruler: Someone, opened: Open) -> None:
    holder = opened("holder")
    pid = holder.info.backend_pid
    holder.execute("LOCK TABLE bazar.audit_events")  # what the event needs

    impact = impact_of(lambda: ended(people, ruler, ShowLocks(pid)))
    assert f"pid {pid} (holder, user " in impact.text
    assert impact.command == f"bazar db locks --terminate {pid} --yes"
    assert isinstance(ended(people, ruler, ShowLocks(pid), dry_run=True), LockSession)
    assert listed(people, ruler)["holder"].pid == pid

    done = ended(people, ruler, ShowLocks(pid, impact))

    assert isinstance(done, LockSession)
    assert listed(people, ruler) == {}
    with pytest.raises(psycopg.OperationalError):
        holder.execute("SELECT 1")
    (event,) = people.sql("SELECT use_case, target_type, target_id, before FROM bazar.audit_events")
    assert (event["use_case"], event["target_type"]) == ("db.locks", "database")
    assert event["target_id"] == holder.info.dbname
    assert event["before"]["pid"] == pid


def test_consent_to_another_session_does_not_count(people: People, ruler: Someone, opened: Open) -> None:
    first, second = opened("first"), opened("second")
    for session in (first, second):
        session.execute("SELECT 1 FROM bazar.users")
    impact = impact_of(lambda: ended(people, ruler, ShowLocks(first.info.backend_pid)))
    of_another = ShowLocks(second.info.backend_pid, impact.for_any_number())
    assert impact_of(lambda: ended(people, ruler, of_another))
    assert set(listed(people, ruler)) == {"first", "second"}


def test_only_a_listed_session_is_ended(people: People, ruler: Someone, opened: Open, postgres_url: str) -> None:
    idle = opened("idle")
    idle.execute("SELECT 1 FROM pg_class")
    own = people.sql("SELECT pg_backend_pid() AS pid")[0]["pid"]
    with closing(psycopg.connect(postgres_url)) as foreign:
        for pid in (idle.info.backend_pid, own, foreign.info.backend_pid, 1, -5):
            with pytest.raises(NotFound) as refused:
                ended(people, ruler, ShowLocks(pid))
            assert (refused.value.code, refused.value.details) == ("db.session_not_found", {"pid": pid})
    idle.execute("SELECT 1")


def test_a_session_of_a_mightier_role_is_refused(people: People, ruler: Someone, opened: Open) -> None:
    holder = opened("holder")
    holder.execute("LOCK TABLE bazar.plans IN SHARE MODE")
    impact = impact_of(lambda: ended(people, ruler, ShowLocks(holder.info.backend_pid)))
    role = f"r_{holder.info.dbname}"
    people.sql(f"CREATE ROLE {role}")
    try:
        people.sql(f"GRANT USAGE ON SCHEMA bazar TO {role}")
        people.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA bazar TO {role}")
        # The role that the connection of the command then has; row security is not what is looked at here.
        people.sql(f"ALTER ROLE {role} BYPASSRLS")
        url = people.target.database_url.reveal()
        lowly = target_of(f"{url}{'&' if '?' in url else '?'}options=-crole%3D{role}")
        with People(lowly) as others:
            seen = others.run(ruler, locks.show, LOCKS, ShowLocks())
            assert [
                (s.application, s.state, s.age_seconds, s.query) for s in seen if s.pid == holder.info.backend_pid
            ] == [("holder", None, None, None)]
            # Whose beginning is hidden is another session than the one that was seen.
            hidden = impact_of(lambda: ended(others, ruler, ShowLocks(holder.info.backend_pid, impact)))
            with pytest.raises(Conflict) as refused:
                ended(others, ruler, ShowLocks(holder.info.backend_pid, hidden))
        assert refused.value.code == "db.may_not_terminate"
        assert holder.info.user in refused.value.hint
        holder.execute("SELECT 1")
    finally:
        holder.rollback()
        people.sql(f"DROP OWNED BY {role}")
        people.sql(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT  1,\n\t2.5e3, t1.c2", "SELECT ?, ?, t1.c2"),
        ("SELECT 'a''b', E'c\\'d', $1", "SELECT ?, ?, $1"),
        ("SELECT $$ a 'b' $$, $x$ c $$ $x$, 'e'", "SELECT ?, ?, ?"),
        ("SELECT \"a'b\" FROM t WHERE x = 'y'", 'SELECT "a\'b" FROM t WHERE x = ?'),
        ("SELECT 1 -- don't\n, 'x'", "SELECT ? , ?"),
        ("SELECT /* it's */ 'x'", "SELECT ?"),
        ("SELECT /* a /* b */ ' */ 'secret' , 'more'", "SELECT"),
        ("SELECT 'cut off in the mid", "SELECT ?"),
        ("SELECT E'cut off \\", "SELECT ?"),
        ("SELECT 'a\\', 'secret'", "SELECT ?"),
        ("SELECT $a$ cut off", "SELECT ?"),
        ("ALTER ROLE ada PASSWORD 'hunter2'", "ALTER ROLE ada PASSWORD ?"),
        (f"SELECT {'x' * 200}", f"SELECT {'x' * 112}…"),
    ],
)
def test_a_query_is_shown_without_literals(query: str, shown: str) -> None:
    assert without_literals(query) == shown


def _in_thread(session: psycopg.Connection, statement: str) -> threading.Thread:
    def run() -> None:
        try:
            session.execute(statement.encode())
            session.rollback()
        except psycopg.Error:
            session.rollback()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _until(
    look: Callable[[], dict[str, LockSession]], enough: Callable[[dict[str, LockSession]], bool]
) -> dict[str, LockSession]:
    return poll(lambda: seen if enough(seen := look()) else None) or {}


def _by_gate(people: People, ruler: Someone, _grant: Grant) -> None:
    people.operator(ruler)


def _by_read(people: People, ruler: Someone, grant: Grant) -> None:
    people.run_with(grant, read.get, GetUser(ruler.email))


def _by_migrations(people: People, _ruler: Someone, _grant: Grant) -> None:
    Migrator(people.target).status()


@pytest.mark.parametrize(("table", "act"), [("users", _by_gate), ("users", _by_read), ("deployment", _by_migrations)])
def test_waiting_for_the_end_of_a_session_has_a_limit(
    people: People,
    ruler: Someone,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    act: Callable[[People, Someone, Grant], None],
) -> None:
    grant = granted(people.operator(ruler), GET, GetUser(ruler.email))
    monkeypatch.setattr(waits, "OF_A_COMMAND", replace(waits.OF_A_COMMAND, row=0.2))
    holder = opened("greedy")
    holder.execute(f"LOCK bazar.{table} IN ACCESS EXCLUSIVE MODE".encode())

    with pytest.raises(BackendUnavailable) as busy:
        act(people, ruler, grant)

    assert (busy.value.code, busy.value.exit_code) == ("postgres.busy", ExitCode.UNAVAILABLE)
    assert "`bazar db locks`" in busy.value.hint
    holder.rollback()
    act(people, ruler, grant)


def test_error_after_the_end_of_a_session_names_the_ended_one(
    people: People, ruler: Someone, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "OF_A_COMMAND", replace(waits.OF_A_COMMAND, row=0.2))
    grant = granted(people.operator(ruler), UPDATE, UpdateUser(ruler.email))
    opened("greedy").execute("LOCK bazar.users IN ACCESS EXCLUSIVE MODE")

    with (
        Backends(people.target, REQUEST_ID) as backends,
        pytest.raises(BackendUnavailable) as busy,
        backends.database().transaction(grant, finishing=True) as connection,
    ):
        connection.execute("SELECT FROM bazar.users")

    assert "nothing was written" not in busy.value.message
    assert "a part of it is done already: run the same command again" in busy.value.hint
