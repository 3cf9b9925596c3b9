"""Measure lists and look-ups at a million users, all in one run: `python -m benchmarks.large_lists`.

A page far behind has to cost what the first one costs, and a look-up has to be an index probe: the page shows the
times of fresh processes and the plans that Postgres chose for the very statements that bazar sends.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bazar_cli.domain import users as use_cases
from bazar_cli.domain.users import GetUser, ListUsers, UserSort
from bazar_cli.services import users
from benchmarks.cases import PYTHON
from benchmarks.crowd import Crowd, crowd
from benchmarks.measure import Case, Kind, measure
from benchmarks.report import Settings, setting, table
from benchmarks.stack import BAZAR, Stage, stage
from tests.support.people import People, Someone
from tests.support.postgres import target_of

_RESULTS = Path(__file__).parent / "results" / "large_lists.md"
_PAGES = (1, 1_000, 10_000)
_AIM = 1.15
"""A page behind may take so much of the first one's time: what this machine's noise makes of two equal ones."""


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_lists", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, help="how many users (default 1,000,000)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds that count (default 15)")
    given = parser.parse_args()
    pages = tuple(page for page in _PAGES if page * 50 <= given.users)
    with stage() as stood:
        print(f"writing {given.users:,} users", file=sys.stderr)
        made = crowd(stood.database_url, given.users, pages)
        settings = Settings(given.rounds, 3, load=os.getloadavg()[0])
        chosen = _cases(stood, made, pages)
        times = measure(
            chosen,
            stood.folder,
            rounds=given.rounds,
            warm_ups=3,
            on_round=lambda number: print(f"round {number} of {given.rounds}", file=sys.stderr),
        )
        plans = _plans(stood, made, pages)
    text = "\n\n".join(
        [
            "# Lists and look-ups at a million users",
            _about(given.users),
            setting(settings),
            "## bazar",
            table(chosen, times, Kind.BAZAR),
            "## The same page by OFFSET, a minimal script of the same libraries",
            table(chosen, times, Kind.PEER),
            "## The plans that Postgres chose",
            *(f"{name}:\n\n```\n{plan}\n```" for name, plan in plans),
        ]
    )
    _RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


def _about(count: int) -> str:
    return (
        f"Written by `python -m benchmarks.large_lists`, with {count:,} users, one in five of them in an organization"
        " of twenty and one in ten in a large one. A page has 50 users. The floor of each page is the first page of"
        " the same list; that of the others is `users get` by id."
    )


def _cases(stood: Stage, made: Crowd, pages: tuple[int, ...]) -> tuple[Case, ...]:
    environ = stood.from_profile
    probe = "users get, by id"

    def bazar(name: str, *words: str, floor: str | None = None, aim: float | None = None) -> Case:
        return Case(Kind.BAZAR, name, (str(BAZAR), "users", *words, "-o", "json"), environ, floor, aim)

    found = [
        Case(Kind.FLOOR, PYTHON, (sys.executable, "-c", "pass"), stood.plain),
        bazar(probe, "get", str(made.some_id)),
        bazar("users get, by email", "get", made.some_email, floor=probe, aim=_AIM),
    ]
    for sort in UserSort:
        for page in pages:
            name = f"users list --sort {sort.value}, page {page:,}"
            first = f"users list --sort {sort.value}, page 1"
            cursor = () if page == 1 else ("--cursor", made.cursors[sort, page])
            words = ("list", "--sort", sort.value, *cursor)
            found.append(bazar(name, *words, floor=probe if page == 1 else first, aim=None if page == 1 else _AIM))
    found += [
        bazar("users list --org (twenty members)", "list", "--org", made.small, floor=probe),
        bazar("users list --org (a tenth of all)", "list", "--org", made.large, floor=probe),
        bazar("users list --plan premium (one in 50)", "list", "--plan", "premium", floor=probe),
        bazar("users list --state suspended (one in 1,000)", "list", "--state", "suspended", floor=probe),
        bazar("users list --search (one user)", "list", "--search", made.some_email[:12], floor=probe),
    ]
    minimal = {**stood.from_environment, "JWKS_FILE": str(stood.key_file), "PYTHONPATH": str(Path.cwd())}
    first = "page 1 by OFFSET"
    for page in pages:
        command = (sys.executable, "-c", "from benchmarks.floors.minimal_list import app; app()", str(page))
        found.append(Case(Kind.PEER, f"page {page:,} by OFFSET", command, minimal, None if page == 1 else first))
    return tuple(found)


def _plans(stood: Stage, made: Crowd, pages: tuple[int, ...]) -> list[tuple[str, str]]:
    """The plan of each kind of look-up and page, for a superuser and for an owner of a small organization."""
    last = pages[-1]
    with People(target_of(stood.database_url)) as people:
        ruler = _user(people, "email = %s", stood.email)
        owner = _user(
            people,
            "id = (SELECT m.user_id FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id"
            " WHERE o.slug = %s AND m.role = 'owner')",
            made.small,
        )
        large, colleague = (
            _user(
                people,
                "id = (SELECT m.user_id FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id"
                " WHERE o.slug = %s ORDER BY m.user_id OFFSET %s LIMIT 1)",
                made.large,
                number,
            )
            for number in range(2)
        )
        requests: list[tuple[str, Someone, GetUser | ListUsers]] = [
            ("users get, by id", ruler, GetUser(str(made.some_id))),
            ("users get, by email", ruler, GetUser(made.some_email)),
            ("users get, by email, as an owner of twenty", owner, GetUser(owner.email)),
            ("users get, by email, as a member of the large organization", large, GetUser(colleague.email)),
            *(
                (
                    f"users list --sort {sort.value}, page {last:,}",
                    ruler,
                    ListUsers(sort=sort, cursor=made.cursors[sort, last]),
                )
                for sort in UserSort
                if last > 1
            ),
            ("users list, as an owner of twenty", owner, ListUsers()),
            ("users list, as a member of the large organization", large, ListUsers()),
        ]
        return [(name, _plan(people, who, request)) for name, who, request in requests]


def _user(people: People, where: str, *values: object) -> Someone:
    (row,) = people.sql(f"SELECT id, email FROM bazar.users WHERE {where}", *values)  # noqa: S608 - constants
    return Someone(uuid.UUID(str(row["id"])), row["email"])


def _plan(people: People, who: Someone, request: GetUser | ListUsers) -> str:
    with _sent() as statements:
        if isinstance(request, GetUser):
            people.run(who, users.get, use_cases.GET, request)
        else:
            people.run(who, users.list_page, use_cases.LIST, request)
    ((statement, values),) = [found for found in statements if "FROM bazar.users u" in found[0]]
    with psycopg.connect(people.target.database_url.reveal(), row_factory=tuple_row) as connection:
        explained = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS) {statement}"
        return "\n".join(str(line) for (line,) in connection.execute(explained.encode(), values))


@contextmanager
def _sent() -> Generator[list[tuple[str, Any]]]:
    """Collect the statements that are sent within the block, as the driver gets them."""
    statements: list[tuple[str, Any]] = []

    def before(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        statements.append((statement, values))

    listener: Callable[..., None] = before
    event.listen(Engine, "before_cursor_execute", listener)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", listener)


if __name__ == "__main__":
    main()
