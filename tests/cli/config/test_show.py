"""`bazar config show` and `config path`: every value with its source, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cli import Bazar, Done

SECRETS = {
    "SUPABASE_KEY": "sb_secret_very-hidden",
    "SUPABASE_ANON_KEY": "sb_publishable_hidden",
    "SUPERUSER_PASSWORD": "hidden-password",
    "BAZAR_TOKEN": "hidden.access.token",
}
TARGET = {
    "SUPABASE_URL": "https://project.supabase.co",
    "DATABASE_URL": "postgresql://bazar:hidden-word@db.example.com:5432/bazar?sslmode=require&password=hidden-too",
    "DATABASE_MIGRATION_URL": "postgresql://bazar:hidden-%40word@direct.example.com/bazar?sslmode=require",
    "SUPERUSER_EMAIL": "root@example.com",
    **SECRETS,
}
HIDDEN = (*SECRETS.values(), "hidden-word", "hidden-too", "hidden-%40word")


def settings(done: Done) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in done.ok().json["items"]}


def env_file(bazar: Bazar, name: str, **values: str) -> None:
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    (bazar.folder("work") / name).write_text(text)


def test_environment_is_named_as_the_source(nobody: Bazar) -> None:
    shown = settings(nobody.having(**TARGET, BAZAR_NO_INPUT="1")("config", "show", "-o", "json"))
    assert list(shown["SUPABASE_URL"]) == ["name", "value", "source"]
    assert shown["SUPABASE_URL"]["value"] == "https://project.supabase.co"
    assert shown["SUPERUSER_EMAIL"]["value"] == "root@example.com"
    assert {shown[name]["source"] for name in TARGET} == {"environment"}
    assert {shown[name]["value"] for name in SECRETS} == {"***"}
    assert shown["DATABASE_URL"]["value"] == (
        "postgresql://bazar:***@db.example.com:5432/bazar?sslmode=require&password=***"
    )
    assert (shown["BAZAR_NO_INPUT"]["value"], shown["BAZAR_NO_INPUT"]["source"]) == ("1", "environment")
    assert (shown["BAZAR_PROFILE"]["value"], shown["BAZAR_PROFILE"]["source"]) == (None, "not set")


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "yaml", "ids"])
def test_no_form_shows_a_secret(nobody: Bazar, form: str) -> None:
    done = nobody.having(**TARGET)("config", "show", "-o", form, "--debug").ok()
    assert "DATABASE_URL" in done.out
    assert not [secret for secret in HIDDEN if secret in done.out + done.err]


UNUSABLE = {
    "user in the Supabase URL": ("SUPABASE_URL", "https://bazar:hidden-word@project.supabase.co"),
    "libpq's words": ("DATABASE_URL", "host=db.example.com user=bazar password=hidden-word"),
    "no URL": ("DATABASE_URL", "postgresql://bazar:hidden-word@[db.example.com/bazar"),
}


@pytest.mark.parametrize(("name", "value"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_value_that_no_command_can_use_hides_its_secret_too(nobody: Bazar, name: str, value: str) -> None:
    done = nobody.having(**{name: value})("config", "show").ok()
    assert "hidden-word" not in done.out


def test_without_a_target(nobody: Bazar) -> None:
    shown = settings(nobody.lacking("BAZAR_DATA_DIR")("config", "show", "-o", "json"))
    assert {shown[name]["source"] for name in TARGET} == {"not set"}
    assert shown["BAZAR_CONFIG_DIR"]["value"] == str(nobody.home / "config")
    assert not (nobody.home / "config").exists()


def test_half_a_target_is_shown(nobody: Bazar) -> None:
    bazar = nobody.having(SUPABASE_URL="https://project.supabase.co")
    env_file(bazar, ".env", **TARGET)
    shown = settings(bazar("config", "show", "-o", "json"))
    assert (shown["SUPABASE_URL"]["source"], shown["DATABASE_URL"]["source"]) == ("environment", "not set")
    assert bazar("doctor").code == 9


def test_sources_in_their_order(nobody: Bazar) -> None:
    nobody.having(**TARGET)("config", "profiles", "add", "staging").ok()
    assert settings(nobody("config", "show", "-o", "json"))["SUPABASE_KEY"] == {
        "name": "SUPABASE_KEY",
        "value": "***",
        "source": "profile staging",
    }
    env_file(nobody, ".env", SUPABASE_URL="https://file.supabase.co")
    env_file(nobody, "my.env", SUPABASE_URL="https://my.supabase.co")
    for words, source in (
        ((), "env-file .env"),
        (("--env-file", "my.env"), "env-file my.env"),
        (("--profile", "staging"), "profile staging"),
    ):
        shown = settings(nobody("config", "show", "-o", "json", *words))
        assert shown["SUPABASE_URL"]["source"] == source


def test_contradiction_and_unknown_profile(nobody: Bazar) -> None:
    for words, code in (
        (("--profile", "a", "--env-file", "b"), "target.two_sources"),
        (("--profile", "nope"), "target.unknown_profile"),
        (("--env-file", "nope"), "target.env_file"),
    ):
        done = nobody("config", "show", "-o", "json", *words)
        assert (done.code, done.out, done.error["code"]) == (2, "", code)


@pytest.mark.parametrize("output", ["json", "jsonl", "table", "yaml"])
@pytest.mark.parametrize("words", [("users", "list"), ("config", "show")])
def test_warning_of_an_env_file_stands_beside_no_json_error(nobody: Bazar, output: str, words: tuple[str, ...]) -> None:
    path = nobody.folder("work") / "open.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in TARGET.items()))
    path.chmod(0o666)
    done = nobody(*words, "--env-file", "open.env", "-o", output)
    fails = words == ("users", "list")
    assert done.code == (4 if fails else 0)
    assert ("warning: the env file" in done.err) is not (fails and output.startswith("json"))
    if fails and output.startswith("json"):
        assert done.error["code"] == "auth.not_signed_in"


def test_paths(nobody: Bazar) -> None:
    places = nobody("config", "path", "-o", "json").ok().json["items"]
    found = {place["name"]: (place["path"], place["exists"]) for place in places}
    config, data = nobody.home / "config", nobody.home / "data"
    assert found == {
        "config": (str(config), False),
        "data": (str(data), False),
        "profiles": (str(config / "profiles.toml"), False),
        "secrets": (str(config / "secrets"), False),
        "cache": (str(data / "cache"), False),
        "local": (str(data / "local"), False),
    }
    nobody.having(**TARGET)("config", "profiles", "add", "staging").ok()
    table = nobody("config", "path").ok().out
    assert f"profiles\t{config / 'profiles.toml'}\tyes\n" in table
    assert f"cache\t{data / 'cache'}\tno\n" in table
