"""The audit log: events, requests, and which parts of an event a reader may see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, cast
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Operator, Scope, requires
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.route import Answer, Route
from bazar_cli.domain.text_enum import TextEnum

_ACTION = re.compile(r"[a-z][a-z_-]*(?:\.[a-z][a-z_-]*)*")
_HASH = re.compile(r"[0-9a-f]{64}")


class Outcome(TextEnum):
    """How the use case of an event ended."""

    DONE = "done"
    DENIED = "denied"
    UNDONE = "undone"


@dataclass(frozen=True)
class AuditEvent:
    """One event: operator, use case and target, with the values before and after as JSON."""

    id: UUID
    occurred_at: datetime
    operator_id: UUID | None
    operator_email: str
    action: str
    """The name of the use case, such as users.create."""
    outcome: Outcome
    target_type: str
    target_id: str | None
    organization_id: UUID | None
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    reason: str | None
    request_id: str


@dataclass(frozen=True)
class EventFilters:
    """Which events; all given filters must match.

    Parameters: `operator` is an id or the email at the time; `target` is an id, or an email, slug or plan that the
    target has or had; `action` is a use case or its first nouns; `since` is included, `until` is not.
    """

    operator: str | None = None
    target: str | None = None
    action: str | None = None
    outcome: Outcome | None = None
    organization: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class ListEvents:
    """The request of `audit list`."""

    filters: EventFilters = EventFilters()
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class VerifyLog:
    """The request of `audit verify`; `expect` is the hash of a seal that was kept elsewhere."""

    expect: str | None = None


class Break(TextEnum):
    """A kind of damage of a log."""

    EVENT_CHANGED = "event-changed"
    EVENT_REMOVED = "event-removed"
    EVENT_INSERTED = "event-inserted"
    EVENT_REPEATED = "event-repeated"
    SEAL_CHANGED = "seal-changed"
    SEAL_REMOVED = "seal-removed"
    NOT_AS_EXPECTED = "not-as-expected"
    OUT_OF_ORDER = "out-of-order"
    """A whole log may have it too: a clock that was set back has the same effect as an invented time."""


@dataclass(frozen=True)
class Finding:
    """One damage, with the known values of its event or seal."""

    kind: Break
    message: str
    event_id: UUID | None = None
    action: str | None = None
    seal: int | None = None
    """The position of the seal."""
    at: datetime | None = None
    """When the event occurred; for a removed event, when it was sealed."""


class Gap(TextEnum):
    """A missing or changed guard, which allows changes of the log or loses new events."""

    RULE = "rule"
    TRIGGER_DISABLED = "trigger-disabled"
    TRIGGER_MISSING = "trigger-missing"
    TRIGGER_ADDED = "trigger-added"
    TRIGGER_CHANGED = "trigger-changed"
    SEQUENCE_AT_END = "sequence-at-end"
    SEQUENCE_MISSING = "sequence-missing"
    SEQUENCE_SET_BACK = "sequence-set-back"
    REPLICA = "replica-session"


@dataclass(frozen=True)
class Unguarded:
    """One gap on the tables of the log, with the SQL that closes it."""

    kind: Gap
    table: str
    name: str
    """The name of the rule, trigger, sequence or setting."""
    message: str
    remedy: str


@dataclass(frozen=True)
class Verification:
    """Whether the log is whole, and the first findings in the order of the log."""

    events: int
    seals: int
    unsealed: int
    """How many events have no seal yet."""
    head: str | None
    """The hash of the last seal, in hexadecimal digits."""
    head_at: datetime | None
    findings: tuple[Finding, ...]
    out_of_order: tuple[Finding, ...] = ()
    """Events that are over an hour older than an event that was written before them; the log may still be whole."""
    unguarded: tuple[Unguarded, ...] = ()
    """Gaps by which the log can be changed or lose events from now on."""

    @property
    def whole(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


LIST = requires(
    "audit.list",
    Permission.AUDIT_READ,
    scope=Scope.REACH,
    route=Route("GET", "/audit/events", ListEvents, AuditEvent, Answer.PAGE),
)
EXPORT = requires(
    "audit.export",
    Permission.AUDIT_READ,
    scope=Scope.REACH,
    route=Route("GET", "/audit/events/export", EventFilters, AuditEvent, Answer.STREAM),
)
# It writes seals.
VERIFY = requires(
    "audit.verify",
    Permission.AUDIT_READ,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("POST", "/audit/verify", VerifyLog, Verification),
)


def checked_action(text: str) -> str:
    """Return a use case or its first nouns. Raises: UsageError `audit.action_invalid`."""
    if not _ACTION.fullmatch(text):
        raise UsageError(
            "audit.action_invalid",
            f"--action {text[:40]!r} is not a use case",
            hint="write it as users.create, or users for all of them",
        )
    return text


def checked_seal_hash(text: str) -> str:
    """Return the hash of a seal as `audit verify` prints it. Raises: UsageError `audit.hash_invalid`."""
    found = text.strip().lower()
    if not _HASH.fullmatch(found):
        raise UsageError(
            "audit.hash_invalid",
            f"--expect {text[:80]!r} is not the hash of a seal, which has 64 hexadecimal digits",
            hint="give `head` as an earlier `bazar audit verify` printed it",
        )
    return found


_TARGETS = {"user": "user", "email": "user", "organization": "organization", "owner": "user", "plan": "plan"}
"""The fields of requests that name the target, in this order, and the type of the target."""
_LONGEST_REFERENCE = 254


def asked_target(request: object) -> tuple[str, str] | None:
    """Return the type of a request's target and its name as given; None for a request without a target.

    For a denied request nothing more is known, not even whether the target exists.
    """
    for field, kind in _TARGETS.items():
        given = getattr(request, field, None)
        if isinstance(given, str) and given:
            text = given.value if isinstance(given, Enum) else given
            # In the form that `list` searches, in characters that every database encoding has.
            name = text.lower().encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
            return kind, name[:_LONGEST_REFERENCE]
    return None


# -- which parts of an event a reader may see -------------------------------------------------------------------

_ORGANIZATION_KEYS = frozenset({"organization", "organizations", "organization_id", "org", "orgs", "memberships"})
"""The keys under which events name organizations; no other key does."""
_ROLE_KEYS = frozenset({"role", "own_role"})
"""The keys of a role in an organization that is named in the same object."""
_IDENTIFIERS = ("id", "organization_id")


def as_seen_by(operator: Operator, event: AuditEvent) -> AuditEvent:
    """Return the event without what it says about organizations of which the operator is not a member.

    Superusers see everything. Only the id identifies an organization: another one may have its slug by now. A slug is
    shown only for the organization to which the event belongs. What the operator did in an organization that they
    have left is shown without values.
    """
    if operator.is_superuser:
        return event
    own = frozenset(str(m.organization_id) for m in operator.memberships)
    named = str(event.organization_id) if event.organization_id is not None else None
    # The target of a denial is only what its operator asked for.
    if event.target_type == "organization" and event.outcome is not Outcome.DENIED:
        named = named or event.target_id
    if named is not None and named not in own:
        return replace(event, before=None, after=None, reason=None)
    before, after = (
        None if side is None else _without_foreign(side, own, inside=named is not None)
        for side in (event.before, event.after)
    )
    # The reason of a denial may name what was taken out; every other reason was typed by the operator.
    keeps_reason = event.outcome is not Outcome.DENIED or (before, after) == (event.before, event.after)
    return replace(event, before=before, after=after, reason=event.reason if keeps_reason else None)


def _without_foreign(values: Mapping[str, object], own: frozenset[str], *, inside: bool = False) -> dict[str, object]:
    """Parameters: `inside` says that the event belongs to an organization of the operator, its `organization`."""
    kept: dict[str, object] = {}
    foreign = False
    for key, value in values.items():
        if key in _ORGANIZATION_KEYS:
            if isinstance(value, (dict, list)):
                kept[key] = _own_only(cast("Any", value), own)
            elif value is None or value in own or (inside and key == "organization"):
                kept[key] = value
            else:
                foreign = True
        else:
            kept[key] = _inside(value, own)
    return {key: value for key, value in kept.items() if not (foreign and key in _ROLE_KEYS)}


def _inside(value: object, own: frozenset[str]) -> object:
    if isinstance(value, dict):
        return _without_foreign(cast("dict[str, object]", value), own)
    if isinstance(value, list):
        return [_inside(item, own) for item in cast("list[object]", value)]
    return value


def _own_only(value: dict[str, object] | list[object], own: frozenset[str]) -> object:
    """Keep the operator's organizations in a mapping by id, in a list, or in the object of one organization."""
    if isinstance(value, list):
        return [_own_only(cast("Any", v), own) if isinstance(v, list) else v for v in value if _is_own(v, own)]
    if any(key in value for key in _IDENTIFIERS):
        return value if _is_own(value, own) else {}
    return {key: found for key, found in value.items() if key in own}


def _is_own(value: object, own: frozenset[str]) -> bool:
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        names = [named[key] for key in _IDENTIFIERS if key in named]
        return bool(names) and all(name in own for name in names)
    return isinstance(value, list) or value in own
