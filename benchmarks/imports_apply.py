"""Measure how an import creates users, against a bare loop and bare SQL: `python -m benchmarks.imports_apply`."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp
import psutil
import psycopg

from bazar_cli.domain.imports.imports import ImportRun, Via
from bazar_cli.domain.progress import ignored
from bazar_cli.services.imports.apply import CONCURRENCY, apply
from benchmarks.report import Settings, setting
from benchmarks.stack import EmbeddedStack, embedded_stack
from tests.support.gates import gate_of
from tests.support.imports import Importing
from tests.support.people import People, Someone

_RESULTS = Path(__file__).parent / "results" / "imports_apply.md"
_HASH = "$2a$10$" + "a" * 53
_BARE_SQL_CASE = "bare SQL, the same rows"
_RATE_OF_API, _CPU_OF_SERVER, _RATE_OF_SQL = 0.8, 0.2, 0.5
"""The aims: of the floor's rate, of the processor time of Auth and its Postgres, of the floor's rate."""
_ROWS = """
    INSERT INTO bazar.import_rows (run_id, line, email, user_id, name, plan, password_hash, action)
    SELECT %s, n, 'user' || n || '.' || %s || '@example.com', gen_random_uuid(), 'Name ' || n, 'free', %s, 'create'
    FROM generate_series(2, %s + 1) AS n
"""
_BARE_SQL = (
    """
    INSERT INTO bazar.users (id, email, name, plan, state, origin, is_superuser, created_at, updated_at)
    SELECT user_id, email, name, plan, 'active', 'created', false, now(), now() FROM bazar.import_rows WHERE run_id = %s
    """,
    """
    INSERT INTO auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
        confirmation_token, recovery_token, email_change_token_new, email_change, raw_app_meta_data, raw_user_meta_data,
        created_at, updated_at)
    SELECT '00000000-0000-0000-0000-000000000000', user_id, 'authenticated', 'authenticated', email, password_hash,
        now(), '', '', '', '', '{"provider": "email", "providers": ["email"]}', '{"email_verified": true}', now(), now()
    FROM bazar.import_rows WHERE run_id = %s
    """,
    """
    INSERT INTO auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
    SELECT user_id, user_id, jsonb_build_object('sub', user_id, 'email', email, 'email_verified', false,
        'phone_verified', false), 'email', now(), now(), now()
    FROM bazar.import_rows WHERE run_id = %s
    """,
)
_EVENTS = """
    INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, target_id, after, request_id)
    SELECT gen_random_uuid(), 'ada@example.com', 'users.import', 'done', 'user', user_id,
        jsonb_build_object('email', email, 'name', name, 'plan', plan), 'bench'
    FROM bazar.import_rows WHERE run_id = %s
"""


@dataclass(frozen=True)
class Taken:
    """What a case took."""

    seconds: float
    client: float
    """Processor seconds of this process."""
    server: float
    """Processor seconds of the Auth service and of Postgres."""


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports_apply", description=__doc__)
    parser.add_argument("--api", type=int, default=2_000, help="users through the API (default 2,000)")
    parser.add_argument("--database", type=int, default=100_000, help="users by SQL (default 100,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default 3)")
    given = parser.parse_args()
    settings = Settings(given.rounds, 1, load=os.getloadavg()[0])
    with embedded_stack() as embedded, People(embedded.target) as people:
        [found] = people.sql("SELECT id, email FROM bazar.users WHERE email = %s", embedded.email)
        importing = Importing(people, Someone(found["id"], found["email"]))
        cases: dict[str, tuple[int, Callable[[], Taken]]] = {
            "a bare aiohttp loop": (given.api, lambda: _bare_loop(embedded, given.api)),
            "--via api": (given.api, lambda: _import(embedded, importing, Via.API, given.api)),
            "bare SQL, no events": (given.database, lambda: _bare_sql(embedded, importing, given.database, _BARE_SQL)),
            _BARE_SQL_CASE: (
                given.database,
                lambda: _bare_sql(embedded, importing, given.database, (*_BARE_SQL, _EVENTS)),
            ),
            "--via database": (given.database, lambda: _import(embedded, importing, Via.DATABASE, given.database)),
        }
        taken: dict[str, list[Taken]] = {name: [] for name in cases}
        for number in range(given.rounds + 1):
            print(f"round {number} of {given.rounds}", file=sys.stderr)
            for name, (_, run) in cases.items():
                done = run()
                if number:
                    taken[name].append(done)
    about = (
        "Written by `python -m benchmarks.imports_apply`, which applies staged rows in its own process. The bare loop"
        f" has {CONCURRENCY} requests at once, as the import. The bare SQL writes users, identities and events in"
        " four statements, without results and checks."
    )
    counts = {name: rows for name, (rows, _) in cases.items()}
    text = "\n\n".join(
        ["# Users that an import creates", about, setting(settings), _table(taken, counts), _aims(taken)]
    )
    _RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


def _staged(importing: Importing, via: Via, rows: int) -> ImportRun:
    run = importing.stage([], via)
    importing.people.sql("UPDATE bazar.import_runs SET rows = %s WHERE id = %s", rows, run.id)
    importing.people.sql(_ROWS, run.id, secrets.token_hex(6), _HASH, rows)
    importing.people.sql("ANALYZE bazar.import_rows")
    return run


def _import(embedded: EmbeddedStack, importing: Importing, via: Via, rows: int) -> Taken:
    run = _staged(importing, via, rows)
    with gate_of(importing.people, importing.operator) as gate:
        taken = _timed(embedded, lambda: apply(gate, run, ignored, lambda: False))
    [left] = importing.people.sql(
        "SELECT count(*) AS n FROM bazar.import_rows WHERE run_id = %s AND status <> 'created'", run.id
    )
    assert left["n"] == 0, "every row was created"
    return taken


def _bare_sql(embedded: EmbeddedStack, importing: Importing, rows: int, statements: Iterable[str]) -> Taken:
    run = _staged(importing, Via.DATABASE, rows)

    def write() -> None:
        with psycopg.connect(embedded.database_url) as connection:
            for statement in statements:
                connection.execute(statement.encode(), (run.id,))

    return _timed(embedded, write)


def _bare_loop(embedded: EmbeddedStack, rows: int) -> Taken:
    url = f"{embedded.target.supabase_url}/auth/v1/admin/users"
    key = embedded.target.supabase_key.reveal()
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}

    async def work(session: aiohttp.ClientSession, left: Iterator[int]) -> None:
        for _ in left:
            body = {
                "id": str(uuid.uuid4()),
                "email": f"{secrets.token_hex(8)}@example.com",
                "email_confirm": True,
                "password_hash": _HASH,
                "app_metadata": {"bazar": {"deployment": str(uuid.uuid4()), "origin": "created"}},
            }
            async with session.post(url, json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

    async def loop() -> None:
        left = iter(range(rows))
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(work(session, left) for _ in range(CONCURRENCY)))

    return _timed(embedded, lambda: asyncio.run(loop()))


def _timed(embedded: EmbeddedStack, act: Callable[[], object]) -> Taken:
    servers = _servers(embedded)
    before, client, began = _cpu(servers), time.process_time(), time.perf_counter()
    act()
    seconds = time.perf_counter() - began
    return Taken(seconds, time.process_time() - client, _cpu({**servers, **_servers(embedded)}) - before)


def _servers(embedded: EmbeddedStack) -> dict[int, psutil.Process]:
    """Return the Auth service, which is a child of this process, and Postgres with its sessions."""
    with psycopg.connect(embedded.database_url) as connection:
        postgres = psutil.Process(psutil.Process(connection.info.backend_pid).ppid())
    found = [*psutil.Process().children(recursive=True), postgres, *postgres.children(recursive=True)]
    return {process.pid: process for process in found}


def _cpu(processes: dict[int, psutil.Process]) -> float:
    total = 0.0
    for process in processes.values():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _table(taken: dict[str, list[Taken]], rows: dict[str, int]) -> str:
    head = "| case | users | users/s | client, ms CPU a user | servers, ms CPU a user |"
    lines = [head, "| --- | --: | --: | --: | --: |"]
    for name, rounds in taken.items():
        seconds, client, server = (median(getattr(t, part) for t in rounds) for part in ("seconds", "client", "server"))
        count = rows[name]
        each = [f"{cpu / count * 1000:.2f}" for cpu in (client, server)]
        lines.append(f"| {name} | {count:,} | {count / seconds:,.0f} | {' | '.join(each)} |")
    return "\n".join(lines)


def _aims(taken: dict[str, list[Taken]]) -> str:
    """Return the aims. Where medians and the best rounds disagree, the machine was too busy for an answer."""

    def rates(floor: str, name: str) -> tuple[float, float]:
        floors, found = ([t.seconds for t in taken[case]] for case in (floor, name))
        return median(floors) / median(found), min(floors) / min(found)

    cpu = [t.client / t.server for t in taken["--via api"]]
    aims = [
        ("`--via api`, of the rate of the bare loop", rates("a bare aiohttp loop", "--via api"), _RATE_OF_API, True),
        ("its processor time, of that of the servers", (median(cpu), min(cpu)), _CPU_OF_SERVER, False),
        ("`--via database`, of the rate of bare SQL", rates(_BARE_SQL_CASE, "--via database"), _RATE_OF_SQL, True),
    ]
    lines = ["| | by medians | by the best rounds | aim | |", "| --- | --: | --: | --: | --- |"]
    for name, (by_median, by_best), aim, more in aims:
        met = {(found >= aim) == more for found in (by_median, by_best)}
        said = "unclear" if len(met) == 2 else "yes" if met == {True} else "**no**"
        lines.append(f"| {name} | {by_median:.2f} | {by_best:.2f} | at {'least' if more else 'most'} {aim} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
