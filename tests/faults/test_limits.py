"""Supabase Auth answers 429: the error says in words and for machines when to try again, as far as Supabase does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from tests.cli.auth.support import sign_in
from tests.support.auth_proxy import AuthProxy, Fault
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone

Email = Callable[[str], str]
USER = r"/admin/users/[0-9a-f-]{36}"
LIST = r"/admin/users\?.*"
RESET = ("users", "reset-password", "USER")

COMMANDS = {
    "create": ("users.create_unfinished", "POST", "/admin/users", ("users", "create", "NEW")),
    "adopt, look": ("supabase.unavailable", "GET", LIST, ("users", "adopt", "STRANGER")),
    "invite": ("supabase.rate_limited", "POST", "/invite.*", ("users", "create", "NEW", "--invite")),
    "suspend": ("users.suspend_unfinished", "PUT", USER, ("users", "suspend", "USER", "--reason", "x", "--yes")),
    "restore": ("users.restore_unfinished", "PUT", USER, ("users", "restore", "BANNED")),
    "delete": ("users.delete_unfinished", "DELETE", USER, ("users", "delete", "USER", "--confirm", "USER")),
    "delete, look": ("users.delete_unfinished", "GET", USER, ("users", "delete", "USER", "--confirm", "USER")),
    "adopt": ("users.adopt_unfinished", "PUT", USER, ("users", "adopt", "STRANGER")),
    "email": ("users.email_unfinished", "PUT", USER, ("users", "update", "USER", "--email", "NEW")),
    "reset": ("supabase.rate_limited", "POST", "/recover.*", RESET),
    "link": ("supabase.rate_limited", "POST", "/admin/generate_link.*", (*RESET, "--print-link")),
    "reset, look": ("supabase.unavailable", "GET", USER, RESET),
}


@pytest.fixture
def words(people: People, unique_email: Email, admin: Bazar) -> Callable[[tuple[str, ...]], list[str]]:
    """The words of a command, about people who are there."""

    def known(words: tuple[str, ...]) -> list[str]:
        stranger, user, new = (unique_email(name) for name in ("stranger", "user", "new"))
        if "STRANGER" in words:
            people.auth("POST", "/admin/users", {"email": stranger, "email_confirm": True}).raise_for_status()
        if {"USER", "BANNED"} & set(words):
            admin("users", "create", user).ok()
        if "BANNED" in words:
            admin("users", "suspend", user, "--reason", "x", "--yes").ok()
        given = {"NEW": new, "STRANGER": stranger, "USER": user, "BANNED": user}
        return [given.get(word, word) for word in words]

    return known


def told(done: Done, code: str) -> tuple[object, str]:
    """What the error says of when, for machines and in its hint."""
    assert (done.code, done.error["code"], done.out) == (7, code, "")
    assert done.error["details"]["status"] == 429
    return done.error["details"].get("retry_after"), done.error["hint"]


@pytest.mark.parametrize(("code", "method", "path", "command"), COMMANDS.values(), ids=COMMANDS.keys())
def test_change_says_when_to_try_again(
    faulty: Bazar,
    proxy: AuthProxy,
    words: Callable[[tuple[str, ...]], list[str]],
    code: str,
    method: str,
    path: str,
    command: tuple[str, ...],
) -> None:
    asked = [*words(command), "-o", "json"]
    fault = proxy.add(Fault(method, path, 429, retry_after="7"))
    seconds, hint = told(faulty(*asked), code)
    assert (fault.met, seconds, hint.count("try again in 7 s")) == (1, 7, 1)
    proxy.add(Fault(method, path, 429, page=True))
    seconds, hint = told(faulty(*asked), code)
    assert (seconds, hint.count("wait a minute and try again")) == (None, 1)
    faulty(*asked).ok()


@pytest.mark.parametrize("command", ["create", "suspend", "adopt", "email"])
def test_look_that_is_limited_too_and_does_not_say_for_how_long(
    faulty: Bazar, proxy: AuthProxy, words: Callable[[tuple[str, ...]], list[str]], command: str
) -> None:
    code, method, path, line = COMMANDS[command]
    asked = [*words(line), "-o", "json"]
    proxy.add(Fault(method, path, 429, retry_after="7", lasting=True))
    seconds, hint = told(faulty(*asked), code)
    assert (seconds, hint.count("try again in 7 s")) == (7, 1)


def test_pause_until_a_moment(faulty: Bazar, proxy: AuthProxy, unique_email: Email) -> None:
    until = datetime.now(timezone.utc) + timedelta(hours=10)
    proxy.add(Fault("POST", "/admin/users", 429, retry_after=format_datetime(until, usegmt=True)))
    seconds, hint = told(faulty("users", "create", unique_email("late"), "-o", "json"), "users.create_unfinished")
    assert isinstance(seconds, int)
    assert 0 < seconds <= 36_000
    assert f"try again in {seconds} s" in hint


@pytest.mark.parametrize("page", [False, True], ids=["json", "page"])
def test_signing_in(faulty: Bazar, proxy: AuthProxy, root: Someone, page: bool) -> None:
    bazar = faulty.lacking("BAZAR_TOKEN")
    proxy.add(Fault("POST", r"/token\?.*", 429, retry_after="7", page=page))
    seconds, hint = told(sign_in(bazar, root), "supabase.rate_limited")
    assert seconds == 7
    assert hint.startswith("try again in 7 s; ")
    proxy.add(Fault("POST", r"/token\?.*", 429, page=page))
    seconds, hint = told(sign_in(bazar, root), "supabase.rate_limited")
    assert seconds is None
    assert hint.startswith("wait a minute and try again; ")
    sign_in(bazar, root).ok()
