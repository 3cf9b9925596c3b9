"""`bazar config profiles`: targets by name, added from every source, used, listed and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.auth.support import Terminal, sign_in
from tests.support.cli import Bazar
from tests.support.people import People

pytestmark = pytest.mark.live

TARGET = {
    "SUPABASE_URL": "https://project.supabase.co",
    "SUPABASE_KEY": "sb_secret_very-hidden",
    "DATABASE_URL": "postgresql://bazar:hidden-word@db.example.com/bazar?sslmode=require",
}
ADD = ("config", "profiles", "add")


def profiles(bazar: Bazar) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in bazar("config", "profiles", "list", "-o", "json").ok().json["items"]}


def shown(bazar: Bazar, *words: str) -> dict[str, str]:
    """The target as `config show` has it, by names."""
    items = bazar("config", "show", "-o", "json", *words).ok().json["items"]
    return {item["name"]: item["value"] for item in items if item["value"] is not None}


def config_files(bazar: Bazar) -> dict[str, int]:
    """The modes of everything in the configuration folder, itself included."""
    root = bazar.home / "config"
    return {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))}


@pytest.fixture
def given(nobody: Bazar) -> Bazar:
    """`bazar` with a target in its environment that nobody answers at."""
    return nobody.having(**TARGET)


def test_first_one_is_active_and_everything_is_private(given: Bazar, nobody: Bazar) -> None:
    done = given(*ADD, "staging", "-o", "json").ok()
    assert done.json == {
        "name": "staging",
        "active": True,
        "supabase_url": "https://project.supabase.co",
        "superuser_email": None,
        "api_url": None,
        "signed_in": False,
    }
    modes = config_files(nobody)
    assert {mode for name, mode in modes.items() if (nobody.home / "config" / name).is_dir()} == {0o700}
    assert {mode for name, mode in modes.items() if (nobody.home / "config" / name).is_file()} == {0o600}
    stored = (nobody.home / "config" / "profiles.toml").read_text()
    for secret in ("sb_secret_very-hidden", "hidden-word"):
        assert secret not in stored + done.out + done.err
    assert shown(nobody)["DATABASE_URL"].startswith("postgresql://bazar:***@db.example.com")


def test_next_one_becomes_active_when_asked(given: Bazar, nobody: Bazar) -> None:
    given(*ADD, "one").ok()
    given.having(SUPABASE_URL="https://two.supabase.co")(*ADD, "two").ok()
    given.having(SUPABASE_URL="https://three.supabase.co")(*ADD, "three", "--use").ok()
    assert {name: p["active"] for name, p in profiles(nobody).items()} == {"one": False, "three": True, "two": False}
    assert nobody("config", "profiles", "list", "-o", "ids").ok().out == "one\nthree\ntwo\n"
    assert nobody("config", "profiles", "use", "two", "-o", "json").ok().json["active"] is True
    assert shown(nobody)["SUPABASE_URL"] == "https://two.supabase.co"
    unknown = nobody("config", "profiles", "use", "four", "-o", "json")
    assert (unknown.code, unknown.out, unknown.error["code"]) == (2, "", "target.unknown_profile")
    assert "one, three, two" in unknown.error["message"]


def test_added_from_an_env_file(given: Bazar, nobody: Bazar) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in TARGET.items())
    path = nobody.folder("work") / "staging.env"
    path.write_text(f"{text}SUPERUSER_EMAIL=root@example.com\n")
    elsewhere = given.having(SUPABASE_URL="https://elsewhere.supabase.co")
    done = elsewhere(*ADD, "staging", "--env-file", "staging.env", "-o", "json").ok()
    assert (done.json["supabase_url"], done.json["superuser_email"]) == (TARGET["SUPABASE_URL"], "root@example.com")
    path.unlink()
    assert shown(nobody, "--profile", "staging")["SUPERUSER_EMAIL"] == "root@example.com"
    missing = nobody(*ADD, "other", "--env-file", "staging.env", "-o", "json")
    assert (missing.code, missing.error["code"]) == (2, "target.env_file")


def test_copied_from_another_profile(given: Bazar, nobody: Bazar) -> None:
    given(*ADD, "one").ok()
    nobody(*ADD, "two", "--profile", "one").ok()
    nobody("config", "profiles", "remove", "one").ok()
    assert shown(nobody, "--profile", "two")["SUPABASE_KEY"] == "***"


def test_typed_at_a_terminal(nobody: Bazar) -> None:
    # An env file that lies around is nothing that somebody chose.
    (nobody.folder("work") / ".env").write_text("SUPABASE_URL=https://lying-around.supabase.co\n")
    with Terminal(nobody, *ADD, "staging") as terminal:
        terminal.answer("Supabase URL: ", TARGET["SUPABASE_URL"])
        terminal.answer("Service key: ", TARGET["SUPABASE_KEY"])
        terminal.answer("Database URL: ", TARGET["DATABASE_URL"])
        assert terminal.end() == 0
        assert "staging" in terminal.seen
        assert "sb_secret_very-hidden" not in terminal.seen
        assert "hidden-word" not in terminal.seen
    assert profiles(nobody)["staging"]["supabase_url"] == TARGET["SUPABASE_URL"]


def test_nobody_to_ask(nobody: Bazar) -> None:
    done = nobody(*ADD, "staging", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "input.needed")
    assert "--env-file" in done.error["hint"]
    assert not (nobody.home / "config").exists()


NAMES = {
    "path": ("../x", "config.profile_name"),
    "slash": ("a/b", "config.profile_name"),
    "empty": ("", "config.profile_name"),
    "space": ("a b", "config.profile_name"),
    "dot first": (".a", "config.profile_name"),
    "line break": ("a\n", "config.profile_name"),
    "unicode": ("ä", "config.profile_name"),
    "64 characters": ("a" * 64, "config.profile_name"),
    "the stack's own": ("local", "config.profile_reserved"),
}


def test_bad_name_adds_nothing(given: Bazar, nobody: Bazar) -> None:
    for what, (name, code) in NAMES.items():
        done = given(*ADD, "-o", "json", "--", name)
        assert (done.code, done.out, done.error["code"]) == (2, "", code), what
        assert done.error["hint"]
    assert profiles(nobody) == {}


def test_bad_name_is_refused_before_any_prompt(nobody: Bazar) -> None:
    for name, code in (("local", "config.profile_reserved"), ("a b", "config.profile_name")):
        assert nobody(*ADD, name, "-o", "json").error["code"] == code


TARGETS = {
    "half": ({"SUPABASE_KEY": ""}, "target.incomplete"),
    "no Supabase URL": ({"SUPABASE_URL": "project.supabase.co"}, "target.url_invalid"),
    "no database URL": ({"DATABASE_URL": "mysql://bazar:hidden-word@db/bazar"}, "target.url_invalid"),
    "plain text": ({"DATABASE_URL": "postgresql://bazar:hidden-word@db/bazar"}, "target.plaintext_refused"),
}


def test_bad_target_adds_nothing(given: Bazar, nobody: Bazar) -> None:
    for what, (values, code) in TARGETS.items():
        done = given.having(**values)(*ADD, "staging", "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (2, "", code), what
        assert "hidden-word" not in done.err, what
    assert profiles(nobody) == {}


def test_adding_again_replaces_the_whole_target(given: Bazar, nobody: Bazar) -> None:
    given.having(SUPERUSER_EMAIL="root@example.com")(*ADD, "staging").ok()
    given.having(SUPABASE_URL="https://new.supabase.co")(*ADD, "staging").ok()
    now = shown(nobody)
    assert now["SUPABASE_URL"] == "https://new.supabase.co"
    assert "SUPERUSER_EMAIL" not in now


def test_session_of_a_replaced_target_counts_no_more(signed_out: Bazar, nobody: Bazar, people: People) -> None:
    someone = people.user()
    people.identity(someone)
    signed_out(*ADD, "staging").ok()
    sign_in(nobody, someone).ok()
    assert profiles(nobody)["staging"]["signed_in"] is True
    signed_out.having(SUPABASE_URL="https://new.supabase.co")(*ADD, "staging").ok()
    assert nobody("auth", "status").code == 4
    assert profiles(nobody)["staging"]["signed_in"] is False


def test_remove_forgets_secrets_and_session(signed_out: Bazar, nobody: Bazar, people: People) -> None:
    someone = people.user()
    people.identity(someone)
    signed_out(*ADD, "staging").ok()
    sign_in(nobody, someone).ok()
    folder: Path = nobody.home / "config" / "secrets"
    assert len(list(folder.glob("*.json"))) == 2
    done = nobody("config", "profiles", "remove", "staging").ok()
    assert (done.out, done.err) == ("", "the profile staging was removed\n")
    assert list(folder.glob("*.json")) == []
    assert profiles(nobody) == {}
    gone = nobody("users", "me", "-o", "json")
    assert (gone.code, gone.error["code"]) == (2, "target.missing")
    again = nobody("config", "profiles", "remove", "staging", "-o", "json")
    assert (again.code, again.error["code"]) == (3, "config.profile_not_found")
    signed_out(*ADD, "staging").ok()
    assert nobody("auth", "status").code == 4
