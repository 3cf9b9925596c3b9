"""An export is imported: on the same target it changes nothing, on an empty one it makes the same users."""

from __future__ import annotations

import uuid
from itertools import cycle
from pathlib import Path
from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.users.values import checked_name
from tests.support.cli import Bazar
from tests.support.hostile_text import ARGUMENTS
from tests.support.people import People
from tests.support.separate_systems import separate_systems

FEW, MANY = 200, 100_000
DIFFERENT = 2_000
"""Most different names: hypothesis takes a millisecond for each."""
FIELDS = "id,email,name,plan,state,organizations"
SLUGS = ("acme", "beta-2", "x")
LOCAL_PARTS = ("u", "+", "-", "'", "=", "a.b", "o'b")
_CHARACTERS = st.sampled_from("=+-@\uff1d'\" ,;|\\a1\u00e9\u202e\u3000\u200b\U0001f469")


def is_name(text: str) -> bool:
    """Whether bazar takes the text for a name as it is."""
    try:
        return not any("\ud800" <= c <= "\udfff" for c in text) and checked_name(text) == text
    except UsageError:
        return False


NAMES = (st.text(_CHARACTERS, min_size=1, max_size=12) | ARGUMENTS).filter(is_name)


def names(count: int) -> list[str]:
    """Return different names, made by hypothesis: the same ones in every run."""
    found: dict[str, None] = {}

    @settings(
        max_examples=20,
        database=None,
        deadline=None,
        derandomize=False,  # which is the default in CI, and would repeat the same names without end
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(st.lists(NAMES, min_size=5, max_size=50))
    def collect(drawn: list[str]) -> None:
        found.update(dict.fromkeys(drawn))

    for number in range(count):
        seed(number)(collect)()
        if len(found) >= count:
            return list(found)[:count]
    raise AssertionError(f"{count} passes made only {len(found)} names")


def fill(people: People, count: int) -> None:
    """Store users with memberships of some organizations, in Postgres alone."""
    chance = Random(1)  # noqa: S311 - data, no secret
    organizations = [(uuid.uuid5(uuid.NAMESPACE_DNS, slug), slug) for slug in SLUGS]
    with psycopg.connect(people.target.database_url.reveal()) as connection, connection.cursor() as cursor:
        for id_, slug in organizations:
            cursor.execute("INSERT INTO bazar.organizations (id, slug, name) VALUES (%s, %s, %s)", (id_, slug, slug))
        if not count:
            return
        ids = [uuid.uuid4() for _ in range(count)]
        with cursor.copy("COPY bazar.users (id, email, name, plan) FROM STDIN") as copy:
            for number, (id_, name) in enumerate(zip(ids, cycle(names(min(count, DIFFERENT))))):
                email = f"{chance.choice(LOCAL_PARTS)}{number}@round.example.com"
                copy.write_row((id_, email, chance.choice((name, name, None)), chance.choice(list(Plan)).value))
        with cursor.copy("COPY bazar.memberships (organization_id, user_id, role) FROM STDIN") as copy:
            for id_ in ids:
                for organization, _ in chance.sample(organizations, chance.randrange(3)):
                    copy.write_row((organization, id_, chance.choice(list(Role)).value))


def exported(admin: Bazar, form: str, file: str, *options: str) -> Path:
    """Export all users into a file of the folder that commands run in."""
    admin("users", "export", file, "-o", form, *options).ok()
    return admin.folder("work") / file


def counted(admin: Bazar, file: str, *options: str) -> dict[str, int]:
    """Import a file; return the counts that are not zero."""
    done = admin("users", "import", file, "-o", "json", *options).ok().json
    names = ("created", "updated", "unchanged", "skipped", "failed", "open")
    return {name: done[name] for name in names if done[name]}


def compared(admin: Bazar, form: str, without: set[str]) -> list[str]:
    """Return the lines of an export, but those with these ids; a new target has the users in another order."""
    lines = exported(admin, form, "compared", "--fields", FIELDS).read_text(encoding="utf-8").splitlines()
    return sorted(line for line in lines if not any(id_ in line for id_ in without))


def check_round_trip(postgres_url: str, folder: Path, count: int, form: str, via: str) -> None:
    """Export the users of one target, import them there and on an empty target, and compare the exports."""
    with separate_systems(postgres_url, folder / "one") as (people, admin):
        fill(people, count)
        whole = exported(admin, form, f"whole.{form}")
        assert counted(admin, whole.name) == {"unchanged": count + 1}
        first = compared(admin, form, set())
    with separate_systems(postgres_url, folder / "two") as (people, admin):
        fill(people, 0)
        own = {str(row["id"]) for row in people.sql("SELECT id FROM bazar.users")}
        (admin.folder("work") / whole.name).write_bytes(whole.read_bytes())
        assert counted(admin, whole.name, "--via", via) == {"created": count + 1}
        assert counted(admin, whole.name) == {"unchanged": count + 1}
        assert compared(admin, form, own) == first
        orphans = "SELECT count(*) AS users FROM bazar.users u FULL JOIN auth.users i USING (id, email)"
        assert people.sql(f"{orphans} WHERE u.email IS NULL OR i.email IS NULL") == [{"users": 0}]


WAYS = [("csv", "api"), ("jsonl", "database")]


@pytest.mark.parametrize(("form", "via"), WAYS)
def test_an_export_makes_the_same_users(postgres_url: str, tmp_path: Path, form: str, via: str) -> None:
    check_round_trip(postgres_url, tmp_path, FEW, form, via)


@pytest.mark.long
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_of_many_makes_the_same_users(postgres_url: str, tmp_path: Path, form: str) -> None:
    check_round_trip(postgres_url, tmp_path, MANY, form, "database")
