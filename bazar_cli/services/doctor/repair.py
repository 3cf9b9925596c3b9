"""`doctor --fix`: finishes the changes that commands which died left pending, with one Grant for each user.

It does the same as the command run again (`services.users.resume`), but sets no password. It waits for a command that
holds the user: one that was killed a moment ago seems to live until its lease ends. An identity is deleted only to
finish a `users delete` that was confirmed and recorded, by an operator who may delete users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.domain import doctor as use_cases
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.doctor import PendingUser, Repair, Repaired
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, BazarError, NotFound
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.services.users.resume import resume, resume_deletion

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

_UNDONE = frozenset(
    {
        "users.email_at_supabase",
        "users.id_taken",
        "users.identity_deleted",
        "users.identity_not_found",
        "users.no_identity",
        "users.other_deployment",
        "users.refused_by_supabase",
    }
)
"""Errors of a creation or adoption whose row was removed, and of a change of address that was taken back."""
_CONTENDED = frozenset({"users.busy", "users.pending"})
"""Errors for a user whom another command holds, or has just finished."""
_BY_ANOTHER = "another command did it"
_TAKEN_BACK = (Repaired.UNDONE, "another command took the creation back, or deleted the user")
_DELETED = (Repaired.FINISHED, "another command deleted the user")
_IF_GONE: Mapping[Pending, tuple[Repaired, str]] = {
    Pending.CREATE: _TAKEN_BACK,
    Pending.INVITE: _TAKEN_BACK,
    Pending.DELETE: (Repaired.FINISHED, _BY_ANOTHER),
    Pending.SUSPEND: _DELETED,
    Pending.RESTORE: _DELETED,
    Pending.EMAIL: _DELETED,
}
"""The outcome for a user whose row is gone."""


def finish_all(
    gate: Gate, pending: Sequence[PendingUser], on_end: Callable[[Repair], None], *, dry_run: bool
) -> tuple[Repair, ...]:
    """Take up every pending user; return what became of each, in the order of `pending`.

    A user whom a command holds is taken up last, when the command has had the time to end.
    Parameters: `on_end` is called for each user; a dry run returns what would be done.
    An error about one user is what became of that user.
    """
    repairs: list[Repair] = []
    contended: list[Repair] = []
    silent: BackendUnavailable | None = None
    for user in sorted(pending, key=attrgetter("leased")):
        if silent is not None:
            repairs.append(Repair(user, Repaired.LEFT, silent.message))
            continue
        try:
            repair = _finish(gate, user, dry_run=dry_run)
        except BackendUnavailable as unavailable:
            # A system that gives no answer for one user gives none for the others: do not wait for each timeout.
            silent = unavailable if _is_silence(unavailable) else None
            repair = Repair(user, Repaired.LEFT, unavailable.message)
        except BazarError as error:
            repair = Repair(user, Repaired.UNDONE if error.code in _UNDONE else Repaired.LEFT, error.message)
            if error.code in _CONTENDED:
                contended.append(repair)
                continue
        on_end(repair)
        repairs.append(repair)
    for repair in _settled_meanwhile(gate, contended):
        on_end(repair)
        repairs.append(repair)
    places = {user.id: place for place, user in enumerate(pending)}
    return tuple(sorted(repairs, key=lambda repair: places[repair.user.id]))


def _is_silence(error: BackendUnavailable) -> bool:
    """Whether a system gave no answer, to a call or to the look after it."""
    causes = (error, error.__cause__)
    return any(isinstance(e, BackendUnavailable) and e.code.endswith(".unavailable") for e in causes)


def _settled_meanwhile(gate: Gate, contended: Sequence[Repair]) -> Sequence[Repair]:
    """Look again at users whom another command held: a user who is not pending any more is finished."""
    if not contended:
        return ()
    try:
        pending = gate.perform(_pending_ids, use_cases.FIX, None)
    except BazarError:
        return contended
    return [r if r.user.id in pending else Repair(r.user, Repaired.FINISHED, _BY_ANOTHER) for r in contended]


def _pending_ids(backends: Backends, grant: Grant, _: None) -> frozenset[UUID]:
    from bazar_cli.adapters.postgres.doctor import mismatches

    grant.demand(use_cases.FIX)
    with backends.database().read(grant) as connection:
        return frozenset(user.id for user in mismatches.pending_users(connection))


def _finish(gate: Gate, user: PendingUser, *, dry_run: bool) -> Repair:
    deletes = user.pending is Pending.DELETE
    service, spec = (resume_deletion, user_changes.DELETE) if deletes else (resume, use_cases.FIX)
    try:
        note = gate.perform(service, spec, user.id, dry_run=dry_run)
    except NotFound as gone:
        if gone.code != "users.not_found":
            raise
        return Repair(user, *_IF_GONE[user.pending])
    return Repair(user, Repaired.FINISHED, _BY_ANOTHER if note is None else note)
