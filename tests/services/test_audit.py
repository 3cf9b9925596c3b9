"""The audit log: who sees which event and what of it, and whether tampering is named."""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest

from bazar_cli.adapters.postgres import audit as log
from bazar_cli.adapters.postgres.gate import append_denial
from bazar_cli.domain import audit as use_cases
from bazar_cli.domain import users as user_cases
from bazar_cli.domain.access import Denial, Membership, Role
from bazar_cli.domain.audit import (
    AuditEvent,
    Break,
    EventFilters,
    ListEvents,
    Outcome,
    Verification,
    VerifyLog,
    as_seen_by,
)
from bazar_cli.domain.errors import NotFound, UsageError
from bazar_cli.domain.members import AddMember
from bazar_cli.domain.orgs import UpdateOrganization
from bazar_cli.domain.permissions import Plan
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Identity, IdentitySource
from bazar_cli.domain.users import DeleteUser, UpdateUser
from bazar_cli.services import audit
from bazar_cli.services.system import System
from tests.support.people import REQUEST_ID, Org, People, Someone, an_operator, granted
from tests.support.postgres import target_of

Databases = Callable[..., str]


@pytest.fixture
def people(database_url: str) -> Generator[People]:
    """People in this worker's database; nothing here needs Supabase."""
    with People(target_of(database_url)) as arranged:
        yield arranged


def record(people: People, operator: Someone, change: log.Change) -> None:
    """Write one event as a use case does."""
    grant = granted(people.operator(operator), user_cases.UPDATE, UpdateUser("x", name="y"))
    with System(people.target, REQUEST_ID) as system, system.database().transaction(grant) as connection:
        log.record(connection, grant, change)


def listed(people: People, reader: Someone, *, limit: int = 100, **filters: Any) -> list[AuditEvent]:
    """All pages of a list."""
    found: list[AuditEvent] = []
    request = ListEvents(EventFilters(**filters), limit=limit)
    while True:
        page = people.run(reader, audit.list_page, use_cases.LIST, request)
        found += page.items
        if page.next_cursor is None:
            return found
        request = replace(request, cursor=page.next_cursor)


def exported(people: People, reader: Someone, **filters: Any) -> list[AuditEvent]:
    asked = EventFilters(**filters)
    with System(people.target, REQUEST_ID) as system:
        grant = granted(people.operator(reader), use_cases.EXPORT, asked)
        return [event for page in audit.export(system, grant, asked) for event in page.items]


# -- reach --------------------------------------------------------------------------------------------------


def test_who_sees_which_event(people: People) -> None:
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


def test_who_belongs_to_no_organization_sees_what_is_about_them(people: People) -> None:
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
# Every shape in which a use case may name organizations; none may let the foreign one through.
SHAPES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "roles by slug": ({"organizations": {"acme": "owner", "beta": "member"}}, {"organizations": {"acme": "owner"}}),
    "slugs": ({"organizations": ["beta", "acme"]}, {"organizations": ["acme"]}),
    "words": ({"organizations": ["beta:owner", "acme:member"]}, {"organizations": ["acme:member"]}),
    "objects": (
        {"organizations": [{"slug": "acme", "role": "owner"}, {"slug": "beta", "role": "owner"}]},
        {"organizations": [{"slug": "acme", "role": "owner"}]},
    ),
    "ids": ({"organizations": [str(MINE.id), str(FOREIGN.id)]}, {"organizations": [str(MINE.id)]}),
    "an id and another's slug": ({"memberships": [{"id": str(MINE.id), "slug": "beta"}]}, {"memberships": []}),
    "one slug": ({"name": "Ada", "organization": "beta", "role": "admin"}, {"name": "Ada"}),
    "one id": ({"organization_id": str(FOREIGN.id), "own_role": None}, {}),
    "one object": ({"organization": {"slug": "beta", "role": "admin"}}, {"organization": {}}),
    "one of mine": ({"organization": "acme", "role": "admin"}, {"organization": "acme", "role": "admin"}),
    "none": ({"organization": None, "role": None}, {"organization": None, "role": None}),
    "deeper": (
        {"user": {"organizations": {"beta": "owner"}}, "list": [{"org": "beta"}]},
        {"user": {"organizations": {}}, "list": [{}]},
    ),
}


def an_event(**values: Any) -> AuditEvent:
    made = AuditEvent(
        id=uuid.uuid4(),
        occurred_at=datetime.now(timezone.utc),
        operator_id=uuid.uuid4(),
        operator_email="ruler@example.com",
        action="users.update",
        outcome=Outcome.DONE,
        target_type="user",
        target_id=str(uuid.uuid4()),
        organization_id=None,
        before=None,
        after=None,
        reason="because",
        request_id="r",
    )
    return replace(made, **values)


@pytest.mark.parametrize("shape", SHAPES)
def test_foreign_organizations_are_left_out(shape: str) -> None:
    given, expected = SHAPES[shape]
    event = an_event(before=given, after=given)
    seen = as_seen_by(an_operator({MINE: Role.MEMBER}), event)
    assert (seen.before, seen.after, seen.reason) == (expected, expected, "because")
    assert as_seen_by(an_operator(superuser=True), event) == event


def test_of_an_organization_that_was_left_no_value_is_told() -> None:
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


def test_filters(people: People) -> None:
    ruler, org = people.superuser(), people.org()
    other, target = people.superuser(), people.user()
    record(people, ruler, log.Change("user", target.id, org.id, after={"email": target.email}))
    record(people, ruler, log.Change("plan", "plus", outcome="undone"))
    record(people, other, log.Change("organization", org.id, org.id))
    first, second, third = reversed(
        [e for e in listed(people, ruler, limit=3) if e.operator_id in {ruler.id, other.id}]
    )

    def found(**filters: Any) -> list[AuditEvent]:
        newest_first = listed(people, ruler, **filters)
        assert exported(people, ruler, **filters) == newest_first[::-1]
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


def test_denied_attempts_are_found_by_what_they_were_about(people: People) -> None:
    org, elsewhere = people.org(), people.org()
    ruler = people.superuser()
    target = people.user({org: Role.OWNER, elsewhere: Role.OWNER}, plan=Plan.PREMIUM)
    operator = people.user({org: Role.MEMBER}, plan=Plan.PREMIUM)
    identity = Identity(
        operator.id, operator.email, None, Secret("t"), datetime.now(timezone.utc), IdentitySource.TOKEN
    )
    too_low = Denial("access.role", "no", "", {"organization": org.slug})
    by_plan = Denial("access.plan", "no", "", {"email": operator.email})
    asked: tuple[tuple[object, Denial], ...] = (
        (AddMember(org.slug, target.email.upper(), Role.OWNER), too_low),
        (DeleteUser(str(target.id), None), by_plan),
        (UpdateOrganization(elsewhere.slug, "x\0", None), by_plan),
        (ListEvents(), by_plan),
    )
    with System(people.target, REQUEST_ID) as system:
        for request, denial in asked:
            append_denial(system.database(), identity, use_cases.LIST, request, denial, REQUEST_ID)

    def found(reader: Someone, **filters: Any) -> list[tuple[str, str | None, uuid.UUID | None]]:
        return [(e.target_type, e.target_id, e.organization_id) for e in listed(people, reader, **filters)][::-1]

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
    assert {e.reason for e in listed(people, operator, operator=operator.email)} == {"no"}
    assert found(target) == []


def test_who_and_what_is_gone_is_found_by_the_name_it_had(people: People) -> None:
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
    with System(people.target, REQUEST_ID) as system:
        grant = granted(people.operator(ruler), use_cases.EXPORT, filters)
        sizes = [len(page.items) for page in audit.export(system, grant, filters)]
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
        people.run(people.superuser(), audit.list_page, use_cases.LIST, request_)
    assert refused.value.code == code


# -- whole or not -------------------------------------------------------------------------------------------

UNLOCK = tuple(f"ALTER TABLE bazar.{table} DISABLE TRIGGER USER" for table in ("audit_events", "audit_seals"))
EVENT_HASH = """
    UPDATE bazar.audit_events SET hash = sha256(convert_to(jsonb_build_array(
        id, seq, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC'), operator_id,
        operator_email, use_case, outcome, target_type, target_id, organization_id, before::text, after::text,
        reason, request_id)::text, 'UTF8'))
"""
SET, DELETE = "UPDATE bazar.audit_events SET", "DELETE FROM bazar.audit_events"
SET_SEAL, DELETE_SEAL = "UPDATE bazar.audit_seals SET", "DELETE FROM bazar.audit_seals"
REQUEUE = "INSERT INTO bazar.audit_unsealed SELECT seq, id FROM bazar.audit_events WHERE seq = 5"
SEAL_HASH = """
    UPDATE bazar.audit_seals SET hash = sha256(int8send(position) || previous
        || convert_to(to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC'), 'UTF8') || entries)
"""


@pytest.fixture
def vault(fresh_database: Databases) -> Generator[People]:
    """A database with 30 events in three seals, and two that wait."""
    with People(target_of(fresh_database(migrated=True))) as arranged:
        arranged.superuser()
        for _ in range(3):
            insert(arranged, 10)
            arranged.sql("SELECT bazar.seal_audit(NULL)")
        insert(arranged, 2)
        yield arranged


def insert(people: People, count: int) -> None:
    people.sql(
        "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, target_id, request_id)"
        " SELECT gen_random_uuid(), 'x', 'users.create', 'done', 'user', n, 'r' FROM generate_series(1, %s) n",
        count,
    )


def verified(people: People, expect: str | None = None, *, dry_run: bool = True) -> Verification:
    [ruler] = people.sql("SELECT id, email FROM bazar.users WHERE is_superuser LIMIT 1")
    who = Someone(ruler["id"], ruler["email"])
    return people.run(who, audit.verify, use_cases.VERIFY, VerifyLog(expect), dry_run=dry_run)


def tamper(people: People, *statements: str) -> None:
    """Do as the owner of the database can."""
    for statement in (*UNLOCK, *statements):
        people.sql(statement)


def event(people: People, seq: int) -> uuid.UUID:
    return people.sql("SELECT id FROM bazar.audit_events WHERE seq = %s", seq)[0]["id"]


def test_a_log_that_nobody_touched_is_whole(vault: People) -> None:
    before = verified(vault)
    assert (before.whole, before.events, before.seals, before.unsealed) == (True, 32, 3, 2)
    after = verified(vault, dry_run=False)
    assert (after.whole, after.events, after.seals, after.unsealed) == (True, 32, 4, 0)
    again = verified(vault, before.head, dry_run=False)
    assert (again.whole, again.head, again.seals) == (True, after.head, 4)
    assert after.head != before.head


def test_a_log_without_events_is_whole(fresh_database: Databases) -> None:
    with People(target_of(fresh_database(migrated=True))) as people:
        people.superuser()
        found = verified(people, dry_run=False)
    assert (found.whole, found.events, found.seals, found.head) == (True, 0, 0, None)


# Each as the owner of the database could: what was done, and what is named first: its kind, and an event's seq or a
# seal's position.
TAMPERED: dict[str, tuple[tuple[str, ...], Break, int]] = {
    "a changed event": ((f"{SET} reason = 'x' WHERE seq = 15",), Break.EVENT_CHANGED, 15),
    "a changed time": (
        (f"{SET} occurred_at = occurred_at + interval '1 microsecond' WHERE seq = 30",),
        Break.EVENT_CHANGED,
        30,
    ),
    "a JSON null for nothing": ((f"{SET} after = 'null' WHERE seq = 3",), Break.EVENT_CHANGED, 3),
    "a changed event that waits": ((f"{SET} reason = 'x' WHERE seq = 31",), Break.EVENT_CHANGED, 31),
    "a changed event with its hash": (
        (f"{SET} operator_email = 'y' WHERE seq = 15", f"{EVENT_HASH} WHERE seq = 15"),
        Break.EVENT_CHANGED,
        15,
    ),
    "no hash": (
        ("ALTER TABLE bazar.audit_events ALTER hash DROP NOT NULL", f"{SET} hash = NULL WHERE seq = 8"),
        Break.EVENT_CHANGED,
        8,
    ),
    "two changed events": ((f"{SET} reason = 'x' WHERE seq IN (25, 4)",), Break.EVENT_CHANGED, 4),
    "a removed event": ((f"{DELETE} WHERE seq = 15",), Break.EVENT_REMOVED, 15),
    "a removed event that waits": ((f"{DELETE} WHERE seq = 32",), Break.EVENT_REMOVED, 32),
    "a removed event before a changed one": (
        (f"{DELETE} WHERE seq = 11", f"{SET} reason = 'x' WHERE seq IN (12, 20)"),
        Break.EVENT_REMOVED,
        11,
    ),
    "a changed event before a removed one": (
        (f"{DELETE} WHERE seq = 11", f"{SET} reason = 'x' WHERE seq = 10"),
        Break.EVENT_CHANGED,
        10,
    ),
    "all events": ((DELETE,), Break.EVENT_REMOVED, 1),
    "an inserted event": (
        (
            """
            INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id, hash)
            VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r', '')
            """,
            f"{EVENT_HASH} WHERE seq > 32",
        ),
        Break.EVENT_INSERTED,
        33,
    ),
    "an inserted event with another hash": (
        (
            """
            INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id, hash)
            VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r', '')
            """,
        ),
        Break.EVENT_INSERTED,
        33,
    ),
    "an event that came out of the queue": (
        ("DELETE FROM bazar.audit_unsealed WHERE seq = 31",),
        Break.EVENT_INSERTED,
        31,
    ),
    "a sealed event queued again": ((REQUEUE,), Break.EVENT_REPEATED, 5),
    "an event sealed twice": ((REQUEUE, "SELECT bazar.seal_audit(NULL)"), Break.EVENT_REPEATED, 5),
    "a copy of an event": (
        (
            "ALTER TABLE bazar.audit_events DROP CONSTRAINT audit_events_pkey, DROP CONSTRAINT audit_events_seq_key",
            """
            INSERT INTO bazar.audit_events OVERRIDING SYSTEM VALUE SELECT * FROM bazar.audit_events WHERE seq = 5
            """,
        ),
        Break.EVENT_REPEATED,
        5,
    ),
    "a changed seal": ((f"{SET_SEAL} sealed_at = now() WHERE position = 2",), Break.SEAL_CHANGED, 2),
    "a seal with another hash": (
        (f"{SET_SEAL} sealed_at = now() WHERE position = 2", f"{SEAL_HASH} WHERE position = 2"),
        Break.SEAL_CHANGED,
        3,
    ),
    "entries cut short": (
        (
            "ALTER TABLE bazar.audit_seals DROP CONSTRAINT audit_seals_entries_check",
            f"{SET_SEAL} entries = substr(entries, 1, 470) WHERE position = 3",
        ),
        Break.SEAL_CHANGED,
        3,
    ),
    "the first seal": ((f"{DELETE_SEAL} WHERE position = 1",), Break.SEAL_REMOVED, 1),
    "a seal in the middle": ((f"{DELETE_SEAL} WHERE position = 2",), Break.SEAL_REMOVED, 2),
    "the last seals": ((f"{DELETE_SEAL} WHERE position > 1",), Break.EVENT_INSERTED, 11),
    "two seals swapped": (
        (
            f"{SET_SEAL} position = -position WHERE position IN (2, 3)",
            f"{SET_SEAL} position = 5 + position WHERE position < 0",
        ),
        Break.SEAL_CHANGED,
        2,
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_named(vault: People, what: str) -> None:
    statements, kind, place = TAMPERED[what]
    ids = {row["seq"]: row["id"] for row in vault.sql("SELECT seq, id FROM bazar.audit_events")}
    tamper(vault, *statements)

    found = verified(vault)

    assert not found.whole
    first = found.findings[0]
    assert first.kind is kind, first.message
    if kind.value.startswith("event"):
        assert first.event_id == (ids.get(place) or event(vault, place))
        assert str(first.event_id) in first.message
    else:
        assert first.seal == place
    if kind is Break.EVENT_CHANGED:
        assert (first.action, first.at is not None) == ("users.create", True)
    # Sealing takes no trace away: what is broken stays so.
    assert not verified(vault, dry_run=False).whole


def test_a_log_that_was_rewritten_is_known_by_a_head_that_was_kept(vault: People) -> None:
    kept = verified(vault).head
    tamper(
        vault,
        f"{SET} reason = 'x' WHERE seq = 1",
        EVENT_HASH,
        DELETE_SEAL,
        "DELETE FROM bazar.audit_unsealed",
        "INSERT INTO bazar.audit_unsealed SELECT seq, id FROM bazar.audit_events",
        "SELECT bazar.seal_audit(NULL)",
    )

    assert verified(vault).whole, "a chain alone does not prove that its owner did not write it anew"
    found = verified(vault, kept)
    assert [f.kind for f in found.findings] == [Break.NOT_AS_EXPECTED]
    assert str(kept) in found.findings[0].message


def test_events_that_are_older_than_one_before_them_are_told_of_and_break_nothing(vault: People) -> None:
    assert verified(vault).out_of_order == ()
    for age in ("59 minutes", "61 minutes"):
        vault.sql(
            "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id,"
            " occurred_at) VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r', now() - %s::interval)",
            age,
        )

    found = verified(vault, dry_run=False)

    assert (found.whole, [f.event_id for f in found.out_of_order]) == (True, [event(vault, 34)])


def test_a_function_that_lies_is_not_asked(vault: People) -> None:
    [database] = vault.sql("SELECT current_database() AS name")
    tamper(
        vault,
        f"{SET} reason = 'x' WHERE seq = 15",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT 'the same'::bytea $$",
        f'ALTER DATABASE "{database["name"]}" SET search_path = public, pg_catalog',
    )

    with People(vault.target) as people:
        assert [f.event_id for f in verified(people).findings] == [event(vault, 15)]


@pytest.mark.parametrize("hash_", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_what_is_no_hash_is_refused(people: People, hash_: str) -> None:
    with pytest.raises(UsageError) as refused:
        people.run(people.superuser(), audit.verify, use_cases.VERIFY, VerifyLog(hash_), dry_run=True)
    assert refused.value.code == "audit.hash_invalid"


# -- many at once -------------------------------------------------------------------------------------------


@contextmanager
def a_writer(people: People, count: int) -> Generator[psycopg.Connection]:
    """A transaction that stays open, with so many events written: from 64 on it holds a seal that nobody sees."""
    with psycopg.connect(people.target.database_url.reveal()) as connection:
        connection.execute(
            "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
            " SELECT gen_random_uuid(), 'x', 'u', 'done', 'user', 'r' FROM generate_series(1, %s) n",
            (count,),
        )
        yield connection


def test_no_writer_waits_for_another(vault: People) -> None:
    with a_writer(vault, 70) as sealing, a_writer(vault, 1) as other:
        [(own,)] = sealing.execute("SELECT count(*) FROM bazar.audit_seals WHERE position > 3").fetchall()
        assert own, "the first writer is in the middle of a seal"
        with psycopg.connect(vault.target.database_url.reveal(), autocommit=True) as third:
            third.execute("SET lock_timeout = '1ms'")
            for _ in range(130):
                third.execute(
                    "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
                    " VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r')"
                )
        meanwhile = verified(vault, dry_run=False)
        assert (meanwhile.whole, meanwhile.events, meanwhile.unsealed) == (True, 162, 132)
        # The one that seals gives up; the other commits late, after events that have higher numbers.
        sealing.rollback()
        assert verified(vault, dry_run=False).unsealed == 0
        other.commit()
    late = verified(vault)
    assert (late.whole, late.events, late.unsealed) == (True, 163, 1)
    assert verified(vault, dry_run=False).unsealed == 0


def test_a_transaction_with_one_snapshot_seals_nothing_and_fails_at_nothing(vault: People) -> None:
    with psycopg.connect(vault.target.database_url.reveal()) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM bazar.audit_seals")
        insert(vault, 64)
        connection.execute(
            "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
            " SELECT gen_random_uuid(), 'x', 'u', 'done', 'user', 'r' FROM generate_series(1, 64) n"
        )
    assert verified(vault, dry_run=False).whole


def test_twenty_writers_while_it_is_verified(vault: People) -> None:
    done = threading.Event()

    def write(_number: int) -> None:
        with psycopg.connect(vault.target.database_url.reveal()) as connection:
            for turn in range(12):
                connection.execute(
                    "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
                    " SELECT gen_random_uuid(), 'x', 'u', 'done', 'user', 'r' FROM generate_series(1, %s) n",
                    (1 + secrets.randbelow(9),),
                )
                connection.rollback() if turn % 4 == 3 else connection.commit()

    def check() -> list[Verification]:
        found: list[Verification] = []
        while not done.is_set():
            found.append(verified(vault, found[-1].head if found else None, dry_run=False))
        return found

    with ThreadPoolExecutor(21) as pool:
        checks = pool.submit(check)
        list(pool.map(write, range(20)))
        done.set()
        results = checks.result()
    assert [f for r in results for f in r.findings] == []
    last = verified(vault, results[-1].head, dry_run=False)
    assert (last.whole, last.unsealed) == (True, 0)
    assert last.events > 20 * 9


def test_a_seal_costs_the_same_in_a_long_log(vault: People) -> None:
    insert(vault, 5_000)
    with a_writer(vault, 128) as connection:
        [(read,)] = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relid = 'bazar.audit_events'::regclass"
        ).fetchall()
    assert 128 <= read < 1_000, "whoever seals looks its events up by their keys"


def test_a_sealing_writer_that_is_killed_leaves_no_half_seal(vault: People) -> None:
    with a_writer(vault, 70) as doomed:
        vault.sql("SELECT pg_terminate_backend(%s)", doomed.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            doomed.execute("SELECT 1")
    found = verified(vault, dry_run=False)
    assert (found.whole, found.events, found.unsealed) == (True, 32, 0)
