"""One run of a command: what it opened is closed at its end."""

from __future__ import annotations

import pytest

from bazar_cli.domain.users.users import ME
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.gate.identities import Identities
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.run import Context, Run

ENVIRON = {
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_KEY": "sb_secret_key",
    "DATABASE_URL": "postgresql://ada@127.0.0.1:9/app",
}


def test_closing_a_run_closes_what_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    closed: list[type] = []

    def close(opened: Backends | Identities) -> None:
        closed.append(type(opened))

    for kind in (Backends, Identities):
        monkeypatch.setattr(kind, "close", close)
    run = Run[None](ME, None, Options(), Context(ENVIRON, "request", Redactor(ENVIRON)))
    run.close()
    assert closed == []
    assert run.backends
    assert run.identities
    run.close()
    assert closed == [Backends, Identities]
