"""The audit log read: events within the operator's reach, by key, so that every page costs the same.

An answer is made of lanes: parts that each follow one index in the order of the list and stop at the page's end.
For a superuser there is one lane for each target, use case and organization that the filters name; for others one for
each of their organizations, one for themselves, one for each user whom they share an organization with, and one for
the deletions of those with whom they shared one: that event names the organizations, nothing else does any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.rows import word
from bazar_cli.domain.audit import AuditEvent, EventFilters, ListEvents, Outcome
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.page import Page

_ORDER = "audit"
_BATCH = 1000
_COLUMNS = (
    "e.id, e.occurred_at, e.operator_id, e.operator_email, e.use_case, e.outcome, e.target_type, e.target_id,"
    " e.organization_id, e.before, e.after, e.reason, e.request_id, e.seq"
)
_MINE = "CAST(:organizations AS uuid[])"
# The four lanes of who is no superuser; no event is in two. Denials are for superusers and for who was denied.
_OTHERS_DENIALS = "(e.outcome <> 'denied' OR e.operator_id = :oneself)"
_IN_ORGANIZATIONS = (f"unnest({_MINE}) AS o (id)", f"e.organization_id = o.id AND {_OTHERS_DENIALS}")
_BY_ONESELF = ("", f"e.operator_id = :oneself AND coalesce(e.organization_id <> ALL ({_MINE}), true)")
_ABOUT_COLLEAGUES = (
    f"""(SELECT DISTINCT m.user_id::text AS id FROM bazar.memberships m WHERE m.organization_id = ANY ({_MINE})
         UNION SELECT CAST(:oneself AS uuid)::text) AS u""",  # noqa: S608 - constants
    """e.target_id = u.id AND e.target_type = 'user' AND e.organization_id IS NULL AND e.outcome <> 'denied'
       AND e.operator_id IS DISTINCT FROM :oneself""",
)
# Of those who were in one of the reader's organizations; `audit_events_deleted_from_idx` has these conditions.
_DELETED_COLLEAGUES = """e.use_case = 'users.delete' AND e.outcome = 'done' AND e.organization_id IS NULL
       AND e.operator_id IS DISTINCT FROM :oneself
       AND jsonb_path_query_array(e.before, '$.organizations[*].id') ?| CAST(:organizations AS text[])"""
# Who is there is found by the lane above, or has nothing to do with the reader any more.
_GONE = """NOT EXISTS (SELECT 1 FROM bazar.users u
                       WHERE u.id = CASE e.use_case WHEN 'users.delete' THEN e.target_id::uuid END)"""
RECENT = 1000
"""A page is looked for among so many of the newest deletions, and only then among all that the reader may see."""
_NAMES = ("coalesce(e.before ->> 'email', e.before ->> 'slug')", "coalesce(e.after ->> 'email', e.after ->> 'slug')")
_ACTIONS = text(
    """
    WITH RECURSIVE known AS (
        (SELECT use_case FROM bazar.audit_events ORDER BY use_case LIMIT 1)
        UNION ALL
        SELECT (SELECT e.use_case FROM bazar.audit_events e WHERE e.use_case > known.use_case
                ORDER BY e.use_case LIMIT 1)
        FROM known WHERE known.use_case IS NOT NULL
    )
    SELECT use_case FROM known WHERE use_case = :action OR starts_with(use_case, :action || '.')
    """
)


@dataclass(frozen=True)
class Selection:
    """Filters with what they name found in the database: None for what is not asked for."""

    filters: EventFilters
    targets: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    organizations: tuple[uuid.UUID, ...] | None = None


def actions_like(connection: Connection, action: str) -> tuple[str, ...]:
    """Return the use cases in the log that are this one, or begin with it; it hops from one to the next."""
    return tuple(connection.execute(_ACTIONS, {"action": action}).scalars())


def targets_named(connection: Connection, reach: Reach, name: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids of targets of these types that an event within reach calls by this email or slug."""
    if not _may_be_stored(name):
        return ()
    events, values = _within(reach, Selection(EventFilters()), limit=None, also="e.seq IN (SELECT seq FROM named)")
    found = connection.execute(
        text(
            f"""
            WITH named AS MATERIALIZED (
                SELECT e.seq FROM bazar.audit_events e WHERE {_NAMES[0]} = :name
                UNION SELECT e.seq FROM bazar.audit_events e WHERE {_NAMES[1]} = :name)
            SELECT DISTINCT e.target_id FROM ({events}) e
            WHERE e.target_id IS NOT NULL AND e.target_type = ANY (:kinds) AND e.outcome <> 'denied'
            """  # noqa: S608 - constants
        ),
        {**values, "name": name.lower(), "kinds": list(kinds)},
    )
    return tuple(found.scalars())


def page(connection: Connection, reach: Reach, selection: Selection, request: ListEvents) -> Page[AuditEvent]:
    """Return one page, the newest event first.

    Raises: UsageError `list.cursor_invalid`.
    """
    also, values = "true", dict[str, Any]()
    if request.cursor is not None:
        last = decode(request.cursor, _ORDER, by_time=True)
        # Of an event that is not there the time alone counts.
        also = (
            "(e.occurred_at, e.seq) < (CAST(:after_key AS timestamptz),"
            " (SELECT c.seq FROM bazar.audit_events c WHERE c.id = CAST(:after_id AS uuid)))"
        )
        values = {"after_key": last.key, "after_id": last.id}
    events, reached = _within(reach, selection, limit=request.limit + 1, also=also)
    rows = connection.execute(
        text(f"SELECT * FROM ({events}) e ORDER BY e.occurred_at DESC, e.seq DESC LIMIT :limit"),  # noqa: S608
        {**reached, **values},
    ).all()
    found = tuple(_event(row) for row in rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(found, None)
    return Page(found, encode(Position(_ORDER, found[-1].occurred_at, found[-1].id)))


def stream(connection: Connection, reach: Reach, selection: Selection) -> Iterator[tuple[AuditEvent, ...]]:
    """Yield every event, the oldest first, a batch in memory at a time."""
    events, values = _within(reach, selection, limit=None)
    statement = text(f"SELECT * FROM ({events}) e ORDER BY e.occurred_at, e.seq")  # noqa: S608 - constants
    rows = connection.execute(statement.execution_options(yield_per=_BATCH), values)
    # Without its size SQLAlchemy makes one partition of everything.
    for batch in rows.partitions(_BATCH):
        yield tuple(_event(row) for row in batch)


def _within(reach: Reach, selection: Selection, *, limit: int | None, also: str = "true") -> tuple[str, dict[str, Any]]:
    """The events within reach that are selected; with a limit, of each lane no more than the newest of them."""
    conditions, values = _filtered(selection)
    named = {
        "target_id": ("targets", "text", selection.targets),
        "use_case": ("actions", "text", selection.actions),
        "organization_id": ("named_organizations", "uuid", selection.organizations),
    }
    asked = {column: (name, kind) for column, (name, kind, found) in named.items() if found is not None}
    values |= {name: [str(v) for v in found] for name, _, found in named.values() if found is not None}
    if reach.everything:
        sources = [f"unnest(CAST(:{name} AS {kind}[])) AS {name} (it)" for name, kind in asked.values()]
        joined = [f"e.{column} = {name}.it" for column, (name, _) in asked.items()]
        lanes = [(", ".join(sources), " AND ".join(joined) or "true")]
    else:
        conditions += [f"e.{column} = ANY (CAST(:{name} AS {kind}[]))" for column, (name, kind) in asked.items()]
        own = [str(i) for i in sorted(reach.organization_ids)]
        values |= {"oneself": reach.user_id, "organizations": own}
        lanes = [_IN_ORGANIZATIONS, _BY_ONESELF, _ABOUT_COLLEAGUES]
    where = " AND ".join([*conditions, also])
    if limit is not None:
        values["limit"] = limit
    found = [_lane(source, f"{own} AND {where}", limit) for source, own in lanes]
    if not reach.everything:
        found.append(_deletions(where, also, limit))
    return " UNION ALL ".join(found), values


def _lane(source: str, where: str, limit: int | None) -> str:
    select, tables = f"SELECT {_COLUMNS} FROM", "bazar.audit_events e"
    if limit is None:
        return f"({select} {f'{source}, ' if source else ''}{tables} WHERE {where})"
    ended = f"{select} {tables} WHERE {where} ORDER BY e.occurred_at DESC, e.seq DESC LIMIT :limit"
    return f"(SELECT e.* FROM {source} CROSS JOIN LATERAL ({ended}) e)" if source else f"({ended})"  # noqa: S608


def _deletions(where: str, also: str, limit: int | None) -> str:
    """The lane of deletions: no index has them both by organization and in order.

    Where many of the newest are the reader's they fill the page; else the reader's own are found and sorted.
    """
    theirs = f"{_DELETED_COLLEAGUES} AND {where}"
    if limit is None:
        return _lane("", f"{theirs} AND {_GONE}", None)
    order = "ORDER BY e.occurred_at DESC, e.seq DESC"
    # OFFSET 0: all are found by the index, whatever the planner expects, then sorted, then looked up to the page's end.
    return f"""(
        WITH recent AS MATERIALIZED (
            SELECT {_COLUMNS} FROM (
                SELECT e.* FROM bazar.audit_events e WHERE e.use_case = 'users.delete' AND {also}
                {order} LIMIT {RECENT}) e
            WHERE {theirs} AND {_GONE} {order} LIMIT :limit
        ), few AS (SELECT count(*) < :limit AS few FROM recent)
        SELECT * FROM recent WHERE NOT (SELECT few FROM few)
        UNION ALL
        (SELECT e.* FROM (
            SELECT e.* FROM (SELECT {_COLUMNS} FROM bazar.audit_events e
                             WHERE (SELECT few FROM few) AND {theirs} OFFSET 0) e {order} OFFSET 0) e
         WHERE {_GONE} {order} LIMIT :limit))"""  # noqa: S608 - constants


def _filtered(selection: Selection) -> tuple[list[str], dict[str, Any]]:
    filters = selection.filters
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if filters.operator is not None:
        try:
            values["operator"] = uuid.UUID(filters.operator)
            conditions.append("e.operator_id = :operator")
        except ValueError:
            values["operator"] = filters.operator.lower() if _may_be_stored(filters.operator) else ""
            conditions.append("e.operator_email = :operator")
    if filters.outcome is not None:
        conditions.append("e.outcome = :outcome")
        values["outcome"] = filters.outcome.value
    if filters.since is not None:
        conditions.append("e.occurred_at >= :since")
        values["since"] = filters.since
    if filters.until is not None:
        conditions.append("e.occurred_at < :until")
        values["until"] = filters.until
    if filters.request_id is not None:
        conditions.append("e.request_id = :request")
        values["request"] = filters.request_id if _may_be_stored(filters.request_id) else ""
    return conditions, values


def _may_be_stored(name: str) -> bool:
    """Whether a reference may stand in the log: all are ASCII, and Postgres may not take others as text at all."""
    return name.isascii() and "\0" not in name


def _event(row: Row[Any]) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        occurred_at=row.occurred_at,
        operator_id=row.operator_id,
        operator_email=row.operator_email,
        action=row.use_case,
        outcome=word(Outcome, row.outcome, "audit_events.outcome"),
        target_type=row.target_type,
        target_id=row.target_id,
        organization_id=row.organization_id,
        before=row.before,
        after=row.after,
        reason=row.reason,
        request_id=row.request_id,
    )
