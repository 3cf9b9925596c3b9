"""The embedded stack below its commands: crashes, lost files, foreign data and external databases."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from bazar_cli.adapters.files import write_private
from bazar_cli.devstack import credentials as vault
from bazar_cli.devstack import external, logs, stack
from bazar_cli.devstack.paths import StackPaths, fits_a_socket
from bazar_cli.devstack.stack import ComponentState, Stack
from bazar_cli.domain.errors import BackendUnavailable, Conflict, StoreUnusable, UsageError
from tests.support import processes

pytestmark = pytest.mark.xdist_group("devstack")
"""One stack serves all of these tests; each one leaves it running."""


def start(data_dir: Path, told: list[str] | None = None, database_url: str | None = None) -> Stack:
    return stack.start(
        data_dir,
        superuser_email=None,
        superuser_password=None,
        database_url=database_url,
        notify=(told if told is not None else []).append,
    )


def states(data_dir: Path) -> list[ComponentState]:
    return [part.state for part in stack.status(data_dir).components]


def healthy(running: Stack) -> bool:
    return httpx.get(f"{running.supabase_url}/auth/v1/health", trust_env=False).is_success


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A stack that runs, in a folder whose name attacks shells and URLs."""
    folder = tmp_path_factory.mktemp("devstack") / """it's a $HOME "folder", 100%"""
    try:
        start(folder)
        yield folder
    finally:
        stack.reset(folder, lambda _text: None)
        assert not StackPaths.for_data_dir(folder).postgres.exists()


@pytest.fixture
def running(data_dir: Path) -> Stack:
    """The stack as it runs before a test."""
    return start(data_dir)


@pytest.fixture
def remembered(running: Stack) -> Callable[[], bool]:
    """Write a row; the answer says whether it is still there."""
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.kept (pid bigint)")
        connection.execute("INSERT INTO public.kept VALUES (%s)", (running.postgres_pid,))

    def is_there() -> bool:
        with psycopg.connect(running.database_url) as connection:
            query = "SELECT 1 FROM public.kept WHERE pid = %s"
            return connection.execute(query, (running.postgres_pid,)).fetchone() is not None

    return is_there


def kill(pid: int | None) -> None:
    """Kill a part of the stack, and see it gone."""
    assert pid is not None
    processes.kill(pid)


# -- crashes ------------------------------------------------------------------------------------------------


def test_killed_auth_service_comes_back_at_its_address(data_dir: Path, running: Stack) -> None:
    kill(running.auth_pid)
    assert states(data_dir) == [ComponentState.RUNNING, ComponentState.STOPPED]
    with pytest.raises(BackendUnavailable) as unavailable:
        stack.environment(data_dir)
    assert unavailable.value.code == "local.not_running"
    told = list[str]()
    again = start(data_dir, told)
    assert again.auth_pid != running.auth_pid
    assert replace(again, auth_pid=running.auth_pid) == replace(running, already_running=False)
    assert told == ["Starting the Auth service"]
    assert healthy(again)


def test_killed_postgres_comes_back_with_its_data(
    data_dir: Path, running: Stack, remembered: Callable[[], bool]
) -> None:
    kill(running.postgres_pid)
    assert states(data_dir)[0] is ComponentState.STOPPED
    told = list[str]()
    again = start(data_dir, told)
    assert told == ["Starting Postgres"]
    assert again.auth_pid == running.auth_pid
    assert remembered()
    assert healthy(again)


def test_number_of_a_killed_postgres_that_a_stranger_has_by_now(
    data_dir: Path, running: Stack, remembered: Callable[[], bool]
) -> None:
    kill(running.postgres_pid)
    record = StackPaths.for_data_dir(data_dir).data / "postmaster.pid"
    lines = record.read_text().split("\n")
    record.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert states(data_dir)[0] is ComponentState.STOPPED
    # Neither is this process taken for the server, nor ended as one.
    assert not stack.stop(data_dir).postgres
    start(data_dir)
    assert remembered()


def test_clients_do_not_keep_the_stack_from_stopping(data_dir: Path, running: Stack) -> None:
    with closing(psycopg.connect(running.database_url)) as connection:
        connection.execute("SELECT 1")
        report = stack.stop(data_dir)
    assert (report.postgres, report.auth) == (True, True)
    assert states(data_dir) == [ComponentState.STOPPED, ComponentState.STOPPED]
    assert start(data_dir).supabase_url == running.supabase_url


def test_port_that_somebody_took_while_it_was_stopped(data_dir: Path, running: Stack) -> None:
    stack.stop(data_dir)
    port = urlsplit(running.supabase_url).port
    assert port is not None
    with socket.create_server(("127.0.0.1", port)):
        elsewhere = start(data_dir)
    assert elsewhere.supabase_url != running.supabase_url
    assert healthy(elsewhere)


# -- lost and foreign files -----------------------------------------------------------------------------------


@pytest.fixture
def credentials(data_dir: Path, running: Stack) -> Generator[Path]:
    """The stack's credentials, whole again after the test."""
    path = StackPaths.for_data_dir(data_dir).credentials
    content = path.read_text()
    yield path
    write_private(path, content)
    assert start(data_dir).service_key == running.service_key


NO_TEXT = '{"stack_id": "x", "superuser_email": null, "superuser_password": "x", "keys": {}, "database_url": null}'
BROKEN = ["", "{", "[]", '{"stack_id": 1}', '{"stack_id": "x", "keys": 3}', NO_TEXT]


@pytest.mark.parametrize("content", BROKEN)
def test_credentials_that_cannot_be_read_are_kept(data_dir: Path, credentials: Path, content: str) -> None:
    credentials.write_text(content)
    for look in (start, stack.status, stack.environment):
        with pytest.raises(Conflict) as conflict:
            look(data_dir)
        assert conflict.value.code == "local.credentials_unreadable"
        assert str(credentials) in conflict.value.message
    assert credentials.read_text() == content


def test_data_of_lost_credentials_are_not_mixed_with_new_ones(data_dir: Path, credentials: Path) -> None:
    credentials.unlink()
    with pytest.raises(Conflict) as conflict:
        start(data_dir)
    assert conflict.value.code == "local.orphaned_data"
    assert not credentials.exists()


def test_another_database_is_refused_while_it_runs(data_dir: Path, running: Stack, postgres_url: str) -> None:
    with pytest.raises(Conflict) as conflict:
        start(data_dir, database_url=postgres_url)
    assert conflict.value.code == "local.other_database"
    assert stack.environment(data_dir) == running.environment()


def test_only_the_own_superuser_is_remembered(data_dir: Path, running: Stack, credentials: Path) -> None:
    stack.remember_superuser(data_dir, "other@example.com", "word-of-another")
    assert start(data_dir).superuser_password == running.superuser_password
    stack.remember_superuser(data_dir, running.superuser_email.upper(), "newer-word")
    assert start(data_dir).superuser_password == "newer-word"


def test_nothing_shows_secrets_by_accident(data_dir: Path, running: Stack) -> None:
    stored = vault.load(StackPaths.for_data_dir(data_dir).credentials)
    assert stored is not None
    shown = f"{running!r} {stored!r} {stack.status(data_dir)!r}"
    for secret in (running.service_key, running.superuser_password, stored.keys.jwt_secret, running.database_url):
        assert secret not in shown


# -- beside it --------------------------------------------------------------------------------------------------


def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "local").symlink_to(real)
    with pytest.raises(StoreUnusable) as refused:
        start(tmp_path / "data")
    assert refused.value.code == "files.folder_not_ours"
    assert list(real.iterdir()) == []


def test_two_folders_share_nothing_and_one_by_two_names_is_one(tmp_path: Path) -> None:
    one, two = StackPaths.for_data_dir(tmp_path / "one"), StackPaths.for_data_dir(tmp_path / "two")
    assert one.key != two.key
    assert one.socket_dir != two.socket_dir
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert StackPaths.for_data_dir(tmp_path / "link") == one


@pytest.mark.parametrize("folder", ["short", "with spaces", "s" * 200, "a,b", "it's", 'a"b', "a%b", "ä"])
def test_socket_of_an_ordinary_user_always_fits(folder: str) -> None:
    paths = StackPaths.for_data_dir(Path("/home/ada") / folder, uid=1000)
    assert paths.system_root is None
    assert paths.postgres == Path("/home/ada") / folder / "local" / "postgres"
    assert fits_a_socket(paths.socket_dir)


# -- external databases -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "host=db", "mysql://db/x", "postgresql://db:port/x", "postgresql://[db/x"])
def test_an_invalid_postgres_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        external.check_url(url)
    assert refused.value.code == "local.database_url"
    assert not url or url not in refused.value.message + refused.value.hint


def test_address_of_a_database_holds_no_password() -> None:
    url = "postgresql://an%40user:very-secret@db.example.com:5433/bazar?sslpassword=also-secret"
    assert external.address(external.check_url(url)) == "postgresql://an%40user@db.example.com:5433/bazar"


def test_refusal_for_good_is_not_waited_for(postgres_url: str) -> None:
    told = list[str]()
    gone = postgres_url.replace("/postgres?", "/no_such_database?")
    with pytest.raises(Conflict) as refused:
        external.wait_for(gone, told.append)
    assert refused.value.code == "db.no_database"
    assert "--database-url" in refused.value.hint
    assert "no_such_database" in refused.value.message
    assert told == []


def test_database_that_never_comes_is_given_up() -> None:
    told = list[str]()
    with pytest.raises(BackendUnavailable) as refused:
        external.wait_for("postgresql://ada:very-secret@127.0.0.1:1/bazar", told.append, seconds=0.2)
    assert refused.value.code == "local.database_unavailable"
    assert told == ["Waiting for the database at postgresql://ada@127.0.0.1:1/bazar"]
    assert "very-secret" not in refused.value.message


# -- logs -----------------------------------------------------------------------------------------------------------


def test_logs_are_followed_through_a_rotation_and_a_late_start(tmp_path: Path) -> None:
    early, late = tmp_path / "early.log", tmp_path / "late.log"
    early.write_text("one\ntwo\nthree\n")
    lines = logs.read({"late": late, "early": early}, 2, follow=True)
    assert [next(lines), next(lines)] == ["early: two", "early: three"]
    late.write_text("first\nhalf")
    assert next(lines) == "late: first"
    early.rename(tmp_path / "early.log.1")
    early.write_text("four\n")
    assert next(lines) == "early: four"
    with late.open("ab") as stream:
        stream.write(b" and \xff half\n")
    assert next(lines) == "late: half and \ufffd half"


def test_line_that_was_half_written_when_one_began_to_look_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("whole\nhalf")
    lines = logs.read({"a": log}, 2, follow=True)
    assert next(lines) == "whole"
    with log.open("a") as stream:
        stream.write(" and half\n")
    assert next(lines) == "half and half"
