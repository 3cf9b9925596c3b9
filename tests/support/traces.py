"""What a command left behind: every row of both systems that came or went, and what it was to leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_USERS, _ORGS, _MEMBERS = "bazar.users", "bazar.organizations", "bazar.memberships"
_EVENTS, _IDENTITIES = "bazar.audit_events", "auth.users"
Rows = Mapping[str, list[str]]
"""Rows as text by table, as `People.everything` returns them."""
Counts = tuple[int, int]
"""How many rows went and how many came; a row that changed does both."""
CHANGED: Counts = (1, 1)


@dataclass(frozen=True)
class Trace:
    """What one run of a command is for, in rows; tables that are not named keep every row."""

    rows: Mapping[str, Counts] = field(default_factory=dict[str, Counts])
    events: tuple[str, ...] = ()
    """The use case of each event, done by the operator."""
    subject: str = ""
    """An id that every row and event must name; empty where the command itself names none."""


NOTHING = Trace()
Said = Mapping[str, Any]


def _created_user(line: str, said: Said) -> Trace:
    if not said["created"]:
        return NOTHING
    rows = {_USERS: (0, 1), _IDENTITIES: (0, 1), _MEMBERS: (0, int(" --org " in line))}
    return Trace(rows, ("users.create",), said["id"])


def _deleted_user(_line: str, said: Said) -> Trace:
    rows = {_USERS: (1, 0), _IDENTITIES: (1, 0), _MEMBERS: (len(said["organizations"]), 0)}
    return Trace(rows, ("users.delete",), said["id"])


def _doctor(line: str, _said: Said) -> Trace:
    # The stage has one operator whose deletion is pending; its event belongs to the command that began it.
    return Trace({_USERS: (1, 0), _IDENTITIES: (1, 0)}) if " --fix " in f"{line} " else NOTHING


TRACES: dict[str, Callable[[str, Said], Trace]] = {
    "auth login": lambda _line, _said: Trace({_IDENTITIES: CHANGED}),
    "auth logout": lambda _line, _said: NOTHING,
    "auth password": lambda _line, _said: Trace({_IDENTITIES: CHANGED}, ("auth.password",)),
    "auth refresh": lambda _line, _said: NOTHING,
    "db migrate": lambda _line, _said: NOTHING,
    # Without consent: what they do is no matter of rows.
    "db redo": lambda _line, _said: NOTHING,
    "db rollback": lambda _line, _said: NOTHING,
    "doctor": _doctor,
    "orgs create": lambda _line, said: Trace({_ORGS: (0, 1), _MEMBERS: (0, 1)}, ("orgs.create",), said["id"]),
    "users create": _created_user,
    "users delete": _deleted_user,
    "users update": lambda _line, said: Trace({_USERS: CHANGED}, ("users.update",), said["id"]),
}
"""By command: what its command line, and the JSON that it printed, say that it did."""


def unexpected(before: Rows, after: Rows, denials: int) -> list[str]:
    """Name each row that came or went, one line each, but for the events of so many denials."""
    gone, come = _changes(before, after)
    faults = [f"{table} lost {line}" for table, lines in gone.items() for line in lines]
    events = [line for line in come[_EVENTS] if ",denied," in line]
    if len(events) == denials:
        come[_EVENTS] = [line for line in come[_EVENTS] if line not in events]
    else:
        faults.append(f"{len(events)} denials were recorded instead of {denials}")
    return [*faults, *(f"{table} got {line}" for table, lines in come.items() for line in lines)]


def unlike(before: Rows, after: Rows, trace: Trace, operator_id: object) -> list[str]:
    """Name, one line each, in what the rows that came and went are not those of `trace`."""
    gone, come = _changes(before, after)
    faults: list[str] = []
    for table in before:
        found = (len(gone[table]), len(come[table]))
        wanted = (0, len(trace.events)) if table == _EVENTS else trace.rows.get(table, (0, 0))
        if found != wanted:
            changes = [*(f"-{line}" for line in gone[table]), *(f"+{line}" for line in come[table])]
            faults.append(f"{table}: {wanted} rows were to go and come, not {found}: {' '.join(changes)}")
        faults += [f"{table}: a row of another: {x}" for x in (*gone[table], *come[table]) if trace.subject not in x]
    for use_case in trace.events:
        marks = (f",{operator_id},", f",{use_case},", ",done,")
        if not any(all(mark in line for mark in marks) for line in come[_EVENTS]):
            faults.append(f"no event of {use_case} by the operator: {come[_EVENTS]}")
    return faults


def _changes(before: Rows, after: Rows) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The rows that went and those that came, by table."""
    gone = {table: sorted(set(before[table]) - set(after[table])) for table in before}
    return gone, {table: sorted(set(after[table]) - set(before[table])) for table in after}
