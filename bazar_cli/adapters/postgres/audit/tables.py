"""The guards that keep the tables of the audit log append-only and complete, and checks for missing guards."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bazar_cli.adapters.postgres.rows import fetch_all, fetch_one, fetch_value
from bazar_cli.domain.audit import Gap, Unguarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bazar_cli.adapters.postgres.connections import Connection

_EVENTS, _SEALS = "bazar.audit_events", "bazar.audit_seals"
_TABLES = (_EVENTS, _SEALS, "bazar.audit_unsealed")
_ALWAYS, _ORDINARILY = "ENABLE ALWAYS", "ENABLE"
_BEFORE_CHANGE, _BEFORE_TRUNCATE, _BEFORE_INSERT, _AFTER_INSERT = 27, 34, 7, 5
"""Bits of pg_trigger.tgtype: for each row, except for TRUNCATE."""
_TRIGGERS: Mapping[tuple[str, str], tuple[str, str, int]] = {
    (_EVENTS, "audit_events_hash"): (_ORDINARILY, "audit_hash_event", _BEFORE_INSERT),
    (_EVENTS, "audit_events_queue"): (_ORDINARILY, "audit_queue_event", _AFTER_INSERT),
    (_EVENTS, "audit_events_refuse_change"): (_ALWAYS, "audit_refuse_change", _BEFORE_CHANGE),
    (_EVENTS, "audit_events_refuse_truncate"): (_ALWAYS, "audit_refuse_change", _BEFORE_TRUNCATE),
    (_SEALS, "audit_seals_refuse_change"): (_ALWAYS, "audit_refuse_change", _BEFORE_CHANGE),
    (_SEALS, "audit_seals_refuse_truncate"): (_ALWAYS, "audit_refuse_change", _BEFORE_TRUNCATE),
}
"""The triggers of the revisions, by table and name: how to enable each, its function in `bazar`, when it fires."""
_RULES = """
    SELECT t.name AS "table", r.rulename AS name, quote_ident(r.rulename) AS quoted
    FROM unnest(%(tables)s::text[]) AS t (name) JOIN pg_rewrite r ON r.ev_class = t.name::regclass
    WHERE r.ev_enabled <> 'D' ORDER BY 1, 2
"""
_FOUND = """
    SELECT t.name AS "table", g.tgname AS name, quote_ident(g.tgname) AS quoted, g.tgenabled IN ('O', 'A') AS enabled,
           g.tgenabled = 'A' AS always, g.tgtype & 2 <> 0 AS before, g.tgtype AS type,
           p.pronamespace = 'bazar'::regnamespace AND g.tgqual IS NULL AND cardinality(g.tgattr::int2[]) = 0 AS plain,
           p.proname AS function
    FROM unnest(%(tables)s::text[]) AS t (name) JOIN pg_trigger g ON g.tgrelid = t.name::regclass
        JOIN pg_proc p ON p.oid = g.tgfoid
    WHERE NOT g.tgisinternal ORDER BY 1, 2
"""
_NUMBERS = """
    SELECT format('bazar.%I', c.relname) AS quoted, c.relname AS name, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle,
           has_sequence_privilege(c.oid, 'SELECT') AS readable
    FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
    WHERE s.seqrelid = pg_get_serial_sequence('bazar.audit_events', 'seq')::regclass
"""
_BIGGEST = 2**63 - 1
_REPLICA = "SELECT current_setting('session_replication_role') = 'replica'"


def unguarded(connection: Connection) -> tuple[Unguarded, ...]:
    """Return what lets events be changed, or lets new ones be lost, each with the SQL that mends it."""
    return (*_rules(connection), *_triggers(connection), *_numbers(connection), *_session(connection))


class _Trigger(NamedTuple):
    table: str
    name: str
    quoted: str
    enabled: bool
    always: bool
    before: bool
    type: int
    plain: bool
    function: str


class _Sequence(NamedTuple):
    quoted: str
    name: str
    seqincrement: int
    seqmin: int
    seqmax: int
    seqcycle: bool
    readable: bool


def _rules(connection: Connection) -> list[Unguarded]:
    return [
        Unguarded(
            Gap.RULE,
            table,
            name,
            f"the rule {name} on {table} can change or drop rows that are written there",
            f"DROP RULE {quoted} ON {table}",
        )
        for table, name, quoted in connection.execute(_RULES, {"tables": list(_TABLES)}).fetchall()
    ]


def _triggers(connection: Connection) -> list[Unguarded]:
    rows = {(row.table, row.name): row for row in fetch_all(connection, _Trigger, _FOUND, {"tables": list(_TABLES)})}
    found: list[Unguarded] = []
    for (table, name), (enable, function, type_) in _TRIGGERS.items():
        row = rows.pop((table, name), None)
        create = "as migrations/versions/0002_tamper_evident_audit.py does"
        switch_on = f"ALTER TABLE {table} {enable} TRIGGER {name}"
        if row is None:
            message = f"the trigger {name} of {table} is gone"
            found.append(Unguarded(Gap.TRIGGER_MISSING, table, name, message, f"create it {create}"))
        elif not (row.plain and (row.function, row.type) == (function, type_)):
            message = f"the trigger {name} of {table} is not as bazar made it, and may allow what it must stop"
            recreate = f"DROP TRIGGER {name} ON {table}, then create it {create}"
            found.append(Unguarded(Gap.TRIGGER_CHANGED, table, name, message, recreate))
        elif not row.enabled:
            message = f"the trigger {name} of {table} is disabled"
            found.append(Unguarded(Gap.TRIGGER_DISABLED, table, name, message, switch_on))
        elif enable == _ALWAYS and not row.always:
            message = f"the trigger {name} of {table} is off where session_replication_role is replica"
            found.append(Unguarded(Gap.TRIGGER_DISABLED, table, name, message, switch_on))
    found += [
        Unguarded(
            Gap.TRIGGER_ADDED,
            table,
            name,
            f"the trigger {name} on {table} is not bazar's, and can change or drop rows that are written there",
            f"DROP TRIGGER {row.quoted} ON {table}",
        )
        for (table, name), row in rows.items()
        if row.before and row.enabled
    ]
    return found


def _numbers(connection: Connection) -> list[Unguarded]:
    row = fetch_one(connection, _Sequence, _NUMBERS)
    greatest = fetch_value(connection, "SELECT coalesce(max(seq), 0) FROM bazar.audit_events")
    column = "ALTER TABLE bazar.audit_events ALTER COLUMN seq"
    if row is None:
        message = "the column seq of bazar.audit_events has no sequence: no event can be written, and so no change"
        remedy = f"{column} ADD GENERATED ALWAYS AS IDENTITY (START WITH {greatest + 1})"
        return [Unguarded(Gap.SEQUENCE_MISSING, _EVENTS, "seq", message, remedy)]

    def gap(kind: Gap, state: str, remedy: str) -> list[Unguarded]:
        message = f"the sequence bazar.{row.name}, which numbers events, {state}"
        return [Unguarded(kind, _EVENTS, row.name, message, remedy)]

    raise_end = f"{column} SET NO MAXVALUE SET NO CYCLE"
    if row.seqcycle:
        return gap(Gap.SEQUENCE_AT_END, "begins again at its end", raise_end)
    if not row.readable:
        return []
    # Read after the greatest number: it only grows meanwhile.
    query = f"SELECT last_value, is_called FROM {row.quoted}".encode()  # noqa: S608 - quoted by Postgres
    [(last, is_called)] = connection.execute(query).fetchall()
    following = last + row.seqincrement if is_called else last
    to_the_last = f"SELECT setval('{row.quoted}', {max(greatest, 1)})"
    if row.seqincrement < 0:
        to_the_last = f"{column} SET INCREMENT 1 RESTART WITH {greatest + 1}"
    if not row.seqmin <= following <= row.seqmax:
        remedy = raise_end if row.seqmax < _BIGGEST else to_the_last
        if greatest == _BIGGEST:
            remedy = "no number is left: keep the log with `bazar audit export`, and continue in a new database"
        return gap(Gap.SEQUENCE_AT_END, "is at its end: no event can be written, and so no change", remedy)
    if following <= greatest:
        state = f"continues at {following}, but events have numbers up to {greatest}: no event can be written there"
        return gap(Gap.SEQUENCE_SET_BACK, f"{state}, and so no change", to_the_last)
    return []


def _session(connection: Connection) -> list[Unguarded]:
    if not fetch_value(connection, _REPLICA):
        return []
    message = (
        "session_replication_role is replica for the role of the connection: the triggers that hash events are off"
    )
    remedy = "reset it on the role or database where it is set: ALTER ROLE ... RESET session_replication_role"
    return [Unguarded(Gap.REPLICA, _EVENTS, "session_replication_role", message, remedy)]
