"""The one rule for files that count because this user wrote them.

A file counts when it is not a link, it and its folder belong to this user or to root, and no other user can write them.
Other users must not be able to read a secret either. The rule holds for root too.

The folder is opened first, and the file relative to it. Both are checked by their descriptors, so that a rename in
between changes nothing. Folders above the first one are not checked.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from bazar_cli.domain.command_lines import quoted

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LIMIT = 1024 * 1024
_ONLY_NAMED = os.O_CLOEXEC | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
"""Flags to open a folder that this user may enter but not list."""
_UNWAITED = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags to open a file that may be a pipe without a writer."""
_ACL = "system.posix_acl_access"


@dataclass(frozen=True)
class Doubt:
    """Why a file does not count, and the command that corrects it."""

    reason: str
    remedy: str
    folder_code: str | None = None
    """The error code, where the reason is the folder."""


@dataclass(frozen=True)
class Content:
    """The data of a file, and why it does not count."""

    data: bytes
    doubt: Doubt | None


class TooLong(OSError):
    """A file has more bytes than are read."""

    def __init__(self, path: Path, beginning: bytes) -> None:
        super().__init__(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        self.beginning = beginning
        """The first bytes of the file, up to the limit."""


class NotRegular(OSError):
    """The path is a folder, a pipe, a device or a socket, not a file."""


def read(
    path: Path, *, secret: bool = False, follow: bool = False, below: Path | None = None, limit: int = _LIMIT
) -> Content:
    """Return the data of a file, `limit` bytes at most, with the first reason why it does not count; never blocks.

    Parameters: `secret` doubts a file that others can read; `follow` is for a file that the user named: links are
    followed, and pipes and devices are read; `below` is a folder above the file: every folder from it on is checked.
    Raises: NotRegular; TooLong; OSError.
    """
    place = below or path.parent
    folder = os.open(place, _ONLY_NAMED)
    try:
        doubt = doubt_of(os.fstat(folder), place)
        for name in path.relative_to(place).parts[:-1]:
            place /= name
            above, (folder, link) = folder, _opened(place, folder, _ONLY_NAMED)
            os.close(above)
            doubt = doubt or link or doubt_of(os.fstat(folder), place)
        handle, link = _opened(path, folder, _UNWAITED, follow=follow)
    finally:
        os.close(folder)
    found = os.fstat(handle)
    if stat.S_ISDIR(found.st_mode) or not (follow or stat.S_ISREG(found.st_mode)):
        os.close(handle)
        raise not_regular(path, found.st_mode)
    doubt = (link or doubt or doubt_of(found, path, secret=secret)) if stat.S_ISREG(found.st_mode) else None
    with os.fdopen(handle, "rb") as stream:
        # The open did not wait for a writer of a pipe; the read does.
        os.set_blocking(handle, True)
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise TooLong(path, data[:limit])
    return Content(data, doubt)


def doubt_of(found: os.stat_result, path: Path, *, secret: bool = False) -> Doubt | None:
    """Return why a file or folder does not count, by its owner and its mode; None where it counts.

    Parameters: `secret` is for a file that no other user may read.
    """
    folder = stat.S_ISDIR(found.st_mode)
    what = f"the folder {path}" if folder else "it"
    replacement = "move the file into a folder that only you can write" if folder else "replace it by your own file"
    if not is_owner_trusted(found.st_uid):
        # Not chown, which only root may use.
        owner = name_of(found.st_uid)
        code = "files.folder_not_ours" if folder else None
        return Doubt(f"{what} belongs to another user, {owner}", replacement, code)
    writable, readable = is_open(found, path), secret and bool(found.st_mode & _OTHERS)
    if not writable and not readable:
        return None
    mode, remedy = f"(mode {stat.S_IMODE(found.st_mode):04o})", closing(found, path) or replacement
    if folder and writable:
        return Doubt(f"other users can write to {what} {mode}", remedy, "files.folder_open")
    if readable:
        return Doubt(
            f"other users can read it {mode}", f"{remedy}, and replace the secret if another user may have read it"
        )
    return Doubt(f"other users can change it {mode}", remedy)


def closing(found: os.stat_result, path: Path) -> str:
    """Return the command that closes a file or folder to others; "" where this user cannot run it.

    Also "" for a folder like /tmp, which others use.
    """
    if found.st_uid != os.geteuid() or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return ""
    return f"chmod {'go-w' if stat.S_ISDIR(found.st_mode) else '600'} {quoted(path)}"


def opening(found: os.stat_result, path: Path) -> str:
    """Return the command that lets this user use their own file or folder; "" where its mode allows it already."""
    wanted = "rwx" if stat.S_ISDIR(found.st_mode) else "rw"
    lacking = "".join(bit for bit in wanted if not found.st_mode & getattr(stat, f"S_I{bit.upper()}USR"))
    return f"chmod u+{lacking} {quoted(path)}" if lacking and found.st_uid == os.geteuid() else ""


def at_fault(path: Path) -> Path:
    """Return the part of a path that stops this user: the first parent that is closed or not a folder, or itself."""
    for folder in reversed(path.parents):
        if not os.path.isdir(folder) or not os.access(folder, os.X_OK):  # noqa: PTH112 - Path.is_dir may raise
            return folder
    return path


def given_back(path: Path) -> str:
    """Return the command that gives this user a path in their home that `sudo` made, or its nearest parent that exists.

    "" where root does not own it, or where it is outside of their home.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises where there is none
    for place in (path, *path.parents):
        if home not in place.parents or home == Path("/"):
            break
        try:
            owner = place.lstat().st_uid
        except OSError:
            continue
        return f"sudo chown -R {os.geteuid()} {quoted(place)}" if owner == 0 != os.geteuid() else ""
    return ""


def open_named(path: Path) -> int:
    """Open a file, pipe or device that the user named, for reading; a pipe without a writer is empty."""
    handle = os.open(path, _UNWAITED)
    os.set_blocking(handle, True)
    return handle


def is_owner_trusted(uid: int) -> bool:
    """Say whether files of this user count: those of the process's user and root's."""
    return uid in {os.geteuid(), 0}


def is_open(found: os.stat_result, path: Path) -> bool:
    """Say whether users other than the owner can write a file or folder.

    A group with write permission is allowed where only the owner is in it: umask 002 makes such files.
    """
    if found.st_mode & stat.S_IWOTH:
        return True
    if not found.st_mode & stat.S_IWGRP:
        return False
    return not _is_private_group(found.st_gid, found.st_uid) or _has_access_list(path)


def not_regular(path: Path, mode: int) -> NotRegular:
    """Return the error for a path that is not a file."""
    if stat.S_ISDIR(mode):
        return NotRegular(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return NotRegular(errno.EINVAL, "it is a pipe, a device or a socket", str(path))


def _opened(path: Path, folder: int, flags: int, *, follow: bool = False) -> tuple[int, Doubt | None]:
    """Open a file or folder in an opened folder. A link is followed, and doubted unless `follow` is set."""
    try:
        return _open_in(folder, path, flags if follow else flags | os.O_NOFOLLOW), None
    except OSError as error:
        # ENOTDIR is the answer for a link where a folder is wanted.
        if follow or error.errno not in {errno.ELOOP, errno.EMLINK, errno.ENOTDIR}:
            raise
    handle = _open_in(folder, path, flags)
    if flags & os.O_DIRECTORY:
        return handle, Doubt(f"the folder {path} is a link", "put the folder itself there", "files.folder_not_ours")
    return handle, Doubt("it is a link", "put the file itself there")


def _open_in(folder: int, path: Path, flags: int) -> int:
    try:
        return os.open(path.name, flags, dir_fd=folder)
    except OSError as error:
        error.filename = str(path)  # the system has only the last part
        raise


def _is_private_group(gid: int, uid: int) -> bool:
    """Return whether a group holds only this user: it is their primary group, has their name, and no other member.

    Root's group does not count: on some systems, such as OpenShift, every user is in it.
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return 0 != gid == user.pw_gid and group.gr_name == user.pw_name and {*group.gr_mem} <= {user.pw_name}


def _has_access_list(path: Path) -> bool:
    # With such a list the group's bits of the mode show the most that the list allows.
    try:
        return _ACL in os.listxattr(path)
    except (AttributeError, OSError):  # macOS has no such call, some file systems have no such lists
        return False


def name_of(uid: int) -> str:
    """Return a user's name and number, or the number of a user without a name."""
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
