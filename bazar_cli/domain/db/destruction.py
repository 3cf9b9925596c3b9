"""What of a revision's SQL takes data away for good."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?\*/ )
  | \$(?P<tag>(?:[^\W\d]\w*)?)\$ (?P<body>.*?) \$(?P=tag)\$
  | (?P<literal> \b[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' )
  | (?P<name> "(?:[^"]|"")+" )
    """,
    re.X | re.S,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
_BLOCK = re.compile(r"DO\b", re.I)
_BEGINNING = 3
"""So many characters of a statement tell whether it is a DO block."""
_TAKES = re.compile(
    r"""
    \bDROP\ (?:FOREIGN\ )?(?:TABLE|SCHEMA|DATABASE|TYPE|DOMAIN|SEQUENCE|EXTENSION|OWNED)\b
  | \bDROP\b[^;]*(?<!\bDELETE\ )(?<!\bUPDATE\ )\bCASCADE\b
  | \bALTER\ (?:FOREIGN\ )?(?:TABLE|TYPE)\b[^;]*?
    \b(?: DROP\ (?!CONSTRAINT\b|DEFAULT\b|NOT\ NULL\b|IDENTITY\b|EXPRESSION\b)
         | ALTER\ (?:COLUMN\ |ATTRIBUTE\ )?(?!COLUMN\b|ATTRIBUTE\b)\S+\ (?:SET\ DATA\ )?TYPE\b )
  | \bTRUNCATE\ (?!(?:ON|OR)\b)[\w"'%]
  | \bDELETE\ FROM\b
  | \bTHEN\ DELETE\b
    """,
    re.X | re.I,
)
"""What goes is named, or taken along by CASCADE; one space stands where any blanks do."""


def is_destructive(sql: str) -> bool:
    """Say whether statements take rows, columns or values away that no way back restores.

    They do where they drop a table, schema, type, domain, sequence or extension, or a column; drop anything with
    CASCADE; give a column another type; TRUNCATE or DELETE. An UPDATE does not count, as every backfill is one, nor
    does what holds no data of its own: an index, view, function, constraint, default, policy or trigger. The code of a
    function that is only made does not run; that of a DO block does, with what it executes as text. What the functions
    do that are called stands elsewhere, and is not seen.
    """
    return _TAKES.search(_what_runs(sql)) is not None


def _what_runs(sql: str) -> str:
    """The statements on one line, without comments, and without literals other than the code of DO blocks."""
    found: list[str] = []
    position, start = 0, ""
    for token in _TOKEN.finditer(sql):
        plain = sql[position : token.start()]
        start = f"{start}{plain}".rpartition(";")[2].lstrip()[:_BEGINNING]
        found.append(plain)
        position = token.end()
        if token["comment"] is not None:
            found.append(" ")
        elif token["name"] is not None:
            found.append("named")
        elif _BLOCK.match(start):
            code = token["literal"] if token["body"] is None else token["body"]
            found.append(f" {_COMMENT.sub(' ', code)} ")
        else:
            found.append("''")
    return " ".join("".join([*found, sql[position:]]).split())
