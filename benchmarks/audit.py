"""Measure `audit verify`, `list` and `export` on many events: `python -m benchmarks.audit [EVENTS ...]`.

Each size gets a scratch database. Events are written by the triggers of the tables, a thousand a transaction, as
writers would seal them. The timed calls are services, without the start of a process.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypeVar

from bazar_cli.domain import audit as use_cases
from bazar_cli.domain.audit import AuditEvent, EventFilters, ListEvents, Outcome, Verification, VerifyLog
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.page import Page
from bazar_cli.services.audit import read
from bazar_cli.services.gate.backends import Backends
from tests.support.people import REQUEST_ID, People, Someone, granted
from tests.support.postgres import TEMPLATE, ScratchPostgres, scratch_database, target_of

T = TypeVar("T")

_RESULTS = Path(__file__).parent / "results" / "audit.md"
_SIZES = (100_000, 1_000_000)
_PAGES = (1, 1_000, 10_000)
_ROUNDS = 9
_PEOPLE, _ORGANIZATIONS = 1_000, 100
_WRITE = """
    INSERT INTO bazar.audit_events (id, operator_id, operator_email, use_case, outcome, target_type, target_id,
                                    organization_id, before, after, request_id, occurred_at)
    SELECT gen_random_uuid(), o.id, o.email,
           (ARRAY['users.create', 'users.update', 'users.delete', 'orgs.update'])[i %% 4 + 1],
           CASE WHEN i %% 50 = 0 THEN 'denied' ELSE 'done' END, 'user', t.id::text,
           CASE WHEN i %% 3 > 0 THEN g.id END, jsonb_build_object('name', 'Ann ' || i),
           jsonb_build_object('name', 'Bea ' || i, 'email', t.email), md5(i::text), now() + i * interval '1 ms'
    FROM generate_series(CAST(%s AS int), CAST(%s AS int)) AS i
         JOIN bench_people o ON o.n = i %% 20 JOIN bench_people t ON t.n = i %% 1000
         JOIN bench_orgs g ON g.n = i %% 100
"""


def _timed(act: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = act()
    return time.perf_counter() - started, result


def _arrange(people: People, count: int) -> tuple[Someone, Someone, dict[str, EventFilters]]:
    orgs = [people.org() for _ in range(_ORGANIZATIONS)]
    ruler = people.superuser()
    members = [people.user({orgs[n % _ORGANIZATIONS]: Role.MEMBER}, plan=Plan.PREMIUM) for n in range(_PEOPLE)]
    people.sql("CREATE TEMP TABLE bench_people (n int, id uuid, email text)")
    people.sql("CREATE TEMP TABLE bench_orgs (n int, id uuid)")
    for n, member in enumerate(members):
        people.sql("INSERT INTO bench_people VALUES (%s, %s, %s)", n, member.id, member.email)
    for n, org in enumerate(orgs):
        people.sql("INSERT INTO bench_orgs VALUES (%s, %s)", n, org.id)
    for start in range(1, count, 1_000):
        people.sql(_WRITE, start, start + 999)
    people.sql("VACUUM ANALYZE")
    busy, target = members[7], members[500]
    return (
        ruler,
        busy,
        {
            "nothing": EventFilters(),
            "--operator ID": EventFilters(operator=str(busy.id)),
            "--operator EMAIL": EventFilters(operator=busy.email),
            "--target ID": EventFilters(target=str(target.id)),
            "--target EMAIL": EventFilters(target=target.email),
            "--action users": EventFilters(action="users"),
            "--action orgs.update": EventFilters(action="orgs.update"),
            "--outcome denied": EventFilters(outcome=Outcome.DENIED),
            "--org ORG": EventFilters(organization=orgs[4].slug),
        },
    )


def _page_times(people: People, reader: Someone, filters: EventFilters, count: int) -> list[str]:
    """Milliseconds of some pages of 50: the median of several rounds; the cursor is taken from where the page lies."""
    grant: Grant = granted(people.operator(reader), use_cases.LIST, ListEvents(filters))
    cells: list[str] = []
    with Backends(people.target, REQUEST_ID) as backends:
        for page in _PAGES:
            cursor, skipped = None, (page - 1) * 50
            if skipped >= count:
                cells.append("")
                continue
            while skipped:
                step: Page[AuditEvent] = read.list_page(
                    backends, grant, ListEvents(filters, limit=min(1_000, skipped), cursor=cursor)
                )
                cursor, skipped = step.next_cursor, skipped - len(step.items)
                if cursor is None:
                    break
            if page > 1 and cursor is None:
                cells.append("")
                continue
            request = replace(ListEvents(filters), cursor=cursor)
            times = [_timed(lambda r=request: read.list_page(backends, grant, r))[0] for _ in range(_ROUNDS)]
            cells.append(f"{median(times) * 1000:.1f}")
    return cells


def _measure(url: str, count: int) -> list[str]:
    with People(target_of(url)) as people:
        wrote, (ruler, member, cases) = _timed(lambda: _arrange(people, count))
        print(f"{count} events written in {wrote:.0f} s", file=sys.stderr)

        def check() -> Verification:
            return people.run(ruler, read.verify, use_cases.VERIFY, VerifyLog())

        first, found = _timed(check)
        assert found.whole, found.findings
        times = [first, *(_timed(check)[0] for _ in range(2))]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def export() -> int:
            asked = EventFilters()
            with Backends(people.target, REQUEST_ID) as backends:
                grant = granted(people.operator(ruler), use_cases.EXPORT, asked)
                return sum(len(page.items) for page in read.export(backends, grant, asked))

        exported, number = _timed(export)
        assert number >= count
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        lines = [
            f"## {count:,} events, {found.seals:,} seals",
            "",
            f"- `audit verify`: {min(times):.1f} s (of {len(times)} runs; the first sealed what waited)",
            f"- `audit export` of everything: {exported:.1f} s; the process grew by {grown:.0f} MiB",
            "",
            "| `audit list`, a page of 50 | " + " | ".join(f"page {p:,}, ms" for p in _PAGES) + " |",
            "| --- |" + " --: |" * len(_PAGES),
        ]
        cases["nothing, as a member of one organization"] = EventFilters()
        for name, filters in cases.items():
            reader = member if "member" in name else ruler
            lines.append(f"| {name} | " + " | ".join(_page_times(people, reader, filters, count)) + " |")
        return [*lines, ""]


def main() -> None:
    """Measure each size, show the page, and keep it in `benchmarks/results`."""
    sizes = [int(word) for word in sys.argv[1:]] or list(_SIZES)
    lines = [
        "# The audit log",
        "",
        "Written by `python -m benchmarks.audit`. An empty cell is a page that the filter does not have.",
        "",
        f"- {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores",
        f"- {os.getloadavg()[0]:.1f} processes ran or waited on them the minute before",
        f"- {_ROUNDS} rounds a page, the median; Postgres as the tests run it, without fsync",
        "",
    ]
    server = ScratchPostgres()
    try:
        url = server.start()
        for count in sizes:
            with scratch_database(url, TEMPLATE) as database:
                lines += _measure(database, count)
    finally:
        server.stop()
    text = "\n".join(lines)
    _RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
