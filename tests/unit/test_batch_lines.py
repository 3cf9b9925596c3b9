"""The lines of a batch: words as in a shell, comments, bounds, and what is no command of a batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bazar_cli.domain.errors import UsageError
from bazar_cli.terminal.batch_lines import MAX_LINE_BYTES, Line, lines_of, refuse_invalid_file


def read(folder: Path, content: bytes) -> list[Line]:
    file = folder / "lines"
    file.write_bytes(content)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return list(lines_of(descriptor, lambda: False))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("users get ada", ("ada",)),
        ("bazar users get ada\r", ("ada",)),
        ("\ufeffusers get ada", ("ada",)),
        ("  users\tget 'a b' \"c d\"  # a comment", ("a b", "c d")),
        ("users get a#b@example.com", ("a#b@example.com",)),
        ("users get '#1' \\#2 \"a\"#3 #4", ("#1", "#2", "a#3")),
        ("users get a\\ #b", ("a #b",)),
        ("users get \"it's\" # it's", ("it's",)),
        ("users get Zoë --fields id", ("Zoë", "--fields", "id")),
        ("users get -- bazar", ("--", "bazar")),
    ],
)
def test_a_line_has_the_words_of_a_shell(tmp_path: Path, text: str, arguments: tuple[str, ...]) -> None:
    (line,) = read(tmp_path, text.encode() + b"\n")
    assert (line.error, line.path, line.arguments) == (None, ("users", "get"), arguments)
    assert line.leaf is not None
    assert line.leaf.module == "bazar_cli.commands.users.get"


def test_empty_lines_and_comments_count_as_lines_and_run_nothing(tmp_path: Path) -> None:
    lines = read(tmp_path, b"# first\n\n   \nusers me\n#\nusers list")
    assert [(line.number, line.path) for line in lines] == [(4, ("users", "me")), (6, ("users", "list"))]


def test_group_with_a_default_command_runs_it(tmp_path: Path) -> None:
    shown, with_option = read(tmp_path, b"db env\ndb env -o json\n")
    assert shown.leaf is not None
    assert (shown.leaf, shown.arguments) == (with_option.leaf, ())
    assert shown.leaf.module.endswith(".show")
    assert with_option.arguments == ("-o", "json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"users", "`bazar users` is not a command"),
        (b"users frob x", "`bazar users frob` is not a command"),
        (b"users --help", "`bazar users --help` is not a command"),
        (b"--version", "`bazar --version` is not a command"),
        (b"auth login", "a batch does not run `bazar auth`"),
        (b"bazar batch x", "a batch does not run `bazar batch`"),
        (b"config path", "a batch does not run `bazar config`"),
        (b"local stop", "a batch does not run `bazar local`"),
        (b"db drop --confirm bazar", "a batch does not run `bazar db drop`"),
        (b"users get 'a", "it cannot be split into words: no closing quotation"),
        (b"users get a\\", "it cannot be split into words: no escaped character"),
        (b"users get \xff", "it is not UTF-8 text: byte 11"),
        (b"users get a\0b", "it has a NUL character"),
        (b"users get " + b"a" * MAX_LINE_BYTES, "it is longer than 1 MiB"),
    ],
)
def test_a_line_that_cannot_be_run_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    wrong, good = read(tmp_path, content + b"\nusers me\n")
    assert wrong.leaf is None
    assert wrong.error is not None
    assert (wrong.error.code, wrong.error.message) == ("batch.line_invalid", message)
    assert good.path == ("users", "me")


def test_a_line_that_cannot_be_run_keeps_the_words_of_the_tree_apart(tmp_path: Path) -> None:
    lines = read(tmp_path, b"users frob ada@example.com\nauth login --email ada@example.com\nada@example.com\n")
    assert [(line.path, len(line.arguments)) for line in lines] == [(("users",), 2), (("auth", "login"), 2), ((), 1)]


def test_a_line_of_100_mb_is_not_kept(tmp_path: Path) -> None:
    (line,) = read(tmp_path, b"x" * 100_000_000)
    assert line.error is not None
    assert len(line.text) <= 200


def test_a_file_is_refused_whole_with_all_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("users me\nusers frob\n\nlocal stop\nusers me --password 'correct horse'\n")
    remembered: list[str] = []

    def check(line: Line) -> None:
        if line.arguments:
            raise UsageError("usage.unknown_option", "no such option")

    descriptor = os.open(file, os.O_RDONLY)
    try:
        with pytest.raises(UsageError) as refused:
            refuse_invalid_file(descriptor, check, remembered.append)
    finally:
        os.close(descriptor)
    assert refused.value.lines == (
        "3 lines cannot be run, so no line was run",
        "  line 2: `bazar users frob` is not a command",
        "  line 4: a batch does not run `bazar local`",
        "  line 5: no such option",
    )
    assert [found["line"] for found in refused.value.details["lines"]] == [2, 4, 5]  # pyright: ignore
    assert remembered == ["correct horse"]


@pytest.mark.parametrize(
    ("text", "shown", "secrets"),
    [
        ("users create a@b --password hunter2 --org x", "users create a@b --password *** --org x", ("hunter2",)),
        ("users create a@b --passwd='a b'", "users create a@b --passwd=***", ("a b",)),
        ('users create a@b --Password "a b" c', "users create a@b --Password *** c", ("a b",)),
        ("users create a@b --password-stdin hunter2", "users create a@b --password-stdin ***", ("hunter2",)),
        ("users get --access-token eyJ 'x", "users get --access-token *** 'x", ("eyJ",)),
        ("users create a@b --generate-password --org x", "users create a@b --generate-password --org x", ()),
        ("users create a@b --password-stdin --org x", "users create a@b --password-stdin --org x", ()),
        ("users create --org pass --name token", "users create --org pass --name token", ()),
    ],
)
def test_a_line_is_shown_without_secrets(tmp_path: Path, text: str, shown: str, secrets: tuple[str, ...]) -> None:
    (line,) = read(tmp_path, text.encode())
    assert (line.text, line.secrets) == (shown, secrets)
