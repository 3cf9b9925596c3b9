"""The Alembic environment and revisions of the schema `bazar`; shipped in the wheel as `bazar_cli._migrations`."""
