"""`doctor --fix`: finishes what commands that died left pending, one Grant for each user (design section 4).

It does what running the same command again would, with two differences: it sets no password, and it takes up
nobody whom a living command holds. An identity is deleted only to finish a `users delete` that was confirmed
and recorded, by an operator who may delete users; any other identity is left alone, whatever was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor as use_cases
from bazar_cli.domain import users
from bazar_cli.domain.access import Pending
from bazar_cli.domain.doctor import PendingUser, Repair, Repaired
from bazar_cli.domain.errors import BackendUnavailable, BazarError
from bazar_cli.domain.users import DeleteUser
from bazar_cli.services import user_creation, user_deletion
from bazar_cli.services.lookups import user_pending

if TYPE_CHECKING:
    from bazar_cli.services.access import Gate

_UNDONE = frozenset({"users.email_at_supabase", "users.id_taken", "users.refused_by_supabase"})
"""How a creation ends whose row was taken back: there is no user, and never was one."""
_NO_PASSWORD = "no password was set here; the user sets one by the sign-in page's password recovery"  # noqa: S105


def finish_all(
    gate: Gate, pending: Sequence[PendingUser], tell: Callable[[Repair], None], *, dry_run: bool
) -> tuple[Repair, ...]:
    """Take up every user whose command is gone; return what became of each.

    Parameters: `tell` hears of each as it ends; a dry run says what would be done.
    Raises nothing of its own: an error about one user is what became of that user.
    """
    repairs: list[Repair] = []
    silent: BackendUnavailable | None = None
    for user in pending:
        if silent is not None:
            repairs.append(Repair(user, Repaired.LEFT, silent.message))
            continue
        try:
            repair = _finish(gate, user, dry_run=dry_run)
        except BackendUnavailable as unavailable:
            # A system that does not answer one user answers none: nobody waits for a timeout each.
            silent = unavailable if unavailable.code.endswith(".unavailable") else None
            repair = Repair(user, Repaired.LEFT, unavailable.message)
        except BazarError as error:
            repair = Repair(user, Repaired.UNDONE if error.code in _UNDONE else Repaired.LEFT, error.message)
        tell(repair)
        repairs.append(repair)
    return tuple(repairs)


def _finish(gate: Gate, user: PendingUser, *, dry_run: bool) -> Repair:
    if user.pending is Pending.CREATE:
        password_kept = gate.perform(user_creation.finish, use_cases.FIX, user.id, dry_run=dry_run)
        return Repair(user, Repaired.FINISHED, "" if password_kept else _NO_PASSWORD)
    if user.pending is Pending.DELETE:
        request = DeleteUser(str(user.id), user.email, only_pending=True)
        gate.perform(user_deletion.delete, users.DELETE, request, dry_run=dry_run)
        return Repair(user, Repaired.FINISHED)
    raise user_pending(user.email, user.pending)
