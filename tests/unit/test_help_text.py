"""Help of every command, group, topic and error code in terminals of several widths."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import product

import pytest

from bazar_cli.registry import TOPICS, TREE, Group
from bazar_cli.terminal.error_texts import meanings
from bazar_cli.terminal.help_text import Lines, Options, Terms, Text, laid_out
from bazar_cli.terminal.help_words import help_on
from tests.support.tree import ALL, verb

WIDTHS = (1, 40, 60, 80, 100, 200)
_WIDEST = 100


def groups(group: Group = TREE, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to each group."""
    yield words
    for word, node in group.commands.items():
        if isinstance(node, Group):
            yield from groups(node, (*words, word))


COMMANDS = [words for words, _ in ALL.values()]
EVERYTHING = {
    **{" ".join(words): [words] for words in COMMANDS},
    "groups": list(groups()),
    "topics": [(topic,) for topic in TOPICS],
    "error codes": [(code,) for code in meanings()],
}


def shown(words: tuple[str, ...], width: int) -> str:
    """What `bazar help` says in a terminal of this width."""
    return help_on(list(words), io.StringIO(), {"COLUMNS": str(width)})


def is_copied(line: str) -> bool:
    """Whether people copy the line: an example, the usage, or an object in JSON."""
    return line.lstrip().startswith(("$ bazar", "$ eval", "$ export", "bazar ", '{"error"', '"exit_code"'))


def is_one_word(line: str) -> bool:
    """Whether the line has nothing that could stand on the next one: one word, or one command in backquotes.

    A term may stand before it, with a gap of two columns.
    """
    text = line.strip().rpartition("  ")[2]
    return " " not in text or (text.startswith("`") and "`" in text[1:] and " " not in text[text.index("`", 1) :])


@pytest.mark.parametrize("name", EVERYTHING)
def test_no_line_is_wider_than_the_terminal_unless_it_is_copied_or_one_word(name: str) -> None:
    for words, width in product(EVERYTHING[name], WIDTHS[1:]):
        wide = [line for line in shown(words, width).splitlines() if len(line) > min(width, _WIDEST)]
        assert [line for line in wide if not is_copied(line) and not is_one_word(line)] == [], (words, width)


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_width_shows_the_same_words_and_divides_no_command(name: str) -> None:
    for words in EVERYTHING[name]:
        texts = {width: shown(words, width) for width in WIDTHS}
        assert len({tuple(text.split()) for text in texts.values()}) == 1, words
        assert texts[200] == texts[_WIDEST]
        assert all(line.count("`") % 2 == 0 for text in texts.values() for line in text.splitlines()), words


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_examples_and_usage_are_whole_lines(words: tuple[str, ...]) -> None:
    _, leaf = ALL[" ".join(words)]
    for width in WIDTHS:
        lines = shown(words, width).splitlines()
        assert {f"  $ {example}" for example in verb(leaf).examples} <= set(lines)
        assert any(line.startswith(f"  bazar {' '.join(words)} ") and line.endswith("[OPTIONS]") for line in lines)


def test_options_stand_below_each_other_and_texts_beside_them() -> None:
    options = Options("OPTIONS", [("-q, --quiet", "show no notices"), ("--org ORG", "members of this organization")])
    assert laid_out([options], 80) == (
        "OPTIONS\n  -q, --quiet    show no notices\n      --org ORG  members of this organization\n"
    )
    assert laid_out([options], 42) == (
        "OPTIONS\n  -q, --quiet    show no notices\n      --org ORG  members of this\n                 organization\n"
    )


def test_a_narrow_terminal_has_texts_below_their_terms() -> None:
    options = Options("OPTIONS", [("-q, --quiet", "show no notices"), ("--org ORG", "members of this organization")])
    assert laid_out([options], 30) == (
        "OPTIONS\n  -q, --quiet\n      show no notices\n  --org ORG\n      members of this\n      organization\n"
    )


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Text("one two three"), "one two\nthree\n"),
        (Text("one two three", "four"), "one two\n  three\nfour\n"),
        (Text("run `bazar db merge` again"), "run\n`bazar db merge`\nagain\n"),
        (Text("a-hyphen-divides-nothing"), "a-hyphen-divides-nothing\n"),
        (Lines("USAGE", ["bazar users list"]), "USAGE\n  bazar users list\n"),
    ],
)
def test_blocks_in_ten_columns(block: Text | Lines | Terms, expected: str) -> None:
    assert laid_out([block], 10) == expected
