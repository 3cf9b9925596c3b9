"""Where bazar keeps its files: profiles and sessions in one folder, caches and the embedded stack in another.

A user without a home has neither folder unless a variable names it. Without them there is no cache and no stored
session, and only commands that must store something fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bazar_cli.domain.errors import StoreUnusable
from bazar_cli.domain.surplus import surplus

_NAME = "bazar"


def config_dir(environ: Mapping[str, str]) -> Path | None:
    """Return BAZAR_CONFIG_DIR, else the configuration folder of the user; None without a home."""
    given = environ.get("BAZAR_CONFIG_DIR")
    if given:
        return _absolute("BAZAR_CONFIG_DIR", given)
    from platformdirs import user_config_path

    return _below_home(user_config_path)


def data_dir(environ: Mapping[str, str]) -> Path | None:
    """Return BAZAR_DATA_DIR, else the data folder of the user; None without a home."""
    given = environ.get("BAZAR_DATA_DIR")
    if given:
        return _absolute("BAZAR_DATA_DIR", given)
    from platformdirs import user_data_path

    return _below_home(user_data_path)


def demanded(folder: Path | None) -> Path:
    """Return the folder for a command that must store something. Raises: StoreUnusable `files.no_home`."""
    if folder is None:
        raise StoreUnusable(
            "files.no_home",
            "this user has no home folder, so nothing can be stored: HOME is not set, and no passwd entry names one",
            hint="set BAZAR_CONFIG_DIR and BAZAR_DATA_DIR to folders of this user",
        )
    return folder


def _below_home(place: Callable[..., Path]) -> Path | None:
    try:
        path = place(_NAME, appauthor=False)
    except RuntimeError:  # from platformdirs 4.3 on; before, the path began with a literal ~
        return None
    return path if path.is_absolute() else None


def _absolute(name: str, given: str) -> Path:
    if found := surplus(name, given, any_character=True):
        raise StoreUnusable("files.unwritable", f"{name} cannot be used: {found.what}", hint=found.remedy)
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError:
        raise StoreUnusable(
            "files.no_home",
            f"{name}={given} begins with a home folder that does not exist",
            hint=f"set {name} to an absolute path",
        ) from None
    except OSError:
        raise StoreUnusable(
            "files.unwritable",
            f"{name}={given} is below the working folder, which was deleted or cannot be read",
            hint=f"change to another folder, or set {name} to an absolute path",
        ) from None
