"""A keyring for tests, named by PYTHON_KEYRING_BACKEND: it keeps its secrets in a file, and refuses on demand.

A real keyring needs a desktop session, and none can be told to fail in the middle of a command.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from keyring.backend import KeyringBackend
from keyring.compat import properties
from keyring.errors import InitError, KeyringLocked, PasswordDeleteError, PasswordSetError

NAME = "tests.support.keyrings.FileKeyring"
FILE = "TEST_KEYRING_FILE"
"""The variable that names the file with the secrets."""
REFUSES = "TEST_KEYRING_REFUSES"
"""The variable that names the refused call: `get`, `set` or `delete`."""


class FileKeyring(KeyringBackend):
    """Keeps secrets in the file that the environment names."""

    priority = 1  # pyright: ignore[reportAssignmentType] - a plain number is what its own backends give

    def get_password(self, service: str, username: str) -> str | None:
        """Return a secret; refuse as a locked keyring does."""
        if os.environ.get(REFUSES) == "get":
            raise KeyringLocked("a locked keyring")
        return self._read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep a secret."""
        if os.environ.get(REFUSES) == "set":
            raise PasswordSetError(f"cannot store {password}")
        self._write({**self._read(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        """Forget a secret."""
        if os.environ.get(REFUSES) == "delete":
            raise PasswordDeleteError("not now")
        kept = self._read()
        del kept[f"{service}/{username}"]
        self._write(kept)

    def _read(self) -> dict[str, str]:
        path = Path(os.environ[FILE])
        return json.loads(path.read_text()) if path.exists() else {}

    def _write(self, secrets: dict[str, str]) -> None:
        Path(os.environ[FILE]).write_text(json.dumps(secrets))


class Raising(FileKeyring):
    """Fails with an error that is not one of the library `keyring`."""

    fault: type[BaseException] = RuntimeError

    def get_password(self, service: str, username: str) -> str | None:
        """Fail."""
        raise self.fault

    def set_password(self, service: str, username: str, password: str) -> None:
        """Fail with the secret in the text."""
        raise self.fault(password)

    def delete_password(self, service: str, username: str) -> None:
        """Fail."""
        raise self.fault


class Locked(Raising):
    """A locked keyring."""

    fault = KeyringLocked


class Exiting(Raising):
    """Wants to end the process."""

    fault = SystemExit


class NotMade(FileKeyring):
    """Cannot be made."""

    def __init__(self) -> None:
        raise InitError("no")


class Unviable(FileKeyring):
    """Does not work on this system, and says so as the library wants it."""

    @properties.classproperty
    def priority(cls) -> float:  # noqa: N805 - as of a class method
        """Say that it does not work here."""
        raise RuntimeError("not here")


class Forgetful(FileKeyring):
    """Accepts every secret and stores nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep nothing."""


class Shortening(FileKeyring):
    """Keeps less than it was given, as one with a limit does."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep all but the end."""
        self._write({**self._read(), f"{service}/{username}": password[:-1]})


class OfBytes(FileKeyring):
    """Returns bytes."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return bytes."""
        found: Any = (super().get_password(service, username) or "").encode()
        return found


class Hoarding(FileKeyring):
    """Deletes nothing, and does not say so."""

    def delete_password(self, service: str, username: str) -> None:
        """Delete nothing."""


class Hanging(FileKeyring):
    """Never answers, like one that asks for its password in a hidden window."""

    release = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        """Hang."""
        self.release.wait()
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Hang."""
        self.release.wait()


class SlowToLoad(FileKeyring):
    """Hangs before it is there."""

    def __init__(self) -> None:
        Hanging.release.wait()


def let_go() -> None:
    """Let what hangs go on, and wait until it has ended."""
    Hanging.release.set()
    for thread in threading.enumerate():
        if thread.name == "keyring":
            thread.join()
    Hanging.release.clear()


_KINDS = (Raising, Locked, Exiting, NotMade, Unviable, Forgetful, Shortening, OfBytes, Hoarding, Hanging, SlowToLoad)
HANGING = {"Hanging", "SlowToLoad"}
FAULTY = {
    **{kind.__name__: f"{__name__}.{kind.__name__}" for kind in _KINDS},
    "a module that is not there": "nonsense.Backend",
    "a class that is not there": f"{__name__}.Nothing",
    "no name of a class": "nonsense",
    "no back end at all": "builtins.dict",
}
"""Back ends that are no good, by what PYTHON_KEYRING_BACKEND names."""
KEEPS_NOTHING = tuple(f"keyring.backends.{name}" for name in ("null.Keyring", "fail.Keyring", "chainer.ChainerBackend"))
"""Back ends that say themselves that they keep nothing, the last one where no other is there."""
