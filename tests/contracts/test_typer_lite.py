"""What `terminal/typer_lite.py` relies on in Typer, which Typer does not promise.

When this fails with a new Typer: compare `process_value` of `TyperOption` and `TyperArgument` in Typer's
`core.py` with the ones in `typer_lite.py`, and how `typer.main` builds parameters; docs/decisions/0010 says why.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperArgument, TyperOption

from bazar_cli.terminal.typer_lite import LiteArgument, LiteOption, MissingParameter, NoSuchOption, build


class Colour(str, Enum):
    RED = "red"


def echo(
    word: Annotated[str, typer.Argument()],
    number: Annotated[int | None, typer.Option("--number")] = None,
    ratio: Annotated[float, typer.Option("--ratio")] = 1.0,
    colour: Annotated[Colour | None, typer.Option("--colour")] = None,
    path: Annotated[Path | None, typer.Option("--path")] = None,
    flag: Annotated[bool, typer.Option("--flag", "-f")] = False,
    words: Annotated[list[str] | None, typer.Option("--words")] = None,
) -> Any:
    return word, number, ratio, colour, path, flag, words


def run(*arguments: str) -> Any:
    command = build(echo, lambda: "the help\n")
    with command.make_context("echo", list(arguments)) as context:
        return command.invoke(context)


def test_every_parameter_is_one_of_ours() -> None:
    command = build(echo, lambda: "")
    kinds = {type(parameter) for parameter in command.params}
    assert kinds == {LiteOption, LiteArgument}
    assert issubclass(LiteOption, TyperOption)
    assert issubclass(LiteArgument, TyperArgument)


def test_values_are_converted() -> None:
    given = (
        "w",
        "--number",
        "3",
        "--ratio",
        "0.5",
        "--colour",
        "red",
        "--path",
        "a b",
        "-f",
        "--words",
        "x",
        "--words",
        "y",
    )
    assert run(*given) == ("w", 3, 0.5, Colour.RED, Path("a b"), True, ["x", "y"])
    assert run("w") == ("w", None, 1.0, None, None, False, None)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("w", "--number", "x"), typer.BadParameter),
        (("w", "--colour", "blue"), typer.BadParameter),
        ((), MissingParameter),
        (("w", "--numbre", "1"), NoSuchOption),
    ],
)
def test_refusals(arguments: tuple[str, ...], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        run(*arguments)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_ours(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        run(option)
    assert capsys.readouterr().out == "the help\n"
