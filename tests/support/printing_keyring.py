"""A keyring for tests that writes to standard output and to logs whenever it can, from its import on."""

from __future__ import annotations

from tests.support.keyrings import FileKeyring
from tests.support.stray_output import WRITES

exec(WRITES, {})  # noqa: S102 - a back end may do this when it is imported


class PrintingKeyring(FileKeyring):
    """Prints and logs, then works as a file keyring."""

    priority = 1  # pyright: ignore[reportAssignmentType] - a plain number is what its own backends give

    def get_password(self, service: str, username: str) -> str | None:
        """Return a secret."""
        exec(WRITES, {})  # noqa: S102
        return super().get_password(service, username)
