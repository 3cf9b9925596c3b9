"""The audit log: events, what was asked of them, and what a reader may see of one."""

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

LIST = requires("audit.list", Permission.AUDIT_READ, scope=Scope.REACH)
EXPORT = requires("audit.export", Permission.AUDIT_READ, scope=Scope.REACH)
# It seals what is committed, and so writes.
VERIFY = requires("audit.verify", Permission.AUDIT_READ, scope=Scope.PLATFORM, writes=True)

_ACTION = re.compile(r"[a-z][a-z_-]*(?:\.[a-z][a-z_-]*)*")
_HASH = re.compile(r"[0-9a-f]{64}")


class Outcome(str, Enum):
    """How what an event tells of ended."""

    DONE = "done"
    DENIED = "denied"
    UNDONE = "undone"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class AuditEvent:
    """Who did what to whom, with the values before and after as JSON."""

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
    """Which events; all of what is given must hold.

    Parameters: `operator` is an id, or the email that they had; `target` an id, or an email, slug or plan that the
    target has or had; `action` a use case, or the noun or nouns that it begins with; `since` is part of the time,
    `until` is not.
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
    """What `audit list` was asked."""

    filters: EventFilters = EventFilters()
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class VerifyLog:
    """What `audit verify` was asked; `expect` is the hash of a seal that was kept elsewhere."""

    expect: str | None = None


class Break(str, Enum):
    """What was done to a log that is not whole."""

    EVENT_CHANGED = "event-changed"
    EVENT_REMOVED = "event-removed"
    EVENT_INSERTED = "event-inserted"
    EVENT_REPEATED = "event-repeated"
    SEAL_CHANGED = "seal-changed"
    SEAL_REMOVED = "seal-removed"
    NOT_AS_EXPECTED = "not-as-expected"
    OUT_OF_ORDER = "out-of-order"
    """Told of a whole log too: a clock that was set back does the same as a time that somebody made up."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with what is known of the event or seal that it is about."""

    kind: Break
    message: str
    event_id: UUID | None = None
    action: str | None = None
    seal: int | None = None
    """The position of the seal."""
    at: datetime | None = None
    """When the event occurred; of one that is gone, when it was sealed."""


class Gap(str, Enum):
    """What lets a log be changed, or lets new events be lost: the value names the kind."""

    RULE = "rule"
    TRIGGER_DISABLED = "trigger-disabled"
    TRIGGER_MISSING = "trigger-missing"
    TRIGGER_ADDED = "trigger-added"
    TRIGGER_CHANGED = "trigger-changed"
    SEQUENCE_AT_END = "sequence-at-end"
    SEQUENCE_MISSING = "sequence-missing"
    SEQUENCE_SET_BACK = "sequence-set-back"
    REPLICA = "replica-session"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Unguarded:
    """One thing on the tables of the log that must not be so, with the SQL that mends it."""

    kind: Gap
    table: str
    name: str
    """Of the rule, trigger, sequence or setting."""
    message: str
    remedy: str


@dataclass(frozen=True)
class Verification:
    """Whether the log is whole, and the first things that are wrong, in the order of the log."""

    events: int
    seals: int
    unsealed: int
    """Events that no seal holds yet."""
    head: str | None
    """The hash of the last seal, in hexadecimal digits."""
    head_at: datetime | None
    findings: tuple[Finding, ...]
    out_of_order: tuple[Finding, ...] = ()
    """Events that are more than an hour older than one that was written before them; they break nothing."""
    unguarded: tuple[Unguarded, ...] = ()
    """What lets the log be changed or lose events from now on."""

    @property
    def whole(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def checked_action(text: str) -> str:
    """Return a use case, or the beginning of one. Raises: UsageError `audit.action_invalid`."""
    if not _ACTION.fullmatch(text):
        raise UsageError(
            "audit.action_invalid",
            f"--action {text[:40]!r} is no use case",
            hint="write it as users.create, or users for all of them",
        )
    return text


def checked_seal_hash(text: str) -> str:
    """Return the hash of a seal as `audit verify` prints it. Raises: UsageError `audit.hash_invalid`."""
    found = text.strip().lower()
    if not _HASH.fullmatch(found):
        raise UsageError(
            "audit.hash_invalid",
            f"--expect {text[:80]!r} is no hash of a seal: 64 hexadecimal digits",
            hint="give `head` as an earlier `bazar audit verify` printed it",
        )
    return found


_TARGETS = {"user": "user", "email": "user", "organization": "organization", "owner": "user", "plan": "plan"}
"""The fields of requests that name whom or what they are about, the first of them first, and what they name."""
_LONGEST_REFERENCE = 254


def asked_target(request: object) -> tuple[str, str] | None:
    """Return the type of what a request is about and its name as it was given; None where it is about nothing.

    Of a request that was denied nothing more is known: whether the name is anybody's is not said.
    """
    for field, kind in _TARGETS.items():
        given = getattr(request, field, None)
        if isinstance(given, str) and given:
            text = given.value if isinstance(given, Enum) else given
            # As `list` looks for it, and as every encoding of a database takes it.
            name = text.lower().encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
            return kind, name[:_LONGEST_REFERENCE]
    return None


# -- what a reader may see of an event that is within reach -----------------------------------------------------

_ORGANIZATION_KEYS = frozenset({"organization", "organizations", "organization_id", "org", "orgs", "memberships"})
"""Where events name organizations: nothing else of before and after may."""
_ROLE_KEYS = frozenset({"role", "own_role"})
"""What is said of a membership whose organization stands beside it."""
_IDENTIFIERS = ("id", "organization_id")


def as_seen_by(operator: Operator, event: AuditEvent) -> AuditEvent:
    """Return the event without what it says of organizations that the operator does not belong to.

    Superusers see all of it. An organization is known by its id alone: the slug that it had then may be another one's
    by now. A slug is told only of the organization that the event itself belongs to. What the operator once did in an
    organization that they have left is shown without its values.
    """
    if operator.is_superuser:
        return event
    own = frozenset(str(m.organization_id) for m in operator.memberships)
    named = str(event.organization_id) if event.organization_id is not None else None
    # The target of a denial is what its operator asked for, and no more.
    if event.target_type == "organization" and event.outcome is not Outcome.DENIED:
        named = named or event.target_id
    if named is not None and named not in own:
        return replace(event, before=None, after=None, reason=None)
    before, after = (
        None if side is None else _without_foreign(side, own, inside=named is not None)
        for side in (event.before, event.after)
    )
    # The sentence of a denial is ours and may name what was taken out; every other reason is the operator's own.
    told = event.outcome is not Outcome.DENIED or (before, after) == (event.before, event.after)
    return replace(event, before=before, after=after, reason=event.reason if told else None)


def _without_foreign(values: Mapping[str, object], own: frozenset[str], *, inside: bool = False) -> dict[str, object]:
    """Parameters: `inside` says that the event belongs to one of the operator's own, which it calls `organization`."""
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
    """Of organizations by id, of a list of them, or of one that is an object, what is the operator's own."""
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
