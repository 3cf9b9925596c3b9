"""Measure exports of a million users against COPY of the same rows: `python -m benchmarks.export`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from benchmarks.many_users import fill
from benchmarks.measure import Case, Kind, Times, measure
from benchmarks.report import Settings, setting, table
from benchmarks.stack import BAZAR, EmbeddedStack, embedded_stack

_RESULTS = Path(__file__).parent / "results" / "export.md"
_COPY = "psql, COPY of the same rows"
_ROWS = """
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.is_superuser, u.created_at, u.updated_at,
           (SELECT string_agg(o.slug || ':' || m.role, ';' ORDER BY o.slug)
            FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id WHERE m.user_id = u.id)
    FROM bazar.users u ORDER BY u.created_at, u.id
"""
_AIM = 2.0
_MEMORY = 150
"""MB that an export of any size may hold."""


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, help="how many users (default 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default 3)")
    given = parser.parse_args()
    with embedded_stack() as embedded:
        print(f"writing {given.users:,} users", file=sys.stderr)
        fill(embedded.database_url, given.users, (1,))
        cases = _cases(embedded)
        settings = Settings(given.rounds, 1, load=os.getloadavg()[0])
        times = measure(
            cases,
            embedded.folder,
            rounds=given.rounds,
            warm_ups=1,
        )
    text = "\n\n".join(
        [
            f"# Exports of {given.users:,} users",
            "Written by `python -m benchmarks.export`. The floor is COPY of the same rows by psql.",
            setting(settings),
            table(cases, times, Kind.BAZAR),
            table(cases, times, Kind.FLOOR),
            _memory(times),
        ]
    )
    _RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


def _cases(embedded: EmbeddedStack) -> tuple[Case, ...]:
    psql = shutil.which("psql")
    if psql is None:
        sys.exit("this needs psql")
    copy = (psql, embedded.database_url, "-c", f"COPY ({_ROWS}) TO STDOUT")
    return (
        Case(Kind.FLOOR, _COPY, copy, embedded.plain),
        *(
            Case(
                Kind.BAZAR,
                f"users export -o {chosen}",
                (str(BAZAR), "users", "export", "-o", chosen),
                embedded.from_profile,
                _COPY,
                _AIM,
            )
            for chosen in ("jsonl", "csv", "json")
        ),
    )


def _memory(times: dict[str, Times]) -> str:
    """Return the memory of each case, and whether it is within the aim."""
    rows = [
        f"| {name} | {max(taken.memory):.0f} | {'yes' if max(taken.memory) <= _MEMORY else '**no**'} |"
        for name, taken in times.items()
    ]
    return "\n".join([f"| case | MB at most | at most {_MEMORY} |", "| --- | --: | --- |", *rows])


if __name__ == "__main__":
    main()
