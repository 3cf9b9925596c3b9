"""Measure lists and look-ups among a million users and 50,000 deleted ones: `python -m benchmarks.large_lists`.

A page far behind has to cost what the first one costs, and a look-up has to be an index probe: the page shows the
times of fresh processes and the plans that Postgres chose for the very statements that bazar sends.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from pathlib import Path
from typing import TypeAlias

import psycopg
from psycopg.rows import tuple_row

from bazar_cli.domain import audit as audit_cases
from bazar_cli.domain.audit import ListEvents
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.users import GetUser, ListUsers, UserSort
from bazar_cli.services.audit import read as audit
from bazar_cli.services.users import read
from benchmarks.cases import PYTHON
from benchmarks.many_users import DELETIONS, ManyUsers, fill
from benchmarks.measure import Case, Kind, measure
from benchmarks.report import Settings, setting, table
from benchmarks.stack import BAZAR, EmbeddedStack, embedded_stack
from tests.support.people import People, Someone
from tests.support.postgres import target_of
from tests.support.statements import watched

_Request: TypeAlias = GetUser | ListUsers | ListEvents
_RESULTS = Path(__file__).parent / "results" / "large_lists.md"
_PAGES = (1, 1_000, 10_000)
_AIM = 1.15
"""A page behind may take so much of the first one's time: what this machine's noise makes of two equal ones."""


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_lists", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, help="how many users (default 1,000,000)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds that count (default 15)")
    parser.add_argument("--only", default="", help="only what has this word in its name; its page is named after it")
    given = parser.parse_args()
    pages = tuple(page for page in _PAGES if page * 50 <= given.users)
    with embedded_stack() as embedded:
        print(f"writing {given.users:,} users", file=sys.stderr)
        made = fill(embedded.database_url, given.users, pages)
        settings = Settings(given.rounds, 3, load=os.getloadavg()[0])
        chosen = _only(given.only, _cases(embedded, made, pages))
        times = measure(
            chosen,
            embedded.folder,
            rounds=given.rounds,
            warm_ups=3,
        )
        plans = [(name, plan) for name, plan in _plans(embedded, made, pages) if given.only in name]
    peers = ["## The same page by OFFSET, a minimal script of the same libraries", table(chosen, times, Kind.PEER)]
    text = "\n\n".join(
        [
            "# Lists and look-ups at a million users",
            _about(given.users, given.only),
            setting(settings),
            "## bazar",
            table(chosen, times, Kind.BAZAR),
            *(peers if any(case.kind is Kind.PEER for case in chosen) else ()),
            "## The plans that Postgres chose",
            *(f"{name}:\n\n```\n{plan}\n```" for name, plan in plans),
        ]
    )
    name = f"{_RESULTS.stem}_{given.only}" if given.only else _RESULTS.stem
    _RESULTS.with_stem(name).write_text(text + "\n", encoding="utf-8")
    print(text)


def _only(word: str, cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """The cases with this word in their names, and the floors that these need."""
    wanted = {case.name for case in cases if word in case.name}
    for case in reversed(cases):
        if case.name in wanted and case.floor is not None:
            wanted.add(case.floor)
    return tuple(case for case in cases if case.name in wanted)


def _about(count: int, only: str) -> str:
    command = f"python -m benchmarks.large_lists{f' --only {only}' if only else ''}"
    return (
        f"Written by `{command}`, with {count:,} users, one in five of them in an organization of twenty and one in ten"
        " in a large one. A page has 50 users. The floor of each page is the first page of the same list; that of the"
        f" others is `users get` by id. The audit log has the deletions of {DELETIONS:,} users: one half was in one"
        " organization of twenty, the others were in any; the floor of what an admin sees of them is what a superuser"
        " sees."
    )


def _cases(embedded: EmbeddedStack, made: ManyUsers, pages: tuple[int, ...]) -> tuple[Case, ...]:
    environ = embedded.from_profile
    probe = "users get, by id"

    def bazar(name: str, *words: str, floor: str | None = None, aim: float | None = None) -> Case:
        return Case(Kind.BAZAR, name, (str(BAZAR), "users", *words, "-o", "json"), environ, floor, aim)

    everything = "audit list, as a superuser"
    events = (str(BAZAR), "audit", "list", "-o", "json")
    found = [
        Case(Kind.FLOOR, PYTHON, (sys.executable, "-c", "pass"), embedded.plain),
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
    found.append(Case(Kind.BAZAR, everything, events, environ, probe))
    for what, slug in (("a few", made.small), ("half", made.left)):
        name = f"audit list, as an admin who sees {what} of the deletions"
        found.append(Case(Kind.BAZAR, name, events, embedded.as_admin_of(slug), everything, _AIM))
    minimal = {**embedded.from_environment, "JWKS_FILE": str(embedded.key_file), "PYTHONPATH": str(Path.cwd())}
    first = "page 1 by OFFSET"
    for page in pages:
        command = (sys.executable, "-c", "from benchmarks.floors.minimal_list import app; app()", str(page))
        found.append(Case(Kind.PEER, f"page {page:,} by OFFSET", command, minimal, None if page == 1 else first))
    return tuple(found)


def _plans(embedded: EmbeddedStack, made: ManyUsers, pages: tuple[int, ...]) -> list[tuple[str, str]]:
    """The plan of each kind of look-up and page, for a superuser and for an owner of a small organization."""
    last = pages[-1]
    with People(target_of(embedded.database_url)) as people:
        ruler = _user(people, "email = %s", embedded.email)
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
        few, half = (
            _user(
                people,
                "id = (SELECT m.user_id FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id"
                " WHERE o.slug = %s AND m.role = 'admin')",
                slug,
            )
            for slug in (made.small, made.left)
        )
        requests: list[tuple[str, Someone, _Request]] = [
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
            ("audit list, as an admin who sees a few of the deletions", few, ListEvents()),
            ("audit list, as an admin who sees half of the deletions", half, ListEvents()),
        ]
        return [(name, _plan(people, who, request)) for name, who, request in requests]


def _user(people: People, where: str, *values: object) -> Someone:
    (row,) = people.sql(f"SELECT id, email FROM bazar.users WHERE {where}", *values)  # noqa: S608 - constants
    return Someone(uuid.UUID(str(row["id"])), row["email"])


def _plan(people: People, who: Someone, request: _Request) -> str:
    table_read = "FROM bazar.audit_events e" if isinstance(request, ListEvents) else "FROM bazar.users u"
    with watched() as statements:
        if isinstance(request, GetUser):
            people.run(who, read.get, use_cases.GET, request)
        elif isinstance(request, ListEvents):
            people.run(who, audit.list_page, audit_cases.LIST, request)
        else:
            people.run(who, read.list_page, use_cases.LIST, request)
    ((statement, values),) = [found for found in statements if table_read in found[0]]
    with psycopg.connect(people.target.database_url.reveal(), row_factory=tuple_row) as connection:
        explained = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS) {statement}"
        return "\n".join(str(line) for (line,) in connection.execute(explained.encode(), values))


if __name__ == "__main__":
    main()
