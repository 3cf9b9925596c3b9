"""The embedded stack's use-case specs."""

from __future__ import annotations

from bazar_cli.domain.authz.spec import public

_OWN = "the embedded stack belongs to the user of this machine who started it"

START = public("local.start", _OWN)
STOP = public("local.stop", _OWN)
STATUS = public("local.status", _OWN)
ENV = public("local.env", _OWN)
LOGS = public("local.logs", _OWN)
MAIL = public("local.mail", _OWN)
RESET = public("local.reset", _OWN)
