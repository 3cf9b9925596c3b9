"""The Auth service run by hand: where it listens, and settings that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import httpx
import psycopg
import pytest

from bazar_cli.devstack.auth import __main__
from bazar_cli.devstack.auth.keys import AuthKeys
from tests.support.auth_service import environment_of, running_auth_service


def test_it_listens_where_gotrues_variables_say(auth_keys: AuthKeys, database_url: str) -> None:
    settings = environment_of(auth_keys, database_url)
    with running_auth_service({**settings, "GOTRUE_API_HOST": "127.0.0.2", "API_HOST": "127.0.0.3"}) as url:
        assert url.startswith("http://127.0.0.2:")
        assert httpx.get(f"{url}/auth/v1/health").status_code == 200
    with running_auth_service({**settings, "API_HOST": "127.0.0.3"}) as url:
        assert url.startswith("http://127.0.0.3:")
        taken = url.rpartition(":")[2]
        refused = run({**settings, "API_HOST": "127.0.0.3", "GOTRUE_API_PORT": taken, "PORT": "1"})
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"127.0.0.3:{taken}" in refused.stderr


def test_it_fills_an_empty_schema_that_an_administrator_made(
    auth_keys: AuthKeys, fresh_database: Callable[[], str]
) -> None:
    url = fresh_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA auth")
    with running_auth_service(environment_of(auth_keys, url)) as served:
        key = {"Authorization": f"Bearer {auth_keys.service_key}"}
        assert httpx.get(f"{served}/auth/v1/admin/users", headers=key).json()["users"] == []


def run(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the service to its end."""
    command = [sys.executable, "-m", "bazar_cli.devstack.auth", *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


WRONG: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "PORT is 'abc'": ({"PORT": "abc"}, ()),
    "GOTRUE_API_PORT is 'abc'": ({"GOTRUE_API_PORT": "abc", "PORT": "9999"}, ()),
    "--port is '70000'": ({}, ("--port", "70000")),
    "PORT is '9999": ({"PORT": "9" * 5000}, ()),
    "GOTRUE_JWT_EXP is '9999": ({"GOTRUE_JWT_EXP": "9" * 5000}, ()),
    "GOTRUE_JWT_EXP is '²'": ({"GOTRUE_JWT_EXP": "²"}, ()),
    "--port is '-1'": ({}, ("--port=-1",)),
    "--prefix, is 'auth'": ({}, ("--port", "0", "--prefix", "auth")),
    "cannot listen on exa..mple:0": ({}, ("--port", "0", "--host", "exa..mple")),
}


@pytest.mark.parametrize("said", WRONG)
def test_settings_that_cannot_be(
    auth_keys: AuthKeys,
    database_url: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environ, arguments = WRONG[said]
    monkeypatch.setattr(os, "environ", {**environment_of(auth_keys, database_url), **environ})
    monkeypatch.setattr(sys, "argv", ["auth", *arguments])
    assert __main__.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
