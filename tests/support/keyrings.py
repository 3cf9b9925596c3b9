"""A keyring for tests, named by PYTHON_KEYRING_BACKEND: it keeps its secrets in a file, and refuses on demand.

A real keyring needs a desktop session, and none can be told to fail in the middle of a command.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError

NAME = "tests.support.keyrings.FileKeyring"
FILE = "TEST_KEYRING_FILE"
"""The variable that names the file with the secrets."""
REFUSES = "TEST_KEYRING_REFUSES"
"""The variable that names what is refused: `get`, `set` or `delete`."""


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
