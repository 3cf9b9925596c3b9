"""The chain of the audit log: sealing committed events, and verifying the chain.

Verification trusts nothing that is stored but the rows: it has its own expressions, made of functions that Postgres
itself brings, and reads one snapshot, so that writers at work do not disturb it.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from bazar_cli.adapters.postgres.rows import fetch_all, fetch_value
from bazar_cli.domain.audit import Break, Finding, Verification

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

SHOWN = 10
"""How many findings are reported; the first one matters most."""

# No object of another schema can replace a function or operator of Postgres, and a policy that hides rows is an
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
_COUNTS = """
    SELECT (SELECT count(*) FROM bazar.audit_events) AS events, count(*) AS seals,
           (SELECT count(*) FROM bazar.audit_unsealed) AS unsealed, coalesce(sum(length(entries) / 48), 0) AS entries,
           (array_agg(encode(hash, 'hex') ORDER BY position DESC))[1] AS head,
           (array_agg(sealed_at ORDER BY position DESC))[1] AS head_at
    FROM bazar.audit_seals
"""
_BROKEN_SEALS = f"""
    WITH checked AS (
        SELECT s.position, s.sealed_at, lag(s.position) OVER w AS before,
               s.hash = {_SEAL_HASH} AND length(s.entries) = s.events * 48 AS sound,
               s.previous = coalesce(lag(s.hash) OVER w, decode(repeat('00', 32), 'hex')) AS follows
        FROM bazar.audit_seals s WINDOW w AS (ORDER BY s.position)
    )
    SELECT position, sealed_at, coalesce(before, 0) AS before, sound IS TRUE AS sound FROM checked
    WHERE (sound AND follows AND position = coalesce(before, 0) + 1) IS NOT TRUE ORDER BY position LIMIT %(shown)s
"""  # noqa: S608 - constants
# One pass over events, entries and queue; of a log that is whole no row is left.
_BROKEN_EVENTS = f"""
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
    SELECT id, kind, seq, use_case, at, position, i FROM numbered WHERE place <= %(shown)s ORDER BY kind, place
"""  # noqa: S608 - constants
_REPEATED = f"""
    WITH {_ENTRIES}
    SELECT id, max(position) AS position FROM entry GROUP BY id HAVING count(*) > 1
    UNION ALL SELECT id, NULL FROM bazar.audit_events GROUP BY id HAVING count(*) > 1
    UNION ALL SELECT event_id, NULL FROM bazar.audit_unsealed GROUP BY event_id HAVING count(*) > 1
    LIMIT %(shown)s
"""  # noqa: S608 - constants
# occurred_at is when the transaction began, and seq is given when the event is written. An older time with a higher
# number comes from a long transaction, a clock that was set back, or a time that was written by hand. Times of seals do
# not count: those of a backlog are much younger than their events.
_OUT_OF_ORDER = """
    SELECT e.id, e.use_case, e.occurred_at
    FROM (SELECT a.id, a.seq, a.use_case, a.occurred_at,
                 max(a.occurred_at) OVER (ORDER BY a.seq ROWS UNBOUNDED PRECEDING) AS latest
          FROM bazar.audit_events a) e
    WHERE e.occurred_at < e.latest - interval '1 hour' ORDER BY e.seq LIMIT %(shown)s
"""
# The last event of one seal that still exists, or the last one before an entry of it.
_LAST = """
    SELECT max(e.seq)
    FROM bazar.audit_seals s CROSS JOIN LATERAL generate_series(0, length(s.entries) / 48 - 1) AS n (i)
         JOIN bazar.audit_events e ON e.id = encode(substr(s.entries, n.i * 48 + 1, 16), 'hex')::uuid
    WHERE s.position = %(position)s AND n.i < coalesce(%(i)s::int, n.i + 1)
"""
_EXPECTED = "SELECT position FROM bazar.audit_seals WHERE hash = decode(%(hash)s, 'hex')"


def seal(connection: Connection) -> None:
    """Seal every committed event that no seal holds; where another transaction is at it, leave it to that one."""
    connection.execute("SELECT bazar.seal_audit(NULL)")


def verify(connection: Connection, expect: str | None) -> Verification:
    """Compare events, seals and queue, all of one moment.

    Parameters: `connection` reads one snapshot, as `Database.read` gives it; `expect` is the hash, in hexadecimal
    digits, of a seal that the chain must have.
    """
    for setting in _SETTINGS:
        connection.execute(setting)
    [counts] = fetch_all(connection, _Counts, _COUNTS)
    placed = [*_seals(connection), *_events(connection)]
    if not placed and counts.events != counts.entries + counts.unsealed:
        placed = _repeated(connection)
    findings = [finding for _, finding in sorted(placed, key=lambda p: p[0])][:SHOWN]
    if expect is not None and fetch_value(connection, _EXPECTED, {"hash": expect}) is None:
        findings.insert(0, _unexpected(expect))
    return Verification(
        events=counts.events,
        seals=counts.seals,
        unsealed=counts.unsealed,
        head=counts.head,
        head_at=counts.head_at,
        findings=tuple(findings),
        out_of_order=tuple(fetch_all(connection, _out_of_order, _OUT_OF_ORDER, {"shown": SHOWN})),
    )


class _Counts(NamedTuple):
    events: int
    seals: int
    unsealed: int
    entries: int
    head: str | None
    head_at: datetime | None


class _BrokenEvent(NamedTuple):
    id: uuid.UUID
    kind: str
    seq: int | None
    use_case: str | None
    at: datetime | None
    position: int | None
    """The position of the seal that has an entry of this event."""
    i: int | None


_Placed = tuple[float, Finding]
"""A finding with its place in the log: the `seq` of its event, or one between those of its neighbours."""


def _seals(connection: Connection) -> list[_Placed]:
    found: list[_Placed] = []
    for at, sealed_at, before, sound in connection.execute(_BROKEN_SEALS, {"shown": SHOWN}).fetchall():
        kind, position = Break.SEAL_CHANGED, at
        if not sound:
            message = f"seal {position} was changed: its hash is not that of its content"
        elif before + 1 == position:
            message = f"seal {position} does not follow from the one before it: one of the two was replaced"
        else:
            kind, position = Break.SEAL_REMOVED, before + 1
            several = f"seals {position} to {at - 1} are"
            message = f"{several if before + 2 < at else f'seal {position} is'} missing"
        found.append((_last(connection, before) + 0.5, Finding(kind, message, seal=position, at=sealed_at)))
    return found


def _events(connection: Connection) -> list[_Placed]:
    found: list[_Placed] = []
    before = 0.0
    for event in fetch_all(connection, _BrokenEvent, _BROKEN_EVENTS, {"shown": SHOWN}):
        if event.seq is None:
            # The place of an event that is gone is between its neighbours.
            assert event.position is not None, "without a row and a place in the queue it has an entry in a seal"
            before = max(before, _last(connection, event.position, event.i) or _last(connection, event.position - 1))
        found.append((before + 0.5 if event.seq is None else event.seq, _finding(event)))
    return found


def _finding(event: _BrokenEvent) -> Finding:
    kind = Break(event.kind)
    held = f"seal {event.position}" if event.position is not None else None
    messages = {
        Break.EVENT_REMOVED: f"event {event.id} was removed: "
        + (f"{held} holds its hash" if held else "it waits for a seal and is not there"),
        Break.EVENT_CHANGED: f"event {event.id} was changed: its content is not "
        + (f"what {held} holds" if held else "that of its hash"),
        Break.EVENT_INSERTED: f"event {event.id} is in no seal and waits for none: it was slipped in, or the seal that"
        " held it was removed",
        Break.EVENT_REPEATED: f"event {event.id} waits for a seal, and {held} holds it already",
    }
    return Finding(kind, messages[kind], event.id, event.use_case, event.position, event.at)


def _out_of_order(id: uuid.UUID, use_case: str, occurred_at: datetime) -> Finding:  # noqa: A002 - a column
    message = f"event {id} is more than an hour older than an event that was written before it"
    return Finding(Break.OUT_OF_ORDER, message, id, use_case, at=occurred_at)


def _repeated(connection: Connection) -> list[_Placed]:
    return [
        (position or 0, Finding(Break.EVENT_REPEATED, f"event {id_} is there more than once", id_, seal=position))
        for id_, position in connection.execute(_REPEATED, {"shown": SHOWN}).fetchall()
    ]


def _last(connection: Connection, position: int | None, i: int | None = None) -> float:
    return fetch_value(connection, _LAST, {"position": position, "i": i}) or 0


def _unexpected(expect: str) -> Finding:
    message = (
        f"no seal has the hash {expect}: the log was rewritten or cut off after that hash was kept, an older backup"
        " was restored, or the hash is of another database"
    )
    return Finding(Break.NOT_AS_EXPECTED, message)
