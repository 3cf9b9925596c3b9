"""`diff` and `apply`: compare both systems with a declared state, and make the changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db.marker import no_marker
from bazar_cli.domain.declared.changes import Applied, Change, Comparison, Removals, Result
from bazar_cli.domain.declared.reader import Findings
from bazar_cli.domain.declared.state import APPLY, DIFF, DeclaredState
from bazar_cli.domain.progress import Progress
from bazar_cli.domain.texts import counted
from bazar_cli.services.apply import compare, saved_plan
from bazar_cli.services.apply.perform import Changes
from bazar_cli.services.apply.saved_plan import SavedPlan
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.interrupts import between_steps

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

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

    def impact(self, command: str) -> Impact:
        """Return the changes, to be confirmed. Parameters: `command` is the command that asks no question."""
        found = self.comparison
        taken = sum(change.takes_away for change in found.changes)
        takes = f", {taken} of which {'removes, demotes or suspends' if taken == 1 else 'remove, demote or suspend'}"
        uses = Counter(change.use_case for change in found.changes)
        return Impact(
            text=f"in {found.database} ({found.environment}): {counted(len(found.changes), 'change')}"
            f"{takes if taken else ''}",
            question="Make these changes?",
            command=command,
            details={
                "database": found.database,
                "environment": found.environment,
                "changes": len(found.changes),
                "takes_away": taken,
                "use_cases": dict(sorted(uses.items())),
            },
        )

    def planned(self, *, dry_run: bool = False) -> Applied:
        """Return the result before any change is made."""
        return _planned(self.comparison, dry_run=dry_run)


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
    """Compare, and ask the gate for every change. Writes nothing.

    Raises: as `diff`; Denied also if the operator may not make one of the changes; Conflict `apply.plan_elsewhere`,
    `apply.plan_stale`.
    """
    prepared = gate.perform(_prepare, APPLY, wanted, dry_run=dry_run)
    _changes(prepared).authorize(gate, dry_run=dry_run)
    return prepared


def carry_out(gate: Gate, prepared: Prepared, progress: Progress) -> Applied:
    """Make the changes, and return their outcomes. A change that fails does not stop the others.

    Raises: as `Changes.make`.
    """
    changes = _changes(prepared)
    if changes.all:
        with between_steps() as ended:
            changes.make(WorkerPool(gate, ended, progress))
    return _applied(prepared.comparison, tuple(changes.ordered_results()))


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
    return _compare(backends, grant, wanted)


def _prepare(backends: Backends, grant: Grant, wanted: Wanted) -> Prepared:
    grant.demand(APPLY)
    return Prepared(_compare(backends, grant, wanted), grant.operator.email)


def _compare(backends: Backends, grant: Grant, wanted: Wanted) -> Comparison:
    from bazar_cli.adapters.postgres import marker

    state, removals, operator = wanted.state, wanted.removals, grant.operator
    with backends.database().read(grant) as connection:
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
    return found
