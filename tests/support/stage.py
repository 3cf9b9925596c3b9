"""The stage of the matrix: every operator signed in, every target in its place, in systems of their own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.domain.access import Pending, Role, UserState
from bazar_cli.domain.permissions import Plan
from bazar_cli.domain.secrets import Secret
from tests.support.cli import Bazar, Done
from tests.support.matrix import OPERATORS, Row
from tests.support.people import OLD_HASH, OLD_PASSWORD, Org, People, Someone

PROFILE = "kept"
_SIGNED_OUT = "signed-out"


@dataclass(frozen=True)
class Played:
    """How one cell ended, with all rows of both systems before and after."""

    done: Done
    before: dict[str, list[str]]
    after: dict[str, list[str]]


@dataclass
class Stage:
    """Operators and targets of one worker."""

    people: People
    homes: Path
    acme: Org = field(init=False)
    beta: Org = field(init=False)
    operators: dict[str, Someone] = field(default_factory=dict[str, Someone])
    targets: dict[str, Someone] = field(default_factory=dict[str, Someone])
    _seen: dict[str, list[str]] | None = None
    """All rows after the last cell, until something else changes them."""

    def __post_init__(self) -> None:
        self.acme, self.beta = self.people.org(), self.people.org()
        # Nobody of the matrix is the last of their kind.
        self.people.superuser()
        self.people.user({self.acme: Role.OWNER, self.beta: Role.OWNER})
        for name in OPERATORS:
            self.operators[name] = self._operator(name)
            self.people.identity(self.operators[name])
        self.people.sql("DELETE FROM bazar.users WHERE id = %s", self.operators["stranger"].id)
        self.sign_in()

    # -- who is there -------------------------------------------------------------------------------------

    def bazar(self, operator: str) -> Bazar:
        """`bazar` on the machine of an operator."""
        return Bazar(self.homes / operator.replace("/", "-")).on(self.people.target)

    def sign_in(self) -> None:
        """Give every operator their password and a session again: commands of `auth` may have ended them."""
        self._seen = None
        self.people.sql("UPDATE auth.users SET encrypted_password = %s", OLD_HASH)
        for name, someone in self.operators.items():
            sessions = Sessions.of(self.people.target, self.bazar(name).environment())
            if name == _SIGNED_OUT:
                sessions.forget()
            else:
                with AuthClient(self.people.target) as client:
                    sessions.save(client.sign_in(someone.email, Secret(OLD_PASSWORD)))

    def tidy(self) -> None:
        """Take back what a row may have added to the operators and targets."""
        self._seen = None
        self.people.sql("DELETE FROM bazar.organizations WHERE id NOT IN (%s, %s)", self.acme.id, self.beta.id)
        self.people.sql("DELETE FROM bazar.audit_events")

    def _operator(self, name: str) -> Someone:
        plan, _, role = name.partition("/")
        if role == "superuser":
            return self.people.user(plan=Plan(plan), superuser=True)
        if role:
            return self.people.user({} if role == "none" else {self.acme: Role(role)}, plan=Plan(plan))
        state = UserState.SUSPENDED if name == "suspended" else UserState.ACTIVE
        pending = Pending.DELETE if name == "deleted" else None
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
                "foreign": {self.beta: Role.MEMBER},
                "alone": {},
            }.get(name, {self.acme: Role.MEMBER})
            ruler = name == "superuser"
            found = self.people.user(roles, plan=Plan.PREMIUM if ruler else Plan.FREE, superuser=ruler)
            self.people.identity(found)
            self.targets[name] = found
            self._seen = None
        return found

    # -- what they do -------------------------------------------------------------------------------------

    def play(self, row: Row, operator: str) -> Played:
        """Run one cell."""
        bazar = self.bazar(operator)
        values = {name: self._value(name, operator, bazar) for name in row.placeholders}
        words, stdin = row.words(values)
        before = self._seen or self.people.everything()
        done = bazar(*words, "-o", "json", stdin=stdin)
        self._seen = self.people.everything()
        return Played(done, before, self._seen)

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
        if name.startswith("new-"):
            return constant.get(name, fresh)
        return constant[name] if name in constant else self._target(name).email
