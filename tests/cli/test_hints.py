"""A command that a hint tells people to run is for the target of the command that they ran."""

from __future__ import annotations

import shlex

import pytest

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.runtime.hints import with_target
from tests.cli.auth.support import let_it_end_soon, session_file, sign_in
from tests.support.cli import Bazar, Done
from tests.support.people import People

TARGET = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")


@pytest.fixture
def elsewhere(signed_out: Bazar) -> Bazar:
    """`bazar` where an unreachable target is the active one, and the real one only has names."""
    values = {name: signed_out.environ[name] for name in TARGET}
    profiles = Profiles(signed_out.environment())
    closed = {**values, "SUPABASE_URL": "http://127.0.0.1:1", "DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}
    profiles.save("active", closed, activate=True)
    profiles.save("prod", values, activate=False)
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    (signed_out.folder("work") / "my target.env").write_text(text)
    return signed_out.lacking(*TARGET)


FLAGS = pytest.mark.parametrize(
    "flag", [("--profile", "prod"), ("--env-file", "my target.env")], ids=["profile", "file"]
)


def told(done: Done) -> list[str]:
    """The words of the first command in the hint."""
    return shlex.split(done.error["hint"].split("`")[1])


@FLAGS
def test_what_asks_for_consent_names_the_command_that_does_it_here(
    elsewhere: Bazar, people: People, flag: tuple[str, str]
) -> None:
    root, someone = people.superuser(), people.user()
    people.identity(root)
    bazar = elsewhere.having(BAZAR_TOKEN=people.access_token(root))
    refused = bazar("users", "delete", someone.email, *flag, "-o", "json")
    assert refused.code == 10
    assert told(refused) == ["bazar", "users", "delete", someone.email, "--confirm", someone.email, *flag]
    bazar(*told(refused)[1:]).ok()
    assert people.row(someone) is None


@FLAGS
def test_a_fix_that_needs_consent(elsewhere: Bazar, people: People, flag: tuple[str, str]) -> None:
    root, someone = people.superuser(), people.user()
    people.identity(root)
    people.sql("UPDATE bazar.users SET pending = 'delete' WHERE id = %s", someone.id)
    bazar = elsewhere.having(BAZAR_TOKEN=people.access_token(root))
    refused = bazar("doctor", "--fix", *flag, "-o", "json")
    assert refused.code == 10
    assert told(refused) == ["bazar", "doctor", "--fix", "--yes", *flag]
    bazar(*told(refused)[1:])
    assert people.row(someone) is None


@FLAGS
def test_what_would_change_a_decision(elsewhere: Bazar, people: People, flag: tuple[str, str]) -> None:
    member = people.user()
    people.identity(member)
    bazar = elsewhere.having(BAZAR_TOKEN=people.access_token(member))
    changes = bazar("plans", "explain", "users:create", *flag, "-o", "json").ok().json["changes"]
    assert changes[0].startswith(f"`bazar plans assign {member.email} premium {shlex.join(flag)}` (")


@FLAGS
def test_signing_in_here(elsewhere: Bazar, people: People, flag: tuple[str, str]) -> None:
    member = people.user()
    people.identity(member)
    asked = ["bazar", "auth", "login", *flag]
    assert told(elsewhere("users", "me", *flag, "-o", "json")) == asked
    sign_in(elsewhere, member, *flag).ok()
    kept = session_file(elsewhere).read_text()
    let_it_end_soon(elsewhere, -5)
    session_file(elsewhere).write_text(
        session_file(elsewhere).read_text().replace('"refresh_token": "', '"refresh_token": "x')
    )
    ended = elsewhere("users", "me", *flag, "-o", "json")
    assert (ended.error["code"], told(ended)) == ("auth.session_expired", asked)
    session_file(elsewhere).write_text(kept[:-1])
    broken = elsewhere("users", "me", *flag, "-o", "json")
    assert (broken.error["code"], told(broken)) == ("auth.session_unreadable", asked)
    doctor = elsewhere("doctor", *flag, "-o", "json").json["items"]
    (remedy,) = (check["remedy"] for check in doctor if check["check"] == "session")
    assert shlex.join(flag) in remedy


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("--profile X users list", "bazar users list --profile X"),
        (
            "-q --env-file=a.env users get ada@example.com -o json",
            "bazar users get -q --env-file=a.env ada@example.com -o json",
        ),
        ("users -o json list", "bazar users list -o json"),
    ],
)
def test_option_before_the_command_is_shown_in_its_place(nobody: Bazar, words: str, right: str) -> None:
    done = nobody(*words.split())
    assert done.code == 2
    said = done.error["hint"] if "-o json" in words else done.err
    assert f"write it after the command: `{right}`" in said


@pytest.mark.parametrize("words", ["--profile", "--frob users list", "--profile X usres list", "--profile users list"])
def test_option_before_what_is_no_command_gets_the_general_hint(nobody: Bazar, words: str) -> None:
    done = nobody(*words.split())
    assert (done.code, "options come after the command" in done.err) == (2, True)


@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_env_file_of_another_program_that_is_half_a_target(nobody: Bazar, named: bool) -> None:
    (nobody.folder("work") / ".env").write_text("DATABASE_URL=postgresql://blog@127.0.0.1/blog\n")
    done = nobody("users", "list", "-o", "json", *(("--env-file", ".env") if named else ()))
    assert (done.code, done.error["code"]) == (2, "target.incomplete")
    # Whoever named the file knows whose it is.
    assert ("name yours with --profile or --env-file" in done.error["hint"]) == (not named)


def test_what_has_no_target_or_names_one_stays() -> None:
    for text in (
        "`bazar local start`",
        "`bazar config profiles list`",
        "`bazar help environment`",
        "`bazar users list --help`",
        "`bazar auth login --profile other`",
        "`bazar nonsense`",
    ):
        assert with_target(text, "prod", None) == text
    assert with_target("`bazar doctor`", None, None) == "`bazar doctor`"
    assert with_target("`bazar config show`", "prod", None) == "`bazar config show --profile prod`"
