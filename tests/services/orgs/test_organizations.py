"""Organizations: who owns a new one, who sees which, and slugs that name one of them."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from bazar_cli.domain.entities import Organization, Pending, Plan, Role
from bazar_cli.domain.errors import BazarError, Conflict, Denied, ExitCode, NotFound, Refused, UsageError
from bazar_cli.domain.orgs import organizations as use_cases
from bazar_cli.domain.orgs.organizations import (
    CreateOrganization,
    DeleteOrganization,
    Dissolution,
    GetOrganization,
    ListOrganizations,
    UpdateOrganization,
)
from bazar_cli.services.orgs import organizations as orgs
from tests.support.people import People, Someone, granted

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def a_name() -> str:
    """A name that no other test uses, and that is its own slug."""
    return f"acme-{secrets.token_hex(5)}"


def create(people: People, operator: Someone, request: CreateOrganization, *, dry_run: bool = False) -> Organization:
    return people.run(operator, orgs.create, use_cases.CREATE, request, dry_run=dry_run).organization


def get(people: People, operator: Someone, reference: str) -> Organization:
    return people.run(operator, orgs.get, use_cases.GET, GetOrganization(reference))


def listed(people: People, operator: Someone, request: ListOrganizations) -> list[Organization]:
    """All pages of a list."""
    found: list[Organization] = []
    while True:
        page = people.run(operator, orgs.list_page, use_cases.LIST, request)
        assert len(page.items) <= request.limit
        assert not {org.id for org in page.items} & {org.id for org in found}, "an organization stands on two pages"
        found += page.items
        if page.next_cursor is None:
            return found
        request = replace(request, cursor=page.next_cursor)


def owners(people: People, organization_id: UUID) -> list[UUID]:
    rows = people.sql(
        "SELECT user_id FROM bazar.memberships WHERE organization_id = %s AND role = 'owner'", organization_id
    )
    return [row["user_id"] for row in rows]


# -- create -------------------------------------------------------------------------------------------------


def test_the_creator_of_an_organization_owns_it(people: People) -> None:
    me, name = people.user(plan=Plan.PREMIUM), a_name()

    made = create(people, me, CreateOrganization(f"  {name.title()} "))

    assert (made.name, made.slug, made.members) == (name.title(), name, 1)
    assert owners(people, made.id) == [me.id]
    assert get(people, me, name) == made


def test_a_superuser_names_another_owner(people: People) -> None:
    ruler, owner = people.superuser(), people.user()

    made = create(people, ruler, CreateOrganization(a_name(), owner=owner.email))

    assert owners(people, made.id) == [owner.id]
    assert made.members == 1


def test_one_event_names_operator_and_owner(people: People) -> None:
    ruler, owner, name = people.superuser(), people.user(), a_name()

    made = create(people, ruler, CreateOrganization(name, slug=f"{name}-2", owner=str(owner.id)))

    [event] = people.events(made.id)
    assert (event["use_case"], event["outcome"], event["operator_id"]) == ("orgs.create", "done", ruler.id)
    assert (event["target_type"], event["organization_id"], event["before"]) == ("organization", made.id, None)
    assert event["after"] == {"slug": f"{name}-2", "name": name, "owner": str(owner.id)}


def test_a_slug_is_taken_once_and_leaves_no_trace_of_the_second(people: People) -> None:
    me, name = people.user(plan=Plan.PREMIUM), a_name()
    create(people, me, CreateOrganization(name))
    before = people.everything()

    with pytest.raises(Conflict) as conflict:
        create(people, me, CreateOrganization(name.upper()))

    assert (conflict.value.code, conflict.value.details) == ("orgs.slug_exists", {"slug": name, "free": f"{name}-2"})
    assert conflict.value.exit_code is ExitCode.CONFLICT
    assert "--slug" in conflict.value.hint
    assert people.everything() == before


def test_the_same_name_with_another_slug_is_another_organization(people: People) -> None:
    me, name = people.user(plan=Plan.PREMIUM), a_name()

    made = [create(people, me, CreateOrganization(name, slug=slug)) for slug in (name, f"{name}-2")]

    assert [org.name for org in made] == [name, name]
    assert listed(people, me, ListOrganizations()) == made


def test_of_many_that_create_one_slug_one_wins(people: People) -> None:
    name, operators = a_name(), [people.user(plan=Plan.PREMIUM) for _ in range(4)]

    def run(operator: Someone) -> str:
        try:
            return create(people, operator, CreateOrganization(name)).slug
        except BazarError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, operators))

    assert sorted(results) == sorted([name, *["orgs.slug_exists"] * 3])
    assert len(people.sql("SELECT 1 FROM bazar.organizations WHERE slug = %s", name)) == 1


def test_commands_that_start_together_do_not_disturb_each_other(people: People) -> None:
    me, names = people.user(plan=Plan.PREMIUM), [a_name(), a_name()]
    requests = [CreateOrganization(name) for name in names]
    grants = [granted(people.operator(me), use_cases.CREATE, request) for request in requests]

    made = [people.run_with(grant, orgs.create, request) for grant, request in zip(grants, requests, strict=True)]

    assert [one.organization.slug for one in made] == names


def test_a_dry_run_shows_the_organization_and_writes_nothing(people: People) -> None:
    me, name = people.user(plan=Plan.PREMIUM), a_name()
    before = people.everything()

    planned = create(people, me, CreateOrganization(name), dry_run=True)

    assert (planned.slug, planned.members) == (name, 1)
    assert people.everything() == before


def test_a_dry_run_finds_the_same_conflict(people: People) -> None:
    me, org = people.user(plan=Plan.PREMIUM), people.org()

    with pytest.raises(Conflict) as conflict:
        create(people, me, CreateOrganization("Acme", slug=org.slug), dry_run=True)

    assert conflict.value.code == "orgs.slug_exists"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (CreateOrganization(""), "orgs.name_invalid"),
        (CreateOrganization("a\nb"), "orgs.name_invalid"),
        (CreateOrganization("🐉🐉"), "orgs.slug_invalid"),
        (CreateOrganization("Acme", slug="Acme Corp"), "orgs.slug_invalid"),
        (CreateOrganization("Acme", slug="0190c2f0-7b1a-7c3d-8e4f-5a6b7c8d9e0f"), "orgs.slug_invalid"),
    ],
)
def test_a_value_that_breaks_a_rule_writes_nothing(people: People, request_: CreateOrganization, code: str) -> None:
    me = people.user(plan=Plan.PREMIUM)
    before = people.everything()

    with pytest.raises(UsageError) as refused:
        create(people, me, request_)

    assert refused.value.code == code
    assert people.everything() == before


def test_an_unknown_owner_is_not_found(people: People) -> None:
    with pytest.raises(NotFound) as missing:
        create(people, people.superuser(), CreateOrganization(a_name(), owner="nobody@example.com"))

    assert missing.value.code == "users.not_found"


@pytest.mark.parametrize("pending", [Pending.CREATE, Pending.DELETE])
def test_a_user_with_a_pending_change_becomes_no_owner(people: People, pending: Pending) -> None:
    owner, name = people.user(pending=pending), a_name()

    with pytest.raises(Conflict) as conflict:
        create(people, people.superuser(), CreateOrganization(name, owner=owner.email))

    assert (conflict.value.code, conflict.value.details) == ("users.pending", {"pending": pending.value})
    assert people.sql("SELECT 1 FROM bazar.organizations WHERE slug = %s", name) == []


# -- update -------------------------------------------------------------------------------------------------


def update(people: People, operator: Someone, request: UpdateOrganization, *, dry_run: bool = False) -> Organization:
    return people.run(operator, orgs.update, use_cases.UPDATE, request, dry_run=dry_run).organization


@pytest.mark.parametrize("who", ["superuser", "owner", "admin"])
def test_given_values_change_and_one_event_names_them(people: People, who: str) -> None:
    org, slug = people.org(name="Old"), a_name()
    me = people.superuser() if who == "superuser" else people.user({org: Role(who)}, plan=Plan.PREMIUM)

    named = update(people, me, UpdateOrganization(org.slug, name=" New "))
    moved = update(people, me, UpdateOrganization(str(org.id), slug=slug))

    assert (named.name, named.slug) == ("New", org.slug)
    assert (moved.name, moved.slug) == ("New", slug)
    assert named.updated_at > named.created_at
    assert [(e["use_case"], e["before"], e["after"]) for e in people.events(org.id)] == [
        ("orgs.update", {"slug": org.slug, "name": "Old"}, {"slug": org.slug, "name": "New"}),
        ("orgs.update", {"slug": org.slug, "name": "New"}, {"slug": slug, "name": "New"}),
    ]
    assert create(people, people.superuser(), CreateOrganization("Another", slug=org.slug)).slug == org.slug


def test_same_values_and_dry_runs_write_nothing(people: People) -> None:
    org, ruler = people.org(name="Acme"), people.superuser()
    before = people.everything()

    same = update(people, ruler, UpdateOrganization(org.slug, name="Acme ", slug=org.slug))
    planned = update(people, ruler, UpdateOrganization(org.slug, slug="another-one"), dry_run=True)

    assert (same.name, planned.slug) == ("Acme", "another-one")
    assert people.everything() == before


@pytest.mark.parametrize("role", [Role.MEMBER, None])
def test_members_without_admin_rights_change_and_delete_nothing(people: People, role: Role | None) -> None:
    org = people.org()
    me = people.user({} if role is None else {org: role}, plan=Plan.PREMIUM)
    before = people.everything()

    for act in (
        lambda: update(people, me, UpdateOrganization(org.slug, name="Pwned")),
        lambda: delete(people, me, DeleteOrganization(org.slug, org.slug)),
    ):
        with pytest.raises(NotFound if role is None else Denied) as refused:
            act()
        assert refused.value.code == ("orgs.not_found" if role is None else "access.role")
    assert people.everything() == before


def test_a_taken_slug_is_not_given_again(people: People) -> None:
    org, other, ruler = people.org(name="Acme"), people.org(), people.superuser()
    before = people.everything()

    with pytest.raises(Conflict) as conflict:
        update(people, ruler, UpdateOrganization(org.slug, name="It's", slug=other.slug))

    assert conflict.value.details == {"slug": other.slug, "free": f"{other.slug}-2"}
    command = f"bazar orgs update {org.slug} --name 'It'\"'\"'s' --slug {other.slug}-2"
    assert f"`{command}`" in conflict.value.hint
    assert people.everything() == before


def test_proposals_end_where_none_is_free(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    ruler, name = people.superuser(), a_name()
    monkeypatch.setattr(use_cases, "PROPOSALS", 2)
    for slug in (name, f"{name}-2", f"{name}-3"):
        create(people, ruler, CreateOrganization("Acme", slug=slug))

    with pytest.raises(Conflict) as conflict:
        create(people, ruler, CreateOrganization("Acme", slug=name))

    assert (conflict.value.details["free"], conflict.value.hint) == (None, "choose another with --slug")


# -- delete -------------------------------------------------------------------------------------------------


def delete(people: People, operator: Someone, request: DeleteOrganization, *, dry_run: bool = False) -> Dissolution:
    return people.run(operator, orgs.delete, use_cases.DELETE, request, dry_run=dry_run)


@pytest.mark.parametrize("who", ["superuser", "owner"])
def test_an_organization_is_deleted_with_its_memberships_and_users_are_kept(people: People, who: str) -> None:
    org, other = people.org(name="Acme"), people.org()
    owner = people.user({org: Role.OWNER, other: Role.MEMBER}, plan=Plan.PREMIUM)
    members = [people.user({org: Role.MEMBER}), people.user({org: Role.MEMBER, other: Role.MEMBER})]
    me = people.superuser() if who == "superuser" else owner
    foreseen = delete(people, me, DeleteOrganization(org.slug), dry_run=True)

    gone = delete(people, me, DeleteOrganization(org.slug, org.slug.upper()))

    assert gone == foreseen
    assert (gone.organization.id, gone.organization.members) == (org.id, 3)
    assert (gone.roles, gone.left_alone) == ({Role.OWNER: 1, Role.ADMIN: 0, Role.MEMBER: 2}, 1)
    assert gone.described() == (
        f"deleting {org.slug} ends 3 memberships (owner 1, member 2) and leaves 1 user without any organization"
    )
    assert people.sql("SELECT 1 FROM bazar.memberships WHERE organization_id = %s", org.id) == []
    assert len(people.sql("SELECT 1 FROM bazar.memberships WHERE organization_id = %s", other.id)) == 2
    assert all(people.row(one) for one in (owner, *members))
    [event] = people.events(org.id)
    assert (event["use_case"], event["organization_id"], event["after"]) == ("orgs.delete", org.id, None)
    assert event["before"] == {
        "slug": org.slug,
        "name": "Acme",
        "members": {"owner": 1, "admin": 0, "member": 2},
        "owners": [str(owner.id)],
    }


def test_an_admin_does_not_delete_it(people: People) -> None:
    org = people.org()
    me = people.user({org: Role.ADMIN}, plan=Plan.PREMIUM)

    with pytest.raises(Denied, match="your role is admin"):
        delete(people, me, DeleteOrganization(org.slug, org.slug))
    with pytest.raises(Denied):
        delete(people, me, DeleteOrganization(org.slug))


@pytest.mark.parametrize(
    ("confirm", "dry_run"), [(None, False), ("another", False), ("another", True), ("\x1b[2J" + "x" * 99, True)]
)
def test_without_the_slug_nothing_is_deleted(people: People, confirm: str | None, dry_run: bool) -> None:
    org = people.org()
    ruler = people.superuser()
    before = people.everything()

    with pytest.raises(Refused) as refused:
        delete(people, ruler, DeleteOrganization(str(org.id), confirm), dry_run=dry_run)

    assert refused.value.code == "orgs.confirm_mismatch"
    assert f"`bazar orgs delete {org.slug} --confirm {org.slug}`" in refused.value.hint
    shown = "another" if confirm == "another" else "\\x1b[2J" + "x" * 76 + "..."
    assert refused.value.details.get("confirm") == (None if confirm is None else shown)
    assert (f"and '{shown}' is not it" in refused.value.message) == (confirm is not None)
    assert delete(people, ruler, DeleteOrganization(org.slug), dry_run=True).organization.id == org.id
    assert people.everything() == before


@pytest.mark.parametrize("pending", [Pending.CREATE, Pending.INVITE, Pending.DELETE])
def test_an_organization_with_a_user_being_created_or_deleted_is_kept(people: People, pending: Pending) -> None:
    org, ruler = people.org(), people.superuser()
    someone = people.user({org: Role.MEMBER}, pending=pending)

    with pytest.raises(Conflict) as conflict:
        delete(people, ruler, DeleteOrganization(org.slug, org.slug))

    assert (conflict.value.code, someone.email in conflict.value.message) == ("users.pending", True)
    assert get(people, ruler, org.slug).members == 1


# -- reach --------------------------------------------------------------------------------------------------


def test_a_member_sees_their_organizations_only(people: People) -> None:
    mine, foreign = [people.org(), people.org()], people.org()
    me = people.user({mine[0]: Role.OWNER, mine[1]: Role.MEMBER})

    seen = listed(people, me, ListOrganizations())

    assert {org.id for org in seen} == {org.id for org in mine}
    assert get(people, me, mine[1].slug).id == mine[1].id
    with pytest.raises(NotFound) as hidden:
        get(people, me, foreign.slug)
    assert hidden.value.code == "orgs.not_found"


def test_out_of_reach_reads_like_unknown(people: People) -> None:
    me, foreign = people.user(), people.org()
    texts: list[str] = []
    for reference in (foreign.slug, "no-such-org"):
        with pytest.raises(NotFound) as missing:
            get(people, me, reference)
        texts.append(f"{missing.value.code} {missing.value.message} {missing.value.hint}".replace(reference, "ORG"))

    assert texts[0] == texts[1]


def test_a_superuser_sees_organizations_of_others(people: People) -> None:
    org = people.org()

    assert get(people, people.superuser(), str(org.id)).slug == org.slug


def test_an_organization_counts_its_members(people: People) -> None:
    org = people.org()
    members = [people.user({org: role}) for role in Role]

    assert get(people, members[0], org.slug).members == len(members)
    assert get(people, people.superuser(), people.org().slug).members == 0


# -- lists --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 50])
def test_pages_are_complete_in_order_and_without_doubles(people: People, limit: int) -> None:
    made = [people.org(created_at=LONG_AGO + timedelta(microseconds=n // 3)) for n in range(12)]
    me = people.user(dict.fromkeys(made, Role.MEMBER))

    found = listed(people, me, ListOrganizations(limit=limit))

    keys = [(org.created_at, org.id) for org in found]
    assert {org.id for org in found} == {org.id for org in made}
    assert len(found) == len(made)
    assert keys == sorted(keys)


def test_an_invalid_cursor_is_refused(people: People) -> None:
    with pytest.raises(UsageError) as refused:
        listed(people, people.user(), ListOrganizations(cursor="nonsense"))

    assert refused.value.code == "list.cursor_invalid"
