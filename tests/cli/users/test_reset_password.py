"""`bazar users reset-password`: a mail by Supabase, or the link itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from tests.support.auth_proxy import Asked, Fault, auth_proxy, between
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone

Email = Callable[[str], str]
AsUser = Callable[[Someone], Bazar]
JSON = ("-o", "json")
RESET = ("users", "reset-password")
WAYS = pytest.mark.parametrize("way", [(), ("--print-link",)], ids=["mail", "link"])


def mails_to(people: People, someone: Someone) -> list[dict[str, Any]]:
    return people.sql("SELECT kind, link FROM bazar_auth.mails WHERE recipient = %s ORDER BY id", someone.email)


def opened(people: People, link: str) -> str:
    """Open a link; return whom it signs in."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    answer = people.auth("POST", "/verify", {"type": query["type"], "token_hash": query["token"]})
    return str(answer.raise_for_status().json()["user"]["id"])


def events(people: People, someone: Someone) -> list[tuple[str, str, object]]:
    return [(e["use_case"], e["outcome"], e["after"]) for e in people.events(someone.id)]


def test_supabase_mails_a_link_that_signs_the_user_in(admin: Bazar, people: People) -> None:
    someone = people.known_user()

    done = admin(*RESET, someone.email, *JSON).ok()

    assert done.json == {"user_id": str(someone.id), "email": someone.email, "mailed": True}
    assert someone.email in done.err
    [mail] = mails_to(people, someone)
    assert mail["kind"] == "recovery"
    assert opened(people, mail["link"]) == str(someone.id)
    assert events(people, someone) == [("users.reset-password", "done", {"recovery": "mail"})]
    assert people.signs_in(someone.email, OLD_PASSWORD)


def test_printed_link_appears_once_and_nowhere_else(admin: Bazar, people: People, tmp_path: Path) -> None:
    someone, log = people.known_user(), tmp_path / "log"

    done = admin(*RESET, someone.email, "--print-link", "--debug", "--log-file", str(log), *JSON).ok()

    link = str(done.json["link"])
    token = parse_qs(urlsplit(link).query)["token"][0]
    assert done.json["mailed"] is False
    assert done.out.count(token) == 1
    assert token not in done.err + log.read_text()
    assert token not in str(people.sql("SELECT * FROM bazar.audit_events"))
    assert mails_to(people, someone) == []
    assert opened(people, link) == str(someone.id)
    assert events(people, someone) == [("users.reset-password", "done", {"recovery": "link"})]


@pytest.mark.parametrize("output", [("-o", "ids"), ("--fields", "email")])
def test_output_that_would_lose_the_link_is_refused(admin: Bazar, people: People, output: tuple[str, ...]) -> None:
    someone = people.known_user()
    done = admin(*RESET, someone.email, "--print-link", *output)
    assert (done.code, done.out) == (2, "")
    assert events(people, someone) == []


@WAYS
def test_dry_run_asks_for_nothing(admin: Bazar, people: People, way: tuple[str, ...]) -> None:
    someone = people.known_user()
    before = people.everything()
    done = admin(*RESET, someone.email, *way, "--dry-run", *JSON).ok()
    assert "link" not in done.json
    assert people.everything() == before
    assert mails_to(people, someone) == []


@WAYS
@pytest.mark.parametrize(
    ("state", "pending", "code"),
    [
        (UserState.SUSPENDED, None, "users.suspended"),
        (UserState.ACTIVE, Pending.CREATE, "users.pending"),
        (UserState.ACTIVE, Pending.DELETE, "users.pending"),
    ],
)
def test_a_user_out_of_service_gets_no_mail(
    admin: Bazar, people: People, way: tuple[str, ...], state: UserState, pending: Pending | None, code: str
) -> None:
    someone = people.known_user(state=state, pending=pending)
    before = people.everything()
    for dry in ((), ("--dry-run",)):
        done = admin(*RESET, someone.email, *way, *dry, *JSON)
        assert (done.code, done.error["code"]) == (6, code)
    assert people.everything() == before


@WAYS
@pytest.mark.parametrize("there", ["nowhere", "with another address"])
def test_address_without_the_identity_of_the_user_gets_no_mail(
    admin: Bazar, people: People, unique_email: Email, way: tuple[str, ...], there: str
) -> None:
    someone = people.user()
    if there == "with another address":
        people.identity(Someone(someone.id, unique_email("moved")))
        people.identity(Someone(uuid.uuid4(), someone.email))
    before = people.everything()
    done = admin(*RESET, someone.email, *way, *JSON)
    code = "users.identity_missing" if there == "nowhere" else "users.email_differs"
    assert (done.code, done.error["code"]) == (6, code)
    if there != "nowhere":
        assert f"`bazar users update {someone.email} --email {someone.email}`" in done.error["hint"]
    assert people.everything() == before
    assert mails_to(people, someone) == []


def test_link_of_another_identity_is_not_shown(admin: Bazar, people: People, unique_email: Email) -> None:
    """A stranger takes the address between the look and the link."""
    someone = people.known_user()

    def answer(asked: Asked) -> httpx.Response:
        if asked.path.endswith("/generate_link"):
            people.auth("PUT", f"/admin/users/{someone.id}", {"email": unique_email("moved")}).raise_for_status()
            people.identity(Someone(uuid.uuid4(), someone.email))
        return asked.passed_on(people.target.supabase_url)

    with between(answer) as url:
        done = admin.having(SUPABASE_URL=url)(*RESET, someone.email, "--print-link", *JSON)

    assert (done.code, done.out, done.error["code"]) == (6, "", "users.email_differs")
    assert done.error["details"] == {"user_id": str(someone.id), "email": someone.email}
    assert [outcome for _, outcome, _ in events(people, someone)] == ["done", "undone"]


def test_a_second_mail_too_soon_is_refused_by_supabase(admin: Bazar, people: People) -> None:
    someone = people.known_user()
    admin(*RESET, someone.email).ok()
    people.sql("UPDATE auth.users SET recovery_sent_at = now() + interval '1 hour' WHERE id = %s", someone.id)
    done = admin(*RESET, someone.email, *JSON)
    assert (done.code, done.error["code"]) == (7, "supabase.rate_limited")
    assert "wait a minute" in done.error["hint"]
    assert [outcome for _, outcome, _ in events(people, someone)] == ["done", "done", "undone"]
    assert len(mails_to(people, someone)) == 1


@pytest.mark.spread
@pytest.mark.parametrize(("way", "acts"), [((), False), (("--print-link",), True)], ids=["mail, before", "link, after"])
@pytest.mark.parametrize(
    ("status", "ends", "outcomes"),
    [
        (500, (7, "users.reset_unfinished"), ["done"]),
        (None, (7, "users.reset_unfinished"), ["done"]),
        (429, (7, "supabase.rate_limited"), ["done", "undone"]),
        (401, (6, "supabase.key_refused"), ["done", "undone"]),
        (422, (6, "users.reset_refused"), ["done", "undone"]),
    ],
)
def test_faults_of_auth_are_named_and_running_again_helps(
    admin: Bazar,
    people: People,
    way: tuple[str, ...],
    acts: bool,
    status: int | None,
    ends: tuple[int, str],
    outcomes: list[str],
) -> None:
    someone = people.known_user()
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("POST", "/recover|/admin/generate_link", status, acts=acts))
        done = admin.on(proxy.target)(*RESET, someone.email, *way, *JSON)
    assert (done.code, done.error["code"], done.out) == (*ends, "")
    if status != 401:
        assert ("a link" if "--print-link" in way else "a mail") + f" for {someone.email}" in done.error["message"]
        assert done.error["details"]["user_id"] == str(someone.id)
    if status not in {401, 422}:
        assert done.error["details"]["email"] == someone.email
    assert [outcome for _, outcome, _ in events(people, someone)] == outcomes
    if outcomes[-1] == "undone":
        assert people.events(someone.id)[-1]["reason"] == done.error["message"]
    admin(*RESET, someone.email, *way).ok()


def test_error_of_auths_database_names_triggers_at_once(admin: Bazar, people: People) -> None:
    someone = people.known_user()

    def answer(asked: Asked) -> httpx.Response:
        if asked.path.endswith("/generate_link"):
            return httpx.Response(500, json={"code": "unexpected_failure", "message": "Database error updating user"})
        return asked.passed_on(people.target.supabase_url)

    with between(answer) as url:
        done = admin.having(SUPABASE_URL=url)(*RESET, someone.email, "--print-link", *JSON)
    assert (done.code, done.error["code"]) == (7, "users.reset_unfinished")
    assert "tgrelid = 'auth.users'::regclass" in done.error["hint"]


def test_unconfirmed_user_is_confirmed_by_the_link(admin: Bazar, people: People) -> None:
    someone = people.user()
    people.identity(someone, confirmed=False)
    assert opened(people, admin(*RESET, someone.email, "--print-link", *JSON).ok().json["link"]) == str(someone.id)
    [identity] = people.identities(someone.email)
    assert identity["email_confirmed_at"] is not None


def test_foreign_memberships_are_not_shown(as_user: AsUser, people: People) -> None:
    acme, beta = people.org(), people.org()
    me = people.user({acme: Role.OWNER, beta: Role.OWNER}, plan=Plan.PREMIUM)
    someone = people.known_user(roles={acme: Role.MEMBER, beta: Role.MEMBER})
    assert as_user(me)(*RESET, someone.email, *JSON).ok().json.keys() == {"user_id", "email", "mailed"}
