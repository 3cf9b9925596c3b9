"""The texts of a command's help and completion, from the generated file `commands.tsv`.

`make generate` writes the file from the live commands, and a test proves it fresh. So help and completion import
neither Typer nor a command's module (docs/decisions/0018).

A section for each command, a blank line between two. Each line is a kind and its columns, separated by tabs:

    common | command NAME          the first line of a section; `common` holds the options of every command
    purpose | example | details | requires    one text
    argument SHOWN HELP VALUES     `[TOPIC...]`: not required, takes any number of words
    option NAMES HELP VALUES       `--output -o FORMAT`; a flag has no FORMAT
    fields NAMES                   the fields of the result
    writes                         the command takes --dry-run

VALUES are separated by spaces. `:file`, `:profiles`, `:fields` and `:topics` are found at run time.
"""

import os

_FILE = os.path.join(os.path.dirname(__file__), "commands.tsv")  # noqa: PTH118, PTH120 - pathlib costs 5 ms
_COMMANDS = "bazar_cli.commands."
_DRY_RUN = "--dry-run"


class Parameter:
    """An option or an argument."""

    __slots__ = ("help", "metavar", "names", "values")

    def __init__(self, shown: str, help: str, values: str = "") -> None:  # noqa: A002 - the field's usual name
        words = shown.split(" ")
        self.names = [word for word in words if word.startswith("-")]
        """Every spelling of an option; empty for an argument."""
        self.metavar = "" if len(self.names) == len(words) else words[-1]
        """The value as help shows it; empty for a flag."""
        self.help = help
        self.values = values.split()


class CommandText:
    """One command: the texts of its help, and its parameters."""

    __slots__ = ("arguments", "common", "details", "examples", "fields", "options", "purpose", "requires")

    def __init__(self, section: str, common: str) -> None:
        rows = _rows(section)

        def texts(kind: str) -> "list[str]":
            return [row[1] for row in rows if row[0] == kind]

        self.purpose = texts("purpose")[0]
        self.examples = texts("example")
        self.details = texts("details")
        """Paragraphs, not yet wrapped."""
        self.requires = texts("requires")
        self.arguments = [Parameter(*row[1:]) for row in rows if row[0] == "argument"]
        self.options = _options(section)
        """The options of this command alone, and those that mean something else here."""
        writes = ["writes"] in rows
        own = {name for option in self.options for name in option.names}
        given = [option for option in _options(common) if writes or _DRY_RUN not in option.names]
        self.common = [option for option in given if own.isdisjoint(option.names)]
        self.fields = [name for names in texts("fields") for name in names.split()]
        """The names of the result's fields."""


def name_of(module: str) -> str:
    """Return the name of the command that a module holds: `users reset-password`."""
    return module.removeprefix(_COMMANDS).replace(".", " ").replace("_", "-")


def command_text(module: str) -> CommandText:
    """Return the text of the command that a module holds. Raises: LookupError when the file has none."""
    return parse(_content(), name_of(module))


def parse(content: str, name: str) -> CommandText:
    """Return the text of one command from the content of the file. Raises: LookupError when it has none."""
    common, *sections = content.split("\n\n")
    for section in sections:
        if section.startswith(f"command\t{name}\n"):
            return CommandText(section, common)
    raise LookupError(f"`{name}` is not in commands.tsv: run `make generate`")


def common_options() -> "list[Parameter]":
    """Return the options that every command takes, --dry-run among them."""
    return _options(_content().partition("\n\n")[0])


def _content() -> str:
    with open(_FILE, encoding="utf-8") as file:  # noqa: PTH123 - as above
        return file.read()


def _options(section: str) -> "list[Parameter]":
    return [Parameter(*row[1:]) for row in _rows(section) if row[0] == "option"]


def _rows(section: str) -> "list[list[str]]":
    return [line.split("\t") for line in section.splitlines()]
