"""The man pages: bazar(1), one page for each group of commands, and a page of section 7 for each topic.

Their content is that of the reference. They bear the version and no date, so that the same sources make the same pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bazar_cli import __version__
from bazar_cli.registry import TOPICS, TREE, Group
from bazar_cli.terminal import topics
from bazar_cli.terminal.help_text import Block, Lines, Text
from tests.contracts.reference import MARK, common_rows, leaves_below, reference_blocks, root_leaves

_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "^": r"\(ha", "~": r"\(ti"}
_NO_BREAK = r"\ "
_WIDEST_TERM = 26
"""A longer term has its text on the next line."""
_AFTER_HEADING = re.compile(r"^(\.S[HS] .+\n)\.PP\n", re.M)
"""A paragraph macro that does nothing."""
_BOLD, _ITALIC, _ROMAN = r"\fB", r"\fI", r"\fR"


def pages(texts: str) -> dict[Path, str]:
    """Return the man pages by their paths. Parameters: `texts` is the content of `commands.tsv`."""
    groups = {name: node for name, node in TREE.commands.items() if isinstance(node, Group)}
    found = {"bazar": _root(groups, texts)}
    found |= {f"bazar-{name}": _group(name, group, texts) for name, group in groups.items()}
    first = {Path("man1") / f"{name}.1": text for name, text in found.items()}
    return first | {Path("man7") / f"bazar-{name}.7": _topic(name) for name in TOPICS}


def _root(groups: dict[str, Group], texts: str) -> str:
    alone = root_leaves()
    pages_of_groups = [(f"bazar-{name}(1)", group.help) for name, group in groups.items()]
    listed = [(f"bazar {name}", leaf.help) for name, leaf in alone.items()]
    return _page(
        "bazar",
        1,
        TREE.help.rstrip("."),
        [
            *_synopsis("bazar"),
            ".SH COMMANDS",
            *_terms([*pages_of_groups, *listed]),
            *_commands(alone, texts),
            ".SH OPTIONS",
            *_paragraph("Every command takes these options; `--dry-run` those that write."),
            ".sp",
            *_terms(common_rows(texts)),
            ".SH EXIT STATUS",
            *_terms(topics.EXIT_CODES),
            *_see([*(f"bazar-{name}(1)" for name in groups), *(f"bazar-{name}(7)" for name in TOPICS)]),
        ],
    )


def _group(name: str, group: Group, texts: str) -> str:
    leaves = dict(leaves_below(group, (name,)))
    return _page(
        f"bazar-{name}",
        1,
        group.help,
        [
            *_synopsis(f"bazar {name}"),
            ".SH DESCRIPTION",
            *_terms([(f"bazar {path}", leaf.help) for path, leaf in leaves.items()]),
            ".SH COMMANDS",
            *_commands(leaves, texts),
            ".SH OPTIONS",
            *_paragraph("bazar(1) has the options that every command takes."),
            ".SH EXIT STATUS",
            *_paragraph("See bazar-exit-codes(7)."),
            *_see(["bazar(1)", *(f"bazar-{topic}(7)" for topic in TOPICS)]),
        ],
    )


def _topic(name: str) -> str:
    lines = [".SH DESCRIPTION"]
    for block in topics.TOPICS[name]:
        if not isinstance(block, Text):
            lines.append(f".SH {block.title}")
        lines += _block(block)
    return _page(f"bazar-{name}", 7, TOPICS[name], [*lines, *_see(["bazar(1)"])])


def _page(name: str, section: int, purpose: str, lines: Iterable[str]) -> str:
    shown = f"{purpose[0].lower()}{purpose[1:]}"
    head = [
        f'.\\" {MARK}',
        f'.TH {_escaped(name.upper())} {section} "" "bazar {__version__}" "bazar"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_escaped(name)} \\- {_inline(shown)}",
    ]
    return _AFTER_HEADING.sub(r"\1", "\n".join([*head, *lines]) + "\n")


def _synopsis(path: str) -> list[str]:
    return [".SH SYNOPSIS", f"{_BOLD}{path}{_ROMAN} {_ITALIC}COMMAND{_ROMAN} [{_ITALIC}OPTIONS{_ROMAN}]"]


def _see(names: list[str]) -> list[str]:
    return [".SH SEE ALSO", *(f"{_escaped(name)}," for name in names[:-1]), _escaped(names[-1])]


def _commands(names: Iterable[str], texts: str) -> Iterator[str]:
    for name in names:
        yield f".SS bazar {_escaped(name)}"
        for block in reference_blocks(name, texts):
            if not isinstance(block, Text):
                yield from (".PP", f"{_BOLD}{block.title.capitalize()}{_ROMAN}")
            yield from _block(block)


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return _paragraph(*block.lines)
    if isinstance(block, Lines):
        return [".RS 4", ".nf", *(_line(_escaped(line)) for line in block.lines), ".fi", ".RE"]
    return _terms(block.rows)


def _paragraph(*lines: str) -> list[str]:
    found = [".PP"]
    for line in lines:
        found += [_line(_inline(line)), ".br"]
    return found[:-1]


def _terms(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Terms with their texts beside them, without blank lines between."""
    request = f".TP {min(_WIDEST_TERM, max(len(term) for term, _ in rows)) + 2}n"
    lines = [".PD 0"]
    for term, text in rows:
        lines += [request, f"{_BOLD}{_escaped(term)}{_ROMAN}", _line(_inline(text))]
    return [*lines, ".PD"]


def _line(text: str) -> str:
    """A line of text that is not taken for a request; a quote at its start is escaped already."""
    return rf"\&{text}" if text.startswith(".") else text


def _inline(text: str) -> str:
    parts = [_escaped(part) for part in text.split("`")]
    return "".join(_unbroken(part) if quoted % 2 else part for quoted, part in enumerate(parts))


def _unbroken(command: str) -> str:
    return f"{_BOLD}{command.replace(' ', _NO_BREAK)}{_ROMAN}"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)
