"""`bazar users sessions list` and `bazar users sessions revoke`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

import psycopg
import pytest

from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.postgres import limited_role

AsUser = Callable[[Someone], Bazar]
JSON = ("-o", "json")
VERBS = pytest.mark.parametrize("verb", ["list", "revoke"])


def signed_in(people: People, times: int = 1) -> Someone:
    """A user who signed in this number of times."""
    someone = people.user()
    people.identity(someone)
    for _ in range(times):
        people.access_token(someone)
    return someone


def sessions_of(people: People, someone: Someone) -> int:
    return len(people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", someone.id))


def test_sessions_are_listed_the_newest_first(admin: Bazar, people: People) -> None:
    someone = signed_in(people, 2)
    items = admin("users", "sessions", "list", someone.email, *JSON).ok().json["items"]
    rows = people.sql("SELECT * FROM auth.sessions WHERE user_id = %s ORDER BY created_at DESC", someone.id)
    assert [item["id"] for item in items] == [str(row["id"]) for row in rows]
    assert list(items[0]) == [
        "id",
        "current",
        "created_at",
        "refreshed_at",
        "user_agent",
        "ip",
        "aal",
        "not_after",
    ]
    assert items[0] == {
        "id": str(rows[0]["id"]),
        "current": False,
        "created_at": rows[0]["created_at"].astimezone(timezone.utc).isoformat().replace("+00:00", "Z"),
        "refreshed_at": None,
        "user_agent": rows[0]["user_agent"],
        "ip": "127.0.0.1",
        "aal": "aal1",
        "not_after": None,
    }


def test_times_are_utc_whatever_the_databases_zone(admin: Bazar, people: People) -> None:
    someone = signed_in(people)
    people.sql("UPDATE auth.sessions SET refreshed_at = '2026-01-02 03:04:05' WHERE user_id = %s", someone.id)
    (item,) = admin("users", "sessions", "list", someone.email, *JSON).ok().json["items"]
    assert item["refreshed_at"] == "2026-01-02T03:04:05Z"


def test_ones_own_session_is_marked_and_needs_no_permission(as_user: AsUser, people: People) -> None:
    me = people.user(plan=Plan.FREE)
    bazar = as_user(me)
    people.access_token(me)
    for named in (me.email.upper(), str(me.id)):
        items = bazar("users", "sessions", "list", named, *JSON).ok().json["items"]
        assert sorted(item["current"] for item in items) == [False, True]


def test_nobody_signed_in_is_an_empty_list(admin: Bazar, people: People) -> None:
    done = admin("users", "sessions", "list", people.user().email, *JSON).ok()
    assert done.json == {"items": [], "next_cursor": None}


def test_revoked_sessions_cannot_be_refreshed_and_nobody_elses_ends(admin: Bazar, people: People) -> None:
    someone, other = signed_in(people), signed_in(people)
    answer = people.auth(
        "POST", "/token?grant_type=password", {"email": someone.email, "password": OLD_PASSWORD}
    ).json()

    done = admin("users", "sessions", "revoke", someone.email, *JSON).ok()

    assert (done.json["user_id"], done.json["email"], done.json["sessions_ended"]) == (
        str(someone.id),
        someone.email,
        2,
    )
    assert sessions_of(people, someone) == 0
    assert sessions_of(people, other) == 1
    renewed = people.auth("POST", "/token?grant_type=refresh_token", {"refresh_token": answer["refresh_token"]})
    assert renewed.status_code == 400
    assert people.signs_in(someone.email, OLD_PASSWORD)
    until = datetime.fromisoformat(done.json["tokens_valid_until"].replace("Z", "+00:00")).timestamp()
    assert until == int(until)
    assert time.time() + answer["expires_in"] - 30 < until < time.time() + answer["expires_in"] + 30
    assert done.json["tokens_valid_until"] in done.err
    (event,) = people.events(someone.id)
    assert (event["use_case"], event["outcome"]) == ("users.sessions.revoke", "done")
    assert (event["before"], event["after"]) == ({"sessions": 2}, {"sessions": 0})


@pytest.mark.parametrize("before", [True, False])
def test_no_session_is_no_event_and_no_time(admin: Bazar, people: People, before: bool) -> None:
    someone = people.user()
    people.identity(someone)
    if before:
        people.access_token(someone)
        people.sql("DELETE FROM auth.sessions WHERE user_id = %s", someone.id)
    done = admin("users", "sessions", "revoke", someone.email, *JSON).ok()
    assert (done.json["sessions_ended"], done.json["tokens_valid_until"]) == (0, None)
    assert ("valid until they expire" if before else "never signed in") in done.err
    assert people.events(someone.id) == []


def test_dry_run_counts_and_ends_nothing(admin: Bazar, people: People) -> None:
    someone = signed_in(people, 2)
    before = people.everything()
    assert admin("users", "sessions", "revoke", someone.email, "--dry-run", *JSON).ok().json["sessions_ended"] == 2
    assert people.everything() == before


def test_ones_own_end_with_the_session_of_the_command(signed_out: Bazar, people: People) -> None:
    me = signed_in(people)
    store = Sessions.of(people.target, signed_out.environment())
    with AuthClient(people.target) as client:
        store.save(client.sign_in(me.email, Secret(OLD_PASSWORD)))

    planned = signed_out("users", "sessions", "revoke", me.email, "--dry-run", *JSON).ok()
    assert (planned.json["sessions_ended"], store.load() is None) == (2, False)
    done = signed_out("users", "sessions", "revoke", me.email, *JSON).ok()

    assert done.json["sessions_ended"] == 2
    assert "bazar auth login" in done.err
    assert sessions_of(people, me) == 0
    assert store.load() is None
    assert signed_out("users", "me", *JSON).error["code"] == "auth.not_signed_in"


def test_a_stored_session_of_somebody_else_stays(signed_out: Bazar, people: People) -> None:
    me, other = signed_in(people), signed_in(people)
    store = Sessions.of(people.target, signed_out.environment())
    with AuthClient(people.target) as client:
        store.save(client.sign_in(other.email, Secret(OLD_PASSWORD)))
    bazar = signed_out.having(BAZAR_TOKEN=people.access_token(me))
    bazar("users", "sessions", "revoke", me.email).ok()
    assert store.load() is not None


@VERBS
def test_the_session_of_the_command_has_ended(people: People, signed_out: Bazar, verb: str) -> None:
    me = people.superuser()
    people.identity(me)
    bazar = signed_out.having(BAZAR_TOKEN=people.access_token(me))
    people.sql("DELETE FROM auth.sessions WHERE user_id = %s", me.id)
    done = bazar("users", "sessions", verb, people.user().email, *JSON)
    assert (done.code, done.out, done.error["code"]) == (4, "", "auth.session_revoked")


# -- where the sessions cannot be seen ----------------------------------------------------------------------


@VERBS
def test_a_database_of_another_project(
    target: Target, people: People, signed_out: Bazar, fresh_database: Callable[..., str], verb: str
) -> None:
    """Its `auth.sessions` is there, and says nothing about this project."""
    me = people.superuser()
    people.identity(me)
    token = people.access_token(me)
    url = fresh_database(migrated=True)
    with psycopg.connect(url) as other:
        other.execute(
            "INSERT INTO bazar.users (id, email, plan, is_superuser) VALUES (%s, %s, 'premium', true)",
            (me.id, me.email),
        )
        other_email = "other@example.com"
        other.execute("INSERT INTO bazar.users (id, email) VALUES (gen_random_uuid(), %s)", (other_email,))
    bazar = signed_out.having(DATABASE_URL=url, BAZAR_TOKEN=token)
    for named, step in (
        (me.email, "auth logout --everywhere"),
        (other_email, f"users suspend {other_email} --reason TEXT`"),
    ):
        done = bazar("users", "sessions", verb, named, *JSON)
        assert (done.code, done.out, done.error["code"]) == (6, "", "users.sessions_unreadable")
        assert step in done.error["hint"]
        assert done.error["details"].keys() == {"user_id"}
    assert sessions_of(people, me) == 1


@pytest.mark.parametrize(("granted", "lists"), [("SELECT", True), ("DELETE", False)])
def test_a_database_user_who_may_do_half_of_it(
    target: Target, people: People, as_user: AsUser, granted: str, lists: bool
) -> None:
    me, someone = people.superuser(), signed_in(people)
    bazar = as_user(me)
    url = target.database_url.reveal()
    with limited_role(url, "BYPASSRLS", "SELECT ON auth.users", f"{granted} ON auth.sessions") as half:
        limited = bazar.having(DATABASE_URL=half)
        listed = limited("users", "sessions", "list", someone.email, *JSON)
        assert (listed.code == 0) == lists, listed.err
        revoked = limited("users", "sessions", "revoke", someone.email, *JSON)
        assert (revoked.code, revoked.error["code"]) == (6, "users.sessions_unreadable")
        assert sessions_of(people, someone) == 1


# -- whose --------------------------------------------------------------------------------------------------


@VERBS
def test_memberships_out_of_reach_count_for_the_rules(as_user: AsUser, people: People, verb: str) -> None:
    acme, beta = people.org(), people.org()
    shared = people.user({acme: Role.MEMBER, beta: Role.MEMBER})
    bazar = as_user(people.user({acme: Role.OWNER}, plan=Plan.PREMIUM))
    done = bazar("users", "sessions", verb, shared.email, *JSON)
    assert (done.code, done.error["code"]) == (5, "access.role")
    doing = "read the sessions of" if verb == "list" else "change"
    assert done.error["message"].startswith(f"to {doing} {shared.email} you need")
