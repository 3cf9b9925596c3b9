"""The clocks of this machine and of Auth differ by 90 s, either way: everything works, and doctor says so."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bazar_cli.adapters.postgres.users.changes import LEASE_SECONDS
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.target import Target
from tests.cli.auth.support import let_it_end_soon, session_file, sign_in, stored_session
from tests.support.auth_proxy import held_wire
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import REFRESH, USER, Signer, Wire, claims_of, wire_to

# The services with a clock of their own are shared: all tests of this file run in one process.
pytestmark = pytest.mark.xdist_group("clocks")
ME = ("users", "me", "-o", "ids")
JSON = ("-o", "json")
AHEAD, BEHIND = 90, -90
"""Of this machine's clock against that of Auth."""
LIFETIME = {AHEAD: 89, BEHIND: 150}
"""Ahead, a token has ended before it comes, by its own word; behind, it lives on by that for 90 s after it ended."""


@pytest.fixture(scope="module")
def services(auth_keys: AuthKeys, database_url: str) -> Generator[dict[int, str]]:
    """An Auth service against whose clock this machine's is ahead, and one against whose it is behind."""
    settings = environment_of(auth_keys, database_url)
    with ExitStack() as stack:
        yield {
            off: stack.enter_context(
                running_auth_service({**settings, "GOTRUE_JWT_EXP": str(LIFETIME[off])}, clock=-off)
            )
            for off in (AHEAD, BEHIND)
        }


@pytest.fixture(params=[AHEAD, BEHIND], ids=["ahead", "behind"])
def off(request: pytest.FixtureRequest) -> int:
    """How many seconds this machine's clock is ahead of Auth's."""
    return int(request.param)


@pytest.fixture
def wire(target: Target, services: dict[int, str], off: int) -> Generator[Wire]:
    """The way to the Auth service whose clock differs."""
    with wire_to(replace(target, supabase_url=services[off])) as lent:
        yield lent


@pytest.fixture
def bazar(tmp_path: Path, wire: Wire, root: Someone) -> Bazar:
    """`bazar` signed in."""
    made = Bazar(tmp_path / "home").on(wire.target)
    sign_in(made, root).ok()
    return made


def rename(someone: Someone, name: str = "New") -> tuple[str, ...]:
    """A command that writes."""
    return ("users", "update", someone.email, "--name", name, *JSON)


def left(ends: str) -> float:
    """How many seconds a time is ahead of this machine's clock."""
    return (datetime.fromisoformat(ends.replace("Z", "+00:00")) - datetime.now(timezone.utc)).total_seconds()


# -- a stored session --------------------------------------------------------------------------------------------


def test_session_lasts_as_long_as_auth_says(bazar: Bazar, wire: Wire, off: int) -> None:
    shown = bazar("auth", "status", *JSON).ok().json
    assert LIFETIME[off] - 60 < left(shown["expires_at"]) <= LIFETIME[off]
    assert abs(left(stored_session(bazar)["expires_at"]) - left(shown["expires_at"])) < 1
    assert REFRESH not in wire.requests


def test_everything_works_and_nothing_is_renewed_before_its_time(
    bazar: Bazar, wire: Wire, people: People, root: Someone, unique_email: Callable[[str], str]
) -> None:
    assert bazar(*ME).ok().out == f"{root.id}\n"
    assert bazar(*rename(root)).ok().json["name"] == "New"
    email = unique_email("clock")
    bazar("users", "create", email, "--generate-password", *JSON).ok()
    bazar("users", "delete", email, "--confirm", email).ok()
    assert REFRESH not in wire.requests
    bazar("auth", "password", "--password-stdin", stdin="a-new-password").ok()
    bazar("auth", "refresh").ok()
    assert bazar(*ME).ok().out == f"{root.id}\n"
    assert wire.requests.count(REFRESH) == 1
    assert bazar("auth", "logout", *JSON).ok().json["ended_at_supabase"] is True
    assert people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", root.id) == []


def test_session_about_to_end_is_renewed_once(bazar: Bazar, wire: Wire) -> None:
    let_it_end_soon(bazar)
    for _ in range(3):
        bazar(*ME).ok()
    assert wire.requests.count(REFRESH) == 1


def test_handed_out_token_serves_until_it_ends(bazar: Bazar, root: Someone) -> None:
    agent = bazar.having(BAZAR_TOKEN=bazar("auth", "token").ok().out.strip())
    session_file(bazar).unlink()
    assert agent(*ME).ok().out == f"{root.id}\n"
    agent(*rename(root)).ok()


def test_superuser_of_the_environment(wire: Wire, root: Someone, tmp_path: Path) -> None:
    bazar = Bazar(tmp_path / "ci").on(wire.target).having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    assert bazar(*ME, "--no-input").ok().out == f"{root.id}\n"
    bazar(*rename(root), "--no-input").ok()


def test_doctor_names_the_difference_and_finds_the_session_well(bazar: Bazar, off: int) -> None:
    done = bazar("doctor", *JSON)
    found = {check["check"]: check for check in done.json["items"]}
    assert done.code == 9
    assert (found["clock"]["status"], found["session"]["status"]) == ("warning", "ok")
    measured = int(found["clock"]["detail"].removeprefix("this machine's clock is ").partition(" s ")[0])
    assert abs(measured - abs(off)) <= 2
    assert f" s {'ahead of' if off == AHEAD else 'behind'} Supabase Auth's" in found["clock"]["detail"]
    assert "NTP" in found["clock"]["remedy"]


# -- a token that has ended by Auth's clock alone ------------------------------------------------------------------


def ended_at_auth(bazar: Bazar, auth_keys: AuthKeys, someone: Someone, session_id: object) -> str:
    """Store a token that Auth's clock has ended half a minute ago, and this one ends only in a minute.

    As when the clock of this machine was set back after the sign-in.
    """
    ends = int(time.time()) + 60 + 30
    claims = claims_of(someone, iat=ends - 60, exp=ends - 30, session_id=str(session_id))
    token = Signer.of(auth_keys).sign(claims).reveal()
    expires_at = datetime.now(timezone.utc) + timedelta(seconds=75)
    content = {**stored_session(bazar), "access_token": token, "expires_at": expires_at.isoformat()}
    session_file(bazar).write_text(json.dumps(content))
    return token


@pytest.mark.parametrize("off", [BEHIND], indirect=True, ids=["behind"])
def test_write_renews_a_session_that_auth_calls_expired(
    bazar: Bazar, wire: Wire, people: People, root: Someone, auth_keys: AuthKeys
) -> None:
    (session,) = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", root.id)
    ended_at_auth(bazar, auth_keys, root, session["id"])
    bazar(*ME).ok()
    assert REFRESH not in wire.requests
    assert bazar(*rename(root)).ok().json["name"] == "New"
    assert wire.requests[-3:] == [USER, REFRESH, USER]


@pytest.mark.parametrize("off", [BEHIND], indirect=True, ids=["behind"])
def test_error_of_a_token_that_ended_names_the_way_to_another(
    bazar: Bazar, wire: Wire, people: People, root: Someone, auth_keys: AuthKeys
) -> None:
    (session,) = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", root.id)
    agent = bazar.having(BAZAR_TOKEN=ended_at_auth(bazar, auth_keys, root, session["id"]))
    agent(*ME).ok()
    for words in (rename(root), ("auth", "password", "--password-stdin", *JSON)):
        done = agent(*words, stdin="a-new-password")
        assert (done.code, done.out, done.error["code"]) == (4, "", "auth.token_invalid")
        assert "`bazar auth token`" in done.error["hint"]
    assert REFRESH not in wire.requests
    assert (people.row(root) or {})["name"] is None


def test_token_that_ended_by_both_clocks(bazar: Bazar, wire: Wire, root: Someone, auth_keys: AuthKeys) -> None:
    now = int(time.time())
    token = Signer.of(auth_keys).sign(claims_of(root, iat=now - 3800, exp=now - 200)).reveal()
    wire.requests.clear()
    for words in (("users", "me", *JSON), rename(root), ("auth", "status", *JSON)):
        done = bazar.having(BAZAR_TOKEN=token)(*words)
        assert (done.code, done.error["code"]) == (4, "auth.token_expired")
        assert "`bazar auth token`" in done.error["hint"]
    assert REFRESH not in wire.requests


def test_clock_that_is_hours_off_is_named(tmp_path: Path, target: Target, root: Someone) -> None:
    bazar = Bazar(tmp_path / "home").on(target)
    sign_in(bazar, root).ok()
    for hours, code, hint in ((2, "auth.token_expired", "clock"), (-2, "auth.token_invalid", "")):
        process = replace(bazar, clock=hours * 3600).start("users", "me", *JSON)
        _, told = process.communicate()
        error = json.loads(told)["error"]
        assert (process.returncode, error["code"]) == (4, code)
        assert hint in error["hint"]
        assert "clock" in error["message"]


# -- leases ------------------------------------------------------------------------------------------------------


_LOOKS = """
    SELECT query_start FROM pg_stat_activity
    WHERE query LIKE '%%lease_until > clock_timestamp()%%' AND pid <> pg_backend_pid() AND datname = current_database()
"""


@pytest.fixture
def here(tmp_path: Path, target: Target, people: People, root: Someone) -> Bazar:
    """`bazar` with a token, on the target whose clock is right."""
    return Bazar(tmp_path / "home").on(target).having(BAZAR_TOKEN=people.access_token(root))


def lease(people: People, someone: Someone) -> float:
    """How many seconds a user's lease still lasts by Postgres's clock."""
    (row,) = people.sql(
        "SELECT extract(epoch FROM lease_until - clock_timestamp()) AS seconds FROM bazar.users WHERE id = %s",
        someone.id,
    )
    return float(row["seconds"])


@pytest.mark.parametrize("clock", [AHEAD, BEHIND], ids=["ahead", "behind"])
def test_lease_is_written_by_the_clock_of_postgres(here: Bazar, target: Target, people: People, clock: int) -> None:
    someone = people.user()
    people.identity(someone)
    words = ("users", "delete", someone.email, "--confirm", someone.email)
    with (
        held_wire(target, "DELETE", "/admin/users", arrives=False) as wire,
        replace(here.on(wire.target), clock=clock).start(*words) as process,
    ):
        assert wire.held.wait(60)
        assert LEASE_SECONDS - 15 < lease(people, someone) <= LEASE_SECONDS
        process.send_signal(signal.SIGKILL)


def test_lease_that_postgres_ended_is_taken_by_a_machine_that_is_behind(here: Bazar, people: People) -> None:
    someone = leased(people, seconds=0)
    process = replace(here, clock=BEHIND).start("users", "delete", someone.email, "--confirm", someone.email)
    _, told = process.communicate()
    assert (process.returncode, people.row(someone)) == (0, None), told


def test_lease_that_postgres_holds_is_kept_by_a_machine_that_is_ahead(here: Bazar, people: People) -> None:
    someone = leased(people, seconds=60)
    looks: set[object] = set()
    with replace(here, clock=AHEAD).start("users", "delete", someone.email, "--confirm", someone.email) as process:
        # Each look at the row is a transaction of its own; after the third it has waited for two.
        while len(looks) < 3:
            assert process.poll() is None, "it took the lease"
            looks |= {row["query_start"] for row in people.sql(_LOOKS)}
        assert lease(people, someone) > 0
        people.sql("UPDATE bazar.users SET lease_owner = NULL, lease_until = NULL WHERE id = %s", someone.id)
        process.communicate()
    assert (process.returncode, people.row(someone)) == (0, None)


def leased(people: People, *, seconds: float) -> Someone:
    """A user whose deletion another command began, and holds the lease of."""
    someone = people.user(pending=Pending.DELETE)
    people.identity(someone)
    people.sql(
        "UPDATE bazar.users SET lease_owner = %s, lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = %s",
        uuid.uuid4(),
        seconds,
        someone.id,
    )
    return someone
