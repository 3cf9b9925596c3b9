"""How this bazar is installed: by what, from where, with which libraries."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import bazar_cli
from bazar_cli.domain.cli import Install, Installation, InstallKind, Interpreter

DISTRIBUTION = "bazar-cli"
_PACKAGE = Path(bazar_cli.__file__).parent.resolve()
_NAME = re.compile(r"[\w.-]+")


def installation() -> Installation:
    """Return the versions of bazar, Python and the installed libraries that bazar asks for, and the install."""
    found = _own_distribution()
    python = Interpreter(platform.python_version(), platform.python_implementation(), sys.executable)
    return Installation(
        bazar_cli.__version__,
        python,
        platform.platform(),
        _install(found),
        dict(_libraries(found)) if found is not None else {},
    )


def _own_distribution() -> metadata.Distribution | None:
    """Return the metadata that belong to this package; None for a package that runs from its source folder.

    The metadata on Python's path can be those of another copy.
    """
    try:
        found = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    origin = _origin(found)
    if "dir_info" in origin and origin["dir_info"].get("editable"):
        folder = Path(unquote(urlsplit(str(origin["url"])).path))
    else:
        folder = Path(str(found.locate_file("")))
    return found if (folder / _PACKAGE.name).resolve() == _PACKAGE else None


def _origin(found: metadata.Distribution) -> dict[str, Any]:
    """Return `direct_url.json`, which an installer writes for a package that is not from an index (PEP 610)."""
    return json.loads(found.read_text("direct_url.json") or "{}")


def _install(found: metadata.Distribution | None) -> Install:
    if found is None:
        return Install(InstallKind.SOURCE, str(_PACKAGE))
    origin = _origin(found)
    if "vcs_info" in origin:
        kind = InstallKind.GIT
    elif "archive_info" in origin:
        kind = InstallKind.FILE
    elif "dir_info" in origin:
        kind = InstallKind.EDITABLE if origin["dir_info"].get("editable") else InstallKind.FOLDER
    else:
        kind = InstallKind.INDEX
    commit = origin.get("vcs_info", {}).get("commit_id")
    return Install(kind, str(_PACKAGE), (found.read_text("INSTALLER") or "").strip() or None, commit)


def _libraries(found: metadata.Distribution) -> Iterator[tuple[str, str]]:
    """Yield name and version of each installed library that bazar or one of its extras asks for."""
    names = {match[0] for line in found.requires or () if "extra == 'dev'" not in line and (match := _NAME.match(line))}
    for name in sorted(names):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed, or for another Python
