"""Read the files of `diff`, `apply` and `db seed`."""

from __future__ import annotations

from bazar_cli.domain.declared.nodes import UnreadableDocument
from bazar_cli.domain.declared.reader import Findings, declared_state
from bazar_cli.domain.declared.shapes import SEED_FILE, STATE_FILE
from bazar_cli.domain.declared.state import DeclaredState
from bazar_cli.domain.errors import UsageError


def read_state(text: str, named: str) -> DeclaredState:
    """Return the declared state of a YAML or JSON file. Parameters: `named` is its name in messages.

    Raises: UsageError `apply.file_unreadable`, `apply.file_invalid` with the line and column of every wrong value.
    """
    from bazar_cli.adapters.documents import read_document

    try:
        return declared_state(read_document(text), STATE_FILE)
    except UnreadableDocument as error:
        raise UsageError(
            "apply.file_unreadable",
            f"{named} is not a readable YAML or JSON document: {error.reason}",
            hint="correct the file; docs/declared-state.md describes it",
        ) from error
    except Findings as findings:
        raise findings.as_error("apply.file_invalid", named) from findings


def read_seed(text: str, named: str) -> DeclaredState:
    """Return the demo data of a JSON file. Parameters: `named` is its name in messages.

    Raises: UsageError `seed.file_unreadable`, `seed.file_invalid` with every wrong value.
    """
    from bazar_cli.adapters.documents import read_json

    try:
        return declared_state(read_json(text), SEED_FILE)
    except UnreadableDocument as error:
        raise UsageError(
            "seed.file_unreadable",
            f"{named} is not valid JSON: {error.reason}",
            hint='write {"organizations": [{"slug", "name"}], "users": [{"email", ...}]}',
        ) from error
    except Findings as findings:
        raise findings.as_error("seed.file_invalid", named) from findings
