"""YAML that readers of YAML 1.1 and of YAML 1.2 understand in the same way."""

from __future__ import annotations

import re
from typing import Any

import yaml

# A text that begins with a letter is a string unless it is one of these words. Another text may be a number, a date or
# a merge key to some reader (`1e3`, `0o17`, `1_000`, `12:30`, `.inf`, `<<`, `=`).
_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null|none|nan|inf|infinity)\Z)[a-z].*", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    """The dumper of the library, except for strings: it knows only some rules, and those of 1.1."""


def _text(_dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Readers of 1.1 know more line breaks; double quotes escape them.
    plain = text.isprintable() and _PLAIN.fullmatch(text)
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def yaml_text(value: Any, *, unicode: bool) -> str:
    """Return a JSON value as YAML, with quotes around strings that a reader could take for another type.

    Parameters: `unicode` writes characters beyond ASCII without escapes.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=unicode, width=float("inf"))
