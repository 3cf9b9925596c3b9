"""The revision files of a checkout or an installed package: their folder, their headers, their checksums."""

from __future__ import annotations

import ast
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import bazar_cli
from bazar_cli.adapters import ownership
from bazar_cli.adapters.files import is_folder
from bazar_cli.domain.db.migrations import Revision
from bazar_cli.domain.db.revisions import RevisionFile, two_heads
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.texts import BYTE_ORDER_MARK, normalized_bytes

_PACKAGED = "_migrations"
_DECLARED = frozenset({"revision", "down_revision", "transactional", "destructive", "downgrade_loses"})
# These files are older than the declaration and never change: databases have their checksums.
_LOST_BY_FIRST_DOWNGRADES = {
    "0002": ("bazar.audit_seals", "bazar.audit_unsealed", "bazar.audit_events.hash"),
    "0004": ("bazar.migration_log",),
}
_READABLE = "make it readable to this user, or move it out of the folder of the migrations"


def script_location() -> Path:
    """Return the folder with `env.py` and `versions/`.

    A wheel has it as `bazar_cli/_migrations` (pyproject.toml), a checkout next to the package.
    """
    package = Path(bazar_cli.__file__).parent
    packaged = package / _PACKAGED
    return packaged if is_folder(packaged) else package.parent / "migrations"


def is_installed(location: Path) -> bool:
    """Return whether the files belong to an installed package and not to a checkout."""
    return location.name == _PACKAGED


def revisions(location: Path) -> tuple[Revision, ...]:
    """Return all revisions from the first to the one head, read from the files without importing Alembic.

    Raises: Conflict `db.two_heads`, and as `revision_files`.
    """
    files = known_files(location)
    last = tuple(file for file in files if file.is_head)
    if len(last) > 1:
        raise two_heads(last)
    return tuple(file.revision for file in files)


def revision_files(location: Path) -> tuple[RevisionFile, ...]:
    """Return all revisions, each after those that it follows.

    Raises: Conflict `db.revision_unreadable`, `db.duplicate_revision`, `db.missing_revision`.
    """
    found: dict[str, RevisionFile] = {}
    for path in sources(location / "versions"):
        file = _header(path)
        other = found.setdefault(file.revision.id, file)
        if other is not file:
            raise Conflict(
                "db.duplicate_revision",
                f"{other.file} and {file.file} are both revision {file.revision.id}",
                hint=f"give one of them the next number: the name of its file, `revision`, and `down_revision`"
                f" {file.revision.id!r} if it comes after the other",
                details={"files": [other.file, file.file]},
            )
    followed = {down for file in found.values() for down in file.down}
    ordered: dict[str, RevisionFile] = {}
    waiting = dict(sorted(found.items()))
    while waiting:
        ready = next((f for f in waiting.values() if all(down in ordered for down in f.down)), None)
        if ready is None:
            raise _missing(waiting, found)
        name = ready.revision.id
        ordered[name] = replace(waiting.pop(name), is_head=name not in followed)
    return tuple(ordered.values())


def sources(folder: Path) -> list[Path]:
    """Return the files of a folder that are revisions by their names, in order.

    Names that begin with a dot or an underscore are not: editors and macOS make them, such as `.#0005_x.py` and
    `._0005_x.py`.
    Raises: Conflict `db.revision_unreadable`.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - Path.glob says nothing of a folder that it cannot read
    except OSError as error:
        hint = "make the folder readable to this user, or install bazar again: its migrations belong to it"
        raise unreadable(str(folder), f"cannot be read: {error.strerror}", hint) from error
    return [folder / name for name in names if name.endswith(".py") and name[0] not in "._"]


def source(path: Path) -> bytes:
    """Return the bytes of a revision file. Raises: Conflict `db.revision_unreadable`."""
    try:
        with os.fdopen(ownership.open_named(path), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ownership.not_regular(path, os.fstat(stream.fileno()).st_mode)
            return stream.read()
    except OSError as error:
        raise unreadable(path.name, f"cannot be read: {error.strerror}", _READABLE) from error


def unreadable(name: str, what: str, hint: str) -> Conflict:
    """Return the error for a revision file or folder that cannot be used; `what` is the rest of the sentence."""
    return Conflict("db.revision_unreadable", f"{name} {what}", hint=hint, details={"file": name})


def heads(location: Path) -> tuple[RevisionFile, ...]:
    """Return the revisions that no other follows. Raises: as `revision_files`."""
    return tuple(file for file in revision_files(location) if file.is_head)


def applied_by(location: Path, current: frozenset[str]) -> frozenset[str]:
    """Return the revisions that are applied in a database at `current`: these, and all that they follow."""
    downs = {file.revision.id: file.down for file in known_files(location)}
    applied: set[str] = set()
    waiting = list(current)
    while waiting:
        name = waiting.pop()
        if name not in applied:
            applied.add(name)
            waiting += downs.get(name, ())
    return frozenset(applied)


def tips(location: Path, names: Sequence[str]) -> list[str]:
    """Return those of the revisions that no other of them follows, as Alembic's table has them."""
    followed = {down for file in known_files(location) if file.revision.id in names for down in file.down}
    return [name for name in names if name not in followed]


@lru_cache(maxsize=4)
def known_files(location: Path) -> tuple[RevisionFile, ...]:
    """Return `revision_files`, read once, for commands that change no file."""
    return revision_files(location)


def _missing(waiting: dict[str, RevisionFile], found: dict[str, RevisionFile]) -> Conflict:
    for file in waiting.values():
        for down in file.down:
            if down not in found:
                return Conflict(
                    "db.missing_revision",
                    f"{file.file} follows revision {down}, and no file is that revision",
                    hint="bring the missing file back, or correct `down_revision`",
                    details={"file": file.file, "revision": down},
                )
    return Conflict(
        "db.missing_revision",
        f"none of these revisions is the first: {', '.join(waiting)} follow each other in a circle",
        hint="correct `down_revision` in one of them",
        details={"revisions": list(waiting)},
    )


def paths(location: Path) -> dict[str, Path]:
    """Return the file of each revision."""
    return {file.revision.id: location / "versions" / file.file for file in known_files(location)}


def checksum(path: Path | str) -> str:
    """Return the SHA-256 of a revision file without a BOM and with `\\n` line ends, in hexadecimal digits.

    Git and editors change both, and Python reads the file the same.
    """
    return checksum_of(source(Path(path)))


def checksum_of(content: bytes) -> str:
    """Return the checksum of a revision file with this content."""
    return _digest(normalized_bytes(content))


def is_checksum_of(path: Path, known: str) -> bool:
    """Return whether `known` is the checksum of a file, as this release or an earlier one computes it.

    Earlier ones took the bytes of the checkout, with its BOM and line ends.
    """
    content = source(path)
    text, marks, ends = normalized_bytes(content), (b"", BYTE_ORDER_MARK.encode()), (b"\n", b"\r\n", b"\r")
    return known in map(_digest, (content, *(mark + text.replace(b"\n", end) for mark in marks for end in ends)))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _header(path: Path) -> RevisionFile:
    content = source(path)
    try:
        tree = ast.parse(content)
        values = dict(_assigned(tree))
        revision, downs = str(values["revision"]), _names(values["down_revision"])
    except (SyntaxError, ValueError, KeyError) as error:
        what = f"is not a revision: {type(error).__name__}: {error}"
        raise unreadable(path.name, what, "it must assign `revision` and `down_revision` as literals") from error
    message = (ast.get_docstring(tree) or path.stem).splitlines()[0]
    found = Revision(
        revision,
        message.rstrip("."),
        checksum_of(content),
        transactional=values.get("transactional", True) is not False,
        destructive=values.get("destructive", False) is True,
        downgrade_loses=_names(values.get("downgrade_loses", _LOST_BY_FIRST_DOWNGRADES.get(revision))),
    )
    return RevisionFile(found, downs, path.name)


def _assigned(tree: ast.Module) -> list[tuple[str, object]]:
    """The literals that a revision file assigns to the names that it declares."""
    found: list[tuple[str, object]] = []
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            name, value = node.target.id, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
        else:
            continue
        if name in _DECLARED:
            found.append((name, ast.literal_eval(value)))
    return found


def _names(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, tuple | list):
        raise ValueError(f"{value!r} is not a text or a tuple of texts")
    return tuple(str(v) for v in value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - a literal


def name_in_catalog(name: str) -> str:
    """Return an identifier of SQL in the form that the catalog has it in: unquoted, else in lower case."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
