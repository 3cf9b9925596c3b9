"""What a command left behind: every row of both systems that came or went."""

from __future__ import annotations

from collections.abc import Mapping

_EVENTS = "bazar.audit_events"
Rows = Mapping[str, list[str]]
"""Rows as text by table, as `People.everything` returns them."""


def unexpected(before: Rows, after: Rows, denials: int) -> list[str]:
    """Name each row that came or went, one line each, but for the events of so many denials."""
    gone = [f"{table} lost {line}" for table in before for line in set(before[table]) - set(after[table])]
    come = {table: sorted(set(after[table]) - set(before[table])) for table in after}
    events = [line for line in come[_EVENTS] if ",denied," in line]
    if len(events) == denials:
        come[_EVENTS] = [line for line in come[_EVENTS] if line not in events]
    else:
        gone.append(f"{len(events)} denials were recorded instead of {denials}")
    return [*gone, *(f"{table} got {line}" for table, lines in come.items() for line in lines)]
