"""`bazar users suspend`, `bazar users restore` and `bazar users update --email`, as users see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from bazar_cli.domain.entities import Plan, Role, UserState
from tests.cli.auth.support import Terminal
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.postgres import limited_role

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
AsEmail = Callable[[str], str]
REASON = ("--reason", "left the company")


@pytest.fixture
def someone(people: People) -> Someone:
    """A user known to both systems, who has signed in."""
    made = people.user()
    people.identity(made)
    people.access_token(made)
    return made


def test_suspend_says_what_it_ended_and_until_when(admin: Bazar, people: People, someone: Someone) -> None:
    done = admin("users", "suspend", someone.email, *REASON, "--yes", "-o", "json").ok()
    assert (done.json["state"], done.json["pending"], done.json["changed"]) == ("suspended", None, True)
    until = datetime.fromisoformat(done.json["tokens_valid_until"].replace("Z", "+00:00"))
    assert timedelta(minutes=5) < until - datetime.now(timezone.utc) < timedelta(hours=3)
    assert done.json["tokens_valid_until"] in done.err
    assert all(word in done.err for word in ("sign-in", "refresh", "Storage", "Data API"))
    assert not people.signs_in(someone.email, OLD_PASSWORD)
    again = admin("users", "suspend", someone.email, *REASON, "-o", "json").ok()
    assert (again.json["changed"], "already" in again.err) == (False, True)
    assert [e["reason"] for e in people.events(someone.id)] == ["left the company"]


@pytest.mark.embedded
def test_suspend_ends_the_sessions(admin: Bazar, people: People, someone: Someone) -> None:
    assert admin("users", "suspend", someone.email, *REASON, "--yes", "-o", "json").ok().json["sessions_ended"] == 1
    assert people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", someone.id) == []


@pytest.mark.embedded
def test_suspend_warns_of_sessions_that_it_cannot_end(admin: Bazar, people: People, someone: Someone) -> None:
    session = people.auth("POST", "/token?grant_type=password", {"email": someone.email, "password": OLD_PASSWORD})
    readable = "SELECT ON auth.users, auth.sessions"
    with limited_role(people.target.database_url.reveal(), "BYPASSRLS", readable) as url:
        words = ("users", "suspend", someone.email, *REASON, "--yes", "-q", "-o", "json")
        planned = admin.having(DATABASE_URL=url)(*words, "--dry-run").ok()
        done = admin.having(DATABASE_URL=url)(*words).ok()
    assert (done.json["sessions_ended"], planned.err) == (None, "")
    assert f"warning: the sessions of {someone.email} could not be ended" in done.err
    assert "their refresh tokens work again" in done.err
    admin("users", "restore", someone.email).ok()
    old = {"refresh_token": session.json()["refresh_token"]}
    assert people.auth("POST", "/token?grant_type=refresh_token", old).status_code == 200


@pytest.mark.embedded
@pytest.mark.parametrize(("grants", "said"), [("SELECT", "cannot end their sessions"), ("ALL", "ends their sessions")])
def test_suspend_says_before_whether_sessions_end(
    admin: Bazar, people: People, someone: Someone, grants: str, said: str
) -> None:
    with limited_role(
        people.target.database_url.reveal(), "BYPASSRLS", f"{grants} ON auth.users, auth.sessions"
    ) as url:
        asked = admin.having(DATABASE_URL=url)("users", "suspend", someone.email, *REASON, "-o", "json")
    assert (asked.code, said in asked.error["message"]) == (10, True)


def test_suspend_without_consent_names_the_command(admin: Bazar, people: People, someone: Someone) -> None:
    done = admin("users", "suspend", someone.email, *REASON, "-o", "json")
    assert (done.code, done.error["code"], done.out) == (10, "input.consent", "")
    assert someone.email in done.error["message"]
    assert f"bazar users suspend {someone.email} --reason 'left the company' --yes" in done.error["hint"]
    assert people.signs_in(someone.email, OLD_PASSWORD)


@pytest.mark.parametrize("answer", ["y", "n"])
def test_suspend_asks_on_a_terminal(admin: Bazar, people: People, someone: Someone, answer: str) -> None:
    with Terminal(admin, "users", "suspend", someone.email, *REASON) as terminal:
        terminal.answer("[y/N]", answer)
        code = terminal.end()
    assert code == (0 if answer == "y" else 10)
    state = UserState.SUSPENDED if answer == "y" else UserState.ACTIVE
    assert (people.row(someone) or {})["state"] == state.value


@pytest.mark.parametrize("reason", ["", "two\nlines"])
def test_suspend_wants_a_reason(admin: Bazar, someone: Someone, reason: str) -> None:
    done = admin("users", "suspend", someone.email, "--reason", reason, "--yes", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "users.reason_invalid")
    assert admin("users", "suspend", someone.email, "--yes").code == 2


def test_who_has_no_identity_is_suspended_all_the_same(admin: Bazar, people: People) -> None:
    lonely = people.user()
    assert "no identity" in admin("users", "suspend", lonely.email, *REASON, "--yes").ok().err
    assert "no identity" in admin("users", "restore", lonely.email).ok().err


def test_restore_lets_in_again(admin: Bazar, people: People, someone: Someone) -> None:
    admin("users", "suspend", someone.email, *REASON, "--yes").ok()
    assert admin("users", "restore", someone.email, "-n", "-o", "json").ok().json["state"] == "active"
    assert not people.signs_in(someone.email, OLD_PASSWORD)
    done = admin("users", "restore", someone.email, "-o", "json").ok()
    assert (done.json["state"], done.json["changed"]) == ("active", True)
    assert people.signs_in(someone.email, OLD_PASSWORD)
    again = admin("users", "restore", someone.email, "-o", "json").ok()
    assert (again.json["changed"], "already" in again.err) == (False, True)


def test_a_suspended_operator_is_out_everywhere(as_user: AsUser, admin: Bazar, people: People) -> None:
    me = people.superuser()
    bazar = as_user(me)
    bazar("users", "me").ok()
    admin("users", "suspend", me.email, *REASON, "--yes").ok()
    # Where Auth itself verifies tokens, as those signed with a secret, it knows the session no more.
    assert bazar("users", "me").code in {4, 5}
    # What writes asks Supabase first, which knows the session no more, or the ban.
    assert bazar("users", "update", me.email, "--name", "X").code == 4


def test_update_email_changes_both_systems(
    admin: Bazar, people: People, someone: Someone, unique_email: AsEmail
) -> None:
    email = unique_email("new")
    done = admin("users", "update", someone.email, "--email", email, "--name", "Ada", "-o", "json").ok()
    assert (done.json["email"], done.json["name"], done.json["pending"]) == (email, "Ada", None)
    assert people.signs_in(email, OLD_PASSWORD)
    # The same command, after an end that nobody saw.
    admin("users", "update", someone.email, "--email", email, "--name", "Ada").ok()
    assert len(people.events(someone.id)) == 1


def test_update_email_to_one_that_is_taken(admin: Bazar, people: People, someone: Someone) -> None:
    other = people.user()
    done = admin("users", "update", someone.email, "--email", other.email, "-o", "json")
    assert (done.code, done.error["code"]) == (6, "users.email_exists")


def test_update_email_is_for_superusers(as_user: AsUser, people: People, unique_email: AsEmail) -> None:
    org = people.org()
    owner, member = people.user({org: Role.OWNER}, plan=Plan.PREMIUM), people.user({org: Role.MEMBER})
    done = as_user(owner)("users", "update", member.email, "--email", unique_email("new"), "-o", "json")
    assert (done.code, done.error["code"]) == (5, "access.platform")
