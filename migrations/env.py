"""Alembic's entry point. The code is in `bazar_cli.adapters.migrations.alembic_env`."""

from alembic import context

from bazar_cli.adapters.migrations.alembic_env import run

run(context)
