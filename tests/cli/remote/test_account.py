"""`bazar auth` on a remote target: the session is stored here, and only the server talks to Supabase."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.domain.entities import UserState
from bazar_cli.domain.target import RemoteTarget, TargetKind, TargetSource
from tests.cli.auth.support import let_it_end_soon, session_file, sign_in, stored_session
from tests.support.api_server import Api
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone

pytestmark = pytest.mark.xdist_group("remote")

JSON = ("-o", "json")
NEW_PASSWORD = "Another-horse-battery-1847"


@pytest.fixture
def someone(people: People) -> Someone:
    return people.known_user()


def test_signing_in_keeps_a_session_for_this_server(signed_out: Bazar, someone: Someone, api: Api) -> None:
    done = sign_in(signed_out, someone).ok()
    assert (done.json["email"], done.json["plan"], done.json["source"]) == (someone.email, "free", "session")
    assert (done.json["api_url"], done.json["supabase_url"]) == (api.url, None)
    assert done.json["stored_in"] == str(session_file(signed_out))
    assert session_file(signed_out).stat().st_mode & 0o777 == 0o600
    assert signed_out("users", "me", "-o", "ids").ok().out == f"{someone.id}\n"
    status = signed_out("auth", "status", *JSON).ok().json
    assert (status["confirmed"], status["expires_at"]) == (True, done.json["expires_at"])
    token = signed_out("auth", "token").ok().out.strip()
    assert token == stored_session(signed_out)["access_token"]
    assert signed_out.having(BAZAR_TOKEN=token)("users", "me", "-o", "ids").ok().out == f"{someone.id}\n"


def test_who_gets_the_password_is_said_first(signed_out: Bazar, someone: Someone, api: Api) -> None:
    done = signed_out("auth", "login", "--email", someone.email, "--password-stdin", stdin="wrong\n")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(f"the password is sent to the API at {api.url}\n")
    assert not (signed_out.home / "config" / "secrets").exists()


def test_session_that_ends_soon_is_renewed_first(signed_out: Bazar, someone: Someone) -> None:
    sign_in(signed_out, someone).ok()
    let_it_end_soon(signed_out)
    before = stored_session(signed_out)
    signed_out("users", "me").ok()
    after = stored_session(signed_out)
    assert after["refresh_token"] != before["refresh_token"]
    assert after["expires_at"] > before["expires_at"]


def test_refused_token_of_a_session_is_renewed_and_the_request_repeated(signed_out: Bazar, someone: Someone) -> None:
    sign_in(signed_out, someone).ok()
    stored = {**stored_session(signed_out), "access_token": "a.b.c"}
    session_file(signed_out).write_text(json.dumps(stored))
    assert signed_out("users", "me", "-o", "ids").ok().out == f"{someone.id}\n"
    assert stored_session(signed_out)["access_token"] != "a.b.c"


def test_commands_at_once_renew_once(signed_out: Bazar, someone: Someone, people: People) -> None:
    sign_in(signed_out, someone).ok()
    let_it_end_soon(signed_out)
    at_once = [signed_out.start("users", "me", "-o", "ids") for _ in range(4)]
    outputs = [process.communicate() for process in at_once]
    assert [process.returncode for process in at_once] == [0] * 4, outputs
    assert {out for out, _ in outputs} == {f"{someone.id}\n".encode()}
    tokens = people.sql("SELECT revoked FROM auth.refresh_tokens WHERE user_id = %s", str(someone.id))
    assert sorted(row["revoked"] for row in tokens) == [False, True]


def test_refresh_by_hand_is_for_a_stored_session(signed_out: Bazar, someone: Someone, people: People) -> None:
    sign_in(signed_out, someone).ok()
    before = stored_session(signed_out)
    assert signed_out("auth", "refresh", *JSON).ok().json["email"] == someone.email
    assert stored_session(signed_out)["refresh_token"] != before["refresh_token"]
    refused = signed_out.having(BAZAR_TOKEN=people.access_token(someone))("auth", "refresh", *JSON)
    assert (refused.code, refused.error["code"]) == (2, "auth.nothing_to_refresh")


@pytest.mark.parametrize("verb", ["refresh", "token"])
def test_suspended_operator_is_denied_and_the_denial_is_recorded(
    signed_out: Bazar, someone: Someone, people: People, verb: str
) -> None:
    sign_in(signed_out, someone).ok()
    people.sql("UPDATE bazar.users SET state = %s WHERE id = %s", UserState.SUSPENDED.value, someone.id)
    done = signed_out("auth", verb, *JSON)
    assert (done.code, done.out, done.error["code"]) == (5, "", "access.suspended")
    assert f"bazar auth {verb} is denied" in done.error["message"]
    [denial] = people.sql("SELECT outcome, use_case FROM bazar.audit_events WHERE operator_id = %s", someone.id)
    assert denial == {"outcome": "denied", "use_case": f"auth.{verb}"}


def test_signing_out_ends_the_session_here_and_there(signed_out: Bazar, someone: Someone, people: People) -> None:
    sign_in(signed_out, someone).ok()
    elsewhere = people.access_token(someone)
    assert signed_out("auth", "logout", *JSON).ok().json == {
        "was_signed_in": True,
        "ended_at_supabase": True,
        "everywhere": False,
    }
    assert signed_out("auth", "logout", *JSON).ok().json["was_signed_in"] is False
    done = signed_out("users", "me", *JSON)
    assert (done.code, done.error["code"]) == (4, "auth.not_signed_in")
    signed_out.having(BAZAR_TOKEN=elsewhere)("auth", "status").ok()


def test_signing_out_everywhere_ends_all_sessions(signed_out: Bazar, someone: Someone, people: People) -> None:
    sign_in(signed_out, someone).ok()
    elsewhere = people.access_token(someone)
    assert signed_out("auth", "logout", "--everywhere", *JSON).ok().json["everywhere"] is True
    assert not list((signed_out.home / "config").glob("secrets/session-*.json"))
    done = signed_out.having(BAZAR_TOKEN=elsewhere)("auth", "status", *JSON)
    assert (done.code, done.error["code"]) == (4, "auth.session_revoked")


@pytest.mark.parametrize("words", [(), ("--everywhere",)])
def test_session_whose_token_is_refused_is_ended_too(
    signed_out: Bazar, someone: Someone, people: People, words: tuple[str, ...]
) -> None:
    sign_in(signed_out, someone).ok()
    session_file(signed_out).write_text(json.dumps({**stored_session(signed_out), "access_token": "a.b.c"}))
    assert signed_out("auth", "logout", *words, *JSON).ok().json["ended_at_supabase"] is True
    assert people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", someone.id) == []
    assert not list((signed_out.home / "config").glob("secrets/session-*.json"))


def test_token_ends_only_the_stored_session_of_its_user(signed_out: Bazar, someone: Someone, people: People) -> None:
    sign_in(signed_out, someone).ok()
    other = people.known_user()
    bazar = signed_out.having(BAZAR_TOKEN=people.access_token(other))
    bazar("auth", "logout", "--everywhere").ok()
    assert stored_session(signed_out)["user_id"] == str(someone.id)
    signed_out("users", "me").ok()


def test_password_is_changed(signed_out: Bazar, someone: Someone, people: People) -> None:
    sign_in(signed_out, someone).ok()
    words = ("auth", "password", "--password-stdin")
    signed_out(*words, "--dry-run", stdin=NEW_PASSWORD).ok()
    assert people.signs_in(someone.email, OLD_PASSWORD)
    done = signed_out(*words, stdin=NEW_PASSWORD).ok()
    assert f"the password of {someone.email} was changed" in done.err
    assert people.signs_in(someone.email, NEW_PASSWORD)
    refused = signed_out(*words, *JSON, stdin="short")
    assert (refused.code, refused.error["code"]) == (2, "users.password_invalid")


def test_revoking_ones_own_sessions_forgets_the_stored_one(signed_out: Bazar, people: People) -> None:
    ruler = people.known_superuser()
    sign_in(signed_out, ruler).ok()
    done = signed_out("users", "sessions", "revoke", ruler.email).ok()
    assert "your own session has ended too" in done.err
    assert not list((signed_out.home / "config").glob("secrets/session-*.json"))


def test_superuser_of_the_environment_never_signs_in(signed_out: Bazar, people: People) -> None:
    ruler = people.known_superuser()
    bazar = signed_out.having(SUPERUSER_EMAIL=ruler.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    done = bazar("users", "me", "--no-input", *JSON)
    assert (done.code, done.error["code"]) == (4, "auth.not_signed_in")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("garbage", "it is not a JSON Web Token"),
        ("two words", "it is not a JSON Web Token"),
        ("gr\u00fcn", "it is not a JSON Web Token"),
        ("x.y.z\n", "it ends with a line break"),
    ],
)
def test_bad_token_is_named_with_its_variable(signed_out: Bazar, token: str, said: str) -> None:
    done = signed_out.having(BAZAR_TOKEN=token)("users", "me", *JSON)
    assert (done.code, done.out, done.error["code"]) == (4, "", "auth.token_invalid")
    assert done.error["message"].startswith("BAZAR_TOKEN is refused: ")
    assert said in done.error["message"]


def test_token_is_not_sent_to_a_server_of_a_found_file(
    signed_out: Bazar, someone: Someone, people: People, api: Api
) -> None:
    bazar = signed_out.lacking("BAZAR_API_URL").having(BAZAR_TOKEN=people.access_token(someone))
    file = bazar.folder("work") / ".env"
    file.write_text(f"BAZAR_API_URL={api.url}\n")
    done = bazar("users", "me", *JSON)
    assert (done.code, done.error["code"]) == (4, "auth.token_invalid")
    assert "was not named, so it is not sent" in done.error["message"]
    assert bazar("users", "me", "-o", "ids", "--env-file", ".env").ok().out == f"{someone.id}\n"


def test_session_of_a_project_is_not_that_of_a_server(signed_out: Bazar, someone: Someone, api: Api) -> None:
    sign_in(signed_out, someone).ok()
    source = TargetSource(TargetKind.PROFILE, "work")
    here = Sessions.of(RemoteTarget(TargetSource(TargetKind.ENVIRONMENT, ""), api.url), signed_out.environment()).load()
    assert here is not None
    Sessions("work", api.url, signed_out.environment()).save(here)
    assert Sessions.of(RemoteTarget(source, api.url), signed_out.environment()).load() is None


_IMPORTS = """
import json, os, sys
from bazar_cli.main import dispatch
code = dispatch(sys.argv[1:])
sys.stdout.flush()
print("\\n@@" + json.dumps([code, sorted(sys.modules), dict(os.environ)]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [("users", "get", "{me}"), ("users", "update", "{me}", "--name", "Ada"), ("users", "export"), ("auth", "status")],
)
def test_remote_process_holds_no_key_and_imports_no_driver(
    signed_out: Bazar, people: People, embedded_target: object, words: tuple[str, ...]
) -> None:
    ruler = people.known_superuser()
    bazar = signed_out.having(BAZAR_TOKEN=people.access_token(ruler))
    line = [word.format(me=ruler.email) for word in words]
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS, *line],
        env=bazar.environment(),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules, environ = json.loads(done.stderr.rpartition("@@")[2])
    assert code == 0, done.stderr
    heavy = {"sqlalchemy", "psycopg", "httpx", "supabase", "supabase_auth", "alembic", "pydantic", "jwt", "keyring"}
    assert not heavy & {name.partition(".")[0] for name in modules}
    assert not {"SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL"} & environ.keys()
    assert {name for name in modules if name.startswith("bazar_cli.adapters.")} & {"bazar_cli.adapters.remote.client"}
