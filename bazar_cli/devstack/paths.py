"""Where the embedded stack keeps its files, for an ordinary user and for root."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

SYSTEM_ROOT = Path("/var/lib/bazar")
"""The folder for root: Postgres refuses to run as root, and its other user cannot enter root's home."""

SHORT_ROOT = Path("/tmp")  # noqa: S108 - the folder below it is private and its owner is checked
"""Not TMPDIR, which may change: the socket's folder is part of the database URL in profiles."""

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket on Linux (sun_path has 108 bytes, one for the end)."""
_SOCKET_PATH_BYTES_BSD = 103
"""On macOS, where sun_path has 104 bytes."""

# libpq splits a host at commas, and quotes would need escaping in a configuration file. Other paths use /tmp.
_PLAIN = re.compile(r"[A-Za-z0-9 /._+~@-]+")


@dataclass(frozen=True)
class StackPaths:
    """The files of one embedded stack; no other data folder uses them."""

    data_dir: Path
    key: str
    """Names this stack on the machine: 16 hexadecimal digits of its resolved data folder."""
    local: Path
    """Locks, credentials, the Auth service's state and log; always below the data folder."""
    postgres: Path
    """The folder of the Postgres user: its data and log."""
    socket_dir: Path
    system_root: Path | None
    """The root-owned folder that holds `postgres` and the copied binaries, when running as root."""

    @classmethod
    def for_data_dir(cls, data_dir: Path, *, uid: int | None = None) -> StackPaths:
        """Return the paths for `data_dir`; reads and writes no file.

        Parameters: `uid` is the effective user id (default: this process's); 0 selects root's layout.
        """
        resolved = Path(os.path.realpath(data_dir))
        user = os.geteuid() if uid is None else uid
        key = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16]
        local = resolved / "local"
        if user == 0:
            home = SYSTEM_ROOT / key
            return cls(resolved, key, local, home / "postgres", home / "run", SYSTEM_ROOT)
        near = local / "run"
        socket_dir = near if fits_a_socket(near) else SHORT_ROOT / f"bazar-{user}-{key}"
        return cls(resolved, key, local, local / "postgres", socket_dir, None)

    @property
    def lock(self) -> Path:
        """Held by a command that starts, stops or resets the stack."""
        return self.local / "stack.lock"

    @property
    def credentials(self) -> Path:
        """Keys and superuser credentials, mode 0600."""
        return self.local / "credentials.json"

    @property
    def auth(self) -> Path:
        """Locks, state and log of the Auth service."""
        return self.local / "auth"

    @property
    def data(self) -> Path:
        """Postgres's data folder; it exists only when it is complete."""
        return self.postgres / "data"

    @property
    def postgres_log(self) -> Path:
        """The log of Postgres."""
        return self.postgres / "server.log"


def fits_a_socket(folder: Path) -> bool:
    """Say whether a socket below `folder` can be bound, and named in a database URL."""
    limit = SOCKET_PATH_BYTES if os.uname().sysname == "Linux" else _SOCKET_PATH_BYTES_BSD
    path = str(folder / SOCKET_NAME)
    return _PLAIN.fullmatch(path) is not None and len(path) <= limit
