"""A full disk: what was there stays whole, the error says so, and it goes on when there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.cli.auth.support import sign_in
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone

NO_ROOM = "File too large"


@pytest.fixture
def someone(people: People) -> Someone:
    """A user who can sign in."""
    return people.known_user()


@pytest.fixture
def bazar(tmp_path: Path, target: Target) -> Bazar:
    """`bazar` on the target, with nobody signed in."""
    return Bazar(tmp_path / "home").on(target)


def without_room(bazar: Bazar, *words: str, stdin: str = "", kilobytes: int = 0) -> Done:
    """Run a command that can make files but write only `kilobytes` into each, as on a full disk.

    The kernel's limit on the size of files does it, which needs neither root nor a disk of its own.
    """
    with replace(bazar, largest_file=kilobytes * 1024).start(*words, stdin=subprocess.PIPE) as process:
        out, err = process.communicate(stdin.encode())
    return Done(process.returncode, out.decode(), err.decode())


def stored(bazar: Bazar) -> Mapping[Path, str]:
    """Every file of the configuration folder but the locks, which hold nothing."""
    files = (path for path in (bazar.home / "config").rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path: path.read_text() for path in files}


def refused(done: Done) -> bool:
    """Whether a command ended with an exit code for a file that cannot be written."""
    assert "make room" in done.error["hint"]
    return (done.code, done.out, done.error["code"]) == (7, "", "files.no_room") and NO_ROOM in done.error["message"]


def test_sign_in_that_cannot_be_kept_leaves_the_one_before(bazar: Bazar, people: People, someone: Someone) -> None:
    sign_in(bazar, someone).ok()
    before = stored(bazar)
    other = people.user()
    people.identity(other)
    words = ("auth", "login", "--email", other.email, "--password-stdin", "-o", "json")
    assert refused(without_room(bazar, *words, stdin=OLD_PASSWORD))
    assert stored(bazar) == before
    assert bazar("users", "me", "-o", "json").ok().json["email"] == someone.email


def test_session_that_was_renewed_and_could_not_be_kept_is_not_lost(bazar: Bazar, someone: Someone) -> None:
    sign_in(bazar, someone).ok()
    before = stored(bazar)
    for _ in range(2):
        assert refused(without_room(bazar, "auth", "refresh", "-o", "json"))
    assert stored(bazar) == before
    bazar("auth", "refresh").ok()
    assert stored(bazar) != before
    bazar("users", "me").ok()


def test_key_set_that_cannot_be_cached_stops_no_command(bazar: Bazar, someone: Someone) -> None:
    sign_in(bazar, someone).ok()
    for path in (bazar.home / "data").rglob("jwks-*"):
        path.unlink()
    done = without_room(bazar, "users", "me", "-o", "ids")
    assert (done.code, done.out, done.err) == (0, f"{someone.id}\n", "")
    assert list((bazar.home / "data").rglob("*jwks*")) == []


OTHER = {"SUPABASE_URL": "https://other.supabase.co", "SUPABASE_KEY": "sb_secret_other"}


@pytest.mark.parametrize(
    "words",
    [("add", "new"), ("add", "one"), ("use", "two"), ("remove", "one")],
    ids=["add", "add again with another target", "use", "remove"],
)
def test_profiles_stay_as_they_were(bazar: Bazar, words: tuple[str, ...]) -> None:
    bazar("config", "profiles", "add", "one").ok()
    bazar("config", "profiles", "add", "two").ok()
    before = stored(bazar)
    assert refused(without_room(bazar.having(**OTHER), "config", "profiles", *words, "-o", "json"))
    assert stored(bazar) == before
    bazar.having(**OTHER)("config", "profiles", *words).ok()
    assert stored(bazar) != before


@pytest.mark.parametrize(("form", "kilobytes"), [("csv", 0), ("jsonl", 1), ("json", 1), ("yaml", 1)])
def test_export_that_has_no_room_leaves_what_was_there(admin: Bazar, people: People, form: str, kilobytes: int) -> None:
    for _ in range(10):
        people.user()
    folder, words = admin.folder("work"), ("users", "export", "-o", form)
    (folder / "kept").write_text("before")
    for file in (("new",), ("kept", "--overwrite")):
        done = without_room(admin, *words, *file, kilobytes=kilobytes)
        assert (done.code, done.out) == (7, "")
        assert f"{file[0]} cannot be used: {NO_ROOM}" in done.err
        assert "make room" in done.err
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"kept": "before"}
    assert admin(*words, "new").ok().out == ""
    assert (folder / "new").stat().st_size > kilobytes * 1024
