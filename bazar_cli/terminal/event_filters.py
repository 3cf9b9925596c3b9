"""The options that filter events of the audit log, for `audit list` and `audit export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Option

from bazar_cli.domain.audit import EventFilters, Outcome
from bazar_cli.terminal.times import moment


@dataclass(frozen=True)
class EventOptions:
    """The given filters; a parameter of this type declares all of its fields."""

    operator: Annotated[
        str | None, Option("--operator", help="by this user: an id, or the email at that time", metavar="USER")
    ] = None
    target: Annotated[
        str | None, Option("--target", help="about this user, organization or plan, even if deleted", metavar="REF")
    ] = None
    action: Annotated[
        str | None, Option("--action", help="such as users.create, or users for all actions on users", metavar="ACTION")
    ] = None
    outcome: Annotated[Outcome | None, Option("--outcome", help="done, denied or undone", metavar="OUTCOME")] = None
    org: Annotated[str | None, Option("--org", help="in this organization", metavar="ORG")] = None
    since: Annotated[str | None, Option("--since", help="at or after this date or time", metavar="TIME")] = None
    until: Annotated[str | None, Option("--until", help="before this date or time", metavar="TIME")] = None
    request: Annotated[str | None, Option("--request", help="of the run with this request id", metavar="ID")] = None

    @property
    def filters(self) -> EventFilters:
        """The filters, with parsed times. Raises: UsageError `input.time_invalid`."""
        return EventFilters(
            self.operator,
            self.target,
            self.action,
            self.outcome,
            self.org,
            moment(self.since, "--since") if self.since is not None else None,
            moment(self.until, "--until") if self.until is not None else None,
            self.request,
        )
