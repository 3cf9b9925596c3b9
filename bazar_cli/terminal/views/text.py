"""View of a text that is part of the program."""

from __future__ import annotations

from bazar_cli.terminal.views.base import View

TEXT = View[str](computed={"text": lambda text: text}, raw=lambda text: text, for_shells=True)
