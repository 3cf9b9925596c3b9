"""The statements that this process sends by psycopg, for tests that read them or stop between two of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
import pytest

Statement: TypeAlias = "tuple[str, Any]"
"""A statement with its parameters."""


def _ignore(*_: object) -> None:
    """Do nothing."""


@contextmanager
def watched(
    after: Callable[[psycopg.Cursor[Any], str, Any], None] = _ignore,
    failed: Callable[[psycopg.Error], None] = _ignore,
) -> Generator[list[Statement]]:
    """Collect the statements that are sent within the block, by any thread.

    Parameters: `after` is called after each with its cursor, `failed` with the error of one that failed.
    """
    execute: Callable[..., psycopg.Cursor[Any]] = psycopg.Cursor.execute
    statements: list[Statement] = []

    def watching(cursor: psycopg.Cursor[Any], query: str | bytes, params: Any = None, **options: Any) -> Any:
        statement = query.decode() if isinstance(query, bytes) else query
        statements.append((statement, params))
        try:
            done = execute(cursor, query, params, **options)
        except psycopg.Error as error:
            failed(error)
            raise
        after(cursor, statement, params)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", watching)
        yield statements
