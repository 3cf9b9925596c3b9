"""Alembic's entry: all that it does stands in `bazar_cli.adapters.migrations.alembic_env`."""

from alembic import context

from bazar_cli.adapters.migrations.alembic_env import run

run(context)
