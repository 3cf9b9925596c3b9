"""Users to test with: operators in memory, and users and organizations that are inserted into `bazar.*`.

Rows are written by SQL, so that what a test arranges does not depend on the use case that it looks at. A
Grant always comes from the policy, for the operator as the gate reads them. Identities are made and looked at
through the Auth service: its tables can be in another database, or closed to the role of DATABASE_URL.
"""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import bcrypt
import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from bazar_cli.adapters.postgres.database import Database
from bazar_cli.adapters.postgres.gate import load_operator
from bazar_cli.adapters.supabase.http import auth_url, key_headers
from bazar_cli.domain.audit import AuditEvent, Outcome
from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.authz.policy import decide
from bazar_cli.domain.authz.spec import Denial, Grant, Operator, Spec
from bazar_cli.domain.consent import ConsentNeeded, Impact, with_consent
from bazar_cli.domain.entities import Membership, Pending, Plan, Role, UserState
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Identity, IdentitySource, Target
from bazar_cli.services.gate.backends import Backends
from tests.support.auth_in_process import AuthInProcess
from tests.support.auth_service import settings_of
from tests.support.tls import trusted

R = TypeVar("R")
T = TypeVar("T")

REQUEST_ID = "test-request"
RUN_VARIABLE = "BAZAR_TEST_RUN"
"""Hands the name of the run from its first process to the workers."""
RUN = os.environ.get(RUN_VARIABLE) or f"run{secrets.token_hex(5)}"
"""In every address and slug that the tests make: what of a target is theirs to remove."""
OLD_PASSWORD = f"Old-{secrets.token_urlsafe(15)}-1a"
"""The password of an identity that a test arranges: random, since the target may be public."""
OLD_HASH = bcrypt.hashpw(OLD_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
"""Its hash at the lowest cost, so that signing in takes no time."""
_NO_ROLES: Mapping[Org, Role] = MappingProxyType({})
_NO_METADATA: Mapping[str, object] = MappingProxyType({})
_TABLES = (
    *("bazar.plans", "bazar.plan_permissions", "bazar.users", "bazar.organizations", "bazar.memberships"),
    *("bazar.audit_events", "auth.users", "auth.sessions"),
)


@dataclass(frozen=True)
class Org:
    """An organization of a test."""

    id: uuid.UUID
    slug: str


@dataclass(frozen=True)
class Someone:
    """A user of a test."""

    id: uuid.UUID
    email: str


def an_address(name: str = "user") -> str:
    """Make an address that no other test and no other run uses."""
    return f"{name}.{secrets.token_hex(6)}@{RUN}.example.com"


def an_org(slug: str = "acme") -> Org:
    """Make an organization that is stored nowhere."""
    return Org(uuid.uuid4(), slug)


def an_event(**values: Any) -> AuditEvent:
    """Make an audit event of a change that was done."""
    made = AuditEvent(
        id=uuid.uuid4(),
        occurred_at=datetime.now(timezone.utc),
        operator_id=uuid.uuid4(),
        operator_email="ruler@example.com",
        action="users.update",
        outcome=Outcome.DONE,
        target_type="user",
        target_id=str(uuid.uuid4()),
        organization_id=None,
        before=None,
        after=None,
        reason="because",
        request_id="r",
    )
    return replace(made, **values)


def an_operator(
    roles: Mapping[Org, Role] = _NO_ROLES,
    *,
    plan: Plan = Plan.PREMIUM,
    superuser: bool = False,
    state: UserState = UserState.ACTIVE,
    pending: Pending | None = None,
    plans: Mapping[Plan, frozenset[Permission]] = SEEDED_PLANS,
) -> Operator:
    """Make an operator that is stored nowhere."""
    return Operator(
        id=uuid.uuid4(),
        email="operator@example.com",
        name=None,
        plan=plan,
        state=state,
        pending=pending,
        is_superuser=superuser,
        memberships=tuple(Membership(org.id, org.slug, role) for org, role in roles.items()),
        plans=plans,
    )


def impact_of(act: Callable[[], object]) -> Impact:
    """Return the impact that `act` needs consent to."""
    with pytest.raises(ConsentNeeded) as needed:
        act()
    return needed.value.impact


def an_identity(
    who: Operator | Someone, session_id: str | None = None, token_lifetime: timedelta | None = None
) -> Identity:
    """Make the identity of an operator, with a token that no service signed."""
    return Identity(
        user_id=who.id,
        email=who.email,
        session_id=session_id,
        access_token=Secret("a token"),
        expires_at=datetime.now(timezone.utc) + timedelta(hours=1),
        source=IdentitySource.TOKEN,
        token_lifetime=token_lifetime,
    )


def decided(operator: Operator, spec: Spec, request: object = None, *, dry_run: bool = False) -> Grant | Denial:
    """Ask the policy."""
    return decide(operator, spec, request, REQUEST_ID, dry_run=dry_run, identity=an_identity(operator))


def granted(operator: Operator, spec: Spec, request: object = None, *, dry_run: bool = False) -> Grant:
    """Ask the policy, which must say yes."""
    decision = decided(operator, spec, request, dry_run=dry_run)
    assert isinstance(decision, Grant), decision
    return decision


class People:
    """Users and organizations of one target, and use cases run by its operators."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._connection: psycopg.Connection[dict[str, Any]] = psycopg.Connection[dict[str, Any]].connect(
            target.database_url.reveal(), autocommit=True, row_factory=dict_row
        )
        self._rows: dict[str, tuple[dict[str, Any], list[str]]] = {}
        """The rows that `everything` has read, by table, with what tells whether they are still the same."""
        settings = settings_of(target.supabase_url)
        self._service = None if settings is None else AuthInProcess(settings, target.supabase_url)
        self._idle: list[Database] = []
        """What has read an operator, and can read another one by its connection."""

    def __enter__(self) -> People:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for database in self._idle:
            database.close()
        if self._service is not None:
            self._service.close()
        self._connection.close()

    # -- arrange ------------------------------------------------------------------------------------------

    def org(self, *, name: str = "An organization", slug: str | None = None, created_at: datetime | None = None) -> Org:
        """Insert an organization, by default with a unique slug."""
        made = Org(uuid.uuid4(), slug or f"org-{RUN}-{secrets.token_hex(6)}")
        self.sql(
            "INSERT INTO bazar.organizations (id, slug, name, created_at) VALUES (%s, %s, %s, coalesce(%s, now()))",
            made.id,
            made.slug,
            name,
            created_at,
        )
        return made

    def user(
        self,
        roles: Mapping[Org, Role] = _NO_ROLES,
        *,
        email: str | None = None,
        name: str | None = None,
        plan: Plan = Plan.FREE,
        superuser: bool = False,
        state: UserState = UserState.ACTIVE,
        pending: Pending | None = None,
        created_at: datetime | None = None,
    ) -> Someone:
        """Insert a user, by default an active one on Free in no organization, with an address of their own."""
        made = Someone(uuid.uuid4(), email or an_address())
        self.sql(
            "INSERT INTO bazar.users (id, email, name, plan, state, pending, is_superuser, created_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, coalesce(%s, now()))",
            made.id,
            made.email,
            name,
            plan.value,
            state.value,
            pending.value if pending else None,
            superuser,
            created_at,
        )
        for org, role in roles.items():
            self.sql(
                "INSERT INTO bazar.memberships (organization_id, user_id, role) VALUES (%s, %s, %s)",
                org.id,
                made.id,
                role.value,
            )
        return made

    def superuser(self) -> Someone:
        """Insert a superuser on Premium."""
        return self.user(plan=Plan.PREMIUM, superuser=True)

    def known_user(self, roles: Mapping[Org, Role] = _NO_ROLES, **given: Any) -> Someone:
        """Insert a user with an identity at Supabase; the parameters are those of `user`."""
        made = self.user(roles, **given)
        self.identity(made)
        return made

    def known_superuser(self) -> Someone:
        """Insert a superuser on Premium with an identity at Supabase."""
        return self.known_user(plan=Plan.PREMIUM, superuser=True)

    def identity(
        self,
        someone: Someone,
        *,
        app_metadata: Mapping[str, object] = _NO_METADATA,
        confirmed: bool = True,
    ) -> None:
        """Create the identity of a user at Supabase, without the stamp of any Bazar unless one is given."""
        body = {
            "id": str(someone.id),
            "email": someone.email,
            "password_hash": OLD_HASH,
            "email_confirm": confirmed,
            "app_metadata": dict(app_metadata),
        }
        if self._service is None:
            self.auth("POST", "/admin/users", body).raise_for_status()
        else:
            self._service.create_user(body)

    def ban(self, someone: Someone) -> None:
        """Let Supabase refuse somebody for an hour."""
        self.auth("PUT", f"/admin/users/{someone.id}", {"ban_duration": "1h"}).raise_for_status()

    def lease_runs_out(self, user: Someone | str) -> None:
        """Let the lease that a dead command has on one user, or address, run out, as 20 s would."""
        who = ("id", user.id) if isinstance(user, Someone) else ("email", user)
        end = "UPDATE bazar.users SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL"
        assert self.sql(f"{end} AND {who[0]} = %s RETURNING 1", who[1]), f"nobody has a lease on {user}"

    def leases_run_out(self) -> None:
        """Let every lease run out: of a database that no other worker has living commands in."""
        assert "BAZAR_TEST_DATABASE_URL" not in os.environ, "workers share this database: lease_runs_out(email)"
        self.sql("UPDATE bazar.users SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL")

    def seed_plans(self) -> None:
        """Put the plan table back as the first migration left it."""
        seeded = [(plan.value, p.value) for plan, permissions in SEEDED_PLANS.items() for p in permissions]
        values = [plan for plan, _ in seeded], [permission for _, permission in seeded]
        table = "SELECT * FROM unnest(%s::text[], %s::text[]) s (plan, permission)"
        self.sql(f"DELETE FROM bazar.plan_permissions WHERE (plan, permission) NOT IN ({table})", *values)
        self.sql(f"INSERT INTO bazar.plan_permissions {table} ON CONFLICT DO NOTHING", *values)

    # -- act ----------------------------------------------------------------------------------------------

    def operator(self, someone: Someone) -> Operator:
        """Read an operator as the gate does."""
        # Threads of a test ask at the same time.
        database = self._idle.pop() if self._idle else Database(self.target)
        try:
            found = load_operator(database, self.target, someone.id).operator
        finally:
            self._idle.append(database)
        assert found is not None, f"{someone.email} is no user"
        return found

    def run(
        self,
        operator: Someone | Operator,
        service: Callable[[Backends, Grant, R], T],
        spec: Spec,
        request: R,
        *,
        dry_run: bool = False,
    ) -> T:
        """Run a use case as one command does: one Grant, one Backends."""
        operator = operator if isinstance(operator, Operator) else self.operator(operator)
        return self.run_with(granted(operator, spec, request, dry_run=dry_run), service, request)

    def run_agreeing(
        self, operator: Someone | Operator, service: Callable[[Backends, Grant, R], T], spec: Spec, request: R
    ) -> T:
        """Run a use case as a person does who says yes to its impact: the operator is read once."""
        operator = operator if isinstance(operator, Operator) else self.operator(operator)
        while True:
            try:
                return self.run(operator, service, spec, request)
            except ConsentNeeded as needed:
                if needed.impact.word is not None:
                    raise
                request = with_consent(request, needed.impact)

    def run_with(self, grant: Grant, service: Callable[[Backends, Grant, R], T], request: R) -> T:
        """Run a use case with a Grant that was given before."""
        with Backends(self.target, REQUEST_ID) as backends:
            return service(backends, grant, request)

    def signs_in(self, email: str, password: str) -> bool:
        """Sign in as people do; whether Supabase took the password."""
        answer = self.auth("POST", "/token?grant_type=password", {"email": email, "password": password})
        assert answer.status_code in {httpx.codes.OK, httpx.codes.BAD_REQUEST}, answer.text
        return answer.is_success

    def access_token(self, someone: Someone, password: str = OLD_PASSWORD) -> str:
        """Sign in as people do; return the access token."""
        if self._service is not None:
            return self._service.access_token(someone.email, password)
        answer = self.auth("POST", "/token?grant_type=password", {"email": someone.email, "password": password})
        return str(answer.raise_for_status().json()["access_token"])

    def auth(self, method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        """Ask the Auth service with the service key; `path` is below `/auth/v1`."""
        url, headers = f"{auth_url(self.target)}{path}", key_headers(self.target)
        return httpx.request(method, url, json=body, headers=headers, trust_env=False, timeout=30, verify=trusted())

    # -- see ----------------------------------------------------------------------------------------------

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Run a statement and return its rows."""
        cursor = self._connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def row(self, someone: Someone) -> dict[str, Any] | None:
        """Return the stored row of a user."""
        found = self.sql("SELECT * FROM bazar.users WHERE id = %s", someone.id)
        return found[0] if found else None

    def identities(self, email: str) -> list[dict[str, Any]]:
        """Return the identities with an address at Supabase, as its admin API shows them, `id` as UUID."""
        return [found for found in self.identities_like(email) if found["email"] == email]

    def identities_like(self, part: str) -> list[dict[str, Any]]:
        """Return the identities with this in their address, a thousand at most."""
        if self._service is None:
            answer = self.auth("GET", f"/admin/users?per_page=1000&filter={quote(part)}").raise_for_status()
            users = answer.json()["users"]
        else:
            users = self._service.users(part)
        return [{**found, "id": uuid.UUID(found["id"])} for found in users if part in found["email"]]

    def events(self, target_id: uuid.UUID) -> list[dict[str, Any]]:
        """Return the audit events about a target, the oldest first."""
        return self.sql("SELECT * FROM bazar.audit_events WHERE target_id = %s ORDER BY seq", str(target_id))

    def everything(self, *, events_after: int = 0) -> dict[str, list[str]]:
        """Return every row of both systems as text, to compare before and after.

        A table without a change since the last call has the same list: Postgres gives each new version of a row another
        place or transaction.
        Parameters: `events_after` leaves out the audit events up to this `seq`, which nothing can change or remove.
        """
        tables = {**dict.fromkeys(_TABLES, ""), "bazar.audit_events": f"WHERE seq > {events_after}"}
        version = "count(*) AS rows, bit_xor(hashtextextended(concat(t.xmin, t.ctid), 0)) AS places"
        versions = self.sql(
            " UNION ALL ".join(
                f"SELECT '{table}' AS name, '{where}' AS shown, {version} FROM {table} t {where}"
                for table, where in tables.items()
            )
        )
        for found in versions:
            table = found["name"]
            if table not in self._rows or self._rows[table][0] != found:
                lines = self.sql(f"SELECT t::text AS line FROM {table} t {tables[table]} ORDER BY 1")
                self._rows[table] = found, [row["line"] for row in lines]
        return {table: self._rows[table][1] for table in tables}
