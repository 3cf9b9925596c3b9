"""The kind and the table of a statement, for traces."""

from __future__ import annotations

import re
from functools import lru_cache

from psycopg.sql import Composable

_OPERATION = re.compile(r"\s*([A-Za-z]{1,20})\b")
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN)\s+(bazar\.\w{1,63})", re.IGNORECASE)


def summary(query: object) -> tuple[str, str]:
    """Return the kind of a statement, such as SELECT, and the first table of bazar's that it names, or "".

    Of a text with several statements the first counts. Values of statements are never part of either.
    """
    text = query.as_string(None) if isinstance(query, Composable) else query
    return _summary(text.decode(errors="replace") if isinstance(text, bytes) else str(text))


@lru_cache(maxsize=256)
def _summary(statements: str) -> tuple[str, str]:
    text = statements.partition(";")[0]
    operation, table = _OPERATION.match(text), _TABLE.search(text)
    return operation[1].upper() if operation else "STATEMENT", table[1].lower() if table else ""
