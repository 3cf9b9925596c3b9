"""The answer to `bazar help WORDS`: a topic, an error code, a group or a command."""

from __future__ import annotations

from bazar_cli.registry import TOPICS, TREE, Group, resolve

TYPE_CHECKING = False  # as in `width`
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from bazar_cli.domain.errors import UsageError
    from bazar_cli.terminal.help_text import Block


def help_on(words: list[str], stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return the help that `words` name, as wide as the terminal behind `stream`; empty if they name nothing.

    Upper and lower case are the same.
    """
    words = [word.lower() for word in words]
    if len(words) == 1 and (words[0] in TOPICS or "." in words[0]):
        return _topic_or_code(words[0], stream, environ)
    node, count = resolve(words)
    if count < len(words):
        return ""
    if isinstance(node, Group):
        from bazar_cli.terminal.listing import listing

        return listing(node, words, stream, environ)
    from bazar_cli.terminal.leaf_help import command_help

    return command_help(node.module, " ".join(["bazar", *words]), stream, environ)


def unknown(words: list[str]) -> UsageError:
    """Return the error for words that name nothing."""
    from bazar_cli.domain.errors import UsageError

    code = "usage.unknown_command"
    if len(words) == 1 and "." in words[0]:
        return UsageError(code, f"there is no error code {words[0][:80]!r}", hint=_near_codes(words[0].lower()))
    node, count = resolve(words)
    known = [*(node.commands if isinstance(node, Group) else ()), *(TOPICS if node is TREE else ())]
    path = " ".join(["bazar", *words[:count]])
    hint = f"choose one of: {', '.join(known)}" if known else f"`{path}` has no commands below it"
    return UsageError(code, f"there is no command or topic {' '.join(words)[:80]!r}", hint=hint)


def _topic_or_code(word: str, stream: TextIO, environ: Mapping[str, str]) -> str:
    from bazar_cli.terminal.help_text import laid_out
    from bazar_cli.terminal.topics import TOPICS as TEXTS
    from bazar_cli.terminal.width import columns

    blocks = TEXTS[word] if word in TEXTS else _code(word)
    return laid_out(blocks, columns(stream, environ)) if blocks else ""


def _code(code: str) -> list[Block]:
    from bazar_cli.terminal.error_texts import address, meanings
    from bazar_cli.terminal.help_text import Terms, Text
    from bazar_cli.terminal.topics import EXIT_CODES

    if code not in (found := meanings()):
        return []
    number, meaning = found[code]
    row = [(shown, text) for shown, text in EXIT_CODES if shown == number]
    return [Text(code), Text(meaning), Terms("EXIT CODE", row), Text(f"See {address(code)}")]


def _near_codes(word: str) -> str:
    import difflib

    from bazar_cli.terminal.error_texts import meanings

    near = difflib.get_close_matches(word, meanings(), n=3)
    return f"did you mean {' or '.join(near)}?" if near else "-o json shows the code of an error"
