"""The generated files of the repository are those that the code makes now."""

from __future__ import annotations

import pytest

from bazar_cli.registry import TOPICS, TREE, Group
from bazar_cli.terminal.command_texts import command_text, common_options
from tests.contracts.command_rows import content
from tests.contracts.generate import ROOT, generated
from tests.support.tree import ALL, command

GROUPS = [name for name, node in TREE.commands.items() if isinstance(node, Group)]
WHOLE_FOLDERS = {
    "completions": {"_bazar", "bazar.bash", "bazar.fish"},
    "docs/cli": {f"{name}.md" for name in ("README", "topics", *GROUPS)},
    "man/man1": {f"{name}.1" for name in ("bazar", *(f"bazar-{group}" for group in GROUPS))},
    "man/man7": {f"bazar-{topic}.7" for topic in TOPICS},
}
"""Folders that hold generated files only, with their files."""
COMMITTED = [
    *("bazar_cli/terminal/commands.tsv", "bazar_cli/terminal/errors.tsv"),
    *(f"{folder}/{name}" for folder, names in WHOLE_FOLDERS.items() for name in sorted(names)),
    *(
        "docs/declared-state.schema.json",
        "docs/errors.md",
        "docs/openapi.json",
        "docs/permissions.md",
        "tests/data/views.txt",
    ),
]


@pytest.fixture(scope="module")
def fresh() -> dict[str, str]:
    """Every generated file as it should be."""
    return {str(path): text for path, text in generated().items()}


def test_these_files_are_generated(fresh: dict[str, str]) -> None:
    assert sorted(fresh) == sorted(COMMITTED)
    for folder, names in WHOLE_FOLDERS.items():
        assert {path.name for path in (ROOT / folder).iterdir()} == names


@pytest.mark.parametrize("name", COMMITTED)
def test_file_is_fresh(name: str, fresh: dict[str, str]) -> None:
    stale = f"{name} is not what the code makes: run `make generate`"
    assert (ROOT / name).is_file(), stale
    assert (ROOT / name).read_text(encoding="utf-8") == fresh[name], stale


@pytest.mark.parametrize("name", ALL)
def test_texts_name_the_parameters_that_typer_takes(name: str) -> None:
    words, leaf = ALL[name]
    text, params = command_text(leaf.module), command(words, leaf).params
    options = {tuple(p.opts) for p in params if p.param_type_name == "option"}
    assert {tuple(option.names) for option in (*text.options, *text.common)} == options
    assert len(text.arguments) == sum(p.param_type_name == "argument" for p in params)
    assert {tuple(option.names) for option in text.common} <= {tuple(option.names) for option in common_options()}


def test_texts_are_ascii_so_that_every_terminal_shows_them() -> None:
    assert content().isascii()


def test_a_command_that_is_not_in_the_file_says_what_to_run() -> None:
    with pytest.raises(LookupError, match=r"users shout.*make generate"):
        command_text("bazar_cli.commands.users.shout")
