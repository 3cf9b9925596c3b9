"""Profile and secret files that are broken, or that other users of the machine could reach."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.cli import Bazar

TARGET = {
    "SUPABASE_URL": "https://project.supabase.co",
    "SUPABASE_KEY": "sb_secret_very-hidden",
    "DATABASE_URL": "postgresql://bazar:hidden-word@db.example.com/bazar?sslmode=require",
}


@pytest.fixture
def folder(nobody: Bazar) -> Path:
    """A configuration folder with one profile, `staging`."""
    nobody.having(**TARGET)("config", "profiles", "add", "staging").ok()
    return nobody.home / "config"


BROKEN = {
    "truncated": b'active = "stag',
    "no TOML": b"{]",
    "no text": b"\xff\xfe\x00",
    "no profile file": b"profiles = 3\n",
    "no table inside": b"[profiles]\nstaging = 1\n",
    "no text inside": b"[profiles.staging]\nsupabase_url = 3\n",
    "a key that nobody reads": b"[profiles.staging]\nsupabase_ulr = 'x'\n",
}


def test_broken_profile_file_is_named_and_kept(nobody: Bazar, folder: Path) -> None:
    path = folder / "profiles.toml"
    for what, content in BROKEN.items():
        path.write_bytes(content)
        for words in (("config", "profiles", "list"), ("config", "show"), ("config", "profiles", "use", "staging")):
            done = nobody(*words, "-o", "json")
            assert (done.code, done.out, done.error["code"]) == (2, "", "config.unreadable"), what
            assert str(path) in done.error["message"], what
            assert str(path) in done.error["hint"], what
        refused = nobody.having(**TARGET)("config", "profiles", "add", "other")
        assert refused.code == 2, what
        assert path.read_bytes() == content, what


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_profile_file_that_others_can_change(nobody: Bazar, folder: Path, mode: int) -> None:
    path = folder / "profiles.toml"
    path.chmod(mode)
    done = nobody("users", "me", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "config.unreadable")
    assert done.error["hint"] == f"chmod 600 {path}"
    path.chmod(0o600)
    assert nobody("users", "me").code == 4


def test_secret_file_that_others_can_read(nobody: Bazar, folder: Path) -> None:
    (path,) = (folder / "secrets").glob("profile-*.json")
    path.chmod(0o644)
    done = nobody("users", "me", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "config.unreadable")
    assert str(path) in done.error["message"]
    assert f"chmod 600 {path}" in done.error["hint"]
    assert "hidden" not in done.err
    path.chmod(0o600)
    nobody("config", "show").ok()


def test_broken_secret_file_is_named(nobody: Bazar, folder: Path) -> None:
    (path,) = (folder / "secrets").glob("profile-*.json")
    path.write_text(path.read_text()[:-5])
    done = nobody("users", "me", "-o", "json")
    assert (done.code, done.out) == (2, "")
    assert str(path) in done.error["message"]
    assert "bazar config profiles add staging" in done.error["hint"]
    assert "hidden" not in done.err


def test_folder_that_is_a_file(nobody: Bazar) -> None:
    nobody.folder("work")
    (nobody.home / "config").write_text("no folder")
    done = nobody.having(**TARGET)("config", "profiles", "add", "staging", "-o", "json")
    assert (done.code, done.out) == (2, "")
    assert str(nobody.home / "config") in done.error["message"]
    assert (nobody.home / "config").read_text() == "no folder"


def test_file_edited_by_hand(nobody: Bazar, folder: Path) -> None:
    path = folder / "profiles.toml"
    path.write_text('# mine\nactive = "gone"\n[profiles.staging]\nsupabase_url = "https://edited.supabase.co"\n')
    listed = nobody("config", "profiles", "list", "-o", "json").ok().json["items"]
    assert [(p["name"], p["active"], p["supabase_url"]) for p in listed] == [
        ("staging", False, "https://edited.supabase.co")
    ]
    done = nobody("users", "me", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "target.unknown_profile")
    assert "'gone'" in done.error["message"]


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o700])
def test_folder_of_the_user_keeps_its_mode(nobody: Bazar, mode: int) -> None:
    own = nobody.folder("work")
    own.chmod(mode)
    bazar = nobody.having(**TARGET, BAZAR_CONFIG_DIR=".")
    bazar("config", "profiles", "add", "staging").ok()
    bazar("config", "profiles", "use", "staging").ok()
    assert own.stat().st_mode & 0o7777 == mode
    assert (own / "secrets").stat().st_mode & 0o7777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in own.rglob("*") if path.is_file()} == {0o600}


OPEN = {0o1777: "", 0o777: "chmod go-w '{}', or ", 0o775: "chmod go-w '{}', or "}


@pytest.mark.parametrize("mode", OPEN)
def test_folder_that_others_can_write_gets_no_secret_and_keeps_its_mode(nobody: Bazar, mode: int) -> None:
    shared = nobody.folder("a shared one")
    shared.chmod(mode)
    done = nobody.having(**TARGET, BAZAR_CONFIG_DIR=str(shared))("config", "profiles", "add", "staging", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "files.folder_open")
    assert str(shared) in done.error["message"]
    assert done.error["hint"].partition("choose")[0] == OPEN[mode].format(shared)
    assert (shared.stat().st_mode & 0o7777, list(shared.iterdir())) == (mode, [])


@pytest.mark.parametrize("opened", ["", "secrets"])
def test_files_of_a_folder_that_others_can_write_are_not_believed(nobody: Bazar, folder: Path, opened: str) -> None:
    (folder / opened).chmod(0o777)
    done = nobody("users", "me", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "files.folder_open")
    (folder / opened).chmod(0o755)
    assert nobody("users", "me").code == 4


def test_folder_that_was_made_read_only(nobody: Bazar, folder: Path) -> None:
    before = (folder / "profiles.toml").read_text()
    folder.chmod(0o500)
    done = nobody("config", "profiles", "use", "staging", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "files.unwritable")
    assert f"chmod u+w {folder}" in done.error["hint"]
    assert (folder.stat().st_mode & 0o7777, (folder / "profiles.toml").read_text()) == (0o500, before)


def without_working_folder(bazar: Bazar, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder that was deleted."""
    return subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *bazar.command(*words)],
        cwd=bazar.folder("gone"),
        env=bazar.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_working_folder_that_was_deleted(nobody: Bazar, folder: Path) -> None:
    assert folder.is_dir()
    assert without_working_folder(nobody, "config", "show").returncode == 0
    done = without_working_folder(nobody, "users", "me")
    assert (done.returncode, done.stdout) == (4, "")
    named = without_working_folder(nobody.having(BAZAR_CONFIG_DIR="here"), "config", "profiles", "list")
    assert (named.returncode, named.stdout) == (2, "")
    assert "BAZAR_CONFIG_DIR=here" in named.stderr
