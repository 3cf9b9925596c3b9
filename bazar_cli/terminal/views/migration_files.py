"""Migration files: those that are there, and one that was written."""

from __future__ import annotations

from bazar_cli.domain.db.revisions import NewRevision, RevisionFile
from bazar_cli.terminal.views.base import View

FILE: View[RevisionFile] = View(
    fields={
        "revision": lambda f: f.revision.id,
        "revises": lambda f: list(f.down),
        "message": lambda f: f.revision.message,
        "is_head": lambda f: f.is_head,
        "file": lambda f: f.file,
    },
    table=("revision", "revises", "message", "is_head"),
    identifier=lambda f: f.revision.id,
    shown={"revises": lambda f: " ".join(f.down), "is_head": lambda f: "head" if f.is_head else ""},
)
NEW: View[NewRevision] = View(
    fields={
        "revision": lambda n: n.revision,
        "revises": lambda n: list(n.down),
        "message": lambda n: n.message,
        "path": lambda n: n.path,
    },
    identifier=lambda n: n.revision,
)
