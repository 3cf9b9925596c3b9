"""Where the revisions are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import bazar_cli
from bazar_cli.domain.db import Revision


@dataclass(frozen=True)
class _Header:
    revision: Revision
    down: tuple[str, ...]


def script_location() -> Path:
    """Return the folder with `env.py` and `versions/`.

    A wheel holds it as `bazar_cli/_migrations` (pyproject.toml); a checkout has it beside the package.
    """
    package = Path(bazar_cli.__file__).parent
    packaged = package / "_migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"


@lru_cache(maxsize=4)
def revisions(location: Path) -> tuple[Revision, ...]:
    """Return all revisions from the first to the head, read from the files without importing Alembic.

    Raises: ValueError when the files form no single line; a test holds them to it.
    """
    headers = [_header(path) for path in sorted((location / "versions").glob("*.py"))]
    by_down: dict[str | None, list[_Header]] = {}
    for header in headers:
        for down in header.down or (None,):
            by_down.setdefault(down, []).append(header)
    ordered: list[Revision] = []
    current: str | None = None
    while following := by_down.get(current):
        if len(following) > 1:
            raise ValueError(f"two revisions follow {current}: {[h.revision.id for h in following]}")
        ordered.append(following[0].revision)
        current = following[0].revision.id
    if len(ordered) != len(headers):
        raise ValueError(f"the revisions in {location} form no single line")
    return tuple(ordered)


def paths(location: Path) -> dict[str, Path]:
    """Return the file of each revision."""
    return {_header(path).revision.id: path for path in sorted((location / "versions").glob("*.py"))}


def checksum(path: Path | str) -> str:
    """Return the SHA-256 of a revision's file, byte by byte, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _header(path: Path) -> _Header:
    tree = ast.parse(path.read_bytes())
    values: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            name, value = node.target.id, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
        else:
            continue
        if name in {"revision", "down_revision", "transactional"}:
            values[name] = ast.literal_eval(value)
    down = values["down_revision"]
    message = (ast.get_docstring(tree) or path.stem).splitlines()[0]
    downs = () if down is None else (down,) if isinstance(down, str) else tuple(str(d) for d in _items(down))
    transactional = values.get("transactional", True) is not False
    return _Header(Revision(str(values["revision"]), message.rstrip("."), checksum(path), transactional), downs)


def _items(value: object) -> tuple[object, ...]:
    if not isinstance(value, tuple):
        raise TypeError(f"down_revision is {value!r}")
    return tuple(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - a literal
