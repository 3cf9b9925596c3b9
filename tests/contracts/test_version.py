"""The version stands twice: pyproject.toml names it for every installer, the package for a quick `--version`."""

from __future__ import annotations

import sys
from pathlib import Path

import bazar_cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_package_and_pyproject_name_the_same_version_and_documentation() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    assert bazar_cli.__version__ == project["version"]
    assert project["urls"]["Documentation"] == bazar_cli.DOCUMENTATION
