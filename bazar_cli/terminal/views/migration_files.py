"""How migration files are shown: those that exist, and one that was written."""

from __future__ import annotations

from bazar_cli.domain.db.revisions import NewRevision, RevisionFile
from bazar_cli.terminal.views.base import View

FILE = View(
    RevisionFile,
    paths=("revision.id", "down", "revision.message", "is_head", "file"),
    renamed={"revision.id": "revision", "down": "revises"},
    table=("revision", "revises", "message", "is_head"),
    identifier="revision.id",
    shown={"revises": " ".join, "is_head": lambda is_head: "head" if is_head else ""},
)
NEW = View(NewRevision, renamed={"down": "revises"}, identifier="revision")
