"""`bazar auth token`."""

from __future__ import annotations

import pytest

from tests.cli.auth.support import sign_in, stored_session
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, Someone

pytestmark = pytest.mark.live


def test_token_alone_serves_many_commands(signed_out: Bazar, member: Someone, nobody: Bazar) -> None:
    sign_in(signed_out, member).ok()
    printed = signed_out("auth", "token").ok()
    assert (printed.out, printed.err) == (stored_session(signed_out)["access_token"] + "\n", "")
    agent = Bazar(nobody.home / "agent", {**signed_out.environ, "BAZAR_TOKEN": printed.out.strip()})
    assert agent("users", "me", "-o", "ids").ok().out == f"{member.id}\n"
    assert agent("auth", "token").ok().out == printed.out


def test_fields(signed_out: Bazar, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    shown = signed_out("auth", "token", "-o", "json", "--debug").ok()
    assert shown.json.keys() == {"access_token", "expires_at"}
    assert shown.json["access_token"] == stored_session(signed_out)["access_token"]
    assert shown.json["access_token"] not in shown.err


def test_nobody(signed_out: Bazar) -> None:
    done = signed_out("auth", "token")
    assert (done.code, done.out) == (4, "")


def test_loop_of_a_script_signs_in_once(signed_out: Bazar, root: Someone) -> None:
    bazar = signed_out.having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    token = bazar("auth", "token", "--no-input").ok().out.strip()
    assert not (bazar.home / "config").exists()
    agent = bazar.lacking("SUPERUSER_EMAIL", "SUPERUSER_PASSWORD").having(BAZAR_TOKEN=token)
    assert agent("users", "me", "-o", "ids").ok().out == f"{root.id}\n"
