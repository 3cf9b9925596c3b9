"""`bazar auth refresh`, and the renewal that commands do by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.cli.auth.support import let_it_end_soon, session_file, sign_in, stored_session
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, Someone
from tests.support.tokens import REFRESH, wire_to

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


def test_session_is_renewed(signed_out: Bazar, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    before = stored_session(signed_out)
    done = signed_out("auth", "refresh", "-o", "json").ok()
    after = stored_session(signed_out)
    assert done.json["email"] == member.email
    assert after["refresh_token"] != before["refresh_token"]
    assert after["access_token"] not in done.out + done.err
    assert session_file(signed_out).stat().st_mode & 0o777 == 0o600
    signed_out("users", "me").ok()


def test_two_commands_at_once_renew_once(signed_out: Bazar, target: Target, member: Someone) -> None:
    with wire_to(target) as wire:
        bazar = signed_out.on(wire.target)
        sign_in(bazar, member).ok()
        let_it_end_soon(bazar)
        running = [bazar.start("users", "me", "-o", "ids") for _ in range(2)]
        ended = [(process.communicate(), process.returncode) for process in running]
    assert ended == [((f"{member.id}\n".encode(), b""), 0)] * 2
    assert wire.requests.count(REFRESH) == 1


def test_session_that_supabase_ended(signed_out: Bazar, as_user: AsUser, member: Someone, tmp_path: Path) -> None:
    sign_in(signed_out, member).ok()
    Bazar(tmp_path / "elsewhere", as_user(member).environ)("auth", "logout", "--everywhere").ok()
    done = signed_out("auth", "refresh", "-o", "json")
    # Where only Auth itself can verify the token, it says so before a renewal is tried.
    assert (done.code, done.out) == (4, "")
    assert done.error["code"] in {"auth.session_expired", "auth.session_revoked"}
    let_it_end_soon(signed_out)
    done = signed_out("users", "me", "-o", "json")
    assert (done.code, done.error["code"]) == (4, "auth.session_expired")


def test_token_alone_cannot_be_renewed(as_user: AsUser, signed_out: Bazar, member: Someone, root: Someone) -> None:
    done = as_user(member)("auth", "refresh", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "auth.nothing_to_refresh")
    assert "BAZAR_TOKEN" in done.error["message"]
    bazar = signed_out.having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    assert bazar("auth", "refresh", "-o", "json").error["code"] == "auth.nothing_to_refresh"


def test_nobody(signed_out: Bazar) -> None:
    assert signed_out("auth", "refresh").code == 4
