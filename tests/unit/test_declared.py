"""Declared state: its file, its findings, its schema, and the limit on what changes take away."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.domain.authz.permissions import KEPT_BY_PREMIUM, Permission
from bazar_cli.domain.declared.changes import Change, Removals, lowers_plan
from bazar_cli.domain.declared.state import (
    ABSENT,
    DeclaredMembership,
    DeclaredOrganization,
    DeclaredPlan,
    DeclaredState,
    DeclaredUser,
    as_document,
)
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import Refused, UsageError
from bazar_cli.services.apply.state_file import read_state
from tests.contracts.json_schema import json_schema

SCHEMA: Any = jsonschema.Draft202012Validator(json_schema())
FILE = """\
organizations:
  - slug: acme
    name: Acme
    members:
      - {email: Bob@Example.com, role: admin}
      - email: ada@example.com
  - slug: beta
    members: []
  - slug: gamma
users:
  - email: ada@example.com
    name: ' Ada '
    plan: plus
    organizations: [{slug: gamma, role: owner}]
    state: active
  - email: eve@example.com
    name: null
plans:
  - plan: plus
    permissions: ['users:read', 'orgs:read']
  - plan: free
"""
STATE = DeclaredState(
    (
        DeclaredOrganization("acme", "Acme", has_members=True),
        DeclaredOrganization("beta", has_members=True),
        DeclaredOrganization("gamma"),
    ),
    (
        DeclaredUser(
            "ada@example.com",
            "Ada",
            Plan.PLUS,
            (DeclaredMembership("gamma", Role.OWNER), DeclaredMembership("acme")),
            UserState.ACTIVE,
        ),
        DeclaredUser("eve@example.com", None),
        DeclaredUser("bob@example.com", organizations=(DeclaredMembership("acme", Role.ADMIN),), must_exist=True),
    ),
    (
        DeclaredPlan(Plan.PLUS, frozenset({Permission.USERS_READ, Permission.ORGS_READ})),
        DeclaredPlan(Plan.FREE),
    ),
)


def test_file_declares_what_it_names_and_nothing_else() -> None:
    found = read_state(FILE, "state.yaml")
    assert found == STATE
    assert found.users[1].plan is found.users[1].state is None
    assert found.users[2].name is ABSENT
    assert found.with_members == {"acme", "beta", "gamma"}
    assert read_state("{}", "empty") == DeclaredState()


def test_users_and_organizations_name_members_alike() -> None:
    one = "organizations: [{slug: acme}]\nusers: [{email: a@b, organizations: [{slug: acme, role: admin}]}]"
    other = "organizations: [{slug: acme, members: [{email: a@b, role: admin}]}]\nusers: [{email: a@b}]"
    assert read_state(one, "one").users == read_state(other, "other").users
    assert read_state(one, "one").with_members == {"acme"}


FINDINGS = {
    "no document": ("", (1, 1), "the file: an object is needed, not null"),
    "a list": ("- a", (1, 1), "the file: an object is needed, not a list"),
    "nothing": ("users:\n  -", (2, 4), "users[0]: an object is needed, not null"),
    "an unknown key": ("users:\n  - email: a@b\n    nme: x", (3, 5), "users[0]: unknown key 'nme'; known: email, name"),
    "a missing key": ("users:\n  - name: x", (2, 5), "users[0]: email is missing"),
    "a boolean": ("users: [{email: a@b, name: yes}]", (1, 28), "a text is needed, not a boolean; put it in quotes"),
    "a wrong address": ("users: [{email: a}]", (1, 17), "users[0].email: 'a' is not a valid email address"),
    "a wrong plan": ("users: [{email: a@b, plan: gold}]", (1, 28), "'gold' is not valid; choose one of: free, plus"),
    "a user twice": ("users:\n- email: a@b\n- email: A@b", (3, 10), "users[1].email: users[0] has a@b too"),
    "a plan twice": ("plans:\n- plan: free\n- plan: free", (3, 9), "plans[1].plan: plans[0] has free too"),
    "an unknown permission": (
        "plans: [{plan: free, permissions: ['users:fly']}]",
        (1, 36),
        "plans[0].permissions[0]: 'users:fly' is not valid; choose one of: users:read",
    ),
    "an organization of nobody": (
        "users: [{email: a@b, organizations: [{slug: acme}]}]",
        (1, 45),
        "users[0].organizations[0].slug: acme is not one of the organizations of this file",
    ),
    "a member twice": (
        "organizations: [{slug: acme, members: [{email: a@b},\n {email: A@b}]}]",
        (2, 10),
        "organizations[0].members[1].email: a@b is named twice",
    ),
    "a member in both lists": (
        "organizations: [{slug: acme, members: [{email: a@b}]}]\nusers: [{email: a@b, organizations: [{slug: acme}]}]",
        (1, 48),
        "organizations[0].members[0].email: a@b is named twice",
    ),
    "owners who are suspended": (
        "organizations:\n- slug: acme\n  members: [{email: a@b, role: owner}]\nusers: [{email: a@b, state: suspended}]",
        (2, 3),
        "organizations[0]: all owners of acme are suspended; it needs an active one",
    ),
}


@pytest.mark.parametrize(("text", "at", "said"), FINDINGS.values(), ids=FINDINGS)
def test_finding_has_line_column_and_rule(text: str, at: tuple[int, int], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_state(text, "state.yaml")
    assert raised.value.code == "apply.file_invalid"
    details: Any = raised.value.details
    (fault,) = details["faults"]
    assert (fault["line"], fault["column"]) == at
    assert raised.value.lines[1].startswith(f"  line {at[0]} column {at[1]}: ")
    assert said in raised.value.lines[1]


def test_all_findings_stand_in_the_order_of_the_file() -> None:
    with pytest.raises(UsageError) as raised:
        read_state("users:\n- email: a\n  plan: x\norganizations:\n- slug: A\n- name: B", "state.yaml")
    assert [line.split(":")[0] for line in raised.value.lines[1:]] == [
        *("  line 2 column 10", "  line 3 column 9", "  line 5 column 9", "  line 6 column 3")
    ]


def test_text_that_is_no_document_is_refused_with_the_place() -> None:
    with pytest.raises(UsageError) as raised:
        read_state("a: [", "state.yaml")
    assert raised.value.code == "apply.file_unreadable"
    assert raised.value.message.startswith("state.yaml is not a readable YAML or JSON document: line 2 column 1: ")


SLUGS, EMAILS = ("acme", "beta", "gamma"), ("a@b", "b@b", "c@b", "d@b")
roles = st.none() | st.sampled_from(Role)


@st.composite
def states(draw: st.DrawFn) -> DeclaredState:
    """A valid declared state."""
    organizations = tuple(
        DeclaredOrganization(slug, draw(st.none() | st.just("Name")), has_members=draw(st.booleans()))
        for slug in draw(st.lists(st.sampled_from(SLUGS), unique=True))
    )
    users: list[DeclaredUser] = []
    for email in draw(st.lists(st.sampled_from(EMAILS), unique=True)):
        slugs = draw(st.lists(st.sampled_from([o.slug for o in organizations]), unique=True)) if organizations else ()
        memberships = tuple(DeclaredMembership(slug, draw(roles)) for slug in slugs)
        name = draw(st.sampled_from((ABSENT, None, "Name")))
        users.append(DeclaredUser(email, name, draw(st.none() | st.sampled_from(Plan)), memberships))
    kept = {Plan.PREMIUM: KEPT_BY_PREMIUM}
    some = st.frozensets(st.sampled_from(Permission), max_size=3)
    plans = tuple(
        DeclaredPlan(plan, draw(st.none() | some.map(lambda found, plan=plan: found | kept.get(plan, found))))
        for plan in draw(st.lists(st.sampled_from(Plan), unique=True))
    )
    return DeclaredState(organizations, tuple(users), plans)


@settings(deadline=None, max_examples=50)
@given(states())
def test_document_of_a_state_declares_it_again(state: DeclaredState) -> None:
    document = as_document(state)
    assert read_state(json.dumps(document), "a document") == state
    SCHEMA.validate(document)


def test_document_of_members_who_are_named_alone_declares_them_again() -> None:
    assert read_state(json.dumps(as_document(STATE)), "a document") == STATE


KEYS = ("organizations", "users", "plans", "slug", "name", "email", "plan", "role", "state", "members", "permissions")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(("a@b.c", "acme", "free", "owner")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
)


@settings(deadline=None, max_examples=50)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS[:3], ANYTHING)) | ANYTHING)
def test_schema_takes_every_file_that_is_read(content: object) -> None:
    with suppress(UsageError):
        read_state(json.dumps(content), "a file")
        if isinstance(content, dict):
            SCHEMA.validate(content)


@pytest.mark.parametrize("key", ["organizations", "users", "plans"])
@pytest.mark.parametrize("wrong", ["x", [{"unknown": "x"}], [{}], ["x"]])
def test_schema_and_reader_refuse_the_same(key: str, wrong: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate({key: wrong})
    with pytest.raises(UsageError):
        read_state(json.dumps({key: wrong}), "a file")


def test_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


TAKES, GIVES = (
    Change("orgs.members.remove", "acme", "a@b", None, {"role": "member"}, takes_away=True),
    Change("orgs.members.add", "acme", "b@b", after={"role": "member"}),
)


@pytest.mark.parametrize(
    ("limit", "taken", "existing", "is_refused"),
    [
        (None, 99, 99, False),
        ("0", 0, 5, False),
        ("0", 1, 5, True),
        ("3", 3, 5, False),
        ("3", 4, 5, True),
        ("10%", 10, 100, False),
        ("10%", 11, 100, True),
        ("10%", 2, 19, True),
        ("100%", 11, 11, False),
        # A percentage of few records limits nothing.
        ("10%", 10, 10, False),
        ("10%", 2, 11, True),
        ("0%", 1, 11, True),
    ],
)
def test_limit_counts_only_what_is_taken_away(limit: str | None, taken: int, existing: int, is_refused: bool) -> None:
    removals, changes = Removals(prune=True, limit=limit), [*[TAKES] * taken, *[GIVES] * 50]
    if not is_refused:
        removals.check(changes, existing)
        return
    with pytest.raises(Refused) as raised:
        removals.check(changes, existing)
    assert raised.value.code == "apply.too_many_removals"
    share = f" ({taken * 100 / existing:.0f}%)" if limit and "%" in limit else ""
    changes_taking = f"{taken} change{'' if taken == 1 else 's'}{share} would remove, demote or suspend something of"
    assert f"{changes_taking} {existing} existing record" in raised.value.message
    assert f"--max-delete {limit}" in raised.value.message
    assert raised.value.lines[1 : 1 + min(taken, 5)] == (f"  {TAKES.line}",) * min(taken, 5)
    assert (raised.value.lines[-1] == f"  and {taken - 5} more") == (taken > 5)
    assert "--max-delete" in raised.value.hint


def test_refusal_by_a_number_has_no_share() -> None:
    with pytest.raises(Refused) as raised:
        Removals(limit="1").check([TAKES, TAKES], 1)
    assert "2 changes would remove, demote or suspend something of 1 existing record, more" in raised.value.message


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (TAKES, "- member a@b of acme: role member"),
        (GIVES, "+ member b@b of acme: role member"),
        (Change("users.update", user="a@b", before={"name": None}, after={"name": "A"}), "~ user a@b: name none -> A"),
        (Change("users.create", user="a@b", after={"name": None, "plan": "free"}), "+ user a@b: plan free"),
        (Change("orgs.update", "acme", before={"name": "A"}, after={"name": "B"}), "~ organization acme: name A -> B"),
        (Change("plans.revoke", plan="plus", before={"permission": "x"}), "- plan plus: permission x"),
    ],
)
def test_change_is_one_line_with_its_sign(change: Change, line: str) -> None:
    assert change.line == line


@pytest.mark.parametrize("limit", ["", "x", "-1", "5 %", "101%", "%", "1e3", "٣", "9" * 10])
def test_limit_that_is_no_number_is_refused(limit: str) -> None:
    with pytest.raises(UsageError) as raised:
        Removals(prune=False, limit=limit).refuse_unbounded()
    assert raised.value.code == "apply.max_delete_invalid"


def test_prune_needs_a_limit() -> None:
    with pytest.raises(UsageError) as raised:
        Removals(prune=True).refuse_unbounded()
    assert raised.value.code == "apply.prune_unbounded"
    Removals(prune=True, limit="0").refuse_unbounded()
    Removals().refuse_unbounded()


def test_plans_are_lowered_in_their_order() -> None:
    assert lowers_plan(Plan.PREMIUM, Plan.PLUS)
    assert not lowers_plan(Plan.FREE, Plan.PLUS)
    assert not lowers_plan(Plan.PLUS, Plan.PLUS)
