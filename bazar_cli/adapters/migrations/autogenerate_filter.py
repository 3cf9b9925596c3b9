"""Filters that limit Alembic's comparison with the models to the schema `bazar`.

Both are needed. Alembic asks the first before it reads a schema, and the second about every object of both sides.
Without the second, a model in another schema, such as a stub of Supabase's `auth.users`, would be created.
"""

from __future__ import annotations

from typing import Any

from bazar_cli.adapters.postgres.tables import SCHEMA

VERSION_TABLE = "alembic_version"


def only_our_names(name: str | None, kind: str, _parents: object) -> bool:
    """Return whether Alembic reads an object of the database, by its name."""
    return kind != "schema" or name == SCHEMA


def only_our_objects(thing: Any, _name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Return whether a table, or a part of one, is compared."""
    table = thing if kind == "table" else thing.table
    return table.schema == SCHEMA
