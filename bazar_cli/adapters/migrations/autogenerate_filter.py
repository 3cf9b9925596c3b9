"""What Alembic may compare with the models: the schema `bazar` and nothing beside it.

Both filters are needed. Alembic asks the first before it reads a schema, and the second about every object of either
side: without it, a table of the models that lies elsewhere, such as a stub of Supabase's `auth.users`, is "created".
"""

from __future__ import annotations

from typing import Any

from bazar_cli.adapters.postgres.tables import SCHEMA

VERSION_TABLE = "alembic_version"


def only_our_names(name: str | None, kind: str, _parents: object) -> bool:
    """Say whether something of the database is looked at, by its name."""
    return kind != "schema" or name == SCHEMA


def only_our_objects(thing: Any, _name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Say whether a table, or a part of one, of the database or of the models is compared."""
    table = thing if kind == "table" else thing.table
    return table.schema == SCHEMA
