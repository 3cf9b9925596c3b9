"""`diff` and `apply`: compare both systems with a declared state, and make the changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.permissions import in_order
from bazar_cli.domain.authz.spec import Grant, Operator
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db.marker import no_marker
from bazar_cli.domain.declared.changes import Applied, Change, Comparison, Removals, Result
from bazar_cli.domain.declared.reader import Findings
from bazar_cli.domain.declared.state import APPLY, DIFF, DeclaredState
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import Conflict, Denied
from bazar_cli.domain.progress import Progress
from bazar_cli.domain.texts import counted
from bazar_cli.services.apply import compare, foresee, saved_plan
from bazar_cli.services.apply.perform import Changes
from bazar_cli.services.apply.saved_plan import SavedPlan
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.interrupts import between_steps

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.services.apply.compare import Stored
    from bazar_cli.services.apply.foresee import Denial, Facts
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

_NAMED = 5
REASON = "declared state"
"""The reason of a suspension in the audit log."""


@dataclass(frozen=True)
class Wanted:
    """The state to compare, and what a saved plan expects of the comparison."""

    named: str
    """The file, for messages."""
    state: DeclaredState
    removals: Removals
    plan: SavedPlan | None = None


@dataclass(frozen=True)
class Prepared:
    """The changes of a run, and the operator who makes them."""

    comparison: Comparison
    operator: str
    results: tuple[Result, ...] = ()
    """Each change, planned or foreseen to fail."""
    plan_users: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many users are on each plan whose permissions change."""

    def impact(self, command: str) -> Impact:
        """Return the changes, to be confirmed. Parameters: `command` is the command that asks no question."""
        found = self.comparison
        taken = sum(change.takes_away for change in found.changes)
        takes = f", {taken} of which {'removes, demotes or suspends' if taken == 1 else 'remove, demote or suspend'}"
        uses = Counter(change.use_case for change in found.changes)
        effects = "".join(f"; {effect}" for effect in self._effects_on_plans())
        return Impact(
            text=f"in {found.database} ({found.environment}): {counted(len(found.changes), 'change')}"
            f"{takes if taken else ''}{effects}",
            question="Make these changes?",
            command=command,
            details={
                "database": found.database,
                "environment": found.environment,
                "changes": len(found.changes),
                "takes_away": taken,
                "use_cases": dict(sorted(uses.items())),
                "users_on_changed_plans": dict(self.plan_users),
            },
        )

    def _effects_on_plans(self) -> Iterator[str]:
        """Say for how many users the changes change a plan, or what it allows."""
        changes = self.comparison.changes
        moved = sum(change.use_case == "plans.assign" for change in changes)
        if moved:
            yield f"{counted(moved, 'user')} {'moves' if moved == 1 else 'move'} to another plan"
        for plan, users in self.plan_users.items():
            gained = [c.new("permission") for c in changes if c.plan == plan and c.use_case == "plans.grant"]
            lost = [c.old("permission") for c in changes if c.plan == plan and c.use_case == "plans.revoke"]
            for verb, permissions in (("gain", gained), ("lose", lost)):
                if permissions:
                    on = f"{counted(users, 'user')} on {plan.capitalize()}"
                    yield f"{on} {verb}{'s' if users == 1 else ''} {', '.join(permissions)}"

    def planned(self, *, dry_run: bool = False) -> Applied:
        """Return the result before any change is made."""
        return _applied(self.comparison, self.results, dry_run=dry_run)


def wanted_plan(path: Path, named: str) -> Wanted:
    """Return the declared state of a saved plan. Raises: as `saved_plan.read`."""
    plan = saved_plan.read(path, named)
    return Wanted(f"the plan {named}", plan.state, plan.removals, plan)


def diff(gate: Gate, wanted: Wanted) -> Applied:
    """Return the changes that lead to the declared state.

    Raises: UsageError `apply.file_invalid`; Refused `apply.too_many_removals`; Denied; BackendUnavailable.
    """
    return _planned(gate.perform(_diff, DIFF, wanted))


def save_plan(gate: Gate, wanted: Wanted, path: Path, named: str, *, overwrite: bool) -> Applied:
    """Return the changes, and write them as a plan to a new file. Raises: as `diff` and `saved_plan.write`."""

    def perform(backends: Backends, grant: Grant, asked: Wanted) -> Applied:
        found = _diff(backends, grant, asked)
        saved_plan.write(path, named, found, grant.operator, overwrite=overwrite)
        return _planned(found)

    return gate.perform(perform, DIFF, wanted)


def prepare(gate: Gate, wanted: Wanted, *, dry_run: bool) -> Prepared:
    """Compare, and ask the gate and the rules for every change. Writes nothing.

    Raises: as `diff`; Denied also if the operator may not make one of the changes; Conflict `apply.locks_out`,
    `apply.plan_elsewhere`, `apply.plan_stale`.
    """
    prepared, facts = gate.perform(_prepare, APPLY, wanted, dry_run=dry_run)
    changes = _changes(prepared)
    changes.authorize(gate, dry_run=dry_run)
    judge = foresee.Judge(gate, facts, changes.call_of)
    results = judge.results(prepared.comparison.changes)
    if judge.denials:
        _deny(gate, judge.denials, changes, dry_run=dry_run)
    _refuse_lock_out(facts.operator, judge.operator, prepared.comparison)
    return replace(prepared, results=results)


def _deny(gate: Gate, denials: Sequence[Denial], changes: Changes, *, dry_run: bool) -> None:
    """Raise the first denial, and name the others. It is recorded as a denial of its own command."""
    first = denials[0]
    named = [denial.change.line for denial in denials[:_NAMED]]
    if len(denials) > _NAMED:
        named.append(f"and {len(denials) - _NAMED} more")
    spec, request = changes.call_of(first.change)

    def refuse(_backends: Backends, _grant: Grant, _request: object) -> None:
        error = first.error
        message = f"{counted(len(denials), 'change')} cannot be made, so nothing was written: {error.message}"
        raise Denied(error.code, message, below=named, hint=error.hint, details=error.details)

    gate.perform(refuse, spec, request, dry_run=dry_run)


def _refuse_lock_out(before: Operator, after: Operator, comparison: Comparison) -> None:
    """Refuse changes after which the operator could not run `apply` again. Raises: Conflict `apply.locks_out`."""
    lost = in_order(p.value for p in APPLY.permissions & before.permissions - after.permissions)
    if not lost:
        return
    plan = before.plan
    if after.plan is not plan:
        hint = f"leave the plan of {before.email} out of the file, and let another superuser change it"
    else:
        commands = " and ".join(f"`{command_line('plans revoke', plan, permission)}`" for permission in lost)
        hint = f"add {', '.join(lost)} to the permissions of {plan}, or take them at the end: {commands}"
    raise Conflict(
        "apply.locks_out",
        f"the changes would take {', '.join(lost)} from {before.email}, without which `bazar apply` cannot continue;"
        " nothing was written",
        hint=hint,
        details={"permissions": list(lost), "plan": plan.value, "database": comparison.database},
    )


def carry_out(gate: Gate, prepared: Prepared, progress: Progress, show: Callable[[Applied], None]) -> Applied:
    """Make the changes, and return their outcomes. A change that fails does not stop the others.

    Parameters: `show` is called once with the outcomes, also if a signal or an error ends the run after a change.
    Raises: as `Changes.make`.
    """
    changes = _changes(prepared)
    try:
        if changes.all:
            with between_steps() as ended:
                changes.make(WorkerPool(gate, ended, progress))
    except BaseException:  # Ctrl-C too
        if changes.results:
            show(_applied(prepared.comparison, tuple(changes.ordered_results())))
        raise
    done = _applied(prepared.comparison, tuple(changes.ordered_results()))
    show(done)
    return done


def _changes(prepared: Prepared) -> Changes:
    return Changes(prepared.comparison.changes, prepared.operator, REASON)


def _applied(comparison: Comparison, results: tuple[Result, ...], *, dry_run: bool = False) -> Applied:
    return Applied(
        comparison.database,
        comparison.environment,
        results,
        () if comparison.removals.prune else comparison.not_in_file,
        dry_run=dry_run,
    )


def _planned(comparison: Comparison, *, dry_run: bool = False) -> Applied:
    return _applied(comparison, tuple(map(Result, comparison.changes)), dry_run=dry_run)


def _diff(backends: Backends, grant: Grant, wanted: Wanted) -> Comparison:
    grant.demand(DIFF)
    with backends.database().read(grant) as connection:
        return _compare(connection, grant, wanted)[0]


def _prepare(backends: Backends, grant: Grant, wanted: Wanted) -> tuple[Prepared, Facts]:
    from bazar_cli.adapters.postgres import plans

    grant.demand(APPLY)
    with backends.database().read(grant) as connection:
        found, stored = _compare(connection, grant, wanted)
        facts = foresee.read(connection, grant.operator, stored, found.changes)
        edited = sorted({change.plan for change in found.changes if change.plan is not None})
        plan_users = {plan: sum(plans.users_on(connection, Plan(plan))) for plan in edited}
    return Prepared(found, grant.operator.email, plan_users=plan_users), facts


def _compare(connection: Connection, grant: Grant, wanted: Wanted) -> tuple[Comparison, Stored]:
    from bazar_cli.adapters.postgres import marker

    state, removals, operator = wanted.state, wanted.removals, grant.operator
    place = marker.find_if_any(connection)
    if place is None:
        raise no_marker()
    if wanted.plan is not None:
        wanted.plan.refuse_elsewhere(place.id, operator)
    stored = compare.read(connection, grant.reach, state)
    undeclared = compare.not_in_file(state, stored)
    changes: tuple[Change, ...] = compare.changes_of(
        state,
        stored,
        compare.differences(state, stored),
        operator=operator.email,
        names_owners=operator.is_superuser,
        pruned=undeclared if removals.prune else (),
    )
    found = Comparison(
        state,
        removals,
        place.id,
        place.database,
        place.environment,
        changes,
        undeclared,
        compare.rows_of(changes, stored),
    )
    if wanted.plan is not None:
        wanted.plan.refuse_stale(found)
    try:
        compare.refuse_unknown(state, stored)
    except Findings as findings:
        raise findings.as_error("apply.file_invalid", wanted.named) from findings
    removals.check(changes, compare.count_existing(stored))
    return found, stored
