"""Whether the operator may write the rows of an import: the gate and the row rules decide, as for single commands.

A rule that depends on few facts, such as an organization and a role, is asked once for all rows with these facts. A
rule that depends on the user to be changed is asked for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bazar_cli.domain import plans
from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant, Spec
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import Denied
from bazar_cli.domain.imports.findings import Finding, Findings
from bazar_cli.domain.orgs import members
from bazar_cli.domain.orgs.members import AddMember, UpdateMember
from bazar_cli.domain.plans import AssignPlan
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users.changes import CreateUser, UpdateUser

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.imports.judged import Rows, Update
    from bazar_cli.services.gate.gate import Gate


def judge(gate: Gate, grant: Grant, connection: Connection, rows: Rows, findings: Findings) -> None:
    """Add a finding for each row that the operator may not write.

    Raises: as `Gate.authorize`, but Denied.
    """
    from bazar_cli.adapters.postgres.imports import judged

    def found(column: str, need: LiteralString, denied: Denied, **values: object) -> None:
        lines = judged.lines(connection, rows, need, **values)
        for place, (line, count) in enumerate(lines, start=1):
            counts = count - len(lines) + 1 if place == len(lines) else 1
            findings.add_counted(Finding(line, column, denied.code, denied.message, denies=True), counts)

    need = judged.Need
    questions: tuple[tuple[str, LiteralString, Callable[[Gate], None]], ...] = (
        ("plan", need.CREATES_ON_PLAN, _may(user_changes.CREATE, CreateUser("", plan=Plan.PREMIUM))),
        ("organizations", need.CREATES_WITH_ROLE, _may(user_changes.CREATE, CreateUser("", role=Role.ADMIN))),
        ("organizations", need.JOINS_MORE, _may(members.ADD, AddMember("", ""))),
        ("name", need.RENAMES, _may(user_changes.UPDATE, UpdateUser(""))),
        ("plan", need.MOVES, _may(plans.ASSIGN, AssignPlan("", Plan.PREMIUM))),
        ("organizations", need.CHANGES_MEMBERSHIPS, _may(members.UPDATE, UpdateMember("", "", Role.MEMBER))),
        ("email", need.CREATES_ALONE, lambda _: row_rules.may_create_user(grant, None, Role.MEMBER)),
        ("id", need.CHOOSES_ID, lambda _: row_rules.may_choose_id(grant)),
        ("app_metadata", need.WRITES_APP_METADATA, lambda _: row_rules.may_write_app_metadata(grant)),
    )
    asked = judged.asked(connection, rows, tuple(condition for _, condition, _ in questions))
    with gate.with_own_connections() as own:
        for (column, condition, ask), is_asked in zip(questions, asked, strict=True):
            denied = _denial(lambda ask=ask: ask(own)) if is_asked else None
            if denied is not None:
                found(column, condition, denied)
    for membership in judged.new_memberships(connection, rows):
        denied = _denial(
            lambda m=membership: row_rules.may_give_role(grant, m.id, m.slug, m.role),
        )
        if denied is not None:
            values = {"id": str(membership.id), "role": membership.role.value}
            found("organizations", judged.IN_ORGANIZATION, denied, **values)
    if grant.operator.is_superuser:
        return  # every rule allows them to change others, and a million users need not be read for that
    for batch in judged.updates(connection, rows):
        for update in batch:
            _judge_update(grant, update, findings)


def _may(spec: Spec, request: object) -> Callable[[Gate], None]:
    """Return the question for the gate whether the operator may run a command. The answer is not recorded."""

    def ask(gate: Gate) -> None:
        gate.authorize(spec, request, dry_run=True)

    return ask


def _denial(ask: Callable[[], None]) -> Denied | None:
    try:
        ask()
    except Denied as denied:
        return denied
    return None


def _judge_update(grant: Grant, update: Update, findings: Findings) -> None:
    user = update.user
    roles = {m.organization_id: m.role for m in user.organizations}

    def change_memberships() -> None:
        for wanted in update.memberships:
            current = roles.get(wanted.id)
            if current is None:
                row_rules.may_give_role(grant, wanted.id, wanted.slug, wanted.role)
            else:
                row_rules.may_change_member(grant, user.id, wanted, current, wanted.role)

    rules: tuple[tuple[str, bool, Callable[[], None]], ...] = (
        ("name", update.renames, lambda: row_rules.may_write_user(grant, user)),
        ("organizations", bool(update.memberships), change_memberships),
    )
    for column, applies, ask in rules:
        denied = _denial(ask) if applies else None
        if denied is not None:
            findings.add(Finding(update.line, column, denied.code, denied.message, denies=True))
