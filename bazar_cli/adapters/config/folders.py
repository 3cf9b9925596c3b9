"""Where bazar keeps its files: profiles and sessions in one folder, caches and the embedded stack in another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_NAME = "bazar"


def config_dir(environ: Mapping[str, str]) -> Path:
    """Return BAZAR_CONFIG_DIR, else the user's configuration folder of this system."""
    given = environ.get("BAZAR_CONFIG_DIR")
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_config_path

    return user_config_path(_NAME, appauthor=False)


def data_dir(environ: Mapping[str, str]) -> Path:
    """Return BAZAR_DATA_DIR, else the user's data folder of this system."""
    given = environ.get("BAZAR_DATA_DIR")
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path(_NAME, appauthor=False)
