"""The chain of the audit log: sealing what is committed, and proving it whole.

Verification trusts nothing that is stored but the rows: it has its own expressions, made of functions that Postgres
itself brings, and reads one snapshot, so that writers at work do not disturb it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from bazar_cli.domain.audit import Break, Finding, Verification

SHOWN = 10
"""How many findings are told of; the first one is what matters."""

# Nothing of another schema can stand in for a function or operator of Postgres, and a policy that hides rows is an
# error instead of a shorter log.
_SETTINGS = (
    "SET LOCAL search_path TO pg_catalog",
    "SET LOCAL row_security TO off",
    "SET LOCAL work_mem TO '64MB'",
)
_TIME = """'YYYY-MM-DD"T"HH24:MI:SS.US BC'"""
_EVENT_HASH = f"""
    sha256(convert_to(jsonb_build_array(
        e.id, e.seq, to_char(e.occurred_at AT TIME ZONE 'UTC', {_TIME}), e.operator_id, e.operator_email, e.use_case,
        e.outcome, e.target_type, e.target_id, e.organization_id, e.before::text, e.after::text, e.reason,
        e.request_id)::text, 'UTF8'))
"""
_SEAL_HASH = f"""
    sha256(int8send(s.position) || s.previous
           || convert_to(to_char(s.sealed_at AT TIME ZONE 'UTC', {_TIME}), 'UTF8') || s.entries)
"""
# The concatenation brings the entries in from their own storage once, not once for each of them.
_ENTRIES = """
    seal AS MATERIALIZED (SELECT s.position, s.sealed_at, s.entries || ''::bytea AS entries FROM bazar.audit_seals s),
    entry AS (
        SELECT s.position, s.sealed_at, n.i, substr(s.entries, n.i * 48 + 17, 32) AS hash,
               encode(substr(s.entries, n.i * 48 + 1, 16), 'hex')::uuid AS id
        FROM seal s CROSS JOIN LATERAL generate_series(0, length(s.entries) / 48 - 1) AS n (i)
    )
"""
_COUNTS = text(
    """
    SELECT (SELECT count(*) FROM bazar.audit_events) AS events, count(*) AS seals,
           (SELECT count(*) FROM bazar.audit_unsealed) AS unsealed, coalesce(sum(length(entries) / 48), 0) AS entries,
           (array_agg(encode(hash, 'hex') ORDER BY position DESC))[1] AS head,
           (array_agg(sealed_at ORDER BY position DESC))[1] AS head_at
    FROM bazar.audit_seals
    """
)
_BROKEN_SEALS = text(
    f"""
    WITH checked AS (
        SELECT s.position, s.sealed_at, lag(s.position) OVER w AS before,
               s.hash = {_SEAL_HASH} AND length(s.entries) = s.events * 48 AS sound,
               s.previous = coalesce(lag(s.hash) OVER w, decode(repeat('00', 32), 'hex')) AS follows
        FROM bazar.audit_seals s WINDOW w AS (ORDER BY s.position)
    )
    SELECT position, sealed_at, coalesce(before, 0) AS before, sound IS TRUE AS sound FROM checked
    WHERE (sound AND follows AND position = coalesce(before, 0) + 1) IS NOT TRUE ORDER BY position LIMIT :shown
    """  # noqa: S608 - constants
)
# One pass over events, entries and queue; of a log that is whole no row is left.
_BROKEN_EVENTS = text(
    f"""
    WITH {_ENTRIES},
    event AS (
        SELECT e.id, e.seq, e.hash, e.use_case, e.occurred_at, e.hash = {_EVENT_HASH} AS sound
        FROM bazar.audit_events e
    ),
    compared AS (
        SELECT coalesce(e.id, n.id, q.event_id) AS id, coalesce(e.seq, q.seq) AS seq, e.use_case,
               coalesce(e.occurred_at, n.sealed_at) AS at, n.position, n.i,
               CASE WHEN e.id IS NULL THEN 'event-removed'
                    WHEN n.id IS NULL AND q.event_id IS NULL THEN 'event-inserted'
                    WHEN e.sound IS NOT TRUE OR (n.id IS NOT NULL AND n.hash IS DISTINCT FROM e.hash)
                         OR (q.event_id IS NOT NULL AND q.seq IS DISTINCT FROM e.seq) THEN 'event-changed'
                    WHEN n.id IS NOT NULL AND q.event_id IS NOT NULL THEN 'event-repeated' END AS kind
        FROM event e FULL JOIN entry n ON n.id = e.id
             FULL JOIN bazar.audit_unsealed q ON q.event_id = coalesce(e.id, n.id)
    ),
    numbered AS (
        SELECT *, row_number() OVER (PARTITION BY kind ORDER BY position IS NULL, position, i, seq) AS place
        FROM compared WHERE kind = 'event-removed'
        UNION ALL
        SELECT *, row_number() OVER (PARTITION BY kind ORDER BY seq) AS place
        FROM compared WHERE kind <> 'event-removed'
    )
    SELECT id, kind, seq, use_case, at, position, i FROM numbered WHERE place <= :shown ORDER BY kind, place
    """  # noqa: S608 - constants
)
_REPEATED = text(
    f"""
    WITH {_ENTRIES}
    SELECT id, max(position) AS position FROM entry GROUP BY id HAVING count(*) > 1
    UNION ALL SELECT id, NULL FROM bazar.audit_events GROUP BY id HAVING count(*) > 1
    UNION ALL SELECT event_id, NULL FROM bazar.audit_unsealed GROUP BY event_id HAVING count(*) > 1
    LIMIT :shown
    """  # noqa: S608 - constants
)
# occurred_at is when the transaction began, and seq is given when the event is written: an older time beside a higher
# number is a transaction that was open for so long, a clock that was set back, or a time that somebody wrote by hand.
# Seals are not asked: those of a backlog are much younger than their events.
_OUT_OF_ORDER = text(
    """
    SELECT e.id, e.use_case, e.occurred_at
    FROM (SELECT a.id, a.seq, a.use_case, a.occurred_at,
                 max(a.occurred_at) OVER (ORDER BY a.seq ROWS UNBOUNDED PRECEDING) AS latest
          FROM bazar.audit_events a) e
    WHERE e.occurred_at < e.latest - interval '1 hour' ORDER BY e.seq LIMIT :shown
    """
)
# Of one seal the last event that is still there, or the last one before an entry of it.
_LAST = text(
    """
    SELECT max(e.seq)
    FROM bazar.audit_seals s CROSS JOIN LATERAL generate_series(0, length(s.entries) / 48 - 1) AS n (i)
         JOIN bazar.audit_events e ON e.id = encode(substr(s.entries, n.i * 48 + 1, 16), 'hex')::uuid
    WHERE s.position = :position AND n.i < coalesce(CAST(:i AS int), n.i + 1)
    """
)
_EXPECTED = text("SELECT position FROM bazar.audit_seals WHERE hash = decode(:hash, 'hex')")


def seal(connection: Connection) -> None:
    """Seal every committed event that no seal holds; where another transaction is at it, leave it to that one."""
    connection.execute(text("SELECT bazar.seal_audit(NULL)"))


def verify(connection: Connection, expect: str | None) -> Verification:
    """Compare events, seals and queue, all of one moment.

    Parameters: `connection` reads one snapshot, as `Database.read` gives it; `expect` is the hash, in hexadecimal
    digits, of a seal that the chain must have.
    """
    for setting in _SETTINGS:
        connection.execute(text(setting))
    counts = connection.execute(_COUNTS).one()
    placed = [*_seals(connection), *_events(connection)]
    if not placed and counts.events != counts.entries + counts.unsealed:
        placed = _repeated(connection)
    findings = [finding for _, finding in sorted(placed, key=lambda p: p[0])][:SHOWN]
    if expect is not None and connection.execute(_EXPECTED, {"hash": expect}).first() is None:
        findings.insert(0, _unexpected(expect))
    return Verification(
        events=counts.events,
        seals=counts.seals,
        unsealed=counts.unsealed,
        head=counts.head,
        head_at=counts.head_at,
        findings=tuple(findings),
        out_of_order=tuple(_late(row) for row in connection.execute(_OUT_OF_ORDER, {"shown": SHOWN}).all()),
    )


_Placed = tuple[float, Finding]
"""A finding with where it stands in the log: the `seq` of its event, or of those beside it."""


def _seals(connection: Connection) -> list[_Placed]:
    found: list[_Placed] = []
    for row in connection.execute(_BROKEN_SEALS, {"shown": SHOWN}).all():
        kind, position = Break.SEAL_CHANGED, row.position
        if not row.sound:
            message = f"seal {position} was changed: its hash is not that of its content"
        elif row.before + 1 == position:
            message = f"seal {position} does not follow from the one before it: one of the two was replaced"
        else:
            kind, position = Break.SEAL_REMOVED, row.before + 1
            several = f"seals {position} to {row.position - 1} are"
            message = f"{several if row.before + 2 < row.position else f'seal {position} is'} missing"
        found.append((_last(connection, row.before) + 0.5, Finding(kind, message, seal=position, at=row.sealed_at)))
    return found


def _events(connection: Connection) -> list[_Placed]:
    found: list[_Placed] = []
    before = 0.0
    for row in connection.execute(_BROKEN_EVENTS, {"shown": SHOWN}).all():
        if row.seq is None:
            # Of an event that is gone only its neighbours tell where it was.
            before = max(before, _last(connection, row.position, row.i) or _last(connection, row.position - 1))
        found.append((before + 0.5 if row.seq is None else row.seq, _finding(row)))
    return found


def _finding(row: Row[Any]) -> Finding:
    kind = Break(row.kind)
    held = f"seal {row.position}" if row.position is not None else None
    messages = {
        Break.EVENT_REMOVED: f"event {row.id} was removed: "
        + (f"{held} holds its hash" if held else "it waits for a seal and is not there"),
        Break.EVENT_CHANGED: f"event {row.id} was changed: its content is not "
        + (f"what {held} holds" if held else "that of its hash"),
        Break.EVENT_INSERTED: f"event {row.id} is in no seal and waits for none: it was slipped in, or the seal that"
        " held it was removed",
        Break.EVENT_REPEATED: f"event {row.id} waits for a seal, and {held} holds it already",
    }
    return Finding(kind, messages[kind], row.id, row.use_case, row.position, row.at)


def _late(row: Row[Any]) -> Finding:
    message = f"event {row.id} is more than an hour older than an event that was written before it"
    return Finding(Break.OUT_OF_ORDER, message, row.id, row.use_case, at=row.occurred_at)


def _repeated(connection: Connection) -> list[_Placed]:
    message = "event {} is there more than once"
    rows = connection.execute(_REPEATED, {"shown": SHOWN}).all()
    return [
        (row.position or 0, Finding(Break.EVENT_REPEATED, message.format(row.id), row.id, seal=row.position))
        for row in rows
    ]


def _last(connection: Connection, position: int, i: int | None = None) -> float:
    return connection.execute(_LAST, {"position": position, "i": i}).scalar() or 0


def _unexpected(expect: str) -> Finding:
    message = (
        f"no seal has the hash {expect}: the log was rewritten or cut off after that hash was kept, an older backup"
        " was restored, or the hash is of another database"
    )
    return Finding(Break.NOT_AS_EXPECTED, message)
