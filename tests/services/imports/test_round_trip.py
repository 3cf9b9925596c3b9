"""What one target exports, imported into an empty one: its export is the same."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.domain.users.values import checked_name
from tests.support.cli import Bazar
from tests.support.people import Org, People, an_address

USERS = 300
COMPARED = ("id", "email", "name", "plan", "state", "pending", "is_superuser", "organizations")
SPECIAL = ["=1+1", "'s-Hertogenbosch", "''", "a;=b", ";'", '"', ",", "Jürgen", "\u0645\u062d\u0645\u062f", "😀", "-x"]


def a_name(source: random.Random) -> str | None:
    """A name of any characters that a name may have."""
    if source.random() < 0.3:
        return source.choice(SPECIAL)
    text = "".join(chr(source.choice((source.randrange(32, 127), source.randrange(0xA0, 0x3000)))) for _ in range(12))
    try:
        return checked_name(text)
    except UsageError:
        return None


@pytest.mark.parametrize("output", ["csv", "jsonl"])
def test_export_of_an_empty_target_after_an_import_is_the_same(
    target: Target, fresh_database: Callable[..., str], tmp_path: Path, output: str
) -> None:
    def arranged(name: str) -> tuple[People, Bazar]:
        people = People(replace(target, database_url=Secret(fresh_database(migrated=True))))
        ruler = people.known_superuser()
        bazar = Bazar(tmp_path / name).on(people.target).having(BAZAR_TOKEN=people.access_token(ruler))
        return people, bazar

    def exported(bazar: Bazar, rulers: set[str]) -> list[tuple[str, ...]]:
        rows = csv.DictReader(io.StringIO(bazar("users", "export", "-o", "csv").ok().out, newline=""))
        return sorted(tuple(row[name] for name in COMPARED) for row in rows if row["email"] not in rulers)

    source = random.Random(output)  # noqa: S311 - names, no secret
    (people, first), (others, second) = arranged("first"), arranged("second")
    with people, others:
        orgs = [people.org() for _ in range(3)]
        for org in orgs:
            others.org(slug=org.slug)
        for _ in range(USERS):
            roles: dict[Org, Role] = {org: source.choice(list(Role)) for org in orgs if source.random() < 0.4}
            people.user(roles, name=a_name(source), plan=source.choice(list(Plan)), email=an_address(f"u{output}"))
        superusers = "SELECT email FROM bazar.users WHERE is_superuser"
        rulers = {row["email"] for one in (people, others) for row in one.sql(superusers)}
        first("users", "export", f"all.{output}", "-o", output).ok()
        file = first.folder("work") / f"all.{output}"
        before = exported(first, rulers)
        done = first("users", "import", str(file), "-o", "json").ok()
        assert (done.json["unchanged"], done.json["rows"]) == (USERS + 1, USERS + 1)

        # The superuser of the first target has an identity in the Auth service that both share.
        done = second("users", "import", str(file), "-o", "json")
        assert (done.json["created"], done.json["failed"]) == (USERS, 1), done.out[:2000]
        assert exported(second, rulers) == before
        assert len(before) == USERS
