"""Users in Postgres: who sees whom, complete lists, and changes that say what they did."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from bazar_cli.adapters.postgres.cursors import Position, encode
from bazar_cli.domain.authz.spec import Sealed
from bazar_cli.domain.entities import Membership, Pending, Plan, Role, User, UserState
from bazar_cli.domain.errors import Conflict, Denied, ExitCode, NotFound, UsageError
from bazar_cli.domain.exports import RowFormat, WantedRows, WrittenRows
from bazar_cli.domain.page import Page
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.changes import UpdateUser
from bazar_cli.domain.users.users import GetUser, ListUsers, UserSort
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.users import read as users
from bazar_cli.services.users import update as user_update
from tests.support.people import REQUEST_ID, Org, People, Someone, granted
from tests.support.waiting import until_waiting

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def get(people: People, operator: Someone, reference: str) -> User:
    return people.run(operator, users.get, use_cases.GET, GetUser(reference))


def listed(people: People, operator: Someone, request: ListUsers) -> list[User]:
    """All pages of a list."""
    found: list[User] = []
    while True:
        page = people.run(operator, users.list_page, use_cases.LIST, request)
        assert len(page.items) <= request.limit
        assert not {user.id for user in page.items} & {user.id for user in found}, "a user stands on two pages"
        found += page.items
        if page.next_cursor is None:
            return found
        assert len(page.items) == request.limit
        request = replace(request, cursor=page.next_cursor)


def test_an_export_holds_some_of_the_users_at_a_time(alone: People) -> None:
    ruler = alone.superuser()
    alone.sql(
        "INSERT INTO bazar.users (id, email) SELECT gen_random_uuid(), 'crowd' || n || '@example.com'"
        " FROM generate_series(1, 2500) AS n"
    )
    with Backends(alone.target, REQUEST_ID) as backends:
        grant = granted(alone.operator(ruler), use_cases.EXPORT)
        pages = [part for part in users.export(backends, grant) if isinstance(part, Page)]
        wanted = WantedRows(RowFormat.CSV, ("id",))
        texts = [part for part in users.export(backends, grant, wanted) if isinstance(part, WrittenRows)]
    sizes, counts = [len(page.items) for page in pages], [rows.count for rows in texts]
    assert (sum(sizes), max(sizes)) == (2501, 1000)
    assert (sum(counts), max(counts)) == (2501, 500)


def emails(found: list[User]) -> set[str]:
    return {user.email for user in found}


def update(people: People, operator: Someone, request: UpdateUser, *, dry_run: bool = False) -> User:
    return people.run(operator, user_update.update, user_changes.UPDATE, request, dry_run=dry_run).user


def admin_of(people: People, *orgs: Org, role: Role = Role.ADMIN) -> Someone:
    return people.user(dict.fromkeys(orgs, role), plan=Plan.PREMIUM)


# -- reach --------------------------------------------------------------------------------------------------


def test_a_member_sees_only_users_of_the_same_organizations(people: People) -> None:
    acme, beta, foreign = people.org(), people.org(), people.org()
    me = people.user({acme: Role.MEMBER, beta: Role.MEMBER})
    near = [people.user({acme: Role.OWNER}), people.user({beta: Role.MEMBER, foreign: Role.OWNER})]
    far = [people.user({foreign: Role.MEMBER}), people.user(), people.superuser()]

    seen = listed(people, me, ListUsers())

    assert emails(seen) == {me.email, *(someone.email for someone in near)}
    for someone in near:
        assert get(people, me, someone.email).id == someone.id
    for someone in far:
        with pytest.raises(NotFound) as hidden:
            get(people, me, someone.email)
        assert hidden.value.code == "users.not_found"


def test_out_of_reach_reads_like_unknown(people: People) -> None:
    me, stranger = people.user({people.org(): Role.OWNER}), people.user({people.org(): Role.MEMBER})
    texts: list[str] = []
    for reference in (stranger.email, "nobody@example.com"):
        with pytest.raises(NotFound) as missing:
            get(people, me, reference)
        texts.append(f"{missing.value.code} {missing.value.message} {missing.value.hint}".replace(reference, "WHO"))

    assert texts[0] == texts[1]


def test_memberships_of_organizations_out_of_reach_are_left_out(people: People) -> None:
    acme, foreign = people.org(), people.org()
    me = people.user({acme: Role.MEMBER})
    both = people.user({acme: Role.ADMIN, foreign: Role.OWNER})

    got = get(people, me, both.email)
    [in_list] = [user for user in listed(people, me, ListUsers()) if user.id == both.id]

    assert got.organizations == in_list.organizations == (Membership(acme.id, acme.slug, Role.ADMIN),)
    assert {m.slug for m in get(people, people.superuser(), both.email).organizations} == {acme.slug, foreign.slug}


def test_a_user_without_organizations_sees_themselves(people: People) -> None:
    me = people.user()

    assert emails(listed(people, me, ListUsers())) == {me.email}
    assert get(people, me, me.email).organizations == ()


def test_a_superuser_sees_those_without_organizations(people: People) -> None:
    alone = people.user()

    assert get(people, people.superuser(), alone.email).id == alone.id


@pytest.mark.parametrize("spelling", ["id", "id in capitals", "email", "email in capitals"])
def test_a_user_is_named_by_id_or_email_in_any_case(people: People, spelling: str) -> None:
    someone = people.user()
    reference = str(someone.id) if spelling.startswith("id") else someone.email

    assert get(people, someone, reference.upper() if "capitals" in spelling else reference).id == someone.id


@pytest.mark.parametrize("reference", ["", "ada", "%", "'; DROP TABLE bazar.users; --", "ada@example.com OR true"])
def test_unknown_reference_is_not_found(people: People, reference: str) -> None:
    with pytest.raises(NotFound) as missing:
        get(people, people.superuser(), reference)

    assert missing.value.exit_code is ExitCode.NOT_FOUND


@pytest.mark.parametrize("reference", ["ada\udcff@example.com", "ada\0@example.com"])
def test_text_that_postgres_cannot_store_is_not_found(people: People, reference: str) -> None:
    with pytest.raises(NotFound):
        get(people, people.superuser(), reference)


def test_get_shows_every_field(people: People) -> None:
    acme, beta = people.org(), people.org()
    someone = people.user(
        {beta: Role.MEMBER, acme: Role.OWNER},
        name="Ada Lovelace",
        plan=Plan.PLUS,
        state=UserState.SUSPENDED,
        pending=Pending.SUSPEND,
        created_at=LONG_AGO,
    )

    user = get(people, people.superuser(), someone.email)

    assert (user.id, user.email, user.name, user.plan) == (someone.id, someone.email, "Ada Lovelace", Plan.PLUS)
    assert (user.state, user.pending, user.is_superuser) == (UserState.SUSPENDED, Pending.SUSPEND, False)
    assert (user.created_at, user.updated_at > LONG_AGO) == (LONG_AGO, True)
    assert {(m.organization_id, m.role) for m in user.organizations} == {
        (acme.id, Role.OWNER),
        (beta.id, Role.MEMBER),
    }
    assert [m.slug for m in user.organizations] == sorted(m.slug for m in user.organizations)


def test_me_shows_oneself_with_all_organizations(people: People) -> None:
    orgs = [people.org(), people.org()]
    me = people.user({orgs[0]: Role.OWNER, orgs[1]: Role.MEMBER})

    seen = people.run(me, users.me, use_cases.ME, None)

    assert seen.id == me.id
    assert {m.organization_id for m in seen.organizations} == {org.id for org in orgs}


def test_me_after_being_deleted_is_not_found(people: People) -> None:
    me = people.user()
    grant = granted(people.operator(me), use_cases.ME)
    people.sql("DELETE FROM bazar.users WHERE id = %s", me.id)

    with pytest.raises(NotFound):
        people.run_with(grant, users.me, None)


def test_a_grant_of_another_use_case_opens_nothing(people: People) -> None:
    me = people.user()

    with pytest.raises(Sealed):
        people.run(me, users.get, use_cases.LIST, GetUser(me.email))


# -- lists --------------------------------------------------------------------------------------------------


@pytest.mark.spread
@pytest.mark.parametrize("sort", UserSort)
@pytest.mark.parametrize("limit", [1, 3, 7, 20])
def test_pages_are_complete_in_order_and_without_doubles(people: People, sort: UserSort, limit: int) -> None:
    acme = people.org()
    moments = [LONG_AGO + timedelta(microseconds=n // 3) for n in range(20)]
    made = [people.user({acme: Role.MEMBER}, created_at=moment) for moment in moments]

    found = listed(people, made[0], ListUsers(sort=sort, limit=limit))

    by_time = sort is UserSort.CREATED
    keys = [(user.created_at if by_time else LONG_AGO, "" if by_time else user.email, user.id) for user in found]
    assert {user.id for user in found} == {someone.id for someone in made}
    assert len(found) == len(made)
    assert keys == sorted(keys)


@pytest.mark.parametrize("sort", UserSort)
def test_members_of_a_large_organization_are_listed_like_those_of_a_small_one(
    people: People, monkeypatch: pytest.MonkeyPatch, sort: UserSort
) -> None:
    acme, beta, foreign = people.org(), people.org(), people.org()
    me = people.user({acme: Role.MEMBER, beta: Role.MEMBER})
    people.user({acme: Role.MEMBER, beta: Role.OWNER, foreign: Role.MEMBER})
    people.user({beta: Role.MEMBER}, plan=Plan.PLUS)
    people.user({foreign: Role.MEMBER})
    people.user()
    request = ListUsers(sort=sort, limit=2)
    as_few = listed(people, me, request)

    monkeypatch.setattr("bazar_cli.adapters.postgres.users.users._FEW", 2)

    assert listed(people, me, request) == as_few
    assert len(as_few) == 3


def test_a_cursor_keeps_its_place_when_users_are_added_and_deleted(people: People) -> None:
    acme = people.org()
    made = [people.user({acme: Role.MEMBER}, created_at=LONG_AGO + timedelta(days=n)) for n in range(4)]
    first = people.run(made[3], users.list_page, use_cases.LIST, ListUsers(limit=2))
    people.user({acme: Role.MEMBER}, created_at=LONG_AGO - timedelta(days=1))
    people.sql("DELETE FROM bazar.users WHERE id = %s", made[1].id)

    second = people.run(made[3], users.list_page, use_cases.LIST, ListUsers(limit=2, cursor=first.next_cursor))

    assert [user.id for user in second.items] == [made[2].id, made[3].id]
    assert second.next_cursor is None


def test_a_cursor_belongs_to_its_order(people: People) -> None:
    acme = people.org()
    made = [people.user({acme: Role.MEMBER}) for _ in range(2)]
    page = people.run(made[0], users.list_page, use_cases.LIST, ListUsers(limit=1))

    with pytest.raises(UsageError, match="created, not email") as refused:
        listed(people, made[0], ListUsers(sort=UserSort.EMAIL, cursor=page.next_cursor))

    assert refused.value.code == "list.cursor_invalid"


@pytest.mark.parametrize("cursor", ["", "x", "ä", "e30", "W10", "bnVsbA", "WzEsMiwzXQ", "AAAA", "%%%", "W" * 10_000])
def test_an_invalid_cursor_is_refused(people: People, cursor: str) -> None:
    with pytest.raises(UsageError) as refused:
        listed(people, people.user(), ListUsers(cursor=cursor))

    assert refused.value.code == "list.cursor_invalid"
    assert len(refused.value.message) < 200


def test_a_cursor_whose_key_is_no_time_is_refused(people: People) -> None:
    me = people.user()

    with pytest.raises(UsageError) as refused:
        listed(people, me, ListUsers(cursor=encode(Position("created", "no time", me.id))))

    assert refused.value.code == "list.cursor_invalid"


def test_a_list_can_be_filtered(people: People) -> None:
    acme, beta = people.org(), people.org()
    free = people.user({acme: Role.MEMBER}, created_at=LONG_AGO)
    plus = people.user({acme: Role.MEMBER, beta: Role.MEMBER}, plan=Plan.PLUS, created_at=LONG_AGO + timedelta(days=1))
    out = people.user({acme: Role.MEMBER}, plan=Plan.PLUS, state=UserState.SUSPENDED)
    me = people.user({acme: Role.MEMBER, beta: Role.MEMBER}, plan=Plan.PREMIUM)

    def found(request: ListUsers) -> set[str]:
        return emails(listed(people, me, request))

    assert found(ListUsers(plan=Plan.PLUS)) == {plus.email, out.email}
    assert found(ListUsers(state=UserState.SUSPENDED)) == {out.email}
    assert found(ListUsers(plan=Plan.PLUS, state=UserState.ACTIVE)) == {plus.email}
    assert found(ListUsers(organization=beta.slug)) == {plus.email, me.email}
    assert found(ListUsers(organization=str(beta.id), plan=Plan.PREMIUM)) == {me.email}
    assert found(ListUsers(created_since=LONG_AGO)) == {free.email, plus.email, out.email, me.email}
    assert found(ListUsers(created_since=LONG_AGO + timedelta(microseconds=1))) == {plus.email, out.email, me.email}
    assert found(ListUsers(plan=Plan.FREE, state=UserState.SUSPENDED)) == set()


def test_filters_hold_on_every_page(people: People) -> None:
    acme = people.org()
    made = [people.user({acme: Role.MEMBER}, plan=Plan.PLUS if n % 2 else Plan.FREE) for n in range(8)]

    found = listed(people, made[0], ListUsers(plan=Plan.PLUS, limit=1, sort=UserSort.EMAIL))

    assert [user.email for user in found] == sorted(made[n].email for n in (1, 3, 5, 7))


@pytest.mark.parametrize("reach", ["unknown", "foreign"])
def test_a_list_of_an_organization_out_of_reach_is_not_found(people: People, reach: str) -> None:
    slug = people.org().slug if reach == "foreign" else "no-such-org"

    with pytest.raises(NotFound) as missing:
        listed(people, people.user(), ListUsers(organization=slug))

    assert missing.value.code == "orgs.not_found"


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_of_another_size_is_refused(people: People, limit: int) -> None:
    with pytest.raises(UsageError) as refused:
        listed(people, people.user(), ListUsers(limit=limit))

    assert refused.value.code == "list.limit_invalid"


def test_a_search_looks_into_addresses_and_names(people: People) -> None:
    acme, word = people.org(), secrets.token_hex(4)
    by_email = people.user({acme: Role.MEMBER}, email=f"ada.{word}@example.com")
    by_name = people.user({acme: Role.MEMBER}, name=f"Grace {word.upper()} Hopper")
    me = people.user({acme: Role.MEMBER})

    assert emails(listed(people, me, ListUsers(search=word))) == {by_email.email, by_name.email}
    assert emails(listed(people, me, ListUsers(search="HOPPER"))) == {by_name.email}
    assert listed(people, me, ListUsers(search="nobody of this name")) == []


@pytest.mark.parametrize("typed", ["ZOE\u0308", "Zo\u00eb"])
@pytest.mark.parametrize("stored", ["Zoe\u0308", "Zo\u00eb"])
def test_a_search_finds_a_name_in_either_form_of_unicode(people: People, stored: str, typed: str) -> None:
    acme = people.org()
    me, found = people.user({acme: Role.ADMIN}), people.user({acme: Role.MEMBER}, name=f"{stored} of Acme")

    assert emails(listed(people, me, ListUsers(search=typed))) == {found.email}


def test_a_search_in_capitals_finds_the_address(people: People) -> None:
    me = people.user({people.org(): Role.MEMBER})

    assert emails(listed(people, me, ListUsers(search=me.email.upper()))) == {me.email}


def test_a_search_takes_an_address_literally(people: People) -> None:
    acme, word = people.org(), secrets.token_hex(4)
    literal = people.user({acme: Role.MEMBER}, email=f"{word}_ada%x@example.com")
    me = people.user({acme: Role.MEMBER}, email=f"{word}.ada.x@example.com")

    assert emails(listed(people, me, ListUsers(search=f"{word}_ada%"))) == {literal.email}
    assert len(listed(people, me, ListUsers(search=word))) == 2


@pytest.mark.parametrize("search", ["%", "_", "\\", "a%e", "_sterisk", "'"])
def test_a_search_is_no_pattern(people: People, search: str) -> None:
    acme = people.org()
    literal = people.user({acme: Role.MEMBER}, name=f"before {search} after")
    me = people.user({acme: Role.MEMBER}, name="asterisk able")

    assert emails(listed(people, me, ListUsers(search=search))) == {literal.email}


# -- update -------------------------------------------------------------------------------------------------


def test_an_admin_renames_a_member_and_leaves_one_event(people: People) -> None:
    acme, foreign = people.org(), people.org()
    admin = admin_of(people, acme, foreign)
    member = people.user({acme: Role.MEMBER}, name="Ada")

    updated = update(people, admin, UpdateUser(member.email, name="  Ada Lovelace "))

    [event] = people.events(member.id)
    assert updated.name == "Ada Lovelace"
    assert get(people, admin, member.email) == updated
    assert (event["use_case"], event["outcome"], event["operator_id"]) == ("users.update", "done", admin.id)
    assert (event["before"], event["after"]) == ({"name": "Ada"}, {"name": "Ada Lovelace"})
    assert (event["target_type"], event["operator_email"]) == ("user", admin.email)


def test_an_empty_name_removes_it(people: People) -> None:
    member = people.user(name="Ada")

    assert update(people, people.superuser(), UpdateUser(member.email, name="")).name is None


@pytest.mark.parametrize("name", [None, "Ada", " Ada "])
def test_a_change_that_changes_nothing_writes_nothing(people: People, name: str | None) -> None:
    member, ruler = people.user(name="Ada"), people.superuser()
    before = people.everything()

    unchanged = update(people, ruler, UpdateUser(member.email, name=name))

    assert unchanged.name == "Ada"
    assert people.everything() == before


def test_a_dry_run_shows_the_change_and_writes_nothing(people: People) -> None:
    member, ruler = people.user(name="Ada"), people.superuser()
    before = people.everything()

    planned = update(people, ruler, UpdateUser(member.email, name="Grace"), dry_run=True)

    assert planned.name == "Grace"
    assert people.everything() == before


def test_everyone_renames_themselves(people: People) -> None:
    me = people.user(plan=Plan.PREMIUM)

    assert update(people, me, UpdateUser(me.email, name="Me")).name == "Me"


def test_an_updated_user_is_shown_without_memberships_out_of_reach(people: People) -> None:
    acme = people.org()
    me = people.user({acme: Role.OWNER}, plan=Plan.PREMIUM)
    member = people.user({acme: Role.MEMBER})

    assert update(people, me, UpdateUser(member.email, name="Ada")).organizations == (
        Membership(acme.id, acme.slug, Role.MEMBER),
    )


@pytest.mark.parametrize(
    ("theirs", "superuser", "code"),
    [
        (Role.ADMIN, False, "access.role"),
        (Role.OWNER, False, "access.role"),
        (Role.MEMBER, True, "access.platform"),
    ],
)
def test_a_user_of_higher_rank_is_not_renamed(people: People, theirs: Role, superuser: bool, code: str) -> None:
    acme = people.org()
    target = people.user({acme: theirs}, superuser=superuser, name="Ada")
    admin = admin_of(people, acme)

    with pytest.raises(Denied) as denied:
        update(people, admin, UpdateUser(target.email, name="Grace"))

    assert denied.value.code == code
    assert get(people, admin, target.email).name == "Ada"


def test_a_membership_that_the_operator_cannot_see_counts_too(people: People) -> None:
    acme, hidden = people.org(), people.org()
    owner = admin_of(people, acme, role=Role.OWNER)
    target = people.user({acme: Role.MEMBER, hidden: Role.MEMBER})

    with pytest.raises(Denied) as denied:
        update(people, owner, UpdateUser(target.email, name="Grace"))

    assert denied.value.code == "access.role"
    assert hidden.slug not in f"{denied.value.message} {denied.value.details}"


def test_a_user_out_of_reach_is_not_found(people: People) -> None:
    owner, target = admin_of(people, people.org(), role=Role.OWNER), people.user({people.org(): Role.MEMBER})

    with pytest.raises(NotFound):
        update(people, owner, UpdateUser(target.email, name="Grace"))


def test_a_change_meanwhile_is_not_overwritten(people: People) -> None:
    ruler, member = people.superuser(), people.user(name="Ada")
    read = get(people, ruler, member.email)
    changed = update(people, ruler, UpdateUser(member.email, name="Grace", if_unchanged_since=read.updated_at))

    with pytest.raises(Conflict) as conflict:
        update(people, ruler, UpdateUser(member.email, name="Joan", if_unchanged_since=read.updated_at))

    assert conflict.value.code == "users.changed_since"
    assert conflict.value.details == {"updated_at": changed.updated_at.isoformat()}
    assert get(people, ruler, member.email).name == "Grace"


@pytest.mark.parametrize("pending", Pending)
def test_a_user_in_the_middle_of_another_change_is_not_updated(people: People, pending: Pending) -> None:
    member = people.user(name="Ada", pending=pending)

    with pytest.raises(Conflict) as conflict:
        update(people, people.superuser(), UpdateUser(member.email, name="Grace"))

    assert conflict.value.code == "users.pending"
    assert conflict.value.details == {"pending": pending.value}


def test_a_change_that_waited_is_the_latest(people: People) -> None:
    """By the time of its start it would be older than what it waited for, and --if-unchanged-since would miss it."""
    ruler, someone = people.superuser(), people.user()
    request = UpdateUser(someone.email, "Grace")
    with psycopg.connect(people.target.database_url.reveal()) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT 1 FROM bazar.users WHERE id = %s FOR UPDATE", (someone.id,))
        running = pool.submit(people.run, ruler, user_update.update, user_changes.UPDATE, request)
        until_waiting(people, 1)
        touch = "UPDATE bazar.users SET updated_at = clock_timestamp() WHERE id = %s RETURNING updated_at"
        (seen,) = holder.execute(touch, (someone.id,)).fetchone() or (None,)
        holder.commit()
        running.result()
    assert (people.row(someone) or {})["updated_at"] > seen


def test_a_bad_name_is_refused_before_anything_is_read(people: People) -> None:
    with pytest.raises(UsageError) as refused:
        update(people, people.superuser(), UpdateUser("nobody@example.com", name="a\nb"))

    assert refused.value.code == "users.name_invalid"


@pytest.mark.parametrize(
    "change", ["state = 'suspended'", "plan = 'free'", "pending = 'delete'", "is_superuser = false"]
)
def test_rights_taken_away_after_the_gate_looked_count_at_once(people: People, change: str) -> None:
    ruler, member = people.superuser(), people.user(name="Ada")
    request = UpdateUser(member.email, name="Grace")
    grant = granted(people.operator(ruler), user_changes.UPDATE, request)
    people.sql(f"UPDATE bazar.users SET {change} WHERE id = %s", ruler.id)

    with pytest.raises(Conflict) as conflict:
        people.run_with(grant, user_update.update, request)

    row = people.row(member)
    assert conflict.value.code == "access.changed"
    assert row is not None
    assert row["name"] == "Ada"


@pytest.mark.parametrize("change", ["UPDATE bazar.memberships SET role = 'member'", "DELETE FROM bazar.memberships"])
def test_a_role_taken_away_after_the_gate_looked_counts_at_once(people: People, change: str) -> None:
    acme = people.org()
    admin, member = admin_of(people, acme), people.user({acme: Role.MEMBER}, name="Ada")
    request = UpdateUser(member.email, name="Grace")
    grant = granted(people.operator(admin), user_changes.UPDATE, request)
    people.sql(f"{change} WHERE user_id = %s", admin.id)

    with pytest.raises(Conflict) as conflict:
        people.run_with(grant, user_update.update, request)

    assert conflict.value.code == "access.changed"
