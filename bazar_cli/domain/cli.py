"""The commands about bazar itself: their specs, and how bazar is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bazar_cli.domain.authz.spec import public
from bazar_cli.domain.text_enum import TextEnum

COMPLETION = public("completion", "it prints a script that is part of the program")
HELP = public("help", "it prints texts that are part of the program")
VERSION = public("version", "it shows how the program is installed")


class InstallKind(TextEnum):
    """The source from which bazar was installed."""

    INDEX = "index"
    FILE = "file"
    """A wheel or an sdist."""
    FOLDER = "folder"
    EDITABLE = "editable"
    """A checkout, whose code runs where it is."""
    GIT = "git"
    SOURCE = "source"
    """None: the code runs from its folder, without metadata."""


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs bazar."""

    version: str
    implementation: str
    executable: str


@dataclass(frozen=True)
class Install:
    """How bazar is installed."""

    kind: InstallKind
    path: str
    """The folder of the package."""
    installer: str | None = None
    """pip, uv or another; as it calls itself."""
    commit: str | None = None
    """The commit of an install from Git."""


@dataclass(frozen=True)
class Installation:
    """Facts about this machine for the report of a bug."""

    version: str
    python: Interpreter
    platform: str
    install: Install
    libraries: Mapping[str, str]
    """The version of each installed library that bazar asks for, by its name."""
