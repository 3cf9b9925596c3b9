"""Completion: the candidates that `bazar __complete` answers, and the command that prints the scripts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bazar_cli.registry import TREE, Group
from bazar_cli.terminal.completion_scripts import Shell, script
from tests.support.cli import Bazar


def answer(bazar: Bazar, *words: str) -> dict[str, str]:
    """Ask for candidates as a script does: values with their help."""
    done = bazar("__complete", *words).ok()
    assert done.err == ""
    return {value: text for value, _, text in (line.partition("\t") for line in done.out.splitlines())}


def profile_file(bazar: Bazar, text: str) -> None:
    """Write the file of profiles."""
    path = bazar.folder("config") / "profiles.toml"
    path.write_text(text)
    path.chmod(0o600)


def test_names_come_with_their_help(nobody: Bazar) -> None:
    assert answer(nobody, "") == {name: node.help for name, node in TREE.commands.items()}
    users = TREE.commands["users"]
    assert isinstance(users, Group)
    assert answer(nobody, "users", "cr") == {"create": users.commands["create"].help}
    assert set(answer(nobody, "config", "profiles", "")) == {"add", "list", "remove", "use"}
    assert answer(nobody) == answer(nobody, "")


def test_complete_name_completes_to_itself(nobody: Bazar) -> None:
    assert set(answer(nobody, "users")) == {"users"}


def test_groups_offer_their_few_options_only_when_asked(nobody: Bazar) -> None:
    assert set(answer(nobody, "--")) == {"--help", "--version"}
    assert set(answer(nobody, "users", "-")) == {"--help"}


@pytest.mark.parametrize(
    "words",
    [
        ("nouns", ""),
        ("users", "nonsense", "--"),
        ("--profile", "x", "users", ""),
        ("users", "get", "a"),
        ("users", "get", "a", "b"),
        ("users", "get", "--", ""),
        ("users", "get", "--", "--o"),
        ("users", "list", "--org", ""),
        ("users", "list", "--org", "--pl"),
        ("users", "list", "--org="),
        ("users", "list", "--nonsense="),
        ("users", "list", "--all="),
        ("users", "list", "--pla", "--output", "x"),
        ("users", "get", "\x1b[31m\n\udcff"),
        ("users", "list", "--fields", "\udcff,"),
    ],
)
def test_unknown_values_have_no_candidates(nobody: Bazar, words: tuple[str, ...]) -> None:
    assert answer(nobody, *words) == {}


def test_options_of_a_command_come_with_their_help(nobody: Bazar) -> None:
    offered = answer(nobody, "users", "list", "--")
    assert offered["--org"] == "members of this organization"
    assert {"--plan", "--output", "--env-file", "--help"} <= set(offered)
    assert "--dry-run" not in offered
    assert "--dry-run" in answer(nobody, "users", "delete", "--")
    assert set(answer(nobody, "users", "list", "--pr")) == {"--profile"}
    assert {"-o", "--output", "-h"} <= set(answer(nobody, "users", "list", "-"))
    assert set(answer(nobody, "users", "list", "-o")) == {"-o"}


def test_options_are_offered_where_nothing_else_can_follow(nobody: Bazar) -> None:
    assert "--output" in answer(nobody, "users", "list", "")
    assert answer(nobody, "users", "get", "") == {}
    offered = answer(nobody, "users", "get", "ada@example.com", "")
    assert "--output" in offered
    assert all(name.startswith("--") for name in offered)


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        (("--org", "acme"), {"--org"}),
        (("--org=acme",), {"--org"}),
        (("-o", "json"), {"-o", "--output"}),
        (("-ojson",), {"-o", "--output"}),
        (("-qyo", "json"), {"-q", "--quiet", "-y", "--yes", "-o", "--output"}),
        (("--all", "--quiet"), {"--all", "-q", "--quiet"}),
    ],
)
def test_given_options_are_not_offered_again(nobody: Bazar, given: tuple[str, ...], left_out: set[str]) -> None:
    every = set(answer(nobody, "users", "list", "-"))
    assert every - set(answer(nobody, "users", "list", *given, "-")) == left_out


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("users", "list", "-o", ""), {"table", "json", "jsonl", "csv", "yaml", "ids"}),
        (("users", "list", "--output", "js"), {"json", "jsonl"}),
        (("users", "list", "--output=js"), {"--output=json", "--output=jsonl"}),
        (("users", "create", "a@example.com", "--role", ""), {"owner", "admin", "member"}),
        (("users", "list", "--plan", "p"), {"plus", "premium"}),
        (("audit", "export", "--outcome", ""), {"done", "denied", "undone"}),
        (("users", "list", "--fields", "em"), {"email"}),
        (("users", "list", "--fields", "email,na"), {"email,name"}),
        (("users", "list", "--fields=id,em"), {"--fields=id,email"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
        (("completion", "-o", "json", "f"), {"fish"}),
        (("help", "e"), {"exit-codes", "environment"}),
        (("help", "config", "p"), {"path", "profiles"}),
        (("help", "config", "profiles", "u"), {"use"}),
        (("help", "output", ""), set[str]()),
        (("help", "orgs.slug"), {"orgs.slug_exists", "orgs.slug_invalid"}),
    ],
)
def test_values_that_are_known_are_offered(nobody: Bazar, words: tuple[str, ...], values: set[str]) -> None:
    assert set(answer(nobody, *words)) == values


@pytest.mark.parametrize(
    "words",
    [
        ("users", "list", "--env-file", "./x"),
        ("users", "list", "--env-file="),
        ("doctor", "--log-file", ""),
        ("db", "seed", "--file", ""),
        ("audit", "export", "e"),
    ],
)
def test_files_are_left_to_the_shell(nobody: Bazar, words: tuple[str, ...]) -> None:
    assert answer(nobody, *words) == {":file": ""}


def test_profiles_are_offered_by_name(nobody: Bazar) -> None:
    profile_file(nobody, '[profiles.staging]\nsupabase_url = "https://s.example.com"\n[profiles.local]\n')
    assert answer(nobody, "users", "list", "--profile", "") == {"local": "", "staging": "https://s.example.com"}
    assert set(answer(nobody, "users", "list", "--profile=st")) == {"--profile=staging"}
    assert set(answer(nobody, "config", "profiles", "use", "")) == {"local", "staging"}
    assert set(answer(nobody, "config", "profiles", "remove", "s")) == {"staging"}


def test_hostile_profiles_reach_no_terminal(nobody: Bazar) -> None:
    profile_file(nobody, '[profiles.a]\nsupabase_url = "x\\u001b[2J\\ny"\n[profiles."b\\n:file"]\n[profiles."$(c)"]\n')
    assert answer(nobody, "users", "list", "--profile", "") == {"a": "***"}


@pytest.mark.parametrize("text", ["profiles = [", "profiles = 1", "[profiles]\na = 1"])
def test_completion_ignores_a_broken_profile_file(nobody: Bazar, text: str) -> None:
    profile_file(nobody, text)
    assert answer(nobody, "users", "list", "--profile", "") == {}
    assert nobody("config", "profiles", "list").code == 2


def test_names_are_answered_from_the_registry_alone(nobody: Bazar) -> None:
    program = (
        "import json, sys; before = set(sys.modules); sys.argv = ['bazar', '__complete', 'users', 'cr']\n"
        "from bazar_cli.main import main; main(); print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=nobody.environment(), capture_output=True, check=True)
    own = {"bazar_cli", *(f"bazar_cli.{name}" for name in ("main", "registry", "terminal", "terminal.completion"))}
    assert set(json.loads(done.stdout.splitlines()[-1])) <= own | {"__future__", "gc"}


@pytest.mark.parametrize("shell", Shell)
def test_the_command_prints_the_script(nobody: Bazar, shell: Shell) -> None:
    assert nobody("completion", shell.value).ok().out == script(shell)
    assert nobody.having(BAZAR_OUTPUT="json")("completion", shell.value).ok().out == script(shell)
    assert nobody("completion", shell.value, "-o", "json").ok().json == {"text": script(shell)}


def test_an_unknown_shell_is_a_usage_error(nobody: Bazar) -> None:
    done = nobody("completion", "tcsh")
    assert (done.code, done.out) == (2, "")
    assert "bash, zsh, fish" in done.err
    assert nobody("completion").code == 2
