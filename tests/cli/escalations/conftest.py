"""Fixtures of the escalation tests: two organizations, and a comparison of both systems around each try."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar, Done
from tests.support.expected_changes import unexpected
from tests.support.people import Org, People, Someone

JSON = ("-o", "json")


def told(done: Done, named: str) -> str:
    """Return the error without its request id and without the name that the command was given."""
    said = {key: value for key, value in done.error.items() if key != "request_id"}
    return str(said).replace(f"'{named}'", "WHAT").replace(f" {named} ", " WHAT ")


@dataclass(frozen=True)
class Attack:
    """Tries a command that must fail, and proves that nothing came of it."""

    people: People

    def __call__(
        self, bazar: Bazar, *words: str, ends: tuple[int, str], denials: int | None = None, stdin: str = ""
    ) -> Done:
        """Run it; it must end as `ends`, and leave only its denials: by default one for exit code 5."""
        [last] = self.people.sql("SELECT coalesce(max(seq), 0) AS seq FROM bazar.audit_events")
        before = self.people.everything(events_after=last["seq"])
        done = bazar(*words, *JSON, stdin=stdin)
        after = self.people.everything(events_after=last["seq"])
        assert done.out == ""
        assert (done.code, done.error["code"]) == ends, done.err
        expected = denials if denials is not None else int(done.code == 5 and "--dry-run" not in words)
        assert unexpected(before, after, expected) == []
        return done


@pytest.fixture
def attack(people: People) -> Attack:
    """Attack this worker's target."""
    return Attack(people)


@dataclass(frozen=True)
class World:
    """Acme, where the attacker is, beta, where they are not, and the people of both."""

    acme: Org
    beta: Org
    owner: Someone
    admin: Someone
    member: Someone
    ruler: Someone
    """A superuser who is a member of acme."""
    shared: Someone
    """A member of acme who owns beta."""
    foreign: Someone
    """A member of beta."""
    alone: Someone


@pytest.fixture
def world(people: People) -> World:
    """Make the two organizations."""
    acme, beta = people.org(name="Acme"), people.org(name="The Secret Org")
    return World(
        acme,
        beta,
        owner=people.user({acme: Role.OWNER}, name="Olga"),
        admin=people.user({acme: Role.ADMIN}),
        member=people.user({acme: Role.MEMBER}, name="Mia"),
        ruler=people.user({acme: Role.MEMBER}, plan=Plan.PREMIUM, superuser=True),
        shared=people.user({acme: Role.MEMBER, beta: Role.OWNER}),
        foreign=people.user({beta: Role.MEMBER}, name="Fritz Foreign"),
        alone=people.user(name="Anna Alone"),
    )


@pytest.fixture
def admin_of_acme(world: World, as_user: Callable[[Someone], Bazar], people: People) -> Bazar:
    """`bazar` signed in as an admin of acme on Premium."""
    return as_user(people.user({world.acme: Role.ADMIN}, plan=Plan.PREMIUM))


@dataclass(frozen=True)
class Realm:
    """A system whose superusers are all known, beside the worker's Auth service."""

    people: People
    attack: Attack
    bazar: Bazar

    def as_user(self, someone: Someone) -> Bazar:
        """Sign somebody in."""
        self.people.identity(someone)
        return self.bazar.having(BAZAR_TOKEN=self.people.access_token(someone))


@pytest.fixture
def realm(fresh_database: Callable[..., str], target: Target, nobody: Bazar) -> Generator[Realm]:
    """Make a migrated system without any user."""
    own = replace(target, database_url=Secret(fresh_database(migrated=True)))
    with ExitStack() as stack:
        people = stack.enter_context(People(own))
        yield Realm(people, Attack(people), nobody.on(own))
