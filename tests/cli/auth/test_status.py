"""`bazar auth status`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from uuid import uuid4

import pytest

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.target import Target
from tests.cli.auth.support import session_file, sign_in, stored_session
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import USER, wire_to

pytestmark = pytest.mark.live


def test_who_from_where_until_when(signed_out: Bazar, people: People) -> None:
    org = people.org()
    someone = people.user({org: Role.ADMIN}, plan=Plan.PLUS)
    people.identity(someone)
    sign_in(signed_out, someone).ok()
    shown = signed_out("auth", "status", "-o", "json").ok().json
    ends = datetime.fromisoformat(shown.pop("expires_at").replace("Z", "+00:00"))
    assert ends > datetime.now(timezone.utc)
    assert ends == datetime.fromisoformat(stored_session(signed_out)["expires_at"])
    assert shown == {
        "user_id": str(someone.id),
        "email": someone.email,
        "plan": "plus",
        "state": "active",
        "is_superuser": False,
        "organizations": [{"id": str(org.id), "slug": org.slug, "role": "admin"}],
        "target": "environment",
        "supabase_url": signed_out.environ["SUPABASE_URL"],
        "api_url": None,
        "source": "session",
        "stored_in": str(session_file(signed_out)),
        "confirmed": True,
    }
    table = signed_out("auth", "status").ok().out
    assert someone.email in table
    assert f"{org.slug}:admin" in table


def test_signed_out(signed_out: Bazar) -> None:
    done = signed_out("auth", "status", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (4, "", "auth.not_signed_in")
    assert "bazar auth login" in done.error["hint"]


def test_token_of_the_environment(as_user: Callable[[Someone], Bazar], member: Someone) -> None:
    bazar = as_user(member)
    done = bazar("auth", "status", "-o", "json", "--fields", "email,source,stored_in").ok()
    assert done.json == {"email": member.email, "source": "BAZAR_TOKEN", "stored_in": None}
    assert bazar.environ["BAZAR_TOKEN"] not in done.out + done.err


def test_superuser_of_the_environment(signed_out: Bazar, root: Someone) -> None:
    bazar = signed_out.having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    done = bazar("auth", "status", "-o", "json", "--fields", "email,is_superuser,source").ok()
    assert done.json == {"email": root.email, "is_superuser": True, "source": "SUPERUSER_EMAIL"}
    assert not (bazar.home / "config").exists()


def test_session_that_was_revoked(signed_out: Bazar, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    sign_in(signed_out.having(BAZAR_CONFIG_DIR=str(signed_out.home / "elsewhere")), member).ok()
    token = signed_out("auth", "token").ok().out.strip()
    signed_out.having(BAZAR_CONFIG_DIR=str(signed_out.home / "elsewhere"))("auth", "logout", "--everywhere").ok()
    for bazar in (signed_out, signed_out.having(BAZAR_TOKEN=token)):
        done = bazar("auth", "status", "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (4, "", "auth.session_revoked")
        assert done.error["hint"]


@pytest.mark.embedded  # of a service that signs with a secret, only it can tell whose a token is
def test_auth_that_does_not_answer(signed_out: Bazar, member: Someone, target: Target) -> None:
    with wire_to(target) as wire:
        bazar = signed_out.on(wire.target)
        sign_in(bazar, member).ok()
        assert bazar("users", "me", "-o", "ids").ok().out == f"{member.id}\n"  # fills the cache of keys
        wire.answers[USER] = None
        done = bazar("auth", "status", "-o", "json", "--fields", "email,confirmed").ok()
    assert done.json == {"email": member.email, "confirmed": False}
    assert done.err.startswith("warning: it is unknown whether the session is still valid: Supabase Auth at ")


def test_identity_of_no_user(as_user: Callable[[Someone], Bazar], unique_email: Callable[[str], str]) -> None:
    stranger = Someone(uuid4(), unique_email("stranger"))
    shown = as_user(stranger)("auth", "status", "-o", "json").ok().json
    assert (shown["email"], shown["plan"], shown["state"]) == (stranger.email, None, None)


def test_session_that_others_can_read(signed_out: Bazar, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    session_file(signed_out).chmod(0o644)
    done = signed_out("auth", "status", "-o", "json")
    assert (done.code, done.error["code"]) == (4, "auth.session_unreadable")
    assert f"chmod 600 {session_file(signed_out)}" in done.error["hint"]
    sign_in(signed_out, member).ok()
    signed_out("auth", "status").ok()
