"""The SQL of revisions, one by one, and whether it deletes data for good."""

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


_STEP = re.compile(r"^-- Running (upgrade|downgrade) (\w*) -> (\w*)$", re.M)


def sql_by_revision(script: str) -> dict[str, str]:
    """Return the SQL of each revision in a script that Alembic wrote, without changes of Alembic's own table."""
    _, *parts = _STEP.split(script)
    found: dict[str, str] = {}
    for verb, source, target, sql in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True):
        own = re.sub(r"^(?:INSERT INTO|UPDATE|DELETE FROM) bazar\.alembic_version\b[^;]*;", "", sql, flags=re.M)
        found[target if verb == "upgrade" else source] = own
    return found


def lost_by(sql: str) -> tuple[str, ...]:
    """Return the tables, and the columns as `bazar.users.name`, that SQL drops in the schema `bazar`."""
    tables = re.findall(r"\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(bazar\.\w+)", sql, re.I)
    altered = re.findall(r"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(bazar\.\w+)\s+([^;]*)", sql, re.I)
    column = re.compile(r"\bDROP\s+COLUMN\s+(?:IF\s+EXISTS\s+)?(\w+)", re.I)
    return (*tables, *(f"{table}.{name}" for table, rest in altered for name in column.findall(rest)))


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
        start = f"{start}{plain}".rpartition(";")[2].lstrip()[:3]
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
