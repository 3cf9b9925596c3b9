"""Seeing more than one may: by any reference, filter, cursor or format."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from bazar_cli.adapters.postgres.cursors import Position, encode
from bazar_cli.domain.entities import Plan, Role
from tests.cli.escalations.conftest import JSON, Attack, World, told
from tests.support.cli import Bazar
from tests.support.people import People, Someone

AsUser = Callable[[Someone], Bazar]
NO_USER, NO_ORG = (3, "users.not_found"), (3, "orgs.not_found")


@pytest.fixture
def insider(as_user: AsUser, people: People, world: World) -> Bazar:
    """`bazar` signed in as an owner of acme on Premium: who sees most but for superusers."""
    return as_user(people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM, name="Ida"))


@pytest.mark.parametrize("words", [("users", "get", "WHO"), ("plans", "check", "users:read", "--user", "WHO")])
def test_user_out_of_reach_reads_like_unknown(
    attack: Attack, insider: Bazar, world: World, words: tuple[str, ...]
) -> None:
    ruler = attack.people.superuser()
    hidden = [who for one in (world.foreign, world.alone, ruler) for who in (one.email, one.email.upper(), str(one.id))]
    texts: set[str] = set()
    for named in (*hidden, "nobody@example.com", str(uuid.uuid4()), "", "%", "_"):
        done = attack(insider, *(named if word == "WHO" else word for word in words), ends=NO_USER)
        texts.add(told(done, named))
    assert len(texts) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("orgs", "get", "ORG"),
        ("users", "list", "--org", "ORG"),
        ("plans", "check", "users:read", "--org", "ORG"),
    ],
)
def test_organization_out_of_reach_reads_like_unknown(
    attack: Attack, insider: Bazar, world: World, words: tuple[str, ...]
) -> None:
    texts: set[str] = set()
    for named in (world.beta.slug, str(world.beta.id), "nowhere", str(uuid.uuid4()), "%", "_"):
        done = attack(insider, *(named if word == "ORG" else word for word in words), ends=NO_ORG)
        texts.add(told(done, named))
    assert len(texts) == 1


def test_creating_in_a_foreign_organization_reads_like_in_an_unknown_one(
    attack: Attack, admin_of_acme: Bazar, world: World
) -> None:
    texts: set[str] = set()
    for named in (world.beta.slug, str(world.beta.id), "nowhere", str(uuid.uuid4())):
        done = attack(admin_of_acme, "users", "create", "new@example.com", "--org", named, ends=NO_ORG)
        texts.add(told(done, named))
    assert len(texts) == 1


@pytest.mark.parametrize("shape", ["table", "json", "jsonl", "csv", "yaml", "ids"])
def test_no_format_shows_what_is_foreign(insider: Bazar, world: World, shape: str) -> None:
    commands = [
        ("users", "get", world.shared.email),
        ("users", "list", "--all"),
        ("users", "list", "--org", world.acme.slug),
        ("users", "me"),
        ("orgs", "list", "--all"),
        ("orgs", "get", world.acme.slug),
        ("plans", "check", "users:read", "--user", world.shared.email),
    ]
    # A verdict has no id.
    words = [line for line in commands if shape != "ids" or line[0] != "plans"]
    shown = "".join(insider(*line, "-o", shape).ok().out for line in words)
    assert str(world.shared.id) in shown
    for secret in (
        *(str(world.beta.id), world.beta.slug, "The Secret Org"),
        *(str(world.foreign.id), world.foreign.email, "Fritz Foreign"),
        *(str(world.alone.id), world.alone.email, "Anna Alone"),
    ):
        assert secret not in shown


def test_members_are_counted_where_one_is(insider: Bazar, world: World) -> None:
    (only,) = insider("orgs", "list", *JSON).ok().json["items"]
    assert (only["slug"], only["members"]) == (world.acme.slug, 6)


def test_verdict_on_a_shared_user_shows_no_foreign_role(insider: Bazar, world: World) -> None:
    words = ("plans", "check", "users:read", "--user", world.shared.email, "--org", world.acme.slug)
    assert "member of" in insider(*words, *JSON).ok().json["reason"]
    assert insider(*words[:-1], world.beta.slug).code == 3


@pytest.mark.parametrize(("noun", "sort"), [("users", "created"), ("users", "email"), ("orgs", "organizations")])
def test_made_up_cursor_pages_through_nothing_foreign(insider: Bazar, world: World, noun: str, sort: str) -> None:
    order = ("--sort", sort) if noun == "users" else ()
    everyone = _ids(insider(noun, "list", "--all", *order, *JSON).ok().json)
    start = "" if sort == "email" else "1970-01-01T00:00:00+00:00"
    for last in (uuid.UUID(int=0), world.foreign.id, world.beta.id):
        cursor = encode(Position(sort, start, last))
        page = insider(noun, "list", "--cursor", cursor, "--limit", "1000", *order, *JSON).ok().json
        assert _ids(page) == everyone


@pytest.mark.parametrize("key", ["') OR true --", "x' UNION SELECT", "\\", "1970-01-01' OR '1'='1"])
def test_made_up_key_in_a_cursor_is_a_value_and_no_statement(attack: Attack, insider: Bazar, key: str) -> None:
    by_time = encode(Position("created", key, uuid.UUID(int=0)))
    attack(insider, "users", "list", "--cursor", by_time, ends=(2, "list.cursor_invalid"))
    by_email = encode(Position("email", key, uuid.UUID(int=0)))
    seen = _ids(insider("users", "list", "--all", *JSON).ok().json)
    assert _ids(insider("users", "list", "--sort", "email", "--cursor", by_email, *JSON).ok().json) <= seen


@pytest.mark.parametrize(
    "words",
    [
        ("--search", "FOREIGN"),
        ("--search", "Fritz"),
        ("--search", "BETA"),
        ("--search", "ALONE", "--sort", "email"),
        ("--search", "Anna", "--plan", "free"),
        ("--search", "' OR true --"),
        ("--search", "Fritz", "--state", "active", "--created-since", "1970-01-01"),
    ],
)
def test_filters_find_no_user_out_of_reach(insider: Bazar, world: World, words: tuple[str, ...]) -> None:
    named = {"FOREIGN": world.foreign.email, "ALONE": world.alone.email, "BETA": world.beta.slug}
    found = insider("users", "list", *(named.get(word, word) for word in words), *JSON).ok().json
    assert found == {"items": [], "next_cursor": None}


def test_wildcards_search_for_themselves(insider: Bazar, world: World) -> None:
    for wildcard in ("%", "_", "%foreign%"):
        assert insider("users", "list", "--search", wildcard, *JSON).ok().json["items"] == []


def _ids(page: Any) -> set[str]:
    return {item["id"] for item in page["items"]}
