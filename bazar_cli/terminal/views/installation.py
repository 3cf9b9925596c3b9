"""How an installation is shown."""

from __future__ import annotations

from bazar_cli.domain.cli import Install, Installation, Interpreter
from bazar_cli.terminal.views.base import View


def _python(python: Interpreter) -> str:
    return f"{python.implementation} {python.version} at {python.executable}"


def _install(install: Install) -> str:
    by = f" by {install.installer}" if install.installer else ""
    commit = f", commit {install.commit}" if install.commit else ""
    return f"{install.kind}{by} at {install.path}{commit}"


INSTALLATION = View(
    Installation,
    cells={
        "python": _python,
        "install": _install,
        "libraries": lambda found: ";".join(f"{name} {version}" for name, version in found.items()),
    },
    lines={"libraries": lambda found: tuple(f"{name} {version}" for name, version in found.items())},
)
