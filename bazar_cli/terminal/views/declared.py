"""How changes to a declared state are shown."""

from __future__ import annotations

from bazar_cli.domain.declared.changes import Applied, Outcome, Result, UndeclaredMember, change_document
from bazar_cli.domain.texts import counted
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.encoding import Value, shape


def _result(result: Result) -> dict[str, Value]:
    return {
        **change_document(result.change),
        "outcome": result.outcome.value,
        "code": result.code,
        "message": result.message,
    }


def _line(result: Result) -> str:
    if result.outcome in {Outcome.PLANNED, Outcome.DONE}:
        return result.change.line
    outcome = result.outcome.value.replace("-", " ")
    return f"{result.change.line} ({outcome}{f': {result.message}' if result.message else ''})"


def _member(member: UndeclaredMember) -> str:
    return f"? member {member.user} of {member.organization}: role {member.role} (not in the file)"


def lines_of(applied: Applied) -> list[str]:
    """Return a line for each change and for each member whom the file does not name."""
    return [*map(_line, applied.results), *map(_member, applied.not_in_file)]


def _text(applied: Applied) -> str:
    total = counted(len(applied.results), "change") if applied.results else "no changes"
    counts = ((applied.count(Outcome.FAILED), "of which failed"), (applied.count(Outcome.NOT_BEGUN), "not begun"))
    total += "".join(f", {count} {text}" for count, text in counts if count)
    plan = [f"the plan is in {applied.plan_file}"] if applied.plan_file is not None else []
    return "\n".join([*lines_of(applied), total, *plan])


APPLIED = View(
    Applied,
    paths=("database", "environment"),
    computed={
        "changed": lambda applied: applied.changed,
        "changes": lambda applied: applied.results,
        "not_in_file": lambda applied: applied.not_in_file,
        "plan_file": lambda applied: applied.plan_file,
        "dry_run": lambda applied: applied.dry_run or None,
    },
    encoders={Result: _result, UndeclaredMember: shape(UndeclaredMember)},
    optional=frozenset({"plan_file", "dry_run"}),
    cells={
        "changes": lambda results: ";".join(map(_line, results)),
        "not_in_file": lambda members: ";".join(f"{m.organization}:{m.user}" for m in members),
    },
    raw=_text,
    is_diff=True,
)
