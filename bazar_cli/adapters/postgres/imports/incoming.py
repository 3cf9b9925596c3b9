"""The rows of a file in temporary tables of one transaction, compared with the target.

Only `decide_again` and `stage` write to bazar's tables.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.rows import fetch_value, fetch_values
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED
from bazar_cli.domain.findings import DETAILED
from bazar_cli.domain.imports.file import Row
from bazar_cli.domain.imports.findings import Finding, Findings
from bazar_cli.domain.imports.imports import ImportRun, OnConflict, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

DECIDED = "pg_temp.import_decided"
"""The rows as they would be staged."""
NOBODY = uuid.UUID(int=0)
"""The user of a row whose address belongs to a user that the operator cannot see."""

_TABLES: LiteralString = """
    CREATE TEMPORARY TABLE import_file (
        line bigint, email text, id uuid, name text, plan text, organizations text, user_metadata jsonb,
        app_metadata jsonb, password_hash text, awaits_hash boolean, suspended boolean
    ) ON COMMIT DROP;
    CREATE TEMPORARY TABLE import_memberships (
        organizations text, place bigint, slug text, role text, organization_id uuid
    ) ON COMMIT DROP;
    CREATE TEMPORARY TABLE import_places (organizations text, places jsonb) ON COMMIT DROP;
    CREATE TEMPORARY TABLE import_decided (
        line bigint, email text, user_id uuid, name text, plan text, organizations jsonb, user_metadata jsonb,
        app_metadata jsonb, password_hash text, awaits_hash boolean, action text, status text, code text, message text,
        chosen_id boolean, suspended boolean, keeps_credentials boolean
    ) ON COMMIT DROP
"""
_COPY = f"COPY pg_temp.import_file ({', '.join(Row._fields)}) FROM STDIN".encode()
_COPIED_AT_ONCE = 20_000
"""Rows of one COPY: a timeout for statements of the role ends none of them."""

_MEMBERSHIPS: LiteralString = """
    INSERT INTO pg_temp.import_memberships
    SELECT d.organizations, m.place, split_part(m.item, ':', 1), split_part(m.item, ':', 2), o.id
    FROM (SELECT DISTINCT organizations FROM pg_temp.import_file WHERE organizations IS NOT NULL) AS d
    CROSS JOIN LATERAL unnest(string_to_array(d.organizations, ';')) WITH ORDINALITY AS m (item, place)
    LEFT JOIN bazar.organizations o ON o.slug = split_part(m.item, ':', 1)
        AND (%(everything)s OR o.id = ANY(%(reach)s::uuid[]))
"""
_PLACES: LiteralString = """
    INSERT INTO pg_temp.import_places
    SELECT organizations,
           jsonb_agg(jsonb_build_object('id', organization_id, 'slug', slug, 'role', role) ORDER BY place)
    FROM pg_temp.import_memberships GROUP BY organizations
"""
# A new id is a UUID of version 7 (RFC 9562): milliseconds first, so that the table grows at one end.
_NEW_ID: LiteralString = """
    (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
     || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
"""
# A name that another program stored decomposed looks the same, and is the same in an export.
_COMPOSED: LiteralString = "CASE WHEN getdatabaseencoding() = 'UTF8' THEN normalize(u.name) END"
_DECIDE: LiteralString = f"""
    WITH compared AS (
        SELECT f.*, p.places, u.id AS existing, u.pending,
               u.id IS NOT NULL AND f.name IS NOT NULL AND nullif(f.name, '') IS DISTINCT FROM u.name
                   AND f.name IS DISTINCT FROM {_COMPOSED} AS renames,
               u.id IS NOT NULL AND f.plan IS NOT NULL AND f.plan <> u.plan AS moves,
               CASE WHEN u.id IS NOT NULL AND f.organizations IS NOT NULL THEN (
                   SELECT jsonb_agg(
                       jsonb_build_object('id', m.organization_id, 'slug', m.slug, 'role', m.role) ORDER BY m.place)
                   FROM pg_temp.import_memberships m LEFT JOIN bazar.memberships b
                        ON b.organization_id = m.organization_id AND b.user_id = u.id
                   WHERE m.organizations = f.organizations AND b.role IS DISTINCT FROM m.role) END AS joins,
               u.id IS NOT NULL AND (%(everything)s OR u.id = %(oneself)s OR EXISTS (
                   SELECT 1 FROM bazar.memberships r
                   WHERE r.user_id = u.id AND r.organization_id = ANY(%(reach)s::uuid[]))) AS seen,
               u.id IS NULL AND f.id IS NOT NULL AND EXISTS (SELECT 1 FROM bazar.users x WHERE x.id = f.id) AS taken
        FROM pg_temp.import_file f
        LEFT JOIN bazar.users u ON lower(u.email) = f.email
        LEFT JOIN pg_temp.import_places p ON p.organizations = f.organizations
    ),
    decided AS (
        SELECT *, CASE
                   WHEN existing IS NULL AND taken THEN 'taken'
                   WHEN existing IS NULL THEN 'create'
                   WHEN NOT seen THEN 'unseen'
                   WHEN pending = ANY(%(unfinished)s) THEN 'unfinished'
                   WHEN id <> existing THEN CASE %(on_conflict)s WHEN 'skip' THEN 'skip' ELSE 'other_id' END
                   WHEN NOT renames AND NOT moves AND joins IS NULL THEN 'unchanged'
                   ELSE %(on_conflict)s
               END AS decision,
               concat_ws(', ', CASE WHEN id <> existing THEN 'id' END, CASE WHEN renames THEN 'name' END,
                         CASE WHEN moves THEN 'plan' END, CASE WHEN joins IS NOT NULL THEN 'organizations' END) AS other
        FROM compared
    )
    INSERT INTO pg_temp.import_decided
    SELECT line, email,
           CASE WHEN existing IS NULL THEN coalesce(id, {_NEW_ID}) WHEN seen THEN existing ELSE %(nobody)s END,
           CASE WHEN decision = 'create' OR (decision = 'update' AND renames) THEN name END,
           CASE WHEN decision = 'create' OR (decision = 'update' AND moves) THEN plan END,
           CASE decision WHEN 'create' THEN places WHEN 'update' THEN joins END,
           CASE decision WHEN 'create' THEN user_metadata END,
           CASE decision WHEN 'create' THEN app_metadata END,
           CASE decision WHEN 'create' THEN password_hash END,
           decision = 'create' AND awaits_hash,
           CASE WHEN decision IN ('create', 'update') THEN decision ELSE 'none' END,
           CASE decision WHEN 'create' THEN 'open' WHEN 'update' THEN 'open' WHEN 'unchanged' THEN 'unchanged'
                         WHEN 'skip' THEN 'skipped'
                         WHEN 'unseen' THEN CASE %(on_conflict)s WHEN 'skip' THEN 'skipped' ELSE 'failed' END
                         ELSE 'failed' END,
           CASE decision WHEN 'taken' THEN 'users.id_taken' WHEN 'unfinished' THEN 'users.pending'
                         WHEN 'other_id' THEN 'users.differs' WHEN 'skip' THEN 'users.email_exists'
                         WHEN 'fail' THEN 'users.email_exists' WHEN 'unseen' THEN 'users.email_exists' END,
           CASE decision
               WHEN 'taken' THEN format('another user has the id %%s', id)
               WHEN 'unfinished' THEN format('%%s has an unfinished change: %%s', email, pending)
               WHEN 'other_id' THEN format('%%s exists already, with another id', email)
               WHEN 'unseen' THEN format('%%s exists already', email)
               WHEN 'skip' THEN format('%%s exists already, with other values: %%s', email, other)
               WHEN 'fail' THEN format('%%s exists already, with other values: %%s', email, other) END,
           id IS NOT NULL, suspended,
           existing IS NOT NULL AND seen AND (awaits_hash OR password_hash IS NOT NULL OR user_metadata IS NOT NULL
                                              OR app_metadata IS NOT NULL)
    FROM decided
"""  # noqa: S608 - constants
_TWICE: LiteralString = """
    SELECT line, first, count(*) OVER () FROM (
        SELECT line, min(line) OVER (PARTITION BY {column}) AS first FROM pg_temp.import_file
        WHERE {column} IS NOT NULL) AS d
    WHERE line > first ORDER BY line LIMIT %(most)s
"""
_UNKNOWN: LiteralString = """
    SELECT f.line, m.slug, count(*) OVER ()
    FROM pg_temp.import_file f JOIN pg_temp.import_memberships m ON m.organizations = f.organizations
    WHERE m.organization_id IS NULL ORDER BY f.line, m.place LIMIT %(most)s
"""
_SUSPENDED: LiteralString = """
    SELECT line, email, count(*) OVER () FROM pg_temp.import_decided
    WHERE action = 'create' AND suspended ORDER BY line LIMIT %(most)s
"""
_WAS_SUSPENDED = (
    "{} is suspended in the file, and an import creates only active users: remove the row, or remove the column and"
    " suspend the user after the import"
)


_COLUMNS: LiteralString = """
    line, email, user_id, name, plan, organizations, user_metadata, app_metadata, password_hash, awaits_hash, action,
    status, code, message, chosen_id
"""
# The rows of new users without their secrets; the organizations by their present slugs.
_STAGED: LiteralString = """
    INSERT INTO pg_temp.import_file (line, email, id, name, plan, organizations)
    SELECT r.line, r.email, CASE WHEN r.chosen_id THEN r.user_id END, r.name, r.plan, (
        SELECT string_agg(coalesce(o.slug, m.place ->> 'slug') || ':' || (m.place ->> 'role'), ';' ORDER BY m.position)
        FROM jsonb_array_elements(r.organizations) WITH ORDINALITY AS m (place, position)
        LEFT JOIN bazar.organizations o ON o.id = CAST(m.place ->> 'id' AS uuid))
    FROM bazar.import_rows r
    WHERE r.run_id = %(run)s AND r.status = 'open' AND r.action = 'create'
      AND (%(lines)s::bigint[] IS NULL OR r.line = ANY(%(lines)s::bigint[]))
      AND NOT EXISTS (SELECT 1 FROM bazar.users u WHERE u.id = r.user_id AND u.email = r.email)
"""
# Who is being created by a command that still runs will be equal or not when it ends.
_STORE_AGAIN: LiteralString = """
    UPDATE bazar.import_rows r
    SET user_id = d.user_id, name = d.name, plan = d.plan, organizations = d.organizations, user_metadata = NULL,
        app_metadata = NULL, password_hash = NULL, awaits_hash = false, action = d.action, status = d.status,
        code = d.code, message = d.message, claim = NULL, claimed_until = NULL
    FROM pg_temp.import_decided d
    WHERE r.run_id = %(run)s AND r.line = d.line AND r.status = 'open' AND r.action = 'create' AND d.action <> 'create'
      AND NOT (d.code IS NOT DISTINCT FROM 'users.pending' AND EXISTS (
          SELECT 1 FROM bazar.users u WHERE u.id = d.user_id AND u.lease_until > clock_timestamp()))
    RETURNING r.status
"""
_OTHERS: LiteralString = f"""
    INSERT INTO pg_temp.import_decided ({_COLUMNS})
    SELECT {_COLUMNS} FROM bazar.import_rows r
    WHERE r.run_id = %(run)s AND NOT EXISTS (SELECT 1 FROM pg_temp.import_decided d WHERE d.line = r.line)
"""  # noqa: S608 - constants


@dataclass(frozen=True)
class Decided:
    """How many rows there are, and what of them is not written."""

    rows: int
    keep_credentials: int
    """Rows of existing users, who keep the password and the metadata that they have."""


def copy(connection: Connection, rows: Iterable[Row], copied: Callable[[int], None]) -> int:
    """Copy rows into a temporary table; return how many. Parameters: `copied` gets the number now and then."""
    connection.execute(_TABLES)
    coming, count = iter(rows), 0
    while batch := list(islice(coming, _COPIED_AT_ONCE)):
        with connection.cursor().copy(_COPY) as copying:
            for row in batch:
                copying.write_row(row)
        count += len(batch)
        copied(count)
    return count


def compare(connection: Connection, reach: Reach, on_conflict: OnConflict, findings: Findings) -> Decided:
    """Compare the copied rows with the target, and decide for each what it needs.

    Faults within the file get into `findings`: addresses and ids that occur twice, unknown organizations, new users who
    were suspended.
    """
    _decide(connection, reach, on_conflict)
    for column in ("email", "id"):
        twice, message = _TWICE.format(column=column), f"line {{}} has the same {column}"
        _add_findings(connection, twice, findings, column, "imports.value_doubled", message)
    _add_findings(connection, _UNKNOWN, findings, "organizations", "orgs.not_found", "you can see no organization {}")
    _add_findings(connection, _SUSPENDED, findings, "state", "imports.suspended", _WAS_SUSPENDED)
    counted = "SELECT count(*), count(*) FILTER (WHERE keeps_credentials) FROM pg_temp.import_decided"
    return Decided(*connection.execute(counted).fetchall()[0])


def _decide(connection: Connection, reach: Reach, on_conflict: OnConflict) -> None:
    values = {
        "everything": reach.everything,
        "oneself": reach.user_id,
        "reach": sorted(reach.organization_ids),
        "on_conflict": on_conflict.value,
        "unfinished": [pending.value for pending in BEING_CREATED_OR_DELETED],
        "nobody": NOBODY,
    }
    connection.execute(_MEMBERSHIPS, values)
    connection.execute("CREATE INDEX ON pg_temp.import_memberships USING hash (organizations)")  # of any length
    connection.execute(_PLACES)
    connection.execute("ANALYZE pg_temp.import_file, pg_temp.import_memberships, pg_temp.import_places")
    connection.execute(_DECIDE, values)
    connection.execute("ANALYZE pg_temp.import_decided")


def decide_again(connection: Connection, reach: Reach, run: ImportRun, lines: Collection[int]) -> int:
    """Compare open rows of new users with the target once more, and write what each needs now; return how many ended.

    A row remains as it was if no user has its address, or if a command that still runs creates or deletes that user.
    """
    if not lines:
        return 0
    _decide_staged(connection, reach, run, lines)
    statuses = fetch_values(connection, _STORE_AGAIN, {"run": run.id})
    return sum(status != Status.OPEN.value for status in statuses)


def expect(connection: Connection, reach: Reach, run: ImportRun) -> int:
    """Decide what would become of all rows of an open run; return how many there are."""
    _decide_staged(connection, reach, run, None)
    connection.execute(_OTHERS, {"run": run.id})
    return fetch_value(connection, f"SELECT count(*) FROM {DECIDED}")  # noqa: S608 - constants


def _decide_staged(connection: Connection, reach: Reach, run: ImportRun, lines: Collection[int] | None) -> None:
    connection.execute(_TABLES)
    connection.execute(_STAGED, {"run": run.id, "lines": None if lines is None else list(lines)})
    _decide(connection, reach, run.on_conflict)


def _add_findings(
    connection: Connection, query: LiteralString, findings: Findings, column: str, code: str, message: str
) -> None:
    """Add the findings of a query for line, a value of the message, and how many there are."""
    rows = connection.execute(query, {"most": DETAILED}).fetchall()
    for place, (line, value, count) in enumerate(rows, start=1):
        counts = count - len(rows) + 1 if place == len(rows) else 1
        findings.add_counted(Finding(line, column, code, message.format(value)), counts)


def stage(connection: Connection, run_id: uuid.UUID) -> None:
    """Write the decided rows into the table of a run. Raises: psycopg.Error."""
    connection.execute(
        f"INSERT INTO bazar.import_rows (run_id, {_COLUMNS}) SELECT %s, {_COLUMNS} FROM {DECIDED} ORDER BY line",  # noqa: S608
        (run_id,),
    )


def awaits_hashes(connection: Connection) -> bool:
    """Say whether a decided row has a plain password."""
    return fetch_value(connection, "SELECT EXISTS (SELECT 1 FROM pg_temp.import_decided WHERE awaits_hash)")
