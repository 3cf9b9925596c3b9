"""How the audit log is shown: its events, and whether it is complete and unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timezone

from bazar_cli.domain.audit import AuditEvent, Finding, Outcome, Verification
from bazar_cli.terminal.views.base import Value, View, rfc3339

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _json(values: Mapping[str, object] | None) -> str:
    return "" if values is None else json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _short(values: Mapping[str, object] | None) -> str:
    """Return values as `name=Ada plan=free organizations=acme:owner`."""
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
    """Return the name of the target of an event, the latest if it has several; else its id."""
    for values in (event.after, event.before):
        # The values of a denial describe the operator.
        if event.outcome is not Outcome.DENIED and values is not None:
            name = values.get("email") or values.get("slug")
            if isinstance(name, str):
                return name
    return event.target_id or event.target_type


def _shortened(name: str) -> str:
    """Return an id without its middle, which would take half of a narrow terminal; another name unchanged."""
    return f"{name[:8]}…{name[-4:]}" if _ID.fullmatch(name) else name


EVENT = View(
    AuditEvent,
    encoders={dict: None},
    table=("occurred_at", "operator_email", "action", "outcome", "target"),
    columns={"target": _target},
    identifier="id",
    cells={"before": _json, "after": _json},
    shown={"before": _short, "after": _short},
    # A narrow column breaks at the space.
    drawn={"occurred_at": lambda moment: f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%SZ}", "target": _shortened},
)


def finding_text(finding: Finding) -> str:
    """Return a finding in one line: the damage, and the known values of the event."""
    known = [finding.action, rfc3339(finding.at)]
    return ", ".join([finding.message, *(part for part in known if part)])


def _findings_cell(findings: tuple[Finding, ...]) -> str:
    return "; ".join(map(finding_text, findings))


VERIFICATION = View(
    Verification,
    paths=("whole", "events", "seals", "unsealed", "head", "head_at", "findings", "out_of_order", "unguarded"),
    renamed={"findings": "broken"},
    cells={
        "unguarded": lambda unguarded: "; ".join(u.message for u in unguarded),
        "broken": _findings_cell,
        "out_of_order": _findings_cell,
    },
)
