"""`users update --email`: one address in both systems, or the one that was there before."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bazar_cli.adapters.supabase.admin import AdminClient
from bazar_cli.domain.doctor import FIX
from bazar_cli.domain.entities import Pending, Plan, Role, User
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, NotFound, UsageError
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import DeleteUser, UpdateUser
from bazar_cli.domain.users.identities import StoredIdentity
from bazar_cli.services.users import delete, leases, two_systems
from bazar_cli.services.users import update as user_update
from bazar_cli.services.users.resume import resume
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.concurrently import run_concurrently
from tests.support.people import OLD_PASSWORD, People, Someone, an_address, decided
from tests.support.waiting import until_turned_away


def update(people: People, operator: Someone, request: UpdateUser, *, dry_run: bool = False) -> User:
    return people.run(operator, user_update.update, use_cases.UPDATE, request, dry_run=dry_run).user


def move(people: People, operator: Someone, someone: Someone, email: str, **more: bool) -> User:
    return update(people, operator, UpdateUser(someone.email, email=email), **more)


def fails(act: Callable[[], object], kind: type[BazarError] = Conflict) -> BazarError:
    with pytest.raises(kind) as error:
        act()
    return error.value


def has(people: People, someone: Someone, email: str, *events: tuple[str, str]) -> None:
    """Both systems have this address, nothing is pending, and the log has these events."""
    row = people.row(someone)
    assert row is not None
    assert (row["email"], row["pending"], row["lease_owner"]) == (email, None, None)
    assert [i["id"] for i in people.identities(email)] == [someone.id]
    assert [(e["use_case"], e["outcome"]) for e in people.events(someone.id)] == list(events)


DONE = ("users.update", "done")


def test_the_address_changes_in_both_systems(people: People, ruler: Someone, someone: Someone) -> None:
    email = an_address("new")

    changed = update(people, ruler, UpdateUser(someone.email, name="Ada King", email=email.upper()))

    assert (changed.email, changed.name, changed.pending) == (email, "Ada King", None)
    has(people, someone, email, DONE)
    assert people.signs_in(email, OLD_PASSWORD)
    assert not people.signs_in(someone.email, OLD_PASSWORD)
    [event] = people.events(someone.id)
    assert (event["before"], event["after"]) == (
        {"email": someone.email, "name": "Ada"},
        {"email": email, "name": "Ada King"},
    )


def test_an_empty_name_given_with_it_removes_the_name(people: People, ruler: Someone, someone: Someone) -> None:
    assert update(people, ruler, UpdateUser(someone.email, name="", email=an_address())).name is None


def test_the_same_address_writes_nothing(people: People, ruler: Someone, someone: Someone) -> None:
    before = people.everything()
    move(people, ruler, someone, someone.email.upper())
    assert people.everything() == before


def test_a_dry_run_looks_at_both_systems_and_writes_nothing(people: People, ruler: Someone, someone: Someone) -> None:
    stranger, lonely, email = Someone(uuid.uuid4(), an_address("stranger")), people.user(), an_address("new")
    people.identity(stranger)
    before = people.everything()
    assert move(people, ruler, someone, email, dry_run=True).email == email
    error = fails(lambda: move(people, ruler, someone, stranger.email, dry_run=True))
    assert error.code == "users.email_at_supabase"
    assert fails(lambda: move(people, ruler, lonely, email, dry_run=True)).code == "users.no_identity"
    assert people.everything() == before


@pytest.mark.parametrize("email", ["", "nope", "a b@example.com", "ä@example.com"])
def test_an_invalid_address_is_refused(people: People, ruler: Someone, someone: Someone, email: str) -> None:
    assert fails(lambda: move(people, ruler, someone, email), UsageError).code == "users.email_invalid"


def test_only_superusers_change_an_address(people: People) -> None:
    org = people.org()
    owner, member = people.user({org: Role.OWNER}, plan=Plan.PREMIUM), people.user({org: Role.MEMBER})
    for whom in (member, owner):
        denial = decided(people.operator(owner), use_cases.UPDATE, UpdateUser(whom.email, email=an_address()))
        assert getattr(denial, "code", None) == "access.platform"


# -- addresses of others ------------------------------------------------------------------------------------


def test_the_address_of_another_user_is_refused(people: People, ruler: Someone, someone: Someone) -> None:
    other = people.user()
    error = fails(lambda: move(people, ruler, someone, other.email))
    assert (error.code, error.hint) == ("users.email_exists", "use another address")
    has(people, someone, someone.email)


def test_the_address_of_a_stranger_is_refused_and_the_old_one_back(
    people: People, ruler: Someone, someone: Someone
) -> None:
    stranger = Someone(uuid.uuid4(), an_address("stranger"))
    people.identity(stranger)

    error = fails(lambda: move(people, ruler, someone, stranger.email))

    assert (error.code, error.details) == ("users.email_at_supabase", {"email": stranger.email})
    has(people, someone, someone.email, DONE, ("users.update", "undone"))
    undone = people.events(someone.id)[-1]
    assert (undone["before"], undone["after"]) == ({"email": stranger.email}, {"email": someone.email})
    assert [i["id"] for i in people.identities(stranger.email)] == [stranger.id]


def test_an_address_that_a_stranger_takes_at_the_last_moment_is_refused(
    people: People, ruler: Someone, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, ask = an_address("wanted"), AdminClient.change_email

    def change_email(self: AdminClient, user_id: uuid.UUID, wanted: str) -> StoredIdentity | None:
        people.identity(Someone(uuid.uuid4(), email))
        return ask(self, user_id, wanted)

    monkeypatch.setattr(AdminClient, "change_email", change_email)

    assert fails(lambda: move(people, ruler, someone, email)).code == "users.email_at_supabase"
    has(people, someone, someone.email, DONE, ("users.update", "undone"))


@pytest.mark.parametrize("whose", ["nobody", "stranger"])
def test_without_an_identity_the_old_address_is_back(people: People, ruler: Someone, whose: str) -> None:
    lonely = people.user()
    taker = Someone(lonely.id, an_address("taker"))
    if whose == "stranger":
        people.identity(taker, app_metadata={"bazar": {"deployment": str(uuid.uuid4()), "origin": "created"}})

    error = fails(lambda: move(people, ruler, lonely, an_address()))

    row = people.row(lonely)
    assert row is not None
    assert (error.code, row["email"], row["pending"]) == ("users.no_identity", lonely.email, None)
    assert error.details == {"user_id": str(lonely.id), "email": lonely.email}
    assert len(people.identities(taker.email)) == (whose == "stranger")
    assert [e["outcome"] for e in people.events(lonely.id)] == ["done", "undone"]


def drifted_user(people: People) -> tuple[Someone, str]:
    """A user whose identity has another address, and that one."""
    someone, drifted = people.user(), an_address("drifted")
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    stamp = {"bazar": {"deployment": str(marker["id"]), "origin": "created"}}
    people.identity(Someone(someone.id, drifted), app_metadata=stamp)
    return someone, drifted


@pytest.mark.parametrize("healer", ["", "again", "doctor"])
def test_the_address_that_the_user_has_is_written_to_supabase(people: People, ruler: Someone, healer: str) -> None:
    """As the remedy of the doctor's finding says."""
    someone, drifted = drifted_user(people)
    before = people.everything()
    assert move(people, ruler, someone, someone.email, dry_run=True).email == someone.email
    assert people.everything() == before
    request = UpdateUser(someone.email, name="Ada", email=someone.email)
    if healer:
        cut_off(people, ruler, request, acts=False)
    if healer == "doctor":
        people.run(ruler, resume, FIX, someone.id)
    else:
        assert update(people, ruler, request).name == "Ada"
    has(people, someone, someone.email, DONE)
    assert people.identities(drifted) == []
    [event] = people.events(someone.id)
    assert event["before"] == {"supabase_email": drifted, "name": None}
    assert event["after"] == {"supabase_email": someone.email, "name": "Ada"}


@pytest.mark.parametrize("late", [False, True], ids=["", "after the look"])
@pytest.mark.parametrize("why", ["taken", "a stranger's"])
def test_an_address_that_supabase_cannot_have_leaves_the_user(
    people: People, ruler: Someone, monkeypatch: pytest.MonkeyPatch, why: str, late: bool
) -> None:
    someone, _ = drifted_user(people)
    if why == "a stranger's":
        # Not the address of before either, which the log has.
        people.sql("UPDATE bazar.users SET email = %s WHERE id = %s", an_address("old"), someone.id)
        with auth_proxy(people.target) as proxy, People(proxy.target) as faulty:
            proxy.add(Fault("PUT", ".*", 503, lasting=True))
            fails(lambda: update(faulty, ruler, UpdateUser(str(someone.id), email=someone.email)), BackendUnavailable)
        people.sql("UPDATE bazar.users SET pending = NULL WHERE id = %s", someone.id)
    if late:

        def unseen(*_: object) -> None:
            """The look found nothing wrong yet."""

        monkeypatch.setattr(two_systems, "foresee", unseen)
    if why == "taken":
        people.identity(Someone(uuid.uuid4(), someone.email))
    else:
        body = {"app_metadata": {"bazar": None}}
        people.auth("PUT", f"/admin/users/{someone.id}", body).raise_for_status()
    before = people.everything()
    error = fails(lambda: update(people, ruler, UpdateUser(someone.email, name="Ada", email=someone.email)))
    assert error.code == {"taken": "users.email_at_supabase", "a stranger's": "users.no_identity"}[why]
    assert someone.email in error.message
    if not late:
        assert people.everything() == before
        return
    row = people.row(someone) or {}
    assert (row["email"], row["pending"]) == (someone.email, None)
    assert people.events(someone.id)[-1]["outcome"] == "undone"


def test_an_address_that_differs_at_supabase_is_put_right(people: People, ruler: Someone) -> None:
    someone, drifted = drifted_user(people)
    email = an_address("new")
    move(people, ruler, someone, email)
    has(people, someone, email, DONE)
    assert people.identities(drifted) == []


def test_an_address_that_another_command_may_give_back_is_waited_for(
    people: People, ruler: Someone, someone: Someone
) -> None:
    being_made = people.user(pending=Pending.CREATE)
    lease = "lease_owner = gen_random_uuid(), lease_until = now() + interval '1 hour'"
    people.sql(f"UPDATE bazar.users SET {lease} WHERE id = %s", being_made.id)
    with ThreadPoolExecutor(1) as pool:
        moved = pool.submit(move, people, ruler, someone, being_made.email)
        until_turned_away(people)
        assert not moved.done()
        people.sql("DELETE FROM bazar.users WHERE id = %s", being_made.id)
        assert moved.result().email == being_made.email
    has(people, someone, being_made.email, DONE)


# -- again --------------------------------------------------------------------------------------------------


def cut_off(people: People, ruler: Someone, request: UpdateUser, *, acts: bool) -> None:
    """A run whose PUT got no answer, and after which nothing did."""
    with auth_proxy(people.target) as proxy, People(proxy.target) as offline:
        proxy.add(Fault("PUT", ".*", acts=acts, lasting=True))
        error = fails(lambda: update(offline, ruler, request), BackendUnavailable)
        assert error.code == "users.email_unfinished"


@pytest.mark.spread
@pytest.mark.parametrize("healer", ["old", "new", "id", "doctor"])
@pytest.mark.parametrize("acts", [False, True])
def test_running_again_finishes(people: People, ruler: Someone, someone: Someone, acts: bool, healer: str) -> None:
    email = an_address("new")
    [seen] = people.sql("SELECT updated_at FROM bazar.users WHERE id = %s", someone.id)
    request = UpdateUser(someone.email, name="Grace", if_unchanged_since=seen["updated_at"], email=email)
    cut_off(people, ruler, request, acts=acts)
    row = people.row(someone)
    assert row is not None
    assert (row["email"], row["pending"], row["lease_owner"]) == (email, "email", None)

    if healer == "doctor":
        people.run(ruler, resume, FIX, someone.id)
    else:
        named = {"old": someone.email, "new": email, "id": str(someone.id)}[healer]
        assert update(people, ruler, replace(request, user=named)).name == "Grace"

    has(people, someone, email, DONE)
    # Once more, after an end that nobody saw.
    before = people.everything()
    assert update(people, ruler, replace(request)).email == email
    assert people.everything() == before


def test_an_old_address_names_no_other_user(people: People, ruler: Someone, someone: Someone) -> None:
    email, other = an_address("new"), people.user()
    move(people, ruler, someone, email)
    for named in (an_address("never"), other.email + "x"):
        request = UpdateUser(named, email=email)
        assert fails(lambda request=request: update(people, ruler, request), NotFound).code == "users.not_found"
    assert fails(lambda: update(people, ruler, UpdateUser(someone.email, name="X")), NotFound).code == "users.not_found"
    has(people, someone, email, DONE)


def test_another_address_waits_for_the_unfinished_one(people: People, ruler: Someone, someone: Someone) -> None:
    email = an_address("new")
    cut_off(people, ruler, UpdateUser(someone.email, email=email), acts=False)
    error = fails(lambda: update(people, ruler, UpdateUser(email, email=an_address())))
    assert error.code == "users.pending"
    assert f"bazar users update {email} --email {email}" in error.hint


@pytest.mark.parametrize("kind", ["stranger", "gone"])
def test_the_doctor_takes_back_a_change_that_supabase_refuses(
    people: People, ruler: Someone, someone: Someone, kind: str
) -> None:
    email = an_address("new")
    cut_off(people, ruler, UpdateUser(someone.email, email=email), acts=False)
    if kind == "stranger":
        people.identity(Someone(uuid.uuid4(), email))
    else:
        people.auth("DELETE", f"/admin/users/{someone.id}").raise_for_status()
    error = fails(lambda: people.run(ruler, resume, FIX, someone.id))
    assert error.code == {"stranger": "users.email_at_supabase", "gone": "users.no_identity"}[kind]
    row = people.row(someone)
    assert row is not None
    assert (row["email"], row["pending"]) == (someone.email, None)
    assert [(e["use_case"], e["outcome"]) for e in people.events(someone.id)] == [DONE, ("doctor.fix", "undone")]


@pytest.mark.parametrize("acts", [False, True])
def test_a_lost_answer_is_looked_up(people: People, ruler: Someone, someone: Someone, acts: bool) -> None:
    email = an_address("new")
    with auth_proxy(people.target) as proxy, People(proxy.target) as flaky:
        proxy.add(Fault("PUT", ".*", 500, acts=acts))
        if acts:
            move(flaky, ruler, someone, email)
        else:
            error = fails(lambda: move(flaky, ruler, someone, email), BackendUnavailable)
            assert error.code == "users.email_unfinished"
            move(people, ruler, someone, email)
    has(people, someone, email, DONE)


def test_a_value_that_supabase_refuses_is_taken_back(people: People, ruler: Someone, someone: Someone) -> None:
    with auth_proxy(people.target) as proxy, People(proxy.target) as flaky:
        proxy.add(Fault("PUT", ".*", 422))
        error = fails(lambda: move(flaky, ruler, someone, an_address()), UsageError)
    assert error.code == "users.refused_by_supabase"
    has(people, someone, someone.email, DONE, ("users.update", "undone"))


def test_deleting_in_the_middle_takes_the_identity_along(people: People, ruler: Someone, someone: Someone) -> None:
    email = an_address("new")
    cut_off(people, ruler, UpdateUser(someone.email, email=email), acts=False)
    people.run(ruler, delete.delete, use_cases.DELETE, DeleteUser(email, email))
    assert people.row(someone) is None
    assert people.identities(someone.email) == []


# -- at once ------------------------------------------------------------------------------------------------


def test_of_two_under_one_condition_one_wins(people: People, someone: Someone) -> None:
    [seen] = people.sql("SELECT updated_at FROM bazar.users WHERE id = %s", someone.id)
    rulers, emails = [people.superuser() for _ in range(2)], [an_address(), an_address()]
    requests = [UpdateUser(str(someone.id), None, seen["updated_at"], email) for email in emails]
    results = sorted(
        run_concurrently(
            *(lambda r=r, q=q: update(people, r, q) for r, q in zip(rulers, requests, strict=True)),
        )
    )
    assert results == ["done", "users.changed_since"]
    [row] = people.sql("SELECT email FROM bazar.users WHERE id = %s", someone.id)
    has(people, someone, row["email"], DONE)


def test_one_of_two_changes_to_one_address_wins(people: People, someone: Someone) -> None:
    other, email = people.user(), an_address("wanted")
    people.identity(other)
    rulers = [people.superuser() for _ in range(2)]
    results = sorted(
        run_concurrently(
            *(lambda r=r, w=w: move(people, r, w, email) for r, w in zip(rulers, (someone, other), strict=True))
        )
    )
    assert results == ["done", "users.email_exists"]
    assert len(people.identities(email)) == 1


def test_update_and_delete_at_once_leave_both_systems_alike(people: People, someone: Someone) -> None:
    email, rulers = an_address("new"), [people.superuser() for _ in range(2)]
    gone = DeleteUser(str(someone.id), someone.email)
    results = sorted(
        run_concurrently(
            lambda: update(people, rulers[0], UpdateUser(str(someone.id), email=email)),
            lambda: people.run(rulers[1], delete.delete, use_cases.DELETE, gone),
        )
    )
    # Deleted first, or confirmed with an address that is the user's no more.
    assert results in (["done", "users.confirm_mismatch"], ["done", "users.not_found"])
    if people.row(someone) is not None:
        has(people, someone, email, DONE)
    else:
        assert people.identities(someone.email) == people.identities(email) == []


@pytest.mark.parametrize("late", ["before the lease is looked at", "before Supabase is asked"])
def test_a_late_change_does_not_outlive_another(
    people: People, ruler: Someone, someone: Someone, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    mine, theirs = an_address("mine"), an_address("theirs")

    def meanwhile() -> None:
        people.leases_run_out()
        monkeypatch.undo()
        update(people, ruler, UpdateUser(mine, email=mine))
        update(people, ruler, UpdateUser(mine, email=theirs))

    ask = AdminClient.change_email

    def change(self: AdminClient, user_id: uuid.UUID, email: str) -> StoredIdentity | None:
        meanwhile()
        return ask(self, user_id, email)

    def allows_a_call(_self: leases.Since) -> bool:
        meanwhile()
        return False

    if late == "before Supabase is asked":
        monkeypatch.setattr(AdminClient, "change_email", change)
    else:
        monkeypatch.setattr(leases.Since, "allows_a_call", allows_a_call)

    assert fails(lambda: move(people, ruler, someone, mine)).code == "users.taken_over"

    has(people, someone, theirs, DONE, DONE)


def test_a_pending_user_without_event_is_finished_too(people: People, ruler: Someone) -> None:
    someone = people.user(pending=Pending.EMAIL)
    people.identity(someone)
    people.run(ruler, resume, FIX, someone.id)
    has(people, someone, someone.email)
