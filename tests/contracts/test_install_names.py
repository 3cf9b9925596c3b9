"""Until bazar is on an index, no text tells anybody to install a name from one: anybody could register that name."""

from __future__ import annotations

import re

import pytest

from tests.support.checkout import ROOT

_PLACES = ("bazar_cli", "docker", "docs", "completions", "man", "migrations", ".github", ".ci")
_FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "constraints.txt")
_SUFFIXES = {".py", ".md", ".tsv", ".txt", ".yml", ".yaml", ".fish", ".bash", ".example", ".1", ""}
_NAME = r"bazar(?:[-_.]cli)?"
_FROM_INDEX = re.compile(
    # An extra is named of a distribution, never of a command.
    rf"{_NAME}\[[\w,-]*\](?! @ git\+https://HOST/)"
    # A name after a command that installs; options may stand between.
    r"|(?:\b(?:pip3?|pipx|uv|uv tool|uv pip|poetry|conda) (?:install|run|add|upgrade|download)|\buvx)\b"
    rf"(?: -\S+| \"| ')*[ \"']+{_NAME}(?![\w/-])(?!\S* @ git\+https://HOST/)"
)


@pytest.mark.parametrize(
    "line",
    [
        "pip install bazar-cli",
        "run `pip install 'bazar-cli[local]'`",
        'uv tool install --quiet "bazar-cli"',
        "pipx install bazar",
        "uvx bazar --version",
        "install `bazar-cli[local]`",
        "pip install 'bazar-cli @ git+https://github.com/somebody/bazar'",
    ],
)
def test_a_name_that_anybody_could_register_is_found(line: str) -> None:
    assert _FROM_INDEX.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "pip install '.[local]'",
        "pip install 'bazar-cli[local] @ git+https://HOST/OWNER/REPOSITORY'",
        "pip install 'bazar-cli @ git+https://HOST/OWNER/REPOSITORY@COMMIT'",
        "uv tool install ./bazar_cli-0.1.0-py3-none-any.whl",
        "`make start` installs `.venv/bin/bazar`",
    ],
)
def test_an_install_that_works_today_is_not(line: str) -> None:
    assert not _FROM_INDEX.search(line)


def test_no_text_installs_bazar_from_an_index() -> None:
    files = [ROOT / name for name in _FILES]
    files += [path for place in _PLACES for path in (ROOT / place).rglob("*") if path.suffix in _SUFFIXES]
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _FROM_INDEX.search(line)
    ]
    assert lines == []
