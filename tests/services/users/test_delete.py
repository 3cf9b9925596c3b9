"""`users delete`: one user out of Postgres and Supabase, and nobody whom something depends on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bazar_cli.domain.entities import Membership, Pending, Plan, Role, User, UserState
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Denied, ExitCode, NotFound, Refused
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import DeleteUser
from bazar_cli.services.users import delete as user_deletion
from tests.support.auth_proxy import Fault, auth_proxy, broken_wire
from tests.support.people import OLD_PASSWORD, People, Someone, an_address, granted


@pytest.fixture
def alone(target: Target, fresh_database: Callable[..., str]) -> Generator[People]:
    """People in a database that no other test knows, with an Auth service that knows none of them."""
    url = fresh_database(migrated=True)
    with People(replace(target, database_url=Secret(url))) as arranged:
        yield arranged


def delete(people: People, operator: Someone, someone: Someone, *, dry_run: bool = False) -> User:
    request = DeleteUser(someone.email, confirm=someone.email)
    return people.run(operator, user_deletion.delete, use_cases.DELETE, request, dry_run=dry_run)


def conflict_of(people: People, operator: Someone, someone: Someone) -> Conflict:
    with pytest.raises(Conflict) as conflict:
        delete(people, operator, someone)
    assert conflict.value.exit_code is ExitCode.CONFLICT
    return conflict.value


def is_whole(people: People, someone: Someone) -> bool:
    """Whether a user is as before in Postgres: there, and nothing pending."""
    row = people.row(someone)
    return row is not None and (row["pending"], row["lease_owner"]) == (None, None)


# -- both systems -------------------------------------------------------------------------------------------


def test_a_user_is_deleted_from_both_systems(people: People) -> None:
    org = people.org()
    someone = people.user({org: Role.MEMBER})
    people.identity(someone)

    gone = delete(people, people.superuser(), someone)

    assert (gone.id, gone.pending) == (someone.id, None)
    assert people.row(someone) is None
    assert people.sql("SELECT 1 FROM bazar.memberships WHERE user_id = %s", someone.id) == []
    assert people.identities(someone.email) == []
    assert not people.signs_in(someone.email, OLD_PASSWORD)


def test_a_user_without_an_identity_is_deleted(people: People) -> None:
    someone = people.user()

    delete(people, people.superuser(), someone)

    assert people.row(someone) is None


def test_an_identity_with_the_same_address_and_another_id_is_kept(people: People) -> None:
    someone = people.user()
    people.identity(Someone(uuid.uuid4(), someone.email))

    delete(people, people.superuser(), someone)

    assert people.row(someone) is None
    assert people.signs_in(someone.email, OLD_PASSWORD)


def test_one_event_names_the_deleted_user(people: People) -> None:
    org, ruler = people.org(), people.superuser()
    someone = people.user({org: Role.ADMIN}, name="Ada", plan=Plan.PLUS, state=UserState.SUSPENDED)
    people.identity(someone)

    delete(people, ruler, someone)

    [event] = people.events(someone.id)
    assert (event["use_case"], event["outcome"], event["operator_id"]) == ("users.delete", "done", ruler.id)
    assert event["after"] is None
    assert event["before"] == {
        "email": someone.email,
        "name": "Ada",
        "plan": "plus",
        "state": "suspended",
        "is_superuser": False,
        "organizations": [{"id": str(org.id), "slug": org.slug, "role": "admin"}],
    }


def test_the_address_is_free_again(people: People) -> None:
    someone = people.user()
    people.identity(someone)

    delete(people, people.superuser(), someone)
    people.identity(people.user(email=someone.email))

    assert people.signs_in(someone.email, OLD_PASSWORD)


@pytest.mark.parametrize("pending", [Pending.CREATE, Pending.SUSPEND, Pending.EMAIL])
def test_a_user_in_an_unfinished_change_can_be_deleted(people: People, pending: Pending) -> None:
    someone = people.user(pending=pending)

    delete(people, people.superuser(), someone)

    assert people.row(someone) is None


@pytest.mark.parametrize("pending", [None, Pending.DELETE])
def test_a_dry_run_shows_the_user_and_writes_nothing(people: People, pending: Pending | None) -> None:
    someone, ruler = people.user(name="Ada", pending=pending), people.superuser()
    people.identity(someone)
    before = people.everything()

    planned = delete(people, ruler, someone, dry_run=True)

    assert (planned.id, planned.name, planned.pending) == (someone.id, "Ada", pending)
    assert people.everything() == before


# -- consent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confirm", [None, "", "someone.else@example.com", "%s ", "the id"])
def test_without_the_right_confirmation_nothing_happens(people: People, confirm: str | None) -> None:
    someone, ruler = people.user(), people.superuser()
    people.identity(someone)
    given = str(someone.id) if confirm == "the id" else confirm and confirm.replace("%s", someone.email)
    before = people.everything()

    with pytest.raises(Refused) as refused:
        people.run(ruler, user_deletion.delete, use_cases.DELETE, DeleteUser(someone.email, given))

    assert refused.value.code == "users.confirm_mismatch"
    assert refused.value.exit_code is ExitCode.REFUSED
    said = "" if given is None else f", and {given!r} is not it"
    assert refused.value.message == (
        f"this deletes {someone.email} from both systems. It needs the email of the user as confirmation{said}"
    )
    assert refused.value.details.get("confirm") == given
    assert refused.value.hint == f"to do it: `bazar users delete {someone.email} --confirm {someone.email}`"
    assert people.everything() == before


def test_a_user_named_by_id_is_confirmed_by_email_in_any_case(people: People) -> None:
    someone = people.user()
    request = DeleteUser(str(someone.id), confirm=someone.email.upper())

    people.run(people.superuser(), user_deletion.delete, use_cases.DELETE, request)

    assert people.row(someone) is None


# -- who may ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("superuser", [True, False])
def test_operators_cannot_delete_themselves(people: People, superuser: bool) -> None:
    me = people.user({people.org(): Role.OWNER}, plan=Plan.PREMIUM, superuser=superuser)

    with pytest.raises(Denied) as denied:
        delete(people, me, me)

    assert denied.value.code == "access.oneself"
    assert is_whole(people, me)


def test_an_admin_deletes_a_member(people: People) -> None:
    org = people.org()
    member = people.user({org: Role.MEMBER})

    gone = delete(people, people.user({org: Role.ADMIN}, plan=Plan.PREMIUM), member)

    assert gone.organizations == (Membership(org.id, org.slug, Role.MEMBER),)
    assert people.row(member) is None


@pytest.mark.parametrize(
    ("theirs", "superuser", "code"),
    [
        (Role.ADMIN, False, "access.role"),
        (Role.OWNER, False, "access.role"),
        (Role.MEMBER, True, "access.platform"),
    ],
)
def test_a_user_of_higher_rank_is_not_deleted(people: People, theirs: Role, superuser: bool, code: str) -> None:
    org = people.org()
    target = people.user({org: theirs}, plan=Plan.PREMIUM, superuser=superuser)

    with pytest.raises(Denied) as denied:
        delete(people, people.user({org: Role.ADMIN}, plan=Plan.PREMIUM), target)

    assert denied.value.code == code
    assert is_whole(people, target)


def test_a_user_out_of_reach_is_not_found(people: People) -> None:
    target = people.user({people.org(): Role.MEMBER})
    owner = people.user({people.org(): Role.OWNER}, plan=Plan.PREMIUM)

    with pytest.raises(NotFound) as missing:
        delete(people, owner, target)

    assert missing.value.code == "users.not_found"
    assert is_whole(people, target)


# -- the last of their kind ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("superuser", "plan", "state", "pending"),
    [
        (True, Plan.FREE, UserState.ACTIVE, None),
        (True, Plan.PREMIUM, UserState.SUSPENDED, None),
        (True, Plan.PREMIUM, UserState.ACTIVE, Pending.DELETE),
        (False, Plan.PREMIUM, UserState.ACTIVE, None),
    ],
    ids=["the other is on Free", "is suspended", "is being deleted", "is no superuser"],
)
def test_the_last_active_superuser_on_premium_is_not_deleted(
    alone: People, superuser: bool, plan: Plan, state: UserState, pending: Pending | None
) -> None:
    last = alone.superuser()
    alone.user(superuser=superuser, plan=plan, state=state, pending=pending)
    alone.sql("INSERT INTO bazar.plan_permissions (plan, permission) VALUES ('plus', 'users:delete')")
    operator = alone.user(superuser=True, plan=Plan.PLUS)

    conflict = conflict_of(alone, operator, last)

    assert conflict.code == "users.last_superuser"
    assert is_whole(alone, last)


def test_one_of_two_superusers_is_deleted(alone: People) -> None:
    ruler, other = alone.superuser(), alone.superuser()

    delete(alone, ruler, other)

    assert alone.row(other) is None


@pytest.mark.parametrize("plan", [Plan.FREE, Plan.PLUS])
def test_a_superuser_without_premium_is_deleted(alone: People, plan: Plan) -> None:
    ruler, other = alone.superuser(), alone.user(superuser=True, plan=plan)

    delete(alone, ruler, other)

    assert alone.row(other) is None


def test_two_superusers_who_delete_each_other_leave_one(alone: People) -> None:
    ada, bob = alone.superuser(), alone.superuser()

    results = run_concurrently(alone, (ada, bob), (bob, ada))

    assert [type(result) for result in results].count(User) == 1
    assert len(alone.sql("SELECT 1 FROM bazar.users WHERE is_superuser AND pending IS NULL")) == 1


def test_two_owners_who_are_deleted_at_once_leave_one(people: People) -> None:
    org = people.org()
    owners = [people.user({org: Role.OWNER}) for _ in range(2)]

    results = run_concurrently(people, *((people.superuser(), owner) for owner in owners))

    assert [type(result) for result in results].count(User) == 1
    assert [r.code for r in results if isinstance(r, BazarError)] == ["users.last_owner"]
    assert len([owner for owner in owners if people.row(owner)]) == 1


def run_concurrently(people: People, *pairs: tuple[Someone, Someone]) -> list[User | BazarError]:
    """What comes of it when each first deletes each second, all with Grants given before."""
    grants = [granted(people.operator(operator), use_cases.DELETE) for operator, _ in pairs]

    def run(number: int) -> User | BazarError:
        email = pairs[number][1].email
        try:
            return people.run_with(grants[number], user_deletion.delete, DeleteUser(email, confirm=email))
        except BazarError as error:
            return error

    with ThreadPoolExecutor(len(pairs)) as pool:
        return list(pool.map(run, range(len(pairs))))


@pytest.mark.parametrize(
    ("role", "state", "pending"),
    [
        (Role.ADMIN, UserState.ACTIVE, None),
        (Role.OWNER, UserState.SUSPENDED, None),
        (Role.OWNER, UserState.ACTIVE, Pending.DELETE),
    ],
    ids=["no owner", "a suspended owner", "an owner being deleted"],
)
def test_the_last_active_owner_of_an_organization_is_not_deleted(
    people: People, role: Role, state: UserState, pending: Pending | None
) -> None:
    org, shared = people.org(), people.org()
    last = people.user({org: Role.OWNER, shared: Role.OWNER})
    people.user({org: role}, state=state, pending=pending)
    people.user({shared: Role.OWNER})

    conflict = conflict_of(people, people.superuser(), last)

    assert conflict.code == "users.last_owner"
    assert conflict.details == {"user_id": str(last.id), "organizations": [org.slug]}
    assert is_whole(people, last)
    assert people.events(last.id) == []


def test_one_of_two_owners_is_deleted(people: People) -> None:
    org = people.org()
    one = people.user({org: Role.OWNER})
    people.user({org: Role.OWNER})

    delete(people, people.superuser(), one)

    assert people.row(one) is None


# -- again, after an outcome that nobody saw ----------------------------------------------------------------


def test_running_again_after_the_identity_was_deleted_finishes_with_one_event(people: People) -> None:
    someone, ruler = people.user(), people.superuser()
    people.identity(someone)
    broken_off(people, ruler, someone, arrives=True, heals=False)
    left, identities = people.row(someone), people.identities(someone.email)

    delete(people, ruler, someone)

    assert left is not None
    assert (left["pending"], left["lease_owner"], identities) == ("delete", None, [])
    assert people.row(someone) is None
    assert [event["outcome"] for event in people.events(someone.id)] == ["done"]


def test_running_again_by_another_operator_finishes(people: People) -> None:
    org = people.org()
    someone = people.user({org: Role.MEMBER})
    people.identity(someone)
    broken_off(people, people.superuser(), someone, arrives=False, heals=False)

    delete(people, people.user({org: Role.ADMIN}, plan=Plan.PREMIUM), someone)

    assert people.row(someone) is None
    assert people.identities(someone.email) == []


def test_a_lost_answer_is_looked_up_and_the_same_run_finishes(people: People) -> None:
    someone, ruler = people.user(), people.superuser()
    people.identity(someone)

    with broken_wire(people.target, "DELETE", arrives=True, heals=True) as target, People(target) as flaky:
        delete(flaky, ruler, someone)

    assert people.row(someone) is None


def test_a_request_that_never_arrived_leaves_the_deletion_to_the_next_run(people: People) -> None:
    someone, ruler = people.user(), people.superuser()
    people.identity(someone)

    error = broken_off(people, ruler, someone, arrives=False, heals=True)

    left = people.row(someone)
    assert error.code == "users.delete_unfinished"
    assert "run the same command again" in error.hint
    assert left is not None
    assert (left["pending"], len(people.identities(someone.email))) == ("delete", 1)


def test_hint_of_an_unknown_outcome_is_to_run_again(people: People) -> None:
    someone, ruler = people.user(), people.superuser()
    people.identity(someone)

    error = broken_off(people, ruler, someone, arrives=True, heals=False)

    assert error.code == "users.delete_unfinished"


def broken_off(
    people: People, operator: Someone, someone: Someone, *, arrives: bool, heals: bool
) -> BackendUnavailable:
    """A run whose delete at Supabase got no answer, and its error."""
    with (
        broken_wire(people.target, "DELETE", arrives=arrives, heals=heals) as target,
        People(target) as offline,
        pytest.raises(BackendUnavailable) as unavailable,
    ):
        delete(offline, operator, someone)
    assert unavailable.value.exit_code is ExitCode.UNAVAILABLE
    return unavailable.value


def test_a_refused_key_deletes_nothing_for_good(people: People) -> None:
    someone, ruler = people.user(), people.superuser()
    people.identity(someone)
    with People(replace(people.target, supabase_key=Secret("sb_secret_wrong"))) as elsewhere:
        conflict = conflict_of(elsewhere, ruler, someone)

    assert conflict.code == "supabase.key_refused"
    assert len(people.identities(someone.email)) == 1
    delete(people, ruler, someone)
    assert people.row(someone) is None


def test_many_deletions_of_one_user_at_once(people: People) -> None:
    someone, ruler = people.user(), people.superuser()
    people.identity(someone)

    def run(_number: int) -> str:
        try:
            delete(people, ruler, someone)
        except NotFound as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(4) as pool:
        results = sorted(pool.map(run, range(4)))

    assert results == ["done", *["users.not_found"] * 3]
    assert people.row(someone) is None
    assert len(people.events(someone.id)) == 1


# -- identities that are somebody else's ----------------------------------------------------------------------


@pytest.mark.parametrize("pending", [Pending.CREATE, Pending.DELETE])
def test_the_identity_of_a_stranger_with_the_id_is_kept(people: People, pending: Pending) -> None:
    ruler, someone = people.superuser(), people.user(pending=pending)
    stranger = Someone(someone.id, an_address("stranger"))
    people.identity(stranger, app_metadata={"bazar": {"deployment": str(uuid.uuid4()), "origin": "created"}})

    delete(people, ruler, someone)

    assert people.row(someone) is None
    assert [i["id"] for i in people.identities(stranger.email)] == [stranger.id]


def test_an_identity_of_this_bazar_is_deleted_under_any_address(people: People) -> None:
    ruler, someone = people.superuser(), people.user()
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    moved = Someone(someone.id, an_address("moved"))
    people.identity(moved, app_metadata={"bazar": {"deployment": str(marker["id"]), "origin": "created"}})

    delete(people, ruler, someone)

    assert people.row(someone) is None
    assert people.identities(moved.email) == []


def test_the_identity_of_an_adopted_user_is_deleted_without_a_stamp(people: People) -> None:
    ruler, someone = people.superuser(), people.user()
    people.sql("UPDATE bazar.users SET origin = 'adopted' WHERE id = %s", someone.id)
    moved = Someone(someone.id, an_address("moved"))
    people.identity(moved)

    delete(people, ruler, someone)

    assert people.identities(moved.email) == []


@pytest.mark.parametrize("column", ["raw_app_meta_data", "raw_user_meta_data"])
def test_metadata_of_an_identity_may_be_anything(people: People, column: str) -> None:
    someone, root = people.user(), people.superuser()
    people.identity(someone)
    people.sql(f"UPDATE auth.users SET {column} = '[1, 2]' WHERE id = %s", someone.id)
    delete(people, root, someone)
    assert people.row(someone) is None
    assert people.identities(someone.email) == []


def test_a_404_of_a_gateway_is_not_a_missing_identity(people: People) -> None:
    """A gateway that lost its route says so too; only Supabase's own code says that nobody has the id."""
    ruler, someone = people.superuser(), people.user()
    people.identity(someone)
    with auth_proxy(people.target) as proxy, People(proxy.target) as astray:
        proxy.add(Fault("DELETE", f"/admin/users/{someone.id}", 404))
        with pytest.raises(BackendUnavailable) as astray_answer:
            astray.run(ruler, user_deletion.delete, use_cases.DELETE, DeleteUser(someone.email, someone.email))
    assert astray_answer.value.code == "users.delete_unfinished"
    assert (people.row(someone) or {})["pending"] == "delete"
    people.run(ruler, user_deletion.delete, use_cases.DELETE, DeleteUser(someone.email, someone.email))
    assert people.identities(someone.email) == []


def test_a_deletion_that_supabase_refuses_stays_pending(people: People) -> None:
    ruler, someone = people.superuser(), people.known_user()
    with auth_proxy(people.target) as proxy, People(proxy.target) as refusing:
        proxy.add(Fault("DELETE", f"/admin/users/{someone.id}", 422))
        refusal = conflict_of(refusing, ruler, someone)
    assert (refusal.code, refusal.details["user_id"]) == ("users.delete_refused", str(someone.id))
    assert f"refused to delete {someone.email}" in refusal.message
    assert (people.row(someone) or {})["pending"] == "delete"
    delete(people, ruler, someone)
    assert people.row(someone) is None
