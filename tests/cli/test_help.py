"""Help, and the errors of mistyped commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bazar_cli import DOCUMENTATION
from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import ExitCode
from bazar_cli.registry import TOPICS, TREE
from tests.support.cli import Bazar


def test_root_lists_every_command(nobody: Bazar) -> None:
    done = nobody().ok()
    assert done.err == ""
    assert done.out.splitlines()[0] == TREE.help
    for name, node in TREE.commands.items():
        assert any(line.split() == [name, *node.help.split()] for line in done.out.splitlines())
    for words in (("--help",), ("-h",), ("help",)):
        assert nobody(*words).ok().out == done.out


def test_group_lists_its_commands(nobody: Bazar) -> None:
    done = nobody("users").ok()
    for verb in ("create", "delete", "get", "list", "me", "update"):
        assert f"\n  {verb} " in done.out
    for words in (("users", "--help"), ("users", "-h"), ("help", "users")):
        assert nobody(*words).ok().out == done.out
    nested = nobody("config", "profiles").ok().out
    assert "bazar config profiles COMMAND" in nested


def test_help_of_a_command_equals_its_help_option(nobody: Bazar) -> None:
    for words in (("users", "create"), ("config", "profiles", "add"), ("doctor",)):
        done = nobody(*words, "--help").ok()
        assert nobody("help", *words).ok().out == done.out
        assert nobody(*words, "--quiet", "--help").ok().out == done.out  # parsed by Typer
        assert done.err == ""
        assert nobody("help", *words, "--quiet").ok().out == done.out
    text = nobody("users", "create", "-h").ok().out
    lines = text.splitlines()
    assert lines[0].endswith(".")
    assert lines[2] == "EXAMPLES"
    assert lines[3].startswith("  $ bazar users create ")
    assert "Requires users:create (Premium)" in text
    assert "--plan other than free also requires plans:assign and a superuser" in text


def test_exit_codes(nobody: Bazar) -> None:
    text = nobody("help", "exit-codes").ok().out
    listed = {int(line.split()[0]) for line in text.splitlines() if line.strip()[:1].isdigit()}
    assert listed == {int(code) for code in ExitCode}


def test_environment(nobody: Bazar) -> None:
    text = nobody("help", "environment").ok().out
    named = {item["name"] for item in nobody("config", "show", "-o", "json").ok().json["items"]}
    assert not {name for name in named if f"  {name} " not in text and f"  {name}\n" not in text}
    assert "NO_COLOR" in text


def test_help_of_help_names_the_topics(nobody: Bazar) -> None:
    said = nobody("help", "--help").ok().out
    assert all(topic in said for topic in TOPICS)


def test_output(nobody: Bazar) -> None:
    done = nobody("help", "output").ok()
    for form in ("table", "json", "jsonl", "csv", "yaml", "ids"):
        assert f"  -o {form} " in done.out
    assert nobody("help", "output", "-o", "json").ok().json == {"text": done.out}


def test_permissions_has_the_plans_of_each_permission(nobody: Bazar) -> None:
    text = nobody("help", "permissions").ok().out
    listed = dict(line.strip().split("  ", 1) for line in text.splitlines() if ":" in line and "Premium" in line)
    assert {name: plans.strip() for name, plans in listed.items()} == {
        permission.value: ", ".join(plan.value.capitalize() for plan in Plan if permission in SEEDED_PLANS[plan])
        for permission in Permission
    }


def test_targets_names_the_sources_in_their_order(nobody: Bazar) -> None:
    text = nobody("help", "targets").ok().out
    sources = ("--profile", "--env-file", "BAZAR_PROFILE", "SUPABASE_URL", "./.env", "./docker/server/.env", "active")
    assert sorted(sources, key=text.index) == list(sources)


def test_an_error_code_is_explained_and_its_json_names_the_page(nobody: Bazar) -> None:
    failed = nobody("config", "profiles", "remove", "absent", "-o", "json").error
    assert failed["docs"] == f"{DOCUMENTATION}/errors.md#config.profile_not_found"
    text = nobody("help", failed["code"]).ok().out
    assert text.splitlines()[:3] == [failed["code"], "", "there is no profile of this name to remove"]
    assert f"  {failed['exit_code']}  not found, or not visible to you" in text
    assert failed["docs"] in text
    assert nobody("help", failed["code"], "-o", "json").ok().json == {"text": text}


def test_help_of_a_command_is_shown_where_users_look_for_it(nobody: Bazar) -> None:
    assert nobody("users", "help", "create") == nobody("help", "users", "create").ok()
    assert nobody("orgs", "members", "help") == nobody("help", "orgs", "members").ok()


def test_help_takes_upper_case_for_lower(nobody: Bazar) -> None:
    for words in (("users.not_found",), ("targets",), ("users", "list")):
        assert nobody("help", *(word.upper() for word in words)) == nobody("help", *words)
        assert nobody("help", *(word.title() for word in words)).ok() == nobody("help", *words)


def test_help_in_a_narrow_terminal_is_narrow(nobody: Bazar) -> None:
    for words in (("--help",), ("users",), ("help", "output"), ("users", "list", "--help"), ("help", "db.moved")):
        plain, narrow = nobody(*words).ok().out, nobody.having(COLUMNS="60")(*words).ok().out
        assert narrow.split() == plain.split()
        assert len(narrow.splitlines()) > len(plain.splitlines()), words


def test_help_needs_no_target_and_writes_nothing(nobody: Bazar) -> None:
    nobody("users", "list", "--help").ok()
    nobody("help", "db", "migrate").ok()
    assert sorted(path.name for path in nobody.home.iterdir()) == ["work"]


UNKNOWN = {
    "topic": (("help", "nonsense"), "exit-codes"),
    "verb in help": (("help", "users", "nonsense"), "create, delete, demote"),
    "error code": (("help", "users.notfound"), "did you mean users.not_found"),
    "error code in capitals": (("help", "USERS.NOTFOUND"), "did you mean users.not_found"),
    "no error code": (("help", "zzz.yyy"), "-o json shows the code of an error"),
    "word after a command in help": (
        ("help", "users", "create", "more"),
        "`bazar users create` has no commands below it",
    ),
    "group": (("user", "list"), "did you mean `bazar users`?"),
    "in capitals": (("USERS", "list"), "did you mean `bazar users`?"),
    "verb": (("users", "crate"), "did you mean `bazar users create`"),
    "nothing like it": (("zzzzzz",), "`bazar --help` lists the commands"),
    "nested": (("config", "profiles", "ad"), "did you mean `bazar config profiles add`?"),
    "synonym": (("users", "unsuspend"), "did you mean `bazar users restore`?"),
    "synonym of two": (
        ("users", "remove"),
        "did you mean `bazar orgs members remove ORG USER` or `bazar users delete`?",
    ),
    "synonym with an option": (("invite",), "did you mean `bazar users create EMAIL --invite`?"),
    "letters of a command that destroys": (("users", "delet"), "hint: `bazar users --help` lists the commands"),
    "capitals of a command that destroys": (("users", "DELETE"), "did you mean `bazar users delete`?"),
}


@pytest.mark.parametrize(("words", "hint"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_command(nobody: Bazar, words: tuple[str, ...], hint: str) -> None:
    done = nobody(*words)
    assert (done.code, done.out) == (2, "")
    assert hint in done.err
    machine = nobody.having(BAZAR_OUTPUT="json")(*words)
    assert (machine.code, machine.error["code"]) == (2, "usage.unknown_command")


def test_option_before_the_command(nobody: Bazar) -> None:
    for words in (("--quiet", "users", "list"), ("users", "--quiet", "list")):
        done = nobody(*words)
        assert (done.code, done.out) == (2, "")
        assert "write it after the command: `bazar users list --quiet`" in done.err
    assert nobody("-o", "json", "users", "list").error["code"] == "usage.unknown_option"


def test_unknown_option_and_missing_argument(nobody: Bazar) -> None:
    option = nobody("users", "list", "--limt", "3")
    assert (option.code, option.out) == (2, "")
    assert "did you mean --limit" in option.err
    elsewhere = nobody("users", "update", "ada@example.com", "--plan", "plus")
    assert "hint: `bazar plans assign USER PLAN` does that" in elsewhere.err
    missing = nobody("users", "get", "-o", "json")
    assert (missing.code, missing.error["code"]) == (2, "usage.missing")
    assert "`bazar users get` needs USER" in missing.error["message"]
    too_many = nobody("users", "get", "a", "b")
    assert (too_many.code, too_many.out) == (2, "")
    assert "`bazar users get` takes no more arguments (b)" in too_many.err


def test_control_characters_of_a_mistyped_command_do_not_reach_the_terminal(nobody: Bazar) -> None:
    for words in (("\x1b[2J",), ("help", "\x1b[2J"), ("users", "list", "--\x1b[2J"), ("plans", "show", "\x1b[2J")):
        done = nobody(*words)
        assert done.code == 2
        assert "\x1b" not in done.err


_READ = re.compile(r'(?:environ\.get\(|environ\[|is_on\([\w.]*environ, )"([A-Z][A-Z_]+)"')
_OF_THE_SYSTEM = {"DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "PYTHONPATH"}
"""Variables that a session or an installation sets, and no user for bazar."""


def test_help_names_every_variable_that_bazar_reads(nobody: Bazar) -> None:
    package = Path(__file__).parents[2] / "bazar_cli"
    # The services of the embedded stack get their variables from bazar, not from a user.
    sources = [path for path in package.rglob("*.py") if not path.is_relative_to(package / "devstack")]
    read = {name for source in sources for name in _READ.findall(source.read_text()) if not name.startswith("OTEL_")}
    assert {"BAZAR_TOKEN", "BAZAR_DEBUG", "TRACEPARENT", "COLUMNS", "NO_COLOR"} <= read
    shown = nobody("help", "environment").ok().out
    assert {name for name in read - _OF_THE_SYSTEM if name not in shown} == set()
    assert "OTEL_*" in shown
