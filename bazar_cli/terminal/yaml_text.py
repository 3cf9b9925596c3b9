"""YAML that readers of YAML 1.1 and of YAML 1.2 understand in the same way."""

from __future__ import annotations

import re
from typing import Any

import yaml

# Only a word can be anything but a string where it begins with a letter; what begins otherwise may be a number, a date
# or a merge key to one reader or the other (`1e3`, `0o17`, `1_000`, `12:30`, `.inf`, `<<`, `=`).
_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null|none|nan|inf|infinity)\Z)[a-z].*", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    """The library's, but for strings: it knows the rules of 1.1 only, and not all of them."""


def _text(_dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Readers of 1.1 take more characters for a line break; between double quotes these are escapes.
    plain = text.isprintable() and _PLAIN.fullmatch(text)
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def yaml_text(value: Any, *, unicode: bool) -> str:
    """Return a JSON value as YAML, its strings quoted where any reader would take them for something else.

    Parameters: `unicode` leaves characters beyond ASCII as they are.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=unicode, width=float("inf"))
