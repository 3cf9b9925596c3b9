"""schemathesis: every check and every phase, on requests that it makes from the OpenAPI document."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bazar_cli.domain.entities import Plan, Role
from tests.support.api_server import Api
from tests.support.checkout import ROOT
from tests.support.people import People, Someone

pytestmark = pytest.mark.long

_ENDS_THE_SESSION = "auth.logout.post"
# 412 and 428 are answers to requests that are valid: a version that is gone, and a question.
# Its phase "coverage" sends `If-Match: 0`, whatever the pattern of the header says.
_CONFIG = """
parameters = {"header.If-Match" = '"01a22e343ce37493868d6ebb9039a24f-661847c0eeeff"'}
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412, 428, 429, "5xx"]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429, "5xx"]
"""
_LISTS = {
    "users.list.get": "/users/?limit=1",
    "orgs.list.get": "/organizations/?limit=1",
    "audit.list.get": "/audit/events?limit=1",
    "orgs.members.list.get": "/organizations/{organization}/members?limit=1",
}
"""Cursors are opaque: only those of an answer are valid."""


def config(api: Api, organization: str) -> str:
    """Return the configuration of a run, with a cursor for each list that the operator may see."""
    parts = [_CONFIG]
    for operation, path in _LISTS.items():
        reply = api.ask("GET", path.format(organization=organization))
        if reply.status == 200:
            order = {"query.sort": "created"} if operation == "users.list.get" else {}
            values = {"query.cursor": reply.json["next_cursor"], **order}
            assert None not in values.values(), operation
            given = ", ".join(f'"{name}" = "{value}"' for name, value in values.items())
            parts.append(f'[[operations]]\ninclude-operation-id = "{operation}"\nparameters = {{{given}}}\n')
    return "\n".join(parts)


def explored(api: Api, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis with a client's token in a folder."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json", "--checks", "all"]
    return subprocess.run(
        [*command, "-H", f"Authorization: Bearer {api.token}", "--no-color", "--warnings", "off", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["free", "admin", "superuser"])
def test_no_check_of_schemathesis_fails(
    server: Api, people: People, root: Someone, tmp_path: Path, seed: int, kind: str
) -> None:
    acme, beta = people.org(), people.org()
    operators = {
        "free": lambda: people.known_user({acme: Role.MEMBER, beta: Role.MEMBER}),
        "admin": lambda: people.known_user({acme: Role.ADMIN, beta: Role.ADMIN}, plan=Plan.PREMIUM),
        "superuser": lambda: root,
    }
    for _ in range(2):
        people.user({acme: Role.MEMBER})
    api = server.by(people.access_token(operators[kind]()))
    for name in ("A", "B"):
        api.ask("PATCH", f"/organizations/{acme.slug}", {"name": name})
    (tmp_path / "schemathesis.toml").write_text(config(api, acme.slug))
    for options in (["--exclude-operation-id", _ENDS_THE_SESSION], ["--include-operation-id", _ENDS_THE_SESSION]):
        done = explored(api, tmp_path, "--seed", str(seed), "--max-examples", "20", *options)
        assert done.returncode == 0, done.stdout
