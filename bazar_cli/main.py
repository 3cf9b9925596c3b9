"""The entry point: finds the command that the words name, and returns its exit code.

`--version`, help and completion are answered before Typer or a command's module is imported.
"""

import gc
import os
import sys

from bazar_cli.registry import HELP, Group, Leaf, default_of, resolve

_HELP_OPTIONS = frozenset({"-h", "--help"})
_ONLY_HELP = (["-h"], ["--help"])
_VERSION = frozenset({"-V", "--version"})


def main() -> int:
    """Run the command line of this process and return its exit code."""
    # Looking for garbage costs a third of a start. Most commands make fewer than 120,000 objects, which is below this
    # limit. Long ones, such as an export of a million users, must not keep what they are done with.
    gc.set_threshold(200_000)
    try:
        if sys.stdin is None or sys.stdout is None or sys.stderr is None:
            from bazar_cli.terminal.streams import open_closed

            open_closed()
        code = dispatch(sys.argv[1:])
        gc.freeze()
        return code
    except KeyboardInterrupt as interrupt:
        from bazar_cli.terminal.signals import end_by

        end_by(interrupt)


def dispatch(words: "list[str]") -> int:
    """Run the command that the first of `words` name with the rest of them; return the exit code."""
    if words and words[0] in _VERSION:
        if words[1:]:
            return dispatch(["version", *words[1:]])
        from bazar_cli import __version__

        return _print(f"bazar {__version__}\n")
    if words and words[0] == "__complete":
        from bazar_cli.terminal.completion import complete

        return _print(complete(words[1:]))
    node, count = resolve(words)
    path, rest = words[:count], words[count:]
    if isinstance(node, Leaf):
        return _run(node, path, rest)
    if rest and rest[0] in _HELP_OPTIONS:
        return _list(node, path)
    if rest and rest[0] == "help":
        return dispatch(["help", *path, *rest[1:]])
    default = default_of(node)
    if rest and not (default and rest[0].startswith("-")):
        return _unknown(node, path, rest[0], words)
    return _run(default, path, rest) if default else _list(node, path)


def _run(leaf: Leaf, path: "list[str]", arguments: "list[str]") -> int:
    if _asks_for_help(arguments):
        from bazar_cli.terminal.leaf_help import command_help

        return _print(command_help(leaf.module, " ".join(["bazar", *path]), sys.stdout, os.environ))
    if leaf is HELP and (text := _explained(arguments)):
        return _print(text)
    from bazar_cli.terminal.signals import raised

    with raised():
        from bazar_cli.terminal.streams import keep_results

        keep_results()  # before any library is imported
        from bazar_cli.terminal.launch import run_leaf

        return run_leaf(leaf, path, arguments, os.environ)


def _asks_for_help(arguments: "list[str]") -> bool:
    """Whether --help is the only option; with others, Typer first says whether it knows them."""
    return arguments[-1:] in _ONLY_HELP and not any(word.startswith("-") for word in arguments[:-1])


def _explained(words: "list[str]") -> str:
    """The answer to `bazar help WORDS`; empty for an option or an unknown word, which Typer's path reports."""
    from bazar_cli.terminal.help_words import help_on

    return "" if any(word.startswith("-") for word in words) else help_on(words, sys.stdout, os.environ)


def _list(group: Group, path: "list[str]") -> int:
    from bazar_cli.terminal.listing import listing

    return _print(listing(group, path, sys.stdout, os.environ))


def _unknown(group: Group, path: "list[str]", word: str, words: "list[str]") -> int:
    from bazar_cli.terminal.unknown import unknown_word

    return unknown_word(group, path, word, words, os.environ)


def _print(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        from bazar_cli.terminal.streams import silence

        silence(1)
    except OSError as error:
        from bazar_cli.terminal import reports, streams

        streams.silence(1)
        unwritable = streams.unwritable(error, "check that standard output is open and its disk has space")
        return reports.of_words(sys.argv[1:], os.environ).report(unwritable)
    return 0
