"""Requests and results as JSON of the API, in both directions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bazar_cli.domain import audit, auth, plans
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.consent import Impact, Word
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.orgs import members
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import changes, users
from bazar_cli.domain.wire.from_json import Unfit, from_json
from bazar_cli.domain.wire.shapes import SHAPES
from bazar_cli.domain.wire.to_json import request_to_json, to_json
from tests.support.routes import routed
from tests.support.view_examples import EXAMPLES, all_views

_RESULTS = {route.result for _, route in routed() if route.result is not None}
_REQUESTS = {route.request for _, route in routed() if route.request is not None}
_EXAMPLES = [(name, item) for name, items in EXAMPLES.items() for item in items if type(item) in _RESULTS]
_IMPACT = Impact(
    "2 users lose it", "Sure?", "bazar x --yes", ("a",), 2, {"n": 1}, Word("acme", "the slug", "orgs.confirm_mismatch")
)
_WHO = EXAMPLES["auth.WHO"][0]
_SESSION = auth.KnownSession(
    _WHO.user_id, _WHO.email, _WHO.plan, _WHO.state, _WHO.is_superuser, _WHO.organizations, _WHO.expires_at
)
_OTHERS: list[Any] = [
    changes.ChangedUser(EXAMPLES["users.USER"][0], changed=True),
    auth.StartedSession(_SESSION, Secret("eyJ.a.b"), Secret("r-1")),
    replace(EXAMPLES["plans.ASSIGNED"][0], impact=_IMPACT),
    replace(EXAMPLES["plans.EDITED"][0], impact=replace(_IMPACT, word=None)),
]


def _again(item: Any, written: Any, *, strict: bool = False) -> Any:
    kind: Any = item.__class__
    return from_json(kind, written, strict=strict)


@pytest.mark.parametrize(
    ("name", "item"), _EXAMPLES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(_EXAMPLES)]
)
def test_result_survives_json_and_has_each_field_of_the_command_line(name: str, item: Any) -> None:
    written = json.loads(json.dumps(to_json(item)))
    assert _again(item, written) == item
    view = all_views()[name]
    shown = view.record.encoder(view.fields)(item)
    for key, value in shown.items():
        # The command line rounds shares.
        assert (round(written[key], 4) if isinstance(value, float) else written[key]) == value, key


@pytest.mark.parametrize("item", _OTHERS, ids=lambda item: type(item).__name__)
def test_result_without_an_own_view_survives_json(item: Any) -> None:
    assert _again(item, json.loads(json.dumps(to_json(item)))) == item


def test_every_result_of_a_route_has_an_example() -> None:
    shown = {type(item).__name__ for item in [*(item for _, item in _EXAMPLES), *_OTHERS]}
    assert {kind.__name__ for kind in _RESULTS} - shown == {"KnownSession", "UpdatedOrganization"}


def test_every_shape_names_a_dataclass_of_the_api() -> None:
    parts = {"NewPassword", "Membership", "Step"}
    assert set(SHAPES) <= {kind.__name__ for kind in _RESULTS | _REQUESTS} | parts


@pytest.mark.parametrize(
    "request_",
    [
        changes.CreateUser("ada@example.com"),
        changes.CreateUser(
            "ada@example.com",
            "Ada",
            "acme",
            Role.ADMIN,
            Plan.PLUS,
            changes.NewPassword(plain=Secret("correct horse")),
            if_not_exists=True,
        ),
        changes.CreateUser("ada@example.com", password=changes.NewPassword(generate=True)),
        changes.UpdateUser("ada@example.com", ""),
        changes.UpdateUser("ada@example.com", None, _WHO.expires_at, "new@example.com"),
        changes.DeleteUser("ada@example.com", "ada@example.com"),
        changes.DeleteUser("ada@example.com", None),
        members.AddMember("acme", "ada@example.com"),
        audit.ListEvents(audit.EventFilters(action="users", since=_WHO.expires_at), 7),
        plans.CheckPermission(Permission.USERS_READ, "ada@example.com"),
        users.ListUsers(sort=users.UserSort.EMAIL, search="100%"),
        auth.Login("ada@example.com", Secret("correct horse")),
    ],
    ids=lambda request: type(request).__name__,
)
def test_request_survives_json_without_its_defaults(request_: Any) -> None:
    written = json.loads(json.dumps(request_to_json(request_)))
    assert None not in written.values()
    assert _again(request_, written, strict=True) == request_


def test_consent_is_no_part_of_a_request() -> None:
    assert request_to_json(plans.AssignPlan("ada", Plan.FREE, _IMPACT)) == {"user": "ada", "plan": "free"}
    assert request_to_json(changes.DeleteUser("ada", _IMPACT)) == {"user": "ada"}
    with pytest.raises(Unfit, match="agreed: it is unknown"):
        from_json(plans.AssignPlan, {"user": "ada", "plan": "free", "agreed": {}}, strict=True)


def test_null_removes_the_name_of_a_user() -> None:
    assert from_json(changes.UpdateUser, {"user": "ada", "name": None}).name == ""
    assert from_json(changes.UpdateUser, {"user": "ada"}).name is None


@pytest.mark.parametrize(
    ("kind", "value", "problems"),
    [
        (changes.CreateUser, [], [("", "an object")]),
        (changes.CreateUser, {}, [("email", "missing")]),
        (changes.CreateUser, {"email": 1, "nme": "x"}, [("nme", "unknown"), ("email", "a string")]),
        (changes.CreateUser, {"email": "a@b", "role": "boss"}, [("role", "one of: owner, admin, member")]),
        (changes.CreateUser, {"email": "a@b", "invite": "yes"}, [("invite", "true or false")]),
        (changes.CreateUser, {"email": "a\0b"}, [("email", "NUL")]),
        (changes.CreateUser, {"email": "a@b", "name": "\ud800"}, [("name", "surrogate")]),
        (changes.CreateUser, {"email": "a@b", "password": {}}, [("password", "a string")]),
        (changes.UpdateUser, {"user": "a", "if_unchanged_since": "now"}, [("if_unchanged_since", "RFC 3339")]),
        (changes.UpdateUser, {"user": "a", "if_unchanged_since": "2026-01-31"}, [("if_unchanged_since", "RFC 3339")]),
        (users.ListUsers, {"limit": True}, [("limit", "an integer")]),
        (users.ListUsers, {"limit": "7"}, [("limit", "an integer")]),
        (users.ListUsers, {"limit": None}, [("limit", "null")]),
    ],
)
def test_wrong_request_names_each_field_and_its_rule(
    kind: type[Any], value: object, problems: list[tuple[str, str]]
) -> None:
    with pytest.raises(Unfit) as refused:
        from_json(kind, value, strict=True)
    assert len(refused.value.problems) == len(problems)
    for found, (field, rule) in zip(refused.value.problems, problems, strict=True):
        assert found.field == field
        assert rule in found.message


def test_server_composes_texts_and_leaves_passwords() -> None:
    body = {"email": "a@b", "name": "Zoe\u0308", "password": "Zoe\u0308-12"}
    found = from_json(changes.CreateUser, body, strict=True)
    assert found.name == "Zo\u00eb"
    assert found.password == changes.NewPassword(plain=Secret("Zoe\u0308-12"))


def test_query_has_texts() -> None:
    query = {"limit": "7", "state": "active", "created_since": "2026-01-31T12:00:05.000250Z"}
    found = from_json(users.ListUsers, query, strict=True, texts=True)
    assert (found.limit, found.state) == (7, users.UserState.ACTIVE)
    with pytest.raises(Unfit, match="limit: it must be an integer"):
        from_json(users.ListUsers, {"limit": "٧"}, texts=True)


def test_client_ignores_fields_of_a_newer_server() -> None:
    item = EXAMPLES["users.USER"][0]
    assert _again(item, {**to_json(item), "avatar": "x"}) == item
