"""`bazar users promote` and `bazar users demote`."""

from __future__ import annotations

import pytest

from bazar_cli.domain.entities import Plan
from tests.support.cli import Bazar
from tests.support.people import People

pytestmark = pytest.mark.live


def test_promoted_and_demoted(admin: Bazar, people: People) -> None:
    someone = people.user(plan=Plan.PREMIUM)
    confirm = ("--confirm", someone.email.upper(), "-o", "json")

    promoted, again = (admin("users", "promote", someone.email, *confirm).ok() for _ in range(2))
    demoted, done = (admin("users", "demote", str(someone.id), *confirm).ok() for _ in range(2))

    assert (promoted.json["is_superuser"], promoted.err) == (True, "")
    assert again.err == f"{someone.email} is a superuser already; nothing was changed\n"
    assert (demoted.json["is_superuser"], demoted.err) == (False, "")
    assert done.err == f"{someone.email} is not a superuser; nothing was changed\n"
    assert admin("users", "demote", str(someone.id), *confirm, "-q").ok().err == ""


def test_superuser_off_premium_is_told_what_is_missing(admin: Bazar, people: People) -> None:
    someone = people.user(plan=Plan.PLUS)
    done = admin("users", "promote", someone.email, "--confirm", someone.email).ok()
    assert f"{someone.email} is on Plus" in done.err
    assert f"`bazar plans assign {someone.email} premium`" in done.err


@pytest.mark.parametrize("verb", ["promote", "demote"])
def test_without_confirmation_the_command_to_run_is_named(admin: Bazar, people: People, verb: str) -> None:
    someone = people.user(superuser=verb == "demote")
    for words in ((), ("--yes",), ("--confirm", "other@example.com")):
        done = admin("users", verb, someone.email, *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (10, "", "users.confirm_mismatch")
        assert f"bazar users {verb} {someone.email} --confirm {someone.email}" in done.error["hint"]
    assert people.events(someone.id) == []


@pytest.mark.parametrize("verb", ["promote", "demote"])
def test_command_with_nothing_to_do_asks_for_no_confirmation(admin: Bazar, people: People, verb: str) -> None:
    someone = people.user(superuser=verb == "promote")
    assert "nothing was changed" in admin("users", verb, someone.email).ok().err
