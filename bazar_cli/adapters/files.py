"""Private folders, atomic private files, locks between processes, and the end of a log."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import stat
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from bazar_cli.adapters import ownership
from bazar_cli.adapters.polling import poll
from bazar_cli.domain.command_lines import quoted
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, StoreUnusable, UsageError

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the system's errors for a full disk."""
_CHOOSE = "choose another folder with BAZAR_CONFIG_DIR or BAZAR_DATA_DIR"
_FREE_OR_CHOOSE = f"free the path, or {_CHOOSE}"
_ANOTHER_FILE = "choose another FILE"
_TAIL_BYTES = 256 * 1024
_POLL_SECONDS = 0.05


def private_folder(path: Path, *, uid: int | None = None, gid: int = -1, mode: int | None = None) -> Path:
    """Make `path` a folder that only its owner can enter, or check the existing one.

    An existing folder may serve its owner for other things too (`BAZAR_CONFIG_DIR=.`), so its mode is not changed. It
    is refused if others can write to it, because they could put their own files there.

    Parameters: `uid` and `gid` are the owner (only root may name another user; -1 does not set the group); `mode` is
    for folders that only bazar uses, and is set on existing ones too. Missing parents are made private too.
    Raises: StoreUnusable `files.folder_not_ours` for a link, a file, or a folder of another user,
    `files.folder_open` for a folder that others can write to, `files.unwritable`.
    """
    wanted = os.geteuid() if uid is None else uid
    try:
        if not path.parent.is_dir():
            private_folder(path.parent)
        try:
            path.mkdir(mode=PRIVATE_FOLDER)
        except FileExistsError:
            _refuse_foreign(path, {wanted, os.geteuid()})
            if mode is None:
                refuse_open_folder(path)
                _refuse_read_only(path)
        else:
            # Root's new folder gets its owner before it holds any file.
            if wanted != os.geteuid() or gid != -1:
                os.chown(path, wanted, gid)
        if mode is not None and stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        raise StoreUnusable(
            "files.unwritable",
            f"the folder {path} cannot be made: {error.strerror}",
            hint=remedy(path, error),
        ) from error
    return path


def remedy(path: Path, error: OSError) -> str:
    """Return what to do about a path of bazar that failed with `error`."""
    place = ownership.at_fault(path)
    if isinstance(error, PermissionError):
        if not is_there(place):
            place = place.parent
        return _or_choose(ownership.given_back(path) or ownership.opening(place.lstat(), place))
    if not is_there(place):
        return _FREE_OR_CHOOSE
    return f"free the path {quoted(place)}, or {_CHOOSE}" if _may_be_freed(place.lstat()) else _CHOOSE


def _may_be_freed(found: os.stat_result) -> bool:
    # Not the file of another user, and not a device such as /dev/null.
    return found.st_uid == os.geteuid() and not (stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode))


def _or_choose(command: str) -> str:
    return f"{command}, or {_CHOOSE}" if command else _CHOOSE


def refuse_open_folder(path: Path) -> None:
    """Raise StoreUnusable `files.folder_open` for a folder that others can write to."""
    found = path.stat()
    if ownership.is_open(found, path):
        mode = stat.S_IMODE(found.st_mode)
        raise StoreUnusable(
            "files.folder_open",
            f"other users can write to the folder {path} (mode {mode:04o}), so it cannot hold private files",
            hint=_or_choose(ownership.closing(found, path)),
        )


def read_believed(
    path: Path, refusal: Callable[[str, str], BazarError], *, secret: bool = False, limit: int = 1024**2
) -> str | None:
    """Return the text of a file that counts because this user wrote it; None where it does not exist.

    Parameters: `refusal` makes the error from a reason and a hint; `secret` refuses a file that others can read;
    `limit` is the most bytes that it may have.
    Raises: StoreUnusable `files.folder_open`, `files.folder_not_ours`; the refusal, for a file that others could have
    written, or that cannot be read.
    """
    try:
        content = ownership.read(path, secret=secret, limit=limit)
        text = content.data.decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise refusal("it is not a text file", f"correct or remove {quoted(path)}") from error
    except OSError as error:
        reason, place = error.strerror or str(error), ownership.at_fault(path)
        raise refusal(reason if place == path else f"{reason}: {place}", remedy(path, error)) from error
    doubt = content.doubt
    if doubt is None:
        return text
    if doubt.folder_code is not None:
        raise StoreUnusable(doubt.folder_code, f"{path} does not count: {doubt.reason}", hint=_or_choose(doubt.remedy))
    raise refusal(doubt.reason, doubt.remedy)


def is_there(path: Path) -> bool:
    """Say whether a path exists as far as this user can see; a broken link counts too."""
    return os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder as far as this user can see."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a folder above cannot be entered


def _refuse_read_only(path: Path) -> None:
    # The system would let root write, but the folder was made read-only on purpose.
    found = path.stat()
    if not found.st_mode & stat.S_IWUSR:
        raise StoreUnusable(
            "files.unwritable",
            f"the folder {path} is read-only"
            if found.st_mode & stat.S_IXUSR
            else f"the folder {path} is closed, also to its owner",
            hint=_or_choose(ownership.opening(found, path)),
        )


def _refuse_foreign(path: Path, owners: set[int]) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise StoreUnusable(
            "files.folder_not_ours",
            f"{path} is not a folder of this user, so it cannot hold private files",
            hint=_FREE_OR_CHOOSE if _may_be_freed(found) else _or_choose(ownership.given_back(path)),
        )


@contextmanager
def file_errors(path: Path, hint: str | None = None, *, named: str | None = None) -> Generator[None]:
    """Translate the system's errors about `path`, or about a file that they name, into the domain's.

    Parameters: `hint` says what to do about a file that cannot be used, except on a full disk; `named` is its name in
    messages, in place of the one in the system's error, which may be a temporary file.
    Raises: BackendUnavailable `files.no_room`; StoreUnusable `files.unwritable`.
    """
    try:
        yield
    except OSError as error:
        found = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else path
        message = f"{named or found} cannot be used: {error.strerror or error}"
        if error.errno in NO_ROOM:
            room = "make room on the disk, then run it again"
            raise BackendUnavailable("files.no_room", message, hint=room) from error
        raise StoreUnusable("files.unwritable", message, hint=hint or remedy(Path(found), error)) from error


@contextmanager
def replaced_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> Generator[None]:
    """Write `text` to a temporary file before the block, and rename it to `path`, mode 0600, after the block.

    So no reader sees a half-written file, and the block runs only when the disk had room for the text.
    Parameters: `owner` is the (uid, gid) of the file, for root only.
    Raises: BackendUnavailable `files.no_room`; StoreUnusable `files.unwritable`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with file_errors(path):
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
                if owner is not None:
                    os.fchown(stream.fileno(), *owner)
        yield
        with file_errors(path):
            temporary.replace(path)
    except BaseException:  # also Ctrl-C
        temporary.unlink(missing_ok=True)
        raise


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` with `text` in one step, mode 0600; parameters and errors as of `replaced_private`."""
    with replaced_private(path, text, owner=owner):
        pass


class _PrivateTextFile(io.TextIOWrapper):
    """A text file that is being written; its errors name its path, and are not taken for those of standard output."""

    def __init__(self, path: Path, errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._errors = errors
        with self._errors():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
            super().__init__(os.fdopen(handle, "wb"), encoding="utf-8", newline="")

    def write(self, text: str, /) -> int:
        with self._errors():
            return super().write(text)

    def flush(self) -> None:
        with self._errors():
            super().flush()


def refuse_taken(path: Path, named: str, *, overwrite: bool, option: str | None = None) -> None:
    """Refuse a `path` that exists; with `overwrite` only one that is not a file.

    A new file in the place of a pipe or a device would break its users, and through a link another user could choose
    which file is replaced. Parameters: `named` is its name in messages; `option` is the option that names it, where it
    is no argument FILE.
    Raises: Conflict `files.exists`; StoreUnusable `files.not_regular`, `files.unwritable`.
    """
    with file_errors(path, _ANOTHER_FILE, named=named):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a pipe, a device or a socket"
        raise StoreUnusable(
            "files.not_regular",
            f"{named} is {what}; bazar writes only to files",
            hint=f"choose another file for {option}"
            if option
            else "choose another FILE, or leave it out and redirect standard output: `> FILE`",
        )
    if not overwrite:
        raise Conflict(
            "files.exists",
            f"{named} exists already",
            hint=f"choose another {f'file for {option}' if option else 'FILE'}, or add --overwrite",
        )


@contextmanager
def new_private_text(
    path: Path, *, overwrite: bool, named: str | None = None, option: str | None = None
) -> Generator[TextIO]:
    """Open a stream for a text that becomes the file `path`, mode 0600, when the block succeeds.

    A block that fails leaves no file. Parameters: `overwrite` allows it to replace a file; `named` is its name in
    messages, in place of the whole path; `option` as of `refuse_taken`.
    Raises: as `refuse_taken`; BackendUnavailable `files.no_room`; StoreUnusable `files.unwritable`.
    """
    named = named or str(path)
    errors = partial(file_errors, path, f"choose another file for {option}" if option else _ANOTHER_FILE, named=named)
    refuse_taken(path, named, overwrite=overwrite, option=option)
    temporary = path.with_name(f".{secrets.token_hex(6)}.bazar")
    try:
        stream = _PrivateTextFile(temporary, errors)
        try:
            yield stream
            stream.flush()
            with errors():
                os.fsync(stream.fileno())
        except BaseException:  # also Ctrl-C
            with suppress(BazarError, OSError):  # the rest of a text without a reader
                stream.close()
            raise
        stream.close()
        refuse_taken(path, named, overwrite=overwrite, option=option)
        with errors():
            temporary.replace(path)
    except BaseException:  # also Ctrl-C
        temporary.unlink(missing_ok=True)
        raise


def open_input(path: Path, *, named: str) -> int:
    """Open a file or pipe for reading. Parameters: `named` is its name in messages.

    Raises: StoreUnusable `files.unwritable`.
    """
    with file_errors(path, _ANOTHER_FILE, named=named):
        return ownership.open_named(path)


def read_text(path: Path, limit: int, *, named: str) -> str:
    """Return a file's UTF-8 text, `limit` bytes at most. Parameters: `named` is its name in messages.

    Raises: StoreUnusable `files.unwritable`; UsageError `input.too_long`, `input.encoding`.
    """
    with file_errors(path, _ANOTHER_FILE, named=named), os.fdopen(ownership.open_named(path), "rb") as stream:
        return decoded(stream.read(limit + 1), limit, named=named)


def decoded(content: bytes, limit: int, *, named: str) -> str:
    """Decode `limit` bytes at most, without a byte order mark.

    Raises: UsageError `input.too_long`, `input.encoding`.
    """
    if len(content) > limit:
        raise UsageError(
            "input.too_long", f"{named} has more than {limit // 1024**2} MiB", hint="split it into several files"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            "input.encoding", f"{named} is not UTF-8 text, at byte {error.start}", hint="save it as UTF-8"
        ) from error


def open_private(path: Path, flags: int = os.O_RDWR, *, only_files: bool = True) -> int:
    """Open `path`, or make it with mode 0600, without following a link; return the descriptor.

    Parameters: `only_files` refuses pipes and devices; without it a pipe that has no reader is an error.
    Raises: OSError.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE_FILE)
    mode = os.fstat(handle).st_mode
    if only_files and not stat.S_ISREG(mode):
        os.close(handle)
        raise ownership.not_regular(path, mode)
    os.set_blocking(handle, True)
    return handle


def try_lock(handle: int) -> bool:
    """Take the lock of the file `handle` if it is free; the kernel frees it when its holder dies."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive_lock(
    path: Path, on_wait: Callable[[], None] | None = None, *, seconds: float | None = None
) -> Generator[None]:
    """Hold the lock file `path`, and wait until it is free.

    Parameters: `on_wait` is called once before the wait; `seconds` is the longest wait, without it there is no limit.
    Raises: StoreUnusable `files.unwritable`; BackendUnavailable `files.locked`.
    """
    try:
        handle = open_private(path)
    except OSError as error:
        raise StoreUnusable(
            "files.unwritable", f"the lock file {path} cannot be opened: {error.strerror}", hint=remedy(path, error)
        ) from error
    try:
        with file_errors(path):
            free = try_lock(handle)
        if not free:
            if on_wait is not None:
                on_wait()
            if seconds is None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            else:
                _lock_within(handle, path, seconds)
        yield
    finally:
        os.close(handle)


@contextmanager
def locked_folder(path: Path, *, seconds: float, hint: str) -> Generator[None]:
    """Hold the lock of a folder itself, which must not get a lock file, and wait until it is free.

    Parameters: `seconds` is the longest wait; `hint` is for a folder that cannot be opened.
    Raises: StoreUnusable `files.unwritable`; BackendUnavailable `files.locked`.
    """
    with file_errors(path, hint):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with file_errors(path, hint):
            _lock_within(handle, path, seconds)
        yield
    finally:
        os.close(handle)


def _lock_within(handle: int, path: Path, seconds: float) -> None:
    # The kernel's own wait has no time limit, and only a signal to the main thread could end it.
    if not poll(lambda: try_lock(handle), seconds=seconds, pause=_POLL_SECONDS):
        raise BackendUnavailable(
            "files.locked",
            f"another process has held the lock {path} for {seconds:.0f} s",
            hint="try again; a `bazar` that was stopped with Ctrl-Z keeps its locks until it continues or ends",
        )


def tail(path: Path, lines: int, *, end: int | None = None) -> list[str]:
    """Return the last `lines` lines of a log, from its last 256 KiB at most; none when there is no log.

    Parameters: `end` is the byte to stop at, from which the caller reads on.
    Raises: StoreUnusable `files.unwritable` for a log that cannot be read.
    """
    if lines <= 0:
        return []
    try:
        with os.fdopen(ownership.open_named(path), "rb") as stream:
            size = stream.seek(0, os.SEEK_END) if end is None else end
            start = max(0, size - _TAIL_BYTES)
            stream.seek(start)
            text = stream.read(size - start).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError:
        with file_errors(path):
            raise
    found = text.splitlines()
    if start and len(found) > 1:
        found = found[1:]
    return found[-lines:]


def rotate(path: Path, limit: int) -> None:
    """Rename a log of more than `limit` bytes to `<name>.1`; call it while no process writes the log."""
    try:
        size = path.lstat().st_size
    except FileNotFoundError:
        return
    if size > limit:
        path.replace(path.with_name(path.name + ".1"))
