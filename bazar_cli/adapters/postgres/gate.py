"""The queries of the gate, which need no Grant: read one operator, append one denial.

Only `services.gate.gate` imports this module; an import contract holds it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from bazar_cli.adapters.postgres.rows import enum_value, fetch_one, fetch_value
from bazar_cli.adapters.postgres.superusers import ACTIVE_SUPERUSER
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Denial, Operator, Spec
from bazar_cli.domain.entities import Membership, Pending, Plan, Role, UserState
from bazar_cli.domain.errors import BazarError, UsageError
from bazar_cli.domain.text_enum import TextEnum

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Database
    from bazar_cli.domain.target import Identity, Target

# The columns of this view are the same at every revision; see docs/decisions and migrations/.
_OPERATOR = """
    SELECT id, email, name, plan, state, pending, is_superuser, memberships, plans FROM bazar.operators WHERE id = %s
"""
_SUPERUSER = f"""
    SELECT EXISTS (SELECT 1 FROM bazar.operators WHERE {ACTIVE_SUPERUSER}),
        pg_catalog.row_security_active('bazar.users')
"""  # noqa: S608 - constants
_OF_ADDRESS = "SELECT id FROM bazar.operators WHERE lower(email) = %s"
_DENIAL = """
    INSERT INTO bazar.audit_events
        (id, operator_id, operator_email, use_case, outcome, target_type, target_id, organization_id, reason, after,
         request_id)
    VALUES (%(id)s, %(operator_id)s, %(operator_email)s, %(use_case)s, 'denied', %(target_type)s, %(target_id)s,
            (SELECT o.id FROM bazar.organizations o WHERE o.slug = %(organization)s), %(reason)s,
            %(after)s, %(request_id)s)
"""
_NO_SCHEMA = frozenset({"3F000", "42P01"})
_NO_DATABASE = "3D000"


class SchemaState(TextEnum):
    """The state of the schema, in which the gate looks up operators."""

    READY = "ready"
    NOT_MIGRATED = "not-migrated"
    NO_DATABASE = "no-database"


@dataclass(frozen=True)
class OperatorLookup:
    """The operator, if known; the state of the database; whether an active superuser on Premium exists."""

    schema_state: SchemaState
    operator: Operator | None = None
    superuser_exists: bool = False


def load_operator(database: Database, target: Target, user_id: uuid.UUID | None) -> OperatorLookup:
    """Read the operator `user_id` and, where bootstrap may be open, whether a superuser exists.

    Raises: Conflict `postgres.privilege` where row security keeps users from the role of the connection;
    BackendUnavailable and others as `adapters.postgres.errors.translate` says, for every error but a missing
    database, schema or view.
    """
    try:
        with database.connect_for_gate() as connection:
            operator = fetch_one(connection, _operator, _OPERATOR, (user_id,)) if user_id else None
            if operator is not None and operator.is_active_superuser:
                return OperatorLookup(SchemaState.READY, operator, superuser_exists=True)
            [(superuser_exists, is_filtered)] = connection.execute(_SUPERUSER).fetchall()
            if not superuser_exists and is_filtered:
                from bazar_cli.adapters.postgres.errors import users_hidden

                # Row security may hide superusers: that none is seen proves nothing, and opens nothing.
                raise users_hidden(target)
            return OperatorLookup(SchemaState.READY, operator, superuser_exists=superuser_exists)
    except BazarError as error:
        schema_state = _missing(error, target)
        if schema_state is None:
            raise
        return OperatorLookup(schema_state)


def find_id(database: Database, target: Target, email: str) -> uuid.UUID | None:
    """Read the id of the user with an address, which is in lower case; None without one.

    Raises: as `load_operator`.
    """
    try:
        with database.connect_for_gate() as connection:
            return fetch_value(connection, _OF_ADDRESS, (email,))
    except BazarError as error:
        if _missing(error, target) is None:
            raise
        return None


def refuse_where_read_only(database: Database, target: Target) -> None:
    """Check that the database takes writes, or its server where it does not exist yet.

    Raises: BackendUnavailable `postgres.read_only`; and as `load_operator`.
    """
    from bazar_cli.adapters.postgres.connections import maintenance
    from bazar_cli.adapters.postgres.errors import translate
    from bazar_cli.adapters.postgres.settings import refuse_read_only

    try:
        with database.connect_for_gate() as connection:
            refuse_read_only(connection, target)
    except BazarError as error:
        if _missing(error, target) is not SchemaState.NO_DATABASE:
            raise
        try:
            with maintenance(target.database_url) as connection:
                refuse_read_only(connection, target)
        except psycopg.Error as failed:
            raise translate(failed, target) from failed


def append_denial(
    database: Database, identity: Identity, spec: Spec, request: object, denial: Denial, request_id: str
) -> None:
    """Commit the one event that a denied command leaves.

    Its target is what was asked for; its organization is one that the denial names, as only the row rules do, which
    found it within the operator's reach: what lies beyond is not looked for.
    """
    from psycopg.types.json import Jsonb

    from bazar_cli.domain.audit import asked_target

    target_type, target_id = asked_target(request) or ("command", None)
    with database.connect_for_gate(writes=True) as connection:
        connection.execute(
            _DENIAL,
            {
                "id": uuid.uuid4(),
                "operator_id": identity.user_id,
                "operator_email": identity.email,
                "use_case": spec.name,
                "target_type": target_type,
                "target_id": target_id,
                "organization": denial.details.get("organization"),
                "reason": denial.message,
                "after": Jsonb({"code": denial.code, **denial.details}),
                "request_id": request_id,
            },
        )


def _operator(
    *,
    plan: str,
    state: str,
    pending: str | None,
    memberships: list[dict[str, str]],
    plans: dict[str, list[str]],
    **columns: Any,
) -> Operator:
    return Operator(
        plan=enum_value(Plan, plan, "users.plan"),
        state=enum_value(UserState, state, "users.state"),
        pending=enum_value(Pending, pending, "users.pending") if pending else None,
        memberships=tuple(
            Membership(uuid.UUID(m["organization_id"]), m["slug"], enum_value(Role, m["role"], "memberships.role"))
            for m in memberships
        ),
        plans=_plans(plans),
        **columns,
    )


def _plans(table: dict[str, list[str]]) -> dict[Plan, frozenset[Permission]]:
    """The plan table; permissions that a newer release added to it are none of this one's commands."""
    known = {p.value for p in Permission}
    plans = {p.value for p in Plan}
    return {
        Plan(plan): frozenset(Permission(p) for p in permissions if p in known)
        for plan, permissions in table.items()
        if plan in plans
    }


def _missing(error: BazarError, target: Target) -> SchemaState | None:
    """Return the state for a missing schema or database, which bootstrap may create; None for every other error."""
    cause = error.__cause__
    if not isinstance(cause, psycopg.Error):
        return None
    sqlstate = cause.sqlstate
    if sqlstate in _NO_SCHEMA:
        return SchemaState.NOT_MIGRATED
    if sqlstate == _NO_DATABASE:
        return SchemaState.NO_DATABASE
    if isinstance(error, UsageError):
        # Nothing is tried again with a password that was refused: a server may count such attempts.
        return None
    if not isinstance(cause, psycopg.OperationalError) or sqlstate is not None:
        return None
    from bazar_cli.adapters.postgres.probe import is_absent

    return SchemaState.NO_DATABASE if is_absent(target.database_url) else None
