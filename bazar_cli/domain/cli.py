"""The specs of what concerns the command line itself."""

from __future__ import annotations

from bazar_cli.domain.authz.spec import public

COMPLETION = public("completion", "it prints a script that is part of the program")
HELP = public("help", "it prints texts that are part of the program")
