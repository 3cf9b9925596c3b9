"""The event of a deletion: who still finds it, and of which organizations it speaks to whom."""

from __future__ import annotations

import random
import uuid
from collections.abc import Generator
from typing import Any

import psycopg
import pytest

from bazar_cli.adapters.postgres.audit import events as log
from bazar_cli.adapters.postgres.audit import log as audit_log
from bazar_cli.domain import audit as use_cases
from bazar_cli.domain.audit import EventFilters, ListEvents
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.users import changes as user_cases
from bazar_cli.domain.users.changes import DeleteUser
from bazar_cli.services.audit import read
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.users import delete as user_deletion
from tests.support.people import REQUEST_ID, Org, People, Someone, granted
from tests.support.statements import watched


def reader_in(people: People, *orgs: Org) -> Someone:
    return people.user(dict.fromkeys(orgs, Role.ADMIN), plan=Plan.PREMIUM)


def seen(people: People, reader: Someone, **filters: Any) -> list[dict[str, Any]]:
    """What a reader sees of deletions, as it was before; each of them once, in the list as in the export."""
    asked = EventFilters(action="users.delete", **filters)
    found = people.run(reader, read.list_page, use_cases.LIST, ListEvents(asked)).items
    with Backends(people.target, REQUEST_ID) as backends:
        grant = granted(people.operator(reader), use_cases.EXPORT, asked)
        exported = [event for page in read.export(backends, grant, asked) for event in page.items]
    assert exported == list(found)[::-1]
    return [dict(event.before or {}) for event in found]


def delete(people: People, operator: Someone, someone: Someone) -> None:
    request = DeleteUser(someone.email, confirm=someone.email)
    people.run(operator, user_deletion.delete, user_cases.DELETE, request)


def place(org: Org, role: Role) -> dict[str, str]:
    return {"id": str(org.id), "slug": org.slug, "role": role.value}


def test_each_of_their_organizations_sees_its_own_part(people: People) -> None:
    acme, beta, gamma = people.org(), people.org(), people.org()
    gone = people.user({acme: Role.MEMBER, beta: Role.OWNER, gamma: Role.MEMBER})
    people.user({beta: Role.OWNER})
    here, there, both = reader_in(people, acme), reader_in(people, beta), reader_in(people, acme, beta)
    stranger, nobody, ruler = reader_in(people, people.org()), people.user(plan=Plan.PREMIUM), people.superuser()

    delete(people, ruler, gone)

    parts = {here: [acme], there: [beta], both: [acme, beta], ruler: [acme, beta, gamma]}
    for reader, orgs in parts.items():
        [before] = seen(people, reader, target=gone.email)
        assert before["email"] == gone.email
        roles = {acme: Role.MEMBER, beta: Role.OWNER, gamma: Role.MEMBER}
        assert before["organizations"] == sorted((place(o, roles[o]) for o in orgs), key=lambda m: m["slug"])
        assert seen(people, reader, target=str(gone.id)) == [before]
    for reader in (stranger, nobody):
        assert seen(people, reader) == seen(people, reader, target=gone.email) == []
    people.sql("DELETE FROM bazar.memberships WHERE user_id = %s", here.id)
    assert seen(people, here, target=str(gone.id)) == []


def test_while_they_are_there_it_is_an_event_about_a_colleague(people: People) -> None:
    acme, beta = people.org(), people.org()
    someone, ruler = people.user({acme: Role.MEMBER}), people.superuser()
    here = reader_in(people, acme)
    grant = granted(people.operator(ruler), user_cases.DELETE, DeleteUser(someone.email, None))
    before = {"email": someone.email, "organizations": [place(acme, Role.MEMBER)]}
    with Backends(people.target, REQUEST_ID) as backends, backends.database().transaction(grant) as connection:
        log.record(connection, grant, log.Change("user", someone.id, before=before))

    assert seen(people, here) == [before]

    # Taken back, and gone elsewhere: they have nothing to do with acme any more.
    people.sql("UPDATE bazar.memberships SET organization_id = %s WHERE user_id = %s", beta.id, someone.id)
    assert seen(people, here) == []
    assert seen(people, reader_in(people, beta)) == [{**before, "organizations": []}]


def test_a_slug_that_another_organization_has_by_now_reveals_nothing(people: People) -> None:
    acme, ruler = people.org(), people.superuser()
    doer = people.user({acme: Role.OWNER}, plan=Plan.PREMIUM)
    gone, before_ids = people.user({acme: Role.MEMBER}), people.user()
    delete(people, doer, gone)
    # As it was written before organizations had their ids in it.
    old = {"email": before_ids.email, "organizations": {acme.slug: "admin"}}
    grant = granted(people.operator(doer), user_cases.DELETE, DeleteUser("x@example.com", None))
    with Backends(people.target, REQUEST_ID) as backends, backends.database().transaction(grant) as connection:
        log.record(connection, grant, log.Change("user", before_ids.id, before=old))
    people.sql("DELETE FROM bazar.users WHERE id = %s", before_ids.id)
    [new_before, old_before] = [seen(people, doer, target=email)[0] for email in (gone.email, before_ids.email)]
    assert (new_before["organizations"], old_before["organizations"]) == ([place(acme, Role.MEMBER)], {})

    people.sql("DELETE FROM bazar.organizations WHERE id = %s", acme.id)
    heirs = people.org(slug=acme.slug)
    people.sql("INSERT INTO bazar.memberships VALUES (%s, %s, 'owner')", heirs.id, doer.id)

    assert seen(people, reader_in(people, heirs)) == []
    assert [b["organizations"] for b in seen(people, doer)] == [{}, []]
    assert [b["organizations"] for b in seen(people, ruler, operator=doer.email)] == [
        {acme.slug: "admin"},
        [place(acme, Role.MEMBER)],
    ]


# -- among many others -----------------------------------------------------------------------------------------

_DELETED = """
    INSERT INTO bazar.audit_events
        (id, operator_id, operator_email, use_case, outcome, target_type, target_id, before, request_id, occurred_at)
    SELECT gen_random_uuid(), gen_random_uuid(), 'a@b', 'users.delete', 'done', 'user', gen_random_uuid(),
           jsonb_build_object('organizations', (
               SELECT coalesce(jsonb_agg(jsonb_build_object('id', i, 'slug', 's', 'role', 'member')), '[]')
               FROM unnest(%s::uuid[]) i)),
           %s, now() - n / 3 * interval '1 s'
    FROM generate_series(1, %s) n
"""


@pytest.mark.parametrize("recent", [1, 4, 1000])
def test_pages_are_the_same_wherever_the_deletions_lie(
    people: People, monkeypatch: pytest.MonkeyPatch, recent: int
) -> None:
    """Whether a page is full of the newest deletions or is looked for by organization, it goes on where one ended."""
    monkeypatch.setattr(audit_log, "RECENT", recent)
    acme, beta, gamma, other = (people.org() for _ in range(4))
    reader, dice = reader_in(people, acme, beta, gamma), random.Random(recent)  # noqa: S311
    places = [[acme], [beta], [acme, beta], [other], [acme, other], [gamma, other], []]
    for number in range(40):
        people.sql(_DELETED, [o.id for o in dice.choice(places)], f"{acme.slug}-{number}", 1)
    # Of one who is there, under the same id, there is another lane.
    there, elsewhere = (e["id"] for e in _of(people, acme, "LIMIT 2"))
    people.sql(
        "INSERT INTO bazar.users (id, email) SELECT target_id::uuid, target_id || '@example.com'"
        " FROM bazar.audit_events WHERE id = ANY (%s)",
        [there, elsewhere],
    )
    people.sql(
        "INSERT INTO bazar.memberships SELECT %s, target_id::uuid, 'member' FROM bazar.audit_events WHERE id = %s",
        gamma.id,
        there,
    )

    mine = [
        one["id"]
        for one in _of(people, acme, "")
        if one["id"] != elsewhere and (one["id"] == there or {acme.id, beta.id, gamma.id} & set(one["organizations"]))
    ]
    for limit in (2, 7, 50):
        pages: list[uuid.UUID] = []
        cursor: str | None = None
        while True:
            asked = ListEvents(EventFilters(), limit=limit, cursor=cursor)
            found = people.run(reader, read.list_page, use_cases.LIST, asked)
            pages += [one.id for one in found.items]
            cursor = found.next_cursor
            if cursor is None:
                break
        assert pages == mine, limit


def _of(people: People, acme: Org, end: str) -> list[dict[str, Any]]:
    """The deletions of one test, the newest first."""
    return people.sql(
        "SELECT id, ARRAY(SELECT (o ->> 'id')::uuid FROM jsonb_array_elements(before -> 'organizations') o)"
        f" AS organizations FROM bazar.audit_events WHERE request_id LIKE %s ORDER BY occurred_at DESC, seq DESC {end}",
        f"{acme.slug}-%",
    )


@pytest.mark.parametrize(("own", "others"), [(5, 4 * audit_log.RECENT), (4 * audit_log.RECENT, 5)])
def test_a_page_passes_over_few_deletions(alone: People, own: int, others: int) -> None:
    mine, theirs = alone.org(), alone.org()
    reader = reader_in(alone, mine)
    alone.sql(_DELETED, [mine.id], "mine", own)
    alone.sql(_DELETED, [theirs.id], "theirs", others)
    alone.sql("ANALYZE")

    with watched() as statements:
        found = alone.run(reader, read.list_page, use_cases.LIST, ListEvents())

    assert [one.request_id for one in found.items] == ["mine"] * min(own, 50)
    [(statement, values)] = [one for one in statements if "bazar.audit_events" in one[0]]
    with psycopg.connect(alone.target.database_url.reveal()) as connection:
        [(plan,)] = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), values).fetchall()
    steps = list(nodes(plan[0]["Plan"]))
    assert "audit_events_deleted_from_idx" in {step.get("Index Name") for step in steps}
    passed = [step["Actual Rows"] + step.get("Rows Removed by Filter", 0) for step in steps]
    assert max(passed) <= audit_log.RECENT


def nodes(plan: dict[str, Any]) -> Generator[dict[str, Any]]:
    """Every step of a plan."""
    yield plan
    for step in plan.get("Plans", ()):
        yield from nodes(step)
