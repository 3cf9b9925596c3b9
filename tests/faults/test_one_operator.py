"""The parallel commands of one operator, as a script that provisions runs them: none of them knocks another out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar, Done
from tests.support.people import Org, People, Someone

Words = tuple[str, ...]
AT_ONCE = 8
EACH = 3
"""Commands of each of eight kinds: 24 in all."""


@pytest.fixture(params=["superuser", "owner"])
def operator(request: pytest.FixtureRequest, people: People) -> Someone:
    """A superuser, or somebody on Premium who has no rights but in their own organizations."""
    made = people.user(plan=Plan.PREMIUM, superuser=request.param == "superuser")
    people.identity(made)
    return made


@pytest.fixture
def bazar(tmp_path: Path, target: Target, people: People, operator: Someone) -> Bazar:
    """`bazar` of the operator."""
    return Bazar(tmp_path / "home").on(target).having(BAZAR_TOKEN=people.access_token(operator))


def owned(people: People, operator: Someone) -> Org:
    """An organization of the operator."""
    org = people.org()
    join(people, org, operator, Role.OWNER)
    return org


def join(people: People, org: Org, who: Someone, role: Role) -> None:
    insert = "INSERT INTO bazar.memberships (organization_id, user_id, role) VALUES (%s, %s, %s)"
    people.sql(insert, org.id, who.id, role.value)


def all_of(bazar: Bazar, commands: Sequence[Words]) -> list[Done]:
    """Run commands as `xargs -P 8` does."""
    bazar("--version").ok()  # the process that forks them is there before any thread asks for it
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(bazar, *words, "-o", "json") for words in commands]
        return [future.result() for future in running]


def ends(commands: Sequence[Words], done: Sequence[Done]) -> Counter[tuple[str, int, str]]:
    """How many commands of each kind ended how, of those that failed."""
    return Counter(
        (" ".join(words[:3]), one.code, one.error["message"])
        for words, one in zip(commands, done, strict=True)
        if one.code
    )


def test_commands_of_one_operator_at_once(bazar: Bazar, people: People, operator: Someone) -> None:
    """What each does rests on other organizations and users than what ends beside it."""
    kept = owned(people, operator)
    founded = [f"new-{people.org().slug}" for _ in range(EACH)]
    renamed, doomed, left, joined = ([owned(people, operator) for _ in range(EACH)] for _ in range(4))
    for org in left:
        people.user({org: Role.OWNER})
    added, raised, removed, named = ([people.user({kept: Role.MEMBER}) for _ in range(EACH)] for _ in range(4))
    for user in named:  # what is asked of a role in all organizations of theirs is asked while all but one go
        for org in doomed:
            join(people, org, user, Role.MEMBER)
    members = ("orgs", "members")
    kinds: list[list[Words]] = [
        [("orgs", "create", slug, "--slug", slug) for slug in founded],
        [("orgs", "update", org.slug, "--name", "Renamed", "--slug", f"{org.slug}-b") for org in renamed],
        [("orgs", "delete", org.slug, "--confirm", org.slug) for org in doomed],
        [(*members, "remove", org.slug, operator.email, "--yes") for org in left],
        [(*members, "add", org.slug, user.email) for org, user in zip(joined, added, strict=True)],
        [(*members, "update", kept.slug, user.email, "--role", "admin") for user in raised],
        [(*members, "remove", kept.slug, user.email, "--yes") for user in removed],
        [("users", "update", user.email, "--name", "Grace") for user in named[:-1]]
        + [("users", "update", operator.email, "--name", "Grace")],
    ]
    commands = list(chain.from_iterable(zip(*kinds, strict=True)))
    assert len(commands) == 8 * EACH

    done = all_of(bazar, commands)

    assert ends(commands, done) == Counter()
    rows = people.sql(
        "SELECT o.slug FROM bazar.organizations o JOIN bazar.memberships m ON m.organization_id = o.id"
        " WHERE m.user_id = %s",
        operator.id,
    )
    assert {row["slug"] for row in rows} == {
        kept.slug,
        *founded,
        *(org.slug for org in joined),
        *(f"{org.slug}-b" for org in renamed),
    }


def test_deletions_beside_unrelated_writes(bazar: Bazar, people: People, operator: Someone) -> None:
    kept = owned(people, operator)
    doomed = [owned(people, operator) for _ in range(8)]
    users = [people.user({kept: Role.MEMBER}) for _ in range(8)]
    pairs = [
        (("orgs", "delete", org.slug, "--confirm", org.slug), ("users", "update", user.email, "--name", "Grace"))
        for org, user in zip(doomed, users, strict=True)
    ]
    commands = list(chain.from_iterable(pairs))

    assert ends(commands, all_of(bazar, commands)) == Counter()


def test_changes_of_the_operator_beside_their_other_commands(bazar: Bazar, people: People, operator: Someone) -> None:
    """Each of these locks the operator's own row to write it; the others lock it to read it."""
    kept = owned(people, operator)
    commands = [
        ("users", "update", operator.email if number % 2 else str(operator.id), "--name", f"Name {number}")
        if number % 3
        else ("orgs", "update", kept.slug, "--name", f"Name {number}")
        for number in range(16)
    ]

    assert ends(commands, all_of(bazar, commands)) == Counter()
