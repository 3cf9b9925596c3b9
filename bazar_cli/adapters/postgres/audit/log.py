"""Reads the audit log: events within the operator's reach, by key, so that every page costs the same.

A query has several lanes. Each follows one index in the order of the list and stops at the page's end. A superuser has
one lane for each target, use case and organization that the filters name. Others have a lane for each of their
organizations, one for themselves, one for each user in one of these organizations, and one for deleted users who were
in one of them: only the event of a deletion still names their organizations.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_batches, fetch_values
from bazar_cli.domain.audit import AuditEvent, EventFilters, ListEvents, Outcome
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.page import Page

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

_ORDER = "audit"
_BATCH = 1000
_COLUMNS = (
    "e.id, e.occurred_at, e.operator_id, e.operator_email, e.use_case, e.outcome, e.target_type, e.target_id,"
    " e.organization_id, e.before, e.after, e.reason, e.request_id, e.seq"
)
_MINE = "%(organizations)s::uuid[]"
# The four lanes of an operator who is not a superuser; no event is in two. A denial is seen by superusers and by the
# operator who was denied.
_OTHERS_DENIALS = "(e.outcome <> 'denied' OR e.operator_id = %(oneself)s)"
_IN_ORGANIZATIONS = (f"unnest({_MINE}) AS o (id)", f"e.organization_id = o.id AND {_OTHERS_DENIALS}")
_BY_ONESELF = ("", f"e.operator_id = %(oneself)s AND coalesce(e.organization_id <> ALL ({_MINE}), true)")
_ABOUT_COLLEAGUES = (
    f"""(SELECT DISTINCT m.user_id::text AS id FROM bazar.memberships m WHERE m.organization_id = ANY ({_MINE})
         UNION SELECT %(oneself)s::uuid::text) AS u""",  # noqa: S608 - constants
    """e.target_id = u.id AND e.target_type = 'user' AND e.organization_id IS NULL AND e.outcome <> 'denied'
       AND e.operator_id IS DISTINCT FROM %(oneself)s""",
)
# Of users who were in one of the reader's organizations; `audit_events_deleted_from_idx` has these conditions.
_DELETED_COLLEAGUES = """e.use_case = 'users.delete' AND e.outcome = 'done' AND e.organization_id IS NULL
       AND e.operator_id IS DISTINCT FROM %(oneself)s
       AND jsonb_path_query_array(e.before, '$.organizations[*].id') ?| %(organizations)s::text[]"""
# A user who still exists is found by the lane above, or is out of the reader's reach.
_GONE = """NOT EXISTS (SELECT 1 FROM bazar.users u
                       WHERE u.id = CASE e.use_case WHEN 'users.delete' THEN e.target_id::uuid END)"""
RECENT = 1000
"""A page is looked for among this many of the newest deletions, and only then among all that the reader may see."""
_NAMES = ("coalesce(e.before ->> 'email', e.before ->> 'slug')", "coalesce(e.after ->> 'email', e.after ->> 'slug')")
_ACTIONS = """
    WITH RECURSIVE known AS (
        (SELECT use_case FROM bazar.audit_events ORDER BY use_case LIMIT 1)
        UNION ALL
        SELECT (SELECT e.use_case FROM bazar.audit_events e WHERE e.use_case > known.use_case
                ORDER BY e.use_case LIMIT 1)
        FROM known WHERE known.use_case IS NOT NULL
    )
    SELECT use_case FROM known WHERE use_case = %(action)s OR starts_with(use_case, %(action)s || '.')
"""


@dataclass(frozen=True)
class Selection:
    """Filters, with the ids and use cases that they name. None is a filter that was not given."""

    filters: EventFilters
    targets: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    organizations: tuple[uuid.UUID, ...] | None = None


def actions_like(connection: Connection, action: str) -> tuple[str, ...]:
    """Return the use cases in the log with this name, or with it as prefix. The index is scanned loosely."""
    return tuple(fetch_values(connection, _ACTIONS, {"action": action}))


def targets_named(connection: Connection, reach: Reach, name: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids of targets of these types that have this email or slug in an event that the operator can see."""
    if not _may_be_stored(name):
        return ()
    events, values = _within(reach, Selection(EventFilters()), limit=None, also="e.seq IN (SELECT seq FROM named)")
    query = f"""
        WITH named AS MATERIALIZED (
            SELECT e.seq FROM bazar.audit_events e WHERE {_NAMES[0]} = %(name)s
            UNION SELECT e.seq FROM bazar.audit_events e WHERE {_NAMES[1]} = %(name)s)
        SELECT DISTINCT e.target_id FROM ({events}) e
        WHERE e.target_id IS NOT NULL AND e.target_type = ANY (%(kinds)s) AND e.outcome <> 'denied'
    """  # noqa: S608 - constants
    return tuple(fetch_values(connection, query, {**values, "name": name.lower(), "kinds": list(kinds)}))


def page(connection: Connection, reach: Reach, selection: Selection, request: ListEvents) -> Page[AuditEvent]:
    """Return one page, the newest event first.

    Raises: UsageError `list.cursor_invalid`.
    """
    also: LiteralString = "true"
    values = dict[str, Any]()
    if request.cursor is not None:
        last = decode(request.cursor, _ORDER, by_time=True)
        # Of an event that is not there the time alone counts.
        also = (
            "(e.occurred_at, e.seq) < (%(after_key)s::timestamptz,"
            " (SELECT c.seq FROM bazar.audit_events c WHERE c.id = %(after_id)s::uuid))"
        )
        values = {"after_key": last.key, "after_id": last.id}
    events, reached = _within(reach, selection, limit=request.limit + 1, also=also)
    query = f"SELECT * FROM ({events}) e ORDER BY e.occurred_at DESC, e.seq DESC LIMIT %(limit)s"  # noqa: S608
    rows = fetch_all(connection, _event, query, {**reached, **values})
    found = tuple(rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(found, None)
    return Page(found, encode(Position(_ORDER, found[-1].occurred_at, found[-1].id)))


def stream(connection: Connection, reach: Reach, selection: Selection) -> Iterator[tuple[AuditEvent, ...]]:
    """Yield every event, the oldest first, a batch in memory at a time."""
    events, values = _within(reach, selection, limit=None)
    query = f"SELECT * FROM ({events}) e ORDER BY e.occurred_at, e.seq"  # noqa: S608 - constants
    yield from map(tuple, fetch_batches(connection, _event, query, values, batch=_BATCH))


def _within(
    reach: Reach, selection: Selection, *, limit: int | None, also: LiteralString = "true"
) -> tuple[LiteralString, dict[str, Any]]:
    """Select events that the operator can see; with a limit, at most the newest of each lane."""
    conditions, values = _filtered(selection)
    named: dict[LiteralString, tuple[LiteralString, LiteralString, Iterable[object] | None]] = {
        "target_id": ("targets", "text", selection.targets),
        "use_case": ("actions", "text", selection.actions),
        "organization_id": ("named_organizations", "uuid", selection.organizations),
    }
    asked: dict[LiteralString, tuple[LiteralString, LiteralString]] = {
        column: (name, kind) for column, (name, kind, found) in named.items() if found is not None
    }
    values |= {name: list(found) for name, _, found in named.values() if found is not None}
    lanes: list[tuple[LiteralString, LiteralString]]
    if reach.everything:
        sources: list[LiteralString] = [f"unnest(%({name})s::{kind}[]) AS {name} (it)" for name, kind in asked.values()]
        joined: list[LiteralString] = [f"e.{column} = {name}.it" for column, (name, _) in asked.items()]
        lanes = [(", ".join(sources), " AND ".join(joined) or "true")]
    else:
        conditions.extend(f"e.{column} = ANY (%({name})s::{kind}[])" for column, (name, kind) in asked.items())
        values |= {"oneself": reach.user_id, "organizations": sorted(reach.organization_ids)}
        lanes = [_IN_ORGANIZATIONS, _BY_ONESELF, _ABOUT_COLLEAGUES]
    conditions.append(also)
    where = " AND ".join(conditions)
    if limit is not None:
        values["limit"] = limit
    found: list[LiteralString] = [_lane(source, f"{own} AND {where}", limit) for source, own in lanes]
    if not reach.everything:
        values["recent"] = RECENT
        found.append(_deletions(where, also, limit))
    return " UNION ALL ".join(found), values


def _lane(source: LiteralString, where: LiteralString, limit: int | None) -> LiteralString:
    select, tables = f"SELECT {_COLUMNS} FROM", "bazar.audit_events e"
    if limit is None:
        return f"({select} {f'{source}, ' if source else ''}{tables} WHERE {where})"
    ended = f"{select} {tables} WHERE {where} ORDER BY e.occurred_at DESC, e.seq DESC LIMIT %(limit)s"
    return f"(SELECT e.* FROM {source} CROSS JOIN LATERAL ({ended}) e)" if source else f"({ended})"  # noqa: S608


def _deletions(where: LiteralString, also: LiteralString, limit: int | None) -> LiteralString:
    """The lane of deletions: no index has them both by organization and in order.

    Where many of the newest are the reader's they fill the page; else the reader's own are found and sorted.
    """
    theirs = f"{_DELETED_COLLEAGUES} AND {where}"
    if limit is None:
        return _lane("", f"{theirs} AND {_GONE}", None)
    order = "ORDER BY e.occurred_at DESC, e.seq DESC"
    # OFFSET 0 makes the planner find all by the index, sort them, and then look them up to the page's end.
    return f"""(
        WITH recent AS MATERIALIZED (
            SELECT {_COLUMNS} FROM (
                SELECT e.* FROM bazar.audit_events e WHERE e.use_case = 'users.delete' AND {also}
                {order} LIMIT %(recent)s) e
            WHERE {theirs} AND {_GONE} {order} LIMIT %(limit)s
        ), few AS (SELECT count(*) < %(limit)s AS few FROM recent)
        SELECT * FROM recent WHERE NOT (SELECT few FROM few)
        UNION ALL
        (SELECT e.* FROM (
            SELECT e.* FROM (SELECT {_COLUMNS} FROM bazar.audit_events e
                             WHERE (SELECT few FROM few) AND {theirs} OFFSET 0) e {order} OFFSET 0) e
         WHERE {_GONE} {order} LIMIT %(limit)s))"""  # noqa: S608 - constants


def _filtered(selection: Selection) -> tuple[list[LiteralString], dict[str, Any]]:
    filters = selection.filters
    conditions: list[LiteralString] = []
    values: dict[str, Any] = {}
    if filters.operator is not None:
        try:
            values["operator"] = uuid.UUID(filters.operator)
            conditions.append("e.operator_id = %(operator)s")
        except ValueError:
            values["operator"] = filters.operator.lower() if _may_be_stored(filters.operator) else ""
            conditions.append("e.operator_email = %(operator)s")
    if filters.outcome is not None:
        conditions.append("e.outcome = %(outcome)s")
        values["outcome"] = filters.outcome.value
    if filters.since is not None:
        conditions.append("e.occurred_at >= %(since)s")
        values["since"] = filters.since
    if filters.until is not None:
        conditions.append("e.occurred_at < %(until)s")
        values["until"] = filters.until
    if filters.request_id is not None:
        conditions.append("e.request_id = %(request)s")
        values["request"] = filters.request_id if _may_be_stored(filters.request_id) else ""
    return conditions, values


def _may_be_stored(name: str) -> bool:
    """Say whether the log may have this reference: all are ASCII, and Postgres may refuse other texts."""
    return name.isascii() and "\0" not in name


def _event(*, use_case: str, outcome: str, seq: int, **columns: Any) -> AuditEvent:
    del seq
    return AuditEvent(action=use_case, outcome=enum_value(Outcome, outcome, "audit_events.outcome"), **columns)
