"""The measured cases, the floor of each, and how near to it the case must be."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

from benchmarks.measure import Case, Kind
from benchmarks.stack import BAZAR, EmbeddedStack

PYTHON = "python -c pass"
_IMPORT = 'python -c "import typer"'
GET = "minimal script of the same libraries"
_OPTION = ("__complete", "users", "list", "--p")
_VERSION_AIM = 1.5
_LISTING_AIM = 3.0
_TEXT_AIM = 2.0
"""Cases that read `commands.tsv`."""
_GET_AIM = 0.45
_GET_WITH_PYDANTIC_AIM = 0.65
HTTP_GET = "minimal script of http.client"
_DIRECT = "bazar users get, target from the environment"
_REMOTE_AIM = 2.5
_REMOTE_TO_DIRECT_AIM = 0.35


def cases(stack: EmbeddedStack, api_url: str) -> tuple[Case, ...]:
    """Return every case, the floors first, then bazar, then the peers that this machine has.

    Parameters: `api_url` is a server of the API of the stack's target.
    """
    remote = {**stack.plain, "BAZAR_TOKEN": stack.from_profile["BAZAR_TOKEN"], "BAZAR_API_URL": api_url}
    return (*_floors(stack, remote), *_listings(stack), *_verbs(stack, remote), *_peers(stack))


def _floors(stack: EmbeddedStack, remote: Mapping[str, str]) -> tuple[Case, ...]:
    minimal = {**stack.from_environment, "JWKS_FILE": str(stack.key_file)}
    return (
        Case(Kind.FLOOR, PYTHON, (sys.executable, "-c", "pass"), stack.plain),
        Case(Kind.FLOOR, _IMPORT, (sys.executable, "-c", "import typer"), stack.plain, PYTHON),
        Case(Kind.FLOOR, GET, _program("minimal_get", stack.email), minimal, PYTHON),
        Case(
            Kind.FLOOR,
            HTTP_GET,
            _program("http_get", remote["BAZAR_API_URL"].removeprefix("http://"), stack.email),
            remote,
            PYTHON,
        ),
    )


def _listings(stack: EmbeddedStack) -> tuple[Case, ...]:
    return (
        _bazar("bazar --version", "--version", environ=stack.plain, aim=_VERSION_AIM),
        _bazar("bazar --help", "--help", environ=stack.plain, aim=_LISTING_AIM),
        _bazar("bazar users --help", "users", "--help", environ=stack.plain, aim=_LISTING_AIM),
        _bazar("completion of `bazar users cr`", "__complete", "users", "cr", environ=stack.plain, aim=_LISTING_AIM),
        _bazar("bazar users list --help", "users", "list", "--help", environ=stack.plain, aim=_TEXT_AIM),
        _bazar("completion of `bazar users list --p`", *_OPTION, environ=stack.plain, aim=_TEXT_AIM),
    )


def _verbs(stack: EmbeddedStack, remote: Mapping[str, str]) -> tuple[Case, ...]:
    profile = "bazar users get, target from a profile"
    words = ("users", "get", stack.email, "-o", "json")
    return (
        _bazar("bazar users get, remote target", *words, environ=remote, floor=HTTP_GET, aim=_REMOTE_AIM),
        _bazar("the same, to the direct one", *words, environ=remote, floor=_DIRECT, aim=_REMOTE_TO_DIRECT_AIM),
        _bazar(_DIRECT, *words, environ=stack.from_environment, floor=GET, aim=_GET_WITH_PYDANTIC_AIM),
        _bazar(profile, *words, environ=stack.from_profile, floor=GET, aim=_GET_AIM),
    )


def _peers(stack: EmbeddedStack) -> tuple[Case, ...]:
    query = f"SELECT * FROM bazar.users WHERE email = '{stack.email}'"  # noqa: S608 - an address made here
    folder = str(BAZAR.parent)
    known = (
        ("gh --version", shutil.which("gh"), ("--version",)),
        ("alembic --help", shutil.which("alembic", path=folder), ("--help",)),
        ("psql --version", shutil.which("psql"), ("--version",)),
        ("psql, one user", shutil.which("psql"), (stack.database_url, "-Atc", query)),
    )
    return tuple(Case(Kind.PEER, name, (found, *words), stack.plain, PYTHON) for name, found, words in known if found)


def _bazar(name: str, *words: str, environ: Mapping[str, str], aim: float, floor: str = PYTHON) -> Case:
    return Case(Kind.BAZAR, name, (str(BAZAR), *words), environ, floor, aim)


def _program(module: str, *words: str) -> tuple[str, ...]:
    """Run a floor as its console script would: imported, so that its bytecode is kept like bazar's."""
    return (sys.executable, "-c", f"from benchmarks.floors.{module} import app; app()", *words)
