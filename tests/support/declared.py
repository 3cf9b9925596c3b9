"""Declared states of tests, and runs of `diff` and `apply` in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bazar_cli.domain.declared.changes import Applied, Outcome, Removals
from bazar_cli.domain.declared.state import DeclaredMembership, DeclaredOrganization, DeclaredState, DeclaredUser
from bazar_cli.domain.entities import Role, UserState
from bazar_cli.domain.progress import ignored
from bazar_cli.services.apply import declared
from bazar_cli.services.apply.declared import Prepared, Wanted
from bazar_cli.services.apply.saved_plan import SavedPlan
from bazar_cli.services.apply.state_file import read_state
from tests.support.gates import gate_of
from tests.support.people import People, Someone

ALL_REMOVALS = Removals(prune=True, limit="100000")


@dataclass
class Declaring:
    """Runs of `diff` and `apply` by one operator, each with another request id."""

    people: People
    operator: Someone

    def diff(self, state: DeclaredState | str, removals: Removals = Removals()) -> Applied:  # noqa: B008 - frozen
        """Run `diff` once."""
        with gate_of(self.people, self.operator) as gate:
            return declared.diff(gate, wanted(state, removals))

    def save(self, state: DeclaredState | str, path: Path, removals: Removals = Removals()) -> Applied:  # noqa: B008
        """Run `diff --out` once."""
        with gate_of(self.people, self.operator) as gate:
            return declared.save_plan(gate, wanted(state, removals), path, path.name, overwrite=True)

    def prepare(self, asked: Wanted, *, dry_run: bool = False) -> Prepared:
        """Compare, and ask the gate for every change."""
        with gate_of(self.people, self.operator) as gate:
            return declared.prepare(gate, asked, dry_run=dry_run)

    def apply(
        self,
        state: DeclaredState | str | Wanted,
        removals: Removals = Removals(),  # noqa: B008
        *,
        between: Callable[[Prepared], Any] = lambda _prepared: None,
    ) -> Applied:
        """Run `apply` once. Parameters: `between` is called when the changes are known and none is made."""
        asked = state if isinstance(state, Wanted) else wanted(state, removals)
        with gate_of(self.people, self.operator) as gate:
            prepared = declared.prepare(gate, asked, dry_run=False)
            between(prepared)
            return declared.carry_out(gate, prepared, ignored, lambda _done: None)

    def make(self, state: DeclaredState | str, removals: Removals = Removals()) -> Applied:  # noqa: B008
        """Run `apply` once, in which every change succeeds."""
        done = self.apply(state, removals)
        assert [r for r in done.results if r.outcome is not Outcome.DONE] == []
        return done

    def assert_is(self, state: DeclaredState) -> None:
        """Assert that both systems have all that a state declares, with nothing pending."""
        people = self.people
        for organization in state.organizations:
            (row,) = people.sql("SELECT name FROM bazar.organizations WHERE slug = %s", organization.slug)
            assert organization.name in {None, row["name"]}
        for user in state.users:
            (row,) = people.sql("SELECT * FROM bazar.users WHERE email = %s", user.email)
            assert user.name == row["name"] or not isinstance(user.name, (str, type(None))), user
            assert user.plan in {None, row["plan"]}, user
            assert user.state in {None, row["state"]}, user
            assert (row["pending"], row["lease_owner"]) == (None, None), user
            (identity,) = people.identities(user.email)
            assert identity["id"] == row["id"], user
            assert bool(identity.get("banned_until")) == (row["state"] == UserState.SUSPENDED), user
            roles = members_of(people, user=user.email)
            for membership in user.organizations:
                assert membership.role in {None, roles[membership.slug, user.email]}, user


def members_of(people: People, *, user: str | None = None, slug: str | None = None) -> dict[tuple[str, str], str]:
    """Return the roles of memberships of a user or an organization, by slug and address."""
    rows = people.sql(
        "SELECT o.slug, u.email, m.role FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id"
        " JOIN bazar.users u ON u.id = m.user_id WHERE u.email = %s OR o.slug = %s",
        user,
        slug,
    )
    return {(row["slug"], row["email"]): row["role"] for row in rows}


def wanted(
    state: DeclaredState | str,
    removals: Removals = Removals(),  # noqa: B008
    plan: SavedPlan | None = None,
) -> Wanted:
    """Return the request of a state, or of the text of its file."""
    return Wanted("state.yaml", read_state(state, "state.yaml") if isinstance(state, str) else state, removals, plan)


def lines(applied: Applied) -> list[str]:
    """Return the changes in one line each."""
    return [result.change.line for result in applied.results]


def member(slug: str, role: Role | None = None) -> DeclaredMembership:
    """Return a membership."""
    return DeclaredMembership(slug, role)


def company(slug: str, *users: DeclaredUser, name: str | None = "Acme") -> DeclaredState:
    """Return the state of one organization."""
    return DeclaredState((DeclaredOrganization(slug, name),), users)
