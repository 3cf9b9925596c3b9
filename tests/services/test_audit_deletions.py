"""The event of a deletion: who still finds it, and of which organizations it speaks to whom."""

from __future__ import annotations

from typing import Any

from bazar_cli.adapters.postgres import audit as log
from bazar_cli.domain import audit as use_cases
from bazar_cli.domain import users as user_cases
from bazar_cli.domain.access import Role
from bazar_cli.domain.audit import EventFilters, ListEvents
from bazar_cli.domain.permissions import Plan
from bazar_cli.domain.users import DeleteUser
from bazar_cli.services import audit, user_deletion
from bazar_cli.services.system import System
from tests.support.people import REQUEST_ID, Org, People, Someone, granted


def reader_in(people: People, *orgs: Org) -> Someone:
    return people.user(dict.fromkeys(orgs, Role.ADMIN), plan=Plan.PREMIUM)


def seen(people: People, reader: Someone, **filters: Any) -> list[dict[str, Any]]:
    """What a reader sees of deletions, as it was before; each of them once, in the list as in the export."""
    asked = EventFilters(action="users.delete", **filters)
    found = people.run(reader, audit.list_page, use_cases.LIST, ListEvents(asked)).items
    with System(people.target, REQUEST_ID) as system:
        grant = granted(people.operator(reader), use_cases.EXPORT, asked)
        exported = [event for page in audit.export(system, grant, asked) for event in page.items]
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
    with System(people.target, REQUEST_ID) as system, system.database().transaction(grant) as connection:
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
    with System(people.target, REQUEST_ID) as system, system.database().transaction(grant) as connection:
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
