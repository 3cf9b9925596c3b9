"""The audit log: its events, and whether it is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timezone

from bazar_cli.domain.audit import AuditEvent, Finding, Outcome, Unguarded, Verification
from bazar_cli.terminal.views.base import Value, View, rfc3339

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _json(values: Mapping[str, object] | None) -> str:
    return "" if values is None else json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _short(values: Mapping[str, object] | None) -> str:
    """`name=Ada plan=free organizations=acme:owner`, for people."""
    return " ".join(f"{key}={_word(value)}" for key, value in (values or {}).items())


def _word(value: Value) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return ",".join(f"{k}:{_word(v)}" for k, v in value.items())  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return ",".join(_word(v) for v in value)  # pyright: ignore[reportUnknownVariableType]
    return json.dumps(value)


def _target(event: AuditEvent) -> str:
    """Whom or what an event is about, by its name where the event has one; of several values the latest."""
    for values in (event.after, event.before):
        # Of a denial these tell of the operator.
        if event.outcome is not Outcome.DENIED and values is not None:
            name = values.get("email") or values.get("slug")
            if isinstance(name, str):
                return name
    return event.target_id or event.target_type


def _drawn_target(event: AuditEvent) -> str:
    """The target with the middle of an id left out: a whole one takes half of a narrow terminal."""
    name = _target(event)
    return f"{name[:8]}…{name[-4:]}" if _ID.fullmatch(name) else name


EVENT: View[AuditEvent] = View(
    fields={
        "id": lambda e: str(e.id),
        "occurred_at": lambda e: rfc3339(e.occurred_at),
        "operator_id": lambda e: str(e.operator_id) if e.operator_id else None,
        "operator_email": lambda e: e.operator_email,
        "action": lambda e: e.action,
        "outcome": lambda e: e.outcome.value,
        "target_type": lambda e: e.target_type,
        "target_id": lambda e: e.target_id,
        "organization_id": lambda e: str(e.organization_id) if e.organization_id else None,
        "before": lambda e: e.before,
        "after": lambda e: e.after,
        "reason": lambda e: e.reason,
        "request_id": lambda e: e.request_id,
    },
    table=("occurred_at", "operator_email", "action", "outcome", "target"),
    identifier=lambda e: str(e.id),
    cells={"before": lambda e: _json(e.before), "after": lambda e: _json(e.after)},
    shown={
        # Seconds are enough for people, as of created_at.
        "occurred_at": lambda e: f"{e.occurred_at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        # A column of the table alone: for programs target_id is what it stands for.
        "target": _target,
        "before": lambda e: _short(e.before),
        "after": lambda e: _short(e.after),
    },
    # A narrow column breaks at the space.
    drawn={
        "occurred_at": lambda e: f"{e.occurred_at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%SZ}",
        "target": _drawn_target,
    },
)


def _finding(finding: Finding) -> dict[str, Value]:
    return {
        "kind": finding.kind.value,
        "message": finding.message,
        "event_id": str(finding.event_id) if finding.event_id else None,
        "action": finding.action,
        "seal": finding.seal,
        "at": rfc3339(finding.at),
    }


def _unguarded(found: Unguarded) -> dict[str, Value]:
    return {
        "kind": found.kind.value,
        "table": found.table,
        "name": found.name,
        "message": found.message,
        "remedy": found.remedy,
    }


def told(finding: Finding) -> str:
    """A finding in one line: what is wrong, and what is known of the event."""
    known = [finding.action or "", rfc3339(finding.at) or ""]
    return f"{finding.message}{''.join(f', {part}' for part in known if part)}"


VERIFICATION: View[Verification] = View(
    fields={
        "whole": lambda v: v.whole,
        "events": lambda v: v.events,
        "seals": lambda v: v.seals,
        "unsealed": lambda v: v.unsealed,
        "head": lambda v: v.head,
        "head_at": lambda v: rfc3339(v.head_at),
        "broken": lambda v: [_finding(f) for f in v.findings],
        "out_of_order": lambda v: [_finding(f) for f in v.out_of_order],
        "unguarded": lambda v: [_unguarded(u) for u in v.unguarded],
    },
    cells={
        "unguarded": lambda v: "; ".join(u.message for u in v.unguarded),
        "broken": lambda v: "; ".join(told(f) for f in v.findings),
        "out_of_order": lambda v: "; ".join(told(f) for f in v.out_of_order),
    },
)
