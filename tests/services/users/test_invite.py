"""`users create --invite`: one invited user, and one mail, whatever happens between the steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bazar_cli.domain.doctor import FIX
from bazar_cli.domain.entities import Pending, Plan, Role
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, ExitCode
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import CreatedUser, CreateUser
from bazar_cli.services.users import create
from bazar_cli.services.users.resume import resume
from tests.services.users.step_faults import STEP_FAULTS
from tests.support.auth_proxy import Asked, Fault, auth_proxy, between
from tests.support.people import People, Someone

Emails = Callable[[str], str]
CREATE, INVITE = "/admin/users", "/invite"


def invite(people: People, operator: Someone, email: str, *, dry_run: bool = False, **values: Any) -> CreatedUser:
    request = CreateUser(email, invite=True, **values)
    return people.run(operator, create.create, use_cases.CREATE, request, dry_run=dry_run)


def mails_to(people: People, email: str) -> list[str]:
    rows = people.sql("SELECT kind FROM bazar_auth.mails WHERE recipient = %s ORDER BY id", email)
    return [row["kind"] for row in rows]


def row_of(people: People, email: str) -> dict[str, Any]:
    [row] = people.sql("SELECT * FROM bazar.users WHERE email = %s", email)
    return row


def is_invited_once(people: People, email: str, mails: int = 1) -> None:
    """One user, one identity that waits for its owner, one event, and this number of mails."""
    row, [identity] = row_of(people, email), people.identities(email)
    assert (row["id"], row["pending"], row["lease_owner"]) == (identity["id"], None, None)
    assert identity.get("email_confirmed_at") is None
    assert identity["invited_at"]
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    assert identity["app_metadata"]["bazar"] == {"deployment": str(marker["id"]), "origin": "created"}
    assert mails_to(people, email) == ["invite"] * mails
    assert [(e["use_case"], e["outcome"]) for e in people.events(row["id"])] == [("users.create", "done")]


def test_an_invited_user_confirms_and_chooses_a_password(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("invited"), people.superuser()

    made = invite(people, ruler, email)

    assert (made.created, made.invited, made.password, made.user.pending) == (True, True, None, None)
    is_invited_once(people, email)
    [event] = people.events(made.user.id)
    assert event["after"] == {"email": email, "name": None, "plan": "free", "invited": True}
    [mail] = people.sql("SELECT code FROM bazar_auth.mails WHERE recipient = %s", email)
    opened = people.auth("POST", "/verify", {"type": "invite", "email": email, "token": mail["code"]})
    assert opened.raise_for_status().json()["user"]["id"] == str(made.user.id)
    people.auth("PUT", f"/admin/users/{made.user.id}", {"password": "chosen-by-me"}).raise_for_status()
    assert people.signs_in(email, "chosen-by-me")


def test_a_dry_run_sends_no_invitation(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("dry"), people.superuser()
    before = people.everything()
    assert invite(people, ruler, email, dry_run=True).created
    assert people.everything() == before
    assert mails_to(people, email) == []


def test_a_user_who_exists_is_not_invited_again(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("there"), people.superuser()
    invite(people, ruler, email)
    with pytest.raises(Conflict) as conflict:
        invite(people, ruler, email)
    again = invite(people, ruler, email, if_not_exists=True)
    assert conflict.value.code == "users.email_exists"
    assert (again.created, again.invited) == (False, False)
    is_invited_once(people, email)


@pytest.mark.parametrize("invited", [True, False], ids=["invite after create", "create after invite"])
def test_a_creation_is_finished_in_the_way_in_which_it_began(
    people: People, unique_email: Emails, invited: bool
) -> None:
    email, ruler = unique_email("begun"), people.superuser()
    begun = people.user(email=email, pending=Pending.CREATE if invited else Pending.INVITE)
    for if_not_exists in (False, True):
        request = CreateUser(email, invite=invited, if_not_exists=if_not_exists)
        with pytest.raises(Conflict) as conflict:
            people.run(ruler, create.create, use_cases.CREATE, request)
        assert conflict.value.code == "users.pending"
        assert ("--invite" in conflict.value.hint) is not invited
    assert people.identities(email) == []
    assert (people.row(begun) or {})["pending"] == ("create" if invited else "invite")


def test_an_invitation_is_finished_only_with_the_rights_that_it_took(people: People, unique_email: Emails) -> None:
    org, email = people.org(), unique_email("owner")
    people.user({org: Role.OWNER}, email=email, pending=Pending.INVITE)
    admin = people.user({org: Role.ADMIN}, plan=Plan.PREMIUM)
    with pytest.raises(Conflict) as conflict:
        invite(people, admin, email, organization=org.slug)
    assert conflict.value.code == "users.differs"
    assert mails_to(people, email) == []


# -- faults -------------------------------------------------------------------------------------------------


def try_with(people: People, ruler: Someone, email: str, *faults: Fault) -> BazarError | None:
    """Invite by a faulty way; return the error."""
    with auth_proxy(people.target) as proxy, People(proxy.target) as faulty:
        for fault in faults:
            proxy.add(fault)
        try:
            invite(faulty, ruler, email)
        except BazarError as error:
            return error
    return None


def heal(people: People, ruler: Someone, email: str, healer: str) -> None:
    if healer == "again":
        invite(people, ruler, email, if_not_exists=True)
    else:
        people.run(ruler, resume, FIX, row_of(people, email)["id"])


@pytest.mark.spread
@STEP_FAULTS
@pytest.mark.parametrize("path", [CREATE, INVITE])
def test_faults_end_in_one_invited_user(
    people: People, unique_email: Emails, path: str, status: int | None, acts: bool, lasting: bool, healer: str
) -> None:
    email, ruler = unique_email("fault"), people.superuser()

    error = try_with(people, ruler, email, Fault("POST", path, status, acts=acts, lasting=lasting))

    if error is not None:
        assert error.exit_code is ExitCode.UNAVAILABLE
        limited = (path, status, lasting) == (INVITE, 429, False)
        assert error.code == ("supabase.rate_limited" if limited else "users.create_unfinished")
        assert "again" in error.hint
        row = row_of(people, email)
        if limited:
            assert {"user_id": str(row["id"]), "email": email}.items() <= error.details.items()
        assert (row["pending"], row["lease_owner"]) == ("invite", None)
        heal(people, ruler, email, healer)
    assert (error is None) == (acts and not lasting)
    is_invited_once(people, email)


@pytest.mark.parametrize("healer", ["again", "doctor"])
def test_a_user_who_confirmed_meanwhile_gets_no_second_mail(people: People, unique_email: Emails, healer: str) -> None:
    email, ruler = unique_email("confirmed"), people.superuser()
    error = try_with(people, ruler, email, Fault("POST", INVITE, 503, lasting=True))
    assert isinstance(error, BackendUnavailable)
    user_id = row_of(people, email)["id"]
    people.auth("PUT", f"/admin/users/{user_id}", {"email_confirm": True}).raise_for_status()

    heal(people, ruler, email, healer)

    assert row_of(people, email)["pending"] is None
    assert mails_to(people, email) == []


@pytest.mark.parametrize(("status", "code"), [(400, "users.invite_refused"), (403, "supabase.key_refused")])
def test_a_refused_invitation_stays_pending(people: People, unique_email: Emails, status: int, code: str) -> None:
    email, ruler = unique_email("refused"), people.superuser()

    error = try_with(people, ruler, email, Fault("POST", INVITE, status))

    assert isinstance(error, Conflict)
    assert error.code == code
    assert row_of(people, email)["pending"] == "invite"
    heal(people, ruler, email, "again")
    is_invited_once(people, email)


def test_a_refused_creation_takes_the_row_back(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("refused"), people.superuser()
    error = try_with(people, ruler, email, Fault("POST", CREATE, 400))
    assert error is not None
    assert error.code == "users.refused_by_supabase"
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []
    assert people.identities(email) == []


def test_an_identity_that_was_deleted_before_its_invitation(people: People, unique_email: Emails) -> None:
    """Supabase makes another one for the address: it is nobody's here, and the row is taken back."""
    email, ruler = unique_email("gone"), people.superuser()

    def answer(asked: Asked) -> Any:
        if asked.path.endswith(INVITE):
            [identity] = people.identities(email)
            people.auth("DELETE", f"/admin/users/{identity['id']}", {}).raise_for_status()
        return asked.passed_on(people.target.supabase_url)

    with (
        between(answer) as url,
        People(replace(people.target, supabase_url=url)) as faulty,
        pytest.raises(Conflict) as conflict,
    ):
        invite(faulty, ruler, email)

    assert conflict.value.code == "users.email_at_supabase"
    assert "bazar users adopt" in conflict.value.hint
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []
