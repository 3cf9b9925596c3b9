"""`bazar auth logout`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.cli.auth.support import session_file, sign_in, stored_session
from tests.support.cli import Bazar
from tests.support.people import People, Someone
from tests.support.tokens import Signer, claims_of, wire_to

pytestmark = pytest.mark.live


def is_alive(target: Target, refresh_token: str) -> bool:
    """Whether Supabase still renews a session."""
    with AuthClient(target) as client:
        try:
            client.refresh(Secret(refresh_token))
        except NotSignedIn:
            return False
        return True


def test_handed_out_token_stops_writing_at_once(signed_out: Bazar, people: People, root: Someone) -> None:
    sign_in(signed_out, root).ok()
    agent = signed_out.having(BAZAR_TOKEN=signed_out("auth", "token").ok().out.strip())
    agent("users", "update", root.email, "--name", "Before").ok()
    ended = signed_out("auth", "logout", "-o", "json").ok()
    assert ended.json == {"was_signed_in": True, "ended_at_supabase": True, "everywhere": False}
    late = agent("users", "update", root.email, "--name", "After", "-o", "json")
    assert (late.code, late.error["code"]) == (4, "auth.session_revoked")
    assert (people.row(root) or {})["name"] == "Before"
    assert signed_out("users", "me").code == 4


@pytest.mark.embedded  # a token that only Auth itself can verify stops reading at once, too
def test_copied_token_can_still_read(as_user: Callable[[Someone], Bazar], root: Someone) -> None:
    agent = as_user(root)
    assert agent("auth", "logout", "--everywhere", "-o", "json").ok().json["ended_at_supabase"] is True
    assert agent("users", "update", root.email, "--name", "After").code == 4
    agent("users", "me").ok()


def test_token_in_the_environment_is_explained(signed_out: Bazar, people: People, member: Someone) -> None:
    other = people.user()
    people.identity(other)
    agent = signed_out.having(BAZAR_TOKEN=people.access_token(other))
    signed_in = sign_in(agent, member).ok()
    assert "BAZAR_TOKEN is set and is used instead of the stored session" in signed_in.err
    ended = agent("auth", "logout", "-o", "json", "-q").ok()
    assert ended.json["was_signed_in"] is True
    assert "BAZAR_TOKEN is set and is still used" in ended.err
    assert agent("users", "me", "-o", "ids").ok().out == f"{other.id}\n"
    assert signed_out("auth", "logout").ok().err == "you were not signed in\n"


def test_logout_everywhere_of_a_token_keeps_the_stored_session_of_another_user(
    signed_out: Bazar, people: People, member: Someone
) -> None:
    other = people.user()
    people.identity(other)
    sign_in(signed_out, member).ok()
    signed_out.having(BAZAR_TOKEN=people.access_token(other))("auth", "logout", "--everywhere").ok()
    assert signed_out("users", "me", "-o", "ids").ok().out == f"{member.id}\n"
    signed_out.having(BAZAR_TOKEN=people.access_token(member))("auth", "logout", "--everywhere").ok()
    assert signed_out("users", "me").code == 4


def test_twice_is_fine(signed_out: Bazar, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    signed_out("auth", "logout").ok()
    again = signed_out("auth", "logout", "-o", "json").ok()
    assert (again.json["was_signed_in"], again.err) == (False, "you were not signed in\n")


def test_other_sessions_go_on(signed_out: Bazar, target: Target, member: Someone, tmp_path: Path) -> None:
    laptop, desk = signed_out, Bazar(tmp_path / "desk", signed_out.environ)
    for machine in (laptop, desk):
        sign_in(machine, member).ok()
    laptop("auth", "logout").ok()
    assert is_alive(target, stored_session(desk)["refresh_token"])


def test_everywhere_ends_all_sessions(signed_out: Bazar, target: Target, member: Someone, tmp_path: Path) -> None:
    laptop, desk = signed_out, Bazar(tmp_path / "desk", signed_out.environ)
    for machine in (laptop, desk):
        sign_in(machine, member).ok()
    ended = laptop("auth", "logout", "--everywhere", "-o", "json").ok()
    assert ended.json == {"was_signed_in": True, "ended_at_supabase": True, "everywhere": True}
    assert not is_alive(target, stored_session(desk)["refresh_token"])
    late = desk("auth", "password", "--password-stdin", "-o", "json", stdin="a-new-password")
    assert (late.code, late.error["code"]) == (4, "auth.session_revoked")
    assert laptop("auth", "logout", "--everywhere").code == 4


def test_everywhere_needs_a_session_that_holds(
    signed_out: Bazar, target: Target, people: People, member: Someone, tmp_path: Path
) -> None:
    sign_in(signed_out, member).ok()
    ended = people.access_token(member)
    with AuthClient(target) as client:
        client.sign_out(Secret(ended), "local")
    agent = Bazar(tmp_path / "agent", {**signed_out.environ, "BAZAR_TOKEN": ended})
    done = agent("auth", "logout", "--everywhere", "-o", "json")
    assert is_alive(target, stored_session(signed_out)["refresh_token"])
    assert done.code == 4


@pytest.mark.embedded
def test_session_whose_token_has_expired_is_ended_too(
    signed_out: Bazar, target: Target, member: Someone, auth_keys: AuthKeys
) -> None:
    sign_in(signed_out, member).ok()
    stored, past = stored_session(signed_out), int(time.time()) - 60
    expired = Signer.of(auth_keys).sign(claims_of(member, exp=past)).reveal()
    ended = {**stored, "access_token": expired, "expires_at": f"{time.strftime('%FT%T', time.gmtime(past))}+00:00"}
    session_file(signed_out).write_text(json.dumps(ended))
    done = signed_out("auth", "logout", "-o", "json").ok()
    assert done.json["ended_at_supabase"] is True
    assert not is_alive(target, stored["refresh_token"])


def test_session_is_forgotten_though_auth_is_down(signed_out: Bazar, target: Target, member: Someone) -> None:
    with wire_to(target) as wire:
        bazar = signed_out.on(wire.target)
        sign_in(bazar, member).ok()
        file = session_file(bazar)
        wire.cut = True
        done = bazar("auth", "logout", "-o", "json").ok()
    assert (done.json["was_signed_in"], done.json["ended_at_supabase"]) == (True, None)
    assert done.err.startswith("warning: ")
    assert not file.exists()


def test_broken_session_is_removed(signed_out: Bazar, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    file = session_file(signed_out)
    file.write_text("{")
    assert signed_out("users", "me", "-o", "json").error["code"] == "auth.session_unreadable"
    assert signed_out("auth", "logout", "-o", "json").ok().json["was_signed_in"] is True
    assert not file.exists()


def test_session_that_cannot_be_removed(signed_out: Bazar, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    file = session_file(signed_out)
    file.unlink()
    file.mkdir()
    done = signed_out("auth", "logout", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "files.unwritable")
