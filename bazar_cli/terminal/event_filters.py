"""The options that say which events of the audit log: the same for its list and its export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Option

from bazar_cli.domain.audit import EventFilters, Outcome
from bazar_cli.terminal.times import moment


@dataclass(frozen=True)
class EventOptions:
    """What was given of them; a parameter of this type stands for all of its fields."""

    operator: Annotated[
        str | None, Option("--operator", help="by this user: an id, or the email they had", metavar="USER")
    ] = None
    target: Annotated[
        str | None, Option("--target", help="about this user, organization or plan, gone or not", metavar="REF")
    ] = None
    action: Annotated[
        str | None, Option("--action", help="a use case: users.create, or users for all of them", metavar="ACTION")
    ] = None
    outcome: Annotated[Outcome | None, Option("--outcome", help="done, denied or undone", metavar="OUTCOME")] = None
    org: Annotated[str | None, Option("--org", help="in this organization", metavar="ORG")] = None
    since: Annotated[str | None, Option("--since", help="at or after this date or time", metavar="TIME")] = None
    until: Annotated[str | None, Option("--until", help="before this date or time", metavar="TIME")] = None
    request: Annotated[str | None, Option("--request", help="of the run with this request id", metavar="ID")] = None

    @property
    def filters(self) -> EventFilters:
        """The filters with their times read. Raises: UsageError `input.time_invalid`."""
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
