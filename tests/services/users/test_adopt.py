"""`users adopt`: an identity that lives only at Supabase becomes a user with its id, whatever happens in between."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from bazar_cli.adapters.supabase.admin import AdminClient
from bazar_cli.domain.doctor import FIX
from bazar_cli.domain.entities import Membership, Pending, Role, UserState
from bazar_cli.domain.errors import BazarError, Conflict, ExitCode, NotFound
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import AdoptedUser, AdoptUser, CreateUser, DeleteUser, RestoreUser
from bazar_cli.domain.users.identities import BAN
from bazar_cli.services.users import adopt as adoption
from bazar_cli.services.users import create, delete, suspend
from bazar_cli.services.users.resume import resume
from tests.services.users.step_faults import STEP_FAULTS
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.people import OLD_PASSWORD, People, Someone, an_address

USER = r"/admin/users/[0-9a-f-]{36}"


def stranger(people: People, *, confirmed: bool = True, **metadata: object) -> Someone:
    """An identity that is not a user of this Bazar."""
    someone = Someone(uuid.uuid4(), an_address("stranger"))
    people.identity(someone, confirmed=confirmed, app_metadata=metadata)
    return someone


def adopt(
    people: People,
    operator: Someone,
    email: str,
    name: str | None = None,
    org: str | None = None,
    *,
    dry_run: bool = False,
) -> AdoptedUser:
    return people.run(operator, adoption.adopt, use_cases.ADOPT, AdoptUser(email, name, org), dry_run=dry_run)


def marker(people: People) -> str:
    return str(people.sql("SELECT id FROM bazar.deployment")[0]["id"])


def stamp_of(people: People, someone: Someone) -> object:
    [identity] = people.identities(someone.email)
    return identity["app_metadata"].get("bazar")


def is_adopted(people: People, someone: Someone, origin: str = "adopted") -> None:
    """One user, one identity with its stamp and its password, one event."""
    row = people.row(someone)
    assert row is not None
    assert (row["email"], row["origin"], row["pending"], row["lease_owner"]) == (someone.email, origin, None, None)
    assert stamp_of(people, someone) == {"deployment": marker(people), "origin": origin}
    assert people.signs_in(someone.email, OLD_PASSWORD)
    assert [(e["use_case"], e["outcome"]) for e in people.events(someone.id)] == [("users.adopt", "done")]


def refused(people: People, operator: Someone, email: str, name: str | None = None) -> BazarError:
    with pytest.raises((Conflict, NotFound)) as error:
        adopt(people, operator, email, name)
    return error.value


# -- both systems -------------------------------------------------------------------------------------------


def test_an_identity_becomes_a_user_with_its_id(people: People) -> None:
    someone, org, ruler = stranger(people, theirs={"kept": True}), people.org(), people.superuser()

    done = adopt(people, ruler, someone.email.upper(), "Ada", org.slug)

    assert (done.adopted, done.confirmed, done.user.id, done.user.name) == (True, True, someone.id, "Ada")
    assert done.user.organizations == (Membership(org.id, org.slug, Role.MEMBER),)
    is_adopted(people, someone)
    [identity] = people.identities(someone.email)
    assert identity["app_metadata"]["theirs"] == {"kept": True}
    assert identity["app_metadata"]["provider"] == "email"
    [event] = people.events(someone.id)
    assert (event["operator_id"], event["before"], event["organization_id"]) == (ruler.id, None, org.id)
    assert event["after"] == {
        "email": someone.email,
        "name": "Ada",
        "plan": "free",
        "state": "active",
        "organization": org.slug,
        "role": "member",
    }


def test_once_more_changes_nothing_unless_values_differ(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    adopt(people, ruler, someone.email, "Ada")
    before = people.everything()

    again = adopt(people, ruler, someone.email, "Ada")

    assert (again.adopted, again.confirmed, again.user.id) == (False, True, someone.id)
    assert refused(people, ruler, someone.email, "Grace").code == "users.differs"
    assert people.everything() == before


def test_a_dry_run_writes_nothing(people: People) -> None:
    someone, org, ruler = stranger(people), people.org(), people.superuser()
    people.ban(someone)
    before = people.everything()
    planned = adopt(people, ruler, someone.email, "Ada", org.slug, dry_run=True)
    assert (planned.user.id, planned.user.state, planned.adopted) == (someone.id, UserState.SUSPENDED, True)
    assert [m.slug for m in planned.user.organizations] == [org.slug]
    assert people.everything() == before


@pytest.mark.parametrize("banned", [True, False])
def test_a_banned_identity_becomes_a_suspended_user(people: People, banned: bool) -> None:
    someone, ruler = stranger(people), people.superuser()
    if banned:
        people.ban(someone)
    state = adopt(people, ruler, someone.email).user.state
    assert state is (UserState.SUSPENDED if banned else UserState.ACTIVE)
    assert (people.row(someone) or {})["state"] == state.value
    assert people.events(someone.id)[0]["after"]["state"] == state.value


def banned_for_good(people: People, someone: Someone) -> bool:
    [identity] = people.identities(someone.email)
    return (
        datetime.fromisoformat(identity["banned_until"].replace("Z", "+00:00")) > datetime.now(timezone.utc) + BAN / 2
    )


@pytest.mark.parametrize("healer", ["", "again", "doctor"])
def test_a_ban_that_would_end_is_made_to_last(people: People, healer: str) -> None:
    someone, ruler = stranger(people), people.superuser()
    people.ban(someone)
    if healer:
        # The outcome is unknown, and the stamp without the ban is no proof of both.
        assert try_with(people, ruler, someone, Fault("PUT", USER, 503, lasting=True)) is not None
        people.auth("PUT", f"/admin/users/{someone.id}", {"app_metadata": {"bazar": {"deployment": marker(people)}}})
        assert try_with(people, ruler, someone, Fault("PUT", USER, 503, lasting=True)) is not None
        heal(people, ruler, someone, healer)
    else:
        done = adopt(people, ruler, someone.email)
        assert done.ban_ended is not None
        assert done.ban_ended < datetime.now(timezone.utc) + timedelta(hours=1, minutes=1)
    assert ((people.row(someone) or {})["state"], banned_for_good(people, someone)) == ("suspended", True)
    before = people.everything()
    assert adopt(people, ruler, someone.email).ban_ended is None
    assert people.everything() == before


def test_a_ban_that_came_after_the_intent_counts(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    assert try_with(people, ruler, someone, Fault("PUT", USER, 503, lasting=True)) is not None
    people.ban(someone)
    assert adopt(people, ruler, someone.email).user.state is UserState.SUSPENDED


def test_an_unconfirmed_identity_is_said_to_be_one(people: People) -> None:
    someone, ruler = stranger(people, confirmed=False), people.superuser()
    assert not adopt(people, ruler, someone.email).confirmed
    assert not adopt(people, ruler, someone.email).confirmed
    assert (people.row(someone) or {})["pending"] is None


@pytest.mark.parametrize(("stamped", "kept"), [("created", "created"), ("adopted", "adopted"), ("?", "adopted")])
def test_identity_with_our_stamp_keeps_its_origin(people: People, stamped: str, kept: str) -> None:
    someone = stranger(people, bazar={"deployment": marker(people), "origin": stamped})
    adopt(people, people.superuser(), someone.email)
    is_adopted(people, someone, kept)


# -- what is refused ----------------------------------------------------------------------------------------


def test_unknown_user(people: People) -> None:
    error = refused(people, people.superuser(), "nobody@example.com")
    assert (error.code, error.exit_code) == ("users.identity_not_found", ExitCode.NOT_FOUND)


def test_an_identity_of_another_deployment_is_refused(people: People) -> None:
    other = str(uuid.uuid4())
    someone, ruler = stranger(people, bazar={"deployment": other, "origin": "created"}), people.superuser()
    before = people.everything()
    error = refused(people, ruler, someone.email)
    assert error.code == "users.other_deployment"
    assert other in error.message
    assert people.everything() == before


def test_a_soft_deleted_identity(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    people.sql("UPDATE auth.users SET deleted_at = now() WHERE id = %s", someone.id)
    before = people.everything()
    assert refused(people, ruler, someone.email).code == "users.identity_deleted"
    assert people.everything() == before


def test_users_with_the_address_or_id_of_another_identity(people: People) -> None:
    ruler, with_another_id, missing, renamed = people.superuser(), people.user(), people.user(), people.user()
    people.identity(Someone(uuid.uuid4(), with_another_id.email))
    moved = Someone(renamed.id, an_address("moved"))
    people.identity(moved)
    before = people.everything()
    assert refused(people, ruler, with_another_id.email).code == "users.identity_differs"
    assert refused(people, ruler, missing.email).code == "users.identity_missing"
    differs = refused(people, ruler, moved.email)
    assert differs.code == "users.email_differs"
    assert f"`bazar users update {renamed.email} --email {renamed.email}`" in differs.hint
    assert people.everything() == before


@pytest.mark.parametrize("pending", [Pending.CREATE, Pending.INVITE, Pending.DELETE])
def test_users_in_another_change(people: People, pending: Pending) -> None:
    someone, ruler = people.user(pending=pending), people.superuser()
    people.identity(someone)
    error = refused(people, ruler, someone.email)
    assert error.code == "users.pending"
    assert "adopt" not in error.hint


def test_an_unfinished_adoption_is_no_unfinished_creation(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    assert try_with(people, ruler, someone, Fault("PUT", USER, 503, lasting=True)) is not None
    for if_not_exists in (False, True):
        request = CreateUser(someone.email, if_not_exists=if_not_exists)
        with pytest.raises(Conflict) as conflict:
            people.run(ruler, create.create, use_cases.CREATE, request)
        assert conflict.value.code == "users.pending"
        assert f"bazar users adopt {someone.email}" in conflict.value.hint
    assert stamp_of(people, someone) is None
    assert (people.row(someone) or {})["pending"] == "create"
    assert refused(people, ruler, someone.email, "Another").code == "users.differs"


# -- faults -------------------------------------------------------------------------------------------------


def try_with(people: People, ruler: Someone, someone: Someone, *faults: Fault) -> BazarError | None:
    """Adopt by a faulty way; return the error."""
    with auth_proxy(people.target) as proxy, People(proxy.target) as faulty:
        for fault in faults:
            proxy.add(fault)
        try:
            adopt(faulty, ruler, someone.email)
        except BazarError as error:
            return error
    return None


def heal(people: People, ruler: Someone, someone: Someone, healer: str) -> None:
    if healer == "again":
        adopt(people, ruler, someone.email)
    else:
        people.run(ruler, resume, FIX, someone.id, dry_run=healer == "dry run")


@STEP_FAULTS
def test_faults_end_in_one_adopted_user(
    people: People, status: int | None, acts: bool, lasting: bool, healer: str
) -> None:
    someone, ruler = stranger(people), people.superuser()

    error = try_with(people, ruler, someone, Fault("PUT", USER, status, acts=acts, lasting=lasting))

    assert (error is None) == (acts and not lasting)
    if error is not None:
        assert (error.code, error.exit_code) == ("users.adopt_unfinished", ExitCode.UNAVAILABLE)
        row = people.row(someone) or {}
        assert (row["pending"], row["lease_owner"]) == ("create", None)
        heal(people, ruler, someone, healer)
    is_adopted(people, someone)


def test_a_silent_supabase_before_anything_leaves_no_row(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    error = try_with(people, ruler, someone, Fault("GET", r"/admin/users\?.*", 503))
    assert error is not None
    assert error.code == "supabase.unavailable"
    assert people.row(someone) is None
    assert people.events(someone.id) == []


@pytest.mark.parametrize("healer", ["again", "doctor"])
def test_a_look_that_fails_leaves_the_row_for_the_next_run(people: People, healer: str) -> None:
    someone, ruler = stranger(people), people.superuser()
    error = try_with(people, ruler, someone, Fault("GET", USER, 503))
    assert error is not None
    heal(people, ruler, someone, healer)
    is_adopted(people, someone)


@pytest.mark.parametrize("status", [400, 401])
def test_a_refusal_takes_the_row_back(people: People, status: int) -> None:
    someone, ruler = stranger(people), people.superuser()

    error = try_with(people, ruler, someone, Fault("PUT", USER, status))

    codes = {400: "users.refused_by_supabase", 401: "supabase.key_refused"}
    assert error is not None
    assert error.code == codes[status]
    assert people.row(someone) is None
    assert stamp_of(people, someone) is None
    assert [e["outcome"] for e in people.events(someone.id)] == ["done", "undone"]


@pytest.mark.parametrize("healer", ["again", "doctor", "dry run"])
@pytest.mark.parametrize("stamped", [False, True])
def test_an_identity_that_vanished_takes_the_row_back(people: People, healer: str, stamped: bool) -> None:
    someone, ruler = stranger(people), people.superuser()
    assert try_with(people, ruler, someone, Fault("PUT", USER, 503, acts=stamped, lasting=True)) is not None
    people.auth("DELETE", f"/admin/users/{someone.id}", {}).raise_for_status()

    with pytest.raises(NotFound) as gone:
        heal(people, ruler, someone, healer)

    assert (gone.value.code, gone.value.details) == ("users.identity_not_found", {"email": someone.email})
    assert (people.row(someone) is not None) == (healer == "dry run")


def test_row_of_a_stamped_identity_is_kept(people: People) -> None:
    """Its address changed at Supabase after the stamp: both are ours, and a person decides."""
    someone, ruler = stranger(people), people.superuser()
    assert try_with(people, ruler, someone, Fault("PUT", USER, 503, acts=True, lasting=True)) is not None
    people.auth("PUT", f"/admin/users/{someone.id}", {"email": an_address("moved")}).raise_for_status()
    with pytest.raises(Conflict) as conflict:
        heal(people, ruler, someone, "doctor")
    assert conflict.value.code == "users.email_differs"
    row = people.row(someone) or {}
    assert (row["pending"], row["lease_owner"]) == ("create", None)


def test_row_of_an_identity_without_stamp_is_removed(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    assert try_with(people, ruler, someone, Fault("PUT", USER, 503, lasting=True)) is not None
    moved = an_address("moved")
    people.auth("PUT", f"/admin/users/{someone.id}", {"email": moved}).raise_for_status()
    with pytest.raises(Conflict) as conflict:
        heal(people, ruler, someone, "again")
    assert conflict.value.code == "users.email_differs"
    assert f"`bazar users adopt {moved}`" in conflict.value.hint
    assert conflict.value.details == {"user_id": str(someone.id), "email": someone.email, "supabase_email": moved}
    assert people.row(someone) is None


# -- others at the same time --------------------------------------------------------------------------------


def test_two_adopt_at_once(people: People) -> None:
    ruler = people.superuser()

    def try_it(email: str) -> bool:
        with People(people.target) as own:
            return adopt(own, ruler, email).adopted

    for _ in range(3):
        someone = stranger(people)
        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(try_it, [someone.email] * 4)) == [False, False, False, True]
        is_adopted(people, someone)


@pytest.mark.parametrize("deletes", [True, False], ids=["deleted", "finished"])
def test_held_up_while_another_command_continues(
    people: People, monkeypatch: pytest.MonkeyPatch, deletes: bool
) -> None:
    """The identity is there again under its id, by another hand: it must not keep a stamp without a user."""
    someone, ruler = stranger(people), people.superuser()
    ask = AdminClient.stamp
    waiting = [True]

    def stamp(self: AdminClient, user_id: uuid.UUID, deployment: uuid.UUID, origin: str, *, ban: bool) -> None:
        if waiting:
            waiting.clear()
            people.leases_run_out()
            heal(people, ruler, someone, "doctor")
            if deletes:
                request = DeleteUser(someone.email, someone.email)
                people.run(ruler, delete.delete, use_cases.DELETE, request)
                people.identity(someone)
        ask(self, user_id, deployment, origin, ban=ban)

    monkeypatch.setattr(AdminClient, "stamp", stamp)
    if not deletes:
        assert adopt(people, ruler, someone.email).user.pending is None
        is_adopted(people, someone)
        return
    assert refused(people, ruler, someone.email).code == "users.taken_over"
    assert people.row(someone) is None
    assert stamp_of(people, someone) is None


def test_an_identity_that_never_got_the_stamp_is_not_deleted_with_the_row(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    error = try_with(people, ruler, someone, Fault("PUT", USER, 503))
    assert error is not None
    assert error.code == "users.adopt_unfinished"
    with pytest.raises(Conflict) as refusal:
        people.run(ruler, delete.delete, use_cases.DELETE, DeleteUser(someone.email, someone.email))
    assert refusal.value.code == "users.pending"
    assert f"`bazar users adopt {someone.email}`" in (refusal.value.hint or "")
    assert people.signs_in(someone.email, OLD_PASSWORD)
    heal(people, ruler, someone, "again")
    is_adopted(people, someone)


def test_a_late_ban_does_not_outlive_a_restore(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    someone, ruler = stranger(people), people.superuser()
    people.ban(someone)
    ask = AdminClient.stamp
    waiting = [True]

    def stamp(self: AdminClient, user_id: uuid.UUID, deployment: uuid.UUID, origin: str, *, ban: bool) -> None:
        if waiting:
            waiting.clear()
            people.leases_run_out()
            heal(people, ruler, someone, "doctor")
            people.run(ruler, suspend.restore, use_cases.RESTORE, RestoreUser(someone.email))
        ask(self, user_id, deployment, origin, ban=ban)

    monkeypatch.setattr(AdminClient, "stamp", stamp)
    assert adopt(people, ruler, someone.email).user.state is UserState.ACTIVE
    assert people.signs_in(someone.email, OLD_PASSWORD)


def test_a_user_is_deleted_with_the_identity_that_was_adopted(people: People) -> None:
    someone, ruler = stranger(people), people.superuser()
    adopt(people, ruler, someone.email)
    people.run(ruler, delete.delete, use_cases.DELETE, DeleteUser(someone.email, someone.email))
    assert (people.row(someone), people.identities(someone.email)) == (None, [])
