"""A value that cannot be used is refused before anything is done, with the rule that it breaks, and never shown."""

from __future__ import annotations

from typing import Any

import pytest

from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import People

TARGET = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_KEY": "sb_secret_hunter22",
    "DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/x",
}
BROKEN = {
    "number sign": ("DATABASE_URL", "postgresql://u:hunter#hunter22@localhost/x"),
    "slash": ("DATABASE_URL", "postgresql://u:hunter/hunter22@localhost/x"),
    "question mark": ("DATABASE_URL", "postgresql://u:hunter?hunter22@localhost/x"),
    "percent sign": ("DATABASE_URL", "postgresql://u:hunter22%ZZ@localhost/x"),
    "no slashes": ("DATABASE_URL", "postgresql:u:hunter22@localhost/x"),
    "no scheme": ("DATABASE_URL", "u:hunter22@localhost/x"),
    "Prisma's parameter": ("DATABASE_URL", "postgresql://u:hunter22@localhost/x?pgbouncer=true"),
    "migrations": ("DATABASE_MIGRATION_URL", "postgresql://u:hunter#hunter22@localhost/x"),
    "line break": ("SUPABASE_KEY", "sb_secret_hunter22\n"),
    "space": ("SUPABASE_KEY", "sb_secret_hunter22 "),
    "accent": ("SUPABASE_KEY", "sb_secret_hunter22\u00e9"),
    "left in quotes": ("DATABASE_URL", '"postgresql://u:hunter22@localhost/x"'),
    "SQLAlchemy's driver": ("DATABASE_URL", "postgresql+psycopg://u:hunter22@localhost/x"),
    "anon key": ("SUPABASE_ANON_KEY", "sb_publishable_hunter22\n"),
    "two dots": ("SUPABASE_URL", "https://exa..mple.com"),
    "query": ("SUPABASE_URL", "https://project.supabase.co/?apikey=hunter22&debug"),
    "query without a name": ("SUPABASE_URL", "https://project.supabase.co?hunter22"),
    "fragment": ("SUPABASE_URL", "https://project.supabase.co/#access_token=hunter22"),
    "user": ("SUPABASE_URL", "https://hunter22@project.supabase.co"),
    "user and password": ("SUPABASE_URL", "https://u:hunter22@project.supabase.co"),
    "query behind a broken host": ("SUPABASE_URL", "https://[project.supabase.co?hunter22"),
    "long host": ("SUPABASE_URL", f"https://{'a' * 300}.com"),
}
EACH = pytest.mark.parametrize(("name", "value"), BROKEN.values(), ids=BROKEN.keys())
COMMANDS = [("users", "list"), ("users", "create", "ada@example.com"), ("db", "wait", "--timeout", "1")]


@EACH
def test_no_command_goes_on_with_it(nobody: Bazar, name: str, value: str) -> None:
    bazar = nobody.having(**{**TARGET, name: value})
    for words in COMMANDS:
        done = bazar(*words, "-o", "json")
        assert (done.code, done.out) == (2, "")
        assert done.error["code"].startswith("target.")
        assert done.error["message"].startswith(f"{name} of the environment cannot be used: ")
        assert name in done.error["hint"]
        assert "hunter" not in done.err
    assert "hunter" not in bazar("users", "list", "--debug").err


@EACH
@pytest.mark.parametrize("form", ["table", "json", "csv", "yaml"])
def test_what_shows_it_hides_it(nobody: Bazar, name: str, value: str, form: str) -> None:
    bazar = nobody.having(**{**TARGET, name: value})
    doctor, shown = bazar("doctor", "-o", form), bazar("config", "show", "-o", form).ok()
    assert doctor.code == 9
    assert f"{name} of the environment cannot be used" in doctor.out.replace("\n", " ").replace("  ", " ")
    assert "hunter" not in doctor.out + doctor.err + shown.out + shown.err


def test_a_secret_of_an_env_file_is_hidden_before_it_is_looked_at(nobody: Bazar) -> None:
    values = {**TARGET, "DATABASE_URL": "postgresql://u:hunter#hunter22@localhost/x"}
    path = nobody.folder("work") / "my.env"
    path.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    done = nobody("users", "list", "--env-file", str(path), "--debug")
    assert done.code == 2
    assert "hunter" not in done.err


def test_url_without_a_host_is_shown_unchanged(nobody: Bazar) -> None:
    found: list[dict[str, Any]] = nobody.having(DATABASE_URL="postgresql:///x")("config", "show", "-o", "json").json[
        "items"
    ]
    assert next(i["value"] for i in found if i["name"] == "DATABASE_URL") == "postgresql:///x"


def test_a_profile_that_somebody_edited_shows_no_query(nobody: Bazar) -> None:
    for name, value in TARGET.items():
        nobody = nobody.having(**{name: value})
    nobody("config", "profiles", "add", "mine").ok()
    path = nobody.home / "config" / "profiles.toml"
    path.write_text(path.read_text().replace(TARGET["SUPABASE_URL"], f"{TARGET['SUPABASE_URL']}/?apikey=hunter22"))
    found = nobody("config", "profiles", "list", "-o", "json").ok().json["items"]
    assert found[0]["supabase_url"] == f"{TARGET['SUPABASE_URL']}/?***"
    assert "hunter" not in nobody("__complete", "config", "profiles", "use", "").ok().out


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("{}\n", "ends with a line break"),
        ("{} ", "ends with white space"),
        (" {}", "begins with white space"),
        ('"{}"', "begins and ends with quotes"),
        ("BAZAR_TOKEN={}", "begins with BAZAR_TOKEN="),
        ("{}\u00e9", "not a JSON Web Token"),
    ],
)
def test_a_token_that_no_header_can_hold(signed_out: Bazar, people: People, form: str, said: str) -> None:
    someone = people.user()
    people.identity(someone)
    token = people.access_token(someone)
    bazar = signed_out.having(BAZAR_TOKEN=form.format(token))
    done, told = bazar("users", "me", "-o", "json"), bazar("users", "me", "--debug")
    assert (done.code, done.error["code"]) == (4, "auth.token_invalid")
    assert said in done.error["message"]
    assert token not in done.err + told.err


@pytest.mark.parametrize("name", ["SUPABASE_KEY", "SUPABASE_ANON_KEY"])
def test_no_row_is_left_behind(people: People, target: Target, admin: Bazar, name: str) -> None:
    before = people.everything()
    done = admin.having(**{name: f"{target.supabase_key.reveal()}\n"})("users", "create", "ada@example.com")
    assert done.code == 2
    assert people.everything() == before


def test_a_database_url_on_the_command_line_is_not_repeated(nobody: Bazar) -> None:
    for url in ("postgresql:u:hunter22@localhost/x", "postgresql://u:hunter#22@localhost/x"):
        done = nobody("local", "start", "--database-url", url, "-o", "json")
        assert (done.code, done.error["code"]) == (2, "local.database_url")
        assert "hunter" not in done.err
    assert "# is %23" in done.error["message"]
