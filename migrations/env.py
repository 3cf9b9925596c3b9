"""Alembic's entry: all that it does stands in `bazar_cli.adapters.migrations.environment`."""

from alembic import context

from bazar_cli.adapters.migrations.environment import run

run(context)
