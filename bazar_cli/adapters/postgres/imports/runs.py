"""Runs of imports, and the rows that they staged."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.imports.incoming import DECIDED, NOBODY
from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_batches, fetch_one, fetch_value, fetch_values
from bazar_cli.domain.authz.spec import Grant, Reach
from bazar_cli.domain.imports.imports import (
    CountedRun,
    ImportRun,
    ImportUsers,
    ListRuns,
    OnConflict,
    RowResult,
    ShowRun,
    Status,
    Via,
)
from bazar_cli.domain.page import Page

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

_ORDER, _ROW_ORDER = "imports", "import-rows"
_RUN: LiteralString = """
    SELECT r.id, r.content_hash, r.columns, r.via, r.on_conflict, r.operator_id, r.operator_email, r.request_id, r.rows,
           r.started_at, r.staged_at, r.finished_at, r.undone_at FROM bazar.import_runs r
"""
_BEGIN: LiteralString = """
    INSERT INTO bazar.import_runs (id, content_hash, columns, via, on_conflict, operator_id, operator_email, request_id,
                                   rows, started_at, staged_at)
    VALUES (%(id)s, %(content_hash)s, %(columns)s, %(via)s, %(on_conflict)s, %(operator_id)s, %(operator_email)s,
            %(request_id)s, %(rows)s, now(), CASE WHEN %(staged)s THEN now() END)
    ON CONFLICT (content_hash) WHERE finished_at IS NULL DO NOTHING
"""
_SEEN: LiteralString = "(%(everything)s OR r.operator_id = %(oneself)s)"
"""Superusers see every run, other operators their own."""
_RESULT: LiteralString = """
    SELECT line, email, {status} AS status,
           CASE WHEN status NOT IN ('open', 'failed') AND NOT (status = 'undone' AND action = 'none')
                THEN nullif(user_id, %(nobody)s) END AS id, code, message
"""
_EXPECTED: LiteralString = """
    CASE WHEN status = 'open' THEN CASE action WHEN 'create' THEN 'created' ELSE 'updated' END ELSE status END
"""
_STAGED_RESULTS: LiteralString = f"{_RESULT.format(status='status')} FROM bazar.import_rows WHERE run_id = %(run)s"
_EXPECTED_RESULTS: LiteralString = f"{_RESULT.format(status=_EXPECTED)} FROM {DECIDED} WHERE true"
_CLAIM_HASHES: LiteralString = """
    SELECT line FROM bazar.import_rows
    WHERE run_id = %s AND line = ANY(%s) AND awaits_hash ORDER BY line FOR UPDATE SKIP LOCKED
"""
_STORE_HASHES: LiteralString = """
    UPDATE bazar.import_rows r SET password_hash = h.hash, awaits_hash = false
    FROM unnest(%s::bigint[], %s::text[]) AS h (line, hash) WHERE r.run_id = %s AND r.line = h.line
"""
_MARK_STAGED: LiteralString = """
    UPDATE bazar.import_runs SET staged_at = clock_timestamp()
    WHERE id = %(run)s AND staged_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM bazar.import_rows WHERE run_id = %(run)s AND awaits_hash)
"""
_FINISH: LiteralString = """
    UPDATE bazar.import_runs SET finished_at = clock_timestamp()
    WHERE id = %(run)s AND finished_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM bazar.import_rows WHERE run_id = %(run)s AND status = 'open')
"""
# A row is claimed while a command works on its chunk.
_OPEN_RUNS: LiteralString = """
    SELECT r.id, r.operator_email, r.rows, r.started_at, count(o.line) AS open,
           coalesce(bool_or(o.claimed_until > clock_timestamp()), false) AS at_work,
           clock_timestamp() - r.started_at > make_interval(secs => %(seconds)s) AS is_old
    FROM bazar.import_runs r LEFT JOIN bazar.import_rows o ON o.run_id = r.id AND o.status = 'open'
    WHERE r.finished_at IS NULL GROUP BY r.id ORDER BY r.started_at, r.id
"""
# A run has personal data, which is kept for a time in which it may be undone.
_DELETE_OLD = "DELETE FROM bazar.import_runs WHERE finished_at < clock_timestamp() - make_interval(days => %s)"
KEPT_DAYS = 90
"""How long the runs that are finished are kept."""
_BATCH = 2000


@dataclass(frozen=True)
class OpenRun:
    """A run that is not finished, with the number of its open rows."""

    id: uuid.UUID
    operator_email: str
    rows: int
    started_at: datetime
    open: int
    at_work: bool
    """A command works on some of its rows."""
    is_old: bool


def open_run(connection: Connection, content_hash: bytes) -> ImportRun | None:
    """Return the open run of a file, by the hash of its bytes."""
    query = f"{_RUN} WHERE r.content_hash = %s AND r.finished_at IS NULL"
    return fetch_one(connection, _run, query, (content_hash,))


def open_runs(connection: Connection, old: timedelta) -> list[OpenRun]:
    """Return every run that is not finished, the oldest first. Parameters: `old` is the age from which one is old."""
    return fetch_all(connection, OpenRun, _OPEN_RUNS, {"seconds": old.total_seconds()})


def find(connection: Connection, run_id: uuid.UUID) -> ImportRun | None:
    """Return a run by its id, also one that the operator cannot see."""
    return fetch_one(connection, _run, f"{_RUN} WHERE r.id = %s", (run_id,))


def find_seen(connection: Connection, reach: Reach, run_id: uuid.UUID) -> ImportRun | None:
    """Return a run by its id; None if the operator cannot see it."""
    query = f"{_RUN} WHERE r.id = %(run)s AND {_SEEN}"
    return fetch_one(connection, _run, query, {"run": run_id, **_seen_by(reach)})


def begin(
    connection: Connection,
    grant: Grant,
    run_id: uuid.UUID,
    request: ImportUsers,
    columns: Sequence[str],
    *,
    rows: int,
    staged: bool,
) -> bool:
    """Insert a run; return False if another command has an open run of this file, for which it waits.

    Runs that finished long ago are deleted with their rows.
    Parameters: `staged` says that no row awaits a hash.
    """
    connection.execute(_DELETE_OLD, (KEPT_DAYS,))
    # The other command stages its rows in one transaction, which may take longer than a row stays locked elsewhere.
    connection.execute("SET LOCAL lock_timeout = 0")
    inserted = connection.execute(
        _BEGIN,
        {
            "id": run_id,
            "content_hash": request.content_hash,
            "columns": list(columns),
            "via": request.via.value,
            "on_conflict": request.on_conflict.value,
            "operator_id": grant.operator.id,
            "operator_email": grant.operator.email,
            "request_id": grant.request_id,
            "rows": rows,
            "staged": staged,
        },
    )
    return inserted.rowcount == 1


def awaited_hashes(connection: Connection, run_id: uuid.UUID) -> int:
    """Return how many rows of a run await the hash of their password."""
    query = "SELECT count(*) FROM bazar.import_rows WHERE run_id = %s AND awaits_hash"
    return fetch_value(connection, query, (run_id,))


def claim_hashes(connection: Connection, run_id: uuid.UUID, lines: Sequence[int]) -> set[int]:
    """Lock those of the lines that await a hash, and that no other importer hashes at the moment."""
    return set(fetch_values(connection, _CLAIM_HASHES, (run_id, list(lines))))


def store_hashes(connection: Connection, run_id: uuid.UUID, lines: Sequence[int], hashes: Sequence[str]) -> None:
    """Store the hashes of locked rows."""
    connection.execute(_STORE_HASHES, (list(lines), list(hashes), run_id))


def mark_staged(connection: Connection, run_id: uuid.UUID) -> None:
    """Note that a run is staged, if no row awaits a hash."""
    connection.execute(_MARK_STAGED, {"run": run_id})


def finish(connection: Connection, run_id: uuid.UUID) -> None:
    """Note that a run is finished, if no row is open."""
    connection.execute(_FINISH, {"run": run_id})


def counts(connection: Connection, run_id: uuid.UUID) -> dict[Status, int]:
    """Return how many rows of a run have each status."""
    query = "SELECT status, count(*) FROM bazar.import_rows WHERE run_id = %s GROUP BY status"
    return {Status(status): count for status, count in connection.execute(query, (run_id,)).fetchall()}


def expected_counts(connection: Connection) -> dict[Status, int]:
    """Return how many decided rows get each status."""
    query: LiteralString = f"SELECT {_EXPECTED}, count(*) FROM {DECIDED} GROUP BY 1"  # noqa: S608 - constants
    return {Status(status): count for status, count in connection.execute(query).fetchall()}


def results(connection: Connection, run_id: uuid.UUID) -> Iterator[list[RowResult]]:
    """Yield the results of all rows by line, some at a time."""
    query = f"{_STAGED_RESULTS} ORDER BY line"
    return fetch_batches(connection, _result, query, {"run": run_id, "nobody": NOBODY}, batch=_BATCH)


def expected_results(connection: Connection) -> Iterator[list[RowResult]]:
    """Yield the expected results of the decided rows by line, some at a time."""
    query = f"{_EXPECTED_RESULTS} ORDER BY line"
    return fetch_batches(connection, _result, query, {"nobody": NOBODY}, batch=_BATCH)


def failures(connection: Connection, run_id: uuid.UUID | None, most: int) -> tuple[RowResult, ...]:
    """Return the first rows that failed; of the decided rows without a run."""
    query = _EXPECTED_RESULTS if run_id is None else _STAGED_RESULTS
    query = f"{query} AND status = 'failed' ORDER BY line LIMIT %(most)s"
    return tuple(fetch_all(connection, _result, query, {"run": run_id, "nobody": NOBODY, "most": most}))


def page(connection: Connection, reach: Reach, request: ListRuns) -> Page[CountedRun]:
    """Return one page of the runs that the operator can see, the newest first.

    Raises: UsageError `list.cursor_invalid`.
    """
    values: dict[str, Any] = {**_seen_by(reach), "limit": request.limit + 1}
    where: LiteralString = _SEEN
    if request.cursor is not None:
        after = decode(request.cursor, _ORDER, by_time=True)
        where += " AND (r.started_at, r.id) < (%(after_key)s::timestamptz, %(after_id)s::uuid)"
        values |= {"after_key": after.key, "after_id": after.id}
    query = f"{_RUN} WHERE {where} ORDER BY r.started_at DESC, r.id DESC LIMIT %(limit)s"
    rows = fetch_all(connection, _run, query, values)
    shown = rows[: request.limit]
    counted = tuple(CountedRun(run, counts(connection, run.id)) for run in shown)
    if len(rows) <= request.limit:
        return Page(counted, None)
    return Page(counted, encode(Position(_ORDER, shown[-1].started_at, shown[-1].id)))


def rows_page(connection: Connection, run_id: uuid.UUID, request: ShowRun) -> Page[RowResult]:
    """Return one page of the rows of a run, by line. Raises: UsageError `list.cursor_invalid`."""
    values: dict[str, Any] = {"run": run_id, "nobody": NOBODY, "limit": request.limit + 1}
    query: LiteralString = _STAGED_RESULTS
    if request.status is not None:
        query += " AND status = %(status)s"
        values["status"] = request.status.value
    if request.cursor is not None:
        after = decode(request.cursor, _ROW_ORDER, by_time=False)
        query += " AND line > %(line)s::bigint"
        values["line"] = after.key
    rows = fetch_all(connection, _result, f"{query} ORDER BY line LIMIT %(limit)s", values)
    shown = tuple(rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(shown, None)
    return Page(shown, encode(Position(_ROW_ORDER, str(shown[-1].line), run_id)))


def _seen_by(reach: Reach) -> dict[str, object]:
    return {"everything": reach.everything, "oneself": reach.user_id}


def _run(*, content_hash: bytes, columns: list[str], via: str, on_conflict: str, **values: Any) -> ImportRun:
    return ImportRun(
        content_hash=bytes(content_hash),
        columns=tuple(columns),
        via=enum_value(Via, via, "import_runs.via"),
        on_conflict=enum_value(OnConflict, on_conflict, "import_runs.on_conflict"),
        **values,
    )


def _result(*, status: str, **values: Any) -> RowResult:
    return RowResult(status=enum_value(Status, status, "import_rows.status"), **values)
