"""`bazar users update` and `bazar users delete`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Plan, Role, UserState
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


def test_update_changes_the_name_and_leaves_one_event(admin: Bazar, people: People) -> None:
    someone = people.user(name="Old")
    assert admin("users", "update", someone.email, "--name", "New", "-o", "json").ok().json["name"] == "New"
    (event,) = people.events(someone.id)
    assert (event["use_case"], event["before"]["name"], event["after"]["name"]) == ("users.update", "Old", "New")


def test_update_to_what_is_so_already_says_so(admin: Bazar, people: People) -> None:
    someone = people.user(name="Ada")
    people.identity(someone)
    for words in (("--name", "Ada"), ("--email", someone.email), ("--email", someone.email, "--name", "Ada")):
        same = admin("users", "update", someone.email, *words, "-o", "json").ok()
        assert (same.json["name"], same.err) == (
            "Ada",
            f"{someone.email} already has these values; nothing was changed\n",
        )
    changed = admin("users", "update", someone.email, "--email", someone.email, "--name", "Bea").ok()
    assert (changed.err, len(people.events(someone.id))) == ("", 1)
    assert admin("users", "update", someone.email, "--name", "Bea", "-q").ok().err == ""


def test_update_since_guards_against_a_lost_change(admin: Bazar, people: People) -> None:
    someone = people.user(name="Old")
    seen = admin("users", "get", someone.email, "-o", "json").json["updated_at"]
    admin("users", "update", someone.email, "--name", "First", "--if-unchanged-since", seen).ok()
    late = admin("users", "update", someone.email, "--name", "Second", "--if-unchanged-since", seen, "-o", "json")
    assert (late.code, late.error["code"]) == (6, "users.changed_since")


def test_update_of_nothing_is_a_usage_error(admin: Bazar, people: People) -> None:
    assert admin("users", "update", people.user().email).code == 2


def test_member_of_higher_role_is_not_written(as_user: AsUser, people: People) -> None:
    org = people.org()
    owner = people.user({org: Role.OWNER}, name="Boss")
    done = as_user(people.user({org: Role.ADMIN}, plan=Plan.PREMIUM))("users", "update", owner.email, "--name", "X")
    assert done.code == 5
    assert (people.row(owner) or {})["name"] == "Boss"


def test_delete_takes_the_user_out_of_both_systems(admin: Bazar, people: People) -> None:
    someone = people.user()
    people.identity(someone)
    done = admin("users", "delete", someone.email, "--confirm", someone.email, "-o", "json").ok()
    assert done.json["email"] == someone.email
    assert people.row(someone) is None
    assert people.identities(someone.email) == []
    assert [e["use_case"] for e in people.events(someone.id)] == ["users.delete"]
    assert admin("users", "delete", someone.email, "--confirm", someone.email).code == 3


def test_delete_without_confirmation_names_the_command_and_writes_nothing(admin: Bazar, people: People) -> None:
    someone = people.user()
    for words in ((), ("--confirm", "other@example.com"), ("--yes",)):
        done = admin("users", "delete", someone.email, *words)
        assert done.code == 10
        assert f"bazar users delete {someone.email} --confirm {someone.email}" in done.err
    assert people.row(someone) is not None


def test_delete_dry_run(admin: Bazar, people: People) -> None:
    someone = people.user()
    for words in ((), ("--confirm", someone.email)):
        shown = admin("users", "delete", someone.email, *words, "--dry-run", "-o", "json").ok().json
        assert shown["id"] == str(someone.id)
    wrong = admin("users", "delete", someone.email, "--confirm", "other@example.com", "-n", "-o", "json")
    assert (wrong.code, wrong.error["code"]) == (10, "users.confirm_mismatch")
    assert (people.row(someone) or {})["pending"] is None


def test_nobody_deletes_themselves(as_user: AsUser, people: People) -> None:
    me = people.superuser()
    done = as_user(me)("users", "delete", me.email, "--confirm", me.email, "-o", "json")
    assert (done.code, done.error["code"]) == (5, "access.oneself")


def test_suspended_operator_is_out_at_once(as_user: AsUser, people: People) -> None:
    me = people.superuser()
    bazar = as_user(me)
    bazar("users", "me").ok()
    people.sql("UPDATE bazar.users SET state = %s WHERE id = %s", UserState.SUSPENDED.value, me.id)
    assert bazar("users", "me").code == 5
