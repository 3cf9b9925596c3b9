"""Commands that hints tell people to run: what the shell and the parser make of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from bazar_cli.domain.command_lines import command_line, option, quoted
from bazar_cli.terminal.hints import with_target


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: command_line("users get", "a@b.c"), "bazar users get a@b.c"),
        (lambda: command_line("users get", "-x@b.c"), "bazar users get -- -x@b.c"),
        (lambda: command_line("users delete", "a@b.c", confirm="a@b.c"), "bazar users delete a@b.c --confirm a@b.c"),
        (
            lambda: command_line("users delete", "-x@b.c", confirm="-x@b.c"),
            "bazar users delete --confirm=-x@b.c -- -x@b.c",
        ),
        (
            lambda: command_line("orgs members remove", "acme", "-x@b.c", yes=True),
            "bazar orgs members remove --yes -- acme -x@b.c",
        ),
        (
            lambda: command_line("users suspend", "o'b@c.d", reason="no -- really", yes=True),
            """bazar users suspend 'o'"'"'b@c.d' --reason 'no -- really' --yes""",
        ),
        (lambda: command_line("db reset", identities=False, seed=True, file=None), "bazar db reset --seed"),
        (lambda: option("env_file", "-x y"), "--env-file='-x y'"),
    ],
)
def test_values_are_quoted_and_hyphens_are_no_options(make: Callable[[], str], text: str) -> None:
    assert make() == text


@pytest.mark.parametrize("email", ["a@b.c", "-x@b.c", "o'-- `b`'@c.d", "--`x'@b.c"])
@pytest.mark.parametrize(
    "reason", ["TEXT", "left -- for good", "-", "--", "the `bazar users get` of 'her'", 'a "quote', "`'--\""]
)
def test_target_goes_before_the_arguments_that_only_hyphens_part_from_options(email: str, reason: str) -> None:
    line = command_line("users suspend", email, reason=reason, yes=True)
    words = shlex.split(line)
    told = with_target(f"to do it: `{line}`, or `bazar doctor`", "prod", None)
    assert told.endswith("`, or `bazar doctor --profile prod`")
    found = shlex.split(told.removeprefix("to do it: `").removesuffix("`, or `bazar doctor --profile prod`"))
    at = found.index("--profile")
    assert found[:at] + found[at + 2 :] == words
    assert found[at + 2 :] == (["--", email] if email.startswith("-") else [])


def test_file_whose_name_begins_with_a_hyphen() -> None:
    assert with_target("`bazar users get -- -x@b.c`", None, Path("-a.env")) == (
        "`bazar users get --env-file=-a.env -- -x@b.c`"
    )


@pytest.mark.parametrize("path", ["/plain/path", "/with space/and 'quote'", "$HOME/*"])
def test_path_in_a_remedy_is_one_word_of_the_shell(path: str) -> None:
    assert shlex.split(quoted(Path(path))) == [path]
