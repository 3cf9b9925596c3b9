"""The whole command tree: every command declares what it requires, and its help says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bazar_cli.domain.authz.spec import Access
from bazar_cli.registry import NEVER_BY_LETTERS, OPTIONS_ELSEWHERE, SYNONYMS, TREE, Group, Leaf, named_by, resolve
from bazar_cli.terminal.command_texts import command_text
from bazar_cli.terminal.leaf_help import leaf_help
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.run_output import RunOutput
from tests.support.tree import ALL, COMMON_OPTIONS, command, verb

# These commands run without a sign-in and without a permission. The spec of each gives the reason.
PUBLIC = {
    "auth login",
    "auth logout",
    "auth status",
    "batch",
    "completion",
    "config path",
    "config profiles add",
    "config profiles list",
    "config profiles remove",
    "config profiles use",
    "config show",
    "db heads",
    "db history",
    "db merge",
    "db revision",
    "db wait",
    "doctor",
    "help",
    "local env",
    "local logs",
    "local mail",
    "local reset",
    "local start",
    "local status",
    "local stop",
    "serve",
    "version",
}
# A spec is named as its command; these have no noun.
_OWN_NAMES = {name: name for name in ("apply", "batch", "completion", "diff", "doctor", "help", "serve", "version")}


def test_public_commands_are_these_and_no_others() -> None:
    assert {name for name, (_, leaf) in ALL.items() if verb(leaf).spec.access is Access.PUBLIC} == PUBLIC


@pytest.mark.parametrize("name", ALL)
def test_help_of_output_begins_with_the_default_of_the_command(name: str) -> None:
    _, leaf = ALL[name]
    found, text = verb(leaf), command_text(leaf.module)
    output = RunOutput(found.spec, found.view, Options(), {}, Redactor({}), streams=found.streams)
    (option,) = [option for option in (*text.options, *text.common) if "-o" in option.names]
    assert option.help.partition(",")[0] == f"{'table' if not output.machine else 'jsonl'} (default)"
    assert option.help.replace(" (default)", "").replace(" or ", ", ").split(", ") == option.values


def test_streams_of_results_are_these() -> None:
    streams = {name for name, (_, leaf) in ALL.items() if verb(leaf).streams}
    assert streams == {"audit export", "batch", "orgs export", "users export"}


@pytest.mark.parametrize("name", ALL)
def test_leaf_declares_spec_examples_and_help(name: str) -> None:
    words, leaf = ALL[name]
    found = verb(leaf)
    assert found.spec.name == _OWN_NAMES.get(name, ".".join(words))
    assert len(found.examples) >= 2
    assert all(f"bazar {name}" in example for example in found.examples)
    first = (found.body.__doc__ or "").strip().splitlines()[0]
    assert re.fullmatch(r"[A-Z].*\.", first)
    assert leaf.help
    assert not leaf.help.endswith(".")


@pytest.mark.parametrize("name", ALL)
def test_leaf_takes_the_common_options_and_dry_run_only_where_it_writes(name: str) -> None:
    words, leaf = ALL[name]
    taken = {p.name for p in command(words, leaf).params}
    assert set(COMMON_OPTIONS) - {"dry_run"} <= taken
    assert ("dry_run" in taken) == verb(leaf).spec.writes


@pytest.mark.parametrize("name", ALL)
def test_help_starts_with_purpose_then_examples_and_names_what_it_requires(name: str) -> None:
    _, leaf = ALL[name]
    text = leaf_help(command_text(leaf.module), f"bazar {name}", 100)
    lines = text.splitlines()
    assert lines[0] == (verb(leaf).body.__doc__ or "").strip().splitlines()[0]
    assert lines[2] == "EXAMPLES"
    assert "Requires " in text
    for permission in verb(leaf).spec.permissions:
        assert permission.value in text


def test_files_are_where_their_names_say() -> None:
    root = Path(__file__).parents[2]
    for words, leaf in ((tuple(w.replace("-", "_") for w in words), leaf) for words, leaf in ALL.values()):
        path = root / "bazar_cli" / "commands" / Path(*words).with_suffix(".py")
        assert leaf.module == "bazar_cli.commands." + ".".join(words)
        assert path.is_file()


def test_every_command_module_is_in_the_tree() -> None:
    root = Path(__file__).parents[2] / "bazar_cli" / "commands"
    modules = {
        ".".join(["bazar_cli.commands", *path.relative_to(root).with_suffix("").parts])
        for path in root.rglob("*.py")
        if path.name != "__init__.py"
    }
    unregistered = modules - {leaf.module for _, leaf in ALL.values()}
    assert unregistered == set(), "these modules of bazar_cli/commands have no line in bazar_cli/registry.py"


def test_groups_are_named_and_sorted() -> None:
    def check(group: Group) -> None:
        for node in group.commands.values():
            assert node.help
            if isinstance(node, Group):
                assert list(node.commands) == sorted(node.commands)
                check(node)

    check(TREE)


def _is_runnable(line: str) -> bool:
    """Whether a suggested line is a command or group, with options that the command has."""
    words = line.split()
    node, count = resolve(words)
    options = [word for word in words[count:] if word.startswith("--")]
    if not isinstance(node, Leaf):
        return not words[count:]
    known = {name for parameter in command(tuple(words[:count]), node).params for name in parameter.opts}
    return known.issuperset(options) and all(w in options or w.isupper() or w == "owner" for w in words[count:])


def test_suggestions_are_commands_and_synonyms_are_none() -> None:
    for group, lines in SYNONYMS.items():
        node, _ = resolve(group.split())
        assert isinstance(node, Group)
        words = {word for named in lines.values() for word in named.split()}
        assert not words & set(node.commands)
        assert all(len(named_by(group, word)) in {1, 2} for word in words)
        assert all(map(_is_runnable, lines)), group


def test_an_option_of_another_command_leads_to_it() -> None:
    for name, options in OPTIONS_ELSEWHERE.items():
        own = {option for parameter in command(*ALL[name]).params for option in parameter.opts}
        assert own.isdisjoint(options)
        assert all(map(_is_runnable, options.values())), name


def test_commands_that_destroy_are_never_suggested_by_letters() -> None:
    writing = {words[-1] for words, leaf in ALL.values() if verb(leaf).spec.writes}
    harmless = {"add", "adopt", "apply", "assign", "create", "doctor", "grant", "import", "locks", "merge", "migrate"}
    harmless |= {"password", "promote", "reset-password", "revision", "seed", "set", "update", "verify"}
    assert writing - harmless <= NEVER_BY_LETTERS
