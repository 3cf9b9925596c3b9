"""The embedded stack killed in every way: `bazar local start` brings it back with no loss."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from bazar_cli.devstack import processes
from bazar_cli.devstack.paths import StackPaths
from bazar_cli.devstack.postgres import START_SECONDS
from tests.cli.local.conftest import START, environment, parts, postmasters, stack_home
from tests.support.cli import Bazar, Done
from tests.support.processes import kill, runs
from tests.support.waiting import poll, sooner_than

pytestmark = pytest.mark.xdist_group("faults-stack")
"""One stack serves all of these tests; each leaves it running."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[Bazar]:
    with stack_home(tmp_path_factory.mktemp("faults") / "home") as bazar:
        yield bazar


@pytest.fixture
def local(home: Bazar) -> Bazar:
    """`bazar` in the home of a stack that runs."""
    home(*START).ok()
    return home


@pytest.fixture
def stranger() -> Generator[subprocess.Popen[bytes]]:
    """Another program, whose number the stack's files will name."""
    with subprocess.Popen(["sleep", "infinity"]) as process:
        yield process
        process.kill()


def paths(bazar: Bazar) -> StackPaths:
    return StackPaths.for_data_dir(bazar.home / "data")


def children(pid: int) -> list[int]:
    """The backends and helpers of a Postgres server."""
    return [child.pid for child in psutil.Process(pid).children()]


def kill_postgres(bazar: Bazar) -> None:
    """Kill the server, whose backends end by themselves."""
    kill(parts(bazar)["postgres"]["pid"])


def cut_power(bazar: Bazar) -> None:
    """Kill Postgres with all of its processes, and the Auth service."""
    found = parts(bazar)
    server = found["postgres"]["pid"]
    kill(server, *children(server), found["auth"]["pid"])


def rows(bazar: Bazar, query: str, *values: object) -> list[tuple[object, ...]]:
    """What the stack's database holds."""
    with closing(psycopg.connect(environment(bazar)["DATABASE_URL"], autocommit=True)) as connection:
        return connection.execute(query.encode(), values).fetchall()


def is_whole(bazar: Bazar, email: str) -> bool:
    """Whether both systems have the user, settled and by one id."""
    both = (
        "SELECT u.id = a.id AND u.pending IS NULL FROM bazar.users u JOIN auth.users a USING (email) WHERE email = %s"
    )
    return rows(bazar, both, email) == [(True,)]


# -- the power is cut -------------------------------------------------------------------------------------------


def test_power_cut_at_rest(local: Bazar) -> None:
    local("users", "create", "rest@example.com", "--if-not-exists").ok()
    cut_power(local)
    assert {part["state"] for part in parts(local).values()} == {"stopped"}
    for words in (
        ("users", "list"),
        ("users", "create", "late@example.com"),
        ("auth", "status"),
        ("auth", "login", "--email", "rest@example.com", "--password-stdin"),
        ("db", "migrate"),
        ("local", "env"),
        ("local", "mail"),
    ):
        done = local(*words, "-o", "json", stdin="a-password")
        assert (done.code, done.out) == (7, ""), words
        assert "bazar local start" in done.error["hint"], words
    started = local(*START).ok().json
    assert (started["already_running"], started["migrated"]) == (False, 0)
    assert is_whole(local, "rest@example.com")
    local("users", "create", "late@example.com").ok()


def cut_during_writes(local: Bazar, moment: Callable[[], object], name: str) -> None:
    """Cut the power at a moment of a loop of creates; start, and run what was not done again."""
    ended: dict[str, Done] = {}

    def loop() -> None:
        for number in range(1000):
            words = ("users", "create", f"{name}.{number}@example.com", "--if-not-exists", "-o", "json")
            ended[words[2]] = local(*words)
            if ended[words[2]].code != 0:
                return

    creating = threading.Thread(target=loop)
    creating.start()
    poll(lambda: len(ended) > 1)
    moment()
    cut_power(local)
    creating.join()
    assert {done.code for done in ended.values()} == {0, 7}
    local(*START).ok()
    rows(local, "UPDATE bazar.users SET lease_until = clock_timestamp() WHERE lease_owner IS NOT NULL RETURNING 1")
    for email, done in ended.items():
        if done.code == 0:
            assert is_whole(local, email)
        else:
            local("users", "create", email, "--if-not-exists").ok()
            assert is_whole(local, email)
    assert rows(local, "SELECT 1 FROM bazar.users WHERE pending IS NOT NULL") == []
    both = "SELECT count(*) FROM bazar.users u FULL JOIN auth.users a USING (id, email) WHERE u IS NULL OR a IS NULL"
    assert rows(local, both) == [(0,)]


def test_power_cut_between_the_two_writes_of_a_create(local: Bazar) -> None:
    with closing(psycopg.connect(environment(local)["DATABASE_URL"], autocommit=True)) as connection:
        pending = "SELECT 1 FROM bazar.users WHERE pending = 'create'"
        cut_during_writes(local, lambda: poll(lambda: connection.execute(pending).fetchone() is not None), "between")


@pytest.mark.long
@pytest.mark.parametrize("run", range(30))
def test_power_cut_at_any_moment_of_a_loop_of_creates(local: Bazar, run: int) -> None:
    cut_during_writes(local, lambda: time.sleep(run / 100), f"any.{run}")


def test_three_starts_at_once_after_a_power_cut(local: Bazar) -> None:
    cut_power(local)
    ended: list[Done] = []
    starts = [threading.Thread(target=lambda: ended.append(local(*START))) for _ in range(3)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert sorted(done.ok().json["already_running"] for done in ended) == [False, True, True]
    assert postmasters(local) == 1


# -- one part dies ----------------------------------------------------------------------------------------------


def test_auth_killed_alone_stops_writing_only(local: Bazar) -> None:
    kill(parts(local)["auth"]["pid"])
    local("users", "list").ok()
    write = local("users", "create", "no-auth@example.com", "-o", "json")
    assert (write.code, write.out, write.error["code"]) == (7, "", "supabase.unavailable")
    assert "bazar local start" in write.error["hint"]
    local(*START).ok()
    local("users", "create", "no-auth@example.com").ok()


@contextmanager
def busy_backend(bazar: Bazar) -> Generator[int]:
    """A backend that only computes, and so notices nothing of what happens to its server."""
    busy = psycopg.connect(environment(bazar)["DATABASE_URL"], autocommit=True)

    def compute() -> None:
        with pytest.raises(psycopg.OperationalError):
            busy.execute("DO $$ BEGIN LOOP END LOOP; END $$")

    computing = threading.Thread(target=compute)
    computing.start()
    pid = busy.info.backend_pid
    poll(lambda: rows(bazar, "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", pid) != [])
    try:
        yield pid
    finally:
        # However the test ends, nothing goes on computing.
        left_over = processes.command_line(pid) != []
        if left_over:
            os.kill(pid, signal.SIGKILL)
        computing.join()
        busy.close()
    assert not left_over


def test_postmaster_killed_while_a_backend_computes(local: Bazar) -> None:
    with busy_backend(local):
        kill_postgres(local)
        done = local(*START).ok()
    assert "Starting Postgres" in done.err
    local("users", "create", "after-busy@example.com", "--if-not-exists").ok()


def test_stop_ends_the_backends_of_a_killed_postmaster(local: Bazar) -> None:
    with busy_backend(local) as backend:
        kill_postgres(local)
        assert local("local", "stop", "-o", "json").ok().json["postgres"] is False
        assert processes.command_line(backend) == []


def test_killed_backend_is_mended_by_postgres_itself(local: Bazar) -> None:
    with closing(psycopg.connect(environment(local)["DATABASE_URL"])) as connection:
        kill(connection.info.backend_pid)
    meanwhile = local("users", "list", "-o", "json")
    assert meanwhile.code in {0, 7}
    assert local(*START).ok().json["already_running"] is True
    local("users", "create", "after-crash@example.com", "--if-not-exists").ok()


def test_server_that_shuts_down_for_as_long_as_somebody_is_connected(local: Bazar) -> None:
    server = parts(local)["postgres"]["pid"]
    with closing(psycopg.connect(environment(local)["DATABASE_URL"])) as connection:
        # A smart shutdown: what SIGTERM, of an operating system that goes down, means to Postgres.
        os.kill(server, signal.SIGTERM)
        poll(lambda: "stopping" in (paths(local).data / "postmaster.pid").read_text())
        read = local("users", "list", "-o", "json")
        assert (read.code, read.error["code"]) == (7, "postgres.unavailable")
        assert "bazar local start" in read.error["hint"]
        with sooner_than(START_SECONDS):
            assert local(*START).ok().json["already_running"] is False
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    local("users", "create", "after-smart@example.com", "--if-not-exists").ok()


# -- a start or a stop dies ---------------------------------------------------------------------------------------


Fact = Callable[[subprocess.Popen[bytes]], bool]


def begun(bazar: Bazar, fact: Fact) -> None:
    """Start the stack, and kill that command as soon as something is so."""
    with bazar.start("local", "start") as process:
        poll(lambda: fact(process) or process.poll() is not None)
        process.kill()
        assert process.wait() == -signal.SIGKILL


def saying(text: bytes) -> Fact:
    """Whether a command has said something by now."""

    def said(process: subprocess.Popen[bytes]) -> bool:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line, "it ended without a word of that"
        return text in line

    return said


def test_start_that_was_killed_in_any_phase_is_continued(tmp_path: Path) -> None:
    with stack_home(tmp_path / "home") as bazar:
        where = paths(bazar)
        begun(bazar, lambda _: any(where.postgres.glob("data.new*/base")))
        begun(bazar, lambda _: (where.data / "postmaster.pid").exists())
        begun(bazar, saying(b"Starting the Auth service"))
        begun(bazar, lambda _: any((bazar.home / "config").glob("secrets/session-*.json")))
        begun(bazar, saying(b"Applying"))
        assert not (bazar.home / "config" / "profiles.toml").exists()
        bazar(*START).ok()
        bazar("users", "create", "ada@example.com").ok()
        assert postmasters(bazar) == 1
        assert {part["state"] for part in parts(bazar).values()} == {"running"}
        bazar("local", "stop").ok()
        assert processes.find(lambda words: "bazar_cli.devstack.service_main" in words, where.auth) == []
        assert list(where.postgres.glob("data.new*")) == []


def left_alone(local: Bazar, seconds: float) -> None:
    """Kill a start so long after it launched an Auth service, and start again before that one is there."""
    kill(parts(local)["auth"]["pid"])
    says_so = saying(b"Starting the Auth service")
    with local.start("local", "start") as process:
        poll(lambda: says_so(process))
        time.sleep(seconds)
        process.kill()
    local(*START).ok()
    assert {part["state"] for part in parts(local).values()} == {"running"}


def test_start_killed_while_auth_starts(local: Bazar) -> None:
    left_alone(local, 0.1)


@pytest.mark.long
@pytest.mark.parametrize("run", range(30))
def test_start_killed_at_any_moment_of_a_start_of_auth(local: Bazar, run: int) -> None:
    left_alone(local, run / 100)


def test_stop_killed_midway(local: Bazar) -> None:
    auth = parts(local)["auth"]["pid"]
    with local.start("local", "stop") as process:
        poll(lambda: not runs(auth))
        process.kill()
    assert local(*START).ok().json["already_running"] is False
    local("users", "list").ok()


# -- files that lie -----------------------------------------------------------------------------------------------


def name_stranger(bazar: Bazar, pid: int) -> None:
    """Let every file of the stack name the process of somebody else."""
    record = paths(bazar).data / "postmaster.pid"
    record.write_text("\n".join([str(pid), *record.read_text().split("\n")[1:]]))
    state = paths(bazar).auth / "state.json"
    alive = paths(bazar).auth / "alive.lock"
    state.write_text(state.read_text().replace(alive.read_text().strip(), str(pid)))
    alive.write_text(f"{pid}\n")


def test_number_that_now_belongs_to_another_program(local: Bazar, stranger: subprocess.Popen[bytes]) -> None:
    local("users", "create", "kept@example.com", "--if-not-exists").ok()
    cut_power(local)
    name_stranger(local, stranger.pid)
    assert {(part["state"], part["pid"]) for part in parts(local).values()} == {("stopped", None)}
    stopped = local("local", "stop", "-o", "json").ok().json
    assert (stopped["postgres"], stopped["auth"]) == (False, False)
    local(*START).ok()
    assert is_whole(local, "kept@example.com")
    cut_power(local)
    name_stranger(local, stranger.pid)
    reset = local("local", "reset", "--confirm", "local", "-o", "json").ok().json
    assert reset == {"postgres": False, "auth": False, "data_deleted": True}
    assert stranger.poll() is None


DAMAGED = {"empty": b"", "a number only": b"4711", "no text": b"\xff\xfe\x00\x01\n\x80\n"}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_record_of_a_killed_server(local: Bazar, content: bytes) -> None:
    kill_postgres(local)
    (paths(local).data / "postmaster.pid").write_bytes(content)
    assert parts(local)["postgres"]["state"] == "stopped"
    local(*START).ok()


def test_damaged_record_of_a_server_that_lives(local: Bazar) -> None:
    server = parts(local)["postgres"]["pid"]
    record = paths(local).data / "postmaster.pid"
    for damage in (lambda: record.write_bytes(b""), record.unlink):
        damage()
        assert parts(local)["postgres"]["pid"] == server
        assert local(*START).ok().json["already_running"] is True
        assert postmasters(local) == 1
    assert local("local", "stop", "-o", "json").ok().json["postgres"] is True
    assert postmasters(local) == 0


@pytest.mark.parametrize("lives", [False, True], ids=["of a killed service", "of a service that lives"])
def test_state_that_was_cut_short(local: Bazar, lives: bool) -> None:
    auth = parts(local)["auth"]["pid"]
    if not lives:
        kill(auth)
    state = paths(local).auth / "state.json"
    state.write_text(state.read_text()[:20])
    local(*START).ok()
    assert processes.command_line(auth) == []
    local("users", "create", "cut-short@example.com", "--if-not-exists").ok()


def test_socket_that_was_deleted(local: Bazar) -> None:
    for entry in paths(local).socket_dir.iterdir():
        entry.unlink()
    paths(local).socket_dir.rmdir()
    read = local("users", "list", "-o", "json")
    assert (read.code, read.error["code"]) == (7, "postgres.unavailable")
    assert "bazar local start" in read.error["hint"]
    local(*START).ok()
    local("users", "list").ok()


@pytest.mark.parametrize("component", ["postgres", "auth"])
def test_log_that_cannot_be_written(local: Bazar, component: str) -> None:
    log = Path(parts(local)[component]["log"])
    log.unlink()
    assert local("local", "logs", component).ok().out == ""
    kill(parts(local)[component]["pid"])
    # A folder in its place stops root too.
    log.mkdir()
    for words in (START, ("local", "logs", component, "-o", "json")):
        done = local(*words)
        assert (done.code, done.out, done.error["code"]) == (2, "", "files.unwritable")
        assert str(log) in done.error["message"]
    log.rmdir()
    local(*START).ok()
    assert local("local", "logs", component).ok().out != ""
