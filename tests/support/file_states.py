"""States of files and folders that a command must survive, and a user without root's permissions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cli import Bazar

STRANGER = 64991
"""A user without a passwd entry, from the range that systemd.io/UIDS-GIDS leaves free."""
ORDINARY = 64990
IS_ROOT = os.geteuid() == 0


@contextmanager
def ordinary_user() -> Generator[Bazar]:
    """Yield `bazar` with a home, run by a user who is not root and has no passwd entry."""
    # Pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="bazar-", dir="/tmp"))
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir(mode=0o700)
    if IS_ROOT:
        os.chown(home, ORDINARY, ORDINARY)
    try:
        yield Bazar(home, {"HOME": str(home)}, user=ORDINARY if IS_ROOT else None)
    finally:
        remove(folder)


def own(path: Path) -> Path:
    """Give a path, and all below it, to the user of `ordinary_user`."""
    if IS_ROOT:
        for place in (path, *path.rglob("*")):
            os.chown(place, ORDINARY, ORDINARY, follow_symlinks=False)
    return path


def remove(path: Path) -> None:
    """Remove the file or folder at a path, if there is one."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    path.chmod(0o700)
    for below in path.iterdir():
        remove(below)
    path.rmdir()


def _chmod(path: Path, mode: int) -> None:
    if path.exists():
        path.chmod(mode)


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    own(path)


STATES: dict[str, Callable[[Path], object]] = {
    "missing": remove,
    "unreadable": lambda path: _chmod(path, 0),
    "unwritable": lambda path: _chmod(path, 0o555 if path.is_dir() else 0o400),
    "open to all": lambda path: _chmod(path, 0o777),
    "a folder": lambda path: _replaced(path, Path.mkdir),
    "a file": lambda path: _replaced(path, lambda p: p.write_bytes(b"\xff no text\n")),
    "an empty file": lambda path: _replaced(path, Path.touch),
    "a dangling link": lambda path: _replaced(path, lambda p: p.symlink_to("nowhere")),
    "a link to itself": lambda path: _replaced(path, lambda p: p.symlink_to(p.name)),
    "a pipe": lambda path: _replaced(path, os.mkfifo),
}
"""The states, by name."""
if IS_ROOT:
    STATES["a stranger's"] = lambda path: path.exists() and os.chown(path, STRANGER, STRANGER)
    STATES["root's, closed"] = lambda path: path.exists() and (os.chown(path, 0, 0), _chmod(path, 0o700))
