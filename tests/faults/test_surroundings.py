"""A broken file or folder never looks like a bug of bazar, and no command waits for ever."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bazar_cli.devstack import credentials
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar, Done
from tests.support.file_states import IS_ROOT, STATES, ordinary_user, own, remove
from tests.support.people import OLD_PASSWORD, People, Someone

READS_TARGET = (
    ("users", "me"),
    ("config", "show", "--log-file", "run.log"),
    ("config", "show", "--env-file", "named.env"),
)
KEEPS = (("users", "me"), ("config", "path"), ("config", "profiles", "use", "staging"), ("auth", "logout"))
STACK = (("local", "status"), ("local", "stop"), ("local", "env"), ("local", "logs"))
COMMANDS = {
    "": (*READS_TARGET, *STACK, *KEEPS[1:]),
    "work/": READS_TARGET,
    "config/": KEEPS,
    "data/cache": (("users", "me"),),
    "data/local": STACK,
}
"""What touches the paths that begin so: together the commands touch each file that bazar keeps for a user."""
ALSO = ("work/.env", "work/docker", "work/docker/server/.env")
"""Paths that a command looks at though they are not there."""


@dataclass(frozen=True)
class Surroundings:
    """A user's home in which everything is as it should be, and can be made so again."""

    bazar: Bazar
    kept: Path

    def paths(self) -> list[Path]:
        """Everything that the commands made or read, and the home itself."""
        home = self.bazar.home
        found = sorted(path for path in home.rglob("*"))
        return [home, *found, *(home / name for name in ALSO)]

    def restore(self) -> None:
        """Have everything as it was."""
        remove(self.bazar.home)
        shutil.copytree(self.kept, self.bazar.home, symlinks=True)
        self.bazar.home.chmod(0o700)
        own(self.bazar.home)


@pytest.fixture(scope="module")
def someone(people: People) -> Someone:
    """A user known to both systems."""
    return people.known_user()


@pytest.fixture(scope="module")
def surroundings(target: Target, someone: Someone, tmp_path_factory: pytest.TempPathFactory) -> Generator[Surroundings]:
    """A home with a profile, its session and key cache, an env file, a log, and files of a stack that has stopped."""
    with ordinary_user() as bazar:
        work = bazar.folder("work")
        values = {
            "SUPABASE_URL": target.supabase_url,
            "SUPABASE_KEY": target.supabase_key.reveal(),
            # Commands that need Postgres end here: its socket is closed to this user anyway.
            "DATABASE_URL": "postgresql://bazar@127.0.0.1:1/bazar",
        }
        (work / "named.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        own(bazar.home)
        bazar("config", "profiles", "add", "staging", "--env-file", "named.env").ok()
        bazar("auth", "login", "--email", someone.email, "--password-stdin", stdin=f"{OLD_PASSWORD}\n").ok()
        assert bazar("users", "me").code == 7
        bazar("config", "show", "--log-file", "run.log").ok()
        local = bazar.home / "data" / "local"
        for folder in (local, local / "auth", local / "postgres"):
            folder.mkdir(mode=0o700)
        credentials.save(local / "credentials.json", credentials.create("root@example.com", "root-password"))
        for name in ("stack.lock", "auth/alive.lock", "auth/auth.log", "auth/state.json", "postgres/server.log"):
            (local / name).touch(mode=0o600)
        own(bazar.home)
        kept = tmp_path_factory.mktemp("kept")
        shutil.copytree(bazar.home, kept, symlinks=True, dirs_exist_ok=True)
        assert len([path for path in bazar.home.rglob("*") if path.is_file()]) > 10
        yield Surroundings(bazar, kept)


def is_bug(done: Done) -> bool:
    """Whether a command ended as a bug, or by a signal. The end of one that waits for ever fails the test."""
    return done.code == 1 or done.code < 0 or "Traceback" in done.err


def bugs_at(surroundings: Surroundings, bazar: Bazar, bring_about: Callable[[Path], object], path: Path) -> list[str]:
    """Run the commands that touch a path in this state; return those that call it a bug."""
    surroundings.restore()
    bring_about(path)
    name, work = str(path.relative_to(bazar.home)), bazar.home / "work"
    bugs: list[str] = []
    for words in COMMANDS[max((start for start in COMMANDS if name.startswith(start)), key=len)]:
        done = bazar(*words, cwd=work if work.is_dir() else Path("/"))
        if is_bug(done):
            bugs.append(f"{name}: {' '.join(words)}: {done.code} {done.err[-300:]}")
    return bugs


def all_bugs(surroundings: Surroundings, state: str, first: int, every: int) -> list[str]:
    """Return what `bugs_at` finds. Parameters: `first` is the first path by number, `every` the step to the next."""
    bazar, bugs = surroundings.bazar, list[str]()
    surroundings.restore()
    for path in surroundings.paths()[first % every :: every]:
        bugs += bugs_at(surroundings, bazar, STATES[state], path)
    surroundings.restore()
    return bugs


@pytest.mark.parametrize(("number", "state"), list(enumerate(STATES)), ids=STATES)
def test_no_command_calls_it_a_bug(surroundings: Surroundings, number: int, state: str) -> None:
    """Each state is met at a third of the paths, and each path in a third of the states."""
    assert all_bugs(surroundings, state, number, 3) == []


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
def test_no_command_calls_it_a_bug_at_any_path(surroundings: Surroundings, state: str) -> None:
    assert all_bugs(surroundings, state, 0, 1) == []


# -- the cases that were reported -----------------------------------------------------------------------------


@pytest.fixture
def ordinary() -> Generator[Bazar]:
    """A user with an empty home."""
    with ordinary_user() as bazar:
        yield bazar


def given(bazar: Bazar, **changed: str) -> Bazar:
    """The user with a target in the environment that is not there."""
    return bazar.having(
        SUPABASE_URL="http://127.0.0.1:1", SUPABASE_KEY="key", DATABASE_URL="postgresql://b@127.0.0.1:1/b", **changed
    )


@pytest.mark.parametrize("words", [("users", "list"), ("config", "show"), ("doctor",)])
@pytest.mark.parametrize("inside", ["", "docker", "docker/server"])
def test_working_folder_that_cannot_be_looked_at(ordinary: Bazar, inside: str, words: tuple[str, ...]) -> None:
    given(ordinary)("config", "profiles", "add", "staging").ok()
    closed = ordinary.home / "work" / inside
    closed.mkdir(parents=True, exist_ok=True)
    (closed / ".env").write_text("SUPABASE_URL=http://127.0.0.1:2\n")
    own(ordinary.home)
    closed.chmod(0)
    done = ordinary(*words, "-o", "json", cwd=ordinary.home / "work")
    # No default env file counts from there: the active profile does, in which nobody is signed in.
    assert done.code == {"users": 4, "config": 0, "doctor": 9}[words[0]], done.err
    assert "127.0.0.1:2" not in done.out + done.err


def test_env_file_that_is_there_and_cannot_be_read_is_named(ordinary: Bazar) -> None:
    given(ordinary)("config", "profiles", "add", "staging").ok()
    path = ordinary.folder("work") / ".env"
    path.touch(mode=0)
    own(ordinary.home)
    done = ordinary("users", "list", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "target.env_file")
    assert str(path) in done.error["message"]


HOMELESS = {"no HOME": None, "empty": "", "relative": "here"}


@pytest.mark.skipif(not IS_ROOT, reason="whoever runs the tests has a passwd entry")
@pytest.mark.parametrize("home", HOMELESS)
def test_without_a_home_only_commands_that_store_fail(
    ordinary: Bazar, home: str, target: Target, someone: Someone
) -> None:
    value = HOMELESS[home]
    bazar = given(replace(ordinary, bare=True)).lacking("HOME")
    if value is not None:
        bazar = bazar.having(HOME=value)
    assert bazar("users", "list", "-o", "json").code == 4
    assert bazar.having(BAZAR_TOKEN="x.y.z")("users", "list", "-o", "json").code == 4
    assert bazar("config", "show").ok().out
    assert [place["path"] for place in bazar("config", "path", "-o", "json").ok().json["items"]] == [None] * 6
    assert bazar("config", "profiles", "list", "-o", "json").ok().json["items"] == []
    assert bazar("auth", "logout").ok().err == "you were not signed in\n"
    assert bazar("doctor", "-o", "json").code == 9
    assert bazar("db", "heads").code == 0
    login = bazar.having(SUPABASE_URL=target.supabase_url, SUPABASE_KEY=target.supabase_key.reveal())
    for done in (
        bazar("config", "profiles", "add", "staging", "-o", "json"),
        bazar("local", "start", "-o", "json"),
        login("auth", "login", "--email", someone.email, "--password-stdin", "-o", "json", stdin=OLD_PASSWORD),
    ):
        assert (done.code, done.out, done.error["code"]) == (2, "", "files.no_home")
        assert "BAZAR_CONFIG_DIR and BAZAR_DATA_DIR" in done.error["hint"]
    assert not (ordinary.home / "work" / "~").exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_configuration_folder_that_sudo_made(ordinary: Bazar) -> None:
    folder = ordinary.folder("config")
    own(ordinary.home)
    os.chown(folder, 0, 0)
    folder.chmod(0o700)
    bazar = given(ordinary)
    bazar("config", "path").ok()
    for words in (("users", "list"), ("config", "profiles", "list"), ("config", "profiles", "add", "staging")):
        done = bazar(*words, "-o", "json")
        assert done.code in {2, 4}, words
        assert f"sudo chown -R {ordinary.user} {folder}" in done.error["hint"], words


LISTS, ADDS, SHOWS, STATUS = (
    ("config", "profiles", "list"),
    ("config", "profiles", "add", "other"),
    ("config", "show", "--profile", "staging"),
    ("local", "status"),
)
AT_FAULT = (
    ("config", "unreadable", LISTS, "chmod u+rwx"),
    ("config", "unreadable", ADDS, "chmod u+rwx"),
    ("config", "a file", LISTS, "free the path"),
    ("config", "a pipe", LISTS, "free the path"),
    ("config", "a link to itself", LISTS, "free the path"),
    ("config/profiles.toml", "unreadable", LISTS, "chmod u+rw"),
    ("config/profiles.toml", "a folder", LISTS, "free the path"),
    ("config/secrets", "unreadable", SHOWS, "chmod u+rwx"),
    ("config/secrets", "a file", SHOWS, "free the path"),
    ("data/local", "unreadable", STATUS, "chmod u+rwx"),
    ("data/local/credentials.json", "unreadable", STATUS, "chmod u+rw"),
    ("data/local/credentials.json", "a pipe", STATUS, "free the path"),
)


@pytest.mark.parametrize(("name", "state", "words", "remedy"), AT_FAULT)
def test_hint_names_the_part_of_the_path_that_is_at_fault(
    ordinary: Bazar, name: str, state: str, words: tuple[str, ...], remedy: str
) -> None:
    given(ordinary)("config", "profiles", "add", "staging").ok()
    local = ordinary.folder("data") / "local"
    local.mkdir(mode=0o700)
    credentials.save(local / "credentials.json", credentials.create("root@example.com", "root-password"))
    own(ordinary.home)
    path = ordinary.home / name
    STATES[state](path)
    done = given(ordinary)(*words, "-o", "json")
    assert done.code in {2, 6}, done.err
    assert done.error["hint"].startswith(f"{remedy} {path}"), done.error
    assert str(path) in done.error["message"]
    assert "Error" not in done.error["message"]


@pytest.mark.parametrize("words", [LISTS, ADDS, STATUS, ("local", "env"), ("local", "start")])
def test_no_hint_says_to_remove_a_file_of_the_system(ordinary: Bazar, words: tuple[str, ...]) -> None:
    for home in ("/dev/null", "/root" if IS_ROOT else "/dev/null"):
        done = given(replace(ordinary, bare=True)).having(HOME=home)(*words, "-o", "json")
        assert done.code in {2, 6}, done.err
        assert done.error["hint"].startswith("choose another folder"), (home, done.error)
        assert "Error" not in done.error["message"]


def test_runtime_folder_of_another_user(ordinary: Bazar) -> None:
    """`sudo -u svc` keeps XDG_RUNTIME_DIR, where the bus of the keyring would be."""
    closed = ordinary.folder("run")
    own(ordinary.home)
    closed.chmod(0)
    bazar = replace(ordinary, bare=True).having(XDG_RUNTIME_DIR=str(closed))
    assert given(bazar)("users", "list").code == 4


@pytest.mark.parametrize("kind", ["file", "log"])
def test_pipe_without_another_end_is_not_waited_for(ordinary: Bazar, kind: str) -> None:
    pipe = ordinary.folder("work") / "pipe"
    os.mkfifo(pipe)
    own(ordinary.home)
    words = ("--env-file", "pipe") if kind == "file" else ("--log-file", "pipe")
    done = given(ordinary)("config", "show", *words, "-o", "json", kill_after=30)
    assert done.code == (0 if kind == "file" else 2), done.err


def test_log_goes_into_a_pipe_that_has_a_reader(ordinary: Bazar) -> None:
    pipe = ordinary.folder("work") / "pipe"
    os.mkfifo(pipe)
    own(ordinary.home)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        ordinary("config", "path", "--log-file", "pipe").ok()
        assert b"config.path ends with exit code 0" in os.read(reader, 1 << 16)
    finally:
        os.close(reader)
