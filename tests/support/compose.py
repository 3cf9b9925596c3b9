"""docker/compose.yml, read as YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.checkout import ROOT

PATH = ROOT / "docker/compose.yml"
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")
"""A variable without which compose does not start: `${NAME:?message}`."""


def compose() -> dict[str, Any]:
    """Return the file with its merges, before variables are replaced."""
    return yaml.safe_load(PATH.read_text())


def interpolated(environ: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the `environment` of a service with the variables of an env file."""
    return {name: REQUIRED.sub(lambda found: values[found[1]], text) for name, text in environ.items()}
