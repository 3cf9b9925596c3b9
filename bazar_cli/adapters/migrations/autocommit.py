"""Revisions that run outside a transaction, such as CREATE INDEX CONCURRENTLY: one statement that can be repeated.

A failure there cannot be rolled back. Such a revision declares `transactional = False`, and its `upgrade` is one
statement in one `op.get_context().autocommit_block()`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, event

from bazar_cli.adapters.migrations.revision_files import name_in_catalog, source
from bazar_cli.domain.errors import UsageError

if TYPE_CHECKING:
    import psycopg

_BLOCK = "autocommit_block"
_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_CREATE = re.compile(
    rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?P<repeatable>IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{_NAME})\s+ON\s+(?:ONLY\s+)?(?P<table>{_NAME}(?:\s*\.\s*{_NAME})?)",
    re.I,
)
_INVALID = """
    SELECT n.nspname, c.relname
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE i.indrelid = to_regclass(%s) AND c.relname = %s AND NOT i.indisvalid
"""


def refuse_mixed(revision: str, path: Path) -> None:
    """Refuse a revision whose code does not fit its declaration of transactions.

    Raises: UsageError `db.revision_form`.
    """
    tree = ast.parse(source(path))
    declared = any(
        isinstance(node, (ast.Assign, ast.AnnAssign))
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
        and "transactional" in {t.id for t in _targets(node) if isinstance(t, ast.Name)}
        for node in tree.body
    )
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in ("upgrade", "downgrade"):
        function = functions.get(name)
        blocks = function is not None and any(_is_block(node) for node in ast.walk(function))
        if blocks and not declared:
            raise _form(
                f"revision {revision}",
                f"{name}() leaves its transaction, and the file does not say `transactional = False`",
            )
        if function is not None and (blocks or (declared and name == "upgrade")) and not _stands_alone(function):
            raise _form(
                f"revision {revision}", f"{name}() must be one statement in one autocommit_block, and nothing else"
            )


@contextmanager
def invalid_indexes_dropped(connection: Connection) -> Generator[None]:
    """For the block, drop the invalid index of an interrupted attempt before CREATE INDEX CONCURRENTLY.

    Postgres keeps such an index, and IF NOT EXISTS would count it as made. Raises, from the statement: UsageError
    `db.revision_form` without IF NOT EXISTS, as a revision killed before it is logged could not be run again.
    """

    def before(_connection: Connection, _cursor: object, statement: str, *_rest: Any) -> None:
        found = _CREATE.match(statement)
        if found is None:
            return
        name = name_in_catalog(found["name"])
        if not found["repeatable"]:
            raise _form(
                f"the index {name}", "CREATE INDEX CONCURRENTLY needs IF NOT EXISTS, so that it can be run again"
            )
        driver = cast("psycopg.Connection[tuple[str, str]]", connection.connection.driver_connection)
        for schema, index in driver.execute(_INVALID, (found["table"], name)).fetchall():
            driver.execute(SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(Identifier(schema, index)))

    event.listen(connection, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", before)


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _is_block(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == _BLOCK


def _stands_alone(function: ast.FunctionDef) -> bool:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if len(body) != 1 or not isinstance(body[0], ast.With):
        return False
    block = body[0]
    alone = len(block.items) == 1 and _is_block(block.items[0].context_expr)
    return alone and len(block.body) == 1 and isinstance(block.body[0], ast.Expr)


def _form(what: str, flaw: str) -> UsageError:
    return UsageError(
        "db.revision_form",
        f"{what} cannot be run: {flaw}",
        hint="docs/operations.md, Revisions without a transaction, shows the form",
    )
