"""The audit log: what a reader may see of an event, the target of a denied request, and checked arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import pytest

from bazar_cli.domain.audit import (
    Break,
    Finding,
    Outcome,
    Verification,
    as_seen_by,
    asked_target,
    checked_action,
    checked_seal_hash,
)
from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import UsageError
from tests.support.people import an_event, an_operator, an_org

ACME, BETA = an_org(), an_org("beta")
OPERATOR = an_operator({ACME: Role.ADMIN})
OWN, FOREIGN = str(ACME.id), str(BETA.id)
EVENT = an_event(reason="why")


def seen(values: dict[str, Any], **event: Any) -> Any:
    """What the admin of acme sees of values after a change."""
    return as_seen_by(OPERATOR, replace(EVENT, after=values, **event)).after


VALUES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "Ada", "n": 1, "none": None}, {"name": "Ada", "n": 1, "none": None}),
    ({"organization_id": OWN, "role": "admin"}, {"organization_id": OWN, "role": "admin"}),
    ({"organization_id": FOREIGN, "role": "admin", "name": "Ada"}, {"name": "Ada"}),
    ({"organization_id": FOREIGN, "own_role": "owner"}, {}),
    ({"organization": "acme", "role": "admin"}, {}),
    ({"organization": None, "role": "admin"}, {"organization": None, "role": "admin"}),
    ({"organizations": [OWN, FOREIGN]}, {"organizations": [OWN]}),
    ({"memberships": {OWN: "admin", FOREIGN: "owner"}}, {"memberships": {OWN: "admin"}}),
    (
        {"orgs": [{"id": OWN, "slug": "acme"}, {"id": FOREIGN, "slug": "beta"}]},
        {"orgs": [{"id": OWN, "slug": "acme"}]},
    ),
    ({"org": {"id": FOREIGN, "slug": "beta"}}, {"org": {}}),
    ({"org": {"organization_id": OWN, "role": "member"}}, {"org": {"organization_id": OWN, "role": "member"}}),
    ({"org": {"id": OWN, "organization_id": FOREIGN}}, {"org": {}}),
    ({"orgs": [[OWN, FOREIGN], {"role": "owner"}]}, {"orgs": [[OWN]]}),
    ({"user": {"organization_id": FOREIGN, "role": "owner", "name": "Ada"}}, {"user": {"name": "Ada"}}),
    ({"users": [{"organization_id": FOREIGN}, "text"]}, {"users": [{}, "text"]}),
]
"""Values of an event, and what the admin of acme sees of them."""


@pytest.mark.parametrize(("values", "left"), VALUES)
def test_values_have_only_organizations_of_the_reader(values: dict[str, Any], left: dict[str, Any]) -> None:
    assert seen(values) == left
    assert as_seen_by(OPERATOR, replace(EVENT, before=values)).before == left
    assert as_seen_by(an_operator(superuser=True), replace(EVENT, after=values)).after == values


def test_an_event_of_the_readers_organization_names_it_by_its_slug() -> None:
    assert seen({"organization": "acme"}, organization_id=ACME.id) == {"organization": "acme"}
    assert seen({"org": "acme"}, organization_id=ACME.id) == {}
    assert seen({"user": {"organization": "acme"}}, organization_id=ACME.id) == {"user": {}}


@pytest.mark.parametrize(
    "event",
    [
        {"organization_id": BETA.id},
        {"target_type": "organization", "target_id": FOREIGN},
        {"organization_id": BETA.id, "target_type": "organization", "target_id": OWN},
    ],
    ids=["in it", "about it", "in it and about the reader's"],
)
def test_an_event_of_another_organization_has_no_values(event: dict[str, Any]) -> None:
    found = as_seen_by(OPERATOR, replace(EVENT, before={"name": "Ada"}, after={"name": "Grace"}, **event))
    assert (found.before, found.after, found.reason) == (None, None, None)
    assert (found.id, found.action) == (EVENT.id, EVENT.action)


def test_an_event_about_the_readers_organization_is_shown() -> None:
    assert seen({"organization": "acme"}, target_type="organization", target_id=OWN) == {"organization": "acme"}


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("values", [{"name": "Ada"}, {"organization_id": FOREIGN}], ids=["whole", "cut"])
def test_the_reason_of_a_denial_is_shown_only_with_all_its_values(outcome: Outcome, values: dict[str, Any]) -> None:
    found = as_seen_by(OPERATOR, replace(EVENT, outcome=outcome, after=values))
    hidden = outcome is Outcome.DENIED and "organization_id" in values
    assert found.reason == (None if hidden else "why")


def test_a_denial_names_the_organization_that_its_operator_asked_for() -> None:
    denial = {"outcome": Outcome.DENIED, "target_type": "organization", "target_id": "beta"}
    assert seen({"name": "Beta"}, **denial) == {"name": "Beta"}


# -- requests -------------------------------------------------------------------------------------------------


class Named(str, Enum):
    """A value as a request has it."""

    PLUS = "plus"


@dataclass(frozen=True)
class Request:
    """A request with the fields that name something."""

    user: object = None
    email: object = None
    organization: object = None
    owner: object = None
    plan: object = None


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (Request(), None),
        (Request(user="", email=7), None),
        (Request(user="Ada@Example.com", organization="acme"), ("user", "ada@example.com")),
        (Request(email="a@example.com"), ("user", "a@example.com")),
        (Request(organization="acme", owner="a@example.com"), ("organization", "acme")),
        (Request(owner="a@example.com", plan=Named.PLUS), ("user", "a@example.com")),
        (Request(plan=Named.PLUS), ("plan", "plus")),
        (Request(user="\0\udcffé"), ("user", "\\x00\\udcff\\xe9")),
        (Request(user="x" * 300), ("user", "x" * 254)),
    ],
)
def test_a_request_is_about_the_first_that_it_names(request_: Request, target: tuple[str, str] | None) -> None:
    assert asked_target(request_) == target


@pytest.mark.parametrize("text", ["users", "users.create", "auth.log-in", "a_b.c"])
def test_an_action_is_a_use_case_or_its_beginning(text: str) -> None:
    assert checked_action(text) == text


@pytest.mark.parametrize("text", ["", "Users", "users.", ".create", "users create", "users.create\n", "1"])
def test_another_text_is_not_an_action(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_action(text)
    assert refused.value.code == "audit.action_invalid"


def test_a_hash_is_taken_in_any_case_and_with_spaces_around_it() -> None:
    assert checked_seal_hash(f" {'AB' * 32}\n") == "ab" * 32


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "xy" * 32])
def test_another_text_is_not_a_hash(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_seal_hash(text)
    assert refused.value.code == "audit.hash_invalid"


def test_a_log_is_whole_without_findings() -> None:
    whole = Verification(events=1, seals=1, unsealed=0, head=None, head_at=None, findings=())
    assert whole.whole is True
    assert replace(whole, findings=(Finding(Break.EVENT_CHANGED, "changed"),)).whole is False
