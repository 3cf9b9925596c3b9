"""The Python interpreters of this machine, of which tests start all that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_ASK = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)"


def _candidates() -> Iterator[Path]:
    """Yield the interpreters on the PATH, then those that pyenv has installed."""
    for minor in range(8, 16):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield Path(found)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [path for path in root.glob("versions/3.*") if re.fullmatch(r"3\.\d+\.\d+", path.name)]
    yield from (path / "bin" / "python3" for path in sorted(versions, key=lambda path: _parts(path.name)))


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _installed() -> dict[tuple[int, int], Path]:
    """Return an interpreter for each minor version; the shim of a version that pyenv has switched off is none."""
    found: dict[tuple[int, int], Path] = {}
    for path in _candidates():
        done = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            major, minor, executable = done.stdout.split(maxsplit=2)
            found.setdefault((int(major), int(minor)), Path(executable.strip()))
    return found


_FOUND = _installed()
PYTHONS = {version: path for version, path in sorted(_FOUND.items()) if version >= (3, 10)}
"""The interpreters that bazar supports, by their minor versions."""
OLD_PYTHONS = [path for version, path in sorted(_FOUND.items()) if version < (3, 10)]
"""The interpreters that are too old for bazar."""
