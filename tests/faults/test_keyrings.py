"""Commands whose keyring fails: none calls it a bug, none says what is not so, and own credentials need no keyring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.cli.auth.support import sign_in
from tests.support import keyrings
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone

VARIABLE = "PYTHON_KEYRING_BACKEND"
IMPATIENT = {"bazar_cli.adapters.config.system_keyring.SECONDS": 1.0}
"""Gives a keyring that hangs up after one second, in place of three."""


@pytest.fixture
def bazar(tmp_path: Path, target: Target) -> Bazar:
    """`bazar` with a keyring that works, as a desktop has it."""
    places = {"BAZAR_CONFIG_DIR": "", "XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
    chosen = {VARIABLE: keyrings.NAME, keyrings.FILE: str(tmp_path / "keyring.json")}
    return Bazar(tmp_path / "home").on(target).having(**places, **chosen)


@pytest.mark.parametrize("name", keyrings.KEEPS_NOTHING)
def test_sign_in_with_a_back_end_that_keeps_nothing_is_kept_in_a_file(bazar: Bazar, root: Someone, name: str) -> None:
    without = bazar.having(**{VARIABLE: name})
    stored_in = sign_in(without, root).ok().json["stored_in"]
    assert Path(stored_in).stat().st_mode & 0o777 == 0o600
    assert without("auth", "status", "-o", "json").ok().json["email"] == root.email


FAULTS = ("Raising", "Exiting", "Forgetful", "a module that is not there")
NEEDED, FOUND_NOTHING = (7, "keyring.unavailable"), (4, "auth.not_signed_in")
NOT_NEEDED = (0, "")
COMMANDS: dict[tuple[str, ...], tuple[tuple[int, str], tuple[int, str]]] = {
    ("auth", "status"): (NEEDED, FOUND_NOTHING),
    ("auth", "refresh"): (NEEDED, FOUND_NOTHING),
    ("auth", "token"): (NEEDED, FOUND_NOTHING),
    ("auth", "logout"): (NEEDED, NOT_NEEDED),
    ("auth", "logout", "--everywhere"): (NEEDED, FOUND_NOTHING),
    ("users", "list"): (NEEDED, FOUND_NOTHING),
    ("users", "create", "new@example.com"): (NEEDED, FOUND_NOTHING),
    ("db", "migrate"): (NEEDED, FOUND_NOTHING),
    ("config", "show"): (NOT_NEEDED, NOT_NEEDED),
    ("config", "profiles", "add", "new"): (NEEDED, NEEDED),
    ("config", "profiles", "list"): (NOT_NEEDED, NOT_NEEDED),
    ("config", "profiles", "use", "staging"): (NOT_NEEDED, NOT_NEEDED),
    ("config", "profiles", "remove", "staging"): (NEEDED, NOT_NEEDED),
}
"""How each ends where the keyring fails, and where it has forgotten all."""


@pytest.mark.parametrize("fault", FAULTS)
def test_every_command_names_the_keyring_that_fails(bazar: Bazar, root: Someone, people: People, fault: str) -> None:
    bazar("config", "profiles", "add", "staging").ok()
    sign_in(bazar, root).ok()
    sessions = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", root.id)
    faulty = bazar.having(**{VARIABLE: keyrings.FAULTY[fault]})
    if fault == "Forgetful":
        Path(bazar.environ[keyrings.FILE]).unlink()
    for words, expected in {("auth", "login"): (NEEDED, NEEDED), **COMMANDS}.items():
        done = sign_in(faulty, root) if words == ("auth", "login") else faulty(*words, "-o", "json")
        code, error = expected[fault == "Forgetful"]
        assert (done.code, done.error["code"] if code else "") == (code, error), (words, done)
    # What could not be kept does not live on at Supabase either.
    assert people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", root.id) == sessions


@pytest.mark.parametrize("fault", ["Locked", "Hanging", "no back end at all"])
def test_command_that_brings_its_own_credentials_needs_no_keyring(bazar: Bazar, root: Someone, fault: str) -> None:
    faulty = replace(bazar, constants=IMPATIENT).having(**{VARIABLE: keyrings.FAULTY[fault]})
    by_password = faulty.having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    token = by_password("auth", "token").ok().out.strip()
    by_token = faulty.having(BAZAR_TOKEN=token, **{keyrings.FILE: "/dev/full/none"})
    for words in (("users", "list"), ("auth", "status"), ("users", "promote", root.email, "--confirm", root.email)):
        by_token(*words).ok()
    assert by_token("doctor", "-o", "json").code in {0, 9}


@pytest.mark.parametrize(
    "state", ["broken", "readable by others", "a link", "in a folder of others", "a file for a folder"]
)
def test_command_that_brings_its_own_credentials_needs_no_session_file(bazar: Bazar, root: Someone, state: str) -> None:
    bazar = bazar.having(**{VARIABLE: keyrings.KEEPS_NOTHING[0]})
    session = Path(sign_in(bazar, root).ok().json["stored_in"])
    secrets = session.parent
    if state == "broken":
        session.write_text("{")
    elif state == "readable by others":
        session.chmod(0o644)
    elif state == "a link":
        session.rename(secrets / "elsewhere")
        session.symlink_to("elsewhere")
    elif state == "in a folder of others":
        secrets.chmod(0o777)
    else:
        secrets.rename(secrets.with_name("gone"))
        secrets.write_text("")
    assert bazar("users", "list", "-o", "json").code in {2, 4}
    by_password = bazar.having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    by_password("users", "list", "-o", "json").ok()
    by_password("users", "update", root.email, "--name", "Ada", "-o", "json").ok()


def test_logout_everywhere_of_a_token_needs_no_keyring(bazar: Bazar, root: Someone, people: People) -> None:
    locked = bazar.having(**{VARIABLE: keyrings.FAULTY["Locked"]}, BAZAR_TOKEN=people.access_token(root))
    assert locked("auth", "logout", "--everywhere", "-o", "json").ok().json["ended_at_supabase"] is True
    assert people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", root.id) == []


def test_keyring_that_hangs_is_given_up(bazar: Bazar, root: Someone, people: People) -> None:
    # A process of its own must end too, with a thread in it that never does.
    hanging = replace(bazar, constants=IMPATIENT).having(**{VARIABLE: keyrings.FAULTY["Hanging"]}, BAZAR_OUTPUT="json")
    process = hanging.start("auth", "status")
    _, told = process.communicate()
    assert process.returncode == 7
    assert b"has not answered for 1 s" in told
    assert people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", root.id) == []


def test_first_superuser_of_an_env_file_needs_no_keyring(
    bazar: Bazar, people: People, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    someone = people.user()
    people.identity(someone)
    values = {name: bazar.environ[name] for name in ("SUPABASE_URL", "SUPABASE_KEY")}
    values |= {"SUPERUSER_EMAIL": someone.email, "SUPERUSER_PASSWORD": OLD_PASSWORD, "DATABASE_URL": fresh_database()}
    path = tmp_path / "new.env"
    path.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    locked = bazar.lacking(*values).having(**{VARIABLE: keyrings.FAULTY["Locked"]})
    locked("db", "migrate", "--env-file", str(path)).ok()
    # Now there is a superuser, and SUPERUSER_EMAIL grants nothing any more.
    again = locked("db", "migrate", "--env-file", str(path), "-o", "json")
    assert (again.code, again.error["code"]) == NEEDED
