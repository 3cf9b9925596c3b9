"""Profiles: named targets whose secrets only their owner can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.secret_store import SecretStore
from bazar_cli.domain.errors import ExitCode, NotFound, StoreUnusable, UsageError
from tests.support.file_states import IS_ROOT, STRANGER

PLAIN = {"SUPABASE_URL": "https://x.supabase.co", "SUPERUSER_EMAIL": "root@example.com"}
SECRET = {
    "SUPABASE_KEY": "sb_secret_1",
    "DATABASE_URL": "postgresql://u:hunter22@localhost/bazar",
    "SUPABASE_ANON_KEY": "anon",
    "DATABASE_MIGRATION_URL": "postgresql://u:hunter22@localhost/direct",
    "SUPERUSER_PASSWORD": "toor-toor",
}
VALUES = {**PLAIN, **SECRET}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration folder that is not there yet."""
    return tmp_path / "config"


@pytest.fixture
def profiles(folder: Path) -> Profiles:
    """The profiles of that folder."""
    return Profiles({"BAZAR_CONFIG_DIR": str(folder)})


def secret_files(folder: Path) -> list[Path]:
    return sorted((folder / "secrets").glob("*.json"))


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- save, use, remove --------------------------------------------------------------------------------------


def test_no_file_is_no_profile(profiles: Profiles, folder: Path) -> None:
    content = profiles.read()

    assert (content.active, dict(content.profiles)) == (None, {})
    assert not folder.exists()


def test_a_saved_profile_comes_back_whole(profiles: Profiles) -> None:
    profiles.save("staging", VALUES, activate=False)

    assert profiles.values("staging") == VALUES


def test_saving_again_replaces_the_whole_profile(profiles: Profiles) -> None:
    profiles.save("staging", VALUES, activate=False)

    profiles.save("staging", {"SUPABASE_URL": "https://y.supabase.co", "SUPABASE_KEY": "k"}, activate=False)

    assert profiles.values("staging") == {"SUPABASE_URL": "https://y.supabase.co", "SUPABASE_KEY": "k"}


def test_empty_and_unknown_values_are_not_kept(profiles: Profiles) -> None:
    profiles.save("staging", {**PLAIN, "SUPERUSER_EMAIL": "", "SUPABASE_KEY": "", "PATH": "/bin"}, activate=False)

    assert profiles.values("staging") == {"SUPABASE_URL": "https://x.supabase.co"}


def test_the_first_profile_becomes_active_the_next_only_when_asked(profiles: Profiles) -> None:
    active: list[str | None] = []
    for name, activate in (("one", False), ("two", False), ("three", True)):
        profiles.save(name, VALUES, activate=activate)
        active.append(profiles.read().active)

    assert active == ["one", "one", "three"]


def test_use_makes_a_profile_active(profiles: Profiles) -> None:
    profiles.save("one", VALUES, activate=True)
    profiles.save("two", VALUES, activate=False)

    profiles.use("two")

    assert profiles.read().active == "two"
    assert set(profiles.read().profiles) == {"one", "two"}


def test_use_and_values_of_an_unknown_profile_name_the_known_ones(profiles: Profiles) -> None:
    profiles.save("two", VALUES, activate=True)
    profiles.save("one", VALUES, activate=False)

    for ask in (profiles.use, profiles.values):
        with pytest.raises(UsageError, match="known: one, two") as refused:
            ask("three")
        assert refused.value.code == "target.unknown_profile"
    assert profiles.read().active == "two"


def test_removing_a_profile_forgets_its_secrets_and_its_session(profiles: Profiles, folder: Path) -> None:
    store = SecretStore({"BAZAR_CONFIG_DIR": str(folder)})
    profiles.save("one", VALUES, activate=True)
    store.set("session:one", "{}")

    profiles.remove("one")

    assert (profiles.read().active, dict(profiles.read().profiles)) == (None, {})
    assert secret_files(folder) == []
    with pytest.raises(UsageError):
        profiles.values("one")


def test_removing_a_profile_leaves_the_others(profiles: Profiles) -> None:
    profiles.save("one", VALUES, activate=True)
    profiles.save("two", VALUES, activate=False)

    profiles.remove("two")

    assert profiles.read().active == "one"
    assert profiles.values("one") == VALUES


def test_removing_what_is_not_there_is_not_found(profiles: Profiles) -> None:
    with pytest.raises(NotFound) as missing:
        profiles.remove("ghost")

    assert missing.value.code == "config.profile_not_found"
    assert missing.value.exit_code is ExitCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "../x", "ä", "x\n", "x" * 64])
def test_what_is_no_profile_name_is_refused_and_writes_nothing(profiles: Profiles, folder: Path, name: str) -> None:
    with pytest.raises(UsageError) as refused:
        profiles.save(name, VALUES, activate=True)

    assert refused.value.code == "config.profile_name"
    assert not folder.exists()


@pytest.mark.parametrize("name", ["a", "staging", "eu-1.prod_2", "x" * 63])
def test_a_profile_may_have_this_name(profiles: Profiles, name: str) -> None:
    profiles.save(name, VALUES, activate=True)

    assert profiles.values(name) == VALUES


def test_profiles_saved_at_the_same_time_are_all_there(folder: Path) -> None:
    def save(number: int) -> None:
        Profiles({"BAZAR_CONFIG_DIR": str(folder)}).save(f"p{number}", VALUES, activate=False)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(16)))

    assert set(Profiles({"BAZAR_CONFIG_DIR": str(folder)}).read().profiles) == {f"p{n}" for n in range(16)}


# -- who can read what --------------------------------------------------------------------------------------


def test_secrets_are_in_files_of_their_owner_alone_and_nowhere_else(profiles: Profiles, folder: Path) -> None:
    profiles.save("staging", VALUES, activate=True)

    text = profiles.path.read_text(encoding="utf-8")
    [stored] = secret_files(folder)
    assert "https://x.supabase.co" in text
    assert not [name for name, value in SECRET.items() if value in text or name.lower() in text]
    assert (mode(stored), mode(profiles.path)) == (0o600, 0o600)
    assert (mode(folder), mode(folder / "secrets")) == (0o700, 0o700)


def test_writing_leaves_no_other_files_behind(profiles: Profiles, folder: Path) -> None:
    profiles.save("staging", VALUES, activate=True)
    profiles.save("staging", VALUES, activate=True)

    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left == {"profiles.toml", "profiles.lock", secret_files(folder)[0].name}


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o602])
def test_secrets_that_others_could_read_are_not_used(profiles: Profiles, folder: Path, bits: int) -> None:
    profiles.save("staging", VALUES, activate=True)
    [stored] = secret_files(folder)
    stored.chmod(bits)

    with pytest.raises(UsageError, match="other users can read it") as refused:
        profiles.values("staging")

    assert refused.value.code == "config.unreadable"
    assert f"chmod 600 {stored}" in refused.value.hint


def test_saving_again_makes_them_private_again(profiles: Profiles, folder: Path) -> None:
    profiles.save("staging", VALUES, activate=True)
    secret_files(folder)[0].chmod(0o644)

    profiles.save("staging", VALUES, activate=True)

    assert profiles.values("staging") == VALUES


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_a_profile_file_that_others_can_change_is_not_used(profiles: Profiles, bits: int) -> None:
    profiles.save("staging", VALUES, activate=True)
    profiles.path.chmod(bits)

    with pytest.raises(UsageError, match="other users can change it") as refused:
        profiles.read()

    assert refused.value.code == "config.unreadable"
    assert refused.value.hint == f"chmod 600 {profiles.path}"


def test_a_profile_file_that_others_can_read_holds_nothing_secret_and_is_used(profiles: Profiles) -> None:
    profiles.save("staging", VALUES, activate=True)
    profiles.path.chmod(0o644)

    assert profiles.values("staging") == VALUES


# -- broken files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b'active = "sta',
        b"[profiles.staging\nsupabase_url = 'x'",
        b"\xff\xfe\x00",
        b"active = 5",
        b"profiles = 5",
        b"[profiles]\nstaging = 5",
        b"[profiles.staging]\nsupabase_url = 5",
        b"activ = 'staging'",
        b"active = 'staging'\n[profile.staging]\nsupabase_url = 'https://x.supabase.co'",
        b"[profiles.staging]\nSUPABASE_URL = 'https://x.supabase.co'",
        b"[profiles.staging]\nsupabase_url = 'https://x.supabase.co'\ndatabase_url = 'postgresql:///x'",
    ],
)
def test_a_broken_profile_file_is_named_and_kept(profiles: Profiles, content: bytes) -> None:
    profiles.save("staging", VALUES, activate=True)
    profiles.path.write_bytes(content)

    for ask in (lambda: profiles.values("staging"), lambda: profiles.save("new", VALUES, activate=True)):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.code == "config.unreadable"
        assert str(profiles.path) in refused.value.message
    assert profiles.path.read_bytes() == content


def test_a_profile_file_that_nobody_can_read_is_named(profiles: Profiles, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    profiles.path.mkdir()

    with pytest.raises(UsageError, match="directory") as refused:
        profiles.read()

    assert refused.value.code == "config.unreadable"


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"SUPABASE_KEY": "sb', b"[]"])
def test_a_broken_secret_file_is_named(profiles: Profiles, folder: Path, content: bytes) -> None:
    profiles.save("staging", VALUES, activate=True)
    [stored] = secret_files(folder)
    stored.write_bytes(content)

    with pytest.raises(UsageError) as refused:
        profiles.values("staging")

    assert refused.value.code == "config.unreadable"
    assert str(stored) in refused.value.message


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, _link_to_itself])
def test_a_secret_file_that_nobody_can_read_is_named(
    profiles: Profiles, folder: Path, make: Callable[[Path], object]
) -> None:
    profiles.save("staging", VALUES, activate=True)
    [stored] = secret_files(folder)
    stored.unlink()
    make(stored)

    with pytest.raises(UsageError) as refused:
        profiles.values("staging")

    assert refused.value.code == "config.unreadable"
    assert str(stored) in refused.value.message


# -- links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("linked", ["config", "config/secrets"])
def test_a_folder_that_is_a_link_holds_nothing_private(tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / linked).parent.mkdir(exist_ok=True)
    (tmp_path / linked).symlink_to(elsewhere)

    with pytest.raises(StoreUnusable) as refused:
        Profiles({"BAZAR_CONFIG_DIR": str(tmp_path / "config")}).save("staging", VALUES, activate=True)

    assert refused.value.code == "files.folder_not_ours"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("kind", ["device", "stranger's", "file", "link"])
def test_only_a_file_or_link_of_ones_own_is_to_be_freed(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/null") if kind == "device" else tmp_path / "config"
    if kind == "stranger's":
        if not IS_ROOT:
            pytest.skip("only root gives files away")
        path.mkdir()
        os.chown(path, STRANGER, STRANGER)
    elif kind == "file":
        path.touch()
    elif kind == "link":
        path.symlink_to("nowhere")

    with pytest.raises(StoreUnusable) as refused:
        Profiles({"BAZAR_CONFIG_DIR": str(path)}).save("staging", VALUES, activate=True)

    assert refused.value.code == "files.folder_not_ours"
    assert refused.value.hint.startswith("free the path, or choose" if kind in {"file", "link"} else "choose another")


def test_writing_replaces_links_and_never_what_they_point_to(profiles: Profiles, folder: Path, tmp_path: Path) -> None:
    profiles.save("staging", VALUES, activate=True)
    victims: list[Path] = []
    for path in secret_files(folder):
        victim = tmp_path / f"victim-{path.name}"
        victim.write_bytes(path.read_bytes())
        victim.chmod(0o600)
        path.unlink()
        path.symlink_to(victim)
        victims.append(victim)
    assert victims
    before = [victim.read_bytes() for victim in victims]

    profiles.save("staging", {**VALUES, "SUPABASE_URL": "https://y.supabase.co", "SUPABASE_KEY": "k"}, activate=True)

    assert [victim.read_bytes() for victim in victims] == before
    assert not any(path.is_symlink() for path in secret_files(folder))
    assert profiles.values("staging")["SUPABASE_KEY"] == "k"


def test_a_profile_file_that_is_a_link_is_refused_and_kept(profiles: Profiles, tmp_path: Path) -> None:
    profiles.save("staging", VALUES, activate=True)
    elsewhere = profiles.path.rename(tmp_path / "elsewhere.toml")
    profiles.path.symlink_to(elsewhere)

    for ask in (profiles.read, lambda: profiles.use("staging")):
        with pytest.raises(UsageError, match="it is a link") as refused:
            ask()
        assert refused.value.code == "config.unreadable"
    assert profiles.path.is_symlink()


def test_a_secret_that_is_a_link_is_not_used(profiles: Profiles, folder: Path, tmp_path: Path) -> None:
    profiles.save("staging", VALUES, activate=True)
    [stored] = secret_files(folder)
    stored.symlink_to(stored.rename(tmp_path / "elsewhere.json"))

    with pytest.raises(UsageError, match="it is a link"):
        profiles.values("staging")


# -- where --------------------------------------------------------------------------------------------------


def test_an_explicit_folder_keeps_everything_even_where_a_keyring_is(folder: Path) -> None:
    environ = {"BAZAR_CONFIG_DIR": str(folder), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}

    Profiles(environ).save("staging", VALUES, activate=True)

    assert len(secret_files(folder)) == 1
    assert str(SecretStore(environ).where("session:staging")).startswith(str(folder))


def test_two_folders_know_nothing_of_each_other(tmp_path: Path) -> None:
    one = Profiles({"BAZAR_CONFIG_DIR": str(tmp_path / "one")})
    two = Profiles({"BAZAR_CONFIG_DIR": str(tmp_path / "two")})

    one.save("staging", VALUES, activate=True)

    assert dict(two.read().profiles) == {}


def test_the_folder_may_stand_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert Profiles({"BAZAR_CONFIG_DIR": "~/settings"}).path == tmp_path / "settings" / "profiles.toml"
