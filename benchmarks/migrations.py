"""Measure `bazar db status` and `bazar db migrate` beside Alembic and dbmate: `python -m benchmarks.migrations`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bazar_cli.adapters.migrations.offline_sql import ScriptLog
from bazar_cli.adapters.migrations.revision_files import known_files
from benchmarks.measure import Case, Kind, Times, measure, run
from benchmarks.report import Settings, setting, table
from benchmarks.stack import BAZAR, EmbeddedStack, embedded_stack
from tests.support.postgres import create_database, drop_database
from tests.support.release import Release
from tests.support.revision_sql import sql_by_revision

_RESULTS = Path(__file__).parent / "results" / "migrations.md"
_ROUNDS, _WARM_UPS, _REVISIONS = 8, 1, 50
_STATUS_AIM, _PROFILE_AIM, _HEAD_AIM, _EMPTY_AIM = 0.6, 0.45, 0.7, 1.0
_ALEMBIC = str(BAZAR.with_name("alembic"))
# A role named like the schema, as here, would make that the place of its table.
_DBMATE = ("--no-dump-schema", "--migrations-table", "public.schema_migrations")
_ON_PROFILE = "bazar db status --check, target from a profile"
_CURRENT = "alembic current, the same database"
_UPGRADE = "alembic upgrade head, the same database"
_FROM_EMPTY = "alembic upgrade head, from empty"
_STOCK = '''
"""Alembic's own template of a single database, shortened; no lock, no log, one transaction."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS bazar"))
    connection.commit()
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
'''


@dataclass(frozen=True)
class Projects:
    """The same revisions as each program wants them."""

    release: Release
    bazars_ini: Path
    """Alembic with the environment of bazar: the migration lock, the log, each revision in its own transaction."""
    stock_ini: Path
    dbmate: Path


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"rounds that count (default {_ROUNDS})")
    rounds: int = parser.parse_args().rounds
    settings = Settings(rounds, _WARM_UPS, load=os.getloadavg()[0])
    with (
        embedded_stack() as embedded,
        tempfile.TemporaryDirectory(prefix="bazar-bench-") as folder,
        ExitStack() as databases,
    ):
        at_head = _projects(Path(folder) / "head", 0)
        grown = _projects(Path(folder) / "grown", _REVISIONS)
        others = _Databases(embedded, databases)
        looking = _at_head(embedded, at_head, others)
        times = measure(looking, embedded.folder, rounds=rounds, warm_ups=_WARM_UPS)
        from_empty = _from_empty(embedded, grown)
        times |= _measure_from_empty(from_empty, embedded, others, rounds // 2)
    text = _page((*looking, *from_empty), times, settings)
    _RESULTS.write_text(text, encoding="utf-8")
    print(text, end="")


class _Databases:
    """Empty databases beside that of the stage."""

    def __init__(self, embedded: EmbeddedStack, stack: ExitStack) -> None:
        self._url = embedded.database_url
        self._stack = stack

    def lend(self, name: str) -> str:
        """Make a database that is dropped at the end."""
        self._stack.callback(self.drop, name)
        return self.make(name)

    def make(self, name: str) -> str:
        """Make a database."""
        return create_database(self._url, name)

    def drop(self, name: str) -> None:
        """Drop a database."""
        drop_database(self._url, name)


def _projects(folder: Path, more: int) -> Projects:
    """Write bazar's revisions and this many generated ones for each program."""
    folder.mkdir()
    release = Release(folder / "release")
    known = release.revisions
    for number in range(more):
        name = f"{int(known[-1]) + number + 1:04d}"
        up = f"op.execute('CREATE TABLE bazar.generated_{number} (id bigint PRIMARY KEY, name text NOT NULL)')\n"
        up += f"op.execute('CREATE INDEX generated_{number}_name ON bazar.generated_{number} (name)')"
        release.add(name, up, f"op.execute('DROP TABLE bazar.generated_{number}')")
    stock = folder / "stock"
    stock.mkdir()
    shutil.copytree(release.migrations / "versions", stock / "versions")
    shutil.copy(release.migrations / "script.py.mako", stock)
    (stock / "env.py").write_text(_STOCK)
    dbmate = folder / "dbmate"
    dbmate.mkdir()
    for revision, sql in _sql_of(release).items():
        (dbmate / f"{revision}_r.sql").write_text(f"-- migrate:up\n{sql}\n-- migrate:down\n")
    return Projects(release, _ini(folder, "bazars", release.migrations), _ini(folder, "stock", stock), dbmate)


def _ini(folder: Path, name: str, location: Path) -> Path:
    path = folder / f"{name}.ini"
    path.write_text(f"[alembic]\nscript_location = {location}\n")
    return path


def _sql_of(release: Release) -> dict[str, str]:
    from alembic import command
    from alembic.config import Config

    script = ScriptLog()
    config = Config(output_buffer=script.output)
    config.set_main_option("script_location", str(release.migrations))
    config.attributes["log"] = script
    command.upgrade(config, f"base:{release.revisions[-1]}", sql=True)
    known_files.cache_clear()
    # dbmate opens the transaction itself, and Alembic's table is not dbmate's.
    return {
        revision: "\n".join(
            line
            for line in part.replace("CREATE SCHEMA IF NOT EXISTS bazar", "CREATE SCHEMA bazar").splitlines()
            if line not in {"BEGIN;", "COMMIT;"}
        )
        for revision, part in sql_by_revision(script.output.getvalue()).items()
    }


def _at_head(embedded: EmbeddedStack, projects: Projects, others: _Databases) -> tuple[Case, ...]:
    here = {**embedded.plain, "DATABASE_URL": embedded.database_url}
    stock = {**embedded.plain, "DATABASE_URL": _for_sqlalchemy(others.lend("bench_stock"))}
    own = ("-c", str(projects.bazars_ini))
    other = ("-c", str(projects.stock_ini))
    _once((_ALEMBIC, *other, "upgrade", "head"), stock)
    status = ("db", "status", "--check", "-o", "json")
    cases = [
        Case(Kind.FLOOR, _CURRENT, (_ALEMBIC, *own, "current"), here),
        Case(Kind.FLOOR, _UPGRADE, (_ALEMBIC, *own, "upgrade", "head"), here),
        _bazar("bazar db status --check", *status, environ=embedded.from_environment, floor=_CURRENT, aim=_STATUS_AIM),
        _bazar(_ON_PROFILE, *status, environ=embedded.from_profile, floor=_CURRENT, aim=_PROFILE_AIM),
        _bazar("bazar db migrate", "db", "migrate", environ=embedded.from_environment, floor=_UPGRADE, aim=_HEAD_AIM),
        Case(Kind.PEER, "alembic current, its own template", (_ALEMBIC, *other, "current"), stock, _CURRENT),
        Case(
            Kind.PEER, "alembic upgrade head, its own template", (_ALEMBIC, *other, "upgrade", "head"), stock, _UPGRADE
        ),
    ]
    program = shutil.which("dbmate")
    if program is not None:
        environ = {**embedded.plain, "DATABASE_URL": _for_dbmate(others.lend("bench_dbmate"))}
        words = (program, *_DBMATE, "--migrations-dir", str(projects.dbmate))
        _once((*words, "up"), environ)
        cases += [
            Case(Kind.PEER, "dbmate status --exit-code", (*words, "status", "--exit-code"), environ, _CURRENT),
            Case(Kind.PEER, "dbmate up", (*words, "up"), environ, _UPGRADE),
        ]
    return tuple(cases)


def _from_empty(embedded: EmbeddedStack, projects: Projects) -> tuple[Case, ...]:
    """The cases, whose DATABASE_URL is that of a new database at each run."""
    first = {**embedded.from_environment, "SUPERUSER_EMAIL": embedded.email, "SUPERUSER_PASSWORD": "never asked for"}
    first["PYTHONPATH"] = str(projects.release.folder)
    own, other = ("-c", str(projects.bazars_ini)), ("-c", str(projects.stock_ini))
    upgrade = ("upgrade", "head")
    cases = [
        Case(Kind.FLOOR, _FROM_EMPTY, (_ALEMBIC, *own, *upgrade), embedded.plain),
        _bazar("bazar db migrate, from empty", "db", "migrate", environ=first, floor=_FROM_EMPTY, aim=_EMPTY_AIM),
        Case(Kind.PEER, "its own template, from empty", (_ALEMBIC, *other, *upgrade), embedded.plain, _FROM_EMPTY),
    ]
    program = shutil.which("dbmate")
    if program is not None:
        words = (program, *_DBMATE, "--migrations-dir", str(projects.dbmate), "up")
        cases.append(Case(Kind.PEER, "dbmate up, from empty", words, embedded.plain, _FROM_EMPTY))
    return tuple(cases)


def _measure_from_empty(
    cases: tuple[Case, ...], embedded: EmbeddedStack, others: _Databases, rounds: int
) -> Mapping[str, Times]:
    def on_a_new_database(case: Case, folder: Path) -> tuple[float, float, float]:
        url = others.make("bench_empty")
        try:
            return run(replace(case, environ={**case.environ, "DATABASE_URL": _url_for(case)(url)}), folder)
        finally:
            others.drop("bench_empty")

    return measure(cases, embedded.folder, rounds=rounds, warm_ups=1, run_case=on_a_new_database)


def _url_for(case: Case) -> Callable[[str], str]:
    if Path(case.command[0]).name == "dbmate":
        return _for_dbmate
    return _for_sqlalchemy if case.kind is Kind.PEER else str


def _for_sqlalchemy(url: str) -> str:
    return urlsplit(url)._replace(scheme="postgresql+psycopg").geturl()


def _for_dbmate(url: str) -> str:
    parts = urlsplit(url)
    socket = parse_qs(parts.query)["host"][0]
    return f"postgres://{parts.username}@{parts.path}?socket={socket}&sslmode=disable"


def _once(command: tuple[str, ...], environ: Mapping[str, str]) -> None:
    subprocess.run(command, env=dict(environ), stdout=subprocess.DEVNULL, check=True)


def _bazar(name: str, *words: str, environ: Mapping[str, str], aim: float, floor: str) -> Case:
    return Case(Kind.BAZAR, name, (str(BAZAR), *words), environ, floor, aim)


def _page(cases: tuple[Case, ...], times: Mapping[str, Times], settings: Settings) -> str:
    parts = [
        "# Migrations",
        "Written by `python -m benchmarks.migrations`; `benchmarks/README.md` says what the cases are.",
        setting(settings),
        _how_from_empty(len(times[_FROM_EMPTY].wall)),
        "## bazar",
        table(cases, times, Kind.BAZAR),
        "## Alembic, with bazar's environment: the floors",
        table(cases, times, Kind.FLOOR),
        "## Others, for information",
        table(cases, times, Kind.PEER),
    ]
    return "\n\n".join(parts) + "\n"


def _how_from_empty(rounds: int) -> str:
    return (
        f"From empty: bazar's revisions and {_REVISIONS} generated ones, each a table and an index;"
        f" {rounds} rounds, a new database for each run."
    )


if __name__ == "__main__":
    main()
