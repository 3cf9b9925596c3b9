"""Stored secrets: in the OS keyring where there is one, else in files that only their owner can read."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from bazar_cli.adapters.config.folders import config_dir, demanded
from bazar_cli.adapters.config.system_keyring import SystemKeyring
from bazar_cli.adapters.files import is_folder, private_folder, read_believed, refuse_open_folder, write_private
from bazar_cli.domain.errors import NotSignedIn, StoreUnusable, UsageError

SESSION = "session:"
"""The beginning of the names of sessions."""


class SecretStore:
    """Named secrets. With BAZAR_CONFIG_DIR all are files in that folder; a user without a home has none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        folder = config_dir(environ)
        self._folder = folder and folder / "secrets"
        self._environ = environ

    @cached_property
    def _keyring(self) -> SystemKeyring | None:
        if self._folder is None or self._environ.get("BAZAR_CONFIG_DIR"):
            return None
        return SystemKeyring.find(self._environ)

    @property
    def can_keep(self) -> bool:
        """Return whether secrets can be stored; a user without a home folder has no place for them."""
        return self._folder is not None

    def where(self, name: str) -> Path | str:
        """Return where a secret is kept: a path, or `keyring`. Raises: BackendUnavailable `keyring.unavailable`."""
        return "keyring" if self._keyring else self._path(name)

    def get(self, name: str) -> str | None:
        """Return a secret; None where it does not exist.

        Raises: for a file that others can read, or that cannot be read, NotSignedIn `auth.session_unreadable` if it is
        a session, else UsageError `config.unreadable`; StoreUnusable `files.folder_open`, `files.folder_not_ours`;
        BackendUnavailable `keyring.unavailable`.
        """
        if self._keyring:
            return self._keyring.get(name)
        if self._folder is None:
            return None
        path = self._path(name)
        unreadable = _unreadable_session if name.startswith(SESSION) else _unreadable_secret
        return read_believed(path, lambda reason, hint: unreadable(path, reason, hint), secret=True)

    def set(self, name: str, value: str) -> None:
        """Store a secret in place of the one with this name, and read it back.

        Raises: StoreUnusable `files.*`; BackendUnavailable `keyring.unavailable`.
        """
        if self._keyring:
            self._keyring.set(name, value)
            return
        self._make_folder()
        path = self._path(name)
        with _writing(path):
            write_private(path, value)
        try:
            kept, reason = self.get(name) == value, "it does not hold what was written to it"
        except (NotSignedIn, UsageError) as unreadable:
            if isinstance(unreadable, StoreUnusable):
                raise
            kept, reason = False, unreadable.message
        if not kept:
            with _writing(path):
                path.unlink(missing_ok=True)
            raise _unwritable(path, reason)

    def delete(self, name: str) -> None:
        """Delete a secret, if it exists, also a file from a time without a keyring.

        Raises: StoreUnusable `files.*`; BackendUnavailable `keyring.unavailable`.
        """
        if self._keyring:
            self._keyring.delete(name)
        if self._folder is None:
            return
        with _writing(self._path(name)):
            self._path(name).unlink(missing_ok=True)

    def lock_path(self, name: str) -> Path:
        """Return the file that processes lock while they change this secret, and make its folder.

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
        # A name may be a URL. The digest makes a safe file name, the beginning says what the file is.
        kind = name.partition(":")[0]
        return demanded(self._folder) / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


@contextmanager
def _writing(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error.strerror) from error


def _unwritable(path: Path, reason: str | None) -> StoreUnusable:
    return StoreUnusable(
        "files.unwritable",
        f"the secret file {path} cannot be changed: {reason}",
        hint="free the path, or choose another folder with BAZAR_CONFIG_DIR",
    )


def _unreadable_session(path: Path, reason: str, hint: str) -> NotSignedIn:
    return NotSignedIn("auth.session_unreadable", f"the session file {path} cannot be used: {reason}", hint=hint)


def _unreadable_secret(path: Path, reason: str, hint: str) -> UsageError:
    return UsageError("config.unreadable", f"the secret file {path} cannot be used: {reason}", hint=hint)
