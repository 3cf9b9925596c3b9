"""What commands of a process share is closed at its end."""

from __future__ import annotations

import pytest

from bazar_cli.domain.users.users import ME
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.gate.identities import Identities
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.run import Context, Run
from bazar_cli.terminal.shared import Shared

ENVIRON = {
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_KEY": "sb_secret_key",
    "DATABASE_URL": "postgresql://ada@127.0.0.1:9/app",
}


def test_what_a_run_opened_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    closed: list[type] = []

    def close(opened: Backends | Identities) -> None:
        closed.append(type(opened))

    for kind in (Backends, Identities):
        monkeypatch.setattr(kind, "close", close)
    shared = Shared(ENVIRON)
    run = Run[None](ME, None, Options(), Context(ENVIRON, "request", shared, shared.redactor))
    shared.close()
    assert closed == []
    assert run.backends
    assert run.identities
    shared.close()
    assert closed == [Backends, Identities]
