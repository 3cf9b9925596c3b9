"""The stage of the matrix: every operator signed in, every target in its place, in systems of their own."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.secrets import Secret
from tests.support.cli import Bazar, Done
from tests.support.matrix import OPERATORS, OTHERS, Row
from tests.support.people import OLD_HASH, OLD_PASSWORD, Org, People, Someone

PROFILE = "kept"
_SIGNED_OUT = "signed-out"
_ORGS, _MEMBERS = "bazar.organizations", "bazar.memberships"
_DELETED = "deleted"


@dataclass(frozen=True)
class RowResult:
    """How one cell ended, with all rows of both systems before and after."""

    done: Done
    before: dict[str, list[str]]
    after: dict[str, list[str]]


@dataclass
class MatrixRunner:
    """Operators and targets of one worker."""

    people: People
    homes: Path
    acme: Org = field(init=False)
    beta: Org = field(init=False)
    gamma: Org = field(init=False)
    """All members of acme are members of it too."""
    operators: dict[str, Someone] = field(default_factory=dict[str, Someone])
    targets: dict[str, Someone] = field(default_factory=dict[str, Someone])
    rulers: list[Someone] = field(default_factory=list[Someone])
    """Superusers beside the operators and targets."""
    _seen: dict[str, list[str]] | None = None
    """All rows after the last cell, until something else changes them."""
    _told: int = 0
    """The last audit event of the rows before: events stay, and need not be read again."""

    def __post_init__(self) -> None:
        self.acme, self.beta, self.gamma = (self.people.org() for _ in range(3))
        # Nobody of the matrix is the last of their kind.
        self.rulers = [self.people.superuser()]
        self.people.user({self.acme: Role.OWNER, self.beta: Role.OWNER})
        for name in OPERATORS:
            self.operators[name] = self._operator(name)
            self.people.identity(self.operators[name])
        self.people.sql("DELETE FROM bazar.users WHERE id = %s", self.operators["stranger"].id)
        self.sign_in()

    # -- operators and targets -------------------------------------------------------------------------------------

    def bazar(self, operator: str) -> Bazar:
        """`bazar` on the machine of an operator."""
        return Bazar(self.homes / operator.replace("/", "-")).on(self.people.target)

    def sign_in(self) -> None:
        """Give every operator their password and a session again: commands of `auth` may have ended them."""
        self._seen = None
        self.people.sql("UPDATE auth.users SET encrypted_password = %s", OLD_HASH)
        for name in self.operators:
            self._sign_in(name)

    def _sign_in(self, name: str) -> None:
        sessions = Sessions.of(self.people.target, self.bazar(name).environment())
        if name == _SIGNED_OUT:
            sessions.forget()
        else:
            with AuthClient(self.people.target) as client:
                sessions.save(client.sign_in(self.operators[name].email, Secret(OLD_PASSWORD)))

    def tidy(self) -> None:
        """Undo the changes of a row to the operators and targets."""
        self._seen = None
        self._begin_deletion_again()
        kept = self.acme.id, self.beta.id, self.gamma.id
        self.people.sql("DELETE FROM bazar.organizations WHERE id NOT IN (%s, %s, %s)", *kept)
        self._told = self.people.sql("SELECT coalesce(max(seq), 0) AS last FROM bazar.audit_events")[0]["last"]
        rulers = [one.id for name, one in self._everybody() if name.endswith("superuser") or name in OTHERS]
        self.people.sql("UPDATE bazar.users SET is_superuser = id = ANY(%s)", rulers)
        self.people.seed_plans()
        plans = {one.id: Plan(name.partition("/")[0]) for name, one in self.operators.items() if "/" in name}
        plans |= {one.id: _plan_of(name) for name, one in self.targets.items()}
        for one, plan in plans.items():
            self.people.sql(
                "UPDATE bazar.users SET plan = %s WHERE id = %s AND plan <> %s", plan.value, one, plan.value
            )

    def _everybody(self) -> list[tuple[str, Someone]]:
        kept = [("superuser", one) for one in self.rulers]
        return [*kept, *self.operators.items(), *self.targets.items()]

    def _operator(self, name: str) -> Someone:
        plan, _, role = name.partition("/")
        if role == "superuser":
            return self.people.user(plan=Plan(plan), superuser=True)
        if role:
            roles = {} if role == "none" else {self.acme: Role(role), self.gamma: Role.MEMBER}
            return self.people.user(roles, plan=Plan(plan))
        state = UserState.SUSPENDED if name == "suspended" else UserState.ACTIVE
        pending = Pending.DELETE if name == _DELETED else None
        return self.people.user(plan=Plan.PREMIUM, superuser=True, state=state, pending=pending)

    def _target(self, name: str) -> Someone:
        """The target; a fresh one where a command before took it away, suspended it or changed its address."""
        found = self.targets.get(name)
        row = self.people.row(found) if found is not None else None
        if found is None or row is None or (row["email"], row["state"]) != (found.email, UserState.ACTIVE.value):
            roles: dict[Org, Role] = {
                "admin": {self.acme: Role.ADMIN},
                "owner": {self.acme: Role.OWNER},
                "shared": {self.acme: Role.MEMBER, self.beta: Role.MEMBER},
                "colleague": {self.gamma: Role.MEMBER},
                "foreign": {self.beta: Role.MEMBER},
                "alone": {},
            }.get(name, {self.acme: Role.MEMBER})
            ruler = name == "superuser"
            found = self.people.user(roles, plan=_plan_of(name), superuser=ruler)
            self.people.identity(found)
            self.targets[name] = found
            self._seen = None
        return found

    # -- cells -------------------------------------------------------------------------------------

    def run_row(self, row: Row, operator: str) -> RowResult:
        """Run one cell."""
        if operator == _DELETED:
            self._begin_deletion_again()
        bazar = self.bazar(operator)
        values = {name: self._value(name, operator, bazar) for name in row.placeholders}
        words, stdin = row.words(values)
        if row.command == "users sessions revoke":
            self._sign_in_targets(row)
        before = self._seen or self._everything()
        places = self._places() if row.command.startswith("orgs ") else None
        done = bazar(*words, "-o", "json", stdin=stdin)
        after = self._seen = self._everything()
        if places is not None and (before[_ORGS], before[_MEMBERS]) != (after[_ORGS], after[_MEMBERS]):
            self._put_back(*places)
        return RowResult(done, before, after)

    def _sign_in_targets(self, row: Row) -> None:
        """Give the targets a session to end."""
        for name in row.placeholders:
            if name in self.targets:
                added = self.people.sql(
                    "INSERT INTO auth.sessions (id, user_id, created_at, updated_at)"
                    " SELECT gen_random_uuid(), u.id, now(), now() FROM auth.users u WHERE u.id = %s"
                    " AND NOT EXISTS (SELECT FROM auth.sessions s WHERE s.user_id = u.id) RETURNING id",
                    self.targets[name].id,
                )
                self._seen = None if added else self._seen

    def _places(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The organizations and memberships as they are."""
        return self.people.sql(f"SELECT * FROM {_ORGS}"), self.people.sql(f"SELECT * FROM {_MEMBERS}")

    def _put_back(self, orgs: list[dict[str, Any]], members: list[dict[str, Any]]) -> None:
        """Restore organizations and memberships, so that every operator meets the same ones."""
        self._seen = None
        self.people.sql(f"DELETE FROM {_ORGS}")
        for table, rows in ((_ORGS, orgs), (_MEMBERS, members)):
            for found in rows:
                self.people.sql(
                    f"INSERT INTO {table} ({', '.join(found)}) VALUES ({', '.join(['%s'] * len(found))})",
                    *found.values(),
                )

    def _begin_deletion_again(self) -> None:
        """Put another one in the place of the operator whose deletion a cell has finished, if one has."""
        if self.people.row(self.operators[_DELETED]) is not None:
            return
        self._seen = None
        made = self.operators[_DELETED] = self._operator(_DELETED)
        self.people.identity(made)
        self._sign_in(_DELETED)

    def _everything(self) -> dict[str, list[str]]:
        return self.people.everything(events_after=self._told)

    def _value(self, name: str, operator: str, bazar: Bazar) -> str:
        fresh = f"new-{secrets.token_hex(6)}"
        constant = {
            "acme": self.acme.slug,
            "beta": self.beta.slug,
            "nowhere": "nowhere",
            "nobody": "nobody@example.com",
            "oneself": self.operators[operator].email,
            "password": OLD_PASSWORD,
            "profile": PROFILE,
            "new-email": f"{fresh}@example.com",
        }
        if name == "profile":
            target = self.people.target
            values = {
                "SUPABASE_URL": target.supabase_url,
                "SUPABASE_KEY": target.supabase_key.reveal(),
                "DATABASE_URL": target.database_url.reveal(),
            }
            Profiles(bazar.environment()).save(PROFILE, values, activate=False)
        if name == "new-identity":
            found = Someone(uuid.uuid4(), f"{fresh}@example.com")
            self.people.identity(found)
            self._seen = None
            return found.email
        if name.startswith("new-"):
            return constant.get(name, fresh)
        return constant[name] if name in constant else self._target(name).email


def _plan_of(target: str) -> Plan:
    return Plan.PREMIUM if target == "superuser" else Plan.FREE
