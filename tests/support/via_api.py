"""BAZAR_TEST_VIA=api: commands of the tests reach their target through a server of it, with unchanged tests.

A command goes through the API if it has a route there and its environment names a direct target. It gets the URL of a
server of that target in place of the target, and the same sign-in: BAZAR_TOKEN, or the stored session, which is copied
before and after. What only a direct target has remains direct: SUPERUSER_*, a profile, an env file, and constants of
the process that a test changes. In the output, the URL of the server is that of the Auth service again.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jwt

from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.config.target import direct_from
from bazar_cli.domain.errors import BazarError
from bazar_cli.domain.target import RemoteTarget, Target, TargetKind, TargetSource
from tests.support.api_server import Api, running_api
from tests.support.tree import ALL, verb

VARIABLE = "BAZAR_TEST_VIA"
_MOST_SERVERS = 4
"""Tests that make a target each would start too many; the oldest server ends first."""
_TARGET = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")
_DIRECT = ("SUPERUSER_EMAIL", "SUPERUSER_PASSWORD", "DATABASE_MIGRATION_URL", "SUPABASE_ANON_KEY", "BAZAR_PROFILE")
_OPTIONS = ("--profile", "--env-file")
DIRECT_ONLY = {
    **dict.fromkeys(
        (
            "tests/cli/auth/test_login.py::test_file_that_cannot_be_written",
            "tests/cli/auth/test_login.py::test_session_is_kept_privately_and_nothing_secret_is_shown",
            "tests/cli/auth/test_status.py::test_who_from_where_until_when",
        ),
        "it names the target or the file of its session",
    ),
    "tests/cli/auth/test_targets.py::test_plain_text_to_another_host": "the server has no BAZAR_ALLOW_PLAINTEXT",
    **dict.fromkeys(
        (
            "tests/cli/escalations/test_identities.py::test_rights_signed_into_a_token_are_not_read",
            "tests/cli/escalations/test_identities.py::test_session_of_another_user_does_not_confirm_a_token",
        ),
        "its tokens have no issuer, which a server demands",
    ),
}
"""Tests of which the outcome is another one through the API, by the beginning of their id, with the reason."""
_SOURCE = TargetSource(TargetKind.ENVIRONMENT, "the environment")


def is_on() -> bool:
    """Whether commands of the tests go through the API."""
    return os.environ.get(VARIABLE) == "api"


@dataclass(frozen=True)
class Redirected:
    """The environment of one command, and how to read its output."""

    environ: Mapping[str, str]
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])

    def shown(self, text: str) -> str:
        """Return an output as that of the direct target."""
        for given, wanted in self.replaced.items():
            text = text.replace(given, wanted)
        return text


@contextmanager
def redirected(words: Sequence[str], environ: Mapping[str, str]) -> Generator[Redirected]:
    """Lend the environment in which a command runs; afterwards its stored session is that of the direct target."""
    direct = _direct_target(environ) if _goes_through_api(words, environ) else None
    if direct is None:
        yield Redirected(environ)
        return
    stored = Sessions.of(direct, environ).load()
    token = environ.get("BAZAR_TOKEN") or (stored.access_token.reveal() if stored else "")
    api = _server_of(direct, _issuer(token))
    remote = RemoteTarget(_SOURCE, api.url)
    _move_session(direct, remote, environ)
    left = {name: value for name, value in environ.items() if name not in _TARGET}
    replaced = {
        "the API at": "Supabase Auth at",
        "the API did not": "Supabase Auth did not",
        api.url: direct.supabase_url,
    }
    yield Redirected({**left, "BAZAR_API_URL": api.url}, replaced)
    _move_session(remote, direct, environ)


def _goes_through_api(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    if not all(environ.get(name) for name in _TARGET) or any(environ.get(name) for name in _DIRECT):
        return False
    named = any(word.partition("=")[0] in _OPTIONS for word in words)
    return not named and not {"-h", "--help"} & set(words) and _has_route(" ".join(words[:3]))


@cache
def _has_route(words: str) -> bool:
    parts = words.split()
    for count in range(len(parts), 0, -1):
        found = ALL.get(" ".join(parts[:count]))
        if found is not None:
            return verb(found[1]).spec.route is not None
    return False


def _direct_target(environ: Mapping[str, str]) -> Target | None:
    """Return the target; None where it is refused, or its session store cannot be used, as a test wants it."""
    try:
        found = direct_from(_SOURCE, environ, environ)
        Sessions.of(found, environ).load()
    except BazarError:
        return None
    return found


def _move_session(source: Target | RemoteTarget, to: Target | RemoteTarget, environ: Mapping[str, str]) -> None:
    of_source, of_other = Sessions.of(source, environ), Sessions.of(to, environ)
    stored = of_source.load()
    if stored is not None:
        of_other.save(stored)
        of_source.forget()


def _issuer(token: str) -> str:
    """Return the issuer of a token, which a faulty proxy in front of the Auth service does not have; "" without one."""
    try:
        return str(jwt.decode(token, options={"verify_signature": False}).get("iss", ""))
    except jwt.PyJWTError:
        return ""


_servers: OrderedDict[tuple[Target, str], tuple[Api, ExitStack]] = OrderedDict()


def _server_of(target: Target, issuer: str) -> Api:
    key = target, issuer or f"{target.supabase_url}/auth/v1"
    if key in _servers:
        _servers.move_to_end(key)
        return _servers[key][0]
    if not _servers:
        atexit.register(_end_all)
    while len(_servers) >= _MOST_SERVERS:
        _servers.popitem(last=False)[1][1].close()
    folder = tempfile.TemporaryDirectory(prefix="bazar-api-")
    held = ExitStack()
    held.callback(folder.cleanup)
    _servers[key] = held.enter_context(running_api(target, Path(folder.name) / "log", "--issuer", key[1])), held
    return _servers[key][0]


def _end_all() -> None:
    while _servers:
        _servers.popitem()[1][1].close()
