"""Saved plans: a comparison as a private file, and the check that nothing has moved since it was made.

A plan holds the declared state, the changes, and a hash of each row that they rely on; no secret. It is input
like any other: `apply PLAN` reads the declared state again, compares it again, and refuses a difference to the plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from bazar_cli import __version__
from bazar_cli.domain.authz.spec import Operator
from bazar_cli.domain.declared.changes import Comparison, Removals, Row, change_document
from bazar_cli.domain.declared.nodes import Node, UnreadableDocument
from bazar_cli.domain.declared.reader import Findings, declared_state
from bazar_cli.domain.declared.shapes import FILE_BYTES, STATE_FILE
from bazar_cli.domain.declared.state import DeclaredState, as_document
from bazar_cli.domain.errors import Conflict, UsageError

T = TypeVar("T")

FORMAT = 1
"""The format of the file. A release that writes another one gives it another number."""
PLAN_BYTES = 8 * FILE_BYTES
"""A plan has the state, its changes and its rows."""
_NAMED = 20
_AGAIN = "make a new plan: `bazar diff -f FILE --out PLAN`"


@dataclass(frozen=True)
class SavedPlan:
    """A plan as its file has it."""

    named: str
    deployment: str
    operator_id: str
    operator_email: str
    removals: Removals
    state: DeclaredState
    changes: Sequence[Any]
    rows: Sequence[Any]

    def refuse_elsewhere(self, deployment: object, operator: Operator) -> None:
        """Refuse a plan of another deployment or operator. Raises: Conflict `apply.plan_elsewhere`."""
        if self.deployment != str(deployment):
            whose, hint = "for another deployment", "choose the target of the plan"
        elif self.operator_id != str(operator.id):
            whose, hint = f"by {self.operator_email}, not by {operator.email}", "sign in as the operator of the plan"
        else:
            return
        raise Conflict(
            "apply.plan_elsewhere",
            f"the plan {self.named} was made {whose}; nothing was written",
            hint=f"{hint}, or {_AGAIN}",
            details={"deployment": self.deployment, "operator": self.operator_email},
        )

    def refuse_stale(self, now: Comparison) -> None:
        """Refuse a plan if a row that it relies on has moved. Raises: Conflict `apply.plan_stale`, with each row."""
        before, after = _by_key(self.rows), _by_key([_row(row) for row in now.rows])
        moved = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        if not moved and list(self.changes) == [change_document(change) for change in now.changes]:
            return
        named = [f"{kind} {name}" for kind, name in moved[:_NAMED]]
        if len(moved) > _NAMED:
            named.append(f"and {len(moved) - _NAMED} more")
        what = "rows have changed since" if moved else "its changes are not those that lead to its state now"
        raise Conflict(
            "apply.plan_stale",
            f"the plan {self.named} is out of date: {what}; nothing was written",
            below=named,
            hint=_AGAIN,
            details={"rows": [{"kind": kind, "name": name} for kind, name in moved]},
        )


def write(path: Path, named: str, comparison: Comparison, operator: Operator, *, overwrite: bool) -> None:
    """Write the plan of a comparison to a new private file. Raises: as `adapters.files.new_private_text`."""
    from bazar_cli.adapters.files import new_private_text

    plan: dict[str, Any] = {
        "format": FORMAT,
        "bazar": __version__,
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "deployment": str(comparison.deployment),
        "operator": {"id": str(operator.id), "email": operator.email},
        "prune": comparison.removals.prune,
        "max_delete": comparison.removals.limit,
        "state": as_document(comparison.state),
        "changes": [change_document(change) for change in comparison.changes],
        "rows": [_row(row) for row in comparison.rows],
    }
    with new_private_text(path, overwrite=overwrite, named=named, option="--out") as stream:
        json.dump(plan, stream, ensure_ascii=False, indent=1)
        stream.write("\n")


def read(path: Path, named: str) -> SavedPlan:
    """Return the plan of a file that only this user could have written.

    Raises: UsageError `apply.plan_unreadable`, `apply.plan_version`; StoreUnusable `files.folder_open`,
    `files.folder_not_ours`.
    """
    from bazar_cli.adapters.documents import read_json
    from bazar_cli.adapters.files import read_believed

    text = read_believed(path, lambda reason, hint: _unreadable(named, reason, hint), limit=PLAN_BYTES)
    if text is None:
        raise _unreadable(named, "there is no such file")
    try:
        tree = read_json(text)
        content: Any = json.loads(text)
    except UnreadableDocument as error:
        raise _unreadable(named, f"it is not valid JSON: {error.reason}") from error
    plan = _Part(named, content)
    if plan.get("format", int) != FORMAT:
        raise UsageError(
            "apply.plan_version",
            f"the plan {named} has the format {content['format']}, and this release reads format {FORMAT}",
            hint=f"use the release of bazar that wrote it, or {_AGAIN}",
        )
    operator = _Part(named, plan.get("operator", dict))
    return SavedPlan(
        named,
        plan.get("deployment", str),
        operator.get("id", str),
        operator.get("email", str),
        Removals(plan.get("prune", bool), plan.get_or_none("max_delete", str)),
        _state(named, tree),
        plan.items("changes"),
        [_Part(named, row).row() for row in plan.items("rows")],
    )


@dataclass(frozen=True)
class _Part:
    """An object of a plan whose values are checked for their types."""

    named: str
    content: Any

    def get(self, key: str, kind: type[T]) -> T:
        found = self.get_or_none(key, kind)
        if found is None:
            raise _unreadable(self.named, f"it has no {key}")
        return found

    def get_or_none(self, key: str, kind: type[T]) -> T | None:
        content: object = self.content
        if not isinstance(content, dict):
            raise _unreadable(self.named, "it is not a plan")
        value = cast("dict[str, object]", content).get(key)
        if value is not None and type(value) is not kind:
            raise _unreadable(self.named, f"its {key} is not valid")
        return cast("T | None", value)

    def items(self, key: str) -> list[Any]:
        return cast("list[Any]", self.get(key, list))

    def row(self) -> Mapping[str, object]:
        self.get("kind", str)
        self.get("name", str)
        return cast("dict[str, object]", self.content)


def _state(named: str, tree: Node) -> DeclaredState:
    entry = tree.value.get("state") if isinstance(tree.value, Mapping) else None
    if entry is None:
        raise _unreadable(named, "it has no state")
    try:
        return declared_state(entry.node, STATE_FILE)
    except Findings as findings:
        raise findings.as_error("apply.plan_unreadable", f"the plan {named}") from findings


def _row(row: Row) -> dict[str, object]:
    return {
        "kind": row.kind,
        "name": row.name,
        "id": row.id,
        "updated_at": None if row.updated_at is None else row.updated_at.astimezone(timezone.utc).isoformat(),
        "content": None if row.content is None else sha256(row.content.encode()).hexdigest(),
    }


def _by_key(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(row["kind"], row["name"]): row for row in rows}


def _unreadable(named: str, reason: str, hint: str = "") -> UsageError:
    return UsageError("apply.plan_unreadable", f"the plan {named} cannot be used: {reason}", hint=hint or _AGAIN)
