"""Commands of bazar as text that a person can paste into a shell, also with unusual values."""

from __future__ import annotations

from pathlib import Path


def quoted(value: str | Path) -> str:
    """Return a value as a shell takes it, in quotes where it needs them."""
    from shlex import quote  # brings `re`, which a read of a file does not need

    return quote(str(value))


def command_line(command: str, *arguments: str, **options: str | bool | None) -> str:
    """Return a command to paste into a shell.

    Where an argument begins with a hyphen, as an email address may, all of them follow the options and `--`.

    Parameters: `command` is the words behind `bazar`; an option is named by its long form, and is a flag where it
    is True, left out where it is None or False.
    """
    given = [option(name, value) for name, value in options.items() if value is not None and value is not False]
    named = [quoted(argument) for argument in arguments]
    if any(argument.startswith("-") for argument in arguments):
        return " ".join(["bazar", command, *given, "--", *named])
    return " ".join(["bazar", command, *named, *given])


def option(name: str, value: str | bool) -> str:
    """Return an option with its value, which may begin with a hyphen; the flag alone where the value is a bool."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return flag
    return f"{flag}{'=' if value.startswith('-') else ' '}{quoted(value)}"
