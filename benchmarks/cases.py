"""What is measured, against which floor, and how near to it each case has to be."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

from benchmarks.measure import Case, Kind
from benchmarks.stack import BAZAR, Stage

PYTHON = "python -c pass"
_IMPORT = 'python -c "import typer"'
HELP = "bare Typer app, 19 options, --help"
GET = "minimal script of the same libraries"
_VERSION_AIM = 1.5
_LISTING_AIM = 3.0
_FLOOR_AIM = 1.2


def cases(stage: Stage) -> tuple[Case, ...]:
    """Return every case, the floors first, then bazar, then the peers that this machine has."""
    return (*_floors(stage), *_listings(stage), *_verbs(stage), *_peers(stage))


def _floors(stage: Stage) -> tuple[Case, ...]:
    minimal = {**stage.from_environment, "JWKS_FILE": str(stage.key_file)}
    return (
        Case(Kind.FLOOR, PYTHON, (sys.executable, "-c", "pass"), stage.plain),
        Case(Kind.FLOOR, _IMPORT, (sys.executable, "-c", "import typer"), stage.plain, PYTHON),
        Case(Kind.FLOOR, HELP, _program("typer_help", "--help"), stage.plain, PYTHON),
        Case(Kind.FLOOR, GET, _program("minimal_get", stage.email), minimal, PYTHON),
    )


def _listings(stage: Stage) -> tuple[Case, ...]:
    return (
        _bazar("bazar --version", "--version", environ=stage.plain, aim=_VERSION_AIM),
        _bazar("bazar --help", "--help", environ=stage.plain, aim=_LISTING_AIM),
        _bazar("bazar users --help", "users", "--help", environ=stage.plain, aim=_LISTING_AIM),
        _bazar("completion of `bazar users cr`", "__complete", "users", "cr", environ=stage.plain, aim=_LISTING_AIM),
    )


def _verbs(stage: Stage) -> tuple[Case, ...]:
    environment, profile = "bazar users get, target from the environment", "bazar users get, target from a profile"
    words = ("users", "get", stage.email, "-o", "json")
    return (
        _bazar("bazar users list --help", "users", "list", "--help", environ=stage.plain, floor=HELP, aim=_FLOOR_AIM),
        _bazar(environment, *words, environ=stage.from_environment, floor=GET, aim=_FLOOR_AIM),
        _bazar(profile, *words, environ=stage.from_profile, floor=GET, aim=_FLOOR_AIM),
    )


def _peers(stage: Stage) -> tuple[Case, ...]:
    query = f"SELECT * FROM bazar.users WHERE email = '{stage.email}'"  # noqa: S608 - an address made here
    folder = str(BAZAR.parent)
    known = (
        ("gh --version", shutil.which("gh"), ("--version",)),
        ("alembic --help", shutil.which("alembic", path=folder), ("--help",)),
        ("psql --version", shutil.which("psql"), ("--version",)),
        ("psql, one user", shutil.which("psql"), (stage.database_url, "-Atc", query)),
    )
    return tuple(Case(Kind.PEER, name, (found, *words), stage.plain, PYTHON) for name, found, words in known if found)


def _bazar(name: str, *words: str, environ: Mapping[str, str], aim: float, floor: str = PYTHON) -> Case:
    return Case(Kind.BAZAR, name, (str(BAZAR), *words), environ, floor, aim)


def _program(module: str, *words: str) -> tuple[str, ...]:
    """Run a floor as its console script would: imported, so that its bytecode is kept like bazar's."""
    return (sys.executable, "-c", f"from benchmarks.floors.{module} import app; app()", *words)
