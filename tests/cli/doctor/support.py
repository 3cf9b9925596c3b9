"""Two systems to compare, seen both ways: by SQL and by the Auth API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.services.doctor.report import COMPARED
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone
from tests.support.tokens import Signer, claims_of

BOTH_WAYS = pytest.mark.parametrize("proven", [True, False], ids=["by SQL", "by the API"])


def stamp(people: People) -> dict[str, object]:
    """What this deployment writes on the identities that it makes."""
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    return {"bazar": {"deployment": str(marker["id"]), "origin": "created"}}


def signed_in(home: Path, people: People, someone: Someone, keys: AuthKeys, *, proven: bool) -> Bazar:
    """`bazar` with a session that `auth.sessions` knows, or with a token that names no session."""
    claims = {name: value for name, value in claims_of(someone).items() if name != "session_id"}
    token = people.access_token(someone) if proven else Signer.of(keys).sign(claims).reveal()
    return Bazar(home).on(people.target).having(BAZAR_TOKEN=token)


def checks(done: Done) -> dict[str, dict[str, Any]]:
    """All checks by their names."""
    return {check["check"]: check for check in done.json["items"]}


def compared(done: Done) -> dict[str, dict[str, Any]]:
    """The checks that compare both systems."""
    return {name: checks(done)[name] for name in COMPARED}
