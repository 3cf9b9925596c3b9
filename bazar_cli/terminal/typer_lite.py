"""Typer without pydantic. Only this module uses parts of Typer that are not public.

Typer 0.29 converts every value, even None, through a pydantic TypeAdapter, and importing pydantic is slow
(docs/decisions/0010). The classes below convert the types that bazar's commands use. When a new Typer changes
these parts, `tests/contracts/test_typer_lite.py` fails: compare `process_value` of Typer's `core.py` with the
one here.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import typer
from typer._click.exceptions import MissingParameter, NoSuchOption, UsageError
from typer.core import TyperArgument, TyperCommand, TyperOption

from bazar_cli.domain.texts import Verbatim, normalized
from bazar_cli.terminal.streams import results

__all__ = ["LiteCommand", "MissingParameter", "NoSuchOption", "UsageError", "build"]

_PLAIN = (str, int, float, bool, Path, Verbatim)


def _process(parameter: TyperOption | TyperArgument, context: typer.Context, value: Any) -> tuple[bool, Any]:
    """Convert `value` if its type is one that bazar uses; return whether it was converted, and the result."""
    if value is None or (parameter.value_is_missing(value)):
        if parameter.required:
            raise MissingParameter(ctx=context, param=parameter)
        return True, value
    annotation = _bare(parameter.type_descriptor.annotation)
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        if item in _PLAIN:
            return True, [_converted(parameter, context, item, v) for v in value]
        return False, value
    if annotation in _PLAIN or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return True, _converted(parameter, context, annotation, value)
    return False, value


def _bare(annotation: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(annotation) in {Union, types.UnionType}:
        (inner,) = (a for a in get_args(annotation) if a is not type(None))
        return inner
    return annotation


def _converted(parameter: TyperOption | TyperArgument, context: typer.Context, kind: Any, value: Any) -> Any:
    if kind is str:
        return normalized(value)
    if isinstance(value, kind):
        return value
    if kind is Path and not value:
        raise typer.BadParameter("empty: name a file", ctx=context, param=parameter)
    try:
        return kind(value)
    except ValueError as error:
        if issubclass(kind, Enum):
            rule = f"choose one of: {', '.join(str(member.value) for member in kind)}"
        else:
            rule = "it is not a whole number" if kind is int else "it is not a number"
        raise typer.BadParameter(f"{str(value)!r}: {rule}", ctx=context, param=parameter) from error


class LiteOption(TyperOption):
    """An option that converts plain types without pydantic."""

    def process_value(self, ctx: Any, value: Any) -> Any:
        """Convert a value of the types above; leave others to Typer."""
        done, converted = _process(self, ctx, value)
        if not done:
            return super().process_value(ctx, value)
        return converted if self.callback is None else self.callback(ctx, self, converted)


class LiteArgument(TyperArgument):
    """An argument that converts plain types without pydantic."""

    def process_value(self, ctx: Any, value: Any) -> Any:
        """Convert a value of the types above; leave others to Typer."""
        done, converted = _process(self, ctx, value)
        return converted if done else super().process_value(ctx, value)


class LiteCommand(TyperCommand):
    """A command with bazar's own help text and without Typer's completion."""

    help_text: Callable[[], str]

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help; Typer makes it on first use, with its own option class."""
        option = super().get_help_option(ctx)
        if type(option) is TyperOption:
            option.__class__ = LiteOption
            option.callback = self._show_help
        return option

    def _show_help(self, ctx: Any, _option: object, asked: bool) -> None:
        """Write the help to the stream of results; Typer would write to `sys.stdout`."""
        if asked and not ctx.resilient_parsing:
            results().write(self.help_text())
            ctx.exit()


def build(callback: Callable[..., Any], help_text: Callable[[], str]) -> LiteCommand:
    """Return the command of a function whose signature carries Typer's declarations."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=LiteCommand, context_settings={"help_option_names": ["-h", "--help"]})(callback)
    command = typer.main.get_command(app)
    assert isinstance(command, LiteCommand), "an app with one function is that command"
    for parameter in command.params:
        # The subclasses add no state, so a parameter that Typer built can become one of them.
        if type(parameter) is TyperOption:
            parameter.__class__ = LiteOption
        elif type(parameter) is TyperArgument:
            parameter.__class__ = LiteArgument
    command.help_text = help_text
    return command
