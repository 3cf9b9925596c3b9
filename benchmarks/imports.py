"""Measure the check and the staging of an import, and its memory: `python -m benchmarks.imports`."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from bazar_cli.adapters.postgres.imports import incoming
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.imports.file import RowFile
from bazar_cli.domain.imports.findings import Findings
from bazar_cli.domain.imports.imports import FileFormat, OnConflict
from benchmarks.report import Settings, setting
from benchmarks.stack import BAZAR, EmbeddedStack, embedded_stack

_RESULTS = Path(__file__).parent / "results" / "imports.md"
_CHUNK = 1 << 18
_AIM = 2.0
"""Staging may take this many times as long as COPY of the same rows."""
_GROWTH = 1.2
"""The memory of a million rows may be this many times that of a hundred thousand."""
_COLUMNS = (
    "run_id, line, email, user_id, name, plan, organizations, user_metadata, app_metadata, password_hash, awaits_hash,"
    " action, status, code, message"
)
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_HASH = "$2a$10$" + "a" * 53
_PHASES = ("read, check the form, COPY", "compare with the target", "stage", "COPY of the staged rows")


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the largest file (default 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default 3)")
    given = parser.parse_args()
    with embedded_stack() as embedded:
        with psycopg.connect(embedded.database_url) as connection:
            connection.execute(
                "INSERT INTO bazar.organizations (id, slug, name) SELECT gen_random_uuid(), 'org-' || n, 'Organization'"
                " FROM generate_series(0, 9) AS n"
            )
        settings = Settings(given.rounds, 0, load=os.getloadavg()[0])
        sizes = [given.rows // 10, given.rows * 3 // 10, given.rows]
        files = {size: _file(embedded.folder / f"{size}.csv", size) for size in sizes}
        times = [_phases(embedded, files[given.rows]) for _ in range(given.rounds)]
        memory = {size: _memory(embedded, file) for size, file in files.items()}
    text = "\n\n".join(
        [
            f"# An import of {given.rows:,} rows, until it is staged",
            "Written by `python -m benchmarks.imports`. The rows have email, name, organization, plan and a hash.",
            setting(settings),
            _table(times, given.rows),
            _memory_table(memory),
        ]
    )
    _RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


def _file(path: Path, rows: int) -> Path:
    print(f"writing {rows:,} rows", file=sys.stderr)
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write("email,name,organizations,plan,password_hash\r\n")
        for number in range(rows):
            plan = "plus" if number % 7 == 0 else ""
            stream.write(f"user{number}@example.com,Name {number},org-{number % 10}:member,{plan},{_HASH}\r\n")
    return path


def _phases(embedded: EmbeddedStack, path: Path) -> list[float]:
    """Return the seconds of each phase; everything is rolled back."""
    reach = Reach(everything=True, user_id=uuid.UUID(int=1), memberships=())
    findings, marks = Findings(), [time.perf_counter()]
    with psycopg.connect(embedded.database_url) as connection:
        incoming.copy(connection, RowFile(_chunks(path), FileFormat.CSV).rows(findings), lambda _count: None)
        marks.append(time.perf_counter())
        incoming.compare(connection, reach, OnConflict.FAIL, findings)
        assert not findings.count, findings.first
        marks.append(time.perf_counter())
        run_id = uuid.uuid4()
        connection.execute(
            "INSERT INTO bazar.import_runs (id, content_hash, columns, via, on_conflict, operator_id, operator_email,"
            " request_id, rows) VALUES (%s, sha256('x'), '{email}', 'api', 'fail', %s, 'a@b', 'r', 1)",
            (run_id, run_id),
        )
        incoming.stage(connection, run_id)
        marks.append(time.perf_counter())
        connection.execute("CREATE TABLE bazar.import_copied (LIKE bazar.import_rows INCLUDING ALL)")
        connection.execute("ALTER TABLE bazar.import_copied ADD FOREIGN KEY (run_id) REFERENCES bazar.import_runs (id)")
        copied = path.with_suffix(".copy")
        with copied.open("wb") as stream, connection.cursor().copy(_copy("bazar.import_rows", "TO STDOUT")) as out:
            stream.writelines(out)
        begun = time.perf_counter()
        with connection.cursor().copy(_copy("bazar.import_copied", "FROM STDIN")) as into:
            for chunk in _chunks(copied):
                into.write(chunk)
        seconds = [after - before for before, after in pairwise(marks)]
        seconds.append(time.perf_counter() - begun)
        connection.rollback()
    return seconds


def _copy(table: str, rest: str) -> bytes:
    return f"COPY {table} ({_COLUMNS}) {rest}".encode()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _memory(embedded: EmbeddedStack, path: Path) -> float:
    """Return the most memory in MB of a dry run, which reads, checks and compares the whole file."""
    words = [str(BAZAR), "users", "import", str(path), "--dry-run", "-o", "json"]
    process = subprocess.Popen(words, env=dict(embedded.from_profile), cwd=embedded.folder, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        # Not `ru_maxrss`, which begins with the memory of this process.
        with suppress(OSError):  # it has ended just now
            found = _PEAK.search(Path(f"/proc/{process.pid}/status").read_text())
            most = int(found[1]) if found else most
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"{' '.join(words)} ended with {process.returncode}")
    return most / 1024


def _table(times: Iterable[list[float]], rows: int) -> str:
    medians = [statistics.median(found) for found in zip(*times, strict=True)]
    factor = medians[2] / medians[3]
    notes = ["", "", f"{factor:.2f} x COPY, aim {_AIM}: {'yes' if factor <= _AIM else '**no**'}", ""]
    lines = [
        f"| {name} | {seconds:.2f} | {rows / seconds:,.0f} | {note} |"
        for name, seconds, note in zip(_PHASES, medians, notes, strict=True)
    ]
    return "\n".join(["| phase | median s | rows/s | |", "| --- | --: | --: | --- |", *lines])


def _memory_table(memory: dict[int, Any]) -> str:
    least = min(memory.values())
    lines = [f"| {size:,} | {found:.0f} | {found / least:.2f} |" for size, found in memory.items()]
    is_flat = memory[max(memory)] <= _GROWTH * memory[min(memory)]
    head = ["| rows of a dry run | MB at most | x the least |", "| --: | --: | --: |"]
    return "\n".join([*head, *lines, "", f"Flat within {_GROWTH} x: {'yes' if is_flat else '**no**'}"])


if __name__ == "__main__":
    main()
