"""The audit log read: who sees which event and what of it, and how it is asked."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from bazar_cli.adapters.postgres.audit import events as log
from bazar_cli.adapters.postgres.gate import append_denial
from bazar_cli.domain import audit as use_cases
from bazar_cli.domain.audit import (
    AuditEvent,
    EventFilters,
    ListEvents,
    Outcome,
    as_seen_by,
)
from bazar_cli.domain.authz.spec import Denial
from bazar_cli.domain.entities import Membership, Plan, Role
from bazar_cli.domain.errors import NotFound, UsageError
from bazar_cli.domain.orgs.members import AddMember
from bazar_cli.domain.orgs.organizations import UpdateOrganization
from bazar_cli.domain.users import changes as user_cases
from bazar_cli.domain.users.changes import DeleteUser, UpdateUser
from bazar_cli.services.audit import read
from bazar_cli.services.gate.backends import Backends
from tests.support.people import REQUEST_ID, Org, People, Someone, an_event, an_identity, an_operator, granted


def record(people: People, operator: Someone, change: log.Change) -> None:
    """Write one event as a use case does."""
    grant = granted(people.operator(operator), user_cases.UPDATE, UpdateUser("x", name="y"))
    with Backends(people.target, REQUEST_ID) as backends, backends.database().transaction(grant) as connection:
        log.record(connection, grant, change)


def listed(people: People, reader: Someone, *, limit: int = 100, **filters: Any) -> list[AuditEvent]:
    """All pages of a list."""
    found: list[AuditEvent] = []
    request = ListEvents(EventFilters(**filters), limit=limit)
    while True:
        page = people.run(reader, read.list_page, use_cases.LIST, request)
        found += page.items
        if page.next_cursor is None:
            return found
        request = replace(request, cursor=page.next_cursor)


def exported(people: People, reader: Someone, **filters: Any) -> list[AuditEvent]:
    asked = EventFilters(**filters)
    with Backends(people.target, REQUEST_ID) as backends:
        grant = granted(people.operator(reader), use_cases.EXPORT, asked)
        return [event for page in read.export(backends, grant, asked) for event in page.items]


# -- reach --------------------------------------------------------------------------------------------------


def test_events_that_each_role_sees(people: People) -> None:
    mine, theirs = people.org(), people.org()
    reader = people.user({mine: Role.MEMBER}, plan=Plan.PREMIUM)
    ruler, colleague = people.superuser(), people.user({mine: Role.MEMBER, theirs: Role.OWNER})
    stranger = people.user({theirs: Role.MEMBER})
    changes = {
        "in my organization": log.Change("user", stranger.id, mine.id),
        "about a colleague": log.Change("user", colleague.id),
        "about me": log.Change("user", reader.id),
        "a colleague's, elsewhere": log.Change("user", colleague.id, theirs.id),
        "me, elsewhere": log.Change("user", reader.id, theirs.id),
        "about a stranger": log.Change("user", stranger.id),
        "elsewhere": log.Change("organization", theirs.id, theirs.id),
        "a plan": log.Change("plan", "plus"),
    }
    for name, change in changes.items():
        record(people, ruler, replace(change, reason=name))
    record(people, reader, log.Change("user", stranger.id, reason="by me"))
    record(people, reader, log.Change("user", colleague.id, reason="by me, about a colleague"))
    record(people, reader, log.Change("organization", theirs.id, theirs.id, after={"slug": theirs.slug}, reason="left"))
    people.sql(
        "INSERT INTO bazar.audit_events (id, operator_id, operator_email, use_case, outcome, target_type, request_id,"
        " organization_id, reason) SELECT gen_random_uuid(), o, 'x', 'users.update', 'denied', 'command', 'r', %s, t"
        " FROM (VALUES (%s::uuid, 'my denial'), (%s, 'another''s denial')) v (o, t)",
        mine.id,
        reader.id,
        colleague.id,
    )

    seen = [e.reason for e in listed(people, reader)]

    # What an operator did in an organization that they are no member of is theirs, without what it says.
    expected = [
        None,
        "about a colleague",
        "about me",
        "by me",
        "by me, about a colleague",
        "in my organization",
        "my denial",
    ]
    assert sorted(seen, key=str) == sorted(expected, key=str)
    assert sorted((e.reason for e in exported(people, reader)), key=str) == sorted(expected, key=str)
    everything = {e.reason for e in listed(people, ruler, operator=str(ruler.id))}
    assert everything == set(changes)
    assert {e.reason for e in listed(people, ruler, operator=str(colleague.id))} == {"another's denial"}


def test_a_user_without_organization_sees_events_about_themselves(people: People) -> None:
    reader, other = people.user(plan=Plan.PREMIUM), people.user()
    for someone in (reader, other):
        record(people, people.superuser(), log.Change("user", someone.id, reason="about"))
    assert [e.target_id for e in listed(people, reader)] == [str(reader.id)]


def test_reach_is_that_of_now(people: People) -> None:
    org = people.org()
    reader = people.user({org: Role.MEMBER}, plan=Plan.PREMIUM)
    record(people, people.superuser(), log.Change("user", people.user().id, org.id))
    assert len(listed(people, reader)) == 1

    people.sql("DELETE FROM bazar.memberships WHERE user_id = %s", reader.id)

    assert listed(people, reader) == []


def test_an_organization_out_of_reach_reads_as_unknown(people: People) -> None:
    mine, theirs = people.org(), people.org()
    reader = people.user({mine: Role.MEMBER}, plan=Plan.PREMIUM)
    texts: list[str] = []
    for name in (theirs.slug, "nowhere", str(theirs.id)):
        with pytest.raises(NotFound) as unknown:
            listed(people, reader, organization=name)
        texts.append(unknown.value.message.replace(name, "X"))
    assert len(set(texts)) == 1


# -- what of an event ---------------------------------------------------------------------------------------

MINE, FOREIGN = Org(uuid.uuid4(), "acme"), Org(uuid.uuid4(), "beta")
THEN = {"id": str(MINE.id), "slug": "beta", "role": "owner"}
"""Mine, with the slug that it had: by now another one may have it, and mine another one's."""
# Every shape in which an event may name organizations; none may let the foreign one through. Whose slug it is now does
# not matter: slugs change hands.
SHAPES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "objects": (
        {"organizations": [THEN, {"id": str(FOREIGN.id), "slug": "acme", "role": "owner"}]},
        {"organizations": [THEN]},
    ),
    "roles by slug, as they once were written": (
        {"email": "x@example.com", "organizations": {"acme": "owner", "beta": "member"}},
        {"email": "x@example.com", "organizations": {}},
    ),
    "roles by id": (
        {"organizations": {str(MINE.id): "owner", str(FOREIGN.id): "member"}},
        {"organizations": {str(MINE.id): "owner"}},
    ),
    "slugs": ({"organizations": ["beta", "acme"]}, {"organizations": []}),
    "words": ({"organizations": ["beta:owner", "acme:member"]}, {"organizations": []}),
    "objects without an id": ({"organizations": [{"slug": "acme", "role": "owner"}]}, {"organizations": []}),
    "ids": ({"organizations": [str(MINE.id), str(FOREIGN.id)]}, {"organizations": [str(MINE.id)]}),
    "two ids": ({"memberships": [{"id": str(MINE.id), "organization_id": str(FOREIGN.id)}]}, {"memberships": []}),
    "one slug": ({"name": "Ada", "organization": "acme", "role": "admin"}, {"name": "Ada"}),
    "one id": ({"organization_id": str(FOREIGN.id), "own_role": None}, {}),
    "one object": ({"organization": {"slug": "acme", "role": "admin"}}, {"organization": {}}),
    "none": ({"organization": None, "role": None}, {"organization": None, "role": None}),
    "deeper": (
        {"user": {"organizations": {"acme": "owner"}}, "list": [{"org": "acme"}]},
        {"user": {"organizations": {}}, "list": [{}]},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_foreign_organizations_are_left_out(shape: str) -> None:
    given, expected = SHAPES[shape]
    event = an_event(before=given, after=given)
    seen = as_seen_by(an_operator({MINE: Role.MEMBER}), event)
    assert (seen.before, seen.after, seen.reason) == (expected, expected, "because")
    assert as_seen_by(an_operator(superuser=True), event) == event


def test_the_organization_of_an_event_keeps_the_name_that_it_had() -> None:
    operator, values = an_operator({MINE: Role.MEMBER}), {"organization": "of then", "role": "admin"}
    event = an_event(organization_id=MINE.id, before=None, after=values)
    assert as_seen_by(operator, event) == event
    assert as_seen_by(operator, replace(event, organization_id=FOREIGN.id)).after is None


def test_values_of_an_organization_that_was_left_are_hidden() -> None:
    operator = an_operator({MINE: Role.MEMBER})
    values = {"slug": "beta", "name": "Beta", "moved": "beta"}
    for event in (
        an_event(organization_id=FOREIGN.id, before=values, after=values),
        an_event(target_type="organization", target_id=str(FOREIGN.id), after=values),
    ):
        seen = as_seen_by(operator, event)
        assert (seen.before, seen.after, seen.reason) == (None, None, None)
    kept = an_event(target_type="organization", target_id=str(MINE.id), after={"slug": "acme-2"})
    assert as_seen_by(operator, kept) == kept


def test_a_denial_that_names_a_foreign_organization_keeps_its_sentence_to_itself() -> None:
    operator = an_operator({MINE: Role.MEMBER})
    denial = an_event(
        outcome=Outcome.DENIED, reason="ask an owner of beta", after={"code": "access.role", "organization": "beta"}
    )
    seen = as_seen_by(operator, denial)
    assert (seen.after, seen.reason) == ({"code": "access.role"}, None)
    assert operator.memberships == (Membership(MINE.id, MINE.slug, Role.MEMBER),)


# -- filters and pages --------------------------------------------------------------------------------------


def test_filters(alone: People) -> None:
    ruler, org = alone.superuser(), alone.org()
    other, target = alone.superuser(), alone.user()
    record(alone, ruler, log.Change("user", target.id, org.id, after={"email": target.email}))
    record(alone, ruler, log.Change("plan", "plus", outcome="undone"))
    record(alone, other, log.Change("organization", org.id, org.id))
    first, second, third = reversed([e for e in listed(alone, ruler, limit=3) if e.operator_id in {ruler.id, other.id}])

    def found(**filters: Any) -> list[AuditEvent]:
        newest_first = listed(alone, ruler, **filters)
        assert exported(alone, ruler, **filters) == newest_first[::-1]
        return [e for e in newest_first if e in (first, second, third)]

    assert found(operator=str(other.id)) == found(operator=other.email.upper()) == [third]
    assert found(target=str(target.id)) == found(target=target.email) == [first]
    assert found(target=org.slug) == found(target=str(org.id)) == [third]
    assert found(target="PLUS") == [second]
    assert found(action="users") == found(action="users.update") == [third, second, first]
    assert found(action="user") == found(action="users.up") == []
    assert found(outcome=Outcome.UNDONE) == [second]
    assert found(organization=org.slug) == [third, first]
    assert found(organization=org.slug, action="users", target=target.email) == [first]
    assert found(since=second.occurred_at) == [third, second]
    assert found(until=second.occurred_at) == [first]
    assert found(request_id=REQUEST_ID, operator=str(ruler.id)) == [second, first]
    for name, nothing in (
        ("operator", "ä@x"),
        ("target", "ä@x"),
        ("request_id", "ä"),
        ("target", "nobody@example.com"),
    ):
        assert found(**{name: nothing}) == []


def test_denied_attempts_are_found_by_their_target(alone: People) -> None:
    org, elsewhere = alone.org(), alone.org()
    ruler = alone.superuser()
    target = alone.user({org: Role.OWNER, elsewhere: Role.OWNER}, plan=Plan.PREMIUM)
    operator = alone.user({org: Role.MEMBER}, plan=Plan.PREMIUM)
    too_low = Denial("access.role", "no", "", {"organization": org.slug})
    by_plan = Denial("access.plan", "no", "", {"email": operator.email})
    asked: tuple[tuple[object, Denial], ...] = (
        (AddMember(org.slug, target.email.upper(), Role.OWNER), too_low),
        (DeleteUser(str(target.id), None), by_plan),
        (UpdateOrganization(elsewhere.slug, "x\0", None), by_plan),
        (ListEvents(), by_plan),
    )
    with Backends(alone.target, REQUEST_ID) as backends:
        for request, denial in asked:
            append_denial(backends.database(), an_identity(operator), use_cases.LIST, request, denial, REQUEST_ID)

    def found(reader: Someone, **filters: Any) -> list[tuple[str, str | None, uuid.UUID | None]]:
        return [(e.target_type, e.target_id, e.organization_id) for e in listed(alone, reader, **filters)][::-1]

    added = ("user", target.email, org.id)
    deleted, changed = ("user", str(target.id), None), ("organization", elsewhere.slug, None)
    for who in (operator, ruler):
        assert found(who, operator=operator.email) == [added, deleted, changed, ("command", None, None)]
        assert found(who, organization=org.slug) == [added]
        assert found(who, target=target.email) == found(who, target=str(target.id)) == [added, deleted]
        assert found(who, target=elsewhere.slug) == [changed]
        assert found(who, target=operator.email) == []
    assert found(ruler, target=str(elsewhere.id)) == [changed]
    # Whose id that is lies out of their reach.
    assert found(operator, target=str(elsewhere.id)) == []
    assert {e.reason for e in listed(alone, operator, operator=operator.email)} == {"no"}
    assert found(target) == []


def test_deleted_targets_are_found_by_their_last_name(people: People) -> None:
    ruler, org = people.superuser(), people.org()
    gone = people.user()
    record(
        people, ruler, log.Change("user", gone.id, before={"email": "old-" + gone.email}, after={"email": gone.email})
    )
    record(people, ruler, log.Change("user", gone.id, before={"email": gone.email}))
    record(people, ruler, log.Change("organization", org.id, org.id, before={"slug": org.slug}))
    people.sql("DELETE FROM bazar.users WHERE id = %s", gone.id)
    people.sql("DELETE FROM bazar.organizations WHERE id = %s", org.id)

    assert len(listed(people, ruler, target=gone.email)) == len(listed(people, ruler, target="OLD-" + gone.email)) == 2
    assert len(listed(people, ruler, target=org.slug)) == len(listed(people, ruler, organization=org.slug)) == 1
    assert len(listed(people, ruler, organization=str(org.id))) == 1
    # Whose name an event out of reach tells, nobody learns by a filter.
    assert listed(people, people.user(plan=Plan.PREMIUM), target=gone.email) == []
    with pytest.raises(NotFound):
        listed(people, people.user({people.org(): Role.OWNER}, plan=Plan.PREMIUM), organization=org.slug)


def test_pages_are_whole_and_each_event_is_on_one(people: People) -> None:
    org = people.org()
    reader, ruler = people.user({org: Role.MEMBER}, plan=Plan.PREMIUM), people.superuser()
    # Many at one moment: the time alone does not order them.
    people.sql(
        "INSERT INTO bazar.audit_events (id, operator_id, operator_email, use_case, outcome, target_type, target_id,"
        " organization_id, request_id, occurred_at)"
        " SELECT gen_random_uuid(), %s, 'x', 'u.' || n %% 3, 'done', 'user', n, %s, 'r', now() - n / 4 * interval '1 s'"
        " FROM generate_series(1, 25) n",
        ruler.id,
        org.id,
    )
    for who, filters in (
        (reader, EventFilters()),
        (ruler, EventFilters(organization=org.slug)),
        (ruler, EventFilters(action="u", operator=str(ruler.id))),
    ):
        whole = listed(people, who, **vars(filters))
        assert len({e.id for e in whole}) == len(whole) == 25
        assert whole == sorted(whole, key=lambda e: e.occurred_at, reverse=True)
        assert listed(people, who, limit=4, **vars(filters)) == whole


def test_an_export_holds_some_of_the_events_at_a_time(people: People) -> None:
    org, ruler = people.org(), people.superuser()
    people.sql(
        "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id,"
        " organization_id)"
        " SELECT gen_random_uuid(), 'x', 'u', 'done', 'user', 'r', %s FROM generate_series(1, 2500)",
        org.id,
    )
    filters = EventFilters(organization=org.slug)
    with Backends(people.target, REQUEST_ID) as backends:
        grant = granted(people.operator(ruler), use_cases.EXPORT, filters)
        sizes = [len(page.items) for page in read.export(backends, grant, filters)]
    assert (sum(sizes), max(sizes)) == (2500, 1000)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ListEvents(EventFilters(action="Users!")), "audit.action_invalid"),
        (ListEvents(limit=0), "list.limit_invalid"),
        (ListEvents(cursor="nonsense"), "list.cursor_invalid"),
    ],
)
def test_bad_requests(people: People, request_: ListEvents, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        people.run(people.superuser(), read.list_page, use_cases.LIST, request_)
    assert refused.value.code == code
