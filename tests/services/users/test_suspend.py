"""`users suspend` and `users restore`: what is wanted in Postgres is what Supabase does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from urllib.parse import urlsplit

import pytest

from bazar_cli.adapters.supabase.admin import AdminClient
from bazar_cli.domain.authz.spec import Operator
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.doctor import FIX
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.errors import BackendUnavailable, Conflict, Denied, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import DeleteUser, RestoredUser, RestoreUser, SuspendedUser, SuspendUser
from bazar_cli.domain.users.identities import StoredIdentity
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.users import delete, leases
from bazar_cli.services.users import suspend as user_suspension
from bazar_cli.services.users.resume import resume
from bazar_cli.terminal.views.user_changes import what_suspending_ends
from tests.support.auth_proxy import Fault, auth_proxy, broken_wire
from tests.support.concurrently import run_concurrently
from tests.support.people import OLD_PASSWORD, REQUEST_ID, People, Someone, an_address, an_identity, granted, impact_of
from tests.support.postgres import limited_role

ACTIVE, SUSPENDED = UserState.ACTIVE.value, UserState.SUSPENDED.value


def suspend(people: People, operator: Someone | Operator, someone: Someone, *, dry_run: bool = False) -> SuspendedUser:
    """Suspend somebody, with consent to the impact."""
    request = SuspendUser(someone.email, "left the company")
    if dry_run:
        return people.run(operator, user_suspension.suspend, use_cases.SUSPEND, request, dry_run=True)
    return people.run_agreeing(operator, user_suspension.suspend, use_cases.SUSPEND, request)


def restore(people: People, operator: Someone, someone: Someone, *, dry_run: bool = False) -> RestoredUser:
    request = RestoreUser(someone.email)
    return people.run(operator, user_suspension.restore, use_cases.RESTORE, request, dry_run=dry_run)


def state_of(people: People, someone: Someone) -> tuple[str, str | None, uuid.UUID | None]:
    row = people.row(someone)
    assert row is not None
    return row["state"], row["pending"], row["lease_owner"]


def events_of(people: People, someone: Someone) -> list[tuple[str, str]]:
    return [(e["use_case"], e["outcome"]) for e in people.events(someone.id)]


# -- both systems -------------------------------------------------------------------------------------------


def test_a_suspended_user_neither_signs_in_nor_refreshes(people: People, ruler: Someone, someone: Someone) -> None:
    session = people.auth(
        "POST", "/token?grant_type=password", {"email": someone.email, "password": OLD_PASSWORD}
    ).json()

    done = suspend(people, ruler, someone)

    assert (done.changed, done.has_identity, done.user.state) == (True, True, UserState.SUSPENDED)
    assert state_of(people, someone) == (SUSPENDED, None, None)
    assert not people.signs_in(someone.email, OLD_PASSWORD)
    refresh = {"refresh_token": session["refresh_token"]}
    assert people.auth("POST", "/token?grant_type=refresh_token", refresh).status_code == 400
    [event] = people.events(someone.id)
    assert (event["use_case"], event["outcome"], event["reason"]) == ("users.suspend", "done", "left the company")
    assert (event["before"], event["after"]) == ({"state": "active"}, {"state": "suspended"})


def test_a_restored_user_signs_in_again(people: People, ruler: Someone, someone: Someone) -> None:
    suspend(people, ruler, someone)

    done = restore(people, ruler, someone)

    assert (done.changed, done.has_identity, done.user.state) == (True, True, UserState.ACTIVE)
    assert state_of(people, someone) == (ACTIVE, None, None)
    assert people.signs_in(someone.email, OLD_PASSWORD)
    assert events_of(people, someone) == [("users.suspend", "done"), ("users.restore", "done")]


def test_already_so_writes_nothing(people: People, ruler: Someone, someone: Someone) -> None:
    before = people.everything()
    assert restore(people, ruler, someone).changed is False
    assert people.everything() == before
    suspend(people, ruler, someone)
    before = people.everything()
    # Nobody is asked to agree to what is so already.
    assert suspend(people, ruler, someone).changed is False
    assert people.everything() == before


def test_a_dry_run_writes_nothing(people: People, ruler: Someone, someone: Someone) -> None:
    before = people.everything()
    planned = suspend(people, ruler, someone, dry_run=True)
    assert (planned.user.state, planned.user.pending) == (UserState.SUSPENDED, None)
    assert people.everything() == before
    suspend(people, ruler, someone)
    before = people.everything()
    assert restore(people, ruler, someone, dry_run=True).user.state is UserState.ACTIVE
    assert people.everything() == before


def test_without_consent_nothing_happens(people: People, ruler: Someone, someone: Someone) -> None:
    before = people.everything()
    request = SuspendUser(someone.email, "left the company")
    for agreed in (None, Impact("another", "?", "", subject=(str(uuid.uuid4()),))):
        asked = replace(request, agreed=agreed)
        impact = impact_of(lambda r=asked: people.run(ruler, user_suspension.suspend, use_cases.SUSPEND, r))
        assert impact.command == f"bazar users suspend {someone.email} --reason 'left the company' --yes"
    assert people.everything() == before


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "a\x1b[31m", "\u200b", "x" * 501])
def test_a_reason_that_says_nothing_is_refused(people: People, ruler: Someone, someone: Someone, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        people.run(ruler, user_suspension.suspend, use_cases.SUSPEND, SuspendUser(someone.email, reason))
    assert refused.value.code == "users.reason_invalid"
    assert state_of(people, someone) == (ACTIVE, None, None)


def test_a_user_without_identity_is_suspended_all_the_same(people: People, ruler: Someone) -> None:
    lonely = people.user()
    assert suspend(people, ruler, lonely).has_identity is False
    assert state_of(people, lonely) == (SUSPENDED, None, None)
    assert restore(people, ruler, lonely).has_identity is False
    assert state_of(people, lonely) == (ACTIVE, None, None)


# -- what it ends -------------------------------------------------------------------------------------------


def test_sessions_end_where_the_operators_own_is_found(people: People, ruler: Someone, someone: Someone) -> None:
    people.identity(ruler)
    for who in (ruler, someone, someone):
        people.access_token(who)
    [own] = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", ruler.id)
    request = SuspendUser(someone.email, "left", Impact("", "", "", subject=(str(someone.id),)))
    grant = replace(
        granted(people.operator(ruler), use_cases.SUSPEND, request),
        identity=an_identity(ruler, str(own["id"]), timedelta(hours=1)),
    )
    asked = datetime.now(timezone.utc)

    done = people.run_with(grant, user_suspension.suspend, request)

    assert isinstance(done, SuspendedUser)
    assert (done.sessions_ended, done.keeps_sessions) == (2, False)
    assert people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", someone.id) == []
    assert len(people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", ruler.id)) == 1
    assert done.tokens_valid_until is not None
    hour = timedelta(hours=1)
    assert asked + hour < done.tokens_valid_until < datetime.now(timezone.utc) + hour + timedelta(seconds=2)


def test_without_that_proof_the_ban_stands_alone(people: People, ruler: Someone, someone: Someone) -> None:
    people.access_token(someone)
    done = suspend(people, ruler, someone)
    assert (done.sessions_ended, done.tokens_issued) == (None, True)
    assert len(people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", someone.id)) == 1


@pytest.mark.parametrize(
    ("rows", "granted_"),
    [("BYPASSRLS", "SELECT"), ("NOBYPASSRLS", "SELECT, DELETE")],
    ids=["may delete no session", "is shown what row security lets through"],
)
def test_without_the_right_to_end_sessions_the_user_is_only_banned(
    people: People, ruler: Someone, someone: Someone, rows: str, granted_: str
) -> None:
    people.identity(ruler)
    for who in (ruler, someone):
        people.access_token(who)
    [own] = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", ruler.id)
    request = SuspendUser(someone.email, "left", Impact("", "", "", subject=(str(someone.id),)))
    grant = replace(
        granted(people.operator(ruler), use_cases.SUSPEND, request), identity=an_identity(ruler, str(own["id"]))
    )
    url = people.target.database_url.reveal()
    with limited_role(url, rows, f"{granted_} ON auth.users, auth.sessions") as url:
        if rows == "NOBYPASSRLS":
            # What is to be ended is hidden, and deleting it would count nothing; the operator's own is shown.
            role = urlsplit(url).username
            people.sql(f"CREATE POLICY {role} ON auth.sessions TO {role} USING (id = '{own['id']}')")
        limited = replace(people.target, database_url=Secret(url))
        with Backends(limited, REQUEST_ID) as backends:
            done = user_suspension.suspend(backends, grant, request)
    assert isinstance(done, SuspendedUser)
    assert (done.sessions_ended, done.keeps_sessions) == (None, True)
    assert not people.signs_in(someone.email, OLD_PASSWORD)
    assert len(people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", someone.id)) == 1


def test_a_user_who_never_signed_in_has_no_token(people: People, ruler: Someone, someone: Someone) -> None:
    done = suspend(people, ruler, someone)
    assert (done.tokens_issued, done.tokens_valid_until, done.keeps_sessions) == (False, None, False)


# -- a ban that somebody set or lifted at Supabase ----------------------------------------------------------


@pytest.mark.parametrize("ban", ["none", "1h"])
def test_a_suspended_user_without_a_ban_is_banned_again(
    people: People, ruler: Someone, someone: Someone, ban: str
) -> None:
    suspend(people, ruler, someone)
    people.auth("PUT", f"/admin/users/{someone.id}", {"ban_duration": ban}).raise_for_status()
    before = people.everything()
    assert suspend(people, ruler, someone, dry_run=True).changed
    asked = SuspendUser(someone.email, "left")
    assert impact_of(lambda: people.run(ruler, user_suspension.suspend, use_cases.SUSPEND, asked))
    assert people.everything() == before

    assert suspend(people, ruler, someone).changed

    assert state_of(people, someone) == (SUSPENDED, None, None)
    assert not people.signs_in(someone.email, OLD_PASSWORD)
    [_, event] = people.events(someone.id)
    assert (event["use_case"], event["before"], event["after"]) == (
        "users.suspend",
        {"banned": False},
        {"banned": True},
    )
    assert event["reason"] == "left the company"
    assert not suspend(people, ruler, someone).changed


def test_the_ban_of_an_active_user_is_lifted(people: People, ruler: Someone, someone: Someone) -> None:
    people.ban(someone)
    before = people.everything()
    assert restore(people, ruler, someone, dry_run=True).changed
    assert people.everything() == before

    assert restore(people, ruler, someone).changed

    assert state_of(people, someone) == (ACTIVE, None, None)
    assert people.signs_in(someone.email, OLD_PASSWORD)
    [event] = people.events(someone.id)
    assert (event["use_case"], event["before"], event["after"]) == (
        "users.restore",
        {"banned": True},
        {"banned": False},
    )
    assert not restore(people, ruler, someone).changed


@pytest.mark.parametrize("verb", [suspend, restore])
def test_a_lost_answer_about_a_drifted_ban_is_finished(
    people: People, ruler: Someone, someone: Someone, verb: Callable[..., SuspendedUser | RestoredUser]
) -> None:
    if verb is suspend:
        suspend(people, ruler, someone)
        people.auth("PUT", f"/admin/users/{someone.id}", {"ban_duration": "none"}).raise_for_status()
    else:
        people.ban(someone)
    already = len(people.events(someone.id))
    assert broken(people, lambda p: verb(p, ruler, someone), arrives=False, heals=False) is not None
    people.run(ruler, resume, FIX, someone.id)
    assert people.signs_in(someone.email, OLD_PASSWORD) == (verb is restore)
    assert len(people.events(someone.id)) == already + 1
    assert not verb(people, ruler, someone).changed


# -- who may ------------------------------------------------------------------------------------------------


def test_operators_cannot_suspend_themselves(people: People) -> None:
    me = people.superuser()
    with pytest.raises(Denied) as denied:
        suspend(people, me, me)
    assert denied.value.code == "access.oneself"


def test_an_admin_suspends_and_restores_a_member(people: People) -> None:
    org = people.org()
    member, admin = people.user({org: Role.MEMBER}), people.user({org: Role.ADMIN}, plan=Plan.PREMIUM)
    people.identity(member)
    suspend(people, admin, member)
    assert not people.signs_in(member.email, OLD_PASSWORD)
    restore(people, admin, member)
    assert people.signs_in(member.email, OLD_PASSWORD)


@pytest.mark.parametrize("last_of", ["superusers", "owners"])
def test_the_last_of_their_kind_stay(
    target: Target, fresh_database: Callable[..., str], people: People, ruler: Someone, last_of: str
) -> None:
    if last_of == "owners":
        last = people.user({people.org(): Role.OWNER})
        with pytest.raises(Conflict) as conflict:
            suspend(people, ruler, last)
        assert (conflict.value.code, state_of(people, last)[0]) == ("users.last_owner", ACTIVE)
        return
    with People(replace(target, database_url=Secret(fresh_database(migrated=True)))) as alone:
        last = alone.superuser()
        alone.sql("INSERT INTO bazar.plan_permissions (plan, permission) VALUES ('plus', 'users:update')")
        with pytest.raises(Conflict) as conflict:
            suspend(alone, alone.user(superuser=True, plan=Plan.PLUS), last)
        assert (conflict.value.code, state_of(alone, last)[0]) == ("users.last_superuser", ACTIVE)


def test_two_superusers_who_suspend_each_other_leave_one(target: Target, fresh_database: Callable[..., str]) -> None:
    with People(replace(target, database_url=Secret(fresh_database(migrated=True)))) as alone:
        ada, bob = alone.superuser(), alone.superuser()
        # Both pass the gate first: a suspended operator would not get through it.
        rulers = (alone.operator(ada), alone.operator(bob))
        results = run_concurrently(lambda: suspend(alone, rulers[0], bob), lambda: suspend(alone, rulers[1], ada))
        assert sorted(results) in (["access.changed", "done"], ["done", "users.last_superuser"])
        assert len(alone.sql("SELECT 1 FROM bazar.users WHERE state = 'active'")) == 1


def test_two_owners_suspended_at_once_leave_one(people: People) -> None:
    org = people.org()
    owners = [people.user({org: Role.OWNER}) for _ in range(2)]
    rulers = [people.superuser() for _ in owners]
    results = run_concurrently(*(lambda r=r, o=o: suspend(people, r, o) for r, o in zip(rulers, owners, strict=True)))
    assert sorted(results) == ["done", "users.last_owner"]


# -- again, and against each other --------------------------------------------------------------------------


def broken(people: People, act: Callable[[People], object], *, arrives: bool, heals: bool) -> str | None:
    """The code with which a run ends whose PUT got no answer, None when it succeeded."""
    with broken_wire(people.target, "PUT", arrives=arrives, heals=heals) as target, People(target) as flaky:
        try:
            act(flaky)
        except BackendUnavailable as error:
            return error.code
    return None


@pytest.mark.parametrize("by_doctor", [False, True], ids=["again", "doctor"])
@pytest.mark.parametrize("arrives", [False, True])
def test_an_unseen_outcome_is_finished(
    people: People, ruler: Someone, someone: Someone, arrives: bool, by_doctor: bool
) -> None:
    def again(act: Callable[..., object]) -> None:
        if by_doctor:
            people.run(ruler, resume, FIX, someone.id)
        else:
            act(people, ruler, someone)

    code = broken(people, lambda p: suspend(p, ruler, someone), arrives=arrives, heals=False)
    assert (code, state_of(people, someone)) == ("users.suspend_unfinished", (SUSPENDED, "suspend", None))
    again(suspend)
    assert state_of(people, someone) == (SUSPENDED, None, None)
    assert not people.signs_in(someone.email, OLD_PASSWORD)

    code = broken(people, lambda p: restore(p, ruler, someone), arrives=arrives, heals=False)
    assert (code, state_of(people, someone)) == ("users.restore_unfinished", (ACTIVE, "restore", None))
    again(restore)
    assert state_of(people, someone) == (ACTIVE, None, None)
    assert people.signs_in(someone.email, OLD_PASSWORD)
    assert events_of(people, someone) == [("users.suspend", "done"), ("users.restore", "done")]


def test_the_reason_of_the_first_run_is_kept_with_a_warning(people: People, ruler: Someone, someone: Someone) -> None:
    broken(people, lambda p: suspend(p, ruler, someone), arrives=False, heals=False)
    agreed = Impact("", "", "", subject=(str(someone.id),))
    request = SuspendUser(someone.email, "another reason", agreed)
    done = people.run(ruler, user_suspension.suspend, use_cases.SUSPEND, request)
    assert isinstance(done, SuspendedUser)
    assert any("its reason is recorded, and this one is not" in text for text in what_suspending_ends(done))
    assert [e["reason"] for e in people.events(someone.id)] == ["left the company"]
    restore(people, ruler, someone)
    assert not any("not recorded" in text for text in what_suspending_ends(suspend(people, ruler, someone)))


def test_a_lost_answer_is_looked_up(people: People, ruler: Someone, someone: Someone) -> None:
    assert broken(people, lambda p: suspend(p, ruler, someone), arrives=True, heals=True) is None
    assert broken(people, lambda p: restore(p, ruler, someone), arrives=True, heals=True) is None
    people.ban(someone)
    # A ban that somebody else set for an hour is no proof that this one arrived, nor that it was lifted.
    unseen = broken(people, lambda p: suspend(p, ruler, someone), arrives=False, heals=True)
    assert unseen == "users.suspend_unfinished"
    unseen = broken(people, lambda p: restore(p, ruler, someone), arrives=False, heals=True)
    assert unseen == "users.restore_unfinished"


def test_suspending_supersedes_an_unfinished_restore_and_the_reverse(
    people: People, ruler: Someone, someone: Someone
) -> None:
    broken(people, lambda p: suspend(p, ruler, someone), arrives=True, heals=False)
    restore(people, ruler, someone)
    assert (state_of(people, someone), people.signs_in(someone.email, OLD_PASSWORD)) == ((ACTIVE, None, None), True)
    suspend(people, ruler, someone)
    broken(people, lambda p: restore(p, ruler, someone), arrives=True, heals=False)
    suspend(people, ruler, someone)
    assert state_of(people, someone) == (SUSPENDED, None, None)
    assert not people.signs_in(someone.email, OLD_PASSWORD)
    assert [e for e, _ in events_of(people, someone)] == ["users.suspend", "users.restore"] * 2 + ["users.suspend"]


@pytest.mark.parametrize("pending", [Pending.CREATE, Pending.EMAIL, Pending.INVITE])
def test_another_unfinished_change_comes_first(people: People, ruler: Someone, pending: Pending) -> None:
    someone = people.user(pending=pending)
    for act in (suspend, restore):
        with pytest.raises(Conflict) as conflict:
            act(people, ruler, someone)
        assert conflict.value.code == "users.pending"


def test_suspend_and_restore_at_once_leave_both_systems_alike(people: People, someone: Someone) -> None:
    rulers = [people.superuser() for _ in range(4)]
    acts = (suspend, restore, suspend, restore)
    results = run_concurrently(*(lambda a=a, r=r: a(people, r, someone) for a, r in zip(acts, rulers, strict=True)))
    assert results == ["done"] * 4
    state, pending, lease = state_of(people, someone)
    assert (pending, lease) == (None, None)
    assert people.signs_in(someone.email, OLD_PASSWORD) == (state == ACTIVE)
    # Each event is a change: they alternate.
    names = [name for name, _ in events_of(people, someone)]
    assert names
    assert all(one != other for one, other in pairwise(names))


def test_a_change_that_is_refused_asks_for_no_consent(people: People, ruler: Someone) -> None:
    org = people.org()
    last = people.user({org: Role.OWNER})
    with pytest.raises(Conflict) as refused:
        people.run(ruler, user_suspension.suspend, use_cases.SUSPEND, SuspendUser(last.email, "left"))
    assert refused.value.code == "users.last_owner"


def test_a_user_who_became_invisible_meanwhile_is_suspended(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    org = people.org()
    member, admin = people.user({org: Role.MEMBER}), people.user({org: Role.ADMIN}, plan=Plan.PREMIUM)
    people.identity(member)
    ban = AdminClient.ban

    def bans(self: AdminClient, user_id: uuid.UUID) -> StoredIdentity | None:
        people.sql("DELETE FROM bazar.memberships WHERE user_id = %s", member.id)
        return ban(self, user_id)

    monkeypatch.setattr(AdminClient, "ban", bans)
    with pytest.raises(Conflict) as lost:
        suspend(people, admin, member)
    assert (lost.value.code, "it was done" in lost.value.message) == ("users.taken_over", True)
    assert state_of(people, member) == (SUSPENDED, None, None)
    assert not people.signs_in(member.email, OLD_PASSWORD)


def test_two_suspends_leave_one_event(people: People, someone: Someone) -> None:
    rulers = [people.superuser() for _ in range(2)]
    assert run_concurrently(*(lambda r=r: suspend(people, r, someone) for r in rulers)) == ["done"] * 2
    assert events_of(people, someone) == [("users.suspend", "done")]


def test_a_refused_ban_stays_pending(people: People, ruler: Someone, someone: Someone) -> None:
    wrong = replace(people.target, supabase_key=Secret("sb_secret_wrong"))
    with People(wrong) as elsewhere, pytest.raises(Conflict) as conflict:
        suspend(elsewhere, ruler, someone)
    assert conflict.value.code == "supabase.key_refused"
    assert state_of(people, someone) == (SUSPENDED, "suspend", None)


# -- a deletion taken back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", UserState)
def test_a_deletion_that_supabase_refuses_is_taken_back(people: People, ruler: Someone, state: UserState) -> None:
    leaving = people.user(pending=Pending.DELETE, state=state)
    people.identity(leaving)
    before = people.everything()
    assert restore(people, ruler, leaving, dry_run=True).user.state is UserState.ACTIVE
    assert people.everything() == before

    assert restore(people, ruler, leaving).user.state is UserState.ACTIVE

    assert state_of(people, leaving) == (ACTIVE, None, None)
    assert people.signs_in(leaving.email, OLD_PASSWORD)
    [event] = people.events(leaving.id)
    assert (event["use_case"], event["before"]) == ("users.restore", {"state": state.value, "pending": "delete"})


@pytest.mark.parametrize("taken", [False, True], ids=["gone", "a stranger's"])
def test_a_deletion_without_identity_is_not_taken_back(people: People, ruler: Someone, taken: bool) -> None:
    leaving = people.user(pending=Pending.DELETE)
    if taken:
        people.identity(Someone(leaving.id, an_address("stranger")))
    before = people.everything()
    with pytest.raises(Conflict) as conflict:
        restore(people, ruler, leaving)
    assert conflict.value.code == "users.identity_gone"
    assert f"bazar users delete {leaving.email}" in conflict.value.hint
    # The row was held for a moment, which shows in its time alone.
    after = people.everything()
    assert {table for table in before if before[table] != after[table]} <= {"bazar.users"}
    assert state_of(people, leaving) == (ACTIVE, "delete", None)


# -- held up longer than the lease --------------------------------------------------------------------------


@pytest.mark.parametrize("late", ["before the lease is looked at", "before Supabase is asked"])
def test_a_late_ban_does_not_outlive_a_restore(
    people: People, ruler: Someone, someone: Someone, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    def meanwhile() -> None:
        people.leases_run_out()
        monkeypatch.undo()
        restore(people, ruler, someone)

    ask = AdminClient.ban

    def ban(self: AdminClient, user_id: uuid.UUID) -> StoredIdentity | None:
        meanwhile()
        return ask(self, user_id)

    def allows_a_call(_self: leases.Since) -> bool:
        meanwhile()
        return False

    if late == "before Supabase is asked":
        monkeypatch.setattr(AdminClient, "ban", ban)
    else:
        monkeypatch.setattr(leases.Since, "allows_a_call", allows_a_call)

    with pytest.raises(Conflict) as lost:
        suspend(people, ruler, someone)

    assert lost.value.code == "users.taken_over"
    assert state_of(people, someone) == (ACTIVE, None, None)
    assert people.signs_in(someone.email, OLD_PASSWORD)


def test_a_late_delete_keeps_a_restored_user(
    people: People, ruler: Someone, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(_self: leases.Since) -> bool:
        people.leases_run_out()
        monkeypatch.undo()
        restore(people, ruler, someone)
        return False

    monkeypatch.setattr(leases.Since, "allows_a_call", meanwhile)
    with pytest.raises(Conflict) as lost:
        people.run(ruler, delete.delete, use_cases.DELETE, DeleteUser(someone.email, someone.email))
    assert lost.value.code == "users.taken_over"
    assert state_of(people, someone) == (ACTIVE, None, None)
    assert people.signs_in(someone.email, OLD_PASSWORD)


@pytest.mark.parametrize(("act", "verb"), [(suspend, "ban"), (restore, "lift the ban of")])
def test_a_ban_that_supabase_refuses_stays_pending(
    people: People, ruler: Someone, someone: Someone, act: Callable[..., object], verb: str
) -> None:
    if act is restore:
        suspend(people, ruler, someone)
    with auth_proxy(people.target) as proxy, People(proxy.target) as refusing:
        proxy.add(Fault("PUT", f"/admin/users/{someone.id}", 422))
        with pytest.raises(Conflict, match=f"refused to {verb} {someone.email}") as refused:
            act(refusing, ruler, someone)
    assert (refused.value.code, refused.value.details["user_id"]) == ("users.ban_refused", str(someone.id))
    assert state_of(people, someone)[1] == ("suspend" if act is suspend else "restore")
    act(people, ruler, someone)
    assert state_of(people, someone) == (SUSPENDED if act is suspend else ACTIVE, None, None)
