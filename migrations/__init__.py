"""The Alembic environment and revisions of the schema `bazar`; shipped in the wheel as `bazar_cli._migrations`.

Never here: an import of `bazar_cli` in a revision, whose meaning must not change with the code.
"""
