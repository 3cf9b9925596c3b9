"""Secrets at rest: the OS keyring where there is one, else files that only their owner can read."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from bazar_cli.adapters.config.folders import config_dir, demanded
from bazar_cli.adapters.files import (
    is_folder,
    is_there,
    private_folder,
    read_believed,
    refuse_open_folder,
    write_private,
)
from bazar_cli.domain.errors import BackendUnavailable, NotSignedIn, StoreUnusable

_SERVICE = "bazar"


class SecretStore:
    """Named texts, each kept private. An explicit BAZAR_CONFIG_DIR keeps everything in that folder.

    A user without a home has no secrets.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        folder = config_dir(environ)
        self._folder = folder and folder / "secrets"
        self._keyring = folder is not None and not environ.get("BAZAR_CONFIG_DIR") and keyring_is_likely(environ)

    @property
    def can_keep(self) -> bool:
        """Whether there is a place for secrets: a user without a home has none."""
        return self._folder is not None

    def where(self, name: str) -> Path | str:
        """Return where a secret is kept: a path, or `keyring`."""
        return "keyring" if self._keyring else self._path(name)

    def get(self, name: str) -> str | None:
        """Return a secret, None where there is none.

        Raises: NotSignedIn `auth.session_unreadable` for a file that others can read or nobody can;
        StoreUnusable `files.folder_open`, `files.folder_not_ours`; BackendUnavailable `keyring.unavailable`.
        """
        if self._keyring:
            with _asking_keyring() as keyring:
                return keyring.get_password(_SERVICE, name)
        if self._folder is None:
            return None
        path = self._path(name)
        return read_believed(path, lambda reason, hint: _unreadable(path, reason, hint), secret=True)

    def set(self, name: str, value: str) -> None:
        """Keep a secret, replacing the one of this name.

        Raises: StoreUnusable `files.*`; BackendUnavailable `keyring.unavailable`.
        """
        if self._keyring:
            with _asking_keyring() as keyring:
                keyring.set_password(_SERVICE, name, value)
            return
        self._make_folder()
        with _writing(self._path(name)):
            write_private(self._path(name), value)

    def delete(self, name: str) -> None:
        """Forget a secret; one that is not there is forgotten already.

        Raises: StoreUnusable `files.*`; BackendUnavailable `keyring.unavailable`.
        """
        if self._keyring:
            with _asking_keyring() as keyring:
                if keyring.get_password(_SERVICE, name) is not None:
                    keyring.delete_password(_SERVICE, name)
            return
        if self._folder is None:
            return
        with _writing(self._path(name)):
            self._path(name).unlink(missing_ok=True)

    def lock_path(self, name: str) -> Path:
        """Return the file that processes lock while they change this secret; its folder is there.

        Raises: StoreUnusable `files.*`.
        """
        self._make_folder()
        return self._path(name).with_suffix(".lock")

    def _make_folder(self) -> None:
        folder = demanded(self._folder)
        if is_folder(folder.parent):
            refuse_open_folder(folder.parent)
        private_folder(folder)

    def _path(self, name: str) -> Path:
        # A name may be a URL; its digest is a safe file name, its beginning tells people what it is.
        kind = name.partition(":")[0]
        return demanded(self._folder) / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


@contextmanager
def _asking_keyring() -> Generator[ModuleType]:
    import keyring
    from keyring.errors import KeyringError

    try:
        yield keyring
    except KeyringError as error:
        # The text comes from a library that was given the secret: it goes no further.
        raise BackendUnavailable(
            "keyring.unavailable",
            f"the keyring of this system refuses: {type(error).__name__}",
            hint="unlock the keyring and try again, or keep secrets in files of a folder: set BAZAR_CONFIG_DIR",
        ) from None


@contextmanager
def _writing(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnusable(
            "files.unwritable",
            f"the secret file {path} cannot be changed: {error.strerror}",
            hint="free the path, or choose another folder with BAZAR_CONFIG_DIR",
        ) from error


def keyring_is_likely(environ: Mapping[str, str]) -> bool:
    """Say whether a keyring can be there, without importing the library that would tell (128-250 ms)."""
    if environ.get("PYTHON_KEYRING_BACKEND"):
        return "fail" not in environ["PYTHON_KEYRING_BACKEND"] and "null" not in environ["PYTHON_KEYRING_BACKEND"]
    if sys.platform == "darwin":
        return True
    runtime = environ.get("XDG_RUNTIME_DIR")
    bus = bool(environ.get("DBUS_SESSION_BUS_ADDRESS")) or bool(runtime and is_there(Path(runtime) / "bus"))
    return bus and _has_usable_backend()


def _has_usable_backend() -> bool:
    import keyring
    from keyring.backends import fail

    return not isinstance(keyring.get_keyring(), fail.Keyring)


def _unreadable(path: Path, reason: str, hint: str) -> NotSignedIn:
    return NotSignedIn("auth.session_unreadable", f"the secret file {path} cannot be used: {reason}", hint=hint)
