"""The file of `db seed` and the users that it generates: what is taken, what is refused, and how that is told."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.domain.declared.shapes import USERS_MAX
from bazar_cli.domain.declared.state import (
    ABSENT,
    DeclaredMembership,
    DeclaredOrganization,
    DeclaredState,
    DeclaredUser,
    as_document,
)
from bazar_cli.domain.demo.data import DEMO, wanted
from bazar_cli.domain.demo.seed import Seed, checked_count, completed, seed_id, seed_password
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.users.values import checked_name, normalized_email
from bazar_cli.services.apply.state_file import read_seed


def parse(text: str, named: str) -> DeclaredState:
    """Return the demo data of a file with a value for all that it leaves out."""
    return completed(read_seed(text, named))


ACME = {"slug": "acme", "name": "Acme"}
WRONG: list[tuple[Any, str, str]] = [
    ([], "the file", "an object is needed, not a list"),
    ({"people": []}, "the file", "unknown key 'people'; known: organizations, users"),
    ({"users": {}}, "users", "a list is needed, not an object"),
    ({"organizations": 7}, "organizations", "a list is needed, not a number"),
    ({"users": [7]}, "users[0]", "an object is needed, not a number"),
    ({"users": [{}]}, "users[0]", "email is missing"),
    ({"users": [{"email": None}]}, "users[0]", "email is missing"),
    ({"users": [{"email": True}]}, "users[0].email", "a text is needed, not a boolean"),
    ({"users": [{"email": "ada"}]}, "users[0].email", "'ada' is not a valid email address"),
    ({"users": [{"email": "a@b", "id": 1}]}, "users[0]", "unknown key 'id'"),
    ({"users": [{"email": "a@b", "is_superuser": True}]}, "users[0]", "unknown key 'is_superuser'"),
    ({"users": [{"email": "a@b", "name": "a\nb"}]}, "users[0].name", "has control characters"),
    ({"users": [{"email": "a@b", "name": "\ud800"}]}, "users[0].name", "has control characters"),
    (
        {"users": [{"email": "a@b", "plan": "gold"}]},
        "users[0].plan",
        "'gold' is not valid; choose one of: free, plus, premium",
    ),
    ({"users": [{"email": "a@b", "plan": 1}]}, "users[0].plan", "a number is not valid; choose one of: free"),
    ({"users": [{"email": "a@b", "plan": []}]}, "users[0].plan", "a list is not valid; choose one of: free"),
    ({"users": [{"email": "a@b", "organizations": [{}]}]}, "users[0].organizations[0]", "slug is missing"),
    (
        {"users": [{"email": "a@b", "state": "gone"}]},
        "users[0].state",
        "'gone' is not valid; choose one of: active, suspended",
    ),
    ({"users": [{"email": "a@b"}, {"email": "A@B"}]}, "users[1].email", "users[0] has a@b too"),
    (
        {"users": [{"email": "a@b", "organizations": [{"slug": "acme"}]}]},
        "users[0].organizations[0].slug",
        "acme is not one of the organizations of this file",
    ),
    (
        {"organizations": [ACME], "users": [{"email": "a@b", "organizations": [{"slug": "acme", "role": "boss"}]}]},
        "users[0].organizations[0].role",
        "'boss' is not valid; choose one of: owner, admin, member",
    ),
    (
        {"organizations": [ACME], "users": [{"email": "a@b", "organizations": [{"slug": "acme"}] * 2}]},
        "users[0].organizations[1].slug",
        "acme is named twice",
    ),
    (
        {
            "organizations": [ACME],
            "users": [{"email": "a@b", "state": "suspended", "organizations": [{"slug": "acme", "role": "owner"}]}],
        },
        "organizations[0]",
        "all owners of acme are suspended",
    ),
    ({"organizations": [{"slug": "acme"}]}, "organizations[0]", "name is missing"),
    ({"organizations": [{"slug": "A B", "name": "x"}]}, "organizations[0].slug", "'A B' is not a valid slug"),
    (
        {
            "organizations": [{"slug": "acme", "name": " "}],
            "users": [{"email": "a@b", "organizations": [{"slug": "acme"}]}],
        },
        "organizations[0].name",
        "not a valid organization name",
    ),
    ({"organizations": [ACME, ACME]}, "organizations[1].slug", "organizations[0] has acme too"),
    ({"users": [{"email": "a@b"}] * (USERS_MAX + 1)}, "users", f"more than {USERS_MAX}"),
]
"""Files with one wrong value each, its place, and what is said of it."""


def faults_of(content: object) -> list[tuple[str, str]]:
    with pytest.raises(UsageError) as raised:
        parse(json.dumps(content), "demo.json")
    assert raised.value.code == "seed.file_invalid"
    found: Any = raised.value.details["faults"]
    assert found
    for fault in found:
        line = f"line {fault['line']} column {fault['column']}: {fault['place']}: {fault['rule']}"
        assert line in raised.value.message
    assert raised.value.hint
    return [(fault["place"], fault["rule"]) for fault in found]


def test_whole_file_is_taken_as_it_says() -> None:
    content = {
        "organizations": [ACME],
        "users": [
            {
                "email": "Ada@Example.com",
                "name": " Ada ",
                "plan": "premium",
                "state": "active",
                "organizations": [{"slug": "acme", "role": "owner"}],
            },
            {"email": "bob@example.com", "name": None, "organizations": [{"slug": "acme"}], "state": "suspended"},
        ],
    }
    assert parse("\n" + json.dumps(content), "demo.json") == DeclaredState(
        (DeclaredOrganization("acme", "Acme"),),
        (
            DeclaredUser(
                "ada@example.com",
                "Ada",
                Plan.PREMIUM,
                (DeclaredMembership("acme", Role.OWNER),),
                UserState.ACTIVE,
            ),
            DeclaredUser(
                "bob@example.com", None, Plan.FREE, (DeclaredMembership("acme", Role.MEMBER),), UserState.SUSPENDED
            ),
        ),
    )
    assert parse("{}", "demo.json") == DeclaredState()


@pytest.mark.parametrize(("content", "place", "rule"), WRONG)
def test_wrong_value_is_named_with_its_place_and_its_rule(content: object, place: str, rule: str) -> None:
    ((where, said),) = faults_of(content)
    assert where == place
    assert rule in said


@pytest.mark.parametrize("states", [["active", "suspended"], ["suspended", "active"]])
def test_one_active_owner_is_enough(states: list[str]) -> None:
    owned = [{"slug": "acme", "role": "owner"}]
    users = [{"email": f"{state}@b", "state": state, "organizations": owned} for state in states]
    found = parse(json.dumps({"organizations": [ACME], "users": users}), "demo.json")
    assert [user.state for user in found.users] == states


def test_null_is_named_as_json_writes_it() -> None:
    assert faults_of({"users": [None]}) == [("users[0]", "an object is needed, not null")]


def test_every_wrong_value_is_named_at_once() -> None:
    content = {
        "organizations": [{"slug": "-", "name": ""}],
        "users": [
            {"email": "x", "plan": "gold"},
            {"email": "a@b", "state": 3, "colour": "red", "organizations": [{}, {"slug": "elsewhere"}]},
        ],
    }
    assert {place for place, _ in faults_of(content)} == {
        *("organizations[0].slug", "organizations[0].name", "users[0].email", "users[0].plan"),
        *("users[1].state", "users[1]", "users[1].organizations[0]", "users[1].organizations[1].slug"),
    }


def test_many_faults_are_counted_and_the_first_ones_shown() -> None:
    with pytest.raises(UsageError) as raised:
        parse(json.dumps({"users": [{"email": "x"}] * 150}), "demo.json")
    details: Any = raised.value.details
    assert (details["count"], len(details["faults"])) == (150, 100)
    assert raised.value.message.endswith("and 130 more")


def test_a_few_faults_are_all_shown() -> None:
    with pytest.raises(UsageError) as raised:
        parse(json.dumps({"users": [{"email": "x"}] * 20}), "demo.json")
    assert raised.value.message.startswith("demo.json has 20 wrong values, and nothing was written")
    assert raised.value.message.count("users[") == 20
    assert " more" not in raised.value.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "demo.json is not valid JSON: line 1 column 1"),
        ('{"users": [}', "is not valid JSON: line 1 column 12"),
        ('{"organizations": [], "users": [], "users": []}', "the key 'users' twice"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "demo.json is not valid JSON"),
    ],
    ids=["empty", "broken", "a key twice", "deep", "a number of 5000 digits"],
)
def test_text_that_is_no_json_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text, "demo.json")
    assert raised.value.code == "seed.file_unreadable"
    assert reason in raised.value.message


def test_demo_set_has_one_of_each_and_breaks_no_rule() -> None:
    assert {user.plan for user in DEMO.users} == set(Plan)
    assert {m.role for user in DEMO.users for m in user.organizations} == set(Role)
    assert [user.state for user in DEMO.users].count(UserState.SUSPENDED) == 1
    assert sorted(len(user.organizations) for user in DEMO.users)[::8] == [0, 2]
    document = as_document(DEMO)
    content = {"organizations": document["organizations"], "users": document["users"]}
    assert parse(json.dumps(content), "the demo set") == DEMO
    assert all(user.email.endswith("@example.com") for user in DEMO.users)


def test_generated_users_are_the_same_ones_spread_over_plans_and_organizations() -> None:
    many = wanted(Seed(users=1000)).users
    assert many[:200] == wanted(Seed(users=200 - len(DEMO.users))).users
    generated = many[len(DEMO.users) :]
    assert len({user.email for user in many}) == len(many) == 1000 + len(DEMO.users)
    assert all(u.name is not ABSENT and checked_name(u.name) == u.name for u in generated)
    assert all(normalized_email(u.email) == u.email for u in generated)
    assert all(user.email.endswith("@example.com") for user in generated)
    assert Counter(user.plan for user in generated) == {Plan.FREE: 600, Plan.PLUS: 300, Plan.PREMIUM: 100}
    slugs = Counter(m.slug for user in generated for m in user.organizations)
    assert slugs == dict.fromkeys((o.slug for o in DEMO.organizations), 250)
    roles = Counter(m.role for user in generated for m in user.organizations)
    assert roles == {Role.ADMIN: 30, Role.MEMBER: 720}


def test_address_of_the_file_is_generated_for_nobody_else() -> None:
    (first,) = wanted(Seed(DeclaredState(), users=1)).users
    assert (first.email, first.organizations) == ("bruno.bauer.1@example.com", ())
    both = wanted(Seed(DeclaredState(users=(DeclaredUser(first.email, "Mine"),)), users=3)).users
    assert len({user.email for user in both}) == 4
    assert both[0].name == "Mine"


@pytest.mark.parametrize("users", [-1, USERS_MAX + 1, USERS_MAX])
def test_too_many_or_fewer_than_none_are_refused(users: int) -> None:
    with pytest.raises(UsageError) as raised:
        wanted(Seed(users=users))
    assert raised.value.code == "seed.users_invalid"


def test_a_file_may_have_as_many_users_as_the_limit() -> None:
    data = completed(DeclaredState(users=(DeclaredUser("a@b", None),) * USERS_MAX))
    assert wanted(Seed(data)) == data


def test_id_depends_on_deployment_and_address_alone() -> None:
    here, there = uuid.uuid4(), uuid.uuid4()
    assert seed_id(here, "a@b") == seed_id(here, "a@b")
    assert len({seed_id(d, email) for d in (here, there) for email in ("a@b", "b@b")}) == 4


def test_password_is_checked_and_its_variable_named() -> None:
    assert seed_password({}) is None
    assert seed_password({"BAZAR_SEED_PASSWORD": ""}) is None
    found = seed_password({"BAZAR_SEED_PASSWORD": "demo-password"})
    assert found is not None
    assert found.reveal() == "demo-password"
    with pytest.raises(UsageError) as raised:
        seed_password({"BAZAR_SEED_PASSWORD": "short"})
    assert raised.value.code == "users.password_invalid"
    assert "BAZAR_SEED_PASSWORD" in raised.value.message
    assert "short" not in raised.value.message


KEYS = ("organizations", "users", "slug", "name", "email", "plan", "role", "state", "owner")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(("a@b.c", "acme", "free")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
)


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional={"organizations": ANYTHING, "users": ANYTHING}) | ANYTHING)
def test_no_content_is_a_bug(content: object) -> None:
    with suppress(UsageError):
        parse(json.dumps(content), "demo.json")


@settings(deadline=None)
@given(st.text() | st.sampled_from(("[" * 100_000, '{"users":' * 100_000, "9" * 5000)))
def test_no_text_is_a_bug(text: str) -> None:
    with suppress(UsageError):
        parse(text, "demo.json")


@pytest.mark.parametrize("users", [0, 1, USERS_MAX])
def test_a_number_of_users_up_to_the_limit_is_taken(users: int) -> None:
    assert checked_count(users) == users


@pytest.mark.parametrize("users", [-1, USERS_MAX + 1])
def test_another_number_of_users_is_refused(users: int) -> None:
    with pytest.raises(UsageError) as refused:
        checked_count(users)
    assert refused.value.code == "seed.users_invalid"
