"""Compare the rows of both systems before and after a command with the changes that it should make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_USERS, _ORGS, _MEMBERS = "bazar.users", "bazar.organizations", "bazar.memberships"
_PLANS, _EVENTS = "bazar.plan_permissions", "bazar.audit_events"
_IDENTITIES, _SESSIONS = "auth.users", "auth.sessions"
Rows = Mapping[str, list[str]]
"""Rows as text by table, as `People.everything` returns them."""
Counts = tuple[int, int]
"""How many rows went and how many came; a row that changed does both."""
CHANGED: Counts = (1, 1)


@dataclass(frozen=True)
class ExpectedChanges:
    """What one run of a command is for, in rows; tables that are not named keep every row."""

    rows: Mapping[str, Counts] = field(default_factory=dict[str, Counts])
    events: tuple[str, ...] = ()
    """The use case of each event, done by the operator."""
    subjects: tuple[str, ...] = ()
    """What every row and event must name, mostly an id."""


NOTHING = ExpectedChanges()


@dataclass(frozen=True)
class Run:
    """A run of a command that went to its end."""

    line: str
    """The command line, with its placeholders."""
    said: Mapping[str, Any]
    """The JSON that it printed."""
    operator_id: str
    before: Rows

    def has(self, option: str) -> bool:
        """Whether an option was given."""
        return option in self.line.split()

    def all_of(self, table: str, name: str) -> Counts:
        """Every row of a table that names this goes."""
        return sum(name in line for line in self.before[table]), 0

    def id_of(self, table: str, value: str) -> str:
        """The id of the one row with this value in a column."""
        (found,) = [line for line in self.before[table] if f",{value}," in line]
        return found.strip("(").partition(",")[0]


def _login(run: Run) -> ExpectedChanges:
    return ExpectedChanges({_IDENTITIES: CHANGED, _SESSIONS: (0, 1)}, subjects=(run.operator_id,))


def _logout(run: Run) -> ExpectedChanges:
    if not run.said["was_signed_in"]:
        return NOTHING
    ended = run.all_of(_SESSIONS, run.operator_id) if run.has("--everywhere") else (1, 0)
    return ExpectedChanges({_SESSIONS: ended}, subjects=(run.operator_id,))


def _password(run: Run) -> ExpectedChanges:
    sessions, _ = run.all_of(_SESSIONS, run.operator_id)
    # Supabase keeps the session that changed it, and ends the others.
    rows = {_IDENTITIES: CHANGED, _SESSIONS: (sessions - 1, 0)}
    return ExpectedChanges(rows, ("auth.password",), (run.operator_id,))


def _created_user(run: Run) -> ExpectedChanges:
    if not run.said["created"]:
        return NOTHING
    rows = {_USERS: (0, 1), _IDENTITIES: (0, 1), _MEMBERS: (0, int(run.has("--org")))}
    return ExpectedChanges(rows, ("users.create",), (run.said["id"],))


def _imported_users(run: Run) -> ExpectedChanges:
    created = run.said["created"]
    rows = {_USERS: (0, created), _IDENTITIES: (0, created), _MEMBERS: (0, int("organizations" in run.line))}
    return ExpectedChanges(rows, ("users.import",) * (created + 1))


def _adopted_user(run: Run) -> ExpectedChanges:
    if not run.said["adopted"]:
        return NOTHING
    # The identity was there, and has the stamp now.
    rows = {_USERS: (0, 1), _IDENTITIES: CHANGED, _MEMBERS: (0, int(run.has("--org")))}
    return ExpectedChanges(rows, ("users.adopt",), (run.said["id"],))


def _gone_user(run: Run, user_id: str, events: tuple[str, ...]) -> ExpectedChanges:
    tables = {table: run.all_of(table, user_id) for table in (_MEMBERS, _SESSIONS)}
    return ExpectedChanges({_USERS: (1, 0), _IDENTITIES: (1, 0), **tables}, events, (user_id,))


def _doctor(run: Run) -> ExpectedChanges:
    # The stage has one operator whose deletion is pending; its event belongs to the command that began it.
    return _gone_user(run, run.id_of(_USERS, "delete"), ()) if run.has("--fix") else NOTHING


def _superuser_flag(use_case: str, *changed: str) -> Callable[[Run], ExpectedChanges]:
    """The flag of those that `changed` stands for changes, all others have it as it is to be."""

    def trace(run: Run) -> ExpectedChanges:
        if not set(changed) & set(run.line.split()):
            return NOTHING
        return ExpectedChanges({_USERS: CHANGED}, (use_case,), (run.said["id"],))

    return trace


def _reset_password(run: Run) -> ExpectedChanges:
    return ExpectedChanges({_IDENTITIES: CHANGED}, ("users.reset-password",), (run.said["user_id"],))


def _revoked_sessions(run: Run) -> ExpectedChanges:
    ended = run.all_of(_SESSIONS, run.said["user_id"])
    return (
        ExpectedChanges({_SESSIONS: ended}, ("users.sessions.revoke",), (run.said["user_id"],)) if ended[0] else NOTHING
    )


def _suspended_user(run: Run) -> ExpectedChanges:
    user_id = run.said["id"]
    rows = {_USERS: CHANGED, _IDENTITIES: CHANGED, _SESSIONS: run.all_of(_SESSIONS, user_id)}
    return ExpectedChanges(rows, ("users.suspend",), (user_id,))


def _updated_user(run: Run) -> ExpectedChanges:
    rows = {_USERS: CHANGED, **({_IDENTITIES: CHANGED} if run.has("--email") else {})}
    return ExpectedChanges(rows, ("users.update",), (run.said["id"],))


def _deleted_org(run: Run) -> ExpectedChanges:
    rows = {_ORGS: (1, 0), _MEMBERS: run.all_of(_MEMBERS, run.said["id"])}
    return ExpectedChanges(rows, ("orgs.delete",), (run.said["id"],))


def _where_changed(use_case: str, table: str, counts: Counts, *names: str) -> Callable[[Run], ExpectedChanges]:
    """One row comes, goes or changes where `changed` says so; every row names what the JSON has under `names`."""

    def trace(run: Run) -> ExpectedChanges:
        if not run.said["changed"]:
            return NOTHING
        subjects = tuple(run.said[name] for name in names)
        return ExpectedChanges({table: counts}, (use_case,), subjects)

    return trace


def _member(use_case: str, counts: Counts) -> Callable[[Run], ExpectedChanges]:
    def trace(run: Run) -> ExpectedChanges:
        if not run.said["changed"]:
            return NOTHING
        of = (run.said["user_id"], run.id_of(_ORGS, run.said["organization"]))
        return ExpectedChanges({_MEMBERS: counts}, (use_case,), of)

    return trace


def _applied(run: Run) -> ExpectedChanges:
    """The rows of the matrix declare the name of one user."""
    (change,) = run.said["changes"]
    return ExpectedChanges({_USERS: CHANGED}, ("users.update",), (run.id_of(_USERS, change["user"]),))


EXPECTED_CHANGES: dict[str, Callable[[Run], ExpectedChanges]] = {
    "apply": _applied,
    "audit verify": lambda _run: NOTHING,
    "auth login": _login,
    "auth logout": _logout,
    "auth password": _password,
    "auth refresh": lambda run: ExpectedChanges({_SESSIONS: CHANGED}, subjects=(run.operator_id,)),
    "db create": lambda _run: NOTHING,
    "db drop": lambda _run: NOTHING,
    "db env set": lambda _run: NOTHING,
    "db locks": lambda _run: NOTHING,
    "db migrate": lambda _run: NOTHING,
    # Without consent: they change no rows.
    "db redo": lambda _run: NOTHING,
    # Refused by its guard: it would delete the rows of all tests.
    "db reset": lambda _run: NOTHING,
    "db rollback": lambda _run: NOTHING,
    "db seed": lambda _run: NOTHING,
    "doctor": _doctor,
    "orgs create": lambda run: ExpectedChanges({_ORGS: (0, 1), _MEMBERS: (0, 1)}, ("orgs.create",), (run.said["id"],)),
    "orgs delete": _deleted_org,
    "orgs members add": _member("orgs.members.add", (0, 1)),
    "orgs members remove": _member("orgs.members.remove", (1, 0)),
    "orgs members update": _member("orgs.members.update", CHANGED),
    "orgs update": lambda run: ExpectedChanges({_ORGS: CHANGED}, ("orgs.update",), (run.said["id"],)),
    "plans assign": _where_changed("plans.assign", _USERS, CHANGED, "id"),
    "plans grant": _where_changed("plans.grant", _PLANS, (0, 1), "name", "permission"),
    "plans revoke": _where_changed("plans.revoke", _PLANS, (1, 0), "name", "permission"),
    "users adopt": _adopted_user,
    "users create": _created_user,
    "users delete": lambda run: _gone_user(run, run.said["id"], ("users.delete",)),
    "users demote": _superuser_flag("users.demote", "{superuser}", "{oneself}"),
    "users import": _imported_users,
    # The rows name no run that exists.
    "users imports undo": lambda _run: NOTHING,
    "users promote": _superuser_flag("users.promote", "{member}"),
    "users reset-password": _reset_password,
    # The targets of the rows are active: there is nothing to restore.
    "users restore": lambda _run: NOTHING,
    "users sessions revoke": _revoked_sessions,
    "users suspend": _suspended_user,
    "users update": _updated_user,
}
"""By command: the changes that follow from its command line, its JSON and the rows before."""


def unexpected(before: Rows, after: Rows, denials: int) -> list[str]:
    """Return a line for each row that was added or removed, except for the events of this number of denials."""
    gone, come = _changes(before, after)
    faults = [f"{table} lost {line}" for table, lines in gone.items() for line in lines]
    events = [line for line in come[_EVENTS] if ",denied," in line]
    if len(events) == denials:
        come[_EVENTS] = [line for line in come[_EVENTS] if line not in events]
    else:
        faults.append(f"{len(events)} denials were recorded instead of {denials}")
    return [*faults, *(f"{table} got {line}" for table, lines in come.items() for line in lines)]


def unlike(before: Rows, after: Rows, trace: ExpectedChanges, operator_id: object) -> list[str]:
    """Return a line for each difference between the added and removed rows and those of `trace`."""
    gone, come = _changes(before, after)
    faults: list[str] = []
    for table in before:
        found = (len(gone[table]), len(come[table]))
        wanted = (0, len(trace.events)) if table == _EVENTS else trace.rows.get(table, (0, 0))
        if found != wanted:
            changes = [*(f"-{line}" for line in gone[table]), *(f"+{line}" for line in come[table])]
            faults.append(f"{table}: {wanted} rows were to go and come, not {found}: {' '.join(changes)}")
        for line in (*gone[table], *come[table]):
            faults += [f"{table}: a row without {name}: {line}" for name in trace.subjects if name not in line]
    for use_case in trace.events:
        marks = (f",{operator_id},", f",{use_case},", ",done,")
        if not any(all(mark in line for mark in marks) for line in come[_EVENTS]):
            faults.append(f"no event of {use_case} by the operator: {come[_EVENTS]}")
    return faults


def _changes(before: Rows, after: Rows) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The rows that went and those that came, by table."""
    gone, come = (
        {table: [] if one[table] is other[table] else sorted(set(one[table]) - set(other[table])) for table in one}
        for one, other in ((before, after), (after, before))
    )
    return gone, come
