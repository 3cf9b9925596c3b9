"""A keyring keeps what was stored, or an error says that it did not, whatever its back end does."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import keyring.core
import pytest

from bazar_cli.adapters.config import secret_store, system_keyring
from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.secret_store import SecretStore
from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.domain.errors import BackendUnavailable, StoreUnusable
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Session
from tests.support import keyrings

URL = "https://x.supabase.co"
TARGET = {"SUPABASE_URL": URL, "SUPABASE_KEY": "hunter22-key", "DATABASE_URL": "postgresql://u:hunter22@localhost/x"}
Choose = Callable[[str], Mapping[str, str]]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Choose]:
    """Choose a back end by its name, as the environment of a new process does."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv(keyrings.FILE, str(tmp_path / "keyring.json"))
    monkeypatch.delenv("BAZAR_CONFIG_DIR", raising=False)

    def chosen(name: str) -> Mapping[str, str]:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", name)
        monkeypatch.setattr(keyring.core, "_keyring_backend", None)
        return os.environ

    yield chosen
    keyrings.let_go()


def a_session() -> Session:
    ends = datetime(2030, 1, 1, tzinfo=timezone.utc)
    return Session(uuid4(), "ada@example.com", Secret("hunter22-access"), Secret("hunter22-refresh"), ends)


SESSION = a_session()
OPERATIONS: dict[str, Callable[[Mapping[str, str]], object]] = {
    "a session is stored": lambda e: Sessions("staging", URL, e).save(SESSION),
    "a session is read": lambda e: Sessions("staging", URL, e).load(),
    "a session is forgotten": lambda e: Sessions("staging", URL, e).forget(),
    "a profile is added": lambda e: Profiles(e).save("new", TARGET, activate=True),
    "a profile is replaced": lambda e: Profiles(e).save("staging", {**TARGET, "SUPABASE_KEY": "k"}, activate=True),
    "a profile is read": lambda e: Profiles(e).values("staging"),
    "a profile is removed": lambda e: Profiles(e).remove("staging"),
}
HARMLESS = {
    "Forgetful": {"a session is read", "a session is forgotten", "a profile is read", "a profile is removed"},
    "Shortening": {"a session is read", "a session is forgotten", "a profile is read", "a profile is removed"},
    "Hoarding": set(OPERATIONS) - {"a session is forgotten", "a profile is removed"},
}
"""What a back end does well, though not everything."""


def state(environ: Mapping[str, str]) -> tuple[object, ...]:
    """What a working keyring, and the file of profiles, hold."""
    profiles = Profiles(environ)
    content = profiles.read()
    return (content.active, {name: profiles.values(name) for name in content.profiles})


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", keyrings.FAULTY)
def test_success_is_said_of_what_was_done_only(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, fault: str, operation: str
) -> None:
    environ = choose(keyrings.NAME)
    Profiles(environ).save("staging", TARGET, activate=True)
    Sessions("staging", URL, environ).save(a_session())
    before = state(environ)
    if fault in keyrings.HANGING:
        monkeypatch.setattr(system_keyring, "SECONDS", 0.05)

    faulty = choose(keyrings.FAULTY[fault])
    if operation in HARMLESS.get(fault, ()):
        OPERATIONS[operation](faulty)
        return
    with pytest.raises(BackendUnavailable) as refused:
        OPERATIONS[operation](faulty)

    error = refused.value
    assert error.code == "keyring.unavailable"
    assert keyrings.FAULTY[fault] in error.message
    assert "PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring" in error.hint
    assert "hunter22" not in f"{error.message}{error.hint}{error.details}"
    assert error.__cause__ is None
    keyrings.let_go()
    if not (fault in {"Shortening", "OfBytes"} and "replaced" in operation):  # it was overwritten before that showed
        assert state(choose(keyrings.NAME)) == before


def test_secret_that_was_kept_wrongly_does_not_stay(choose: Choose) -> None:
    with pytest.raises(BackendUnavailable, match="did not store"):
        SecretStore(choose(keyrings.FAULTY["Shortening"])).set("session:one", "hunter22")

    assert SecretStore(choose(keyrings.NAME)).get("session:one") is None


def test_after_one_call_that_hangs_no_other_is_waited_for(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = choose(keyrings.FAULTY["Hanging"])
    monkeypatch.setattr(system_keyring, "SECONDS", 0.05)
    with pytest.raises(BackendUnavailable, match="has not answered"):
        SecretStore(environ).get("session:one")
    monkeypatch.setattr(system_keyring, "SECONDS", 3600.0)

    with pytest.raises(BackendUnavailable, match="has not answered"):
        SecretStore(environ).get("session:two")


@pytest.mark.parametrize("name", keyrings.KEEPS_NOTHING)
def test_back_end_that_keeps_nothing_means_the_file(
    choose: Choose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("keyring.backend.get_all_keyring", list)
    store = SecretStore(choose(name))

    store.set("session:staging", "kept")

    assert store.get("session:staging") == "kept"
    assert Path(store.where("session:staging")).is_relative_to(tmp_path)


def test_chainer_with_a_back_end_is_a_keyring(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyring.backend.get_all_keyring", lambda: [keyrings.FileKeyring()])
    store = SecretStore(choose("keyring.backends.chainer.ChainerBackend"))

    store.set("session:staging", "kept")

    assert (store.get("session:staging"), store.where("session:staging")) == ("kept", "keyring")


def test_name_with_null_in_it_is_a_keyring(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyrings, "NullifyingFailover", keyrings.FileKeyring, raising=False)

    assert SecretStore(choose("tests.support.keyrings.NullifyingFailover")).where("session:x") == "keyring"


@pytest.fixture
def by_settings(choose: Choose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Choose a back end by the settings file of the library, where a session bus is."""
    settings = tmp_path / "python_keyring" / "keyringrc.cfg"
    settings.parent.mkdir()
    monkeypatch.setattr("keyring.util.platform_.config_root", lambda: settings.parent)
    environ = {**choose(""), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")

    def chosen(content: str) -> Mapping[str, str]:
        settings.write_bytes(content.encode("latin-1"))
        return environ

    return chosen


@pytest.mark.parametrize("content", ["[backend]\ndefault-keyring=nonsense.Backend\n", "no section\n", "\xff"])
def test_broken_settings_of_the_library_are_told(by_settings: Choose, content: str) -> None:
    with pytest.raises(BackendUnavailable, match="the keyring of this system refuses") as refused:
        SecretStore(by_settings(content)).get("session:x")

    assert refused.value.code == "keyring.unavailable"


def test_library_that_was_switched_off_means_the_file(by_settings: Choose, tmp_path: Path) -> None:
    # What `keyring --disable` writes.
    store = SecretStore(by_settings("[backend]\ndefault-keyring=keyring.backends.null.Keyring"))

    store.set("session:staging", "kept")

    assert store.get("session:staging") == "kept"
    assert Path(store.where("session:staging")).is_relative_to(tmp_path)


def test_file_of_a_time_without_keyring_is_forgotten_too(choose: Choose) -> None:
    SecretStore(choose(keyrings.KEEPS_NOTHING[0])).set("session:staging", "old")
    store = SecretStore(choose(keyrings.NAME))
    store.set("session:staging", "new")

    store.delete("session:staging")

    assert store.get("session:staging") is None
    assert SecretStore(choose(keyrings.KEEPS_NOTHING[0])).get("session:staging") is None


@pytest.mark.parametrize("written", ["", "less", None])
def test_file_that_does_not_keep_what_is_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str | None
) -> None:
    store = SecretStore({"BAZAR_CONFIG_DIR": str(tmp_path)})

    def writes(path: Path, _text: str) -> None:
        if written is not None:
            path.touch(0o600)
            path.write_text(written)

    monkeypatch.setattr(secret_store, "write_private", writes)

    with pytest.raises(StoreUnusable, match="does not hold") as refused:
        store.set("session:staging", "whole")

    assert refused.value.code == "files.unwritable"
    assert store.get("session:staging") is None


def test_file_system_that_opens_files_to_others_keeps_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SecretStore({"BAZAR_CONFIG_DIR": str(tmp_path)})

    def writes(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o644)

    monkeypatch.setattr(secret_store, "write_private", writes)

    with pytest.raises(StoreUnusable, match="other users can read it"):
        store.set("session:staging", "whole")

    assert [path.suffix for path in (tmp_path / "secrets").iterdir()] == []
