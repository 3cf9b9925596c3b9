"""Who could have written a file: the one rule for every file that counts because this user wrote it.

A file counts when it is no link, it and its folder belong to this user or to root, and no other user can write them.
Secrets must be closed to readers too. Root follows the same rule: a file of another user does not count for root.

The folder is opened first, then what lies in it relative to it, and each is looked at by its descriptor: what is read
is what was looked at, whatever is renamed meanwhile. Folders above the one where the look begins are not looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LIMIT = 1024 * 1024
_ONLY_NAMED = os.O_CLOEXEC | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
"""For a folder that may be passed and not listed."""
_UNWAITED = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""For a file that may be a pipe without a writer."""
_ACL = "system.posix_acl_access"


@dataclass(frozen=True)
class Doubt:
    """Why a file does not count, and the command that changes that."""

    reason: str
    remedy: str
    folder_code: str | None = None
    """The error code where the doubt is about the folder."""


@dataclass(frozen=True)
class Content:
    """What a file holds, and what speaks against believing it."""

    data: bytes
    doubt: Doubt | None


class TooLong(OSError):
    """A file has more than 1 MiB."""

    def __init__(self, path: Path, beginning: bytes) -> None:
        super().__init__(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        self.beginning = beginning
        """Its first MiB."""


class NotRegular(OSError):
    """Something else stands where a file is wanted: a folder, a pipe, a device or a socket."""


def read(path: Path, *, secret: bool = False, follow: bool = False, below: Path | None = None) -> Content:
    """Return what a file holds, of 1 MiB at most, with the first reason not to believe it; nothing blocks.

    Parameters: `secret` doubts a file that others can read; `follow` is for a file that somebody named: a link is
    followed without a doubt, and pipes and devices are read; `below` is a folder above the file, from which on every
    folder is looked at, in place of the last one alone.
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
        # Opened without waiting for a writer; one that is there is waited for.
        os.set_blocking(handle, True)
        data = stream.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise TooLong(path, data[:_LIMIT])
    return Content(data, doubt)


def doubt_of(found: os.stat_result, path: Path, *, secret: bool = False) -> Doubt | None:
    """Return what speaks against a file or folder, by its owner and its mode; None for nothing.

    Parameters: `secret` is for a file that nobody else may read either.
    """
    folder = stat.S_ISDIR(found.st_mode)
    what = f"the folder {path}" if folder else "it"
    anew = "move the file into a folder that only you can write" if folder else "put a file of your own there"
    if not is_owner_trusted(found.st_uid):
        # No chown: what another user has is theirs, and only root could take it.
        owner = name_of(found.st_uid)
        return Doubt(f"{what} belongs to another user, {owner}", anew, "files.folder_not_ours" if folder else None)
    mode = f"(mode {stat.S_IMODE(found.st_mode):04o})"
    remedy = closing(found, path) or anew
    if folder and is_open(found, path):
        return Doubt(f"other users can write to {what} {mode}", remedy, "files.folder_open")
    if secret and found.st_mode & _OTHERS:
        return Doubt(
            f"other users can read it {mode}", f"{remedy}, and change what it holds if somebody may have read it"
        )
    if is_open(found, path):
        return Doubt(f"other users can change it {mode}", remedy)
    return None


def closing(found: os.stat_result, path: Path) -> str:
    """Return the command that closes a file or folder to others; "" where this user cannot, or others need it open.

    Of /tmp and its like nobody should take away what others have there.
    """
    if found.st_uid != os.geteuid() or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return ""
    return f"chmod {'go-w' if stat.S_ISDIR(found.st_mode) else '600'} {quoted(path)}"


def quoted(path: Path) -> str:
    """Return a path as a shell takes it, in quotes."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def opening(found: os.stat_result, path: Path) -> str:
    """Return the command that lets this user use a file or folder of theirs; "" where its mode lacks nothing."""
    wanted = "rwx" if stat.S_ISDIR(found.st_mode) else "rw"
    lacking = "".join(bit for bit in wanted if not found.st_mode & getattr(stat, f"S_I{bit.upper()}USR"))
    return f"chmod u+{lacking} {quoted(path)}" if lacking and found.st_uid == os.geteuid() else ""


def at_fault(path: Path) -> Path:
    """Return the part of a path that keeps this user from it: a folder above it that is none or is closed, else it."""
    for folder in reversed(path.parents):
        if not os.path.isdir(folder) or not os.access(folder, os.X_OK):  # noqa: PTH112 - Path.is_dir may raise
            return folder
    return path


def given_back(path: Path) -> str:
    """Return the command that gives this user what `sudo` made in their home: a path, or the nearest folder above.

    "" where it is not root's, or outside of their home.
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
    """Open a file, pipe or device that somebody named, for reading; a pipe without a writer is empty."""
    handle = os.open(path, _UNWAITED)
    os.set_blocking(handle, True)
    return handle


def is_owner_trusted(uid: int) -> bool:
    """Say whether files of this user count: one's own and root's."""
    return uid in {os.geteuid(), 0}


def is_open(found: os.stat_result, path: Path) -> bool:
    """Say whether others than the owner can write a file or folder.

    Its group may where only the owner is in it, as umask 002 makes files of a user with a private group.
    """
    if found.st_mode & stat.S_IWOTH:
        return True
    if not found.st_mode & stat.S_IWGRP:
        return False
    return not _is_private_group(found.st_gid, found.st_uid) or _has_access_list(path)


def not_regular(path: Path, mode: int) -> NotRegular:
    """Return the error for what is no file."""
    if stat.S_ISDIR(mode):
        return NotRegular(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return NotRegular(errno.EINVAL, "it is a pipe, a device or a socket", str(path))


def _opened(path: Path, folder: int, flags: int, *, follow: bool = False) -> tuple[int, Doubt | None]:
    """Open what lies in an opened folder; a link is followed with a doubt, with `follow` without one."""
    try:
        return _open_in(folder, path, flags if follow else flags | os.O_NOFOLLOW), None
    except OSError as error:
        # The last is the answer for a link where a folder is wanted.
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
        error.filename = str(path)  # the system was told the last part alone
        raise


def _is_private_group(gid: int, uid: int) -> bool:
    """Whether a group is the user's own alone: their first one, of their name, with no other member.

    Root's group never is: on some systems, such as OpenShift, every user is in it.
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return 0 != gid == user.pw_gid and group.gr_name == user.pw_name and {*group.gr_mem} <= {user.pw_name}


def _has_access_list(path: Path) -> bool:
    # The mode shows what the list allows at most, in the place of what the group may.
    try:
        return _ACL in os.listxattr(path)
    except (AttributeError, OSError):  # no such call on macOS, no such lists on the file system
        return False


def name_of(uid: int) -> str:
    """Return a user's name and number, as far as they are known."""
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
