"""The Auth service of a test worker, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from bazar_cli.devstack.auth.keys import AuthKeys
from tests.support.clock_offset import python_module

SITE_URL = "http://127.0.0.1:3000"
"""Where links lead after verification."""


_settings: dict[str, Mapping[str, str]] = {}
"""The settings of the services that run, by URL: of those with this machine's clock and the usual paths."""


def settings_of(url: str) -> Mapping[str, str] | None:
    """Return the settings of a service that this process started; None for any other."""
    return _settings.get(url)


def environment_of(keys: AuthKeys, database_url: str) -> dict[str, str]:
    """Return the settings of a service with these keys. It sends a user a second mail without a wait."""
    return {
        "GOTRUE_DB_DATABASE_URL": database_url,
        "GOTRUE_JWT_SECRET": keys.jwt_secret,
        "GOTRUE_JWT_KEYS": keys.jwt_keys,
        "GOTRUE_SITE_URL": SITE_URL,
        "GOTRUE_SMTP_MAX_FREQUENCY": "1ms",
        "BAZAR_AUTH_ANON_KEY": keys.anon_key,
        "BAZAR_AUTH_SERVICE_KEY": keys.service_key,
        "BAZAR_AUTH_PUBLISHABLE_KEY": keys.publishable_key,
        "BAZAR_AUTH_SECRET_KEY": keys.secret_key,
    }


def _program(clock: float = 0, *, quick: bool = True) -> list[str]:
    if quick and not clock:
        return [sys.executable, str(Path(__file__).with_name("quick_auth.py"))]
    return python_module("bazar_cli.devstack.auth", clock)


@contextmanager
def running_auth_service(
    settings: Mapping[str, str],
    *arguments: str,
    clock: float = 0,
    log: IO[str] | None = None,
    quick: bool = True,
) -> Generator[str]:
    """Run the service in the foreground of a child process; yields its base URL without the prefix.

    Parameters: `clock` is how many seconds its clock is ahead of this machine's; `log` gets what the service
    writes to standard error, which else is the test's own; `quick` makes password hashes of the lowest cost, where
    its clock is this machine's.
    """
    with subprocess.Popen(
        [*_program(clock, quick=quick), "--port", "0", *arguments],
        env={"PATH": os.environ["PATH"], **settings},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the Auth service did not start"
        url = address.removesuffix("/auth/v1")
        if quick and not clock and not arguments:
            _settings[url] = settings
        try:
            yield url
        finally:
            _settings.pop(url, None)
            process.terminate()
            process.wait()


class KillableAuth:
    """The service as a process that a test kills and starts again at the same address."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._environment = {"PATH": os.environ["PATH"], **settings}
        self._port = "0"
        self.url = ""
        """Its base URL without the prefix."""
        self.start()

    def __enter__(self) -> KillableAuth:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and return when it listens."""
        command = [*_program(), "--port", self._port]
        self._process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        address = self._process.stdout.readline().strip()
        assert address, "the Auth service did not start"
        self.url = address.removesuffix("/auth/v1")
        self._port = self.url.rpartition(":")[2]

    def kill(self) -> None:
        """End it with -9."""
        self._process.kill()
        self._process.communicate()
