"""Where bazar keeps its files: profiles and sessions in one folder, caches and the embedded stack in another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bazar_cli.domain.errors import StoreUnusable
from bazar_cli.domain.surplus import surplus

_NAME = "bazar"


def config_dir(environ: Mapping[str, str]) -> Path:
    """Return BAZAR_CONFIG_DIR, else the user's configuration folder of this system."""
    given = environ.get("BAZAR_CONFIG_DIR")
    if given:
        return _absolute("BAZAR_CONFIG_DIR", given)
    from platformdirs import user_config_path

    return user_config_path(_NAME, appauthor=False)


def data_dir(environ: Mapping[str, str]) -> Path:
    """Return BAZAR_DATA_DIR, else the user's data folder of this system."""
    given = environ.get("BAZAR_DATA_DIR")
    if given:
        return _absolute("BAZAR_DATA_DIR", given)
    from platformdirs import user_data_path

    return user_data_path(_NAME, appauthor=False)


def _absolute(name: str, given: str) -> Path:
    if found := surplus(name, given, any_character=True):
        raise StoreUnusable("files.unwritable", f"{name} cannot be used: {found.what}", hint=found.mend)
    try:
        return Path(given).expanduser().absolute()
    except FileNotFoundError:
        raise StoreUnusable(
            "files.unwritable",
            f"{name}={given} is below the working folder, which does not exist any more",
            hint=f"change to another folder, or give {name} as a whole path",
        ) from None
