"""The changes that a declared state asks for, their outcomes, and the limit on what they take away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.declared.state import DeclaredState
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import BazarError, Refused, UsageError
from bazar_cli.domain.text_enum import TextEnum
from bazar_cli.domain.texts import counted, whole_number

_PERCENT_ABOVE = 10
"""A percentage limits nothing for this many records or fewer, because one of them would be a large part."""
_NAMED = 5
_LIMIT = re.compile(r"(?P<number>[0-9]{1,9})(?P<percent>%?)", re.A)


@dataclass(frozen=True, eq=False)
class Change:
    """One change, made by one use case with its own Grant and audit event.

    `user` and `organization` together name a membership. `before` is None for what does not exist yet, `after` for
    what is removed.
    """

    use_case: str
    """The name of the spec, such as `users.create`."""
    organization: str | None = None
    user: str | None = None
    plan: str | None = None
    """The plan whose permissions change."""
    before: Mapping[str, str | None] | None = None
    after: Mapping[str, str | None] | None = None
    takes_away: bool = False
    """A membership, role, plan, permission or sign-in that exists is taken away or lowered."""
    first: bool = False
    """A user who is created before the new organizations, because they own one."""
    last: bool = False
    """It takes rights from the operator, and is made after all changes that may need them."""

    def new(self, key: str) -> str:
        """Return a value that the change sets. Raises: KeyError."""
        value = self.after[key] if self.after is not None else None
        if value is None:
            raise KeyError(key)
        return value

    def old(self, key: str) -> str:
        """Return a value that the change takes away. Raises: KeyError."""
        value = self.before[key] if self.before is not None else None
        if value is None:
            raise KeyError(key)
        return value

    def given(self, key: str) -> str | None:
        """Return a value that the change sets; None where it sets none."""
        return None if self.after is None else self.after.get(key)

    @property
    def subject(self) -> str:
        """The name of the changed object, as a person reads it."""
        if self.user is not None:
            return f"member {self.user} of {self.organization}" if self.organization else f"user {self.user}"
        return f"plan {self.plan}" if self.organization is None else f"organization {self.organization}"

    @property
    def line(self) -> str:
        """The change in one line: `+` for what is new, `-` for what is removed, `~` for what changes."""
        sign = "+" if self.before is None else "-" if self.after is None else "~"
        if self.before is not None and self.after is not None:
            values = [f"{key} {_shown(value)} -> {_shown(self.after[key])}" for key, value in self.before.items()]
        else:
            given = self.before or self.after or {}
            values = [f"{key} {_shown(value)}" for key, value in given.items() if value is not None]
        return f"{sign} {self.subject}{': ' if values else ''}{', '.join(values)}"


def change_document(change: Change) -> dict[str, object]:
    """Return a change as JSON."""
    return {
        "use_case": change.use_case,
        "organization": change.organization,
        "user": change.user,
        "plan": change.plan,
        "before": None if change.before is None else dict(change.before),
        "after": None if change.after is None else dict(change.after),
    }


class Outcome(TextEnum):
    """The outcome of a change."""

    PLANNED = "planned"
    DONE = "done"
    UNCHANGED = "unchanged"
    """It was so already when the change was made."""
    FAILED = "failed"
    NOT_BEGUN = "not-begun"
    """The run was interrupted, or an error ended it, before this change."""


@dataclass(frozen=True)
class Result:
    """The outcome of one change; a change that failed has a code and a message."""

    change: Change
    outcome: Outcome = Outcome.PLANNED
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class UndeclaredMember:
    """A member of an organization whose members the file names, who is not among them."""

    organization: str
    user: str
    role: Role


@dataclass(frozen=True)
class Row:
    """A row that changes rely on; without an id it does not exist. `content` is all its columns."""

    kind: str
    name: str
    id: str | None = None
    updated_at: datetime | None = None
    content: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The kind and the name, by which the rows of two comparisons are matched."""
        return self.kind, self.name


@dataclass(frozen=True)
class Removals:
    """Whether members are removed, and the limit for changes that take rights away."""

    prune: bool = False
    """Members whom the file does not name are removed."""
    limit: str | None = None
    """The value of --max-delete."""

    def check(self, changes: Sequence[Change], existing: int) -> None:
        """Refuse changes that take away more than the limit.

        Parameters: `existing` is how many records that the file names exist: users, memberships, permissions.
        Raises: UsageError `apply.max_delete_invalid`, `apply.prune_unbounded`; Refused `apply.too_many_removals`.
        """
        limit = self._most(existing)
        taken = [change for change in changes if change.takes_away]
        if limit is None or len(taken) <= limit:
            return
        named = [change.line for change in taken[:_NAMED]]
        if len(taken) > _NAMED:
            named.append(f"and {len(taken) - _NAMED} more")
        # A user whose plan is lowered and who is suspended too is one record with two changes.
        share = f" ({len(taken) * 100 / existing:.0f}%)" if self.limit is not None and "%" in self.limit else ""
        raise Refused(
            "apply.too_many_removals",
            f"{counted(len(taken), 'change')}{share} would remove, demote or suspend something of"
            f" {counted(existing, 'existing record')}, more than --max-delete {self.limit}; nothing was written",
            below=named,
            hint="correct the file, or raise --max-delete",
            details={"count": len(taken), "existing": existing, "max_delete": self.limit},
        )

    def refuse_unbounded(self) -> None:
        """Refuse --prune without a limit, and a limit that is not valid. Raises: UsageError."""
        self._most(0)
        if self.prune and self.limit is None:
            raise UsageError(
                "apply.prune_unbounded",
                "--prune needs --max-delete, which says how much may be removed, demoted or suspended",
                hint="add --max-delete N or --max-delete P%",
            )

    def _most(self, existing: int) -> int | None:
        if self.limit is None:
            return None
        match = _LIMIT.fullmatch(self.limit)
        number = whole_number(match["number"]) if match else None
        if match is None or number is None or (match["percent"] and number > 100):
            raise UsageError(
                "apply.max_delete_invalid",
                f"--max-delete {self.limit[:40]!r} is not valid",
                hint="give a number such as 5, or a percentage such as 10%",
            )
        if not match["percent"]:
            return number
        return existing * number // 100 if existing > _PERCENT_ABOVE else None


@dataclass(frozen=True)
class Comparison:
    """The differences between a declared state and both systems."""

    state: DeclaredState
    removals: Removals
    deployment: UUID
    database: str
    environment: str
    changes: tuple[Change, ...]
    not_in_file: tuple[UndeclaredMember, ...]
    rows: tuple[Row, ...]
    """The rows that the changes rely on."""


@dataclass(frozen=True)
class Applied:
    """The result of `diff` and `apply`."""

    database: str
    environment: str
    results: tuple[Result, ...]
    not_in_file: tuple[UndeclaredMember, ...]
    plan_file: str | None = None
    """The plan that was written."""
    dry_run: bool = False

    def count(self, outcome: Outcome) -> int:
        """Return how many changes have this outcome."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def has_failed(self) -> bool:
        """Return True if a change failed."""
        return self.count(Outcome.FAILED) > 0

    @property
    def changed(self) -> bool:
        """Return True if a change was made."""
        return any(result.outcome is Outcome.DONE for result in self.results)


def failed(change: Change, error: BazarError) -> Result:
    """Return the result of a change that raised an error."""
    return Result(change, Outcome.FAILED, error.code, error.message)


def lowers_plan(before: Plan, after: Plan) -> bool:
    """Return True if `after` is a lower plan than `before`."""
    order = list(Plan)
    return order.index(after) < order.index(before)


def _shown(value: str | None) -> str:
    return "none" if value is None else value
