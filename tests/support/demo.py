"""Demo data with names of the test's own, and runs of `db seed` in this process."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bazar_cli.domain.declared.state import (
    DeclaredMembership,
    DeclaredOrganization,
    DeclaredState,
    DeclaredUser,
    as_document,
)
from bazar_cli.domain.demo.seed import Outcome, Seed, Seeded, completed
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.services.apply import demo_data
from bazar_cli.services.gate.gate import Gate
from tests.support.gates import gate_of
from tests.support.people import RUN, People, Someone, an_address


def cast(size: int = 0) -> DeclaredState:
    """Return an organization with an owner, an admin, a suspended member, an owner of two, and `size` more."""
    first, second = (DeclaredOrganization(f"demo-{RUN}-{secrets.token_hex(4)}", name) for name in ("Acme", "Beta"))
    owner = DeclaredUser(an_address("owner"), "Olga", Plan.PREMIUM, (DeclaredMembership(first.slug, Role.OWNER),))
    admin = DeclaredUser(an_address("admin"), None, Plan.PLUS, (DeclaredMembership(first.slug, Role.ADMIN),))
    both = (DeclaredMembership(first.slug), DeclaredMembership(second.slug, Role.OWNER))
    rest = tuple(
        DeclaredUser(an_address("more"), f"More {n}", organizations=(DeclaredMembership(first.slug),))
        for n in range(size)
    )
    users = (
        owner,
        admin,
        DeclaredUser(an_address("both"), "Both", organizations=both),
        DeclaredUser(an_address("gone"), "Gone", organizations=both[:1], state=UserState.SUSPENDED),
        *rest,
    )
    return completed(DeclaredState((first, second), users))


def as_file(data: DeclaredState) -> str:
    """Return the file that asks for it."""
    document = as_document(data)
    return json.dumps({"organizations": document["organizations"], "users": document["users"]})


@dataclass
class Demo:
    """Runs of `db seed` by one operator, each with another request id."""

    people: People
    operator: Someone

    @contextmanager
    def gate(self) -> Generator[Gate]:
        """Yield the gate of one command."""
        with gate_of(self.people, self.operator) as gate:
            yield gate

    def seed(self, data: DeclaredState, *, users: int = 0, dry_run: bool = False) -> Seeded:
        """Run it once."""
        with self.gate() as gate:
            return demo_data.seed(gate, Seed(data, users), dry_run=dry_run)

    def reset(self, data: DeclaredState) -> None:
        """Delete all that `db reset` deletes: it keeps the marker, the operator and every identity."""
        self.people.sql("DELETE FROM bazar.users WHERE email = ANY(%s)", [user.email for user in data.users])
        self.people.sql("DELETE FROM bazar.organizations WHERE slug = ANY(%s)", [o.slug for o in data.organizations])
        self.people.sql("ALTER TABLE bazar.audit_events DISABLE TRIGGER ALL")
        self.people.sql("DELETE FROM bazar.audit_events")
        self.people.sql("ALTER TABLE bazar.audit_events ENABLE TRIGGER ALL")

    def ids(self, data: DeclaredState) -> dict[str, uuid.UUID]:
        """The ids of the users that exist, by address."""
        emails = [user.email for user in data.users]
        rows = self.people.sql("SELECT id, email FROM bazar.users WHERE email = ANY(%s)", emails)
        return {row["email"]: row["id"] for row in rows}

    def assert_made(self, data: DeclaredState) -> None:
        """Assert that both systems have all users under one id, with one creation each and nothing pending."""
        for user in data.users:
            (row,) = self.people.sql("SELECT * FROM bazar.users WHERE email = %s", user.email)
            assert (row["name"], row["plan"], row["state"]) == (user.name, user.plan, user.state), user
            assert (row["pending"], row["lease_owner"], row["is_superuser"]) == (None, None, False), user
            assert self._roles(row["id"]) == {m.slug: m.role for m in user.organizations}, user
            (identity,) = self.people.identities(user.email)
            assert identity["id"] == row["id"], user
            assert bool(identity.get("banned_until")) == (user.state is UserState.SUSPENDED), user
            made = [e["outcome"] for e in self.people.events(row["id"]) if e["use_case"] == "users.create"]
            # A user that Supabase refused at first has the same id the next time.
            assert made == [*["done", "undone"] * made.count("undone"), "done"], user
        for organization in data.organizations:
            (row,) = self.people.sql("SELECT * FROM bazar.organizations WHERE slug = %s", organization.slug)
            assert row["name"] == organization.name
            assert [e["use_case"] for e in self.people.events(row["id"])].count("orgs.create") == 1

    def _roles(self, user_id: uuid.UUID) -> dict[str, str]:
        rows = self.people.sql(
            "SELECT o.slug, m.role FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id"
            " WHERE m.user_id = %s",
            user_id,
        )
        return {row["slug"]: row["role"] for row in rows}


def outcomes(seeded: Seeded) -> list[Outcome]:
    """What became of each user."""
    return [user.outcome for user in seeded.users]


def having(data: DeclaredState, place: int, **values: Any) -> DeclaredState:
    """The same with another user in a place."""
    users = list(data.users)
    users[place] = replace(users[place], **values)
    return DeclaredState(data.organizations, tuple(users))
